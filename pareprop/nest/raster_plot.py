"""Pictures of spikes: `nest.raster_plot`."""

from __future__ import annotations

import numpy as np

from ..values import Foreign
from .devices.base import Recorder
from .devices.spike_recorder import SpikeRecorder
from .errors import explain_errors
from .nodes import NodeCollection


@explain_errors
def from_device(
    detec: NodeCollection,
    *,
    title: str | None = None,
    hist: bool = False,
    hist_binwidth: float = 5.0,
    grayscale: bool = False,
    xlabel: str | None = None,
    ylabel: str = "Neuron ID",
) -> list[Foreign]:
    """Draw the spikes of a recorder, and their rate.

    Parameters
    ----------
    detec : NodeCollection
        A spike recorder that keeps its events in memory.
    title : str
        Of the figure.
    hist : bool
        Whether the mean rate of the neurons that spiked is drawn below.
    hist_binwidth : float
        Width of its bins, in units of the time axis.
    grayscale : bool
        Whether the figure has no colours.
    xlabel, ylabel : str
        Of the axes.

    Returns
    -------
    list
        The axes: of the spikes, and of the rate.

    Raises
    ------
    KernelException
        For other nodes, and without spikes.
    """
    import matplotlib.pyplot as plt  # most scripts draw nothing by this

    if not is_single(detec, SpikeRecorder):
        raise TypeError("raster_plot draws one 'spike_recorder' with record_to 'memory'")
    times, senders = (np.asarray(detec.events[key]) for key in ("times", "senders"))
    if not len(times):
        raise ValueError("No events recorded by 'spike_recorder'.")
    steps = bool(detec.time_in_steps)
    figure, rows = plt.subplots(
        1 + hist, 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": [3, 1][: 1 + hist]}
    )
    axes, colour = list(rows[:, 0]), "k" if grayscale else "C0"
    axes[0].plot(times, senders, ".", color=colour)
    axes[0].set_ylabel(ylabel)
    axes[0].yaxis.get_major_locator().set_params(integer=True)
    if hist:
        bins = np.arange(times.min(), times.max() + 2 * hist_binwidth, hist_binwidth)
        counts, _ = np.histogram(times, bins)
        ms = hist_binwidth * (detec._kernel.resolution if steps else 1.0)
        rate = 1000.0 * counts / (ms * len(np.unique(senders)))
        axes[1].bar(bins[:-1], rate, hist_binwidth, align="edge", color="0.5" if grayscale else colour)
        axes[1].set_ylabel("Rate (Hz)")
    axes[-1].set_xlabel(xlabel or ("Steps" if steps else "Time (ms)"))
    figure.suptitle(title or f"Raster plot from device '{detec.global_id}'")
    return axes


def is_single(nodes: NodeCollection, kind: type[Recorder]) -> bool:
    """Whether nodes are one recorder of some class, which keeps its events in memory."""
    if len(nodes) != 1:
        return False
    ((block, _),) = nodes.list_blocks()
    return block.model.is_a(kind) and nodes.record_to == "memory"


def show() -> None:
    """Show the figures."""
    import matplotlib.pyplot as plt

    plt.show()
