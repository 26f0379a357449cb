#!/usr/bin/env bash
# The seeds that once failed (seeds.txt), two hundred more, and eighty with workers over HTTP. $1: the program; $2: this folder.
set -euo pipefail
program=$(realpath "$1")
cd "$2" # where the workloads are that seeds.txt names
while IFS= read -r line; do
    line=${line%%#*}
    [ -n "${line// /}" ] || continue
    read -ra arguments <<<"$line"
    "$program" sim "${arguments[@]}"
done <seeds.txt
"$program" sim --seed 2000 --seeds 80 --steps 12000 --workload workers.workload
exec "$program" sim --seed 1000 --seeds 200 --steps 12000
