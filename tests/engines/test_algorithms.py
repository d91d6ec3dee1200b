"""Every cell of rule x optimizer x neuron x delays x algorithm x precision is right, or refused with its reason.

Right is what the slow twins say, which follow one synapse after the other. Why a cell is refused stands here once more.
"""

import itertools
import re
import zlib
from dataclasses import dataclass

import networks
import neuron_twin
import numpy as np
import pytest
import ranks
import reward_reference
import spike_networks
import test_online_rewards as rewards
from corridor import CorridorTask
from params import first
from reference import run_batches, run_case

from pareprop.algorithms.choice import choose_algorithms
from pareprop.engines.sample import Sample
from pareprop.engines.spike import SpikeSettings
from pareprop.errors import InputError
from pareprop.network.model import Model
from pareprop.network.optimizers import Adam, GradientDescent
from pareprop.neurons import library
from pareprop.simulation.loop import Simulation

RULES = (
    "one filter",
    "two filters",
    "cutoff",
    "cutoff within the lag",
    "rewards",
    "rewards, filters apart",
    "rewards, cutoff",
    "batches",
    "batches, filters apart",
    "batches, cutoff",
    "batches of an endless run",
    "batches of an endless run, cutoff",
    "rewards, batches",
    "rewards, batches of an endless run",
)
APART = ("two filters", "rewards, filters apart", "batches, filters apart")
SAMPLE = 30  # steps of a sample of a batch of 2
BOUNDS = {"Wmin": -0.6, "Wmax": 0.6}
OPTIMIZERS = {
    "gradient descent": {"type": "gradient_descent", "eta": 5e-4},
    "gradient descent at arrivals": {"type": "gradient_descent", "eta": 5e-4, "optimize_each_step": False},
    "bounds": {"type": "gradient_descent", "eta": 5e-4} | BOUNDS,
    "bounds at arrivals": {"type": "gradient_descent", "eta": 5e-4, "optimize_each_step": False} | BOUNDS,
    "adam": {"type": "adam", "eta": 1e-3},
    "adam at arrivals": {"type": "adam", "eta": 1e-3, "optimize_each_step": False},
    "momentum": {"type": "sgd_momentum", "eta": 1e-4},
    "momentum at arrivals": {"type": "sgd_momentum", "eta": 1e-4, "momentum": 0.8, "optimize_each_step": False},
    "momentum, bounds": {"type": "sgd_momentum", "eta": 1e-4} | BOUNDS,
    "adamw": {"type": "adamw", "eta": 1e-3, "weight_decay": 0.3},
    "adamw at arrivals": {"type": "adamw", "eta": 1e-3, "weight_decay": 0.3, "optimize_each_step": False},
}
# two states by equations, and so many that their steps do not compose
SYNAPTIC = {
    "parameters": {"V_th": [0.6, "1"], "tau": [10.0, "ms"]},
    "states": {"V": [0.0, "1"], "s": [0.0, "1"]},
    "step": {"V": "V*exp(-dt/tau) + 0.5*s", "s": "0.6*s + arriving"},
    "spike": "V - V_th",
    "reset": {"V": "V - V_th"},
}
CHAIN = [f"c_{k}" for k in range(11)]
LONG = SYNAPTIC | {
    "states": {"V": [0.0, "1"]} | {name: [0.0, "1"] for name in CHAIN},
    "step": {"V": "V*exp(-dt/tau) + 0.5*c_0 + 0.1*c_10", "c_0": "0.6*c_0 + arriving"}
    | {name: f"0.6*{name} + 0.3*{before}" for before, name in itertools.pairwise(CHAIN)},
}
EQUATIONS = {"equations": SYNAPTIC, "many_states": LONG}
NEURONS = ("iaf", "drawn tau_m", "iaf_adapt", "iaf_psc_delta_adapt", *EQUATIONS)
DELAYS = ("one", "drawn", "lag")
ASKED = (None, "prefix", "scan", "lines", "steps")
TOLERANCE = {"double": 1e-9, "single": 1e-2}  # of the largest change
EPISODES = 4


@dataclass(frozen=True)
class Cell:
    """A cell of the table but for algorithm and precision."""

    rule: str
    optimizer: str
    neuron: str
    delays: str

    def __str__(self) -> str:
        return ", ".join(vars(self).values())

    @property
    def is_rewarded(self) -> bool:
        return self.rule.startswith("rewards")

    @property
    def is_batched(self) -> bool:
        return "batches" in self.rule

    @property
    def resets(self) -> bool:
        return "endless" not in self.rule

    @property
    def rule_of_weights(self) -> dict:
        """Settings of the optimizer; batches are few steps."""
        rule = OPTIMIZERS[self.optimizer]
        if not self.is_batched:
            return rule
        times = 20.0 if self.is_rewarded and "adam" not in rule["type"] else 1.0
        return rule | {"batch_size": 2, "eta": times * rule["eta"]}

    @property
    def asked_reset(self) -> bool | None:
        return self.resets if self.is_batched else None

    @property
    def case(self) -> dict:
        """A small network, as the twins take it."""
        rng = np.random.default_rng(zlib.crc32(repr(self).encode()))
        d_out, d_fb = (3, 2) if self.delays == "lag" else (1, 1)
        m = d_out + d_fb - 1
        params = {"kappa": 0.9, "kappa_reg": 0.8 if self.rule in APART else 0.9, "c_reg": 0.5}
        cutoffs = {"cutoff": 20.0, "cutoff within the lag": float(m), "rewards, cutoff": 7.0, "batches, cutoff": 7.0}
        cutoffs["batches of an endless run, cutoff"] = 20.0
        params["eprop_isi_trace_cutoff"] = cutoffs.get(self.rule, np.inf)
        case = {"neuron_models": EQUATIONS} if self.neuron in EQUATIONS else {}
        if case:
            case |= {"port_in": "arriving", "port_rec": "arriving"}
            groups = [{"model": self.neuron, "n": 3, "params": params | {"surrogate_gradient_width": 0.5}}] * 2
        else:
            model, tau_m = ("iaf" if self.neuron == "drawn tau_m" else self.neuron), 10.0
            groups = [spike_networks.group(rng, 3, m, model=model, tau_m=tau_m, **params) for _ in range(2)]
            if self.neuron == "drawn tau_m":
                groups[0]["params"]["tau_m"] = rng.uniform(5.0, 30.0, 3)
        n_in, n_out, n_steps = CorridorTask.n_inputs, 3, 120
        weights = spike_networks._weights(rng, n_in, 6, n_out)
        for key in spike_networks.KEYS.values():
            weights[key] = np.clip(weights[key], -0.59999, 0.59999)
        drawn = self.delays == "drawn"
        return (
            case
            | weights
            | {
                "variant": "spike",
                "dt": 1.0,
                "groups": groups,
                "optimizer": self.rule_of_weights,
                "readout": {"C_m": 1.0, "E_L": 0.0, "I_e": 0.0, "tau_m": 12.0, "V_m": 0.0},
                "d_in": 1,
                "d_rec": rng.integers(1, 4, (6, 6)) if drawn else 1,
                "d_out": d_out,
                "d_fb": d_fb,
                "inputs": rng.random((n_steps, n_in)) < rng.choice([0.05, 0.2, 0.4], n_in),
                "targets": rng.normal(size=(n_steps, n_out)),
                "window": np.ones(n_steps),
            }
            | ({} if self.is_rewarded else {"step_currents": np.zeros((n_steps, 6))})
        )

    def refusals(self, algorithm: str | None, precision: str) -> list[str]:
        """What may be told of why an algorithm is refused; nothing if it must be right."""
        rule = OPTIMIZERS[self.optimizer]
        kind, each_step = rule["type"], rule.get("optimize_each_step", True)
        plain, bounds = kind == "gradient_descent", rule.keys() >= BOUNDS.keys()
        each_step = each_step and not self.is_batched
        at_once = [
            ("bounds -0.6 and 0.6 hold in each time step", each_step and bounds),
            (f"{kind} steps in each time step", each_step and not plain),
            ("eprop_isi_trace_cutoff = . ms ends within the .", self.rule == "cutoff within the lag"),
            ("TD errors and kappa_reg take a trace each", self.rule == "rewards, filters apart"),
            ("TD errors go on after eprop_isi_trace_cutoff = 7 ms", self.rule == "rewards, cutoff"),
        ]
        why = {
            "prefix": [
                *at_once,
                (f"{kind} keeps moments", not plain),
                ("gradients of a batch are added up apart from weights", self.is_batched),
                ("neurons that adapt, are given by equations, differ in tau_m", self.neuron != "iaf"),
                ("rewards, fade too fast for sums over 32 steps", self.is_rewarded and precision == "single"),
            ],
            "scan": [*at_once, ("its neurons have more than 10 states", self.neuron == "many_states")],
            "lines": [
                ("its optimizer keeps no moments, or does not step in each time step", plain or not each_step),
                ("its targets are given by equations", self.neuron in EQUATIONS),
                ("it learns from rewards", self.is_rewarded),
                ("populations filter by a kappa_reg of their own", self.rule in APART),
            ],
        }.get(algorithm or "", [])
        return [text for text, holds in why if holds]


def build(cell: Cell, algorithm: str | None, precision: str) -> Simulation:
    case = cell.case | {"precision": precision}
    if cell.is_rewarded:
        return rewards.simulation(case, CorridorTask(), rewards.LOSS, algorithms=algorithm, reset=cell.asked_reset)
    model = networks.model(case)
    task = spike_networks.CaseTask(case, SAMPLE if cell.is_batched else len(case["inputs"]))
    settings = SpikeSettings(task.n_steps, reset=cell.asked_reset)
    return Simulation(model, task, settings=settings, algorithms=algorithm)


def twin(cell: Cell) -> tuple:
    """What the slow twins find: spikes, and weights by name; of episodes also what happened."""
    case = cell.case
    with np.errstate(all="ignore"):
        if cell.is_rewarded:
            if cell.is_batched:
                return reward_reference.run_batches(case, CorridorTask(), rewards.LOSS, EPISODES, cell.resets)
            return reward_reference.run_online(case, CorridorTask(), rewards.LOSS, EPISODES)
        run = neuron_twin.run if "neuron_models" in case else run_case
        found = run_batches(case, SAMPLE, cell.resets, run) if cell.is_batched else run(case)
    weights = {name: found[key] for name, key in spike_networks.KEYS.items()}
    assert len(found["spike_ids"]) > 10
    return weights, None, np.stack([found["spike_steps"], found["spike_ids"]])


def compare(cell: Cell, algorithm: str | None, precision: str, expected: tuple) -> None:
    """Fail unless spikes are equal, and weights agree."""
    case, (weights, _, spikes) = cell.case | {"precision": precision}, expected
    change = min(np.nanmax(np.abs(weights[name] - case[key])) for name, key in spike_networks.KEYS.items())
    assert change > 1e-4
    tolerance = TOLERANCE[precision] * change
    if cell.is_rewarded:
        given = {"algorithms": algorithm, "found": expected, "reset": cell.asked_reset}
        rewards.compare(case, EPISODES, tolerance=tolerance, **given)
        return
    found = spike_networks.run_samples(build(cell, algorithm, precision), batch=2 if cell.is_batched else 0)
    np.testing.assert_array_equal(np.stack([found["spike_steps"], found["spike_ids"]]), spikes)
    for name, wanted in weights.items():
        np.testing.assert_allclose(
            found[name], wanted, rtol=0, atol=tolerance, err_msg=f"{name}, {algorithm}, {precision}"
        )


CELLS = [Cell(*names) for names in itertools.product(RULES, OPTIMIZERS, NEURONS, DELAYS)]
CELLS = [CELLS[k] for k in np.random.default_rng(0).permutation(len(CELLS))]
PLAIN = [cell for cell in CELLS if cell.neuron not in EQUATIONS]  # others are compiled first
QUICK = [next(cell for cell in PLAIN if cell.optimizer == name) for name in OPTIMIZERS]


def check(cell: Cell) -> dict[str, int]:
    """Compare all algorithms and precisions of a cell; count those that are right, and those that are refused."""
    counts, expected = {"right": 0, "refused": 0}, None
    for algorithm, precision in itertools.product(ASKED, ("double", "single")):
        if reasons := cell.refusals(algorithm, precision):
            with pytest.raises(InputError) as refused:
                build(cell, algorithm, precision)
            text = str(refused.value)
            assert "\n" not in text and any(re.search(reason, text) for reason in reasons), text
            counts["refused"] += 1
        else:
            expected = expected or twin(cell)
            compare(cell, algorithm, precision, expected)
            counts["right"] += 1
    return counts


@pytest.mark.parametrize("cell", first(len(QUICK), dict.fromkeys(QUICK + CELLS), rest=20), ids=str)
def test_every_cell_is_right_or_refused(cell: Cell) -> None:
    counts = check(cell)
    assert sum(counts.values()) == 2 * len(ASKED)
    assert counts["right"] >= 4  # what is chosen, and what follows every step


def model() -> Model:
    """Inputs, two populations, of which the second adapts, and readouts."""
    network = Model("spike")
    inputs, out = network.inputs("in", 3), network.readouts("out", 2)
    for name, kind in (("rec", "iaf"), ("slow", "iaf_adapt")):
        cells = network.neurons(name, 4, kind)
        network.connect(inputs, cells)
        network.connect(cells, out)
        network.connect(out, cells)
    network.connect(*network.of_role("recurrent"), name="on")
    network.connect(*network.of_role("recurrent")[::-1], name="back", plastic=False)
    return network


CHOSEN = {
    "in->rec": "prefix",
    "in->slow": "scan",
    "rec->out": "readout",
    "slow->out": "readout",
    "on": "scan",
    "back": "static",
}


@pytest.mark.parametrize(
    ("asked", "changed"),
    [
        (None, {}),
        ({}, {}),
        ("steps", {"in->rec": "steps", "in->slow": "steps", "on": "steps"}),
        ({"rec": "scan"}, {"in->rec": "scan"}),
        ({"on": "steps"}, {"on": "steps"}),
        ({"slow": "steps"}, {"in->slow": "steps", "on": "steps"}),
        ({"on": "scan", "slow": "steps"}, {"in->slow": "steps"}),
        ({"slow": "steps", "on": "scan"}, {"in->slow": "steps"}),
    ],
)
def test_ways_may_be_asked_for(asked, changed: dict[str, str]) -> None:
    """Of all, of a population, of a projection; projections onto one population may learn by different algorithms."""
    run = Simulation(model(), Silence(), algorithms=asked)
    assert run.algorithms == CHOSEN | changed
    run.run_sample(0, "train", learn=True)


class Silence:
    """Samples without a spike."""

    n_steps = learning_window = 5

    def sample(self, index: int, phase: str = "train") -> Sample:
        return Sample.from_raster(np.zeros((5, 3)), np.zeros((5, 2)))


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("prefix", "algorithms: projection 'in->slow' cannot learn by 'prefix': neurons that adapt, "),
        ({"rec": "lines"}, "algorithms: projection 'in->rec' cannot learn by 'lines': its optimizer keeps no "),
        ({"back": "steps"}, "algorithms: projection 'back' cannot learn by 'steps': its weights are fixed"),
        ({"rec->out": "scan"}, "algorithms: projection 'rec->out' cannot learn by 'scan': its targets are readouts"),
        ({"on": "readout"}, "algorithms: projection 'on' cannot learn by 'readout': its targets are neurons"),
        ({"on": "static"}, "algorithms: projection 'on' cannot learn by 'static': its weights learn"),
        ({"rec": "step"}, "algorithms: 'rec': unknown algorithm 'step', did you mean 'steps'?"),
        (
            {"rec": 3},
            "algorithms: 'rec': unknown algorithm 3 (known: static, readout, prefix, scan, lines, steps, rule)",
        ),
        ({"recs": "steps"}, "algorithms: 'recs' is no projection, nor a population of neurons that learns, did you"),
        ({"in": "steps"}, "algorithms: 'in' is no projection, nor a population of neurons that learns, did you"),
        (7, "algorithms = 7 must be the name of an algorithm, or a table of projections and algorithms"),
        (
            ["steps"],
            "algorithms = ['steps'] must be the name of an algorithm, or a table of projections and algorithms",
        ),
    ],
)
def test_ways_that_are_refused(asked, told: str) -> None:
    with pytest.raises(InputError) as refused:
        Simulation(model(), Silence(), algorithms=asked)
    assert str(refused.value).startswith(told) and "\n" not in str(refused.value)


def test_the_interval_variant_has_one_algorithm() -> None:
    network = Model("interval")
    network.connect(network.inputs("in", 3), network.neurons("rec", 2))
    network.readouts("out", 2)
    assert Simulation(network, Silence()).algorithms == {}
    with pytest.raises(InputError, match=r"^algorithms = 'steps' does not go with the interval variant: "):
        Simulation(network, Silence(), algorithms="steps")


def test_a_state_of_another_way_is_refused() -> None:
    """Arrays may have the same names and shapes, and mean something else."""
    kept = Simulation(model(), Silence(), algorithms="steps").engine.state()
    run = Simulation(model(), Silence(), algorithms="scan")
    told = "'in->rec' learns by 'steps' in the checkpoint, by 'scan' in this run: ask for the same `algorithms`"
    with pytest.raises(InputError, match=f"cannot resume: projection {told}"):
        run.engine.load_state(kept.numbers, kept.shared)


DIFFERENT = """
from pareprop import InputError, Model, Simulation, exchange

class Silence:
    n_steps = learning_window = 5

ranks, network = exchange(), Model("spike")
network.connect(network.inputs("in", 3), network.neurons("rec", 4))
Silence.sample = None
try:
    Simulation(network, Silence(), ranks, algorithms="steps" if ranks.rank else "scan")
except InputError as problem:
    print(problem)
"""


@pytest.mark.mpi
def test_ranks_ask_for_the_same_algorithms() -> None:
    done = ranks.run(2, "-c", DIFFERENT)
    assert (done.returncode, done.stderr) == (0, "")
    (line,) = set(done.stdout.splitlines())
    assert "settings: algorithms" in line and "'steps'" in line and "'scan'" in line


@pytest.mark.parametrize(
    ("optimizer", "asked", "ports"),
    [
        (GradientDescent(), None, (0, 1)),
        (GradientDescent(), {"exc": "steps"}, (0, 1)),
        (GradientDescent(), "steps", None),
        (Adam(), None, None),
    ],
)
def test_maps_are_compiled_where_synapses_take_them(optimizer, asked, ports: tuple[int, ...] | None) -> None:
    """Ports at which synapses learn, if any learns by `scan`."""
    network = Model("spike", optimizer=optimizer)
    inputs, cells = network.inputs("in", 3), network.neurons("rec", 2, library.get_definition("iaf_psc_exp"))
    for port in ("exc", "inh"):
        network.connect(inputs, cells, port=port, name=port)
    found = choose_algorithms(network, asked).composed(cells)
    assert (found and found.ports) == ports
