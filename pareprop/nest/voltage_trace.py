"""Pictures of membrane voltages: `nest.voltage_trace`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..values import Foreign, Values
from .devices.multimeter import Multimeter
from .errors import explain_errors
from .nodes import NodeCollection
from .raster_plot import is_single, show

__all__ = ["from_device", "show"]
PER_MS = {"ms": 1.0, "s": 0.001}


@explain_errors
def from_device(
    detec: NodeCollection,
    neurons: Sequence[int] | None = None,
    title: str | None = None,
    grayscale: bool = False,
    timeunit: str = "ms",
) -> list[Foreign]:
    """Draw the voltages that a meter has recorded.

    Parameters
    ----------
    detec : NodeCollection
        A voltmeter, or a multimeter that records V_m, which keeps its events in memory.
    neurons : sequence of int
        Ids of those to draw; all by default.
    title : str
        Of the figure.
    grayscale : bool
        Whether the figure has no colours.
    timeunit : str
        "ms" or "s".

    Returns
    -------
    list
        The lines, by ascending id.

    Raises
    ------
    KernelException
        For other nodes, and without recordings.
    """
    import matplotlib.pyplot as plt  # most scripts draw nothing by this

    if not is_single(detec, Multimeter):
        raise TypeError("voltage_trace draws one 'voltmeter' or 'multimeter' with record_to 'memory'")
    if "V_m" not in detec.record_from:
        raise ValueError("Please provide a 'multimeter' measuring 'V_m'.")
    if timeunit not in PER_MS:
        raise ValueError(f"timeunit = '{timeunit}' must be one of {', '.join(PER_MS)}")
    events, steps = detec.events, bool(detec.time_in_steps)
    times, senders = np.asarray(events["times"]), np.asarray(events["senders"])
    if not len(times):
        raise ValueError("No events recorded.")
    axes, lines = plt.gca(), []
    for k, node in enumerate(np.unique(senders) if neurons is None else neurons):
        mine = senders == node
        style: Values = {"color": "k", "linestyle": ("-", "--", ":", "-.")[k % 4]} if grayscale else {}
        scale = 1 if steps else PER_MS[timeunit]
        lines += axes.plot(scale * times[mine], np.asarray(events["V_m"])[mine], label=f"Neuron {node}", **style)
    axes.set_xlabel("Steps" if steps else f"Time ({timeunit})")
    axes.set_ylabel("Membrane potential (mV)")
    axes.set_title(title or f"Membrane potential from device '{detec.global_id}'")
    axes.legend(loc="best")
    return lines
