"""`Engine`: the interface between the training loop and a variant of e-prop, and code that both variants share.

The file is long because it documents each call of the interface.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any, ClassVar

import numpy as np

from ..algorithms.choice import Algorithms
from ..algorithms.plan import NetworkPlan
from ..errors import InputError, quote
from ..network.local import LocalNetwork, compute_target_rate
from ..network.losses import LOSSES, Context, Evaluation, Loss
from ..network.model import Model
from ..network.partition_bounds import count_round_steps
from ..network.synapse_table import SynapseTable
from ..parallel.channel import Channel, ChannelSizes
from ..parallel.exchange import Exchange, add_times
from ..parallel.spike_log import SpikeLog
from ..timers import Timers
from ..values import Values
from .cells import Cells
from .currents import Currents
from .learning_signal import project_errors
from .parameters import Parameters
from .perturbed import Perturbing
from .plasticity import Plastic
from .recorded import Dynamics, Recorded
from .sample import Sample
from .state import State


@dataclass(frozen=True)
class Settings:
    """Settings of both variants, with NEST's names.

    Attributes
    ----------
    learning_window : int
        Last steps of a sample with a learning signal, unless the sample has a `window`.
    round_steps : int
        Steps between exchanges, 0 for the min-delay.
    algorithms : str, Mapping of str to str or None
        Algorithms that are asked for, see `choose_algorithms`; the interval variant has one.
    """

    learning_window: int
    _: KW_ONLY
    round_steps: int = 0
    algorithms: Algorithms | None = None

    def check(self, n_steps: int) -> None:
        """Raise `InputError` unless samples of `n_steps` steps can be run with these settings."""
        self._require_window(0, n_steps)
        if self.round_steps < 0:
            raise InputError(f"round_steps = {self.round_steps} must be at least 0")

    def _require_window(self, lowest: int, n_steps: int) -> None:
        if not lowest <= self.learning_window <= n_steps:
            raise InputError(f"learning_window = {self.learning_window} must lie in [{lowest}, {n_steps}]")


class Engine(ABC):
    """One variant of e-prop on this rank's part of a network: runs samples, learns, holds the state in between.

    `Simulation` and the observers use only the names of this class. All ranks call the same methods in the same
    order. A new variant fills in the abstract methods and is named by an entry of `network.variants.VARIANTS`.
    Every sample has `n_steps` steps; `plan` is the result of `plan_of`.

    Attributes
    ----------
    plastic : list of Plastic
        Plastic projections with synapses on this rank; `eta` may be set between samples.
    parameters : Parameters
        Parameters of neurons that learn.
    n : int
        Steps of the last sample.
    evaluation : Evaluation
        Errors and loss of the last sample.
    context : Context
        The present sample, as losses and hooks of a script get it.
    log : SpikeLog
        Spikes of the last sample by id: of all neurons on rank 0, of local neurons on other ranks.
    n_spikes : int
        Spikes of the last sample in the whole network.
    inputs : SpikeLog
        Spikes of the inputs in the last sample, without spikes that perturbations removed.
    dynamics : Dynamics
        Which neurons are recorded.
    recorded : Recorded or None
        Dynamics of these neurons in the last sample, None without such neurons.
    currents : Currents
        Currents that graded sources inject.
    rounds : Rounds
        Steps between exchanges of all ranks, between exchanges within a node, and while messages are in transit.

    Raises
    ------
    InputError
        If samples of `n_steps` steps are not possible with the settings.
    """

    settings_type: ClassVar[type[Settings]]
    learns_at_the_end: bool  # whether weights change in `step_optimizers` alone, not within samples
    resets: bool  # whether neurons and traces are reset before each sample
    steps_alone: ClassVar[int]  # steps of the neurons, in a single process, before its readouts take these steps
    follows: ClassVar[bool]  # whether ranks without neurons run step by step behind the one that has all neurons
    time = 0  # step of logs and histories with which the present sample, or the next one, begins

    kernel: Any  # runs steps, bound to the arrays that it works on; Any: each engine has another class
    channel: Channel
    plastic: list[Plastic]
    log: SpikeLog
    n_spikes: int
    inputs: SpikeLog

    @classmethod
    def plan_of(cls, model: Model, algorithms: Algorithms | None = None) -> NetworkPlan | None:
        """Return how each projection of a network learns; None for a variant with one algorithm."""
        return None

    def __init__(
        self,
        network: LocalNetwork,
        exchange: Exchange,
        settings: Settings,
        n_steps: int,
        timers: Timers,
        plan: NetworkPlan | None = None,
    ) -> None:
        settings.check(n_steps)
        self.plan = plan
        self.network, self.exchange, self.settings, self.timers = network, exchange, settings, timers
        self.n_steps, self.real = n_steps, network.model.kernels.real
        self.n_neurons = network.neurons[1] - network.neurons[0]
        readouts = network.model.of_role("readout")
        own = network.model.loss
        named = LOSSES[readouts[0].params.loss if readouts else "mean_squared_error"]
        self.loss: Loss = own if isinstance(own, Loss) else named
        self.evaluation, self.context = Evaluation(np.zeros((0, network.n_readouts)), 0.0), Context()
        self.n = n_steps
        self._kernels = network.model.kernels.of(network.model.variant)
        self.cells = Cells(network, self._kernels)
        self.parameters = Parameters(network, self.cells)
        self.constants, self.y = self.cells.constants, self.cells.y
        self.round_steps, self.steps_within_nodes = self._round_lengths()
        self.currents = Currents(network, self._kernels)
        self.perturbing = Perturbing(network, self._kernels)
        self._forced = {"forced": np.zeros(0, np.int64), "forced_z": np.zeros((0, 0), np.uint8)}
        self._amplitudes = np.zeros((0, 0))  # currents of a sample in pieces
        self.tested = 0  # steps of the run so far in samples that do not train
        self._stream = ""  # suffix of the keys of random draws
        self._test: int | None = None  # index of the present sample, if it does not train
        self.recorded: Recorded | None = None
        self.dynamics = Dynamics(network, n_steps)

    def force_spikes(self, ids: np.ndarray, spikes: np.ndarray) -> None:
        """Make neurons of built-in models spike at given steps, and at no others, in the samples that follow.

        `ids` are the neurons in the whole network, int64 ascending (n,), of which this rank takes its part; `spikes`,
        bool (n_steps, n), is true in the steps of a sample in which they spike.
        """
        first, last = self.network.neurons
        mine = (ids >= first) & (ids < last)
        self._forced = {"forced": ids[mine] - first, "forced_z": np.ascontiguousarray(spikes[:, mine], np.uint8)}

    def enter_phase(
        self, phase: str, learn: bool, perturb: Sequence[object] | None = None, test: int | None = None
    ) -> None:
        """Set the perturbations and the streams of random draws of the next sample.

        `perturb` replaces the perturbations of the phase. A sample that does not train has an index `test`: it draws
        from streams of its phase, by its index. Samples that train draw from the training streams, in their order.
        """
        stream = "" if test is None else f"/{phase}"
        self.perturbing.choose_active(phase, learn, perturb, stream)
        if stream != self._stream:
            self.cells.draw_from(stream)
        self._test, self._stream = test, stream

    @contextmanager
    def keep_training_draws(self) -> Iterator[None]:
        """Run samples that do not train; the draws of the training continue as if they had not been run.

        If each sample starts from rest, the currents in transit before the test are restored after it.
        """
        begun, carried = self.origin, self.currents.carried.copy()
        yield
        self.tested += self.origin - begun
        if self.resets:
            self.currents.carried[...] = carried

    @property
    def first_draw(self) -> int:
        """Number of the draws of the present sample's first step, in the streams of its phase."""
        return self.origin - self.tested if self._test is None else self._test * self.n_steps

    @property
    @abstractmethod
    def origin(self) -> int:
        """Step of the run with which the present sample, or the next one, begins."""

    @property
    @abstractmethod
    def _starts(self) -> bool:
        """Whether the run starts with the present sample: its first step has no constant current, as in NEST."""

    def _begin_steps(self, inputs: SpikeLog, n_steps: int, currents: np.ndarray | None) -> None:
        """Begin a sample of `n_steps` steps: its inputs, perturbations and currents."""
        self.n, self.inputs = n_steps, inputs
        self.currents.begin_sample()
        self._amplitudes = np.zeros((self.n_steps, self.network.model.size("current")))
        self._perturbed = self.perturbing.begin_sample(n_steps)
        self.inject_currents(currents)

    def _find_window(self, sample: Sample, n_steps: int) -> slice | np.ndarray:
        """Return the steps of a sample of `n_steps` steps that have a learning signal."""
        return slice(n_steps - self.settings.learning_window, n_steps) if sample.window is None else sample.window

    def evaluate_loss(self, *arguments: Any) -> Evaluation:  # Any: the arguments of `Loss.evaluate`
        """Return errors and loss of the present sample, or of one of its steps; the loss may read the context."""
        self.loss.set_context(self.context)
        return self.loss.evaluate(*arguments)

    @property
    def has_hooks(self) -> bool:
        """Whether functions of a script run on each rank, for the neurons of the rank."""
        return self.network.model.learning_signal is not None or self.network.model.activity is not None

    def regularize_rates(self, rate_hz: np.ndarray) -> np.ndarray:
        """Return the derivatives of the script's loss of firing rates by these rates, float64 (n_neurons,)."""
        loss = self.network.model.activity
        assert isinstance(loss, Loss)  # else this is not called
        loss.set_context(self._make_context(np.arange(self.n_neurons)))
        return loss.evaluate(rate_hz[None].astype(float), self._targets_hz, slice(None)).error[0]

    @property
    def _targets_hz(self) -> np.ndarray:
        return 1000.0 * self.network.cells["f_target"][None].astype(float)

    def count_own_spikes(self) -> np.ndarray:
        """Return how often each neuron of this rank spiked in the last sample, int64 (n_neurons,)."""
        own, first = self.get_own_spikes(), self.network.neurons[0]
        return np.bincount(own.ids[: own.ptr[self.n]].astype(np.int64) - first, minlength=self.n_neurons)

    def check_activity(self) -> str:
        """Check the script's loss of firing rates at the rates of the last sample; return as `Loss.check`."""
        loss, n = self.network.model.activity, self.n_neurons
        if not isinstance(loss, Loss) or not n:
            return ""
        rate_hz = self.count_own_spikes() / (self.n * self.network.model.dt_ms / 1000.0)
        return loss.check(rate_hz[None], self._targets_hz, context=self._make_context(np.arange(n)))

    def find_signals(self, error: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Return the learning signals of some of this rank's neurons in a sample, float64 (n_steps, n).

        `error` is float64 (n_steps, n_readouts); `columns`, int64 (n,), are the neurons, counted from the first one of
        this rank.
        """
        return self.apply_signal_hook(self.project_signals(error, columns), error, columns)

    def project_signals(self, error: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Return the errors times the feedback weights, see `find_signals`, before the hook changes them."""
        return project_errors(self.network, error, columns)

    def apply_signal_hook(self, signal: np.ndarray, error: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Return the learning signals that the script's hook makes of `signal`, see `find_signals`."""
        hook = self.network.model.learning_signal
        if hook is None or not signal.size:
            return signal
        found = hook(signal.copy(), error.copy(), self._make_context(columns))  # the hook may write into its arguments
        if np.shape(found) != signal.shape or np.asarray(found).dtype.kind not in "biuf":
            given = f"{found.dtype} of shape {found.shape}" if isinstance(found, np.ndarray) else quote(found)
            raise InputError(f"learning_signal returned {given}, must return numbers of shape {signal.shape}")
        return np.asarray(found, float)

    def _make_context(self, columns: np.ndarray) -> Context:
        return replace(self.context, neurons=self.network.neurons[0] + columns)

    def remove_lost_inputs(self, inputs: SpikeLog, first: int = 0) -> SpikeLog:
        """Remove the input spikes that perturbations drop; `inputs` start with step `first` of the sample."""
        return self.perturbing.remove_lost_inputs(inputs, first, self.first_draw, self.n_steps)

    @property
    def is_on_one_rank(self) -> bool:
        """Whether one rank of several has all neurons."""
        return self.exchange.size > 1 and self.network.n_sharing == 1

    def _round_lengths(self) -> tuple[int, int]:
        """Return the steps between exchanges of all ranks, and between exchanges of the ranks of a node."""
        network, longest = self.network, self.settings.round_steps
        if network.n_sharing == 1 and not longest:  # no other rank needs spikes
            return self.n_steps, self.n_steps
        within, between = count_round_steps(network.model, self.n_steps, network.nodes, network.cuts)
        if network.n_sharing == 1:  # other ranks run a round when its messages have come
            within = between
        return min(longest or between, between), min(longest or within, within)

    @abstractmethod
    def connect_ranks(self) -> None:
        """Collective: connect the ranks. The constructor is not collective: a rank may fail in it alone."""

    def _open(self, length: int, inputs: SpikeLog) -> Channel:
        """Collective: allocate logs of `length` steps, sums and signals, connect the ranks, and bind the kernel."""
        network, model = self.network, self.network.model
        expected = compute_target_rate(model) * model.dt_ms / 1000.0 * self.round_steps
        alone = self.exchange.size == 1 and not self.settings.round_steps
        sizes = network.n_recurrent, length, self.n_steps, network.n_readouts
        longest = self.steps_alone if alone else self.round_steps
        terms = ChannelSizes(*sizes, expected, network.n_sharing, longest, network.cuts, self.steps_within_nodes)
        channel = self.exchange.open(terms, network.sources)
        self.signal = channel.signal
        self.kernel.channel = self._kernels.Channel(
            {"own": channel.own_spikes, "received": channel.received_spikes, "sums": channel.sums}
            | {"signal": channel.signal, "inputs": inputs, "base": 0}
        )
        return channel

    def _add_times(self, *phases: str) -> None:
        """Add the seconds that the kernel and its exchanges counted to the timers, and reset them."""
        add_times(self.channel.meeting, self.timers)
        for phase in phases:
            self.timers.add_seconds(phase, getattr(self.kernel, f"{phase}_seconds"))
            setattr(self.kernel, f"{phase}_seconds", 0.0)

    @abstractmethod
    def run(self, sample: Sample, learn: bool = True) -> tuple[np.ndarray, float]:
        """Collective: run one sample, and learn from it with `learn`.

        Return its errors, float64 (n, n_readouts), which are 0 outside of the window, and its loss.
        """

    @abstractmethod
    def step_optimizers(self) -> None:
        """Collective: change the weights by the gradient of a batch, unless they changed within its samples."""

    @property
    def gradient_norm(self) -> float:
        """Norm of the gradient of the latest batch, before `max_norm` scaled it down; NaN without `max_norm`."""
        return math.nan

    def begin_sample(self, leaf: int) -> None:  # noqa: B027, there may be nothing to do
        """Prepare for the next training sample, in leaf `leaf` of its batch, see `parallel.replicas`."""

    @abstractmethod
    def begin_episode(self, inputs: SpikeLog, learn: bool) -> None:
        """Collective: begin an episode, whose steps `run_steps` runs, some at a time.

        Spikes may be added to `inputs` until the step that reads them is run.
        """

    @abstractmethod
    def run_steps(self, first: int, last: int) -> None:
        """Collective: run steps [first, last) of the episode, or of the sample in pieces."""

    def _run(self, first: int, last: int) -> None:
        """Collective: run steps [first, last) of the present sample in rounds."""

        def run(first: int, last: int) -> None:
            steps = self.time + first, self.time + last
            self.kernel.run(self.channel.meeting, *steps, self.round_steps, self.is_on_one_rank and self.follows)

        self.perturbing.run(first, last, run)
        self._add_times("deliver", "update", "sweep")

    @abstractmethod
    def begin_pieces(self, learn: bool) -> None:
        """Collective: begin a sample that comes in pieces: `feed_steps` takes some steps, `run_steps` runs them."""

    def feed_steps(self, first: int, piece: Sample) -> None:
        """Take inputs and targets of the next steps of a sample that comes in pieces.

        `piece` has the steps from `first` on alone. The spike variant needs its target and window; the interval variant
        does not read them.
        """
        last = first + len(piece.inputs.ptr) - 1
        self.inputs.append_steps(first, piece.inputs, last - first)
        if piece.currents is not None:
            self._amplitudes[first:last] = piece.currents
        self.inject_currents(self._amplitudes)

    def inject_currents(self, currents: np.ndarray | None) -> None:
        """Set the currents of a sample, float64 (n_steps, n_currents); called again as more steps become known."""
        injected = self.currents.inject_currents(currents, self.n)
        self.kernel.sample = self._kernels.Sample(
            {
                "origin": self.time,
                "before": self.origin - self.time,
                "starts": self._starts,
                "draws": self.first_draw,
                "injected": injected,
                "perturbed": self._perturbed,
            }
            | self._forced
        )

    def take_decision(self, step: int, action: int, reward: float) -> None:  # noqa: B027
        """Take the action at a decision step, which was run, and the reward since the previous decision."""

    @abstractmethod
    def finish_sample(self, sample: Sample, learn: bool) -> tuple[np.ndarray, float]:
        """Collective: end an episode after the steps of its rollout, or a sample in pieces; results as of `run`."""

    def skip_samples(self, n: int, learn: bool) -> None:  # noqa: B027
        """Count `n` samples that other groups of ranks run."""

    # ---- showing -----------------------------------------------------------------------------------------------------

    @abstractmethod
    def get_own_spikes(self) -> SpikeLog:
        """Return the spikes of this rank's neurons, by id, in the last sample; or in the present one so far."""

    @abstractmethod
    def get_received_spikes(self) -> SpikeLog:
        """Return the spikes of the last sample that this rank received, by the numbers of sources in rows."""

    def show_signal(self) -> np.ndarray:
        """Return the readout voltages of the last sample, float64 (n, n_readouts), E_L included."""
        signal = self.signal[: self.n]
        return signal + self.constants["E_L"] if np.any(self.constants["E_L"]) else signal

    def get_weights(self, table: SynapseTable) -> np.ndarray:
        """Return the weights of a table with which spikes arrived latest."""
        return table.weight

    def set_weights(self, table: SynapseTable, places: np.ndarray, weight: np.ndarray) -> None:
        """Set weights at some places of a table."""
        table.weight[places] = weight

    def show_weights(self) -> dict[int, np.ndarray]:
        """Collective: return weights with all pending updates, by `id` of the table; {} if none is pending."""
        return {}

    @abstractmethod
    def keep_gradients(self) -> None:
        """Keep gradients for `get_gradients`; call before the first sample."""

    @abstractmethod
    def get_gradients(self, weights: dict[int, np.ndarray]) -> dict[int, np.ndarray]:
        """Return gradients by `id` of the table: of the first batch, or of the run if weights change within samples.

        `weights` are the result of `show_weights`.
        """

    def show_delays(self) -> dict[str, np.ndarray]:
        """Return learned delays in steps, not rounded, by projection, (n_synapses,) of its span."""
        return {}

    def record_neurons(self, ids: np.ndarray) -> None:
        """Record this rank's neurons among `ids`, int64 (n,), in the samples that follow."""
        self.dynamics.choose_neurons(ids)
        self.kernel.recorder = self._kernels.Recorder(self.dynamics.for_kernel())

    def _take_dynamics(self, error: np.ndarray, signals: np.ndarray | None = None) -> None:
        """Take the dynamics recorded in the last sample; `signals`: learning signals of all neurons, if computed."""
        local = self.dynamics.local
        self.recorded = None
        if len(local):
            signal = self.find_signals(error, local) if signals is None else signals[:, local]
            self.recorded = self.dynamics.take_sample(signal)

    @abstractmethod
    def list_arrays_to_check(self) -> dict[str, np.ndarray]:
        """Return arrays that any non-finite number reaches within a sample, by name; last axis: this rank's neurons."""

    def list_squares(self) -> Iterator[tuple[Plastic, np.ndarray, np.ndarray]]:
        """Yield projections that keep mean squared gradients: projection, weights, means; (n_synapses,) of the span."""
        for item in self.plastic:
            if "variance" in item.optimizer.moments:
                yield item, item.table.weight[item.span.synapses], self._get_squares(item)

    def _get_squares(self, item: Plastic) -> np.ndarray:
        return item.moments["variance"]

    # ---- state -------------------------------------------------------------------------------------------------------

    @abstractmethod
    def state(self) -> State:
        """Return all that the next sample reads, between iterations; see the module `state`."""

    def state_of_cells(self) -> State:
        """Return the part of `state` that samples change before `step_optimizers` does."""
        return self.state()

    @abstractmethod
    def load_state(self, numbers: Values, shared: dict[str, np.ndarray], whole: bool = True) -> None:
        """Load `numbers` and `shared` of a state; the arrays of `state()` are filled next.

        With `whole` they come from `state`, else from `state_of_cells`. `InputError` if they don't fit the network.
        """

    def refresh_derived(self) -> None:
        """Update rows and learning-signal weights after the arrays of `state()` were filled."""
        for item in self.plastic:
            item.restore_rows()
        self.network.following.copy_weights()
        self.parameters.refresh_derived()

    @property
    @abstractmethod
    def history_steps(self) -> int:
        """Number of steps of which neurons keep a history."""

    @abstractmethod
    def count_bytes(self) -> dict[str, int]:
        """Return this rank's bytes by kind, "gradients" among them."""
