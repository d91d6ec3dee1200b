"""The loop: run samples, change weights, call observers.

Contract
--------
One iteration is `batch_size` samples, then one optimizer step; the spike variant learns within samples if that is 1.
All ranks run the same samples in the same order and synchronize in every round of every sample; they exchange only
spikes and readout signals. The loop uses no files: recorders, progress, checkpoints and early stopping are observers.
All ranks call them in the given order; they communicate through `simulation.exchange.comm`.

With replicas this holds within each group of ranks. Groups run parts of a batch and synchronize at its end: then all
ranks have all losses and rates, the digest holds all spikes in the order of the samples, and `after_batch` is called,
in which observers may communicate through `simulation.replicas`. Gradients are added in the optimizer step.

The file is long because one class holds the life of a run, samples, learning, observers, digest, state, and documents
what observers may do and when.
"""

from __future__ import annotations

import gc
import math
import warnings
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from itertools import chain
from statistics import fmean

import numpy as np

from ..algorithms.choice import Algorithms
from ..engines.base import Settings
from ..engines.delays import LearnedDelays
from ..engines.firing import find_rates
from ..engines.parameters import SUMMARY, Parameter
from ..engines.plasticity import Plastic
from ..engines.sample import Sample
from ..engines.state import State
from ..errors import InputError, ParepropError, ParepropWarning, StateError, quote
from ..network.features import list_features
from ..network.losses import Context
from ..network.model import Model
from ..network.parameters import is_number, suggest_name
from ..network.perturbations import choose_perturbations
from ..network.reward import Reward
from ..network.unsupported import require_supported
from ..parallel import collectives
from ..parallel.agreement import find_difference, require_agreement
from ..parallel.collectives import share_errors
from ..parallel.exchange import Alone, Exchange
from ..parallel.replicas import MIN_TREE_BATCH, assign_leaf
from ..parallel.spike_log import SpikeLog
from ..timers import Timers
from ..values import Values
from . import encoded_states, live_weights
from .building import build_engine
from .checks import (
    check_exchange,
    check_label,
    check_number,
    check_observers,
    check_parts,
    check_sample,
    count_available,
    default_settings,
    describe_task,
    list_facts,
    list_unknown_hooks,
    name_classes,
)
from .digest import Digest
from .episodes import Episodes
from .finite import require_finite
from .interrupts import Deferred
from .loss_state import LossState
from .notices import Notices
from .observer import Observer, Outcome, predict_class
from .observer_calls import finish_observers, is_called_here, list_states, name_observers, notify_observers
from .pieces import Pieces, require_pieces, require_samples
from .returns import Returns
from .score import Score
from .task import ClosedTask, OpenTask, Task, ends_late, is_closed, is_open


class Simulation:
    """A network with a task on one rank of a communicator.

    Parameters
    ----------
    model : Model
        Description of the network.
    task : Task, ClosedTask or OpenTask
        Inputs and targets, episodes, or a run without an end.
    exchange : Exchange or None
        `Alone()` or `Ranks(comm)`, of a group of ranks by `launcher.split_into_replicas`.
    observers : iterable of Observer
        Observers, called in this order.
    settings : Settings or None
        Settings of the variant, by default the task's.
    algorithms : str, Mapping of str to str or None
        Algorithms to take in place of those that the spike variant chooses: "prefix", "scan", "lines" or "steps",
        for all projections that learn onto neurons, or by name of a projection, or of the population that it reaches.
        Results differ by rounding alone.
    quiet : bool
        Whether `notices` stay empty: a front end writes its own notices.

    Attributes
    ----------
    episodes : Episodes or None
        Runs the episodes of a task in closed loop.
    replicas : Replicas
        Groups of ranks that share batches, this rank's among them.
    world : MPI.Comm or None
        Communicator of all ranks of all groups.
    iteration : int
        Iterations done.
    losses : list of float
        Mean loss of each iteration.
    rates : list of float
        Mean firing rate of the recurrent neurons in Hz, per iteration.
    batch : list of tuple[float, float]
        Loss and mean firing rate of each sample of the last batch.
    score : Score
        Of the last batch: losses, accuracy, confusion, returns.
    moves : dict[str, list[int]]
        Synapses that moved in each iteration, by projection; of those that are rewired, or whose delays learn.
    learned : dict[str, list[dict[str, float]]]
        Mean, standard deviation, range of each parameter that learns, such as "rec.tau_m", and how many of its values
        are at a bound, after each iteration.
    gradient_norms : list of float
        With `max_norm`: norm of the gradient of each iteration, before it was scaled down; else empty.
    cuts : list of tuple of int and np.ndarray
        Each division of the neurons among ranks: iterations done before it, and int64 (n_ranks + 1,), the first neuron
        of each rank and the number of all.
    notices : Notices
        Warnings of the run, such as spikes that never arrive; `notices.lines` on all ranks.
    """

    def __init__(
        self,
        model: Model,
        task: Task | ClosedTask | OpenTask,
        exchange: Exchange | None = None,
        observers: Iterable[Observer] = (),
        settings: Settings | None = None,
        algorithms: Algorithms | None = None,
        quiet: bool = False,
    ) -> None:
        self.exchange = Alone() if exchange is None else check_exchange(exchange)
        self.replicas = self.exchange.replicas
        self.world = self.replicas.world or self.exchange.comm
        require_agreement(self.world, "Simulation()")
        with share_errors(self.world):
            check_parts(model, task, settings)
            self.observers = check_observers(observers)
            if algorithms is not None:
                settings = replace(settings or default_settings(model, task), algorithms=algorithms)
        facts = list_facts(model, task, settings)
        if self.replicas.count > 1:  # all groups take part in collectives of the first one
            facts |= {"observers": name_classes(self.observers)}
        require_agreement(self.world, "Simulation()", facts)
        self.task, self.model, self.timers, self.digest = task, model, Timers(), Digest()
        with self.timers.time_phase("build"):
            self._build_engine(settings)
        self.notices = Notices(speaks=not (self.exchange.rank or self.replicas.index), silent=quiet)
        self.notices.check_network(self.network, self.engine.plan, self.exchange, task.n_steps)
        for line in list_unknown_hooks(self.observers):
            self.notices.report_notice(line, line)
        self._loss_state = LossState(self.engine.loss, self.notices)
        self.iteration = 0
        self.losses: list[float] = []
        self.rates: list[float] = []
        self.batch: list[tuple[float, float]] = []
        self.score = Score()
        self._classes: list[tuple[int, int]] = []  # label and prediction, of this group's part of a batch
        self._returns = Returns()  # of the episodes of this group's part of a batch
        self._asked: Sequence[object] | None = None  # perturbations that a test asks for
        self.moves: dict[str, list[int]] = {item.name: [] for item in self.engine.plastic if item.n_moved is not None}
        self.learned: dict[str, list[dict[str, float]]] = {item.name: [] for item in self.engine.parameters.items}
        self.gradient_norms: list[float] = []
        self.cuts = [(0, self.network.cuts)]
        self.stop_requested = False
        self._begun = False  # `train` or `advance` was called
        self.between = True
        self._torn = ""  # name of the call that an error or a second interrupt ended
        self._trained = ""  # digest of learned values before samples without learning; see `hexdigest`
        self._labels: set[int] = set()  # classes of training samples
        self._compared = False  # the errors of the first sample were compared with their loss
        self._explodes: list[tuple[float, str]] = []  # exploding gradients of the last iteration on this rank
        self._outcomes: list[tuple[float, float]] = []  # of the batch that `advance` runs
        self._pieces = Pieces(self.engine)
        self._kept: list[SpikeLog] = []  # spikes of this group, added to the digest after spikes of the groups before

    def _build_engine(self, settings: Settings | None) -> None:
        """Collective: build the network for the task."""
        task, model, closed = self.task, self.model, is_closed(self.task)
        with share_errors(self.world):
            kind, has = ("episodes", "episodes") if closed else ("samples", "no episodes")
            found = list_features(model) | {kind: f"task {task.__class__.__name__}, which has {has}"}
            if ends_late(task):
                found["late target"] = "late_target"
            require_supported("", found)
            settings = settings or default_settings(model, task)
            check_replicas(self.replicas.count, model, settings)
        self.engine = build_engine(model, task.n_steps, self.exchange, settings, self.timers)
        self.network = self.engine.network
        with share_errors(self.world):
            self.episodes = Episodes(task, model, self.engine, self.timers) if is_closed(task) else None

    @property
    def algorithms(self) -> dict[str, str]:
        """Name of each projection that brings spikes, to its algorithm; empty in the interval variant."""
        return self.engine.plan.algorithms if self.engine.plan else {}

    def rebuild_engine(self, model: Model) -> None:
        """Collective: between iterations, rebuild the network, its neurons divided by the `rates_hz` of `model`.

        It begins in its initial state; the caller restores the state.
        """
        settings, loss, meeting = self.engine.settings, self.engine.loss, self.engine.channel.meeting
        rounds = meeting.n_within, meeting.n_between
        self.model = model
        del self.network, self.engine, self.episodes, meeting
        gc.collect()  # before there is another one
        self._build_engine(settings)
        self.cuts.append((self.iteration, self.network.cuts))
        self.engine.loss, self._pieces = loss, Pieces(self.engine)
        self.engine.channel.meeting.n_within, self.engine.channel.meeting.n_between = rounds

    def __repr__(self) -> str:
        size, last = self.model.size("recurrent"), f", loss {self.losses[-1]:.4g}" if self.losses else ""
        where = f"rank {self.exchange.rank} of {self.exchange.size}"
        return (
            f"Simulation({self.task.__class__.__name__}, {size:,} neurons, {self.iteration} iterations{last}, {where})"
        )

    def train(self, n_iterations: int) -> list[float]:
        """Collective: run iterations until `n_iterations` are done in all; return the losses of all so far.

        Raises
        ------
        ParepropError
            Raised by an observer, an engine or the check for finite numbers, with the messages of `Observer.failed`.
        StateError
            If an iteration before was left half done, by a second interrupt or an exception.
        KeyboardInterrupt
            On all ranks, after the iteration that was interrupted on any; `train` continues from there.
        """
        self._require_whole()
        require_agreement(self.world, "train()", {"n_iterations": quote(n_iterations)})
        n_iterations = check_number("train: n_iterations", n_iterations, 0)
        require_samples(self.task, "train")
        if n_iterations and self._begun and self.notices.speaks:
            self._warn_if_done(n_iterations)
        self._begun = True
        with Deferred() as interrupt:
            self._train(n_iterations, interrupt)
        return self.losses

    def _warn_if_done(self, n_iterations: int) -> None:
        """Warn if `train` has nothing left to do."""
        done = self.iteration
        if n_iterations <= done:
            line = f"{done} iterations are done; the number is a total: train({done + n_iterations}) continues"
        elif self.stop_requested:
            line = f"an observer stopped the training after {done}; with stop_requested = False it continues"
        else:
            return
        warnings.warn(f"train({n_iterations}): {line}", ParepropWarning, stacklevel=3)

    def _train(self, n_iterations: int, interrupt: Deferred) -> None:
        interrupted = False
        try:
            notify_observers(self, "start")
            while self.iteration < n_iterations and not self.stop_requested and not interrupted:
                self._run_iteration()
                interrupted = self._share_stop(interrupt.asked)
            finish_observers(self)
        except ParepropError as problem:
            if not collectives.all_arrive(self.world):
                raise
            answers = [observer.failed(self, problem) for observer in self.observers if is_called_here(self, observer)]
            raise type(problem)("; ".join([str(problem), *filter(None, answers)])) from None
        self._raise_together(interrupt)

    def _raise_together(self, interrupt: Deferred) -> None:
        """Collective: raise the interrupt that any rank noted."""
        if any(collectives.any_of(self.world, [interrupt.asked])):
            raise KeyboardInterrupt

    def _run_iteration(self) -> None:
        self.between, self._torn = False, f"iteration {self.iteration}"
        batch = self.model.optimizer.batch_size
        outcomes = self._run_batch(self.iteration * batch, batch, "train", learn=True)
        self._end_iteration(outcomes)

    def _end_iteration(self, outcomes: list[tuple[float, float]]) -> None:
        """Collective: change the weights, record the iteration, call observers."""
        self.engine.step_optimizers()
        self._count_moves()
        self._summarize_parameters()
        if self.model.optimizer.max_norm is not None:
            self.gradient_norms.append(self.engine.gradient_norm)
        self._labels.update(self.score.labels)
        self.losses.append(fmean(outcome[0] for outcome in outcomes))
        self.rates.append(fmean(outcome[1] for outcome in outcomes))
        self.notices.check_rates(self.rates)
        self.notices.check_loss(self.losses, self.model)
        self._explodes = self.notices.find_explosion(self.engine, self.losses, self.rates)
        self.iteration += 1
        self.between, self._torn = True, ""
        notify_observers(self, "after_iteration", self.iteration - 1, self.losses[-1])

    def _share_stop(self, interrupted: bool) -> bool:
        """Collective: handle requests of any rank: stop, notices, observers; return whether any was interrupted."""
        asking = [observer for observer in self.observers if observer.everywhere]
        questions = [observer.list_requests(self) for observer in asking]
        answers = self._any_of([self.stop_requested, interrupted, bool(self._explodes), *chain(*questions)])
        self.stop_requested, interrupted, explodes, *answers = answers
        if explodes:
            self.notices.report_explosion(collectives.gather_values(self.world, self._explodes))
        for observer, asked in zip(asking, questions, strict=True):
            observer.handle_requests(self, answers[: len(asked)])
            answers = answers[len(asked) :]
        return interrupted

    def _any_of(self, flags: list[bool]) -> list[bool]:
        """Collective over all groups: return for each flag whether any rank has set it."""
        if self.replicas.count > 1:
            return collectives.any_of(self.world, flags)
        return self.engine.channel.any_of(flags)

    @property
    def place(self) -> tuple[int, int]:
        """Number of the training's sample that comes next, or is under way, and how many of its steps are over."""
        return self.iteration * self.model.optimizer.batch_size + len(self._outcomes), self._pieces.done

    def resume_from(self, other: Simulation, piece: Sample | None = None) -> None:
        """Continue the training of another simulation, whose state this engine has loaded.

        Parameters
        ----------
        other : Simulation
            Is not run any more.
        piece : Sample or None
            The past steps of the present sample.
        """
        counted = ("iteration", "losses", "rates", "gradient_norms", "digest")
        for name in (*counted, "_trained", "_labels", "_begun", "_outcomes", "_classes"):
            setattr(self, name, getattr(other, name))
        for phase, seconds in other.timers.seconds.items():
            self.timers.add_seconds(phase, seconds)
        if piece is not None:
            self._pieces.add_piece(piece)

    def advance(self, steps: int, *, learn: bool = True, whole: bool = False) -> np.ndarray:
        """Collective: run the next steps of a training without an end, which learns as `train` does.

        A call may end within a sample, so that later inputs may depend on the network's outputs: in a closed loop with
        a device or another simulator, for example. An `OpenTask` makes inputs just before their steps; of other tasks
        the samples of `train` follow each other. Weights change as they do in `train`, to the same bits:
        in the interval variant after the last step of each batch of samples.

        Parameters
        ----------
        steps : int
            How many, at least 1.
        learn : bool
            Whether to learn from them. Give one value for all steps of a sample: else the interval variant goes by
            the last one, the spike variant by the first.
        whole : bool
            Take the steps for whole samples, the last of which may be shorter than others: in the spike variant, whose
            weights do not change at the end of a sample.

        Returns
        -------
        np.ndarray
            float64 (steps, n_readouts), voltages of the readouts in mV.

        Raises
        ------
        InputError
            For a task with episodes, perturbations and replicas, which need whole samples; `whole` in the interval
            variant.
        StateError
            If a call before was left half done.
        KeyboardInterrupt
            On all ranks, after the steps; `advance` continues from there.

        Examples
        --------
        >>> signal = simulation.advance(10)  # doctest: +SKIP
        """
        self._require_sound()
        require_agreement(
            self.world, "advance()", {"steps": quote(steps), "learn": quote(learn), "whole": quote(whole)}
        )
        steps = check_number("advance: steps", steps, 1)
        require_pieces(self.task, self.model, self.replicas, whole)
        if whole:
            self._require_whole()
            if self.engine.resets:
                raise InputError("advance: whole=True needs samples that go on: batch_size = 1, or reset = False")
        signals = []
        with Deferred() as interrupt:
            while steps:
                n = min(steps, self.task.n_steps - self._pieces.done % self.task.n_steps)
                self._torn = f"iteration {self.iteration}"
                if self._pieces.done == self.task.n_steps:  # and its target is known now
                    with self._loss_state.watch_changes(learn):
                        outcome = self._finish_pieces(learn)
                    self._end_in_batch(outcome, learn)
                signals.append(self._advance_steps(n, learn, whole))
                self._torn = ""
                steps -= n
            self._raise_together(interrupt)
        return np.concatenate(signals)

    def _advance_steps(self, n: int, learn: bool, whole: bool) -> np.ndarray:
        """Collective: run the next `n` steps, which lie in one sample, and end it after the last one."""
        pieces, batch, (index, first) = self._pieces, self.model.optimizer.batch_size, self.place
        k = len(self._outcomes)
        if not (k or first):
            if not self._begun:
                notify_observers(self, "start")
            self._begun, self.between, self._classes = True, False, []
            self._note_training("train", learn)
        if not first:
            self.engine.begin_sample(assign_leaf(k, batch))
            notify_observers(self, "before_sample", index, "train")
            self._enter_sample(index, "train", learn)
        with self._loss_state.watch_changes(learn):
            if whole:
                sample = self._request_piece(index, 0, n)
                outcome = self._make_outcome(index, "train", sample, *self.engine.run(sample, learn), learn)
                signal = outcome.signal
            else:
                signal = pieces.run(self._request_piece(index, first, first + n), learn)
                if pieces.done < self.task.n_steps or ends_late(self.task):
                    return signal
                outcome = self._finish_pieces(learn)
        self._end_in_batch(outcome, learn)
        return signal

    def _finish_pieces(self, learn: bool) -> Outcome:
        """Collective: end a sample in pieces after its last step."""
        index, sample, task = self.place[0], self._pieces.join_pieces(), self.task
        if ends_late(task):
            late = sample
            sample = self._check_together(
                index, "train", lambda: replace(late, target=task.late_target()), task.n_steps
            )
        return self._make_outcome(index, "train", sample, *self.engine.finish_sample(sample, learn), learn)

    def _end_in_batch(self, outcome: Outcome, learn: bool) -> None:
        """Collective: report a sample, and after the last one of its batch change the weights."""
        self._outcomes.append(self._end_sample(outcome, learn))
        if len(self._outcomes) == self.model.optimizer.batch_size:
            outcomes, self._outcomes = self._outcomes, []
            self._end_batch(outcome.index + 1 - len(outcomes), "train", outcomes, self._classes)
            self._end_iteration(outcomes)
            self._share_stop(False)

    def _request_piece(self, index: int, first: int, last: int) -> Sample:
        """Collective: return steps [first, last) of a sample of the task."""
        if is_open(self.task):
            begun = self.engine.origin if self.model.eprop.is_online else index * self.task.n_steps
            return self._request_sample(index, "train", begun + first, begun + last)
        if not first:
            self._whole = self._request_sample(index, "train")
            generated = getattr(self.task, "generated", False)
            self.notices.check_sample(self._whole, index, "train", self.engine, generated)
        return self._whole.part(first, last)

    def _require_sound(self) -> None:
        if self._torn:
            raise StateError(f"{self._torn} was left half done; build the simulation anew, or restore a checkpoint")

    def _require_whole(self) -> None:
        self._require_sound()
        if self._pieces.done and ends_late(self.task):
            raise StateError(f"iteration {self.iteration} is not over: its last target comes when the next step is due")
        if self._pieces.done or self._outcomes:
            left = self.task.n_steps * (self.model.optimizer.batch_size - len(self._outcomes)) - self._pieces.done
            raise StateError(f"iteration {self.iteration} is not over: advance({left}) ends it")

    def _count_moves(self) -> None:
        """Collective: record how many synapses moved in the iteration, for projections whose synapses can move."""
        for item in self.engine.plastic:
            if item.n_moved is not None:
                self.moves[item.name].append(collectives.sum_over_ranks(self.exchange.comm, item.n_moved))

    def _summarize_parameters(self) -> None:
        """Collective: record the statistics of parameters that learn."""
        for item in self.engine.parameters.items:
            self.learned[item.name].append(self.engine.parameters.summarize_values(self.exchange.comm, item))

    @property
    def labels(self) -> list[int]:
        """Class of each sample of the last batch that has a label."""
        return self.score.labels

    @property
    def predictions(self) -> list[int]:
        """Predicted class of each sample of the last batch that has a label."""
        return self.score.predictions

    def test(self, n_samples: int, phase: str = "test", perturb: Sequence[object] | None = None) -> Score:
        """Collective: run samples of `phase` without learning; return their score. Observers see the outcomes.

        The score is their mean loss, a number, and has `losses`; of classifications `accuracy`, `interval`,
        `confusion`, `counts`; of episodes `episodes.returns`.

        Parameters
        ----------
        n_samples : int
            How many samples, from the first one of the phase on.
        phase : str
            Phase of the samples: "test", "validate" or another that the task knows.
        perturb : sequence of str or Applied, or None
            Perturbations of the model, or their names, in place of those whose `phases` name this one; an empty list
            for none.
        """
        asked = (
            None
            if perturb is None
            else [item.name for item in choose_perturbations(self.model.perturbations, phase, perturb)]
        )
        require_agreement(
            self.world, "test()", {"n_samples": quote(n_samples), "phase": quote(phase), "perturb": quote(asked)}
        )
        require_samples(self.task, "test")
        n_samples, most = check_number("test: n_samples", n_samples, 1), count_available(self.task, phase)
        if most is not None and n_samples > most and phase != "train":
            raise InputError(f"test: {n_samples} samples of '{phase}' are asked for, the task has {most}")
        batch, scores = self.model.optimizer.batch_size, []
        self._asked = asked
        try:
            with Deferred() as interrupt:
                for first in range(0, n_samples, batch):
                    self.run_samples(first, min(batch, n_samples - first), phase, learn=False)
                    scores.append(self.score)
                self._raise_together(interrupt)
        finally:
            self._asked = None
        score, n_trained = Score.join_scores(scores), self.iteration * batch
        self.notices.check_classes(score, phase, self._labels, n_trained, partial(count_available, self.task))
        return score

    def run_sample(self, index: int, phase: str, learn: bool) -> tuple[float, float]:
        """Collective: run one sample; return its loss and the mean firing rate in Hz."""
        return self.run_samples(index, 1, phase, learn)[0]

    def run_samples(self, first: int, n: int, phase: str, learn: bool) -> list[tuple[float, float]]:
        """Collective: run samples [first, first + n), a batch; return the loss and the mean firing rate of each.

        With `learn`, gradients have the same bits for any number of replicas if the weights change after each batch.

        Raises
        ------
        StateError
            If samples before were left half done, by an interrupt or an exception.
        """
        self._require_whole()
        require_samples(self.task, "run_samples")
        self._torn = f"a batch of phase '{phase}'"
        with nullcontext() if is_counted(phase, learn) else self.engine.keep_training_draws():
            outcomes = self._run_batch(first, n, phase, learn)
        self._torn = ""
        return outcomes

    def _run_batch(self, first: int, n: int, phase: str, learn: bool) -> list[tuple[float, float]]:
        self._note_training(phase, learn)
        share, outcomes, problem = self.replicas.list_samples(n), [], None
        self._classes, self._returns = [], Returns()
        self.engine.skip_samples(share.start, learn)
        try:
            for k in share:
                if learn:
                    self.engine.begin_sample(assign_leaf(k, n))
                outcomes.append(self._run_sample(first + k, phase, learn))
        except ParepropError as error:
            problem = error
        with self.timers.time_phase("communicate"):
            gathered = self.replicas.gather_values((outcomes, self._classes, self._returns, problem))
        for *_, failure in gathered:
            if failure is not None:
                raise failure
        self.engine.skip_samples(n - share.stop, learn)
        if self.replicas.count > 1:
            self._complete_digest()
        episodes = Returns()
        for _, _, returns, _ in gathered:
            episodes.append_returns(returns)
        outcomes = [outcome for outcomes, *_ in gathered for outcome in outcomes]
        self._end_batch(first, phase, outcomes, [pair for _, pairs, *_ in gathered for pair in pairs], episodes)
        return self.batch

    def _end_batch(
        self,
        first: int,
        phase: str,
        outcomes: list[tuple[float, float]],
        classes: list[tuple[int, int]],
        episodes: Returns | None = None,
    ) -> None:
        """Collective: record losses and score of a batch, and call observers."""
        self.batch = outcomes
        labels, predictions = ([pair[k] for pair in classes] for k in range(2))
        losses = [loss for loss, _ in outcomes]
        self.score = Score(losses, labels, predictions, episodes or Returns(), self.network.n_readouts)
        notify_observers(self, "after_batch", first, len(outcomes), phase)

    def _note_training(self, phase: str, learn: bool) -> None:
        """Collective: save the digest of the training before samples that the digest leaves out, such as tests."""
        if is_counted(phase, learn):
            self._trained = ""
        elif not self.engine.learns_at_the_end and not self._trained:  # tests move traces, and thereby `show_weights`
            self._trained = collectives.broadcast_from_root(self.exchange.comm, self.hexdigest())

    def _complete_digest(self) -> None:
        """Collective: add the spikes of each group after the first to the digest, group by group."""
        for group in range(self.replicas.count):
            for log in self._kept if group == self.replicas.index else ():
                self.digest.add_spikes(log, len(log.ptr) - 1)
            self.digest.state = self.replicas.broadcast_value(self.digest.state, group)
        self._kept = []

    def _run_sample(self, index: int, phase: str, learn: bool) -> tuple[float, float]:
        notify_observers(self, "before_sample", index, phase)
        self._enter_sample(index, phase, learn)
        trains = learn and phase not in ("validate", "test")
        with self._loss_state.watch_changes(trains):
            if self.episodes:
                sample = self.episodes.play_episode(index, phase, learn)
                found = self.engine.finish_sample(sample, learn)
            else:
                sample = self._request_sample(index, phase)
                self.notices.check_sample(sample, index, phase, self.engine, getattr(self.task, "generated", False))
                found = self.engine.run(self._apply_perturbations(sample), learn)
            outcome = self._make_outcome(index, phase, sample, *found, learn)
        return self._end_sample(outcome, trains)

    def _enter_sample(self, index: int, phase: str, learn: bool) -> None:
        """Announce the next sample to the engine, and with it the label."""
        self.engine.enter_phase(phase, learn, self._asked, None if is_counted(phase, learn) else index)
        self.engine.context = Context(int(index), phase, batch_size=self.model.optimizer.batch_size)

    def _make_outcome(
        self, index: int, phase: str, sample: Sample, error: np.ndarray, loss: float, learn: bool
    ) -> Outcome:
        """Collective: return the outcome of a sample; check its numbers, and add its spikes to the digest."""
        require_finite(self, index, loss)
        if is_counted(phase, learn) and not self.exchange.rank:  # others do not have all spikes
            self._note_spikes()
        signal, prediction = self.engine.show_signal().copy(), None  # the next sample overwrites the engine's
        if sample.label is not None and self.network.n_readouts:
            prediction = predict_class(sample, signal, self.engine.settings.learning_window, self.engine.loss)
        return Outcome(index, phase, sample, error, signal, loss, self.engine.evaluation, prediction)

    def _end_sample(self, outcome: Outcome, trains: bool) -> tuple[float, float]:
        """Collective: call observers with an outcome; return its loss and the mean firing rate in Hz."""
        sample, prediction = outcome.sample, outcome.prediction
        if trains and not (self.iteration or self._compared):
            self._compared = True
            self.notices.check_errors(sample, outcome.signal, self.engine)
        if prediction is not None and sample.label is not None:
            self._classes.append((sample.label, prediction))
        if sample.rollout is not None and outcome.evaluation is not None:
            self._returns.add_rollout(sample.rollout, outcome.evaluation.extra)
        notify_observers(self, "after_sample", outcome)
        seconds = self.engine.n * self.model.dt_ms / 1000.0
        return outcome.loss, self.engine.n_spikes / (self.network.n_recurrent * seconds)

    def _apply_perturbations(self, sample: Sample) -> Sample:
        """Return a sample without the input spikes that perturbations drop."""
        inputs = self.engine.remove_lost_inputs(sample.inputs)
        return sample if inputs is sample.inputs else replace(sample, inputs=inputs)

    def _request_sample(self, index: int, phase: str, first: int = 0, last: int = 0) -> Sample:
        """Collective: return a sample of the task, or steps [first, last) of its run, checked."""
        task = self.task
        assert not is_closed(task)  # which plays episodes
        make = partial(task.piece, first, last) if is_open(task) else partial(task.sample, index, phase)
        return self._check_together(index, phase, make, last - first or task.n_steps, not ends_late(task))

    def _check_together(
        self, index: int, phase: str, make: Callable[[], Sample], n_steps: int, needs_target: bool = True
    ) -> Sample:
        """Collective: return the task's sample, checked, and the same on all ranks."""
        channel, size, task = self.engine.channel, self.exchange.size, self.task
        taken: list[Sample] = []
        marks: dict[str, int] = {}

        def raise_on_all_ranks(problem: ParepropError | None) -> None:
            if not channel.compare_marks(problem, sum(marks.values())):
                facts = {f"sample {index} of '{phase}': {name}": f"{mark:016x}" for name, mark in marks.items()}
                facts_by_rank = collectives.gather_values(self.exchange.comm, facts | describe_task(self.task))
                raise InputError(f"{find_difference(facts_by_rank)}; samples must depend on index and phase alone")

        with collectives.share_errors(channel.comm, raise_on_all_ranks):  # data may be bad on one rank alone
            sample = make()
            check_sample(sample, task)
            sample.check(n_steps, self.model, needs_target)
            check_label(sample, self.engine.settings.learning_window)
            taken.append(sample)
            marks |= sample.checksums() if size > 1 else {}
        channel.unread = True
        label = taken[0].label  # checkpoints keep it, as JSON, which has no numbers of NumPy
        self.engine.context = replace(self.engine.context, label=None if label is None else int(label))
        return taken[0]

    def _note_spikes(self) -> None:
        """Add the spikes of a sample to the digest; groups after the first keep them for `_complete_digest`."""
        if self.replicas.index == 0:
            self.digest.add_spikes(self.engine.log, self.engine.n)
        else:
            self._kept.append(self.engine.log.copy(self.engine.n))

    def weights(self, projection: str) -> dict[str, np.ndarray]:
        """Collective: return `source`, `target`, `delay` (steps) and `weight` of all synapses, the same on all ranks.

        They are sorted by target, source and delay, as in results. Each rank holds them all: they are copies.

        Parameters
        ----------
        projection : str
            Its name, such as "rec->rec".

        Returns
        -------
        dict of str to np.ndarray
            (n_synapses,) each.

        Examples
        --------
        >>> synapses = simulation.weights("rec->rec")
        >>> simulation.set_weights("rec->rec", 0.9 * synapses["weight"])
        """
        self._require_whole()
        require_agreement(self.world, "weights()", {"projection": quote(projection)})
        return live_weights.get_weights(self, projection)

    def set_weights(self, projection: str, weight: np.ndarray) -> None:
        """Collective: set the weights of a projection; the moments of the optimizer stay.

        Parameters
        ----------
        projection : str
            Its name.
        weight : np.ndarray
            (n_synapses,), in the order of `weights`, the same on all ranks.

        Raises
        ------
        InputError
            If a weight is out of the optimizer's bounds or has the wrong sign, or the weights follow others.
        StateError
            If the spike variant has learned, in which changes of weights wait for the next spike.
        """
        self._require_whole()
        require_agreement(
            self.world, "set_weights()", {"projection": quote(projection), "weight": live_weights.hash_weights(weight)}
        )
        live_weights.set_weights(self, projection, weight)
        self._trained = ""

    def set_eta(self, eta: float, projection: str | None = None) -> None:
        """Change the learning rate of one projection, or of the weights of all, from the next update on.

        The delays of a projection have its name and ".delay".
        """
        if not is_number(eta) or not 0 <= eta < math.inf:
            raise InputError(f"eta = {quote(eta)} must be a number of at least 0 and finite")
        weights: list[Plastic | LearnedDelays | Parameter] = [*self.engine.plastic]
        delays = [item.delays for item in self.engine.plastic if item.delays]
        every = [*weights, *delays, *self.engine.parameters.items]
        known = {item.name: item for item in every}
        if projection is not None and projection not in known:
            raise InputError(f"no plastic projection '{projection}'{suggest_name(projection, list(known))}")
        if projection is not None and len(named := [item for item in every if item.name == projection]) > 1:
            raise InputError(f"'{projection}' names {len(named)} of what learns; give the projection another name")
        chosen = weights if projection is None else [known[projection]]
        for item in chosen:
            if (decay := getattr(item.optimizer, "weight_decay", 0.0)) * eta > 1.0:
                raise InputError(f"eta * weight_decay = {eta * decay:g} of '{item.name}' must be at most 1")
        for item in chosen:
            item.eta = eta

    def set_c_H(self, c_H: float) -> None:
        """Change the entropy bonus of the loss `Reward` from the next sample on."""
        assert isinstance(self.engine.loss, Reward)  # as `Annealing` has looked up
        self.engine.loss = replace(self.engine.loss, c_H=c_H)

    def hexdigest(self) -> str:
        """Collective: return the SHA-256 over the spikes of training and the weights as shown after it; valid on rank
        0.

        Validations and tests leave it as it is, unless they learn.
        """
        require_agreement(self.exchange.comm, "hexdigest()")
        if self._pieces.done:  # weights have no pending updates at the end of a sample alone
            self._require_whole()
        if self._trained:
            return self._trained
        digest = Digest()
        digest.update(self.digest)
        engine = self.engine
        digest.add_weights(self.exchange.comm, self.network, engine.show_weights(), engine.show_delays())
        digest.add_parameters(self.exchange.comm, self.engine.parameters)
        return digest.hexdigest()

    def state(self, with_observers: bool = True) -> State:
        """Collective: return the whole state between iterations, on any number of ranks; see `engines.state`."""
        if self._pieces.done or self._outcomes:
            self._require_whole()
        engine = self.engine.state()
        state = State({}, {}, engine.neurons, engine.rows, engine.synapses)
        state.add_part("engine", engine.numbers, engine.shared)
        state.spikes = {f"engine/{name}": entry for name, entry in engine.spikes.items()}
        progress = {"losses": np.array(self.losses, float), "rates": np.array(self.rates, float)}
        progress |= {f"moves/{name}": np.array(counts, np.int64) for name, counts in self.moves.items()}
        if self.gradient_norms:
            progress["gradient_norms"] = np.array(self.gradient_norms, float)
        for name, summaries in self.learned.items():
            rows = [[summary[key] for key in SUMMARY] for summary in summaries]
            progress[f"learned/{name}"] = np.array(rows, float).reshape(-1, len(SUMMARY))
        counters = {"iteration": self.iteration, "digest": self.digest.state.hex(), "trained": self._trained}
        counters |= {"rates_hz": self.measure_rates(), "labels": sorted(self._labels)}
        state.add_part("loop", counters, progress)
        if with_observers:
            for name, parts in list_states(self):
                state.add_part(name, *parts)
        return state

    def measure_rates(self) -> dict[str, float]:
        """Return the rates of the populations in the last sample, in Hz; on rank 0, which has all spikes."""
        if not hasattr(self.engine, "log") or self.exchange.rank:  # before the first sample
            return self.model.rates_hz
        names = [group.name for group in self.model.of_role("recurrent")]
        return dict(zip(names, find_rates(self.engine).tolist(), strict=True))

    def check_states(self, observers: Iterable[Observer]) -> None:
        """Collective: raise `InputError` if a checkpoint could not keep the present state of the loss, or of some
        observers.
        """
        for _ in list_states(self, observers):
            pass

    def load_progress(self, numbers: Values, shared: dict[str, np.ndarray]) -> None:
        """Collective: restore iteration, losses, digest and observers, after the network."""
        loop, progress = State.get_part("loop", numbers, shared)
        self.iteration, self.digest = int(loop["iteration"]), Digest(bytes.fromhex(loop["digest"]))
        self._trained, self._labels = str(loop["trained"]), set(loop["labels"])
        self.cuts = [(self.iteration, self.network.cuts)]
        self.losses, self.rates = (list(map(float, progress[name])) for name in ("losses", "rates"))
        self.moves = {name: progress[f"moves/{name}"].tolist() for name in self.moves}
        self.gradient_norms = progress["gradient_norms"].tolist() if "gradient_norms" in progress else []
        self.learned = {
            name: [dict(zip(SUMMARY, row, strict=True)) for row in progress[f"learned/{name}"].tolist()]
            for name in self.learned
        }
        if "loss" in numbers:
            self.engine.loss.load_state(encoded_states.join_state(*State.get_part("loss", numbers, shared)))
        for name, observer in name_observers(self):
            if name in numbers:
                observer.load_state(encoded_states.join_state(*State.get_part(name, numbers, shared)))

    def load_network(self, numbers: Values, shared: dict[str, np.ndarray]) -> None:
        """Collective: restore numbers and shared arrays of the network alone; the caller then fills its arrays."""
        self.engine.load_state(*State.get_part("engine", numbers, shared))
        self._trained, self._torn, self._outcomes, self._pieces = "", "", [], Pieces(self.engine)

    def nbytes(self) -> dict[str, int]:
        """Return the bytes on this rank by kind."""
        return self.network.nbytes() | self.engine.count_bytes()

    def bytes_of_synapses(self) -> int:
        """Return the bytes of topology, weights, gradients and optimizer state on this rank."""
        return (
            sum(table.nbytes for table in self.network.list_tables().values()) + self.engine.count_bytes()["gradients"]
        )


def is_counted(phase: str, learn: bool) -> bool:
    """Return whether the digest holds the spikes of a sample: of training, and of other samples that learn."""
    return learn or phase == "train"


def check_replicas(count: int, model: Model, settings: Settings) -> None:
    """Raise `InputError` unless groups of ranks can share the batches of `model`."""
    batch = model.optimizer.batch_size
    if count == 1:
        return
    if batch < MIN_TREE_BATCH:
        raise InputError(f"replicas = {count} needs a batch_size of at least {MIN_TREE_BATCH}, it is {batch}")
    if count > batch:
        raise InputError(f"replicas = {count} must be at most batch_size = {batch}")
    reset = {} if getattr(settings, "reset", True) is not False else {"no reset": "reset = false"}
    require_supported("", {"replicas": f"replicas = {count}"} | reset | list_features(model))
