"""Every way of learning reaches a synapse about as often as the plain one, whatever the time between two spikes."""

from dataclasses import replace

import numpy as np
import pytest

from pareprop.engines import spike_rules
from pareprop.errors import ParepropWarning
from pareprop.network.model import Model
from pareprop.network.optimizers import Adam, GradientDescent
from pareprop.neurons import library
from pareprop.neurons.model import NeuronModel
from pareprop.parallel.exchange import Alone
from pareprop.runs import benchmark
from pareprop.runs.benchmark import PLAIN, BenchTask

N_STEPS = 600
MOST = 5.0  # times the plain path: arrival, end of its block, steps within a block, two passes of Adam
PATHS = {
    "drawn tau_m": replace(PLAIN, drawn_tau=True),
    "adaptive": replace(PLAIN, neuron="iaf_adapt"),
    "both": replace(PLAIN, neuron="iaf_adapt", drawn_tau=True),
    "equations": replace(PLAIN, neuron="iaf_psc_exp"),
    "kappa_reg": replace(PLAIN, neuron="iaf_adapt", kappa_reg=0.9),
    "adam": replace(PLAIN, optimizer="adam"),
    "rewired": replace(PLAIN, rewire=True, neuron="iaf_psc_delta_adapt"),
}


def count(axes: benchmark.Axes, rate: float, cutoff: float = 100.0, n_steps: int = N_STEPS) -> float:
    """Reached synapses per synaptic event, among 60 neurons whose drawn spikes do not depend on what is learned."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(benchmark, "CUTOFF", cutoff)
        network, task = benchmark.model(60, 20, 2, variant="spike", axes=axes), BenchTask(2, n_steps, 1)
        run = benchmark.build(network, task, Alone(), rate)
    engine, sample = run.engine, task.sample(0)
    engine.run(sample, True)
    engine.optimize()
    return engine.kernel.work / benchmark.count_events(
        run.network.incoming, sample.inputs, engine.get_heard_spikes(), n_steps, True
    )


@pytest.mark.parametrize("path", PATHS)
def test_work_per_event(path: str) -> None:
    for rate in (5.0, 20.0, 40.0):
        for cutoff in (100.0, np.inf):
            assert count(PATHS[path], rate, cutoff) < MOST * count(PLAIN, rate, cutoff), (rate, cutoff)


def test_what_follows_every_step_takes_more() -> None:
    """Else the test above could not fail."""
    each_step = replace(PLAIN, optimizer="adam", each_step=True)
    assert count(each_step, 20.0, np.inf) > 2 * MOST * count(PLAIN, 20.0, np.inf)


def why(
    optimizer=None, signs: bool = False, cutoff: float = np.inf, kind: str | NeuronModel = "iaf"
) -> tuple[str, str] | None:
    network = Model("spike", optimizer=optimizer or GradientDescent())
    cells = network.neurons("rec", 2, kind, eprop_isi_trace_cutoff=cutoff)
    projection = network.connect(network.inputs("in", 1), cells, **({"sign": "source"} if signs else {}))
    return spike_rules.why_slow(network, projection, network.optimizer)


def test_reasons() -> None:
    assert why() is why(kind="iaf_adapt") is why(Adam(optimize_each_step=False)) is why(Adam(), cutoff=8.0) is None
    for reason, found in (
        ("adam steps in each time step", why(Adam())),
        ("bounds -1 and 100 hold in each time step", why(GradientDescent(Wmin=-1.0))),
    ):
        assert found[0] == reason
        assert "optimize_each_step = False" in found[1]


def test_costly_equations_are_told() -> None:
    """Those of few traces take at most six times the usual; of more traces, or a tanh in each step, a line warns."""
    assert all(why(kind=library.get(name)) is None for name in ("adex", "iaf_psc_exp", "iaf_cond_exp", "izhikevich"))
    for name, traces in (("glif3", 7), ("resonate_and_fire", 4)):
        reason, way = why(kind=library.get(name))
        assert reason.startswith(f"its synapses have {traces} traces") and "the interval variant" in way
    reason, way = why(kind=library.get("two_compartment"))
    assert reason == "a step of its neurons takes 5 exponentials" and "tanh" in way


def test_a_slow_way_is_told_once() -> None:
    axes = replace(PLAIN, optimizer="adam", each_step=True)
    network = benchmark.model(200, 100, 2, variant="spike", axes=axes)
    with pytest.warns(ParepropWarning, match="over five times slower.*adam steps in each time step") as told:
        benchmark.build(network, BenchTask(2, 20, 1), Alone())
    assert sum("slower" in str(one.message) for one in told) == 1
    quiet = benchmark.build(benchmark.model(200, 100, 2, variant="spike"), BenchTask(2, 20, 1), Alone())
    assert not any("slower" in line for line in quiet.notices.lines)
