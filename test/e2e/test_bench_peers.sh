#!/usr/bin/env bash
# What the comparison with peers stands on: that the driver counts what the hub did, that a server's wrong word gives no
# figure, and that the table's arithmetic is right.
set -euo pipefail
: "${SHOAL:?the program under test}" "${SHOAL_TMP:?a scratch directory}"
root=$(cd "$(dirname "$0")/../.." && pwd)
SHOAL=$(realpath "$SHOAL")
driver=$(dirname "$SHOAL")/bench/bench_peer
cd "$SHOAL_TMP"
checks=0
fail() { echo "FAIL: $*" >&2; exit 1; }
same() { # what, expected, actual
    [ "$2" = "$3" ] || fail "$1: expected «$2», got «$3»"
    checks=$((checks + 1))
}
code_of() { # runs a command, prints its exit code; output in ./out and ./err
    set +e
    timeout 60 "$@" >out 2>err </dev/null
    echo $?
    set -e
}

: >hub.out
"$SHOAL" hub --data hub --listen 127.0.0.1:0 >hub.out 2>hub.err &
pids=("$!")
trap 'for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; wait "$pid" 2>/dev/null || true; done' EXIT
for _ in $(seq 300); do
    port=$(sed -n 's|.*listening on http://127.0.0.1:\([0-9]*\).*|\1|p' hub.out)
    [ -n "$port" ] && break
    sleep 0.1
done
[ -n "$port" ] || fail "no hub: $(cat hub.out hub.err)"

# The driver's count against the hub's own. It counts half of what was submitted and half of what was completed, less the warm-up;
# so it may not exceed the hub's, and that much less it cannot be either.
for batch in 1 10; do
    before=$(curl -sf "http://127.0.0.1:$port/v1/stats" | jq '.tasks.totals | .accepted + .succeeded')
    same "lifecycles, batch $batch" 0 "$(code_of "$driver" shoal "$port" lifecycle 8 "$batch" 1)"
    after=$(curl -sf "http://127.0.0.1:$port/v1/stats" | jq '.tasks.totals | .accepted + .succeeded')
    jq -e --argjson did $((after - before)) '.rate > 0 and .rate <= $did / 2 * 1.01 and .rate >= $did / 2 * 0.1
        and .p50_ms > 0 and .p99_ms >= .p50_ms and .driver_cpu > 0' out >/dev/null ||
        fail "batch $batch: the hub did $((after - before)) steps, the driver says $(cat out)"
    checks=$((checks + 1))
done
# It says itself when it was handed a task that it had not submitted: nothing it could tell of a hand-over's time.
curl -sf "http://127.0.0.1:$port/v1/tasks" --json '{"kind":"bench.noop","input":1}' >/dev/null
same "latency with a queue that is not empty" 1 "$(code_of "$driver" shoal "$port" latency 1)"
grep -q 'before it was submitted' err || fail "latency with a queue that is not empty: $(cat err)"

# Servers that say what they should not: exit 1, a sentence, and no figure.
cat >liar.py <<'PY'
import socket, sys
server = socket.socket()
server.bind(("127.0.0.1", 0))
server.listen(16)
print(server.getsockname()[1], flush=True)
server.accept()  # the connection that prepares
conn, _ = server.accept()
for say in sys.argv[1].split("|"):
    conn.recv(65536)
    conn.sendall(say.encode().decode("unicode_escape").encode())
conn.close()
PY
lie() { # what it says to one request after the other, peer, what the driver says
    local port pid
    : >liar.port
    python3 liar.py "$1" >liar.port &
    pid=$!
    pids+=("$pid")
    for _ in $(seq 100); do [ -s liar.port ] && break; sleep 0.1; done
    port=$(cat liar.port)
    same "$2 that says «$1»" 1 "$(code_of "$driver" "$2" "$port" lifecycle 1 1 1)"
    [ ! -s out ] || fail "$2 that says «$1»: a figure all the same: $(cat out)"
    grep -q "$3" err || fail "$2 that says «$1»: $(cat err)"
    kill "$pid" 2>/dev/null || true
}
lie '-OOM command not allowed\r\n' redis-list 'refused: -OOM'
lie ':0\r\n' redis-list 'LPUSH did not'
lie ':1\r\n|$4\r\ntask\r\n|:1\r\n|:0\r\n$4\r\ntask\r\n' redis-list 'LREM did not find its task'
lie '' redis-list 'closed the connection'
lie 'DRAINING\r\n' beanstalkd 'refused: DRAINING'
lie 'INSERTED 1\r\n|RESERVED 1 4\r\ntask\r\n|INSERTED 2\r\n|NOT_FOUND\r\n' beanstalkd 'refused: NOT_FOUND'
lie 'INSERTED 1\r\nINSERTED 2\r\n' beanstalkd 'an answer too many'

# The arithmetic: medians of what belongs to one round, never of rounds that one of the two missed.
cat >results <<'JSON'
{"round":1,"work":"lifecycle-1","peer":"shoal","rate":1000,"driver_cpu":0.2,"server_cpu":0.5}
{"round":2,"work":"lifecycle-1","peer":"shoal","rate":4000,"driver_cpu":0.2,"server_cpu":0.5}
{"round":3,"work":"lifecycle-1","peer":"shoal","error":"gone"}
{"round":1,"work":"lifecycle-1","peer":"redis-list-always","rate":500,"driver_cpu":0.95,"server_cpu":0.1}
{"round":2,"work":"lifecycle-1","peer":"redis-list-always","rate":500,"driver_cpu":0.95,"server_cpu":0.1}
{"round":3,"work":"lifecycle-1","peer":"redis-list-always","rate":1,"driver_cpu":0.95,"server_cpu":0.1}
{"round":1,"work":"lifecycle-1","peer":"nats-always","error":"did not start: no such option"}
{"round":1,"work":"latency","peer":"shoal-node","p50_ms":0.5,"p99_ms":1,"server_cpu":0.1}
{"round":1,"work":"latency","peer":"beanstalkd-f0","p50_ms":1.5,"p99_ms":1,"driver_cpu":0.1,"server_cpu":0.1}
JSON
echo '{"versions":{"redis":"7"},"machine":"m","shoal":"0","commit":"c","rounds":3,"seconds":1}' >head
python3 "$root/bench/peers/table.py" head results table.json >table
same "ratio of the rounds that both have" '{"median":5,"min":2,"max":8}' \
    "$(jq -c '.summaries[] | select(.peer == "redis-list-always") | .ratio' table.json)"
same "ratio of times" '{"median":3,"min":3,"max":3}' "$(jq -c '.summaries[] | select(.peer == "beanstalkd-f0") | .ratio' table.json)"
same "cost of a task" 500 "$(jq '.summaries[] | select(.peer == "shoal" and .work == "lifecycle-1") | .server_us.max' table.json)"
grep -q 'Redis lists .*the generator was the bottleneck' table || fail "the bottleneck is not said: $(cat table)"
grep -q 'NATS JetStream .*not measured: did not start: no such option' table || fail "the reason is not said: $(cat table)"
grep -q 'not measured: gone' table || fail "our own failure is not said: $(cat table)"

same "an unknown name" 2 "$(code_of "$root/bench/peers.sh" "$(dirname "$SHOAL")" --only rediss)"
grep -q '"rediss" is neither a peer' err || fail "$(cat err)"
same "no number" 2 "$(code_of "$root/bench/peers.sh" "$(dirname "$SHOAL")" --rounds many)"
echo "$checks checks"
