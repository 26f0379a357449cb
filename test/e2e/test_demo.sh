#!/usr/bin/env bash
# `make demo` as a test: its exit code is non-zero if anything is lost, doubled or wrong.
set -euo pipefail
cd "$(dirname "$0")/../.."
# Sanitizer builds start sandboxes several times slower: fewer tasks, the same kills and the same accounting.
[ -z "${SANITIZE:-}" ] || export DEMO_TASKS=400
status=0
TMPDIR=${SHOAL_TMP:=$(mktemp -d)} scripts/demo.sh || status=$?
# Skipped only where trying a sandbox without a node's code fails as well.
if [ "$status" -ne 0 ]; then
    no_sandbox=$("$SHOAL" doctor --quick --json --data "$SHOAL_TMP" | jq -r '.checks[] | select(.check == "bubblewrap" and .verdict == "fail") | .text') || true
    [ -n "$no_sandbox" ] || exit "$status"
    echo "no sandbox can be made here: $no_sandbox"
    exit 77
fi
