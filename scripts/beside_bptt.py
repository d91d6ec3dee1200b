"""E-prop beside backpropagation through time (BPTT), on digits that come row by row.

    python scripts/beside_bptt.py 1 2 3        # seeds; minutes for each

The same networks see the same samples in the same order, and Adam with the same settings takes the steps. E-prop is
that of the package; BPTT trains what `pareprop export --torch` writes of the network before it has learned.
"""

from __future__ import annotations

import argparse
import importlib.util
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits

from pareprop import Adam, Model, Normal, Sample, Scaled, Simulation, run
from pareprop.storage import torch_network

EPOCHS, BATCH, ETA = 16, 32, 5e-3
COPIES, RATE_HZ = 16, 200.0  # inputs of each column of pixels, and their rate where a pixel is white
C_REG, TARGET_HZ = 1.0, 40.0


class Digits:
    """The 8 x 8 digits of scikit-learn, a row for 10 steps; the last 20 steps name the digit."""

    n_steps, learning_window, n_train = 80, 20, 1437

    def __init__(self, seed: int) -> None:
        images, labels = load_digits(return_X_y=True)
        order = np.random.default_rng(0).permutation(len(labels))
        self.images, self.labels, self.seed = images[order].reshape(-1, 8, 8) / 16.0, labels[order], seed

    def sample(self, index: int, phase: str = "train") -> Sample:
        """Return a digit with spikes of its own: of each epoch in another order, or a test sample."""
        if phase == "train":
            epoch, place = divmod(index, self.n_train)
            chosen = np.random.default_rng([self.seed, epoch]).permutation(self.n_train)[place]
        else:
            chosen = self.n_train + index
        rates = RATE_HZ * self.images[chosen].repeat(10, axis=0).repeat(COPIES, axis=1)
        target = np.eye(10)[self.labels[chosen]][None].repeat(80, axis=0)
        number = index if phase == "train" else 10**6 + index
        return Sample.from_rates(rates, target, self.seed, number, label=int(self.labels[chosen]))


def network(seed: int, feedback: str, scaled: bool = True) -> Model:
    """64 neurons, and 64 with thresholds that adapt, all connected; first weights are scaled, or normal around 0."""
    model = Model("interval", seed=seed, optimizer=Adam(eta=ETA, batch_size=BATCH))
    inputs = model.inputs("in", 8 * COPIES)
    cell = {"C_m": 1.0, "E_L": 0.0, "V_th": 0.6, "tau_m": 20.0, "t_ref": 2.0, "c_reg": C_REG, "f_target": TARGET_HZ}
    plain = model.neurons("plain", 64, "iaf", **cell)
    adaptive = model.neurons("adaptive", 64, "iaf_adapt", adapt_beta=0.6, adapt_tau=200.0, **cell)
    out = model.readouts("out", 10, C_m=1.0, E_L=0.0, tau_m=60.0, loss="cross_entropy")
    weights = [Normal(std=0.5), Normal(std=0.1), Normal(std=0.1)]
    if scaled:
        into = Scaled(fires_hz=TARGET_HZ, rate_hz=0.3 * RATE_HZ)  # of the pixels a third is white
        weights = [into, Scaled(gain=0.3, rate_hz=TARGET_HZ), Scaled(rate_hz=TARGET_HZ)]
    back = {"feedback": "symmetric"} if feedback == "symmetric" else {"weight": Normal(std=0.3)}
    for neurons in (plain, adaptive):
        model.connect(inputs, neurons, weight=weights[0])
        for others in (plain, adaptive):
            model.connect(others, neurons, weight=weights[1])
        model.connect(neurons, out, weight=weights[2])
        model.connect(out, neurons, **back)
    return model


def by_eprop(seed: int, feedback: str, scaled: bool) -> tuple[float, float]:
    """Return the test accuracy of e-prop, and the rate in Hz of the first batch."""
    task = Digits(seed)
    simulation = Simulation(network(seed, feedback, scaled), task, quiet=True)
    simulation.train(EPOCHS * task.n_train // BATCH)
    accuracy = simulation.test(360).accuracy
    assert accuracy is not None  # all samples have labels
    return accuracy, simulation.rates[0]


def by_bptt(seed: int, scaled: bool) -> float:
    """Return the test accuracy of BPTT."""
    task = Digits(seed)
    with tempfile.TemporaryDirectory() as folder:
        model = network(seed, "symmetric", scaled)
        run(model, task, Path(folder, "run"), quiet=True, iterations=0, figures="none")
        torch_network.export(Path(folder, "run", "results.h5"), Path(folder, "digits_network.py"))
        spec = importlib.util.spec_from_file_location("digits_network", Path(folder, "digits_network.py"))
        assert spec is not None and spec.loader is not None  # the file is there
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    torch.set_num_threads(1)
    net = module.Network()
    adam = torch.optim.Adam(net.parameters(), lr=ETA)

    def take(first: int, phase: str, n: int) -> tuple[torch.Tensor, torch.Tensor]:
        samples = [task.sample(first + k, phase) for k in range(n)]
        rasters = np.zeros((n, task.n_steps, 8 * COPIES))
        for raster, sample in zip(rasters, samples, strict=True):
            raster[sample.inputs.spikes(task.n_steps)] = 1.0
        return torch.tensor(rasters), torch.tensor([sample.label for sample in samples])

    for k in range(EPOCHS * task.n_train // BATCH):
        inputs, labels = take(k * BATCH, "train", BATCH)
        signal, spikes = net(inputs)
        late = signal[:, -task.learning_window :]
        named = torch.nn.functional.cross_entropy(late.reshape(-1, 10), labels.repeat_interleave(late.shape[1]))
        away = spikes.mean(dim=1) - TARGET_HZ / 1000.0
        loss = named * task.learning_window + 0.5 * C_REG * away.square().sum(dim=1).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
    with torch.no_grad():
        inputs, labels = take(0, "test", 360)
        late = net(inputs)[0][:, -task.learning_window :].softmax(dim=2).mean(dim=1)
    return float((late.argmax(dim=1) == labels).double().mean())


def main() -> None:
    """Print a row for each way and seed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("seeds", type=int, nargs="+")
    parser.add_argument("--ways", nargs="+", default=["symmetric", "random", "plain", "bptt"])
    given = parser.parse_args()
    for way in given.ways:
        for seed in given.seeds:
            start = time.perf_counter()
            scaled, feedback = way != "plain", way if way == "random" else "symmetric"
            found = (by_bptt(seed, scaled),) if way == "bptt" else by_eprop(seed, feedback, scaled)
            text = " ".join(f"{value:.4g}" for value in found)
            print(f"{way} seed {seed}: {text} ({time.perf_counter() - start:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
