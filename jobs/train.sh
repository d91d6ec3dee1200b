#!/usr/bin/env bash
# One training without a batch system: RANKS=4 OUT=runs/first jobs/train.sh TASK [options of pareprop run]
set -euo pipefail

[[ -z ${VENV:-} ]] || export PATH=$VENV/bin:$PATH
threads=$(env -u OMP_NUM_THREADS -u OMP_THREAD_LIMIT nproc) # nproc obeys them
cores=$(lscpu -p=CORE,SOCKET | grep -v '^#' | sort -u | wc -l) # some of which may be others'
export OMP_NUM_THREADS=1
exec mpirun -n "${RANKS:-$((threads < cores ? threads : cores))}" --bind-to "${BIND:-core}" pareprop run "${@:-sine-waves}" ${OUT:+--out "$OUT"}
