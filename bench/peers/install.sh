#!/usr/bin/env bash
# install.sh [BUILD_DIR] - what `make bench-peers` needs beside Debian's packages (scripts/setup.sh bench peers): BullMQ from npm,
# at the versions of package-lock.json, and a newer NATS server than Debian 12 has, whose 2.9 cannot sync every write (2.10 and
# later can: sync_interval: always). That one is built from its Go module where a Go compiler is installed. Without network or
# compiler it says so and goes on: bench/peers.sh then says in its table what it could not measure.
set -uo pipefail
cd "$(dirname "$0")"
build=$(cd ../.. && realpath -m "${1:-build}")
nats=github.com/nats-io/nats-server/v2@v2.15.2

if ! cmp -s package-lock.json node_modules/.installed; then
    echo "peers: fetching BullMQ"
    if npm ci --ignore-scripts --no-audit --no-fund --loglevel=error; then
        cp package-lock.json node_modules/.installed
    else
        echo "peers: BullMQ could not be fetched; it will be missing from the table" >&2
    fi
fi

if [ "$(cat "$build/peers/nats.version" 2>/dev/null)" != "$nats" ] && command -v go >/dev/null; then
    echo "peers: building $nats (a minute or two, once)"
    mkdir -p "$build/peers"
    if GOBIN=$build/peers GOFLAGS=-mod=mod timeout 900 go install "$nats" >"$build/peers/nats.log" 2>&1; then
        echo "$nats" >"$build/peers/nats.version"
    else
        tail -n 3 "$build/peers/nats.log" >&2
        echo "peers: it could not be built; the NATS server of the system is measured, as far as it goes" >&2
    fi
fi
exit 0
