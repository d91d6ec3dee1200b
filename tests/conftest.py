"""Settings and fixtures of all tests."""

import os
import signal
import site
import subprocess
import sysconfig
import venv
from collections.abc import Generator
from pathlib import Path

import hypothesis
import pytest

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
hypothesis.settings.register_profile("pareprop-all", **PROPERTIES)
hypothesis.settings.load_profile("pareprop")

LEFT_OUT = ("peer", "slow", "slurm")  # marks of what `pytest` alone leaves to `pytest --all`


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the long parts."""
    parser.addoption("--all", action="store_true", help="all tests: those with NEST, PyTorch, SLURM and slow ones, too")
    parser.addoption("--rest", action="store_true", help="what --all adds to the tests without it")
    parser.addoption("--long", action="store_true", help="also what takes many minutes, such as the whole fault matrix")
    parser.addoption(
        "--fuzz-seconds",
        type=float,
        default=os.environ.get("PAREPROP_FUZZ_SECONDS"),
        help="how long each door is fed with hostile input [3, without --all or --rest 0: fifteen inputs]",
    )


def pytest_configure(config: pytest.Config) -> None:
    """More examples of properties with --all."""
    if config.option.all or config.option.rest:
        hypothesis.settings.load_profile("pareprop-all")


def pytest_xdist_auto_num_workers() -> int:
    """Limit the processes of `-n auto`: each starts ranks of its own."""
    return min(len(os.sched_getaffinity(0)), 8)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is not asked for by an option, marks or the name of a test; run files with slow tests first.

    Else one process of several is left with them at the end.
    """
    asked = config.option.markexpr or any("::" in name for name in config.args)
    if not config.option.all and (config.option.rest or not asked):
        left_out = [item for item in items if is_left_out(item, config.option.rest)]
        config.hook.pytest_deselected(items=left_out)
        gone = set(left_out)
        items[:] = [item for item in items if item not in gone]
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def is_left_out(item: pytest.Item, rest: bool) -> bool:
    """Whether a test is long; of the rest, whether it is as long as ever."""
    marked = any(item.get_closest_marker(mark) for mark in LEFT_OUT)
    if not rest:
        return marked
    grows = "fuzz_seconds" in item.fixturenames or getattr(item.obj, "is_hypothesis_test", False)
    return not marked and not grows


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
    asked, option = request.config.getoption("--fuzz-seconds"), request.config.option
    return asked if asked is not None else 3.0 if option.all or option.rest else 0.0


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs draw no figures, which take longer than they do: `pytest.mark.usefixtures("no_figures")`."""
    from pareprop.runs import run

    monkeypatch.setattr(run, "draw", lambda directory, **_: None)
