"""Read case files: small networks as plain arrays with expected results, for `verify`.

Formats "pareprop-case-1" to "-5" (see `learned_cases`, `delay_cases`, `rule_cases`) and "pareprop-reward-case-1" (see
`reward_cases`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .. import files
from ..engines.sample import Sample
from ..errors import InputError, shorten
from ..later import h5py
from ..network.connectivity import Population
from ..network.model import Model
from ..network.optimizers import optimizer
from ..network.parameters import validate
from ..network.rewire import Rewire
from ..network.variants import find_variant
from ..neurons.model import NeuronModel, models_of
from ..values import AnyValue, Values
from . import case_fields as fields
from . import delay_cases, learned_cases, reward_cases, rule_cases

# Format 2 adds signs and rewiring, 3 neurons given by equations, 4 parameters and delays that learn, 5 learning rules.
LEARNED = "pareprop-case-4"
FORMATS = (
    "pareprop-case-1", "pareprop-case-2", "pareprop-case-3", LEARNED, rule_cases.FORMAT, reward_cases.FORMAT
)  # fmt: skip


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
        Attributes of the file's root.
    arrays : dict of str to ndarray
        Inputs (n_steps, n_in), targets (n_steps, n_out), and window (n_steps,) in the spike variant. Cases of rewards
        have actions and rewards in place of targets.
    expected : dict of str to ndarray
        Expected arrays by name.
    """

    name: str
    model: Model
    attributes: Values
    arrays: dict[str, np.ndarray]
    expected: dict[str, np.ndarray]

    def samples(self) -> list[Sample]:
        """Return the samples in order: the intervals, or the whole run in the spike variant."""
        if self.model.is_rewarded:
            return reward_cases.samples(self.arrays, self.attributes)
        inputs, targets, modulator = self.arrays["inputs"], self.arrays["targets"], self.arrays.get("modulator")
        windows = self.arrays["window"].astype(bool) if self.model.eprop.is_online else None
        length = int(self.attributes.get("interval", len(inputs)))
        steps = [slice(start, start + length) for start in range(0, len(inputs), length)]
        return [
            Sample.from_raster(
                inputs[part],
                targets[part],
                window=None if windows is None else windows[part],
                modulator=None if modulator is None else modulator[part],
            )
            for part in steps
        ]


def load(path: str | Path) -> Case:
    """Read and check a case file.

    Raises
    ------
    InputError
        If the file is damaged or inconsistent; the message names file, key, value and bound.
    """
    try:
        with files.open_hdf5(path) as file:
            return _read(Path(path).name, file)
    except InputError as problem:
        raise InputError(f"case {path}: {problem}") from None
    except (OSError, RuntimeError, KeyError, TypeError, ValueError, OverflowError, AttributeError) as problem:  # h5py's
        raise InputError(f"case {path}: {_first_line(problem)}") from None


def _first_line(problem: Exception) -> str:
    text = str(getattr(problem, "strerror", None) or problem).strip("'\"").splitlines()
    return shorten(text[0]) if text else type(problem).__name__


def _read(name: str, file: h5py.File) -> Case:
    attributes = fields.attributes(file)
    if attributes.get("format") not in FORMATS:
        raise InputError(f"format is '{attributes.get('format')}', must be one of {', '.join(FORMATS)}")
    variant = attributes.get("variant", "")
    eprop = find_variant(variant)
    loss = reward_cases.loss(attributes) if attributes["format"] == reward_cases.FORMAT else None
    arrays = reward_cases.read_arrays(file, attributes) if loss else _arrays(file, eprop.is_online)
    n_out = reward_cases.n_readouts(attributes) if loss else arrays["targets"].shape[1]
    model = _model(variant, file, attributes, arrays["inputs"].shape[1], n_out)
    model.loss = loss
    learns = attributes["format"] == LEARNED
    if not eprop.is_online or (learns and "interval" in attributes):
        _check_interval(attributes, len(arrays["inputs"]), not eprop.is_online)
    elif "interval" in attributes:
        del attributes["interval"]  # of other formats one sample is the whole run
    if not fields.number(attributes, "weights_tolerance") >= 0:
        raise InputError(f"weights_tolerance = {attributes['weights_tolerance']} must be at least 0")
    group = fields.group(file, "expected")
    more = reward_cases.read_expected(group, arrays) if loss else {}
    signal_shape = (len(arrays["inputs"]), n_out)
    if learns:
        n_samples = signal_shape[0] // int(attributes.get("interval", signal_shape[0]))
        more |= learned_cases.read_expected(group, file, n_samples, model.optimizer.batch_size)
    return Case(name, model, attributes, arrays, _read_expected(group, file, signal_shape) | more)


def _arrays(file: h5py.File, has_window: bool) -> dict[str, np.ndarray]:
    """Return inputs, targets and window, checked."""
    names = ["inputs", "targets"] + ["window"] * has_window
    arrays = {key: fields.array(file, key, 1 if key == "window" else 2) for key in names}
    if "modulator" in file:
        arrays["modulator"] = fields.array(file, "modulator", 1)
    n_steps = len(arrays["inputs"])
    for key, array in arrays.items():
        if len(array) != n_steps or not n_steps:
            raise InputError(f"'{key}' has {len(array)} steps, 'inputs' {n_steps}; they must be equal and above 0")
    if not np.all(np.isfinite(arrays["targets"])):
        raise InputError("'targets' holds values that are not finite")
    return arrays


def _check_interval(attributes: Values, n_steps: int, has_learning_window: bool) -> None:
    interval = fields.whole(attributes, "interval")
    if interval < 1 or n_steps % interval:
        raise InputError(f"interval = {interval} must divide the {n_steps} steps of 'inputs'")
    if not has_learning_window:
        return
    window = fields.whole(attributes, "learning_window")
    lowest = 1 if attributes.get("average_gradient") else 0  # a gradient is not averaged over no steps
    if not lowest <= window <= interval:
        raise InputError(f"learning_window = {window} must lie in [{lowest}, {interval}]")


def _read_expected(group: h5py.Group, file: h5py.File, signal_shape: tuple[int, int]) -> dict[str, np.ndarray]:
    """Return the expected arrays that all formats have, by name, their shapes checked."""
    shapes = {key: file[key].shape for key in ("w_in", "w_rec", "w_out")}
    shapes["readout_signal"] = signal_shape
    shapes["spike_steps"] = shapes["spike_ids"] = (fields.dataset(group, "spike_steps").size,)
    if "states" in group:
        shapes["record"] = (fields.dataset(group, "record").size,)
        traces = (signal_shape[0], *shapes["record"])
        shapes |= {f"states/{name}": traces for name in fields.group(group, "states")} | {"surrogate_gradient": traces}
    if "rewire" in file:
        shapes |= {"d_rec": shapes["w_rec"], "moves": (fields.dataset(group, "moves").size // 6, 6)}
    if "synapse_states" in group:
        shapes |= rule_cases.list_shapes(group, shapes)
    expected = {key: fields.dataset(group, key) for key in shapes}
    for key, array in expected.items():
        if array.shape != shapes[key] or array.dtype.kind not in "iuf":
            raise InputError(
                f"'expected/{key}' has shape {array.shape} of {array.dtype}, must be numbers of shape {shapes[key]}"
            )
    return expected


def _model(variant: str, file: h5py.File, attributes: Values, n_in: int, n_out: int) -> Model:
    nodes = fields.group(file, "groups")
    dt_ms = fields.number(attributes, "dt_ms") if "dt_ms" in attributes else 1.0
    seed = fields.whole(attributes, "seed") if "seed" in attributes else 1
    model = Model(
        variant, seed, dt_ms=dt_ms, optimizer=optimizer(fields.attributes(fields.group(file, "optimizer")), "optimizer")
    )
    model.learning_rules = rule_cases.read_rules(attributes)
    inputs = model.inputs("in", n_in)
    known = _neuron_models(attributes)
    learns = learned_cases.read(file, len(nodes))
    keys = zip(sorted(nodes, key=int), learns, strict=True)
    groups = [_neurons(model, key, fields.group(nodes, key), known, learn) for key, learn in keys]
    ports = {key: _ports(attributes, key, len(groups)) for key in ("port_in", "port_rec")}
    readout = model.readouts("out", n_out, **fields.attributes(fields.group(file, "readout")))
    if not groups:
        raise InputError("group 'groups' holds no neurons")
    n_rec = model.size("recurrent")
    w_in, w_rec, w_out, w_fb = (fields.array(file, key, 2) for key in ("w_in", "w_rec", "w_out", "w_fb"))
    d_in, d_rec = (
        fields.array(file, key, 2) if key in file else np.ones(weights.shape, int)
        for key, weights in (("d_in", w_in), ("d_rec", w_rec))
    )
    for key, array, shape in (
        ("w_in", w_in, (n_rec, n_in)),
        ("w_rec", w_rec, (n_rec, n_rec)),
        ("w_out", w_out, (n_out, n_rec)),
        ("w_fb", w_fb, (n_rec, n_out)),
        ("d_in", d_in, (n_rec, n_in)),
        ("d_rec", d_rec, (n_rec, n_rec)),
    ):
        if array.shape != shape:
            raise InputError(f"dataset '{key}' has shape {array.shape}, must be {shape}")
        if np.any(np.isinf(array)):  # NaN: no synapse
            raise InputError(f"dataset '{key}' holds values that are not finite")
    rules = rule_cases.Options(attributes)
    signs = {key: _signs(file, key, size) for key, size in (("in", n_in), ("rec", n_rec), ("out", n_rec))}
    moving, learned = _rewiring(file), delay_cases.read_optimizers(file, len(groups))
    d_out, d_fb = attributes.get("d_out", 1), attributes.get("d_fb", 1)
    for number, (post, port_in, port_rec) in enumerate(zip(groups, ports["port_in"], ports["port_rec"], strict=True)):
        rows = slice(model.offset(post), model.offset(post) + post.size)
        own = rules.of("in", post, groups, slice(0, n_in)) | {"learn_delay": learned.get(("w_in", number))}
        _connect(model, inputs, post, w_in[rows], d_in[rows], signs["in"], moving.get("w_in"), port=port_in, **own)
        for pre in groups:
            columns = slice(model.offset(pre), model.offset(pre) + pre.size)
            delays, bound = d_rec[rows, columns], signs["rec"][columns]
            own = rules.of("rec", post, groups, columns) | {"learn_delay": learned.get(("w_rec", number))}
            _connect(model, pre, post, w_rec[rows, columns], delays, bound, moving.get("w_rec"), port=port_rec, **own)
        _connect(model, readout, post, w_fb[rows], d_fb, feedback=attributes.get("feedback", "random"))
        own = rules.of("out", readout, groups, rows)
        _connect(model, post, readout, w_out[:, rows], d_out, signs["out"][rows], **own)
    return model


def _rewiring(file: h5py.File) -> dict[str, tuple[Rewire, bool]]:
    """Return for each rewired matrix its `Rewire`, and whether autapses are allowed."""
    if "rewire" not in file:
        return {}
    values = fields.attributes(fields.group(file, "rewire"))
    names, autapses = str(values.pop("projections", "")).split(","), bool(values.pop("allow_autapses", True))
    for name in names:
        if name not in ("w_in", "w_rec"):
            raise InputError(f"rewire: projections = '{name}' must be w_in or w_rec")
    rule = validate(Rewire, values, "rewire")
    return dict.fromkeys(names, (rule, autapses))


def _signs(file: h5py.File, key: str, size: int) -> np.ndarray:
    """Return the signs of the sources of a matrix, 0 if the case has none."""
    if f"sign_{key}" not in file:
        return np.zeros(size, np.int8)
    signs = fields.array(file, f"sign_{key}", 1)
    if len(signs) != size:
        raise InputError(f"dataset 'sign_{key}' has {len(signs)} values, must have {size}")
    return signs


def _neuron_models(attributes: Values) -> dict[str, NeuronModel]:
    """Return the neuron models that a case defines by equations, by name."""
    try:
        given = json.loads(attributes.get("neuron_models", "{}"))
    except (ValueError, TypeError, RecursionError):
        raise InputError("attribute 'neuron_models' is not JSON") from None
    return models_of(given, "attribute 'neuron_models'")


def _ports(attributes: Values, key: str, n_groups: int) -> list[str | None]:
    """Return the port that a matrix reaches, for each group of targets."""
    given = attributes.get(key)
    single = given is None or isinstance(given, str)
    names: list[str | None] = [given] if single else [str(item) for item in np.ravel(np.asarray(given))]
    if len(names) not in (1, n_groups):
        wanted = f"must be one, or one for each of {n_groups} groups"
        raise InputError(f"attribute '{key}' names {len(names)} ports, {wanted}")
    return names if len(names) == n_groups else names * n_groups


def _neurons(
    model: Model, key: str, node: h5py.Group, known: dict[str, NeuronModel], learn: dict[str, Values]
) -> Population:
    values = fields.attributes(node)
    size, kind = fields.whole(values, "n"), values.pop("model", None)
    if size > fields.LIMIT:
        raise InputError(f"group '{key}': n = {size} must be at most {fields.LIMIT}")
    del values["n"]
    return model.neurons(f"rec{key}", size, known.get(str(kind), str(kind)), learn=learn, **values)


def _connect(
    model: Model,
    pre: Population,
    post: Population,
    weights: np.ndarray,
    delays: object,
    sign: object = "free",
    moving: tuple[Rewire, bool] | None = None,
    feedback: str | None = None,
    **options: AnyValue,
) -> None:
    target, source = np.nonzero(~np.isnan(weights))
    delays = np.broadcast_to(np.asarray(delays), weights.shape)[target, source]
    weight = 1.0 if feedback == "symmetric" else weights[target, source]  # that of the readouts' synapses
    model.connect(
        pre,
        post,
        "explicit",
        source=source,
        target=target,
        weight=weight,
        delay=delays,
        sign=sign,
        feedback=feedback,
        rewire=moving and moving[0],
        allow_autapses=moving is None or moving[1],
        **options,
    )
