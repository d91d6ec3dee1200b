#!/usr/bin/env bash
# The cortical microcircuit at full scale: 77 169 neurons, 0.3 billion synapses, single precision.
#
#     jobs/microcircuit.sh                  # without learning, in the repository: it starts scripts/race/microcircuit.py
#     LEARN=volleys jobs/microcircuit.sh    # all synapses learn volleys, or rates: a training of the task
#     SCALE=0.02 jobs/microcircuit.sh       # to try it
#
# RANKS (2), SCALE (1), OUT (runs/microcircuit, or runs/microcircuit-volleys). Without learning SECONDS_OF_MODEL (1.5, of
# which the first 0.5 are left out); written are rates, CV and correlations of the populations, times and a figure; further
# arguments are options of scripts/race/microcircuit.py. With LEARN they are settings of the task (KEY=VALUE), and a run
# that was stopped goes on from its latest checkpoint when the script is called again in the same way.
set -euo pipefail

[[ -z ${VENV:-} ]] || export PATH=$VENV/bin:$PATH
if [[ -n ${LEARN:-} ]]; then
    settings=()
    for setting in "scale=${SCALE:-1}" iterations=100 test_samples=64 record.weights=false checkpoint.minutes=5 \
        checkpoint.keep=1 "$@"; do
        settings+=(--set "$setting")
    done
    exec pareprop launch --launcher mpirun --ranks "${RANKS:-2}" microcircuit --set "learn=$LEARN" "${settings[@]}" \
        --out "${OUT:-runs/microcircuit-$LEARN}"
fi
race=$(dirname "${BASH_SOURCE[0]}")/../scripts/race/microcircuit.py
if [[ ! -e $race ]]; then
    echo "microcircuit.sh: $race is missing: start it in the repository" >&2
    exit 2
fi
exec python "$race" --only pareprop --scale "${SCALE:-1}" --ranks "${RANKS:-2}" \
    --seconds "${SECONDS_OF_MODEL:-1.5}" --out "${OUT:-runs/microcircuit}" "$@"
