"""Any bytes in what a run left, for those who read it: reports, exports, `open_run`."""

import json
import random
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from commands import command
from damage import attribute, put, replace
from fuzzing import attack, change, judge, limit_process, mutate, refusal, until
from params import first

from pareprop import open_run
from pareprop.errors import InputError

pytestmark = pytest.mark.parametrize("finished", first(0, ["interval", "spike"], rest=1), indirect=True)
NAMES = ["results.h5", "record.h5", "provenance.json", "config.toml", "loss.png", "report.html"]
FILES = ["results.h5", "record.h5", "record/part-000-rank-00000.h5", "provenance.json", "config.toml"]


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


def everything(path: Path) -> None:
    """Read all that `open_run` gives."""
    found = open_run(path)
    repr(found), found.config, found.losses, found.validations
    for sample in found.samples:
        found.spikes(sample), found.spikes(sample, "inputs"), found.signals(sample)
    for name in found.projections:
        found.weights(name)
    for name in found.populations:
        found.attributes_of(name), found.parameters(name)


def test_any_run_opened(finished: Path, run: Path, fuzz_seconds: float) -> None:
    source = (finished / "results.h5").read_bytes()
    everything(run)

    def one(draw: random.Random, number: int) -> None:
        attack(draw, source, run / "results.h5")
        try:
            with limit_process():
                everything(run)
        except InputError as problem:
            assert 0 < len(str(problem)) < 2**15 and "\n" not in str(problem)

    until(fuzz_seconds / 2, f"open_run {finished.name}", one)


@pytest.mark.parametrize("name", FILES)
def test_any_report(name: str, finished: Path, run: Path, tmp_path: Path, capsys, fuzz_seconds: float) -> None:
    source = (finished / name).read_bytes()

    def one(draw: random.Random, number: int) -> None:
        if name.endswith(".h5"):
            attack(draw, source, run / name)
        elif name.endswith(".json") and draw.random() < 0.7:
            (run / name).write_text(json.dumps(change(draw, json.loads(source))))
        else:
            (run / name).write_bytes(mutate(draw, source))
        if judge(capsys, f"report of {name}", ["report", run], tmp_path) == 0:
            (run / "report.html").unlink()

    until(fuzz_seconds / 4, f"report {name} {finished.name}", one)


@pytest.mark.parametrize("kind", ["--nest", "--network"])
def test_any_export(kind: str, finished: Path, run: Path, tmp_path: Path, capsys, fuzz_seconds: float) -> None:
    target = tmp_path / ("out.py" if kind == "--nest" else "out")

    def one(draw: random.Random, number: int) -> None:
        name = draw.choice(["results.h5", "results.h5", "config.toml"])
        source = (finished / name).read_bytes()
        if name == "results.h5":
            attack(draw, source, run / name)
        else:
            (run / name).write_bytes(mutate(draw, source))
        if judge(capsys, f"export {kind}", ["export", run, target, kind], tmp_path) == 0:
            shutil.rmtree(target) if target.is_dir() else target.unlink()
        shutil.copy(finished / name, run / name)

    until(fuzz_seconds / 4, f"export {kind} {finished.name}", one)


def shorter(values: np.ndarray) -> np.ndarray:
    return values[:-1]


RESULTS = {  # what is changed in the results, by whom it is met, and what the answer must say
    "no role": (lambda file: file["populations/rec"].attrs.pop("role"), "--nest", "role = 'None' must be one of input"),
    "weights without targets": (replace("projections/rec->rec/target", shorter), "--network", "must be equal, (n,)"),
    "a target beyond": (put("projections/rec->rec/target", 0, 6), "--network", "is not what a run writes"),
    "beyond the inputs": (
        put("projections/in->rec/source", 0, 5),
        "--network",
        "in->rec/source' names more than 5 cells",
    ),
    "another size": (attribute("populations/rec", "size", 7), "--network", "has 7 cells, the configuration 6"),
    "populations are numbers": (replace("populations", np.zeros(3)), "--nest", "is not what a run writes"),
    "a configuration of lists": (attribute("/", "config", "[1]"), "report", "is not what a run writes"),
    "sections of numbers": (attribute("/", "config", '{"a": 1}'), "report", "is not what a run writes"),
}


@pytest.mark.parametrize("name", RESULTS)
def test_results_that_were_changed(name: str, run: Path, tmp_path: Path, capsys) -> None:
    edit, who, expected = RESULTS[name]
    with h5py.File(run / "results.h5", "r+") as file:
        edit(file)
    target = tmp_path / ("out.py" if who == "--nest" else "out")
    arguments = ["report", run] if who == "report" else ["export", run, target, who]
    assert expected in refusal(capsys, arguments, tmp_path)


def test_weights_of_another_shape_are_told(run: Path) -> None:
    with h5py.File(run / "results.h5", "r+") as file:
        del file["projections/in->rec/delay"]
        file.create_dataset("loss2", (2**40,), chunks=(8,))
        del file["loss"]
        file.move("loss2", "loss")
    found = open_run(run)
    with pytest.raises(InputError, match="in->rec/delay is missing"):
        found.weights("in->rec")
    with pytest.raises(InputError, match="loss takes 4096 GiB of memory"):
        found.losses  # noqa: B018


MISFITS = [(replace("projections/rec->rec/weight", shorter), ""), (replace("projections/in->rec", 3.0), "is damaged")]


@pytest.mark.parametrize(("edit", "told"), MISFITS)
def test_results_that_do_not_fit_are_written_anew(edit, told: str, run: Path, capsys) -> None:
    """Found by mutation on two ranks: a TypeError after the last iteration."""
    sizes = {name: len(open_run(run).weights(name)["weight"]) for name in ("in->rec", "rec->rec")}
    with h5py.File(run / "results.h5", "r+") as file:
        edit(file)
    code, _, errors = command(capsys, "resume", run, "--set", "iterations=3")
    assert code == 0 and told in errors
    assert {name: len(open_run(run).weights(name)["weight"]) for name in sizes} == sizes


LOOPS = [
    ["bench", "--neurons=9", "--indegree=2", "--inputs=2", "--steps=5", "--intervals=1", "--json", "loop/x"],
    ["export", "run", "loop/x.py", "--nest"],
    ["report", "run", "--out", "loop/x"],
    ["run", "sine-waves", "--out", "loop/x"],
]


@pytest.mark.parametrize("arguments", LOOPS, ids=lambda arguments: arguments[0])
def test_a_loop_of_links_is_told(arguments: list[str], run: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    """Found by hand: `Path.resolve` raises a RuntimeError."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop").symlink_to("loop")
    assert judge(capsys, "corpus", arguments, tmp_path) == 2


NOWHERE = [
    ["export", "run", "{}"],
    ["export", "run", "{}/net", "--network"],
    ["export", "run", "{}/x.py", "--nest"],
    ["report", "run", "--out", "{}/x.html"],
]


@pytest.mark.parametrize("place", ["file/x", "/proc/nowhere/x", "x" * 300])
@pytest.mark.parametrize("arguments", NOWHERE, ids=" ".join)
def test_an_output_that_cannot_be_is_told(arguments: list[str], place: str, run: Path, tmp_path: Path, capsys) -> None:
    """Found by hand: the export of spikes and of networks ended with the code of a full disk, 3."""
    (tmp_path / "file").write_text("a file, no folder")
    place = str(tmp_path / place)
    given = [run if part == "run" else part.format(place) for part in arguments]
    assert judge(capsys, "corpus", given, tmp_path) == 2


PARTS = [
    {"phases": []},
    {"phases": {"a": "x"}},
    {"phases": {"a": float("nan")}},
    {"rank_seconds": 3},
    {"rank_seconds": [{"wait": None}]},
    {"wall_seconds": "long"},
    {"wall_seconds": True},
]


@pytest.mark.parametrize("part", PARTS, ids=str)
def test_seconds_that_are_none(part: dict, run: Path, tmp_path: Path, capsys) -> None:
    (run / "provenance.json").write_text(json.dumps({"parts": [part]}))
    assert judge(capsys, "corpus", ["info", run], tmp_path) == 2
    assert judge(capsys, "corpus", ["report", run]) == 0  # as of a run that was copied without it


def test_a_picture_that_is_too_large_is_left_out(run: Path, capsys) -> None:
    (run / "large.png").write_bytes(bytes(3_000_000))
    (run / "small.png").write_bytes(bytes(1_500_000))
    assert judge(capsys, "corpus", ["report", run]) == 0
    text = (run / "report.html").read_text()
    assert 2_000_000 < len(text) < 3_000_000


@pytest.mark.parametrize("forever", ["fifo", "/dev/zero", "folder"])
@pytest.mark.parametrize("name", NAMES)
def test_readers_of_files_that_never_end(
    name: str, forever: str, run: Path, fifo: Path, tmp_path: Path, capsys
) -> None:
    (tmp_path / "folder").mkdir()
    (run / name).unlink(missing_ok=True)
    (run / name).symlink_to(tmp_path / forever)
    wanted = {"report.html": (2,), "results.h5": (2,)}.get(name, (0, 2))
    assert judge(capsys, "readers of files that never end", ["report", run], tmp_path, wanted) in wanted
    for kind, target in (("--nest", "out.py"), ("--network", "out")):
        wanted = (2,) if name == "results.h5" or (name, kind) == ("config.toml", "--network") else (0, 2)
        judge(capsys, "readers of files that never end", ["export", run, tmp_path / target, kind], tmp_path, wanted)
