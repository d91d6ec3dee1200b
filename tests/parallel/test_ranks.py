"""The same bits on any number of ranks, and losses as published."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import ranks
from commands import command, digests, on_ranks, run_of
from drawn_network import DRAWN, results
from params import first


@pytest.mark.mpi
def test_network_with_everything_drawn() -> None:
    results = [ranks.run(n, "-c", DRAWN) for n in (1, 2, 3, 4)]
    assert [(done.returncode, done.stderr) for done in results] == [(0, "")] * 4
    assert len({done.stdout for done in results}) == 1
    *numbers, _ = results[0].stdout.split()
    losses, rates = [float.fromhex(text) for text in numbers[:4]], [float.fromhex(text) for text in numbers[4:]]
    assert len(set(losses)) == 4
    assert all(1.0 < rate < 200.0 for rate in rates)


@pytest.mark.mpi
@pytest.mark.parametrize("numbers", first(1, [(1, 2, 3), (1, 4)], rest=1), ids=str)
def test_sine_waves(tmp_path: Path, numbers: tuple[int, ...]) -> None:
    """Dense and sparse, and with fewer neurons and readouts than ranks."""
    settings = (
        ("iterations=3",),
        ("iterations=3", "indegree=10", "n_rec=60", "n_out=2"),
        ("iterations=2", "n_rec=3", "n_out=2", "n_step=300"),
        ("iterations=2", "n_rec=1", "n_step=300", "batch_size=2"),
    )
    found = []
    for n in numbers:
        commands = [run_of("sine-waves", tmp_path / f"{n}-{k}", *texts) for k, texts in enumerate(settings)]
        codes, output, errors = on_ranks(n, commands)
        assert (codes, errors) == ([0] * len(commands), [])
        found.append(digests(output))
    assert len(set(found[0])) == len(settings)
    assert found[1:] == found[:1] * (len(numbers) - 1)
    for k in range(len(settings)):
        files = [results(tmp_path / f"{n}-{k}") for n in numbers]
        for other in files[1:]:
            assert other.keys() == files[0].keys()
            for name, values in files[0].items():
                np.testing.assert_array_equal(values, other[name], err_msg=name)


def test_published_losses(capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    """First losses of the TensorFlow code of Bellec et al. 2020 for this task, RandomState(1)."""
    code, output, errors = command(capsys, "run", "sine-waves", "--set", "iterations=5", "--out", tmp_path / "run")
    assert (code, errors) == (0, "")
    published = [101.964363098144, 103.466735839843, 103.340606689453, 103.680244445800, 104.412780761718]
    with h5py.File(tmp_path / "run" / "results.h5") as file:
        np.testing.assert_allclose(file["loss"], published, rtol=1e-7)
        assert output.splitlines()[-1] == f"digest: {file.attrs['digest']}"
