#!/usr/bin/env bash
# The demonstration of the README: a hub and two nodes on loopback in a scratch directory, real programs through code.run,
# then 2,000 small tasks while a node and the hub itself are killed. Exit code 0 only if nothing was lost, doubled or
# wrong. SHOAL names the program; DEMO_TASKS the number of small tasks.
set -eu
cd "$(dirname "$0")/.."
SHOAL=${SHOAL:-$PWD/build/shoal}
if [ ! -x "$SHOAL" ]; then
    echo "demo: there is no program at $SHOAL; \"make demo\" builds it." >&2
    exit 2
fi
export SHOAL
exec python3 scripts/demo.py
