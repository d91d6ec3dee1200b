"""What goes wrong while a run lasts: the run ends, tells what is safe, and can be gone on with."""

import os
import subprocess
import sys
from pathlib import Path

import h5py
import launch
import networks
import numpy as np
import pytest
import ranks
from commands import as_options, command, digests, output_of

from pareprop import files
from pareprop.errors import StateError
from pareprop.runs import config
from pareprop.simulation.loop import Simulation
from pareprop.simulation.observer import Observer
from pareprop.storage import checkpoint_read, checkpoint_write, combined_file
from pareprop.storage.checkpoint_observer import Checkpoints

SIZES = ["n_rec=12", "n_in=10", "n_step=30"]


def settings(*texts: str) -> list[str]:
    return as_options(*SIZES, *texts)


pytestmark = pytest.mark.usefixtures("no_figures")


class Spoil(Observer):
    """Spoils a number before a sample."""

    def __init__(self, index: int, how) -> None:
        self.index, self.how = index, how

    def before_sample(self, simulation: Simulation, index: int, phase: str) -> None:
        if index == self.index:
            self.how(simulation)


def test_a_voltage_that_overflows_is_named_and_the_last_good_state_kept(tmp_path: Path) -> None:
    case = networks.random_case(5)
    whole = networks.simulation(case)
    whole.train(2)
    keeper = Checkpoints(tmp_path, {}, 3)
    spoilt = networks.simulation(case)
    spoilt.observers = [Spoil(2, lambda run: run.engine.currents.carried.__setitem__((0, 3), 1e300)), keeper]
    with pytest.raises(StateError, match=r" = \S+ in neuron \d+ of population 'rec\d'.*; safe: .*02"):
        spoilt.train(3)
    again = networks.simulation(case)
    checkpoint_read.load(again, tmp_path, {})
    assert (again.iteration, again.hexdigest()) == (2, whole.hexdigest())


def test_a_weight_that_overflows_is_named_and_never_kept(tmp_path: Path) -> None:
    spoilt = networks.simulation(networks.random_case(5))
    spoil = Spoil(2, lambda run: run.network.incoming.weight.__setitem__(4, np.nan))
    spoilt.observers = [spoil, Checkpoints(tmp_path, {}, 3, every=1)]
    with pytest.raises(StateError, match=r"nan in (neuron|projection).*safe: \S+iteration-00000002"):
        spoilt.train(3)
    names = [path.name for path in checkpoint_write.list_checkpoints(tmp_path)]
    assert names == ["iteration-00000002", "iteration-00000001"]


ONE_RANK_FAILS = """
import sys
from pareprop import cli
from pareprop.parallel import launcher
from pareprop.simulation import loop, observer
class Fail(observer.Observer):
    def before_sample(self, simulation, index, phase):
        if index == 2 and simulation.exchange.rank == 1:
            raise RuntimeError("rank one is out of luck")
real = loop.Simulation.__init__
def patched(self, model, task, exchange, observers, settings):
    real(self, model, task, exchange, [Fail(), *observers], settings)
loop.Simulation.__init__ = patched
cli.main(sys.argv[1:])
"""


@pytest.mark.mpi
def test_an_exception_on_one_rank_ends_all(tmp_path: Path) -> None:
    arguments = ["run", "sine-waves", *settings("iterations=1000000"), "--out", tmp_path / "run"]
    done = ranks.run(2, "-c", ONE_RANK_FAILS, *arguments)
    assert done.returncode == 1
    assert "pareprop: rank 1 failed:" in done.stderr and "rank one is out of luck" in done.stderr


def test_disk_full_while_recording(small_disk: Path, capsys: pytest.CaptureFixture) -> None:
    """The run ends with exit code 3, names the file and what is safe, and goes on when there is room again."""
    recorded = ("record.every=1", 'what=["V_m","learning_signal","surrogate_gradient"]', "record.neurons=40")
    arguments = settings("iterations=60", "n_step=1000", "checkpoint.every=5", "compression=0", "n_rec=40", *recorded)
    code, _, errors = command(capsys, "run", "sine-waves", *arguments, "--out", small_disk / "run")
    assert code == 3, errors
    assert "No space left on device" in errors and "safe: " in errors and "are lost, unless" in errors
    subprocess.run(["mount", "-o", "remount,size=200m", small_disk], check=True)
    output = output_of(capsys, "resume", small_disk / "run")
    whole = command(capsys, "run", "sine-waves", *arguments, "--out", small_disk / "whole")[1]
    assert digests(output.splitlines()) == digests(whole.splitlines())
    with h5py.File(small_disk / "run" / "record.h5") as file, h5py.File(small_disk / "whole" / "record.h5") as other:
        kept = file["samples/iteration"][()]
        assert list(kept) == list(range(5, 60))  # those before were lost with the disk, as the message said
        np.testing.assert_array_equal(file["samples/loss"], other["samples/loss"][kept])


LIMITED = """
import resource, sys
from pareprop import cli
size, n_ranks = int(sys.argv.pop(1)), int(sys.argv.pop(1))
if n_ranks > 1:
    from mpi4py import MPI  # whose own files in shared memory are larger
resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
cli.main(sys.argv[1:])
"""
BULKY = ["iterations=60", "n_step=1000", "n_rec=40", "record.every=1", 'what=["V_m","learning_signal"]']


@pytest.mark.mpi
@pytest.mark.parametrize(
    ("n_ranks", "size", "compression"),  # ranks share memory in files, which must fit
    [(1, 9_000, 0), (1, 50_000, 0), (1, 300_000, 1), (1, 4_000_000, 0), (2, 300_000, 0), (2, 300_000, 1)],
)
def test_files_over_the_size_limit(tmp_path: Path, n_ranks: int, size: int, compression: int) -> None:
    """A write beyond `ulimit -f` ends the run with one line, whichever file it is of; HDF5 crashes where it sees it."""
    arguments = settings(*BULKY, "checkpoint.every=5", f"compression={compression}")
    out = tmp_path / "run"
    done = ranks.run(n_ranks, "-c", LIMITED, size, n_ranks, "run", "sine-waves", *arguments, "--out", out)
    assert done.returncode == 3, done.stderr
    assert "Traceback" not in done.stderr and "File too large" in done.stderr
    assert sum(line.startswith("pareprop: error: ") for line in done.stderr.splitlines()) == 1
    for path in out.glob("**/*.h5"):
        with files.open_hdf5(path, killed=True) as file:  # a recording can be read up to the last flush
            file.visititems(lambda _, item: item[()] if isinstance(item, h5py.Dataset) else None)


def test_resume_over_the_size_limit_keeps_earlier_results(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Results of a finished run outlive a longer run of it that cannot write its own."""
    arguments = [*settings("iterations=2", "n_rec=40"), "--out", tmp_path / "run"]
    output_of(capsys, "run", "sine-waves", *arguments)
    before = (tmp_path / "run" / "results.h5").read_bytes()
    line = ["resume", tmp_path / "run", "--set", "iterations=4"]
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, "40000", "1", *line], capture_output=True, text=True, check=False
    )
    assert done.returncode == 3 and "Traceback" not in done.stderr and "File too large" in done.stderr
    assert (tmp_path / "run" / "results.h5").read_bytes() == before


def test_checkpoint_that_does_not_fit(small_disk: Path, capsys: pytest.CaptureFixture) -> None:
    arguments = settings("n_rec=300", "iterations=2", "checkpoint.every=1")
    code, _, errors = command(capsys, "run", "sine-waves", *arguments, "--out", small_disk / "run")
    assert code == 3 and "No space left on device" in errors and "attribute" not in errors
    assert not list((small_disk / "run").glob("checkpoints/*.part"))


KILLED = """
import os, sys
from pathlib import Path
from pareprop.storage import growing_file
streams = {"a": growing_file.Column("f8", (2,), "1", ("x", "y"))}
file = growing_file.GrowingFile(Path(sys.argv[1]), streams, {}, {"dt_ms": 1.0})
file.add_rows("a", [[1.0, 2.0], [3.0, 4.0]])
file.write_rows()
file.add_rows("a", [[5.0, 6.0]])
os.kill(os.getpid(), 9)
"""


def test_a_recording_is_readable_up_to_the_last_flush(tmp_path: Path) -> None:
    path = tmp_path / "file.h5"
    assert subprocess.run([sys.executable, "-c", KILLED, path], check=False).returncode == -9
    with h5py.File(path, swmr=True) as file:
        np.testing.assert_array_equal(file["a"], [[1.0, 2.0], [3.0, 4.0]])
    combined_file.repair_file(path)
    with h5py.File(path) as file:
        np.testing.assert_array_equal(file["a"], [[1.0, 2.0], [3.0, 4.0]])
        assert file.attrs["dt_ms"] == 1.0


def test_results_that_were_half_written_are_made_again(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    arguments = ["run", "sine-waves", *settings("iterations=4")]
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    command(capsys, *arguments, "--out", whole)
    command(capsys, *arguments, "--out", stopped, "--until", 2)
    os.replace(stopped / "results.h5", stopped / "results.part")
    assert command(capsys, "resume", stopped)[0] == 0
    assert command(capsys, "compare", whole, stopped)[:2] == (0, "no difference\n")
    assert "part 2: iterations 2 to 4" in output_of(capsys, "info", stopped)


@pytest.mark.slow
def test_recording_on_ranks_is_that_of_one(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    what = 'what=["spikes","V_m","learning_signal","readout_signal","weights","input_spikes"]'
    texts = settings("iterations=5", "record.every=2", "record.neurons=[0,5,11]", "step=3", "synapses=20", what)
    command(capsys, "run", "sine-waves", *texts, "--out", tmp_path / "one")
    ranks.run(3, "-m", "pareprop", "run", "sine-waves", *texts, "--out", tmp_path / "three", "--until", 3)
    assert command(capsys, "resume", tmp_path / "three")[0] == 0
    with h5py.File(tmp_path / "one" / "record.h5") as one, h5py.File(tmp_path / "three" / "record.h5") as three:
        names = []
        one.visititems(lambda name, node: names.append(name) if isinstance(node, h5py.Dataset) else None)
        assert len(names) > 15 and list(one["samples/iteration"]) == [0, 2, 4]
        for name in names:
            np.testing.assert_array_equal(one[name], three[name], err_msg=name)
        spikes = list(zip(*(three[f"spikes/{key}"][()] for key in ("iteration", "step", "id")), strict=True))
        assert spikes == sorted(spikes)
        assert one["state/V_m"].shape == (30, 3) and one["state/V_m"].attrs["unit"] == "mV"
    assert command(capsys, "export", tmp_path / "three", tmp_path / "spikes.h5")[0] == 0
    with h5py.File(tmp_path / "spikes.h5") as file:
        times = file["spikes/recurrent/timestamps"][()]
        assert len(times) == len(spikes) and np.all(np.diff(times) >= 0)
        assert file["spikes/inputs/timestamps"].attrs["units"] == "ms"


def test_configurations_differ(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    for seed in (1, 2):
        command(capsys, "run", "sine-waves", *settings("iterations=1", f"seed={seed}"), "--out", tmp_path / str(seed))
    code, output, _ = command(capsys, "compare", tmp_path / "1", tmp_path / "2")
    assert code == 1 and output.startswith("configuration: run.seed = 1 in the first, 2 in the second\n")
    assert "weight_initial: projection 'in->rec', synapse 0 (0 to 0): " in output
    assert config.load("sine-waves").compute_digest() != config.load("sine-waves", ["seed=2"]).compute_digest()


CLOSE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int close(int file) {
    char link[64], path[4096] = "";
    const char *name = getenv("FAIL_CLOSE");
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t size = readlink(link, path, sizeof path - 1);
    int written = (fcntl(file, F_GETFL) & O_ACCMODE) != O_RDONLY;
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "close");
    int end = real(file);
    size_t length = strlen(name);
    if (size < (ssize_t)length || !written || strcmp(path + size - length, name)) return end;
    errno = EDQUOT;
    return -1;
}
"""


@pytest.fixture(scope="session")
def failing_close(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library that lets the close of a written file fail whose path ends with $FAIL_CLOSE, as a quota or NFS may."""
    folder = tmp_path_factory.mktemp("close")
    (folder / "close.c").write_text(CLOSE)
    subprocess.run(["cc", "-shared", "-fPIC", "close.c", "-o", "close.so", "-ldl"], cwd=folder, check=True)
    return folder / "close.so"


@pytest.mark.mpi
@pytest.mark.parametrize(
    ("n_ranks", "name"),
    [(1, "loss.csv"), (2, "loss.csv"), (1, "run.log"), (1, "results.part"), (2, "part-000-rank-00001.h5")],
)
def test_files_that_cannot_be_closed(tmp_path: Path, failing_close: Path, n_ranks: int, name: str) -> None:
    """A failed close loses what the system held back: one line and exit code 3, whichever file it is of."""
    arguments = settings("iterations=4", "record.every=1", 'what=["spikes"]')
    line = ["-m", "pareprop", "run", "sine-waves", *arguments, "--no-figures", "--out", tmp_path / "run"]
    done = launch.mpirun(n_ranks, *line, env={"LD_PRELOAD": str(failing_close), "FAIL_CLOSE": name})
    assert done.returncode == 3, done.stderr
    (error,) = [text for text in done.stderr.splitlines() if text.startswith("pareprop: ")]
    assert "Disk quota exceeded" in error and "Traceback" not in done.stderr
