"""States of chosen synapses that learn by a rule given by equations: its strings, step by step, as they are written."""

from __future__ import annotations

import numpy as np

from ..network.learning import bind, find_at, list_kept, list_rules, rule_of
from ..network.local import cell_values, program_of
from ..network.rule_options import definition_of
from ..parallel.spike_log import SpikeLog
from ..plans.request import lags
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
        definition = definition_of(post).keeping(list_kept(model, post))
        bound = bind(at, definition)
        of_model: Values = definition.defaults
        if n:
            given = network.values_of(network.piece_populations.index(post), local)
            of_model = program_of(model, post).values(given, model.dt_ms)
        key, targets = f"{post.name}/{at.rule.name}", chosen.target
        parameters = {
            name: cell_values(model, post, f"{key}/{name}", value, 0, post.size)[targets]
            for name, value in at.parameters.items()
        }
        readouts = network.readout_constants()["alpha"]
        kappa = of_model["kappa"] if self._online else (float(readouts.min()) if len(readouts) else 0.0)
        values = bound.values(parameters, of_model, model.dt_ms, kappa) if n else {}
        self._literal = Literal(bound, values, n)
        self._kappa_reg = post.params.kappa_reg
        self._c_reg, self._f_target = network.cells["c_reg"][local], network.cells["f_target"][local]
        self._d_out = lags(model).d_out if self._online else 0
        self._last_kept: np.ndarray | None = None
        self.f_av = np.zeros(n)

    def list_states(
        self, inputs: SpikeLog, spikes: SpikeLog, error: np.ndarray, modulator: np.ndarray | None
    ) -> list[dict[str, np.ndarray]]:
        """Step through the sample that the engine has just run; return the states after each step.

        Parameters
        ----------
        inputs, spikes, error
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
            if self._engine.settings.reset:  # type: ignore[attr-defined]
                self._literal.start()
                self._last_kept = None
            self._literal.start_synapses()
        if self._last_kept is not None:
            kept[0] = self._last_kept
        self._last_kept, found = kept[-1], []
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
    """Return what steps the states of synapses forward, whatever they learn by."""
    return (RuleTraces if isinstance(rule_of(chosen.projection), LearningRule) else Traces)(engine, chosen)
