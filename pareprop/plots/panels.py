"""Panels with a time axis, shared by the figures of one sample."""

from __future__ import annotations

import json
from collections.abc import Iterable

import numpy as np
from matplotlib.axes import Axes

from .. import hdf5
from ..errors import InputError
from ..later import h5py
from . import reader, style

SIGNALS = (
    "readout_signal",
    "target_signal",
    "error_signal",
    "V_m",
    "surrogate_gradient",
    "learning_signal",
    "adaptation",
)
MAX_LINES = 10
LIMITS = ((np.min, np.inf), (np.max, -np.inf))
LONGEST = 16  # longer labels, in characters, are cut
MOST_SPIKES = 8_000  # a raster shows at most about this many
THOUSANDS = 10_000  # from this many neurons on, an axis counts them in thousands
UNKNOWN = {"recurrent": "neuron", "readout": "output"}  # names of cells whose populations are not known
NAMED = 0.1  # least distance of two names of groups, as a share of the raster's height
RASTERIZE_FROM = 20_000  # rasters with more marks are drawn as an image: a vector drawing would be slow to open


def describe_moment(file: h5py.File, sample: h5py.Group) -> str:
    """Return after which iteration a sample ran, with the weights of which other one, the best, and its class.

    Unknown parts are left out.
    """
    iteration, validation, loss = (
        hdf5.read_text(sample, "iteration"),
        hdf5.find_child(file, "validation"),
        file.get("loss"),
    )
    best = hdf5.read_text(validation, "weights_after") if validation is not None else ""
    is_after = isinstance(loss, h5py.Dataset) and loss.shape and iteration == str(len(loss))
    weights = f", weights of iteration {best}" if is_after and best not in ("", iteration) else ""
    label, names = hdf5.read_text(sample, "label"), given_names(file)
    known = label.isdecimal() and len(label) < 10 and int(label) < len(names)
    shown = label and f"class {shorten_name(names[int(label)]) if known else label}"
    return ", ".join(filter(None, [iteration and f"iteration {iteration}{weights}", shown]))


def recorded_sample(file: h5py.File, which: str) -> h5py.Group | None:
    """Return the sample recorded as /dynamics/`which`, None if it is absent."""
    sample = hdf5.find_child(file, f"dynamics/{which}")
    if sample is None:
        return None
    signals = [(name, hdf5.find_dataset(sample, name, 2)) for name in SIGNALS]
    shapes = {name: data.shape for name, data in signals if data is not None}
    steps = {shape[0] for shape in shapes.values()}
    outputs = {shape[1] for name, shape in shapes.items() if name in SIGNALS[:3]}
    if len(steps) > 1 or len(outputs) > 1:
        raise InputError(f"{file.filename}: the signals in {sample.name} do not fit together: {shapes}")
    return sample


def given_names(file: h5py.File) -> list[str]:
    """Return the names of the outputs in the attribute `output_names`, [] without it."""
    return [reader.format_label(name) for name in file.attrs.get("output_names", ())]


def _given_names(file: h5py.File, n: int) -> list[str]:
    names = given_names(file)
    return names if len(names) == n else []


def class_names(file: h5py.File, n: int) -> list[str]:
    """Return the names of the outputs from the attribute `output_names`, else numbers."""
    return _given_names(file, n) or [str(k) for k in range(n)]


def output_names(file: h5py.File, n: int) -> list[str]:
    """Return the names of the outputs from the attribute `output_names`, else populations' names and numbers."""
    return _given_names(file, n) or cell_names(file, "readout", range(n))


def count_steps(sample: h5py.Group) -> int:
    """Return the number of steps of a recorded sample: length of its signals, or up to its last spike."""
    for name in SIGNALS:
        signal = hdf5.find_dataset(sample, name, 2)
        if signal is not None:
            return signal.shape[0]
    spikes = (hdf5.read_values(sample, name) for name in ("input_steps", "spike_steps"))
    return max((int(s.max()) + 1 for s in spikes if s is not None and s.size), default=1)


def find_learning_window(sample: h5py.Group) -> tuple[int, int]:
    """Return the learning window as steps [first, last): where some error signal is not zero; else all steps."""
    error = hdf5.read_values(sample, "error_signal", 2)
    active = np.flatnonzero(np.any(error != 0, axis=1)) if error is not None else np.zeros(0, np.int64)
    return (int(active[0]), int(active[-1]) + 1) if len(active) else (0, count_steps(sample))


def shade_window(ax: Axes, sample: h5py.Group, dt: float) -> None:
    """Shade the learning window, unless it is (nearly) the whole sample."""
    first, last = find_learning_window(sample)
    if last - first < 0.9 * count_steps(sample):
        ax.axvspan(first * dt, last * dt, color=style.WINDOW, lw=0, zorder=-1)


def input_groups(sample: h5py.Group) -> list[tuple[str, int, int]]:
    """Return name, first and last+1 id of each group of inputs.

    Read from the attributes `input_groups` (names) and `input_group_sizes` of the sample or else of the file; without
    them the populations of inputs, empty for one.
    """
    for node in (sample, sample.file):
        names, sizes = node.attrs.get("input_groups"), node.attrs.get("input_group_sizes")
        if names is not None and sizes is not None and len(names) == len(sizes):
            ends = np.cumsum(sizes)
            texts = [reader.format_label(name) for name in names]
            return [(text, int(end - size), int(end)) for text, size, end in zip(texts, sizes, ends, strict=True)]
    return _find_several_groups(sample.file, "input")


def list_projections(file: h5py.File) -> list[h5py.Group]:
    """Return the projections in the order of the network (attribute `model`); those that it does not name come last."""
    groups = hdf5.find_child(file, "projections") or {}
    try:
        projections = json.loads(hdf5.read_text(file, "model"))["projections"]
        place = {item["name"]: k for k, item in enumerate(projections)}
    except (ValueError, KeyError, TypeError):
        place = {}
    return [groups[name] for name in sorted(groups, key=lambda name: place.get(name, len(place)))]


def _read_populations(file: h5py.File) -> list[tuple[str, str, int]]:
    """Return role, name and size of each population, from the attribute `model`; [] if that is missing or malformed."""
    try:
        populations = json.loads(hdf5.read_text(file, "model"))["populations"]
        return [(item["role"], reader.format_label(item["name"]), item["size"]) for item in populations]
    except (ValueError, KeyError, TypeError):
        return []


def lacks_role(file: h5py.File, role: str) -> bool:
    """Return whether the network has no population of a role; False if the network is unknown."""
    roles = {known for known, _, _ in _read_populations(file)}
    return bool(roles) and role not in roles


def _find_groups(file: h5py.File, role: str) -> list[tuple[str, int, int]]:
    """Return name, first and last+1 id of each population of a role, from the attribute `model`."""
    sizes = [(name, size) for known, name, size in _read_populations(file) if known == role]
    ends = np.cumsum([size for _, size in sizes])
    return [(name, int(end) - size, int(end)) for (name, size), end in zip(sizes, ends, strict=True)]


def neuron_groups(file: h5py.File) -> list[tuple[str, int, int]]:
    """Return name, first and last+1 id of each population of neurons, from the attribute `model`; empty for one."""
    return _find_several_groups(file, "recurrent")


def _find_several_groups(file: h5py.File, role: str) -> list[tuple[str, int, int]]:
    groups = _find_groups(file, role)
    return groups if len(groups) > 1 else []


def population_name(file: h5py.File, role: str) -> str:
    """Return the name of the only population of a role, "neuron" if it is not known."""
    return next((shorten_name(name) for name, _, _ in _find_groups(file, role)), "neuron")


def cell_names(file: h5py.File, role: str, ids: Iterable[int]) -> list[str]:
    """Return the name of each cell: its population, and its number there unless it is the only one."""
    groups, names = _find_groups(file, role), []
    for k in ids:
        own = [(shorten_name(name), k - first, end - first) for name, first, end in groups if first <= k < end]
        name, number, size = own[0] if own else (UNKNOWN[role], k, 0)
        names.append(name if size == 1 else f"{name} {number}")
    return names


def shorten_name(name: str) -> str:
    """Return a name cut to `LONGEST` characters."""
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"


def subsample_raster(
    title: str, steps: np.ndarray, ids: np.ndarray, most: int = MOST_SPIKES
) -> tuple[str, np.ndarray, np.ndarray]:
    """Return title and spikes of a raster, of every n-th neuron only if there are more than about `most` spikes."""
    every = max(1, -(-len(ids) // most))
    chosen = ids % every == 0
    return title if every == 1 else f"{title}, one neuron of {every}", steps[chosen], ids[chosen]


def draw_raster(
    ax: Axes, steps: np.ndarray, ids: np.ndarray, dt: float, groups: list[tuple[str, int, int]] | None = None
) -> None:
    """Draw one mark per spike; steps take `dt` ms.

    Each of `groups` has a name, first id and last id + 1, and a colour.
    """
    top = max([int(ids.max()) + 1 if ids.size else 1] + [end for _, _, end in groups or []])
    figure = ax.get_figure(root=True)
    assert figure is not None  # panels are drawn in one
    height = ax.get_position().height * figure.get_figheight() * 72
    marks = {"ls": "", "marker": "|", "ms": np.clip(height / top, 1.8, 5.0), "mew": 0.7}
    marks["rasterized"] = ids.size > RASTERIZE_FROM
    parts = groups or [("", 0, top)]
    shades = style.choose_colors(len(parts)) if groups else [style.BLACK]
    for (_, first, end), color in zip(parts, shades, strict=True):
        chosen = (ids >= first) & (ids < end)
        ax.plot(steps[chosen] * dt, ids[chosen], color=color, **marks)
    if groups:
        named: list[tuple[float, str]] = []
        for name, first, end in sorted(groups, key=lambda group: group[1] - group[2]):  # large ones first
            if all(abs((first + end - 1) / 2 - place) >= NAMED * top for place, _ in named):
                named.append(((first + end - 1) / 2, shorten_name(name)))
        ax.set_yticks(*zip(*sorted(named), strict=True))
        ax.tick_params(axis="y", length=0)
    elif top >= THOUSANDS:
        ax.yaxis.set_major_formatter(lambda neuron, _: f"{neuron / 1000:g}k" if neuron else "0")
    if not ids.size:
        ax.text(0.5, 0.5, "no spikes", transform=ax.transAxes, ha="center", va="center", color=style.GREY)
    ax.set_ylim(-0.5, top - 0.5)


def draw_signals(
    ax: Axes, data: h5py.Dataset, dt: float, names: list[str] | None = None, *, is_stacked: bool = False
) -> None:
    """Draw the columns of `data` (n_steps, n) against time, at most ten of them; `names` become legend entries.

    Stacked ones lie below each other, on one scale that a bar shows.
    """
    shown = data[:, :MAX_LINES]
    time = np.arange(len(shown)) * dt
    finite = np.where(np.abs(shown) < style.LARGEST, shown, np.nan)
    if is_stacked:
        low, high = (limit(finite, axis=0, initial=start, where=np.isfinite(finite)) for limit, start in LIMITS)
        apart = float(np.max(high - low, initial=0.0, where=high > low)) or 1.0
        shown = finite - np.where(high >= low, low, 0.0) - 1.1 * apart * np.arange(finite.shape[1])
        bottom, bar = -1.1 * apart * (finite.shape[1] - 1), style.round_values(0.0, apart)[-1] or apart
        ax.vlines(0.0, bottom, bottom + bar, color=style.BLACK, lw=2.0, clip_on=False)
        ax.set_yticks([bottom, bottom + bar], ["0", f"{bar:g}"])
    for k, color in enumerate(style.choose_colors(data.shape[1])[:MAX_LINES]):
        ax.plot(time, shown[:, k], color=color, lw=0.8, label=names[k] if names else None)


def draw_targets(ax: Axes, data: h5py.Dataset, dt: float) -> None:
    """Draw targets (n_steps, n_out) dashed, each in a darker shade of the colour of its output."""
    shown = data[:, :MAX_LINES]
    time = np.arange(len(shown)) * dt
    for k, color in enumerate(style.choose_colors(data.shape[1])[:MAX_LINES]):
        ax.plot(time, shown[:, k], color=style.darken_color(color), lw=1.0, ls=(0, (4, 2)))
    ax.plot([], [], color=style.BLACK, lw=1.0, ls=(0, (4, 2)), label="target")


def shorten_legend(entries: list[str], total: int) -> list[str]:
    """Return at most ten legend entries; the last one says how many there are when not all are shown."""
    entries = entries[:MAX_LINES]
    if total > MAX_LINES:
        entries[-1] += f" (of {total})"
    return entries
