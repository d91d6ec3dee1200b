#!/usr/bin/env bash
# A scaling study without a batch system: jobs/study.sh STUDY.toml [DIR]; finished points are not run again.
set -euo pipefail

[[ -z ${VENV:-} ]] || export PATH=$VENV/bin:$PATH
study=${1:?no STUDY.toml given, such as jobs/strong.toml} out=${2:-studies/$(basename "${1%.toml}")} code=0
pareprop scaling run "$study" --out "$out" --launcher mpirun || code=$?
pareprop scaling collect "$out" && pareprop scaling plot "$out" # what is there
exit "$code"
