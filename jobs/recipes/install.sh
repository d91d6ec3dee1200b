#!/usr/bin/env bash
# One installation for all nodes of a cluster, whatever their processors: jobs/recipes/install.sh SHAPE TARGET
#
#   venv DIR           a virtual environment in DIR, with the MPI and the compiler that are loaded; PYTHON names its Python
#   wheel DIR          a wheel in DIR, whose name tells its levels
#   container FILE     a container of Apptainer
#   pack DIR FILE      the environment DIR as one file: an image (.sqfs) to mount, or an archive (.tar) to unpack on nodes
#
# From the top of the repository, or of an unpacked source distribution. PAREPROP_LEVELS chooses levels, else all.
set -euo pipefail

usage() { sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2 && exit 2; }
[[ $# -ge 2 ]] || usage
shape=$1 target=$2
export PAREPROP_LEVELS=${PAREPROP_LEVELS:-all} PAREPROP_MODELS=1
case $shape in
    venv)
        "${PYTHON:-python3}" -m venv "$target"
        "$target/bin/pip" install -c jobs/recipes/tested.txt mpi4py
        load='import mpi4py; mpi4py.rc.initialize = False; from mpi4py import MPI'
        "$target/bin/python" -c "$load" 2>/dev/null && what=. || what='.[mpi]' # an MPI of PyPI only where there is none
        "$target/bin/pip" install -c jobs/recipes/tested.txt "$what"
        ;;
    wheel) "${PYTHON:-python3}" -m pip wheel --no-deps --wheel-dir "$target" . ;;
    container) apptainer build "$target" jobs/pareprop.def ;;
    pack)
        file=${3:?no FILE given}
        case $file in
            *.sqfs) mksquashfs "$target" "$file" -noappend -no-progress ;;
            *.tar) tar -cf "$file" -C "$(dirname "$target")" "$(basename "$target")" ;;
            *) echo "$file must end in .sqfs or .tar" >&2 && exit 2 ;;
        esac
        ;;
    *) usage ;;
esac
