"""The table of results: rows are trained on files of the format of their data, and only their lines change."""

import re
import subprocess
from pathlib import Path

import h5py
import numpy as np
import pytest
import ranks
from pages import ROOT

MAKE = ROOT / "scripts" / "results" / "make.py"
PAGE = ROOT / "scripts" / "handbook" / "reference" / "results.md"


def write_spoken(path: Path, n: int, n_classes: int) -> None:
    """A file as SHD and SSC have it."""
    draws = np.random.default_rng(n)
    with h5py.File(path, "w") as file:
        for name, kind in (("times", "f2"), ("units", "u2")):
            file.create_dataset(f"spikes/{name}", (n,), h5py.vlen_dtype(np.dtype(kind)))
        for k in range(n):
            file["spikes/times"][k] = np.sort(draws.uniform(0, 0.9, 60)).astype("f2")
            file["spikes/units"][k] = draws.integers(0, 700, 60).astype("u2")
        file["labels"] = (np.arange(n) % n_classes).astype("u2")


def make(*words: object) -> subprocess.CompletedProcess:
    command = [*ranks.python(), str(MAKE), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.slow
@pytest.mark.parametrize(("row", "n_classes"), [("shd", 20), ("ssc", 35)])
def test_a_row_is_trained_and_written(row: str, n_classes: int, tmp_path: Path) -> None:
    for split, n in (("train", 5), ("test", 4)):
        write_spoken(tmp_path / f"{row}_{split}.h5", n, n_classes)
    page = tmp_path / "page.md"
    page.write_text(re.sub(rf"(?m)^\| `{row}` .*\n", "", PAGE.read_text()))
    small = ["iterations=1", "batch_size=2", "n_test=4", "steps=20", "test_samples=4"]
    words = ["--data", tmp_path, "--runs", tmp_path / "runs", "--seeds", "1..2", "--page", page]
    done = make(row, *words, *(word for one in small for word in ("--set", one)))
    assert done.returncode == 0, done.stderr
    lines, before = page.read_text().splitlines(), PAGE.read_text().splitlines()
    (own,) = [one for one in lines if one.startswith(f"| `{row}` |")]
    result, seconds = (cell.strip() for cell in own.split("|")[5:7])
    assert re.fullmatch(r"[01]\.\d{3} ± [01]\.\d{3} \(2\)", result) and seconds.isdecimal()
    assert sorted(set(lines) - {own}) == sorted(set(before) - {one for one in before if one.startswith(f"| `{row}` |")})


def test_each_row_stands_on_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the script writes it, but for results."""
    monkeypatch.syspath_prepend(str(MAKE.parent))
    import make as script

    found = {one.split("`")[1]: one for one in PAGE.read_text().splitlines() if one.startswith("| `")}
    assert list(found) == list(script.ROWS)
    for name, one in found.items():
        cells, wanted = one.split(" | "), script.line(name, None).strip().split(" | ")
        assert cells[:4] == wanted[:4] and cells[6:] == wanted[6:]
        assert cells[4:6] == [script.NONE, ""] or re.fullmatch(r"-?\d\.\d{3} ± \d\.\d{3} \(\d+\)", cells[4])
    assert not script.renew(PAGE.read_text(), {}) != PAGE.read_text()
    assert script.outcome(Path("nowhere")) is None


def test_data_that_are_missing_are_asked_for() -> None:
    done = make("shd")
    assert done.returncode == 2 and "shd needs --data FOLDER" in done.stderr
