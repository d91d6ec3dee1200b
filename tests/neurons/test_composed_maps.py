"""Composed maps of steps of neurons given by equations change weights as following every step does (spike variant)."""

import numpy as np
import pytest
import small
import spike_networks
from corridor import CorridorTask
from params import first

from pareprop.algorithms.scan.arrays import MAP_NUMBERS
from pareprop.errors import InputError
from pareprop.kernels import layout
from pareprop.network.model import Model
from pareprop.network.optimizers import Adam, GradientDescent
from pareprop.network.parameters import Normal, Uniform
from pareprop.network.reward import Reward
from pareprop.network.rewire import Rewire
from pareprop.neurons import built_in, library
from pareprop.neurons.compile import Part, compile_model
from pareprop.neurons.composed_maps import ComposedMaps
from pareprop.neurons.generate import Generator
from pareprop.neurons.model import NeuronModel
from pareprop.simulation.loop import Simulation

DESCENT = GradientDescent(eta=1e-4, Wmin=-1e4, Wmax=1e4)
AT_ARRIVALS = GradientDescent(
    eta=1e-4, Wmin=-1e4, Wmax=1e4, optimize_each_step=False
)  # signs of conductances hold there
# all entries of J, U, v, h and R vary, a followed state is reset, and a state counts that e reads nowhere
DENSE = NeuronModel(
    "dense",
    ports=["exc", "inh"],
    follow=["V_m", "w"],
    parameters={"tau": [12.0, "ms"], "g": 0.3, "V_th": [1.0, "mV"]},
    states={"V_m": [0.0, "mV"], "w": 0.0, "s": 0.0, "count": 0.0},
    step={
        "V_m": "V_m + dt/tau*(s*(2 - V_m) - w - V_m + I) - 0.2*z + 0.01*inh",
        "w": "0.9*w + g*V_m*0.1 + 0.05*z",
        "s": "0.8*s + exc*(0.01 + 0.001*w*w)",
        "count": "count + z",
    },
    reset={"V_m": "0.1*V_m", "w": "w + 0.2*V_m"},
    spike="V_m + 0.1*w - V_th",
)
# dynamics that are integrated in parts of a step: J of V_m and w is a product, that of s a constant
IN_PARTS = NeuronModel(
    "in_parts",
    ports=["exc", "inh"],
    follow=["V_m", "w"],
    parameters={"tau": [12.0, "ms"], "tau_s": [5.0, "ms"], "V_th": [1.0, "mV"]},
    states={"V_m": [0.0, "mV"], "w": 0.0, "s": 0.0},
    dynamics={
        "V_m": "(s*(2 - V_m) - w - V_m + 0.004*I)/tau - 0.2*z",
        "w": "0.03*V_m*exp(-V_m*V_m) - 0.1*w",
        "s": "-s/tau_s",
    },
    jumps={"V_m": "0.01*inh", "s": "0.01*exc"},
    integrator="exponential_euler",
    substeps=4,
    reset={"V_m": "0.1*V_m", "w": "w + 0.2*V_m"},
    spike="V_m + 0.1*w - V_th",
)
CASES = {
    "iaf_psc_exp": {"cells": ["iaf_psc_exp"]},
    "dense": {"cells": [DENSE]},
    "substeps": {"cells": [IN_PARTS], "cutoff": 20.0, "rate": 0.02},
    "models of a kind and of the package": {"cells": ["adex", "iaf_psc_exp", "iaf"]},
    "lag": {"cells": ["adex", DENSE], "out_delay": 3, "back_delay": 2},
    "two filters": {"cells": [DENSE, "iaf_psc_exp"], "kappa_reg": 0.9, "c_reg": 5.0},
    "cutoff": {"cells": [DENSE, "iaf_cond_exp"], "cutoff": 20.0, "rate": 0.02, "optimizer": AT_ARRIVALS},
    "cutoff and lag": {"cells": ["resonate_and_fire", "two_compartment"], "cutoff": 12.0, "out_delay": 3, "rate": 0.02},
    "adam": {"cells": [DENSE], "optimizer": Adam(eta=1e-3, optimize_each_step=False, Wmin=-1e4, Wmax=1e4)},
    "delays": {"cells": ["glif3"], "delays": [1.0, 9.0]},
    "rarely": {"cells": ["izhikevich", DENSE], "rate": 0.005},
    "glif": {"cells": ["glif1", "glif5"], "kappa_reg": 0.8},
}
N_STEPS = 400


def noise(rate: float) -> small.Noise:
    """Random input, silent for long now and then."""
    p = rate * (1 + 4 * (np.arange(N_STEPS) % 200 < 30))[:, None]
    return small.Noise(lambda draws: draws.normal(size=(N_STEPS, 2)), 12, p)


def network(
    *,
    cells: list,
    precision: str = "double",
    optimizer=DESCENT,
    cutoff: float = np.inf,
    out_delay: int = 1,
    back_delay: int = 1,
    delays=1.0,
    rate: float = 0.05,
    algorithms: str | None = None,
    **params: float,
) -> Simulation:
    model = Model("spike", seed=2, precision=precision, optimizer=optimizer)
    inputs, out = model.inputs("in", 12), model.readouts("out", 2, C_m=1.0, tau_m=20.0)
    groups = []
    for k, kind in enumerate(cells):
        definition = kind if isinstance(kind, NeuronModel) else library.get_definition(kind)
        kind = "iaf" if kind == "iaf" else definition
        current = 1.5 if definition is DENSE else 400.0
        groups.append(
            model.neurons(
                f"cells {k}",
                9,
                kind,
                I_e=Normal(mean=current, std=current / 20),
                eprop_isi_trace_cutoff=cutoff,
                **params,
            )
        )
    for cells_ in groups:
        definition = getattr(cells_.params, "definition", None)
        for port in definition.ports if definition else (None,):
            model.connect(
                inputs,
                cells_,
                weight=Normal(mean=8.0, std=4.0),
                delay_ms=delays,
                port=port,
                name=f"in {cells_.name} {port}",
            )
            for others in groups:
                model.connect(
                    others,
                    cells_,
                    "fixed_probability",
                    probability=0.5,
                    weight=Normal(std=3.0),
                    delay_ms=delays,
                    port=port,
                    name=f"{others.name} {cells_.name} {port}",
                )
        model.connect(cells_, out, weight=Normal(std=0.5), delay_ms=float(out_delay))
        model.connect(out, cells_, weight=Normal(std=1.0), delay_ms=float(back_delay))
    return Simulation(model, noise(rate), algorithms=algorithms)


def learned(run: Simulation, n: int = 3) -> tuple[set[str], np.ndarray, np.ndarray, int]:
    before = run.network.incoming.weight.astype(float)
    run.train(n)
    run.engine.flush_synapses()
    return spike_networks.algorithms(run), before, run.network.incoming.weight.astype(float), run.engine.n_spikes


def compare(make, n: int = 3) -> None:
    """Learn by composed maps and step by step."""
    algorithms, before, weights, n_spikes = learned(make(None), n)
    assert "scan" in algorithms and "steps" not in algorithms and n_spikes > 10
    algorithms, _, expected, same = learned(make("steps"), n)
    assert algorithms == {"steps", "readout"} and same == n_spikes
    change = np.abs(expected - before).max()
    assert change > 1e-5 and np.mean(expected != before) > 0.5
    np.testing.assert_allclose(weights, expected, rtol=0, atol=1e-9 * change)


@pytest.mark.parametrize("name", first(7, CASES))
def test_composed_maps_equal_steps(name: str) -> None:
    compare(lambda algorithms: network(**CASES[name], algorithms=algorithms))


def test_rewards() -> None:
    """TD errors meet one more trace, whose decay differs from step to step."""

    def make(algorithms: str | None) -> Simulation:
        optimizer = GradientDescent(eta=0.1, Wmin=-1e4, Wmax=1e4)
        model = Model("spike", seed=4, optimizer=optimizer, loss=Reward(gamma=0.95, lambda_=0.9, c_V=0.6, c_H=0.1))
        inputs, out = model.inputs("in", CorridorTask.n_inputs), model.readouts("out", 3, C_m=1.0, tau_m=12.0)
        kappas = {"kappa": 0.9, "kappa_reg": 0.9, "c_reg": 0.3}
        for k, (kind, current) in enumerate([(DENSE, 1.5), (library.get_definition("iaf_psc_exp"), 400.0)]):
            cells = model.neurons(f"cells {k}", 6, kind, I_e=current, **kappas)
            model.connect(inputs, cells, weight=Normal(mean=8.0, std=4.0), port="exc")
            model.connect(cells, out, weight=Normal(std=0.5))
            model.connect(out, cells, weight=Normal(std=1.0))
        return Simulation(model, CorridorTask(), algorithms=algorithms)

    compare(make, 30)


def test_synapses_that_move() -> None:
    def make(algorithms: str | None) -> Simulation:
        moves = {"rule": "fixed_indegree", "indegree": 3, "weight": Normal(std=0.3), "rewire": Rewire(l1=200.0)}
        moves |= {"allow_autapses": False, "allow_multapses": False}
        model = small.network(
            "spike",
            12,
            12,
            2,
            kind=DENSE,
            cell={"I_e": 1.5},
            seed=4,
            optimizer=DESCENT,
            onto=0.5,
            back=1.0,
            into={"weight": Normal(mean=8.0, std=4.0), "port": "exc"},
            among=[moves | {"port": port, "name": port} for port in ("exc", "inh")],
        )
        made.append(Simulation(model, noise(0.05), algorithms=algorithms))
        before.append(made[-1].network.incoming.target.copy())
        return made[-1]

    made: list[Simulation] = []
    before: list[np.ndarray] = []
    compare(make)
    targets = [run.network.incoming.target for run in made]
    assert np.any(targets[0] != before[0])
    np.testing.assert_array_equal(targets[0], targets[1])


def test_single_precision_is_near_double() -> None:
    weights = [
        learned(network(cells=[DENSE, "adex"], precision=precision, kappa_reg=0.9))[2]
        for precision in ("double", "single")
    ]
    np.testing.assert_allclose(weights[1], weights[0], rtol=1e-3, atol=1e-4)


def test_places_are_those_that_checkpoints_name() -> None:
    """Of NEST's own neurons: four numbers without adaptation, eight with it, then those of one more trace."""
    rows = {0: "Z", 1: "E"} | {kind: kind for kind in "BX"}
    for name, n in (("iaf", 4), ("iaf_psc_delta_adapt", 8)):
        found = ComposedMaps(Generator(built_in.find_model(name, "piecewise_linear")), ahead=True)
        assert found.second_trace_start == 8 and len(found.slots) == n and found.n == 16  # nothing of what enters
        for key, place in found.place.items():
            made = rows[key[1]] if key[0] == "P" else key[0].replace("G", "Q")
            assert MAP_NUMBERS[place] == made + rows[key[2]]


def test_steps_of_nests_neurons_are_composed_without_a_compiler() -> None:
    for name in library.nest_names():
        program = compile_model(built_in.find_model(name, built_in.DEFAULT))
        assert program.has_part(Part("composed", "single", (0,), ahead=True)) == ("bsshslm" not in name)


@pytest.mark.slow
def test_neurons_of_nest_that_keep_more_for_a_rule() -> None:
    """They are compiled anew with what composes their steps; weights beside a rule are those without it."""

    def weights(ruled: bool) -> np.ndarray:
        weights = {"weight": Normal(std=3.0), "delay": [1, 3]}
        fixed = {"weight": 0.0, "optimizer": GradientDescent(eta=0.0), "learning_rule": "clopath", "name": "ruled"}
        model = small.network(
            "spike",
            12,
            9,
            2,
            kind="iaf_adapt",
            cell={"I_e": 420.0, "tau_m": Uniform(low=8.0, high=12.0)},
            into=[weights, *([fixed] if ruled else [])],
            among=weights,
            onto=0.5,
            back=1.0,
            out=small.READOUT,
            defaults=True,
            seed=3,
            optimizer=GradientDescent(eta=1e-3),
        )
        run = Simulation(model, noise(0.05))
        algorithms, before, after, n_spikes = learned(run)
        assert {"scan"} <= algorithms and ("rule" in algorithms) == ruled and n_spikes > 10
        learns = before != 0.0
        assert np.mean(after[learns] != before[learns]) > 0.5
        return np.sort(after[learns])

    np.testing.assert_array_equal(weights(ruled=True), weights(ruled=False))


def test_records_of_steps_change_no_bit() -> None:
    """Single steps read the same numbers beside each other as one by one."""

    def weights(records: bool) -> tuple[np.ndarray, bool]:
        run = network(cells=["adex", "izhikevich", "iaf_psc_exp"], rate=0.2, kappa_reg=0.9)
        maps = run.engine.kernel.maps
        assert maps.records.shape[2] == 6  # of adex: V_m, flags, a derivative, psi, L, F
        if not records:
            maps.records = np.zeros((0, 0, 0))
        return learned(run)[2], maps.recorded != layout.NEVER

    beside, used = weights(records=True)
    alone, none = weights(records=False)
    assert used and not none
    np.testing.assert_array_equal(beside, alone)


def test_a_port_without_traces_is_not_composed() -> None:
    """Such synapses keep nothing that maps of steps could move: they follow each step."""
    half = {
        "ports": ["one", "two"],
        "parameters": {"tau": [12.0, "ms"], "V_th": [1.0, "mV"]},
        "states": {"V_m": [0.0, "mV"]},
        "step": {"V_m": "V_m - dt/tau*V_m + one - 0.5*two"},
        "traces": {"V_m": "V_m - dt/tau*V_m + one"},
        "spike": "V_m - V_th",
        "reset": {"V_m": "0"},
    }

    def simulation(algorithms: str | None) -> Simulation:
        into, kind = {"weight": 0.3, "port": "two", "name": "into"}, NeuronModel.from_dict("half", half)
        model = small.network("spike", 12, 5, 2, kind=kind, into=into, onto=0.5, back=1.0, optimizer=AT_ARRIVALS)
        return Simulation(model, noise(0.2), algorithms=algorithms)

    run = simulation(None)
    assert run.algorithms["into"] == "steps"
    assert any("a spike at port two changes no trace of model half" in line for line in run.notices.lines)
    assert len(run.train(2)) == 2
    with pytest.raises(InputError, match="'into' cannot learn by 'scan': a spike at port two changes no trace"):
        simulation("scan")
