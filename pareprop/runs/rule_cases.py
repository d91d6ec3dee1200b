"""Case files of learning rules given by equations and of short-term plasticity, "pareprop-case-5"."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import numpy as np

from ..engines.rule_traces import traces_of
from ..engines.traces import Chosen, Traces
from ..errors import InputError, quote
from ..later import h5py
from ..network.connectivity import Population, Role
from ..network.model import Model
from ..network.optimizers import optimizer
from ..parallel.exchange import Exchange
from ..rules.definition import Rule, rules_of
from ..simulation.loop import Simulation
from ..simulation.observer import Observer, Outcome, Watched
from ..values import AnyValue, Values
from . import case_fields as fields

FORMAT = "pareprop-case-5"
MATRICES = ("in", "rec", "out")
SHORT_TERM = ("U", "tau_rec", "tau_fac", "u", "x")  # parameters of short-term plasticity


def _read_json(attributes: Values, key: str, empty: str) -> AnyValue:
    try:
        return json.loads(attributes.get(key, empty))
    except (ValueError, TypeError, RecursionError):
        raise InputError(f"attribute '{key}' is not JSON") from None


def read_rules(attributes: Values) -> dict[str, Rule]:
    """Return the rules that a case gives by equations, by name."""
    return rules_of(_read_json(attributes, "rules", "{}"), "attribute 'rules'")


def read_recorded(attributes: Values) -> list[Values]:
    """Return the synapses whose states a case expects: tables of matrix, target, source and names."""
    return _read_tables(attributes, "record_synapses", ("matrix", "target", "source", "names"))


def _read_tables(attributes: Values, key: str, needed: Sequence[str]) -> list[Values]:
    """Return the tables of an attribute that is a list of tables, each with the keys `needed` and a known matrix."""
    given = _read_json(attributes, key, "[]")
    if not isinstance(given, list) or not all(isinstance(entry, Mapping) for entry in given):
        raise InputError(f"attribute '{key}' must be a list of tables")
    for k, entry in enumerate(given):
        for name in needed:
            if name not in entry:
                raise InputError(f"attribute '{key}'[{k}]: '{name}' is missing")
        if entry["matrix"] not in MATRICES:
            raise InputError(f"attribute '{key}'[{k}]: matrix = {quote(entry['matrix'])} must be in, rec or out")
    return given


class Options:
    """Options of the projections of a case: learning rules, optimizers and short-term plasticity.

    Parameters
    ----------
    attributes : dict
        Attributes of the file's root.
    """

    def __init__(self, attributes: Values) -> None:
        self._in_use = attributes.get("format") == FORMAT
        self._learning = _read_tables(attributes, "learning", ("matrix", "rule", "optimizer"))
        self._transmission = _read_tables(attributes, "transmission", ("matrix", "U", "tau_rec"))

    def of(self, matrix: str, post: Population, groups: Sequence[Population], columns: slice) -> Values:
        """Return the options of a projection.

        Parameters
        ----------
        matrix : str
            "in", "rec" or "out".
        post : Population
            Targets of the projection.
        groups : sequence of Population
            All groups of neurons in their order.
        columns : slice
            Columns of the matrix that are sources of the projection.
        """
        if not self._in_use:
            return {}
        entry = self._find("learning", self._learning, matrix, post, groups)
        options: Values = {"plastic": entry is not None}
        if entry is not None:
            here = f"attribute 'learning': {matrix}"
            options |= {"learning_rule": entry["rule"], "optimizer": optimizer(entry["optimizer"], here)}
            parameters = entry.get("parameters", {})
            options["learning_parameters"] = {
                name: self._values_of(value, entry, post, groups) for name, value in parameters.items()
            } or None
        entry = self._find("transmission", self._transmission, matrix, post, groups)
        if entry is not None:
            given = {name: entry[name] for name in SHORT_TERM if name in entry}
            options["transmission"] = {
                name: value[columns] if isinstance(value, list) else value for name, value in given.items()
            }
        return options

    @staticmethod
    def _find(
        key: str, entries: list[Values], matrix: str, post: Population, groups: Sequence[Population]
    ) -> Values | None:
        """Return the entry that covers a projection; None if none does."""
        found = [
            entry for entry in entries if entry["matrix"] == matrix and post in Options._covered(entry, post, groups)
        ]
        if len(found) > 1:
            raise InputError(f"attribute '{key}': two entries cover matrix '{matrix}' onto '{post.name}'")
        return found[0] if found else None

    @staticmethod
    def _covered(entry: Values, post: Population, groups: Sequence[Population]) -> list[Population]:
        """Return the populations that an entry is about: those of its `groups`, all of them by default, or readouts."""
        numbers = entry.get("groups")
        if post.role == "readout":
            return [post]
        if numbers is None:
            return [*groups]
        if not isinstance(numbers, list) or not all(isinstance(k, int) and 0 <= k < len(groups) for k in numbers):
            raise InputError(f"groups = {quote(numbers)} must be numbers of groups below {len(groups)}")
        return [groups[k] for k in numbers]

    @staticmethod
    def _values_of(value: AnyValue, entry: Values, post: Population, groups: Sequence[Population]) -> AnyValue:
        """Return the values of a parameter for the neurons of `post`, from those for all groups of an entry."""
        if not isinstance(value, list):
            return value
        covered = Options._covered(entry, post, groups)
        if len(value) != (n := sum(item.size for item in covered)):
            raise InputError(f"attribute 'learning': {len(value)} values for {n} neurons")
        first = sum(item.size for item in covered[: covered.index(post)])
        return value[first : first + post.size]


class SynapseStates(Observer):
    """Computes the states, step by step, of the synapses that a case names, and compares them with the expected ones.

    Parameters
    ----------
    attributes : dict
        Attributes of the file's root.
    expected : Mapping
        Expected arrays by name.
    """

    def __init__(self, attributes: Values, expected: Mapping[str, np.ndarray]) -> None:
        self._entries, self._expected = read_recorded(attributes) if "record_steps" in expected else [], expected
        self._items: list[tuple[int, Traces]] = []
        self._found: dict[int, list[dict[str, np.ndarray]]] = {}

    def begin(self, simulation: Simulation) -> np.ndarray:
        """Choose the synapses that live on this rank; return the neurons that must be recorded."""
        model, network = simulation.model, simulation.network
        records = [np.zeros(0, np.int64)]
        for k, entry in enumerate(self._entries):
            target, source, matrix = int(entry["target"]), int(entry["source"]), entry["matrix"]
            roles: dict[str, tuple[Role, Role]]
            roles = {"in": ("input", "recurrent"), "rec": ("recurrent", "recurrent"), "out": ("recurrent", "readout")}
            pre, post = (_find(model, role, cell) for role, cell in zip(roles[matrix], (source, target), strict=True))
            if matrix != "out" and not network.neurons[0] <= target < network.neurons[1]:
                continue
            projection = next(item for item in model.projections if (item.pre, item.post) == (pre, post))
            source, target = source - model.offset(pre), target - model.offset(post)
            place = np.flatnonzero((projection.source == source) & (projection.target == target))
            if not len(place):
                raise InputError(f"attribute 'record_synapses'[{k}]: there is no such synapse")
            columns = np.array([source]), np.array([target]), np.asarray(projection.delay)[place]
            item = traces_of(simulation.engine, Chosen(projection, *columns))
            records.append(item.record)
            self._items.append((k, item))
            self._found[k] = []
        return np.unique(np.concatenate(records))

    def after_sample(self, simulation: Watched, outcome: Outcome) -> None:
        """Compute the states of a sample."""
        engine = simulation.engine
        log = simulation.exchange.broadcast_spikes(engine.log, engine.n)
        for k, item in self._items:
            self._found[k] += item.list_states(engine.inputs, log, outcome.error, outcome.sample.modulator)

    def compare(self, exchange: Exchange) -> float:
        """Collective: return the largest deviation of a state, relative to the largest value of its array."""
        worst = 0.0
        for k, found in self._found.items():
            wanted, names = self._expected[f"synapse_states/{k}"], self._entries[k]["names"]
            steps = [found[step] for step in self._expected["record_steps"]]
            zero = np.zeros(1)
            actual = np.array([[float(state.get(name, zero)[0]) for name in names] for state in steps])
            scale = float(np.abs(wanted).max(initial=0.0)) or 1.0
            worst = max(worst, float(np.abs(actual - wanted).max(initial=0.0)) / scale)
        return worst if exchange.comm is None else max(exchange.comm.allgather(worst))


def _find(model: Model, role: Role, cell: int) -> Population:
    """Return the population of a cell; `cell` counts among all cells of the role."""
    return next(item for item in model.of_role(role) if model.offset(item) <= cell < model.offset(item) + item.size)


def list_shapes(group: h5py.Group, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the expected arrays that only this format has."""
    n_steps = fields.dataset(group, "record_steps").size
    found: dict[str, tuple[int, ...]] = {"record_steps": (n_steps,)}
    states = fields.group(group, "synapse_states")
    found |= {f"synapse_states/{k}": (n_steps, fields.dataset(states, k).shape[1]) for k in states}
    return found | {f"gradient_{key}": shapes[f"w_{key}"] for key in MATRICES}


def compare_gradients(expected: Mapping[str, np.ndarray], found: Mapping[str, np.ndarray]) -> float:
    """Return the largest deviation of a gradient, relative to the largest of its matrix; `found`: by "w_in", ..."""
    worst = 0.0
    for key in MATRICES:
        wanted, actual = expected[f"gradient_{key}"], found[f"w_{key}"]
        if np.any(np.isnan(wanted) != np.isnan(actual)):
            return float("inf")
        scale = float(np.nanmax(np.abs(wanted), initial=0.0))
        if scale:
            worst = max(worst, float(np.nanmax(np.abs(actual - wanted))) / scale)
    return worst
