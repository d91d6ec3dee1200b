"""Train networks of equations on tasks that need their dynamics, with and without these, and draw the losses.

    python scripts/own_dynamics.py evidence [--iterations 300] [--out FILE.png]
    python scripts/own_dynamics.py sines [--iterations 400] [--out FILE.png]

`evidence`: the side with more cues, reported after a pause that a membrane of 20 ms does not bridge. AdEx neurons whose
adaptation lasts 700 ms, beside the same neurons without adaptation (b = 0). `sines`: a sum of four sines from frozen
noise, by neurons with synaptic conductances (`iaf_cond_exp`), a fifth of which inhibits; no conductance turns its sign.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np

from pareprop import Adam, Model, Normal, Simulation, Uniform
from pareprop.engines.interval import IntervalSettings
from pareprop.neurons import library
from pareprop.plots import style
from pareprop.tasks.evidence_accumulation import EvidenceAccumulation
from pareprop.tasks.sine_waves import SineWaves

# from thresholds of 0.6, as in NEST's tutorial, to the 20 mV between rest and threshold of the AdEx neuron, in pA
ADEX = library.get("adex")
SCALE = 20.0 / 0.6 * ADEX.defaults["C_m"]


def evidence_model(b: float, n: int = 100, seed: int = 1) -> Model:
    """Return half AdEx neurons with a spike-triggered current `b` (pA), half without; else as the task's network."""
    rule = Adam(eta=5e-3 * SCALE, batch_size=32, epsilon=1e-12, Wmin=-1e6, Wmax=1e6)
    model = Model("interval", seed, optimizer=rule)
    inputs, out = model.inputs("in", 40), model.readouts(
        "out", 2, C_m=1.0, E_L=0.0, V_m=0.0, tau_m=20.0, loss="cross_entropy", regular_spike_arrival=False
    )  # fmt: skip
    values = {"a": 0.0, "tau_w": 700.0, "V_reset": -70.0, "t_ref": 5.0, "c_reg": 300.0, "f_target": 10.0,
              "surrogate_gradient_height": 0.3 / 20.0, "surrogate_gradient_width": 20.0}  # fmt: skip
    groups = [model.neurons(name, n // 2, ADEX, b=jump, **values) for name, jump in (("plain", 0.0), ("adaptive", b))]
    bound = math.sqrt(6.0 / (n + 2))
    for cells in groups:
        model.connect(inputs, cells, weight=Normal(std=SCALE / math.sqrt(40)))
        for other in groups:
            model.connect(other, cells, weight=Normal(std=SCALE / math.sqrt(n)), allow_autapses=False)
        model.connect(cells, out, weight=Uniform(low=-bound, high=bound), optimizer=Adam(eta=5e-3, epsilon=1e-8))
        model.connect(out, cells, weight=Normal(std=1.0))
    return model


def evidence(iterations: int) -> dict[str, list[float]]:
    """Return the loss of each iteration, with adaptation and without."""
    task = EvidenceAccumulation(n_cues=5, cue=50, spacing=25, pause=400, recall=100)
    losses = {}
    for label, b in (("AdEx, b = 12 pA", 12.0), ("without adaptation, b = 0", 0.0)):
        run = Simulation(evidence_model(b), task, settings=IntervalSettings(task.recall, average_gradient=True))
        for k in range(20, iterations + 1, 20):
            run.train(k)
            print(f"{label}: {k} iterations, loss {run.losses[-1]:.3f}, rate {run.rates[-1]:.1f} Hz", flush=True)
        losses[label] = list(run.losses)
        loss, chance = run.test(256), task.recall * math.log(2)
        print(f"{label}: loss {loss:.4f} in 256 trials without learning (chance {chance:.4f})", flush=True)
    return losses


def sines_model(task: SineWaves, plastic: bool, n: int = 100, seed: int = 1) -> Model:
    """Return 80 neurons that excite and 20 that inhibit by conductances, all to all."""
    model = Model("interval", seed, optimizer=Adam(eta=1e-2, Wmin=0.0, Wmax=100.0))
    inputs = model.inputs("in", task.n_in, sign=1)
    out = model.readouts("out", 1, C_m=1.0, E_L=0.0, V_m=0.0, tau_m=30.0, regular_spike_arrival=False)
    values = {"c_reg": 300.0, "surrogate_gradient_height": 0.3 / 15.0, "surrogate_gradient_width": 15.0}
    kind = library.get("iaf_cond_exp")
    exc = model.neurons("exc", 4 * n // 5, kind, sign=1, **values)
    inh = model.neurons("inh", n - 4 * n // 5, kind, sign=1, **values)
    for cells in (exc, inh):
        model.connect(inputs, cells, port="exc", weight=Uniform(low=0.0, high=2.0), plastic=plastic)
        for other, port, high in ((exc, "exc", 0.2), (inh, "inh", 2.0)):
            model.connect(
                other, cells, port=port, weight=Uniform(low=0.0, high=high), allow_autapses=False, plastic=plastic
            )
        model.connect(
            cells,
            out,
            weight=Normal(std=1.0 / math.sqrt(n)),
            sign="free",
            optimizer=Adam(eta=5e-3, Wmin=-100.0, Wmax=100.0),
        )
        model.connect(out, cells, weight=Normal(std=1.0 / math.sqrt(n)))
    return model


def sines(iterations: int) -> dict[str, list[float]]:
    """Return the loss of each iteration: all synapses learn, or those onto the readout alone."""
    task, losses = SineWaves(), {}
    for label, plastic in (("all synapses learn", True), ("readout alone", False)):
        run = Simulation(sines_model(task, plastic), task, settings=IntervalSettings(task.n_steps))
        for k in range(50, iterations + 1, 50):
            run.train(k)
            print(f"{label}: {k} iterations, loss {run.losses[-1]:.3f}, rate {run.rates[-1]:.1f} Hz", flush=True)
        losses[label] = list(run.losses)
    return losses


def draw(losses_of: dict[str, list[float]], title: str, out: Path) -> None:
    """Draw the loss of each iteration, and its mean over 20."""
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots(figsize=(5, 3.2), layout="constrained")
    for (label, losses), color in zip(losses_of.items(), style.colors(len(losses_of)), strict=True):
        ax.plot(np.arange(1, len(losses) + 1), losses, color=color, alpha=0.25, linewidth=0.8)
        width = min(20, len(losses))
        smooth = np.convolve(losses, np.ones(width) / width, "valid")
        ax.plot(np.arange(width, len(losses) + 1), smooth, color=color, label=label)
    ax.set(title=title, xlabel="iteration", ylabel="loss")
    ax.set_ylim(bottom=0.0)
    ax.legend(frameon=False)
    figure.savefig(out, dpi=150)


def main() -> None:
    """Train, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("which", choices=["evidence", "sines"])
    parser.add_argument("--iterations", type=int)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    train, iterations, title = {
        "evidence": (evidence, 300, "evidence accumulation"),
        "sines": (sines, 400, "sine waves, conductances"),
    }[given.which]
    losses_of = train(given.iterations or iterations)
    for label, losses in losses_of.items():
        n = max(len(losses) // 10, 1)
        print(f"{label}: loss {np.mean(losses[:n]):.4f} in the first tenth, {np.mean(losses[-n:]):.4f} in the last")
    if given.out:
        draw(losses_of, title, given.out)


if __name__ == "__main__":
    main()
