"""Build the kernels with several compilers, levels and versions of Python; compare the digests of short trainings.

Each build is made of a copy of the checkout, for all levels of the processor; any warning about the binary interface
ends it. The neuron models of the package are compiled for each level, too. The cases of tests/test_digests.py run at
each level that this processor has; at the lowest one a second time as on an older processor: NumPy without its AVX-512
and AVX2 code, the C library without its AVX2 and FMA code. Prints a line for each; `--write` keeps the digests in
tests/digests.json, whose test asks for equality. When the mathematics changes, empty both of its tables first. Other
versions of Python need the dependencies of the package, pip, setuptools, Cython.

    python scripts/builds.py --write
    python scripts/builds.py --write --python ~/python3.12/bin/python --python ~/python3.13/bin/python
    python scripts/builds.py --compiler gcc-14 --compiler clang-19 --no-runs
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TABLE = ROOT / "tests" / "digests.json"
COMPILERS = ("gcc", "gcc-12", "gcc-13", "gcc-14", "gcc-15", "clang", "clang-14", "clang-19")
LEVELS = """
from pareprop import kernels, machine
here = machine.read_instructions()
print(*(name for name, (_, sets) in kernels.build_info.levels.items() if set(sets) <= here))
"""
MODELS = """
from pathlib import Path
from pareprop import kernels
from pareprop.neurons import compile, library
for kernels.LEVEL in kernels.build_info.levels:
    for name in library.list_names():
        model = library.get_definition(name)
        compile.fill_cache(model, folder=Path("models"), ports=[[*model.ports]])
"""
OLDER = {
    "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR",
    "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX,-AVX2,-FMA,-FMA4,-AVX512F",
    "OPENBLAS_CORETYPE": "Nehalem",
}


def build(folder: Path, python: str, compiler: str) -> Path:
    """Install a copy of the checkout into a folder of `folder`, for all levels."""
    for name in ("pareprop", "cython_core", "jobs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("*.so", "__pycache__", "core"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    options = ["-q", "--no-build-isolation", "--no-deps", "--disable-pip-version-check", "--target", "built", "."]
    switches = {"CC": compiler, "PAREPROP_LEVELS": "all", "CFLAGS": "-Werror=psabi" if "gcc" in compiler else ""}
    subprocess.run([python, "-m", "pip", "install", *options], cwd=folder, env=os.environ | switches, check=True)
    return folder / "built"


def ask(built: Path, python: str, script: str) -> str:
    """Run a script with a build."""
    environment = os.environ | {"PYTHONPATH": str(built)}
    command = [python, "-P", "-c", script]
    return subprocess.run(command, cwd=built, env=environment, check=True, capture_output=True, text=True).stdout


def digest(built: Path, python: str, environment: dict[str, str]) -> tuple[str, dict[str, str]]:
    """Return the digest of all cases, and theirs."""
    paths = os.pathsep.join(map(str, (built, ROOT / "tests")))
    environment = os.environ | {"PYTHONPATH": paths, "MPLBACKEND": "Agg"} | environment
    with tempfile.TemporaryDirectory() as folder:
        command = [python, "-P", str(ROOT / "tests" / "test_digests.py"), folder]
        output = subprocess.run(command, cwd=built, env=environment, check=True, capture_output=True, text=True).stdout
    digests = json.loads(output)
    lines = "\n".join(f"{case} {value}" for case, value in digests.items())
    return hashlib.sha256(lines.encode()).hexdigest(), digests


def version(python: str, compiler: str) -> str:
    """Name a compiler, a Python and a C library."""
    major = subprocess.run([compiler, "-dumpversion"], capture_output=True, text=True, check=True).stdout.split(".")[0]
    asked = "import platform as p; print(p.python_version(), p.libc_ver()[0] or 'musl', p.machine())"
    versions = subprocess.run([python, "-c", asked], capture_output=True, text=True, check=True).stdout.split()
    name, python_version = compiler.partition("-")[0], versions[0].rpartition(".")[0]
    return f"{name} {major.strip()}, Python {python_version}, {versions[1]}, {versions[2]}"


def main() -> None:
    """Build, run, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--compiler", action="append", help=f"[those that are installed of {', '.join(COMPILERS)}]")
    parser.add_argument("--level", action="append", help="at which to run [all that this processor has]")
    parser.add_argument("--python", action="append", help="an interpreter; others than this are built by gcc alone")
    parser.add_argument("--no-runs", action="store_true", help="compile alone")
    parser.add_argument("--write", action="store_true", help="keep the digests in tests/digests.json")
    options = parser.parse_args()
    compilers = options.compiler or sorted(
        {Path(shutil.which(name)).resolve(): name for name in COMPILERS if shutil.which(name)}.values()
    )
    plans = [
        (python, name)
        for python in options.python or [sys.executable]
        for name in (compilers if python == sys.executable else compilers[:1])
    ]
    table = json.loads(TABLE.read_text())
    same = True
    for python, compiler in plans:
        with tempfile.TemporaryDirectory() as folder:
            built = build(Path(folder), python, compiler)
            ask(built, python, MODELS)
            name = version(python, compiler)
            print(f"{name}: kernels and neuron models compile at all levels", flush=True)
            levels = [] if options.no_runs else options.level or ask(built, python, LEVELS).split()
            runs = {f"{name}, {level}": {"PAREPROP_LEVEL": level} for level in levels}
            if levels and platform.machine() == "x86_64" and python == sys.executable:
                runs[f"{name}, {levels[0]}, as without AVX"] = OLDER | {"PAREPROP_LEVEL": levels[0]}
            for run, environment in runs.items():
                combined, digests = digest(built, python, environment)
                if options.write and not table["digests"]:
                    table["digests"] = digests
                other = [case for case, value in table["digests"].items() if digests[case] != value]
                same = same and not other
                print(f"{combined[:16]}  {run}" + (f": other are {', '.join(other)}" if other else ""), flush=True)
                if options.write:
                    table["builds"][run] = combined
                    TABLE.write_text(json.dumps(table, indent=1) + "\n")
    sys.exit(not same)


if __name__ == "__main__":
    main()
