#!/usr/bin/env bash
# Seeds that nobody has run yet, until the time is over or one fails. $1: the program; TIME (1h), FAULT_RATE (percent).
set -euo pipefail
seed=$(($(date +%s) * 1000))
echo "from seed $seed on, for ${TIME:-1h}"
exec "$1" sim --seed "$seed" --time "${TIME:-1h}" --steps 40000 --fault-rate "${FAULT_RATE:-100}"
