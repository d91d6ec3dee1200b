"""The reward-based loss: actor and critic, TD errors and advantages, errors of the readouts (Bellec et al. 2020)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .. import elementary
from ..errors import InputError, quote, shorten
from .losses import Evaluation, Loss, log_softmax
from .parameters import is_number, is_whole


@dataclass(frozen=True, eq=False)
class Rollout:
    """Record of an episode.

    Attributes
    ----------
    when : np.ndarray
        int64 (N,), TD steps u_0 < u_1 < ..., by default the decision steps.
    actions : np.ndarray
        int64 (N,), actions taken there.
    rewards : np.ndarray
        float64 (N,), rewards given from one of these steps to the next.
    acting : np.ndarray
        bool (N,), whether an action was taken.
    terminated : bool
        Whether the episode came to its end; else it was truncated.
    bootstrap : float
        Value after the last step of a truncated episode.
    n_steps : int
        Number of steps that were run; later steps do not count.
    """

    when: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    acting: np.ndarray
    terminated: bool
    bootstrap: float
    n_steps: int

    def __post_init__(self) -> None:
        kinds = {"when": np.int64, "actions": np.int64, "rewards": np.float64, "acting": bool}
        for name, kind in kinds.items():
            try:
                given = np.asarray(getattr(self, name))
                if kind is np.int64 and np.any(given != np.floor(given)):
                    raise ValueError
                array = np.ascontiguousarray(given, kind)
            except (ValueError, TypeError, OverflowError):
                wanted = "whole numbers" if kind is np.int64 else "numbers"
                raise InputError(f"rollout: {name} = {quote(getattr(self, name))} must hold {wanted}") from None
            object.__setattr__(self, name, array)
        if not is_whole(self.n_steps):
            raise InputError(f"rollout: n_steps = {quote(self.n_steps)} must be a whole number")
        if not is_number(self.bootstrap):
            raise InputError(f"rollout: bootstrap = {quote(self.bootstrap)} must be a number")

    def check(self, n_steps: int, n_actions: int) -> None:
        """Raise `InputError` unless the episode fits into `n_steps` steps, with actions 0 to `n_actions` - 1."""
        when, shapes = self.when, {np.shape(getattr(self, name)) for name in ("when", "actions", "rewards", "acting")}
        if len(shapes) != 1 or when.ndim != 1:
            raise InputError(f"rollout: when, actions, rewards and acting have shapes {sorted(shapes)}, must be (N,)")
        if not 0 < self.n_steps <= n_steps:
            raise InputError(f"rollout: n_steps = {self.n_steps} must lie in [1, {n_steps}]")
        if len(when) and (when[0] < 0 or when[-1] >= self.n_steps or np.any(np.diff(when) <= 0)):
            raise InputError(f"rollout: when must ascend within [0, {self.n_steps - 1}], is {when[0]} to {when[-1]}")
        chosen = self.actions[self.acting]
        if np.any((chosen < 0) | (chosen >= n_actions)):
            raise InputError(f"rollout: actions must lie in [0, {n_actions - 1}], are {chosen.min()} to {chosen.max()}")
        if not (np.all(np.isfinite(self.rewards)) and np.isfinite(self.bootstrap)):
            raise InputError("rollout: rewards and bootstrap must be finite")


@dataclass(frozen=True)
class Reward(Loss):
    """Policy gradient with TD errors; the last readout is the value of the state, the others are the policy.

    With V_n the value readout in step u_n, pi_n the softmax of the policy readouts, H_n its entropy:
    delta_n = s r_n + gamma V_(n+1) - V_n with the scale s of the rewards; A_n = delta_n + gamma lambda A_(n+1);
    E_k = A_n (pi_k - 1[a_n = k]) + c_H pi_k (log pi_k + H_n); E_V = - c_V A_n; 0 in all other steps. As A_n does not
    depend on the synapse, this is the online rule of Bellec et al. 2020 (Methods, equations 36 and 37) with its filter
    of eligibility traces by gamma, for weights that are constant within an episode.

    Attributes
    ----------
    gamma : float
        Discount per TD step, in [0, 1].
    lambda_ : float
        Decay of the traces of TD(lambda), in [0, 1]; 1 in Bellec et al. 2020.
    c_V : float
        Factor of the value loss, at least 0.
    c_H : float
        Factor of the entropy bonus, at least 0.
    scale : float
        Factor of the rewards that the network learns from, above 0; returns are reported without it.
    """

    gamma: float = 0.99
    lambda_: float = 1.0
    c_V: float = 0.5
    c_H: float = 0.0
    scale: float = 1.0

    def __post_init__(self) -> None:
        for name, highest in (("gamma", 1.0), ("lambda_", 1.0), ("c_V", np.inf), ("c_H", np.inf)):
            value = getattr(self, name)
            if not (is_number(value) and 0 <= value <= highest and value < np.inf):
                bound = f"lie in [0, {highest:g}]" if highest < np.inf else "be finite and at least 0"
                raise InputError(f"loss 'reward': {name} = {shorten(str(value))} must {bound}")
        if not (is_number(self.scale) and 0 < self.scale < np.inf):
            raise InputError(f"loss 'reward': scale = {shorten(str(self.scale))} must be finite and above 0")

    def value(self, output: np.ndarray, target: np.ndarray, error: np.ndarray) -> float:
        """Raise an error: there are no targets."""
        raise InputError("loss 'reward' needs the rollout of an episode, not a target")

    def evaluate(
        self, signal: np.ndarray, target: np.ndarray | None, window: np.ndarray | slice, rollout: Rollout | None = None
    ) -> Evaluation:
        """Return errors, loss, and their terms; `window` has no effect, see `Loss.evaluate`.

        The loss is sum_n [- A_n log pi(a_n) + c_V/2 A_n^2 - c_H H_n]. `extra` holds `policy` (N, K), `value`,
        `td_error`, `advantage` and `entropy` (N,).
        """
        if rollout is None:
            raise InputError("sample: loss 'reward' needs the rollout of an episode")
        at, acting = signal[rollout.when], rollout.acting
        delta, advantage = self.compute_advantages(at[:, -1], rollout)
        log_policy = log_softmax(at[:, :-1])
        policy = elementary.exp(log_policy)
        entropy = -elementary.total_rows(policy * log_policy)
        taken = np.arange(policy.shape[1]) == rollout.actions[:, None]
        error = np.zeros_like(signal)
        actor = advantage[:, None] * (policy - taken) + self.c_H * policy * (log_policy + entropy[:, None])
        error[rollout.when, :-1] = np.where(acting[:, None], actor, 0.0)
        error[rollout.when, -1] = -self.c_V * advantage
        with np.errstate(over="ignore", invalid="ignore"):  # an infinite loss ends the run
            score = elementary.total_rows(np.where(taken, log_policy, 0.0))
            terms = np.where(acting, -advantage * score - self.c_H * entropy, 0.0)
            terms += 0.5 * self.c_V * np.square(advantage)
        extra = {"policy": policy, "value": at[:, -1], "td_error": delta, "advantage": advantage, "entropy": entropy}
        return Evaluation(error, float(elementary.sum_in_order(terms)), extra)

    def compute_score(self, signal: np.ndarray, action: int) -> tuple[np.ndarray, float]:
        """Return the errors for a TD error of 1, float64 (n_readouts,), and the entropy of the policy in nats.

        `signal` are the readouts of a decision step, float64 (n_readouts,). The errors are pi_k - 1[a = k] for the
        action a, and - c_V for the value; they are for learning within the episode.
        """
        log_policy = log_softmax(signal[:-1])
        policy = elementary.exp(log_policy)
        error = np.append(policy - (np.arange(len(policy)) == action), -self.c_V)
        return error, float(-elementary.sum_in_order(policy * log_policy))

    def compute_advantages(self, value: np.ndarray, rollout: Rollout) -> tuple[np.ndarray, np.ndarray]:
        """Return the TD errors and the advantages, float64 (N,) each, for the values (N,) of an episode."""
        following = np.append(value[1:], 0.0 if rollout.terminated else rollout.bootstrap)[: len(value)]
        delta = self.scale * rollout.rewards + self.gamma * following - value
        advantage, later = np.zeros_like(delta), 0.0
        for n in range(len(delta) - 1, -1, -1):
            advantage[n] = later = delta[n] + self.gamma * self.lambda_ * later
        return delta, advantage
