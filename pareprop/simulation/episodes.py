"""Run the episodes of a task in closed loop: each next input depends on the network's last decision.

Contract
--------
Decision n is taken at step u_n = first + n period from the readouts of that step, which all ranks have: rounds end at
this step, and the signals of the last round are exchanged at once. The reply drives the neurons from step u_n
+ sensor_delay on, whatever the number of ranks and the length of rounds. All randomness is keyed by (seed, phase,
index): episodes may run in any order, in any group of ranks. A batch holds episodes with the same weights, each of its
own length. An exception of an environment ends all ranks with one line.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import partial

import numpy as np

from .. import elementary, rng
from ..algorithms.request import lags
from ..engines.base import Engine
from ..engines.episode import Episode, Reply
from ..engines.sample import Sample
from ..errors import InputError, ParepropError, describe, quote
from ..network.losses import log_softmax
from ..network.model import Model
from ..network.reward import Rollout
from ..parallel.mpi import Comm
from ..parallel.spike_log import SpikeLog
from ..timers import Timers
from .task import ClosedTask


class Episodes:
    """Runs the episodes of a task on an engine of either variant.

    Seconds are added to `timers` by phase, the environment's as `environment`. Raises an `InputError` if task and
    network do not fit.

    Attributes
    ----------
    replies : list of Reply
        Replies of the last episode, the reply to the reset first.
    """

    def __init__(self, task: ClosedTask, model: Model, engine: Engine, timers: Timers) -> None:
        check(task, model)
        if model.eprop.is_online and task.first < (d_out := lags(model).d_out):
            raise InputError(f"first = {task.first} must be at least the delay to the readouts, {d_out} steps")
        self.task, self.engine, self.timers = task, engine, timers
        self.n_inputs = model.size("input")
        self.most_decisions = 1 + (task.n_steps - 1 - task.first) // task.period
        self.replies: list[Reply] = []
        self._episode: Episode | None = None

    def play_episode(self, index: int, phase: str, learn: bool = False) -> Sample:
        """Collective: run all steps of an episode; return a sample for `Engine.finish_sample`, with the same `learn`.

        `InputError` if the environment fails, or replies with values that are not finite or do not fit the network.
        """
        task, engine, where = self.task, self.engine, f"episode {index} of '{phase}'"
        draws = rng.draw_uniform(rng.make_key(task.seed, f"{phase}/actions"), [index], self.most_decisions)[0]
        greedy = phase != "train" and task.act == "greedy"
        inputs, self.replies = SpikeLog(task.n_steps), []
        reply = self._request_reply(lambda: self._open(index, phase), where)
        filled = self._append_inputs(inputs, 0, reply, task.first + task.sensor_delay)
        if reply.terminated or reply.truncated:
            raise InputError(f"{where}: the episode is over before its first decision")
        self.replies, done, u = [reply], 0, task.first
        actions: list[int] = []
        engine.begin_episode(inputs, learn)
        while True:
            engine.run_steps(done, u + 1)
            done = u + 1
            action = choose_action(engine.show_signal()[u, :-1], draws[len(actions)], greedy)
            engine.take_decision(u, action, reply.reward)
            reply = self._request_reply(partial(self._step, action), f"{where}, decision {len(actions)}")
            actions.append(action)
            self.replies.append(reply)
            if reply.terminated:
                break
            filled = self._append_inputs(inputs, filled, reply, task.period)
            if reply.truncated or len(actions) == self.most_decisions:
                break
            u += task.period
        bootstrap = 0.0
        if task.bootstrap and not reply.terminated and done + task.period <= task.n_steps:
            engine.run_steps(done, done + task.period)
            done += task.period
            bootstrap = float(engine.show_signal()[done - 1, -1])
        inputs.ptr[filled + 1 :] = inputs.ptr[filled]
        n = len(actions)
        rollout = Rollout(
            when=task.first + task.period * np.arange(n),
            actions=np.array(actions),
            rewards=np.array([float(reply.reward) for reply in self.replies[1:]]),
            acting=np.ones(n, bool),
            terminated=reply.terminated,
            bootstrap=bootstrap,
            n_steps=done,
        )
        return Sample(inputs, rollout=rollout)

    def _open(self, index: int, phase: str) -> Reply:
        self._episode = self.task.episode(index, phase)
        return self._episode.reset()

    def _step(self, action: int) -> Reply:
        assert self._episode is not None  # `_open` was before
        return self._episode.step(action)

    def _request_reply(self, ask: Callable[[], Reply], where: str) -> Reply:
        """Collective: return the environment's checked reply; all ranks return one reply, or raise one error."""
        comm = self.engine.exchange.comm
        reply: Reply | None = None
        problem: InputError | None = None
        with self.timers.time_phase("environment"):
            if self.task.replicated or comm is None or comm.rank == 0:
                try:
                    reply = _check_reply(ask(), self.replies)
                except ParepropError as error:
                    problem = InputError(f"{where}: {error}")
                except KeyboardInterrupt:
                    raise
                except BaseException as error:  # a foreign environment may raise anything
                    problem = InputError(f"{where}: the environment raised {describe(error)}")
            if not self.task.replicated and comm is not None:
                reply, problem = comm.bcast((reply, problem))
            elif comm is not None:
                problem = _find_difference(comm, reply, problem, where)
        if problem is not None:
            raise problem
        assert reply is not None  # else there was a problem
        return reply

    def _append_inputs(self, inputs: SpikeLog, filled: int, reply: Reply, n_steps: int) -> int:
        """Append the spikes of a reply, cut at the end of the episode; return the number of steps filled so far."""
        spikes = reply.spikes
        if len(spikes.ptr) != n_steps + 1:
            raise InputError(f"an episode gave spikes of {len(spikes.ptr) - 1} steps, must be {n_steps}")
        if len(spikes.ids) and spikes.ids[: spikes.ptr[-1]].max(initial=0) >= self.n_inputs:
            raise InputError(f"an episode gave a spike of source {spikes.ids.max()}, the model has {self.n_inputs}")
        n = min(n_steps, self.task.n_steps - filled)
        inputs.append_steps(filled, self.engine.remove_lost_inputs(spikes, filled), n)
        return filled + n

    def collect_dynamics(self) -> dict[str, np.ndarray]:
        """Return observations (n + 1, n_components) and `info_...` (n + 1,) of the last episode, of n decisions."""
        arrays = {"observation": np.array([reply.observation for reply in self.replies])}
        for name in self.replies[0].info:
            arrays[f"info_{name}"] = np.array([float(reply.info.get(name, np.nan)) for reply in self.replies])
        return arrays


def choose_action(signal: np.ndarray, draw: float, greedy: bool) -> int:
    """Return the action for policy readouts (n_actions,): drawn by the uniform number `draw`, or the likeliest one."""
    if greedy:
        return int(np.argmax(signal))
    with np.errstate(invalid="ignore"):  # a signal that is not finite ends the run after the sample
        policy = elementary.exp(log_softmax(signal))
    return min(int(np.count_nonzero(np.cumsum(policy) <= draw)), len(signal) - 1)


def check(task: ClosedTask, model: Model) -> None:
    """Raise `InputError` unless a task in closed loop fits the network."""
    if not model.is_rewarded:
        raise InputError("a task in closed loop needs a model with loss = Reward(...)")
    n_readouts = model.size("readout")
    if n_readouts != task.n_actions + 1:
        raise InputError(f"{task.n_actions} actions need {task.n_actions + 1} readouts, the network has {n_readouts}")
    if task.sensor_delay > task.n_steps:
        problem = f"sensor_delay = {task.sensor_delay} must be at most {task.n_steps}, the steps of the longest episode"
        raise InputError(f"{problem}: no reply would arrive")
    if not 0 <= task.first < task.n_steps:
        raise InputError(f"first = {task.first} must lie in [0, {task.n_steps - 1}]")
    if task.act not in ("sample", "greedy"):
        raise InputError(f"act = '{task.act}' must be 'sample' or 'greedy'")


def _find_difference(comm: Comm, reply: Reply | None, problem: InputError | None, where: str) -> InputError | None:
    """Collective: return the problem of the first rank that has one, an error if the ranks' replies differ, or None."""
    mine = np.array([_hash_reply(reply) if reply is not None and problem is None else 0, problem is not None], np.int64)
    marks = np.zeros((comm.size, 2), np.int64)
    comm.Allgather(mine, marks)
    if marks[:, 1].any():
        rank = int(np.argmax(marks[:, 1]))
        problem = comm.bcast(problem, rank)
        return problem if not rank or marks[:, 1].all() else InputError(f"{problem} (rank {rank})")
    if np.any(marks[:, 0] != marks[0, 0]):
        rank = int(np.argmax(marks[:, 0] != marks[0, 0]))
        return InputError(
            f"{where}: the environments of ranks 0 and {rank} reply differently to the same seed and actions; with "
            "replicated = false one rank steps it for all"
        )
    return None


def _hash_reply(reply: Reply) -> int:
    """Return a checksum of the parts of a reply that affect the run."""
    spikes, ends = reply.spikes, [reply.reward, reply.terminated, reply.truncated]
    parts = (spikes.ptr, spikes.ids[: spikes.ptr[-1]], reply.observation, ends)
    return zlib.crc32(b"".join(np.ascontiguousarray(part).tobytes() for part in parts))


def _check_reply(reply: Reply, before: list[Reply]) -> Reply:
    if not isinstance(reply, Reply):
        raise InputError(f"the episode returned a {type(reply).__name__}, must return a Reply")
    if not isinstance(reply.spikes, SpikeLog):
        kind = type(reply.spikes).__name__
        raise InputError(f"the spikes are of type {kind}, must be a SpikeLog; Reply.from_raster makes one")
    if np.ndim(reply.reward) or np.asarray(reply.reward).dtype.kind not in "biuf":
        raise InputError(f"the reward is {quote(reply.reward)}, must be a number")
    if not np.isfinite(reply.reward):
        raise InputError(f"the reward is {reply.reward}, must be finite")
    if not np.all(np.isfinite(reply.observation)):
        place = int(np.argmin(np.isfinite(reply.observation)))
        raise InputError(f"component {place} of the observation is {reply.observation[place]}, must be finite")
    if before and np.shape(reply.observation) != np.shape(before[0].observation):
        shapes = np.shape(reply.observation), np.shape(before[0].observation)
        raise InputError(f"the observation has shape {shapes[0]}, the first of the episode had {shapes[1]}")
    for name, value in reply.info.items():
        if not isinstance(value, int | float | np.number):
            raise InputError(f"info['{name}'] is a {type(value).__name__}, must be a number")
    return reply
