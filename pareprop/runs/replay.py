"""Run recorded samples again, from rest and without learning, for comparison with another simulator (`nest_writer`).

In the spike variant a recorded sample begins in the state that the sample before has left, and changes weights while it
runs: another simulator cannot reproduce its spikes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..engines.spike import Spike
from ..errors import InputError
from ..network.variants import find_variant
from ..simulation import digest
from ..simulation.loop import Simulation
from ..storage.opened import RunResults
from . import config
from .directory import CONFIG


def simulate_records(directory: Path, trust: bool = False) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Run the samples of the records "first" and "last" with the weights before and after the training.

    Returns step and id of each spike by name of the record. The result is empty in the interval variant, whose recorded
    spikes can be compared, and if the network cannot be rebuilt: of a script, rewired, or in closed loop. With `trust`
    code that the configuration names may be imported.
    """
    run = RunResults(directory)
    if not find_variant(run.attributes.get("variant")).is_online or "script" in run.config.get("run", {}):
        return {}
    task, spikes = config.load_of_run(directory / CONFIG, trust=trust).task, {}
    samples = {name: key for key, name in task.list_recorded_samples().items()}
    samples |= {name: samples[other] for name, other in task.list_sample_aliases().items()}
    for record, (phase, index) in samples.items():
        model = task.build_model()
        if record != "first":
            model.copy_parameters(run)
        simulation = Simulation(model, task.subject, settings=task.make_settings())
        if simulation.episodes or any(item.rewiring for item in simulation.engine.plastic):
            return {}
        set_weights(simulation, run, initial=record == "first")
        simulation.run_sample(index, phase, learn=False)
        spikes[record] = simulation.engine.log.list_spikes(simulation.engine.n)
    return spikes


def set_weights(simulation: Simulation, run: RunResults, initial: bool) -> None:
    """Give a simulation on one rank the weights of a run, before or after its training."""
    assert isinstance(simulation.engine, Spike)
    for table, span in digest.list_tables(simulation.network):
        if span.first == span.last:  # the results leave out projections without synapses
            continue
        weights = run.weights(span.projection.name)["weight_initial" if initial else "weight"]
        if len(weights) != (n := span.last - span.first):
            reason = f"'{span.projection.name}' has {len(weights)} weights, its network {n} synapses"
            raise InputError(f"{run.path}: {reason}")
        *_, index = table.list_columns(span)
        table.weight[index] = weights
