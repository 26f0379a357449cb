#!/usr/bin/env bash
# The same forty seeds give the same history and the same state with another compiler, without optimisation and with all of it,
# and under ASan and UBSan. $1: the program to compare with; $2: the folder of the sources; $3: where to build.
set -euo pipefail
program=$1
source=$2
where=$3
seeds=(--seeds 40 --steps 6000 --json)

hashes() { # program
    "$1" sim "${seeds[@]}" | sed 's/.*"trace":"\([0-9a-f]*\)","state":"\([0-9a-f]*\)".*/\1 \2/'
}

build() { # name, compiler, meson options…
    local name=$1 cc=$2
    shift 2
    [ -f "$where/$name/build.ninja" ] ||
        CC=$cc CXX=$([ "$cc" = clang ] && echo clang++ || echo g++) \
            meson setup "$where/$name" "$source" -Db_ndebug=false "$@" >"$where/$name.log" 2>&1 || {
            cat "$where/$name.log"
            exit 1
        }
    ninja -C "$where/$name" shoal >"$where/$name.log" 2>&1 || {
        tail -n 40 "$where/$name.log"
        exit 1
    }
}

mkdir -p "$where"
wanted=$(hashes "$program")
echo "as built: $wanted"
[[ $wanted =~ ^[0-9a-f]{16}\ [0-9a-f]{64}$ ]]
[ "$wanted" = "$(hashes "$program")" ] || {
    echo "a second run differs"
    exit 1
}
build gcc-O3 gcc -Doptimization=3 -Ddebug=false
if command -v clang >/dev/null; then
    build clang-O0-sanitized clang -Doptimization=0 -Db_sanitize=address,undefined -Db_lundef=false
else
    build gcc-O0-sanitized gcc -Doptimization=0 -Db_sanitize=address,undefined
fi
export ASAN_OPTIONS=detect_stack_use_after_return=1:abort_on_error=1 UBSAN_OPTIONS=halt_on_error=1
for build in "$where"/*/; do
    found=$(hashes "$build/shoal")
    echo "$(basename "$build"): $found"
    [ "$found" = "$wanted" ] || {
        echo "it differs"
        exit 1
    }
done
echo "the same in every build"
