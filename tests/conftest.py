"""Settings and fixtures of all tests."""

import os
import shlex
import shutil
import signal
import site
import subprocess
import sys
import sysconfig
import tempfile
import venv
from collections.abc import Generator
from pathlib import Path
from types import ModuleType

import hypothesis
import pytest
import ranks

# What users of a cluster set, or a batch system around the tests, must not decide their outcome.
FOREIGN = ("SLURM", "SBATCH", "SRUN", "SALLOC", "OMPI_", "PMI", "PRTE_", "MPI", "OMP_", "GOMP_", "KMP_", "HDF5_", "MPL")
for name in list(os.environ):
    if name.startswith((*FOREIGN, "PAREPROP_")) and not name.startswith("PAREPROP_FUZZ_"):
        del os.environ[name]
os.environ["MPLBACKEND"] = "Agg"
os.environ["PAREPROP_SHARE_ABOVE"] = "0"  # ranks share also the small networks of the tests

# A shell ignores Ctrl-C for what it starts in the background; tests that interrupt themselves must not depend on that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# No deadline: the machine may be busy. The same examples on every CI run: a failure there is the change's own.
PROPERTIES = {"deadline": None, "derandomize": bool(os.environ.get("CI"))}
hypothesis.settings.register_profile("pareprop", max_examples=20, **PROPERTIES)
hypothesis.settings.register_profile("pareprop-long", **PROPERTIES)
hypothesis.settings.load_profile("pareprop")

# The sets of tests, which CONTRIBUTING describes: each mark to the first set that runs it. Without a mark: DEFAULT.
DEFAULT, ALL, LONG = range(3)
SETS = {"peer": ALL, "slow": ALL, "slurm": ALL, "long": LONG}
# Files that take longest: else one process of several would be left with one of them at the end.
LONGEST = ("test_slurm.py", "test_packaging.py", "test_tutorials.py", "test_handbook.py", "test_fault_matrix.py",
           "test_checkpoint.py", "test_together.py", "test_cuts.py", "test_microcircuit.py", "test_readme.py",
           "test_spike.py", "test_whole_runs.py", "test_mpich.py", "test_suite.py", "test_replicas.py",
           "test_episodes.py", "test_reference.py", "test_report.py", "test_check.py", "test_errors.py")  # fmt: skip
QUICK = "pareprop-quick-"  # begins the name of a folder on PATH
MODELS = Path(__file__).parents[1] / "build" / "models"  # compiled with all flags


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the sets."""
    parser.addoption("--all", action="store_true", help="also the tests with NEST, PyTorch, SLURM, and slow ones")
    parser.addoption("--long", action="store_true", help="as --all, and also what takes hours, such as more examples")
    parser.addoption("--rest", action="store_true", help="what --all, or --long, adds to the tests without it")
    parser.addoption(
        "--fuzz-seconds",
        type=float,
        default=os.environ.get("PAREPROP_FUZZ_SECONDS"),
        help="how long each door is fed with hostile input [3 with --long, else 0: eight inputs]",
    )


def pytest_configure(config: pytest.Config) -> None:
    """More examples of properties with --long; with it and with --all, models compiled as users have them."""
    if config.option.long:
        hypothesis.settings.load_profile("pareprop-long")
    # what tests compile is kept for all processes of the tests, and for the next tests
    is_quick = not (config.option.long or config.option.all)
    os.environ["PAREPROP_CACHE"] = str(MODELS.with_name("models-quick") if is_quick else MODELS)
    if is_quick and "PYTEST_XDIST_WORKER" not in os.environ:  # which have the environment of their parent
        compile_quickly(config)


def compile_quickly(config: pytest.Config) -> None:
    """Put a compiler first on PATH that takes models with -O1, in a fifth of the time; bits are to be the same."""
    from pareprop.core import build_info

    name = next((word for word in shlex.split(build_info.compiler) if Path(word).name != "ccache"), "")
    if (compiler := shutil.which(name)) and name == Path(name).name:
        folder = tempfile.TemporaryDirectory(prefix=QUICK)
        config.add_cleanup(folder.cleanup)
        quick = Path(folder.name, name)
        add = 'case $* in */pareprop-*/model.c*) set -- "$@" -O1 ;; esac'
        quick.write_text(f'#!/bin/sh\n{add}\nexec {shlex.quote(compiler)} "$@"\n')
        quick.chmod(0o755)
        os.environ["PATH"] = f"{folder.name}{os.pathsep}{os.environ['PATH']}"


def pytest_xdist_auto_num_workers() -> int:
    """Limit the processes of `-n auto`: each starts ranks of its own."""
    return min(len(os.sched_getaffinity(0)), 8)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is not asked for by an option, marks or the name of a test; begin with the longest files."""
    option = config.option
    wanted = LONG if option.long else ALL if option.all or option.rest else DEFAULT
    asked = option.markexpr or any("::" in name for name in config.args)
    if (wanted < LONG and (wanted or not asked)) or option.rest:
        left_out = [item for item in items if is_left_out(item, wanted, option.rest)]
        config.hook.pytest_deselected(items=left_out)
        gone = set(left_out)
        items[:] = [item for item in items if item not in gone]
    place = {name: k for k, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.name, len(place)))


def is_left_out(item: pytest.Item, wanted: int, rest: bool) -> bool:
    """Whether a test belongs to a larger set than the wanted one, or, of the rest, the default set ran all of it."""
    first = max((SETS[mark.name] for mark in item.iter_markers() if mark.name in SETS), default=DEFAULT)
    grows = "fuzz_seconds" in item.fixturenames or getattr(item.obj, "is_hypothesis_test", False)
    return first > wanted or (rest and first == DEFAULT and not (grows and wanted == LONG))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None]:
    """Give signals back: a run that was asked to end ignores them from then on, as would processes of later tests."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)}
    try:
        return (yield)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@pytest.fixture(scope="session")
def mpich(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the commands of an environment with MPICH from PyPI, and of this one's packages beneath it."""
    folder = tmp_path_factory.mktemp("mpich")
    venv.create(folder, with_pip=True)
    install = [folder / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", "mpich", "mpi4py"]
    done = subprocess.run(install, capture_output=True, text=True, timeout=900, check=False)
    if done.returncode:
        pytest.skip(f"mpich can't be installed: {done.stderr.strip().splitlines()[-1]}")
    places = {sysconfig.get_path("purelib"), *(site.getsitepackages())}
    lines = [f"import site; site.addsitedir({place!r})" for place in sorted(places)]
    target = next((folder / "lib").glob("python3*/site-packages"))
    (target / "beneath.pth").write_text("\n".join(lines) + "\n")
    script = folder / "bin" / "pareprop"
    script.write_text(f"#!{folder / 'bin' / 'python'}\nfrom pareprop.cli import main\nmain()\n")
    script.chmod(0o755)
    return folder / "bin"


@pytest.fixture
def fuzz_seconds(request: pytest.FixtureRequest) -> float:
    """How long each door is fed with hostile input."""
    asked = request.config.getoption("--fuzz-seconds")
    return asked if asked is not None else 3.0 if request.config.option.long else 0.0


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """However busy the machine is, commands say no more than they would on a fast one."""
    from pareprop import terminal

    monkeypatch.setattr(terminal, "PATIENCE", 1e6)


@pytest.fixture
def quick_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the package starts in this process starts at once, as in copies of a template: `ranks`."""
    monkeypatch.setattr(sys, "executable", str(Path(ranks.commands(), "python")))


@pytest.fixture
def all_flags() -> dict[str, str]:
    """Variables with which models are compiled as users have them, not by `compile_quickly`."""
    path = os.pathsep.join(part for part in os.environ["PATH"].split(os.pathsep) if QUICK not in part)
    return {"PATH": path, "PAREPROP_CACHE": str(MODELS)}


@pytest.fixture
def small_disk(tmp_path: Path) -> Generator[Path]:
    """A file system of 3 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", place], check=False)
    if mounted.returncode:
        pytest.skip("may not mount a file system")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs draw no figures, which take longer than they do: `pytest.mark.usefixtures("no_figures")`."""
    from pareprop.runs import run

    monkeypatch.setattr(run, "draw_run", lambda directory, **_: None)


@pytest.fixture
def gymnasium() -> ModuleType:
    """The package, an extra."""
    return pytest.importorskip("gymnasium", reason="Gymnasium (extra `gym`) is not installed")


@pytest.fixture
def nest() -> ModuleType:
    """NEST, of the extra `peer`, with an empty kernel and steps of 1 ms."""
    os.environ.setdefault("PYNEST_QUIET", "1")
    found = pytest.importorskip("nest")
    found.ResetKernel()
    found.verbosity, found.resolution = found.VerbosityLevel.FATAL, 1.0
    return found
