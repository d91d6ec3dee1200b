"""Eligibility traces of chosen synapses, step by step, from what the kernels record of neurons.

The kernels never hold these traces: the interval variant goes backward through time, the spike variant updates synapses
when spikes arrive. Here traces are stepped forward, for few synapses. Equations: Bellec et al. 2020 (doi
10.1038/s41467-020-17236-y), equations 22 to 28; Korcsak-Gorzo et al. 2025 (arXiv:2511.21674).
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
from ..network.local import given_by_equations
from ..network.model import Model
from ..network.rule_options import definition_of
from ..network.unsupported import list_features_of, require_supported
from ..neurons.calls import Cells
from ..neurons.compile import QUICK
from ..parallel.spike_log import SpikeLog
from ..rules.definition import LearningRule

if TYPE_CHECKING:
    from .base import Engine

# quantities of synapses that can be recorded, and their units, for help: that of the weights depends on their port
TRACES_UNITS = dict.fromkeys(("eligibility", "eligibility_trace", "gradient"), "1 / unit of the weight")
FILTERS = ("ebar", "ereg", "f_av", "past", "past_regular", "waiting")  # steps change these, and `_eligibility`
HELD = ("held_arrivals", "held_psi", "held_fired", "held_kept")  # last steps of a sample, followed again with a cutoff
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
    """Short-term plasticity of some synapses: the factor of each spike of their sources.

    Parameters
    ----------
    model : Model
        The network.
    chosen : Chosen
        The synapses.
    """

    def __init__(self, model: Model, chosen: Chosen) -> None:
        self.rows = np.zeros((len(chosen.source), layout.FACTOR_COLUMNS))
        transmission.fill_rows(model, chosen.projection, chosen.source, self.rows)
        self.start()

    def start(self) -> None:
        """Set the state of sources to that before their first spikes."""
        transmission.start_rows(self.rows)
        self.rows[:, layout.LATEST_SPIKE] = -np.inf  # steps count from each sample: there are some below 0

    def of(self, k: int, steps: np.ndarray) -> np.ndarray:
        """Return the factors of spikes that arrive at synapse k in some steps of the sample, ascending."""
        return transmission.follow(self.rows[k], steps)


class Plain:
    """Eligibility e of synapses onto NEST's own neurons, from filtered arrivals and a trace of adaptation.

    Parameters
    ----------
    alpha, zeta, rho, beta : np.ndarray
        float64 (n,), of the targets.
    """

    def __init__(self, alpha: np.ndarray, zeta: np.ndarray, rho: np.ndarray, beta: np.ndarray) -> None:
        self._alpha, self._zeta, self._rho, self._beta = alpha, zeta, rho, beta
        self.state = np.zeros((2, len(alpha)))  # filtered arrivals, trace of adaptation

    def step(self, arrivals: np.ndarray, psi: np.ndarray, kept: np.ndarray, works: np.ndarray) -> np.ndarray:
        """Step forward; return e (n,).

        Parameters
        ----------
        arrivals, psi : np.ndarray
            float64 (n,), spikes that enter, and surrogate gradients of the targets.
        kept : np.ndarray
            (2, n_kept, n), what derivatives need of the step before and of this step.
        works : np.ndarray
            bool (n,), whether the step is followed; past a cutoff traces decay, and there is no e.
        """
        zbar, eps = self.state
        zbar[:] = self._alpha * zbar + self._zeta * arrivals
        e = np.where(works, psi * (zbar - self._beta * eps), 0.0)
        eps[:] = self._rho * eps + e
        return e


class Equations:
    """Eligibility e of synapses onto neurons given by equations; a step is linear in traces and arrivals.

    Parameters
    ----------
    cells : Cells
        The target of each synapse.
    port : int
        Index of the port.
    """

    def __init__(self, cells: Cells, port: int) -> None:
        program, n = cells.program, cells.n
        self._cells = cells  # calls keep no arrays alive
        self.state = np.zeros((program.n_traces, n))
        self._own, self._entered, self._before_decay = np.zeros((3, program.n_traces, n))
        self._e, self._e_entered, self._psi = np.zeros((3, n))
        self._kept, self.n_kept = np.zeros((2, program.n_kept, n)), program.n_kept

        def trace(arrived: float, traces: np.ndarray, e: np.ndarray) -> Callable[[], None]:
            rest = cells.constant, *self._kept, self._psi, arrived, traces, n, e
            return cells.caller("trace", n, n, cells.dt, port, *rest)

        self._trace, self._enter = trace(0.0, self._own, self._e), trace(1.0, self._entered, self._e_entered)
        self._decay = cells.caller("decay", n, n, cells.dt, 1, cells.constant, self._before_decay, n)

    def step(self, arrivals: np.ndarray, psi: np.ndarray, kept: np.ndarray, works: np.ndarray) -> np.ndarray:
        """Step forward; see `Plain.step`."""
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
    """Raise `InputError` if traces of a projection can't be stepped forward from what is recorded."""
    post, found = projection.post, list_features(model) | list_features_of(projection, model.variant)
    found["traces"] = f"recording traces of '{projection.name}'"
    if post.role == "readout":  # whose own decay is theirs
        found.pop("different tau_m", None)
    drops = [item.name for item in model.perturbations if item.kind == "dropout" and item.of == post.name]
    if drops and np.any(getattr(post.params, "c_reg", 0.0)):
        found["dropout with c_reg"] = f"dropout '{drops[0]}' and c_reg of '{post.name}'"
    require_supported("", found)


def compile_traces(engine: Engine, projection: Projection) -> None:
    """Collective: compile on one rank what traces of a projection's synapses need of neurons given by equations."""
    if _follows_equations(projection):
        program = engine.network.program_of(projection.post, getattr(rule_of(projection), "through", "all"))
        program.require([QUICK], engine.exchange.comm)


def _follows_equations(projection: Projection) -> bool:
    """Return whether traces of a projection's synapses are those of compiled equations."""
    if projection.post.role != "recurrent" or isinstance(rule_of(projection), LearningRule):
        return False
    return given_by_equations(projection.post) or not is_plain(projection)


class Traces:
    """Traces of some synapses of a projection on this rank, stepped forward sample by sample.

    Parameters
    ----------
    engine : Engine
        Runs the samples.
    chosen : Chosen
        The synapses.

    Attributes
    ----------
    record : np.ndarray
        int64, neurons whose dynamics the engine must record; empty for synapses onto readouts.
    """

    def __init__(self, engine: Engine, chosen: Chosen) -> None:
        network, model, projection = engine.network, engine.network.model, chosen.projection
        check(model, projection)
        self._prepare(engine, chosen)
        n, readouts = len(self._source), network.readout_constants()
        self._d_out = lags(model).d_out if self._online and not self._onto_readouts else 0
        self._held, self._cutoff = 0, layout.NO_CUTOFF
        if self._online and (cutoff := cutoff_steps(projection.post, model.dt_ms)) != layout.NO_CUTOFF:
            self._held, self._cutoff = lags(model).m, cutoff
        self._eligibility: Plain | Equations
        if self._onto_readouts:
            self.record = np.zeros(0, np.int64)
            constants = readouts["alpha"][self._target], readouts["zeta"][self._target]
            self._eligibility = Plain(*constants, np.zeros(n), np.zeros(n))
        else:
            self.record = np.unique(self._target)
            self._set_constants(projection, float(readouts["alpha"][0]) if network.n_readouts else 0.0)
        self.ebar, self.ereg, self.f_av, self.waiting = np.zeros((4, n))
        self.past, self.past_regular = np.zeros((2, max(self._d_out, 1), n))  # traces that errors to come meet
        # with a cutoff, the last steps are stepped through again when it is known whether a spike arrives after them
        self.latest = np.full(n, NEVER)  # step of the latest arrival before the held ones, from the next sample on
        self.held_arrivals, self.held_psi, self.held_fired = np.zeros((3, self._held, n))
        self.held_kept = np.zeros((self._held + (self._held > 0), *self._kept_shape))

    def _prepare(self, engine: Engine, chosen: Chosen) -> None:
        """Set the attributes that arrivals need."""
        model, projection = engine.network.model, chosen.projection
        self._engine, self._chosen, self._online = engine, chosen, model.eprop.is_online
        self._from_inputs, self._onto_readouts = projection.pre.role == "input", projection.post.role == "readout"
        self._factors = None if projection.transmission is None else Factors(model, chosen)
        self.states: list[dict[str, np.ndarray]] | None = None  # states after each step of a sample, where wanted
        self.start: dict[str, np.ndarray] = {}  # state with which samples start in the spike variant; empty: they go on
        self._source = chosen.source + model.offset(projection.pre)
        self._target = chosen.target + model.offset(projection.post)
        self.coming = np.zeros((projection.delay_range[1] + 1, len(self._source)))  # arrivals of the next samples

    def _set_constants(self, projection: Projection, kappa: float) -> None:
        """Set the attributes that steps of synapses onto neurons need; `kappa` is that of the readouts."""
        network, post, n = self._engine.network, projection.post, len(self._target)
        model, local = network.model, self._target - network.neurons[0]
        self._c_reg, self._f_target = network.cells["c_reg"][local], network.cells["f_target"][local]
        self._kappa = model.local.constants(model.dt_ms)[0] if model.local else kappa
        self._share, self._kappa_reg = 1.0 - self._kappa, 0.0
        if self._online:
            self._kappa, self._share, self._kappa_reg = post.params.kappa, 1.0, post.params.kappa_reg
        rule = rule_of(projection)
        self._is_filtered = getattr(rule, "filter", "readout") == "readout"
        through = getattr(rule, "through", "all")
        if _follows_equations(projection):
            program = network.program_of(post, through)
            self._engine.keeps_derivatives = True
            values = network.values_of(network.piece_of[post.name], local) if n else {}
            self._eligibility = Equations(Cells(program, n, values, model.dt_ms), projection.port_index)
            return
        alpha, zeta, rho, beta = (network.cells[name][local] for name in ("alpha", "zeta", "rho", "adapt_beta"))
        zeta = np.ones(n) if self._online else zeta
        self._eligibility = Plain(alpha, zeta, rho, beta if getattr(post.params, "adaptive", False) else np.zeros(n))

    @property
    def _kept_shape(self) -> tuple[int, int]:
        """Shape of what derivatives need of a step: numbers of a target, synapses."""
        item = self._eligibility
        return item.n_kept if isinstance(item, Equations) else 0, len(self._target)

    def follow(self, inputs: SpikeLog, spikes: SpikeLog, error: np.ndarray) -> dict[str, np.ndarray]:
        """Step through the sample that the engine has just run.

        Parameters
        ----------
        inputs, spikes : SpikeLog
            Spikes of the inputs that the engine ran with, and of all neurons, by id.
        error : np.ndarray
            float64 (n_steps, n_readouts), error signals.

        Returns
        -------
        dict
            `TRACES_UNITS`, (n_steps, n) each. The gradient of a step is what its error adds to that of the sample: its
            learning signal times the trace, which in the spike variant is that of d_out steps before; and the share of
            the firing-rate regularisation. Past `eprop_isi_trace_cutoff` there is no e, and traces decay; rows of the
            last steps of a sample say what holds if no spike arrives after it.
        """
        n_steps = len(error)
        arrivals = self._find_arrivals(inputs if self._from_inputs else spikes, n_steps)
        traces = {name: np.zeros((n_steps, len(self._target))) for name in TRACES_UNITS}
        recorded = self._engine.recorded
        if (self._online and not getattr(self._engine, "learned", True)) or not len(self._target):
            return traces
        psi = signal = fired = np.zeros_like(traces["gradient"])
        kept = np.zeros((1 + n_steps, *self._kept_shape))
        rate: np.ndarray | float = 1.0
        regular: np.ndarray | float
        if not self._onto_readouts:
            assert recorded is not None  # the recorder has asked for it
            column = np.searchsorted(recorded.record, self._target)
            psi, signal = recorded.surrogate_gradient[:, column], recorded.learning_signal[:, column]
            kept = recorded.kept[:, : kept.shape[1], column]
            fired = self._find_own_spikes(spikes, n_steps)
        if not self._online:
            self._eligibility.state[:], self.ebar[:] = 0.0, 0.0
            rate = self._regularize(fired) if not self._onto_readouts else 1.0
        works = self._find_works(arrivals, n_steps)
        arrivals, psi, fired, kept = self._hold(arrivals[:n_steps], psi, fired, kept)
        snapshot: list[np.ndarray] = []
        for i in range(self._held + n_steps):
            if self._held and i == n_steps:
                snapshot = [array.copy() for array in self._stepped()]
            self.waiting += arrivals[i]
            entering = np.where(works[i], self.waiting, 0.0)
            self.waiting -= entering
            e, t = self._eligibility.step(entering, psi[i], kept[i : i + 2], works[i]), i - self._held
            if self._onto_readouts:
                e, self.ebar[:] = entering, self._eligibility.state[0]
                trace, regular = np.where(works[i], self.ebar, 0.0), 0.0
            else:
                self.ebar[:] = self._kappa * self.ebar + self._share * e
                met_by_signal = self.ebar if self._is_filtered else e
                trace, regular = self._delay_traces(e, works[i], fired[i]) if self._online else (met_by_signal, e)
            if t >= 0 and self.states is not None:
                self.states.append(self._name_states(e))
            if t >= 0:
                traces["eligibility"][t], traces["eligibility_trace"][t] = e, self.ebar
                met = error[t, self._target] if self._onto_readouts else signal[t]
                traces["gradient"][t] = met * trace + rate * regular
        for array, before in zip(self._stepped(), snapshot, strict=False):
            array[...] = before
        return traces

    @property
    def names(self) -> list[str]:
        """Names of the states that `list_states` returns."""
        if self._onto_readouts:
            return ["zbar"]
        return [*(f"eps_{name}" for name in definition_of(self._chosen.projection.post).states), "e", "ebar", "ereg"]

    def record_states(
        self, inputs: SpikeLog, spikes: SpikeLog, error: np.ndarray, modulator: np.ndarray | None
    ) -> dict[str, np.ndarray]:
        """Step through the sample that the engine has just run; return all that can be recorded, (n_steps, n) each.

        Arguments as of `list_states`; states have names that begin with "state_".
        """
        self.states = []
        traces = self.follow(inputs, spikes, error)
        return traces | self._stack(self.states, len(error))

    def _stack(self, states: list[dict[str, np.ndarray]], n_steps: int) -> dict[str, np.ndarray]:
        none = np.zeros((n_steps, len(self._target)))
        return {
            f"state_{name}": np.stack([state[name] for state in states]) if states and name in states[0] else none
            for name in self.names
        }

    def list_states(
        self, inputs: SpikeLog, spikes: SpikeLog, error: np.ndarray, modulator: np.ndarray | None
    ) -> list[dict[str, np.ndarray]]:
        """Step through the sample that the engine has just run; return the states after each step, (n,) each.

        Parameters
        ----------
        inputs, spikes : SpikeLog
            As of `follow`.
        error : ndarray
            As of `follow`.
        modulator : ndarray or None
            (n_steps,), what learning rules read as `M`.
        """
        self.states = []
        self.follow(inputs, spikes, error)
        return self.states

    def _name_states(self, e: np.ndarray) -> dict[str, np.ndarray]:
        """Return the states of the synapses after a step, by name, (n,) each."""
        if self._onto_readouts:
            return {"zbar": self._eligibility.state[0].copy()}
        names = list(definition_of(self._chosen.projection.post).states)
        eps = {f"eps_{name}": row.copy() for name, row in zip(names, self._eligibility.state, strict=False)}
        return eps | {"e": e, "ebar": self.ebar.copy(), "ereg": self.ereg.copy()}

    def _stepped(self) -> list[np.ndarray]:
        """Return the arrays that a step changes."""
        return [self._eligibility.state, *(getattr(self, name) for name in FILTERS)]

    def _regularize(self, fired: np.ndarray) -> np.ndarray:
        """Return the factor of e in the gradient of an interval by which firing rates are regularised, (n,)."""
        engine, n_steps = self._engine, len(fired)
        count = np.count_nonzero(fired, axis=0) + engine.perturbing.lost[self._target - engine.network.neurons[0]]
        return self._c_reg * (count / n_steps - self._f_target * engine.network.model.dt_ms) / n_steps

    def _find_works(self, arrivals: np.ndarray, n_steps: int) -> np.ndarray:
        """Return whether each held step, and each of the sample, is followed, bool (held + n_steps, n).

        A step is followed if a spike arrived at the synapse less than the cutoff before it. A spike that arrives in
        step p counts from step p - m on, which is step p in the synapse's time.
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

    def _hold(self, *arrays: np.ndarray) -> list[np.ndarray]:
        """Return arrays (n_steps, .., n) behind the held steps of samples before; hold the arrays' last steps."""
        joined = []
        for name, array in zip(HELD, arrays, strict=True):
            held = getattr(self, name)
            joined.append(np.concatenate([held[: self._held], array]))  # of what is kept, one row of each step before
            if self._held:
                setattr(self, name, joined[-1][-len(held) :].copy())
        return joined

    def _delay_traces(self, e: np.ndarray, works: np.ndarray, fired: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the traces of d_out steps before, and what regularisation added then, both 0 where not followed."""
        keep, dt = self._kappa_reg, self._engine.network.model.dt_ms
        self.ereg[:] = keep * self.ereg + (1.0 - keep) * e
        self.f_av[:] = keep * self.f_av + (1.0 - keep) * fired / dt
        before, regular = self.past[0].copy(), self.past_regular[0].copy()
        self.past[:-1], self.past_regular[:-1] = self.past[1:].copy(), self.past_regular[1:].copy()
        self.past[-1] = np.where(works, self.ebar if self._is_filtered else e, 0.0)
        self.past_regular[-1] = np.where(works, self._c_reg * (self.f_av - self._f_target) * self.ereg, 0.0)
        return before, regular

    def _find_arrivals(self, log: SpikeLog, n_steps: int) -> np.ndarray:
        """Return what arrives at each synapse in each step, float64 (n_steps + n_later, n): 0, 1 or a factor."""
        delay = self._chosen.delay
        if self._from_inputs:  # those of step s arrive in step s through a delay of one step
            delay = delay - 1
        elif self._onto_readouts and not self._online:  # on the readouts' own clock
            delay = np.zeros_like(delay)
        lost = not self._online and not self._onto_readouts  # arrivals in step 0
        if self.start:
            self.load_state(self.start)
        if self._factors is not None and not self._online and self._engine.resets:
            self._factors.start()
        total = np.zeros((n_steps + len(self.coming), len(self._source)))
        if self._online:
            total[: len(self.coming)] = self.coming
        for k, steps in enumerate(_steps_of(log, n_steps, self._source)):
            arriving = steps + delay[k]
            arriving = arriving[arriving > 0] if lost else arriving
            total[arriving, k] = 1.0 if self._factors is None else self._factors.of(k, arriving)
        if self._factors is not None:
            self._factors.rows[:, layout.LATEST_SPIKE] -= n_steps
        if self._online:
            self.coming = total[n_steps:].copy()
        return total

    def _find_own_spikes(self, log: SpikeLog, n_steps: int) -> np.ndarray:
        fired = np.zeros((n_steps, len(self._target)))
        for k, steps in enumerate(_steps_of(log, n_steps, self._target)):
            fired[steps, k] = 1.0
        return fired

    @property
    def _carried(self) -> tuple[str, ...]:
        return (*FILTERS, "coming", *(("latest", *HELD) if self._held else ()))

    def state(self) -> dict[str, np.ndarray]:
        """Return the arrays that the next sample reads, (.., n) each; none in the interval variant."""
        if not self._online:
            return {}
        state = {name: getattr(self, name) for name in self._carried} | {"eligibility": self._eligibility.state}
        if self._factors is not None:
            state["factors"] = self._factors.rows[:, transmission.STATE].T
        return state

    def load_state(self, state: dict[str, np.ndarray]) -> None:
        """Load what `state` returned."""
        if not self._online:
            return
        self._eligibility.state[...] = state["eligibility"]
        if self._factors is not None:
            self._factors.rows[:, transmission.STATE] = state["factors"].T
        for name in self._carried:
            setattr(self, name, np.array(state[name], float))


def _steps_of(log: SpikeLog, n_steps: int, cells: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the steps in which each of some cells spiked."""
    steps, ids = log.spikes(n_steps)
    order = np.argsort(ids, kind="stable")
    first, last = (np.searchsorted(ids[order], cells, side) for side in ("left", "right"))
    for low, high in zip(first, last, strict=True):
        yield steps[order[low:high]]
