"""Every way of learning reaches a synapse about as often as the plain one, whatever the time between two spikes."""

import warnings
from dataclasses import replace

import numpy as np
import paths
import pytest

from pareprop.errors import ParepropWarning
from pareprop.network.model import Model
from pareprop.network.optimizers import Adam, AdamW, GradientDescent, SgdMomentum
from pareprop.neurons import library
from pareprop.neurons.model import NeuronModel
from pareprop.parallel.exchange import Alone
from pareprop.plans.plan import NetworkPlan
from pareprop.runs import benchmark
from pareprop.runs.benchmark import PLAIN, BenchTask

N_STEPS = 600
MOST = 5.0  # times the plain path: arrival, end of its block, steps within a block, two passes of Adam
# all of scripts/paths.py but what follows every step, and delays that learn; more of them at once
USUAL = {name: axes for name, axes in paths.PATHS.items() if axes != PLAIN}
PATHS = {name: axes for name, axes in USUAL.items() if not (axes.each_step or axes.learn_delay)} | {
    "rewired, adaptive": replace(PLAIN, rewire=True, neuron="iaf_psc_delta_adapt"),
    "equations, two filters, drawn delays": replace(PLAIN, neuron="adex", kappa_reg=0.9, longest_delay=15),
}


def count(
    axes: benchmark.Axes, rate: float, cutoff: float = 100.0, n_steps: int = N_STEPS, ways: str | None = None
) -> float:
    """Reached synapses per synaptic event, among 60 neurons whose drawn spikes do not depend on what is learned."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(benchmark, "CUTOFF", cutoff)
        network, task = benchmark.model(60, 20, 2, variant="spike", axes=axes), BenchTask(2, n_steps, 1)
        run = benchmark.build(network, task, Alone(), rate, ways)
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


@pytest.mark.parametrize("path", ["adaptive", "adex", "adam", "delays"])
def test_what_follows_every_step_takes_more(path: str) -> None:
    """Else the test above could not fail."""
    axes = PATHS[path]
    if axes.optimizer == "adam":
        axes = replace(axes, each_step=True)
    assert count(axes, 20.0, np.inf, ways="steps") > 2 * MOST * count(PLAIN, 20.0, np.inf)


def why(
    optimizer=None, signs: bool = False, cutoff: float = np.inf, kind: str | NeuronModel = "iaf", neurons: float = 2
) -> tuple[str, str] | None:
    network = Model("spike", optimizer=optimizer or GradientDescent())
    cells = network.neurons("rec", 2, kind, eprop_isi_trace_cutoff=cutoff)
    port = kind.ports[0] if isinstance(kind, NeuronModel) and len(kind.ports) > 1 else None
    signed = {"sign": "source"} if signs else {}
    projection = network.connect(network.inputs("in", 1), cells, port=port, **signed)
    return NetworkPlan(network).plans[projection.name].why_slow(neurons)


def test_reasons() -> None:
    assert why() is why(kind="iaf_adapt") is why(Adam(optimize_each_step=False)) is why(Adam(), cutoff=8.0) is None
    for reason, found in (
        ("adam steps in each time step", why(Adam())),
        ("bounds -1 and 100 hold in each time step", why(GradientDescent(Wmin=-1.0))),
    ):
        assert found[0] == reason
        assert "optimize_each_step = False" in found[1]
    assert why(SgdMomentum(optimize_each_step=False)) is None
    reason, way = why(AdamW(optimize_each_step=False))
    assert (reason, "adam or sgd_momentum" in way) == ("adamw takes its steps between two arrivals one by one", True)


def test_costly_equations_are_told() -> None:
    """Of many traces that a port reaches, of a tanh in each step; of many neurons on a rank, as measured at 40 Hz.

    500, 2 000 and 5 000 neurons x 100 take 2.8 to 4.8 times the plain path, 10 000 more than 5 but for iaf_psc_exp.
    """
    few = {name: library.get(name) for name in ("adex", "iaf_psc_exp", "iaf_cond_exp", "izhikevich")}
    at_arrivals = GradientDescent(optimize_each_step=False)  # by which signs of conductances cost nothing
    assert why(kind=few["iaf_cond_exp"])[0] == "signs hold in each time step"
    assert all(why(at_arrivals, kind=kind, neurons=5_000) is None for kind in few.values())
    for name, kind in few.items():
        found = why(at_arrivals, kind=kind, neurons=10_000)
        assert (found is None) == (name == "iaf_psc_exp")
        assert found is None or (found[0].startswith("10000 neurons of a rank") and "more ranks" in found[1])
    assert why(neurons=10_000) is why(kind="iaf_adapt", neurons=10_000) is None
    for name, traces in (("glif3", 5), ("resonate_and_fire", 4)):
        reason, way = why(kind=library.get(name))
        assert reason.startswith(f"its synapses have {traces} traces") and "the interval variant" in way
    reason, way = why(kind=library.get("two_compartment"))
    assert reason == "a step of its neurons takes 5 exponentials" and "tanh" in way


def test_a_run_of_many_neurons_is_told() -> None:
    def lines(n: int) -> str:
        network = benchmark.model(n, 2, 2, variant="spike", axes=replace(PLAIN, neuron="izhikevich"))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ParepropWarning)
            return "\n".join(benchmark.build(network, BenchTask(2, 20, 1), Alone()).notices.lines)

    assert "learns over five times slower than it could, as 10000 neurons of a rank" in lines(10_000)
    assert "slower" not in lines(5_000)


@pytest.mark.parametrize(
    ("n", "indegree", "axes", "told"),
    [
        (2000, 100, {"neuron": "iaf_adapt"}, True),  # 29 ns per event, plain 4.1
        (2000, 100, {"optimizer": "adam"}, True),  # 40
        (2000, 1000, {"neuron": "adex"}, True),  # 12.2, plain 1.9
        (2000, 1000, {"neuron": "iaf_adapt"}, False),  # 8.0
        (2000, 1000, {"optimizer": "adam"}, False),  # 9.5
        (2000, 100, {}, False),  # 8.0
    ],
)
def test_short_rows_of_delays_are_told(n: int, indegree: int, axes: dict[str, str], told: bool) -> None:
    """Delays of 1 to 15 steps, where `scripts/paths.py` found arrivals over five times as long as plain ones."""
    model = benchmark.model(n, indegree, 2, variant="spike", axes=replace(PLAIN, longest_delay=15, **axes))
    item = next(item for item in model.projections if item.pre.role == item.post.role == "recurrent")
    found = NetworkPlan(model).plans[item.name].why_slow(float(n))
    assert (found is not None) == told
    assert found is None or (found[0].startswith("delays of 1 to 15 steps leave rows of") and "fewer" in found[1])


def test_a_slow_way_is_told_once() -> None:
    axes = replace(PLAIN, optimizer="adam", each_step=True)
    network = benchmark.model(200, 100, 2, variant="spike", axes=axes)
    with pytest.warns(ParepropWarning, match="over five times slower.*adam steps in each time step") as told:
        benchmark.build(network, BenchTask(2, 20, 1), Alone())
    assert sum("slower" in str(one.message) for one in told) == 1
    quiet = benchmark.build(benchmark.model(200, 100, 2, variant="spike"), BenchTask(2, 20, 1), Alone())
    assert not any("slower" in line for line in quiet.notices.lines)
