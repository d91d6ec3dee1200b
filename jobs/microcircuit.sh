#!/usr/bin/env bash
# The cortical microcircuit at full scale, 77 169 neurons and 0.3 billion synapses in single precision, without learning: jobs/microcircuit.sh
#
# RANKS ranks (2), SECONDS_OF_MODEL (1.5, of which the first 0.5 are left out), SCALE (1); rates, CV and correlations of the populations, times and
# a figure go to OUT (runs/microcircuit). Further options are those of scripts/race/microcircuit.py. To try it: SCALE=0.02 jobs/microcircuit.sh
set -euo pipefail

[[ -z ${VENV:-} ]] || export PATH=$VENV/bin:$PATH
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
exec python "$here/../scripts/race/microcircuit.py" --only pareprop --scale "${SCALE:-1}" --ranks "${RANKS:-2}" \
    --seconds "${SECONDS_OF_MODEL:-1.5}" --out "${OUT:-runs/microcircuit}" "$@"
