/* echo.h - the kind test.echo: gives its input back, for tests of everything around a launcher.
 *
 * Input: {"value": any JSON (default null), "sleep_ms": 0..3600000, "fail": true or a message, "final": bool}.
 * After sleep_ms the attempt succeeds with `value`, or fails with error kind "echo". It runs inside the node's process,
 * without a sandbox, because it runs nothing of the submitter's; a node offers it only when told to. */
#ifndef SHOAL_WORK_TEST_ECHO_H
#define SHOAL_WORK_TEST_ECHO_H

#include "work/launcher.h"

extern const struct launcher test_echo_launcher;

#endif
