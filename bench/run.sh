#!/usr/bin/env bash
# run.sh - the kernel's figures, each against a peer in the same run: single submits and static answers against nginx,
# lifecycles against PostgreSQL, submit→lease latency, memory at rest and for each queued task, and what the simulator gets
# done on a core.
#
#   bench/run.sh [BUILD_DIR] [--rounds N] [--seconds N] [--tasks N] [--queued N] [--only status,submit,lifecycle,latency,memory,sim]
#
# Everything runs on loopback in a scratch directory and is ended by its process id. Peers alternate with Shoal, round by
# round, since the machine's speed drifts: quote the ratios. Needs nginx, wrk and PostgreSQL (scripts/setup.sh bench).
set -euo pipefail
cd "$(dirname "$0")/.."

build=build rounds=5 seconds=5 tasks=500000 queued=1000000 only=status,submit,lifecycle,latency,memory,sim
while [ $# -gt 0 ]; do
    case "$1" in
    --rounds) rounds=$2; shift 2 ;;
    --seconds) seconds=$2; shift 2 ;;
    --tasks) tasks=$2; shift 2 ;;
    --queued) queued=$2; shift 2 ;;
    --only) only=$2; shift 2 ;;
    --help) sed -n '2,10s/^# \{0,1\}//p' "$0"; exit 0 ;;
    -*) echo "bench: no option $1 (see --help)" >&2; exit 2 ;;
    *) build=$1; shift ;;
    esac
done
wants() { case ",$only," in *",$1,"*) return 0 ;; *) return 1 ;; esac; }
. bench/lib.sh

echo "machine: $(machine)"
echo "build: $("$shoal" version 2>/dev/null | head -1), rounds $rounds × ${seconds} s, durability batch (fdatasync before every answer)"

if wants status || wants submit; then
    need nginx; need wrk
    start_nginx || { echo "bench: nginx did not start" >&2; exit 1; }
    post_lua=$(post_script)
    start_hub "$scratch/hub-http" --set finished_keep_ms=1000
    make_kind
fi
compare_http() { # title connections script-or-empty path
    local a b
    : >"$scratch/ours" && : >"$scratch/peer" && : >"$scratch/ratio" && : >"$scratch/p99"
    for _ in $(seq "$rounds"); do
        a=$(wrk_run "$2" "http://127.0.0.1:$hub_port$4" "$3")
        b=$(wrk_run "$2" "http://127.0.0.1:$nginx_port$4" "$3")
        echo "${a% *}" >>"$scratch/ours"; echo "${b% *}" >>"$scratch/peer"; echo "${a#* }" >>"$scratch/p99"
        python3 -c 'import sys; print(float(sys.argv[1])/float(sys.argv[2]))' "${a% *}" "${b% *}" >>"$scratch/ratio"
    done
    echo "$1: $(spread <"$scratch/ours") /s, nginx $(spread <"$scratch/peer") /s, ratio $(spread <"$scratch/ratio"), our p99 $(spread <"$scratch/p99") ms"
}
wants status && compare_http "GET /status, 64 connections" 64 "" /status
wants submit && compare_http "POST /v1/tasks, one per request, fsynced, 256 connections" 256 "$post_lua" /v1/tasks
if wants status || wants submit; then stop_hub; fi

if wants lifecycle; then
    start_postgres || { echo "bench: PostgreSQL did not start: $(cat "$scratch/pg.log")" >&2; exit 1; }
    for f in ours pg1 pg100 ratio1 ratio100; do : >"$scratch/$f"; done
    for round in $(seq "$rounds"); do
        start_hub "$scratch/hub-life-$round" --set finished_keep_ms=1000
        out=$("$build/bench/bench_lifecycle" "$hub_port" "$tasks" 100 8 8)
        ours=$(field "$out" lifecycles_per_s)
        stop_hub
        rm -rf "$scratch/hub-life-$round"
        "${psql[@]}" -c 'truncate task'
        one=$(pg_run 16 -f "$scratch/single.sql")
        "${psql[@]}" -c 'truncate task'
        many=$(pg_run 8 -f "$scratch/batch.sql")
        echo "$ours" >>"$scratch/ours"; echo "$one" >>"$scratch/pg1"
        python3 -c 'import sys; print(float(sys.argv[1])*100)' "$many" >>"$scratch/pg100"
        python3 -c 'import sys; print(float(sys.argv[1])/float(sys.argv[2]))' "$ours" "$one" >>"$scratch/ratio1"
        python3 -c 'import sys; print(float(sys.argv[1])/float(sys.argv[2])/100)' "$ours" "$many" >>"$scratch/ratio100"
        echo "  round $round: $out"
    done
    echo "lifecycles in batches of 100, fsynced: $(spread <"$scratch/ours") /s"
    echo "  PostgreSQL SKIP LOCKED, one task a transaction: $(spread <"$scratch/pg1") /s, ratio $(spread <"$scratch/ratio1")"
    echo "  PostgreSQL SKIP LOCKED, 100 tasks a transaction: $(spread <"$scratch/pg100") /s, ratio $(spread <"$scratch/ratio100")"
    if wants submit; then
        "${psql[@]}" -c 'truncate task'
        start_hub "$scratch/hub-vs-pg"
        make_kind
        for f in ours pginsert ratio; do : >"$scratch/$f"; done
        for _ in $(seq "$rounds"); do
            a=$(wrk_run 256 "http://127.0.0.1:$hub_port/v1/tasks" "$post_lua"); b=$(pg_run 64 -f "$scratch/insert.sql")
            echo "${a% *}" >>"$scratch/ours"; echo "$b" >>"$scratch/pginsert"
            python3 -c 'import sys; print(float(sys.argv[1])/float(sys.argv[2]))' "${a% *}" "$b" >>"$scratch/ratio"
        done
        stop_hub
        echo "single submits against PostgreSQL inserts: $(spread <"$scratch/ours") /s, PostgreSQL (64 clients) $(spread <"$scratch/pginsert") /s, ratio $(spread <"$scratch/ratio")"
    fi
    stop_server "$pg_pid"
fi

if wants latency; then
    start_hub "$scratch/hub-latency"
    for _ in $(seq "$rounds"); do
        out=$("$build/bench/bench_latency" "$hub_port" 1500 1000)
        echo "submit → lease on an idle node: $out"
    done
    stop_hub
fi

if wants memory; then
    start_hub "$scratch/hub-memory"
    sleep 1
    rest=$(rss_kib "$hub_pid")
    echo "memory at rest: $((rest / 1024)) MiB ($rest KiB)"
    "$build/bench/bench_fill" "$hub_port" "$queued"
    sleep 1
    full=$(rss_kib "$hub_pid")
    echo "memory with $queued queued tasks: $((full / 1024)) MiB, $(((full - rest) * 1024 / queued)) bytes a task"
    stop_hub
    began=$(date +%s.%N)
    start_hub "$scratch/hub-memory"
    python3 -c 'import sys,time; print("restart with %s queued tasks: %.2f s until ready" % (sys.argv[2], time.time()-float(sys.argv[1])))' "$began" "$queued"
    stop_hub
fi

if wants sim; then
    for what in "--faults none" "--faults all" "--faults all --workload test/sim/keys.workload"; do
        # shellcheck disable=SC2086
        out=$("$shoal" sim --seeds 40 $what --json)
        echo "simulator, $what: $(field "$out" commands_per_minute) commands/min, $(field "$out" crashes_per_second) crashes with recovery/s of one core"
    done
fi
