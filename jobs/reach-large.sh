#!/usr/bin/env bash
# Reach with 100 000 neurons of 1 000 recurrent synapses each, all plastic, learned from rewards: jobs/reach-large.sh [KEY=VALUE ...]
#
# RANKS ranks (2); results, figures and checkpoints go to OUT (runs/reach-large). A run that was stopped goes on from its latest
# checkpoint when the script is called again in the same way. Weights onto the readouts, their learning rate and c_reg are those of the small
# network, scaled by the number of neurons that a readout hears. To try it: jobs/reach-large.sh n_rec=2000 indegree=100
set -euo pipefail

[[ -z ${VENV:-} ]] || export PATH=$VENV/bin:$PATH

settings=()
for setting in n_rec=100000 indegree=1000 eta=5e-4 eta_out=3e-6 readout_std=0.00245 c_reg=0.12 test_samples=32 "$@"; do
    settings+=(--set "$setting")
done
exec pareprop launch --launcher mpirun --ranks "${RANKS:-2}" reach --set checkpoint.minutes=10 --set precision=single \
    "${settings[@]}" --out "${OUT:-runs/reach-large}"
