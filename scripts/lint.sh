#!/usr/bin/env bash
# Form, layers and common mistakes of the source. Says what is wrong, changes nothing.
#
#   scripts/lint.sh          everything; clang-tidy only on files that differ from the main branch
#   scripts/lint.sh --all    clang-tidy on all files
#   scripts/lint.sh --fix    let clang-format put the form right, and no more
set -euo pipefail
cd "$(dirname "$0")/.."
BUILD_DIR=${BUILD_DIR:-build}

mode=${1:-}
case $mode in
'' | --all | --fix) ;;
*)
    sed -n '2,6s/^# \{0,1\}//p' "$0"
    exit 2
    ;;
esac

mapfile -t sources < <(find src test bench -path '*/node_modules' -prune -o -type f \( -name '*.c' -o -name '*.h' -o -name '*.cc' \) -print | sort)
status=0
step() { # name command...
    local name=$1 start=$EPOCHREALTIME result=ok
    shift
    "$@" || {
        result=failed
        status=1
    }
    LC_ALL=C awk -v name="$name" -v a="$start" -v b="$EPOCHREALTIME" -v result="$result" \
        'BEGIN { printf "lint: %-13s %5.1fs  %s\n", name, b - a, result }'
}

if [ "$mode" = --fix ]; then
    clang-format-16 -i "${sources[@]}"
    exit
fi

form() {
    clang-format-16 --dry-run --Werror "${sources[@]}" 2>&1 | sed -n 's/: error: code should be clang-formatted.*//p' |
        awk -F: '{ lines[$1] = lines[$1] " " $2; count[$1]++ }
            END { for (file in lines) printf "%s: %d places are not in form (scripts/lint.sh --fix)\n", file, count[file]; exit NR > 0 }'
}

mistakes() {
    # What is suppressed: headers that cppcheck need not see, and advice that fights the style of tables and callbacks.
    cppcheck --quiet --error-exitcode=1 -j "$(nproc)" --std=c11 --language=c --inline-suppr \
        --enable=warning,performance,portability --suppress=missingIncludeSystem --suppress=missingInclude \
        --suppress=unknownMacro --suppress=nullPointerRedundantCheck \
        --suppress=nullPointerArithmeticRedundantCheck --suppress=normalCheckLevelMaxBranches --suppress=uninitvar:test/* \
        --template='{file}:{line}: {severity}: {message} [{id}]' \
        --library=scripts/cppcheck.cfg -D_GNU_SOURCE -D__linux__ -D__x86_64__ -U__cplusplus -U__has_feature -I src \
        $(printf '%s\n' "${sources[@]}" | grep '^src/.*\.c$\|^bench/.*\.c$')
}

changed() {
    local base
    base=$(git merge-base HEAD origin/main 2>/dev/null || git rev-parse -q --verify HEAD~1 || true)
    { [ -z "$base" ] || git diff --name-only "$base"; git ls-files --others --exclude-standard; } 2>/dev/null | sort -u
}

deeper_mistakes() {
    [ -f "$BUILD_DIR/compile_commands.json" ] || meson setup "$BUILD_DIR" >/dev/null
    local files
    mapfile -t files < <(
        if [ "$mode" = --all ]; then
            printf '%s\n' "${sources[@]}"
        else
            changed
        fi | grep -E '^(src|bench)/.*\.c$' | while read -r file; do [ ! -f "$file" ] || echo "$file"; done)
    if [ ${#files[@]} -eq 0 ]; then
        echo "lint: no source file differs from the main branch, so clang-tidy looked at none; --all looks at all"
        return 0
    fi
    printf '%s\0' "${files[@]}" | xargs -0 -n 4 -P "$(nproc)" clang-tidy --quiet -p "$BUILD_DIR" 2>/dev/null |
        awk 'NF { print } / error: / { bad = 1 } END { exit bad }'
}

step layers scripts/check-layers.sh
step clang-format form
step cppcheck mistakes
step clang-tidy deeper_mistakes
[ $status -eq 0 ] || echo "lint: something is to be put right"
exit $status
