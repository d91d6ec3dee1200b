"""Delays that differ within a projection, against a projection for each delay, which are delivered one by one."""

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import ranks
from networks import CaseTask

import pareprop
from pareprop import GradientDescent, Model
from pareprop.algorithms.prefix import arrays as prefix_arrays
from pareprop.engines import footprint
from pareprop.engines.interval import IntervalSettings
from pareprop.engines.spike import Spike, SpikeSettings
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


def network(
    apart: bool,
    delays: list[int],
    plastic: bool,
    variant: str = "interval",
    ports: tuple[str | None, ...] = (None, None),
    cutoff: float | None = None,
    signed: bool = False,
    precision: Literal["double", "single"] = "double",
) -> Model:
    """`ports`: of neurons with two of them, for inputs and for neurons; `signed`: inputs excite, and go on to."""
    model = Model(variant, optimizer=GradientDescent(eta=1e-3), precision=precision)
    inputs, out = model.inputs("in", N_IN), model.readouts("out", 2)
    kind, more = ("iaf", {}) if ports == (None, None) else ("iaf_psc_exp", {"V_reset": 0.0})
    if cutoff is not None:
        more["eprop_isi_trace_cutoff"] = cutoff
    neurons = model.neurons("rec", N, kind, C_m=1.0, E_L=0.0, V_th=1.0, tau_m=20.0, t_ref=2.0, **more)
    for pre, seed, port in ((inputs, 1, ports[0]), (neurons, 2, ports[1])):
        source, target, weight, delay = synapses(pre.size, delays, seed)
        keeps = signed and pre is inputs
        weight = np.abs(weight) if keeps else weight
        for k, part in enumerate([delay == d for d in delays] if apart else [delay > 0]):
            columns = {"source": source, "target": target, "weight": weight, "delay": delay}
            own = {"plastic": plastic, "keep_signs": keeps, "port": port, "name": f"{pre.name}{k}"}
            model.connect(pre, neurons, "explicit", **{key: of[part] for key, of in columns.items()}, **own)
    model.connect(neurons, out, "all_to_all", weight=0.1)
    model.connect(out, neurons, "all_to_all", weight=1.0)
    return model


def task(n_steps: int = N_STEPS) -> CaseTask:
    rng = np.random.default_rng(3)
    inputs = rng.random((3 * N_STEPS, N_IN)) < 0.2
    inputs[::N_STEPS] = True  # what would arrive in step 0
    targets = rng.normal(size=(3 * N_STEPS, 2))
    return CaseTask({"interval": n_steps, "learning_window": n_steps, "inputs": inputs, "targets": targets})


def run(model: Model, exchange: Exchange | None = None) -> tuple[Simulation, np.ndarray]:
    """Three samples; synapses by role of the source, source, target, delay, and their weights afterwards."""
    simulation = Simulation(model, task(), exchange, settings=IntervalSettings(N_STEPS))
    simulation.train(3)
    return simulation, weights_of(simulation)


def train_at(simulation: Simulation, late: bool) -> None:
    """Three samples; `late`: learning rates change before each of them, and act as under `pareprop nest`."""
    engine = simulation.engine
    assert isinstance(engine, Spike)
    for sample in range(3):
        if late:
            for item in engine.plastic:
                item.eta = (1e-3, 3e-3, 2e-4)[sample]
            engine.delay_rates({item.name: 1e-3 for item in engine.plastic})
        simulation.run_sample(sample, "train", learn=True)


def weights_of(simulation: Simulation) -> np.ndarray:
    """Columns as of `run`."""
    table, found = simulation.network.incoming, []
    for span in table.spans:
        for source, target, delay, index in table.yield_chunks(span):
            pre = np.full(len(index), span.projection.pre.role == "input")
            found.append(np.stack([pre, source, target, delay, table.weight[index]]))
    columns = np.concatenate(found, axis=1)
    return columns[:, np.lexsort(columns[3::-1])]


@pytest.mark.parametrize("indexed", [False, True])
@pytest.mark.parametrize(
    ("delays", "plastic"),
    [([1, 2, 3, 5, 9], True), ([2, 4], False), ([1, 3, 300], True)],
    ids=["plastic", "fixed", "too far apart"],
)
def test_delays_of_a_projection_act_as_those_of_several(
    delays: list[int], plastic: bool, indexed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if indexed:
        monkeypatch.setattr(synapse_table, "pays_index", lambda synapses, n_rows: True)
    together, synapses = run(network(False, delays, plastic))
    apart, expected = run(network(True, delays, plastic))
    assert len(together.network.incoming.spans) == 2 and len(apart.network.incoming.spans) == 2 * len(delays)
    assert (together.network.incoming.spans[0].bits is not None) == indexed
    own, other = together.engine.channel.own_spikes, apart.engine.channel.own_spikes
    assert other.ptr[-1] > N
    np.testing.assert_array_equal(own.ids[: own.ptr[-1]], other.ids[: other.ptr[-1]])
    np.testing.assert_array_equal(synapses[:4], expected[:4])
    np.testing.assert_allclose(synapses[4], expected[4], rtol=1e-11, atol=1e-13)
    assert np.any(np.abs(synapses[4] - start(delays)) > 1e-4) == plastic


@pytest.mark.parametrize("ports", [("exc", "inh"), ("inh", "exc")])
@pytest.mark.parametrize("variant", ["interval", "spike"])
def test_each_port_has_its_own_spikes(variant: str, ports: tuple[str, str]) -> None:
    """Those of a projection whose delays differ arrive at its port."""
    logs = []
    for apart in (False, True):
        settings = (IntervalSettings if variant == "interval" else SpikeSettings)(N_STEPS)
        made = network(apart, [1, 2, 3, 5, 9], False, variant, ports)
        simulation = Simulation(made, task(), settings=settings)
        simulation.train(1)
        log = simulation.engine.channel.own_spikes if variant == "interval" else simulation.engine.log
        logs.append((log.ptr.tolist(), log.ids[: log.ptr[-1]].tolist()))
    assert logs[0] == logs[1] and len(logs[0][1]) > N


def start(delays: list[int]) -> np.ndarray:
    """The weights before, in the same order."""
    found = []
    for role, n_sources, seed in ((True, N_IN, 1), (False, N, 2)):
        source, target, weight, delay = synapses(n_sources, delays, seed)
        found.append(np.stack([np.full(len(source), role), source, target, delay, weight]))
    columns = np.concatenate(found, axis=1)
    return columns[4, np.lexsort(columns[3::-1])]


def spikes_of_static(apart: bool, n_steps: int, delays: list[int]) -> list[tuple[int, int]]:
    """Step and id of the spikes of 120 steps in samples of `n_steps` that follow each other; readouts alone learn."""
    simulation = Simulation(network(apart, delays, False, "spike"), task(n_steps), settings=SpikeSettings(n_steps))
    found: list[tuple[int, int]] = []
    for index in range(3 * N_STEPS // n_steps):
        simulation.run_sample(index, "train", learn=True)
        log = simulation.engine.log
        steps = np.repeat(np.arange(n_steps), np.diff(log.ptr)) + index * n_steps
        found += zip(steps.tolist(), log.ids[: log.ptr[-1]].tolist(), strict=True)
    return found


@pytest.mark.parametrize("n_steps", [40, 3])
def test_delays_of_static_synapses_in_the_spike_variant(n_steps: int) -> None:
    """Spikes in flight between samples arrive, also where a sample is shorter than the delays."""
    delays = [1, 2, 3, 5, 9]
    apart = spikes_of_static(True, 40, delays)
    assert len(apart) > 3 * N
    assert spikes_of_static(False, n_steps, delays) == apart


def train(folder: str, words: list[str], exchange: Exchange) -> None:
    """Six samples, or the last three of them after a restart: a line with the digest."""
    n, restart = int(words[0]), len(words) > 1
    done = pareprop.run(
        network(False, [1, 2, 3, 5, 9], False, "spike"),
        task(4),
        Path(folder) / "run",
        exchange=exchange,
        iterations=n,
        test_samples=0,
        figures="none",
        quiet=True,
        restart=restart,
    )
    if exchange.rank == 0:
        print(f"digest: {done.digest}")


@pytest.mark.slow
def test_one_digest_with_spikes_in_flight(tmp_path: Path) -> None:
    """On 1, 2, 3 ranks, and after a restart on another number, while spikes are on their way."""
    whole = {n: ranks.digests(n, __file__, tmp_path / f"{n}", "6") for n in (1, 2, 3)}
    assert len({tuple(found.items()) for found in whole.values()}) == 1
    ranks.digests(2, __file__, tmp_path / "parts", "3")
    assert ranks.digests(3, __file__, tmp_path / "parts", "6", "on") == whole[1]


@pytest.mark.parametrize(
    ("variant", "plastic", "slots"), [("interval", True, 3), ("spike", False, 3), ("spike", True, 0)]
)
def test_the_estimate_knows_the_ring(variant: str, plastic: bool, slots: int) -> None:
    """Delays of 2 to 4 steps take three sums for each neuron."""
    model = network(False, [2, 4], plastic, variant)
    parts = footprint.list_parts(model, N_STEPS, 0, N)
    assert parts[f"buffer of later arrivals at {N} neurons"] == slots * N * 8


@pytest.mark.parametrize("precision", ["double", "single"])
@pytest.mark.parametrize("few_cells", [16384, 0], ids=["cached", "wide"])
@pytest.mark.parametrize(("cutoff", "signed", "late"), [(np.inf, False, True), (3.0, False, False), (11.0, True, True)])
def test_rows_of_a_source_learn_as_those_of_several_projections(
    precision: Literal["double", "single"],
    few_cells: int,
    cutoff: float,
    signed: bool,
    late: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Bit by bit: rows that are empty, short and long, with repeated targets, whatever lies between two arrivals."""
    monkeypatch.setattr(prefix_arrays, "FEW_CELLS", few_cells)
    found = []
    for apart in (False, True):
        delays = [1, 2, 3, 5, 9]
        model = network(apart, delays, True, "spike", cutoff=cutoff, signed=signed, precision=precision)
        simulation = Simulation(model, task(), settings=SpikeSettings(N_STEPS))
        train_at(simulation, late)
        found.append(weights_of(simulation))
        assert simulation.engine.channel.own_spikes.ptr.max() > N / 2
    np.testing.assert_array_equal(found[0], found[1])
    assert not np.array_equal(found[0][4], start(delays))
