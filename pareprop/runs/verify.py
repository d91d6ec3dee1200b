"""Run case files and compare with their expected results."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..engines.base import Recorded, Settings
from ..engines.plasticity import Plastic
from ..engines.sample import Sample
from ..errors import StateError
from ..network.losses import Evaluation
from ..parallel import collectives
from ..parallel.exchange import Exchange
from ..simulation import digest
from ..simulation.loop import Simulation
from ..simulation.observer import Observer, Outcome, Watched
from . import learned_cases, reward_cases, rule_cases
from .cases import LEARNED, Case

READOUT_TOLERANCE = 1e-9


class _CaseTask:
    """The samples of a case as a task."""

    def __init__(self, case: Case) -> None:
        self._samples = case.samples()
        self.n_samples, self.n_steps = len(self._samples), len(self._samples[0].inputs.ptr) - 1
        self.learning_window = int(case.attributes.get("learning_window", self.n_steps))

    def sample(self, index: int, phase: str = "train") -> Sample:
        """Return interval number `index`."""
        return self._samples[index]


class _Keep(Observer):
    """Keeps spikes and readout signals in the form of the case files."""

    def __init__(self) -> None:
        self.steps: list[np.ndarray] = []
        self.ids: list[np.ndarray] = []
        self.signals: list[np.ndarray] = []
        self.evaluations: list[Evaluation] = []
        self.recorded: list[Recorded] = []

    def after_sample(self, simulation: Watched, outcome: Outcome) -> None:
        """Keep one sample; the readout signal is 0 outside the window, and after the end of an episode."""
        n_steps, window = simulation.task.n_steps, outcome.sample.window
        if simulation.engine.recorded is not None:
            self.recorded.append(simulation.engine.recorded)
        steps, ids = simulation.engine.log.spikes(len(outcome.signal))
        self.steps.append(steps + n_steps * outcome.index)
        self.ids.append(ids.copy())
        if outcome.evaluation is not None and outcome.sample.rollout is not None:
            self.evaluations.append(outcome.evaluation)
            self.signals.append(np.pad(outcome.signal, ((0, n_steps - len(outcome.signal)), (0, 0))))
            return
        if window is None:
            window = np.arange(n_steps) >= n_steps - simulation.engine.settings.learning_window
        self.signals.append(np.where(window[:, None], outcome.error + outcome.sample.target, 0.0))


@dataclass(frozen=True)
class Verdict:
    """Comparison of one case.

    Attributes
    ----------
    line : str
        The verdict as a line of text.
    holds : bool
        Whether spikes are equal, and readouts and weights within tolerance.
    digest : digest.Digest
        Digest of spikes and final weights.
    """

    line: str
    holds: bool
    digest: digest.Digest


def verify(case: Case, exchange: Exchange, round_steps: int = 0) -> Verdict:
    """Collective: run `case` and compare; return the verdict, valid on rank 0."""
    task = _CaseTask(case)
    keep, synapses = _Keep(), rule_cases.SynapseStates(case.attributes, case.expected)
    learned = learned_cases.Learned(case.expected) if case.attributes["format"] == LEARNED else None
    observers = [keep, *([learned] if learned else []), *([synapses] if "record_steps" in case.expected else [])]
    simulation = Simulation(case.model, task, exchange, observers, _settings(case, task.learning_window, round_steps))
    if "record" in case.expected:
        more = synapses.begin(simulation)
        simulation.engine.record_ids(np.union1d(case.expected["record"].astype(np.int64), more))
    if "gradient_in" in case.expected:
        simulation.engine.keep_gradients()
    rewired = [item for item in simulation.engine.plastic if item.rewiring]
    for item in rewired:
        assert item.rewiring is not None
        item.rewiring.kept = []
    try:
        _run(simulation, task.n_samples)
    except StateError as problem:
        return Verdict(f"{case.name}: {problem}: DOES NOT HOLD", False, simulation.digest)
    shown = simulation.engine.show_weights()
    shapes = {key: case.expected[key].shape for key in learned_cases.MATRICES}
    weights = learned_cases.matrices(simulation, shown, shapes)
    gradients = {}
    if "gradient_in" in case.expected and not learned:
        found = learned_cases.matrices(simulation, simulation.engine.gradients(shown), shapes)
        gradients["gradients"] = rule_cases.compare_gradients(case.expected, found)
    if "record_steps" in case.expected:
        gradients["synapse states"] = synapses.compare(exchange)
    moves = _moves(case, simulation, rewired)
    simulation.digest.add_weights(exchange.comm, simulation.network, shown, simulation.engine.show_delays())
    simulation.digest.add_parameters(exchange.comm, simulation.engine.parameters)
    state_error = _compare_states(case, keep.recorded, simulation)
    if exchange.rank:
        return Verdict("", True, simulation.digest)
    steps, ids, signals = (np.concatenate(parts) for parts in (keep.steps, keep.ids, keep.signals))
    errors = {} if state_error is None else {"states": state_error}
    if keep.evaluations:
        errors = {"errors": reward_cases.compute_deviation(case.expected, keep.evaluations, task.n_steps)} | errors
    errors |= gradients | (learned.compare(case.expected) if learned else {})
    line, holds = _compare(case, steps, ids, signals, weights, moves, errors)
    return Verdict(line, holds, simulation.digest)


def _run(simulation: Simulation, n_samples: int) -> None:
    batch = simulation.model.optimizer.batch_size
    simulation.train(n_samples // batch)
    for index in range(simulation.iteration * batch, n_samples):  # an incomplete last batch changes no weights
        simulation.run_sample(index, "train", learn=False)


def _settings(case: Case, window: int, round_steps: int) -> Settings:
    named = {name: bool(case.attributes[name]) for name in ("average_gradient", "reset") if name in case.attributes}
    return case.model.eprop.settings(window, round_steps=round_steps, **named)


def _moves(case: Case, simulation: Watched, rewired: list[Plastic]) -> np.ndarray:
    """Collective: return all moves of synapses on rank 0, int64 (n, 6), sorted: step, matrix, target, old source, new
    source, delay.
    """
    rows = [np.zeros((0, 6), np.int64)]
    for item in rewired:
        pre, post = item.span.projection.pre, item.span.projection.post
        assert item.rewiring is not None and item.rewiring.kept is not None
        moves = np.concatenate([np.zeros((0, 5), np.int64), *item.rewiring.kept])
        moves = np.insert(moves, 1, int(pre.role == "recurrent"), axis=1)
        offset = case.model.offset(pre)
        rows.append(moves + np.array([0, 0, case.model.offset(post), offset, offset, 0]))
    parts = list(collectives.to_root(simulation.exchange.comm, [np.concatenate(rows)]))
    whole = np.concatenate(parts or rows)
    return whole[np.lexsort(whole.T[::-1])]


def _compare_states(case: Case, recorded: list[Recorded], simulation: Watched) -> float | None:
    """Collective: return the largest deviation of a state or surrogate gradient, relative to its largest value.

    Relative to 1 if that is smaller; None if the case expects none.
    """
    if "record" not in case.expected:
        return None
    worst = 0.0
    for name, wanted in case.expected.items():
        if not name.startswith("states/") and name != "surrogate_gradient":
            continue
        wanted = wanted[:, np.isin(case.expected["record"], simulation.engine.recorded_ids)]
        if not wanted.shape[1]:
            continue
        parts = [
            (
                item.surrogate_gradient
                if name == "surrogate_gradient"
                else item.states.get(name.removeprefix("states/"), np.full(item.V_m.shape, np.nan))
            )[:, np.isin(item.record, case.expected["record"])]
            for item in recorded
        ]
        scale = max(1.0, float(np.nanmax(np.abs(case.expected[name]))))
        worst = max(worst, _deviation(np.concatenate(parts), wanted) / scale)
    comm = simulation.exchange.comm
    return worst if comm is None else max(comm.allgather(worst))


def _first_move(moves: np.ndarray, wanted: np.ndarray | None) -> str | None:
    """Return a description of the first move that differs; None if all are equal."""
    if wanted is None or np.array_equal(moves, wanted):
        return None
    n = min(len(moves), len(wanted))
    k = int(np.argmax(np.append(np.any(moves[:n] != wanted[:n], axis=1), True)))
    shown = [str(rows[k].tolist()) if k < len(rows) else "none" for rows in (moves, wanted)]
    return f"move {k} differs: {shown[0]} instead of {shown[1]}"


def _compare(
    case: Case,
    steps: np.ndarray,
    ids: np.ndarray,
    signals: np.ndarray,
    weights: dict[str, np.ndarray],
    moves: np.ndarray,
    errors: dict[str, float],
) -> tuple[str, bool]:
    difference = _first_difference(steps, ids, case.expected["spike_steps"], case.expected["spike_ids"])
    readout = _deviation(signals, case.expected["readout_signal"])
    deviation = max(_deviation(weights[key], case.expected[key]) for key in weights)
    tolerance = float(case.attributes["weights_tolerance"])
    move = _first_move(moves, case.expected.get("moves"))
    holds = difference is None and move is None and readout <= READOUT_TOLERANCE and deviation <= tolerance
    holds = holds and all(error <= READOUT_TOLERANCE for error in errors.values())
    spikes = f"{len(steps)} spikes equal" if difference is None else difference
    if "moves" in case.expected:
        spikes += f", {len(moves)} moves equal" if move is None else f", {move}"
    for name, error in errors.items():
        spikes += f", {name} {error:.1e} (at most {READOUT_TOLERANCE:.0e})"
    line = (
        f"{case.name}: {spikes}, readout {readout:.1e} (at most {READOUT_TOLERANCE:.0e}), "
        f"weights {deviation:.1e} (at most {tolerance:.0e}): {'holds' if holds else 'DOES NOT HOLD'}"
    )
    return line, holds


def _first_difference(
    steps: np.ndarray, ids: np.ndarray, expected_steps: np.ndarray, expected_ids: np.ndarray
) -> str | None:
    n = min(len(steps), len(expected_steps))
    unequal = np.flatnonzero((steps[:n] != expected_steps[:n]) | (ids[:n] != expected_ids[:n]))
    if not len(unequal) and len(steps) == len(expected_steps):
        return None
    k = unequal[0] if len(unequal) else n

    def name(some_steps: np.ndarray, some_ids: np.ndarray) -> str:
        return f"neuron {some_ids[k]} in step {some_steps[k]}" if k < len(some_steps) else "none"

    return f"spike {k} differs: {name(steps, ids)} instead of {name(expected_steps, expected_ids)}"


def _deviation(actual: np.ndarray, expected: np.ndarray) -> float:
    """Return the largest absolute difference; infinite if shapes or missing synapses differ."""
    if actual.shape != expected.shape or np.any(np.isnan(actual) != np.isnan(expected)):
        return float("inf")
    synapses = ~np.isnan(actual)
    return float(np.max(np.abs(actual[synapses] - expected[synapses]), initial=0.0))
