"""Spike variant (e-prop+): one endless run in samples; synapses learn whenever a spike arrives at them.

One file, because samples, episodes, shown weights and restarts all share the time of the endless run.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..algorithms.choice import Algorithms, choose_algorithms
from ..algorithms.plan import FOLD_STEPS, NetworkPlan
from ..algorithms.request import lags
from ..errors import InputError
from ..kernels import layout
from ..network.features import list_features
from ..network.local import LocalNetwork
from ..network.losses import LOSSES, Context, Evaluation
from ..network.model import Model
from ..network.reward import Reward
from ..network.synapse_table import SynapseTable
from ..network.unsupported import require_supported
from ..parallel.exchange import Exchange
from ..parallel.spike_log import SpikeLog
from ..timers import Timers
from ..values import Values
from .base import Engine, Settings
from .online_rewards import OnlineRewards, following_block
from .parameter_traces import ParameterTraces
from .plasticity import Plastic, list_plastic, set_gains
from .sample import Sample
from .spike_batch import SpikeBatch
from .spike_memory import KINDS, SpikeMemory
from .state import State
from .table_memory import TableMemory


@dataclass(frozen=True, kw_only=True)
class SpikeSettings(Settings):
    """Settings of the spike variant; a sample may have its own `window`.

    Attributes
    ----------
    lead : int
        Steps that optimizers count before step 0, while inputs are in transit; 0 if samples include these steps.
    reset : bool or None
        Whether each sample of a batch is a separate run: it starts from the initial state, and ends with a flush. None:
        true if batches have several samples. If false, the samples are one endless run.
    """

    lead: int = 2
    reset: bool | None = None


IN_KERNEL = ("mean_squared_error", "cross_entropy")  # losses whose errors the kernel makes


class Spike(Engine):
    """Engine of the spike variant: runs samples of up to `n_steps` steps on this rank's part of a network.

    Contract of `run`, for every round [t, t + D), D the min-delay of all projections between neurons, to readouts and
    back: in each step learning signals whose errors are known enter the histories, arriving spikes update and pass
    their synapses, neurons advance; ranks then exchange spikes and sums of arrivals at readouts, which completes both
    up to t + D, and every rank advances all readouts and derives the same errors. One call of the kernel runs all
    rounds of a sample.

    In batches of several samples weights change only in `step_optimizers`. Synapses sum their gradients; a flush adds
    the contributions of the last steps. In an endless run the flush is rolled back.
    """

    settings: SpikeSettings
    plan: NetworkPlan
    settings_type = SpikeSettings
    learns_at_the_end = False  # true if samples are separate runs
    steps_alone, follows = 1, True  # because neurons learn from the errors of the previous step
    _own_value: float
    _own_problem: Exception | None = None  # of a function of the script, until `_raise_own_problem`

    @classmethod
    def plan_of(cls, model: Model, algorithms: Algorithms | None = None) -> NetworkPlan:
        """Return how each projection learns, see `Engine.plan_of`."""
        return choose_algorithms(model, algorithms)

    def __init__(
        self,
        network: LocalNetwork,
        exchange: Exchange,
        settings: SpikeSettings,
        n_steps: int,
        timers: Timers,
        plan: NetworkPlan,
    ) -> None:
        model = network.model
        if model.is_rewarded:  # an episode is followed by at least a step without input
            n_steps = following_block(n_steps)
        super().__init__(network, exchange, settings, n_steps, timers, plan)
        is_batched = model.optimizer.batch_size > 1
        if settings.reset:
            require_supported("", {"reset": "reset = true"} | list_features(model))
        self.learns_at_the_end = self.resets = is_batched and (settings.reset is None or bool(settings.reset))
        self.time, self.learned, self._last_step = 0, False, 0
        self.before = 0  # steps of earlier samples, if samples are separate runs
        # whether the samples with pending contributions train; None: there are none
        self._pending_learn: bool | None = None
        self.neurons = self.cells.state
        self.memory = SpikeMemory(network, plan, n_steps, self.cells)
        self.traces = ParameterTraces(network, self.parameters, plan.d_out, plan.m)
        # without batches adaptive feedback learns with the readout synapses
        tables = self.memory.tables if is_batched else self.memory.tables[:2]
        found = [list_plastic(item.table, model.optimizer, is_batched, seed=model.seed) for item in tables]
        self.plastic, adaptive = [*found[0], *found[1]], [item for items in found[2:] for item in items]
        set_gains([*self.plastic, *adaptive], model, n_steps, settings.learning_window)
        self.batch = SpikeBatch(network, self.plastic, adaptive, self.parameters) if is_batched else None
        self._rewired = [item for item in self.plastic if item.rewiring]
        for item in self._rewired:
            assert item.rewiring is not None
            values = self._find_memory(item).of_synapses.values()
            item.rewiring.moving += [array[item.span.synapses] for array in values]
        self._is_to_step, self._d_out = False, lags(model).d_out  # whether to step when the sample has ended
        self.error = np.zeros((n_steps, network.n_readouts))
        self._rewards: OnlineRewards | None = None
        static = [span for span in network.incoming.spans if not span.projection.plastic]
        self._ring = self.cells.allocate_ring(static)
        self.kernel = self._bind_kernel()
        self._start = self.memory.list_starts(self.y) if self.resets else []
        self.record_neurons(np.zeros(0, np.int64))

    def connect_ranks(self) -> None:
        """Collective: allocate logs and signals, and connect the ranks."""
        self.channel = self._open(self.memory.length, self.memory.inputs)

    def _bind_kernel(self) -> object:
        """Return the kernel, bound to the arrays that it works on."""
        kernels, network, memory, model = self._kernels, self.network, self.memory, self.network.model
        shapes = model.learning_signal is not None and self.n_neurons > 0
        regularizes = model.activity is not None and self.n_neurons > 0
        errors = {
            "error": self.error,
            "target": self._no_target,
            "window": np.zeros(self.n_steps, np.uint8),
            "factors": np.zeros((0, 0)),
            "E_L": self.constants["E_L"],
            "cross_entropy": self.loss is LOSSES["cross_entropy"],
            "calls": self._calls_loss,
            "own": self._find_own_errors if self._calls_loss else None,
            "shapes": shapes,
            "shape": self._shape_signals if shapes else None,  # a method would keep this engine alive
            "regularizes": regularizes,
            "regularize": self._add_rate_errors if regularizes else None,
        }
        feedback = {name: getattr(network.feedback, name) for name in ("blocks", "row_ptr", "target", "weight")} | {
            "symmetric": network.following.symmetric_place,
            "adaptive": network.following.adaptive_place,
            "dropped": np.zeros(network.n_readouts, network.feedback.weight.dtype),
        }
        rates = network.select_kernel_arrays(kernels.Rates) | {"f_av": memory.history["f_av"], "dt": model.dt_ms}
        return kernels.Engine(
            {item.kind: item.rows for item in memory.tables}
            | {name: getattr(kernels, item.kind)(item.kernel()) for name, item in memory.structs.items()}
            | {
                "neurons": self.cells.neurons,
                "rates": kernels.Rates(rates),
                "readouts": self.cells.readouts,
                "errors": kernels.Errors(errors),
                "feedback": kernels.Feedback(feedback),
                "learned": kernels.Learned(self.traces.for_kernel()),
                "ring": self._ring,
                "m": self.plan.m,
                "fold_steps": FOLD_STEPS,
                "lead": self.settings.lead,
            }
        )

    def _find_memory(self, item: Plastic) -> TableMemory:
        """Return the memory of the table of a projection's synapses."""
        found = self.memory.find_table(item.table)
        assert found is not None  # all tables with plastic synapses have one
        return found

    @cached_property
    def _no_target(self) -> np.ndarray:
        return np.zeros((self.n_steps, self.network.n_readouts))

    # ---- running -----------------------------------------------------------------------------------------------------

    def run(self, sample: Sample, learn: bool = True) -> tuple[np.ndarray, float]:
        """Collective: run one sample of the endless run; see `Engine.run`.

        A sample, and its errors, may have fewer than `n_steps` steps. Without `learn` the learning rate is 0, but
        traces are still updated, as in NEST; before the first sample with `learn` no traces are kept.
        """
        self._begin_sample(sample, learn)
        self._run(0, self.n)
        return self._end_sample(sample, self.time + self.n)

    def begin_pieces(self, learn: bool) -> None:
        """Collective: see `Engine.begin_pieces`."""
        n = self.n_steps
        target, window = np.zeros((n, self.network.n_readouts)), np.zeros(n, bool)
        self._begin_sample(Sample(SpikeLog(n), target, window=window), learn)

    def feed_steps(self, first: int, piece: Sample) -> None:
        """Take inputs and targets of the next steps, see `Engine.feed_steps`."""
        super().feed_steps(first, piece)
        steps = slice(first, first + len(piece.inputs.ptr) - 1)
        np.asarray(self.kernel.errors.target)[steps] = piece.target
        self._inside[steps] = piece.window
        if piece.factors is not None:
            errors = self.kernel.errors
            if not len(errors.factors):
                errors.factors = np.ones(np.shape(errors.target))
            np.asarray(errors.factors)[steps] = piece.factors
        self.memory.rules.take_modulator(self.time + first, steps.stop - first, piece.modulator)

    @property
    def _starts(self) -> bool:
        return self.time == 0

    def _end_sample(self, sample: Sample, end: int) -> tuple[np.ndarray, float]:
        """End a sample of `n` steps; the next one begins with step `end`."""
        self._last_step, self.time = self.time + self.n, end
        self._raise_own_problem()
        self.log, self.n_spikes = self.channel.all_spikes_on_root(*self._find_last_steps())
        if sample.rollout is None:
            self.evaluation = Evaluation(self.error[: self.n].copy(), self._compute_loss(sample))
        else:
            self.evaluation = self.evaluate_loss(self.show_signal(), None, slice(None), sample.rollout)
        self._take_dynamics(self.evaluation.error)
        self._count_sample()
        return self.evaluation.error, self.evaluation.loss

    def _raise_own_problem(self) -> None:
        """Collective: raise the first exception of a script's function since the last call, on any rank."""
        if self._calls_loss or self.has_hooks:
            problem, self._own_problem = self._own_problem, None
            with self.channel.share_errors():
                if problem is not None:
                    raise problem

    def begin_episode(self, inputs: SpikeLog, learn: bool) -> None:
        """Collective: see `Engine.begin_episode`; only the traces that TD errors multiply are reset."""
        n = self.n_steps
        self._begin_sample(Sample(SpikeLog(n), self._no_target, window=np.zeros(n, bool)), learn)
        self.inputs = inputs
        self.memory.td_errors.begin_episode(self.time)
        assert isinstance(self.loss, Reward)  # else no episode begins
        self._rewards = OnlineRewards(self.loss)

    def run_steps(self, first: int, last: int) -> None:
        """Collective: run steps [first, last) of the episode, or of the sample in pieces; more may follow."""
        before = self.time - self.kernel.channel.base
        self.memory.inputs.append_steps(before + first, self.inputs.slice_steps(first, last), last - first)
        self._run(first, last)

    @property
    def origin(self) -> int:
        """Step of the run with which the present sample, or the next one, begins."""
        return self.before + self.time

    @property
    def _online(self) -> OnlineRewards:
        assert self._rewards is not None  # an episode has begun
        return self._rewards

    def take_decision(self, step: int, action: int, reward: float) -> None:
        """Take a decision and the reward since the previous decision, see `Engine.take_decision`."""
        self.kernel.set_errors(
            self.time + step, *self._online.compute_td_error(self.show_signal()[step], action, reward)
        )

    def finish_sample(self, sample: Sample, learn: bool) -> tuple[np.ndarray, float]:
        """Collective: as `Interval.finish_sample`; after an episode, run without input until the next may begin."""
        rollout = sample.rollout
        if rollout is None:
            return self._end_sample(sample, self.time + self.n)
        T = rollout.n_steps
        after = 0.0 if rollout.terminated else rollout.bootstrap
        self.kernel.set_errors(self.time + T, *self._online.end_episode(float(rollout.rewards[-1]), after))
        self.n, end = T, following_block(self.time + T)
        self.inputs = SpikeLog(end - self.time)
        self.run_steps(T, end - self.time)
        return self._end_sample(sample, end)

    def _count_sample(self) -> None:
        """Count a sample of a batch after its last step; if samples are separate runs, collect its gradients."""
        self.kernel.teach_rest(self.time)
        if self.batch and self._is_to_step:
            self.batch.add_sample(self.traces.list_gradients())
            if self.resets:
                self._collect_gradients(counts=True)
        if self.resets:
            self.before, self.time = self.before + self.n_steps, 0
            self.currents.carried.fill(0.0)

    def _collect_gradients(self, counts: bool) -> None:
        """Apply pending contributions of the samples so far; with `counts` add the gradients to the batch."""
        assert self.batch is not None
        kept = [] if self.resets else self.memory.copy_arrays()
        self.flush_synapses()
        gradients = [item.gradient.copy() if kept else item.gradient for item in self.memory.tables]
        for array, values in kept:
            array[...] = values
        self._raise_own_problem()
        if counts:
            self.batch.add_gradients(gradients)
        for table, gradient in zip(self.memory.tables, gradients, strict=True):  # the next flush adds these again
            table.gradient[...] -= gradient
        self._pending_learn = None

    def begin_sample(self, leaf: int) -> None:
        """Prepare for the next training sample, in leaf `leaf` of its batch, see `parallel.replicas`."""
        if self.batch and self.resets:
            self.batch.sums.open_leaf(leaf)

    def skip_samples(self, n: int, learn: bool) -> None:
        """Count `n` samples that other groups of ranks run."""
        if self.batch and self.resets:
            self.before += n * self.n_steps
            self.batch.n_collected += n * learn

    def step_optimizers(self) -> None:
        """Collective: step the optimizers after a batch.

        Without batches weights change when spikes arrive: only rewire, and step parameters, after a training sample.
        """
        if self.batch:
            if not self.batch.n_collected:
                return
            if not self.resets:
                if self._rewired:
                    self.kernel.bring_forward(self.time)  # before the flush, which advances the kernel
                self._collect_gradients(counts=True)
            self.batch.step(self.exchange.replicas, self.exchange.comm)
            self.memory.share_constants()
            return
        if self._rewired and self._is_to_step:
            self.kernel.bring_forward(self.time)
            self._raise_own_problem()
        for item in self._rewired if self._is_to_step else ():
            item.end_sample()
        if self._is_to_step and self.parameters.items:
            self.parameters.step(self.traces.list_gradients(), 1.0, self.exchange.comm)
            self.memory.share_constants()
        self._is_to_step = False

    def _reset_run(self) -> None:
        """Reset all state to the start of the run, for the next sample."""
        for array, value in self._start:
            array[...] = value
        self.cells.states[...] = self.network.initial
        self.traces.reset_traces()
        self.kernel.channel.base = 0

    def _begin_sample(self, sample: Sample, learn: bool) -> None:
        if self.resets:
            self._reset_run()
        elif self.batch and self.learned and self._pending_learn not in (None, learn):
            self._collect_gradients(counts=bool(self._pending_learn))
        assert sample.target is not None  # `Sample.check` has checked it
        run, memory, t, n = self.kernel, self.memory, self.time, len(sample.target)
        self.learned, self._is_to_step, self._pending_learn = self.learned or learn, learn, learn
        for item in () if self.batch else self._rewired:
            item.begin_step()
        base = memory.first_step(t)
        for log in (memory.inputs, self.channel):
            log.drop_steps(base - run.channel.base, t - run.channel.base)
        memory.inputs.append_steps(t - base, sample.inputs, n)
        self.traces.clear_gradients()
        memory.rules.take_modulator(t, n, sample.modulator)
        run.channel.base, run.learns = base, learn if self.resets else self.learned
        run.spread_until = layout.NEVER  # another state may have been loaded, weights set
        self._begin_steps(sample.inputs, n, sample.currents)
        self._inside, self._own_value = np.zeros(n, bool), 0.0
        self._inside[self._find_window(sample, n)] = True
        run.errors.window = self._inside.view(np.uint8)
        run.errors.target = np.ascontiguousarray(sample.target, dtype=float)
        run.errors.factors = np.zeros((0, 0)) if sample.factors is None else sample.factors
        self._set_rates(learn)

    def _set_rates(self, learn: bool) -> None:
        etas = {item.name: item.rate if learn and not self.batch else 0.0 for item in self.plastic}
        for table in self.memory.tables:
            table.set_rates(etas, self.time)

    def delay_rates(self, first: dict[str, float]) -> None:
        """Delay a change of the learning rate until a synapse's second update from now, as in NEST.

        `first` has the learning rate of the first update by the name of the plastic projection.
        """
        for table in self.memory.tables[:2]:
            table.delay_rates(first)

    def keep_gradients(self) -> None:
        """Keep the sum of all gradients of each synapse from now on, or of the first batch, for `get_gradients`."""
        if self.batch:
            self.batch.first = {}
            return
        self._before = {id(item.table): item.table.weight.copy() for item in self.memory.tables[:2]}
        for item in self.memory.tables[:2]:
            item.rows.optimizing.total = np.zeros(len(item.table.weight))

    def get_gradients(self, weights: dict[int, np.ndarray]) -> dict[int, np.ndarray]:
        """Return the sums of gradients by `id` of the table; `weights` are the result of `show_weights`.

        If weights change by the sum over a window at once, the sum follows from their change, if they reach no bound.
        """
        if self.batch:
            return self.batch.first or {}
        found = {id(item.table): np.array(item.rows.optimizing.total) for item in self.memory.tables[:2]}
        for item in self.plastic:
            if item.optimizer.accumulates and item.rate:
                key, own = id(item.table), item.span.synapses
                found[key][own] = (self._before[key][own] - weights[key][own]) / item.rate
        return found

    def watch_weights(self, table: SynapseTable, synapses: np.ndarray) -> np.ndarray:
        """Record the weights of some synapses of a table when spikes arrive there.

        `synapses` are int64 (n_synapses,), indices in the table. Return the weights, float64 (n_steps, n_synapses), NaN
        where no spike arrives; each sample overwrites the array.
        """
        found = self.memory.find_table(table)
        assert found is not None  # feedback that does not learn is not watched
        return found.watch_weights(synapses, self.n_steps)

    def _compute_loss(self, sample: Sample) -> float:
        if self._calls_loss:
            return self._own_value
        if sample.factors is not None:  # factors multiply errors, not the loss
            return self.evaluate_loss(self.show_signal(), sample.target, self._inside).loss
        error, target, inside = self.error[: self.n], sample.target, self._inside
        assert target is not None  # as in `run`
        if not inside.all():
            error, target = error[inside], target[inside]
        return self.loss.value(error + target, target, error)

    @property
    def _calls_loss(self) -> bool:
        """Whether Python computes the errors: for losses without a kernel, from the library or a script."""
        return not self.network.model.is_rewarded and self.loss not in map(LOSSES.get, IN_KERNEL)

    def _find_own_errors(self, s: int) -> None:
        """Replace the outputs of the readouts in step s of the sample by the errors of the loss."""
        output, target = self.error[s : s + 1], np.asarray(self.kernel.errors.target)[s : s + 1]
        try:
            evaluation = self.evaluate_loss(output.copy(), target, slice(None))
            self.error[s], self._own_value = evaluation.error[0], self._own_value + evaluation.loss
        except Exception as problem:  # raised when the sample has ended on all ranks
            self.error[s] = 0.0
            self._own_problem = self._own_problem or problem

    def find_signals(self, error: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Return learning signals, which the script's hook changes step by step, see `Engine.find_signals`."""
        signal = self.project_signals(error, columns)
        steps = [] if self.network.model.learning_signal is None else [slice(s, s + 1) for s in range(len(error))]
        for step in steps:
            signal[step] = self.apply_signal_hook(signal[step], error[step], columns)
        return signal

    def _shape_signals(self, u: int) -> None:
        """Replace the learning signals of step u by the results of the script's hook."""
        history = self.memory.history
        L, errors = history["L"][u % len(history["L"])], history["error_ring"]
        error = errors[(u + self._d_out) % len(errors), None]
        try:
            L[:] = self.apply_signal_hook(L[None].astype(float, copy=False), error, np.arange(self.n_neurons))[0]
        except Exception as problem:  # as of `_find_own_errors`
            self._own_problem = self._own_problem or problem

    def _add_rate_errors(self, t: int) -> None:
        """Add the derivatives of the script's loss of firing rates to the rate errors of step t."""
        history, per_s = self.memory.history, 1000.0 / self.network.model.dt_ms
        try:
            history["F"][t % len(history["F"])] += per_s * self.regularize_rates(1000.0 * history["f_av"])
        except Exception as problem:  # as of `_find_own_errors`
            self._own_problem = self._own_problem or problem

    def get_own_spikes(self) -> SpikeLog:
        """Return the spikes of this rank's neurons in the last sample, see `Engine.get_own_spikes`."""
        return self.channel.own_spikes.slice_steps(*self._find_last_steps())

    def get_spikes_under_way(self) -> tuple[int, SpikeLog, SpikeLog]:
        """Return spikes in transit: their first step, spikes of the inputs, and spikes of this rank's neurons."""
        base, first = self.kernel.channel.base, self.memory.first_step(self.time)
        steps = first - base, self.time - base
        return first, self.memory.inputs.slice_steps(*steps), self.channel.own_spikes.slice_steps(*steps)

    def get_received_spikes(self) -> SpikeLog:
        """Return the spikes of the last sample that this rank received, see `Engine.get_received_spikes`."""
        return self.channel.received_spikes.slice_steps(*self._find_last_steps())

    def _find_last_steps(self) -> tuple[int, int]:
        """Return the half-open range of steps of the last sample in the logs."""
        last = self._last_step - self.kernel.channel.base
        return last - self.n, last

    # ---- showing weights ---------------------------------------------------------------------------------------------

    def keep_arrived(self) -> None:
        """Keep the weights of the latest arrivals for `get_weights`; call before the first sample."""
        for table in self.memory.tables:
            table.keep_arrived()

    def get_weights(self, table: SynapseTable) -> np.ndarray:
        """Return the weights of the latest arrivals, without later optimizer steps."""
        found = self.memory.find_table(table)
        return found.get_weights() if found else super().get_weights(table)

    def set_weights(self, table: SynapseTable, places: np.ndarray, weight: np.ndarray) -> None:
        """Set the weights of the latest arrivals; optimizer steps since then are added to the new values."""
        found = self.memory.find_table(table)
        if found:
            found.set_weights(places, weight)
        else:
            super().set_weights(table, places, weight)

    def show_weights(self) -> dict[int, np.ndarray]:
        """Collective: return weights after a flush, by `id` of their table; roll the flush back.

        A flush updates weights as if every source spiked once more.
        """
        if not self.learned or self.batch:
            return {}
        kept = self.memory.copy_arrays()
        self.flush_synapses()
        tables = [item.table for item in self.memory.tables[:2]]
        shown = {id(table): table.weight.copy() for table in (*tables, self.network.feedback)}
        for array, values in kept:
            array[...] = values
        self._raise_own_problem()
        return shown

    def flush_synapses(self) -> None:
        """Deliver spikes in flight, then one more spike of every source; the run can't continue after that.

        A flush learns even if the last sample did not. It needs no sample before it, for example after `load_state`.
        """
        self._set_rates(learn=True)
        self.kernel.learns = self.learned
        filled = self.time - self.kernel.channel.base
        self.memory.inputs.ptr[filled + 1 :] = self.memory.inputs.ptr[filled]
        self.channel.clear_steps_after(filled)
        self.kernel.flush(self.time)

    # ---- state -------------------------------------------------------------------------------------------------------

    def state(self) -> State:
        """Return all that the next sample reads; see the module `state`."""
        state = self.state_of_cells()
        for item in self._rewired:
            assert item.rewiring is not None
            state.add_synapses(KINDS[0], item.table, item.span, **item.rewiring.copy_topology())
        if self.batch:
            self.batch.add_to(state, with_weights=self.resets)
        self.parameters.add_to(state)
        return state

    def state_of_cells(self) -> State:
        """Return all state that a sample changes: little if samples are separate runs, else all except batches."""
        if self.resets:
            state = State()
            state.add_numbers(self, "before")
        else:
            state = self.memory.state(self.time, self.kernel.channel.base, self.channel)
            state.add_numbers(self, "time", "learned")
            state.numbers["owes"] = self._pending_learn
            if self.network.model.learning_signal is not None:  # a flush calls the hook with the latest errors
                context = self.context
                state.numbers["context"] = [context.index, context.phase, context.label, context.batch_size]
        state.add_numbers(self, "tested")
        for item in self.plastic:
            item.add_counters(state, "plastic")
        state.neurons |= {"carried": self.currents.state}
        state.shared |= {"y": self.y}
        if not self.resets:
            self.traces.add_to(state)
        return state

    def load_state(self, numbers: Values, shared: dict[str, np.ndarray], whole: bool = True) -> None:
        """Load the numbers and shared arrays of a state; the arrays of `state()` are filled next.

        `InputError` if the shared arrays don't fit the network, or the blocks of prefix sums differ.
        """
        if self.resets != ("before" in numbers):
            kept, asked = ("true", "false") if "before" in numbers else ("false", "true")
            raise InputError(f"cannot resume: reset = {kept} in the checkpoint, {asked} in this run")
        if not self.resets:
            self.time, self._pending_learn = int(numbers["time"]), numbers["owes"]
            self.memory.load_logs(self.time, numbers, shared, self.channel)
            self._last_step, self.context = self.time, Context(*numbers.get("context", ()))
            self.kernel.channel.base = self.memory.first_step(self.time)
        (self.state() if whole else self.state_of_cells()).load(numbers, shared)
        if self.batch:
            self.batch.sums.clear_sums()
            self.batch.n_collected = 0

    def refresh_derived(self) -> None:
        """Collective: see `Engine.refresh_derived`."""
        super().refresh_derived()
        self.memory.share_constants()

    def list_arrays_to_check(self) -> dict[str, np.ndarray]:
        """Return arrays that any non-finite number reaches within a sample, by name; last axis: this rank's neurons."""
        neurons, history = self.neurons, self.memory.history
        return (
            self.parameters.by_neuron()
            | self.memory.rules.list_arrays_to_check()
            | {name: neurons[name] for name in ("v", "a", "states") if name in neurons}
            | {name: history[name] for name in ("f_av", "A", "D")}
        )

    def _get_squares(self, item: Plastic) -> np.ndarray:
        if self.batch:
            return super()._get_squares(item)
        return self._find_memory(item).of_synapses["variance"][item.span.synapses]

    @property
    def history_steps(self) -> int:
        """Number of steps in the histories of neurons: their longest ring, bounded by cutoff or folding."""
        return self.memory.history_steps()

    def count_bytes(self) -> dict[str, int]:
        """Return this rank's bytes by kind: traces of synapses, state of rows, histories, logs."""
        memory = self.memory.count_bytes()
        histories, log = (
            memory["histories"] + self._ring.nbytes + self.traces.nbytes,
            memory["log"] + self.channel.nbytes,
        )
        gradients = memory["gradients"] + (self.batch.nbytes if self.batch else 0)
        return memory | {"gradients": gradients, "histories": histories, "log": log}
