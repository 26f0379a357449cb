# lib.sh - what run.sh and peers.sh share: a scratch directory that goes away, servers that are ended by their process id, one
# run of a load generator, and the arithmetic of spreads. To be sourced by bash with `set -euo pipefail`, in the root of the tree,
# with `build` (the build folder) and `seconds` (of one run) set.
shoal=$build/shoal
[ -x "$shoal" ] || { echo "bench: $shoal is missing; run make first" >&2; exit 2; }
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
# Ends a server of ours and waits for it; what it was is forgotten, since its id may be somebody else's afterwards.
stop_server() { # pid [signal]
    local kept=() pid
    kill -s "${2:-TERM}" "$1" 2>/dev/null || true
    wait "$1" 2>/dev/null || true
    for pid in "${pids[@]}"; do [ "$pid" = "$1" ] || kept+=("$pid"); done
    pids=("${kept[@]:-}")
}
# Waits until something listens on the port, and the process that should is alive.
await_port() { # port pid
    for _ in $(seq 200); do
        (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null && return 0
        kill -0 "$2" 2>/dev/null || return 1
        sleep 0.05
    done
    return 1
}

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
stop_hub() { stop_server "$hub_pid"; }
# The kind that every benchmark submits.
make_kind() {
    curl -sf -X PUT "http://127.0.0.1:$hub_port/v1/kinds/bench.noop" -H "Content-Type: application/json" -d '{}' >/dev/null
}

# nginx with a static answer to everything, one worker process: its own tuning of a single core.
nginx_pid= nginx_port=
start_nginx() {
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
    nginx_pid=$!
    pids+=("$nginx_pid")
    await_port "$nginx_port" "$nginx_pid"
}

# PostgreSQL with its durable defaults and more memory, an empty table `task` that is a queue, and the queue's work as pgbench
# scripts: a task a transaction, and a hundred.
pg_pid= pg_port= pgbin= psql=()
start_postgres() {
    local as=()
    pgbin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -1)
    [ -n "$pgbin" ] || return 1
    pg_port=$(free_port)
    if [ "$(id -u)" = 0 ]; then as=(setpriv --reuid=postgres --regid=postgres --clear-groups); fi
    install -d -m 700 ${as:+-o postgres -g postgres} "$scratch/pg"
    "${as[@]}" "$pgbin/initdb" -D "$scratch/pg" -A trust -U postgres >/dev/null || return 1
    cat >>"$scratch/pg/postgresql.conf" <<CONF
listen_addresses = '127.0.0.1'
port = $pg_port
unix_socket_directories = '$scratch/pg'
max_connections = 300
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
    await_port "$pg_port" "$pg_pid" || return 1
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
    cat >"$scratch/insert.sql" <<'SQL'
insert into task (kind, input) values ('bench.noop', '{"n": 12345, "text": "a small task"}');
SQL
}
pg_run() { # clients, further arguments: the script with -f → transactions/s
    "$pgbin/pgbench" -n -h 127.0.0.1 -p "$pg_port" -U postgres -c "$1" -j 2 -T "$seconds" "${@:2}" postgres 2>"$scratch/pgbench.err" |
        awk '/^tps/ {print $3; ok=1} END {exit !ok}' || { cat "$scratch/pgbench.err" >&2; exit 1; }
}

# requests/s and p99 in ms of one wrk run: CONNECTIONS URL [SCRIPT]
wrk_run() {
    local out
    out=$(wrk -t1 -c"$1" -d"${seconds}s" --latency ${3:+-s "$3"} "$2")
    if grep -q 'Non-2xx' <<<"$out"; then echo "bench: refused requests: $out" >&2; exit 1; fi
    awk '/Requests\/sec/ {rps=$2} /^ *99%/ {p=$2; u=p; gsub(/[0-9.]/,"",u); p+=0; if (u=="us") p/=1000; if (u=="s") p*=1000}
         END {print rps, p}' <<<"$out"
}
# The request that wrk_run sends with it: one small task.
post_script() {
    cat >"$scratch/post.lua" <<'LUA'
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = '{"kind":"bench.noop","input":{"n":12345,"text":"a small task"}}'
LUA
    echo "$scratch/post.lua"
}

rss_kib() { awk '/^VmRSS/ {print $2}' "/proc/$1/status"; }
# Ticks of processor time that a process, its children and those it has waited for have used.
cpu_ticks() {
    local pid
    for pid in "$1" $(cat "/proc/$1/task/"*/children 2>/dev/null); do
        sed 's/.*) //' "/proc/$pid/stat" 2>/dev/null || true
    done | awk '{ sum += $12 + $13 + $14 + $15 } END { print sum + 0 }'
}
# median and spread of the numbers on standard input
spread() { sort -g | awk '{v[NR]=$1} END {m=NR%2?v[(NR+1)/2]:(v[NR/2]+v[NR/2+1])/2; printf "%.4g (%.4g–%.4g)", m, v[1], v[NR]}'; }
field() { python3 -c 'import json,sys; print(json.loads(sys.argv[1])[sys.argv[2]])' "$1" "$2"; }
machine() { echo "$(nproc) cores, $(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -1), Linux $(uname -r)"; }
