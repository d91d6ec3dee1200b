"""The picture of `check-model`: states of a neuron and traces of a synapse while it fires, and its firing curve."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from . import style

SHOWN = 300.0  # ms of the response that are drawn
MANY_DECADES = 1e4  # larger traces are drawn on a logarithmic axis


@style.styled
def draw_figure(
    name: str,
    time: np.ndarray,
    states: dict[str, np.ndarray],
    spikes: np.ndarray,
    traces: dict[str, np.ndarray],
    psi: np.ndarray,
    curve: tuple[np.ndarray, np.ndarray, str],
) -> Figure:
    """Draw states one below the other, the surrogate gradient, the traces of a synapse, and the firing curve.

    `time` (ms), `states` by name with unit, `spikes`, `traces` and `psi` have n_steps values; `curve` has input (n,),
    rates (n,) in Hz, and the unit of the input.
    """
    inside = time <= SHOWN
    rows = len(states) + 2
    result = Figure(figsize=(style.WIDTH, 0.75 * rows + 1.2), layout="constrained")
    result.suptitle(f"{name} at {1000 * spikes.sum() / max(time[-1], 1):.3g} Hz", x=0.01, ha="left")
    left, right = result.subfigures(1, 2, squeeze=False, width_ratios=(2, 1))[0]
    axes = left.subplots(rows, 1, sharex=True)
    for ax, (label, values), color in zip(axes, states.items(), style.choose_colors(len(states)), strict=False):
        ax.plot(time[inside], values[inside], color=color)
        ax.set_ylabel(label.replace(" ", "\n", 1))
        for moment in time[inside & (spikes != 0)]:
            ax.axvline(moment, color=style.GREY, linewidth=0.4, zorder=0)
    axes[-2].plot(time[inside], psi[inside], color=style.BLACK)
    axes[-2].set_ylabel("surrogate\ngradient")
    for (label, values), color in zip(
        traces.items(), [*style.choose_colors(len(traces) - 1), style.BLACK], strict=True
    ):
        axes[-1].plot(time[inside], values[inside], color=color, label=label)
    axes[-1].set(ylabel="traces of\na synapse", xlabel="time (ms)")
    largest = max((np.abs(values[inside]).max() for values in traces.values()), default=0.0)
    if largest > MANY_DECADES:  # labels of all decades would overlap
        top = 10.0 ** np.floor(np.log10(min(largest, style.LARGEST)))
        low = min((values[inside].min() for values in traces.values()), default=0.0)
        axes[-1].set_yscale("symlog")
        axes[-1].set_yticks([-top, 0.0, top] if low <= -top else [0.0, top])
    left.legend(*axes[-1].get_legend_handles_labels(), loc="outside lower center", ncols=5)
    ax = right.subplots()
    drive, rates, unit = curve
    ax.plot(drive, rates, ".-", color=style.BLUE)
    ax.set(xlabel=f"input ({unit})", ylabel="rate (Hz)", title="firing curve")
    return result


@style.styled
def save(path: Path, drawn: Figure) -> None:
    """Write a figure in the format that the ending of `path` names."""
    drawn.savefig(path)
