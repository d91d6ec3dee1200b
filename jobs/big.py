"""Train as large a network as memory holds; by default a million neurons with 10^9 plastic synapses.

    mpirun -n 2 python -m pareprop.jobs.big

Sparse recurrent network of plain leaky neurons, interval variant, gradient descent on single samples: 8 bytes per
synapse in single precision, 12 in double, target and weight, for the credit goes straight into the weights. On two
ranks the defaults took 4.5 GiB per rank. Firing is kept near `--rate` by the regularisation. Prints memory per rank by
kind, and wall seconds per phase.
"""

from __future__ import annotations

import time

import click

from pareprop.machine import peak_rss_bytes
from pareprop.network.model import Model
from pareprop.network.optimizers import GradientDescent
from pareprop.network.parameters import Normal
from pareprop.parallel import collectives, launcher
from pareprop.runs.benchmark import PHASES, BenchTask, count_events
from pareprop.runs.progress import Progress
from pareprop.simulation.loop import Simulation
from pareprop.simulation.observer import Observer


class Report(Observer):
    """Prints loss and firing rate of each interval on rank 0; counts the events of this rank, including inputs."""

    def __init__(self) -> None:
        self.events = 0

    def after_iteration(self, simulation: Simulation, iteration: int, loss: float) -> None:
        """One line."""
        engine, inputs = simulation.engine, simulation.task.sample(iteration).inputs
        self.events += count_events(simulation.network.incoming, inputs, engine.get_received_spikes(), engine.n, False)
        if simulation.exchange.rank == 0:
            click.echo(f"interval {iteration}: loss {loss:.5g}, {simulation.rates[-1]:.2f} spikes/s per neuron")


def network(neurons: int, indegree: int, inputs: int, rate: float, seed: int, precision: str) -> Model:
    """Recurrent weights N(0, g/K) with weak drive, so that neurons fire at a few spikes per second."""
    model = Model("interval", seed, optimizer=GradientDescent(eta=1e-3 / neurons), precision=precision)
    source = model.inputs("in", inputs)
    cells = model.neurons(
        "rec",
        neurons,
        "iaf",
        C_m=1.0,
        E_L=0.0,
        V_m=0.0,
        V_th=0.03,
        tau_m=30.0,
        t_ref=5.0,
        c_reg=300.0,
        f_target=rate,
        regular_spike_arrival=False,
        surrogate_gradient_height=10.0,
        surrogate_gradient_width=0.03,
    )
    out = model.readouts("out", 1, C_m=1.0, tau_m=30.0, regular_spike_arrival=False)
    model.connect(source, cells, "fixed_indegree", indegree=20, weight=Normal(std=0.45 * 20**-0.5))
    model.connect(
        cells, cells, "fixed_indegree", indegree=indegree, allow_autapses=False, weight=Normal(std=0.5 * indegree**-0.5)
    )
    model.connect(cells, out, weight=Normal(std=neurons**-0.5))
    model.connect(out, cells, weight=Normal(std=neurons**-0.5))
    return model


@click.command()
@click.option("--neurons", default=1_000_000, show_default=True)
@click.option("--indegree", default=1000, show_default=True)
@click.option("--inputs", default=1000, show_default=True)
@click.option("--steps", default=200, show_default=True, help="Steps of 1 ms in an interval.")
@click.option("--intervals", default=2, show_default=True)
@click.option("--rate", default=7.0, show_default=True, help="Target firing rate in Hz.")
@click.option("--seed", default=1, show_default=True)
@click.option("--precision", default="single", show_default=True, type=click.Choice(["single", "double"]))
@click.option("--digest", is_flag=True, help="Print the digest, which takes longer than learning.")
def main(
    neurons: int,
    indegree: int,
    inputs: int,
    steps: int,
    intervals: int,
    rate: float,
    seed: int,
    precision: str,
    digest: bool,
) -> None:
    """Build, train, and print times and memory."""
    exchange = launcher.exchange()
    task = BenchTask(inputs, steps, seed)
    model = network(neurons, indegree, inputs, rate, seed, precision)
    report = Report()
    simulation = Simulation(model, task, exchange, [report, Progress(intervals)])
    synapses = collectives.sum_over_ranks(
        exchange.comm, sum(len(table.weight) for table in simulation.network.list_tables().values())
    )
    show = click.echo if exchange.rank == 0 else (lambda text: None)
    build = simulation.timers.seconds["build"]
    show(f"{exchange.size} ranks, {neurons} neurons, {synapses} synapses; build {build:.1f} s")
    for name, size in simulation.nbytes().items():
        show(f"  {name:12s} {size / 2**30:8.3f} GiB on rank 0")
    start = time.perf_counter()
    simulation.train(intervals)
    wall = time.perf_counter() - start
    events = max(collectives.sum_over_ranks(exchange.comm, report.events) / exchange.size, 1.0)
    for name in PHASES:  # a rank without neurons has not been in all of them
        worst = collectives.max_over_ranks(exchange.comm, simulation.timers.seconds.get(name, 0.0))
        show(f"  {name:12s} {worst:8.2f} s" + ("" if name == "build" else f" {1e9 * worst / events:8.2f} ns per event"))
    peak = collectives.max_over_ranks(exchange.comm, peak_rss_bytes())
    show(
        f"train {wall:.1f} s for {steps * intervals} ms, about {1e9 * wall / events:.1f} ns per synaptic event and "
        f"rank; peak memory {peak / 2**30:.2f} GiB per rank"
    )
    if digest:
        show(f"digest: {simulation.hexdigest()}")


if __name__ == "__main__":
    main()
