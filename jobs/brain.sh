#!/usr/bin/env bash
# A network of the fly brain's size, in which each neuron learns its own activity, signs kept: jobs/brain.sh [WHICH ...]
#
#   plain   139 255 neurons, 18 million plastic synapses, 600 iterations
#   rewire  the same, rewired every 10 iterations
#   large   54 million synapses, for an hour at most
#   tiny    1 000 neurons, 300 iterations: a minute, to see that all works
#
# RANKS ranks (2), ITERATIONS in place of these; results, figures and checkpoints go to OUT (runs/brain). A run that was stopped, after MINUTES or
# otherwise, goes on from its latest checkpoint when the script is called again in the same way.
set -euo pipefail

[[ -z ${VENV:-} ]] || export PATH=$VENV/bin:$PATH
fly=(--set n_rec=139255 --set n_in=2000 --set precision=single --set "iterations=${ITERATIONS:-600}" --set checkpoint.minutes=5)

for which in "${@:-plain}"; do
    out=${OUT:-runs/brain}/$which minutes=${MINUTES:-}
    case $which in
        plain) settings=("${fly[@]}") ;;
        rewire) settings=("${fly[@]}" --set rewire_every=10 --set rewire_l1=0.01) ;;
        large) settings=("${fly[@]}" --set indegree=370) minutes=${minutes:-60} ;;
        tiny) settings=(--set n_rec=1000 --set n_in=400 --set "iterations=${ITERATIONS:-300}") ;;
        *) echo "$which must be plain, rewire, large or tiny" >&2 && exit 2 ;;
    esac
    [[ -z $minutes ]] || settings+=(--minutes "$minutes")
    code=0
    pareprop launch --launcher mpirun --ranks "${RANKS:-2}" own-activity "${settings[@]}" --out "$out" || code=$?
    ((code == 0 || code == 75)) || exit "$code" # 75: stopped with a checkpoint
done
