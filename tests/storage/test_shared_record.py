"""One recording file of all ranks, where h5py was built with MPI; elsewhere these tests skip."""

from pathlib import Path

import h5py
import launch
import numpy as np
import pytest
from commands import command, digests, on_ranks, run_of

pytestmark = [
    pytest.mark.mpi,
    pytest.mark.skipif(not h5py.get_config().mpi, reason="this h5py was built without MPI: no shared files"),
]
WHAT = 'what=["spikes","input_spikes","V_m","readout_signal","weights"]'


def run(n_rec: int, out: Path, *options: object) -> list[object]:
    values = {"n_rec": n_rec, "n_in": 6, "n_step": 30, "iterations": 6, "synapses": 9}
    return [*run_of("sine-waves", out, "record.every=2", "checkpoint.every=4", WHAT, **values), *options]


@pytest.mark.parametrize("n_rec", [11, 2])  # with fewer neurons than ranks, some have nothing to write
def test_one_file_says_what_many_say(tmp_path: Path, capsys: pytest.CaptureFixture, n_rec: int) -> None:
    alone, shared = tmp_path / "alone", tmp_path / "shared"
    output = command(capsys, *run(n_rec, alone))[1]
    on_ranks(3, [run(n_rec, shared, "--until", 3)])
    codes, lines, errors = on_ranks(2, [["resume", shared]])
    assert codes == [0], errors
    assert digests(lines) == digests(output.splitlines())
    files = {path.name for path in (shared / "record").iterdir()}
    assert "part-000.h5" in files and not any("rank" in name for name in files)
    assert command(capsys, "compare", alone, shared)[1] == "no difference\n"
    with h5py.File(alone / "record.h5") as one, h5py.File(shared / "record.h5") as other:
        names: list[str] = []
        one.visititems(lambda name, node: names.append(name) if isinstance(node, h5py.Dataset) else None)
        assert len(names) > 15 and len(one["spikes/id"]) > 0 and list(one["samples/iteration"]) == [0, 2, 4]
        for name in names:
            np.testing.assert_array_equal(one[name], other[name], err_msg=name)
            assert {key: str(value) for key, value in one[name].attrs.items()} == {
                key: str(value) for key, value in other[name].attrs.items()
            }


SCRIPT = """
import os, sys, time
from pathlib import Path
import numpy as np
from mpi4py import MPI
from pareprop import cli
from pareprop.storage import growing_file
comm, how, path = MPI.COMM_WORLD, sys.argv[1], Path(sys.argv[2])
Column = growing_file.Column
streams = {"a": Column("<f8", (comm.rank,), "1", ("x", "y")), "b": Column("<i8", (), "1", ("x",))}
file = growing_file.SharedFile(comm, path, streams, {}, {"dt_ms": 1.0}, compression=1)
for k in range(3):
    file.add("a", np.full((2, comm.rank), k + comm.rank / 10))
    if comm.rank != 1:
        file.add("b", [k, comm.rank])
    file.flush()
file.add("b", [99])
if how == "killed":
    comm.Barrier()
    os.kill(os.getpid(), 9)
def fail(*arguments):
    raise OSError("the disk is gone")
def main():
    if comm.rank == 1:
        file._write = fail
    file.flush()
try:
    main()
except Exception as problem:
    print("seen:", repr(problem), file=sys.stderr, flush=True)
    time.sleep(0.5)  # for mpirun to pass it on
    comm.Abort(1)
"""


def test_a_killed_run_leaves_what_was_flushed(tmp_path: Path) -> None:
    assert launch.mpirun(3, "-c", SCRIPT, "killed", tmp_path / "file.h5").returncode != 0
    with h5py.File(tmp_path / "file.h5") as file:
        expected = np.repeat([[k + 0.1, k + 0.2, k + 0.2] for k in range(3)], 2, axis=0)
        np.testing.assert_array_equal(file["a"], expected)
        np.testing.assert_array_equal(file["b"], [0, 0, 0, 2, 1, 0, 1, 2, 2, 0, 2, 2])
        assert file.attrs["dt_ms"] == 1.0


def test_a_rank_that_fails_in_a_flush_ends_all(tmp_path: Path) -> None:
    done = launch.mpirun(3, "-c", SCRIPT, "fails", tmp_path / "file.h5")
    assert done.returncode == 1 and "by all ranks: the disk is gone" in done.stderr
