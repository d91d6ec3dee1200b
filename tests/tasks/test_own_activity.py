"""Own activity: targets as described, learning with signs kept and rewired, measures and figure, users' files."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from case_files import SONATA
from commands import command, output_of, refusal_of, run_of

from pareprop.errors import InputError
from pareprop.sonata import circuit, nodes, spikes
from pareprop.tasks.own_activity import OwnActivity

SMALL = {"n_rec": 120, "n_in": 60, "n_step": 300, "indegree": 20, "skip": 30}


def test_targets_follow_their_law() -> None:
    task = OwnActivity(n_rec=4000)
    rates = task.targets(0, 4000).astype(float)
    assert np.all(rates > 0)
    mean = rates.mean(axis=0)
    assert np.exp(np.log(mean).mean()) == pytest.approx(8.0, rel=0.03)
    assert np.log(mean).std() == pytest.approx(0.4, rel=0.1)
    np.testing.assert_array_equal(task.targets(100, 130), rates[:, 100:130].astype(np.float32))
    spectrum = np.abs(np.fft.rfft(np.log(rates), axis=0))[1:]  # of sines of 1, 2 and 3 Hz, nothing else
    assert spectrum[3:].max() < 1e-2 * spectrum[:3].max()
    power = (2 * spectrum[:3] / 1000) ** 2
    np.testing.assert_allclose(np.sqrt(power.mean(axis=1)), 0.45 * np.array([1, 0.8, 0.5]), rtol=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("rewire", [0, 2])
def test_correlations_rise_and_signs_stay(tmp_path: Path, capsys: pytest.CaptureFixture, rewire: int) -> None:
    settings = SMALL | {"iterations": 40, "eta": 5e-3, "rewire_every": rewire}
    output = output_of(capsys, *run_of("own-activity", tmp_path / "run", **settings))
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
    with pytest.raises(InputError, match=r"rates\[5, 8\] = -1.0 must lie in 0 to 1e\+06 Hz"):
        OwnActivity(**SMALL, activity=path).targets(7, 9)
    told = refusal_of(capsys, *run_of("own-activity", tmp_path / "x", **SMALL | {"n_rec": 100, "activity": path}))
    assert "'rates' has (300, 120), must be (300, 100)" in told
    code, _, errors = command(capsys, *run_of("own-activity", tmp_path / "x", **SMALL, activity=tmp_path / "no.h5"))
    assert code == 2 and "no.h5" in errors and "Traceback" not in errors


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize(("name", "sign"), [
    ("bmtk/simulation_config.json", "weights"), ("export-example/circuit_config.json", "free"),
])  # fmt: skip
def test_network_of_a_file(tmp_path: Path, capsys: pytest.CaptureFixture, name: str, sign: str) -> None:
    """With spikes of its virtual population, or with inputs as the drawn network has."""
    path, out = SONATA / name, tmp_path / "run"
    options = [f'sonata_options={{sign="{sign}", values={{V_th=0.5}}, default_weight=0.1}}', "rewire_every=2"]
    output_of(capsys, *run_of("own-activity", out, *options, sonata=path, n_step=200, skip=20, n_in=30, iterations=6))
    found = circuit.read(path)
    populations = {item.name: item for item in nodes.read(found)}
    with h5py.File(out / "results.h5") as file:
        neurons = sum(item.size for item in populations.values() if not item.virtual)
        assert len(file["dynamics/last/correlation"]) == neurons
        assert set(file["moves"]) == set(file["projections"])
        for group in file["projections"].values():
            for key in ("weight", "weight_initial"):
                source = group["source" if key == "weight" else "source_initial"][()]
                signs = np.sign(group[key][()])
                kept = all(len(set(signs[source == k]) - {0}) <= 1 for k in np.unique(source))
                assert kept or sign == "free"
        if found.spikes:
            (spike_file, population), *_ = found.spikes
            steps, ids = spikes.read(spike_file, population, populations[population].size, 1.0)
            wanted = np.unique(np.stack([steps, ids])[:, steps < 200], axis=1)
            sample = file["dynamics/first"]
            np.testing.assert_array_equal(np.stack([sample["input_steps"], sample["input_ids"]]), wanted)


def test_wrong_option_of_a_network(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    code, _, errors = command(
        capsys, *run_of("own-activity", tmp_path / "x", sonata="nothing.json", sonata_options="{sing=1}")
    )
    assert code == 2 and "sing" in errors and "Traceback" not in errors


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("indegree_in=100000", "indegree_in = 100000 must be at most n_in = 20"),
        ("sigma_degrees=6", "sigma_degrees = 6: Input should be less than or equal to 5"),
    ],
)
def test_a_bad_setting_is_named_as_it_was_written(
    tmp_path: Path, capsys: pytest.CaptureFixture, setting: str, words: str
) -> None:
    assert words in refusal_of(capsys, *run_of("own-activity", tmp_path / "x", "n_in=20", setting))
