#!/usr/bin/env bash
# Proof that test_chaos.mjs can fail: with a bug planted in hub and nodes (src/base/mutation.def) the recorded history must
# break the rule that the bug is against.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
mutants=$(dirname "$SHOAL")/test/sim/shoal-mutants
if [ ! -x "$mutants" ]; then
    echo "this build has no program with planted bugs"
    exit 77
fi

proof() { # mutation, rule
    local name=$1 rule=$2 status=0
    mkdir "$SHOAL_TMP/$name"
    SHOAL=$mutants SHOAL_MUTATION=$name SHOAL_TMP=$SHOAL_TMP/$name CHAOS_KILLS=1 "$here/test_chaos.mjs" \
        >"$SHOAL_TMP/$name.log" 2>&1 || status=$?
    if [ "$status" -eq 1 ] && grep -q "^     \(line [0-9]*\|at the end\): $rule: " "$SHOAL_TMP/$name.log"; then
        grep -m 1 "$rule: " "$SHOAL_TMP/$name.log" | sed "s/^ */$name: /"
    else
        echo "$name: not found by the rule $rule (exit $status)"
        tail -n 20 "$SHOAL_TMP/$name.log"
        return 1
    fi
}

proof forget_fence 'T[23]' &
first=$!
proof forget_idempotency once
wait "$first"
