"""Eligibility traces of chosen synapses, step by step, from the recorded dynamics of neurons.

The kernels never hold these traces: the interval variant goes backward through time, the spike variant updates synapses
when spikes arrive. This module evaluates the definition of e-prop, a rule of the library, step by step, for few
synapses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..algorithms.request import cutoff_steps, lags
from ..kernels import layout
from ..network import transmission
from ..network.connectivity import Projection
from ..network.features import list_features
from ..network.learning import is_plain, rule_of
from ..network.local import is_custom_model
from ..network.model import Model
from ..network.rule_options import definition_of
from ..network.unsupported import list_features_of, require_supported
from ..neurons import built_in
from ..neurons import library as neurons
from ..neurons.calls import Cells
from ..neurons.compile import QUICK
from ..parallel.spike_log import SpikeLog
from ..rules import library as rules
from ..rules.bound import BoundRule
from ..rules.definition import LearningRule
from ..rules.literal import LiteralRule
from ..values import Given

if TYPE_CHECKING:
    from .base import Engine

# quantities of synapses that can be recorded, and their units for help; the unit of a weight depends on its port
TRACES_UNITS = dict.fromkeys(("eligibility", "eligibility_trace", "gradient"), "1 / unit of the weight")
FILTERS = ("f_av", "waiting")  # changed by steps, in addition to states of the definition and of equations
HELD = ("held_arrivals", "held_psi", "held_fired", "held_kept")  # last steps of a sample, run again with a cutoff
NEVER = -1e18  # step of the latest arrival before the first one


@dataclass
class Chosen:
    """Synapses of one projection that live on this rank.

    Attributes
    ----------
    projection : Projection
        The projection.
    source, target, delay : np.ndarray
        int64 (n,): ids in the populations, and delay in steps.
    """

    projection: Projection
    source: np.ndarray
    target: np.ndarray
    delay: np.ndarray


class Factors:
    """Short-term plasticity of some synapses: the factor of each spike of their sources."""

    def __init__(self, model: Model, chosen: Chosen) -> None:
        self.rows = np.zeros((len(chosen.source), layout.FACTOR_COLUMNS))
        transmission.fill_rows(model, chosen.projection, chosen.source, self.rows)
        self.reset_sources()

    def reset_sources(self) -> None:
        """Set sources to the state before their first spikes."""
        transmission.start_rows(self.rows)
        self.rows[:, layout.LATEST_SPIKE] = -np.inf  # steps of earlier samples are below 0

    def get_factors(self, k: int, steps: np.ndarray) -> np.ndarray:
        """Return the factors of spikes that arrive at synapse k in some steps of the sample, ascending."""
        return transmission.advance_row(self.rows[k], steps)


def make_definition(
    model: Model, kind: str, constants: Given, kappa: float, shape: int | tuple[int, ...]
) -> LiteralRule:
    """Return the definition of e-prop for the neurons `kind`, "iaf" or "iaf_adapt", in a model's variant.

    `constants` are the constants of the targets that the definition reads, broadcast to `shape`, the shape of the
    synapses; `kappa` is the decay of the filter of eligibility.
    """
    kind += "" if model.eprop.is_online else built_in.INTERVAL
    rule = rules.get_definition(f"eprop_{kind}")
    assert isinstance(rule, LearningRule)
    bound = BoundRule(rule, neurons.get_definition(kind))
    return LiteralRule(bound, bound.compute_values({}, constants, model.dt_ms, kappa), shape)


class Equations:
    """Eligibility e of synapses onto neurons of a custom model; a step is linear in traces and arrivals.

    `cells` has the target of each synapse; `port` is the index of the port.
    """

    def __init__(self, cells: Cells, port: int) -> None:
        program, n = cells.program, cells.n
        self._cells = cells  # calls keep no arrays alive
        self.state = np.zeros((program.n_traces, n))
        self._own, self._entered, self._before_decay = np.zeros((3, program.n_traces, n))
        self._e, self._e_entered, self._psi = np.zeros((3, n))
        self._kept, self.n_kept = np.zeros((2, program.n_kept, n)), program.n_kept

        def bind_trace(arrived: float, traces: np.ndarray, e: np.ndarray) -> Callable[[], None]:
            rest = cells.constant, *self._kept, self._psi, arrived, traces, n, e
            return cells.bind_function("trace", n, n, cells.dt, port, *rest)

        self._trace, self._enter = bind_trace(0.0, self._own, self._e), bind_trace(1.0, self._entered, self._e_entered)
        self._decay = cells.bind_function("decay", n, n, cells.dt, 1, cells.constant, self._before_decay, n)

    def step(self, arrivals: np.ndarray, psi: np.ndarray, kept: np.ndarray, works: np.ndarray) -> np.ndarray:
        """Step forward; return e (n,).

        Spikes arrive at the synapses as in `arrivals`; `psi` are surrogate gradients of the targets, float64 (n,).
        `kept` has the values of the previous and of this step that derivatives need, (2, n_kept, n). Where `works`,
        bool (n,), is false, past a cutoff, traces only decay, and e is 0.
        """
        self._kept[...], self._psi[:] = kept[:, : self._kept.shape[1]], psi
        self._own[...], self._entered[...], self._before_decay[...] = self.state, 0.0, self.state
        self._trace()
        self._enter()
        if np.all(works):
            self.state[...] = self._own + arrivals * self._entered
            return self._e + arrivals * self._e_entered
        self._decay()
        self.state[...] = np.where(works, self._own + arrivals * self._entered, self._before_decay)
        return np.where(works, self._e + arrivals * self._e_entered, 0.0)


def check(model: Model, projection: Projection) -> None:
    """Raise `InputError` if traces of a projection can't be computed from recorded dynamics."""
    post, found = projection.post, list_features(model) | list_features_of(projection, model.variant)
    found["traces"] = f"recording traces of '{projection.name}'"
    if post.role == "readout":  # traces decay with the time constant of their readout
        found.pop("different tau_m", None)
    drops = [item.name for item in model.perturbations if item.kind == "dropout" and item.of == post.name]
    if drops and np.any(getattr(post.params, "c_reg", 0.0)):
        found["dropout with c_reg"] = f"dropout '{drops[0]}' and c_reg of '{post.name}'"
    require_supported("", found)


def compile_traces(engine: Engine, projection: Projection) -> None:
    """Collective: compile on one rank the functions of custom neurons that traces of a projection need."""
    if _follows_equations(projection):
        program = engine.network.program_of(projection.post, getattr(rule_of(projection), "through", "all"))
        program.load_parts([QUICK], engine.exchange.comm)


def _follows_equations(projection: Projection) -> bool:
    """Return whether traces of a projection's synapses come from compiled equations."""
    if projection.post.role != "recurrent" or isinstance(rule_of(projection), LearningRule):
        return False
    return is_custom_model(projection.post) or not is_plain(projection)


class Traces:
    """Traces of some synapses of a projection on this rank, stepped forward sample by sample.

    `record` are the neurons whose dynamics the engine must record, int64; none for synapses onto readouts.
    """

    _equations: Equations | None = None  # of custom neurons

    def __init__(self, engine: Engine, chosen: Chosen) -> None:
        model, projection = engine.network.model, chosen.projection
        check(model, projection)
        self._set_attributes(engine, chosen)
        n, self._held, self._cutoff = len(self._source), 0, layout.NO_CUTOFF
        if self._online and (cutoff := cutoff_steps(projection.post, model.dt_ms)) != layout.NO_CUTOFF:
            self._held, self._cutoff = lags(model).m, cutoff
        self.record = np.zeros(0, np.int64) if self._onto_readouts else np.unique(self._target)
        if _follows_equations(projection):
            self._equations = self._compile_equations()
        self._literal = self._make_definition()
        # the trace that learning signals multiply; states of e-prop in the order of the model's states, and these
        self._met = "eligibility" if getattr(rule_of(projection), "filter", "") == "none" else "eligibility_trace"
        self._linear = [name for name in ("zbar", "eps") if name in self._literal.synapse]
        self._of_model = [] if self._onto_readouts else [*definition_of(projection.post).states]
        self._n_kept = self._equations.n_kept if self._equations else 0
        self.waiting = np.zeros(n)
        self.past = np.zeros((self._d_out, 2, n))  # of earlier steps: traces for later errors, regularisation
        # with a cutoff, the last steps are run again when it is known whether a spike arrives after them
        self.latest = np.full(n, NEVER)  # step of the latest arrival before the held steps, from the next sample on
        self.held_arrivals, self.held_psi, self.held_fired = np.zeros((3, self._held, n))
        self.held_kept = np.zeros((self._held + (self._held > 0), self._n_kept, n))
        self._carried: tuple[str, ...] = ()  # attributes that the next sample reads
        if self._online:
            self._carried = (*FILTERS, "past", "coming", *(("latest", *HELD) if self._held else ()))

    def _set_attributes(self, engine: Engine, chosen: Chosen) -> None:
        """Set the attributes that arrivals and the regularisation of firing rates need."""
        network, model, projection = engine.network, engine.network.model, chosen.projection
        self._engine, self._chosen, self._online = engine, chosen, model.eprop.is_online
        self._from_inputs, self._onto_readouts = projection.pre.role == "input", projection.post.role == "readout"
        self._factors = None if projection.transmission is None else Factors(model, chosen)
        self.start: dict[str, np.ndarray] = {}  # state before each sample in the spike variant; empty: samples continue
        self._source = chosen.source + model.offset(projection.pre)
        self._target = chosen.target + model.offset(projection.post)
        self.coming = np.zeros((projection.delay_range[1] + 1, len(self._source)))  # arrivals of the next samples
        self.f_av = np.zeros(len(self._target))
        self._d_out = lags(model).d_out if self._online and not self._onto_readouts else 0
        self._kappa_reg = getattr(projection.post.params, "kappa_reg", 0.0)  # acts in the spike variant alone
        self._c_reg = self._f_target = np.zeros(len(self._target))
        if not self._onto_readouts:
            local = self._target - network.neurons[0]
            self._c_reg, self._f_target = network.cells["c_reg"][local], network.cells["f_target"][local]

    def _compile_equations(self) -> Equations:
        """Return the equations for the eligibility of synapses onto custom neurons."""
        network, projection = self._engine.network, self._chosen.projection
        post, local = projection.post, self._target - network.neurons[0]
        program = network.program_of(post, getattr(rule_of(projection), "through", "all"))
        self._engine.dynamics.keeps_derivatives = True
        values = network.get_parameters(network.piece_of[post.name], local) if len(local) else {}
        return Equations(Cells(program, len(local), values, network.model.dt_ms), projection.port_index)

    def _make_definition(self) -> LiteralRule:
        """Return the definition with the constants of the synapses."""
        network, params = self._engine.network, self._chosen.projection.post.params
        model, readouts, kind = network.model, network.compute_readout_constants(), "iaf"
        kappa = float(readouts["alpha"][0]) if network.n_readouts else 0.0
        if self._online:
            kappa = getattr(params, "kappa", 0.0)  # readouts have none
        elif model.local:
            kappa = model.local.compute_constants(model.dt_ms)[0]
        constants: Given = {"alpha": 0.0, "zeta": 1.0}  # for e of equations, in place of psi
        if self._onto_readouts:
            constants = {name: readouts[name][self._target] for name in constants}
        elif not self._equations:
            kind = "iaf_adapt" if params.adaptive else "iaf"
            names, local = ("alpha", "zeta", "rho", "adapt_beta"), self._target - network.neurons[0]
            constants = {name: network.cells[name][local] for name in names}
        return make_definition(model, kind, {**constants, "kappa_reg": self._kappa_reg}, kappa, len(self._target))

    @property
    def names(self) -> list[str]:
        """Names of the states that `list_states` returns."""
        if self._onto_readouts:
            return ["zbar"]
        return [*(f"eps_{name}" for name in self._of_model), "e", "ebar", "ereg"]

    def record_states(
        self, inputs: SpikeLog, spikes: SpikeLog, error: np.ndarray, modulator: np.ndarray | None
    ) -> dict[str, np.ndarray]:
        """Step through the sample that the engine has just run; return all that can be recorded, (n_steps, n) each.

        Arguments as of `list_states`; states have names that begin with "state_".
        """
        steps, none = self.list_states(inputs, spikes, error, modulator), np.zeros((len(error), len(self._target)))
        names = {name: name for name in TRACES_UNITS} | {f"state_{name}": name for name in self.names}
        return {
            key: np.stack([step[name] for step in steps]) if steps and name in steps[0] else none
            for key, name in names.items()
        }

    def list_states(
        self, inputs: SpikeLog, spikes: SpikeLog, error: np.ndarray, modulator: np.ndarray | None
    ) -> list[dict[str, np.ndarray]]:
        """Step through the sample that the engine has just run; return `TRACES_UNITS` and states of each step.

        The gradient of a step is the contribution of its error to the gradient of the sample: its learning signal times
        the trace, in the spike variant the trace d_out steps earlier; plus the part of the firing-rate regularisation.
        Past `eprop_isi_trace_cutoff` there is no e, and traces decay; the results for the last steps of a sample hold
        if no spike arrives after it.

        `inputs` are the spikes of the inputs that the engine ran with; `spikes` are of all neurons, by id; `error` is
        float64 (n_steps, n_readouts); learning rules read `modulator`, (n_steps,), as `M`. Return a dict for each step,
        (n,) by name; no dicts without synapses, or if the spike variant did not learn.
        """
        n_steps, n = len(error), len(self._target)
        arrivals = self._find_arrivals(inputs if self._from_inputs else spikes, n_steps)
        recorded = self._engine.recorded
        if (self._online and not getattr(self._engine, "learned", True)) or not n:
            return []
        psi = fired = np.zeros((n_steps, n))
        kept, rate = np.zeros((1 + n_steps, self._n_kept, n)), np.zeros(n)
        nothing, ones = np.zeros((0, n)), np.ones(n)
        if self._onto_readouts:
            signal = error[:, self._target]
        else:
            assert recorded is not None  # the recorder has requested it
            column = np.searchsorted(recorded.record, self._target)
            psi, signal = recorded.surrogate_gradient[:, column], recorded.learning_signal[:, column]
            kept = recorded.kept[:, : self._n_kept, column]
            fired = find_spikes(spikes, n_steps, self._target)
            rate = rate if self._online else self._regularize_rates(fired)
        if not self._online:
            self._literal.reset_synapses()
            if self._equations:
                self._equations.state[:] = 0.0
        works = self._find_works(arrivals, n_steps)
        arrivals, psi, fired, kept = self._hold_steps(arrivals[:n_steps], psi, fired, kept)
        psi, found, met = np.where(works, psi, 0.0), [], []
        before_held: dict[str, np.ndarray] = {}
        for i in range(self._held + n_steps):
            entering, drive, pre = arrivals[i], psi[i], arrivals[i]
            if self._held:
                if i == n_steps:
                    before_held = copy_arrays(self.state())
                pre = entering = np.where(works[i], self.waiting + arrivals[i], 0.0)
                self.waiting = self.waiting + arrivals[i] - entering
            if self._equations:
                drive, pre = self._equations.step(entering, drive, kept[i : i + 2], works[i]), ones
            rate = self._follow_rate(fired[i]) if self._online else rate
            regular = self._literal.step(nothing, nothing, {"psi": drive, "L": 0.0, "F": rate}, pre)
            found.append(self._name_states(entering))
            met.append((found[-1][self._met], regular))
        self.load_state(before_held)
        joined = np.concatenate([self.past, np.where(works[:, None], met, 0.0)])
        self.past, shown = joined[n_steps : n_steps + self._d_out], joined[self._held : self._held + n_steps]
        gradient = signal * shown[:, 0] + shown[:, 1]
        return [step | {"gradient": row} for step, row in zip(found[self._held :], gradient, strict=True)]

    def _name_states(self, entering: np.ndarray) -> dict[str, np.ndarray]:
        """Return the traces and states of the synapses after a step, by name, (n,) each."""
        states = self._literal.synapse
        if self._onto_readouts:
            return {"eligibility": entering, "eligibility_trace": states["zbar"], "zbar": states["zbar"]}
        rows = [*self._equations.state.copy()] if self._equations else [states[name] for name in self._linear]
        named = {f"eps_{name}": row for name, row in zip(self._of_model, rows, strict=False)}
        return states | named | {"eligibility": states["e"], "eligibility_trace": states["ebar"]}

    def _follow_rate(self, fired: np.ndarray) -> np.ndarray:
        """Filter the targets' spikes in a step of the spike variant; return the regularisation of their rates, (n,)."""
        keep, dt = self._kappa_reg, self._engine.network.model.dt_ms
        self.f_av = keep * self.f_av + (1.0 - keep) * fired / dt
        return self._c_reg * (self.f_av - self._f_target)

    def _regularize_rates(self, fired: np.ndarray) -> np.ndarray:
        """Return the factor of e in the gradient of an interval by which firing rates are regularised, (n,)."""
        engine, n_steps = self._engine, len(fired)
        count = np.count_nonzero(fired, axis=0) + engine.perturbing.lost[self._target - engine.network.neurons[0]]
        return self._c_reg * (count / n_steps - self._f_target * engine.network.model.dt_ms) / n_steps

    def _find_works(self, arrivals: np.ndarray, n_steps: int) -> np.ndarray:
        """Return whether traces work in each held step, and each step of the sample, bool (held + n_steps, n).

        They do if a spike arrived at the synapse less than the cutoff before the step. A spike that arrives in step p
        counts from step p - m on, which is step p in the synapse's time.
        """
        held, n = self._held, len(self._target)
        if self._cutoff == layout.NO_CUTOFF:
            return np.ones((n_steps, n), bool)
        known = np.concatenate([self.held_arrivals, arrivals, np.zeros((held, n))])[: n_steps + 2 * held]
        steps = np.arange(len(known))[:, None] - held
        latest = np.maximum.accumulate(np.where(known > 0, steps, NEVER), axis=0)
        latest = np.maximum(latest, self.latest)
        self.latest = latest[n_steps - 1] - n_steps  # before the steps that will be held
        return steps[held:] - latest[held:] < self._cutoff

    def _hold_steps(self, *arrays: np.ndarray) -> list[np.ndarray]:
        """Prepend the held steps of earlier samples to arrays (n_steps, .., n); hold the arrays' last steps."""
        joined = []
        for name, array in zip(HELD, arrays, strict=True):
            held = getattr(self, name)
            joined.append(np.concatenate([held[: self._held], array]))  # the last row of `held_kept` starts `kept`
            if self._held:
                setattr(self, name, joined[-1][-len(held) :].copy())
        return joined

    def _find_arrivals(self, log: SpikeLog, n_steps: int) -> np.ndarray:
        """Return arrivals at each synapse in each step, float64 (n_steps + n_later, n): 0, 1 or a factor."""
        delay = self._chosen.delay
        if self._from_inputs:  # with a delay of one step, spikes of step s arrive in step s
            delay = delay - 1
        elif self._onto_readouts and not self._online:  # in the time of the readouts
            delay = np.zeros_like(delay)
        lost = not self._online and not self._onto_readouts  # arrivals in step 0
        if self.start:
            self.load_state(self.start)
        if self._factors is not None and not self._online and self._engine.resets:
            self._factors.reset_sources()
        total = np.zeros((n_steps + len(self.coming), len(self._source)))
        if self._online:
            total[: len(self.coming)] = self.coming
        for k, steps in enumerate(_steps_of(log, n_steps, self._source)):
            arriving = steps + delay[k]
            arriving = arriving[arriving > 0] if lost else arriving
            total[arriving, k] = 1.0 if self._factors is None else self._factors.get_factors(k, arriving)
        if self._factors is not None:
            self._factors.rows[:, layout.LATEST_SPIKE] -= n_steps
        if self._online:
            self.coming = total[n_steps:].copy()
        return total

    def state(self) -> dict[str, np.ndarray]:
        """Return the arrays that the next sample reads, (.., n) each; e-prop in the interval variant has none."""
        if not self._carried:
            return {}
        state = {name: getattr(self, name) for name in self._carried}
        for name in ("neuron", "synapse"):
            table = getattr(self._literal, name)
            state[name] = np.array([*table.values()]).reshape(len(table), len(self._target))
        if self._equations:
            state["equations"] = self._equations.state
        if self._factors is not None:
            state["factors"] = self._factors.rows[:, transmission.STATE].T
        return state

    def load_state(self, state: dict[str, np.ndarray]) -> None:
        """Load the result of `state`."""
        for name in self._carried if state else ():
            setattr(self, name, np.array(state[name], float))
        for name in {"neuron", "synapse"} & state.keys():
            table = getattr(self._literal, name)
            setattr(self._literal, name, dict(zip(table, np.array(state[name], float), strict=True)))
        if self._equations and state:
            self._equations.state[...] = state["equations"]
        if self._factors is not None and state:
            self._factors.rows[:, transmission.STATE] = state["factors"].T


def find_spikes(log: SpikeLog, n_steps: int, ids: np.ndarray) -> np.ndarray:
    """Return in which steps neurons spike, 1 or 0, (n_steps, n)."""
    fired = np.zeros((n_steps, len(ids)))
    for k, steps in enumerate(_steps_of(log, n_steps, ids)):
        fired[steps, k] = 1.0
    return fired


def copy_arrays(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return copies of arrays."""
    return {name: array.copy() for name, array in arrays.items()}


def _steps_of(log: SpikeLog, n_steps: int, cells: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the steps in which each of some cells spiked."""
    steps, ids = log.list_spikes(n_steps)
    order = np.argsort(ids, kind="stable")
    first, last = (np.searchsorted(ids[order], cells, side) for side in ("left", "right"))
    for low, high in zip(first, last, strict=True):
        yield steps[order[low:high]]
