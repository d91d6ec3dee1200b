"""One episode with rewards: inputs, spikes, policy and actions, value and rewards, TD errors; paths on the plane."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from .. import hdf5
from ..later import h5py
from . import dynamics, panels, reader, style


def action_names(file: h5py.File, n: int) -> list[str]:
    """Return the names of the actions."""
    names = [str(name) for name in file.attrs.get("action_names", ())]
    return names if len(names) == n else [f"action {k}" for k in range(n)]


def policy_panel(ax: Axes, sample: h5py.Group, when: np.ndarray) -> None:
    """Draw the probabilities of the actions as lines, and the actions taken as marks on them."""
    policy, action = hdf5.require_dataset(sample, "policy", 2), hdf5.require_dataset(sample, "action")
    names = panels.shorten_legend(action_names(sample.file, policy.shape[1]), policy.shape[1])
    for k, color in enumerate(style.choose_colors(policy.shape[1])[: panels.MAX_LINES]):
        ax.plot(when, policy[:, k], color=color, lw=0.8, marker="." if len(when) == 1 else "", label=names[k])
        taken = action == k
        ax.plot(when[taken], policy[taken, k], color=color, ls="", marker="o", ms=3)
    ax.set(ylim=(-0.03, 1.03), ylabel=r"$\pi$")


def value_panel(ax: Axes, sample: h5py.Group, when: np.ndarray) -> None:
    """Draw value and rewards at the decisions."""
    ax.plot(when, hdf5.require_dataset(sample, "value"), color=style.BLUE, lw=1.0, marker=".", ms=3, label="value")
    ax.vlines(when, 0.0, hdf5.require_dataset(sample, "reward"), color=style.VERMILLION, lw=1.2, label="reward")
    ax.axhline(0.0, color=style.GREY, lw=0.5)
    ax.set_ylabel("$V$, $r$")


def error_panel(ax: Axes, sample: h5py.Group, when: np.ndarray) -> None:
    """Draw TD errors and advantages."""
    ax.plot(
        when, hdf5.require_dataset(sample, "td_error"), color=style.BLACK, lw=0.8, marker=".", ms=3, label="TD error"
    )
    ax.plot(
        when, hdf5.require_dataset(sample, "advantage"), color=style.PURPLE, lw=0.8, marker="x", ms=3, label="advantage"
    )
    ax.axhline(0.0, color=style.GREY, lw=0.5)
    ax.set_ylabel(r"$\delta$, $A$")


@style.styled
def draw_figure(file: h5py.File) -> Figure | None:
    """Draw the last recorded episode on one time axis; None unless there are decisions in it."""
    sample = panels.recorded_sample(file, "last")
    if sample is None or hdf5.find_dataset(sample, "decision_steps") is None:
        return None
    dt = reader.step_ms(file)
    when = hdf5.require_dataset(sample, "decision_steps") * dt
    stack = dynamics.raster_panels(sample, dt)
    stack += [
        ("policy (marks: actions)", 1.2, lambda ax: policy_panel(ax, sample, when)),
        ("value and rewards", 1.0, lambda ax: value_panel(ax, sample, when)),
        ("errors", 1.0, lambda ax: error_panel(ax, sample, when)),
    ]
    result = style.new_figure(
        file, 0.8 + 0.95 * sum(height for _, height, _ in stack), detail=panels.describe_moment(file, sample)
    )
    axes = result.subplots(len(stack), 1, sharex=True, squeeze=False, height_ratios=[height for _, height, _ in stack])
    for ax, (title, _, draw) in zip(axes[:, 0], stack, strict=True):
        draw(ax)
        ax.set_title(title)
        style.legend_right(ax)
    axes[-1, 0].set(xlabel="time (ms)", xlim=(0, panels.count_steps(sample) * dt))
    result.align_ylabels()
    return result


@style.styled
def draw_paths(file: h5py.File) -> Figure | None:
    """Draw the paths of recorded episodes on the plane, with their goals; None where none were recorded."""
    group = hdf5.find_child(file, "dynamics")
    if group is None:
        return None
    names = [name for name in group if name != "first" and "info_goal_x" in group[name]]
    if not names:
        return None
    result = style.new_figure(file, 4.2, width=4.0)
    ax, near = result.subplots(), float(file.attrs.get("near", 0.0))
    colors = [style.MUTED[k % len(style.MUTED)] for k in range(len(names))]
    for name, color in zip(names, colors, strict=True):
        x, y, goal_x, goal_y = (
            hdf5.require_dataset(group[name], f"info_{key}") for key in ("x", "y", "goal_x", "goal_y")
        )
        corner = (goal_x[0] - near, goal_y[0] - near)
        ax.add_patch(Rectangle(corner, 2 * near, 2 * near, color=color, alpha=0.25, lw=0))
        ax.plot(x, y, color=color, lw=1.0, marker=".", ms=3)
        ax.plot(x[0], y[0], color=color, marker="o", ms=5)
    ax.set(xlim=(0, 1), ylim=(0, 1), xlabel="x", ylabel="y", aspect="equal")
    ax.set_title(f"paths of {len(names)} episodes (circle: start, square: goal)")
    return result
