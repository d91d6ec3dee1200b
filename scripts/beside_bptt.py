"""E-prop beside backpropagation through time (BPTT), on digits that come row by row.

    python scripts/beside_bptt.py 1 2 3               # seeds; minutes for each
    python scripts/beside_bptt.py 11 12 --validate    # on training samples that are held out: how settings were chosen

The same networks see the same samples in the same order, and Adam with the same settings takes the steps. E-prop is
that of the package; BPTT trains what `pareprop export --torch` writes of the network before it has learned. The ways:
`symmetric` and `random` feedback with scaled first weights, `plain` with guessed ones and symmetric feedback, `bptt`.
"""

from __future__ import annotations

import argparse
import importlib.util
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits

from pareprop import Adam, Model, Normal, Sample, Scaled, Simulation, run
from pareprop.simulation import Annealing
from pareprop.storage import torch_network

EPOCHS, BATCH, ETA = 16, 16, 5e-3  # `ETA` falls to 0 as a cosine does
COPIES, RATE_HZ = 16, 200.0  # inputs of each column of pixels, and their rate where a pixel is white
C_REG, TARGET_HZ, TAU_OUT = 0.1, 40.0, 20.0


class Digits:
    """The 8 x 8 digits of scikit-learn, a row for 10 steps; the last 20 steps name the digit."""

    n_steps, learning_window, n_train, n_test = 80, 20, 1437, 360

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
    out = model.readouts("out", 10, C_m=1.0, E_L=0.0, tau_m=TAU_OUT, loss="cross_entropy")
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


def annealing(task: Digits) -> Annealing:
    """Return how the learning rate falls, of both ways."""
    return Annealing("cosine", EPOCHS * task.n_train // BATCH, {"eta": (ETA, 0.0)})


def by_eprop(seed: int, feedback: str, scaled: bool) -> tuple[float, float]:
    """Return the test accuracy of e-prop, and the rate in Hz of the first batch."""
    task = Digits(seed)
    falls = annealing(task)
    simulation = Simulation(network(seed, feedback, scaled), task, quiet=True, observers=[falls])
    simulation.train(falls.n_iterations)
    accuracy = simulation.test(task.n_test).accuracy
    assert accuracy is not None  # all samples have labels
    return accuracy, simulation.rates[0]


def exported(seed: int) -> torch.nn.Module:
    """Return what `pareprop export --torch` writes of a network before it has learned."""
    with tempfile.TemporaryDirectory() as folder:
        run(network(seed, "symmetric"), Digits(seed), Path(folder, "run"), quiet=True, iterations=0, figures="none")
        torch_network.export(Path(folder, "run", "results.h5"), Path(folder, "digits_network.py"))
        spec = importlib.util.spec_from_file_location("digits_network", Path(folder, "digits_network.py"))
        assert spec is not None and spec.loader is not None  # the file is there
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return module.Network()


def side_by_side(nets: Sequence[Any]) -> torch.nn.Module:  # Any: attributes of an exported class
    """Return one network of several alike, not connected: each learns as it would alone, in fewer calls."""
    one, sizes = nets[0], {}
    for k, item in enumerate(one.about["populations"]):
        sizes[item["name"]] = item["size"]
        item["size"] *= len(nets)
        for name in (f"value_{k}_{value}" for value in item["values"]):
            setattr(one, name, torch.cat([getattr(net, name) for net in nets]))
    for k, item in enumerate(one.about["projections"]):
        one.weights[item["key"]] = torch.nn.Parameter(torch.cat([net.weights[item["key"]].data for net in nets]))
        for name, shift in (("source", sizes[item["pre"]]), ("target", sizes[item["post"]]), ("delay", 0)):
            ends = [getattr(net, f"{name}_{k}") + shift * place for place, net in enumerate(nets)]
            setattr(one, f"{name}_{k}", torch.cat(ends))
    return one


def by_bptt(seeds: Sequence[int]) -> list[float]:
    """Return the test accuracies of BPTT. All networks are trained at once, as calls of PyTorch take the time."""
    tasks = [Digits(seed) for seed in seeds]
    torch.set_num_threads(1)
    net = side_by_side([exported(seed) for seed in seeds])
    adam, falls = torch.optim.Adam(net.parameters(), eps=1e-7), annealing(tasks[0])

    def take(first: int, phase: str, n: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return spikes (samples, steps, inputs of all networks), and labels (samples, networks)."""
        samples = [[task.sample(first + k, phase) for task in tasks] for k in range(n)]
        rasters = np.zeros((n, len(tasks), Digits.n_steps, 8 * COPIES))
        for k, place in np.ndindex(n, len(tasks)):
            rasters[k, place][samples[k][place].inputs.spikes(Digits.n_steps)] = 1.0
        labels = torch.tensor([[sample.label for sample in row] for row in samples])
        return torch.tensor(rasters).transpose(1, 2).flatten(2), labels

    def late(signal: torch.Tensor) -> torch.Tensor:
        """Return the readouts of the last steps, (samples, steps, networks, classes)."""
        return signal[:, -Digits.learning_window :].unflatten(2, (len(tasks), 10))

    for k in range(falls.n_iterations):
        adam.param_groups[0]["lr"] = falls.values(k)["eta"]
        inputs, labels = take(k * BATCH, "train", BATCH)
        signal, spikes = net(inputs)
        chances = late(signal).log_softmax(dim=3).mean(dim=1)
        named = torch.nn.functional.nll_loss(chances.flatten(0, 1), labels.flatten()) * len(tasks)
        away = spikes.mean(dim=1) - TARGET_HZ / 1000.0
        loss = named * Digits.learning_window + 0.5 * C_REG * away.square().sum(dim=1).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
    with torch.no_grad():
        inputs, labels = take(0, "test", Digits.n_test)
        found = late(net(inputs)[0]).softmax(dim=3).mean(dim=1).argmax(dim=2)
    return (found == labels).double().mean(dim=0).tolist()


def main() -> None:
    """Print a row for each way and seed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("seeds", type=int, nargs="+")
    parser.add_argument("--ways", nargs="+", default=["symmetric", "random", "plain", "bptt"])
    parser.add_argument(
        "--validate", action="store_true", help="hold out 240 of the 1 437 training samples, and test those"
    )
    given = parser.parse_args()
    if given.validate:
        Digits.n_train, Digits.n_test = 1057, 240
    for way in given.ways:
        for seeds in [given.seeds] if way == "bptt" else [[seed] for seed in given.seeds]:
            start = time.perf_counter()
            if way == "bptt":
                told = [f"{accuracy:.4g}" for accuracy in by_bptt(seeds)]
            else:
                accuracy, rate_hz = by_eprop(seeds[0], way if way == "random" else "symmetric", way != "plain")
                told = [f"{accuracy:.4g}, {rate_hz:.3g} Hz at first"]
            seconds = (time.perf_counter() - start) / len(seeds)
            for seed, text in zip(seeds, told, strict=True):
                print(f"{way} seed {seed}: {text} ({seconds:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
