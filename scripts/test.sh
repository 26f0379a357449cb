#!/usr/bin/env bash
# Runs every test of a build: the unit tests (meson), then each executable test/e2e/test_*. The last line is
# "N passed, N failed", with ", N skipped" behind it when there are any; exit 0 only when none failed and some ran.
#
#   scripts/test.sh [WORD...]   only tests whose name holds one of the words, such as "base/" or "e2e/"
#
# An end-to-end test is one executable file. It gets SHOAL (the built binary), SHOAL_TMP (a scratch folder of its own that
# any user may enter) and SANITIZE; exit 0 passes, 77 skips, anything else fails. Ten minutes are the most it may take,
# or E2E_SECONDS.
set -euo pipefail
cd "$(dirname "$0")/.."

SANITIZE=${SANITIZE:-}
BUILD_DIR=${BUILD_DIR:-build${SANITIZE:+-${SANITIZE//,/-}}}
SHOAL=$(realpath -m "$BUILD_DIR/shoal")
export SANITIZE SHOAL
words=("$@")
slower=1 # a sanitizer's build takes its time
if [ -n "$SANITIZE" ]; then
    slower=4
    export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_stack_use_after_return=1:abort_on_error=1:allocator_may_return_null=1}
    export UBSAN_OPTIONS=${UBSAN_OPTIONS:-halt_on_error=1:print_stacktrace=1}
    export TSAN_OPTIONS=${TSAN_OPTIONS:-halt_on_error=1:second_deadlock_stack=1}
fi

passed=0
failed=0
skipped=0
failures=()

is_wanted() {
    [ ${#words[@]} -eq 0 ] && return 0
    local word
    for word in "${words[@]}"; do
        [[ $1 == *"$word"* ]] && return 0
    done
    return 1
}

unit_tests() {
    local wanted=() name result count status=0
    while IFS= read -r name; do
        name=${name##* / }
        is_wanted "$name" && wanted+=("$name")
    done < <(meson test -C "$BUILD_DIR" --no-rebuild --list 2>/dev/null)
    [ ${#wanted[@]} -gt 0 ] || return 0
    rm -f "$BUILD_DIR/meson-logs/testlog.json"
    meson test -C "$BUILD_DIR" --no-rebuild --print-errorlogs --timeout-multiplier "$slower" "${wanted[@]}" |
        sed -u '/^Full log written to/d; /^ninja: /d; /^Ok: /,$d' || status=$?
    if [ ! -s "$BUILD_DIR/meson-logs/testlog.json" ]; then
        failed=$((failed + 1))
        failures+=("meson test (it ended with $status)")
        return 0
    fi
    while IFS=$'\t' read -r name result; do
        case $result in
        OK | EXPECTEDFAIL) passed=$((passed + 1)) ;;
        SKIP) skipped=$((skipped + 1)) ;;
        *)
            failed=$((failed + 1))
            failures+=("$name ($result)")
            ;;
        esac
    done < <(/usr/bin/python3 -c '
import json, sys
for line in open(sys.argv[1], encoding="utf-8", errors="replace"):
    test = json.loads(line)
    print(test["name"].split(" / ")[-1], test["result"], sep="\t")' "$BUILD_DIR/meson-logs/testlog.json")
    count=$((passed + failed + skipped))
    if [ "$count" -ne ${#wanted[@]} ]; then # a crash of the runner must not look like success
        failed=$((failed + 1))
        failures+=("meson test ran $count tests of ${#wanted[@]}")
    fi
}

npm_packages() {
    local lock=test/e2e/package-lock.json
    [ -f "$lock" ] || return 0
    [ test/e2e/node_modules/.package-lock.json -nt "$lock" ] && return 0
    echo "installing the npm packages of test/e2e"
    (cd test/e2e && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error) && touch test/e2e/node_modules/.package-lock.json
}

e2e_test() { # file
    local file=$1 name=e2e/${1##*/} log start seconds status=0 word pid
    log=$BUILD_DIR/test-logs/${file##*/}.log
    SHOAL_TMP=$(mktemp -d "${TMPDIR:-/tmp}/shoal-test.XXXXXX")
    chmod 755 "$SHOAL_TMP"
    export SHOAL_TMP
    start=$EPOCHREALTIME
    # timeout gives the test a process group of its own, whose leftovers are ended afterwards.
    timeout --kill-after=20 $((${E2E_SECONDS:-600} * slower)) "$file" >"$log" 2>&1 </dev/null &
    pid=$!
    trap 'kill -KILL -- "-$pid" 2>/dev/null; exit 130' INT TERM
    wait "$pid" || status=$?
    trap - INT TERM
    kill -KILL -- "-$pid" 2>/dev/null || true
    seconds=$(LC_ALL=C awk -v a="$start" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f", b - a }')
    case $status in
    0)
        word=OK
        passed=$((passed + 1))
        ;;
    77)
        word="SKIP $(tail -n 1 "$log")"
        skipped=$((skipped + 1))
        ;;
    *)
        word=FAIL
        [ "$status" -ne 124 ] && [ "$status" -ne 137 ] || word=TIMEOUT
        failed=$((failed + 1))
        failures+=("$name ($word, exit $status)")
        ;;
    esac
    printf '%-40s %8ss  %s\n' "$name" "$seconds" "$word"
    if [ "$status" -ne 0 ] && [ "$status" -ne 77 ]; then
        echo "--- the end of $log; its scratch folder is $SHOAL_TMP"
        tail -n 120 "$log"
        echo "---"
    else
        rm -rf "$SHOAL_TMP"
    fi
}

e2e_tests() {
    local file wanted=()
    for file in test/e2e/test_*; do
        [ -f "$file" ] && is_wanted "e2e/${file##*/}" || continue
        if [ ! -x "$file" ]; then
            failed=$((failed + 1))
            failures+=("e2e/${file##*/} is not executable")
            continue
        fi
        wanted+=("$file")
    done
    [ ${#wanted[@]} -gt 0 ] || return 0
    if ! npm_packages; then
        failed=$((failed + 1))
        failures+=("npm ci in test/e2e: the packages could not be fetched")
    fi
    mkdir -p "$BUILD_DIR/test-logs"
    for file in "${wanted[@]}"; do
        e2e_test "$file"
    done
}

if [ ! -f "$BUILD_DIR/build.ninja" ]; then
    echo "nothing is built in $BUILD_DIR; run make first" >&2
    exit 1
fi
unit_tests
e2e_tests

if [ $failed -gt 0 ]; then
    echo "failed:"
    printf '  %s\n' "${failures[@]}"
fi
if [ $((passed + failed)) -eq 0 ]; then
    echo "no test ran"
fi
line="$passed passed, $failed failed"
[ $skipped -eq 0 ] || line+=", $skipped skipped"
echo "$line"
[ $failed -eq 0 ] && [ $passed -gt 0 ]
