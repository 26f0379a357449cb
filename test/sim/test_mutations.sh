#!/usr/bin/env bash
# Every bug of src/base/mutation.def is found within a bounded number of seeds, by the rule that is there to find it (other
# rules may find it too, on other seeds), and every rule finds one. Without a bug the very same seeds hold. $1: a program
# that has the bugs built in; further words: only these bugs.
set -euo pipefail
program=$1
shift
here=$(dirname "$0")
seeds=100
# The numbered invariants of journal and core, and what else clients are promised (docs/simulator.md).
rules=(J1 J2 J3 J4 J5 T1 T2 T3 T4 T5 T6 T7 U1 C1 A1 poison alone answers due fifo kept liveness once promise gone proto rest silence wait)

# Some need conditions that the usual mix of faults makes rare.
arguments() {
    case $1 in
    stale_session) echo "--faults half-open,clog,disk-slow,cut --fault-rate 600" ;;
    worker_lease_leaks | worker_poll_forgotten) echo "--faults node-crash,cut,lose --workload $here/workers.workload" ;;
    worker_* | wait_forgotten) echo "--workload $here/workers.workload" ;;
    agent_fights_twin) echo "--faults node-freeze,node-twin,clog --fault-rate 600" ;;
    share_unique) echo "--workload $here/unique.workload" ;;
    starve_flow) echo "--faults none --workload $here/keys.workload" ;;
    drop_when_full) echo "--faults disk-full,snapshot,kill --fault-rate 400" ;;
    torn_tail_stays) echo "--faults power-write,kill,disk-slow --fault-rate 400" ;;
    *) echo "" ;;
    esac
}

# Sets `how` to what was found. The rule that comes first is chance: seeds that fail by another one are passed over.
find_bug() { # name, rule
    local seed=1 output others=""
    local -a extra
    read -ra extra <<<"$(arguments "$1")"
    while [ $seed -le $seeds ]; do
        if output=$("$program" sim --no-shrink --json --seed $seed --seeds $((seeds + 1 - seed)) --mutation "$1" \
            "${extra[@]}" 2>&1); then
            break
        fi
        if [[ ! $output =~ \"ok\":false,\"seed\":([0-9]+),\"rule\":\"([a-zA-Z0-9]+)\",\"step\":([0-9]+) ]]; then
            how="the program ends with: $(tail -n 1 <<<"$output")"
            return 1
        fi
        seed=$((BASH_REMATCH[1] + 1))
        if [ "${BASH_REMATCH[2]}" = "$2" ]; then
            how="$2, seed ${BASH_REMATCH[1]}, step ${BASH_REMATCH[3]}${others:+ (before it:$others)}"
            return 0
        fi
        [[ "$others " == *" ${BASH_REMATCH[2]} "* ]] || others+=" ${BASH_REMATCH[2]}"
    done
    how="not found by $2 in $seeds seeds${others:+, only by:$others}"
    return 1
}

tried=0
missed=()
declare -A finds=()
while read -r name rule _; do
    [ $# -eq 0 ] || [[ " $* " == *" $name "* ]] || continue
    tried=$((tried + 1))
    if find_bug "$name" "$rule"; then
        finds[$rule]=$name
    else
        missed+=("$name")
    fi
    echo "$name: $how"
done < <("$program" sim --list | sed '1,/^Planted/d')

if [ ${#missed[@]} -gt 0 ]; then
    echo "not found: ${missed[*]}"
    exit 1
fi
[ $# -eq 0 ] || exit 0
if [ $tried -lt 12 ]; then
    echo "only $tried planted bugs were tried"
    exit 1
fi
for rule in "${rules[@]}"; do
    if [ -z "${finds[$rule]:-}" ]; then
        echo "no planted bug is found by the rule $rule"
        missed+=("$rule")
    fi
done
[ ${#missed[@]} -eq 0 ] || exit 1
for extra in "" "$(arguments stale_session)" "$(arguments starve_flow)" "$(arguments torn_tail_stays)" \
    "$(arguments drop_when_full)" "$(arguments worker_lease_leaks)" "$(arguments wait_forgotten)"; do
    # shellcheck disable=SC2086
    "$program" sim --seeds 15 $extra
done
echo "all $tried planted bugs are found, and each of ${#rules[@]} rules finds one"
