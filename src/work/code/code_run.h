/* code_run.h - the kind code.run: compiles and runs a small program in sandboxes. docs/code-run.md is its manual. */
#ifndef SHOAL_WORK_CODE_CODE_RUN_H
#define SHOAL_WORK_CODE_CODE_RUN_H

#include "work/launcher.h"

extern const struct launcher code_run_launcher;

#endif
