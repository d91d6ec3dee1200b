"""Fenced blocks of the Markdown pages, and how they are run."""

import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import launch
import ranks

ROOT = Path(__file__).parents[1]
FENCE = re.compile(r"(?:<!-- not run: (?P<why>[^>]*) -->\n)?^```(?P<language>\w+)\n(?P<text>.*?)^```", re.M | re.S)
SETUP = re.compile(r"pip install|\bsbatch\b|\bsudo\b")  # .ci/run installs, tests/scaling/test_slurm.py submits


@dataclass(frozen=True)
class Block:
    """A fenced block of a page; `why` it isn't run, if so."""

    language: str
    text: str
    why: str

    @property
    def runs(self) -> bool:
        return self.language in ("sh", "python") and not self.why and not SETUP.search(self.text)


def blocks(path: Path) -> list[Block]:
    return [Block(match["language"], match["text"], match["why"] or "") for match in FENCE.finditer(path.read_text())]


def furnish(folder: Path, figures: bool = False) -> dict[str, str]:
    """Put what pages name into a folder, and return the environment in which a reader would run their blocks there.

    Commands of the package start at once, see `ranks`; runs draw no figures unless they are asked for, to save time.
    """
    for name in ("jobs", "scripts", "pareprop"):
        (folder / name).symlink_to(ROOT / name)
    places = [ranks.commands(), str(Path(sys.executable).parent), os.environ["PATH"]]
    environment = os.environ | launch.ENVIRONMENT | {"PATH": os.pathsep.join(places), "MPLBACKEND": "Agg"}
    return environment | {"VENV": sys.prefix} | ({} if figures else {ranks.NO_FIGURES: "1"})


def first_network() -> str:
    """The code of the tutorial "A first script" that builds its network and task."""
    page = ROOT / "scripts" / "handbook" / "tutorials" / "first_script.md"
    (text,) = (block.text for block in blocks(page) if "class Levels" in block.text)
    return text.partition("simulation = ")[0]
