#!/bin/sh
# http_vs_nginx.sh [BENCH_HTTP] - requests/s of a constant answer from Shoal's HTTP server and from nginx `return 200`.
#
# The same body, one server process on one core, 64 keep-alive connections, wrk with one thread; the two servers run
# at the same time (idle while the other is measured) and take turns, so that a slow minute of the machine hits both.
# Prints a line a round, then the median ratio with its spread.
#   ROUNDS=5 SECONDS_EACH=5 CONNECTIONS=64 bench/http_vs_nginx.sh build/bench/bench_http
set -eu
server=${1:-build/bench/bench_http}
rounds=${ROUNDS:-5}
seconds=${SECONDS_EACH:-5}
connections=${CONNECTIONS:-64}
for tool in wrk nginx python3; do
    command -v "$tool" >/dev/null || { echo "http_vs_nginx: $tool is not installed" >&2; exit 1; }
done
scratch=$(mktemp -d)
server_pid=
nginx_pid=
finish() {
    [ -z "$server_pid" ] || kill "$server_pid" 2>/dev/null || true
    [ -z "$nginx_pid" ] || kill "$nginx_pid" 2>/dev/null || true
    wait 2>/dev/null || true
    rm -rf "$scratch"
}
trap finish EXIT
trap 'exit 130' INT TERM

nginx_port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
cat >"$scratch/nginx.conf" <<CONF
daemon off;
worker_processes 1;
pid $scratch/nginx.pid;
error_log $scratch/error.log;
events { worker_connections 4096; }
http {
    access_log off;
    keepalive_requests 1000000000;
    client_body_temp_path $scratch/a; proxy_temp_path $scratch/b; fastcgi_temp_path $scratch/c;
    uwsgi_temp_path $scratch/d; scgi_temp_path $scratch/e;
    server {
        listen 127.0.0.1:$nginx_port backlog=4096;
        default_type application/json;
        location / { return 200 '{"status":"ok"}
'; }
    }
}
CONF
nginx -p "$scratch" -c "$scratch/nginx.conf" 2>"$scratch/nginx.err" &
nginx_pid=$!
"$server" 0 >"$scratch/port" &
server_pid=$!
for _ in 1 2 3 4 5 6 7 8 9 10; do
    [ -s "$scratch/port" ] && curl -s -o "$scratch/nginx.body" "http://127.0.0.1:$nginx_port/" && break
    sleep 0.1
done
server_port=$(cat "$scratch/port")
curl -s -o "$scratch/server.body" "http://127.0.0.1:$server_port/"
cmp "$scratch/nginx.body" "$scratch/server.body"

worker=$(cut -d' ' -f1 "/proc/$nginx_pid/task/$nginx_pid/children")
# Ticks of processor time that a process has used; what other processes do at the moment hardly shows in it.
ticks() { sed 's/.*) //' "/proc/$1/stat" | awk '{ print $12 + $13 }'; }

# measure PORT PID: "<requests/s> <processor time in us per request>"
measure() {
    before=$(ticks "$2")
    wrk -t1 -c"$connections" -d"$seconds"s "http://127.0.0.1:$1/" >"$scratch/wrk"
    if grep -q 'Non-2xx\|Socket errors' "$scratch/wrk"; then
        cat "$scratch/wrk" >&2
        exit 1
    fi
    after=$(ticks "$2")
    awk -v ticks=$((after - before)) -v hz="$(getconf CLK_TCK)" \
        '/^Requests\/sec/ { rate = $2 } / requests in / { count = $1 }
         END { printf "%.0f %.2f\n", rate, ticks / hz * 1e6 / count }' "$scratch/wrk"
}

: >"$scratch/ratios"
round=0
while [ "$round" -lt "$rounds" ]; do
    round=$((round + 1))
    if [ $((round % 2)) -eq 1 ]; then
        ours=$(measure "$server_port" "$server_pid"); theirs=$(measure "$nginx_port" "$worker")
    else
        theirs=$(measure "$nginx_port" "$worker"); ours=$(measure "$server_port" "$server_pid")
    fi
    echo "$ours $theirs" | awk -v round="$round" '{
        printf "round %d: shoal %d/s (%.2f us of processor each), nginx %d/s (%.2f us), ratio %.3f\n", round, $1, $2, $3, $4, $1 / $3 }'
    echo "$ours $theirs" | awk '{ printf "%.3f %.3f\n", $1 / $3, $4 / $2 }' >>"$scratch/ratios"
done
report() {
    cut -d' ' -f"$1" "$scratch/ratios" | sort -n | awk -v what="$2" '{ r[NR] = $1 }
        END { m = NR % 2 ? r[(NR + 1) / 2] : (r[NR / 2] + r[NR / 2 + 1]) / 2;
              printf "%s: median %.3f, from %.3f to %.3f in %d rounds\n", what, m, r[1], r[NR], NR }'
}
report 1 "ratio of requests/s"
report 2 "ratio of requests per processor second"
