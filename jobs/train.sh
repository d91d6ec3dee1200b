#!/usr/bin/env bash
# One training without a batch system: RANKS=4 jobs/train.sh TASK [options of pareprop run]
set -euo pipefail

[[ -z ${VENV:-} ]] || export PATH=$VENV/bin:$PATH
export OMP_NUM_THREADS=1
exec mpirun -n "${RANKS:-$(nproc)}" --bind-to "${BIND:-core}" pareprop run "${@:-sine-waves}"
