"""Recorded samples for the interactive view of the report (`report.html` draws them): rasters and signals as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ..later import h5py
from ..plots import panels, reader
from ..storage import joined_file
from ..values import Values

SAMPLES, SPIKES, LINES, POINTS = 10, 6_000, 4, 800  # at most: samples of a run, spikes of a raster, lines, their points
DIGITS = 4
SIGNALS = (  # name in the results and title
    ("V_m", "membrane voltage (mV)"),
    ("learning_signal", "learning signal"),
    ("surrogate_gradient", "surrogate gradient (1/mV)"),
)
READOUTS = (("readout_signal", False), ("target_signal", True))  # name, and whether the line is dashed


def samples(file: h5py.File, directory: Path) -> list[Values]:
    """Return the recorded samples of a run: those in its results, and evenly chosen ones of its recording.

    Parameters
    ----------
    file : h5py.File
        The results.
    directory : Path
        The run directory.
    """
    dt = reader.step_ms(file)
    inputs, neurons = panels.input_groups(file), panels.neuron_groups(file)
    recorded = []
    group = reader.child(file, "dynamics")
    for name in group if group is not None else ():
        sample = panels.recorded_sample(file, name)
        if sample is None:
            continue
        rasters = []
        for prefix, title, groups in (("input", "input spikes", inputs), ("spike", "recurrent spikes", neurons)):
            pair = reader.pair(sample, f"{prefix}_steps", f"{prefix}_ids")
            if pair is not None:
                rasters.append(_raster(title, *pair, groups, dt))
        signals = {key: sample[key] for key, _ in (*SIGNALS, *READOUTS) if reader.dataset(sample, key, 2) is not None}
        title = f"{name} sample, {panels.moment(file, sample)}"
        recorded.append(_sample(title, panels.duration(sample) * dt, rasters, signals, dt))
    return recorded + list(_of_recording(directory / "record.h5", neurons, dt))


def _of_recording(path: Path, neurons: list, dt: float) -> Iterator[Values]:
    """Yield evenly chosen samples of `record.h5`, if it exists; signals only if all samples are equally long."""
    if not path.is_file():
        return
    try:
        with joined_file.open_joined(path) as file:
            iterations = file["samples/iteration"][()]
            n = len(iterations)
            signals = [item for kind in ("state", "readouts") for item in (file[kind].items() if kind in file else ())]
            columns = {name: data for name, data in signals if data.ndim == 2 and n and len(data) % n == 0}
            for k in np.unique(np.linspace(0, n - 1, min(SAMPLES, n)).astype(int)):
                rows = {name: data[len(data) // n * k : len(data) // n * (k + 1)] for name, data in columns.items()}
                rasters, last = [], 1
                if "spikes" in file:
                    low, high = np.searchsorted(file["spikes/iteration"][()], [iterations[k], iterations[k] + 1])
                    steps, ids = (file[f"spikes/{key}"][low:high] for key in ("step", "id"))
                    rasters, last = (
                        [_raster("recurrent spikes", steps, ids, neurons, dt)],
                        int(steps.max(initial=0)) + 1,
                    )
                step = int(file.attrs.get("step", 1))
                longest = max([last, *(step * len(row) for row in rows.values())])
                yield _sample(f"recorded, iteration {iterations[k]}", longest * dt, rasters, rows, dt * step)
    except (OSError, KeyError, ValueError):  # of a run that was killed, or of another version
        return


def _raster(name: str, steps: np.ndarray, ids: np.ndarray, groups: list, dt: float) -> Values:
    """Return a raster for the view, of some neurons alone if there are more than `SPIKES` spikes."""
    size = max([int(ids.max(initial=0)) + 1, *(end for _, _, end in groups)])
    title, steps, ids = panels.thin(name, steps, ids, SPIKES)
    shown = [{"name": panels.short(group), "end": end} for group, _, end in groups]
    return {
        "name": title, "size": size, "times": np.round(steps * dt, 3).tolist(), "ids": ids.tolist(), "groups": shown,
    }  # fmt: skip


def _sample(name: str, duration: float, rasters: list, rows: Values, dt: float) -> Values:
    signals = []
    for key, title in SIGNALS:
        if key in rows and rows[key].shape[1]:
            signals.append({"name": title, **_lines([(rows[key][:, :LINES], False)], dt)})
    pairs = [(rows[key][:, :LINES], dashed) for key, dashed in READOUTS if key in rows]
    if pairs and pairs[0][0].shape[1]:
        signals.append({"name": "readout (dashed: target)", **_lines(pairs, dt)})
    return {"name": name, "duration": duration, "rasters": rasters, "signals": signals}


def _lines(pairs: list[tuple[np.ndarray, bool]], dt: float) -> Values:
    every = max(1, -(-max(len(values) for values, _ in pairs) // POINTS))
    lines = [
        {"values": [_number(value) for value in column[::every]], "colour": k, "dashed": dashed}
        for values, dashed in pairs
        for k, column in enumerate(values.T)
    ]
    return {"lines": lines, "every": dt * every}


def _number(value: float) -> float | None:
    return float(f"{value:.{DIGITS}g}") if np.isfinite(value) else None
