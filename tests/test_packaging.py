"""What pyproject.toml promises of the installation; an sdist and a portable wheel, built and installed."""

import os
import platform
import re
import runpy
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import pytest
from case_files import GOLDEN
from commands import digests

import pareprop
from pareprop import installation
from pareprop.cli import COMMANDS
from pareprop.core import build_info

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_every_package_is_listed() -> None:
    found = {".".join(path.parent.relative_to(ROOT).parts) for path in ROOT.glob("pareprop/**/__init__.py")}
    assert set(PYPROJECT["tool"]["setuptools"]["packages"]) == found | {"pareprop.core", "pareprop.jobs"}


def test_version_is_that_of_the_distribution() -> None:
    assert pareprop.__version__ == PYPROJECT["project"]["version"]


def test_results_cannot_depend_on_the_machine() -> None:
    flags = build_info.flags.split()
    assert "-ffp-contract=off" in flags
    assert not {"-ffast-math", "-Ofast", "-funsafe-math-optimizations", "-fassociative-math"} & set(flags)
    assert ("checked" in build_info.mode) == ("-O1" in flags)
    assert build_info.levels and not [flag for flag in flags if flag.startswith(("-march", "-mcpu"))]


BACKEND = "import sys; from setuptools import build_meta; getattr(build_meta, sys.argv[1])(sys.argv[2])"
TRAIN = ("run", "sine-waves", "--set", "n_rec=20", "--set", "iterations=3", "--no-figures", "--out", "run")


def python(*arguments: object, cwd: Path, **environment: str) -> str:
    """Output of Python with `arguments`, which must succeed."""
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(
        command, cwd=cwd, env=os.environ | environment, capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy of what git holds: leftovers of other builds would get into it."""
    pytest.importorskip("Cython", reason="a build needs Cython and setuptools")
    folder = tmp_path_factory.mktemp("sources")
    for name in ("pareprop", "cython_core", "jobs", "scripts", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("*.so", "*.c", "__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    (folder / "pareprop" / "handbook.html").write_text("<!DOCTYPE html>")  # as scripts/handbook/one_file.py writes it
    python("-c", BACKEND, "build_sdist", folder / "dist", cwd=folder)
    return next((folder / "dist").glob("*.tar.gz"))


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from the sdist alone, for any processor of this architecture, with bounds checks.

    To save time: one build for both switches, without optimisation, and nothing in the kernels of single precision.
    """
    folder = tmp_path_factory.mktemp("wheel")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    source = next(folder.glob("pareprop-*"))
    for kernel in source.glob("cython_core/*_single.pyx"):
        kernel.write_text("")
    switches = {"PAREPROP_PORTABLE": "1", "PAREPROP_CHECKED": "1", "CFLAGS": "-O0 -g0"}
    python("-c", BACKEND, "build_wheel", folder / "dist", cwd=source, **switches)
    return next((folder / "dist").glob("*.whl"))


@pytest.mark.slow
def test_sdist_holds_what_builds_and_no_more(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {Path(*Path(name).parts[1:]) for name in archive.getnames()}
    kinds = ("cython_core/**/*.p[yx][xid]", "cython_core/**/*.h", "pareprop/**/*.py", "pareprop/**/*.html", "jobs/*.*")
    assert {path.relative_to(ROOT) for kind in kinds for path in ROOT.glob(kind)} <= names
    described = {"pyproject.toml", "README.md", "LICENSE", "PKG-INFO", "setup.cfg", "pareprop.egg-info"}
    assert {path.parts[0] for path in names if path.parts} == {"pareprop", "cython_core", "jobs"} | described
    assert not [path for path in names if path.suffix in (".so", ".c", ".pyc")]


@pytest.mark.slow
def test_wheel_holds_modules_and_kernels(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = [Path(name) for name in archive.namelist()]
        metadata = archive.read(next(str(name) for name in names if name.name == "METADATA")).decode()
    assert {path.parts[0] for path in names} == {"pareprop", f"pareprop-{pareprop.__version__}.dist-info"}
    assert Path("pareprop", "handbook.html") in names
    scripts = [path for path in ROOT.glob("jobs/*.*") if path.suffix != ".pyc"]
    assert scripts and {Path("pareprop", "jobs", path.name) for path in scripts} <= set(names)
    kernels = {path.name.partition(".")[0] for path in names if path.suffix == ".so"}
    assert kernels == {path.stem for path in ROOT.glob("cython_core/*.pyx")} | {"memoryviews"}
    assert not [path for path in names if path.suffix in (".pyx", ".pxd", ".pxi", ".c")]
    headers = {path.name for path in names if path.suffix == ".h"}
    # with which models and rules of users are compiled
    assert headers == {"elementary.h", "lanes.h", "neuron_model.h", "rule_row.h"}
    assert {path.stem for path in names if path.suffix == ".pyi"} == kernels - {"memoryviews"}  # Cython's own
    models = {path.name for path in ROOT.glob("pareprop/neurons/models/*.toml")}
    assert models and models == {path.name for path in names if path.parent.name == "models"}
    needed = re.findall(r"^Requires-Dist: ([^;\n]+)$", metadata, re.M)
    assert sorted(needed) == sorted(PYPROJECT["project"]["dependencies"])
    lowest = "x86_64" if platform.machine() == "x86_64" else "armv8"
    assert wheel.name.startswith(f"pareprop-{pareprop.__version__}-1.{lowest}-cp")  # PAREPROP_PORTABLE
    assert "-linux_" in wheel.name or "-manylinux" in wheel.name or "-macosx" in wheel.name


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment in which the wheel is imported; it was installed with a compiler that fails."""
    folder = tmp_path_factory.mktemp("site")
    install = ("-m", "pip", "install", "-q", "--no-index", "--no-deps", "--target", folder, wheel)
    python(*install, cwd=folder, CC="/bin/false", CXX="/bin/false")
    return {"PYTHONPATH": str(folder)}


@pytest.mark.slow
def test_wheel_gives_the_same_bits_as_the_installed_package(installed: dict[str, str], tmp_path: Path) -> None:
    """In a training, and in all golden cases, where warnings are errors. An index out of bounds would raise."""
    elsewhere, here = tmp_path / "elsewhere", tmp_path / "here"  # where no package lies beside
    elsewhere.mkdir()
    here.mkdir()
    told = (
        "import pareprop; from pareprop.core import build_info as b; from pareprop import installation\n"
        "print(pareprop.__file__, b.mode, *installation.list_installation_facts().values(), b.flags)"
    )
    place, mode, *rest = python("-c", told, cwd=elsewhere, **installed).split()
    known, flags = rest[:3], rest[3:]
    assert known[:2] == list(installation.list_installation_facts().values())[:2]  # some kernels were left out
    assert place.startswith(installed["PYTHONPATH"]) and mode == "checked-portable"
    assert not [flag for flag in flags if flag.startswith(("-march", "-mcpu", "-mprefer"))]
    for line in (("-m", "pareprop", *TRAIN), ("-W", "error", "-m", "pareprop", "verify", *GOLDEN)):
        found = digests(python(*line, cwd=elsewhere, **installed).splitlines())
        assert found == digests(python(*line, cwd=here).splitlines()) != []


# A target beyond the neurons, met in a function that cannot raise; without an end there "went on" would be printed.
BROKEN = """
import numpy as np
from pareprop.kernels import layout, PRECISIONS
blocks = np.zeros((1, layout.BLOCK_COLUMNS), np.int64)
blocks[0, [layout.SOURCES, layout.DELAY]] = 1
row_ptr, target, weight = np.array([0, 1]), np.array([7], np.uint32), np.ones(1)
kernels = PRECISIONS["double"].interval
synapses = kernels.Synapses({"blocks": blocks, "row_ptr": row_ptr, "target": target, "weight": weight})
kernels.inject(synapses, np.ones((2, 1)), np.zeros((2, 3)))
print("went on")
"""


@pytest.mark.slow
def test_a_failed_bounds_check_ends_the_process(installed: dict[str, str], tmp_path: Path) -> None:
    line, environment = [sys.executable, "-c", BROKEN], os.environ | installed
    broken = subprocess.run(line, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment)
    assert (broken.returncode, broken.stdout) == (1, "")
    assert "add_row" in broken.stderr and "pareprop: error: a bounds check failed in a kernel" in broken.stderr


def test_neuron_models_are_compiled_with_the_numpy_of_pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which stands on PYTHONPATH where pip builds apart from what is installed."""
    pytest.importorskip("Cython", reason="a build needs Cython and setuptools")
    from setuptools import Distribution

    package, of_pip = tmp_path / "lib" / "pareprop" / "neurons", tmp_path / "pip"
    package.mkdir(parents=True)
    of_pip.mkdir()
    (of_pip / "numpy.py").touch()
    (package / "__init__.py").write_text("import numpy, pathlib\npathlib.Path('found').write_text(numpy.__file__)")
    (package / "library.py").write_text("free_names = list")
    (package / "compile.py").touch()
    build = runpy.run_path(str(ROOT / "cython_core" / "build_kernels.py"))["BuildKernels"](Distribution())
    build.build_lib, build.build_temp = str(tmp_path / "lib"), str(tmp_path)
    monkeypatch.setattr(build, "architecture", platform.machine)
    monkeypatch.setenv("PYTHONPATH", str(of_pip))
    build.compile_models(["v3"])
    assert (tmp_path / "found").read_text() == str(of_pip / "numpy.py")


def sections(path: Path) -> dict[str, list[str]]:
    """Lines of each section of an Apptainer definition, those of the header under ""."""
    found: dict[str, list[str]] = {"": []}
    name = ""
    for line in path.read_text().splitlines():
        if match := re.fullmatch(r"%(\w+)", line):
            name = match[1]
            assert found.setdefault(name, []) == [], f"two sections %{name}"
        elif line.strip() and not line.startswith("#"):
            found[name].append(line.strip())
    return found


# A Python whose environments hold only what tells how they are asked.
PYTHON = """#!/bin/sh
mkdir -p "$3/bin"
echo 'echo "$@" >> asked' | tee "$3/bin/pip" > /dev/null
echo 'echo "$2" | grep -q "from mpi4py import MPI" && test -n "$MPI"' > "$3/bin/python"
chmod +x "$3/bin/pip" "$3/bin/python"
"""


@pytest.mark.parametrize(("mpi", "asked"), [("", ".[mpi]"), ("there", ".")])
def test_an_mpi_is_installed_where_mpi4py_finds_none(mpi: str, asked: str, tmp_path: Path) -> None:
    """Whatever commands there are: `srun` comes with SLURM, not with an MPI."""
    for name, text in {"python": PYTHON, "srun": "#!/bin/sh", "mpirun": "#!/bin/sh"}.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    given = {"PYTHON": str(tmp_path / "python"), "MPI": mpi, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    command = [ROOT / "jobs" / "recipes" / "install.sh", "venv", tmp_path / "environment"]
    subprocess.run(command, cwd=tmp_path, env=os.environ | given, check=True)
    assert (tmp_path / "asked").read_text().splitlines()[-1].split()[-1] == asked


def test_container_is_installed_as_the_first_page_says() -> None:
    """Sections that Apptainer knows, the commands of README, the files that a build needs, scripts that sh can read."""
    found, readme = sections(ROOT / "jobs" / "pareprop.def"), (ROOT / "README.md").read_text()
    assert dict(line.split(": ") for line in found[""]) == {"Bootstrap": "docker", "From": "debian:bookworm"}
    assert set(found) == {"", "files", "post", "environment", "runscript", "test", "help"}
    packages = re.search(r"`apt-get install (.+?)`", readme)[1]
    assert f"apt-get install -y {packages}" in found["post"]
    assert found["post"][-1] == re.search(r"^(python3 -m venv .+ '\.\[mpi\]') &&", readme, re.M)[1]
    folder = next(line for line in found["post"] if line.startswith("cd ")).removeprefix("cd ")
    taken = dict(line.split() for line in found["files"])
    assert all((ROOT / source).exists() and place == f"{folder}/{source}" for source, place in taken.items())
    roots = {name.partition(".")[0] for name in PYPROJECT["tool"]["setuptools"]["packages"]}
    roots |= set(PYPROJECT["tool"]["setuptools"]["package-dir"].values())
    described = {"pyproject.toml", PYPROJECT["project"]["readme"], *PYPROJECT["project"]["license-files"]}
    assert set(taken) == roots | described
    for name in ("post", "environment", "runscript", "test"):
        subprocess.run(["sh", "-n"], input="\n".join(found[name]), text=True, check=True)
    assert f"export PATH={folder}/.venv/bin:$PATH" in found["environment"]


def test_recipes_of_checks_name_what_is_there() -> None:
    """Options of the files for ReFrame and JUBE are those of the commands; parts of the second refer to its parts."""
    jube = ElementTree.parse(RECIPES / "jube.xml").getroot().find("benchmark")
    checks = (RECIPES / "reframe_checks.py").read_text()
    compile(checks, "reframe_checks.py", "exec")
    words = [word for kind in ("do", "parameter") for item in jube.iter(kind) for word in item.text.split()]
    options = {word.partition("=")[0] for word in words if word.startswith("--")} - {"--oversubscribe"}  # of mpirun
    options |= set(re.findall(r'"(--[a-z]+)[="]', checks))
    commands = [COMMANDS["bench"], COMMANDS["scaling"].commands["run"]]
    assert options and options <= {name for command in commands for item in command.params for name in item.opts}
    sets = {item.get("name") for kind in ("parameterset", "patternset", "analyser") for item in jube.iter(kind)}
    steps = {item.get("name") for item in jube.iter("step")}
    assert {item.text for item in jube.iter("use")} <= sets and {
        item.get("step") for item in jube.iter("analyse")
    } <= steps


RECIPES = ROOT / "jobs" / "recipes"
NEEDED = {re.match(r"[\w-]+", text)[0].lower() for text in PYPROJECT["project"]["dependencies"]}
# what recipes call packages, or bundles of several
ELSEWHERE = {"matplotlib-base": "matplotlib", "SciPy-bundle": "numpy", "Python-bundle-PyPI": "click jinja2"}


def of_easybuild(text: str) -> tuple[str, list[str]]:
    known: dict = {}
    exec(text, known)
    return known["version"], [name for name, *_ in known["dependencies"] + known["exts_list"]]


def of_spack(text: str) -> tuple[str, list[str]]:
    versions, asked = [], []
    names = {"license": print, "version": versions.append, "PythonPackage": object}
    names["depends_on"] = lambda spec, type: asked.append(spec.removeprefix("py-").partition("@")[0])
    exec(re.sub(r"^from spack.*\n", "", text, flags=re.M), names)
    return versions[0], asked


def of_conda(text: str) -> tuple[str, list[str]]:
    run = re.search(r"\n  run:\n((?:    - .*\n)+)", text)[1]
    return re.search(r'version: "(.+)"', text)[1], re.findall(r"- (\S+)", run)


def of_pip(text: str) -> tuple[str, list[str]]:
    return pareprop.__version__, re.findall(r"^([\w-]+)==[\d.]+$", text, re.M)


@pytest.mark.parametrize(
    ("path", "read"),
    [
        (f"pareprop-{pareprop.__version__}-foss-2025b.eb", of_easybuild),
        ("spack/py_pareprop/package.py", of_spack),
        ("recipe.yaml", of_conda),
        ("tested.txt", of_pip),
    ],
)
def test_recipes_ask_for_what_the_package_needs(path: str, read) -> None:
    version, names = read((RECIPES / path).read_text())
    assert version == pareprop.__version__
    assert set(" ".join(ELSEWHERE.get(name, name.lower()) for name in names).split()) >= NEEDED


@pytest.mark.parametrize("path", ["spack/py_pareprop/package.py", "recipe.yaml"])
def test_recipes_tell_the_licence(path: str) -> None:
    found = re.findall(r"""license(?:: |\(")(?!_)([^"\n]+)""", (RECIPES / path).read_text())
    assert found == [PYPROJECT["project"]["license"]]
    text = (ROOT / "LICENSE").read_text()
    assert found == ["BSD-3-Clause"] and text.startswith("BSD 3-Clause License\n") and "CC BY" not in text
