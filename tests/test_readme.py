"""The pages (every README.md) show what works: blocks run in order, commands exist, links lead somewhere.

Commands and links of the handbook are looked at here, too; `scripts/test_handbook.py` runs its blocks.
"""

import re
import subprocess
from pathlib import Path

import click
import pytest
import ranks
from commands import command
from pages import ROOT, blocks, furnish

from pareprop import cli

PAGES = [
    path for path in sorted(ROOT.glob("**/README.md")) if not path.relative_to(ROOT).parts[0].startswith((".", "b"))
]
CODE = (".py", ".pyx", ".pxd", ".pxi", ".h", ".c", ".sh", ".sbatch")
ALL = [*PAGES, *sorted(ROOT.glob("scripts/handbook/**/*.md"))]


def name(path: Path) -> str:
    return str((path.parent if path.name == "README.md" else path).relative_to(ROOT))


RUN = [page for page in PAGES if any(block.runs for block in blocks(page))]


def sh(text: str) -> str:
    """The block of shell in README that holds `text`."""
    return next(block.text for block in blocks(ROOT / "README.md") if block.language == "sh" and text in block.text)


@pytest.mark.parametrize("page", RUN, ids=name)
def test_blocks_run(page: Path, tmp_path: Path) -> None:
    """In a folder of their own, one after the other, as a reader would."""
    environment = furnish(tmp_path, figures=page == ROOT / "README.md")
    for block in blocks(page):
        if not block.runs:
            continue
        how = [*ranks.python(), "-c"] if block.language == "python" else ["bash", "-euo", "pipefail", "-c"]
        done = subprocess.run(
            [*how, block.text], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=900, check=False
        )
        assert done.returncode == 0, f"{block.text}\n{done.stdout}\n{done.stderr}"
        said = [line for line in done.stderr.splitlines() if not line.endswith(" s so far")]  # what takes long
        assert block.language != "python" or not said


@pytest.mark.parametrize("page", ALL, ids=name)
def test_commands_have_these_options(page: Path) -> None:
    """Also where a block is not run."""
    for block in blocks(page):
        assert block.language in ("sh", "python", "text"), block.text
        for line in re.findall(r"^(?:mpirun -n \d+ )?pareprop ([^#|>&\n]*)", block.text, re.MULTILINE):
            parse(cli.commands, line.split())


def parse(group: click.Command, arguments: list[str]) -> None:
    """Parse arguments as the command line does, down to the last subcommand."""
    found = group
    while isinstance(found, click.Group):
        found, arguments = found.commands[arguments[0]], arguments[1:]
    found.make_context("", list(arguments))


@pytest.mark.parametrize("page", ALL, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text()
    places = [*re.findall(r"\]\(([^)]+)\)", text), *re.findall(r'src="([^"]+)"', text)]
    for place in places:
        if not place.startswith("https://"):
            assert (page.parent / place.partition("#")[0]).exists(), place


def test_every_page_can_be_reached() -> None:
    """From README, in one or two steps."""
    reached, new = set(), {ROOT / "README.md"}
    while new:
        reached |= new
        links = {
            (page.parent / place).resolve() for page in new for place in re.findall(r"\]\(([^)#]+)\)", page.read_text())
        }
        new = {path for path in links if path.name == "README.md"} - reached
    assert {path.resolve() for path in PAGES} == reached


def test_paths_exist() -> None:
    """Modules and scripts that README pages name by their path."""
    for page in ALL:
        for path in re.findall(r"`((?:scripts|jobs|tests)/[\w/.]+)`", page.read_text()):
            assert (ROOT / path).exists(), f"{name(page)}: {path}"


def test_names_exist() -> None:
    """Names with an underscore or in CamelCase on pages stand in the code; the page on NEST names what is not there."""
    code = "\n".join(
        path.read_text()
        for folder in ("pareprop", "cython_core", "scripts", "tests", "jobs")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in CODE
    )
    known = set(re.findall(r"\w+", code))
    for page in ALL:
        if page.stem not in ("nest", "nest_agreement"):
            found = re.findall(r"`([A-Za-z]\w*(?:_\w+|[a-z][A-Z]\w+))(?:\(\))?`", page.read_text())
            assert not set(found) - known, name(page)


@pytest.mark.mpi
def test_library(tmp_path: Path) -> None:
    """It learns, and prints the same alone and on two ranks."""
    script = tmp_path / "levels.py"
    page = ROOT / "scripts" / "handbook" / "tutorials" / "first_script.md"
    script.write_text(next(block.text for block in blocks(page) if block.language == "python"))
    alone = subprocess.run([*ranks.python(), str(script)], capture_output=True, text=True, timeout=900, check=False)
    assert (alone.returncode, alone.stderr) == (0, "")
    first, last, test = (float(number) for number in re.findall(r"\d+\.\d", alone.stdout)[:3])
    assert max(last, test) < 0.6 * first
    parallel = ranks.run(2, script)
    assert (parallel.returncode, parallel.stderr, parallel.stdout) == (0, "", alone.stdout)
    assert re.search(r"digest [0-9a-f]{64}$", alone.stdout)


def test_commands_are_all_there(capsys: pytest.CaptureFixture) -> None:
    """Every command of the package has a row, and every row a command."""
    _, _, errors = command(capsys)
    commands = re.findall(r"^  ([\w-]+) ", errors.partition("Commands:")[2], re.MULTILINE)
    table = (ROOT / "scripts/handbook/reference/commands.md").read_text().partition("\n\nAll commands")[0]
    assert sorted(re.findall(r"`pareprop ([\w-]+)", table)) == sorted(commands)


def test_two_commands() -> None:
    assert sh("pareprop run").startswith("python3 -m venv .venv && ")
    assert sh("bin/pytest").count("\n") == 1
