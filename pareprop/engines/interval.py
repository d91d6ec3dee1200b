"""Interval variant: one sample is one update interval. Forward in rounds, one sweep back, credit, optimizer step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..arrays import aligned
from ..errors import InputError
from ..network.local import LocalNetwork, target_rate
from ..parallel.exchange import Exchange, timed_round
from ..parallel.spike_log import SpikeLog
from ..timers import Timers
from .base import Recorded
from .interval_gradient import Learning
from .losses import evaluate, learning_signal
from .sample import Sample
from .state import State


@dataclass(frozen=True)
class IntervalSettings:
    """Of the interval variant, with NEST's names.

    Attributes
    ----------
    learning_window : last steps of the interval with a learning signal
    average_gradient : whether gradients are divided by `learning_window`
    reset : `eprop_reset_neurons_on_update`
    round_steps : steps between exchanges, 0 for the min-delay
    keep_gradients : whether gradients are summed apart from the weights even where they need not be (see `Interval`)
    """

    learning_window: int
    average_gradient: bool = False
    reset: bool = True
    round_steps: int = 0
    keep_gradients: bool = False

    def check(self, n_steps: int) -> None:
        """Raise `InputError` unless samples of `n_steps` steps can be run so."""
        lowest = 1 if self.average_gradient else 0  # a gradient is not averaged over no steps
        if not lowest <= self.learning_window <= n_steps:
            raise InputError(f"learning_window = {self.learning_window} must lie in [{lowest}, {n_steps}]")
        if self.round_steps < 0:
            raise InputError(f"round_steps = {self.round_steps} must be at least 0")


class Interval(Learning):
    """Runs samples of `n_steps` on this rank's share of a network.

    Contract of `run`, in this order for every round [t, t + D), D the min-delay between neurons:
    deliver and advance read the log before t; the exchange completes the log up to t + D and carries the readouts'
    signals of the round before; readouts then take the spikes of [t, t + D). After the last round one more message
    carries the last signals. Sweep and credit need the whole log and all errors; weights change only after credit.
    """

    learns_at_the_end = True  # weights change in `optimize` alone

    def __init__(
        self, network: LocalNetwork, exchange: Exchange, settings: IntervalSettings, n_steps: int, timers: Timers
    ) -> None:
        self.network, self.exchange, self.settings, self.timers = network, exchange, settings, timers
        self.n_steps = n_steps
        settings.check(n_steps)
        model = network.model
        self.real, self.kernel = model.kernels.real, model.kernels.interval
        self.loss = model.of_role("readout")[0].params.loss if network.n_readouts else "mean_squared_error"
        between = [item for item in model.projections if item.pre.role == item.post.role == "recurrent"]
        delays = [item.delay_range[0] for item in between if not item.is_empty]
        self.round_steps = self._round_length(min(delays, default=n_steps))
        n = network.neurons[1] - network.neurons[0]
        self.own = SpikeLog(n_steps, 4 * n + 1024)
        self.log = self.merged = self.own if exchange.size == 1 else SpikeLog(n_steps)
        self.n_samples = 0
        self._prepare()
        self._carried = np.zeros(n, self.real)
        self._allocate(n)

    def _round_length(self, min_delay: int) -> int:
        if self.exchange.size == 1 and not self.settings.round_steps:
            return self.n_steps
        return min(self.settings.round_steps or min_delay, min_delay)

    def _allocate(self, n: int) -> None:
        network = self.network
        names = ("alpha", "zeta", "p_current", "V_th", "V_min", "t_ref", "rho", "adapt_beta", "height", "inverse_width",
                 "I_e")  # fmt: skip
        state = ("v", "a", "z", "refractory", "arriving", "excess", "drive", "n_spikes")
        self.state = {name: aligned(n, self.real) for name in state}
        self.state["v"][:] = network.cells["V_init"]
        self.psi = aligned((self.n_steps, n), self.real)
        self.psi.fill(0.0)  # no page is first touched while the network runs
        table = network.incoming
        self.parameters = network.parameters(names)
        self.forward = self.kernel.Forward(
            self.parameters | self.state
            | {"first_id": network.neurons[0], "pieces": network.pieces, "psi": self.psi, "own_ids": self.own.ids,
               "own_ptr": self.own.ptr, "blocks": table.blocks, "row_ptr": table.row_ptr, "target": table.target,
               "weight": table.weight}
        )  # fmt: skip
        self.constants = network.readout_constants()
        n_own = network.readouts[1] - network.readouts[0]
        self.signal = np.zeros((self.n_steps, network.n_readouts))
        self.own_signal = self.signal if self.exchange.size == 1 else np.zeros((self.n_steps, n_own))
        self.y, self._arriving_out = np.full(n_own, self.constants["V_init"]), np.zeros(n_own)
        self._scratch = np.zeros(network.n_readouts), *np.zeros((3, n), self.real)
        self._kappa = self.constants["alpha"]
        self.record_ids(np.zeros(0, np.int64))

    def bind(self) -> None:
        """Collective: name to the exchange what it carries; all else of the engine is built by each rank alone."""
        model = self.network.model
        expected = target_rate(model) * model.dt_ms / 1000.0 * self.round_steps
        self.exchange.bind(self.own, self.merged, self.own_signal, self.signal, self.network.sources, expected)

    def record_ids(self, ids: np.ndarray) -> None:
        """Keep voltage and adaptation of the recurrent neurons `ids` that live here in the samples that follow."""
        first, last = self.network.neurons
        mine = ids[(ids >= first) & (ids < last)]
        self.recorded_ids = mine
        self._V, self._a = (np.zeros((self.n_steps, len(mine))) for _ in range(2))
        self.forward.record, self.forward.recorded_V, self.forward.recorded_a = mine - first, self._V, self._a

    def run(self, sample: Sample, learn: bool = True) -> tuple[np.ndarray, float]:
        """Collective: one interval; with `learn`, add its gradient. Return errors (T, n_readouts) and the loss."""
        if self._pending:  # each sample steps on its own
            self.optimize()
        self._begin(sample)
        T, D = self.n_steps, self.round_steps
        before = (0, 0)
        for first in range(0, T, D):
            last = min(first + D, T)
            self._advance(first, last)
            self._exchange(first, last, *before)
            self._advance_readouts(first, last)
            before = first, last
        self._exchange(T, T, *before)
        self.log, self.n_spikes = self.exchange.all_spikes_on_root(self.own, self.merged, T)
        window = slice(T - self.settings.learning_window, T)
        error, loss = evaluate(self.loss, self.shown_signal(), sample.target, window)
        self.recorded = self._recorded(error) if len(self.forward.record) else None
        if learn:
            self._collect(sample, error)
        self.n_samples += 1
        return error, loss

    def heard(self) -> SpikeLog:
        """Spikes of the last sample that this rank listens to, by their rows' numbers."""
        return self.merged

    def shown_signal(self) -> np.ndarray:
        """Readout voltages of the last sample (n_steps, n_readouts), E_L included."""
        return self.signal + self.constants["E_L"] if self.constants["E_L"] else self.signal

    def _begin(self, sample: Sample) -> None:
        if self.settings.reset:
            for name in ("v", "a", "z", "refractory"):
                self.state[name][:] = 0.0
            self.y[:] = 0.0
        self.state["n_spikes"][:] = 0.0
        forward, inputs = self.forward, sample.inputs
        forward.input_ids, forward.input_ptr = inputs.ids, inputs.ptr
        forward.log_ids, forward.log_ptr = self.merged.ids, self.merged.ptr
        forward.injected = self._injected(sample)

    def _injected(self, sample: Sample) -> np.ndarray:
        """Injected currents by the step that takes them, one after they were injected; the last one is carried over."""
        table = self.network.currents
        if not len(table.blocks):
            return np.zeros((0, self.psi.shape[1]), self.real)
        injected = np.zeros((self.n_steps + 1, self.psi.shape[1]), self.real)
        if sample.currents is not None:
            self.kernel.inject(table.blocks, table.row_ptr, table.target, table.weight, sample.currents, injected[1:])
        injected[0], self._carried = self._carried, injected[-1].copy()
        return injected[:-1]

    def _advance(self, first: int, last: int) -> None:
        forward, alone = self.forward, self.merged is self.own
        while first < last:
            first = forward.run(first, last, self.n_samples == 0)
            if first < last:  # no room for one more step
                self.own.reserve(2 * len(self.own.ids) + self.psi.shape[1])
                forward.own_ids = self.own.ids
                if alone:
                    forward.log_ids = self.own.ids
        for phase in ("deliver", "update"):
            self.timers.add(phase, getattr(forward, f"{phase}_seconds"))
            setattr(forward, f"{phase}_seconds", 0.0)

    def _exchange(self, first: int, last: int, signal_first: int, signal_last: int) -> None:
        timed_round(self.exchange, self.timers, first, last, signal_first, signal_last)
        self.forward.log_ids, self.forward.own_ids = self.merged.ids, self.own.ids

    def _advance_readouts(self, first: int, last: int) -> None:
        table, constants = self.network.outgoing, self.constants
        with self.timers.phase("update"):
            self.kernel.advance_readouts(
                first, last, self.n_samples == 0, *(constants[name] for name in ("alpha", "zeta", "drive", "V_min")),
                table.blocks, table.row_ptr, table.target, table.weight, self.merged.ids, self.merged.ptr,
                self.y, self._arriving_out, self.own_signal,
            )  # fmt: skip

    def _recorded(self, error: np.ndarray) -> Recorded:
        local = np.asarray(self.forward.record)
        signal = learning_signal(error, self.network.dense_feedback()[:, local])
        voltage = self._V + self.network.cells["E_L"][local]
        return Recorded(self.recorded_ids, voltage, self._a.copy(), self.psi[:, local].astype(float), signal)

    def shown_weights(self) -> dict[int, np.ndarray]:
        """Weights that differ from those of the tables, by id of the table: none, no update is ever pending."""
        return {}

    def saved(self) -> State:
        """What the next interval reads, between iterations (no gradient is collected then); see `state`."""
        saved = State({"n_samples": self.n_samples, "plastic": {item.name: item.numbers() for item in self.plastic}})
        saved.neurons = {name: self.state[name] for name in ("v", "a", "z", "refractory")} | {"carried": self._carried}
        saved.readouts = {"y": self.y}
        for kind, items in (("table", self.plastic), ("mirror", self.mirrored)):
            for item in items:
                saved.add_synapses(kind, item.table, item.span, **item.arrays())
        return saved

    def restore(self, numbers: dict[str, Any], shared: dict[str, np.ndarray]) -> None:
        """Take back numbers; the arrays of `saved` are filled next."""
        self.n_samples, self.n_collected = int(numbers["n_samples"]), 0
        for item in self.plastic:
            item.restore(numbers["plastic"][item.name])
        for item in self.mirrored:
            item.restore(numbers["plastic"][item.name])

    def watched(self) -> dict[str, np.ndarray]:
        """What a number that is not finite reaches within a sample, last axis = this rank's neurons.

        The sweep ends in the first step, whatever is not finite before stays so until then.
        """
        return {name: self.state[name] for name in ("v", "a")} | {"learning signal": self.psi[0]}

    def restored(self) -> None:
        """Bring learning-signal weights up to date."""
        if self.network.mirror:
            self.network.mirror.follow()

    @property
    def history_steps(self) -> int:
        """Steps of which a neuron keeps something: those of one interval."""
        return len(self.psi)

    def nbytes(self) -> dict[str, int]:
        """Bytes by kind: gradients with optimizer state, histories, logs."""
        logs = {id(log): log.nbytes for log in (self.own, self.merged)}
        return {
            "gradients": self.sums.nbytes + sum(item.nbytes for item in self.plastic),
            "histories": self.psi.nbytes + self.signal.nbytes + sum(array.nbytes for array in self.state.values()),
            "log": sum(logs.values()),
        }
