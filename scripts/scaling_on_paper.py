"""Scaling on paper: 10^6 to 10^9 neurons on 1 to 10^5 ranks, from unit costs of one machine and a network in words.

    pareprop predict --measure                       # writes units.json, takes a minute or two
    python scripts/scaling_on_paper.py units.json    # writes scaling_on_paper.csv, .png and .pdf

Three ways to exchange spikes: `before`, when each rank sent a message to all others once per step and merged all
spikes; `now`, by a log that the ranks of a node share and messages between leaders of nodes; and now in rounds of
`--delay` steps, the min-delay of the network. `before` one rank owned the only readout and all synapses onto it:
`owner` is what it needed in addition, while all others waited. Now these synapses live with their sources, and no rank
needs more than the others.
"""

from __future__ import annotations

import argparse
import csv
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from pareprop.network.model import Model
from pareprop.plots import style
from pareprop.runs import benchmark
from pareprop.scaling import units, work
from pareprop.scaling.units import Units
from pareprop.scaling.work import Firing, Work

NEURONS = [10**k for k in (6, 7, 8, 9)]
RANKS = [2**k for k in range(18)]
STEPS, RATE_HZ, INPUTS = 1000, 10.0, 100
WAYS = {"before": style.VERMILLION, "now": style.ORANGE, "now, rounds": style.BLUE}


@dataclass(frozen=True)
class Case:
    """One point.

    Attributes
    ----------
    neurons, ranks, nodes, way : int, int, int, str
        What is run, and how spikes are exchanged.
    seconds : float
        Wall time per second of the model, of a rank that owns no readout.
    exchange, owner : float
        Seconds of that for exchange and waiting, and seconds that an owner of the readout needs in addition.
    node_bytes : float
        Memory of a node.
    most : str
        What takes most time that more ranks do not take off: the owner, if it needs more than the exchange does, and
        the largest part of the exchange.
    """

    neurons: int
    ranks: int
    nodes: int
    way: str
    seconds: float
    exchange: float
    owner: float
    node_bytes: float
    most: str

    @property
    def all_in(self) -> float:
        """Seconds of the slowest rank."""
        return self.seconds + self.owner


def cases(costs: Units, variant: str, indegree: int, delay: int, per_node: int) -> Iterator[Case]:
    """All points that leave at least 100 neurons to a rank."""
    for neurons in NEURONS:
        every, rounds = (benchmark.model(neurons, indegree, INPUTS, delay=d, variant=variant) for d in (1, delay))
        for ranks in RANKS:
            if neurons >= 100 * ranks:
                for way, model in zip(WAYS, (every, every, rounds), strict=True):
                    yield _case(costs, model, ranks, per_node, way)


def _case(costs: Units, model: Model, ranks: int, per_node: int, way: str) -> Case:
    firing = Firing.at(benchmark.INPUT_PROBABILITY, RATE_HZ, STEPS, model.dt_ms)
    nodes = -(-ranks // per_node)
    apart = ranks if way == "before" else nodes  # a message per rank, or per node
    one, more = work.of_rank(model, STEPS, firing, ranks, 0, apart), 0.0
    if way == "before":  # the owner had the synapses onto the readout of all ranks
        others = ranks - 1
        owned = {name: getattr(one, name) * others for name in ("readout_synapses", "readout_events")}
        more = sum(
            costs.seconds[name].get(count, 0.0) * n for name in units.SAMPLE_PHASES for count, n in owned.items()
        )
    parts = sent_by_each(costs, one) if way == "before" else costs.exchange_parts(one)
    parts["wait for the slowest"] = costs.wait_seconds(one)
    memory = costs.node_bytes(one)
    if way == "before":  # buffers of each rank, and a log of all spikes
        memory = min(ranks, per_node) * (sum(costs.memory(one).values()) + costs.base_bytes + 4 * one.spikes)
    exchange, most = sum(parts.values()), max(parts, key=parts.__getitem__) if ranks > 1 else ""
    if more > exchange:
        most = f"the readout's owner, then {most}"
    neurons = model.size("recurrent")
    compute = _compute(costs, work.of_rank(model, STEPS, firing, ranks, 0, nodes))
    return Case(neurons, ranks, nodes, way, compute + exchange, exchange, more, memory, most)


def _compute(costs: Units, found: Work) -> float:
    return sum(costs.phase_seconds(found)[name] for name in units.SAMPLE_PHASES)


def sent_by_each(costs: Units, found: Work) -> dict[str, float]:
    """Seconds of an Allgather among all ranks in each round, and of merging all spikes; each rank counts as a node."""
    network = costs.network
    if found.ranks == 1:
        return {"messages": 0.0}
    return {
        "messages": found.rounds * network.latency_s * math.ceil(math.log2(found.ranks)),
        "bytes": found.rounds * 4.0 * found.words * (found.ranks - 1) / network.bandwidth,
        "merging": network.merge_s * found.spikes,
    }


@style.styled
def draw(points: list[Case], title: str) -> Figure:
    """Time with and without the readout's owner, share of the exchange, and memory; a column per size of network."""
    figure = Figure(figsize=(style.WIDTH, 5.2), layout="constrained")
    axes = figure.subplots(3, len(NEURONS), sharex=True, sharey="row")
    for column, neurons in enumerate(NEURONS):
        for way, color in WAYS.items():
            some = [point for point in points if point.neurons == neurons and point.way == way]
            ranks = [point.ranks for point in some]
            axes[0, column].plot(ranks, [point.all_in for point in some], color=color, label=way)
            axes[0, column].plot(
                ranks, [point.seconds for point in some], color=color, ls="--", lw=0.8, label=f"{way}, no owner"
            )
            axes[1, column].plot(ranks, [point.exchange / point.seconds for point in some], color=color)
            axes[2, column].plot(ranks, [point.node_bytes / 1e9 for point in some], color=color)
        first = next(point for point in points if point.neurons == neurons)
        ideal = [first.seconds / rank for rank in RANKS]
        axes[0, column].plot(RANKS, ideal, color=style.GREY, ls="-.", lw=0.8, zorder=0, label="ideal")
        axes[0, column].set(title=f"10$^{round(math.log10(neurons))}$ neurons", xscale="log", yscale="log")
        axes[2, column].set(xlabel="ranks", yscale="log")
    axes[0, 0].set(ylabel="wall time per second\nof the model (s)")
    axes[1, 0].set(ylabel="share of the exchange", ylim=(0, 1))
    axes[2, 0].set(ylabel="memory of a node (GB)")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def table(points: list[Case]) -> Iterator[str]:
    """For each size and way the fastest number of ranks, and what then takes most time beside the shared work."""
    yield (
        "neurons  way           ranks  nodes  s per s  exchange  owner s  all in s  GB per node  what stops it"
    )  # fmt: skip
    for neurons in NEURONS:
        for way in WAYS:
            some = [point for point in points if point.neurons == neurons and point.way == way]
            least = min(some, key=lambda point: point.seconds)
            at_end = " (nothing yet: most ranks tried)" if least.ranks == some[-1].ranks else ""
            yield (
                f"{neurons:7.0e}  {way:11s} {least.ranks:7d} {least.nodes:6d} {least.seconds:8.3g} "
                f"{least.exchange / least.seconds:9.0%} {least.owner:8.2g} {least.all_in:9.3g} "
                f"{least.node_bytes / 1e9:12.3g}  {least.most}{at_end}"
            )


def main() -> None:
    """Read unit costs, predict, tell, draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("units", type=Path)
    parser.add_argument("--variant", default="interval", choices=["interval", "spike"])
    parser.add_argument("--indegree", type=int, default=1000)
    parser.add_argument("--delay", type=int, default=15, help="steps of a round")
    parser.add_argument("--latency", type=float, default=2e-6, help="of a message between nodes in s")
    parser.add_argument("--bandwidth", type=float, default=2e9, help="bytes per second that a node receives")
    parser.add_argument("--ranks-per-node", type=int, default=128)
    parser.add_argument("--out", type=Path, default=Path("."))
    given = parser.parse_args()
    costs = units.read(given.units)[given.variant].with_network(given.latency, given.bandwidth)
    points = list(cases(costs, given.variant, given.indegree, given.delay, given.ranks_per_node))
    given.out.mkdir(parents=True, exist_ok=True)
    with open(given.out / "scaling_on_paper.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, list(vars(points[0])))
        writer.writeheader()
        writer.writerows(map(vars, points))
    print("\n".join(table(points)))
    title = f"{given.variant} variant, in-degree {given.indegree}, {RATE_HZ:g} Hz, rounds of 1 and {given.delay} steps"
    for path in style.save(draw(points, title), given.out, "scaling_on_paper"):
        print(path)


if __name__ == "__main__":
    main()
