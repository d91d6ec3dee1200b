"""Connections as flat arrays, in bundles of one `Connect` call, and the collections that scripts hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import quote
from ..network.rule_base import MAX_DELAY
from ..values import AnyValue, Given, Numbers, Values
from .catalogue import COMMON, SynapseModel
from .draws import Pairs
from .errors import NESTErrors, explain_errors, format_output, make_lookup_error, make_refusal
from .random import Generators, Parameter
from .rules import BOTH_WAYS, choose_pairs, complete_specification

#: one per connection; NEST draws them in this order
VALUES = ("U", "tau_fac", "tau_m_readout", "tau_rec", "u", "x", "delay", "weight")
STATES = ("u", "x")  # of short-term plasticity, which spikes change
INTEGERS = ("receptor_type",)
PLAIN_RULES = ("all_to_all", "one_to_one")
SINGLE = ("weight", "delay")  # usual arguments of single connections
NUMBERS = (float, int, np.float64)
SHOWN = ("source", "target", "weight", "delay", "synapse_model", "synapse_id", "receptor", "port", "target_thread")
AMONG_NEURONS, TO_RECORDERS, FROM_DEVICES = range(3)


@dataclass(slots=True)
class Bundle:
    """Connections of one call.

    Attributes
    ----------
    model : SynapseModel
        Of the synapses.
    source, target : np.ndarray
        int64 (n,), ids of nodes.
    weight : np.ndarray
        float64 (n,).
    delay : np.ndarray or int
        int64 (n,) or one for all, steps.
    receptor : int
        Receptor type of all.
    own : dict
        Further values of each connection, see `SynapseModel.per_synapse_keys`: float64 (n,) or one for all.
    ends : tuple of np.ndarray
        int64, ids of the nodes among which sources and targets are.
    table : int
        Which of NEST's tables would hold them, which orders and numbers them: `AMONG_NEURONS`, `TO_RECORDERS` or
        `FROM_DEVICES`.
    records : bool
        Whether a recorder is at one of the ends.
    """

    model: SynapseModel
    source: np.ndarray
    target: np.ndarray
    weight: np.ndarray
    delay: np.ndarray | int
    receptor: int
    per_synapse: Values
    ends: tuple[np.ndarray, np.ndarray]
    table: int = 0
    records: bool = False

    def __len__(self) -> int:
        return len(self.source)

    @property
    def delays(self) -> tuple[int, int]:
        """Smallest and largest delay in steps, of at least one connection."""
        if isinstance(self.delay, int):
            return self.delay, self.delay
        return int(np.min(self.delay)), int(np.max(self.delay))


def make_bundles(
    models: Sequence[SynapseModel],
    conn: object,
    syns: Sequence[Given],
    source: np.ndarray,
    target: np.ndarray,
    generators: Generators,
    dt: float,
) -> list[Bundle]:
    """Connect nodes `source` to nodes `target`, each pair by a synapse of each of some models.

    `conn` chooses pairs as in `Connect`, `syns` has the specification of the synapses of each model, `source` and
    `target` are int64 ids, `dt` is the resolution in ms. Raises a `KernelException` for an unknown name or a value that
    does not fit.
    """
    for model, syn in zip(models, syns, strict=True):
        _check_names(model, syn)
    if len(source) == len(target) == len(syns) == 1 and is_plain(conn, syns[0]):
        return [make_single_connection(models[0], syns[0], source, target, dt)]
    spec = complete_specification(conn)
    random = {
        (place, key): syn[key]
        for place, syn in enumerate(syns)
        for key in VALUES
        if isinstance(syn.get(key), Parameter)
    }
    made = choose_pairs(spec, source, target, generators, random)
    ends = (np.concatenate([source, target]),) * 2 if spec["rule"] == BOTH_WAYS else (source, target)
    return [
        _make_bundle(model, syn, place, spec["rule"], made, ends, dt)
        for place, (model, syn) in enumerate(zip(models, syns, strict=True))
    ]


def _check_names(model: SynapseModel, syn: Given) -> None:
    for key in syn:
        if key in COMMON and key in model.defaults:
            raise NESTErrors.NotImplemented(
                f"{key} is a property of the synapse model: set it by SetDefaults('{model.name}', ...)"
            )
        if key != "synapse_model" and (key not in (*VALUES, *INTEGERS) or key not in model.defaults):
            raise NESTErrors.UnaccessedDictionaryEntry(f"Unaccessed elements in syn_spec, in function Connect: {key}")


def _make_bundle(
    model: SynapseModel,
    syn: Given,
    place: int,
    rule: str,
    made: Pairs,
    ends: tuple[np.ndarray, np.ndarray],
    dt: float,
) -> Bundle:
    """Make the synapses of one model; `place`: its index in the list of models."""
    values: Values = {}  # a number for all, or one for each
    for key in VALUES:
        if key not in model.defaults:
            continue
        value = syn.get(key, model.defaults[key])
        if (place, key) in made.drawn:
            values[key] = made.drawn[place, key]
        elif np.ndim(value) == 0:
            values[key] = _parse_number(key, value)
        else:
            values[key] = _flatten_matrix(key, value, made, rule)
    receptor = int(syn.get("receptor_type", model.defaults["receptor_type"]))
    n = len(made.source)
    weight = np.full(n, values["weight"]) if np.ndim(values["weight"]) == 0 else values["weight"]
    if model.is_short_term:
        model.make_short_term(values)
    return Bundle(
        model,
        made.source,
        made.target,
        weight,
        count_steps(values["delay"], dt),
        receptor,
        {key: values[key] for key in model.per_synapse_keys},
        ends,
    )


def is_plain(conn: object, syn: Given) -> bool:
    """Whether a connection of one node to another takes a rule that always makes it, and plain numbers."""
    if isinstance(conn, dict) and len(conn) == 1:
        conn = conn.get("rule", conn)
    if conn is not None and not (isinstance(conn, str) and conn in PLAIN_RULES):
        return False
    for key, value in syn.items():
        if key != "synapse_model" and (key not in SINGLE or type(value) not in NUMBERS):
            return False
    return True


def make_single_connection(
    model: SynapseModel, syn: Given, source: np.ndarray, target: np.ndarray, dt: float
) -> Bundle:
    """One connection of one node to another, as scripts make thousands of."""
    known = model.defaults
    weight, delay = (float(syn.get(key, known[key])) for key in SINGLE)
    return Bundle(
        model,
        source,
        target,
        np.array((weight,)),
        count_steps(delay, dt),
        known["receptor_type"],
        {key: known[key] for key in model.per_synapse_keys},
        (source, target),
    )


def _parse_number(key: str, value: AnyValue) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise TypeError(f"'{key}' must be a number, an array or a nest.random parameter, not {quote(value)}") from None


def _flatten_matrix(key: str, value: AnyValue, made: Pairs, rule: str) -> np.ndarray:
    array = np.asarray(value, dtype=float)
    if array.ndim == 1 and rule not in ("one_to_one", "fixed_total_number"):
        raise TypeError(
            f"'{key}' has the wrong type. One-dimensional parameter arrays can only be used in conjunction with rule "
            "'one_to_one' or 'fixed_total_number'."
        )
    if array.ndim == 1:
        array = array[None, :]
    if made.shape is None:
        raise TypeError(f"'{key}' cannot be an array with rule '{rule}'")
    if array.shape != made.shape:
        raise ValueError(f"'{key}' has shape {np.shape(value)}, it has to be {made.shape}, a scalar or random")
    return made.select_from_matrix(array)


def count_steps(delay: object, dt: float) -> Numbers:
    """Delays in steps, halves rounded up as in NEST."""
    if isinstance(delay, float) and 1.0 <= (count := np.floor(delay * (1.0 / dt) + 0.5)) <= MAX_DELAY:
        return int(count)
    times = np.asarray(delay, float)
    counts = np.floor(times * (1.0 / dt) + 0.5)
    wrong = times[~((counts >= 1) & (counts <= MAX_DELAY))]
    if wrong.size:
        raise NESTErrors.BadDelay(
            f"Delay value {wrong.flat[0]} is invalid: Delay must be greater than or equal to resolution, {dt}, and at "
            f"most {MAX_DELAY} steps"
        )
    steps = counts.astype(np.int64)
    return int(steps.flat[0]) if steps.size and steps.min() == steps.max() else steps


class SynapseCollection:
    """Connections, as `GetConnections` finds them.

    `bundle` and `place` are int64 (n,): bundles of `kernel`, and indices of connections in them.
    """

    __slots__ = ("_bundle", "_kernel", "_place")

    def __init__(self, kernel: object, bundle: np.ndarray, place: np.ndarray) -> None:
        object.__setattr__(self, "_kernel", kernel)
        object.__setattr__(self, "_bundle", bundle)
        object.__setattr__(self, "_place", place)

    def __len__(self) -> int:
        return len(self._bundle)

    def __bool__(self) -> bool:
        return len(self) > 0

    def __iter__(self) -> Iterator[SynapseCollection]:
        return (self[k] for k in range(len(self)))

    @explain_errors
    def __getitem__(self, key: object) -> SynapseCollection:
        if isinstance(key, int | np.integer):
            if not -len(self) <= key < len(self):
                raise IndexError("list index out of range")
            key = slice(key, key + 1 or None)
        chosen = self._bundle[key]
        return SynapseCollection(self._kernel, chosen, self._place[key])

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, SynapseCollection)
            and np.array_equal(self._bundle, other._bundle)
            and np.array_equal(self._place, other._place)
        )

    __hash__ = None  # type: ignore[assignment]  # Python's way to say so

    def sources(self) -> Iterator[int]:
        """Ids of the sources."""
        return iter(self.list_values("source"))

    def targets(self) -> Iterator[int]:
        """Ids of the targets."""
        return iter(self.list_values("target"))

    def read_array(self, key: str) -> np.ndarray:
        """Values of one key as an array."""
        if key == "weight":
            self._kernel.refresh_weights()
        if key in STATES:
            self._kernel.refresh_states()
        result = np.zeros(len(self), np.int64 if key in ("source", "target") else float)
        for index in np.unique(self._bundle):
            mine = self._bundle == index
            result[mine] = self._read_bundle(self._kernel.bundles[index], key, self._place[mine])
        return result

    def _read_bundle(self, group: Bundle, key: str, place: np.ndarray) -> AnyValue:
        if key == "delay":
            return np.broadcast_to(group.delay, len(group))[place] * self._kernel.resolution
        if key == "receptor":
            return group.receptor
        value = getattr(group, key) if key in ("source", "target", "weight") else group.per_synapse[key]
        return value[place] if np.ndim(value) else value

    def list_values(self, key: str) -> list[AnyValue]:
        """Values of one key as a list."""
        if key == "synapse_model":
            return [self._kernel.bundles[index].model.name for index in self._bundle]
        if key in ("optimizer",):
            return [{"m": 0.0, "v": 0.0}] * len(self) if not self._kernel.simulated else self._refuse_state()
        if key == "receptor":
            return self.read_array(key).astype(np.int64).tolist()
        if key == "port":
            return self._kernel.list_ports(self._bundle, self._place).tolist()
        if key == "synapse_id":
            return [self._kernel.models.find_model_number(name) for name in self.list_values("synapse_model")]
        if key == "target_thread":
            return self._kernel.list_threads(self._bundle, self._place).tolist()
        bundles = self._kernel.bundles
        own = dict.fromkeys(name for index in np.unique(self._bundle) for name in bundles[index].per_synapse)
        if key not in ("source", "target", "weight", "delay", *own):
            raise make_lookup_error(
                KeyError, f"connections have no '{key}'; they have {', '.join((*SHOWN, *own, 'optimizer'))}"
            )
        has = np.array([key not in own or key in bundles[index].per_synapse for index in self._bundle], bool)
        if not has.all():  # as in NEST
            known = iter(SynapseCollection(self._kernel, self._bundle[has], self._place[has]).list_values(key))
            return [next(known) if there else None for there in has]
        return self.read_array(key).tolist()

    @staticmethod
    def _refuse_state() -> list[AnyValue]:
        raise make_refusal("reading the state of optimizers", "look at the weights")

    @explain_errors
    def get(self, keys: object = None, output: str = "") -> AnyValue:
        """Values by key: lists, or single values of a single connection; by `output` a text or a table."""
        if not output:
            return self._read_values(keys)
        index = self.list_values("source") if output == "pandas" else None
        return (
            format_output(self._read_values(keys), output, keys, index)
            if len(self)
            else format_output({}, output, None, [])
        )

    def _read_values(self, keys: AnyValue) -> AnyValue:
        if isinstance(keys, str):
            column: AnyValue = self.list_values(keys) if len(self) else ()
            return column[0] if len(self) == 1 else column
        names = SHOWN if keys is None else keys
        columns = {key: self.list_values(key) for key in names} if len(self) or keys is not None else {}
        return {key: column[0] if len(self) == 1 else column for key, column in columns.items()}

    @explain_errors
    def set(self, params: object = None, **values: object) -> None:
        """Set weights; before the first step also delays and parameters of short-term plasticity.

        The start of an optimizer can only be set to zero, its value.
        """
        params = values if params is None else params
        if isinstance(params, Mapping):
            columns = {
                key: list(value) if np.ndim(value) and not isinstance(value, dict) else [value] * len(self)
                for key, value in params.items()
            }
        elif isinstance(params, Sequence) and len(params) == len(self):
            columns = {key: [entry[key] for entry in params] for key in (params[0] if len(self) else ())}
        else:
            raise TypeError(f"status dict must be a dict, or a list of {len(self)} dicts")
        for key, column in columns.items():
            if len(column) != len(self):
                raise IndexError("list index out of range")
            self._write_values(key, column)

    def _write_values(self, key: str, column: list[AnyValue]) -> None:
        models = [self._kernel.bundles[index].model for index in np.unique(self._bundle)]
        if key == "optimizer":
            if any(set(entry) - {"m", "v"} or any(entry.values()) for entry in column) or self._kernel.simulated:
                raise make_refusal("a state of optimizers other than zero at the start", "start from m = v = 0")
        elif key == "delay":
            self._kernel.write_delays(self._bundle, self._place, np.array(column, dtype=float))
        elif key in VALUES and all(model.is_short_term and key in model.per_synapse_keys for model in models):
            self._kernel.write_per_synapse(self._bundle, self._place, key, np.array(column, dtype=float))
        elif key != "weight":
            if key not in COMMON and any(key in model.defaults for model in models):
                raise make_refusal(
                    f"changing '{key}' of connections", "give it in Connect, or by SetDefaults of the model"
                )
            raise NESTErrors.UnaccessedDictionaryEntry(f"Unaccessed elements in params, in connection.set(): {key}")
        else:
            self._kernel.write_weights(self._bundle, self._place, np.array(column, dtype=float))

    def __getattr__(self, name: str) -> AnyValue:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self.get(name)
        except KeyError as problem:
            raise make_lookup_error(AttributeError, str(problem)) from None

    def __dir__(self) -> list[str]:
        return sorted({*object.__dir__(self), *SHOWN})

    def __setattr__(self, name: str, value: object) -> None:
        self.set({name: value})

    def __str__(self) -> str:
        if not len(self):
            return "The synapse collection does not contain any connections."
        shown = self[:10].get(["source", "target", "synapse_model", "weight", "delay"])
        columns = [value if isinstance(value, list) else [value] for value in shown.values()]
        lines = [f"{' '.join(map(str, row))}" for row in zip(*columns, strict=True)]
        return "\n".join([" ".join(shown), *lines, *(["..."] if len(self) > 10 else [])])

    __repr__ = __str__
