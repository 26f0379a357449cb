#!/usr/bin/env bash
# `make demo` as a test: its exit code is non-zero if anything is lost, doubled or wrong.
set -euo pipefail
cd "$(dirname "$0")/../.."
# Sanitizer builds start sandboxes several times slower: fewer tasks, the same kills and the same accounting.
[ -z "${SANITIZE:-}" ] || export DEMO_TASKS=400
exec scripts/demo.sh
