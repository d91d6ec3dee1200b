"""Observers: the hooks that the loop calls (`Observer`), their view of a simulation (`Watched`), and `Outcome`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from .. import elementary
from ..engines.base import Engine
from ..engines.sample import Sample
from ..errors import ParepropError
from ..network.local import LocalNetwork
from ..network.losses import Evaluation, Loss
from ..network.model import Model
from ..parallel.exchange import Exchange
from ..parallel.mpi import Comm
from ..parallel.replicas import Replicas
from ..timers import Timers
from ..values import Values
from .digest import Digest
from .episodes import Episodes
from .notices import Notices
from .score import Score
from .task import ClosedTask, OpenTask, Task


@dataclass(frozen=True)
class Outcome:
    """Outcome of one sample.

    Attributes
    ----------
    index, phase : int, str
        Of the sample.
    sample : Sample
        Inputs and target as the task made them, before inputs are silenced or dropped.
    error, signal : ndarray, float64 (n_steps, n_readouts)
        Errors of the readouts, as the loss returned them, and their voltages.
    loss : float
        Of this sample.
    evaluation : Evaluation or None
        Errors, loss and further values that the loss returned.
    prediction : int or None
        Predicted class of a sample with a label, see `predict_class`.
    """

    index: int
    phase: str
    sample: Sample
    error: np.ndarray
    signal: np.ndarray
    loss: float
    evaluation: Evaluation | None = None
    prediction: int | None = None


def predict_class(sample: Sample, signal: np.ndarray, learning_window: int, loss: Loss) -> int:
    """Return the predicted class: the readout with the largest mean output in the steps with a learning signal."""
    window = sample.window if sample.window is not None else slice(len(signal) - learning_window, None)
    return int(np.argmax(elementary.total_rows(loss.output(signal[window]).T)))


class Watched(Protocol):
    """The part of a `Simulation` that an observer sees. It may set `stop_requested` and call the methods.

    Attributes
    ----------
    model, task : Model, and Task, ClosedTask or OpenTask
        The network, and the task that trains it.
    exchange : Exchange
        Of this rank's group of ranks; observers communicate through `exchange.comm`.
    replicas : Replicas
        Groups of ranks that share batches, this rank's among them.
    world : Comm
        Communicator of all ranks of all groups, None for one process.
    episodes : Episodes or None
        Runs the episodes of a task in closed loop.
    network : LocalNetwork
        This rank's part of the network.
    engine : Engine
        Of the variant; runs samples and holds the state.
    timers, digest : Timers, Digest
        Seconds by phase, SHA-256 over all spikes so far.
    iteration : int
        Iterations done.
    losses, rates : list of float
        Mean loss and mean firing rate (Hz) of each iteration.
    batch : list of tuple[float, float]
        Loss and mean firing rate (Hz) of each sample of the last batch, of all groups, in the order of the samples.
    labels, predictions : list of int
        Class and predicted class of each sample with a label of the last batch, of all groups, in the same order.
    score : Score
        Of the last batch, of all groups: losses, accuracy, confusion, returns.
    moves : dict[str, list[int]]
        Synapses that moved in each iteration, by projection that is rewired, or whose delays learn.
    learned : dict[str, list[dict[str, float]]]
        Mean, standard deviation and range of each parameter that learns after each iteration.
    gradient_norms : list of float
        With `max_norm`: norm of the gradient of each iteration, before it was scaled down; else empty.
    cuts : list of tuple of int and np.ndarray
        Each division of the neurons among ranks: iterations done before it, and int64 (n_ranks + 1,), the first neuron
        of each rank and the number of all.
    observers : list of Observer
        All of them, in the order in which they are called.
    notices : Notices
        Notices of the run.
    between : bool
        Whether the run is between two iterations, so that its state can be kept.
    stop_requested : bool
        Whether the run ends after this iteration; it is enough to set it on one rank of any group before the end of
        `after_iteration`.
    """

    model: Model
    task: Task | ClosedTask | OpenTask
    exchange: Exchange
    replicas: Replicas
    world: Comm
    episodes: Episodes | None
    network: LocalNetwork
    engine: Engine
    timers: Timers
    digest: Digest
    iteration: int
    losses: list[float]
    rates: list[float]
    batch: list[tuple[float, float]]
    score: Score
    moves: dict[str, list[int]]
    learned: dict[str, list[dict[str, float]]]
    gradient_norms: list[float]
    cuts: list[tuple[int, np.ndarray]]
    observers: list[Observer]
    notices: Notices
    between: bool
    stop_requested: bool

    def hexdigest(self) -> str:
        """Collective: return the SHA-256 over all spikes so far and the present weights; valid on rank 0."""

    def nbytes(self) -> dict[str, int]:
        """Return the bytes on this rank by kind."""

    def bytes_of_synapses(self) -> int:
        """Return the bytes of this rank's synapses and of their learning state."""

    def set_eta(self, eta: float, projection: str | None = None) -> None:
        """Change the learning rate of a projection, or of all."""

    def set_c_H(self, c_H: float) -> None:
        """Change the entropy bonus of the loss `Reward` from the next sample on."""

    def test(self, n_samples: int, phase: str = "test") -> Score:
        """Collective: run samples of `phase` without learning; return their score, a number: the mean loss."""

    @property
    def labels(self) -> list[int]: ...  # noqa: D102, of the score

    @property
    def predictions(self) -> list[int]: ...  # noqa: D102

    def run_samples(self, first: int, n: int, phase: str, learn: bool) -> list[tuple[float, float]]:
        """Collective: run a batch of samples; return the loss and the mean firing rate of each."""

    def check_states(self, observers: Iterable[Observer]) -> None:
        """Collective: raise `InputError` if a checkpoint could not keep the present state of some of the observers."""


class Observer:
    """Base of observers: override the hooks that you need. All hooks but `list_requests` are collective.

    Attributes
    ----------
    everywhere : bool
        True: call this observer in every replica group. False: only in the first group (for file writers). Per-sample
        hooks run in the group that ran the sample; the first sample of a batch always runs in the first group.
    movable : bool
        True: it refers to nothing of this rank's neurons, synapses and engine from one iteration to the next, so that
        `run` may divide neurons among ranks anew in between.
    """

    everywhere = True
    movable = False
    checkpoint_name = ""  # name of its state in checkpoints; empty: the class's name

    def start(self, simulation: Watched) -> None:
        """Before the first iteration of a `train` or `test`."""

    def before_sample(self, simulation: Watched, index: int, phase: str) -> None:
        """Before a sample runs."""

    def after_sample(self, simulation: Watched, outcome: Outcome) -> None:
        """After a sample, before weights change (interval variant)."""

    def after_batch(self, simulation: Watched, first: int, n: int, phase: str) -> None:
        """After samples [first, first + n) of a phase, run by one or several groups of ranks."""

    def after_iteration(self, simulation: Watched, iteration: int, loss: float) -> None:
        """After iteration number `iteration` (from 0), weights changed; `loss` is the mean of its samples."""

    def list_requests(self, simulation: Watched) -> list[bool]:
        """Return the requests of this rank after an iteration; a fixed number of them, used only with
        `everywhere`.

        Not collective: all questions of all observers travel in one message, with `stop_requested`.
        """
        return []

    def handle_requests(self, simulation: Watched, asked: list[bool]) -> None:
        """Act on requests after `after_iteration` of all observers; `asked[k]`: any rank requested number `k`."""

    def finish(self, simulation: Watched) -> None:
        """After the last iteration."""

    def failed(self, simulation: Watched, problem: ParepropError) -> str:
        """Handle a failure, maybe within an iteration (not `simulation.between`); return a line on saved files."""
        return ""

    def state(self, simulation: Watched) -> Values:
        """Return the observer's state for a checkpoint, which stores rank 0's.

        Numbers (also inf and NaN, also of NumPy), texts, bytes, None, lists, tuples, sets, tables of them, and arrays
        without objects. Others are refused before the training.
        """
        return {}

    def load_state(self, state: Values) -> None:
        """Restore the state that `state` returned on rank 0, on every rank, before `start`."""
