"""Whose files a run may touch: its own, in a directory of its own, and none through links or names from files.

One file, because all tests start from the same finished run.
"""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import ranks
from checkpoints import change
from commands import apart, as_options, command, digests, output_of, refusal_of
from damage import contents

from pareprop import plots
from pareprop.errors import InputError
from pareprop.runs import run
from pareprop.runs.directory import claim_directory
from pareprop.storage import checkpoint_observer, checkpoint_write
from pareprop.storage.disk import lock_directory

DRAW = run.draw_run
RUN = [
    "run",
    "sine-waves",
    *as_options("n_rec=8", "n_in=6", "n_step=30", "iterations=2", "record.every=1", "checkpoint.every=1"),
]


pytestmark = pytest.mark.usefixtures("no_figures")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A run of two iterations with recording and checkpoints, and its digest."""
    out = tmp_path_factory.mktemp("runs") / "run"
    done = apart(*RUN, "--out", out)
    assert done.returncode == 0, done.stderr
    return out, digests(done.stdout.splitlines())[0]


@pytest.fixture
def copy(finished: tuple[Path, str], tmp_path: Path) -> Path:
    shutil.copytree(finished[0], tmp_path / "run")
    return tmp_path / "run"


def require_refusal(capsys: pytest.CaptureFixture, expected: str, *arguments: object) -> None:
    assert expected in refusal_of(capsys, *arguments)


# ---- directories -----------------------------------------------------------------------------------------------------


def test_numbers_and_what_is_in_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    def made(wanted: str | None, **options: bool) -> Path:
        with claim_directory(None, wanted, "task", **options) as path:
            (path / "note").touch()
        return path

    assert [made(None) for _ in range(3)] == [Path(f"runs/task-{k}") for k in (1, 2, 3)]
    Path("deep").mkdir()
    assert made("deep/er") == Path("deep/er")
    with pytest.raises(InputError, match="--out deep/er: exists and is not empty; --overwrite"):
        made("deep/er")
    assert made("deep/er", overwrite=True) == Path("deep/er")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(InputError, match="--out other: may not be written"):
        made("other")
    assert not Path("other").exists()


@pytest.mark.parametrize("wanted", [None, "deep/er/run"])
def test_a_refused_start_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys, wanted) -> None:
    """Weights drawn out of bounds are found when the network is built, long after the settings were checked."""
    monkeypatch.chdir(tmp_path)
    out = ["--out", wanted] if wanted else []
    text = command(capsys, "config", "data")[1].replace("std = 0.3", "std = 3000.0")
    Path("my.toml").write_text(text)
    np.savez("data.npz", rates=np.full((2, 20), 9.0), targets=np.zeros((2, 10, 1)))
    require_refusal(capsys, "in->rec", "run", "my.toml", *out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data.npz", "my.toml"]


@pytest.mark.slow
def test_two_starts_do_not_share_a_directory(tmp_path: Path, capsys: pytest.CaptureFixture, copy: Path) -> None:
    (tmp_path / "empty").mkdir()
    with lock_directory(tmp_path / "empty", "--out"), lock_directory(copy, "--out"):
        require_refusal(capsys, "another run uses this directory", *RUN, "--out", tmp_path / "empty")
        require_refusal(capsys, "another run uses this directory", *RUN, "--out", copy, "--overwrite")
        require_refusal(capsys, "another run uses this directory", "resume", copy)
    assert not contents(tmp_path / "empty")
    assert command(capsys, "resume", copy)[0] == 0


@pytest.mark.slow
def test_starts_at_once_are_numbered_apart(tmp_path: Path) -> None:
    quick = [*ranks.python(), "-m", "pareprop", *RUN, "--set", "iterations=0"]
    started = [subprocess.Popen(quick, cwd=tmp_path, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    output = [process.communicate(timeout=900)[0] for process in started]
    assert [process.returncode for process in started] == [0] * 4
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == [f"sine-waves-{k}" for k in (1, 2, 3, 4)]
    assert len({line for text in output for line in text.splitlines() if line.startswith("results: ")}) == 4


@pytest.mark.slow
def test_overwrite_replaces_runs_only(tmp_path: Path, capsys: pytest.CaptureFixture, copy: Path) -> None:
    for name in ("record", "checkpoints"):
        (tmp_path / "mine" / name).mkdir(parents=True)
        (tmp_path / "mine" / name / "precious").write_text("data")
    before = contents(tmp_path / "mine")
    require_refusal(capsys, "is not a run directory", *RUN, "--out", tmp_path / "mine", "--overwrite")
    assert contents(tmp_path / "mine") == before
    for name in ("record/notes.txt", "checkpoints/notes.txt", "notes.txt"):
        (copy / name).write_text("mine")
    assert command(capsys, *RUN, "--set", "seed=2", "--set", "record.every=0", "--out", copy, "--overwrite")[0] == 0
    left = contents(copy)
    kept = [name for name in left if name.endswith("notes.txt")]
    assert kept == ["checkpoints/notes.txt", "notes.txt", "record/notes.txt"]
    assert not [name for name in left if "part-" in name or name == "record.h5"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["record", "checkpoints", "results.h5"])
def test_links_in_a_run_directory_are_not_followed(copy: Path, tmp_path: Path, capsys, name: str) -> None:
    (copy / name).rename(tmp_path / "elsewhere")
    (copy / name).symlink_to(tmp_path / "elsewhere")
    before = contents(tmp_path)
    require_refusal(capsys, "is a link", "resume", copy, "--set", "iterations=3")
    require_refusal(capsys, "is a link", *RUN, "--out", copy, "--overwrite")
    assert contents(tmp_path) == before


@pytest.mark.parametrize("name", ["results.part", "record.part", "provenance.part", "config.toml.part"])
def test_nothing_is_written_through_a_link_that_lay_there(copy: Path, tmp_path: Path, capsys, name: str) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (copy / name).symlink_to(victim)
    code = command(capsys, *RUN, "--set", "seed=3", "--out", copy, "--overwrite")[0]
    assert (code, victim.read_text()) == (0, "precious")


# ---- files of a run that somebody else made --------------------------------------------------------------------------


def foreign(folder: Path) -> Path:
    with h5py.File(folder / "secret.h5", "w") as file:
        for name in ("loss", "spikes/id", "spikes/step", "spikes/iteration"):
            file[name] = np.arange(3.0)
    return folder / "secret.h5"


def elsewhere(kind: str) -> Callable[[Path, Path, str], None]:
    """Put values of another file in the place of a dataset."""

    def change(path: Path, secret: Path, name: str) -> None:
        with h5py.File(path, "r+") as file:
            del file[name]
            if kind == "link":
                file[name] = h5py.ExternalLink(secret, name)
            elif kind == "virtual":
                layout = h5py.VirtualLayout((3,), "f8")
                layout[:] = h5py.VirtualSource(str(secret), name, (3,))
                file.create_virtual_dataset(name, layout)
            else:
                file.create_dataset(name, (3,), "f8", external=[(str(secret), 0, 24)])

    return change


@pytest.mark.parametrize("kind", ["link", "virtual", "raw"])
def test_values_from_elsewhere_are_refused(copy: Path, tmp_path: Path, capsys, kind: str) -> None:
    secret, change = foreign(tmp_path), elsewhere(kind)
    shutil.copytree(copy, tmp_path / "other")
    change(copy / "results.h5", secret, "loss")
    change(copy / "record.h5", secret, "spikes/id")
    before = contents(tmp_path)
    with pytest.raises(InputError, match="another"):
        plots.draw_figures(copy)
    for arguments in (
        ["compare", copy, tmp_path / "other"],
        ["compare", tmp_path / "other", copy],
        ["export", copy, tmp_path / "out.h5"],
    ):
        assert "another" in refusal_of(capsys, *arguments)
    assert contents(tmp_path) == before
    code, _, errors = command(capsys, "resume", copy, "--set", "iterations=3")
    assert code == 0 and "another" in errors and "it is written anew" in errors
    with h5py.File(copy / "results.h5") as file, h5py.File(tmp_path / "other" / "results.h5") as other:
        assert file["loss"].is_virtual is False and file["loss"].external is None
        np.testing.assert_array_equal(file["loss"][:2], other["loss"])
    assert secret.read_bytes() == before["secret.h5"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["text", "raw"])
def test_parts_of_a_recording_are_looked_at_before_they_are_read(
    copy: Path, finished: tuple[Path, str], tmp_path: Path, kind: str
) -> None:
    """HDF5 itself crashes where it is to read text as numbers."""
    with h5py.File(copy / "record/part-000-rank-00000.h5", "r+") as part:
        del part["spikes/id"]
        if kind == "text":
            part.create_dataset("spikes/id", (1, 2, 3), h5py.string_dtype())
        else:
            part.create_dataset("spikes/id", (3,), "u1", external=[(str(foreign(tmp_path)), 0, 3)])
    said = {"text": "'spikes/id' is not what was recorded", "raw": "another"}[kind]
    for arguments in (["compare", copy, finished[0]], ["export", copy, tmp_path / "out.h5"]):
        done = apart(*arguments)
        assert done.returncode == 2 and said in done.stderr and done.stderr.count("\n") == 1, (arguments, done)


def change_manifests(directory: Path, what: Callable[[dict], object]) -> None:
    for path in checkpoint_write.list_checkpoints(directory / "checkpoints"):
        change(path, what)


@pytest.mark.parametrize(
    "name",
    [
        "../../secret.h5",
        "SECRET",
        "/etc/passwd",
        "part-000-rank-00000.h5/../../../secret.h5",
        "link.h5",
        7,
        "part-001-rank-00000.h5",
        "part-000-rank-00000.h5\0",
    ],
)
def test_names_in_a_manifest_stay_inside(copy: Path, tmp_path: Path, capsys, name: object) -> None:
    secret = foreign(tmp_path)
    (copy / "record" / "link.h5").symlink_to(secret)
    (copy / "record" / "part-001-rank-00000.h5").symlink_to(secret)
    name = str(secret) if name == "SECRET" else name
    change_manifests(copy, lambda found: found["numbers"]["Recorder.0"]["parts"][0].update(files=[name]))
    before = contents(tmp_path)
    require_refusal(capsys, "is not a file of the recording", "resume", copy, "--set", "iterations=3")
    assert contents(tmp_path) == before


def test_more_rows_than_there_are_is_told_before_training(copy: Path, capsys: pytest.CaptureFixture) -> None:
    def longer(found: dict) -> None:
        found["numbers"]["Recorder.0"]["parts"][0]["rows"][0]["spikes/id"] = 9**9

    change_manifests(copy, longer)
    require_refusal(capsys, "rows, the checkpoint knows", "resume", copy, "--set", "iterations=3")


@pytest.mark.parametrize("name", ["manifest.json", "rank-00000.bin"])
def test_parts_of_a_checkpoint_are_no_links(copy: Path, tmp_path: Path, capsys, name: str) -> None:
    for path in checkpoint_write.list_checkpoints(copy / "checkpoints"):
        (path / name).rename(tmp_path / f"{path.name}-{name}")
        (path / name).symlink_to(tmp_path / f"{path.name}-{name}")
    code, _, errors = command(capsys, "resume", copy)
    assert code == 2 and errors.count("is a link") == 2, errors


# ---- export ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "results.h5",
        "record.h5",
        "record/part-000-rank-00000.h5",
        "record/new.h5",
        "config.toml",
        "checkpoints/iteration-00000002/manifest.json",
        "../run/record.h5",
    ],
)
@pytest.mark.parametrize("flags", [[], ["--overwrite"]])
def test_export_spares_the_run(copy: Path, capsys: pytest.CaptureFixture, name: str, flags: list[str]) -> None:
    before = contents(copy)
    require_refusal(capsys, "belongs to the run", "export", copy, copy / name, *flags)
    assert contents(copy) == before


def test_export_into_the_directory_of_a_run_and_through_links(copy: Path, tmp_path: Path, capsys) -> None:
    assert command(capsys, "export", copy, copy / "spikes.h5")[0] == 0
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "link.h5").symlink_to(tmp_path / "victim")
    (tmp_path / "new.part").symlink_to(tmp_path / "victim")
    require_refusal(capsys, "exists", "export", copy, tmp_path / "link.h5")
    require_refusal(capsys, "is a link", "export", copy, tmp_path / "link.h5", "--overwrite")
    assert command(capsys, "export", copy, tmp_path / "new.h5")[0] == 0
    assert (tmp_path / "victim").read_text() == "precious"


@pytest.mark.parametrize(
    "change",
    [
        lambda file: file.attrs.__delitem__("n_steps"),
        lambda file: file.attrs.__setitem__("dt_ms", "x"),
        lambda file: file.__delitem__("spikes/step"),
        lambda file: file.__setitem__("spikes/step/x", 3),
    ],
)
def test_an_export_that_fails_leaves_nothing(copy: Path, tmp_path: Path, capsys, change) -> None:
    with h5py.File(copy / "record.h5", "r+") as file:
        try:
            change(file)
        except (ValueError, OSError):
            del file["spikes"]
    before = contents(tmp_path)
    assert command(capsys, "export", copy, tmp_path / "out.h5")[0] == 2
    assert contents(tmp_path) == before


# ---- figures ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("more", "expected"), [([], {".png"}), (["--set", "figures=pdf"], {".png", ".pdf"}), (["--no-figures"], set())]
)
def test_figures_are_drawn_as_asked(tmp_path: Path, capsys, monkeypatch, no_figures, more, expected) -> None:
    monkeypatch.setattr(run, "draw_run", DRAW)
    output = output_of(capsys, *RUN, "--out", tmp_path / "out", *more)
    assert {path.suffix for path in (tmp_path / "out").iterdir()} & {".png", ".pdf"} == expected
    assert ("figures: none drawn; `pareprop plot" in output) == (not expected)
    if not expected:
        assert command(capsys, "plot", tmp_path / "out")[0] == 0
        assert {path.suffix for path in (tmp_path / "out").iterdir()} >= {".png", ".pdf"}


def test_no_figures_after_a_signal(tmp_path: Path, capsys, monkeypatch) -> None:
    """The time that is left may be short."""
    monkeypatch.setattr(run, "draw_run", lambda directory, **_: pytest.fail("drawn after a signal"))

    class Asked(checkpoint_observer.Signals):
        """A signal came at once."""

        def __init__(self) -> None:
            super().__init__()
            self.asked = "SIGUSR1"

    monkeypatch.setattr(checkpoint_observer, "Signals", Asked)
    code, output, errors = command(capsys, *RUN, "--out", tmp_path / "out")
    assert (code, errors) == (75, "") and "stopped by SIGUSR1 after 1 of 2 iterations" in output
    assert "figures: none drawn" in output


def test_the_last_of_several_seeds_must_be_possible(tmp_path, capsys):
    """Refused before the first one is trained."""
    code, _, errors = command(capsys, "run", "sine-waves", "--seed", 2**32 - 2, "--seeds", 3, "--out", tmp_path / "run")
    assert code == 2 and str(2**32) in errors and not (tmp_path / "run").exists()
