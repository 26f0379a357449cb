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

# Whether one run meets the moment that shows a bug is chance: so many are tried, each with other faults. A bug that the rule finds
# with a chance of a half a run is missed once in 250.
runs=8

proof() { # mutation, rule
    local name=$1 rule=$2 status log run others=""
    for run in $(seq $runs); do
        status=0
        log=$SHOAL_TMP/$name.$run.log
        mkdir "$SHOAL_TMP/$name.$run"
        SEED=$run SHOAL=$mutants SHOAL_MUTATION=$name SHOAL_TMP=$SHOAL_TMP/$name.$run CHAOS_KILLS=1 "$here/test_chaos.mjs" \
            >"$log" 2>&1 || status=$?
        if [ "$status" -eq 77 ]; then
            tail -n 1 "$log"
            return 77
        fi
        if [ "$status" -eq 1 ] && grep -q "^     \(line [0-9]*\|at the end\): $rule: " "$log"; then
            grep -m 1 "$rule: " "$log" | sed "s/^ */$name, run $run: /"
            return 0
        fi
        others+=" $status"
    done
    echo "$name: not found by the rule $rule in $runs runs (they ended with$others)"
    tail -n 20 "$log"
    return 1
}

proof forget_fence 'T[23]' &
first=$!
second=0
proof forget_idempotency once || second=$?
wait "$first"
exit "$second"
