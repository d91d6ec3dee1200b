#!/usr/bin/env bash
# Run the kernels under sanitizers: golden cases, and the first iterations of all tasks on 1, 2 and 3 ranks.
#
#     scripts/sanitize.sh [--short] [address|thread]...     # needs gcc with its sanitizers, and mpirun
#
# "address" (with undefined behaviour) is built with bounds checks off and on. "thread" works where the MPI library does;
# its reports are counted only where they name a kernel. --short: golden cases on 1 rank, with bounds checks on for
# "address"; kernels of double precision, which the cases run, without optimisation: that compiles three times as fast.
# A part that does not end within LIMIT seconds (900 with --short, 3600 without) is stopped and has failed.
# gcc 12 lays numbers of 64 bytes anywhere on the stack that a newer libasan keeps after a return (GCC bug 110027): off.
# The digests of the tasks must be those of tests/digests.json. Ends with 1 after a report or another digest.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD

short=
kinds=()
for word in "$@"; do
    if [[ $word == --short ]]; then short=1; else kinds+=("$word"); fi
done
[[ ${#kinds[@]} -gt 0 ]] || kinds=(address)
level=$([[ $short ]] && echo 0 || echo 1)
limit=${LIMIT:-$([[ $short ]] && echo 900 || echo 3600)}
golden=("$root"/tests/cases/golden/*.h5)
python=${PYTHON:-$(command -v python3)}
mpirun=$(dirname "$python")/mpirun
[[ -x $mpirun ]] || mpirun=mpirun
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 PRTE_MCA_rmaps_default_mapping_policy=:oversubscribe
export PRTE_MCA_hwloc_default_binding_policy=none OMPI_MCA_btl=self,sm OMPI_MCA_osc=^ucx OMP_NUM_THREADS=1 MPLBACKEND=Agg
export PMIX_MCA_gds=hash # shared memory of PMIx must lie at addresses that the thread sanitizer keeps for itself
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

build() { # build FOLDER FLAGS CHECKED
    mkdir "$1"
    cp -r pareprop cython_core jobs pyproject.toml README.md LICENSE "$1"
    rm -rf "$1"/cython_core/*.so "$1"/pareprop/core
    if [[ $short ]]; then
        for kernel in "$1"/cython_core/*_single.pyx; do : >"$kernel"; done
    fi
    local flags="-g1 -O$level -fno-omit-frame-pointer -Werror=incompatible-pointer-types" # the last: as GCC 14 has it
    (cd "$1" && CC=gcc CFLAGS="$2 $flags" LDFLAGS="$2" PAREPROP_CHECKED=$3 \
        "$python" -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation --target built .)
}

check() { # check NAME RANKS ARGUMENTS...: run Python in the build; its output is in $work/out
    local name=$1 ranks=$2 reports
    code=0
    shift 2
    local launch=()
    [[ $ranks -eq 1 ]] || launch=("$mpirun" -n "$ranks")
    local libraries=("$(gcc -print-file-name=libstdc++.so)") # or else exceptions of C++ are not seen
    if [[ $kind == address ]]; then
        libraries=("$(gcc -print-file-name=libasan.so)" "$(gcc -print-file-name=libubsan.so)" "${libraries[@]}")
    else
        libraries=("$(gcc -print-file-name=libtsan.so)" "${libraries[@]}")
    fi
    (cd "$build/built" && "${launch[@]}" env LD_PRELOAD="${libraries[*]}" PYTHONPATH="$build/built:$root/tests" \
        PYTHONMALLOC=malloc ASAN_OPTIONS=detect_leaks=0:detect_stack_use_after_return=0 UBSAN_OPTIONS=print_stacktrace=1 \
        TSAN_OPTIONS=report_signal_unsafe=0:exitcode=0:ignore_noninstrumented_modules=1 \
        timeout "$limit" "$python" -P -W error::RuntimeWarning "$@") >"$work/out" 2>"$work/err" || code=$?
    reports=$(grep -cE 'ERROR: AddressSanitizer|runtime error:|WARNING: ThreadSanitizer|IndexError' "$work/err") || true
    echo "$kind, bounds checks $checks, $name, ranks: $ranks: $reports reports, exit code $code"
    if [[ $reports -ne 0 || $code -ne 0 ]]; then
        failed=1
        head -60 "$work/err" >&2
    fi
}

tasks() { # tasks RANKS
    mkdir -p "$work/runs"
    check "first iterations of 20 trainings" "$1" "$root/tests/test_digests.py" "$work/runs"
    rm -rf "$work/runs"
    [[ $code -eq 0 ]] || return 0 # no digests to compare
    "$python" - "$work/out" "$root/tests/digests.json" <<'END' || failed=1
import json, sys
found, wanted = json.load(open(sys.argv[1])), json.load(open(sys.argv[2]))["digests"]
other = [case for case in wanted if found.get(case) != wanted[case]]
sys.exit(f"other digests: {', '.join(other)}" if other else 0)
END
}

for kind in "${kinds[@]}"; do
    case $kind in
    address) flags="-fsanitize=address,undefined" ;;
    thread) flags="-fsanitize=thread" ;;
    *) echo "sanitize.sh: no sanitizer '$kind'; address or thread" >&2 && exit 2 ;;
    esac
    for checks in off on; do
        [[ $checks == off && -n $short && $kind == address || $checks == on && $kind == thread ]] && continue
        build=$work/$kind-$checks
        build "$build" "$flags" "$([[ $checks == on ]] && echo 1 || echo 0)"
        if [[ -e ${golden[0]} ]]; then
            for ranks in ${short:+1} $([[ $short ]] || echo 1 2 3); do
                check "${#golden[@]} golden cases" "$ranks" -m pareprop verify "${golden[@]}"
            done
        fi
        for ranks in $([[ $short ]] || echo 1 2 3); do
            tasks "$ranks"
        done
    done
done
exit $failed
