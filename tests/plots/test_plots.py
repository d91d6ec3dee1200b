"""Figures are drawn from the result file alone and show what is in it."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from params import first_rows
from result_files import ALWAYS, draw_figures, opened, replace, stems, write_run, write_test, ydata

from pareprop import plots
from pareprop.errors import InputError
from pareprop.plots import classification, loss, style


@pytest.mark.parametrize(
    ("task", "attrs", "more"),
    first_rows(
        0,
        [
            ("lemniscate", {}, {"trajectory"}),
            ("evidence-accumulation", {"figure": "evidence"}, {"evidence"}),
            ("sine-waves", {}, set()),
        ],
        rest=2,
    ),
)
def test_a_run_gets_the_figures_of_its_task(tmp_path, task, attrs, more):
    write_run(tmp_path, task, **attrs)
    paths = plots.draw_figures(tmp_path)
    assert stems(paths) == ALWAYS | more
    assert {path.parent for path in paths} == {tmp_path}


def test_classification_is_drawn_when_there_are_predictions(tmp_path):
    labels, predictions = write_test(write_run(tmp_path, "n-mnist"))
    assert draw_figures(tmp_path / "results.h5") == ALWAYS | {"classification"}
    with h5py.File(tmp_path / "results.h5") as file:
        figure = classification.draw_figure(file)
    ax = figure.axes[0]
    shares = np.asarray(ax.images[0].get_array())
    for (row, column), share in np.ndenumerate(shares):
        assert share == pytest.approx(np.mean(predictions[labels == row] == column))
    assert sum(int(text.get_text()) for text in ax.texts) == len(labels)
    assert (
        ax.get_title(loc="left")
        == f"test accuracy {np.mean(labels == predictions):.3f} (95 % interval 0.77 to 0.86, n = 300)"
    )


def test_pdf_embeds_its_fonts(tmp_path):
    with h5py.File(write_run(tmp_path)) as file:
        style.save(loss.draw_figure(file), tmp_path, "loss")
    pdf = (tmp_path / "loss.pdf").read_bytes()
    assert b"/FontFile2" in pdf and b"/Type3" not in pdf


def test_validations_and_test_are_drawn_beside_the_training(tmp_path):
    path = write_run(tmp_path, "evidence-accumulation", figure="evidence")
    write_test(path)
    with h5py.File(path, "a") as file:
        file["validation/iteration"], file["validation/value"] = [100, 200, 300], [0.4, 0.2, 0.1]
        file["validation/loss"] = [30.0, 20.0, 10.0]
        figure, accuracy = loss.draw_figure(file), file["test"].attrs["accuracy"]
    lines = [{line.get_label(): line for line in ax.get_lines()} for ax in figure.axes]
    np.testing.assert_allclose(lines[1]["validation"].get_xydata(), [[100, 0.6], [200, 0.8], [300, 0.9]])
    np.testing.assert_array_equal(lines[0]["validation"].get_xydata(), [[100, 30], [200, 20], [300, 10]])
    np.testing.assert_allclose(lines[1]["test"].get_ydata(), accuracy)


def test_accuracy_of_single_samples_is_shown_by_its_mean(tmp_path):
    """They are 0 or 1, so a median jumps between these; at the ends windows of 10 values more are cut off."""
    path = write_run(tmp_path, "evidence-accumulation", figure="evidence")
    errors = (np.random.default_rng(4).random(300) < 0.4) * 1.0
    with h5py.File(path, "a") as file:
        replace(file, "error", errors)
        lines = {line.get_label(): line.get_ydata() for line in loss.draw_figure(file).axes[1].get_lines()}
    right = 1 - errors
    np.testing.assert_array_equal(lines["each iteration"], right)
    means = [right[:11].mean(), right[90:111].mean(), right[289:].mean()]
    np.testing.assert_allclose(lines["running mean"][[0, 100, 299]], means)


def test_running_medians_are_those_of_their_windows():
    """Half windows of 10 values, shorter at the ends; some have NaN, one nothing else."""
    values = np.random.default_rng(1).normal(size=200)
    values[20:30], values[150], values[0] = np.nan, np.inf, np.nan
    centres, medians = loss.running_median(values)
    for c, median in zip(centres, medians, strict=True):
        reach = min(10, c, 199 - c)
        window = values[c - reach : c + reach + 1]
        window = window[np.isfinite(window)]
        assert median == np.median(window) if window.size else np.isnan(median)


@pytest.mark.parametrize("name", ["loss", "dynamics", "projections", "dynamics/first"])
def test_missing_figures_are_left_out(tmp_path, name):
    path = write_run(tmp_path, "lemniscate")
    with h5py.File(path, "a") as file:
        del file[name]
    gone = {
        "loss": {"loss"},
        "dynamics": {"dynamics_first", "dynamics_last", "trajectory"},
        "projections": {"weights"},
        "dynamics/first": {"dynamics_first"},
    }
    assert draw_figures(path) == (ALWAYS | {"trajectory"}) - gone[name]


@pytest.mark.slow
def test_a_diverged_run_is_drawn(tmp_path):
    with opened(tmp_path, "lemniscate") as file:
        file["loss"][3:], file["dynamics/last/V_m"][...] = np.nan, np.nan
        file["dynamics/last/readout_signal"][...] = np.inf
        file["dynamics/last/target_signal"][...] = np.nan
        file["projections/rec->rec/weight"][...] = np.nan
        file["projections/rec->out/weight"][::2] = np.inf
    assert stems(plots.draw_figures(tmp_path)) == ALWAYS | {"trajectory"}


def test_seeds_of_long_runs_are_compared_by_their_running_medians(tmp_path):
    with opened(tmp_path, iterations=200) as file:
        ax, expected = loss.seeds_figure([file, file]).axes[0], loss.running_median(file["loss"][...])
    np.testing.assert_array_equal(ax.get_lines()[0].get_xydata(), np.transpose([expected[0] + 1, expected[1]]))
    assert ax.get_legend().get_title().get_text() == "running medians"


def test_seeds_give_mean_and_range_up_to_the_shortest_run(tmp_path):
    folders = [tmp_path / str(seed) for seed in range(3)]
    for seed, folder in enumerate(folders):
        folder.mkdir()
        write_run(folder, iterations=60 + seed, seed=seed)
    assert stems(plots.draw_seeds(folders, tmp_path / "all")) == {"learning_curves"}
    with h5py.File(folders[0] / "results.h5") as a, h5py.File(folders[1] / "results.h5") as b:
        ax = loss.seeds_figure([a, b]).axes[0]
        both = np.stack([a["loss"][...], b["loss"][:60]])
    np.testing.assert_allclose(ydata(ax)[0], both.mean(axis=0))
    band = ax.collections[0].get_paths()[0].vertices[:, 1]
    assert (band.min(), band.max()) == (both.min(), both.max())


def test_seeds_without_runs_or_loss_are_refused(tmp_path):
    with pytest.raises(InputError, match="at least one run directory"):
        plots.draw_seeds([], tmp_path)
    with h5py.File(write_run(tmp_path), "a") as file:
        del file["loss"]
    with pytest.raises(InputError, match="need a loss in every run"):
        plots.draw_seeds([tmp_path], tmp_path / "all")


def test_missing_foreign_and_broken_files_are_refused(tmp_path):
    path = tmp_path / "results.h5"
    with pytest.raises(InputError, match="No such file"):
        plots.draw_figures(tmp_path)
    path.write_text("iteration,loss\n1,2\n")
    with pytest.raises(InputError, match="cannot read"):
        plots.draw_figures(tmp_path)
    with h5py.File(path, "w") as file:
        file.attrs["format"] = "pareprop-case-1"
    with pytest.raises(InputError, match="format is 'pareprop-case-1', must be pareprop-run-1"):
        plots.draw_figures(tmp_path)
    content = write_run(tmp_path).read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match="cannot read"):
        plots.draw_figures(tmp_path)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: replace(f, "loss", np.zeros((3, 2))), "/loss must be a numeric array, ndim 1"),
        (lambda f: replace(f, "loss", "low"), "/loss must be a numeric array"),
        (lambda f: replace(f, "dynamics/last/spike_ids", [1, 2]), "spike_ids has 2: must be equal"),
        (lambda f: replace(f, "dynamics/last/V_m", np.zeros(9)), "last/V_m must be a numeric array, ndim 2"),
        (lambda f: replace(f, "dynamics/last/V_m", np.zeros((9, 3))), "signals in /dynamics/last do not fit together"),
        (lambda f: replace(f, "dynamics/first/target_signal", np.zeros((1000, 2))), "do not fit together"),
        (lambda f: replace(f, "projections/rec->rec/weight", [1.0]), "weight_initial and weight differ in length"),
        (lambda f: replace(f, "projections/rec->rec/source", [1]), "source, target and weight differ in length"),
        (lambda f: f["projections/rec->rec/source"].write_direct(np.array([80]), dest_sel=np.s_[:1]), "outside 0..79"),
        (lambda f: f["test/labels"].write_direct(np.array([-1]), dest_sel=np.s_[:1]), "must be classes 0, 1"),
        (lambda f: f.__setitem__("input_pixels", np.zeros((3, 3), dtype=int)), "row, column and polarity of every"),
        (lambda f: f.attrs.__delitem__("dt_ms"), "dt_ms is missing"),
        (lambda f: f.attrs.__setitem__("dt_ms", 0.0), "dt_ms is 0.0, must be positive"),
    ],
)
def test_contradictory_files_are_refused(tmp_path, spoil, message):
    path = write_run(tmp_path, figure="events")
    write_test(path)
    with h5py.File(path, "a") as file:
        spoil(file)
    with pytest.raises(InputError, match=message):
        plots.draw_figures(tmp_path)
