"""Figures of recorded samples: dynamics, trajectories, evidence, events."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import h5py
import numpy as np
from matplotlib.figure import Figure
from result_files import draw_figures, opened, panel, write_pixels, write_run, ydata

from pareprop.plots import dynamics, events, evidence, panels


def test_dynamics_show_the_recorded_sample(tmp_path):
    with opened(tmp_path, iterations=40) as file:
        file.attrs["dt_ms"] = 0.5
        figure, sample = dynamics.draw_figure(file, "last"), file["dynamics/last"]
        for title, key in (
            ("membrane voltage", "V_m"),
            ("surrogate gradient", "surrogate_gradient"),
            ("learning signal", "learning_signal"),
            ("error signal", "error_signal"),
        ):
            np.testing.assert_array_equal(np.transpose(ydata(panel(figure, title))), sample[key][...])
        readout, target, _ = panel(figure, "readout and target").get_lines()
        np.testing.assert_array_equal(readout.get_ydata(), sample["readout_signal"][:, 0])
        np.testing.assert_array_equal(target.get_ydata(), sample["target_signal"][:, 0])
        assert readout.get_linestyle() == "-" and target.get_linestyle() == "--"
        for title, prefix in (("input spikes", "input"), ("recurrent spikes", "spike")):
            (marks,) = panel(figure, title).get_lines()
            np.testing.assert_array_equal(marks.get_xdata(), 0.5 * sample[f"{prefix}_steps"][...])
            np.testing.assert_array_equal(marks.get_ydata(), sample[f"{prefix}_ids"][...])
    assert figure.axes[-1].get_xlim() == (0, 500)
    assert "iteration 40" in figure.get_suptitle()
    entries = panel(figure, "membrane voltage").get_legend().get_texts()
    assert [entry.get_text() for entry in entries] == ["neuron 0", "neuron 7", "neuron 31"]


def list_panels(file: h5py.File, roles: tuple[str, ...]) -> list[str]:
    """Titles of the panels of a network with populations of some roles; the learning window has a second column."""
    file.attrs["model"] = json.dumps({"populations": [{"name": role, "role": role, "size": 80} for role in roles]})
    titles = [ax.get_title(loc="left") for ax in dynamics.draw_figure(file, "last").axes]
    return [title for title in titles if title]


def test_a_network_without_inputs_and_readouts_has_no_panels_for_them(tmp_path):
    with opened(tmp_path) as file:
        sample = file["dynamics/last"]
        for name in ("readout_signal", "target_signal", "error_signal"):
            del sample[name]
            sample[name] = np.zeros((1000, 0))
        for name in ("input_steps", "input_ids"):
            del sample[name]
            sample[name] = np.zeros(0, np.int64)
        sample["learning_signal"][...] = 0.0
        shown = ["recurrent spikes", "membrane voltage", "surrogate gradient"]
        assert list_panels(file, ("recurrent",)) == shown
        assert list_panels(file, ("input", "recurrent", "readout")) == ["input spikes", *shown, "learning signal"]


def test_a_raster_of_many_spikes_shows_some_neurons(tmp_path):
    path = write_run(tmp_path)
    ids = np.repeat(np.arange(20_000), 3)
    with h5py.File(path, "a") as file:
        for name, values in (("spike_ids", ids), ("spike_steps", np.arange(ids.size) % 50)):
            del file["dynamics/last"][name]
            file["dynamics/last"][name] = values
        ax = panel(dynamics.draw_figure(file, "last"), "recurrent spikes, one neuron of 8")
    (marks,) = ax.get_lines()
    np.testing.assert_array_equal(marks.get_ydata(), ids[ids % 8 == 0])
    assert "10k" in [label.get_text() for label in ax.get_yticklabels()]


def test_evidence_shows_groups_recall_and_decision(tmp_path):
    with opened(tmp_path, "evidence-accumulation", figure="evidence") as file:
        figure, sample = evidence.draw_figure(file), file["dynamics/last"]
        steps, ids, readout = (sample[k][...] for k in ("input_steps", "input_ids", "readout_signal"))
    marks = panel(figure, "input spikes (shaded: learning window)").get_lines()
    for group, line in enumerate(marks):
        chosen = ids // 10 == group
        np.testing.assert_array_equal(line.get_xydata(), np.stack([steps[chosen], ids[chosen]], axis=1))
    recall = panel(figure, "readout")
    assert recall.get_xlim() == (2100, 2249)
    np.testing.assert_array_equal(np.transpose(ydata(recall)[:2]), readout)
    bars = panel(figure, "decision: left (correct)").patches
    np.testing.assert_allclose([bar.get_height() for bar in bars], readout[2100:].mean(axis=0))


def test_events_are_counted_by_pixel_and_polarity(tmp_path):
    path = write_run(tmp_path, "n-mnist", figure="events")
    assert "events" not in draw_figures(path)  # without pixels
    with h5py.File(path, "a") as file:
        write_pixels(file)
        figure, ids, pixels = events.draw_figure(file), file["dynamics/last/input_ids"][...], file["input_pixels"][...]
    shown = panel(figure, "events, ON minus OFF").images[0].get_array()
    for row, column in ((16, 7), (16, 26), (7, 16), (0, 0)):
        here = (pixels[ids, 0] == row) & (pixels[ids, 1] == column)
        on = pixels[ids, 2] == 1
        if here.any():
            assert shown[row, column] == np.sum(here & on) - np.sum(here & ~on)
        else:
            assert shown.mask[row, column]
    assert shown.shape == (34, 34) and not shown.mask[16, 7]


def test_many_voltages_are_stacked_on_one_scale(tmp_path: Path) -> None:
    """Each has a band of its own, and keeps its shape."""
    voltages = np.random.default_rng(1).normal(size=(50, 12)).cumsum(axis=0) + np.arange(12) % 2
    with h5py.File(tmp_path / "v.h5", "w") as file:
        ax = Figure().add_subplot()
        panels.draw_signals(ax, file.create_dataset("V_m", data=voltages), 1.0, is_stacked=True)
    lines, ticks = [line.get_ydata() for line in ax.get_lines()], ax.get_yticks()
    assert len(lines) == panels.MAX_LINES and ticks[1] - ticks[0] == float(ax.get_yticklabels()[1].get_text())
    for number, (above, below) in enumerate(itertools.pairwise(lines)):
        assert np.min(above) > np.max(below)
        np.testing.assert_allclose(above - above[0], voltages[:, number] - voltages[0, number])
