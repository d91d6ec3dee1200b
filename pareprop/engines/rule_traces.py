"""States of chosen synapses with a custom learning rule, whose equations are evaluated literally, step by step."""

from __future__ import annotations

import numpy as np

from ..network.learning import bind_rule, find_at, list_rules, rule_of
from ..network.local import draw_cell_values
from ..network.rule_options import definition_of
from ..parallel.spike_log import SpikeLog
from ..rules.definition import LearningRule
from ..rules.literal import LiteralRule
from ..values import Values
from .base import Engine
from .traces import Chosen, Traces, find_spikes


class RuleTraces(Traces):
    """States of synapses of a projection on this rank, stepped forward sample by sample.

    `record` are the neurons whose dynamics the engine must record, int64.
    """

    def __init__(self, engine: Engine, chosen: Chosen) -> None:
        network, model, projection = engine.network, engine.network.model, chosen.projection
        self._set_attributes(engine, chosen)
        engine.dynamics.keeps_derivatives = True
        self.record, n = np.unique(self._target), len(self._target)
        at = find_at(list_rules(model), projection)
        assert at is not None
        post, local = projection.post, self._target - network.neurons[0]
        definition = definition_of(post).with_saved(network.kept[post.name])
        bound = bind_rule(at, definition)
        of_model: Values = definition.defaults
        if n:
            given = network.get_parameters(network.piece_of[post.name], local)
            of_model = network.program_of(post).compute_values(given, model.dt_ms)
        targets = chosen.target
        parameters = {
            name: draw_cell_values(model, post, f"{at.rule.name}/{name}", value, 0, post.size)[targets]
            for name, value in at.parameters.items()
        }
        readouts = network.compute_readout_constants()["alpha"]
        kappa = of_model["kappa"] if self._online else (float(readouts.min()) if len(readouts) else 0.0)
        values = bound.compute_values(parameters, of_model, model.dt_ms, kappa) if n else {}
        self._literal = LiteralRule(bound, values, n)
        self.last_kept = np.full((len(self._literal.kept), n), np.nan)  # NaN: this is the first sample
        self._carried = ("f_av", "coming", "last_kept")

    @property
    def names(self) -> list[str]:
        """Names of the states that `list_states` returns."""
        return list(self._literal.synapse)

    def list_states(
        self, inputs: SpikeLog, spikes: SpikeLog, error: np.ndarray, modulator: np.ndarray | None
    ) -> list[dict[str, np.ndarray]]:
        """Step through the sample that the engine has just run; return the states after each step.

        Arguments as for `Traces.list_states`.
        """
        n_steps, n = len(error), len(self._target)
        if not n:
            return []
        recorded = self._engine.recorded
        assert recorded is not None
        column = np.searchsorted(recorded.record, self._target)
        psi, signal = recorded.surrogate_gradient[:, column], recorded.learning_signal[:, column]
        signal = np.concatenate([signal[self._d_out :], np.zeros((self._d_out, n))])
        kept, fired = (
            recorded.kept[:, : len(self._literal.kept), column].copy(),
            find_spikes(spikes, n_steps, self._target),
        )
        arrivals = self._find_arrivals(inputs if self._from_inputs else spikes, n_steps)
        rate: np.ndarray = np.zeros(n)
        if not self._online:
            rate = self._regularize_rates(fired)
            if self._engine.resets:
                self._literal.reset_states()
                self.last_kept[...] = np.nan
            self._literal.reset_synapses()
        kept[0] = np.where(np.isnan(self.last_kept), kept[0], self.last_kept)
        self.last_kept, found = kept[-1].copy(), []
        for t in range(n_steps):
            if self._online:
                rate = self._follow_rate(fired[t])
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
