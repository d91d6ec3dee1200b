"""Files as runs write them, made for tests of figures; what a figure shows."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from pareprop import plots
from pareprop.files import RUN_FORMAT

RNG_SEED = 11
ALWAYS = {"loss", "dynamics_first", "dynamics_last", "weights"}


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


def write_run(directory: Path, task: str = "sine-waves", iterations: int = 300, seed: int = 1, **attrs) -> Path:
    """Write the results of an invented run; its arrays look like those of a real one."""
    with h5py.File(directory / "results.h5", "w") as file:
        file.attrs.update(format=RUN_FORMAT, task=task, variant="interval", seed=seed, dt_ms=1.0, **attrs)
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


def opened(directory: Path, *task: str, **attrs) -> h5py.File:
    """Give the results of an invented run, open for changes."""
    return h5py.File(write_run(directory, *task, **attrs), "a")


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
