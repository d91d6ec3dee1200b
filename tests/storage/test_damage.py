"""Files of a run that were damaged after they were written: told before the training, and nothing is lost.

One file, because all tests start from the same run.
"""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from commands import apart, as_options, command, digests
from damage import contents, flip

import pareprop
from pareprop import Observer, Simulation, files
from pareprop.errors import StateError
from pareprop.exchange_formats.n_mnist_reader import Recordings
from pareprop.runs.phases import Phases
from pareprop.storage import combined_file, results
from pareprop.tasks import pixel_spikes
from pareprop.tasks.sine_waves import SineWaves

SETTINGS = (
    "n_rec=8",
    "n_in=6",
    "n_step=30",
    "iterations=4",
    "record.every=1",
    "checkpoint.every=1",
    'what=["spikes","input_spikes","V_m","weights"]',
)
RUN = ["run", "sine-waves", *as_options(*SETTINGS)]
PART = "record/part-000-rank-00000.h5"


pytestmark = pytest.mark.usefixtures("no_figures")


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A run that was stopped after two of four iterations, and the digest of the whole one."""
    folder = tmp_path_factory.mktemp("runs")
    whole = apart(*RUN, "--no-figures", "--out", folder / "whole")
    assert whole.returncode == 0, whole.stderr
    assert apart(*RUN, "--no-figures", "--until", 2, "--out", folder / "run").returncode == 0
    return folder / "run", digests(whole.stdout.splitlines())[0]


@pytest.fixture
def copy(stopped: tuple[Path, str], tmp_path: Path) -> Path:
    shutil.copytree(stopped[0], tmp_path / "run")
    return tmp_path / "run"


def as_of_a_killed_writer(path: Path) -> None:
    """Leave the file as SIGKILL does: HDF5 opens it in its mode of a single writer and many readers alone."""
    code = "import h5py, os, sys; f = h5py.File(sys.argv[1], 'r+', libver='latest'); f.swmr_mode = True; os._exit(0)"
    subprocess.run([sys.executable, "-c", code, path], check=True, timeout=60)
    with pytest.raises(OSError, match="already open for write"):
        h5py.File(path)


def require_refusal(capsys: pytest.CaptureFixture, run: Path) -> None:
    """The run is not resumed, says why in a line, and stays as it is."""
    before = contents(run)
    code, output, errors = command(capsys, "resume", run)
    assert (code, errors.count("\n")) == (2, 1) and "resumed" not in output, errors
    assert f"recording {run / PART}" in errors and "every = 0 resumes without the recording" in errors, errors
    assert contents(run) == before


# ---- recordings ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("size", [0, 4_000, 100_000, -1])
def test_a_recording_cut_short_is_told_before_the_training(copy: Path, capsys, size: int) -> None:
    os.truncate(copy / PART, size if size >= 0 else (copy / PART).stat().st_size - 1)
    require_refusal(capsys, copy)


@pytest.mark.slow
@pytest.mark.parametrize("killed", [True, False])
def test_a_flipped_bit_of_a_recording_is_told_before_the_training(copy: Path, capsys, killed: bool) -> None:
    """Wherever it matters; HDF5 itself would try again for ever, or take other numbers for those that were recorded."""
    if killed:
        as_of_a_killed_writer(copy / PART)
    source = (copy / PART).read_bytes()
    with files.open_hdf5(copy / PART, killed=True) as file:
        ids = file["weights/rec->rec/source"].id.get_offset()  # raw numbers, of which HDF5 keeps no checksum
    for place in (47, 847, ids):
        (copy / PART).write_bytes(source)
        flip(copy / PART, place)
        require_refusal(capsys, copy)


def test_a_text_that_is_none_in_a_recording(copy: Path, capsys: pytest.CaptureFixture) -> None:
    """Found by hand: told by a traceback, after the training."""
    with h5py.File(copy / PART, "r+") as file:
        text = h5py.h5t.py_create(h5py.string_dtype("utf-8", 2))
        made = h5py.h5a.create(file.id, b"note", text, h5py.h5s.create(h5py.h5s.SCALAR))
        made.write(np.array(b"\xff\xfe", "S2"), mtype=text)
    require_refusal(capsys, copy)


def test_the_checkpoint_before_is_taken_where_its_recording_is_whole(
    copy: Path, stopped: tuple[Path, str], capsys
) -> None:
    """Rows that only the later checkpoint counts on are damaged."""
    with h5py.File(copy / PART, "r+") as file:
        last = len(file["weights/rec->rec/weight"]) - 1
        file["weights/rec->rec/weight"][last, 0] += 1.0
    code, output, errors = command(capsys, "resume", copy)
    assert code == 0 and "iteration-00000002 is damaged" in errors and "iteration-00000001, 1 iterations" in output
    assert digests(output.splitlines())[-1] == stopped[1]
    with combined_file.open_combined(copy / "record.h5") as file:
        assert file["samples/iteration"][()].tolist() == [0, 1, 2, 3]


def test_a_damaged_recording_can_be_left_behind(copy: Path, stopped: tuple[Path, str], capsys) -> None:
    os.truncate(copy / PART, 4_000)
    assert command(capsys, "resume", copy)[0] == 2
    code, output, errors = command(capsys, "resume", copy, "--set", "record.every=0")
    assert (code, errors, digests(output.splitlines())[-1]) == (0, "", stopped[1])


def test_rows_that_a_checkpoint_counts_on_are_on_the_disk(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that fails forgets what was written and not synchronised."""
    done, real = [], os.fsync
    monkeypatch.setattr(os, "fsync", lambda number: (done.append(os.readlink(f"/proc/self/fd/{number}")), real(number)))
    assert command(capsys, *RUN, "--set", "iterations=1", "--out", tmp_path / "out")[0] == 0
    manifest = next(k for k, name in enumerate(done) if name.endswith("manifest.json"))
    assert str(tmp_path / "out" / PART) in done[:manifest]
    for name in ("results.part", "record.part"):
        assert str(tmp_path / "out" / name) in done


# ---- results ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_damaged_results_are_written_anew(copy: Path, stopped: tuple[Path, str], capsys) -> None:
    """From the checkpoint; found by hand: the run trained, failed in a traceback, and its results were gone."""
    source, kept = (copy / "results.h5").read_bytes(), copy.with_name("kept")
    shutil.copytree(copy, kept)
    with h5py.File(stopped[0].with_name("whole") / "results.h5") as file:
        expected = {name: file[name][()] for name in ("loss", "projections/rec->rec/weight_initial")}
    told = 0
    for place in [*range(0, 100, 20), *range(800, len(source), 11_000)]:
        shutil.rmtree(copy)
        shutil.copytree(kept, copy)
        flip(copy / "results.h5", place)
        code, output, errors = command(capsys, "resume", copy)
        assert code == 0 and digests(output.splitlines())[-1] == stopped[1], (place, errors)
        assert not (copy / "results.part").exists()
        if errors:
            assert "results.h5 is" in errors and "it is written anew" in errors and errors.count("\n") == 1
            told += 1
        with h5py.File(copy / "results.h5") as file:
            assert "weight" in file["projections/rec->rec"] and "loss" in file, place
            for name, values in expected.items() if errors else ():
                np.testing.assert_array_equal(file[name][()], values, err_msg=name)
    assert told > 1


@pytest.mark.parametrize("link", [h5py.SoftLink("/loss"), h5py.ExternalLink("other.h5", "/loss")])
def test_results_with_a_link_are_written_anew(copy: Path, stopped: tuple[Path, str], capsys, link: object) -> None:
    """A flipped bit makes a link of a dataset; what it leads to is neither read nor written."""
    shutil.copy(copy / "results.h5", copy / "other.h5")
    before = (copy / "other.h5").read_bytes()
    with h5py.File(copy / "results.h5", "r+") as file:
        del file["projections/rec->rec/weight_initial"]
        file["projections/rec->rec/weight_initial"] = link
    code, output, errors = command(capsys, "resume", copy)
    assert code == 0 and digests(output.splitlines())[-1] == stopped[1], errors
    assert "results.h5 is damaged: 'projections/rec->rec/weight_initial' is a link" in errors, errors
    assert "it is written anew" in errors and errors.count("\n") == 1
    assert (copy / "other.h5").read_bytes() == before
    with h5py.File(copy / "results.h5") as file:
        assert isinstance(file["projections/rec->rec"].get("weight_initial", getlink=True), h5py.HardLink)


def test_results_stay_until_their_successor_is_complete(copy: Path, capsys, monkeypatch) -> None:
    before = (copy / "results.h5").read_bytes()

    def fails(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(results, "describe_sample", fails)
    code, _, errors = command(capsys, "resume", copy)
    assert code == 3 and "No space left" in errors and "safe: " in errors, errors
    assert (copy / "results.h5").read_bytes() == before and not (copy / "results.part").exists()
    monkeypatch.undo()
    assert command(capsys, "resume", copy, "--no-figures")[0] == 0


# ---- data that are read during the run -------------------------------------------------------------------------------


def write_recordings(folder: Path, damaged: bool) -> None:
    """Recordings of an event camera; `damaged`: the table of the zip of the test is whole, all else is not."""
    for name in ("Train.zip", "Test.zip"):
        with zipfile.ZipFile(folder / name, "w", zipfile.ZIP_DEFLATED) as archive:
            for label in range(3):
                archive.writestr(f"{label}/00001.bin", bytes(k % 30 if k % 5 < 2 else 0 for k in range(100)))
    content = bytearray((folder / "Test.zip").read_bytes())
    end = content.find(b"PK\1\2") if damaged else 0
    (folder / "Test.zip").write_bytes(bytes(byte ^ 255 for byte in content[:end]) + content[end:])


@pytest.fixture
def recordings(tmp_path: Path) -> list[object]:
    sizes = (
        "n_rec=4",
        "n_step=20",
        "iterations=2",
        "batch_size=1",
        "test_samples=2",
        "scan=3",
        "density_in=1.0",
        "density_rec=0.0",
    )
    return ["run", "n-mnist", *as_options(f"data={tmp_path}", *sizes)]


def test_recordings_of_a_test_that_cannot_be_read_are_told_before_the_training(tmp_path, recordings, capsys) -> None:
    write_recordings(tmp_path, damaged=True)
    code, output, errors = command(capsys, *recordings, "--out", tmp_path / "out")
    assert (code, output, errors.count("\n")) == (2, "", 1) and "no recording for phase test can be read" in errors
    assert not (tmp_path / "out").exists()
    assert command(capsys, *recordings, "--set", "test_samples=0", "--out", tmp_path / "out")[0] == 0


def test_a_test_that_fails_costs_no_results(tmp_path, recordings, capsys, monkeypatch) -> None:
    """Recordings that were damaged during the training."""
    write_recordings(tmp_path, damaged=False)
    whole = digests(command(capsys, *recordings, "--out", tmp_path / "whole")[1].splitlines())
    finish = Phases.finish

    def unreadable(*_: object) -> bytes:
        raise OSError("damaged")

    def finish_late(*given: object) -> None:
        monkeypatch.setattr(Recordings, "_read_content", unreadable)
        finish(*given)

    monkeypatch.setattr(Phases, "finish", finish_late)
    monkeypatch.setattr(pixel_spikes, "KEPT", 0)
    code, _, errors = command(capsys, *recordings, "--out", tmp_path / "out")
    assert code == 2 and "no recording for phase test can be read" in errors and "safe: " in errors, errors
    with h5py.File(tmp_path / "out/results.h5") as file:
        assert len(file["loss"]) == 2 and "weight" in file["projections/in->rec"]
        assert [file.attrs["digest"]] == whole
    monkeypatch.undo()
    code, output, errors = command(capsys, "resume", tmp_path / "out", "--set", "test_samples=0", "--no-figures")
    assert (code, digests(output.splitlines())) == (0, whole), errors


# ---- the run directory -----------------------------------------------------------------------------------------------


class Moves(Observer):
    """Moves the run directory after an iteration."""

    def __init__(self, old: Path, new: Path) -> None:
        self.old, self.new = old, new

    def after_iteration(self, simulation: Simulation, iteration: int, loss: float) -> None:
        if iteration == 1:
            self.old.rename(self.new)


def test_a_run_that_is_moved_while_it_trains_goes_on_in_its_new_place(tmp_path: Path) -> None:
    """Found by hand: later checkpoints went into a new directory of the old name, without the rest of the run."""
    old, new, options = tmp_path / "old", tmp_path / "new", {"record": {"every": 1}, "checkpoint": {"every": 1}}
    task = SineWaves(n_rec=8, n_in=6, n_step=30, iterations=4, figures="none")
    whole = pareprop.run(None, task, tmp_path / "whole", quiet=True, **options)
    with pytest.raises(StateError, match=f"{old} was moved to {new} while it trained.*safe: {new}.*00000002"):
        pareprop.run(None, task, old, observers=[Moves(old, new)], quiet=True, **options)
    assert not old.exists()
    again = pareprop.run(None, task, new, restart=True, quiet=True, **options)
    assert again.digest == whole.digest
    with combined_file.open_combined(new / "record.h5") as file:
        assert file["samples/iteration"][()].tolist() == [0, 1, 2, 3]
