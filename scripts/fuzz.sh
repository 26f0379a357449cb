#!/usr/bin/env bash
# Builds the fuzz targets with clang, AddressSanitizer and UBSan (build-fuzz/), and fuzzes each. docs/fuzzing.md.
#
#   scripts/fuzz.sh [SECONDS] [NAME...]   so many seconds for each target (default 60), of these targets (default all)
#   scripts/fuzz.sh --merge [NAME...]     takes what was found to be new into test/fuzz/corpus, as few files as it takes
#
# What fuzzing learns goes to build-fuzz/learned/<name>/, an input that breaks something to build-fuzz/found/. Exit 1 when
# there is such an input. FUZZ_JOBS targets run at a time (default: one for each processor).
set -euo pipefail
cd "$(dirname "$0")/.."
FUZZ_DIR=${FUZZ_DIR:-build-fuzz}

mode=fuzz
seconds=60
case ${1:-} in
--merge)
    mode=merge
    shift
    ;;
-h | --help)
    sed -n '2,8s/^# \{0,1\}//p' "$0"
    exit
    ;;
[0-9]*)
    seconds=$1
    shift
    ;;
esac
names=("$@")
if [ ${#names[@]} -eq 0 ]; then
    for file in test/fuzz/fuzz_*.c; do
        name=${file##*/fuzz_}
        names+=("${name%.c}")
    done
fi

# A build that was begun and not finished has no build.ninja. Flags of another build's environment do not belong here.
if [ ! -f "$FUZZ_DIR/build.ninja" ]; then
    env -u CFLAGS -u CXXFLAGS CC=clang CXX=clang++ meson setup "$FUZZ_DIR" -Dfuzz=true -Doptimization=1 \
        -Db_sanitize=address,undefined -Db_lundef=false >"$FUZZ_DIR.log" 2>&1 || {
        cat "$FUZZ_DIR.log"
        rm -rf "$FUZZ_DIR"
        exit 1
    }
    rm -f "$FUZZ_DIR.log"
fi
ninja -C "$FUZZ_DIR" --quiet fuzzers
mkdir -p "$FUZZ_DIR/found" "$FUZZ_DIR/logs"
export ASAN_OPTIONS=${ASAN_OPTIONS:-allocator_may_return_null=1:detect_stack_use_after_return=0}

merge_one() { # name
    local corpus=test/fuzz/corpus/$1 learned=$FUZZ_DIR/learned/$1
    [ -d "$learned" ] || return 0
    "$FUZZ_DIR/test/fuzz/fuzz_$1" -merge=1 -max_len=4096 "$corpus" "$learned" >"$FUZZ_DIR/logs/$1.log" 2>&1 || {
        tail -n 30 "$FUZZ_DIR/logs/$1.log"
        return 1
    }
    printf 'fuzz: %-14s %s files\n' "$1" "$(find "$corpus" -type f | wc -l)"
}

fuzz_one() { # name
    local log=$FUZZ_DIR/logs/$1.log learned=$FUZZ_DIR/learned/$1 status=0
    mkdir -p "$learned"
    "$FUZZ_DIR/test/fuzz/fuzz_$1" -max_total_time="$seconds" -timeout=25 -rss_limit_mb=1500 -print_final_stats=1 \
        -artifact_prefix="$FUZZ_DIR/found/$1-" "$learned" "test/fuzz/corpus/$1" >"$log" 2>&1 </dev/null || status=$?
    if [ $status -ne 0 ]; then
        echo "fuzz: $1 found something; the end of $log:"
        grep -v '^#[0-9]' "$log" | tail -n 60
        return 1
    fi
    printf 'fuzz: %-14s %9s inputs, %s\n' "$1" "$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")" \
        "$(sed -n 's/^#.*\(DONE\|INITED\) *\(cov: [0-9]*\).*/\2/p' "$log" | tail -n 1)"
}

if [ $mode = merge ]; then
    for name in "${names[@]}"; do
        merge_one "$name"
    done
    exit
fi
running=0
failed=0
for name in "${names[@]}"; do
    if [ $running -ge "${FUZZ_JOBS:-$(nproc)}" ]; then
        wait -n || failed=1
        running=$((running - 1))
    fi
    fuzz_one "$name" &
    running=$((running + 1))
done
while [ $running -gt 0 ]; do
    wait -n || failed=1
    running=$((running - 1))
done
exit $failed
