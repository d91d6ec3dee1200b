"""Delays that differ within a projection, against a projection for each delay, which are delivered one by one."""

import numpy as np
import pytest
from networks import CaseTask

from pareprop import GradientDescent, Model
from pareprop.engines.interval import IntervalSettings
from pareprop.network import synapse_table
from pareprop.parallel.exchange import Exchange
from pareprop.simulation import Simulation

N_IN, N, N_STEPS = 5, 60, 40


def synapses(n_sources: int, delays: list[int], seed: int) -> tuple[np.ndarray, ...]:
    """Source, target, weight and delay; source 0 reaches each target many times, others some of them, the last none."""
    rng = np.random.default_rng(seed)
    source = np.concatenate([np.zeros(12 * N, int), rng.integers(1, n_sources - 1, 6 * N)])
    target = np.concatenate([np.repeat(np.arange(N), 12), rng.integers(0, N, 6 * N)])
    return source, target, rng.normal(0.0, 6.0, len(source)) / 12, rng.choice(delays, len(source))


def network(apart: bool, delays: list[int], plastic: bool) -> Model:
    model = Model("interval", optimizer=GradientDescent(eta=1e-3))
    inputs, out = model.inputs("in", N_IN), model.readouts("out", 2)
    neurons = model.neurons("rec", N, C_m=1.0, E_L=0.0, V_th=1.0, tau_m=20.0, t_ref=2.0)
    for pre, seed in ((inputs, 1), (neurons, 2)):
        source, target, weight, delay = synapses(pre.size, delays, seed)
        for k, part in enumerate([delay == d for d in delays] if apart else [delay > 0]):
            model.connect(
                pre,
                neurons,
                "explicit",
                source=source[part],
                target=target[part],
                weight=weight[part],
                delay=delay[part],
                plastic=plastic,
                name=f"{pre.name}{k}",
            )
    model.connect(neurons, out, "all_to_all", weight=0.1)
    model.connect(out, neurons, "all_to_all", weight=1.0)
    return model


def run(model: Model, exchange: Exchange | None = None) -> tuple[Simulation, np.ndarray]:
    """Three samples; synapses by role of the source, source, target, delay, and their weights afterwards."""
    rng = np.random.default_rng(3)
    inputs = rng.random((3 * N_STEPS, N_IN)) < 0.2
    inputs[::N_STEPS] = True  # what would arrive in step 0
    targets = rng.normal(size=(3 * N_STEPS, 2))
    case = {"interval": N_STEPS, "learning_window": N_STEPS, "inputs": inputs, "targets": targets}
    simulation = Simulation(model, CaseTask(case), exchange, settings=IntervalSettings(N_STEPS))
    simulation.train(3)
    table, found = simulation.network.incoming, []
    for span in table.spans:
        for source, target, delay, index in table.chunks(span):
            pre = np.full(len(index), span.projection.pre.role == "input")
            found.append(np.stack([pre, source, target, delay, table.weight[index]]))
    columns = np.concatenate(found, axis=1)
    return simulation, columns[:, np.lexsort(columns[3::-1])]


@pytest.mark.parametrize("indexed", [False, True])
@pytest.mark.parametrize(
    ("delays", "plastic"), [([1, 2, 3, 5, 9], True), ([2, 4], False), ([1, 3, 300], True)],
    ids=["plastic", "fixed", "too far apart"],
)  # fmt: skip
def test_delays_of_a_projection_act_as_those_of_several(
    delays: list[int], plastic: bool, indexed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if indexed:
        monkeypatch.setattr(synapse_table, "pays_index", lambda synapses, n_rows: True)
    together, synapses = run(network(False, delays, plastic))
    apart, expected = run(network(True, delays, plastic))
    assert len(together.network.incoming.spans) == 2 and len(apart.network.incoming.spans) == 2 * len(delays)
    assert (together.network.incoming.spans[0].bits is not None) == indexed
    own, other = together.engine.channel.own, apart.engine.channel.own
    assert other.ptr[-1] > N
    np.testing.assert_array_equal(own.ids[: own.ptr[-1]], other.ids[: other.ptr[-1]])
    np.testing.assert_array_equal(synapses[:4], expected[:4])
    np.testing.assert_allclose(synapses[4], expected[4], rtol=1e-11, atol=1e-13)
    assert np.any(np.abs(synapses[4] - start(delays)) > 1e-4) == plastic


def start(delays: list[int]) -> np.ndarray:
    """The weights before, in the same order."""
    found = []
    for role, n_sources, seed in ((True, N_IN, 1), (False, N, 2)):
        source, target, weight, delay = synapses(n_sources, delays, seed)
        found.append(np.stack([np.full(len(source), role), source, target, delay, weight]))
    columns = np.concatenate(found, axis=1)
    return columns[4, np.lexsort(columns[3::-1])]
