#!/usr/bin/env bash
# Includes go downwards only, and what must be deterministic includes nothing that can touch the world.
#
#   base < proto < journal < core < net < hub; work on net; node on work; sim on hub and node; bench on net; cli on
#   everything
#
# Every quoted include of src/ names its layer ("core/core.h"), so that this can be checked by reading.
set -euo pipefail
cd "${1:-$(dirname "$0")/..}"

# What each layer may include beside itself. As the meson.build of each says what it links.
may_include() {
    case $1 in
    base) echo "" ;;
    proto) echo "base" ;;
    journal) echo "base proto" ;;
    core) echo "base proto journal" ;;
    net) echo "base proto journal core" ;;
    hub) echo "base proto journal core net" ;;
    work) echo "base proto net" ;;
    node) echo "base proto net work" ;;
    bench) echo "base proto net" ;;
    sim) echo "base proto journal core net hub work node" ;;
    cli) echo "base proto journal core net hub sim work node bench" ;;
    *) return 1 ;;
    esac
}

# Headers by which a pure layer could reach sockets, threads, clocks, files or randomness.
impure='^(sys/.*|netinet/.*|arpa/.*|linux/.*|net/.*|unistd|fcntl|poll|pthread|threads|semaphore|time|signal|spawn|dirent|netdb|sched|uv|sqlite3|curl/.*|seccomp|stdatomic)\.h$'
impure_base='^base/(clock|entropy|key_file|log)\.h$'

status=0
complain() {
    echo "$1"
    status=1
}

while IFS=: read -r file line include; do
    layer=${file#src/}
    layer=${layer%%/*}
    include=${include#*include}
    include=${include#"${include%%[![:space:]]*}"}
    kind=${include:0:1}
    header=${include:1}
    header=${header%%[\">]*}
    if ! allowed=$(may_include "$layer"); then
        complain "$file:$line: src/$layer is no layer that scripts/check-layers.sh knows"
        continue
    fi
    if [ "$kind" = '"' ]; then
        target=${header%%/*}
        if [ "$target" = "$header" ]; then
            complain "$file:$line: \"$header\" lacks its layer in front"
        elif ! [ -e "src/$header" ] && ! [ -e "src/$header.in" ]; then # or made from that by the build
            complain "$file:$line: there is no src/$header"
        elif [ "$target" != "$layer" ] && [[ " $allowed " != *" $target "* ]]; then
            complain "$file:$line: $layer must not include \"$header\""
        fi
    fi
    case $layer in
    core | proto | journal)
        [ "$file" = src/journal/disk_posix.c ] && continue
        if [[ $kind = '<' && $header =~ $impure ]] || [[ $kind = '"' && $header =~ $impure_base ]]; then
            complain "$file:$line: $layer must stay pure and not include $header"
        fi
        ;;
    esac
done < <(grep -rnE --include='*.c' --include='*.h' --include='*.cc' --include='*.def' '^[[:space:]]*#[[:space:]]*include[[:space:]]*["<]' src)

# The one C++ file.
while IFS= read -r file; do
    [ "$file" = src/base/json.cc ] || complain "$file: src/base/json.cc is the only C++ file"
done < <(find src -name '*.cc' -o -name '*.cpp' -o -name '*.cxx')

# A planted bug of a file that the program with planted bugs does not compile again is never there.
while IFS= read -r file; do
    grep -qF "'../../$file'" test/sim/meson.build || complain "$file: has planted bugs and is not in test/sim/meson.build"
done < <(grep -rl --include='*.c' 'MUTATION(' src)

# What the commands print for people goes through output.c, which escapes what strangers wrote. up.c hands on its own children's
# lines.
while IFS= read -r line; do
    complain "$line: src/cli prints through output.c only"
done < <(grep -nE '(^|[^_a-z])(printf|fprintf|vfprintf|puts|fputs|putchar|dprintf) *\(|write\(STD(OUT|ERR)_FILENO' src/cli/*.c |
    grep -vE '^src/cli/(output|up)\.c:|write\(STDERR_FILENO, farewell')

[ $status -eq 0 ] && echo "layers: includes go downwards only"
exit $status
