"""Signs of life: start lines, the log and the curves of a run, advice where ranks wait, progress in notebooks."""

import csv
import json
import re
import sys
import tomllib
import types
from pathlib import Path

import h5py
import numpy as np
import pytest
from commands import as_options, command, digests, output_of, refusal_of, run_of
from tqdm import auto, tqdm

from pareprop import machine
from pareprop.runs import log, progress
from pareprop.runs.summary import describe_waiting

RUN = ["run", "sine-waves", *as_options("n_rec=8", "n_in=6", "n_step=30", "iterations=4", "validate_every=2")]


pytestmark = pytest.mark.usefixtures("no_figures")


def curves(out: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((out / "loss.csv").open()))


def test_curves_hold_every_iteration_also_after_a_resume(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "out"
    output_of(capsys, *RUN, "--out", out, "--until", "3")
    assert [row["iteration"] for row in curves(out)] == ["1", "2", "3"]
    output_of(capsys, "resume", out)
    with h5py.File(out / "results.h5") as file:
        losses, validations = file["loss"][...], file["validation/value"][...]
    rows = curves(out)
    np.testing.assert_allclose([float(row["loss"]) for row in rows], losses, rtol=1e-8)
    assert [row["validation"] for row in rows] == ["", f"{validations[0]:.9g}", "", f"{validations[1]:.9g}"]
    assert "resumed after 3 of 4 iterations" in (out / "run.log").read_text()
    longer = "`--set iterations={0}`, or iterations={0} in a script, makes it longer"
    tested = f"the network is tested; {longer}"
    for words, line in (
        ([], f"ended with 4 of 4 iterations done; none are added; {longer.format('N')}"),
        (
            ["--until", 9, "--set", "test_samples=1"],
            f"ended with 4 of 4 iterations done, until = 9; none are added, {tested.format(9)}",
        ),
        (["--until", 9, "--set", "iterations=5"], f"ends after 5 iterations, until = 9; {longer.format(9)}"),
        (["--until", 2, "--set", "iterations=6"], "5 of 6 iterations done, until = 2; none are added"),
        (["--until", 6, "--set", "iterations=6"], ""),
        (
            ["--until", 4, "--set", "iterations=3"],
            f"ended with 6 of 3 iterations done, until = 4; none are added, {tested.format('N')}",
        ),
    ):
        told = re.findall("^training: (e.*|.*none are added.*)$", output_of(capsys, "resume", out, *words), re.M)
        assert told == [line][: bool(line)]


def test_what_a_resume_changes_stays(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """The next resume goes on to the same end, as after a job that was made longer and was cut short again.

    `--no-figures` is of one command. A resume that is refused, or without settings, leaves the file as it is.
    """
    out, own = tmp_path / "out", ("run", "sine-waves", *RUN[2:])
    output_of(capsys, *own, "--out", out, "--until", "2")
    first = (out / "config.toml").read_bytes()
    refusal_of(capsys, "resume", out, "--set", "iterations=9", "--set", "seed=7")
    output_of(capsys, "resume", out, "--until", "3", "--no-figures")
    assert (out / "config.toml").read_bytes() == first
    output_of(capsys, "resume", out, "--set", "iterations=6", "--until", "5", "--no-figures")
    assert "resumed after 5 of 6 iterations" in output_of(capsys, "resume", out) + (out / "run.log").read_text()
    config = tomllib.loads((out / "config.toml").read_text())
    assert (
        config["run"]["iterations"] == 6 and config["run"]["figures"] == tomllib.loads(first.decode())["run"]["figures"]
    )
    with h5py.File(out / "results.h5") as file:
        assert json.loads(file.attrs["config"])["run"]["iterations"] == 6 and len(file["loss"]) == 6
        (told,) = re.findall("digest of this configuration: (.*)", (out / "config.toml").read_text())
        assert file.attrs["config_digest"] == told
    whole = output_of(capsys, *own, "--set", "iterations=6", "--out", tmp_path / "whole")
    assert digests(output_of(capsys, "resume", out).splitlines()) == digests(whole.splitlines()) != []


def test_event_files_for_tensorboard(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    loader = pytest.importorskip("tensorboard.backend.event_processing.event_file_loader")
    output_of(capsys, *RUN, "--set", "log=tensorboard", "--out", tmp_path / "out")
    (path,) = (tmp_path / "out" / "tensorboard").iterdir()
    values = {
        (value.tag, event.step): value.tensor.float_val[0] if value.HasField("tensor") else value.simple_value
        for event in loader.EventFileLoader(str(path)).Load()
        for value in event.summary.value
    }
    with h5py.File(tmp_path / "out" / "results.h5") as file:
        for k, loss in enumerate(file["loss"][...], 1):
            assert values["loss", k] == pytest.approx(loss, rel=1e-6)
        assert values["validation", 2] == pytest.approx(file["validation/value"][0], rel=1e-6)


def test_tensorboard_is_asked_for_before_anything_is_written(tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.setattr(log, "find_spec", lambda name: None)
    assert "pip install tensorboard" in refusal_of(capsys, *RUN, "--set", "log=tensorboard", "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["run.log", "loss.csv"])
def test_a_log_that_cannot_be_written_does_not_end_the_run(tmp_path: Path, capsys, name: str) -> None:
    (tmp_path / "out" / name).mkdir(parents=True)
    (tmp_path / "out" / "config.toml").write_text("# digest of this configuration:\n")
    (tmp_path / "out" / name / "kept").write_text("")
    code, output, errors = command(capsys, *RUN, "--out", tmp_path / "out", "--overwrite")
    assert (code, errors.count("\n")) == (0, 1) and "the run goes on" in errors
    assert re.search(r"^digest: ", output, re.MULTILINE) and (tmp_path / "out" / name / "kept").exists()


@pytest.mark.parametrize(
    ("part", "batch", "expected"),
    [
        ({"ranks": 64, "cores": 2}, 1, "more ranks than the"),
        ({"ranks": 2, "cores": 2}, 16, "--replicas 2"),
        ({"ranks": 12, "cores": 12}, 16, "--replicas 4"),
        ({"ranks": 2, "cores": 2, "replicas": 2}, 16, "100 neurons per rank are few"),
        ({"ranks": 2, "cores": 2}, 1, "50 neurons per rank are few"),
    ],
)
def test_waiting_is_told_with_what_would_be_faster(part, batch, expected, monkeypatch) -> None:
    monkeypatch.setattr(machine, "count_cores", lambda: part["cores"])
    waiting = {"compute": 4.0, "wait": 5.0, "transfer": 1.0}
    (line,) = describe_waiting(part | {"mean_rank_seconds": waiting}, 100, batch)
    assert line.startswith("note: 60% of the time") and expected in line
    assert describe_waiting(part | {"mean_rank_seconds": waiting | {"compute": 7.0}}, 100, batch) == []
    assert describe_waiting(part | {"mean_rank_seconds": waiting, "ranks": 1}, 100, batch) == []


def test_a_bar_shows_iterations_loss_and_moves(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setitem(sys.modules, "ipykernel", types.ModuleType("ipykernel"))  # drawn without a terminal
    monkeypatch.setattr(auto, "tqdm", lambda **options: tqdm(**options | {"mininterval": 0}))
    simulation = types.SimpleNamespace(exchange=types.SimpleNamespace(rank=0), iteration=1, moves={"rec": [4, 7]})
    bar = progress.Progress(3)
    bar.start(simulation)
    bar.after_iteration(simulation, 1, 0.123456)
    bar.finish(simulation)
    assert "2/3" in capsys.readouterr().err and bar._bar.postfix == "loss=0.1235, moves=7"


def test_curves_of_returns(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Those of each iteration, also of the part before a run is resumed."""
    settings = ("n_rec=8", "cells=4", "decisions=3", "batch_size=4", "iterations=3", "test_samples=0")
    output_of(capsys, *run_of("reach", tmp_path / "out", *settings), "--until", 2)
    output_of(capsys, "resume", tmp_path / "out")
    with h5py.File(tmp_path / "out" / "results.h5") as file:
        expected = {
            "loss": file["loss"][...],
            "return": file["return"][...].reshape(3, 4).mean(axis=1),
            "length": file["episode_length"][...].reshape(3, 4).mean(axis=1),
            "entropy": file["entropy"][...],
        }
    rows = curves(tmp_path / "out")
    assert [row["iteration"] for row in rows] == ["1", "2", "3"]
    for name, values in expected.items():
        np.testing.assert_allclose([float(row[name]) for row in rows], values, rtol=1e-8, err_msg=name)


def test_a_job_that_ends_before_the_training(tmp_path: Path, capsys, monkeypatch) -> None:
    """With a clock that goes ten seconds at each look."""
    clock = iter(range(0, 10**6, 10))
    monkeypatch.setattr(log, "monotonic", lambda: float(next(clock)))
    told = []
    for limit in ("5", "1000000"):
        monkeypatch.setattr(log, "job_seconds_left", lambda limit=limit: float(limit))
        _, _, errors = command(capsys, *RUN, "--set", "iterations=8", "--out", tmp_path / limit)
        told.append((errors, (tmp_path / limit / "run.log").read_text()))
    assert all("the job ends in 5 s, before the training" in text and "chain.sbatch" in text for text in told[0])
    assert not any("the job ends" in text for text in told[1])


def test_end_of_a_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_JOB_END_TIME", raising=False)
    assert machine.job_seconds_left() == float("inf")
    monkeypatch.setenv("SLURM_JOB_END_TIME", "1000000100")
    monkeypatch.setattr(machine.time, "time", lambda: 1000000000.0)
    assert machine.job_seconds_left() == 100.0
