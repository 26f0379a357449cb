#!/usr/bin/env bash
# Builds the fuzz targets with clang, AddressSanitizer and UBSan (build-fuzz/), and fuzzes each. docs/fuzzing.md.
#
#   scripts/fuzz.sh [SECONDS] [NAME...]   so many seconds for each target (default 60), of these targets (default all)
#   scripts/fuzz.sh --check [NAME...]     the corpus, then the same inputs every time: what make test does
#   scripts/fuzz.sh --merge [NAME...]     takes what was found to be new into test/fuzz/corpus, as few files as it takes to
#                                         reach all that is reached; files with a name of words stay in any case
#
# What fuzzing learns goes to build-fuzz/learned/<name>/, an input that breaks something to build-fuzz/found/. Exit 1 when
# there is such an input. FUZZ_JOBS targets run at a time (default: one for each processor).
set -euo pipefail
cd "$(dirname "$0")/.."
FUZZ_DIR=${FUZZ_DIR:-build-fuzz}

mode=fuzz
seconds=60
case ${1:-} in
--merge | --check)
    mode=${1#--}
    shift
    ;;
-h | --help)
    sed -n '2,10s/^# \{0,1\}//p' "$0"
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
    local corpus=test/fuzz/corpus/$1 learned=$FUZZ_DIR/learned/$1 merged=$FUZZ_DIR/merged/$1 file
    [ -d "$learned" ] || return 0
    rm -rf "$merged"
    mkdir -p "$merged"
    for file in "$corpus"/*; do
        [[ ${file##*/} =~ ^[0-9a-f]{40}$ ]] || cp "$file" "$merged/"
    done
    # Which code is reached counts, not how often: a few hundred files instead of thousands.
    "$FUZZ_DIR/test/fuzz/fuzz_$1" -set_cover_merge=1 -use_counters=0 -max_len=4096 "$merged" "$corpus" "$learned" \
        >"$FUZZ_DIR/logs/$1.log" 2>&1 || {
        tail -n 30 "$FUZZ_DIR/logs/$1.log"
        return 1
    }
    find "$corpus" -type f -delete
    cp "$merged"/* "$corpus/"
    printf 'fuzz: %-14s %s files, %s bytes\n' "$1" "$(find "$corpus" -type f | wc -l)" "$(cat "$corpus"/* | wc -c)"
}

# About three seconds of each target on one core, counted in inputs so that the clock decides nothing.
check_runs() { # name
    case $1 in
    core) echo 400 ;;
    journal | segment) echo 1500 ;;
    snapshot) echo 3000 ;;
    ws_frame) echo 6000 ;;
    http1) echo 10000 ;;
    config | json | options | task_json) echo 20000 ;;
    command | work_answer | work_message) echo 40000 ;;
    code_input | text) echo 60000 ;;
    *) echo 2000 ;;
    esac
}

fuzz_one() { # name
    local log=$FUZZ_DIR/logs/$1.log learned=$FUZZ_DIR/learned/$1 status=0 how=() fixed=()
    if [ $mode = check ]; then
        # The same seed, the files in one order whatever the folder's, and addresses that do not change where that is
        # allowed: what libFuzzer tries depends on all three. Nothing is kept, so that the next time is the same.
        how=(-seed=1 -runs="$(check_runs "$1")" -timeout=300
            -seed_inputs="$(find "test/fuzz/corpus/$1" -type f | LC_ALL=C sort | paste -sd, -)")
        ! setarch -R true 2>/dev/null || fixed=(setarch -R)
    else
        mkdir -p "$learned"
        how=(-max_total_time="$seconds" -timeout=25 "$learned" "test/fuzz/corpus/$1")
    fi
    "${fixed[@]}" "$FUZZ_DIR/test/fuzz/fuzz_$1" -rss_limit_mb=1500 -print_final_stats=1 \
        -artifact_prefix="$FUZZ_DIR/found/$1-" "${how[@]}" >"$log" 2>&1 </dev/null || status=$?
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
