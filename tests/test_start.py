"""What a start costs a rank in modules, files and processes: a parallel file system serves all ranks at once."""

import json
import subprocess
import sys
from pathlib import Path

import launch
import pytest

from pareprop import later
from pareprop.cli import COMMANDS
from pareprop.tasks import TASKS

START = """
import atexit, json, os, sys
events = []
sys.addaudithook(lambda event, values: event in ("open", "subprocess.Popen") and events.append((event, str(values[0]))))
path = os.path.join(sys.argv.pop(1), "start-" + os.environ.get("OMPI_COMM_WORLD_RANK", "0"))
atexit.register(lambda: open(path, "w").write(json.dumps([list(sys.modules), events])))
from pareprop.cli import main
main()
"""
RUN = ("run", "sine-waves", "--set", "n_rec=4", "--set", "n_step=20", "--set", "iterations=1", "--no-figures", "--out")


def start_of(path: Path) -> tuple[set[str], list[str], list[str]]:
    """Modules, files that hold none but for those that Linux makes up, and processes of a rank."""
    modules, events = json.loads(path.read_text())
    other = (".py", ".pyc"), ("/proc", "/sys")
    opened = [name for event, name in events if event == "open" and not name.endswith(other[0])]
    processes = [name for event, name in events if event != "open"]
    return set(modules), [name for name in opened if not name.startswith(other[1])], processes


def test_a_process_loads_what_it_uses(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", START, tmp_path, *RUN, tmp_path / "run"], check=True, capture_output=True)
    modules, _, _ = start_of(tmp_path / "start-0")
    assert "h5py.h5f" in modules and len(modules) <= 680, len(modules)
    assert not modules & {"scipy", "sympy", "matplotlib", "pandas", "tqdm", "asyncio", "multiprocessing"}
    others = {"pareprop.nest", "pareprop.scaling", "pareprop.tasks.data", "pareprop.exchange_formats.nest_writer"}
    assert not modules & others


BENCH = ("bench", "--variant=spike", "--neurons=20", "--indegree=4", "--steps=40", "--intervals=1", "--rate=0")


@pytest.mark.slow
@pytest.mark.mpi
@pytest.mark.parametrize(
    ("line", "loaded"),
    [([*RUN[:-2], "--out", "run"], "matplotlib"), ([*BENCH, "--neuron=iaf_psc_exp"], "sympy")],
    ids=["figures", "equations"],
)
def test_other_ranks_load_and_open_less(line: list[str], loaded: str, tmp_path: Path) -> None:
    """Though rank 0 draws figures, or compiles a neuron that is given as equations."""
    done = launch.mpirun(2, "-c", START, tmp_path, *line, cwd=tmp_path, env={"PAREPROP_CACHE": str(tmp_path / "cache")})
    assert done.returncode == 0, done.stderr
    assert loaded in start_of(tmp_path / "start-0")[0]
    modules, opened, processes = start_of(tmp_path / "start-1")
    assert len(modules) <= 616, len(modules)
    assert len(opened) <= 30, opened
    assert processes == []
    assert not {name for name in modules if name.startswith(("h5py.", "matplotlib", "sympy", "scipy"))}


def test_names_are_those_of_what_is_imported_later() -> None:
    assert {name: kind.name for name, kind in TASKS.items()} == {name: name for name in TASKS}
    assert {name: command.name for name, command in COMMANDS.items()} == {name: name for name in COMMANDS}


def test_names_may_be_added_to_those_that_are_imported_later() -> None:
    names = later.Later("pareprop.tasks", {"sine-waves": "sine_waves.SineWaves"})
    names["mine"] = dict
    assert names["mine"] is dict and names["sine-waves"].name == "sine-waves"


def test_h5py_is_loaded_when_it_is_used() -> None:
    """And by scripts as if this package were not there."""
    program = (
        "import sys, pareprop, pareprop.runs.run; from pareprop.later import h5py as late\n"
        "assert 'h5py' not in sys.modules\n"
        "assert late.Dataset\n"
        "import h5py; assert late.File is h5py.File"
    )
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
