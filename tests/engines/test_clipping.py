"""`max_norm`: the gradient of all weights together is scaled down, the same on any ranks and replicas."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import ranks
import small

import pareprop
from pareprop import Adam, GradientDescent, InputError, Model, Simulation
from pareprop.parallel.exact_sums import find_norm
from pareprop.plots import loss
from pareprop.storage.opened import RunResults

TASK = small.Noise(np.ones((60, 2)), 10, 0.3)
NAMES = ("in->rec", "rec->rec", "rec->out")
ETA = {"in->rec": 1e-3, "rec->rec": 1e-3, "rec->out": 2e-3}  # the readouts have an optimizer of their own


def network(max_norm: float | None, batch_size: int = 2, **options: Any) -> Model:
    optimizer = GradientDescent(eta=1e-3, batch_size=batch_size, max_norm=max_norm)
    model = Model("interval", seed=3, optimizer=optimizer, **options)
    inputs, rec = model.inputs("in", 10), model.neurons("rec", 20, **small.CELL)
    out = model.readouts("out", 2, **small.READOUT)
    model.connect(inputs, rec, weight=pareprop.Normal(std=0.5))
    model.connect(rec, rec, "fixed_indegree", indegree=5, weight=pareprop.Normal(std=0.2))
    model.connect(rec, out, weight=pareprop.Normal(std=0.1), optimizer=GradientDescent(eta=2e-3))
    model.connect(out, rec, weight=pareprop.Normal(std=0.3))
    return model


def change(max_norm: float | None, batch_size: int) -> np.ndarray:
    """What one step takes from the weights, over the learning rates: the gradient."""
    simulation = Simulation(network(max_norm, batch_size), TASK)
    before = {name: simulation.weights(name)["weight"] for name in NAMES}
    simulation.train(1)
    parts = [(before[name] - simulation.weights(name)["weight"]) / ETA[name] for name in NAMES]
    return np.concatenate(parts)


@pytest.mark.parametrize("batch_size", [1, 2])
def test_the_norm_of_all_weights_is_kept(batch_size: int) -> None:
    whole = change(None, batch_size)
    norm = np.linalg.norm(whole)
    assert norm > 1.0
    np.testing.assert_allclose(change(0.5 * norm, batch_size), 0.5 * whole, rtol=1e-6, atol=1e-9 * norm)
    np.testing.assert_allclose(change(2.0 * norm, batch_size), whole, rtol=1e-9, atol=1e-9 * norm)


def test_a_run_tells_the_norms(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Of all iterations, also of those before a resume, in its last lines, `loss.csv`, `results.h5` and the figure."""
    first = float(np.linalg.norm(change(None, 2)))
    simulation = Simulation(network(1e9), TASK)
    simulation.train(4)
    norms = simulation.gradient_norms
    assert len(norms) == 4 and norms[0] == pytest.approx(first, rel=1e-6)
    between = f"norms {min(norms):.3g} to {max(norms):.3g}, median {np.median(norms):.3g}"
    for until in (3, None):
        done = pareprop.run(network(1e9), TASK, tmp_path / "run", iterations=4, until=until, restart=True)
    assert f"gradients: 0 of 4 were above max_norm = 1e+09 and scaled down; {between}\n" in capsys.readouterr().out
    assert done.simulation.gradient_norms == norms == RunResults(tmp_path / "run").losses["gradient_norm"].tolist()
    rows = np.genfromtxt(tmp_path / "run" / "loss.csv", delimiter=",", names=True)
    np.testing.assert_allclose(rows["gradient_norm"], norms, rtol=1e-8)
    with h5py.File(tmp_path / "run" / "results.h5") as file:
        axes = loss.draw_figure(file).axes
        assert [ax.get_ylabel() for ax in axes] == ["loss", "firing rate (Hz)", "norm of\nthe gradient"]
        assert np.array_equal(axes[2].lines[0].get_ydata(), norms) and len(axes[2].lines) == 1
    done = pareprop.run(network(0.5 * min(norms)), TASK, tmp_path / "other", iterations=2)
    assert "gradients: 2 of 2 were above max_norm = " in capsys.readouterr().out
    with h5py.File(tmp_path / "other" / "results.h5") as file:
        assert loss.draw_figure(file).axes[2].lines[1].get_ydata()[0] == 0.5 * min(norms)


def test_without_a_bound_no_norm_is_found(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    done = pareprop.run(network(None), TASK, tmp_path / "run", iterations=2, figures="none")
    assert done.simulation.gradient_norms == [] and "gradient_norm" not in RunResults(tmp_path / "run").losses
    assert "gradient_norm" not in (tmp_path / "run" / "loss.csv").read_text()
    assert "gradients:" not in capsys.readouterr().out


def test_norms_are_sums_of_squares() -> None:
    draws = np.random.default_rng(3).normal(size=3000) * 10.0 ** np.random.default_rng(4).integers(-9, 9, 3000)
    parts = [(draws[:1000], 4.0), (draws[1000:], 0.5), (draws[:0], 1.0)]
    wanted = np.linalg.norm(np.concatenate([draws[:1000] / 4.0, draws[1000:] / 0.5]))
    assert find_norm(None, parts) == pytest.approx(wanted, rel=1e-10)
    assert find_norm(None, [(np.zeros(3), 1.0)]) == 0.0
    assert np.isnan(find_norm(None, [(np.array([1.0, np.nan]), 1.0), (np.array([np.inf]), 1.0)]))


def train(folder: str, words: list[str], exchange: Any) -> None:
    done = pareprop.run(
        network(0.5, 4),
        TASK,
        Path(folder) / "run",
        iterations=3,
        exchange=exchange,
        figures="none",
        quiet=True,
        overwrite=True,
        replicas=2 if words else 1,
    )
    if exchange.rank == 0:
        print(f"digest: {done.digest}")


def test_one_digest_on_any_ranks_and_replicas(tmp_path: Path) -> None:
    whole = ranks.digests(1, __file__, tmp_path / "1")
    assert ranks.digests(3, __file__, tmp_path / "3") == whole
    assert ranks.digests(2, __file__, tmp_path / "2", "replicas") == whole


def test_where_it_does_not_go() -> None:
    with pytest.raises(InputError, match=r"optimizer: max_norm = 1 does not go with the spike variant: each synapse"):
        Model("spike", optimizer=Adam(max_norm=1.0))
    model = Model("interval", optimizer=Adam())
    inputs, rec = model.inputs("in", 2), model.neurons("rec", 2)
    with pytest.raises(
        InputError, match="max_norm = 1 is of all weights together: give it to the optimizer of the model"
    ):
        model.connect(inputs, rec, weight=0.1, optimizer=Adam(max_norm=1.0))
    with pytest.raises(InputError, match=r"max_norm = 1\.0 is for weights, not for parameters"):
        model.neurons("more", 2, learn={"tau_m": Adam(low=1.0, high=9.0, max_norm=1.0)})
    with pytest.raises(InputError, match="max_norm"):
        Adam(max_norm=0.0)
