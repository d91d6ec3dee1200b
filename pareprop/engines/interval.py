"""Interval variant: one sample is one update interval. Forward in rounds, one sweep back, credit, optimizer step."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..arrays import aligned
from ..network.local import LocalNetwork
from ..parallel.exchange import Exchange, timed_round
from ..parallel.spike_log import SegmentedLog, SpikeLog
from ..timers import Timers
from .base import Engine, Settings
from .interval_gradient import IntervalGradient
from .local_readouts import LocalErrors
from .losses import evaluate
from .sample import Sample
from .state import State

PARAMETERS = (
    "alpha", "zeta", "p_current", "V_th", "V_min", "t_ref", "rho", "adapt_beta", "height", "inverse_width", "I_e",
)  # fmt: skip
STATE = ("v", "a", "z", "refractory", "arriving", "excess", "drive", "n_spikes")
CHAINED = ("v", "a", "z", "refractory")  # what an interval hands to the next one, unless neurons are reset


@dataclass(frozen=True, kw_only=True)
class IntervalSettings(Settings):
    """Settings of the interval variant, with NEST's names.

    Attributes
    ----------
    average_gradient : bool
        Whether gradients are divided by `learning_window`.
    reset : bool
        `eprop_reset_neurons_on_update`.
    """

    average_gradient: bool = False
    reset: bool = True

    def check(self, n_steps: int) -> None:
        """Raise `InputError` unless samples of `n_steps` steps can be run with these settings."""
        self._require_window(1 if self.average_gradient else 0, n_steps)  # no average over no steps
        super().check(n_steps)


class Interval(Engine):
    """Runs samples of `n_steps` on this rank's share of a network.

    Contract of `run`, in this order for every round [t, t + D), D the min-delay between neurons:
    deliver and advance read the log before t; the exchange completes the log up to t + D and carries the readouts'
    signals of the round before; readouts then take the spikes of [t, t + D). After the last round one more message
    carries the last signals. Sweep and credit need the whole log and all errors; weights change only after credit.
    """

    settings_type = IntervalSettings
    exchanging = ("recurrent",)
    learns_at_the_end = True

    def __init__(
        self, network: LocalNetwork, exchange: Exchange, settings: IntervalSettings, n_steps: int, timers: Timers
    ) -> None:
        super().__init__(network, exchange, settings, n_steps, timers)
        self.kernel = network.model.kernels.interval
        self.own = SpikeLog(n_steps, 4 * self.n_neurons + 1024)
        self.log = self.merged = self.own if exchange.size == 1 else SpikeLog(n_steps)
        self.segments = SegmentedLog([self.merged])
        self.n_samples = 0
        self.parameters = network.parameters(PARAMETERS)
        averaged_steps = settings.learning_window if settings.average_gradient else 1
        self.gradient = IntervalGradient(network, n_steps, averaged_steps, self.parameters, timers)
        self.local = LocalErrors(network, n_steps, settings.learning_window)
        self.plastic = self.gradient.plastic
        self._allocate()

    def _allocate(self) -> None:
        network, n = self.network, self.n_neurons
        self.neurons = {name: aligned(n, self.real) for name in STATE}
        self.neurons["v"][:] = network.cells["V_init"]
        self.psi = aligned((self.n_steps, n), self.real)
        self.psi.fill(0.0)  # no page is first touched while the network runs
        table = network.incoming
        self.forward = self.kernel.Forward(
            self.parameters | self.neurons
            | {"first_id": network.neurons[0], "pieces": network.pieces, "psi": self.psi, "own": self.own,
               "heard": self.segments, "blocks": table.blocks, "row_ptr": table.row_ptr, "target": table.target,
               "weight": table.weight}
        )  # fmt: skip
        self.record_ids(np.zeros(0, np.int64))

    def bind(self) -> None:
        """Collective: name the logs and signals that rounds exchange."""
        self._bind_exchange(self.own, self.merged)

    def run(self, sample: Sample, learn: bool = True) -> tuple[np.ndarray, float]:
        """Collective: one interval; with `learn`, add its gradient. Return errors (T, n_readouts) and the loss."""
        if self.gradient.is_pending:  # each sample steps on its own
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
        if self.local.rule:
            with self.timers.phase("sweep"):
                loss += self.local.learn_from(self.own, sample.local_targets, self.exchange.comm)
        self._tracks[2][...] = self.psi[:, self.recorded_ids - self.network.neurons[0]]  # before the sweep
        self.recorded = self._record(error)
        if self.recorded and self.local.rule:
            own = self.local.learning_signal(self.recorded_ids - self.network.neurons[0])
            self.recorded = replace(self.recorded, learning_signal=self.recorded.learning_signal + own)
        if learn:
            local = self.local.signal
            self.gradient.collect(sample.inputs, self.segments, error, local, self.psi, self.neurons["n_spikes"])
        self.n_samples += 1
        return error, loss

    def optimize(self) -> None:
        """Collective: step all optimizers with the mean gradient of the batch; nothing if no sample learned."""
        self.gradient.optimize(self.segments, self.exchange.replicas)

    def begin_sample(self, leaf: int) -> None:
        """Take note that the next sample to learn from lies in leaf `leaf` of its batch, see `parallel.replicas`."""
        self.gradient.sums.open(leaf)

    def skip(self, n: int, learn: bool) -> None:
        """Count `n` samples that other groups of ranks run."""
        self.n_samples += n
        self.gradient.n_collected += n * learn

    def heard(self) -> SpikeLog:
        """Return the spikes of the last sample that this rank listens to, by their rows' numbers."""
        return self.merged

    def _begin(self, sample: Sample) -> None:
        if self.settings.reset:
            for name in CHAINED:
                self.neurons[name][:] = 0.0
            self.y[:] = 0.0
        self.neurons["n_spikes"][:] = 0.0
        self.forward.inputs, self.forward.injected = sample.inputs, self._injected(sample)

    def _advance(self, first: int, last: int) -> None:
        forward = self.forward
        forward.run(first, last, self.n_samples == 0)
        for phase in ("deliver", "update"):
            self.timers.add(phase, getattr(forward, f"{phase}_seconds"))
            setattr(forward, f"{phase}_seconds", 0.0)

    def _exchange(self, first: int, last: int, signal_first: int, signal_last: int) -> None:
        timed_round(self.exchange, self.timers, first, last, signal_first, signal_last)

    def _advance_readouts(self, first: int, last: int) -> None:
        table, constants = self.network.outgoing, self.constants
        with self.timers.phase("update"):
            self.kernel.advance_readouts(
                first, last, self.n_samples == 0, *(constants[name] for name in ("alpha", "zeta", "drive", "V_min")),
                table.blocks, table.row_ptr, table.target, table.weight, self.segments,
                self.y, self.arriving_out, self.own_signal,
            )  # fmt: skip

    def _bind_tracks(self, local: np.ndarray, V_m: np.ndarray, adaptation: np.ndarray, psi: np.ndarray) -> None:
        self.forward.record, self.forward.recorded_V, self.forward.recorded_a = local, V_m, adaptation

    def state(self) -> State:
        """Return what the next interval reads, between iterations (no gradient is collected then); see `state`."""
        state = State({"n_samples": self.n_samples, "plastic": {item.name: item.numbers() for item in self.plastic}})
        state.neurons = {name: self.neurons[name] for name in CHAINED} | {"carried": self.carried}
        state.readouts = {"y": self.y}
        for kind, items in (("table", self.plastic), ("mirror", self.gradient.mirrored)):
            for item in items:
                state.add_synapses(kind, item.table, item.span, **item.arrays())
        return state

    def load_state(self, numbers: dict[str, Any], shared: dict[str, np.ndarray]) -> None:
        """Take back numbers; the arrays of `state()` are filled next."""
        self.n_samples, self.gradient.n_collected = int(numbers["n_samples"]), 0
        for item in (*self.plastic, *self.gradient.mirrored):
            item.load_numbers(numbers["plastic"][item.name])

    def watched(self) -> dict[str, np.ndarray]:
        """Return arrays that a number which is not finite reaches within a sample; last axis = this rank's neurons.

        The backward sweep ends at step 0, so any value that is not finite is still seen in the coefficients there.
        """
        return {name: self.neurons[name] for name in ("v", "a")} | {"learning signal": self.psi[0]}

    @property
    def history_steps(self) -> int:
        """Steps of which a neuron keeps something: those of one interval."""
        return len(self.psi)

    def nbytes(self) -> dict[str, int]:
        """Return this rank's bytes by kind: gradients with optimizer state, histories, logs."""
        logs = {id(log): log.nbytes for log in (self.own, self.merged)}
        return {
            "gradients": self.gradient.nbytes,
            "local readouts": self.local.nbytes,
            "histories": self.psi.nbytes + self.signal.nbytes + sum(array.nbytes for array in self.neurons.values()),
            "log": sum(logs.values()),
        }
