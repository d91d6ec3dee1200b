"""Read case files: small networks as plain arrays with expected results, for `verify`.

One reader for all formats: each later one adds groups and attributes, and none changes what an earlier one means. What
a file lacks, or holds in a shape that does not fit, ends in one line from the model that is built of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from .. import files
from ..engines.sample import Sample
from ..errors import InputError, shorten
from ..later import h5py
from ..network.connectivity import Population
from ..network.model import Model
from ..network.optimizers import Optimizer, make_optimizer
from ..network.parameters import validate_values
from ..network.reward import Reward, Rollout
from ..network.rewire import Rewire
from ..neurons.model import models_of
from ..parallel.spike_log import SpikeLog
from ..rules.definition import read_rules
from ..values import AnyValue, Foreign, Values

REWARDS = "pareprop-reward-case-1"
# 2 adds signs and rewiring, 3 neurons given by equations, 4 parameters and delays that learn, 5 learning rules
LEARNED, RULES = "pareprop-case-4", "pareprop-case-5"
FORMATS = (*(f"pareprop-case-{number}" for number in range(1, 4)), LEARNED, RULES, REWARDS)
LIMIT = 2**28  # arrays and populations with more values are refused before memory is allocated
TABLES = {"learning": ("rule", "optimizer"), "transmission": ("U", "tau_rec"), "record_synapses": ("target", "source")}


@dataclass(frozen=True)
class Case:
    """A network with inputs, targets and expected results.

    Attributes
    ----------
    name : str
        Name of the file.
    model : Model
        The network.
    attributes : dict
        Attributes of the file's root; JSON texts are decoded.
    arrays : dict of str to ndarray
        Arrays of the file but the expected ones: inputs (n_steps, n_in), targets (n_steps, n_out) and others.
    expected : dict of str to ndarray
        Expected arrays by name; `learned/NAME/...` by parameter, such as "rec0.tau_m".
    """

    name: str
    model: Model
    attributes: Values
    arrays: dict[str, np.ndarray]
    expected: dict[str, np.ndarray] = field(default_factory=dict)

    def list_samples(self) -> list[Sample]:
        """Return the samples in order: the intervals or episodes, or the whole run in the spike variant."""
        inputs = self.arrays["inputs"]
        format_, is_online = self.attributes["format"], self.model.eprop.is_online
        whole = is_online and not (format_ == LEARNED and "interval" in self.attributes)
        length = len(inputs) if whole else int(self.attributes["interval"])
        if not 1 <= length <= len(inputs) or len(inputs) % length:
            raise InputError(
                f"interval = {length} must divide the {len(inputs)} steps of 'inputs', which must be above 0"
            )
        window = self.attributes.get("learning_window", length)
        lowest = 1 if self.attributes.get("average_gradient") else 0  # a gradient is not averaged over no steps
        if not lowest <= window <= length:
            raise InputError(f"learning_window = {window} must lie in [{lowest}, {length}]")
        if format_ == REWARDS:
            return [self._make_episode(k, inputs[k * length : (k + 1) * length]) for k in range(len(inputs) // length)]
        targets, modulator = self.arrays["targets"], self.arrays.get("modulator")
        mask = self.arrays["window"].astype(bool) if is_online else None
        for name, array in (("targets", targets), ("window", mask), ("modulator", modulator)):
            if array is not None and len(array) != len(inputs):
                raise InputError(f"'{name}' has {len(array)} steps, 'inputs' {len(inputs)}; they must be equal")
        return [
            Sample.from_raster(
                inputs[part],
                targets[part],
                window=None if mask is None else mask[part],
                modulator=None if modulator is None else modulator[part],
            )
            for part in (slice(start, start + length) for start in range(0, len(inputs), length))
        ]

    def _make_episode(self, k: int, inputs: np.ndarray) -> Sample:
        """Return episode `k`: actions and rewards are given, not computed."""
        arrays = self.arrays
        alive = arrays["alive"][k].astype(bool)
        rollout = Rollout(
            when=arrays["decision_steps"][alive],
            actions=arrays["actions"][k][alive],
            rewards=arrays["rewards"][k][alive],
            acting=np.ones(np.count_nonzero(alive), bool),
            terminated=bool(np.any(arrays["terminated"][k][alive])),
            bootstrap=float(arrays["bootstrap"][k]),
            n_steps=int(arrays["length"][k]),
        )
        rollout.check(len(inputs), int(self.attributes["n_actions"]))
        return Sample(SpikeLog.from_raster(inputs), rollout=rollout)


def load(path: str | Path) -> Case:
    """Read a case file.

    `InputError` if the file is damaged or inconsistent; the message names the file.
    """
    try:
        with files.open_hdf5(path) as file:
            return _read(Path(path).name, file)
    except (InputError, OSError, AssertionError, *files.MALFORMED) as problem:
        text = str(getattr(problem, "strerror", None) or problem).strip("'\"").splitlines()
        if isinstance(problem, KeyError) and text and " " not in text[0]:
            text = [f"'{text[0]}' is missing"]
        raise InputError(f"case {path}: {shorten(text[0]) if text else type(problem).__name__}") from None


def _read(name: str, file: h5py.File) -> Case:
    attributes = _list_attributes(file)
    if attributes.get("format") not in FORMATS:
        raise InputError(f"format is '{attributes.get('format')}', must be one of {', '.join(FORMATS)}")
    if not isinstance(tolerance := attributes.get("weights_tolerance"), int | float) or not tolerance >= 0:
        raise InputError(f"weights_tolerance = {tolerance} must be a number, at least 0")
    for key in ("neuron_models", "rules", *TABLES):
        try:
            attributes[key] = json.loads(attributes.get(key, "[]" if key in TABLES else "{}"))
        except (ValueError, TypeError, RecursionError):
            raise InputError(f"attribute '{key}' is not JSON") from None
    for key, needed in TABLES.items():
        for entry in attributes[key]:
            if missing := [name for name in ("matrix", *needed) if name not in entry]:
                raise InputError(f"attribute '{key}': '{missing[0]}' is missing")
    arrays = {key: _read_array(node) for key, node in file.items() if isinstance(node, h5py.Dataset)}
    case = Case(name, _Network(attributes, file, arrays).model, attributes, arrays, _read_expected(file))
    case.list_samples()  # refuses samples that do not fit
    return case


def _list_attributes(node: Foreign) -> Values:
    """Return the attributes as Python types."""
    plain = {}
    for key, value in node.attrs.items():
        value = value.decode() if isinstance(value, bytes) else value
        plain[key] = value.item() if isinstance(value, np.generic) else value
    return plain


def _read_array(node: h5py.Dataset) -> np.ndarray:
    if node.size > LIMIT or node.dtype.kind not in "biuf":
        raise InputError(f"'{node.name}' has {node.size} values of {node.dtype}, must be at most {LIMIT} numbers")
    return np.asarray(node[()])


def _list_tables(file: h5py.File, key: str) -> Iterator[tuple[str, Values]]:
    """Yield number and attributes of the groups 0, 1, ... within group `key`, if it is there."""
    for name in sorted(file.get(key, ()), key=int):
        yield name, _list_attributes(file[key][name])


def _drop_epsilon(settings: Values) -> Values:
    """Return the settings of an optimizer without `epsilon` unless it is Adam, as case files give it to all."""
    return {key: value for key, value in settings.items() if key != "epsilon" or settings["type"] == "adam"}


def _read_expected(file: h5py.File) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}

    def add_expected(name: str, node: Foreign) -> None:
        if isinstance(node, h5py.Dataset):
            found[name] = _read_array(node)

    file["expected"].visititems(add_expected)
    for key, table in _list_tables(file, "learn"):
        for kind in ("final", "gradient", "history"):
            found[f"learned/rec{int(table['group'])}.{table['name']}/{kind}"] = found.pop(f"learned/{key}/{kind}")
    for _, table in _list_tables(file, "learn_delay"):
        for kind in ("delay", "d", "gradient_delay"):
            found[f"{kind}_{table['matrix'].removeprefix('w_')}"]
    for name in ("w_in", "w_rec", "w_out"):
        if found[name].shape != file[name].shape:
            raise InputError(f"'expected/{name}' has shape {found[name].shape}, must be {file[name].shape}")
    for name in ("spike_steps", "spike_ids", "readout_signal"):
        if found[name].ndim != 1 + (name == "readout_signal"):
            raise InputError(f"'expected/{name}' has shape {found[name].shape}")
    return found


class _Network:
    """Builds the model of a case; populations "rec0", "rec1", ... are its groups of neurons."""

    def __init__(self, attributes: Values, file: h5py.File, arrays: dict[str, np.ndarray]) -> None:
        self._attributes, self._file, self._arrays = attributes, file, arrays
        rewards = attributes["format"] == REWARDS
        n_out = 1 + int(attributes["n_actions"]) if rewards else arrays["targets"].shape[1]
        self.model = model = Model(
            attributes["variant"],
            attributes.get("seed", 1),
            dt_ms=attributes.get("dt_ms", 1.0),
            optimizer=make_optimizer(_list_attributes(file["optimizer"]), "optimizer"),
        )
        if rewards:
            values = {key: attributes[key] for key in ("gamma", "c_V", "c_H")}
            model.loss = Reward(lambda_=attributes["lambda"], **values)
        model.learning_rules = read_rules(attributes["rules"], "attribute 'rules'")
        inputs = model.inputs("in", arrays["inputs"].shape[1])
        self._groups = self._add_neurons()
        readout = model.readouts("out", n_out, **_list_attributes(file["readout"]))
        self._rewired = self._read_rewiring()
        self._delays_learn = self._read_learned_delays()
        for number, post in enumerate(self._groups):
            rows = self._slice_population(post)
            self._connect_populations("in", inputs, post, number)
            for pre in self._groups:
                self._connect_populations("rec", pre, post, number)
            feedback = attributes.get("feedback", "random")
            self._add_synapses(readout, post, arrays["w_fb"][rows], attributes.get("d_fb", 1), feedback=feedback)
            self._connect_populations("out", post, readout, None)

    def _slice_population(self, population: Population) -> slice:
        first = self.model.offset(population)
        return slice(first, first + population.size)

    def _add_neurons(self) -> list[Population]:
        models = models_of(self._attributes["neuron_models"], "attribute 'neuron_models'")
        learn: dict[int, Values] = {}
        for _, table in _list_tables(self._file, "learn"):
            name, group = table.pop("name"), int(table.pop("group"))
            learn.setdefault(group, {})[name] = _drop_epsilon(table)
        groups = []
        for key, values in _list_tables(self._file, "groups"):
            size, name = values.pop("n"), str(values.pop("model"))
            if size > LIMIT:
                raise InputError(f"group '{key}': n = {size} must be at most {LIMIT}")
            definition, more = models.get(name, name), learn.pop(int(key), {})
            groups.append(self.model.neurons(f"rec{key}", size, definition, learn=more, **values))
        if not groups or learn:
            raise InputError(f"'groups' lacks group {min(learn, default=0)}")
        return groups

    def _read_rewiring(self) -> dict[str, Values]:
        """Return the options of each rewired matrix."""
        if "rewire" not in self._file:
            return {}
        values = _list_attributes(self._file["rewire"])
        names, autapses = values.pop("projections").split(","), bool(values.pop("allow_autapses", True))
        rewire = validate_values(Rewire, values, "rewire")
        return {name: {"rewire": rewire, "allow_autapses": autapses} for name in names}

    def _read_learned_delays(self) -> dict[tuple[str, int], Optimizer]:
        """Return the optimizers of delays by matrix and group of targets."""
        found: dict[tuple[str, int], Optimizer] = {}
        for key, values in _list_tables(self._file, "learn_delay"):
            matrix, group = values.pop("matrix"), values.pop("group", None)
            here, numbers = f"learn_delay/{key}", range(len(self._groups))
            if matrix not in ("w_in", "w_rec"):
                raise InputError(f"{here}: matrix = '{matrix}' must be one of w_in, w_rec")
            if group is not None and group not in numbers:
                raise InputError(f"{here}: group = {group} must lie in 0 to {numbers[-1]}")
            chosen = make_optimizer(_drop_epsilon(values), here)
            for number in numbers if group is None else [int(group)]:
                if (matrix, number) in found:
                    raise InputError(f"{here}: delays of {matrix} onto group {number} are named twice")
                found[matrix, number] = chosen
        return found

    def _connect_populations(self, name: str, pre: Population, post: Population, group: int | None) -> None:
        """Connect two populations by their part of a matrix: "in", "rec" or "out"."""
        rows, columns = self._slice_population(post), self._slice_population(pre)
        weights, options = self._arrays[f"w_{name}"], dict(self._rewired.get(f"w_{name}", {}))
        if weights.shape != (shape := tuple(self.model.size(population.role) for population in (post, pre))):
            raise InputError(f"'w_{name}' has shape {weights.shape}, must be {shape}")
        delays = self._attributes.get("d_out", 1) if group is None else 1
        if group is not None:
            options["learn_delay"] = self._delays_learn.get((f"w_{name}", group))
            given = self._attributes.get(f"port_{name}")
            ports = [given] if given is None or isinstance(given, str) else [str(port) for port in np.ravel(given)]
            if len(ports) not in (1, len(self._groups)):
                wanted = f"must be one, or one for each of {len(self._groups)} groups"
                raise InputError(f"attribute 'port_{name}' names {len(ports)} ports, {wanted}")
            options["port"] = ports[group if len(ports) > 1 else 0]
            delays = self._arrays.get(f"d_{name}", np.ones(weights.shape, int))[rows, columns]
        if f"sign_{name}" in self._arrays:
            options["sign"] = self._arrays[f"sign_{name}"][columns]
        self._add_synapses(
            pre, post, weights[rows, columns], delays, **options, **self._choose_rule(name, columns, group)
        )

    def _add_synapses(
        self, pre: Population, post: Population, weights: np.ndarray, delays: AnyValue, **options: AnyValue
    ) -> None:
        if np.any(np.isinf(weights)):  # NaN: no synapse
            raise InputError("weights hold values that are not finite; NaN: no synapse")
        target, source = np.nonzero(~np.isnan(weights))
        # with symmetric feedback, the feedback has the weights of the readouts' synapses
        weight = 1.0 if options.get("feedback") == "symmetric" else weights[target, source]
        delay = np.broadcast_to(np.asarray(delays), weights.shape)[target, source]
        self.model.connect(pre, post, "explicit", source=source, target=target, weight=weight, delay=delay, **options)

    def _choose_rule(self, matrix: str, columns: slice, group: int | None) -> Values:
        """Return learning rule, optimizer and short-term plasticity of a part of a matrix."""
        if self._attributes["format"] != RULES:
            return {}
        options: Values = {"plastic": False}
        for entry in self._attributes["learning"]:
            if covered := self._find_covered(entry, matrix, group):
                options = {"plastic": True, "learning_rule": entry["rule"]}
                options["optimizer"] = make_optimizer(entry["optimizer"], f"attribute 'learning': {matrix}")
                options["learning_parameters"] = {
                    name: value[covered] if isinstance(value, list) else value
                    for name, value in entry.get("parameters", {}).items()
                } or None
        for entry in self._attributes["transmission"]:
            if self._find_covered(entry, matrix, group):
                given = {name: entry[name] for name in ("U", "tau_rec", "tau_fac", "u", "x") if name in entry}
                options["transmission"] = {
                    name: value[columns] if isinstance(value, list) else value for name, value in given.items()
                }
        return options

    def _find_covered(self, entry: Values, matrix: str, group: int | None) -> slice | None:
        """Return where a group stands among the values of the neurons that an entry covers; None: it does not."""
        if entry["matrix"] != matrix:
            return None
        if group is None:
            return slice(None)
        numbers: list[int] = entry.get("groups", [*range(len(self._groups))])
        if group not in numbers:
            return None
        sizes = [self._groups[number].size for number in numbers]
        first = sum(sizes[: numbers.index(group)])
        return slice(first, first + self._groups[group].size)
