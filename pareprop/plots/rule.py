"""The picture of `check-rule`: change of a weight by two spikes, over the time between them."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from . import style
from .neuron import save

__all__ = ["draw_figure", "save"]


@style.styled
def draw_figure(name: str, shift: np.ndarray, change: np.ndarray, note: str = "") -> Figure:
    """Draw the change of a weight, for a learning rate of 1, against `shift`; both (n,).

    `shift` is the target's spike time minus the source's, in ms; `note` is printed on the figure.
    """
    drawn = Figure(figsize=(5.0, 3.2), layout="constrained")
    axes = drawn.subplots()
    axes.axhline(0.0, color="0.7", linewidth=0.8)
    axes.axvline(0.0, color="0.7", linewidth=0.8)
    axes.plot(shift, change)
    axes.set(xlabel="spike of the target - spike of the source (ms)", ylabel="change / eta", title=name)
    if note:
        axes.set_title(note, fontsize="small", loc="right")
    return drawn
