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
shoal=$build/shoal
[ -x "$shoal" ] || { echo "bench: $shoal is missing; run make first" >&2; exit 2; }
wants() { case ",$only," in *",$1,"*) return 0 ;; *) return 1 ;; esac; }
need() { command -v "$1" >/dev/null || { echo "bench: $1 is missing; run scripts/setup.sh bench" >&2; exit 2; }; }

scratch=$(mktemp -d "${TMPDIR:-/tmp}/shoal-bench.XXXXXX")
chmod 755 "$scratch"
pids=()
finish() {
    for pid in "${pids[@]:-}"; do [ -n "$pid" ] && kill "$pid" 2>/dev/null || true; done
    for pid in "${pids[@]:-}"; do [ -n "$pid" ] && wait "$pid" 2>/dev/null || true; done
    rm -rf "$scratch"
}
trap finish EXIT
trap 'exit 130' INT TERM

free_port() { python3 -c 'import socket; s=socket.socket(); s.bind(("127.0.0.1",0)); print(s.getsockname()[1])'; }
hub_pid= hub_port=
start_hub() { # directory, further arguments
    local dir=$1 log=$1.log
    shift
    "$shoal" hub --data "$dir" --listen 127.0.0.1:0 "$@" >"$log" 2>"$log.err" &
    hub_pid=$!
    pids+=("$hub_pid")
    for _ in $(seq 300); do
        hub_port=$(sed -n 's|.*listening on http://127.0.0.1:\([0-9]*\).*|\1|p' "$log")
        [ -n "$hub_port" ] && return
        kill -0 "$hub_pid" 2>/dev/null || break
        sleep 0.1
    done
    echo "bench: the hub did not start:" >&2
    cat "$log" "$log.err" >&2
    exit 1
}
stop_hub() {
    kill "$hub_pid"
    wait "$hub_pid" || true
}
rss_kib() { awk '/^VmRSS/ {print $2}' "/proc/$1/status"; }
# median and spread of the numbers on standard input
spread() { sort -g | awk '{v[NR]=$1} END {m=NR%2?v[(NR+1)/2]:(v[NR/2]+v[NR/2+1])/2; printf "%.4g (%.4g–%.4g)", m, v[1], v[NR]}'; }
field() { python3 -c 'import json,sys; print(json.loads(sys.argv[1])[sys.argv[2]])' "$1" "$2"; }
# requests/s and p99 in ms of one wrk run: CONNECTIONS URL [SCRIPT]
wrk_run() {
    local out
    out=$(wrk -t1 -c"$1" -d"${seconds}s" --latency ${3:+-s "$3"} "$2")
    if grep -q 'Non-2xx' <<<"$out"; then echo "bench: refused requests: $out" >&2; exit 1; fi
    awk '/Requests\/sec/ {rps=$2} /^ *99%/ {p=$2; u=p; gsub(/[0-9.]/,"",u); p+=0; if (u=="us") p/=1000; if (u=="s") p*=1000}
         END {print rps, p}' <<<"$out"
}

echo "machine: $(nproc) cores, $(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -1), Linux $(uname -r)"
echo "build: $("$shoal" version 2>/dev/null | head -1), rounds $rounds × ${seconds} s, durability batch (fdatasync before every answer)"

if wants status || wants submit; then
    need nginx; need wrk
    nginx_port=$(free_port)
    cat >"$scratch/nginx.conf" <<CONF
worker_processes 1; daemon off; pid $scratch/nginx.pid; error_log $scratch/nginx.err;
events { worker_connections 4096; multi_accept on; }
http { access_log off; keepalive_requests 1000000000; keepalive_timeout 600s;
  client_body_temp_path $scratch/nginx-body; proxy_temp_path $scratch/nginx-proxy; fastcgi_temp_path $scratch/nginx-fcgi;
  uwsgi_temp_path $scratch/nginx-uwsgi; scgi_temp_path $scratch/nginx-scgi;
  server { listen 127.0.0.1:$nginx_port backlog=4096; default_type application/json;
    location / { return 200 '{"status":"ok","version":"0.1.0","uptime_ms":123456,"seq":123456}'; } } }
CONF
    nginx -c "$scratch/nginx.conf" 2>/dev/null &
    pids+=("$!")
    cat >"$scratch/post.lua" <<'LUA'
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = '{"kind":"bench.noop","input":{"n":12345,"text":"a small task"}}'
LUA
    start_hub "$scratch/hub-http" --set finished_keep_ms=1000
    curl -sf -X PUT "http://127.0.0.1:$hub_port/v1/kinds/bench.noop" -H "Content-Type: application/json" -d '{}' >/dev/null
    for _ in $(seq 50); do curl -sf "http://127.0.0.1:$nginx_port/" >/dev/null && break; sleep 0.1; done
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
wants submit && compare_http "POST /v1/tasks, one per request, fsynced, 256 connections" 256 "$scratch/post.lua" /v1/tasks
if wants status || wants submit; then stop_hub; fi

if wants lifecycle; then
    pgbin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -1)
    [ -n "$pgbin" ] || need pgbench
    pg_port=$(free_port)
    if [ "$(id -u)" = 0 ]; then as=(setpriv --reuid=postgres --regid=postgres --clear-groups); else as=(); fi
    install -d -m 700 ${as:+-o postgres -g postgres} "$scratch/pg"
    "${as[@]}" "$pgbin/initdb" -D "$scratch/pg" -A trust -U postgres >/dev/null
    cat >>"$scratch/pg/postgresql.conf" <<CONF
listen_addresses = '127.0.0.1'
port = $pg_port
unix_socket_directories = '$scratch/pg'
fsync = on
synchronous_commit = on
shared_buffers = 1GB
max_wal_size = 4GB
checkpoint_timeout = 15min
wal_buffers = 16MB
CONF
    "${as[@]}" "$pgbin/postgres" -D "$scratch/pg" >"$scratch/pg.log" 2>&1 &
    pg_pid=$!
    pids+=("$pg_pid")
    psql=("$pgbin/psql" -q -h 127.0.0.1 -p "$pg_port" -U postgres)
    for _ in $(seq 100); do "${psql[@]}" -c 'select 1' >/dev/null 2>&1 && break; sleep 0.1; done
    "${psql[@]}" <<'SQL'
create table task (id bigserial primary key, kind text not null, input jsonb, state text not null default 'ready', result jsonb,
  created timestamptz not null default now(), finished timestamptz);
create index task_ready on task (id) where state = 'ready';
alter table task set (autovacuum_vacuum_scale_factor = 0.02);
SQL
    cat >"$scratch/single.sql" <<'SQL'
insert into task (kind, input) values ('bench.noop', '{"n": 1}');
with t as (select id from task where state = 'ready' order by id limit 1 for update skip locked),
  u as (update task set state = 'leased' from t where task.id = t.id returning task.id)
  select coalesce(max(id), 0) as id from u \gset
update task set state = 'succeeded', result = '{"ok": true}', finished = now() where id = :id;
SQL
    cat >"$scratch/batch.sql" <<'SQL'
insert into task (kind, input) select 'bench.noop', jsonb_build_object('n', g) from generate_series(1, 100) g;
with t as (select id from task where state = 'ready' order by id limit 100 for update skip locked),
  u as (update task set state = 'leased' from t where task.id = t.id returning task.id)
  select quote_literal(coalesce(array_agg(id), '{}')::text) as ids from u \gset
update task set state = 'succeeded', result = '{"ok": true}', finished = now() where id = any(:ids::bigint[]);
SQL
    pg_run() { # script, clients → transactions/s
        "$pgbin/pgbench" -n -h 127.0.0.1 -p "$pg_port" -U postgres -f "$1" -c "$2" -j 2 -T "$seconds" postgres 2>"$scratch/pgbench.err" |
            awk '/^tps/ {print $3; ok=1} END {exit !ok}' || { cat "$scratch/pgbench.err" >&2; exit 1; }
    }
    for f in ours pg1 pg100 ratio1 ratio100; do : >"$scratch/$f"; done
    for round in $(seq "$rounds"); do
        start_hub "$scratch/hub-life-$round" --set finished_keep_ms=1000
        out=$("$build/bench/bench_lifecycle" "$hub_port" "$tasks" 100 8 8)
        ours=$(field "$out" lifecycles_per_s)
        stop_hub
        rm -rf "$scratch/hub-life-$round"
        "${psql[@]}" -c 'truncate task'
        one=$(pg_run "$scratch/single.sql" 16)
        "${psql[@]}" -c 'truncate task'
        many=$(pg_run "$scratch/batch.sql" 8)
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
        cat >"$scratch/insert.sql" <<'SQL'
insert into task (kind, input) values ('bench.noop', '{"n": 12345, "text": "a small task"}');
SQL
        "${psql[@]}" -c 'truncate task'
        start_hub "$scratch/hub-vs-pg"
        curl -sf -X PUT "http://127.0.0.1:$hub_port/v1/kinds/bench.noop" -H "Content-Type: application/json" -d '{}' >/dev/null
        for f in ours pginsert ratio; do : >"$scratch/$f"; done
        for _ in $(seq "$rounds"); do
            a=$(wrk_run 256 "http://127.0.0.1:$hub_port/v1/tasks" "$scratch/post.lua"); b=$(pg_run "$scratch/insert.sql" 64)
            echo "${a% *}" >>"$scratch/ours"; echo "$b" >>"$scratch/pginsert"
            python3 -c 'import sys; print(float(sys.argv[1])/float(sys.argv[2]))' "${a% *}" "$b" >>"$scratch/ratio"
        done
        stop_hub
        echo "single submits against PostgreSQL inserts: $(spread <"$scratch/ours") /s, PostgreSQL (64 clients) $(spread <"$scratch/pginsert") /s, ratio $(spread <"$scratch/ratio")"
    fi
    kill "$pg_pid"; wait "$pg_pid" 2>/dev/null || true
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
