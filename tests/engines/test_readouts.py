"""Populations of readouts with parameters of their own: together they do what each does alone."""

import numpy as np
import pytest
import small

from pareprop import GradientDescent, InputError, Model, Normal, Sample, Simulation

STEPS = 150
SLOW = {"C_m": 1.0, "tau_m": 30.0, "E_L": 2.0, "I_e": 0.03}
FAST = {"C_m": 2.0, "tau_m": 8.0, "V_min": -0.4}
KINDS = {"slow": (2, SLOW), "fast": (3, FAST)}
ALL = tuple(KINDS)


class Noise:
    """Random inputs, and targets of which each readout has its column, whoever else is there."""

    n_steps = learning_window = STEPS

    def __init__(self, names: tuple[str, ...]) -> None:
        starts = {"slow": 0, "fast": 2}
        self._columns = np.concatenate([starts[name] + np.arange(KINDS[name][0]) for name in names])

    def sample(self, index: int, phase: str = "train") -> Sample:
        draw = np.random.default_rng(index)
        raster, target = draw.random((STEPS, 8)) < 0.15, draw.normal(size=(STEPS, 5))
        return Sample.from_raster(raster, target[:, self._columns])


def simulate(variant: str, names: tuple[str, ...], plastic: bool, eta: float, n: int = 3) -> Simulation:
    """Train a network with the readouts `names`; with all, weights are those of the networks with one alone."""
    model = Model(variant, seed=3, optimizer=GradientDescent(eta=eta, Wmin=-1e9, Wmax=1e9))
    inputs, weights = model.inputs("in", 8), np.random.default_rng(1)
    own = {"kappa": 0.9, "kappa_reg": 0.9} if variant == "spike" else {}
    cells = model.neurons("rec", 20, "iaf", C_m=1.0, E_L=0.0, V_th=0.6, tau_m=20.0, t_ref=2.0, c_reg=0.0, **own)
    model.connect(inputs, cells, weight=Normal(std=0.8), plastic=plastic)
    drawn = {
        name: (weights.normal(0, 0.1, (size, 20)), weights.normal(0, 0.3, (20, size)))
        for name, (size, _) in KINDS.items()
    }
    for name in names:
        size, values = KINDS[name]
        out = model.readouts(name, size, **values)
        for pre, post, matrix in ((cells, out, drawn[name][0]), (out, cells, drawn[name][1])):
            target, source = np.nonzero(matrix)
            model.connect(pre, post, "explicit", source=source, target=target, weight=matrix[target, source])
    run = Simulation(model, Noise(names))
    run.train(n)
    if model.eprop.is_online:
        run.engine.flush_synapses()
    return run


def weights(run: Simulation, name: str) -> np.ndarray:
    """Weights of the synapses onto neurons, or onto readouts `name`, by source and target."""
    table = run.network.incoming if name == "rec" else run.network.outgoing
    span = next(span for span in table.spans if span.projection.post.name == name)
    parts = [(source, target, table.weight[index]) for source, target, _, index in table.yield_chunks(span)]
    source, target, weight = (np.concatenate(column) for column in zip(*parts, strict=True))
    return weight[np.lexsort((target, source))]


@pytest.mark.parametrize("variant", ["interval", "spike"])
def test_readouts_learn_as_if_alone(variant: str) -> None:
    """Onto readouts: the neurons' spikes do not depend on them where inputs do not learn.

    In the spike variant sums of errors have blocks whose length all readouts share, so the last bits differ.
    """
    rtol = 0.0 if variant == "interval" else 1e-10
    together = simulate(variant, ALL, False, 1e-5)
    signal = together.engine.show_signal()
    for name, columns in (("slow", slice(0, 2)), ("fast", slice(2, 5))):
        alone = simulate(variant, (name,), False, 1e-5)
        assert alone.engine.n_spikes > 20
        np.testing.assert_allclose(signal[:, columns], alone.engine.show_signal(), rtol=rtol, atol=1e-3 * rtol)
        np.testing.assert_allclose(weights(together, name), weights(alone, name), rtol=rtol, atol=1e-3 * rtol)
    assert np.any(weights(together, "fast") != weights(simulate(variant, ("fast",), False, 0.0), "fast"))


@pytest.mark.parametrize("variant", ["interval", "spike"])
def test_learning_signals_add_up(variant: str) -> None:
    """Weights of inputs change by the sum of what each population of readouts changes them."""
    before = weights(simulate(variant, ALL, True, 0.0), "rec")
    change = {
        names: weights(simulate(variant, names, True, 1e-9, n=1), "rec") - before
        for names in (ALL, ("slow",), ("fast",))
    }
    largest = np.abs(change[ALL]).max()
    assert largest > 1e-10 and np.abs(change["fast",]).max() > 0.1 * largest
    np.testing.assert_allclose(change["slow",] + change["fast",], change[ALL], rtol=0, atol=1e-5 * largest)


def test_different_losses_are_refused() -> None:
    model = Model("interval")
    model.neurons("rec", 1)
    for name, loss in (("a", "cross_entropy"), ("b", "mean_squared_error")):
        model.readouts(name, 2, loss=loss)
    told = "must have one loss, not 'cross_entropy' of 'a' and 'mean_squared_error' of 'b'"
    with pytest.raises(InputError, match=told):
        Simulation(model, Noise(("slow",)))


def test_readouts_that_hardly_forget() -> None:
    """A decay that rounds to 1 leaves gradients of 0 times the traces, not NaN."""
    rule = GradientDescent(eta=1e-3)
    model = small.network(n_in=8, n=5, n_out=2, out={"tau_m": 1e20}, into=0.8, optimizer=rule)
    run = Simulation(model, Noise(("slow",)))
    run.train(1)
    assert run.engine.n_spikes > 5 and np.all(np.isfinite(weights(run, "rec")))
