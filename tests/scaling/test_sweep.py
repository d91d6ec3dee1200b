"""`pareprop sweep`: its runs, how it continues, table, figure and report."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import launch
import numpy as np
import pytest
from commands import as_options, command, output_of, refusal_of, run_of

import pareprop
from pareprop.errors import InputError, StateError
from pareprop.plots.sweep_table import describe_choice, group_runs
from pareprop.runs import config
from pareprop.runs.directory import CHECKPOINTS, DIGEST_LINE
from pareprop.scaling import batch, sweep
from pareprop.storage.checkpoint_observer import LISTENING
from pareprop.storage.checkpoint_write import list_checkpoints

pytestmark = pytest.mark.usefixtures("quick_starts")
SMALL = ("n_rec=6", "n_in=5", "n_step=30", "iterations=2", "test_samples=0")


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1e-4,1e-3", ["1e-4", "1e-3"]),
        ("1..3", ["1", "2", "3"]),
        ("-1..1,5", ["-1", "0", "1", "5"]),
        ("[1,2],[3,4]", ["[1,2]", "[3,4]"]),
        ("'a,b',c", ["'a,b'", "c"]),
        ("{low = 1, high = 2}", ["{low = 1, high = 2}"]),
        ("0.5..1", ["0.5..1"]),
    ],
)
def test_values(text: str, values: list[str]) -> None:
    assert sweep.split_values(text) == values


def test_combinations() -> None:
    shared, runs = sweep.list_runs(["eta=1e-4,1e-3", "n_rec=6", "seed=1..3"])
    assert shared == ["n_rec=6"] and [run.number for run in runs] == [1, 2, 3, 4, 5, 6]
    assert runs[4].settings == {"eta": "1e-3", "seed": "2"} and runs[4].name == "eta=1e-3,seed=2"
    names = [run.name for run in sweep.list_runs(["path=a/b,a b,../c"])[1]]
    assert len(set(names)) == 3 and not any("/" in name or ".." == name for name in names)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["eta"], "must be key=value"),
        (["seed=3..1"], "range 3..1 must go up"),
        (["seed=1..999999999"], "must go up, by less than 100000"),
        (["eta=1,1"], "lists a value twice"),
        (["eta=1,2", "eta=3,4"], "--set eta: is given twice"),
        (["a=1..1000", "b=1..1000"], "more than 100000 combinations"),
        (["iterations=1,2"], "write section.iterations"),
    ],
)
def test_odd_settings(settings: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        sweep.list_runs(settings)


@pytest.mark.slow
def test_sweep(capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    """Four runs with the digests of single runs; continued after one was lost; another sweep is refused."""
    out = tmp_path / "sweep"
    line = ["sweep", "sine-waves", *as_options(*SMALL, "eta=0,1e-3", "seed=1..2", "figures=none"), "--out", out]
    output = output_of(capsys, *line)
    rows = list(csv.DictReader((out / "sweep.csv").open()))
    found = [(row["eta"], row["seed"], row["state"]) for row in rows]
    assert found == [(eta, seed, "ended") for eta in ("0", "1e-3") for seed in "12"]
    single = output_of(capsys, *run_of("sine-waves", tmp_path / "alone", *SMALL, "eta=1e-3", "seed=2", "figures=none"))
    assert single.splitlines()[-1] == f"digest: {rows[3]['digest']}"
    with h5py.File(tmp_path / "alone" / "results.h5") as file:
        assert float(rows[3]["value"]) == file["loss"][-1] and rows[3]["outcome"] == "loss"
    means = {eta: sum(float(row["value"]) for row in rows if row["eta"] == eta) / 2 for eta in ("0", "1e-3")}
    best = min(means, key=means.get)
    assert f"best: eta = {best}: loss {means[best]:.4g}" in output
    page = (out / "report.html").read_text()
    assert "Study sweep" in page and f"{means[best]:.4g}" in page and (out / "sweep.png").stat().st_size > 5000

    stamps = {path: path.stat().st_mtime_ns for path in out.glob("*/results.h5")}
    lost = out / "eta=0,seed=2" / "results.h5"
    shutil.rmtree(lost.parent)
    output = output_of(capsys, *line)
    assert "run 2 of 4" in output and "run 1 of 4" not in output
    assert list(csv.DictReader((out / "sweep.csv").open()))[1]["digest"] == rows[1]["digest"]
    assert [path for path, stamp in stamps.items() if path.stat().st_mtime_ns != stamp] == [lost]

    told = refusal_of(capsys, "sweep", "sine-waves", "--set", "eta=1,2", "--out", out)
    assert "is another sweep: settings differ" in told


MEET = """
import pathlib, sys, time
mine, other = map(pathlib.Path, sys.argv[1:])
mine.touch()
while not other.exists():
    time.sleep(0.05)
"""


def test_runs_at_a_time(tmp_path: Path) -> None:
    """The first two end when both have begun; the third one, which nobody waits for, begins after that."""
    trainings = [batch.Training([], tmp_path / f"{k}", "", 1) for k in range(3)]
    files = [[tmp_path / name for name in pair] for pair in ("ab", "ba", "ca")]
    for training, pair in zip(trainings, files, strict=True):
        training.command = [sys.executable, "-c", MEET, *map(str, pair)]
    ended = []
    for training, code in batch.run_together(iter(trainings), 2):
        assert ended or (files[0][0].exists() and files[1][0].exists())
        ended.append((trainings.index(training), code))
    assert sorted(ended) == [(0, 0), (1, 0), (2, 0)]


STOP = """
import pathlib, signal, sys, time
out, first = pathlib.Path(sys.argv[1]), sys.argv[1].endswith("seed=1")
signal.signal(signal.SIGUSR1, lambda *_: sys.exit(0))
(out / "checkpoints").mkdir(parents=True, exist_ok=True)
(out / "checkpoints" / sys.argv[2]).touch()
if first:
    while not (out.parent / "seed=2" / "checkpoints" / sys.argv[2]).exists():
        time.sleep(0.05)
    sys.exit(75)
time.sleep(20)
"""


def test_a_run_that_stops_with_a_checkpoint_stops_the_sweep(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second run, which is asked for a checkpoint, is at its end then; the third one does not begin."""
    start = batch.Training.start_ranks

    def begin(training: batch.Training) -> None:
        training.command = [sys.executable, "-c", STOP, str(training.out), LISTENING]
        start(training)

    monkeypatch.setattr(batch.Training, "start_ranks", begin)
    words = ["sweep", "sine-waves", *as_options(*SMALL, "figures=none", "seed=1..3"), "--out", tmp_path / "out"]
    code, output, _ = command(capsys, *words, "--jobs", 2)
    assert code == 75 and output.splitlines()[-1].startswith("stopped with a checkpoint")
    assert "run 2 of 3: seed = 2: " in output
    assert "run 1 of 3: seed = 1: " not in output and "run 3" not in output


@pytest.mark.mpi
def test_a_sweep_of_several_ranks_is_refused(tmp_path: Path) -> None:
    program = f"import pareprop; pareprop.sweep('sine-waves', {str(tmp_path / 'out')!r}, seed=[1, 2])"
    done = launch.mpirun(2, "-c", program)
    assert done.returncode and "run it without mpirun" in done.stderr and not (tmp_path / "out").exists()


def test_a_sweep_of_python(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Two runs at a time are those of the command, which finds nothing left to do."""
    more = dict(setting.split("=") for setting in SMALL) | {"figures": "none"}
    fixed = {name: value if name == "figures" else int(value) for name, value in more.items()}
    rows = pareprop.sweep("sine-waves", tmp_path / "out", fixed, eta=[0.0, 1e-3], seed=range(1, 3), jobs=2)
    told = capsys.readouterr().out
    assert told.index("run 2 of 4: eta = 0.0, seed = 2\n") < told.index("run 1 of 4: eta = 0.0, seed = 1: loss")
    table = {row["run"]: row for row in csv.DictReader((tmp_path / "out" / "sweep.csv").open())}
    means = {eta: sum(row["value"] for row in rows if row["eta"] == eta) / 2 for eta in (0.0, 1e-3)}
    best, other = sorted(means, key=means.get)
    assert [(row["eta"], row["seed"]) for row in rows] == [(best, 1), (best, 2), (other, 1), (other, 2)]
    for row in rows:
        assert (row["value"], row["state"], row["digest"]) == (
            float(table[row["run"]]["value"]),
            "ended",
            table[row["run"]]["digest"],
        )
    words = ["sweep", "sine-waves", *as_options(*SMALL, "figures=none", "eta=0.0,0.001", "seed=1,2")]
    told = output_of(capsys, *words, "--out", tmp_path / "out", "--jobs", 3)
    assert "run " not in told and "best: " in told


def test_a_quiet_sweep_of_lists(tmp_path: Path, capfd: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list of one value is a column of the rows, too; what runs print is in the error if they fail."""
    start = batch.Training.start_ranks

    def begin(training: batch.Training) -> None:
        training.command = [sys.executable, "-c", "import sys; print('notice: mine', file=sys.stderr); sys.exit(code)"]
        training.command[2] = training.command[2].replace("(code)", f"({codes.pop()})")
        start(training)

    monkeypatch.setattr(batch.Training, "start_ranks", begin)
    codes, fixed = [0, 3], dict(setting.split("=") for setting in SMALL) | {"figures": "none"}
    with pytest.raises(StateError, match=r"1 of 1 runs failed: .*\nnotice: mine"):
        pareprop.sweep("sine-waves", tmp_path / "out", fixed, seed=[1], quiet=True)
    (row,) = pareprop.sweep("sine-waves", tmp_path / "out", fixed, seed=[1], quiet=True)
    assert row["seed"] == 1 and "n_rec" not in row
    assert capfd.readouterr() == ("", "")


def test_jobs_of_several_ranks_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    words = ["sweep", "sine-waves", "--out", tmp_path / "out", "--jobs", 2, "--ranks", 2]
    assert "--jobs 2 is for runs of one rank, not of --ranks 2" in refusal_of(capsys, *words)
    for name, value in {"jobs": 0, "ranks": "a", "out": 3}.items():
        with pytest.raises(InputError, match=f"sweep: {name} = "):
            pareprop.sweep("sine-waves", **{"out": tmp_path / "out", name: value})
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize("times", [1, 2])
def test_an_interrupt_ends_with_a_line(tmp_path: Path, times: int) -> None:
    """As Ctrl-C in a terminal, which all processes get; the second one ends a run that does not end by itself."""
    words = ["sweep", "sine-waves", *as_options("iterations=100000", "seed=1,2", *SMALL[:3]), "--out", tmp_path / "out"]
    line, streams = [Path(sys.prefix, "bin", "python"), "-m", "pareprop", *map(str, words)], {"text": True}
    streams |= dict.fromkeys(("stdout", "stderr"), subprocess.PIPE)
    process = subprocess.Popen(line, **streams, start_new_session=True)
    listening = tmp_path / "out" / "seed=1" / CHECKPOINTS / LISTENING
    while not listening.exists():
        assert process.poll() is None
        time.sleep(0.05)
    if times == 1:
        os.killpg(process.pid, signal.SIGINT)
    for _ in range(times if times > 1 else 0):  # the run is not told
        process.send_signal(signal.SIGINT)
        time.sleep(0.5)
    _, errors = process.communicate()
    assert process.returncode == 130
    assert errors.rstrip().endswith("interrupted; the same command continues the sweep")
    assert "Traceback" not in errors and "Exception" not in errors
    if times == 1:
        assert list_checkpoints(listening.parent)


@pytest.mark.slow
def test_validation_chooses(capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    """The setting that is best in validation is tested, to the bits of a run of its own, and no other one."""
    out, settings = tmp_path / "sweep", (*SMALL[:-1], "validate_every=1", "validate_samples=2", "test_samples=3")
    line = ["sweep", "sine-waves", *as_options(*settings, "eta=1e-3,1e-2", "figures=none"), "--out", out]
    code, output, errors = command(capsys, *line)
    assert (code, errors) == (0, "") and "note: " not in output
    rows = {row["eta"]: row for row in csv.DictReader((out / "sweep.csv").open())}
    for eta, row in rows.items():
        with h5py.File(out / f"eta={eta}" / "results.h5") as file:
            assert float(row["validation"]) == float(row["value"]) == file["validation/value"][-1]
        assert (row["outcome"], row["best"]) == ("validation loss", "lowest")
    best, other = sorted(rows.values(), key=lambda row: float(row["value"]))
    assert other["test"] == ""
    alone = run_of("sine-waves", tmp_path / "alone", *settings, f"eta={best['eta']}", "figures=none")
    assert output_of(capsys, *alone).splitlines()[-1] == f"digest: {best['digest']}"
    with h5py.File(tmp_path / "alone" / "results.h5") as file:
        assert float(best["test"]) == np.mean(file["test/loss"])
    told = f"validation loss {float(best['value']):.4g}, test loss {float(best['test']):.4g}"
    assert f"best: eta = {best['eta']}: {told}" in output
    assert re.search(rf"^test of run \d: eta = {best['eta']}: {re.escape(told)}, ", output, re.MULTILINE)
    page = (out / "report.html").read_text()
    assert "chosen by validation; it alone was tested" in page and "<th>test loss</th>" in page
    before = (out / "sweep.csv").read_bytes()
    code, output, _ = command(capsys, *line)
    assert code == 0 and "run 1" not in output and "test of" not in output  # nothing is left to do
    assert (out / "sweep.csv").read_bytes() == before


def test_what_validation_says_counts(tmp_path: Path) -> None:
    """Accuracies that test and training contradict; the weights of the best validation count where a run kept them."""
    runs = sweep.list_runs(["eta=1,2", "seed=1..2"])[1]
    for run in runs:
        folder, first = tmp_path / run.name, run.settings["eta"] == "1"
        folder.mkdir()
        (folder / "provenance.json").write_text('{"parts": [{"state": "ended"}]}')
        with h5py.File(folder / "results.h5", "w") as file:
            config = {"run": {"iterations": 2, "test_samples": 0 if first else 5}}
            file.attrs.update(format="pareprop-run-1", digest="d", config=json.dumps(config), stopped_by="")
            file["loss"] = [9.0, 0.1 if first else 0.01]
            file["validation/iteration"], file["validation/value"] = [1, 2], [0.25, 0.75 if first else 0.5]
            file["validation/value"].attrs["unit"] = "share of wrong samples"
            if first:
                file["validation"].attrs["weights_after"] = 1
            file.create_group("test").attrs["accuracy"] = 0.1 if first else 0.9  # of the first, one sample after a stop
    study = sweep.Sweep(runs, tmp_path, True)
    rows = [study.read_row(run) for run in runs]
    found = [(row["outcome"], row["value"], row["test"]) for row in rows[::2]]
    assert found == [("validation accuracy", "0.75", ""), ("validation accuracy", "0.5", "0.9")]
    assert {row["best"] for row in rows} == {"highest"} and study.list_untested() == runs[:2]
    assert "chosen by validation" in describe_choice(group_runs(rows))
    rows = [sweep.Sweep(runs, tmp_path, False).read_row(run) for run in runs]
    found = [(row["outcome"], row["value"], row["validation"]) for row in rows[::2]]
    assert found == [("loss", "0.1", "0.75"), ("test accuracy", "0.9", "0.5")]
    assert "chosen by the loss of the last training" in describe_choice(group_runs(rows))
    assert "chosen by the test itself" in describe_choice(group_runs([*rows[2:], rows[0]]))


@pytest.mark.slow
def test_no_validation_is_told(capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    """The table says that the test itself chooses, or the training, as before there was validation."""
    line = ["sweep", "sine-waves", *as_options(*SMALL[:3], "iterations=1", "eta=0,1e-2", "figures=none")]
    why = "note: no samples validate (validate_every = 0, iterations = 1): the best setting is chosen by the"
    outcomes = ((2, "test loss", "by the test itself"), (0, "loss", "by the loss of the last training"))
    for samples, name, told in outcomes:
        out = tmp_path / str(samples)
        code, output, _ = command(capsys, *line, *as_options(f"test_samples={samples}"), "--out", out)
        assert code == 0 and output.startswith(f"{why} {'test' if samples else 'last training'}")
        rows = list(csv.DictReader((out / "sweep.csv").open()))
        assert [(row["outcome"], row["validation"], bool(row["test"])) for row in rows] == [(name, "", samples > 0)] * 2
        assert told in (out / "report.html").read_text()


def test_a_changed_file_is_another_sweep(capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    """What the file says is compared with what each run was trained with; how figures are drawn may change."""
    file, out = tmp_path / "mine.toml", tmp_path / "sweep"
    text = config.load("sine-waves", (*SMALL, "figures=none")).to_toml()
    file.write_text(text)
    line = ["sweep", file, *as_options("seed=1..2"), "--out", out, "--only", 1]
    assert command(capsys, *line)[0] == 0
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    file.write_text(text.replace("n_rec = 6", "n_rec = 7").replace("iterations = 2", "iterations = 3"))
    code, output, errors = command(capsys, *line[:-1], 2)
    changes = "model.n_rec = 6, now 7; run.iterations = 2, now 3"
    told = f"seed=1 was trained with another configuration: {changes}; choose another folder"
    assert (code, output, errors) == (2, "", f"pareprop: error: --out {out}: {told}\n")
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before
    file.write_text(text.replace('figures = "none"', 'figures = "png"'))
    code, _, errors = command(capsys, *line)
    assert (code, errors) == (0, "")


def test_changed_data_are_another_sweep(capsys: pytest.CaptureFixture, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.savez(tmp_path / "data.npz", rates=np.full((2, 20), 9.0), targets=np.zeros((2, 10, 1)))
    file, out = tmp_path / "mine.toml", tmp_path / "sweep"
    file.write_text(command(capsys, "config", "data")[1])
    configs = [config.load(str(file), [f"seed={seed}"]) for seed in (1, 2)]
    assert len(sweep.fingerprint_files(configs)["contents of files"]) == 1
    sweep.claim_folder(out, {"source": str(file), "settings": ["seed=1..2"]} | sweep.fingerprint_files(configs))
    np.savez(tmp_path / "data.npz", rates=np.full((2, 20), 8.0), targets=np.zeros((2, 10, 1)))
    told = refusal_of(capsys, "sweep", file, "--set", "seed=1..2", "--out", out)
    differs = "is another sweep: contents of files differ; choose another folder\n"
    assert told == f"pareprop: error: --out {out}: {differs}"


def test_all_runs_must_be_possible(capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    code, _, errors = command(capsys, "sweep", "sine-waves", *as_options("n_rec=6,-6"), "--out", tmp_path / "no")
    assert code == 2 and "n_rec" in errors and not (tmp_path / "no").exists()
    line = ["sweep", "sine-waves", "--set", "eta=1,2", "--out", tmp_path]
    assert "--only 3: the sweep has runs 1 to 2" in refusal_of(capsys, *line, "--only", 3)
    (tmp_path / "mine").touch()
    code, _, errors = command(capsys, *line)
    assert code == 2 and "is neither empty nor the folder of a sweep" in errors.replace("exists and ", "")


def test_runs_that_fail_do_not_end_the_others(capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    """A run whose recording can't be written fails alone; the table says so."""
    out = tmp_path / "sweep"
    out.mkdir()
    settings = as_options(*SMALL, "seed=1..2", "figures=none")
    (out / "sweep.json").write_text(json.dumps({"source": "sine-waves", "settings": settings[1::2]}))
    (out / "seed=1").write_text("in the way")
    code, output, errors = command(capsys, "sweep", "sine-waves", *settings, "--out", out)
    assert code == 3 and "1 of 2 runs failed: seed=1" in errors
    assert [row["state"] for row in csv.DictReader((out / "sweep.csv").open())] == ["to do", "ended"]
    assert "run 2 of 2: seed = 2: loss" in output


def test_killed_early(capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    """The same command begins runs again that were killed before their first results, each at another point."""
    out, settings = tmp_path / "sweep", [*SMALL, "figures=none", "seed=1..4"]
    out.mkdir()
    (out / ".sweep.json.k7.part").touch()  # left by a sweep that was killed at once
    sweep.claim_folder(out, {"source": "sine-waves", "settings": settings})
    complete = config.load("sine-waves", (*settings[:-1], "seed=1"))
    text, note = f"{complete.to_toml()}\n{DIGEST_LINE} {complete.compute_digest()}\n", '{"parts": [{"state": "r"}]}'
    left = {  # what is in each directory
        "seed=1": {"config.toml.part": text[:100]},
        "seed=2": {"config.toml": text.replace("seed = 1", "seed = 2")},
        "seed=3": {"config.toml": text.replace("seed = 1", "seed = 3"), "provenance.json": note},
        "seed=4": {"config.toml": text.replace("seed = 1", "seed = 4"), "provenance.json": ""},
    }
    for name, contents in left.items():
        (out / name).mkdir()
        for file, content in contents.items():
            (out / name / file).write_text(content)
    runs = sweep.list_runs(settings)[1]
    study = sweep.Sweep(runs, out, False)
    assert [study.read_row(run)["state"] for run in runs] == ["to do", "to do", "r", "unreadable"]
    code, output, errors = command(capsys, "sweep", "sine-waves", *as_options(*settings), "--out", out)
    assert (code, errors) == (0, "") and output.count(" of 4: seed") == 8
    assert [row["state"] for row in csv.DictReader((out / "sweep.csv").open())] == ["ended"] * 4


def test_a_full_disk(capsys: pytest.CaptureFixture, small_disk: Path) -> None:
    """Exit code 3 at whatever it is full; the same command goes on when there is room again."""
    line = ["sweep", "sine-waves", *as_options(*SMALL, "seed=1..2", "figures=none"), "--out", small_disk / "sweep"]
    filler = small_disk / "filler"
    for room in (0, 2**14):  # for nothing, for the configurations alone
        with filler.open("wb") as file:
            file.write(bytes(shutil.disk_usage(small_disk).free - room))
        code, _, errors = command(capsys, *line)
        assert code == 3 and "No space left on device" in errors and "Traceback" not in errors, errors
        filler.unlink()
    assert command(capsys, *line)[0] == 0
    rows = list(csv.DictReader((small_disk / "sweep" / "sweep.csv").open()))
    assert [row["state"] for row in rows] == ["ended"] * 2


def test_one_run_of_an_array(capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    out = tmp_path / "sweep"
    line = ["sweep", "sine-waves", *as_options(*SMALL, "seed=1..2", "figures=none"), "--out", out]
    code, output, _ = command(capsys, *line, "--list")
    assert (code, output) == (0, "1: seed = 1\n2: seed = 2\n") and not out.exists()
    assert command(capsys, *line, "--only", 2)[0] == 0
    assert (out / "seed=2" / "results.h5").exists() and not (out / "seed=1").exists()
