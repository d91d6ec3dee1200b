"""The loop: samples in, weight changes out, observers told.

Contract
--------
One iteration is `batch_size` samples, then one optimizer step (interval variant; the spike variant learns as it runs).
All ranks run the same samples in the same order and meet in every round of every sample; nothing but spikes and readout
signals crosses ranks. The loop knows nothing of files: recorders, progress, checkpoints and early stopping are
observers. They are called on all ranks, in the order given; what they do together they do through
`simulation.exchange.comm`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import collective, room
from .canonical import Digest
from .collective import guarded
from .errors import InputError, ParepropError, StateError
from .exchange import Alone, Exchange
from .faults import find_bad
from .interval import Interval, IntervalSettings
from .model import Model
from .network import Network
from .params import nearest
from .sample import Sample, Task
from .spike import Spike, SpikeSettings
from .state import State
from .timers import Timers

ENGINES = {"interval": (Interval, IntervalSettings), "spike": (Spike, SpikeSettings)}


@dataclass(frozen=True)
class Outcome:
    """What one sample gave.

    Attributes
    ----------
    index, phase : of the sample
    sample : inputs and target
    error, signal : float64 (n_steps, n_readouts)
    loss : of this sample
    """

    index: int
    phase: str
    sample: Sample
    error: np.ndarray
    signal: np.ndarray
    loss: float


class Observer:
    """Base of everything that watches a run; override what you need. All methods are collective."""

    def start(self, simulation: Simulation) -> None:
        """Before the first iteration of a `train` or `test`."""

    def before_sample(self, simulation: Simulation, index: int, phase: str) -> None:
        """Before a sample runs."""

    def after_sample(self, simulation: Simulation, outcome: Outcome) -> None:
        """After a sample, before weights change (interval variant)."""

    def after_iteration(self, simulation: Simulation, iteration: int, loss: float) -> None:
        """After iteration number `iteration` (from 0), weights changed; `loss` is the mean of its samples."""

    def finish(self, simulation: Simulation) -> None:
        """After the last iteration."""

    def failed(self, simulation: Simulation, problem: ParepropError) -> str:
        """The run can't go on, maybe in the midst of an iteration (not `simulation.between`); tell what is safe."""
        return ""

    def saved(self, simulation: Simulation) -> dict[str, Any]:
        """What the observer keeps in a checkpoint: numbers, texts, lists and small arrays; rank 0's are kept."""
        return {}

    def restore(self, saved: dict[str, Any]) -> None:
        """Take back on every rank what `saved` gave, before `start`."""


class Simulation:
    """A network with a task on one rank of a communicator.

    Parameters
    ----------
    model : the network in words
    task : inputs and targets
    exchange : `Alone()` or `Ranks(comm)`
    observers : told in this order
    settings : of the variant, taken from the task if not given

    Attributes
    ----------
    iteration : iterations done
    losses : mean loss of each iteration
    rates : mean firing rate of the recurrent neurons in Hz, per iteration
    """

    def __init__(
        self,
        model: Model,
        task: Task,
        exchange: Exchange | None = None,
        observers: Iterable[Observer] = (),
        settings: IntervalSettings | SpikeSettings | None = None,
    ) -> None:
        self.exchange = exchange or Alone()
        self.task, self.model, self.timers, self.digest = task, model, Timers(), Digest()
        self.observers = list(observers)
        with self.timers.phase("build"), guarded(self.exchange.comm):  # draws may be bad on one rank alone
            room.require(model, task.n_steps, self.exchange.rank, self.exchange.size)
            self.network = Network(model, self.exchange.rank, self.exchange.size)
            engine, default = ENGINES[model.variant]
            settings = settings or default(learning_window=task.learning_window)
            self.engine = engine(self.network, self.exchange, settings, task.n_steps, self.timers)
        self.iteration = 0
        self.losses: list[float] = []
        self.rates: list[float] = []
        self.stop_requested = False
        self.between = True

    def train(self, n_iterations: int) -> list[float]:
        """Collective: run iterations until `n_iterations` are done in all; return the losses of all so far.

        Raises
        ------
        ParepropError
            What an observer, an engine or the check for finite numbers raised, with what `Observer.failed` had to tell.
        """
        try:
            self._tell("start")
            while self.iteration < n_iterations and not self.stop_requested:
                self._iterate()
        except ParepropError as problem:
            told = [observer.failed(self, problem) for observer in self.observers]
            raise type(problem)("; ".join([str(problem), *filter(None, told)])) from None
        self._tell("finish")
        return self.losses

    def _iterate(self) -> None:
        self.between = False
        batch = self.model.optimizer.batch_size
        first = self.iteration * batch
        outcomes = [self.run_sample(first + k, "train", learn=True) for k in range(batch)]
        self.engine.optimize()
        self.losses.append(float(np.mean([outcome[0] for outcome in outcomes])))
        self.rates.append(float(np.mean([outcome[1] for outcome in outcomes])))
        self.iteration += 1
        self.between = True
        self._tell("after_iteration", self.iteration - 1, self.losses[-1])

    def test(self, n_samples: int, phase: str = "test") -> float:
        """Collective: run samples of `phase` without learning; return their mean loss. Observers see the outcomes."""
        if n_samples < 1:
            raise InputError(f"n_samples = {n_samples} must be at least 1")
        return float(np.mean([self.run_sample(index, phase, learn=False)[0] for index in range(n_samples)]))

    def run_sample(self, index: int, phase: str, learn: bool) -> tuple[float, float]:
        """Collective: run one sample; return its loss and the mean firing rate in Hz."""
        self._tell("before_sample", index, phase)
        sample = self.task.sample(index, phase)
        sample.check(self.task.n_steps, self.model)
        error, loss = self.engine.run(sample, learn)
        self._check_finite(index, loss)
        self.digest.add_spikes(self.engine.log, self.task.n_steps)
        self._tell("after_sample", Outcome(index, phase, sample, error, self.engine.shown_signal(), loss))
        seconds = self.task.n_steps * self.model.dt_ms / 1000.0
        return loss, self.engine.n_spikes / (self.network.n_recurrent * seconds)

    def _check_finite(self, index: int, loss: float) -> None:
        """Collective: end the run if a number on any rank is not finite."""
        problem = find_bad(self)
        if not math.isfinite(loss):
            problem = StateError(f"the loss of sample {index} is {loss}" + (f"; {problem}" if problem else ""))
        if collective.maximum(self.exchange.comm, problem is not None):
            hint = f"{problem} (sample {index}); a smaller learning rate or tighter weight bounds may help"
            collective.raise_together(self.exchange.comm, problem and StateError(hint))

    def set_eta(self, eta: float, projection: str | None = None) -> None:
        """Change the learning rate of one projection, or of all, from the next update on."""
        if not 0 <= eta < math.inf:
            raise InputError(f"eta = {eta} must be at least 0 and finite")
        names = [item.name for item in self.engine.plastic]
        if projection is not None and projection not in names:
            raise InputError(f"no plastic projection '{projection}'{nearest(projection, names)}")
        for item in self.engine.plastic:
            if projection in (None, item.name):
                item.eta = eta

    def hexdigest(self) -> str:
        """Collective: SHA-256 over all spikes so far and the present weights as shown; valid on rank 0."""
        digest = Digest()
        digest.update(self.digest)
        digest.add_weights(self.exchange.comm, self.network, self.engine.shown_weights())
        return digest.hexdigest()

    def saved(self) -> State:
        """Collective: the whole state between iterations, on any number of ranks; see `state`."""
        engine = self.engine.saved()
        saved = State({}, {}, engine.neurons, engine.readouts, engine.rows, engine.synapses)
        saved.put("engine", engine.numbers, engine.shared)
        saved.spikes = {f"engine/{name}": entry for name, entry in engine.spikes.items()}
        progress = {"losses": np.array(self.losses, float), "rates": np.array(self.rates, float)}
        saved.put("loop", {"iteration": self.iteration, "digest": self.digest.state.hex()}, progress)
        for name, observer in self._named_observers():
            kept = observer.saved(self)
            arrays = {key: value for key, value in kept.items() if isinstance(value, np.ndarray)}
            saved.put(name, {key: value for key, value in kept.items() if key not in arrays}, arrays)
        return saved

    def restore(self, numbers: dict[str, Any], shared: dict[str, np.ndarray]) -> None:
        """Collective: take back numbers and shared arrays; the arrays of `saved` are filled next."""
        self.engine.restore(*State.get("engine", numbers, shared))
        loop, progress = State.get("loop", numbers, shared)
        self.iteration, self.digest = int(loop["iteration"]), Digest(bytes.fromhex(loop["digest"]))
        self.losses, self.rates = (list(map(float, progress[name])) for name in ("losses", "rates"))
        for name, observer in self._named_observers():
            if name in numbers:
                kept, arrays = State.get(name, numbers, shared)
                observer.restore(kept | arrays)

    def _named_observers(self) -> list[tuple[str, Observer]]:
        names = [type(observer).__name__ for observer in self.observers]
        return [(f"{name}.{names[:k].count(name)}", self.observers[k]) for k, name in enumerate(names)]

    def nbytes(self) -> dict[str, int]:
        """Bytes on this rank by kind."""
        return self.network.nbytes() | self.engine.nbytes()

    def bytes_of_synapses(self) -> int:
        """Bytes of topology, weights, gradients and optimizer state on this rank."""
        return sum(table.nbytes for table in self.network.tables().values()) + self.engine.nbytes()["gradients"]

    def _tell(self, what: str, *news: object) -> None:
        for observer in self.observers:
            getattr(observer, what)(self, *news)
