"""Run commands of the package in this process, or several of them on ranks."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import launch
import pytest
import ranks

from pareprop import cli

JOBS = Path(__file__).parents[1] / "jobs"
needs_jobs = pytest.mark.skipif(not launch.find_mpirun() or not shutil.which("bash"), reason="no mpirun or no bash")

# On each rank: every argument list of a JSON array as one command, then the exit codes. No figures: other tests draw.
SEVERAL = """
import json, sys
from pareprop import cli
from pareprop.runs import run
draw = run.draw_run
run.draw_run = lambda directory, **options: None if (directory / "results.h5").exists() else draw(directory, **options)
codes = []
for arguments in json.loads(sys.argv[1]):
    try:
        codes.append(cli.main(arguments) or 0)
    except SystemExit as stop:
        codes.append(stop.code)
print("codes: " + " ".join(map(str, codes)) + "\\n", end="", flush=True)
"""


def command(capsys: pytest.CaptureFixture, *arguments: object) -> tuple[int, str, str]:
    """Exit code, output and errors of a command in this process."""
    capsys.readouterr()
    code = 0
    try:
        cli.main([str(argument) for argument in arguments])
    except SystemExit as stop:
        code = stop.code
    return code or 0, *capsys.readouterr()


def output_of(capsys: pytest.CaptureFixture, *arguments: object) -> str:
    """The output of a command in this process that must succeed."""
    code, output, errors = command(capsys, *arguments)
    assert code == 0, errors
    return output


def refusal_of(capsys: pytest.CaptureFixture, *arguments: object) -> str:
    """The line by which a command in this process refuses its input."""
    code, _, errors = command(capsys, *arguments)
    assert code == 2 and errors.count("\n") == 1, errors
    return errors


def apart(*arguments: object, timeout: float = 900, **options: Any) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own."""
    line = [*ranks.python(), "-m", "pareprop", *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True, timeout=timeout, check=False, **options)


def as_options(*texts: str, **values: object) -> list[str]:
    """Settings as options of a command."""
    return [part for text in (*texts, *(f"{key}={value}" for key, value in values.items())) for part in ("--set", text)]


def run_of(task: object, out: Path, *texts: str, **values: object) -> list[object]:
    """The command of a run with some settings."""
    return ["run", task, *as_options(*texts, **values), "--out", out]


def job(script: str, out: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess:
    """Run a script of `jobs`, which calls mpirun and writes to `out`, with what it starts in a session of its own."""
    path = os.pathsep.join([ranks.commands(), str(Path(sys.executable).parent), os.environ["PATH"]])
    env = os.environ | launch.ENVIRONMENT | {"PATH": path, "OUT": str(out), "BIND": "none"} | env
    return launch.in_session(["timeout", "-k", "5", "900", JOBS / script, *arguments], env)


def on_ranks(n: int, commands: list[list[object]], **options) -> tuple[list[int], list[str], list[str]]:
    """Exit codes (the same on all `n` ranks), lines of output and lines of errors of commands run one after another."""
    texts = [[str(argument) for argument in arguments] for arguments in commands]
    done = ranks.run(n, "-c", SEVERAL, json.dumps(texts), **options)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    codes = [line for line in lines if line.startswith("codes: ")]
    assert len(codes) == n and len(set(codes)) == 1, done.stdout
    output = [line for line in lines if not line.startswith("codes: ")]
    # what a busy machine works on for long is told there, too
    errors = [line for line in done.stderr.splitlines() if not line.endswith(" s so far")]
    return [int(code) for code in codes[0].split()[1:]], output, errors


def check_resumed(capsys: pytest.CaptureFixture, config: Path, folder: Path, stopped: int, resumed: int) -> None:
    """A run that some ranks stop after 3 iterations and others resume is that of one process, `folder`/whole."""
    whole = digests(output_of(capsys, "run", config, "--out", folder / "whole").splitlines())
    on_ranks(stopped, [["run", config, "--until", 3, "--out", folder / "stopped"]])
    _, output, errors = on_ranks(resumed, [["resume", folder / "stopped"]])
    assert digests(output) == whole != [], errors
    assert output_of(capsys, "compare", folder / "whole", folder / "stopped") == "no difference\n"


def verify_on_ranks(cases: list[str], held: str = "", *more: tuple[int, int]) -> None:
    """Verify golden cases on 1 and 3 ranks: each has one line with `held`, and all ranks give one digest.

    `more` are numbers of ranks with steps of their rounds, 0 for the longest possible.
    """
    found = set()
    for n, rounds in ((1, 0), (3, 0), *more):
        codes, output, errors = on_ranks(n, [["verify", "--round-steps", rounds, *cases]])
        assert (codes, errors) == ([0], [])
        assert sum(held in line and line.endswith(": holds") for line in output) == len(cases)
        found.update(digests(output))
    assert len(found) == 1


def digests(lines: list[str]) -> list[str]:
    """The digests among some lines of output."""
    found = (re.fullmatch(r"digest: ([0-9a-f]{64})", line) for line in lines)
    return [match[1] for match in found if match]
