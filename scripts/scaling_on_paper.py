"""Scaling on paper: 10^6 to 10^9 neurons on 1 to 10^5 ranks, from unit costs of one machine and a network in words.

    pareprop predict --measure                       # writes units.json, takes a minute or two
    python scripts/scaling_on_paper.py units.json    # writes scaling_on_paper.csv, .png and .pdf

Three ways to exchange spikes: all to all once per step (what pareprop does with a min-delay of one step), all to all in
rounds of `--delay` steps, and a targeted exchange, in which a rank sends a spike only to ranks that have a target of it
and nothing to others (pareprop's own sends each a header, which costs more on thousands of ranks). Rows are held of
sources with targets on a rank alone, in all three. Looked at is a rank without readouts; `readout` is what the one that
owns the only readout, which hears all neurons, needs in addition.
"""

from __future__ import annotations

import argparse
import csv
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from matplotlib.figure import Figure

from pareprop.plots import style
from pareprop.runs import benchmark
from pareprop.scaling import units, work
from pareprop.scaling.units import Units
from pareprop.scaling.work import Firing, Work

NEURONS = [10**k for k in (6, 7, 8, 9)]
RANKS = [2**k for k in range(18)]
STEPS, RATE_HZ, INPUTS = 1000, 10.0, 100
OVERHEAD = 0.1  # share of the latency that one more message costs its receiver (o / L in LogP)
MODES = {"all to all": style.VERMILLION, "all to all, rounds": style.ORANGE, "targeted, rounds": style.BLUE}


@dataclass(frozen=True)
class Case:
    """One point: seconds of wall time per second of the model, and bytes of a rank."""

    neurons: int
    ranks: int
    mode: str
    seconds: float
    communicate: float
    readout: float
    nbytes: float


def targeted(found: Work, neurons: int) -> Work:
    """The work of a rank that hears of sources with targets here alone."""
    return replace(found, spikes=found.spikes * found.heard / neurons)


def cases(costs: Units, variant: str, indegree: int, delay: int) -> Iterator[Case]:
    """All points that leave at least 100 neurons to a rank."""
    for neurons in NEURONS:
        model = benchmark.model(neurons, indegree, INPUTS, delay=1, variant=variant)
        firing = Firing.at(benchmark.INPUT_PROBABILITY, RATE_HZ, STEPS, model.dt_ms)
        for ranks in RANKS:
            if neurons < 100 * ranks:
                continue
            one, owner = (work.of_rank(model, STEPS, firing, ranks, rank) for rank in (0, ranks - 1))
            readout = _seconds(costs.phase_seconds(owner)) - _seconds(costs.phase_seconds(one))
            rounds = STEPS / delay
            several = replace(one, rounds=rounds, words=2 + (one.words - 2) * one.rounds / rounds)
            for mode, found in zip(MODES, (one, several, targeted(several, neurons)), strict=True):
                yield _case(costs, neurons, mode, found, readout)


def _seconds(phases: dict[str, float]) -> float:
    return sum(value for name, value in phases.items() if name != "build")


def _case(costs: Units, neurons: int, mode: str, found: Work, readout: float) -> Case:
    phases = costs.phase_seconds(found)
    if mode.startswith("targeted") and found.ranks > 1:
        others, heard = found.ranks - 1, found.spikes / found.rounds  # spikes with targets here
        senders = others * -math.expm1(-heard / others)  # ranks that have something to tell in a round
        seconds = costs.network.latency_s * (1 + OVERHEAD * senders) + 4 * (heard + senders) / costs.network.bandwidth
        phases["communicate"] = found.rounds * seconds + costs.network.merge_s * found.spikes
    memory = sum(costs.memory(found).values())
    return Case(neurons, found.ranks, mode, _seconds(phases), phases["communicate"], readout, memory)


@style.styled
def draw(points: list[Case], title: str) -> Figure:
    """Time, share of the exchange, and memory, a column per size of the network."""
    figure = Figure(figsize=(style.WIDTH, 5.2), layout="constrained")
    axes = figure.subplots(3, len(NEURONS), sharex=True, sharey="row")
    for column, neurons in enumerate(NEURONS):
        for mode, color in MODES.items():
            some = [point for point in points if point.neurons == neurons and point.mode == mode]
            ranks = [point.ranks for point in some]
            axes[0, column].plot(ranks, [point.seconds for point in some], color=color, label=mode)
            axes[1, column].plot(ranks, [point.communicate / point.seconds for point in some], color=color)
            axes[2, column].plot(ranks, [point.nbytes / 1e9 for point in some], color=color)
        first = next(point for point in points if point.neurons == neurons)
        ideal = [first.seconds / rank for rank in RANKS]
        axes[0, column].plot(RANKS, ideal, color=style.GREY, ls="-.", lw=0.8, zorder=0, label="ideal")
        axes[0, column].set(title=f"10$^{round(math.log10(neurons))}$ neurons", xscale="log", yscale="log")
        axes[2, column].set(xlabel="ranks", yscale="log")
        axes[2, column].axhline(4.0, color=style.GREY, ls=":", lw=0.8)
    axes[0, 0].set(ylabel="wall time per second\nof the model (s)")
    axes[1, 0].set(ylabel="share of the exchange", ylim=(0, 1))
    axes[2, 0].set(ylabel="memory of a rank (GB)")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def best(points: list[Case]) -> Iterator[str]:
    """For each size and way: the number of ranks beyond which it gets slower."""
    for neurons in NEURONS:
        for mode in MODES:
            some = [point for point in points if point.neurons == neurons and point.mode == mode]
            least = min(some, key=lambda point: point.seconds)
            at_end = " (the most tried)" if least.ranks == some[-1].ranks else ""
            exchange, size = least.communicate / least.seconds, least.nbytes / 1e9
            yield (
                f"{neurons:.0e} neurons, {mode}: fastest on {least.ranks} ranks{at_end}, {least.seconds:.3g} s, "
                f"{exchange:.0%} exchange, {size:.2g} GB per rank; the readout's owner {least.readout:.2g} s more"
            )


def main() -> None:
    """Read unit costs, predict, tell, draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("units", type=Path)
    parser.add_argument("--variant", default="interval", choices=["interval", "spike"])
    parser.add_argument("--indegree", type=int, default=1000)
    parser.add_argument("--delay", type=int, default=15, help="steps of a round")
    parser.add_argument("--latency", type=float, default=2e-6, help="of a message between nodes in s")
    parser.add_argument("--bandwidth", type=float, default=2e9, help="bytes per second that a rank receives")
    parser.add_argument("--out", type=Path, default=Path("."))
    given = parser.parse_args()
    costs = units.read(given.units)[given.variant].with_network(given.latency, given.bandwidth)
    points = list(cases(costs, given.variant, given.indegree, given.delay))
    given.out.mkdir(parents=True, exist_ok=True)
    with open(given.out / "scaling_on_paper.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, list(vars(points[0])))
        writer.writeheader()
        writer.writerows(map(vars, points))
    print("\n".join(best(points)))
    title = f"{given.variant} variant, in-degree {given.indegree}, {RATE_HZ:g} Hz, rounds of 1 and {given.delay} steps"
    for path in style.save(draw(points, title), given.out, "scaling_on_paper"):
        print(path)


if __name__ == "__main__":
    main()
