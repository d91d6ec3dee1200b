#!/usr/bin/env bash
# Reach with 100 000 neurons of 1 000 recurrent synapses each, all plastic, learned from rewards: jobs/reach-large.sh [KEY=VALUE ...]
#
# RANKS ranks (2); results, figures and checkpoints go to OUT (runs/reach-large). A run that was stopped goes on from its latest
# checkpoint when the script is called again. Weights onto the readouts, their learning rate and c_reg are those of the small
# network, scaled by the number of neurons that a readout hears. To try it: jobs/reach-large.sh n_rec=2000 indegree=100
set -euo pipefail

[[ -z ${VENV:-} ]] || export PATH=$VENV/bin:$PATH
export OMP_NUM_THREADS=1
launch=(mpirun -n "${RANKS:-2}" --bind-to "${BIND:-core}")
out=${OUT:-runs/reach-large}

if compgen -G "$out/checkpoints/iteration-*[0-9]" >/dev/null; then
    exec "${launch[@]}" pareprop resume "$out"
fi
command=(pareprop run reach --out "$out" --set checkpoint.minutes=10 --set precision=single)
for setting in n_rec=100000 indegree=1000 eta=5e-4 eta_out=3e-6 readout_std=0.00245 c_reg=0.12 test_samples=32 "$@"; do
    command+=(--set "$setting")
done
[[ ! -e $out/config.toml ]] || command+=(--overwrite) # it was stopped before the first checkpoint
exec "${launch[@]}" "${command[@]}"
