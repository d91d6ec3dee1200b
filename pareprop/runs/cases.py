"""Case files: small networks as plain arrays with expected results (formats "pareprop-case-1", "-2")."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from .. import files
from ..engines.sample import Sample
from ..errors import InputError, shortened
from ..network.connectivity import Population
from ..network.model import Model
from ..network.neurons import NEURON_MODELS
from ..network.optimizers import optimizer
from ..network.parameters import checked
from ..network.rewire import Rewire

FORMATS = ("pareprop-case-1", "pareprop-case-2")  # the second one may have signs and rewiring
LIMIT = 2**28  # values in a dataset; larger ones are refused before memory is allocated


@dataclass(frozen=True)
class Case:
    """A network with inputs, targets and expected results.

    Attributes
    ----------
    name : str
        Name of the file.
    model : Model
        The network.
    attributes : dict of str to Any
        Attributes of the file's root.
    arrays : dict of str to ndarray
        Inputs (n_steps, n_in), targets (n_steps, n_out), and window (n_steps,) in the spike variant.
    expected : dict of str to ndarray
        Expected arrays by name.
    """

    name: str
    model: Model
    attributes: dict[str, Any]
    arrays: dict[str, np.ndarray]
    expected: dict[str, np.ndarray]

    def samples(self) -> list[Sample]:
        """Return the samples in order: the intervals, or the whole run in the spike variant."""
        inputs, targets = self.arrays["inputs"], self.arrays["targets"]
        if self.model.variant == "spike":
            window = self.arrays["window"].astype(bool)
            return [Sample.from_raster(inputs, targets, window=window)]
        length = int(self.attributes["interval"])
        return [
            Sample.from_raster(inputs[start : start + length], targets[start : start + length])
            for start in range(0, len(inputs), length)
        ]


def load(path: str | Path) -> Case:
    """Read and check a case file.

    Raises
    ------
    InputError
        If the file is damaged or inconsistent; the message names file, key, value and bound.
    """
    try:
        with files.hdf5(path) as file:
            return _read(Path(path).name, file)
    except InputError as problem:
        raise InputError(f"case {path}: {problem}") from None
    except (OSError, RuntimeError, KeyError, TypeError, ValueError, OverflowError, AttributeError) as problem:  # h5py's
        raise InputError(f"case {path}: {_first_line(problem)}") from None


def _first_line(problem: Exception) -> str:
    text = str(getattr(problem, "strerror", None) or problem).strip("'\"").splitlines()
    return shortened(text[0]) if text else type(problem).__name__


def _read(name: str, file: h5py.File) -> Case:
    attributes = _attributes(file)
    if attributes.get("format") not in FORMATS:
        raise InputError(f"format is '{attributes.get('format')}', must be one of {', '.join(FORMATS)}")
    variant = attributes.get("variant")
    if variant not in tuple(NEURON_MODELS):
        raise InputError(f"variant is '{variant}', must be 'interval' or 'spike'")
    names = ["inputs", "targets"] + ["window"] * (variant == "spike")
    arrays = {key: _array(file, key, 1 if key == "window" else 2) for key in names}
    n_steps = len(arrays["inputs"])
    for key, array in arrays.items():
        if len(array) != n_steps or not n_steps:
            raise InputError(f"'{key}' has {len(array)} steps, 'inputs' {n_steps}; they must be equal and above 0")
    if not np.all(np.isfinite(arrays["targets"])):
        raise InputError("'targets' holds values that are not finite")
    model = _model(variant, file, attributes, arrays)
    if variant == "interval":
        _check_interval(attributes, n_steps)
    if not _number(attributes, "weights_tolerance") >= 0:
        raise InputError(f"weights_tolerance = {attributes['weights_tolerance']} must be at least 0")
    return Case(name, model, attributes, arrays, _expected(_group(file, "expected"), file))


def _check_interval(attributes: dict[str, Any], n_steps: int) -> None:
    interval, window = (_whole(attributes, key) for key in ("interval", "learning_window"))
    if interval < 1 or n_steps % interval:
        raise InputError(f"interval = {interval} must divide the {n_steps} steps of 'inputs'")
    lowest = 1 if attributes.get("average_gradient") else 0  # a gradient is not averaged over no steps
    if not lowest <= window <= interval:
        raise InputError(f"learning_window = {window} must lie in [{lowest}, {interval}]")


def _expected(group: h5py.Group, file: h5py.File) -> dict[str, np.ndarray]:
    shapes = {key: file[key].shape for key in ("w_in", "w_rec", "w_out")}
    shapes["readout_signal"] = file["targets"].shape
    shapes["spike_steps"] = shapes["spike_ids"] = (_dataset(group, "spike_steps").size,)
    if "rewire" in file:
        shapes |= {"d_rec": shapes["w_rec"], "moves": (_dataset(group, "moves").size // 6, 6)}
    expected = {key: _dataset(group, key) for key in shapes}
    for key, array in expected.items():
        if array.shape != shapes[key] or array.dtype.kind not in "iuf":
            raise InputError(
                f"'expected/{key}' has shape {array.shape} of {array.dtype}, must be numbers of shape {shapes[key]}"
            )
    return expected


def _number(attributes: dict[str, Any], key: str) -> float:
    value = attributes.get(key)
    if not isinstance(value, int | float):
        raise InputError(f"attribute '{key}' is {'missing' if value is None else repr(value)}, must be a number")
    return value


def _whole(attributes: dict[str, Any], key: str) -> int:
    value = _number(attributes, key)
    if not float(value).is_integer():
        raise InputError(f"{key} = {value} must be a whole number")
    return int(value)


def _group(node: h5py.Group, key: str) -> h5py.Group:
    if key not in node or not isinstance(node[key], h5py.Group):
        raise InputError(f"group '{key}' is missing in '{node.name}'")
    return node[key]


def _dataset(group: h5py.Group, key: str) -> np.ndarray:
    if isinstance(group.get(key, getlink=True), h5py.ExternalLink):
        raise InputError(f"dataset '{key}' lies in another file")
    if key not in group or not isinstance(group[key], h5py.Dataset):
        raise InputError(f"dataset '{key}' is missing in '{group.name}'")
    if group[key].external or group[key].is_virtual:
        raise InputError(f"dataset '{key}' lies in another file")
    if group[key].size > LIMIT:
        raise InputError(f"dataset '{key}' has {group[key].size} values, at most {LIMIT} are read")
    return np.asarray(group[key][()])


def _array(file: h5py.File, key: str, ndim: int) -> np.ndarray:
    array = _dataset(file, key)
    if array.ndim != ndim or array.dtype.kind not in "biuf":
        raise InputError(f"'{key}' has shape {array.shape} of {array.dtype}, must be {ndim}-dimensional numbers")
    return array


def _attributes(node: Any) -> dict[str, Any]:
    plain = {}
    for key, value in node.attrs.items():
        value = value.decode() if isinstance(value, bytes) else value
        plain[key] = value.item() if isinstance(value, np.generic) else value
    return plain


def _model(variant: str, file: h5py.File, attributes: dict[str, Any], arrays: dict[str, np.ndarray]) -> Model:
    nodes = _group(file, "groups")
    dt_ms = _number(attributes, "dt_ms") if "dt_ms" in attributes else 1.0
    seed = _whole(attributes, "seed") if "seed" in attributes else 1
    model = Model(variant, seed, dt_ms=dt_ms, optimizer=optimizer(_attributes(_group(file, "optimizer")), "optimizer"))
    inputs = model.inputs("in", arrays["inputs"].shape[1])
    groups = [_neurons(model, key, _group(nodes, key)) for key in sorted(nodes, key=int)]
    readout = model.readouts("out", arrays["targets"].shape[1], **_attributes(_group(file, "readout")))
    if not groups:
        raise InputError("group 'groups' holds no neurons")
    n_in, n_rec, n_out = inputs.size, model.size("recurrent"), readout.size
    w_in, w_rec, w_out, w_fb = (_array(file, key, 2) for key in ("w_in", "w_rec", "w_out", "w_fb"))
    d_rec = _array(file, "d_rec", 2) if "d_rec" in file else np.ones((n_rec, n_rec), int)
    for key, array, shape in (
        ("w_in", w_in, (n_rec, n_in)), ("w_rec", w_rec, (n_rec, n_rec)), ("w_out", w_out, (n_out, n_rec)),
        ("w_fb", w_fb, (n_rec, n_out)), ("d_rec", d_rec, (n_rec, n_rec)),
    ):  # fmt: skip
        if array.shape != shape:
            raise InputError(f"dataset '{key}' has shape {array.shape}, must be {shape}")
    signs = {key: _signs(file, key, size) for key, size in (("in", n_in), ("rec", n_rec), ("out", n_rec))}
    moving = _rewiring(file)
    d_out, d_fb = attributes.get("d_out", 1), attributes.get("d_fb", 1)
    for post in groups:
        rows = slice(model.offset(post), model.offset(post) + post.size)
        _connect(model, inputs, post, w_in[rows], 1, signs["in"], moving.get("w_in"))
        for pre in groups:
            columns = slice(model.offset(pre), model.offset(pre) + pre.size)
            delays, bound = d_rec[rows, columns], signs["rec"][columns]
            _connect(model, pre, post, w_rec[rows, columns], delays, bound, moving.get("w_rec"))
        _connect(model, readout, post, w_fb[rows], d_fb)
        _connect(model, post, readout, w_out[:, rows], d_out, signs["out"][rows])
    return model


def _rewiring(file: h5py.File) -> dict[str, tuple[Rewire, bool]]:
    """Return how the synapses of each matrix move, and whether neurons may have autapses."""
    if "rewire" not in file:
        return {}
    values = _attributes(_group(file, "rewire"))
    names, autapses = str(values.pop("projections", "")).split(","), bool(values.pop("allow_autapses", True))
    for name in names:
        if name not in ("w_in", "w_rec"):
            raise InputError(f"rewire: projections = '{name}' must be w_in or w_rec")
    rule = checked(Rewire, values, "rewire")
    return dict.fromkeys(names, (rule, autapses))


def _signs(file: h5py.File, key: str, size: int) -> np.ndarray:
    """Return the signs of the sources of a matrix, 0 if the case has none."""
    if f"sign_{key}" not in file:
        return np.zeros(size, np.int8)
    found = _array(file, f"sign_{key}", 1)
    if len(found) != size:
        raise InputError(f"dataset 'sign_{key}' has {len(found)} values, must have {size}")
    return found


def _neurons(model: Model, key: str, node: h5py.Group) -> Population:
    values = _attributes(node)
    size, kind = _whole(values, "n"), values.pop("model", None)
    if size > LIMIT:
        raise InputError(f"group '{key}': n = {size} must be at most {LIMIT}")
    del values["n"]
    return model.neurons(f"rec{key}", size, str(kind), **values)


def _connect(
    model: Model, pre: Population, post: Population, weights: np.ndarray, delays: Any, sign: Any = "free",
    moving: tuple[Rewire, bool] | None = None,
) -> None:  # fmt: skip
    target, source = np.nonzero(~np.isnan(weights))
    delays = np.broadcast_to(np.asarray(delays), weights.shape)[target, source]
    model.connect(
        pre, post, "explicit", source=source, target=target, weight=weights[target, source], delay=delays, sign=sign,
        rewire=moving and moving[0], allow_autapses=moving is None or moving[1],
    )  # fmt: skip
