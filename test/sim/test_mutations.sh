#!/usr/bin/env bash
# Every bug of src/base/mutation.def is found within a bounded number of seeds, by the program that has them built in.
# Without a bug the very same seeds hold. $1: that program.
set -euo pipefail
program=$1
here=$(dirname "$0")
seeds=40
missed=()

# Some need conditions that the usual mix of faults makes rare.
arguments() {
    case $1 in
    stale_session) echo "--faults half-open,clog,disk-slow,cut --fault-rate 600" ;;
    starve_flow) echo "--faults none --workload $here/keys.workload" ;;
    *) echo "" ;;
    esac
}

tried=0
while read -r name _; do
    read -ra extra <<<"$(arguments "$name")"
    tried=$((tried + 1))
    if output=$("$program" sim --no-shrink --seeds $seeds --mutation "$name" "${extra[@]}" 2>&1); then
        echo "$name: not found in $seeds seeds"
        missed+=("$name")
    else
        echo "$name: $(grep -m 1 'fails at step' <<<"$output" || tail -n 1 <<<"$output")"
        grep -q 'fails at step' <<<"$output" || missed+=("$name")
    fi
done < <("$program" sim --list | sed '1,/^Planted/d')

if [ $tried -lt 12 ]; then
    echo "only $tried planted bugs were tried"
    exit 1
fi
for extra in "" "--faults none --workload $here/keys.workload" "--faults half-open,clog,disk-slow,cut --fault-rate 600"; do
    # shellcheck disable=SC2086
    "$program" sim --seeds 15 $extra
done
if [ ${#missed[@]} -gt 0 ]; then
    echo "not found: ${missed[*]}"
    exit 1
fi
echo "all $tried planted bugs are found"
