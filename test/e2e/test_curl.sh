#!/usr/bin/env bash
# The README's tour with curl and the command line, against real processes, and what users type wrong.
set -euo pipefail
: "${SHOAL:?the program under test}" "${SHOAL_TMP:?a scratch directory}"
cd "$SHOAL_TMP"
checks=0
fail() { echo "FAIL: $*" >&2; exit 1; }
same() { # what, expected, actual
    [ "$2" = "$3" ] || fail "$1: expected «$2», got «$3»"
    checks=$((checks + 1))
}
holds() { # what, command …
    local what=$1
    shift
    "$@" >/dev/null || fail "$what"
    checks=$((checks + 1))
}
code_of() { # runs a command, prints its exit code; output in ./out and ./err
    set +e
    "$@" >out 2>err </dev/null
    echo $?
    set -e
}

"$SHOAL" up --data data --listen 127.0.0.1:0 --slots 2 --name tour >up.out 2>up.err &
pid=$!
trap 'kill "$pid" 2>/dev/null || true; wait "$pid" 2>/dev/null || true' EXIT
# Skipped only where the node finds no sandbox (the hub goes on without it), and trying it without the node's code fails as
# well.
no_node() {
    local no_sandbox
    no_sandbox=$("$SHOAL" doctor --quick --json --data . | jq -r '.checks[] | select(.check == "bubblewrap" and .verdict == "fail") | .text') || true
    [ -n "$no_sandbox" ] || fail "no node: $(cat up.out up.err)"
    echo "no sandbox can be made here: $no_sandbox"
    exit 77
}
for _ in $(seq 600); do
    grep -q 'Shoal is up' up.out && break
    kill -0 "$pid" 2>/dev/null || fail "shoal up ended: $(cat up.out up.err)"
    ! grep -q 'the node ended (exit code 16)' up.err || no_node
    sleep 0.1
done
hub=$(sed -n 's|.*listening on \(http://127.0.0.1:[0-9]*\).*|\1|p' up.out)
export SHOAL_HUB=$hub
[ -n "$hub" ] || fail "no address: $(cat up.out up.err)"

# --- curl ---
json() { jq -er "$1" <<<"$2" || fail "no $1 in $2"; }
answer=$(curl -sS --fail-with-body "$hub/v1/tasks" --json '{"kind":"code.run","input":{"lang":"python","files":[{"path":"a.py","text":"print(6*7)"}]}}')
id=$(json .id "$answer")
same 'result over curl' '42' "$(curl -sS "$hub/v1/tasks/$id?wait_ms=20000" | jq -r .result.stdout)"
same 'a state by curl' succeeded "$(curl -sS "$hub/v1/tasks/$id" | jq -r .state)"
same 'submit and wait' OK "$(curl -sS "$hub/v1/tasks?wait_ms=20000" --json '{"kind":"code.run","input":{"lang":"javascript","files":[{"path":"a.js","text":"console.log(1)"}]}}' | jq -r .result.verdict)"
same 'a problem over curl' 'invalid /priority' "$(curl -sS "$hub/v1/tasks" --json '{"kind":"code.run","priority":11}' | jq -r '"\(.code) \(.errors[0].pointer)"')"
same 'the status of a form' 415 "$(curl -sS -o /dev/null -w '%{http_code}' "$hub/v1/tasks" -d 'kind=code.run')"
head -c 3000000 /dev/urandom >blob
digest=$(sha256sum blob | cut -d' ' -f1)
same 'a blob goes up' "sha256:$digest" "$(curl -sS -T blob "$hub/v1/blobs/$digest" | jq -r .blob)"
curl -sS "$hub/v1/blobs/$digest" -o blob.back
holds 'and comes back' cmp blob blob.back
curl -sS "$hub/v1/blobs/$digest" -r 100-199 -o part
same 'a range' 100 "$(stat -c %s part)"
same 'chunked upload' "sha256:$digest" "$(curl -sS -H 'Transfer-Encoding: chunked' -T - "$hub/v1/blobs" <blob | jq -r .blob)"
same 'OpenAPI' 3.1 "$(curl -sS "$hub/openapi.json" | jq -r '.openapi[0:3]')"
holds 'keep-alive over many requests' curl -sS --fail "$hub/status" "$hub/healthz" "$hub/v1/stats" "$hub/metrics" "$hub/v1/nodes"

# --- the command line ---
printf 'import sys\nprint("Hello, " + sys.stdin.read().strip() + "!")\nprint(sys.argv[1:])\n' >hello.py
echo Shoal >name.txt
same 'submit --wait' "$(printf "Hello, Shoal!\n['a', 'b c']")" "$("$SHOAL" submit code.run --file hello.py --stdin name.txt --arg a --arg 'b c' --wait)"
printf '#include <stdio.h>\nint main(void) { int n; while (scanf("%%d", &n) == 1) printf("%%d\\n", n * n); return 3; }\n' >sq.c
echo '1 2 3' >numbers
same 'the exit code of a program that fails' 1 "$(code_of "$SHOAL" submit code.run --file sq.c --stdin numbers --wait)"
same 'and its output' "$(printf '1\n4\n9')" "$(cat out)"
id=$("$SHOAL" submit code.run --file hello.py --json | jq -r .id)
holds 'tail follows a task to its end' timeout 60 "$SHOAL" tail "$id"
same 'get --json' succeeded "$("$SHOAL" get "$id" --json | jq -r .state)"
same 'ls --json' "$id" "$("$SHOAL" ls --json --limit 1 | jq -r '.items[0].id')"
same 'nodes --json' tour "$("$SHOAL" nodes --json | jq -r '.items[0].name')"
same 'queues --json' default "$("$SHOAL" queues --json | jq -r '.items[0].name')"
holds 'stats --json' jq -e .tasks <<<"$("$SHOAL" stats --json)"
id=$("$SHOAL" submit code.run --file hello.py --delay 1h --json | jq -r .id)
holds 'cancel' "$SHOAL" cancel "$id"
same 'cancel of what is over' 4 "$(code_of "$SHOAL" cancel "$id")"
same 'get of what is not' 3 "$(code_of "$SHOAL" get 7zzzzzzzzzzzz)"
same 'a wrong option' 2 "$(code_of "$SHOAL" submit code.run --fil x)"
grep -q 'did you mean' err || fail "no help for a wrong option: $(cat err)"
same 'a wrong word' 2 "$(code_of "$SHOAL" sumbit)"
grep -q 'submit' err || fail "no help for a wrong word: $(cat err)"
same 'no hub' 6 "$(code_of "$SHOAL" ls --hub http://127.0.0.1:1)"
same 'a file that is not there' 3 "$(code_of "$SHOAL" submit code.run --file nothere.py)"
says() { # exit code, a part of the sentence, words of the command line
    local code=$1 part=$2
    shift 2
    same "the exit code of shoal $*" "$code" "$(code_of "$SHOAL" "$@")"
    grep -qF -- "$part" err || fail "shoal $* says: $(cat err)"
}
says 6 'shoal up' ls --hub http://127.0.0.1:1
says 2 'shoal queues add nix' submit code.run --file hello.py --queue nix
says 2 '--run-at must be a time' submit code.run --file hello.py --run-at tomorrow
says 2 '--label must be' submit code.run --file hello.py --label ''
says 2 '--priority' submit code.run --file hello.py --priority 11
says 2 'did you mean "dead"' ls --state daed
says 2 'there are scheduled' ls --state elephant
says 2 'a name is missing: shoal nodes drain NAME' nodes drain
says 2 'a name is missing: shoal queues pause NAME' queues pause
says 2 'did you mean "drain"' nodes drian blue
says 10 '--listen' hub --data new --listen "${hub#http://}"
says 10 '--listen' up --data new --listen "${hub#http://}"
[ ! -e new ] || fail "a hub that could not listen leaves $(ls -R new)"
says 11 '--data' hub --data data/hub --listen 127.0.0.1:0
refuses() { # what, a part of the sentence, options of submit code.run …: exit 2, and nothing reaches the hub
    local what=$1 says=$2
    shift 2
    same "$what" 2 "$(code_of "$SHOAL" submit code.run "$@" --hub http://127.0.0.1:1)"
    grep -qF -- "$says" err || fail "$what says: $(cat err)"
}
refuses 'no program' 'shoal submit FILE'
refuses 'an unknown language' '--lang must be python' --file hello.py --lang rust
refuses 'an unknown limit' '--limit foo is not known' --file hello.py --limit foo=1
refuses 'a limit out of range' '--limit cpu_ms must be' --file hello.py --limit cpu_ms=1
refuses 'a flag that is not allowed' '--flag "-fplugin=x" is not among' --file sq.c --flag=-O2 --flag=-fplugin=x
refuses 'one name for two files' '--file "sq.c=hello.py" has the name' --file hello.py --file sq.c=hello.py
refuses 'an entry that is no file' '--entry must be' --file hello.py --entry other.py
refuses 'an input without a language' '/lang is missing' --input '{"files":[{"path":"a.py","text":""}]}'
head -c 100000 /dev/urandom >table.bin
printf 'print(len(open("table.bin","rb").read()))\n' >length.py
same 'a file that travels as a blob' 100000 "$("$SHOAL" submit code.run --file length.py --file table.bin --wait)"
for word in hub node up submit get ls tail cancel retry queues nodes stats verify repair doctor; do
    "$SHOAL" help "$word" | grep -q '^Usage: shoal' || fail "help $word"
    same "$word --help is help $word" "$("$SHOAL" help "$word")" "$("$SHOAL" "$word" --help)"
done
holds 'the exit codes' grep -q '^ *10  address-in-use ' <("$SHOAL" help exit-codes)
holds 'TIME is explained' grep -q '^TIME has a unit: ms, s' <("$SHOAL" help submit)
holds 'the man page' grep -q '^\.SH' <("$SHOAL" help --man)
same 'doctor with data that cannot be' 16 "$(code_of "$SHOAL" doctor --quick --data hello.py/data)"
grep -q '^fail  disk .*hello.py/data cannot be' out || fail "doctor says: $(cat out)"
holds 'doctor' test "$(code_of "$SHOAL" doctor)" -le 1

kill -INT "$pid"
set +e
wait "$pid"
same 'up ends in order on Ctrl-C' 0 $?
set -e
holds 'verify' "$SHOAL" verify --data data/hub

# What up proposes for a kind that was chosen works as it stands; nodes show the key that the hub asks for.
(umask 077 && echo secret >key)
"$SHOAL" up --data keyed --listen 127.0.0.1:0 --slots 1 --offer test.echo --node-key-file key >up.out 2>up.err &
pid=$!
for _ in $(seq 600); do
    grep -q 'Shoal is up' up.out && break
    kill -0 "$pid" 2>/dev/null || fail "shoal up ended: $(cat up.out up.err)"
    sleep 0.1
done
SHOAL_HUB=$(sed -n 's|.*listening on \(http://127.0.0.1:[0-9]*\).*|\1|p' up.out)
example=$(sed -n 's|^  shoal \(submit test.echo .*\)|\1|p' up.out)
[ -n "$example" ] || fail "no example: $(cat up.out)"
eval "holds 'the example of up' \"\$SHOAL\" $example"
echo "$checks checks"
