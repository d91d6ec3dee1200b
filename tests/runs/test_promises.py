"""The page of promises and limitations names tests that exist; the limitations, pinned."""

import fcntl
import os
import re
import shutil
import zlib
from pathlib import Path

import checkpoints
import h5py
import numpy as np
import pytest
from commands import as_options, digests, output_of

from pareprop.runs.directory import claim_directory
from pareprop.storage import checkpoint_write
from pareprop.tasks.datafile import DataFile

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "scripts" / "handbook" / "reference" / "guarantees.md").read_text()
RUN = ["run", "sine-waves", *as_options("n_rec=8", "n_in=6", "n_step=30", "iterations=2")]


pytestmark = pytest.mark.usefixtures("no_figures")


def test_every_line_names_a_test() -> None:
    lines = [line for line in PAGE.splitlines() if line.startswith("| ")]
    named = [re.findall(r"`([\w/]+\.py)::(test_\w+)`", line) for line in lines]
    assert len(named) > 20
    for line, tests in zip(lines, named, strict=True):
        assert tests or line.rstrip(" |").endswith("test"), f"no test: {line}"
        for path, name in tests:
            assert re.search(rf"^def {name}\(", (ROOT / "tests" / path).read_text(), re.M), f"{path}::{name}"


def test_a_forged_checkpoint_is_taken(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """A weight changed, its checksum made anew, the manifest sealed: nobody can tell."""
    output_of(capsys, *RUN, "--until", 1, "--out", tmp_path / "run")
    shutil.copytree(tmp_path / "run", tmp_path / "forged")
    path = checkpoint_write.list_checkpoints(tmp_path / "forged" / "checkpoints")[0]
    column, table = checkpoints.column_of(path, "rec->out/weight"), checkpoints.table_of(path)
    data = bytearray((path / "rank-00000.bin").read_bytes())
    weights = np.frombuffer(data, "<f8", int(table["first"][1, column]), int(table["offset"][0, column]))
    weights += 0.01
    (path / "rank-00000.bin").write_bytes(data)

    def note(table: np.ndarray) -> None:
        table["crc"][0, column] = zlib.crc32(weights.tobytes())

    checkpoints.change_table(path, note)
    found = [output_of(capsys, "resume", tmp_path / name) for name in ("run", "forged")]
    assert len({digests(output.splitlines())[-1] for output in found}) == 2


def test_without_locks_two_runs_may_share_a_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    with claim_directory(None, str(tmp_path / "run"), "task"), claim_directory(None, str(tmp_path / "run"), "task"):
        pass


def test_a_hard_link_keeps_the_results_that_it_had(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    output_of(capsys, *RUN, "--out", tmp_path / "run")
    os.link(tmp_path / "run" / "results.h5", tmp_path / "other.h5")
    output_of(capsys, "resume", tmp_path / "run", "--set", "iterations=3")
    for path, count in ((tmp_path / "other.h5", 2), (tmp_path / "run" / "results.h5", 3)):
        with h5py.File(path) as file:
            assert len(file["loss"]) == count


def test_the_middle_of_a_data_file_is_not_compared(tmp_path: Path) -> None:
    rates = np.full((40, 100, 100), 9.0)
    path = tmp_path / "data.h5"
    with h5py.File(path, "w") as file:
        file["rates"], file["targets"] = rates, np.zeros((40, 100, 1))
    sizes = {"input": 100, "current": 0, "readout": 1}
    before = DataFile(path, sizes).compute_fingerprint()
    with h5py.File(path, "r+") as file:
        file["rates"][20] = 3.0
    assert DataFile(path, sizes).compute_fingerprint() == before
