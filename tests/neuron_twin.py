"""Slow NumPy twin of neurons that are given as equations: derivatives are complex steps of the strings.

Independent of `pareprop.neurons`: its own reading of the strings, no symbols, traces of every synapse carried forward
in time. Networks, readouts and optimizers are those of `reference`.

A golden case of the format "pareprop-case-3" becomes a case of `reference.run_case` with `load_case`.
"""

from __future__ import annotations

import ast
import json
from functools import cache, reduce

import h5py
import numpy as np
import reference

TINY = 1e-30  # of a complex step
COMMON = {
    "t_ref": 2.0,
    "I_e": 0.0,
    "c_reg": 0.0,
    "f_target": 10.0,
    "kappa": 0.97,
    "kappa_reg": 0.97,
    "eprop_isi_trace_cutoff": np.inf,
    "surrogate_gradient_height": 0.3,
    "surrogate_gradient_width": 1.0,
}
COMPARE = {
    ast.Lt: np.less,
    ast.LtE: np.less_equal,
    ast.Gt: np.greater,
    ast.GtE: np.greater_equal,
    ast.Eq: np.equal,
    ast.NotEq: np.not_equal,
}
FUNCTIONS = {
    "exp": np.exp,
    "log": np.log,
    "sqrt": np.sqrt,
    "tanh": np.tanh,
    "detach": np.real,
    "abs": lambda x: np.where(np.real(x) >= 0, x, -x),
    "min": lambda *items: reduce(lambda a, b: np.where(np.real(a) <= np.real(b), a, b), items),
    "max": lambda *items: reduce(lambda a, b: np.where(np.real(a) >= np.real(b), a, b), items),
    "where": lambda c, a, b: np.where(np.real(c) != 0, a, b),
}


@cache
def parsed(text):
    return ast.parse(text, mode="eval").body


def value(node, env):
    """Value of an expression, a string or a part of one."""
    if isinstance(node, int | float):
        return node
    if isinstance(node, str):
        return value(parsed(node), env)
    match node:
        case ast.Constant(value=number):
            return number
        case ast.Name(id=name):
            return env[name]
        case ast.UnaryOp(op=ast.USub(), operand=a):
            return -value(a, env)
        case ast.UnaryOp(op=ast.Not(), operand=a):
            return (np.real(value(a, env)) == 0) * 1.0
        case ast.BoolOp(op=op, values=items):
            truths = [np.real(value(item, env)) != 0 for item in items]
            return (np.logical_and if isinstance(op, ast.And) else np.logical_or).reduce(
                np.broadcast_arrays(*truths)
            ) * 1.0
        case ast.Compare(left=a, ops=[op], comparators=[b]):
            return COMPARE[type(op)](np.real(value(a, env)), np.real(value(b, env))) * 1.0
        case ast.Call(func=ast.Name(id=name), args=items):
            return FUNCTIONS[name](*(value(item, env) for item in items))
        case ast.BinOp(left=left, op=op, right=right):
            a, b = value(left, env), value(right, env)
            match op:
                case ast.Add():
                    return a + b
                case ast.Sub():
                    return a - b
                case ast.Mult():
                    return a * b
                case ast.Div():
                    return a / b
                case ast.Pow():
                    return a**b
    raise ValueError(ast.dump(node))


def derivative(text, env, name):
    """Derivative of an expression by a name, at the real values of `env`."""
    with np.errstate(all="ignore"):
        return np.imag(value(text, env | {name: env[name] + 1j * TINY})) / TINY


class Kind:
    """Neurons of one group: parameters, constants, states; one step; derivatives at that step."""

    def __init__(self, definition, n, params, dt):
        self.d, self.n = definition, n
        self.env = dict(COMMON) | {key: item[0] for key, item in definition["parameters"].items()} | params
        self.env = {key: np.broadcast_to(np.asarray(item, float), n) for key, item in self.env.items()} | {"dt": dt}
        for name, text in definition.get("constants", {}).items():
            self.env[name] = np.broadcast_to(value(text, self.env), n)
        self.names, self.ports = list(definition["states"]), list(definition.get("ports", ["arriving"]))
        self.K, self.first_current = len(self.names), definition.get("current_from", 1)
        self.t_ref = np.rint(self.env["t_ref"] / dt)
        self.kept = self.find_kept()
        self.reset()

    def reset(self):
        self.s = {
            name: np.broadcast_to(value(item[0], self.env), self.n) + 0.0 for name, item in self.d["states"].items()
        }
        self.z, self.counter = np.zeros(self.n), np.zeros(self.n)

    def advance(self, env, learns=False):
        """New states from old ones; with `learns`, by the expressions from which derivatives are taken.

        Dynamics go by "rk4", or by exponential Euler steps, for what is linear in itself.
        """
        now, dynamics = dict(env), self.d.get("dynamics", {})
        dt = env["dt"] / self.d.get("substeps", 1)
        with np.errstate(all="ignore"):
            for _ in range(self.d.get("substeps", 1) if dynamics else 0):
                if self.d["integrator"] == "rk4":
                    sums, slope = dict.fromkeys(dynamics, 0.0), dict.fromkeys(dynamics, 0.0)
                    for share, weight in ((0.0, 1 / 6), (0.5, 1 / 3), (0.5, 1 / 3), (1.0, 1 / 6)):
                        at = now | {name: now[name] + share * dt * slope[name] for name in dynamics}
                        slope = {name: value(text, at) for name, text in dynamics.items()}
                        sums = {name: sums[name] + weight * dt * slope[name] for name in dynamics}
                    now |= {name: now[name] + sums[name] for name in dynamics}
                    continue
                slope = {name: value(text, now) for name, text in dynamics.items()}
                for name, text in dynamics.items():
                    rate = value(text, now | {name: now[name] + 1.0}) - slope[name]
                    slope[name] = slope[name] * np.where(rate == 0, dt, np.expm1(rate * dt) / rate)
                now |= {name: now[name] + slope[name] for name in dynamics}
            new = {name: now[name] + value(self.d.get("jumps", {}).get(name, 0), env) for name in dynamics}
            for key in ("step", "traces") if learns else ("step",):
                new |= {name: value(text, env) for name, text in self.d.get(key, {}).items()}
        return [new[name] for name in self.names]

    def slopes(self, env, name):
        """Derivatives (n, K) of new states by a name, at the real values of `env`."""
        new = self.advance(env | {name: env[name] + 1j * TINY}, learns=True)
        return np.array([np.imag(item) / TINY * np.ones(self.n) for item in new]).T

    def step(self, arriving, current):
        """One step; derivatives stay in `J` (n, K, K), `U` (n, K, ports), `v`, `h`, `gap` (n, K), `R` (n, K, K)."""
        refractory = (self.counter > 0) * 1.0
        old = self.env | self.s | arriving | {"I": current, "z": self.z, "refractory": refractory}
        by = self.names
        self.J, self.U = (np.stack([self.slopes(old, name) for name in names], 2) for names in (by, self.ports))
        self.v = self.slopes(old, "z")
        new = self.env | {name: np.real(item) for name, item in zip(by, self.advance(old), strict=True)}
        self.old, self.new = old, new
        self.counter = np.maximum(self.counter - 1, 0)
        x = np.real(value(self.d["spike"], new))
        self.psi = np.where(self.counter > 0, 0.0, self.surrogate(x))
        fired = (x >= 0) & (self.counter == 0)
        self.h = np.array([derivative(self.d["spike"], new, name) * np.ones(self.n) for name in by]).T
        after = {name: np.real(value(text, new)) for name, text in self.d.get("reset", {}).items()}
        self.R = np.broadcast_to(np.eye(self.K), (self.n, self.K, self.K)).copy()
        self.gap = np.zeros((self.n, self.K))
        for name in self.d.get("follow", ()):
            k = by.index(name)
            rows = np.array([derivative(self.d["reset"][name], new, j) * np.ones(self.n) for j in by]).T
            self.R[fired, k] = rows[fired]
            self.gap[:, k] = after[name] - new[name]
        self.s = {name: np.where(fired, after.get(name, new[name]), new[name]) for name in by}
        self.counter = np.where(fired, self.t_ref, self.counter)
        self.z = fired * 1.0
        return fired

    def by_parameter(self, name):
        """Derivatives at the latest step by a parameter: q (n, K), x (n,), r where it spiked (n, K), initial (n, K)."""
        moved = self.env | {name: self.env[name] + 1j * TINY}
        for key, text in self.d.get("constants", {}).items():
            moved[key] = value(text, moved)
        fixed = {key: moved[key] for key in self.env}
        old = self.old | fixed | {"I": self.old["I"] + 1j * TINY * (name == "I_e")}
        new, one = self.new | fixed, np.ones(self.n)

        def slope(text, env):
            return np.imag(value(text, env)) / TINY * one

        q = np.array([np.imag(item) / TINY * one for item in self.advance(old, learns=True)]).T
        r = np.zeros((self.n, self.K))
        for key in self.d.get("follow", ()):
            r[:, self.names.index(key)] = slope(self.d["reset"][key], new) * self.z
        initial = np.array([slope(item[0], moved) for item in self.d["states"].values()]).T
        return q, slope(self.d["spike"], new), r, initial

    def surrogate(self, x):
        name = self.d.get("surrogate", "piecewise_linear")
        if name in reference.SURROGATES:
            height, width = self.env["surrogate_gradient_height"], self.env["surrogate_gradient_width"]
            return reference.SURROGATES[name](x, height, width)
        return value(name, self.env | {"x": x})

    def find_kept(self):
        """States whose diagonal entry of J is the same whatever the state; and those whose v is."""
        draw = np.random.default_rng(1)
        found = []
        for refractory in (0.0, 1.0) * 10:
            states = {
                name: value(item[0], self.env) + draw.normal(0, 30, self.n) for name, item in self.d["states"].items()
            }
            more = {name: draw.normal(0, 9, self.n) for name in (*self.ports, "I")}
            env = self.env | states | more | {"z": draw.integers(0, 2, self.n) * 1.0, "refractory": refractory}
            by_z = self.slopes(env, "z")
            found.append([(self.slopes(env, i)[:, k], by_z[:, k]) for k, i in enumerate(self.names)])
        found = np.array(found)  # (draws, K, 2, n)
        with np.errstate(invalid="ignore"):
            same = np.ptp(found, axis=0) <= 1e-9 * np.abs(found).max(axis=0)
        return np.all(same, axis=2)  # (K, 2)


class Cells:
    """All neurons of a case, as `reference.Neurons`: K states each, the rest padded with 0."""

    def __init__(self, case, dt):
        models, groups = case["neuron_models"], case["groups"]
        self.kinds = [Kind(models[g["model"]], g["n"], g["params"], dt) for g in groups]
        ends = np.cumsum([g["n"] for g in groups])
        self.slices = [slice(end - g["n"], end) for g, end in zip(groups, ends, strict=True)]
        self.n, self.K = int(ends[-1]), max(kind.K for kind in self.kinds)
        self.P = max(len(kind.ports) for kind in self.kinds)
        for name in ("c_reg", "kappa", "kappa_reg"):
            setattr(self, name, self.gathered(name))
        self.f_target, self.dt = self.gathered("f_target") / 1000.0, dt
        self.cutoff = np.rint(np.minimum(self.gathered("eprop_isi_trace_cutoff") / dt, 1e9))
        self.history, self.states, self.steps = [], [], 0
        self.port = {key: self.ports_of(case[f"port_{key}"]) for key in ("in", "rec")}
        self.kept = np.zeros((self.n, self.K, 2), bool)
        for kind, place in zip(self.kinds, self.slices, strict=True):
            self.kept[place, : kind.K] = kind.kept

    def gathered(self, name):
        return np.concatenate([kind.env[name] for kind in self.kinds])

    def ports_of(self, names):
        names = [names] * len(self.kinds) if isinstance(names, str) else list(names)
        return np.concatenate([np.full(k.n, k.ports.index(p)) for k, p in zip(self.kinds, names, strict=True)])

    def reset(self):
        for kind in self.kinds:
            kind.reset()

    def step(self, arriving, injected, first):
        """As `reference.Neurons.step`. Keeps derivatives and states of the step; returns the spikes."""
        fired, now = np.zeros(self.n, bool), {}
        shapes = {
            "J": (self.K, self.K),
            "U": (self.K, self.P),
            "v": (self.K,),
            "h": (self.K,),
            "gap": (self.K,),
            "R": (self.K, self.K),
            "psi": (),
        }
        now = {name: np.zeros((self.n, *shape)) for name, shape in shapes.items()}
        for kind, place in zip(self.kinds, self.slices, strict=True):
            sums = {name: np.zeros(kind.n) for name in kind.ports}
            for key, port in self.port.items():
                for p, name in enumerate(kind.ports):
                    sums[name] += np.where(port[place] == p, arriving[key][place], 0.0)
            current = kind.env["I_e"] * (self.steps >= kind.first_current) + injected[place]
            fired[place] = kind.step(sums, current)
            for name, array in now.items():
                array[(place, *(slice(0, size) for size in np.shape(getattr(kind, name))[1:]))] = getattr(kind, name)
        self.steps += 1
        self.history.append(now)
        self.states.append([dict(kind.s) for kind in self.kinds])
        self.psi = now["psi"]
        self.v = self.E_L = np.zeros(self.n)  # what `reference.Network` keeps of other neurons
        return fired


def trace(now, targets, eps, before, entering):
    """One step of traces (synapses, K) of neurons `targets`; returns eps and e. `entering`: U z, (synapses, K)."""
    J, v, h, psi, R, gap = (now[name][targets] for name in ("J", "v", "h", "psi", "R", "gap"))
    with np.errstate(all="ignore"):
        new = np.einsum("sij,sj->si", J, eps) + v * before[:, None] + entering
        e = psi * np.sum(h * new, axis=1)
        return np.einsum("sij,sj->si", R, new) + gap * e[:, None], e


class EquationRow(reference.Row):
    """Synapses of the spike variant; `port` (targets,) of each."""

    key = "in"

    def __init__(self, net, targets, weights, cutoff):
        super().__init__(net, targets, weights, cutoff)
        self.cells = net.neurons
        self.kappa, self.kappa_reg = self.cells.kappa[targets], self.cells.kappa_reg[targets]
        self.eps, self.e = np.zeros((len(targets), self.cells.K)), np.zeros(len(targets))
        self.ebar, self.ereg = np.zeros((2, len(targets)))
        self.latest = None

    def work(self, u, z, history):
        if u < 0:
            return np.zeros(len(self.targets))
        now = self.latest = self.cells.history[u]
        port = self.cells.port[self.key][self.targets]
        self.eps, self.e = trace(now, self.targets, self.eps, self.e, now["U"][self.targets, :, port] * z)
        _, L, F = history.neuron(u, self.targets)
        self.ebar = self.kappa * self.ebar + self.e
        self.ereg = self.kappa_reg * self.ereg + (1.0 - self.kappa_reg) * self.e
        g = L * self.ebar + F * self.ereg
        if self.keeps:
            self.steps.append((u, self.e, self.ebar, g))
        return g

    def decay(self, n):
        if n <= 0 or self.latest is None:
            return
        own = np.einsum("skk->sk", self.latest["J"][self.targets])
        v = self.latest["v"][self.targets]
        keeps = self.cells.kept[self.targets]
        with np.errstate(all="ignore"):
            carried = np.where(keeps[:, :, 1], own ** (n - 1) * v * self.e[:, None], 0.0)
            self.eps = np.where(keeps[:, :, 0], own**n * self.eps + carried, 0.0)
        self.e = np.zeros(len(self.targets))
        self.ebar, self.ereg = self.ebar * self.kappa**n, self.ereg * self.kappa_reg**n


class RecurrentRow(EquationRow):
    key = "rec"


class TwinNetwork(reference.Network):
    """A case with equations."""

    def __init__(self, case):
        plain = {**case, "groups": [{"model": "iaf", "n": g["n"], "params": {}} for g in case["groups"]]}
        super().__init__(plain)
        self.neurons, self.row_types = Cells(case, self.dt), {"in": EquationRow, "rec": RecurrentRow}

    def make_traces(self):
        return EquationTraces(self)


class EquationTraces:
    """As `reference.NeuronTraces`."""

    def __init__(self, net):
        self.net, self.shape = net, (net.n_rec, net.n_in + net.n_rec)
        self.targets = np.repeat(np.arange(net.n_rec), self.shape[1])
        columns = [np.tile(net.neurons.port[key][:, None], n) for key, n in (("in", net.n_in), ("rec", net.n_rec))]
        self.ports = np.hstack(columns).ravel()
        self.eps, self.e = np.zeros((self.targets.size, net.neurons.K)), np.zeros(self.targets.size)

    def step(self, s, z):
        now = self.net.neurons.history[s]
        entering = now["U"][self.targets, :, self.ports] * z.ravel()[:, None]
        self.eps, self.e = trace(now, self.targets, self.eps, self.e, entering)
        return self.e.reshape(self.shape)


def load_case(path):
    """Read a case "pareprop-case-3": a dict as `reference.load_case` returns, with `neuron_models` and ports."""
    case = reference.load_case(path, "pareprop-case-3")
    case |= {"neuron_models": json.loads(case["neuron_models"]), "dt": case.get("dt_ms", 1.0)}
    with h5py.File(path) as file:
        case["expected"]["states"] = {name: node[()] for name, node in file["expected/states"].items()}
    return case


def run(case):
    """Simulate a case; the results of `reference.run_case`, and `states`: by step and group, values by name."""
    net = TwinNetwork(case)
    return reference.run_network(case, net) | {"states": net.neurons.states, "network": net}
