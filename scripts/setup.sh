#!/usr/bin/env bash
# Installs the Debian packages that Shoal needs and that are missing. Quick, and without a word to apt, when none is.
#
#   scripts/setup.sh [GROUP...]            install what is missing of these groups (default: build run tests)
#   scripts/setup.sh --check [GROUP...]    print what is missing; exit 1 when anything is
#   scripts/setup.sh --list [GROUP...]     print the list: group, package, what it is for
#   groups: build run tests bench peers lint; "all" names all six
set -euo pipefail

# group | package | what would make it needless: a command on PATH or an absolute path ("-": only the package itself) | why
# The third column is for things that a machine may have from elsewhere, such as its own Node or JDK.
packages='
build|gcc|gcc|compiles Shoal; compiles C tasks
build|g++|g++|compiles the simdjson shim; compiles C++ tasks
build|libc6-dev|-|headers of the C library
build|meson|meson|the build
build|ninja-build|ninja|the build
build|make|make|the front of the build
build|pkg-config|pkg-config|finds the libraries
build|libuv1-dev|-|event loop, processes, threads
build|node-llhttp|/usr/share/llhttp/llhttp.c|HTTP/1.1 parser, as C source
build|libssl-dev|-|SHA-256
build|libsimdjson-dev|-|reads JSON
build|libsqlite3-dev|-|history of finished tasks
build|libcurl4-openssl-dev|-|HTTP client of the command line and of nodes
build|libseccomp-dev|-|system call filter of the sandbox
build|libcyaml-dev|-|reads the configuration
build|libyaml-dev|-|what libcyaml stands on
build|libxxhash-dev|-|hash tables, content keys
build|libcmocka-dev|-|unit tests, which are built with the rest
run|bubblewrap|bwrap|the sandbox
run|python3|/usr/bin/python3|code.run python; the sandbox shows it the system directories only
run|nodejs|node|code.run javascript; a client in the tests
run|default-jdk-headless|javac|code.run java
run|procps|ps|what the tests look at processes with
tests|curl|curl|a client in the tests and the demo
tests|npm|npm|fetches what the tests use beside Node
tests|chromium|chromium|a page of the web that attacks a hub, in the tests
tests|jq|jq|reads answers in the tests and the demo
tests|clang|clang|builds the fuzz targets
tests|libclang-rt-14-dev|-|libFuzzer and sanitizers of that clang
bench|nginx-light|nginx|what HTTP is measured against
bench|wrk|wrk|load generator
bench|postgresql|/usr/lib/postgresql|what the queue is measured against
peers|redis-server|redis-server|a peer of bench-peers: lists and streams as queues, and what BullMQ stands on
peers|nats-server|nats-server|a peer of bench-peers: JetStream work queue
peers|beanstalkd|beanstalkd|a peer of bench-peers: work queue
peers|nodejs|node|runs BullMQ, a peer of bench-peers
peers|npm|npm|fetches BullMQ
lint|clang-format-16|clang-format-16|form of the source (InsertBraces needs 15 or later)
lint|clang-tidy|clang-tidy|finds mistakes
lint|cppcheck|cppcheck|finds mistakes
'

say() { printf 'setup: %s\n' "$*"; }
fail() { printf 'setup: %s\n' "$*" >&2; exit 1; }

action=install
groups=()
for argument in "$@"; do
    case $argument in
    --list) action=list ;;
    --check) action=check ;;
    -h | --help) sed -n '2,7s/^# \{0,1\}//p' "$0"; exit 0 ;;
    all) groups=(build run tests bench peers lint) ;;
    build | run | tests | bench | peers | lint) groups+=("$argument") ;;
    *) fail "\"$argument\" is no group; there are: build run tests bench peers lint all" ;;
    esac
done
[ ${#groups[@]} -gt 0 ] || groups=(build run tests)

in_groups() {
    local group
    for group in "${groups[@]}"; do
        [ "$group" = "$1" ] && return 0
    done
    return 1
}

# The installed packages, asked for once: dpkg-query takes longer than everything else here.
installed=$'\n'
if command -v dpkg-query >/dev/null; then
    installed+=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' 2>/dev/null | sed -n 's/^installed //p')$'\n'
fi

is_there() { # package alternative
    case $installed in *$'\n'"$1"$'\n'*) return 0 ;; esac
    case $2 in
    -) return 1 ;;
    /*) [ -e "$2" ] ;;
    *) command -v "$2" >/dev/null ;;
    esac
}

missing=()
while IFS='|' read -r group package alternative why; do
    [ -n "$group" ] && in_groups "$group" || continue
    if [ "$action" = list ]; then
        printf '%-6s %-22s %s\n' "$group" "$package" "$why"
    elif ! is_there "$package" "$alternative"; then
        missing+=("$package")
        [ "$action" = install ] || printf '%-6s %-22s %s\n' "$group" "$package" "$why"
    fi
done <<<"$packages"

case $action in
list) exit 0 ;;
check) [ ${#missing[@]} -eq 0 ]; exit ;;
esac
[ ${#missing[@]} -gt 0 ] || exit 0

if ! command -v apt-get >/dev/null; then
    say "this is no Debian; the build will say what it misses of what these packages hold: ${missing[*]}"
    exit 0
fi
as_root=()
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || fail "these packages are missing, and installing them needs root or sudo: ${missing[*]}"
    as_root=(sudo)
fi

# Packages such as nginx and postgresql start their service when they are installed. policy-rc.d is how Debian forbids that
# (101: action not allowed); what was there before comes back at the end, whatever the end is.
policy=/usr/sbin/policy-rc.d
log=$(mktemp)
has_policy=false
restore() {
    if $has_policy; then
        "${as_root[@]}" rm -f "$policy"
        if [ -e "$policy.before-shoal" ] || [ -L "$policy.before-shoal" ]; then
            "${as_root[@]}" mv -f "$policy.before-shoal" "$policy"
        fi
    fi
    rm -f "$log"
}
trap restore EXIT
trap 'exit 130' INT TERM
mark='# put here for a moment by the setup of Shoal'
if { [ -e "$policy" ] || [ -L "$policy" ]; } && ! grep -qsF "$mark" "$policy"; then # ours: left by a run that was killed
    "${as_root[@]}" mv -f "$policy" "$policy.before-shoal"
fi
has_policy=true
printf '#!/bin/sh\n%s\nexit 101\n' "$mark" | "${as_root[@]}" tee "$policy" >/dev/null
"${as_root[@]}" chmod 755 "$policy"

apt() {
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=l apt-get -q -y \
        -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 "$@" </dev/null >>"$log" 2>&1
}

say "installing ${#missing[@]} packages: ${missing[*]}"
if ! apt update; then
    tail -n 15 "$log" >&2
    fail "the list of packages could not be fetched (above is what apt-get said); is the network there?"
fi
if ! apt install --no-install-recommends "${missing[@]}"; then
    tail -n 25 "$log" >&2
    fail "apt-get could not install them; above is what it said"
fi
say "done"
