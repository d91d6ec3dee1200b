"""Recordings of several files, joined: sorted spikes whatever the number of files, in blocks and parts."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from pareprop.errors import InputError
from pareprop.exchange_formats import sonata_spikes_writer as sonata
from pareprop.parallel.spike_log import SpikeLog
from pareprop.runs import compare
from pareprop.storage import combined_file
from pareprop.storage.growing_file import Column, GrowingFile
from pareprop.storage.spike_block import SpikeBlock

KEYS, KINDS, STEPS = ("iteration", "step", "id"), ("<u4", "|u1", "<u2"), 20


def rasters(n: int) -> list[np.ndarray]:
    rng = np.random.default_rng(4)
    return [rng.random((STEPS, 30)) < rng.choice([0.0, 0.01, 0.3]) for _ in range(n)]


def record(folder: Path, parts: list[tuple[int, list[list[int]]]]) -> Path:
    """Write samples as ranks do: for each part the number of ranks and the samples of each flush."""
    samples, told = rasters(12), []
    (folder / "record").mkdir(parents=True)
    for number, (ranks, flushes) in enumerate(parts):
        streams = {f"spikes/{key}": Column(kind, (), "1", ("spike",)) for key, kind in zip(KEYS, KINDS, strict=True)}
        names = [f"part-{number:03d}-rank-{rank:05d}.h5" for rank in range(ranks)]
        files = [GrowingFile(folder / "record" / name, streams, {}, {"dt_ms": 0.5, "n_steps": STEPS}) for name in names]
        block, counts = SpikeBlock(STEPS, KINDS), []
        for flush in flushes:
            for sample in flush:
                block.add_spikes(sample, SpikeLog.from_raster(samples[sample]))
            for rank, file in enumerate(files):
                for columns in block.part_of(rank, ranks):
                    for key, column in zip(KEYS, columns, strict=True):
                        file.add_rows(f"spikes/{key}", column, copy=False)
                file.write_rows()
            counts.append(block.count)
            block.drop_spikes()
        rows, crcs = [dict(file.rows) for file in files], [dict(file.crcs) for file in files]
        told.append({"files": names, "rows": rows, "crcs": crcs, "blocks": {"spikes": counts}})
        for file in files:
            file.close()
    return combined_file.combine_files(folder / "record", told)


PARTS = [
    [(1, [list(range(12))])],
    [(3, [[0, 1], [2], [3, 4, 5, 6], [7, 8, 9, 10, 11]])],
    [(2, [[0, 1, 2, 3], [4]]), (5, [[5], [6], [7, 8, 9]]), (1, [[10], [11]])],
]


@pytest.mark.parametrize("parts", PARTS, ids=["one", "three ranks", "three parts"])
def test_spikes_come_sorted(parts: list, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = [(k, *spike) for k, raster in enumerate(rasters(12)) for spike in np.argwhere(raster).tolist()]
    path = record(tmp_path, parts)
    with h5py.File(path) as file:
        found = list(zip(*(file[f"spikes/{key}"][()].tolist() for key in KEYS), strict=True))
    assert found == expected and len(found) > 200
    monkeypatch.setattr(sonata, "BLOCK", 64)
    assert sonata.export_spikes(tmp_path, tmp_path / "out.h5") == len(expected)
    with h5py.File(tmp_path / "out.h5") as file:
        times = [(k * STEPS + t + 1) * 0.5 for k, t, _ in expected]
        np.testing.assert_array_equal(file["spikes/recurrent/timestamps"], times)
        np.testing.assert_array_equal(file["spikes/recurrent/node_ids"], [n for _, _, n in expected])


def test_what_is_not_sorted_is_not_exported(tmp_path: Path) -> None:
    record(tmp_path, [(1, [list(range(12))[::-1]])])
    with pytest.raises(InputError, match="is not sorted by iteration and step"):
        sonata.export_spikes(tmp_path, tmp_path / "out.h5")
    assert not (tmp_path / "out.h5").exists()


def test_the_first_different_spike_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare, "BLOCK", 50)
    files = [h5py.File(record(tmp_path / str(k), PARTS[k]), "r") for k in (0, 1)]
    columns = [[file[f"spikes/{key}"] for key in KEYS] for file in files]
    assert list(compare._find_spike_difference(*columns)) == []
    other = [column[()] for column in columns[0]]
    place = len(other[0]) - 70
    other[2][place] += 1
    told = "iteration {}, step {}, neuron {}".format(*(column[place] for column in columns[0]))
    (line,) = compare._find_spike_difference(columns[1], other)
    assert line == f"spike: {told} in the first, {told.rpartition(' ')[0]} {other[2][place]} in the second"
    short = [column[:-1] for column in other[:2]] + [columns[0][2][:-1]]
    line = next(compare._find_spike_difference(short, columns[0]))
    assert line.startswith(f"spike: none in the first, iteration {columns[0][0][-1]}")
