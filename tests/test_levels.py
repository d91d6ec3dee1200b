"""Levels of the processor: which one is chosen, what is refused, and the same bits at all of them."""

import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import launch
import pytest

from pareprop import kernels, machine

LEVELS = {
    "x86-64": ("-march=x86-64", ["sse2"]),
    "v3": ("-march=x86-64-v3", ["avx2", "sse2"]),
    "v4": ("-march=x86-64-v4", ["avx2", "avx512f", "sse2"]),
}
BUILT = list(kernels.build_info.levels)
HERE = [name for name, (_, sets) in kernels.build_info.levels.items() if set(sets) <= machine.read_instructions()]
ROOT = Path(__file__).parents[1]


@pytest.fixture
def processor(monkeypatch: pytest.MonkeyPatch):
    """A processor with the named instruction sets."""

    def choose(*names: str, asked: str = "") -> str:
        monkeypatch.setattr(machine, "read_instructions", lambda: set(names))
        monkeypatch.setenv("PAREPROP_LEVEL", asked)
        return machine.choose_level(LEVELS, ["sse2"])

    return choose


def test_the_highest_level_that_the_processor_has(processor) -> None:
    assert processor("sse2") == "x86-64"
    assert processor("sse2", "avx2", "fma") == "v3"
    assert processor("sse2", "avx2", "avx512f") == "v4"
    assert processor() == "x86-64"  # what it has is unknown: the lowest
    assert processor("sse2", "avx2", "avx512f", asked="v3") == "v3"


@pytest.mark.parametrize(
    ("names", "asked", "message"),
    [
        (["sse2"], "v9", "PAREPROP_LEVEL: level 'v9' is not installed, there are x86-64, v3, v4"),
        (["sse2", "avx2"], "v4", "PAREPROP_LEVEL: level 'v4' needs avx512f, which this processor lacks"),
        (["sse"], "", "the kernels were compiled for processors with sse2, which this one lacks: install pareprop on"),
    ],
)
def test_other_levels_are_refused_in_a_line(processor, capsys, names: list[str], asked: str, message: str) -> None:
    with pytest.raises(SystemExit) as end:
        processor(*names, asked=asked)
    told = capsys.readouterr().err
    assert end.value.code == 2 and told.startswith(f"pareprop: error: {message}") and told.count("\n") == 1


def test_an_unknown_level_ends_a_command(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "pareprop", "tasks"]
    done = subprocess.run(line, env=os.environ | {"PAREPROP_LEVEL": "v9"}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)


def test_instructions_of_arm_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.Path, "read_text", lambda path: "processor : 0\nFeatures\t: fp asimd sve\n")
    assert machine.read_instructions() == {"fp", "asimd", "sve"}


def test_hardware_threads_of_one_core_are_not_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four of them on two cores."""
    for number, together in enumerate(["0,2", "1,3", "0,2", "1,3"]):
        (tmp_path / f"cpu{number}" / "topology").mkdir(parents=True)
        (tmp_path / f"cpu{number}" / "topology" / "thread_siblings_list").write_text(f"{together}\n")
    monkeypatch.setattr(machine, "PROCESSORS", tmp_path)
    count = machine.count_cores.__wrapped__
    assert [count(), count(frozenset({0, 2})), count(frozenset({0, 1}))] == [2, 1, 2]
    monkeypatch.setattr(machine, "PROCESSORS", tmp_path / "unknown")
    assert [count(), count(frozenset({0, 2}))] == [os.cpu_count(), 2]


# A neuron given by equations, too: its kernels are compiled for the lowest level of the ranks.
TRAIN = """
import os, sys
os.environ["PAREPROP_LEVEL"] = sys.argv[1:][int(os.environ["OMPI_COMM_WORLD_RANK"])]
from pareprop.cli import main
main(["bench", "--variant", "spike", "--neurons", "40", "--indegree", "8", "--steps", "60", "--intervals", "2",
      "--neuron", "iaf_psc_exp", "--rate", "0"])
"""


@pytest.mark.slow
@pytest.mark.mpi
@pytest.mark.skipif(len(HERE) < 2, reason="one level is installed: PAREPROP_LEVELS=all")
def test_ranks_at_two_levels_give_one_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAREPROP_CACHE", str(tmp_path))
    found = set()
    for levels in ([HERE[0], HERE[0]], [HERE[-1], HERE[-1]], [HERE[0], HERE[-1]], [HERE[-1], HERE[0]]):
        done = launch.mpirun(2, "-c", TRAIN, *levels, timeout=300)
        assert done.returncode == 0, done.stderr
        found.add(done.stdout.splitlines()[-1])
    assert len(found) == 1 and next(iter(found)).startswith("digest: ")


@pytest.mark.slow
@pytest.mark.parametrize("level", HERE[:-1])
def test_digests_are_those_of_the_table(level: str, tmp_path: Path, all_flags: dict[str, str]) -> None:
    """Of levels below the one that other tests run at."""
    line = [sys.executable, str(ROOT / "tests" / "test_digests.py"), str(tmp_path)]
    environment = os.environ | all_flags | {"PAREPROP_LEVEL": level, "MPLBACKEND": "Agg"}
    done = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=1800, check=True)
    table = json.loads((ROOT / "tests" / "digests.json").read_text())["digests"]
    assert json.loads(done.stdout[done.stdout.index("{") :]) == table


QEMU = shutil.which("qemu-x86_64-static") or shutil.which("qemu-x86_64")
SHORT = ("bench", "--variant", "spike", "--neurons", "40", "--indegree", "8", "--steps", "60", "--intervals", "2")


@pytest.mark.slow
@pytest.mark.skipif(QEMU is None or platform.machine() != "x86_64", reason="no QEMU of this architecture")
@pytest.mark.parametrize(("level", "processor"), [("v2", "Nehalem"), ("v3", "Haswell")])
def test_no_instruction_of_a_higher_level_is_met(level: str, processor: str) -> None:
    """On an emulated processor of the level, which ends a process at others."""
    if level not in HERE:
        pytest.skip(f"level {level} is not installed: PAREPROP_LEVELS=all")
    environment = os.environ | {"PAREPROP_LEVEL": level}
    command = [sys.executable, "-m", "pareprop", *SHORT]
    lines = [
        subprocess.run(
            [*emulator, *command], env=environment, capture_output=True, text=True, timeout=600, check=True
        ).stdout.splitlines()[-1]
        for emulator in ([], [str(QEMU), "-cpu", processor])
    ]
    assert lines[0] == lines[1] and lines[0].startswith("digest: ")
