"""Test the package for ARM on another processor: kernels are cross-compiled, and QEMU runs them in user mode.

    apt-get install gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static    # Debian
    python scripts/aarch64.py functions    # a C program, in seconds
    python scripts/aarch64.py digests      # a whole Python, in minutes; names of cases choose some

"functions": elementary functions, and all functions of two generated neuron models, in both precisions,
as C programs for this machine, for ARM with NEON, and with SVE off and on; all must print the same hashes.

"digests": the cases of tests/test_digests.py run in a folder with Debian's Python for arm64 and its libraries
(`apt-get` has separate lists: it needs no root and changes nothing in the system), PyPI's wheels for aarch64, and the
package, cross-compiled by its own build; their digests must equal tests/digests.json. Existing files in the folder are
used again, and kernels that did not change are not compiled again.

Prints a line for each; ends with 1 if one differs. QEMU keeps the order in which its own machine accesses memory: it
cannot show a barrier that is missing.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parents[1]
TABLE = ROOT / "tests" / "digests.json"
COMPILER, QEMU = "aarch64-linux-gnu-gcc", ("qemu-aarch64-static", "qemu-aarch64")
FOLDER = ROOT / "build" / "aarch64"
HEADERS = ("elementary.h", "lanes.h", "neuron_model.h")
MODELS = ("adex", "iaf_cond_exp")
# as the package is built, see build_kernels.py
FLAGS = ["-O3", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-w", "-static"]
NATIVE = "-march=native"
KINDS = {  # of code: a flag, and processors that QEMU plays
    "NEON": ("-march=armv8-a", ("cortex-a57", "max,sve=off", "max")),
    "SVE": ("-march=armv8.2-a+sve", ("max", "max,sve128=on,sve256=off")),
}
MAIN = 'int main(void) { tell_elementary(); tell_all_double("double"); tell_all_single("single"); return 0; }'
DEBIAN = ["python3-dev", "libstdc++6"]  # of arm64, with all they depend on
PLATFORMS = ["manylinux2014_aarch64", "manylinux_2_17_aarch64", "manylinux_2_28_aarch64"]
ALSO = ["scikit-learn", "pytest"]  # needed by the cases, in addition to the dependencies of the package


def stop(problem: str) -> NoReturn:
    """End with a line."""
    print(f"aarch64.py: {problem}", file=sys.stderr)
    sys.exit(2)


def find(names: tuple[str, ...], package: str) -> str:
    """Return the path of a program."""
    for name in names:
        if path := shutil.which(name):
            return path
    stop(f"no {names[0]}: apt-get install {package}")


def find_tools() -> tuple[str, str]:
    """Return the cross compiler and QEMU."""
    return find((COMPILER,), "gcc-aarch64-linux-gnu libc6-dev-arm64-cross"), find(QEMU, "qemu-user-static")


# ---- functions -------------------------------------------------------------------------------------------------------


def write_program(name: str) -> dict[str, str]:
    """Return the C of all functions of a model, and of what calls them with the numbers of one neuron, by file."""
    from pareprop.neurons import compile, library
    from pareprop.neurons.generate import PARTS, PRECISIONS, generate_model, source_of

    model = library.get_definition(name)
    generated, program = generate_model(model), compile.compile_model(model)
    headers = {file: (ROOT / "cython_core" / file).read_text() for file in HEADERS}
    numbers = {"CONSTANT": program.compute_constants({}, 1.0, 1), "STATE": program.compute_initial({}, 1.0, 1)}
    defines = [f"#define {key}_NUMBERS {', '.join(map(float.hex, of.ravel().tolist()))}" for key, of in numbers.items()]
    calls = source_of(Path(__file__).with_suffix(".c").read_text(), headers)
    texts = {
        f"{precision}.c": source_of(
            generated.write_source("composed", *["derive"] * bool(generated.functions["derive"])), headers, [precision]
        )
        for precision in PRECISIONS
    }
    return texts | {
        "model.c": source_of(generated.write_source(*PARTS), headers),
        "main.c": "\n".join([*defines, calls, MAIN]),
    }


def run(program: Path, compiler: list[str], runners: Iterable[list[str]]) -> Iterator[list[str]]:
    """Compile the files in the folder of a program; yield the lines that it prints, once for each command."""
    files = [str(path) for path in program.parent.glob("*.c")]
    subprocess.run([*compiler, *FLAGS, *files, "-o", program, "-lm"], check=True)
    for runner in runners:
        yield subprocess.run([*runner, program], check=True, capture_output=True, text=True).stdout.splitlines()


def compare_functions(models: Iterable[str] = MODELS, kinds: Iterable[str] = tuple(KINDS)) -> bool:
    """Compare the hashes of each kind of processor with this machine's; return whether all are equal."""
    compiler, qemu = find_tools()
    same = True
    for name in models:
        with tempfile.TemporaryDirectory() as folder:
            for file, text in write_program(name).items():
                Path(folder, file).write_text(text)
            program = Path(folder, "program")
            (wanted,) = run(program, [*shlex.split(os.environ.get("CC", "gcc")), NATIVE], [[]])
            for kind in kinds:
                flag, processors = KINDS[kind]
                printed = run(program, [compiler, flag], ([qemu, "-cpu", processor] for processor in processors))
                for processor, found in zip(processors, printed, strict=True):
                    other = [line.rpartition(" ")[0] for line, to in zip(wanted, found, strict=True) if line != to]
                    same = same and not other
                    held = f"{len(wanted) - len(other)} of {len(wanted)} hashes equal this machine's"
                    more = f"; others are {', '.join(other)}" if other else ""
                    print(f"{name}, {kind} on {processor}: {held}{more}", flush=True)
    return same


# ---- digests ---------------------------------------------------------------------------------------------------------


class Machine:
    """A Python for ARM, its libraries and the package in a folder.

    Parameters
    ----------
    folder : Path
        The folder, of any state.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self.compiler, self.qemu = find_tools()
        self.root, self.site, self.built, self.source = (
            self.folder / name for name in ("root", "site", "built", "source")
        )

    @property
    def python(self) -> Path | None:
        """The interpreter."""
        found = [path for path in self.root.glob("usr/bin/python3.*") if path.name.rpartition(".")[2].isdigit()]
        return max(found, key=lambda path: int(path.name.rpartition(".")[2]), default=None)

    def is_ready(self) -> bool:
        """Return whether all is there, and no kernel has changed since."""
        stamp = self.folder / "kernels"
        return self.site.is_dir() and stamp.is_file() and stamp.read_text() == self._stamp()

    def prepare(self) -> None:
        """Make missing files."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.python is None:
            self._unpack_debian()
        self._install_wheels()
        self._build()

    def _unpack_debian(self) -> None:
        """Unpack Debian's packages; `apt-get` finds their dependencies as if this machine had no packages."""
        state = self.folder / "apt"
        for part in ("lists/partial", "archives/partial"):
            (state / part).mkdir(parents=True, exist_ok=True)
        (state / "status").touch()
        settings = {
            "APT::Architecture": "arm64",
            "APT::Architectures": "arm64",
            "APT::Sandbox::User": "",
            "Dir::State": state,
            "Dir::State::status": state / "status",
            "Dir::Cache": state,
            "Debug::NoLocking": 1,
        }
        apt = ["apt-get", "-q", *(part for key, value in settings.items() for part in ("-o", f"{key}={value}"))]
        subprocess.run([*apt, "update"], check=True)
        subprocess.run([*apt, "install", "-y", "--download-only", "--no-install-recommends", *DEBIAN], check=True)
        for package in sorted(state.glob("archives/*.deb")):
            subprocess.run(["dpkg-deb", "-x", package, self.root], check=True)
        if not (self.root / "lib").exists():  # which a package makes that nothing depends on
            (self.root / "lib").symlink_to("usr/lib")
        shutil.rmtree(state)

    def _install_wheels(self) -> None:
        """Install the packages that the package and the cases import."""
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        wanted = [*project["dependencies"], *ALSO]
        stamp = self.site / "wanted"
        if stamp.is_file() and stamp.read_text() == "\n".join(wanted):
            return
        platforms = [part for name in PLATFORMS for part in ("--platform", name)]
        version = self._python().name.removeprefix("python")
        options = ["--upgrade", "--target", self.site, *platforms, "--python-version", version, "--only-binary=:all:"]
        subprocess.run([sys.executable, "-m", "pip", "install", "-q", *options, *wanted], check=True)
        stamp.write_text("\n".join(wanted))

    def _build(self) -> None:
        """Build the package by its own build, which takes this Python for one of arm64."""
        python = self._python()
        shutil.rmtree(self.source, ignore_errors=True)
        for name in ("pareprop", "cython_core", "jobs"):
            ignored = shutil.ignore_patterns("*.so", "__pycache__", "core")
            shutil.copytree(ROOT / name, self.source / name, ignore=ignored)  # with the times of the files
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy2(ROOT / name, self.source)
        sysconfig = self.folder / "sysconfig"
        sysconfig.mkdir(exist_ok=True)
        data = next((self.root / "usr/lib" / python.name).glob("_sysconfigdata_*aarch64-linux-gnu.py"))
        shutil.copy(data, sysconfig)
        include = self.root / "usr/include"
        environment = os.environ | {
            "_PYTHON_SYSCONFIGDATA_NAME": data.stem,
            "_PYTHON_HOST_PLATFORM": "linux-aarch64",
            "PYTHONPATH": str(sysconfig),
            "PAREPROP_PORTABLE": "1",
            "CC": self.compiler,
            "CFLAGS": f"-I{include / python.name} -I{include}",
        }
        setup = [sys.executable, "-W", "ignore", "-c", "import setuptools; setuptools.setup()", "-q"]
        for command in (
            ["build", "--build-lib", self.built, "--build-temp", self.folder / "objects"],
            ["dist_info", "--output-dir", self.built],
        ):
            subprocess.run([*setup, *command], cwd=self.source, env=environment, check=True)
        (self.folder / "kernels").write_text(self._stamp())

    def digests(self, cases: list[str]) -> dict[str, str]:
        """Return the digests of cases, of all if none is named."""
        paths = os.pathsep.join(map(str, (self.built, self.site, ROOT / "tests")))
        environment = {
            "PYTHONHOME": str(self.root / "usr"),
            "PYTHONPATH": paths,
            "PATH": os.environ["PATH"],
            "PYTHONDONTWRITEBYTECODE": "1",
            "MPLBACKEND": "Agg",
            "HOME": str(self.folder),
            "OMP_NUM_THREADS": "1",
        }
        with tempfile.TemporaryDirectory() as place:
            command = [self.qemu, "-L", self.root, self._python(), "-P", ROOT / "tests/test_digests.py", place, *cases]
            done = subprocess.run(command, cwd=place, env=environment, check=True, capture_output=True, text=True)
        return json.loads(done.stdout)

    def _python(self) -> Path:
        if self.python is None:
            stop(f"no Python in {self.root}; remove it, and it is made anew")
        return self.python

    @staticmethod
    def _stamp() -> str:
        """Return a hash of the sources of the kernels."""
        files = [*(ROOT / "cython_core").rglob("*.[hp]*"), *(ROOT / "pareprop" / "neurons").rglob("*.[pt]*")]
        files = sorted(path for path in files if path.suffix != ".pyc" and path.is_file())
        return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


def compare_digests(machine: Machine, cases: list[str]) -> bool:
    """Compare digests with the table; return whether all are equal."""
    table = json.loads(TABLE.read_text())["digests"]
    if unknown := [case for case in cases if case not in table]:
        stop(f"no case '{unknown[0]}' in {TABLE.name}, which has {', '.join(table)}")
    found = machine.digests(cases)
    other = [case for case, digest in found.items() if table[case] != digest]
    for case, digest in found.items():
        print(f"{digest[:16]}  {case}" + (f": another than {table[case][:16]}" if case in other else ""))
    print(f"{len(found) - len(other)} of {len(found)} digests match {TABLE.name}", flush=True)
    return not other


def main() -> None:
    """Run the requested command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["functions", "digests", "all"], nargs="?", default="all")
    parser.add_argument("cases", nargs="*", help="of tests/digests.json [all]")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="of the other Python [build/aarch64]")
    given = parser.parse_args()
    if given.cases and given.what != "digests":
        stop(f"'{given.cases[0]}': only `digests` takes cases")
    same = given.what == "digests" or compare_functions()
    if given.what != "functions":
        machine = Machine(given.folder)
        machine.prepare()
        same = compare_digests(machine, given.cases) and same
    sys.exit(not same)


if __name__ == "__main__":
    main()
