"""Spike variant (e-prop+): one endless run in samples; synapses learn whenever a spike arrives at them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..arrays import aligned
from ..errors import InputError
from ..kernels import layout
from ..network.local import LocalNetwork, target_rate
from ..network.model import Model
from ..network.synapse_table import SynapseTable
from ..parallel.exchange import Exchange, timed_round
from ..parallel.spike_log import SpikeLog
from ..timers import Timers
from . import spike_rules, spike_state
from .base import Recorded
from .losses import learning_signal
from .plasticity import plastic
from .sample import Sample
from .spike_memory import Arrays
from .spike_rules import ERRORS, PREFIX
from .state import State

STATE = ("v", "a", "z", "refractory", "arriving", "excess", "drive", "kept", "f_av")
PARAMETERS = (
    "alpha", "zeta", "p_current", "V_th", "V_min", "V_reset", "t_ref", "rho", "adapt_beta", "height", "inverse_width", "I_e",
    "refractory_input", "c_reg", "f_target",
)  # fmt: skip
PER_ROW = ("Z", "books", "counters")
PER_SYNAPSE = ("weight", "Y", "C", "Y2", "zbar", "eps", "moment", "variance")


@dataclass(frozen=True)
class SpikeSettings:
    """Of the spike variant.

    Attributes
    ----------
    learning_window : last steps of a sample with a learning signal, where the sample has no window of its own
    round_steps : steps between exchanges, 0 for the min-delay
    """

    learning_window: int
    round_steps: int = 0


class Spike(Arrays):
    """Runs samples of `n_steps` on this rank's share of a network.

    Contract of `run`, for every round [t, t + D), D the min-delay of all projections between neurons, to readouts and
    back: in each step learning signals whose errors are known enter the histories, arriving spikes update and pass
    their synapses, neurons and readouts advance; the exchange then completes the log and the readout signals up to
    t + D, and every rank derives the same errors. With one process this is one call of the kernel per sample.
    """

    learns_at_the_end = False  # weights change within samples

    def __init__(
        self, network: LocalNetwork, exchange: Exchange, settings: SpikeSettings, n_steps: int, timers: Timers
    ) -> None:
        self.network, self.exchange, self.settings, self.timers = network, exchange, settings, timers
        self.n_steps, self.time, self.learned = n_steps, 0, False
        model = network.model
        self.real, self.kernels = model.kernels.real, model.kernels
        if model.optimizer.batch_size != 1:
            raise InputError(f"batch_size = {model.optimizer.batch_size} must be 1 in the spike variant")
        self.lags = spike_rules.lags(model)
        self.round_steps = self._round_length(model)
        self.block, self.readout_block = spike_rules.block_length(model), spike_rules.readout_block_length(model)
        tables = (network.incoming, network.outgoing)
        self.mirror = network.mirror.table if network.mirror else SynapseTable(model, [], 0, 0)
        self.rules = [spike_rules.rules(model, table, self.block, self.lags.m) for table in (*tables, self.mirror)]
        self.plastic = [item for table in tables for item in plastic(table, model.optimizer, keeps_moments=False)]
        self.steps_kept = self._longest_kept(model)
        self.constants = network.readout_constants()
        self._allocate(model)

    def _round_length(self, model: Model) -> int:
        between = [item for item in model.projections if item.pre.role in ("recurrent", "readout")]
        spikes = [item.delay_range[0] for item in between if not item.is_empty]
        longest = min(spikes, default=self.n_steps)
        return min(self.settings.round_steps or longest, longest)

    def _allocate(self, model: Model) -> None:
        network = self.network
        n = network.neurons[1] - network.neurons[0]
        self.state = {name: aligned(n, self.real) for name in STATE}
        self.state["v"][:] = network.cells["V_init"]
        n_own = network.readouts[1] - network.readouts[0]
        self.y = np.full(n_own, self.constants["V_init"])
        self.signal = np.zeros((self.n_steps, network.n_readouts))
        self.own_signal = self.signal if self.exchange.size == 1 else np.zeros((self.n_steps, n_own))
        self.error = np.zeros_like(self.signal)
        length = self.steps_kept + self.n_steps + self.lags.m + 2
        self.inputs, self.merged = SpikeLog(length), SpikeLog(length, 4 * n + 1024)
        self._own = self.merged if self.exchange.size == 1 else SpikeLog(length, 4 * n + 1024)
        kappas = {(item.params.kappa, item.params.kappa_reg) for item in model.of_role("recurrent")}
        self._sets = 1 if all(kappa == kappa_reg for kappa, kappa_reg in kappas) else 2
        self.carried = np.zeros(n, self.real)
        self.names: list[set[str]] = []  # what the synapses of each table keep beside weights
        tables = (*self.tables(), self.mirror)
        self.rows = [self._rows(table, rules) for table, rules in zip(tables, self.rules, strict=True)]
        self.rows[1].first_error = network.readouts[0]
        self.history = self._histories(n)
        self.kernel = self.kernels.spike.Engine(
            network.parameters(PARAMETERS) | self.state | self._bound() | self._feedback() | self._powers(model)
            | {"first_id": network.neurons[0], "pieces": network.pieces, "y": self.y,
               "arriving_out": np.zeros(n_own), "y_alpha": self.constants["alpha"], "y_drive": self.constants["drive"],
               "y_min": self.constants["V_min"], "E_L": self.constants["E_L"], "incoming": self.rows[0],
               "cross_entropy": self._loss() == "cross_entropy", "outgoing": self.rows[1], "signal": self.signal,
               "mirror": self.rows[2], "nowhere": np.zeros(network.n_readouts),
               "mirror_index": network.mirror.index if network.mirror else np.zeros(0, np.int64),
               "own_signal": self.own_signal, "error": self.error, "block": max(self.block, 1), "m": self.lags.m,
               "out_block": self.readout_block,
               "sets": self._sets, "dt": model.dt_ms, "fold_steps": spike_rules.FOLD_STEPS,
               "has_prefix": n > 0 and self._has(PREFIX),
               "alone": self.exchange.size == 1 and not self.settings.round_steps}
        )  # fmt: skip
        expected = target_rate(model) * model.dt_ms / 1000.0 * self.round_steps
        self.exchange.bind(self._own, self.merged, self.own_signal, self.signal, network.sources, expected)
        self.record_ids(np.zeros(0, np.int64))

    def tables(self) -> tuple[SynapseTable, SynapseTable]:
        """Tables whose synapses learn for themselves."""
        return self.network.incoming, self.network.outgoing

    def _loss(self) -> str:
        return self.network.model.of_role("readout")[0].params.loss if self.network.n_readouts else "mean_squared_error"

    # ---- running -----------------------------------------------------------------------------------------------------

    def record_ids(self, ids: np.ndarray) -> None:
        """Keep state of the recurrent neurons `ids` that live here in the samples that follow."""
        first, last = self.network.neurons
        self.recorded_ids = ids[(ids >= first) & (ids < last)]
        arrays = [np.zeros((self.n_steps, len(self.recorded_ids))) for _ in range(3)]
        self.kernel.record = self.recorded_ids - first
        self.kernel.recorded_V, self.kernel.recorded_a, self.kernel.recorded_psi = arrays
        self._arrays = arrays

    def run(self, sample: Sample, learn: bool = True) -> tuple[np.ndarray, float]:
        """Collective: one sample of the endless run. Return errors (n_steps, n_readouts) and the loss.

        Without `learn` the learning rate is 0, but traces go on, as in NEST; before the first sample with `learn`
        nothing of the kind is kept.
        """
        self.learned = self.learned or learn
        self._begin(sample, learn)
        first, end = self.time, self.time + self.n_steps
        steps = self.n_steps if self.kernel.alone else self.round_steps
        for start in range(first, end, steps):
            self._round(start, min(start + steps, end))
        self.time = end
        self.log, self.n_spikes = self.exchange.all_spikes_on_root(self._last(self._own), self.heard(), self.n_steps)
        self.recorded = self._recorded() if len(self.recorded_ids) else None
        return self.error, self._value(sample)

    def optimize(self) -> None:
        """Nothing: weights are updated as spikes arrive."""

    def shown_signal(self) -> np.ndarray:
        """Readout voltages of the last sample (n_steps, n_readouts), E_L included."""
        return self.signal + self.constants["E_L"] if self.constants["E_L"] else self.signal

    def _begin(self, sample: Sample, learn: bool) -> None:
        run, t = self.kernel, self.time
        base = max(t - self.steps_kept, 0)
        for log, old in ((self.inputs, run.base), (self.merged, run.base)):
            log.forget(base - old, t - old)
        if self._own is not self.merged:
            self._own.ptr[:] = 0
        self.inputs.append(t - base, sample.inputs, self.n_steps)
        run.base, run.origin, run.learns = base, t, self.learned
        run.window = self._window(sample)
        run.target_signal = np.ascontiguousarray(sample.target, dtype=float)
        self._bind_logs()
        run.injected = self._injected(sample)
        etas = {item.span.projection.name: item.eta if learn else 0.0 for item in self.plastic}
        for table, rows in zip((*self.tables(), self.mirror), self.rows, strict=True):
            blocks = [etas.get(span.projection.name, 0.0) for span in table.spans for _ in span.delays]
            np.asarray(rows.constants)[:, layout.ETA] = blocks

    def _window(self, sample: Sample) -> np.ndarray:
        if sample.window is not None:
            return np.ascontiguousarray(sample.window).view(np.uint8)
        return (np.arange(self.n_steps) >= self.n_steps - self.settings.learning_window).view(np.uint8)

    def _bind_logs(self) -> None:
        run = self.kernel
        run.input_ids, run.input_ptr = self.inputs.ids, self.inputs.ptr
        run.log_ids, run.log_ptr = self.merged.ids, self.merged.ptr
        run.own_ids, run.own_ptr = self._own.ids, self._own.ptr

    def _injected(self, sample: Sample) -> np.ndarray:
        """Injected currents by the step that takes them, one after they were injected; the last one is carried over."""
        table, n = self.network.currents, len(self.state["v"])
        if not len(table.blocks):
            return np.zeros((0, n), self.real)
        injected = np.zeros((self.n_steps + 1, n), self.real)
        if sample.currents is not None:
            self.kernels.interval.inject(
                table.blocks, table.row_ptr, table.target, table.weight, sample.currents, injected[1:]
            )  # fmt: skip
        injected[0], self.carried = self.carried, injected[-1].copy()
        return injected[:-1]

    def _round(self, first: int, last: int) -> None:
        run, start = self.kernel, first
        while start < last:
            start = run.run(start, last)
            if start < last:  # no room for one more step
                self._own.reserve(2 * len(self._own.ids) + len(self.state["v"]))
                self._bind_logs()
        for phase in ("deliver", "update", "sweep"):
            self.timers.add(phase, getattr(run, f"{phase}_seconds"))
            setattr(run, f"{phase}_seconds", 0.0)
        if run.alone:
            return
        places = first - run.base, last - run.base, first - run.origin, last - run.origin
        timed_round(self.exchange, self.timers, *places)
        self._bind_logs()
        run.errors(first, last)

    def _value(self, sample: Sample) -> float:
        if self._loss() != "cross_entropy":
            return float(0.5 * np.sum(np.square(self.error)))
        probability = np.maximum(self.error + sample.target, np.finfo(float).tiny)
        inside = np.asarray(self.kernel.window).astype(bool)
        return float(-np.sum(sample.target[inside] * np.log(probability[inside])))

    def heard(self) -> SpikeLog:
        """Spikes of the last sample that this rank listens to, by their rows' numbers."""
        return self._last(self.merged)

    def _last(self, log: SpikeLog) -> SpikeLog:
        last = self.time - self.kernel.base
        return log.part(last - self.n_steps, last)

    def _recorded(self) -> Recorded:
        local = np.asarray(self.kernel.record)
        weights = self.network.dense_feedback()[:, local]
        voltage, adaptation, psi = (array.copy() for array in self._arrays)
        voltage += self.network.cells["E_L"][local]
        return Recorded(self.recorded_ids, voltage, adaptation, psi, learning_signal(self.error, weights))

    # ---- showing weights ---------------------------------------------------------------------------------------------

    def shown_weights(self) -> dict[int, np.ndarray]:
        """Weights by id of their table after a flush: as if every source spiked once more; the run is not disturbed."""
        if not self.learned:
            return {}
        kept = self._snapshot()
        self.flush()
        shown = {id(table): table.weight.copy() for table in (*self.tables(), self.network.feedback)}
        for array, values in kept:
            array[...] = values
        return shown

    def flush(self) -> None:
        """Let spikes in flight arrive and then every source spike once more; the run can't be continued after it."""
        for log in (self.inputs, self.merged):
            log.ptr[self.time - self.kernel.base + 1 :] = log.ptr[self.time - self.kernel.base]
        self.kernel.flush(self.time)

    def _snapshot(self) -> list[tuple[np.ndarray, np.ndarray]]:
        arrays = [*self.state.values(), *self.history.values(), np.asarray(self.kernel.arriving_out)]
        arrays.append(self.network.feedback.weight)
        for rows in self.rows:
            arrays += [np.asarray(getattr(rows, name)) for name in (*PER_SYNAPSE, *PER_ROW)]
        return [(array, array.copy()) for array in arrays]

    def saved(self) -> State:
        """What the next sample reads; see `state`."""
        return spike_state.saved(self)

    def restore(self, numbers: dict[str, Any], shared: dict[str, np.ndarray]) -> None:
        """Take back numbers and what is shared; the arrays of `saved` are filled next."""
        spike_state.restore(self, numbers, shared)

    def restored(self) -> None:
        """Bring learning-signal weights up to date."""
        if self.network.mirror:
            self.network.mirror.follow()

    def watched(self) -> dict[str, np.ndarray]:
        """What a number that is not finite reaches within a sample, last axis = this rank's neurons."""
        return {name: self.state[name] for name in ("v", "a", "f_av")} | {name: self.history[name] for name in "AD"}

    @property
    def history_steps(self) -> int:
        """Steps of which a neuron keeps something: its longest ring, bounded by cutoff or folding."""
        return max(len(ring) for name, ring in self.history.items() if ring.ndim == 2 and name not in ERRORS)

    def nbytes(self) -> dict[str, int]:
        """Bytes by kind: what synapses need to learn, bookkeeping of sources, histories, logs."""
        learning, books = 0, 0
        for rows in self.rows:
            learning += sum(np.asarray(getattr(rows, name)).nbytes for name in PER_SYNAPSE[1:])
            books += sum(np.asarray(getattr(rows, name)).nbytes for name in (*PER_ROW, "bias", "bias_step"))
        logs = {id(log): log.nbytes for log in (self.inputs, self.merged, self._own)}
        return {
            "gradients": learning, "books": books, "log": sum(logs.values()),
            "histories": sum(array.nbytes for array in (*self._bound().values(), *self.state.values())),
        }  # fmt: skip
