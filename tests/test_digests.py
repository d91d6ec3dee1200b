"""Digests of short trainings, the same on every build: compiler, processor, version of Python, precision by precision.

`scripts/builds.py` writes `digests.json`: the digests of the cases, and one of all of them for each build that it made.
Another digest is either a change of the mathematics, which has a reason and a new table, or a build that rounds
otherwise.
"""

import hashlib
import io
import json
import sys
from contextlib import redirect_stdout
from functools import cache
from pathlib import Path
from unittest import mock

import pytest
from commands import as_options, digests
from params import first

from pareprop import cli
from pareprop.runs import run
from pareprop.tasks import n_mnist
from pareprop.tasks.synthetic import SyntheticDigits

TABLE = Path(__file__).with_name("digests.json")
SMALL = {
    "sine-waves": ["n_rec=20", "n_in=10", "n_step=200", "periods=[200,100,50,25]"],
    "sine-waves-plus": ["n_rec=20", "n_in=10", "n_step=200", "periods=[200,100,50,25]"],
    "lemniscate": ["n_rec=20", "n_in=10", "n_step=300"],
    "handwriting": ["n_rec=20", "n_in=10"],
    "evidence-accumulation": ["n_reg=8", "n_ad=8", "batch_size=4", "n_cues=3", "recall=40", "pause=30"],
    "n-mnist": ["data=synthetic", "n_rec=20"],
}
BOTH = ("sine-waves", "lemniscate", "evidence-accumulation", "n-mnist")
CASES = [
    (task, variant, precision)
    for task in SMALL
    for variant in ("interval", "spike")
    for precision in ("double", "single")
    if task in BOTH or precision == "double"
]


@cache
def camera(split: str, seed: int) -> SyntheticDigits:
    """All cases see the recordings of one, which are made once."""
    shared = SyntheticDigits(split, seed)
    shared.read_events = cache(shared.read_events)
    return shared


def digest(task: str, variant: str, precision: str, out: Path) -> str:
    """Digest of two iterations."""
    texts = [*SMALL[task], f"variant={variant}", f"precision={precision}", "iterations=2", "test_samples=0"]
    if variant == "spike":
        texts += ["batch_size=1"]
    settings = as_options(*texts)
    printed, cameras = io.StringIO(), mock.patch.object(n_mnist, "SyntheticDigits", camera)
    with mock.patch.object(run, "draw_run", lambda directory, **_: None), cameras, redirect_stdout(printed):
        cli.main(["run", task, *settings, "--out", str(out)])
    return "".join(digests(printed.getvalue().splitlines()))  # of rank 0 alone


def together(table: dict[str, str]) -> str:
    """One digest of all cases, as the table keeps for a build."""
    return hashlib.sha256("\n".join(f"{case} {found}" for case, found in table.items()).encode()).hexdigest()


SLOW = [case for case in reversed(CASES) if case[0] == "n-mnist"]  # whose networks take a quarter of a minute
QUICK = [case for case in CASES if case not in SLOW]


@pytest.mark.parametrize("case", first(len(QUICK), QUICK + SLOW, rest=len(QUICK)), ids="-".join)
def test_digest_is_that_of_the_table(case: tuple[str, str, str], tmp_path: Path) -> None:
    assert digest(*case, tmp_path / "run") == json.loads(TABLE.read_text())["digests"]["-".join(case)]


def test_table_is_complete_and_sensitive() -> None:
    table = json.loads(TABLE.read_text())["digests"]
    assert list(table) == ["-".join(case) for case in CASES]
    assert len(set(table.values())) == len(table) - 2  # sine-waves-plus is sine-waves with other defaults


def test_builds_agree() -> None:
    table = json.loads(TABLE.read_text())
    for part in (
        "gcc",
        "clang",
        "Python 3.11",
        "Python 3.12",
        "Python 3.13",
        ", x86-64",
        ", v3",
        ", v4",
        "as without AVX",
    ):
        assert any(part in build for build in table["builds"]), part
    assert len(table["builds"]) >= 9
    assert set(table["builds"].values()) == {together(table["digests"])}


if __name__ == "__main__":  # on one rank or several; arguments are a folder that all of them see, and cases if not all
    folder, *names = sys.argv[1:]
    chosen = [case for case in CASES if not names or "-".join(case) in names]
    found = {"-".join(case): digest(*case, Path(folder, "-".join(case))) for case in chosen}
    if any(found.values()):
        json.dump(found, sys.stdout, indent=1)
