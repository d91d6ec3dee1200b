#!/usr/bin/env bash
# The cortical microcircuit at full scale, without learning: 77 169 neurons, 0.3 billion synapses, single precision.
#
#     jobs/microcircuit.sh              # in the repository: it starts scripts/race/microcircuit.py
#     SCALE=0.02 jobs/microcircuit.sh   # to try it
#
# RANKS (2), SECONDS_OF_MODEL (1.5, of which the first 0.5 are left out), SCALE (1). Rates, CV and correlations of the
# populations, times and a figure go to OUT (runs/microcircuit). Further options are those of scripts/race/microcircuit.py.
set -euo pipefail

[[ -z ${VENV:-} ]] || export PATH=$VENV/bin:$PATH
race=$(dirname "${BASH_SOURCE[0]}")/../scripts/race/microcircuit.py
if [[ ! -e $race ]]; then
    echo "microcircuit.sh: $race is missing: start it in the repository" >&2
    exit 2
fi
exec python "$race" --only pareprop --scale "${SCALE:-1}" --ranks "${RANKS:-2}" \
    --seconds "${SECONDS_OF_MODEL:-1.5}" --out "${OUT:-runs/microcircuit}" "$@"
