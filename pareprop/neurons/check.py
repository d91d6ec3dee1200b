"""Check a neuron model before a network is trained: compiled code is compared with independent computations.

Symbolic derivatives are compared with complex steps of the equations, the compiled step with NumPy, the backward pass
with traces computed forward. Then follow rest, time constants there, firing curve, largest trace, units, unused names,
costs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..errors import InputError
from ..values import Given, Values
from .calls import Cells
from .compile import Program, compile_model
from .derive import NEVER_LEARNED, Derivatives, Learns, derive_model
from .language import COMPLEX, Tree, evaluate_tree, names_of, with_terms, write
from .model import NeuronModel
from .stored_terms import OLD
from .units import list_mismatches

STEPS = 200  # steps of the comparisons
TINY = 1e-30  # size of a complex step
RATE = 22.0  # Hz at which the largest trace is measured
LARGE = 1e4  # a trace explodes if it exceeds the contribution of an arrival by this factor


@dataclass
class Check:
    """Results of a check.

    Attributes
    ----------
    model : NeuronModel
        The model.
    lines : list of str
        "key: value" lines.
    warnings : list of str
        Lines on what a user should look at.
    errors : list of str
        Lines on two ways of computing that disagree.
    time, response, spikes : ndarray
        Times in ms, states (n_states, n_steps) and spikes (n_steps,) while the neuron fires.
    eps, psi : ndarray
        Traces (n_states, n_steps) and e (n_steps,) of one synapse in that time; surrogate gradients (n_steps,).
    drive, rates : ndarray
        Firing curve: input and rate in Hz.
    drive_unit : str
        Unit of the input.
    """

    model: NeuronModel
    lines: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    time: np.ndarray = field(default_factory=lambda: np.zeros(0))
    response: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    spikes: np.ndarray = field(default_factory=lambda: np.zeros(0))
    eps: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    e: np.ndarray = field(default_factory=lambda: np.zeros(0))
    psi: np.ndarray = field(default_factory=lambda: np.zeros(0))
    drive: np.ndarray = field(default_factory=lambda: np.zeros(0))
    rates: np.ndarray = field(default_factory=lambda: np.zeros(0))
    drive_unit: str = ""

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong."""
        return not self.errors

    def text(self) -> str:
        """Return all lines as one text."""
        lines = [*self.lines, *(f"warning: {line}" for line in self.warnings)]
        return "\n".join([*lines, *(f"error: {line}" for line in self.errors)])


def check_model(model: NeuronModel, dt_ms: float = 1.0, values: Mapping[str, float] | None = None) -> Check:
    """Compare derivatives, step and backward pass with slow computations; find rest, firing curve, traces, units, cost.

    `values` are parameters that differ from their defaults. Raises `InputError` if a state is not finite at the start,
    or diverges.
    """
    with np.errstate(all="ignore"):  # values that are not finite are reported, or compared as they are
        return _Checker(model, dt_ms, dict(values or {})).run()


def _measure_deviation(found: np.ndarray, expected: np.ndarray) -> float:
    """Return the largest difference, relative to values above 1; infinite if just one of two values is not finite."""
    same = (found == expected) | (np.isnan(found) & np.isnan(expected))
    apart = np.where(same, 0.0, np.abs(found - expected) / np.maximum(np.abs(expected), 1.0))
    return float(np.max(np.where(np.isnan(apart), np.inf, apart), initial=0.0))


def _compare_with_complex_step(tree: Tree, moved: Values, derivatives: Sequence[Tree | None], read: Values) -> float:
    """Return the deviation of the sum of derivatives of a tree from its complex step to `moved` values."""
    exact, ours = np.broadcast_arrays(
        np.imag(evaluate_tree(tree, moved, COMPLEX)) / TINY,
        sum(evaluate_tree(part, read) for part in derivatives if part is not None),
    )
    both = np.isfinite(exact) & np.isfinite(ours)
    return _measure_deviation(ours[both], exact[both])


class _DrivenNeuron:
    """Neurons of a model under constant input: a current if a step reads it, else a weight in each step at port 0."""

    def __init__(self, model: NeuronModel, program: Program, values: dict[str, float], dt_ms: float) -> None:
        self.model, self.program, self.values, self.dt = model, program, values, dt_ms
        read = set().union(*(names_of(tree, model.equations.terms) for tree in model.equations.step.values()))
        self.by_current = "I" in read
        self.unit = model.units["I_e"] if self.by_current else f"per step at {model.ports[0]}"
        self.level, self.kick = 0.0, 1.0  # input that makes the neuron fire at about `RATE`, and weight of an arrival

    def make_cells(self, n: int) -> Cells:
        """Return `n` neurons at the start."""
        return Cells(self.program, n, self.values, self.dt)

    def make_input(self, level: float | np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Return constant input of a step, one level for all neurons or one for each: at the ports, and as current."""
        ports, current = np.zeros((len(self.model.ports), n)), np.zeros(n)
        (current if self.by_current else ports[0])[:] = level
        return ports, current

    def draw_input(self, draw: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Return random input that makes the neuron fire now and then."""
        ports = self.kick * draw.normal(0.3, 1.0, (len(self.model.ports), n)) * (draw.random((1, n)) < 0.3)
        current = np.full(n, self.level if self.by_current else 0.0)
        return ports + (0.0 if self.by_current else self.level), current

    def measure_range(self) -> np.ndarray:
        """Return the range of each state on the way to a spike, (n_states,)."""
        cells, states = self.make_cells(1), []
        for _ in range(max(int(200 / self.dt), 50)):
            cells.step(*self.make_input(self.level, 1))
            states.append(cells.state[:, 0].copy())
        return np.ptp(np.array(states), axis=0)

    def measure_rates(self, levels: np.ndarray, steps: int) -> np.ndarray:
        """Return rates in Hz at constant input; NaN if a state diverges."""
        n = len(levels)
        cells, spikes, given = self.make_cells(n), np.zeros(n), self.make_input(levels, n)
        for _ in range(steps):
            z, _, _ = cells.step(*given)
            spikes += z
        rates = spikes / (steps * self.dt / 1000)
        return np.where(np.all(np.isfinite(cells.state), axis=0), rates, np.nan)

    def record_response(self, level: float, steps: int, result: Check) -> None:
        """Store states, surrogate gradients and traces of one neuron at constant input in `result`."""
        model = self.model
        cells, given = self.make_cells(1), self.make_input(level, 1)
        trace = np.zeros((self.program.n_traces, 1))
        states, spikes, psis, eps, e = [], [], [], [], []
        for t in range(steps):
            before = cells.before
            z, psi, kept = cells.step(*given)
            if not np.all(np.isfinite(cells.state)):
                name = list(model.states)[int(np.argmin(np.isfinite(cells.state[:, 0])))]
                raise InputError(
                    f"neuron model '{model.name}': state {name} runs away: it is not finite after {t + 1} steps of "
                    f"{self.dt:g} ms at an input of {level:.3g} {self.unit}"
                )
            cells.before = kept
            e.append(cells.advance_trace(0, before, kept, psi, float(t in (1, 2, 3) or t % 20 == 0), trace)[0])
            states.append(cells.state[:, 0].copy())
            spikes.append(z[0])
            psis.append(psi[0])
            eps.append(trace[: len(model.states), 0].copy())
        result.time, result.response = (1 + np.arange(steps)) * self.dt, np.array(states).T
        result.spikes, result.psi = np.array(spikes), np.array(psis)
        result.eps, result.e = np.array(eps).T, np.array(e)


class _Checker:
    def __init__(self, model: NeuronModel, dt_ms: float, values: dict[str, float]) -> None:
        self.model, self.dt, self.values = model, dt_ms, values
        model.check_start(values, dt_ms)
        self.program, self.by = compile_model(model), derive_model(model)
        self.result = Check(model)
        self.fixed = with_terms(model.complete_values(values, dt_ms), self.by.constants)
        self.states = list(model.states)
        self.driven = _DrivenNeuron(model, self.program, values, dt_ms)

    def run(self) -> Check:
        """Do everything, in the order of the report."""
        result, by = self.result, self.by
        signs = dict.fromkeys(self.model.positive, " (weights of at least 0)")
        ports = ", ".join(name + signs.get(name, "") for name in self.model.ports)
        result.lines.append(f"model: {self.model.name}, states {', '.join(self.states)}, ports {ports}")
        if how := self.model.equations.integration:
            result.lines.append(f"integration: {how}")
        by_curve = self.find_firing_curve()
        result.lines.append(f"largest difference of derivatives: {self.compare_derivatives():.1e} (complex steps)")
        result.lines.append(f"largest difference of a step: {self.compare_steps():.1e} (NumPy)")
        result.lines.append(
            f"largest difference of the sweep: {self.compare_backward_pass():.1e} (traces carried forward)"
        )
        for line in result.lines[-3:]:
            if float(line.split(": ")[1].split()[0]) > 1e-6:
                result.errors.append(line)
        self.report_learning()
        self.report_rest()
        result.lines += by_curve
        self.report_response()
        result.warnings += _list_unread(self.model)
        result.warnings += [f"units: {line}" for line in list_mismatches(self.model)]
        kept = ", ".join([*map(write, by.keeps), *["flags"] * (by.n_kept > len(by.keeps))])
        result.lines.append(f"kept per neuron and step: {1 + by.n_kept} (psi{', ' + kept if kept else ''})")
        entries = len(by.J) + len(by.h) + len(by.v) + len(by.R) + len(by.gap)
        result.lines.append(
            f"cost of an arrival: interval variant 1 addition; spike variant {self.program.n_traces + 2} numbers per "
            f"synapse, {entries} entries per step of a loop"
        )
        return result

    def name_values(self, states: Given, new: Given, more: Given) -> Values:
        """Return the values that trees of derivatives read, by name."""
        named = {**self.fixed, **new, **{OLD + name: value for name, value in states.items()}, **more}
        return with_terms(named, self.by.terms)

    # ---- two ways of the same ----------------------------------------------------------------------------------------

    def draw_states(self, draw: np.random.Generator, n: int) -> tuple[Values, Values]:
        """Return random states, and random input."""
        reached = self.result.response
        low, high = reached.min(axis=1), reached.max(axis=1)
        states = {
            name: draw.uniform(low[k], high[k] + 1e-3 * (1 + abs(high[k])), n) for k, name in enumerate(self.states)
        }
        more: Values = {name: draw.normal(0, self.driven.kick, n) for name in self.model.ports}
        more |= {"I": draw.normal(0, 1, n), "z": draw.integers(0, 2, n) * 1.0}
        return states, more | {"refractory": draw.integers(0, 2, n) * 1.0}

    def compare_derivatives(self) -> float:
        """Return the largest difference of J, U, v, h, R from complex steps, relative to the largest entry."""
        model, by, equations = self.model, self.by, self.model.equations
        states, more = self.draw_states(np.random.default_rng(1), 64)
        old = {**self.fixed, **states, **more}
        read = self.name_values(states, states, more)
        rows = [equations.traces.get(name, equations.step[name]) for name in self.states]
        pairs = [(tree, name, by.J.get((i, j))) for i, tree in enumerate(rows) for j, name in enumerate(self.states)]
        pairs += [(tree, name, by.U.get((i, p))) for i, tree in enumerate(rows) for p, name in enumerate(model.ports)]
        pairs += [(tree, "z", by.v.get(i)) for i, tree in enumerate(rows)]
        for j, name in enumerate(self.states):
            pairs.append((equations.spike, name, by.h.get(j)))
            pairs += [(equations.reset[k], name, by.R.get((self.states.index(k), j))) for k in model.follow]
        moved = {
            name: with_terms({**old, name: old[name] + 1j * TINY}, equations.terms, COMPLEX)
            for name in (*self.states, *model.ports, "z")
        }
        return max(_compare_with_complex_step(tree, moved[name], [given], read) for tree, name, given in pairs)

    def report_learning(self) -> None:
        """Report which parameters can be learned, and compare derivatives by them with complex steps."""
        model, result = self.model, self.result
        names = tuple(sorted(name for name in model.defaults if name not in NEVER_LEARNED))
        try:
            by = derive_model(model, Learns(names))
        except InputError as problem:
            result.warnings.append(f"parameters cannot be learned all at once: {problem}")
            return
        paths = {name: by.learned.list_paths(model, k) for k, name in enumerate(names)}
        learned = [f"{name} ({', '.join(through)})" for name, through in paths.items() if through]
        result.lines.append(f"can be learned, through: {'; '.join(learned) or 'none'}")
        if others := [name for name, through in paths.items() if not through]:
            result.lines.append(f"cannot be learned, no spike depends on them: {', '.join(others)}")
        worst = self.compare_parameter_derivatives(by, names)
        result.lines.append(f"largest difference of derivatives by parameters: {worst:.1e} (complex steps)")
        if worst > 1e-6:
            result.errors.append(result.lines[-1])

    def compare_parameter_derivatives(self, by: Derivatives, names: Sequence[str]) -> float:
        """Return the largest difference of q, x, r and d initial from complex steps, relative to the largest entry."""
        model, equations, learned = self.model, self.model.equations, by.learned
        states, more = self.draw_states(np.random.default_rng(4), 64)
        fixed = with_terms(model.complete_values(self.values, self.dt), by.constants)
        read = {**fixed, **states, **{OLD + name: value for name, value in states.items()}, **more}
        read = with_terms(read, by.terms)
        rows = [equations.traces.get(name, equations.step[name]) for name in self.states]
        given, worst = {**model.defaults, **self.values, "dt": self.dt}, 0.0
        for k, name in enumerate(names):
            moved = with_terms({**given, name: given[name] + 1j * TINY}, equations.constants, COMPLEX) | states | more
            moved["I"] = more["I"] + 1j * TINY * (name == "I_e")
            moved = with_terms(moved, equations.terms, COMPLEX)
            pairs = [(tree, [learned.q.get((i, k)), learned.current.get((i, k))]) for i, tree in enumerate(rows)]
            pairs += [(tree, [learned.initial.get((i, k))]) for i, tree in enumerate(equations.initial.values())]
            pairs.append((equations.spike, [learned.x.get(k)]))
            for i in map(self.states.index, model.follow):
                pairs.append((equations.reset[self.states[i]], [learned.r.get((i, k))]))
            worst = max(worst, *(_compare_with_complex_step(tree, moved, trees, read) for tree, trees in pairs))
        return worst

    def compare_steps(self) -> float:
        """Return the largest difference of compiled steps from NumPy's, relative to the largest value of a state."""
        equations, n, draw, worst = self.model.equations, 8, np.random.default_rng(2), 0.0
        cells = self.driven.make_cells(n)
        for _ in range(STEPS):
            states = dict(zip(self.states, cells.state.copy(), strict=True))
            ports, current = self.driven.draw_input(draw, n)
            more = dict(zip(self.model.ports, ports, strict=True)) | {"I": current, "z": cells.z.copy()}
            old = {**self.fixed, **states, **more, "refractory": (cells.refractory > 0) * 1.0}
            old = with_terms(old, equations.terms)
            new = {name: np.broadcast_to(evaluate_tree(tree, old), n) for name, tree in equations.step.items()}
            z, _, _ = cells.step(ports, current)
            then = {**self.fixed, **new}
            for k, name in enumerate(self.states):
                after = evaluate_tree(equations.reset[name], then) if name in equations.reset else new[name]
                worst = max(worst, _measure_deviation(cells.state[k], np.where(z != 0, after, new[name])))
        return worst

    def compare_backward_pass(self) -> float:
        """Return the largest difference of gradients backward and by traces, relative to the sum of all terms."""
        n, draw, model = 8, np.random.default_rng(3), self.model
        cells, rows = self.driven.make_cells(n), []
        traces = [np.zeros((self.program.n_traces, n)) for _ in model.ports]
        L, arrivals = draw.normal(size=(STEPS, n)), draw.random(STEPS) < 0.2
        forward, size = np.zeros((2, len(model.ports), n))
        for t in range(STEPS):
            before = cells.before
            _, psi, kept = cells.step(*self.driven.draw_input(draw, n))
            rows.append((before, kept, psi))
            cells.before = kept
            for p, trace in enumerate(traces):
                term = L[t] * cells.advance_trace(p, before, kept, psi, float(arrivals[t]), trace)
                forward[p] += term
                size[p] += np.abs(term)
        adjoint, backward = np.zeros((self.program.n_adjoint, n)), np.zeros_like(forward)
        for t in reversed(range(STEPS)):
            backward += arrivals[t] * cells.run_backward_step(
                rows[t][0], rows[t][1], 1.0, np.ascontiguousarray(L[t]), np.zeros(n), adjoint, rows[t][2]
            )
        return float(np.nanmax(np.abs(backward - forward) / np.maximum(size, 1e-300), initial=0.0))

    # ---- what the neuron does ----------------------------------------------------------------------------------------

    def find_firing_curve(self) -> list[str]:
        """Find input that makes the neuron fire at 0 to about 100 Hz; the first comparison needs it, too."""
        driven, result, steps = self.driven, self.result, max(int(1000 / self.dt), 100)
        unit = result.drive_unit = driven.unit
        levels = np.concatenate([[0.0], 10.0 ** np.arange(-4, 8.1, 0.25)])
        rates = driven.measure_rates(levels, steps)
        firing = np.flatnonzero(rates > 0)
        if not firing.size:
            (lost,) = np.nonzero(np.isnan(rates))
            most = f"{levels[lost[0] - 1]:.3g} {unit}" if lost.size and lost[0] else "10^8"
            result.warnings.append(f"the neuron does not spike for any constant input up to {most}")
            result.drive, result.rates = levels, rates
            self.warn_of_step()
            driven.record_response(0.0, steps, result)
            return ["rheobase: none"]
        first = int(firing[0])
        if first == 0:
            result.warnings.append(f"the neuron spikes without input, at {rates[0]:.3g} Hz")
        top = levels[first] * 4 if first else 1.0
        above = np.flatnonzero(rates > 100)
        top = max(top, levels[above[0]]) if above.size and levels[above[0]] < 30 * max(top, 1e-9) else top
        levels = np.linspace(0, top, 41)
        result.drive, result.rates = levels, driven.measure_rates(levels, steps)
        self.warn_of_step()
        firing = np.flatnonzero(result.rates > 0)
        rheobase = levels[firing[0]] if firing.size else top
        distance = np.where(result.rates > 0, np.abs(result.rates - RATE), np.inf)
        driven.level = float(levels[np.argmin(distance)]) if firing.size else float(top)
        driven.kick = self.find_kick() if driven.by_current else 0.3 * max(rheobase, levels[1])
        driven.record_response(driven.level, steps, result)
        *_, fastest = np.flatnonzero(result.rates == np.nanmax(result.rates))
        rate = f"rate: {result.rates[fastest]:.3g} Hz at {levels[fastest]:.3g} {unit}"
        return [f"rheobase: about {rheobase:.3g} {unit}", rate]

    def warn_of_step(self) -> None:
        """Warn where states are not finite at some input (a rate is NaN), as where a time step is too long."""
        result, driven = self.result, self.driven
        if (lost := result.drive[np.isnan(result.rates)]).size:
            remedy = "; take a shorter --dt" + (", or more substeps" if self.model.dynamics else "")
            result.warnings.append(
                f"states are not finite at a constant input of {lost[0]:.3g} {driven.unit}, "
                f"with steps of {self.dt:g} ms{remedy}"
            )

    def find_kick(self) -> float:
        """Return the weight of an arrival that moves a state by a percent of the way to a spike."""
        size = 1.0
        for (i, _), tree in self.by.U.items():
            value = evaluate_tree(tree, self.read_at_rest())
            if np.isfinite(value) and value != 0:
                reached = self.driven.measure_range()[i]
                size = max(0.1 * reached / abs(float(value)), 1e-3)
                break
        return size

    def report_response(self) -> None:
        """Report the rate and the largest trace while the neuron fires."""
        result, seconds = self.result, len(self.result.time) * self.dt / 1000
        largest = float(np.max(np.abs(result.eps), initial=0.0))
        rate = result.spikes.sum() / seconds if seconds else 0.0
        shown = "inf" if not np.isfinite(largest) else f"{largest:.3g}"
        result.lines.append(f"largest trace: {shown} within a second at {rate:.3g} Hz")
        passed = {*self.by.gap, *(k for k, _ in self.by.R)}
        if ended := [name for name in self.model.follow if self.states.index(name) not in passed]:
            result.lines.append(f"a spike ends traces of: {', '.join(ended)}")
        added = max(
            (abs(float(np.max(np.abs(evaluate_tree(tree, self.read_at_rest()))))) for tree in self.by.U.values()),
            default=1.0,
        )
        if not largest <= LARGE * max(added, 1e-300):
            resets = [name for name in self.model.equations.reset if name not in self.model.follow]
            hint = (
                f"let follow name {', '.join(resets)}"
                if resets
                else "centre the surrogate where the upstroke begins, or lower it"
            )
            result.warnings.append(
                f"traces explode: the largest is {shown}, where an arrival adds {added:.3g}; {hint}, or make the step "
                "more stable"
            )

    def read_at_rest(self) -> Values:
        """Return the values that derivatives read at the initial state, by name."""
        initial = self.model.compute_initial(self.fixed)
        return self.name_values(initial, initial, dict.fromkeys((*self.model.ports, "I", "z", "refractory"), 0.0))

    def report_rest(self) -> None:
        """Report where the neuron rests without input, and its time constants there."""
        cells = self.driven.make_cells(1)
        zero, current = np.zeros((len(self.model.ports), 1)), np.full(1, float(self.fixed["I_e"]))
        previous, fired = cells.state.copy(), 0.0
        for t in range(int(20_000 / self.dt)):
            previous = cells.state.copy()
            fired += cells.step(zero, current)[0][0]
            if fired or (t % 100 == 99 and np.array_equal(cells.state, previous)):
                break
        if not np.all(np.isfinite(cells.state)):
            raise InputError(f"neuron model '{self.model.name}': a state runs away without input")
        moved = np.abs(cells.state - previous)
        if fired or np.any(moved > 1e-6 * (1 + np.abs(previous))):
            self.result.lines.append(f"rest: none, {'it spikes' if fired else 'states still move'} after 20 s")
            return
        states = {name: float(value) for name, value in zip(self.states, cells.state[:, 0], strict=True)}
        shown = ", ".join(f"{name} = {value:.6g} {self.model.units[name]}" for name, value in states.items())
        self.result.lines.append(f"rest: {shown}")
        read = self.name_values(
            states, states, dict.fromkeys((*self.model.ports, "z", "refractory"), 0.0) | {"I": current[0]}
        )
        J = np.zeros((len(states), len(states)))
        for (i, j), tree in self.by.J.items():
            J[i, j] = evaluate_tree(tree, read)
            if not np.isfinite(J[i, j]):
                raise InputError(
                    f"neuron model '{self.model.name}': the derivative of {self.states[i]} by {self.states[j]} is "
                    f"{J[i, j]:g} at rest: a division by zero"
                )
        values = np.linalg.eigvals(J)
        taus = []
        for value in sorted(values, key=lambda v: -abs(v)):
            if value.imag < 0:
                continue
            size = abs(value)
            tau = "inf" if size == 1 else "0" if size == 0 else f"{-self.dt / np.log(size):.4g}"
            turns = f" ({1000 * np.angle(value) / (2 * np.pi * self.dt):.3g} Hz)" if value.imag > 0 else ""
            taus.append(f"{tau} ms{turns}")
        self.result.lines.append(f"time constants at rest: {', '.join(taus)}")
        if np.any(np.abs(values) > 1 + 1e-12):
            self.result.warnings.append("rest is not stable: a time constant is negative")


def _list_unread(model: NeuronModel) -> list[str]:
    """Return lines on states, parameters and ports that nothing reads."""
    equations = model.equations
    trees = {
        **{f"step {k}": v for k, v in equations.step.items()},
        **{f"reset {k}": v for k, v in equations.reset.items()},
    }
    lines = []
    for name in model.states:
        others = [tree for key, tree in trees.items() if key.split()[1] != name]
        others += [equations.spike, *equations.records.values()]
        if not any(name in names_of(tree, equations.terms) for tree in others):
            lines.append(f"state {name} is never read by anything but itself")
    everything = [
        *trees.values(),
        *equations.terms.values(),
        *equations.constants.values(),
        *equations.initial.values(),
        equations.spike,
        equations.surrogate,
        *equations.traces.values(),
        *equations.records.values(),
    ]
    read = set().union(*map(names_of, everything))
    known = {"t_ref", "I_e", "c_reg", "f_target", "kappa", "kappa_reg", "eprop_isi_trace_cutoff"}
    known |= {"surrogate_gradient_height", "surrogate_gradient_width"}
    lines += [f"parameter {name} is never read" for name in model.parameters if name not in read | known]
    lines += [f"constant {name} is never read" for name in model.constants if name not in read]
    lines += [f"port {name} is never read" for name in model.ports if name not in read]
    return lines
