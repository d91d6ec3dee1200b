"""Every algorithm reaches a synapse about as often as the plain one, whatever the time between two spikes."""

import warnings

import numpy as np
import paths
import pytest
from small import silence

from pareprop.algorithms.choice import choose_algorithms
from pareprop.errors import ParepropWarning
from pareprop.network.model import Model
from pareprop.network.optimizers import Adam, AdamW, GradientDescent, Optimizer, SgdMomentum
from pareprop.neurons import library
from pareprop.parallel.exchange import Alone
from pareprop.rules import library as rules_library
from pareprop.rules.definition import Eprop
from pareprop.runs import benchmark
from pareprop.runs.benchmark import Bench
from pareprop.simulation.loop import Simulation

N_STEPS = 600
MOST = 5.0  # times the plain path: arrival, end of its block, steps within a block, two passes of Adam
# all of scripts/paths.py but what follows every step, and delays that learn; more of them at once
PATHS = {
    name: given for name, given in paths.PATHS.items() if given and not {"each_step", "learn_delay"} & {*given}
} | {
    "rewired, adaptive": {"rewire": True, "neuron": "iaf_psc_delta_adapt"},
    "equations, two filters, drawn delays": {"neuron": "adex", "kappa_reg": 0.9, "longest_delay": 15},
}


def count(
    given: dict, rate: float, cutoff: float = 100.0, n_steps: int = N_STEPS, algorithms: str | None = None
) -> float:
    """Reached synapses per synaptic event, among 60 neurons whose drawn spikes do not depend on what is learned."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(benchmark, "CUTOFF", cutoff)
        bench = Bench(neurons=60, indegree=20, inputs=2, steps=n_steps, variant="spike", **given)
        task = bench.make_task()
        run = benchmark.build_simulation(bench.build_model(), task, Alone(), rate, algorithms)
    engine, sample = run.engine, task.sample(0)
    engine.run(sample, True)
    engine.step_optimizers()
    return engine.kernel.work / benchmark.count_events(
        run.network.incoming, sample.inputs, engine.get_received_spikes(), n_steps, True
    )


@pytest.mark.parametrize("path", PATHS)
def test_work_per_event(path: str) -> None:
    for rate in (5.0, 20.0, 40.0):
        for cutoff in (100.0, np.inf):
            assert count(PATHS[path], rate, cutoff) < MOST * count({}, rate, cutoff), (rate, cutoff)


@pytest.mark.parametrize("path", ["adaptive", "adex", "adam", "delays"])
def test_what_follows_every_step_takes_more(path: str) -> None:
    """Else the test above could not fail."""
    steps = {"each_step": True} if path == "adam" else {}
    assert count(PATHS[path] | steps, 20.0, np.inf, algorithms="steps") > 2 * MOST * count({}, 20.0, np.inf)


RULE = rules_library.get_definition("pair_stdp")


@pytest.mark.parametrize(
    ("optimizer", "options", "reason"),
    [
        (Adam(), {}, "adam steps in each time step"),
        (SgdMomentum(), {"kind": library.get_definition("adex")}, "sgd_momentum steps in each time step"),
        (AdamW(), {"cutoff": 8.0}, "adamw steps in each time step"),
        (Adam(), {"rule": RULE}, "adam steps in each time step"),
        (GradientDescent(Wmin=-1.0), {"rule": RULE}, "bounds -1 and 100 hold in each time step"),
        (GradientDescent(), {"sign": 1}, "signs hold in each time step"),
        (GradientDescent(), {}, None),
        (GradientDescent(), {"rule": RULE}, None),
        (Adam(batch_size=2), {}, None),
        (Adam(optimize_each_step=False), {}, None),
        (AdamW(optimize_each_step=False), {"kind": library.get_definition("glif3")}, None),
        (GradientDescent(Wmin=-1.0, optimize_each_step=False), {"rule": RULE}, None),
        (Adam(), {"cutoff": 1.0}, None),  # these synapses follow each step anyhow
        (Adam(), {"rule": Eprop(through="no own spike")}, None),
    ],
)
def test_each_step_is_reported_where_arrivals_would_do(optimizer: Optimizer, options: dict, reason: str | None) -> None:
    """By the algorithm that is chosen, and the one that optimize_each_step = False would choose."""
    chosen = []
    for each_step in (True, False):
        changed = optimizer.model_copy(update={"optimize_each_step": each_step and optimizer.optimize_each_step})
        model = Model("spike", optimizer=changed)
        cells = model.neurons(
            "rec", 2, options.get("kind", "iaf"), eprop_isi_trace_cutoff=options.get("cutoff", np.inf)
        )
        more = {"sign": options["sign"]} if "sign" in options else {}
        port = cells.ports[0] if len(cells.ports) > 1 else None
        model.connect(model.inputs("in", 1), cells, port=port, learning_rule=options.get("rule", "eprop"), **more)
        plan = choose_algorithms(model).plans["in->rec"]
        chosen.append((plan.algorithm.name, plan.algorithm.code_of(plan.request)))
        if each_step:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ParepropWarning)
                lines = [line for line in Simulation(model, silence(20)).notices.lines if "optimize_each_step" in line]
    assert bool(lines) == bool(reason)
    if reason:
        assert chosen[0] != chosen[1]
        same = optimizer.accumulates
        assert lines == [
            f"'in->rec': synapses take each time step one by one, as {reason}; optimize_each_step = False is faster: "
            + ("weights are the same unless one meets a bound" if same else "it steps at arrivals, to other weights")
        ]


def test_each_step_is_reported_once() -> None:
    sizes = {"neurons": 200, "indegree": 100, "inputs": 2, "steps": 20, "variant": "spike"}
    bench, plain = Bench(**sizes, optimizer="adam", each_step=True), Bench(**sizes)
    with pytest.warns(ParepropWarning, match="optimize_each_step = False is faster") as told:
        benchmark.build_simulation(bench.build_model(), bench.make_task(), Alone())
    assert sum("is faster" in str(one.message) for one in told) == 1
    quiet = benchmark.build_simulation(plain.build_model(), plain.make_task(), Alone())
    assert not any("is faster" in line for line in quiet.notices.lines)
