"""The picture of `check-rule`: change of a weight by two spikes, over the time between them."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from . import style
from .neuron import save

__all__ = ["figure", "save"]


@style.styled
def figure(name: str, shift: np.ndarray, change: np.ndarray, note: str = "") -> Figure:
    """Draw the window.

    Parameters
    ----------
    name : str
        Name of the rule.
    shift : ndarray
        (n,), ms from the spike of the source to that of the target.
    change : ndarray
        (n,), change of the weight for a learning rate of 1.

    note : str
        What the target's states do, "" for nothing.

    Returns
    -------
    Figure
        The figure.
    """
    drawn = Figure(figsize=(5.0, 3.2), layout="constrained")
    axes = drawn.subplots()
    axes.axhline(0.0, color="0.7", linewidth=0.8)
    axes.axvline(0.0, color="0.7", linewidth=0.8)
    axes.plot(shift, change)
    axes.set(xlabel="from the spike of the source to that of the target (ms)", ylabel="change / eta", title=name)
    if note:
        axes.set_title(note, fontsize="small", loc="right")
    return drawn
