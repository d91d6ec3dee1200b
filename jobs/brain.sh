#!/usr/bin/env bash
# A network of the fly brain's size, in which each neuron learns its own activity, signs kept: jobs/brain.sh [WHICH ...]
#
#   plain   139 255 neurons, 18 million plastic synapses, 600 iterations
#   rewire  the same, rewired every 10 iterations
#   large   54 million synapses, for HOURS (1) at most
#   tiny    1 000 neurons, 300 iterations: a minute, to see that all works
#
# RANKS ranks (2); results, figures and checkpoints go to OUT (runs/brain).
set -euo pipefail

[[ -z ${VENV:-} ]] || export PATH=$VENV/bin:$PATH
export OMP_NUM_THREADS=1
launch=(mpirun -n "${RANKS:-2}" --bind-to "${BIND:-core}")
fly=(--set n_rec=139255 --set n_in=2000 --set precision=single)

for which in "${@:-plain}"; do
    out=${OUT:-runs/brain}/$which
    case $which in
        plain) settings=("${fly[@]}" --set iterations=600) ;;
        rewire) settings=("${fly[@]}" --set iterations=600 --set rewire_every=10 --set rewire_l1=0.01) ;;
        large) settings=("${fly[@]}" --set indegree=370 --set iterations=600 --set checkpoint.minutes=10) ;;
        tiny) settings=(--set n_rec=1000 --set n_in=400 --set iterations=300) ;;
        *) echo "$which must be plain, rewire, large or tiny" >&2 && exit 2 ;;
    esac
    limit=()
    [[ $which != large ]] || limit=(timeout --signal=USR1 "${HOURS:-1}h")
    "${limit[@]}" "${launch[@]}" pareprop run own-activity "${settings[@]}" --out "$out" || (($? == 75 || $? == 124))
done
