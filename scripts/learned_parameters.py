"""Train a task that needs a longer memory than the membrane's, with learned time constants and with weights alone.

    python scripts/learned_parameters.py [--iterations 300] [--seeds 3] [--out FILE.png]
    mpirun -n 3 python scripts/learned_parameters.py ...     # the same digests

One of two groups of inputs fires for 25 ms; 60 ms later readouts, which forget in 5 ms, are asked which one it was.
Other inputs keep 24 adaptive neurons active all the time. These have no synapses among each other, and their
thresholds recover within 15 ms at first, so that what was is over when it is asked for.
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

N, GROUP, CUE, PAUSE, ASKED = 24, 10, 25, 60, 20  # neurons, inputs of a group, and steps of the parts of a trial
N_STEPS = 10 + CUE + PAUSE + ASKED
LEARN = {"adapt_tau": Adam(eta=0.05, low=5.0, high=400.0, scale="log")}
COLOURS = {"weights": style.GREY, "weights and adapt_tau": style.BLUE}


class Memory:
    """Trials of two cues."""

    n_steps, learning_window = N_STEPS, ASKED

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def sample(self, index: int, phase: str = "train") -> Sample:
        """Return a trial."""
        rng = np.random.default_rng([self.seed, index, phase == "test"])
        label, target = int(rng.integers(2)), np.zeros((N_STEPS, 2))
        rates = np.zeros((N_STEPS, 3 * GROUP))
        rates[:, 2 * GROUP :] = 0.1
        rates[10 : 10 + CUE, label * GROUP : (label + 1) * GROUP] = 0.2
        target[:, label] = 1.0
        return Sample.from_raster(rng.random(rates.shape) < rates, target, label=label)


def network(seed: int, learns: bool) -> Model:
    """Return the network; `learns`: time constants of adaptation, too."""
    model = Model("interval", seed, optimizer=Adam(eta=0.01, batch_size=4))
    inputs, out = model.inputs("in", 3 * GROUP), model.readouts("out", 2, C_m=1.0, tau_m=5.0, loss="cross_entropy")
    cells = model.neurons(
        "rec", N, "iaf_adapt", C_m=1.0, E_L=0.0, V_th=0.6, tau_m=10.0, t_ref=2.0, adapt_tau=15.0, adapt_beta=0.3,
        c_reg=30.0, f_target=60.0, surrogate_gradient_height=0.5, surrogate_gradient_width=1.0,
        learn=LEARN if learns else {},
    )  # fmt: skip
    model.connect(inputs, cells, weight=Normal(mean=0.12, std=0.12))
    model.connect(cells, out, weight=Normal(std=0.2))
    model.connect(out, cells, weight=Normal(std=1.0))
    return model


def train(seed: int, learns: bool, iterations: int, exchange: Exchange) -> tuple[list[float], np.ndarray]:
    """Train; return the loss of each iteration, per step, and on rank 0 the time constants at the end."""
    settings = IntervalSettings(ASKED, average_gradient=True)
    run = Simulation(network(seed, learns), Memory(seed), exchange, settings=settings)
    losses = [loss / ASKED for loss in run.train(iterations)]
    test, key = run.test(100), run.hexdigest()
    parameters = run.engine.parameters
    values = [parameters.gather(exchange.comm, item.values, item) for item in parameters.items]
    if exchange.rank == 0:
        what, ends = "weights and adapt_tau" if learns else "weights", (np.mean(losses[:10]), np.mean(losses[-10:]))
        found = f"loss {ends[0]:.3f} → {ends[1]:.3f}, right {test.accuracy:.0%}, {run.rates[-1]:.0f} Hz"
        median = f", median of adapt_tau {np.median(values[0]):.0f} ms" if values else ""
        print(f"{what}, seed {seed}: {found}{median}, {key[:16]}", flush=True)
    return losses, values[0] if values else np.full(N, 15.0)


def draw(curves: dict[str, list[list[float]]], ends: list[np.ndarray], out: Path) -> None:
    """Draw the losses of all seeds, means of five iterations, and the time constants at the end."""
    figure = Figure(figsize=(7.5, 2.6), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.3, 1.0))
    for what, seeds in curves.items():
        for k, losses in enumerate(seeds):
            shown = np.array(losses[: len(losses) // 5 * 5]).reshape(-1, 5).mean(axis=1)
            label = what if k == 0 else None
            left.plot(5.0 * np.arange(len(shown)) + 3, shown, color=COLOURS[what], label=label, lw=0.9)
    left.axhline(np.log(2.0), color=style.VERMILLION, lw=0.8, ls="--", label="chance")
    left.set(xlabel="iteration", ylabel="cross-entropy per step", ylim=(0, None))
    left.legend()
    edges = np.geomspace(5.0, 400.0, 25)
    for k, (values, colour) in enumerate(zip(ends, style.colors(len(ends)), strict=True)):
        right.stairs(np.histogram(values, edges)[0], edges, color=colour, label=f"seed {k + 1}")
    right.axvline(15.0, color=style.GREY, lw=0.8, ls=":", label="initial")
    right.set(xscale="log", xlabel="adapt_tau (ms)", ylabel="neurons")
    right.legend()
    style.save(figure, out.parent, out.stem, pdf=False)


def main() -> None:
    """Train with both kinds of learning, and draw."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--iterations", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=None)
    given = parser.parse_args()
    exchange, curves, ends = pareprop.exchange(), {}, []
    for what in COLOURS:
        runs = [train(seed, "tau" in what, given.iterations, exchange) for seed in range(1, given.seeds + 1)]
        curves[what], ends = [losses for losses, _ in runs], [values for _, values in runs]
    if given.out is not None and exchange.rank == 0:
        style.styled(draw)(curves, ends, given.out)


if __name__ == "__main__":
    main()
