"""Random small networks over all axes, each known by a number; and what a training of one comes to.

A network is drawn as plain data (`Network`), from which `Network.build` makes a `Model` and a task as often as wanted.
Most can be trained; some ask for what the package refuses.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from corridor import CorridorTask

from pareprop.algorithms.choice import ALGORITHMS
from pareprop.engines.base import Settings
from pareprop.engines.sample import Sample
from pareprop.network.losses import Loss
from pareprop.network.model import Model
from pareprop.network.optimizers import make_optimizer
from pareprop.network.parameters import Distribution, LogNormal, Normal, Uniform
from pareprop.network.reward import Reward
from pareprop.network.variants import VARIANTS
from pareprop.neurons import library
from pareprop.neurons.model import NeuronModel
from pareprop.neurons.surrogates import SURROGATES
from pareprop.rules import Eprop

BLOCK = 100  # networks that share random equations, which take seconds to compile
# of the models of the package: weight of a strong synapse, and a current with which they fire
DRIVES = {
    "adex": (80.0, 500.0),
    "glif1": (150.0, 200.0),
    "glif3": (150.0, 200.0),
    "glif5": (150.0, 200.0),
    "iaf_cond_exp": (10.0, 250.0),
    "iaf_psc_alpha": (100.0, 370.0),
    "iaf_psc_exp": (100.0, 370.0),
    "izhikevich": (8.0, 5.0),
    "resonate_and_fire": (60.0, 0.0),
    "two_compartment": (5.0, 250.0),
}
# what a projection may learn by: files of the package, and kinds of e-prop
RULES = (
    "pair_stdp",
    "triplet_stdp",
    "three_factor",
    "r_stdp",
    "inhibitory_stdp",
    "superspike",
    "ottt",
    Eprop(through="no own spike"),
    Eprop(filter="none"),
)
WHAT = (
    "spikes",
    "input_spikes",
    "V_m",
    "adaptation",
    "surrogate_gradient",
    "learning_signal",
    "readout_signal",
    "error_signal",
    "weights",
)


class Draw(random.Random):
    """Draws with words for what is drawn often."""

    def some(self, share: float) -> bool:
        """Return True with a probability."""
        return self.random() < share

    def array(self, low: float, high: float, *shape: int) -> np.ndarray:
        """Return numbers of an array."""
        return np.random.default_rng(self.randrange(2**32)).uniform(low, high, shape)

    def value(self, low: float, high: float, size: int = 0) -> object:
        """Return a value for all cells, one for each of `size`, or a distribution."""
        kinds = [lambda: self.uniform(low, high)] * 4
        if size:
            kinds += [
                lambda: self.array(low, high, size),
                lambda: Uniform(low=low, high=high),
                lambda: Normal(mean=0.5 * (low + high), std=0.1 * (high - low)),
            ]
        return self.choice(kinds)()

    def split(self, total: int, parts: int) -> list[int]:
        """Return sizes of at least 1 with a sum of `total`."""
        ends = sorted(self.sample(range(1, total), parts - 1))
        return [b - a for a, b in zip([0, *ends], [*ends, total], strict=True)]


class Squared(Loss):
    """A loss of a script, which keeps how many samples it saw."""

    def __init__(self) -> None:
        self.seen = 0

    def state(self) -> dict[str, int]:
        return {"seen": self.seen}

    def load_state(self, state: dict[str, int]) -> None:
        self.seen = int(state["seen"])

    def error(self, output: np.ndarray, target: np.ndarray) -> np.ndarray:
        return (output - target) / (1 + self.seen % 3)

    def value(self, output: np.ndarray, target: np.ndarray, error: np.ndarray) -> float:
        found = float(0.5 * np.sum(np.square(output - target))) / (1 + self.seen % 3)
        self.seen += 1
        return found


class Noise:
    """Random spikes, currents and targets; how, a table says."""

    def __init__(self, table: dict[str, Any], engine: Settings) -> None:
        self.table, self._engine = table, engine
        self.n_steps, self.learning_window = table["n_steps"], table["learning_window"]

    def make_settings(self) -> Settings:
        return self._engine

    def sample(self, index: int, phase: str = "train") -> Sample:
        table, n = self.table, self.n_steps
        rng = np.random.default_rng([table["seed"], index, len(phase)])
        raster = rng.random((n, table["inputs"])) < np.linspace(*table["density"], table["inputs"])
        target = rng.normal(0.0, 1.0, (n, table["readouts"]))
        more: dict[str, Any] = {}
        if table["classes"] and table["readouts"]:
            more["label"] = int(rng.integers(table["readouts"]))
            target = np.tile(np.arange(table["readouts"]) == more["label"], (n, 1)).astype(float)
        if table["currents"]:
            more["currents"] = rng.normal(0.0, table["amplitude"], (n, table["currents"]))
        if table["window"]:
            more["window"] = rng.random(n) < table["window"]
        if table["modulated"]:
            more["modulator"] = rng.normal(0.0, 1.0, n)
        if table["local"]:
            more["local_targets"] = lambda first, last: 10.0 + np.sin(np.arange(n)[:, None] + np.arange(first, last))
        return Sample.from_raster(raster, target, **more)


class Walk(CorridorTask):
    """The corridor with settings of the engine."""

    def __init__(self, engine: Settings, **options: Any) -> None:
        super().__init__(**options)
        self._engine = engine

    def make_settings(self) -> Settings:
        return self._engine


@dataclass
class Network:
    """A network, its task and its training as plain data.

    Attributes
    ----------
    number : int
        By which it was drawn.
    model : dict
        Arguments of `Model`; the optimizer as a table, the loss as a table of `Reward`, or "own".
    populations : list of tuple
        Role, and arguments of the method of `Model` that adds it.
    projections, backgrounds, perturbations : list of dict
        Arguments, with names of populations and projections; kind of a perturbation as "kind".
    local : dict
        Arguments of `Model.local_readouts`; empty for none.
    task, settings, training : dict
        Of `Noise` or, with rewards, of `Walk`; of the engine; of `pareprop.run`.
    until : int
        Iteration after which a training is stopped, that another one goes on with.
    in_files : bool
        Whether it is trained by `pareprop.run`, with all its files, which take longer than the training.
    """

    number: int
    model: dict[str, Any]
    populations: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    projections: list[dict[str, Any]] = field(default_factory=list)
    backgrounds: list[dict[str, Any]] = field(default_factory=list)
    perturbations: list[dict[str, Any]] = field(default_factory=list)
    local: dict[str, Any] = field(default_factory=dict)
    task: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    until: int = 1
    in_files: bool = False

    def build(self) -> tuple[Model, Noise | Walk]:
        """Return the network and its task, new ones with each call."""
        loss = self.model.get("loss")
        loss = Squared() if loss == "own" else Reward(**loss) if loss else None
        model = Model(**{**self.model, "optimizer": make_optimizer(self.model["optimizer"], "model"), "loss": loss})
        known: dict[str, Any] = {}
        for role, arguments in self.populations:
            known[arguments["name"]] = getattr(model, role)(**arguments)
        for arguments in self.projections:
            ends = {key: known[arguments[key]] for key in ("pre", "post")}
            known[arguments["name"]] = model.connect(**{**arguments, **ends})
        if self.local:
            model.local_readouts(**{**self.local, "of": [known[name] for name in self.local["of"]]})
        for arguments in self.backgrounds:
            model.background(**{**arguments, "neurons": known[arguments["neurons"]]})
        for arguments in self.perturbations:
            rest = {key: value for key, value in arguments.items() if key not in ("kind", "of")}
            getattr(model, arguments["kind"])(known[arguments["of"]], **rest)
        window = self.task["n_steps"] if loss and self.is_rewarded else self.task["learning_window"]
        engine = model.eprop.engine.settings_type(window, **self.settings)
        return model, Walk(engine, **self.task) if self.is_rewarded else Noise(self.task, engine)

    @property
    def is_rewarded(self) -> bool:
        """Whether it learns from rewards."""
        return isinstance(self.model.get("loss"), dict)

    def __str__(self) -> str:
        with np.printoptions(threshold=12, precision=4):
            lines = [f"network {self.number}", f"model {self.model}"]
            for name in ("populations", "projections", "backgrounds", "perturbations"):
                lines += [f"{name} {item}" for item in getattr(self, name)]
            rest = ("local", "task", "settings", "training", "until", "in_files")
            return "\n  ".join([*lines, *(f"{name} {getattr(self, name)}" for name in rest if getattr(self, name))])


# ---- neurons ---------------------------------------------------------------------------------------------------------


@cache
def equations(block: int, k: int) -> NeuronModel:
    """Return random equations number `k` of a block of networks: voltages of about 1, weights of about 0.3."""
    draw = Draw(f"equations {block} {k}")
    two, filtered, adapts, turns = (draw.some(share) for share in (0.4, 0.5, 0.6, 0.4))
    ports, by_dynamics = ["one", "two"][: 1 + two], draw.some(0.35)
    states: dict[str, tuple[object, str]] = {"V_m": ("E_L", "mV")}
    change, arrives = ["(E_L - V_m)/tau_m", "R*I"], ports[0]
    rates: dict[str, str] = {}  # time derivatives, and what is added at the end of a step
    jumps: dict[str, str] = {}
    if filtered:
        states["i"], rates["i"], jumps["i"] = (0.0, "mV/ms"), "-i/tau_syn", f"0.3*{ports[0]}"
        change.append("i")
        arrives = ""
    if two:
        arrives = f"{arrives} - 0.5*{ports[1]}".removeprefix(" ")
    if adapts:
        states["w"], rates["w"] = (draw.choice([0.0, "0.1*E_L"]), "mV/ms"), "(a*(V_m - E_L) - w)/tau_w"
        change.append("- w")
    if turns:
        states["u"], rates["u"] = (0.0, "mV"), "(tanh(V_m) - u)/tau_w"
        change.append(draw.choice(["0.02*u", "- 0.05*abs(u)", "0.05*where(u > 0, u, 0)", "0.02*exp(-u*u)"]))
    if draw.some(0.05):  # more states than steps are composed of
        for n in range(11):
            states[f"c{n}"], rates[f"c{n}"] = (0.0, "mV"), f"({f'c{n - 1}' if n else 'V_m'} - c{n})/tau_w"
        change.append("0.01*c10")
    linear = not turns
    if not (by_dynamics and linear) and draw.some(0.4):
        change.append(draw.choice(["0.05*max(V_m, 0)*min(V_m, 2)", "- 0.1*detach(V_m)", "0.02*sqrt(1 + V_m*V_m)"]))
        linear = False
    text = " + ".join(change).replace("+ -", "-")
    holds = draw.some(0.5)
    given: dict[str, Any] = {}
    if by_dynamics:
        given["dynamics"] = {"V_m": f"where(refractory, 0, {text})" if holds else text, **rates}
        given["jumps"] = jumps | ({"V_m": arrives} if arrives else {})
        if not linear:
            given["integrator"] = draw.choice(["exponential_euler", "euler", "rk4"])
    else:
        step = f"V_m + dt*({text})" + (f" + {arrives}" if arrives else "")
        if draw.some(0.3):
            step = f"max(min({step}, 5), -5)"
        if draw.some(0.3):
            step = f"{step} - 0.1*{draw.choice(['z', 'detach(z)'])}"
        given["step"] = {"V_m": f"where(refractory, V_m, {step})" if holds else step}
        for name, rate in rates.items():
            rise = f" + {jumps[name]}" if name in jumps else ""
            given["step"][name] = f"{name} + dt*({rate}){rise}"
        if draw.some(0.15):
            given["traces"] = {"V_m": f"V_m + dt*(E_L - V_m)/tau_m + {ports[0]}"}
    reset = draw.choice([{}, {"V_m": "V_reset"}, {"V_m": "V_m - V_th"}])
    if adapts:
        reset = reset | {"w": "w + b"}
    return NeuronModel(
        f"drawn_{k}",
        parameters={
            "E_L": (0.0, "mV"),
            "V_th": (0.8, "mV"),
            "V_reset": (-0.1, "mV"),
            "tau_m": (15.0, "ms"),
            "tau_w": (40.0, "ms"),
            "tau_syn": (4.0, "ms"),
            "a": (0.002, "1/ms"),
            "b": (0.01, "mV/ms"),
            "R": (1.0, "GOhm"),
            "t_ref": (draw.choice([0.0, 2.0]), "ms"),
        },
        states=states,
        ports=ports,
        reset=reset,
        follow=[name for name in reset if draw.some(0.5)],
        spike=draw.choice(["V_m - V_th", "V_m - V_th*(1 + 0.1*tanh(V_m))", "V_m - V_th"]),
        surrogate=draw.choice([*SURROGATES, "surrogate_gradient_height*exp(-x*x/surrogate_gradient_width)"]),
        current_from=draw.choice([0, 1]),
        records={"twice": "2*V_m"} if draw.some(0.3) else {},
        **given,
    )


def _of_nest(draw: Draw, name: str, n: int, online: bool) -> dict[str, Any]:
    """Return parameters of a neuron model with NEST's equations."""
    rest = draw.choice([0.0, 0.0, -70.0])
    values = {
        "C_m": draw.value(1.0, 2.0, n),
        "E_L": rest,
        "V_th": rest + draw.uniform(0.3, 0.7),
        "tau_m": draw.choice([10.0, 20.0, 20.0, 30.0, draw.value(8.0, 30.0, n)]),
        "t_ref": draw.choice([0.0, 1.0, 2.0, 5.0]),
        "I_e": draw.value(0.0, 0.05, n),
        "V_min": draw.choice([-1e300, rest - 0.5]),
        "surrogate_gradient_height": draw.value(0.3, 1.5, n),
        "surrogate_gradient_width": draw.value(0.3, 1.5, n),
        "surrogate_gradient_function": draw.choice([*SURROGATES]),
    }
    if "adapt" in name:
        values |= {"adapt_beta": draw.value(0.0, 0.3, n), "adapt_tau": draw.value(20.0, 200.0, n)}
    if "psc_delta" in name:
        values |= {"V_reset": rest + draw.uniform(-0.3, 0.2), "refractory_input": draw.some(0.5)}
    if not online:
        values["regular_spike_arrival"] = draw.some(0.5)
    if draw.some(0.2):
        values["V_m"] = draw.value(rest, rest + 0.3, n)
    return values


def _of_package(draw: Draw, name: str, n: int) -> dict[str, Any]:
    """Return parameters of a model of the package that is given by equations."""
    values: dict[str, Any] = {"I_e": draw.value(0.8 * DRIVES[name][1], 1.1 * DRIVES[name][1] + 0.1, n)}
    given = library.get_definition(name).parameters
    for key in draw.sample(sorted(given), draw.choice([0, 1, 2])):
        if key.startswith(("C_m", "tau", "g_L", "b", "a")) and given[key][0] > 0:
            values[key] = draw.value(0.9 * given[key][0], 1.1 * given[key][0], n)
    return values


def _neurons(draw: Draw, net: Network, name: str, size: int, common: dict[str, Any]) -> float:
    """Add a population; return the weight of a strong synapse onto it."""
    online, kind = net.model["variant"] == "spike", draw.random()
    if kind < 0.55:
        model: object = draw.choice([*VARIANTS[net.model["variant"]].neurons])
        values, scale = _of_nest(draw, str(model), size, online), 0.5
    elif kind < 0.8:
        model = draw.choice([*DRIVES])
        values, scale = _of_package(draw, str(model), size), DRIVES[str(model)][0]
    else:
        model, scale = equations(net.number // BLOCK, draw.randrange(2)), 0.5
        values = {"tau_m": draw.value(8.0, 30.0, size), "I_e": draw.value(0.0, 0.05, size)}
        if draw.some(0.3):
            values |= {"V_th": draw.value(0.5, 0.9, size), "tau_w": draw.value(20.0, 60.0, size)}
    if online or kind > 0.55:
        kappas = common or _filters(draw)
        values |= kappas
        if draw.some(0.2):
            values["eprop_isi_trace_cutoff"] = draw.choice([0.0, 1.0, 3.0, 20.0, 100.0])
    values |= {"c_reg": draw.choice([0.0, 0.5]), "f_target": draw.value(5.0, 30.0, size)}
    if draw.some(0.15):
        values["learn"] = _learned(draw, model, values)
        for key in ("V_m", "refractory_input") if draw.some(0.95) else ():  # which do not go with it
            values.pop(key, None)
    net.populations.append(("neurons", {"name": name, "size": size, "model": model, **values}))
    return scale


def _learned(draw: Draw, model: object, values: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return parameters that learn, with optimizers."""
    low, high = (5.0, 50.0)
    names = {"tau_m": (low, high)} if not isinstance(model, str) or "iaf_psc" in model or model == "iaf" else {}
    if isinstance(model, str) and "adapt" in model:
        names["adapt_beta"] = (0.0, 10.0)
    if not names:
        given = library.get_definition(model).parameters if model in library.free_names() else {}
        times = [name for name in given if name.startswith("tau")] or ["b"]
        middle = given[times[0]][0] if times[0] in given else 0.2
        names = {times[0]: (0.3 * middle, 3.0 * middle)}
    kind, shared = draw.choice(["adam", "gradient_descent"]), draw.some(0.3)
    shared = shared and all(isinstance(values.get(name, 0.0), float) for name in names)
    table = {"type": kind, "eta": draw.choice([0.01, 0.1]), "shared": shared}
    log = {"scale": "log"} if draw.some(0.4) else {}
    return {
        name: {**table, "low": bounds[0], "high": bounds[1], **(log if bounds[0] > 0.0 else {})}
        for name, bounds in names.items()
    }


def _filters(draw: Draw, apart: float = 0.3) -> dict[str, Any]:
    kappa = draw.choice([0.0, 0.5, 0.9, 0.97])
    return {"kappa": kappa, "kappa_reg": draw.choice([0.0, 0.8, 0.97]) if draw.some(apart) else kappa}


# ---- synapses --------------------------------------------------------------------------------------------------------


def _optimizer(draw: Draw, net: Network, scale: float) -> dict[str, Any]:
    """Return a table of an optimizer whose bounds hold the weights of a scale, mostly."""
    online = net.model["variant"] == "spike"
    kind = draw.choice(["gradient_descent", "adam", "sgd_momentum", "adamw"])
    eta = draw.choice([1e-3, 1e-2]) * scale if kind.startswith("adam") else draw.choice([1e-4, 1e-3])
    table: dict[str, Any] = {"type": kind, "eta": eta}
    if scale > 20.0 or draw.some(0.3):
        bound = scale * draw.choice([10.0, 40.0])
        table |= {"Wmin": -bound, "Wmax": bound}
    if online and draw.some(0.4):
        table["optimize_each_step"] = False
    if draw.some(0.2):
        table["normalized"] = True
    if kind.startswith("adam") and draw.some(0.3):
        table |= {"beta_1": draw.choice([0.0, 0.8]), "beta_2": draw.choice([0.0, 0.9]), "epsilon": 1e-5}
    if kind == "sgd_momentum":
        table["momentum"] = draw.choice([0.0, 0.5, 0.9])
    return table


def _delay(draw: Draw, style: str, dt_ms: float) -> dict[str, Any]:
    """Return the delays of a projection."""
    first, more = draw.randint(1, 5), draw.randint(0, 6)
    if draw.some(0.05):
        first += draw.choice([20, 70])
    if style == "one":
        return {"delay": 2}
    if style == "several" or draw.some(0.2):
        return {"delay": first}
    return draw.choice(
        [
            {"delay": (first, first + more)},
            {"delay": Normal(mean=float(first), std=draw.uniform(0.0, 2.0))},
            {"delay": LogNormal(mean=draw.uniform(0.0, 1.5), std=draw.uniform(0.0, 0.6))},
            {"delay_ms": (first * dt_ms, (first + more) * dt_ms)},
            {"delay_ms": first * dt_ms},
        ]
    )


def _weight(draw: Draw, scale: float, mean: float) -> Distribution | float:
    return draw.choice(
        [
            Normal(mean=mean * scale, std=0.4 * scale),
            Normal(mean=mean * scale, std=0.4 * scale),
            Uniform(low=(mean - 0.4) * scale, high=(mean + 0.6) * scale),
            LogNormal(mean=float(np.log(0.3 * scale)), std=0.5),
            (mean or 0.2) * scale,
        ]
    )


def _rule(draw: Draw, pre: dict, post: dict, dt_ms: float, moves: bool) -> dict[str, Any]:
    """Return rule and options of a projection; where synapses move, at most half of the sources of a target."""
    n, itself = pre["size"], pre["name"] == post["name"]
    options: dict[str, Any] = {}
    if itself and n > 1 and draw.some(0.5):
        options["allow_autapses"] = False
    choices = n - (not options.get("allow_autapses", True))
    if moves:
        options |= {"rule": "fixed_indegree", "indegree": max(1, choices // 2), "allow_multapses": False}
        return options
    rules = ["all_to_all", "fixed_indegree", "fixed_indegree", "fixed_probability", "fixed_total_number", "explicit"]
    rules += ["one_to_one"] * (n == post["size"]) + ["lognormal_degrees"] * (n > 3) + ["distance"] * (n > 2)
    options["rule"] = rule = draw.choice(rules)
    if rule == "fixed_indegree":
        options["allow_multapses"] = several = draw.some(0.5)
        options["indegree"] = draw.randint(0, 2 * n if several else choices)
    elif rule == "fixed_probability":
        options["probability"] = draw.choice([0.0, 0.2, 0.5, 1.0])
    elif rule == "fixed_total_number":
        options["N"] = draw.randint(0, min(3 * n * post["size"], 2000))
    elif rule == "explicit":
        count = draw.choice([0, 1, draw.randint(2, min(3 * n * post["size"], 300) + 2)])
        rng = np.random.default_rng(draw.randrange(2**32))
        options |= {key: rng.integers(0, end["size"], count) for key, end in (("source", pre), ("target", post))}
    elif rule == "lognormal_degrees":
        options |= {
            "indegree": draw.uniform(0.5, 0.45 * choices),
            "sigma_in": 0.3,
            "sigma_out": draw.choice([0.0, 0.5]),
        }
    elif rule == "distance":
        space = {"extent": draw.choice([(1.0, 1.0), (1.0, 2.0, 1.0)]), "length": 0.3, "cutoff": 0.5}
        space |= {"periodic": draw.some(0.5), "profile": draw.choice(["gaussian", "exponential"])}
        options |= {"probability": draw.choice([0.5, 1.0]), "space": space}
    if rule in ("lognormal_degrees", "distance") and draw.some(0.3):
        options["normalized"] = True
    return options


def _connect(draw: Draw, net: Network, pre: dict, post: dict, scale: float, mean: float, style: str) -> None:
    """Add a projection of spikes onto neurons."""
    dt_ms, moves = net.model["dt_ms"], draw.some(0.15)
    entry = {"pre": pre["name"], "post": post["name"], "name": f"p{len(net.projections)}"}
    entry |= _rule(draw, pre, post, dt_ms, moves and pre["size"] > 2)
    entry["weight"] = _weight(draw, scale, mean)
    entry |= _delay(draw, style, dt_ms)
    if entry["rule"] == "distance" and draw.some(0.4):
        entry.pop("delay_ms", None)
        entry["delay"] = {"per_length": draw.uniform(0.0, 6.0), "offset": draw.uniform(0.0, 2.0)}
    if entry["rule"] == "explicit":
        n = len(entry["source"])
        entry |= {"weight": draw.array(-0.1 * scale, 0.5 * scale, n), "delay": np.rint(draw.array(1, 5, n)).astype(int)}
        entry.pop("delay_ms", None)
        if style == "one":
            entry["delay"] = 2
    if ports := getattr(post.get("model"), "ports", None) or _ports(post):
        entry["port"] = draw.choice(ports)
    if draw.some(0.15):
        entry["plastic"] = False
    if draw.some(0.97 if scale > 20.0 else 0.2):
        entry["optimizer"] = _optimizer(draw, net, scale)
    if np.any(pre.get("sign", 0)) and draw.some(0.9):
        entry["sign"] = "source"
        if entry["rule"] == "explicit":
            signs = np.broadcast_to(pre["sign"], pre["size"])[entry["source"]]
            entry["weight"] = np.where(signs == 0, entry["weight"], np.abs(entry["weight"]) * signs)
        if draw.some(0.15):
            entry["keep_signs"] = False
        if draw.some(0.2):
            entry["inhibition"] = draw.uniform(0.5, 4.0)
    elif draw.some(0.05):
        entry["sign"] = [draw.choice([-1, 0, 1]) for _ in range(pre["size"])]
    if moves and (entry.get("plastic", True) or draw.some(0.05)):
        temperature = draw.choice([0.0, 1e-3])
        entry["rewire"] = {
            "l1": draw.choice([0.0, 0.01, 1.0]),
            "temperature": temperature,
            "every": draw.choice([1, 2]),
        }
    elif draw.some(0.2) and ((entry.get("plastic", True) and "learn" not in post) or draw.some(0.05)):
        entry["learning_rule"] = draw.choice(RULES)
        if draw.some(0.3) and entry["learning_rule"] == "pair_stdp":
            entry["learning_parameters"] = {"A_minus": draw.value(0.5, 1.5, post["size"])}
        if draw.some(0.5):
            entry["optimizer"] = _optimizer(draw, net, scale)
    elif net.model["variant"] == "interval" and entry.get("plastic", True) and draw.some(0.2):
        kind = draw.choice(["adam", "gradient_descent"])
        entry |= {} if entry.get("rule") == "explicit" else {"allow_multapses": False}
        entry["learn_delay"] = {"type": kind, "eta": draw.choice([0.4, 3.0]), "high": draw.choice([90, 400])}
    if draw.some(0.15) and "learn_delay" not in entry:
        entry["transmission"] = {
            "U": draw.value(0.2, 0.9, pre["size"]),
            "tau_rec": draw.value(5.0, 300.0, pre["size"]),
            "tau_fac": draw.choice([0.0, 50.0]),
        }
    net.projections.append(entry)


def _ports(post: dict) -> tuple[str, ...]:
    return library.get_definition(post["model"]).ports if post.get("model") in library.free_names() else ()


def _learning_loop(draw: Draw, net: Network, groups: list[dict], readouts: list[dict]) -> None:
    """Add projections onto readouts, and back."""
    d_out, d_fb = draw.choice([1, 1, 2, 3]), draw.choice([1, 1, 2, 4])
    online, differ = net.model["variant"] == "spike", draw.some(0.04)
    for group in groups:
        for out in readouts:
            ends, rows = (group, out), [("pre", "post", d_out), ("post", "pre", d_fb)]
            for k, (_, _, delay) in enumerate(rows):
                if draw.some(0.15) and len(groups) * len(readouts) > 1:
                    continue
                forward = any(item["pre"] == group["name"] and item["post"] == out["name"] for item in net.projections)
                pre, post = ends if k == 0 else ends[::-1]
                name = f"{'onto' if k == 0 else 'back'}{len(net.projections)}"
                entry: dict[str, Any] = {"pre": pre["name"], "post": post["name"], "name": name}
                entry["weight"] = Normal(std=draw.choice([0.1, 0.5])) if draw.some(0.9) else 0.3
                entry["delay"] = draw.choice([delay, 5]) if differ else delay if online or draw.some(0.7) else (1, 4)
                if draw.some(0.3):
                    entry |= {"rule": "fixed_probability", "probability": 0.7}
                if k == 1:
                    kinds = ["random", "random", "symmetric", "adaptive"]
                    entry["feedback"] = draw.choice(kinds if forward or draw.some(0.1) else kinds[:2])
                    if entry["feedback"] == "symmetric":
                        entry["weight"] = 1.0
                elif draw.some(0.15):
                    entry["plastic"] = False
                elif draw.some(0.2):
                    entry["optimizer"] = _optimizer(draw, net, 1.0)
                net.projections.append(entry)


# ---- networks --------------------------------------------------------------------------------------------------------


def draw_network(number: int) -> Network:
    """Return the network of a number."""
    draw = Draw(f"network {number}")
    variant, rewarded = draw.choice(["interval", "spike"]), draw.some(0.12)
    online = variant == "spike"
    net = Network(
        number,
        {
            "variant": variant,
            "seed": draw.randrange(1000),
            "dt_ms": draw.choice([1.0, 1.0, 1.0, 0.5, 0.25, 0.1]),
            "precision": draw.choice(["double", "double", "single"]),
            "optimizer": {},
        },
    )
    if rewarded:
        loss = {
            "gamma": draw.choice([0.0, 0.9, 0.99]),
            "lambda_": draw.choice([0.0, 0.9, 1.0]),
            "c_V": 0.5,
            "c_H": 0.01,
        }
        net.model["loss"] = loss
    elif draw.some(0.07):
        net.model["loss"] = "own"
    net.model["optimizer"] = _optimizer(draw, net, 1.0)
    if draw.some(0.3 if online else 0.5):
        net.model["optimizer"]["batch_size"] = draw.choice([2, 3, 4, 5])
    dale, local = draw.some(0.3), draw.some(0.12) and not (online or rewarded)

    n_in = CorridorTask.n_inputs if rewarded else draw.randint(1, 12)
    inputs = [{"name": f"in{k}", "size": n} for k, n in enumerate(draw.split(n_in, draw.choice([1, 1, min(2, n_in)])))]
    sizes = [draw.randint(1, 9) for _ in range(draw.choice([1, 1, 2, 2, 3, 4]))]
    if draw.some(0.1):
        sizes = [1] * draw.choice([1, 1, 2, 3])  # fewer neurons than ranks
    elif draw.some(0.1):
        sizes[draw.randrange(len(sizes))] = draw.randint(40, 300)
    net.populations += [("inputs", table) for table in inputs]
    common = _filters(draw, 0.1 if rewarded else 0.2) if rewarded or draw.some(0.6) else {}
    scales = [_neurons(draw, net, f"rec{k}", n, common) for k, n in enumerate(sizes)]
    groups = [table for role, table in net.populations if role == "neurons"]
    if draw.some(0.15):
        for k, table in enumerate(groups):
            table["area"] = f"V{k // 2}"
    if dale:
        for table in (*inputs, *groups):
            n = table["size"]
            table["sign"] = draw.choice([1, -1, [draw.choice([-1, 1, 1, 0]) for _ in range(n)]])
    readouts = _readouts(draw, net, rewarded, local)
    currents = {"name": "dc", "size": draw.randint(1, 3)} if draw.some(0.2) and not rewarded else {}
    if currents:
        net.populations.append(("currents", currents))

    style = draw.choice(["one", "several", "drawn", "drawn"])
    for pre in inputs:
        for k, post in enumerate(groups):
            if draw.some(0.75):
                _connect(draw, net, pre, post, scales[k], 0.5, style)
    for pre in groups:
        for k, post in enumerate(groups):
            for _ in range(draw.choice([0, 1, 1, 1, 2])):
                _connect(draw, net, pre, post, scales[k] / max(1.0, pre["size"] ** 0.5), 0.0, style)
    _learning_loop(draw, net, groups, readouts)
    for k, post in enumerate(groups if currents else []):
        entry = {"pre": "dc", "post": post["name"], "name": f"dc{k}", "plastic": False}
        net.projections.append(entry | {"weight": Normal(mean=1.0, std=0.2), "delay": draw.choice([1, 1, (1, 3)])})
    draw.shuffle(net.projections)
    if local:
        named = [table["name"] for table in groups]
        net.local = {"name": "own", "of": draw.sample(named, draw.randint(1, len(named))), "tau_m": 20.0}
    for k, post in enumerate(groups):
        if draw.some(0.2):
            entry = {"neurons": post["name"], "rate_hz": draw.value(50.0, 2000.0, post["size"]), "name": f"noise{k}"}
            net.backgrounds.append(entry | {"weight": draw.value(0.05 * scales[k], 0.3 * scales[k], post["size"])})
    _perturb(draw, net, inputs, groups)
    _train(draw, net, n_in, sum(table["size"] for table in readouts), currents.get("size", 0), bool(local))
    return net


def _readouts(draw: Draw, net: Network, rewarded: bool, local: bool) -> list[dict[str, Any]]:
    sizes = [3] if rewarded else [] if local and draw.some(0.5) else [draw.randint(1, 3)] + [1] * draw.some(0.2)
    if draw.some(0.03):
        sizes = []
    loss = draw.choice(["mean_squared_error", "mean_squared_error", "cross_entropy", "huber"])
    tables = []
    for k, n in enumerate(sizes):
        table = {"name": f"out{k}", "size": n, "C_m": 1.0, "tau_m": draw.uniform(5.0, 30.0), "loss": loss}
        if draw.some(0.3):
            table |= {"E_L": -0.2, "I_e": 0.05, "V_min": draw.choice([-1e300, -0.5])}
        if net.model["variant"] == "interval":
            table["regular_spike_arrival"] = draw.some(0.5)
        elif draw.some(0.1):
            table["eprop_isi_trace_cutoff"] = draw.choice([0.0, 5.0, 30.0])
        tables.append(table)
    net.populations += [("readouts", table) for table in tables]
    return tables


def _perturb(draw: Draw, net: Network, inputs: list[dict], groups: list[dict]) -> None:
    dt_ms = net.model["dt_ms"]
    for k in range(draw.choice([0, 0, 0, 1, 2, 3])):
        kind = draw.choice(["silence", "inject", "dropout", "cut"])
        table = draw.choice(groups if kind == "inject" else [*inputs, *groups])
        entry: dict[str, Any] = {"kind": kind, "of": table["name"], "name": f"perturb{k}"}
        phases = [["train"], ["test"], ["validate", "test"], "all", []]
        if kind == "cut":
            spikes = [item["name"] for item in net.projections if "feedback" not in item]
            if not spikes:
                continue
            entry |= {"of": draw.choice(spikes), "phases": draw.choice([["test"], ["validate", "test"]])}
        else:
            entry["phases"] = draw.choice(phases)
        if draw.some(0.5):
            entry["start_ms"] = draw.randint(0, 15) * dt_ms
            if draw.some(0.5):
                entry["stop_ms"] = entry["start_ms"] + draw.randint(1, 20) * dt_ms
        if kind == "silence" and draw.some(0.6):
            entry["cells"] = draw.sample(range(table["size"]), draw.randint(1, table["size"]))
        elif kind == "inject":
            entry |= {"mean": draw.value(-0.1, 0.2, table["size"]), "std": draw.choice([0.0, 0.1])}
            if draw.some(0.3):
                entry["dt"] = 3 * dt_ms
        elif kind == "dropout":
            entry["p"] = draw.choice([0.0, 0.3, 1.0])
        net.perturbations.append(entry)


def _train(draw: Draw, net: Network, n_in: int, n_out: int, n_currents: int, local: bool) -> None:
    """Draw task, settings of the engine and of the training."""
    online, rewarded = net.model["variant"] == "spike", net.is_rewarded
    n_steps = draw.choice([5, 20, 40, 60, 61, 90])
    if draw.some(0.05):
        n_steps = draw.choice([300, 1100])
    if rewarded:
        net.task = {"sensor_delay": draw.choice([1, 2]), "bootstrap": draw.some(0.5), "n_steps": draw.choice([35, 40])}
    else:
        net.task = {
            "n_steps": n_steps,
            "learning_window": draw.choice([n_steps, n_steps, max(1, n_steps // 3)]),
            "seed": draw.randrange(1000),
            "inputs": n_in,
            "density": (draw.uniform(0.0, 0.1), draw.uniform(0.1, 0.5)),
            "readouts": n_out,
            "classes": draw.some(0.3),
            "currents": n_currents,
            "amplitude": 0.3,
            "window": draw.choice([0.0, 0.0, 0.5]),
            "local": local,
            "modulated": draw.some(0.9),
        }
    if not online:
        net.settings = {"average_gradient": draw.some(0.3), "reset": draw.some(0.6), "keeps_fixed": draw.some(0.2)}
        if draw.some(0.1):
            net.settings["averaged_steps"] = 10
    else:
        net.settings = {"lead": draw.choice([0, 2])} if draw.some(0.3) else {}
        if draw.some(0.5 if net.model["optimizer"].get("batch_size", 1) > 1 else 0.02):
            net.settings["reset"] = draw.choice([True, False])
    if draw.some(0.2):
        net.settings["round_steps"] = draw.choice([1, 1, 1, 2, 3])
    if (online and draw.some(0.3)) or draw.some(0.02):
        names = [name for name in ALGORITHMS if name not in ("static", "readout")]
        onto = [item for item in net.projections if item["name"].startswith("p")]
        if draw.some(0.3):
            net.settings["algorithms"] = draw.choice(["steps", draw.choice(names)])
        elif onto:
            some = draw.sample(onto, draw.randint(1, len(onto)))
            net.settings["algorithms"] = {
                item[draw.choice(["name", "post"])]: draw.choice(["steps", "steps", draw.choice(names)])
                for item in some
            }
    iterations = draw.choice([2, 3, 4, 5])
    net.training = {
        "iterations": iterations,
        "test_samples": draw.choice([0, 0, 2]),
        "validate_every": draw.choice([0, 0, 1, 2]),
    }
    if net.training["validate_every"]:
        net.training["validate_samples"] = draw.choice([1, 2])
    if draw.some(0.2):
        net.training[draw.choice(["eta_validate", "eta_test"])] = 1e-3
    net.in_files = draw.some(0.2)
    if draw.some(0.7) and net.in_files:
        what = draw.sample(WHAT, draw.randint(1, 4))
        net.training["record"] = {"every": draw.choice([1, 2]), "what": what, "neurons": draw.choice([0, 2, 400])}
        net.training["keep_best"] = bool(net.training["validate_every"]) and draw.some(0.5)
    net.until = draw.randint(1, iterations - 1)
