#!/usr/bin/env bash
# peers.sh - the same work done by Shoal and by servers that people use for it, in turns in one run: `make bench-peers`.
#
#   bench/peers.sh [BUILD_DIR] [--rounds N] [--seconds N] [--only NAME,...] [--json FILE]
#
#   NAME is a peer (nginx, postgresql, redis, bullmq, nats, beanstalkd) or a work (get, post, lifecycle-1, lifecycle-100,
#   enqueue-64, enqueue-256, latency, tpcb); Shoal itself is always measured beside it.
#
# In every round each work is done by each server, one after the other, every second round in the opposite order, since the
# machine's speed drifts; each time with a server just started on an empty directory (PostgreSQL: an emptied table). The table
# at the end has the median of the rounds' ratios with the smallest and the largest. What could not be measured is in the
# table too, with the reason. docs/benchmarks.md says what each work is and why the settings are these.
set -euo pipefail
cd "$(dirname "$0")/.."

build=build rounds=3 seconds=2 only= json=
while [ $# -gt 0 ]; do
    case "$1" in
    --rounds | --seconds | --only | --json)
        [ $# -ge 2 ] || { echo "bench: $1 needs a value" >&2; exit 2; }
        printf -v "${1#--}" %s "$2"; shift 2 ;;
    --help) sed -n '2,13s/^# \{0,1\}//p' "$0"; exit 0 ;;
    -*) echo "bench: no option $1 (see --help)" >&2; exit 2 ;;
    *) build=$1; shift ;;
    esac
done
case $rounds:$seconds in *[!0-9:]* | 0* | *:0* | :* | *:) echo "bench: --rounds and --seconds are whole numbers from 1" >&2; exit 2 ;; esac
peers=' nginx postgresql redis bullmq nats beanstalkd '
works=' get post lifecycle-1 lifecycle-100 enqueue-64 enqueue-256 latency tpcb '
only_peers=' ' only_works=' '
for name in ${only//,/ }; do
    case "$peers" in *" $name "*) only_peers+="$name "; continue ;; esac
    case "$works" in *" $name "*) only_works+="$name "; continue ;; esac
    echo "bench: \"$name\" is neither a peer ($peers) nor a work ($works)" >&2
    exit 2
done
wants_peer() { case $1 in shoal*) return 0 ;; esac; [ "$only_peers" = ' ' ] || case $only_peers in *" ${1%%-*} "*) ;; *) return 1 ;; esac; }
wants_work() { [ "$only_works" = ' ' ] || case $only_works in *" $1 "*) ;; *) return 1 ;; esac; }
. bench/lib.sh
results=$scratch/results
: >"$results"
driver=$build/bench/bench_peer
nats_server=$build/peers/nats-server
[ -x "$nats_server" ] || nats_server=$(command -v nats-server || true)

# --- starting a server: each sets pid and port, or says why it cannot and returns 1 ---

pid= port= dir= why=
has() { command -v "$1" >/dev/null || [ -x "$1" ] || { why="$1 is not installed"; return 1; }; }
serve() { # command...: in the background, its words in $dir.log
    "$@" >"$dir.log" 2>&1 &
    pid=$!
    pids+=("$pid")
    await_port "$port" "$pid" || { why="did not start: $(tail -n 1 "$dir.log" | tr -d '"\\' | cut -c 1-160)"; stop_server "$pid"; return 1; }
}
start_shoal() {
    start_hub "$dir" --set finished_keep_ms=1000
    pid=$hub_pid port=$hub_port
    make_kind
}
start_redis() { # appendfsync
    has redis-server || return 1
    port=$(free_port)
    mkdir -p "$dir"
    serve redis-server --port "$port" --bind 127.0.0.1 --dir "$dir" --save '' --appendonly yes --appendfsync "$1" \
        --maxmemory-policy noeviction
}
start_nats() { # sync_interval, or nothing
    [ -n "$nats_server" ] || { why='nats-server is not installed'; return 1; }
    port=$(free_port)
    mkdir -p "$dir"
    echo "listen: \"127.0.0.1:$port\", jetstream { store_dir: \"$dir\"${1:+, sync_interval: $1} }" >"$dir.conf"
    serve "$nats_server" -c "$dir.conf"
}
start_beanstalkd() { # arguments
    has beanstalkd || return 1
    port=$(free_port)
    mkdir -p "$dir"
    serve beanstalkd -l 127.0.0.1 -p "$port" -b "$dir" "$@"
}

# start PEER: the names of the table; a peer's settings stand here and in settings() below.
start() {
    why=
    case $1 in
    shoal | shoal-node) start_shoal ;;
    nginx) [ -n "$nginx_pid" ] || { why='nginx is not installed or did not start'; return 1; }
        pid=$nginx_pid port=$nginx_port ;;
    postgresql) [ -n "$pg_pid" ] || { why='PostgreSQL is not installed or did not start'; return 1; }
        "${psql[@]}" -c 'truncate task' && pid=$pg_pid port=$pg_port ;;
    redis-list-always | redis-stream-always | bullmq-always) start_redis always ;;
    redis-list-everysec | redis-stream-everysec | bullmq-everysec) start_redis everysec ;;
    nats-always) start_nats always ;;
    nats-default) start_nats ;;
    beanstalkd-f0) start_beanstalkd -f 0 ;;
    beanstalkd-default) start_beanstalkd ;;
    esac
}
stop() { # PEER
    case $1 in nginx | postgresql) return ;; esac
    stop_server "$pid" KILL # what it would still save goes away with its directory
    rm -rf "$dir" "$dir".*
}

# --- doing the work: each prints the driver's JSON line ---

# The processor time of a program that does not tell it itself, as a share of the time it ran.
with_cpu() { # what the first number printed is multiplied by, command; a second number is the p99
    local TIMEFORMAT='%R %U %S' times
    times=$({ time ("${@:2}" >"$scratch/out" 2>"$scratch/err"); } 2>&1) || { cat "$scratch/err" >&2; return 1; }
    LC_ALL=C awk -v times="$times" -v factor="$1" '{ split(times, t, " ")
        printf "{\"rate\":%.1f,%s\"driver_cpu\":%.3f}\n", $1 * factor, (NF > 1 ? "\"p99_ms\":" $2 "," : ""), (t[2] + t[3]) / t[1] }' \
        "$scratch/out"
}
work_driver() { # the name that bench_peer has for it
    case $1 in
    redis-list*) echo redis-list ;;
    redis-stream*) echo redis-stream ;;
    *) echo "${1%%-*}" ;;
    esac
}
run_work() { # WORK PEER
    local args
    case $1 in
    get) with_cpu 1 wrk_run 64 "http://127.0.0.1:$port/status"; return ;;
    post) with_cpu 1 wrk_run 256 "http://127.0.0.1:$port/v1/tasks" "$post_lua"; return ;;
    lifecycle-1) args="lifecycle 64 1 $seconds" ;;
    lifecycle-100) args="lifecycle 16 100 $seconds" ;;
    enqueue-64) args="enqueue 64 1 $seconds" ;;
    enqueue-256) args="enqueue 256 1 $seconds" ;;
    latency) args='latency 1' ;;
    tpcb) with_cpu 1 pg_run 16 -M prepared -b tpcb-like; return ;;
    esac
    case $2-$1 in
    postgresql-lifecycle-1) with_cpu 1 pg_run 64 -M prepared -D id=0 -f "$scratch/turn.sql" ;;
    postgresql-lifecycle-100) with_cpu 100 pg_run 16 -M prepared -D 'ids={}' -f "$scratch/turn100.sql" ;;
    postgresql-enqueue-*) with_cpu 1 pg_run "${1#enqueue-}" -M prepared -f "$scratch/insert.sql" ;;
    bullmq-*) node bench/peers/bullmq.mjs "$port" $args ;;
    shoal-node-latency) "$build/bench/bench_latency" "$port" 400 1000 | sed 's/"lease_p/"p/g' ;;
    *) "$driver" "$(work_driver "$2")" "$port" $args ;;
    esac
}

measure() { # WORK PEER
    local line before ticks began took
    dir=$scratch/$1-$2
    if start "$2"; then
        before=$(cpu_ticks "$pid") began=$EPOCHREALTIME
        if line=$(run_work "$1" "$2" 2>"$scratch/driver.err") && [ -n "$line" ]; then
            ticks=$(($(cpu_ticks "$pid") - before)) took=$EPOCHREALTIME
            line="${line%\}},\"server_cpu\":$(LC_ALL=C awk -v t="$ticks" -v a="$began" -v b="$took" -v hz="$(getconf CLK_TCK)" \
                'BEGIN { printf "%.3f", t / hz / (b - a) }')}"
        else
            why=$(tail -n 1 "$scratch/driver.err" | tr -d '"\\' | cut -c 1-200) line=
        fi
        stop "$2"
    fi
    [ -n "${line:-}" ] || line="{\"error\":\"${why:-no answer}\"}"
    echo "{\"round\":$round,\"work\":\"$1\",\"peer\":\"$2\",${line#\{}" >>"$results"
    printf '  round %s  %-14s %-22s %s\n' "$round" "$1" "$2" "$line"
}

# Who does which work. Shoal stands first: what the others are divided into.
who() { # WORK
    case $1 in
    get | post) echo shoal nginx ;;
    lifecycle-*) echo shoal postgresql redis-list-always redis-list-everysec redis-stream-always redis-stream-everysec \
        bullmq-always bullmq-everysec nats-always nats-default beanstalkd-f0 beanstalkd-default ;;
    enqueue-64) echo shoal postgresql redis-list-always redis-list-everysec bullmq-everysec nats-always nats-default beanstalkd-f0 \
        beanstalkd-default ;;
    # Who syncs each task by itself gains nothing from more connections: nats-always and beanstalkd-f0 stand above.
    enqueue-256) echo shoal redis-list-always redis-list-everysec nats-default beanstalkd-default ;;
    latency) echo shoal-node shoal redis-list-always redis-list-everysec bullmq-everysec nats-always nats-default beanstalkd-f0 \
        beanstalkd-default ;;
    tpcb) echo postgresql ;;
    esac
}

# --- the run ---

post_lua=$(post_script)
if wants_peer nginx && command -v nginx >/dev/null; then start_nginx || nginx_pid=; fi
if wants_peer postgresql && start_postgres; then
    # Two exchanges a task, as for the others: one submits, the other completes what it holds and leases the next.
    cat >"$scratch/turn.sql" <<'SQL'
insert into task (kind, input) values ('bench.noop', '{"n": 12345, "text": "a small task as a client may send it, one of very many"}');
with done as (update task set state = 'succeeded', result = '{"ok": true}', finished = now() where id = :id),
  t as (select id from task where state = 'ready' order by id limit 1 for update skip locked),
  u as (update task set state = 'leased' from t where task.id = t.id returning task.id)
  select coalesce(max(id), 0) as id from u \gset
SQL
    cat >"$scratch/turn100.sql" <<'SQL'
insert into task (kind, input) select 'bench.noop', jsonb_build_object('n', g, 'text', 'a small task as a client may send it') from generate_series(1, 100) g;
with done as (update task set state = 'succeeded', result = '{"ok": true}', finished = now() where id = any(:ids::bigint[])),
  t as (select id from task where state = 'ready' order by id limit 100 for update skip locked),
  u as (update task set state = 'leased' from t where task.id = t.id returning task.id)
  select coalesce(array_agg(id), '{}')::text as ids from u \gset
SQL
    if wants_work tpcb; then "$pgbin/pgbench" -i -q -s 20 -h 127.0.0.1 -p "$pg_port" -U postgres postgres >/dev/null 2>&1 || true; fi
else
    pg_pid=
fi

version() { # the first thing that looks like a version in what a command says
    "$@" 2>&1 | grep -Eo '[0-9]+\.[0-9]+(\.[0-9]+)?' | head -n 1 || true
}
head=$scratch/head.json
cat >"$head" <<JSON
{"machine":"$(machine)","shoal":"$(version "$shoal" version)","commit":"$(git rev-parse --short HEAD 2>/dev/null || true)",
 "rounds":$rounds,"seconds":$seconds,"versions":{"nginx":"$(version nginx -v)","postgresql":"$(version "${pgbin:-.}/postgres" --version)",
 "redis":"$(version redis-server --version)","nats":"$(version "${nats_server:-nats-server}" --version)","beanstalkd":"$(version beanstalkd -v)",
 "bullmq":"$(sed -n 's/^  "version": "\(.*\)",/\1/p' bench/peers/node_modules/bullmq/package.json 2>/dev/null)"}}
JSON
echo "machine: $(machine), $rounds rounds of $seconds s each"
began=$SECONDS
for round in $(seq "$rounds"); do
    for work in $works; do
        wants_work "$work" || continue
        order=()
        for peer in $(who "$work"); do
            wants_peer "$peer" || continue
            if [ $((round % 2)) = 1 ]; then order+=("$peer"); else order=("$peer" "${order[@]}"); fi
        done
        case "${order[*]}" in '' | shoal | shoal-node | 'shoal shoal-node' | 'shoal-node shoal') [ "$only_peers" = ' ' ] || continue ;; esac
        for peer in "${order[@]}"; do measure "$work" "$peer"; done
    done
done
echo "took $((SECONDS - began)) s"
python3 bench/peers/table.py "$head" "$results" ${json:+"$json"}
