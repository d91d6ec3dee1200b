"""Eligibility traces of chosen synapses, step by step, from what the kernels record of neurons.

The kernels never hold these traces: the interval variant sweeps back through time, the spike variant works off windows
between spikes. Here they are stepped forward, for few synapses. Equations: Bellec et al. 2020 (doi
10.1038/s41467-020-17236-y), equations 22 to 28; Korcsak-Gorzo et al. 2025 (arXiv:2511.21674).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from ..network.connectivity import Projection
from ..network.model import Model
from ..parallel.spike_log import SpikeLog
from .spike_rules import lags

if TYPE_CHECKING:
    from .base import Engine

# quantities of synapses that can be recorded, and their units
TRACES_UNITS = {"eligibility": "1/mV", "eligibility_trace": "1/mV", "gradient": "as in NEST"}
CARRIED = ("zbar", "eps", "ebar", "ereg", "f_av", "coming", "past", "past_regular")


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


def check(model: Model, projection: Projection) -> None:
    """Raise `InputError` if traces of a projection can't be stepped forward from what is recorded."""
    post, here = projection.post, f"traces of '{projection.name}' can't be recorded"
    if hasattr(post.params, "definition"):
        raise InputError(f"{here}: model '{post.model}' is given by equations")
    if (
        not model.eprop.is_online
        and post.role == "recurrent"
        and len({readouts.params.tau_m for readouts in model.of_role("readout")}) > 1
    ):
        raise InputError(f"{here}: readouts have different tau_m, of each of which a trace would be needed")
    if model.eprop.is_online and model.is_rewarded:
        raise InputError(f"{here}: with rewards, the spike variant has a trace of its own for TD errors")
    if model.eprop.is_online and np.isfinite(post.params.eprop_isi_trace_cutoff):
        value = post.params.eprop_isi_trace_cutoff
        raise InputError(f"{here}: eprop_isi_trace_cutoff = {value:g} of '{post.name}' must be inf")
    drops = [item.name for item in model.perturbations if item.kind == "dropout" and item.of == post.name]
    if model.eprop.is_online and drops and np.any(getattr(post.params, "c_reg", 0.0)):
        raise InputError(f"{here}: dropout '{drops[0]}' hides spikes that c_reg of '{post.name}' counts")


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
        self._engine, self._chosen, self._online = engine, chosen, model.eprop.is_online
        self._from_inputs, self._onto_readouts = projection.pre.role == "input", projection.post.role == "readout"
        self._source = chosen.source + model.offset(projection.pre)
        self._target = chosen.target + model.offset(projection.post)
        n, readouts = len(self._source), network.readout_constants()
        self._d_out = lags(model).d_out if self._online and not self._onto_readouts else 0
        if self._onto_readouts:
            self.record = np.zeros(0, np.int64)
            self._alpha, self._zeta = readouts["alpha"][self._target], readouts["zeta"][self._target]
        else:
            self.record = np.unique(self._target)
            local = self._target - network.neurons[0]
            names = ("alpha", "zeta", "rho", "adapt_beta", "c_reg", "f_target")
            values = (network.cells[name][local] for name in names)
            self._alpha, self._zeta, self._rho, self._beta, self._c_reg, self._f_target = values
            self._kappa, self._kappa_reg = float(readouts["alpha"][0]) if network.n_readouts else 0.0, 0.0
            if model.local:
                self._kappa = model.local.constants(model.dt_ms)[0]
            self._share = 1.0 - self._kappa
            if self._online:
                self._zeta = np.ones(n)
                self._kappa, self._share = projection.post.params.kappa, 1.0
                self._kappa_reg = projection.post.params.kappa_reg
            if not getattr(projection.post.params, "adaptive", False):
                self._beta = np.zeros(n)
        self.zbar, self.eps, self.ebar, self.ereg, self.f_av = np.zeros((5, n))
        self.coming = np.zeros((projection.delay_range[1] + 1, n))  # arrivals of the next samples
        self.past, self.past_regular = np.zeros((2, max(self._d_out, 1), n))  # traces that errors to come meet

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
            the firing-rate regularisation.
        """
        n_steps = len(error)
        arrivals = self._find_arrivals(inputs if self._from_inputs else spikes, n_steps)
        if self._online and not getattr(self._engine, "learned", True):
            return {name: np.zeros_like(arrivals) for name in TRACES_UNITS}
        if self._onto_readouts:
            return self._follow_onto_readouts(arrivals, error)
        recorded = self._engine.recorded
        assert recorded is not None or not len(self._target)
        if recorded is None:
            return {name: np.zeros_like(arrivals) for name in TRACES_UNITS}
        column = np.searchsorted(recorded.record, self._target)
        psi, signal = recorded.surrogate_gradient[:, column], recorded.learning_signal[:, column]
        fired = self._find_own_spikes(spikes, n_steps)
        found = {name: np.zeros_like(arrivals) for name in TRACES_UNITS}
        if not self._online:
            self.zbar[:], self.eps[:], self.ebar[:] = 0.0, 0.0, 0.0
            count = fired.sum(axis=0) + self._engine.perturbing.lost[self._target - self._engine.network.neurons[0]]
            rate = self._c_reg * (count / n_steps - self._f_target * self._engine.network.model.dt_ms) / n_steps
        for t in range(n_steps):
            self.zbar = self._alpha * self.zbar + self._zeta * arrivals[t]
            e = psi[t] * (self.zbar - self._beta * self.eps)
            self.eps = self._rho * self.eps + e
            self.ebar = self._kappa * self.ebar + self._share * e
            trace, regular = self.ebar, e
            found["eligibility"][t], found["eligibility_trace"][t] = e, self.ebar
            if self._online:
                trace, regular, rate = self._delay(t, e, fired[t])
            found["gradient"][t] = signal[t] * trace + rate * regular
        return found

    def _delay(self, t: int, e: np.ndarray, fired: np.ndarray) -> tuple[np.ndarray, np.ndarray, Any]:
        """Return traces of d_out steps before, and 1 for what regularisation adds, which `past_regular` holds."""
        keep, dt = self._kappa_reg, self._engine.network.model.dt_ms
        self.ereg = keep * self.ereg + (1.0 - keep) * e
        self.f_av = keep * self.f_av + (1.0 - keep) * fired / dt
        before, regular = self.past[0].copy(), self.past_regular[0].copy()
        self.past = np.concatenate([self.past[1:], self.ebar[None]])
        now = self._c_reg * (self.f_av - self._f_target) * self.ereg
        self.past_regular = np.concatenate([self.past_regular[1:], now[None]])
        return before, regular, 1.0

    def _follow_onto_readouts(self, arrivals: np.ndarray, error: np.ndarray) -> dict[str, np.ndarray]:
        found = {name: np.zeros_like(arrivals) for name in TRACES_UNITS}
        if not self._online:
            self.zbar[:] = 0.0
        for t in range(len(error)):
            self.zbar = self._alpha * self.zbar + self._zeta * arrivals[t]
            found["eligibility"][t], found["eligibility_trace"][t] = arrivals[t], self.zbar
            found["gradient"][t] = error[t, self._target] * self.zbar
        return found

    def _find_arrivals(self, log: SpikeLog, n_steps: int) -> np.ndarray:
        """Return how many spikes arrive at each synapse in each step, 0 or 1, float64 (n_steps, n)."""
        delay = self._chosen.delay
        if self._from_inputs:  # those of step s arrive in step s through a delay of one step
            delay = delay - 1
        elif self._onto_readouts and not self._online:  # on the readouts' own clock
            delay = np.zeros_like(delay)
        total = np.zeros((n_steps + len(self.coming), len(self._source)))
        if self._online:
            total[: len(self.coming)] = self.coming
        for k, steps in enumerate(_steps_of(log, n_steps, self._source)):
            total[steps + delay[k], k] = 1.0
        if self._online:
            self.coming = total[n_steps:].copy()
        elif not self._onto_readouts:
            total[0] = 0.0  # which are lost
        return total[:n_steps]

    def _find_own_spikes(self, log: SpikeLog, n_steps: int) -> np.ndarray:
        fired = np.zeros((n_steps, len(self._target)))
        for k, steps in enumerate(_steps_of(log, n_steps, self._target)):
            fired[steps, k] = 1.0
        return fired

    def state(self) -> dict[str, np.ndarray]:
        """Return what the next sample reads, (.., n) each; nothing in the interval variant."""
        return {name: getattr(self, name) for name in CARRIED} if self._online else {}

    def load_state(self, state: dict[str, np.ndarray]) -> None:
        """Take back a state."""
        for name in CARRIED if self._online else ():
            setattr(self, name, np.array(state[name], float))


def _steps_of(log: SpikeLog, n_steps: int, cells: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the steps in which each of some cells spiked."""
    steps, ids = log.spikes(n_steps)
    order = np.argsort(ids, kind="stable")
    first, last = (np.searchsorted(ids[order], cells, side) for side in ("left", "right"))
    for low, high in zip(first, last, strict=True):
        yield steps[order[low:high]]
