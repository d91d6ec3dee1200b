"""Run case files and compare with their expected results."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..engines.interval import Interval
from ..engines.rule_traces import traces_of
from ..engines.sample import Sample
from ..engines.traces import Chosen, Traces, compile_traces
from ..errors import InputError, StateError
from ..network.connectivity import Role
from ..network.model import Model
from ..parallel import collectives
from ..parallel.exchange import Exchange
from ..simulation import digest
from ..simulation.loop import Simulation
from ..simulation.observer import Observer, Outcome, Watched
from ..values import AnyValue, Values
from .cases import LEARNED, RULES, Case

TOLERANCE = 1e-9  # of all but the weights
ENDS = ("source", "target")
MATRICES: dict[str, tuple[Role, Role]] = {
    "in": ("input", "recurrent"),
    "rec": ("recurrent", "recurrent"),
    "out": ("recurrent", "readout"),
}
DELAYS = ("delay", "d", "gradient_delay")  # final delays in real numbers, in whole steps, and their gradients
OF_REWARDS = {"delta": "td_error", "advantage": "advantage"}  # expected array to its name in `Evaluation.extra`


class _CaseTask:
    """The samples of a case as a task."""

    def __init__(self, case: Case) -> None:
        self._samples = case.list_samples()
        self.n_samples, self.n_steps = len(self._samples), len(self._samples[0].inputs.ptr) - 1
        self.learning_window = int(case.attributes.get("learning_window", self.n_steps))

    def sample(self, index: int, phase: str = "train") -> Sample:
        """Return interval number `index`."""
        return self._samples[index]


class ResultCollector(Observer):
    """Collects the results of a run, under the names of the expected arrays.

    Attributes
    ----------
    found : dict of str to ndarray
        Results of the run, on rank 0.
    """

    def __init__(self, case: Case) -> None:
        self.found: dict[str, np.ndarray] = {}
        self._case, self._expected = case, case.expected
        self._learns, self._has_rules = (case.attributes["format"] == name for name in (LEARNED, RULES))
        self._has_states = any(name.startswith("states/") for name in case.expected)
        self._parts: dict[str, list[np.ndarray]] = defaultdict(list)
        self._synapses: list[tuple[int, Traces]] = []
        self._worst: dict[str, float] = {}  # deviations of values that are compared on their rank

    def prepare_engine(self, simulation: Simulation) -> None:
        """Request the compared values from the engine; keep the values that learn."""
        engine, expected = simulation.engine, self._expected
        records = [expected.get("record", np.zeros(0)).astype(np.int64)]
        for projection in simulation.model.projections if "record_steps" in expected else ():
            compile_traces(engine, projection)
        for k, entry in enumerate(self._case.attributes["record_synapses"] if "record_steps" in expected else ()):
            if item := self._find_synapse(simulation, k, entry):
                records.append(item.record)
                self._synapses.append((k, item))
        if self._has_states or self._has_rules:
            engine.record_neurons(np.unique(np.concatenate(records)))
        if self._has_rules or self._learns:
            engine.keep_gradients()
        for plastic in engine.plastic:
            if plastic.rewiring is not None:
                plastic.rewiring.kept = []
        engine.parameters.kept = []
        self.after_iteration(simulation, 0, 0.0)

    def _find_synapse(self, simulation: Simulation, k: int, entry: Values) -> Traces | None:
        """Return the traces of a synapse that the case names, if its target lives on this rank."""
        model, (first, last) = simulation.model, simulation.network.neurons
        matrix = entry["matrix"]
        if matrix != "out" and not first <= entry["target"] < last:
            return None
        ends = zip(MATRICES[matrix], (int(entry["source"]), int(entry["target"])), strict=True)
        (pre, source), (post, target) = [
            (item, cell - model.offset(item))
            for role, cell in ends
            for item in model.of_role(role)
            if model.offset(item) <= cell < model.offset(item) + item.size
        ]
        projection = next(item for item in model.projections if (item.pre, item.post) == (pre, post))
        place = np.flatnonzero((projection.source == source) & (projection.target == target))
        if not len(place):
            raise InputError(f"attribute 'record_synapses'[{k}]: there is no such synapse")
        delay = np.asarray(projection.delay)[place]
        return traces_of(simulation.engine, Chosen(projection, np.array([source]), np.array([target]), delay))

    def after_sample(self, simulation: Watched, outcome: Outcome) -> None:
        """Keep one sample; the readout signal is 0 outside the window, and after the end of an episode."""
        engine, n_steps, evaluation = simulation.engine, simulation.task.n_steps, outcome.evaluation
        steps, ids = engine.log.list_spikes(len(outcome.signal))
        if evaluation is not None and outcome.sample.rollout is not None:
            n_decisions = self._expected["delta"].shape[1]
            padded = {"readout_signal": (outcome.signal, n_steps), "error_signal": (evaluation.error, n_steps)}
            padded |= {name: (evaluation.extra[key], n_decisions) for name, key in OF_REWARDS.items()}
            sample = {
                name: np.pad(part, ((0, size - len(part)), *[(0, 0)] * (part.ndim - 1)))[None]
                for name, (part, size) in padded.items()
            }
            sample |= {name: sample[name][0] for name in ("readout_signal", "error_signal")}
        else:
            window = outcome.sample.window
            if window is None:
                window = np.arange(n_steps) >= n_steps - engine.settings.learning_window
            sample = {"readout_signal": np.where(window[:, None], outcome.error + outcome.sample.target, 0.0)}
        sample |= {"spike_steps": steps + n_steps * outcome.index, "spike_ids": ids.copy()}
        for name, part in (sample | {"loss": np.array([outcome.loss])}).items():
            self._parts[name].append(part)
        if self._has_states and engine.recorded is not None:
            recorded = engine.recorded
            here = np.isin(recorded.record, self._expected["record"])
            states = {f"states/{name}": values for name, values in recorded.states.items()}
            for name, values in (states | {"surrogate_gradient": recorded.surrogate_gradient}).items():
                self._parts[name].append(values[:, here])
        if "record_steps" in self._expected:
            log = simulation.exchange.broadcast_spikes(engine.log, engine.n)
            for k, item in self._synapses:
                found = item.list_states(engine.inputs, log, outcome.error, outcome.sample.modulator)
                names = self._case.attributes["record_synapses"][k]["names"]
                rows = [[float(state.get(name, np.zeros(1))[0]) for name in names] for state in found]
                self._parts[f"synapse_states/{k}"].append(np.array(rows))
        is_first_batch = outcome.index + 1 == simulation.model.optimizer.batch_size
        if isinstance(engine, Interval) and is_first_batch and self._learns:
            gradient = engine.gradient
            sums, divisor = gradient.sums.copy_sums(), float(gradient.n_collected * gradient.averaged_steps)
            shown = {key: sums[place] / divisor for place, key in enumerate(gradient.arrays)}
            self._keep_values(simulation, "gradient", shown)
            items = zip(gradient.delays, gradient.split_delays(sums), strict=True)
            delays = {item.span.projection.name: item.weight * part / (2.0 * divisor) for item, part in items}
            self._keep_values(simulation, "gradient_delay", delays, "")

    def after_iteration(self, simulation: Watched, iteration: int, loss: float) -> None:
        """Keep the values after a step of the optimizers."""
        parameters = simulation.engine.parameters
        for item in parameters.items:
            values = parameters.gather_values(simulation.exchange.comm, item.values, item)
            self._parts[f"learned/{item.name}/history"].append(np.atleast_2d(values))

    def complete_results(self, simulation: Simulation) -> None:
        """Collective: complete `found`."""
        engine, comm = simulation.engine, simulation.exchange.comm
        shown = engine.show_weights()
        self._keep_values(simulation, "w", shown)
        if self._has_rules:
            self._keep_values(simulation, "gradient", engine.get_gradients(shown))
        if self._learns:
            self._keep_values(simulation, "delay", engine.show_delays(), "delay")
            self._keep_values(simulation, "d", {}, "delay", 0.0)
        for place, item in enumerate(engine.parameters.items):
            gradient = engine.parameters.kept[0][place] if engine.parameters.kept else np.zeros(0)
            self.found[f"learned/{item.name}/gradient"] = engine.parameters.gather_values(comm, gradient, item)
            self.found[f"learned/{item.name}/final"] = self._parts[f"learned/{item.name}/history"][-1][0]
        self.found |= {name: np.concatenate(parts) for name, parts in self._parts.items()}
        self.found["moves"] = self._list_moves(simulation)
        self._compare_here(simulation)
        simulation.digest.add_weights(comm, simulation.network, shown, engine.show_delays())
        simulation.digest.add_parameters(comm, engine.parameters)

    def _keep_values(
        self,
        simulation: Watched,
        kind: str,
        shown: Mapping[AnyValue, np.ndarray],
        otherwise: str = "weight",
        empty: float = np.nan,
    ) -> None:
        """Collective: keep a number of each synapse in matrices, `empty` without a synapse.

        `shown` has the numbers by projection or by `id` of the table. Without an entry the synapse's attribute
        `otherwise` is kept, "" for none.
        """
        model = simulation.model
        names = [name for name in MATRICES if f"{kind}_{name}" in self._expected]
        found = {name: np.full(self._expected[f"{kind}_{name}"].shape, empty) for name in names}
        for table, span in digest.list_tables(simulation.network):
            ends, values = (span.projection.pre, span.projection.post), shown.get(span.projection.name)
            name = next((name for name in names if MATRICES[name] == tuple(end.role for end in ends)), None)
            column = otherwise if values is None else "weight"
            if name is None or not column:
                continue
            given = (shown.get(id(table)), 0) if values is None else (values, span.first)
            for records in digest.hash_synapses(simulation.exchange.comm, table, span, *given):
                columns, rows = (records[key] + model.offset(end) for key, end in zip(ENDS, ends, strict=True))
                found[name][rows, columns] = records[column]
        self.found |= {f"{kind}_{name}": matrix for name, matrix in found.items()}

    def _list_moves(self, simulation: Simulation) -> np.ndarray:
        """Collective: return all moves of synapses on rank 0, int64 (n, 6), sorted: step, matrix, target, old source,
        new source, delay.
        """
        rows = [np.zeros((0, 6), np.int64)]
        for item in simulation.engine.plastic:
            if item.rewiring is not None and item.rewiring.kept is not None:
                pre, post = item.span.projection.pre, item.span.projection.post
                moves = np.concatenate([np.zeros((0, 5), np.int64), *item.rewiring.kept])
                moves = np.insert(moves, 1, int(pre.role == "recurrent"), axis=1)
                source, target = simulation.model.offset(pre), simulation.model.offset(post)
                rows.append(moves + np.array([0, 0, target, source, source, 0]))
        parts = list(collectives.send_items_to_root(simulation.exchange.comm, [np.concatenate(rows)]))
        whole = np.concatenate(parts or rows)
        return whole[np.lexsort(whole.T[::-1])]

    def _compare_here(self, simulation: Simulation) -> None:
        """Collective: compare states on the ranks where they live; keep the largest deviations of all ranks."""
        expected, worst = self._expected, {}
        if self._has_states:
            here, worst["states"] = np.isin(expected["record"], simulation.engine.dynamics.ids), 0.0
            for name, wanted in expected.items():
                if here.any() and name.startswith(("states/", "surrogate_gradient")):
                    found = self.found.get(name, np.zeros(0))
                    scale = max(1.0, float(np.nanmax(np.abs(wanted))))
                    worst["states"] = max(worst["states"], _compute_deviation(found, wanted[:, here]) / scale)
        if "record_steps" in expected:
            worst["synapse states"] = 0.0
            for k, _ in self._synapses:
                wanted, found = (
                    expected[f"synapse_states/{k}"],
                    self.found[f"synapse_states/{k}"][expected["record_steps"]],
                )
                scale = float(np.abs(wanted).max(initial=0.0)) or 1.0
                worst["synapse states"] = max(worst["synapse states"], _compute_deviation(found, wanted) / scale)
        comm = simulation.exchange.comm
        self._worst = {name: value if comm is None else max(comm.allgather(value)) for name, value in worst.items()}

    def compare_results(self, model: Model) -> dict[str, float]:
        """Return the largest deviations on rank 0, by quantity, relative to the size of the expected values.

        Deviations of delays in steps and of evaluations are absolute.
        """
        worst: dict[str, float] = {}
        is_rewarded = "delta" in self._expected
        for name, wanted in self._expected.items():
            size = None  # the largest expected value
            if is_rewarded and name in (*OF_REWARDS, "error_signal", "loss"):
                kind, size = "errors", 1.0
            elif name.startswith("gradient_") and (self._learns or self._has_rules):
                kind = "gradients"
            elif name == "loss":
                kind = "losses"
            elif self._learns and name.startswith(("learned/", "delay_", "d_")):
                kind, size = "learned", None if name.startswith("learned/") else 1.0
            else:
                continue
            if name.startswith("gradient_delay_"):
                wanted = np.where(_find_learned_delays(model, name.removeprefix("gradient_delay_")), wanted, np.nan)
            scale = size or float(np.nanmax(np.abs(wanted), initial=0.0)) or 1.0
            deviation = _compute_deviation(self.found.get(name, np.zeros(0)), wanted) / scale
            worst[kind] = max(worst.get(kind, 0.0), deviation)
        return self._worst | worst


def _find_learned_delays(model: Model, name: str) -> np.ndarray:
    """Return which delays of a matrix learn: bool (n_rec, n_in) or (n_rec, n_rec)."""
    found = np.zeros(tuple(model.size(role) for role in reversed(MATRICES[name])), np.bool_)
    for item in model.projections:
        if item.learn_delay is not None and (item.pre.role, item.post.role) == MATRICES[name]:
            post, pre = (slice(model.offset(end), model.offset(end) + end.size) for end in (item.post, item.pre))
            found[post, pre] = True
    return found


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


def run_case(case: Case, exchange: Exchange, round_steps: int = 0) -> tuple[Simulation, ResultCollector]:
    """Collective: run a case; return the simulation, and its results on rank 0."""
    task, results = _CaseTask(case), ResultCollector(case)
    named = {name: bool(case.attributes[name]) for name in ("average_gradient", "reset") if name in case.attributes}
    settings = case.model.eprop.make_settings(task.learning_window, round_steps=round_steps, **named)
    simulation = Simulation(case.model, task, exchange, [results], settings, quiet=True)
    results.prepare_engine(simulation)
    batch = case.model.optimizer.batch_size
    simulation.train(task.n_samples // batch)
    for index in range(simulation.iteration * batch, task.n_samples):  # an incomplete last batch changes no weights
        simulation.run_sample(index, "train", learn=False)
    results.complete_results(simulation)
    return simulation, results


def verify_case(case: Case, exchange: Exchange, round_steps: int = 0) -> Verdict:
    """Collective: run a case and compare; return the verdict, valid on rank 0."""
    try:
        simulation, results = run_case(case, exchange, round_steps)
    except StateError as problem:
        return Verdict(f"{case.name}: {problem}: DOES NOT HOLD", False, digest.Digest())
    if exchange.rank:
        return Verdict("", True, simulation.digest)
    found, expected, tolerance = results.found, case.expected, case.attributes["weights_tolerance"]
    spikes = [values[key] for values in (found, expected) for key in ("spike_steps", "spike_ids")]
    difference = _first_difference(*spikes)
    readout = _compute_deviation(found["readout_signal"], expected["readout_signal"])
    weights = max(_compute_deviation(found[f"w_{name}"], expected[f"w_{name}"]) for name in MATRICES)
    move, errors = _first_move(found["moves"], expected.get("moves")), results.compare_results(case.model)
    holds = difference is None and move is None and weights <= tolerance
    holds = holds and all(error <= TOLERANCE for error in (readout, *errors.values()))
    parts = [f"{len(spikes[0])} spikes equal" if difference is None else difference]
    if "moves" in expected:
        parts.append(f"{len(found['moves'])} moves equal" if move is None else move)
    parts += [
        f"{name} {error:.1e} (at most {TOLERANCE:.0e})" for name, error in (errors | {"readout": readout}).items()
    ]
    parts.append(f"weights {weights:.1e} (at most {tolerance:.0e})")
    return Verdict(
        f"{case.name}: {', '.join(parts)}: {'holds' if holds else 'DOES NOT HOLD'}", holds, simulation.digest
    )


def _first_move(moves: np.ndarray, wanted: np.ndarray | None) -> str | None:
    """Return a description of the first move that differs; None if all are equal."""
    if wanted is None or np.array_equal(moves, wanted):
        return None
    n = min(len(moves), len(wanted))
    k = int(np.argmax(np.append(np.any(moves[:n] != wanted[:n], axis=1), True)))
    shown = [str(rows[k].tolist()) if k < len(rows) else "none" for rows in (moves, wanted)]
    return f"move {k} differs: {shown[0]} instead of {shown[1]}"


def _first_difference(
    steps: np.ndarray, ids: np.ndarray, expected_steps: np.ndarray, expected_ids: np.ndarray
) -> str | None:
    n = min(len(steps), len(expected_steps))
    unequal = np.flatnonzero((steps[:n] != expected_steps[:n]) | (ids[:n] != expected_ids[:n]))
    if not len(unequal) and len(steps) == len(expected_steps):
        return None
    k = unequal[0] if len(unequal) else n

    def name_spike(some_steps: np.ndarray, some_ids: np.ndarray) -> str:
        return f"neuron {some_ids[k]} in step {some_steps[k]}" if k < len(some_steps) else "none"

    return f"spike {k} differs: {name_spike(steps, ids)} instead of {name_spike(expected_steps, expected_ids)}"


def _compute_deviation(actual: np.ndarray, expected: np.ndarray) -> float:
    """Return the largest absolute difference; infinite if shapes or missing synapses differ."""
    if actual.shape != expected.shape or np.any(np.isnan(actual) != np.isnan(expected)):
        return float("inf")
    synapses = ~np.isnan(actual)
    return float(np.max(np.abs(actual[synapses] - expected[synapses]), initial=0.0))
