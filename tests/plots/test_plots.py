"""Figures are drawn from the result file alone and show what is in it."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from pareprop import plots
from pareprop.errors import InputError
from pareprop.plots import (
    classification,
    dynamics,
    events,
    evidence,
    loss,
    matrices,
    panels,
    reader,
    style,
    trajectory,
    weights,
)

RNG_SEED = 11


def lif(drive: np.ndarray, decay: float = 0.967) -> tuple[np.ndarray, np.ndarray]:
    """Run leaky integrate-and-fire neurons without recurrence; give voltages and spikes, both (n_steps, n)."""
    v, spikes = np.zeros_like(drive), np.zeros(drive.shape, dtype=bool)
    for t in range(1, len(drive)):
        v[t] = decay * v[t - 1] + drive[t] - spikes[t - 1] * 0.6
        spikes[t] = v[t] > 0.6
    return v, spikes


def write_signals(sample: h5py.Group, rng: np.random.Generator, target: np.ndarray, deviation: float) -> None:
    """Write what `n_record` neurons and the readouts did, the readouts off the target by about `deviation`."""
    n_steps, n_out = target.shape
    noise = np.apply_along_axis(np.convolve, 0, rng.normal(size=target.shape), np.ones(40) / 12, mode="same")
    window = np.any(target != 0, axis=1, keepdims=True) if sample.file.attrs.get("figure") == "evidence" else 1
    sample["target_signal"] = target
    sample["readout_signal"] = (target + deviation * noise) * window
    sample["error_signal"] = sample["readout_signal"][...] - target
    sample["learning_signal"] = sample["error_signal"][...] @ rng.normal(size=(n_out, 3))
    v, _ = lif(0.06 * rng.normal(size=(n_steps, 3)) + 0.018)
    sample["record"], sample["V_m"] = np.array([0, 7, 31]), v
    sample["surrogate_gradient"] = 0.3 * np.maximum(0, 1 - np.abs((v - 0.6) / 0.6))


def write_sample(sample: h5py.Group, rates: np.ndarray, target: np.ndarray, deviation: float, iteration: int) -> None:
    """Write one recorded sample with inputs of given spike probability (n_steps, n_in)."""
    rng = np.random.default_rng(iteration)
    sample.attrs["iteration"] = iteration
    inputs = rng.random(rates.shape) < rates
    sample["input_steps"], sample["input_ids"] = np.nonzero(inputs)
    drive = inputs @ rng.normal(size=(rates.shape[1], 80)) / np.sqrt(rates.shape[1])
    sample["spike_steps"], sample["spike_ids"] = np.nonzero(lif(0.5 * drive)[1])
    write_signals(sample, rng, target, deviation)


def write_projection(file: h5py.File, name: str, n_pre: int, n_post: int, density: float = 1.0) -> None:
    """Write a sparse projection in canonical order whose weights moved a little."""
    rng = np.random.default_rng(n_pre + n_post)
    group = file.create_group(f"projections/{name}")
    pre, post = name.split("->")
    group.attrs.update(pre=pre, post=post, n_pre=n_pre, n_post=n_post)
    group["target"], group["source"] = np.nonzero(rng.random((n_post, n_pre)) < density)
    n = len(group["target"])
    group["delay"] = np.ones(n, dtype=np.int64)
    group["weight_initial"] = rng.normal(size=n) / np.sqrt(n_pre * density)
    group["weight"] = group["weight_initial"][...] + 0.3 * rng.standard_t(4, size=n) / np.sqrt(n_pre * density)


def curve(n: int, first: float, last: float, seed: int) -> np.ndarray:
    """Give a noisy exponential approach from `first` to `last`."""
    fall = last + (first - last) * np.exp(-np.arange(n) / (n / 5))
    return fall * np.random.default_rng(seed).lognormal(sigma=0.15, size=n)


def path_targets(n_steps: int) -> np.ndarray:
    """Give a lemniscate as (n_steps, 2)."""
    phi = np.linspace(0, 2 * np.pi, n_steps)
    return np.stack([np.sin(phi), np.sin(phi) * np.cos(phi)], axis=1)


def trial() -> tuple[np.ndarray, np.ndarray]:
    """Give input spike probabilities (2250, 40) and targets (2250, 2) of an evidence accumulation trial."""
    rates, targets = np.zeros((2250, 40)), np.zeros((2250, 2))
    for k, side in enumerate((0, 1, 0, 0, 1, 0, 0)):
        rates[50 + 150 * k : 150 + 150 * k, 10 * side : 10 * side + 10] = 0.04
    rates[2100:, 20:30], rates[:, 30:] = 0.04, 0.01
    targets[2100:, 0] = 1
    return rates, targets


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Make an empty run directory."""
    return tmp_path


def write_run(directory: Path, task: str = "sine-waves", iterations: int = 300, seed: int = 1, **attrs) -> Path:
    """Write the results of an invented run; its arrays look like those of a real one."""
    with h5py.File(directory / "results.h5", "w") as file:
        file.attrs.update(format=reader.FORMAT, task=task, variant="interval", seed=seed, dt_ms=1.0, **attrs)
        file["loss"] = curve(iterations, 120.0, 4.0, seed)
        file["loss"].attrs["unit"] = "mV²"
        file["firing_rate"] = curve(iterations, 30.0, 12.0, seed + 100)
        rates = np.full((1000, 40), 0.05)
        time = 2 * np.pi * np.arange(1000)[:, None] / 1000
        target = sum(np.sin(time * k + p) for k, p in ((1, 0.3), (2, 1.1), (3, 4.0), (5, 2.0)))
        if task == "lemniscate":
            target = path_targets(1000)
        if attrs.get("figure") == "evidence":
            rates, target = trial()
            file.attrs["input_groups"] = ["left", "right", "recall", "noise"]
            file.attrs["input_group_sizes"] = [10, 10, 10, 10]
            file.attrs["output_names"] = ["left", "right"]
            file["error"] = np.clip(curve(iterations, 0.5, 0.04, seed), 0, 1)
        write_sample(file.create_group("dynamics/first"), rates, target, 0.9, 1)
        write_sample(file.create_group("dynamics/last"), rates, target, 0.12, iterations)
        write_projection(file, "in->rec", 40, 80)
        write_projection(file, "rec->rec", 80, 80, 0.2)
        write_projection(file, "rec->out", 80, target.shape[1])
    return directory / "results.h5"


def write_test(path: Path, classes: int = 10, n: int = 300) -> tuple[np.ndarray, np.ndarray]:
    """Add a classification of a test split, right in about four of five cases."""
    rng = np.random.default_rng(RNG_SEED)
    labels = rng.integers(classes, size=n)
    predictions = np.where(rng.random(n) < 0.8, labels, rng.integers(classes, size=n))
    with h5py.File(path, "a") as file:
        test = file.create_group("test")
        test["labels"], test["predictions"] = labels, predictions
        test.attrs.update(accuracy=np.mean(labels == predictions), interval_low=0.77, interval_high=0.86)
    return labels, predictions


def replace(file: h5py.File, name: str, value) -> None:
    """Put another array in place of a dataset."""
    del file[name]
    file[name] = value


def write_pixels(file: h5py.File) -> None:
    """Let the last sample be a recording of a ring seen by 2 x 34 x 34 pixels."""
    rng = np.random.default_rng(RNG_SEED)
    pixels = np.stack(np.meshgrid(np.arange(34), np.arange(34), [0, 1], indexing="ij"), axis=-1).reshape(-1, 3)
    x, y = pixels[:, 1] - 16.5, pixels[:, 0] - 16.5
    probability = np.exp(-((np.hypot(x, y) - 9) ** 2) / 3) * np.where(pixels[:, 2] == (x > 0), 0.9, 0.3) / 150
    file["input_pixels"] = pixels
    replace(file, "dynamics/last/input_steps", (hit := np.nonzero(rng.random((1000, len(pixels))) < probability))[0])
    replace(file, "dynamics/last/input_ids", hit[1])


def panel(figure, title: str):
    """Give the panel of that title."""
    (found,) = [ax for ax in figure.axes if title == ax.get_title(loc="left")]
    return found


def ydata(ax) -> list[np.ndarray]:
    """Give what the lines of a panel show."""
    return [np.asarray(line.get_ydata()) for line in ax.get_lines()]


def tile(figure, name: str):
    """Give the three panels of a projection."""
    axes = figure.axes
    first = next(k for k, ax in enumerate(axes) if any(text.get_text().startswith(name) for text in ax.texts))
    return axes[first : first + 3]


def stems(paths: list[Path]) -> set[str]:
    """Give the names of the figures of which both PNG and PDF are there and have the right beginning."""
    magic = {".png": b"\x89PNG", ".pdf": b"%PDF"}
    assert all(path.read_bytes()[:4] == magic[path.suffix] for path in paths)
    names = {path.stem for path in paths}
    assert {path.name for path in paths} == {name + end for name in names for end in magic}
    return names


def draw_figures(path: Path) -> set[str]:
    """Give the names of the figures that would be written."""
    with h5py.File(path) as file:
        return {name for name, make in plots.FIGURES.items() if make(file) is not None}


ALWAYS = {"loss", "dynamics_first", "dynamics_last", "weights"}


@pytest.mark.parametrize(
    ("task", "attrs", "more"),
    [
        ("sine-waves", {}, set()),
        ("lemniscate", {}, {"trajectory"}),
        ("evidence-accumulation", {"figure": "evidence"}, {"evidence"}),
    ],
)
def test_a_run_gets_the_figures_of_its_task(directory, task, attrs, more):
    write_run(directory, task, **attrs)
    paths = plots.draw(directory)
    assert stems(paths) == ALWAYS | more
    assert {path.parent for path in paths} == {directory}


def test_classification_is_drawn_when_there_are_predictions(directory):
    labels, predictions = write_test(write_run(directory, "n-mnist"))
    assert draw_figures(directory / "results.h5") == ALWAYS | {"classification"}
    with h5py.File(directory / "results.h5") as file:
        figure = classification.figure(file)
    ax = figure.axes[0]
    shares = np.asarray(ax.images[0].get_array())
    for (row, column), share in np.ndenumerate(shares):
        assert share == pytest.approx(np.mean(predictions[labels == row] == column))
    assert sum(int(text.get_text()) for text in ax.texts) == len(labels)
    assert (
        ax.get_title(loc="left")
        == f"test accuracy {np.mean(labels == predictions):.3f} (95 % interval 0.77 to 0.86, n = 300)"
    )


def test_pdf_embeds_its_fonts(directory):
    with h5py.File(write_run(directory)) as file:
        style.save(loss.figure(file), directory, "loss")
    pdf = (directory / "loss.pdf").read_bytes()
    assert b"/FontFile2" in pdf and b"/Type3" not in pdf


def test_loss_shows_every_iteration_and_the_running_median(directory):
    path = write_run(directory)
    with h5py.File(path) as file:
        figure, values, rates = loss.figure(file), file["loss"][...], file["firing_rate"][...]
    raw, median = figure.axes[0].get_lines()
    np.testing.assert_array_equal(raw.get_ydata(), values)
    np.testing.assert_array_equal(raw.get_xdata(), np.arange(1, 301))
    assert median.get_ydata()[150] == np.median(values[140:161])
    np.testing.assert_array_equal(ydata(figure.axes[1])[0], rates)
    assert [ax.get_ylabel() for ax in figure.axes] == ["loss (mV²)", "firing rate (Hz)"]


def test_validations_and_test_are_marked_where_errors_are_drawn(directory):
    path = write_run(directory, "evidence-accumulation", figure="evidence")
    write_test(path)
    with h5py.File(path, "a") as file:
        file["validation/iteration"], file["validation/value"] = [100, 200, 300], [0.4, 0.2, 0.1]
        figure, accuracy = loss.figure(file), file["test"].attrs["accuracy"]
    lines = {line.get_label(): line for line in figure.axes[1].get_lines()}
    np.testing.assert_array_equal(lines["validation"].get_xydata(), [[100, 0.4], [200, 0.2], [300, 0.1]])
    np.testing.assert_allclose(lines["test"].get_ydata(), 1 - accuracy)


@pytest.mark.parametrize(("values", "scale"), [([5.0, 0.4], "log"), ([5.0, 0.6], "linear"), ([5.0, -0.1], "linear")])
def test_loss_axis_is_logarithmic_beyond_a_decade(directory, values, scale):
    path = write_run(directory)
    with h5py.File(path, "a") as file:
        del file["loss"]
        file["loss"] = values
        assert loss.figure(file).axes[0].get_yscale() == scale


def test_running_median_passes_over_nan_and_stays_short():
    values = np.ones(50_000)
    values[::7], values[100:5000] = np.nan, 3.0
    centres, medians = loss.running_median(values)
    assert len(centres) == 1000 and centres[-1] == 49_999
    assert medians[10] == 3.0 and medians[-1] == 1.0


def test_running_median_begins_and_ends_where_the_series_does():
    values = np.linspace(40, 20, 200) + 100 * (np.arange(200) == 0)
    medians = loss.running_median(values)[1]
    assert medians[0] == 140 and medians[1] == values[1] and medians[-1] == 20


def test_dynamics_show_the_recorded_sample(directory):
    path = write_run(directory, iterations=40)
    with h5py.File(path, "a") as file:
        file.attrs["dt_ms"] = 0.5
        figure, sample = dynamics.figure(file, "last"), file["dynamics/last"]
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


def test_adaptation_gets_a_panel_when_recorded(directory):
    path = write_run(directory)
    with h5py.File(path, "a") as file:
        file["dynamics/first/adaptation"] = np.full((1000, 3), 0.25)
        assert (np.array(ydata(panel(dynamics.figure(file, "first"), "adaptation"))) == 0.25).all()


def test_many_lines_are_cut_and_the_legend_says_so(directory):
    path = write_run(directory)
    with h5py.File(path, "a") as file:
        for name in ("V_m", "record"):
            del file["dynamics/last"][name]
        file["dynamics/last/V_m"], file["dynamics/last/record"] = np.zeros((1000, 50)), np.arange(50)
        ax = panel(dynamics.figure(file, "last"), "membrane voltage")
    assert len(ax.get_lines()) == panels.MAX_LINES
    assert ax.get_legend().get_texts()[-1].get_text() == "neuron 9 (of 50)"


@pytest.mark.parametrize("name", ["input_steps", "spike_ids", "record", "V_m", "target_signal", "readout_signal"])
def test_missing_parts_of_a_sample_are_left_out(directory, name):
    path = write_run(directory, "evidence-accumulation", figure="evidence")
    with h5py.File(path, "a") as file:
        before = len(dynamics.figure(file, "last").axes)
        del file["dynamics/last"][name]
        left = len(dynamics.figure(file, "last").axes)
    assert left == before - 2 * (name in ("input_steps", "spike_ids", "V_m"))  # whole sample and learning window
    assert draw_figures(path) == ALWAYS | ({"evidence"} if name != "readout_signal" else set())


@pytest.mark.parametrize("name", ["loss", "dynamics", "projections", "dynamics/first"])
def test_missing_figures_are_left_out(directory, name):
    path = write_run(directory, "lemniscate")
    with h5py.File(path, "a") as file:
        del file[name]
    gone = {
        "loss": {"loss"},
        "dynamics": {"dynamics_first", "dynamics_last", "trajectory"},
        "projections": {"weights"},
        "dynamics/first": {"dynamics_first"},
    }
    assert draw_figures(path) == (ALWAYS | {"trajectory"}) - gone[name]


def test_silent_network_is_drawn(directory):
    path = write_run(directory)
    with h5py.File(path, "a") as file:
        for name in ("spike_steps", "spike_ids"):
            del file["dynamics/last"][name]
            file["dynamics/last"][name] = np.empty(0, dtype=np.int64)
        ax = panel(dynamics.figure(file, "last"), "recurrent spikes")
    assert [text.get_text() for text in ax.texts] == ["no spikes"]


def test_weights_show_matrices_change_and_histograms(directory):
    path = write_run(directory)
    with h5py.File(path) as file:
        figure, data = weights.figure(file), file["projections/rec->rec"]
        source, target, before, after = (data[k][...] for k in ("source", "target", "weight_initial", "weight"))
    weight, change, histogram = tile(figure, "rec → rec")
    for ax, values in ((weight, after), (change, after - before)):
        matrix = ax.images[0].get_array()
        np.testing.assert_allclose(matrix[target, source], values)
        assert np.ma.count(matrix) == len(values)  # absent synapses are masked
        low, high = ax.images[0].get_clim()
        assert low == -high and f"±{high:.2g}" in ax.get_title(loc="left")
    for patch, values in zip(histogram.patches, (before, after), strict=True):
        counts, edges, _ = patch.get_data()
        np.testing.assert_array_equal(counts, np.histogram(values, edges)[0])
        assert counts.sum() == len(values)


def test_weights_that_did_not_change_are_shown_once(directory):
    path = write_run(directory)
    with h5py.File(path, "a") as file:
        file["projections/rec->rec/weight"][...] = values = file["projections/rec->rec/weight_initial"][...]
        weight, change, histogram = tile(weights.figure(file), "rec → rec")
    assert weight.texts[0].get_text().endswith("unchanged")
    assert not change.get_visible() and len(histogram.patches) == 1
    assert np.ma.count(weight.images[0].get_array()) == len(values)


def test_weights_of_ten_projections_fit_on_a_page(directory):
    with h5py.File(directory / "results.h5", "w") as file:
        file.attrs.update(format=reader.FORMAT, dt_ms=1.0)
        for k in range(10):
            write_projection(file, f"a{k}->b", 20, 30)
        figure = weights.figure(file)
    width, height = figure.get_size_inches()
    assert height < width and width < 13
    shown = [ax for ax in figure.axes if ax.get_visible()]
    assert len(shown) == 30
    boxes = [ax.get_position() for ax in shown]
    for k, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[k + 1 :])


def test_rasters_colour_and_name_populations(directory):
    path = write_run(directory)
    populations = [("in", 40, "input"), ("exc", 60, "recurrent"), ("inh", 20, "recurrent"), ("out", 1, "readout")]
    described = [dict(zip(("name", "size", "role"), item, strict=True)) for item in populations]
    with h5py.File(path, "a") as file:
        file.attrs["model"] = json.dumps({"populations": described})
        ax, ids = panel(dynamics.figure(file, "last"), "recurrent spikes"), file["dynamics/last/spike_ids"][...]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["exc", "inh"]
    excitatory, inhibitory = ax.get_lines()
    np.testing.assert_array_equal(excitatory.get_ydata(), ids[ids < 60])
    np.testing.assert_array_equal(inhibitory.get_ydata(), ids[ids >= 60])
    assert excitatory.get_color() != inhibitory.get_color()


def test_large_matrices_show_the_means_of_the_synapses_in_a_tile():
    matrix = np.random.default_rng(RNG_SEED).normal(size=(7, 5))
    matrix[:3, :2], matrix[4, 3] = np.nan, np.nan
    tiles, shape = matrices.average_tiles(matrix, most=3)
    assert shape == (3, 2) and tiles.shape == (3, 3) and np.isnan(tiles[0, 0])
    for row, column in ((0, 1), (1, 1), (2, 2)):
        part = matrix[3 * row : 3 * row + 3, 2 * column : 2 * column + 2]
        assert tiles[row, column] == pytest.approx(np.nanmean(part))


def test_a_diverged_run_is_drawn(directory):
    path = write_run(directory, "lemniscate")
    with h5py.File(path, "a") as file:
        file["loss"][3:], file["dynamics/last/V_m"][...] = np.nan, np.nan
        file["dynamics/last/readout_signal"][...] = np.inf
        file["dynamics/last/target_signal"][...] = np.nan
        file["projections/rec->rec/weight"][...] = np.nan
        file["projections/rec->out/weight"][::2] = np.inf
    assert stems(plots.draw(directory)) == ALWAYS | {"trajectory"}


@pytest.mark.parametrize("values", [[], [0.5] * 9, [0.5, np.nextafter(0.5, 1)], [0.0, 0.0], [-1e299, 1e299]])
def test_any_weights_fall_into_bins(values):
    edges = weights.bin_edges(np.array(values))
    assert (np.diff(edges) > 0).all()
    assert np.histogram(values, edges)[0].sum() == len(values)


def test_several_synapses_of_a_pair_are_added(directory):
    with h5py.File(directory / "results.h5", "w") as file:
        group = file.create_group("projections/a->b")
        group["source"], group["target"] = [1, 1, 0], [0, 0, 1]
        matrix = matrices.dense(group, 2, 2, np.array([0.5, 0.25, 3.0]))
    np.testing.assert_array_equal(matrix, [[np.nan, 0.75], [3.0, np.nan]])


class Counting:
    """Stand in for a dataset and count the entries read."""

    def __init__(self, data):
        self.data, self.read = data, 0

    def __len__(self):
        return len(self.data)

    def __getitem__(self, key):
        part = self.data[key]
        self.read += len(part)
        return part


def test_sample_is_bounded_even_and_complete_when_small():
    data = Counting(np.arange(10_000_019))
    sample = reader.sample(data, 100_000)
    assert data.read == len(sample) == 100_000
    assert sample[0] == 0 and sample[-1] == 10_000_018 and (np.diff(sample) > 0).all()
    assert np.histogram(sample, 10)[0].tolist() == [10_000] * 10
    assert np.bincount(sample % 100).min() == 1000  # no stride hides the structure of a fixed indegree of 100
    np.testing.assert_array_equal(reader.sample(np.arange(50), 50), np.arange(50))


def test_big_projection_is_sampled_and_gets_no_matrix(directory, monkeypatch):
    read = []
    original = h5py.Dataset.__getitem__
    monkeypatch.setattr(reader, "SAMPLE_LIMIT", 20_000)
    monkeypatch.setattr(reader.sample, "__defaults__", (20_000,))
    monkeypatch.setattr(
        h5py.Dataset, "__getitem__", lambda self, *key: read.append((self.name, out := original(self, *key))) or out
    )
    with h5py.File(directory / "results.h5", "w") as file:
        group = file.create_group("projections/rec->rec")
        group.attrs.update(n_pre=100_000, n_post=100_000)
        for name in ("source", "target", "delay"):
            group.create_dataset(name, (100_000_000,), dtype=np.int64, chunks=(1 << 16,))  # unwritten: takes no space
        for name in ("weight_initial", "weight"):
            group.create_dataset(name, (100_000_000,), dtype=np.float64, chunks=(1 << 16,), fillvalue=0.5)
        figure = weights.figure(file)
    assert {name.rpartition("/")[2] for name, _ in read} == {"weight_initial", "weight"}
    assert sum(np.size(part) for _, part in read) == 40_000
    none, change, weight = tile(figure, "rec → rec")
    assert [ax.get_title(loc="left") for ax in (change, weight)] == ["change of weight", "synapses by weight"]
    assert not none.axison and "100,000,000 synapses, 20,000 of them shown" in none.texts[0].get_text()


def test_trajectory_has_a_panel_for_each_recorded_iteration(directory):
    path = write_run(directory, "own-task", figure="trajectory")
    with h5py.File(path, "a") as file:
        assert trajectory.figure(file) is None  # one readout only
    path = write_run(directory, "lemniscate")
    with h5py.File(path, "a") as file:
        file.copy("dynamics/last", "dynamics/middle")
        file["dynamics/middle"].attrs["iteration"] = 20
        axes = trajectory.figure(file).axes
        for ax, name in zip(axes, ("first", "middle", "last"), strict=True):
            readout, target = ax.get_lines()
            np.testing.assert_array_equal(readout.get_xydata(), file[f"dynamics/{name}/readout_signal"][...])
            np.testing.assert_array_equal(target.get_xydata(), file["dynamics/last/target_signal"][...])
    assert [ax.get_title(loc="left") for ax in axes] == ["iteration 1", "iteration 20", "iteration 300"]
    assert {(ax.get_aspect(), ax.get_xlim(), ax.get_ylim()) for ax in axes} == {
        (1.0, axes[0].get_xlim(), axes[0].get_ylim())
    }


def test_evidence_shows_groups_recall_and_decision(directory):
    path = write_run(directory, "evidence-accumulation", figure="evidence")
    with h5py.File(path) as file:
        figure, sample = evidence.figure(file), file["dynamics/last"]
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


def test_evidence_names_a_wrong_decision(directory):
    path = write_run(directory, "evidence-accumulation", figure="evidence")
    with h5py.File(path, "a") as file:
        file["dynamics/last/readout_signal"][...] = file["dynamics/last/readout_signal"][...][:, ::-1]
        assert panel(evidence.figure(file), "decision: right (target left)")


def test_events_are_counted_by_pixel_and_polarity(directory):
    path = write_run(directory, "n-mnist", figure="events")
    assert "events" not in draw_figures(path)  # without pixels
    with h5py.File(path, "a") as file:
        write_pixels(file)
        figure, ids, pixels = events.figure(file), file["dynamics/last/input_ids"][...], file["input_pixels"][...]
    shown = panel(figure, "events, ON minus OFF").images[0].get_array()
    for row, column in ((16, 7), (16, 26), (7, 16), (0, 0)):
        here = (pixels[ids, 0] == row) & (pixels[ids, 1] == column)
        on = pixels[ids, 2] == 1
        if here.any():
            assert shown[row, column] == np.sum(here & on) - np.sum(here & ~on)
        else:
            assert shown.mask[row, column]
    assert shown.shape == (34, 34) and not shown.mask[16, 7]


def test_seeds_of_long_runs_are_compared_by_their_running_medians(directory):
    path = write_run(directory, iterations=200)
    with h5py.File(path) as file:
        ax, expected = loss.seeds_figure([file, file]).axes[0], loss.running_median(file["loss"][...])
    np.testing.assert_array_equal(ax.get_lines()[0].get_xydata(), np.transpose([expected[0] + 1, expected[1]]))
    assert ax.get_legend().get_title().get_text() == "running medians"


def test_a_wild_first_iteration_does_not_shrink_the_target(directory):
    path = write_run(directory, "lemniscate")
    with h5py.File(path, "a") as file:
        file["dynamics/first/readout_signal"][...] *= 50
        ax = trajectory.figure(file).axes[0]
    assert np.ptp(ax.get_xlim()) < 5 and np.ptp(ax.get_ylim()) < 5


def test_seeds_give_mean_and_range_up_to_the_shortest_run(directory):
    folders = [directory / str(seed) for seed in range(3)]
    for seed, folder in enumerate(folders):
        folder.mkdir()
        write_run(folder, iterations=60 + seed, seed=seed)
    assert stems(plots.draw_seeds(folders, directory / "all")) == {"learning_curves"}
    with h5py.File(folders[0] / "results.h5") as a, h5py.File(folders[1] / "results.h5") as b:
        ax = loss.seeds_figure([a, b]).axes[0]
        both = np.stack([a["loss"][...], b["loss"][:60]])
    np.testing.assert_allclose(ydata(ax)[0], both.mean(axis=0))
    band = ax.collections[0].get_paths()[0].vertices[:, 1]
    assert (band.min(), band.max()) == (both.min(), both.max())


def test_seeds_without_runs_or_loss_are_refused(directory):
    with pytest.raises(InputError, match="at least one run directory"):
        plots.draw_seeds([], directory)
    with h5py.File(write_run(directory), "a") as file:
        del file["loss"]
    with pytest.raises(InputError, match="need a loss in every run"):
        plots.draw_seeds([directory], directory / "all")


def test_missing_foreign_and_broken_files_are_refused(directory):
    path = directory / "results.h5"
    with pytest.raises(InputError, match="does not exist"):
        plots.draw(directory)
    path.write_text("iteration,loss\n1,2\n")
    with pytest.raises(InputError, match="cannot read"):
        plots.draw(directory)
    with h5py.File(path, "w") as file:
        file.attrs["format"] = "pareprop-case-1"
    with pytest.raises(InputError, match="format is pareprop-case-1, must be pareprop-run-1"):
        plots.draw(directory)
    content = write_run(directory).read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match="cannot read"):
        plots.draw(directory)
    assert list(directory.iterdir()) == [path]


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
def test_contradictory_files_are_refused(directory, spoil, message):
    path = write_run(directory, figure="events")
    write_test(path)
    with h5py.File(path, "a") as file:
        spoil(file)
    with pytest.raises(InputError, match=message):
        plots.draw(directory)
