"""Train a task that needs delays, the order of inputs, with learned delays and with weights alone.

    python scripts/learned_delays.py [--iterations 120] [--seeds 3] [--out FILE.png]
    mpirun -n 3 python scripts/learned_delays.py ...     # the same digests

Twelve inputs spike once each, 4 ms apart, in one order or in its reverse, at any time of a trial and with jitter. Eight
neurons of tau_m = 3 ms bridge two spikes at most, and readouts that hardly forget count what neurons do. All delays are
12 ms at first, so only coincidences that delays make tell the orders apart.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import pareprop
from pareprop import Adam, Model, Normal, Sample, Simulation
from pareprop.engines.interval import IntervalSettings
from pareprop.parallel.exchange import Exchange
from pareprop.plots import style
from pareprop.simulation import digest

N_IN, N, GAP, N_STEPS, ASKED = 12, 8, 4, 130, 20  # ASKED: last steps of a trial, in which readouts are to answer
COLOURS = {"weights": style.GREY, "weights and delays": style.BLUE}


class Order:
    """Trials of two orders."""

    n_steps, learning_window = N_STEPS, ASKED

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def sample(self, index: int, phase: str = "train") -> Sample:
        """Return a trial."""
        rng = np.random.default_rng([self.seed, index, phase == "test"])
        label, raster, target = int(rng.integers(2)), np.zeros((N_STEPS, N_IN), bool), np.zeros((N_STEPS, 2))
        order = np.arange(N_IN) if label else np.arange(N_IN)[::-1]
        steps = rng.integers(5, 25) + GAP * np.arange(N_IN) + rng.integers(-1, 2, N_IN)
        raster[steps, order] = True
        target[:, label] = 1.0
        return Sample.from_raster(raster, target, label=label)


def network(seed: int, learns: bool) -> Model:
    """Return the network; `learns`: delays, too."""
    model = Model("interval", seed, optimizer=Adam(eta=0.02, batch_size=4))
    inputs = model.inputs("in", N_IN)
    out = model.readouts("out", 2, C_m=1.0, E_L=0.0, V_m=0.0, tau_m=1000.0, loss="cross_entropy")
    cells = model.neurons(
        "rec", N, C_m=1.0, E_L=0.0, V_th=1.0, tau_m=3.0, t_ref=2.0, c_reg=10.0, f_target=30.0,
        regular_spike_arrival=False, surrogate_gradient_height=0.5, surrogate_gradient_width=1.0,
    )  # fmt: skip
    delays = {"learn_delay": Adam(eta=0.3, low=1, high=30)} if learns else {}
    model.connect(inputs, cells, weight=Normal(mean=0.9, std=0.3), delay=12, **delays)
    model.connect(cells, out, weight=Normal(std=0.3))
    model.connect(out, cells, weight=Normal(std=1.0))
    return model


def train(seed: int, learns: bool, iterations: int, exchange: Exchange) -> tuple[list[float], np.ndarray]:
    """Train; return the loss of each iteration, per step, and on rank 0 the delays in steps, (N, N_IN)."""
    settings = IntervalSettings(ASKED, average_gradient=True)
    run = Simulation(network(seed, learns), Order(seed), exchange, settings=settings)
    losses = [loss / ASKED for loss in run.train(iterations)]
    test, key = run.test(100), run.hexdigest()
    delays = np.zeros((N, N_IN))
    for table, span in digest.tables(run.network)[:1]:
        for part in digest.synapses(exchange.comm, table, span):
            delays[part["target"], part["source"]] = part["delay"]
    if exchange.rank == 0:
        what, ends = "weights and delays" if learns else "weights", (np.mean(losses[:10]), np.mean(losses[-10:]))
        print(
            f"{what}, seed {seed}: loss {ends[0]:.3f} → {ends[1]:.4f}, right {test.accuracy:.0%}, {key[:16]}",
            flush=True,
        )
    return losses, delays


def draw(curves: dict[str, list[list[float]]], delays: np.ndarray, out: Path) -> None:
    """Draw the losses of all seeds, means of five iterations, and the delays onto each neuron."""
    figure = Figure(figsize=(7.5, 2.6), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.3, 1.0))
    for what, seeds in curves.items():
        for k, losses in enumerate(seeds):
            shown = np.array(losses[: len(losses) // 5 * 5]).reshape(-1, 5).mean(axis=1)
            label = what if k == 0 else None
            left.semilogy(5.0 * np.arange(len(shown)) + 3, shown, color=COLOURS[what], label=label, lw=0.9)
    left.axhline(np.log(2.0), color=style.VERMILLION, lw=0.8, ls="--", label="chance")
    left.set(xlabel="iteration", ylabel="cross-entropy per step")
    left.legend()
    for k, (own, colour) in enumerate(zip(delays, style.colors(N), strict=True)):
        right.plot(np.arange(1, N_IN + 1), own, color=colour, marker=".", lw=0.7, ms=4)
        if k == 0:
            right.axhline(12, color=style.GREY, lw=0.8, ls=":")
    right.set(xlabel="input, in its order", ylabel="delay (ms)", title="onto each neuron, seed 1")
    style.save(figure, out.parent, out.stem, pdf=False)


def main() -> None:
    """Train with both kinds of learning, and draw."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--iterations", type=int, default=120)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=None)
    given = parser.parse_args()
    exchange, curves, shown = pareprop.exchange(), {}, np.zeros((N, N_IN))
    for what in COLOURS:
        runs = [train(seed, "delays" in what, given.iterations, exchange) for seed in range(1, given.seeds + 1)]
        curves[what], shown = [losses for losses, _ in runs], runs[0][1]
    if given.out is not None and exchange.rank == 0:
        style.styled(draw)(curves, shown, given.out)


if __name__ == "__main__":
    main()
