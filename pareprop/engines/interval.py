"""Interval variant: a sample is an update interval. Forward in rounds, a backward pass, gradients, optimizer step."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np

from ..algorithms.plan import NetworkPlan
from ..arrays import allocate_aligned
from ..errors import quote
from ..network import transmission
from ..network.features import list_features
from ..network.local import LocalNetwork
from ..network.unsupported import name_variant, require_supported
from ..parallel.exchange import Exchange
from ..parallel.spike_log import SpikeLog
from ..timers import Timers
from ..values import Values
from .base import Engine, Settings
from .interval_gradient import IntervalGradient
from .learning_signal import Taught, bind_synapses
from .local_readouts import LocalErrors
from .plasticity import set_gains
from .sample import Sample
from .state import State

CHAINED = ("v", "a", "z", "refractory", "states")  # state from which the next interval starts, unless it is reset


@dataclass(frozen=True, kw_only=True)
class IntervalSettings(Settings):
    """Settings of the interval variant, with NEST's names.

    Attributes
    ----------
    average_gradient : bool
        Whether gradients are divided by `averaged_steps`.
    averaged_steps : int
        Divisor of the gradients; 0: `learning_window`.
    reset : bool
        `eprop_reset_neurons_on_update`.
    keeps_fixed : bool
        Whether spikes that arrive in step 0 at fixed synapses are kept, as in NEST.
    """

    average_gradient: bool = False
    averaged_steps: int = 0
    reset: bool = True
    keeps_fixed: bool = False

    def check(self, n_steps: int) -> None:
        """Raise `InputError` unless samples of `n_steps` steps can be run with these settings."""
        if self.algorithms is not None:
            require_supported("", {"algorithms": f"algorithms = {quote(self.algorithms)}"} | name_variant("interval"))
        self._require_window(1 if self.average_gradient else 0, n_steps)  # no average over no steps
        super().check(n_steps)


class Interval(Engine):
    """Engine of the interval variant: runs samples of `n_steps` steps on this rank's part of a network.

    Contract of `run`, in this order for every round [t, t + D), D the min-delay between neurons:
    deliver and advance read the log before t, and each rank sums what arrives at the readouts from its neurons;
    ranks exchange spikes and sums, which completes both up to t + D; every rank then advances all readouts. One call
    of the kernel runs all rounds. The backward pass (timer "sweep") and the accumulation of gradients (timer "credit")
    need the whole log and all errors; weights change only after them.
    """

    settings: IntervalSettings
    settings_type = IntervalSettings
    learns_at_the_end = True
    steps_alone, follows = 16, False

    def __init__(
        self,
        network: LocalNetwork,
        exchange: Exchange,
        settings: IntervalSettings,
        n_steps: int,
        timers: Timers,
        plan: NetworkPlan | None = None,
    ) -> None:
        require_supported("", list_features(network.model))
        super().__init__(network, exchange, settings, n_steps, timers, plan)
        self.n_samples, self._is_within, self.resets = 0, False, settings.reset
        self.neurons = self.cells.state
        self.cells.allocate_history(n_steps + 1)
        averaged_steps = settings.averaged_steps or settings.learning_window if settings.average_gradient else 1
        self.gradient = IntervalGradient(network, averaged_steps, n_steps, self.cells, self.parameters, timers)
        self.local = LocalErrors(network, n_steps, settings.learning_window)
        self.plastic, window = self.gradient.plastic, settings.learning_window
        set_gains([*self.plastic, *self.gradient.adaptive], network.model, n_steps, window / averaged_steps)
        # (port, neuron), and the input that arrives there in the first step of the next interval
        self.first_arrivals: tuple[tuple[np.ndarray, np.ndarray], np.ndarray] | None = None
        self._allocate_arrays()

    def _allocate_arrays(self) -> None:
        network, n = self.network, self.n_neurons
        # surrogate gradients in port 0, which the backward pass replaces by the gradient of an arrival at each port;
        # one more step of zeros if delays learn, because their gradient reads the step after an arrival
        n_steps = self.n_steps + bool(self.gradient.delays)
        self.psi = allocate_aligned((n_steps, max(network.widths["ports"], 1), n), self.real)
        self.psi.fill(0.0)  # no page is first touched while the network runs
        self._ring = self.cells.allocate_ring(network.incoming.spans)
        self.kernel = self._kernels.Forward(
            {
                "neurons": self.cells.neurons,
                "readouts": self.cells.readouts,
                "incoming": bind_synapses(self._kernels, network.incoming),
                "outgoing": bind_synapses(self._kernels, network.outgoing),
                "psi": self.psi,
                "ring": self._ring,
                "keeps_fixed": self.settings.keeps_fixed,
            }
        )
        self.record_neurons(np.zeros(0, np.int64))

    def connect_ranks(self) -> None:
        """Collective: allocate logs and signals, and connect the ranks."""
        self.channel = self._open(self.n_steps, SpikeLog(0))

    def run(self, sample: Sample, learn: bool = True) -> tuple[np.ndarray, float]:
        """Collective: run one interval; with `learn`, add its gradient to the batch. See `Engine.run`."""
        self.begin_interval(sample.inputs, sample.currents, self.settings.reset)
        self.run_steps(0, sample.rollout.n_steps if sample.rollout else self.n_steps)
        return self.finish_sample(sample, learn)

    def begin_episode(self, inputs: SpikeLog, learn: bool) -> None:
        """Collective: see `Engine.begin_episode`; neurons and readouts start from rest."""
        self.begin_interval(inputs, None, True)

    def begin_pieces(self, learn: bool) -> None:
        """Collective: see `Engine.begin_pieces`."""
        self.begin_interval(SpikeLog(self.n_steps), None, self.settings.reset)

    def begin_interval(self, inputs: SpikeLog, currents: np.ndarray | None, reset: bool) -> None:
        """Begin an interval, whose steps `run_steps` runs, all at once or some at a time.

        Spikes may be added to `inputs` until the step that reads them is run. `currents`, float64
        (n_steps, n_currents), are amplitudes of the graded sources in pA. With `reset` neurons and readouts start from
        rest.
        """
        if self.gradient.is_pending:  # weights change after each sample
            self.step_optimizers()
            self.channel.unread = False  # `step_optimizers` has read the logs of the sample before
        self._is_reset = reset
        if reset:
            self.cells.reset()
        self.gradient.rules.begin_interval(reset)
        for factors in (table.factors for table in (self.network.incoming, self.network.outgoing)):
            if reset:
                transmission.start_rows(factors[transmission.LIVE])
            factors[transmission.AGAIN] = factors[transmission.LIVE]
        self._is_within, self.kernel.channel.inputs = True, inputs
        self._begin_steps(inputs, self.n_steps, currents)
        if self.first_arrivals is not None:
            np.add.at(np.atleast_2d(self.neurons["arriving"]), *self.first_arrivals)
            self.first_arrivals = None
        self.channel.synchronize_ranks()

    def run_steps(self, first: int, last: int) -> None:
        """Collective: run steps [first, last) of the interval; more may follow."""
        self._run(first, last)

    @property
    def origin(self) -> int:
        """Step of the run with which the present interval, or the next one, begins."""
        return self.n_samples * self.n_steps

    @property
    def _starts(self) -> bool:
        if self.resets:
            return self._test is None and self.origin == self.tested
        return self.n_samples == 0

    def finish_sample(self, sample: Sample, learn: bool) -> tuple[np.ndarray, float]:
        """Collective: end the interval after all of its steps, or an episode after the steps of its rollout.

        Arrays and logs may hold values of an earlier episode for steps that were not run, which are not read. Arguments
        and results as for `Engine.run`.
        """
        channel, T = self.channel, sample.rollout.n_steps if sample.rollout else self.n_steps
        self.n, psi = T, self.psi[:T]
        if self.gradient.delays:
            self.psi[T] = 0.0  # an episode before may have run that step
        self.log, self.n_spikes = channel.all_spikes_on_root(0, T)
        window = self._find_window(sample, T)
        self.evaluation = self.evaluate_loss(self.show_signal(), sample.target, window, sample.rollout)
        error, loss = self.evaluation.error, self.evaluation.loss
        if self.local.rule:
            with self.timers.time_phase("sweep"):
                loss += self.local.learn_from(channel, sample.local_targets)
        rate, signals = np.zeros(0), None
        with self.channel.share_errors() if self.has_hooks else nullcontext():  # hooks may fail on one rank alone
            if learn or not self.settings.reset:
                rate = self._find_rate(T)
                if self.network.model.learning_signal is not None:
                    signals = self.find_signals(error, np.arange(self.n_neurons))
            self._take_dynamics(error, signals)
        taught = Taught(error, self.local.filtered, rate, sample.modulator, signals)
        if learn:
            self.gradient.collect_gradients(
                sample.inputs, channel, psi, taught, self._starts, self._is_reset, self.origin
            )
        elif not self.settings.reset:
            self.gradient.run_rules(psi, taught)
        if not self.settings.reset:
            self.kernel.count_late(T)
        self.n_samples, self._is_within = self.n_samples + 1, False
        return error, loss

    def project_signals(self, error: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Return learning signals, including the signals of local readouts, see `Engine.project_signals`."""
        signal = super().project_signals(error, columns)
        return signal + self.local.learning_signal(columns) if self.local.rule else signal

    def _find_rate(self, n_steps: int) -> np.ndarray:
        """Return the factor of each neuron in the gradient by which firing rates are regularised, (n,)."""
        network, n, dt_ms = self.network, self.n_neurons, self.network.model.dt_ms
        n_spikes = (self.count_own_spikes() + self.perturbing.lost).astype(self.real)
        rate = network.cells["c_reg"] * (n_spikes / n_steps - network.cells["f_target"] * dt_ms)
        rate /= n_steps
        if network.model.activity is not None and n:
            seconds = n_steps * dt_ms / 1000.0
            rate = rate + self.regularize_rates(n_spikes / seconds) / seconds
        return rate.astype(self.real, copy=False)

    def run_before(self, piece: Sample, readout_steps: int) -> None:
        """Collective: run steps before the first interval, for example until inputs can arrive, without learning.

        `piece` has the inputs, of at most as many steps as an interval has. Readouts run `readout_steps` steps, which
        may be more.
        """
        neuron_steps = len(piece.inputs.ptr) - 1
        self.begin_interval(SpikeLog(self.n_steps), None, reset=False)
        self.feed_steps(0, piece)
        self.run_steps(0, neuron_steps)
        self.kernel.read(neuron_steps, readout_steps)
        self.currents.carry_over(neuron_steps)
        self.n_samples, self._is_within = self.n_samples + 1, False

    def step_optimizers(self) -> None:
        """Collective: step all optimizers with the mean gradient of the batch; do nothing if no sample learned."""
        self.gradient.step_optimizers(self.exchange.replicas, self.exchange.comm)
        moved = any(item.rewiring is not None and len(item.rewiring.latest) for item in self.plastic)
        self._update_subscriptions(moved)

    @property
    def gradient_norm(self) -> float:
        """Norm of the gradient of the latest batch, see `Engine.gradient_norm`."""
        return self.gradient.norm

    def _update_subscriptions(self, moved: bool) -> None:
        """Collective: send other nodes the ids of neurons with targets here, if synapses between neurons may move."""
        if self.network.sources.present is not None:
            self.exchange.update_subscriptions(self.network.list_sources, moved)

    def refresh_derived(self) -> None:
        """Collective: see `Engine.refresh_derived`; synapses of a checkpoint may have moved."""
        super().refresh_derived()
        self._update_subscriptions(True)

    def begin_sample(self, leaf: int) -> None:
        """Prepare for the next training sample, in leaf `leaf` of its batch, see `parallel.replicas`."""
        self.gradient.sums.open_leaf(leaf)

    def skip_samples(self, n: int, learn: bool) -> None:
        """Count `n` samples that other groups of ranks run."""
        self.n_samples += n
        self.gradient.n_collected += n * learn

    def keep_gradients(self) -> None:
        """Keep the gradient of the first batch, for `get_gradients`."""
        self.gradient.keep_gradients()

    def get_gradients(self, weights: dict[int, np.ndarray]) -> dict[int, np.ndarray]:
        """Return the gradients of the first batch that the optimizers took, by `id` of the table."""
        return self.gradient.first or {}

    def get_own_spikes(self) -> SpikeLog:
        """Return the spikes of this rank's neurons in the interval, see `Engine.get_own_spikes`."""
        return self.channel.own_spikes

    def get_received_spikes(self) -> SpikeLog:
        """Return the spikes of the last sample that this rank received, see `Engine.get_received_spikes`."""
        return self.channel.received_spikes.slice_steps(0, self.n)

    def show_delays(self) -> dict[str, np.ndarray]:
        """Return the delays that learn, see `Engine.show_delays`."""
        return {item.span.projection.name: item.delay for item in self.gradient.delays}

    def state_within(self) -> State:
        """Return weights, moments and everything else that the rest of the present interval reads."""
        state = self.state()
        carried = self.currents.before if self._is_within else self.currents.carried
        state.neurons = self.neurons | {"psi": self.psi, "ring": self._ring, "carried": carried}
        self.gradient.add_to(state)
        return state

    def state(self) -> State:
        """Return all that the next interval reads, between iterations, when no gradient is collected."""
        state = self.state_of_cells()
        for kind, items in (("table", self.plastic), ("adaptive", self.gradient.adaptive)):
            for item in items:
                item.add_to(state, kind)
        self.parameters.add_to(state)
        return state

    def state_of_cells(self) -> State:
        """Return the part of `state` that a sample changes before weights change: numbers, neurons and readouts."""
        state = State()
        state.add_numbers(self, "n_samples", "tested")
        for item in (*self.plastic, *self.gradient.delays):
            item.add_counters(state, "plastic")
        for item in self.gradient.adaptive:
            item.add_counters(state, "adaptive")
        state.neurons = {name: self.neurons[name] for name in CHAINED if name in self.neurons}
        state.neurons |= {"carried": self.currents.state}
        state.shared = {"y": self.y}
        if (rules := self.gradient.rules).learners and not self.settings.reset:
            state.neurons |= rules.states | {"rule_before": rules.before}
            state.add_numbers(rules, "goes_on")
        for kind, table in (("incoming", self.network.incoming), ("outgoing", self.network.outgoing)):
            if any(span.projection.transmission for span in table.spans) and not self.settings.reset:
                state.rows[f"{kind}/factors"] = table, table.factors[transmission.LIVE][:, transmission.STATE]
        return state

    def load_state(self, numbers: Values, shared: dict[str, np.ndarray], whole: bool = True) -> None:
        """Load the numbers and readouts of a state; the arrays of `state()` are filled next."""
        (self.state() if whole else self.state_of_cells()).load(numbers, shared)
        self.gradient.clear_gradients()
        self.gradient.n_collected = 0

    def list_arrays_to_check(self) -> dict[str, np.ndarray]:
        """Return arrays that any non-finite number reaches within a sample, by name; last axis: this rank's neurons.

        The backward pass ends at step 0, so any non-finite value is still visible in the coefficients of that step.
        """
        states: dict[str, np.ndarray] = {
            name: self.neurons[name] for name in ("v", "a", "states") if name in self.neurons
        }
        states |= self.gradient.rules.list_arrays_to_check()
        return self.parameters.by_neuron() | states | {"learning signal": self.psi[0]}

    @property
    def history_steps(self) -> int:
        """Number of steps in the histories of neurons: the steps of one interval."""
        return self.n_steps

    def count_bytes(self) -> dict[str, int]:
        """Return this rank's bytes by kind: gradients with optimizer state, histories, logs."""
        histories = (self.psi, self.signal, self._ring, self.gradient.rules, *self.gradient.kinds.eprop)
        return {
            "gradients": self.gradient.nbytes,
            "local readouts": self.local.nbytes,
            "histories": sum(item.nbytes for item in (*histories, *self.neurons.values())),
            "log": self.channel.nbytes,
        }
