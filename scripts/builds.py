"""Build the kernels with several compilers, switches and versions of Python; compare the digests of short trainings.

Each build is made of a copy of the checkout, and runs the cases of tests/test_digests.py. Some run a second time as on
an older processor: NumPy without its AVX-512 and AVX2 code, the C library without its AVX2 and FMA code. Prints a line
for each; `--write` keeps the digests in tests/digests.json, whose test asks for equality. When the mathematics changes,
empty both of its tables first. Other versions of Python need the dependencies of the package, pip, setuptools, Cython.

    python scripts/builds.py --write
    python scripts/builds.py --write --python ~/python3.12/bin/python --python ~/python3.13/bin/python
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
COMPILERS = {"gcc": {"CC": "gcc"}, "clang": {"CC": "clang"}}
SWITCHES = {"native": {}, "portable": {"PAREPROP_PORTABLE": "1"}}
OLDER = {
    "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR",
    "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX,-AVX2,-FMA,-FMA4,-AVX512F",
    "OPENBLAS_CORETYPE": "Nehalem",
}


def build(folder: Path, python: str, switches: dict[str, str]) -> Path:
    """Install a copy of the checkout into a folder of `folder`."""
    for name in ("pareprop", "cython_core", "jobs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("*.so", "__pycache__", "core"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    options = ["-q", "--no-build-isolation", "--no-deps", "--disable-pip-version-check", "--target", "built", "."]
    subprocess.run([python, "-m", "pip", "install", *options], cwd=folder, env=os.environ | switches, check=True)
    return folder / "built"


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
    return f"{compiler} {major.strip()}, Python {versions[0].rpartition('.')[0]}, {versions[1]}, {versions[2]}"


def main() -> None:
    """Build, run, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--compiler", choices=COMPILERS, action="append", help="[all that are installed]")
    parser.add_argument("--switch", choices=SWITCHES, action="append", help="[both]")
    parser.add_argument("--python", action="append", help="an interpreter; others than this are built natively, by gcc")
    parser.add_argument("--write", action="store_true", help="keep the digests in tests/digests.json")
    options = parser.parse_args()
    compilers = options.compiler or [name for name in COMPILERS if shutil.which(name)]
    plans = []
    for python in options.python or [sys.executable]:
        if python == sys.executable:
            plans += [(python, name, switch) for name in compilers for switch in options.switch or SWITCHES]
        else:
            plans.append((python, compilers[0], "native"))
    table = json.loads(TABLE.read_text())
    same = True
    for python, compiler, switch in plans:
        with tempfile.TemporaryDirectory() as folder:
            built = build(Path(folder), python, COMPILERS[compiler] | SWITCHES[switch])
            name = f"{version(python, compiler)}, {switch}"
            runs = {name: {}}
            if platform.machine() == "x86_64" and python == sys.executable:
                runs[f"{name}, as without AVX"] = OLDER
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
