"""Own activity: targets as described, learning with signs kept and rewired, measures and figure, users' files."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from commands import command

from pareprop.errors import InputError
from pareprop.tasks.own_activity import OwnActivity

SMALL = {"n_rec": 120, "n_in": 60, "n_step": 300, "indegree": 20, "skip": 30}


def settings(**more: object) -> list[str]:
    return [part for key, value in (SMALL | more).items() for part in ("--set", f"{key}={value}")]


def test_targets_follow_their_law() -> None:
    task = OwnActivity(n_rec=4000)
    rates = task.targets(0, 4000).astype(float)
    assert np.all(rates > 0)
    mean = rates.mean(axis=0)
    assert np.exp(np.log(mean).mean()) == pytest.approx(8.0, rel=0.03) and np.log(mean).std() == pytest.approx(
        0.4, rel=0.1
    )
    np.testing.assert_array_equal(task.targets(100, 130), rates[:, 100:130].astype(np.float32))
    spectrum = np.abs(np.fft.rfft(np.log(rates), axis=0))[1:]  # of sines of 1, 2 and 3 Hz, nothing else
    assert spectrum[3:].max() < 1e-2 * spectrum[:3].max()
    power = (2 * spectrum[:3] / 1000) ** 2
    np.testing.assert_allclose(np.sqrt(power.mean(axis=1)), 0.45 * np.array([1, 0.8, 0.5]), rtol=0.05)


@pytest.mark.parametrize("rewire", [0, 2])
def test_correlations_rise_and_signs_stay(tmp_path: Path, capsys: pytest.CaptureFixture, rewire: int) -> None:
    code, output, errors = command(
        capsys,
        "run",
        "own-activity",
        *settings(iterations=40, eta=5e-3, rewire_every=rewire),
        "--out",
        tmp_path / "run",
    )
    assert code == 0, errors
    assert (tmp_path / "run/own_activity.png").is_file() and "own_activity.png" in output
    model = OwnActivity(**SMALL).model()
    sign = model.populations[1].sign
    assert set(np.unique(sign)) == {-1, 1}
    with h5py.File(tmp_path / "run/results.h5") as file:
        first, last = (file[f"dynamics/{name}"] for name in ("first", "last"))
        assert last["correlation"][()].mean() > first["correlation"][()].mean() + 0.1
        for sample in (first, last):  # as computed from what was kept
            signal, target = sample["local_signal"][30:].astype(float), sample["local_target"][30:].astype(float)
            ids = sample["local_ids"][()]
            some = np.flatnonzero(np.ptp(signal, axis=0))
            wanted = [np.corrcoef(signal[:, k], target[:, k])[0, 1] for k in some]
            np.testing.assert_allclose(sample["correlation"][()][ids[some]], wanted, atol=1e-6)
        group = file["projections/rec->rec"]
        assert np.all(group["weight"][()] * sign[group["source"][()]] >= 0)
        assert ("moves" in file) == bool(rewire)


def test_rates_of_a_file(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path, rates = tmp_path / "rates.h5", np.random.default_rng(1).random((300, 120)) * 20
    with h5py.File(path, "w") as file:
        file["rates"] = rates
    task = OwnActivity(**SMALL, activity=path)
    np.testing.assert_array_equal(task.targets(7, 9), rates[:, 7:9].astype(np.float32))
    with h5py.File(path, "r+") as file:
        file["rates"][5, 8] = -1.0
    with pytest.raises(InputError, match=r"rates\[5, 8\] = -1.0 must be at least 0 and finite"):
        OwnActivity(**SMALL, activity=path).targets(7, 9)
    code, _, errors = command(
        capsys, "run", "own-activity", *settings(n_rec=100, activity=path), "--out", tmp_path / "x"
    )
    assert code == 2 and "'rates' has (300, 120), must be (300, 100)" in errors
    code, _, errors = command(
        capsys, "run", "own-activity", *settings(activity=tmp_path / "no.h5"), "--out", tmp_path / "x"
    )
    assert code == 2 and "no.h5" in errors and "Traceback" not in errors
