#!/usr/bin/env bash
# efficiency.sh - what a request costs the client: shoal bench http with all its measuring, beside wrk.
#
#   bench/efficiency.sh [BUILD_DIR] [--rounds N] [--seconds N] [--connections N,N]
#
# Both keep the same number of connections busy in front of the same nginx (`return 200`), with one thread on the same core, in
# turns. Compared are requests per second of the client's own processor time, user and system, which says what one core can
# ask for; requests per second of the clock also tell of the server. Quote the ratios. Needs nginx and wrk (scripts/setup.sh bench).
set -euo pipefail
cd "$(dirname "$0")/.."

build=build rounds=7 seconds=4 connections=16,64
while [ $# -gt 0 ]; do
    case "$1" in
    --rounds) rounds=$2; shift 2 ;;
    --seconds) seconds=$2; shift 2 ;;
    --connections) connections=$2; shift 2 ;;
    --help) sed -n '2,8s/^# \{0,1\}//p' "$0"; exit 0 ;;
    -*) echo "efficiency: no option $1 (see --help)" >&2; exit 2 ;;
    *) build=$1; shift ;;
    esac
done
. bench/lib.sh
need nginx
need wrk
need taskset
start_nginx || { echo "efficiency: nginx did not start" >&2; exit 1; }
url=http://127.0.0.1:$nginx_port/
worker=$(cut -d' ' -f1 "/proc/$nginx_pid/task/$nginx_pid/children")
taskset -cp "$(($(nproc) - 1))" "$worker" >/dev/null
echo "machine: $(machine)"
echo "client on core 0, nginx on core $(($(nproc) - 1)), $rounds rounds of ${seconds} s, requests per second of the client's processor time"

# Runs a client; seconds of processor time go to $scratch/cpu, what it says to $scratch/out.
timed() {
    local TIMEFORMAT='%U %S'
    { time taskset -c 0 "$@" >"$scratch/out" 2>"$scratch/err"; } 2>"$scratch/cpu"
}
# requests, and processor time in seconds
by_wrk() { # connections
    timed wrk -t1 -c"$1" -d"${seconds}s" "$url"
    awk '/ requests in / {print $1}' "$scratch/out" | paste -d' ' - <(awk '{print $1 + $2}' "$scratch/cpu")
}
by_shoal() { # connections
    # 4: it was the bottleneck, which is the very thing to be measured here.
    timed "$shoal" bench http "$url" --connections "$1" --for "${seconds}s" --no-report --no-live --json || [ $? = 4 ]
    python3 -c 'import json,sys; c=json.load(open(sys.argv[1]))["series"][0]["counts"]; assert c["ok"]==c["scheduled"]; print(c["ok"])' "$scratch/out" |
        paste -d' ' - <(awk '{print $1 + $2}' "$scratch/cpu")
}

for count in ${connections//,/ }; do
    : >"$scratch/ratios"
    : >"$scratch/clock"
    for round in $(seq "$rounds"); do
        if [ $((round % 2)) = 1 ]; then
            wrk=$(by_wrk "$count"); ours=$(by_shoal "$count")
        else
            ours=$(by_shoal "$count"); wrk=$(by_wrk "$count")
        fi
        awk -v a="$ours" -v b="$wrk" -v c="$count" -v r="$round" 'BEGIN { split(a, x, " "); split(b, y, " ");
            printf "%d connections, round %d: shoal %.0f, wrk %.0f, ratio %.3f\n", c, r, x[1] / x[2], y[1] / y[2], (x[1] / x[2]) / (y[1] / y[2]) }'
        awk -v a="$ours" -v b="$wrk" 'BEGIN { split(a, x, " "); split(b, y, " "); print (x[1] / x[2]) / (y[1] / y[2]) }' >>"$scratch/ratios"
        awk -v a="$ours" -v b="$wrk" 'BEGIN { split(a, x, " "); split(b, y, " "); print x[1] / y[1] }' >>"$scratch/clock"
    done
    echo "$count connections: per processor second $(spread <"$scratch/ratios") of wrk, per second of the clock $(spread <"$scratch/clock")"
done
