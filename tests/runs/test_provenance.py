"""`provenance.json` stays small, however many ranks a run has and however often it is stopped; RO-Crates of runs."""

import json
import socket
import statistics
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from commands import output_of, refusal_of, run_of

from pareprop import energy, installation
from pareprop.parallel import collectives
from pareprop.parallel.replicas import Replicas
from pareprop.runs import provenance
from pareprop.runs.counters import Counters

MANY = 4096
SECONDS = {"compute": 1.0, "wait": 0.25, "transfer": 0.125}


class ManyRanks:
    """The communicator of rank 0 among many, which measure what `peaks` and `SECONDS` say."""

    rank, size = 0, MANY

    def __init__(self, peaks: list[int]) -> None:
        self.peaks = peaks

    def gather(self, own: tuple) -> list[tuple[int, dict[str, float], float]]:
        return [(peak, SECONDS, 0.0 if k else own[2]) for k, peak in enumerate(self.peaks)]

    def allgather(self, own: object) -> list[object]:
        """Of a host of one's own for each pair of ranks."""
        return [f"host-{k // 2}" for k in range(MANY)] if own == socket.gethostname() else [own] * MANY

    def Allreduce(self, own: np.ndarray, into: np.ndarray, operation: str) -> None:
        into[:] = own

    def Allgather(self, own: np.ndarray, into: np.ndarray) -> None:
        """Of a text's number."""
        of_host = own[0] == collectives._hash_text(socket.gethostname())
        into[:] = np.arange(MANY) // 2 if of_host else own[0]


@pytest.fixture
def many(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """What provenance reads of a training on many ranks, one of which has far more memory than the others."""
    peaks = (np.random.default_rng(1).permutation(MANY) + 2**27).tolist()
    peaks[4000] = 2**31
    monkeypatch.setattr("pareprop.storage.disk.wait_for_all", lambda comm: None)
    monkeypatch.setattr(provenance, "_describe_mpi", lambda: "MPI")
    monkeypatch.setattr(provenance.mpi, "describe_interconnect", lambda: "")
    monkeypatch.setattr(provenance, "_find_commit", lambda: "")
    monkeypatch.setattr(provenance, "_describe_intervals", lambda simulation: {"within_nodes": 10**9})
    return SimpleNamespace(
        world=ManyRanks(peaks),
        replicas=Replicas(),
        exchange=SimpleNamespace(size=MANY),
        iteration=0,
        model=SimpleNamespace(of_role=lambda role: [], projections=[]),
        timers=SimpleNamespace(seconds={"deliver": 0.5}),
        cuts=[(2**k, np.arange(MANY + 1) * 10**6) for k in range(40)],
    )


def go_on(run: SimpleNamespace, folder: Path) -> None:
    """One part of the run."""
    notes = provenance.Provenance(folder, {"task": "t"}, Counters(None))
    notes.start(run)
    run.iteration += 5
    notes.finish(run)


def test_many_ranks_and_stops(many: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Found by reckoning: a number per rank and stop, and resume refused the file from 16 MiB on."""
    monkeypatch.setenv(provenance.HOST_NAMES, "1")
    monkeypatch.setattr(provenance, "MOST_PARTS", 5)
    for _ in range(12):
        go_on(many, tmp_path)
    parts = provenance.read(tmp_path)["parts"]
    sizes = [len(json.dumps(part | {"hosts": []}, indent=1)) for part in parts]
    assert 100 * max(sizes) < provenance.LIMIT / 2  # of as many parts as there are at most
    assert all(len(value) <= 64 for part in parts[:-1] for value in part.values() if isinstance(value, list))
    assert [provenance.count_parts(part) for part in parts] == [8, 1, 1, 1, 1]
    assert (parts[0]["first_iteration"], parts[0]["last_iteration"], parts[1]["first_iteration"]) == (0, 40, 40)
    assert parts[0]["phases"]["deliver"] == 8 * 0.5 and len(parts[-1]["hosts"]) == parts[-1]["nodes"] == MANY // 2
    peaks = many.world.peaks
    lowest, median = min(peaks), int(statistics.median_low(peaks))
    assert parts[-1]["memory_of_ranks"] == {
        "lowest": lowest,
        "lowest_rank": peaks.index(lowest),
        "median": median,
        "highest": 2**31,
        "highest_rank": 4000,
    }
    lines = provenance.format_lines(provenance.read(tmp_path))
    assert "parts 1 to 8: iterations 0 to 40" in lines and "part 12: iterations 55 to 60" in lines
    told = f"lowest 128 MiB (rank {peaks.index(lowest)}), median 128 MiB, highest 2048 MiB (rank 4000)"
    assert f"    memory_of_ranks: {told}" in lines


def test_core_hours_and_joules(many: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of counters that go on by 3 J at each of three looks in a part; of parts that are joined, sums."""
    monkeypatch.setattr(provenance, "MOST_PARTS", 3)
    monkeypatch.setattr(energy.Meter, "measure_interval", lambda meter: 3.0)
    monkeypatch.setattr(provenance, "JOULES_EVERY", 0.0)
    for _ in range(4):
        notes = provenance.Provenance(tmp_path, {"task": "t"}, Counters(None))
        notes.start(many)
        notes.after_batch(many, 0, 1, "train")
        many.iteration += 5
        notes.finish(many)
    parts = provenance.read(tmp_path)["parts"]
    assert [part["joules"] for part in parts] == [2 * 9.0, 9.0, 9.0]
    assert parts[-1]["core_hours"] == pytest.approx(parts[-1]["wall_seconds"] * MANY / 3600, rel=0.1, abs=0.002)
    assert parts[0]["core_hours"] > 0
    assert any(line.startswith("    joules: 9.0") for line in provenance.format_lines({"parts": parts}))
    monkeypatch.setattr(energy.Meter, "measure_interval", lambda meter: float("nan"))
    go_on(many, tmp_path)
    parts = provenance.read(tmp_path)["parts"]
    lines = provenance.format_lines({"parts": parts})
    assert "joules" not in parts[-1] and "    joules: not told by the counters of all its machines" in lines
    go_on(many, tmp_path)
    go_on(many, tmp_path)
    assert "joules" not in provenance.read(tmp_path)["parts"][0]  # joined of parts that know and one that does not


@pytest.mark.parametrize(
    "wrong",
    [
        {"memory_of_ranks": 3},
        {"memory_of_ranks": {"lowest": "x"}},
        {"parts": 0},
        {"parts": True},
        {"core_hours": -1.0},
        {"joules": "x"},
    ],
)
def test_numbers_that_are_none(wrong: dict, tmp_path: Path) -> None:
    (tmp_path / provenance.NAME).write_text(json.dumps({"parts": [wrong]}))
    with pytest.raises(provenance.InputError, match=f"malformed: {next(iter(wrong))} = "):
        provenance.read(tmp_path)


def test_crate_of_a_run(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Files are those of the run, each described, with the parts that made them; checkpoints stay away."""
    settings = {"n_rec": 4, "n_step": 20, "iterations": 3, "figures": "none"}
    output_of(capsys, *run_of("sine-waves", tmp_path / "run", **settings), "--until", 1)
    output_of(capsys, "resume", tmp_path / "run")
    assert "5 files: " in output_of(capsys, "export", "--crate", tmp_path / "run", tmp_path / "run.zip")
    names = {"config.toml", "loss.csv", "provenance.json", "results.h5", "run.log"}
    with zipfile.ZipFile(tmp_path / "run.zip") as packed:
        assert {*packed.namelist()} == {*names, "ro-crate-metadata.json"} and packed.testzip() is None
        assert all(packed.read(name) == (tmp_path / "run" / name).read_bytes() for name in names)
        described = {entry["@id"]: entry for entry in json.loads(packed.read("ro-crate-metadata.json"))["@graph"]}
        packed.extractall(tmp_path / "unpacked")
    assert {part["@id"] for part in described["./"]["hasPart"]} == names
    first, second = described["#part-1"], described["#part-2"]
    assert first["actionStatus"] == {"@id": "http://schema.org/CompletedActionStatus"}
    assert first["description"] == "iterations 0 to 1, ranks: 1" and second["startTime"] >= first["endTime"]
    assert second["object"] == [{"@id": "config.toml"}] and {"@id": "results.h5"} in second["result"]
    assert described["#pareprop"]["version"] == installation.list_installation_facts()["pareprop"]
    assert "exists; --overwrite replaces a crate" in refusal_of(
        capsys, "export", "--crate", tmp_path / "run", tmp_path / "run.zip"
    )
    output_of(capsys, "export", "--crate", tmp_path / "run", tmp_path / "run.zip", "--overwrite")
    with zipfile.ZipFile(tmp_path / "mine.zip", "w") as other:
        other.writestr("mine.txt", "mine")
    before = (tmp_path / "mine.zip").read_bytes()
    words = ["export", "--crate", tmp_path / "run", tmp_path / "mine.zip", "--overwrite"]
    assert "exists; --overwrite replaces a crate" in refusal_of(capsys, *words)
    assert (tmp_path / "mine.zip").read_bytes() == before
    assert "needs a name that ends in .zip" in refusal_of(
        capsys, "export", "--crate", tmp_path / "run", tmp_path / "run.h5"
    )
    rocrate = pytest.importorskip("rocrate.rocrate", reason="reads crates: extra test")
    read = rocrate.ROCrate(tmp_path / "unpacked")
    assert {part.id for part in read.root_dataset["hasPart"]} == names
    assert {action.type for action in read.root_dataset["mentions"]} == {"CreateAction"}
