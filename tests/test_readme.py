"""What the README shows works as it stands there."""

import re
import subprocess
import sys
from pathlib import Path

import launch
import pytest
from commands import command

README = (Path(__file__).parents[1] / "README.md").read_text()


def snippet(section: str) -> str:
    """The first block of Python in a section."""
    return re.search(rf"^## {section}\n.*?^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)[1]


def sh(text: str) -> str:
    """The block of shell that holds `text`."""
    return next(block for block in re.findall(r"^```sh\n(.*?)^```", README, re.MULTILINE | re.DOTALL) if text in block)


def python(*arguments: object, cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, *map(str, arguments)], capture_output=True, text=True, cwd=cwd, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.mpi
def test_library(tmp_path: Path) -> None:
    """It learns, and prints the same alone and on two ranks."""
    script = tmp_path / "levels.py"
    script.write_text(snippet("As a library"))
    alone = python(script, cwd=tmp_path)
    first, last, test = (float(number) for number in re.findall(r"\d+\.\d", alone)[:3])
    assert max(last, test) < 0.6 * first
    parallel = launch.mpirun(2, script)
    assert (parallel.returncode, parallel.stderr, parallel.stdout) == (0, "", alone)
    assert re.search(r"digest [0-9a-f]{64}$", alone)


def test_results_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.chdir(tmp_path)
    assert command(capsys, "run", "sine-waves", "--set", "iterations=1", "--set", "n_step=50")[0] == 0
    assert "'task': 'sine-waves'" in python("-c", snippet("The run directory"), cwd=tmp_path)


def test_commands_are_all_there(capsys: pytest.CaptureFixture) -> None:
    """Every command of the package has a row, and every row a command."""
    _, _, errors = command(capsys)
    listed = re.findall(r"^  ([\w-]+) ", errors.partition("Commands:")[2], re.MULTILINE)
    rows = re.findall(r"`pareprop ([\w-]+)", README.partition("## Commands")[2].partition("\n\nEach runs")[0])
    assert sorted(rows) == sorted(listed)


def test_two_commands() -> None:
    assert sh("pareprop run").startswith("python3 -m venv .venv && ")
    assert sh("bin/pytest").count("\n") == 1
