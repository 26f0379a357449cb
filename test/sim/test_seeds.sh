#!/usr/bin/env bash
# The seeds that once failed (seeds.txt), and two hundred more. $1: the program; $2: this folder.
set -euo pipefail
while IFS= read -r line; do
    line=${line%%#*}
    [ -n "${line// /}" ] || continue
    read -ra arguments <<<"$line"
    "$1" sim "${arguments[@]}"
done <"$2/seeds.txt"
exec "$1" sim --seed 1000 --seeds 200 --steps 12000
