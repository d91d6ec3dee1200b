"""Classification of event recordings: the events as an image, the readouts, the decision."""

from __future__ import annotations

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .. import hdf5
from ..errors import InputError
from ..later import h5py
from . import evidence, panels, reader, style


def count_pixel_events(file: h5py.File, sample: h5py.Group) -> np.ndarray | None:
    """Return ON minus OFF events of every pixel (rows, columns), NaN at pixels without events; None if not recorded.

    The dataset /input_pixels (n_in, 3) has row, column and polarity (1 is ON, 0 is OFF) of each input neuron.
    """
    pixels, spikes = hdf5.read_values(file, "input_pixels", 2), hdf5.read_pair(sample, "input_steps", "input_ids")
    if pixels is None or spikes is None or not len(pixels):
        return None
    ids = spikes[1]
    known = not ids.size or (0 <= ids.min() and ids.max() < len(pixels))
    if pixels.dtype.kind not in "iu" or pixels.shape[1] != 3 or pixels.min() < 0 or not known:
        raise InputError(f"{file.filename}: /input_pixels must give row, column and polarity of every input neuron")
    rows, columns, on = pixels[ids].T
    total, events = np.zeros((2, *(pixels[:, :2].max(axis=0) + 1)))
    np.add.at(total, (rows, columns), np.where(on > 0, 1, -1))
    np.add.at(events, (rows, columns), 1)
    return np.where(events > 0, total, np.nan)


def image_panel(ax: Axes, events: np.ndarray) -> None:
    """Draw the image; red pixels became brighter more often than darker, blue ones the reverse."""
    bound = max(1.0, np.nanmax(np.abs(events), initial=0))
    colours = colormaps[style.DIVERGING].with_extremes(bad=style.WINDOW)
    drawn = ax.imshow(events, cmap=colours, vmin=-bound, vmax=bound)
    bar = ax.figure.colorbar(drawn, ax=ax, shrink=0.7, pad=0.03)
    bar.ax.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    ax.set(title="events, ON minus OFF", xticks=[], yticks=[])
    ax.spines[:].set_visible(False)


@style.styled
def draw_figure(file: h5py.File) -> Figure | None:
    """Draw the last recorded sample; None unless the attribute `figure` is "events" and all of it was recorded."""
    sample = panels.recorded_sample(file, "last")
    if hdf5.read_text(file, "figure") != "events" or sample is None:
        return None
    readout, events = hdf5.find_dataset(sample, "readout_signal", 2), count_pixel_events(file, sample)
    if readout is None or events is None:
        return None
    names = panels.output_names(file, readout.shape[1])
    result = style.new_figure(file, 2.6, width=8.0, detail=panels.describe_moment(file, sample))
    axes = result.subplots(1, 4, width_ratios=[1.2, 1, 1, 1])
    image_panel(axes[0], events)
    evidence.window_panels(list(axes[1:3]), sample, reader.step_ms(file), names)
    evidence.decision_panel(axes[3], sample, panels.class_names(file, readout.shape[1]))
    return result
