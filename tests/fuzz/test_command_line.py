"""Any arguments: every command with hostile values of every option, and with files that never end."""

import random
from pathlib import Path

import click
import pytest
from fuzzing import judge, until, value

from pareprop.cli import commands
from pareprop.tasks import TASKS

QUICK = {
    "bench": ["--neurons=20", "--indegree=2", "--inputs=3", "--steps=20", "--intervals=1"],
    "dry-run": ["bench", "--ranks=2", "--set=neurons=20", "--set=indegree=2", "--set=inputs=3", "--set=steps=20"],
    "predict": ["bench", "--set=neurons=20", "--set=indegree=2", "--set=steps=20", "--memory"],
    "jobs": ["sine-waves", "--set=n_rec=9", "--set=n_step=20"],
}
LEFT_OUT = {"run", "collect", "plot", "--help", "--launcher", "--sbatch-options"}  # of `scaling`; minutes


def leaves() -> dict[str, click.Command]:
    found = {name: item for name, item in commands.commands.items() if not isinstance(item, click.Group)}
    del found["nest"]  # runs any script, whose exit code is its own
    del found["sweep"]  # trains in processes of its own
    group = commands.commands["scaling"]
    return found | {f"scaling {name}": item for name, item in group.commands.items() if name != "run"}


def draw_command(draw: random.Random, folder: Path) -> list[str]:
    """A command with options and arguments of which some are hostile."""
    name, item = draw.choice(sorted(leaves().items()))
    arguments = [*QUICK.get(name, [])]
    options = [option for option in item.params if isinstance(option, click.Option)]
    for option in draw.choices(options, k=draw.choice([0, 1, 1, 2])) if options else ():
        if option.is_flag:
            arguments.append(option.opts[0])
            continue
        text = value(draw)
        if option.name == "settings":
            keys = [*draw.choice(list(TASKS.values())).model_fields, "record.every", "what", "keep", "neurons", "x", ""]
            text = f"{draw.choice(keys)}={text}"
        arguments += [option.opts[0], text]
    for parameter in item.params:
        if isinstance(parameter, click.Argument) and (name not in QUICK or draw.random() < 0.1):
            places = ["fifo", "folder", "file", "none", "bad.toml", "bad.h5"]
            choices = [str(folder / place) for place in places] + [value(draw), "sine-waves", "lemniscate", "data"]
            arguments.append(draw.choice(choices))
    return [*name.split(), *arguments]


@pytest.fixture
def place(tmp_path: Path, fifo: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("precious")
    (tmp_path / "bad.toml").write_text("[task\n")
    (tmp_path / "bad.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("no_training")
def test_any_arguments(place: Path, capsys: pytest.CaptureFixture, fuzz_seconds: float) -> None:
    def one(draw: random.Random, number: int) -> None:
        arguments = draw_command(draw, place)
        judge(capsys, "command line", arguments, place, (0, 1, 2, 3) if arguments[0] == "compare" else (0, 2))

    until(2 * fuzz_seconds, "command line", one)
    assert (place / "file").read_text() == "precious"


FOREVER = ["fifo", "/dev/zero", "folder"]
READERS = {
    "run": ["run", "X.toml"],
    "set data": ["run", "data", "--set", "data=X"],
    "npz": ["run", "data", "--set", "data=X.npz"],
    "path": ["run", "handwriting", "--set", "path=X"],
    "verify": ["verify", "X"],
    "events": ["run", "n-mnist", "--set", "data=X,X"],
    "zip": ["run", "n-mnist", "--set", "data=X.zip"],
    "study": ["scaling", "collect", "X"],
    "ping": ["predict", "bench", "--ping", "X"],
    "config": ["config", "X.toml"],
}


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("forever", FOREVER)
def test_files_that_never_end(place: Path, capsys: pytest.CaptureFixture, name: str, forever: str) -> None:
    target = place / forever
    for suffix in (".toml", ".npz", ".zip"):
        (place / f"X{suffix}").symlink_to(target)
    (place / "X").mkdir()
    for inside in ("study.toml", "results.h5", "config.toml", "provenance.json", "record.h5"):
        (place / "X" / inside).symlink_to(target)
    arguments = [text.replace("X", "X" if name == "study" or "X." in text else str(target)) for text in READERS[name]]
    assert judge(capsys, "files that never end", arguments, place) == 2


@pytest.mark.parametrize("forever", FOREVER)
@pytest.mark.parametrize("name", ["plot", "info", "resume", "compare", "export"])
def test_runs_of_files_that_never_end(place: Path, capsys: pytest.CaptureFixture, name: str, forever: str) -> None:
    (place / "X").mkdir()
    for inside in ("study.toml", "results.h5", "config.toml", "provenance.json", "record.h5"):
        (place / "X" / inside).symlink_to(place / forever)
    more = {"compare": ["X"], "export": ["out.h5"]}.get(name, [])
    if name == "plot":
        from pareprop import plots
        from pareprop.errors import InputError

        with pytest.raises(InputError):
            plots.draw_figures("X")
        return
    assert judge(capsys, "files that never end", [name, "X", *more], place) == 2
