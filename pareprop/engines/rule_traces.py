"""States of chosen synapses that learn by a rule given by equations, which are evaluated literally, step by step."""

from __future__ import annotations

import numpy as np

from ..algorithms.request import lags
from ..network import transmission
from ..network.learning import bind, find_at, list_rules, rule_of
from ..network.local import cell_values
from ..network.rule_options import definition_of
from ..parallel.spike_log import SpikeLog
from ..rules.definition import LearningRule
from ..rules.literal import Literal
from ..values import Values
from .base import Engine
from .traces import Chosen, Traces


class RuleTraces(Traces):
    """States of synapses of a projection on this rank, stepped forward sample by sample.

    Parameters
    ----------
    engine : Engine
        Runs the samples.
    chosen : Chosen
        The synapses.

    Attributes
    ----------
    record : np.ndarray
        int64, neurons whose dynamics the engine must record.
    """

    def __init__(self, engine: Engine, chosen: Chosen) -> None:
        network, model, projection = engine.network, engine.network.model, chosen.projection
        self._prepare(engine, chosen)
        engine.keeps_derivatives = True
        self.record, n = np.unique(self._target), len(self._target)
        at = find_at(list_rules(model), projection)
        assert at is not None
        post, local = projection.post, self._target - network.neurons[0]
        definition = definition_of(post).keeping(network.kept[post.name])
        bound = bind(at, definition)
        of_model: Values = definition.defaults
        if n:
            given = network.values_of(network.piece_of[post.name], local)
            of_model = network.program_of(post).values(given, model.dt_ms)
        targets = chosen.target
        parameters = {
            name: cell_values(model, post, f"{at.rule.name}/{name}", value, 0, post.size)[targets]
            for name, value in at.parameters.items()
        }
        readouts = network.readout_constants()["alpha"]
        kappa = of_model["kappa"] if self._online else (float(readouts.min()) if len(readouts) else 0.0)
        values = bound.values(parameters, of_model, model.dt_ms, kappa) if n else {}
        self._literal = Literal(bound, values, n)
        self._kappa_reg = getattr(post.params, "kappa_reg", 0.0)  # acts in the spike variant alone
        self._c_reg, self._f_target = network.cells["c_reg"][local], network.cells["f_target"][local]
        self._d_out = lags(model).d_out if self._online else 0
        self._last_kept = np.full((len(self._literal.kept), n), np.nan)  # NaN: there was no sample before
        self.f_av = np.zeros(n)

    @property
    def names(self) -> list[str]:
        """Names of the states that `list_states` returns."""
        return list(self._literal.synapse)

    def record_states(
        self, inputs: SpikeLog, spikes: SpikeLog, error: np.ndarray, modulator: np.ndarray | None
    ) -> dict[str, np.ndarray]:
        """Return all that can be recorded, see `Traces.record_states`."""
        return self._stack(self.list_states(inputs, spikes, error, modulator), len(error))

    def state(self) -> dict[str, np.ndarray]:
        """Return the arrays that the next sample reads, (.., n) each."""
        literal, n = self._literal, len(self._target)
        tables = {"neuron": literal.neuron, "synapse": literal.synapse}
        state = {name: np.array([*table.values()]).reshape(len(table), n) for name, table in tables.items()}
        state |= {"f_av": self.f_av, "coming": self.coming, "last_kept": self._last_kept}
        return state | ({} if self._factors is None else {"factors": self._factors.rows[:, transmission.STATE].T})

    def load_state(self, state: dict[str, np.ndarray]) -> None:
        """Load what `state` returned."""
        literal = self._literal
        literal.neuron = dict(zip(literal.neuron, np.array(state["neuron"], float), strict=True))
        literal.synapse = dict(zip(literal.synapse, np.array(state["synapse"], float), strict=True))
        self.f_av, self.coming, self._last_kept = (
            np.array(state[name], float) for name in ("f_av", "coming", "last_kept")
        )
        if self._factors is not None:
            self._factors.rows[:, transmission.STATE] = state["factors"].T

    def list_states(
        self, inputs: SpikeLog, spikes: SpikeLog, error: np.ndarray, modulator: np.ndarray | None
    ) -> list[dict[str, np.ndarray]]:
        """Step through the sample that the engine has just run; return the states after each step.

        Parameters
        ----------
        inputs, spikes : SpikeLog
            As of `Traces.follow`.
        error : ndarray
            As of `Traces.follow`.
        modulator : ndarray or None
            (n_steps,), what rules read as `M`.
        """
        n_steps, n, dt = len(error), len(self._target), self._engine.network.model.dt_ms
        if not n:
            return []
        recorded = self._engine.recorded
        assert recorded is not None
        column = np.searchsorted(recorded.record, self._target)
        psi, signal = recorded.surrogate_gradient[:, column], recorded.learning_signal[:, column]
        signal = np.concatenate([signal[self._d_out :], np.zeros((self._d_out, n))])
        kept, fired = recorded.kept[:, : len(self._literal.kept), column].copy(), self._find_own_spikes(spikes, n_steps)
        arrivals = self._find_arrivals(inputs if self._from_inputs else spikes, n_steps)
        rate: np.ndarray = np.zeros(n)
        if not self._online:
            rate = self._regularize(fired)
            if self._engine.resets:
                self._literal.start()
                self._last_kept[...] = np.nan
            self._literal.start_synapses()
        kept[0] = np.where(np.isnan(self._last_kept), kept[0], self._last_kept)
        self._last_kept, found = kept[-1].copy(), []
        for t in range(n_steps):
            if self._online:
                self.f_av = self._kappa_reg * self.f_av + (1 - self._kappa_reg) * fired[t] / dt
                rate = self._c_reg * (self.f_av - self._f_target)
            M = 0.0 if modulator is None else modulator[t]
            signals = {"psi": psi[t], "L": signal[t], "F": rate, "M": M}
            self._literal.step(kept[t + 1], kept[t], signals, arrivals[t])
            found.append(dict(self._literal.synapse))
        return found


def traces_of(engine: Engine, chosen: Chosen) -> Traces:
    """Return the traces of chosen synapses, of the class that fits their learning rule."""
    item = (RuleTraces if isinstance(rule_of(chosen.projection), LearningRule) else Traces)(engine, chosen)
    if engine.resets and engine.network.model.eprop.is_online:
        item.start = {name: array.copy() for name, array in item.state().items()}
    return item
