#!/usr/bin/env python3
"""Train one network with random, symmetric and adaptive feedback, and draw how well feedback and readout weights align.

    python scripts/feedback.py    # some minutes; needs scikit-learn; writes feedback.png and feedback.json

The task is to name handwritten digits (8 x 8 pixels) by when their pixels spike: a bright pixel spikes early, a dark
one not at all. The alignment of a neuron's feedback weights with its readout weights is the cosine between the two
vectors; the figure shows the mean over the neurons.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_digits

from pareprop import Adam, Model, Normal, Observer, Sample, Simulation, exchange
from pareprop.plots import style

KINDS = ("random", "adaptive", "symmetric")
STEPS, WINDOW, LATEST = 60, 20, 40  # steps of a sample, those with errors, the latest spike of a pixel
N_TEST = 360
SMOOTH = 9  # batches whose accuracy is averaged


class Digits:
    """Pixels spike once; ten readouts tell the digit in the last steps."""

    n_steps, learning_window = STEPS, WINDOW

    def __init__(self) -> None:
        digits = load_digits()
        order = np.random.default_rng(1).permutation(len(digits.target))
        self._images, self._labels = digits.data[order] / 16.0, digits.target[order]

    def sample(self, index: int, phase: str = "train") -> Sample:
        """A digit of the training set at random, or of the test set in order."""
        n_train = len(self._labels) - N_TEST
        place = np.random.default_rng(index).integers(n_train) if phase == "train" else n_train + index % N_TEST
        image, raster = self._images[place], np.zeros((STEPS, 64), bool)
        lit = np.flatnonzero(image > 0.1)
        raster[1 + np.rint((1.0 - image[lit]) * (LATEST - 1)).astype(int), lit] = True
        target = np.zeros((STEPS, 10))
        target[:, self._labels[place]] = 1.0
        return Sample.from_raster(raster, target, label=int(self._labels[place]))


def network(kind: str, seed: int) -> Model:
    """A recurrent network whose ten readouts send their errors back through feedback of a kind."""
    model = Model("interval", seed=seed, optimizer=Adam(eta=5e-3, batch_size=32))
    cell = {"C_m": 1.0, "E_L": 0.0, "V_m": 0.0, "V_th": 0.6, "tau_m": 20.0, "t_ref": 3.0, "c_reg": 1.0}
    inputs, neurons = model.inputs("in", 64), model.neurons("rec", 100, "iaf", **cell)
    out = model.readouts("out", 10, C_m=1.0, E_L=0.0, V_m=0.0, tau_m=20.0, loss="cross_entropy")
    model.connect(inputs, neurons, weight=Normal(std=0.25))
    model.connect(neurons, neurons, "fixed_indegree", indegree=20, weight=Normal(std=0.1))
    model.connect(neurons, out, weight=Normal(std=0.1), name="readout")
    weight = {} if kind == "symmetric" else {"weight": Normal(std=0.1)}
    model.connect(out, neurons, feedback=kind, name="feedback", **weight)
    return model


def matrix(simulation: Any, name: str) -> np.ndarray:
    """Weights between neurons and readouts, float64 (100, 10)."""
    for table in (*simulation.network.tables().values(), simulation.network.feedback):
        for span in table.spans:
            if span.projection.name == name:
                weights = np.zeros((span.projection.pre.size, span.projection.post.size))
                for source, target, _, index in table.chunks(span):
                    weights[source, target] = table.weight[index]
                return weights if name == "readout" else weights.T
    raise KeyError(name)


class Alignment(Observer):
    """Mean cosine between the feedback and the readout weights of a neuron, after each iteration."""

    def __init__(self) -> None:
        self.values: list[float] = []
        self.right: list[float] = []

    def after_iteration(self, simulation: Any, iteration: int, loss: float) -> None:
        """Note the alignment."""
        one, other = matrix(simulation, "readout"), matrix(simulation, "feedback")
        lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
        self.values.append(float(np.mean(np.sum(one * other, axis=1) / np.maximum(lengths, 1e-300))))
        self.right.append(float(np.mean(np.equal(simulation.labels, simulation.predictions))))


def train(kind: str, seed: int, iterations: int) -> dict[str, Any]:
    """One training: alignment and accuracy by iteration, accuracy of the test."""
    seen = Alignment()
    simulation = Simulation(network(kind, seed), Digits(), exchange(), observers=[seen])
    simulation.train(iterations)
    return {"alignment": seen.values, "training": seen.right, "test": float(simulation.test(N_TEST).accuracy)}


@style.styled
def draw(trainings: dict[str, list[dict[str, Any]]], folder: Path) -> None:
    """Alignment and accuracy against iterations: means over the seeds, and their range."""
    figure = Figure(figsize=(7.2, 2.8), layout="constrained")
    panels = {"alignment": "alignment (cosine)", "training": "training accuracy"}
    for axis, (key, label) in zip(figure.subplots(1, 2), panels.items(), strict=True):
        for kind, color in zip(KINDS, style.colors(len(KINDS)), strict=True):
            values = np.array([run[key] for run in trainings[kind]])
            if key == "training":  # a batch is small
                values = np.array([np.convolve(row, np.ones(SMOOTH) / SMOOTH, "valid") for row in values])
            steps = np.arange(1, values.shape[1] + 1) + (SMOOTH // 2 if key == "training" else 0)
            axis.plot(steps, values.mean(axis=0), color=color, label=kind)
            axis.fill_between(steps, values.min(axis=0), values.max(axis=0), color=color, alpha=0.2, lw=0)
        axis.set(xlabel="iteration", ylabel=label, ylim=(-0.08 if key == "alignment" else 0.0, 1.03))
    figure.axes[1].legend(title="feedback", loc="lower right")
    style.save(figure, folder, "feedback", pdf=False)


@click.command()
@click.option("--iterations", default=150, show_default=True, help="Batches of 32 digits.")
@click.option("--seeds", default=2, show_default=True, help="Trainings of each kind.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=".", help="Folder of the two files.")
def main(iterations: int, seeds: int, out: Path) -> None:
    """Train with each kind of feedback and draw the alignment."""
    trainings: dict[str, list[dict[str, Any]]] = {}
    for kind in KINDS:
        for seed in range(1, seeds + 1):
            run = train(kind, seed, iterations)
            trainings.setdefault(kind, []).append(run)
            click.echo(f"{kind}, seed {seed}: alignment {run['alignment'][-1]:.2f}, test accuracy {run['test']:.3f}")
    (out / "feedback.json").write_text(json.dumps(trainings))
    draw(trainings, out)


if __name__ == "__main__":
    main()
