"""Estimate how long a run will take and how much memory it needs, before its first iteration.

Counts of operations (`work`) are multiplied by the costs below, those of one idle core of one processor; for other
processors a short measurement scales them all (`speed`). The estimate is mostly within a factor of two, if neurons fire
about as assumed; samples that are costly to make take longer, and episodes that end early are shorter. `pareprop
predict` measures a machine.
"""

from __future__ import annotations

from .. import machine
from ..machine import CACHE, peak_rss_bytes
from ..network.local import target_rate
from ..network.variants import Variant
from ..parallel import collectives
from ..simulation.observer import Watched
from ..simulation.task import is_closed
from ..tasks.base import TaskBase
from . import work
from .provenance import count_ranks_by_host
from .units import Interconnect, Units

INPUT_HZ = 25.0  # assumed rate of the inputs; the neurons fire at their target rate
SAMPLE = 4e-4  # seconds of a sample, beside its steps
STEP = 2e-7  # seconds of a step, beside its neurons
INPUT_STEP = 3e-9  # seconds to make the input of one source in a step
DECISION = 6e-5  # seconds of a decision of a task in closed loop
NEURON_STEP = 2.5e-9  # seconds of a neuron in a step
MEMORY = 2.0  # cost of an event whose synapses come from memory, relative to one whose synapses are in the cache
UPDATE = 3e-9  # seconds of a synapse in an optimizer step
ROUND = 1e-6  # seconds of an exchange between ranks that have a core each
CROWDED = 5e-5  # seconds of an exchange if ranks share cores
BUILT = ("incoming", "outgoing", "feedback", "currents", "mirror")  # kinds of memory filled when a network is built


def run_seconds(simulation: Watched, task: TaskBase, last: int, slowness: float = 1.0) -> float:
    """Collective: estimate the seconds until iteration `last`, with validations and the test; equal on all ranks.

    Parameters
    ----------
    simulation : Watched
        Before its first iteration.
    task : TaskBase
        The task with the settings of the phases.
    last : int
        Iteration after which the run ends.
    slowness : float
        Time that this processor takes, relative to that of the costs, see `speed`.
    """
    comm, groups, batch = simulation.world, simulation.replicas.count, simulation.model.optimizer.batch_size
    first, every = simulation.iteration, task.validate_every
    n_validations = last // every - first // every if every else 0
    n_tests = int(last == task.iterations)
    phases = ((last - first, batch), (n_validations, task.validate_samples), (n_tests, task.test_samples))
    share = sum(times * -(-size // groups) for times, size in phases)  # samples of the group that has most of them
    updates = (
        (last - first) * sum(len(table.weight) for table in simulation.network.tables().values()) * UPDATE * slowness
    )
    most = max(count_ranks_by_host(comm).values())
    crowd = max(1.0, most / machine.cores())
    units = rough_units(simulation.model.eprop, ROUND if crowd == 1 else CROWDED).scaled(slowness)
    exchanges = units.exchange_seconds(count(simulation))
    own = crowd * (share * sample_seconds(simulation, slowness) + updates) + share * exchanges
    return collectives.maximum(comm, own)


def rough_units(variant: Variant, round_s: float = ROUND) -> Units:
    """Return the costs of this module as unit costs of a machine."""
    event = variant.event_seconds
    seconds = {
        "deliver": {"events": event, "cold_events": (MEMORY - 1.0) * event, "readout_events": event},
        "update": {"neuron_steps": NEURON_STEP, "steps": STEP},
        "sweep": {},  # of models given by equations, which are measured
    }
    return Units(seconds, {}, Interconnect(round_s=round_s), cache=CACHE, crowded_cache=CACHE)


def count(simulation: Watched) -> work.Work:
    """Return the expected operations of this rank in a sample, if cells fire as assumed."""
    model, exchange, n_steps = simulation.model, simulation.exchange, simulation.task.n_steps
    duration = n_steps * model.dt_ms / 1000.0
    firing = work.Firing(INPUT_HZ * duration, target_rate(model) * duration)
    return work.of_rank(model, n_steps, firing, exchange.size, exchange.rank)


def sample_seconds(simulation: Watched, slowness: float = 1.0) -> float:
    """Estimate the seconds that this rank computes for a sample."""
    model, task, n_steps = simulation.model, simulation.task, simulation.task.n_steps
    seconds = SAMPLE + n_steps * INPUT_STEP * model.size("input")
    if is_closed(task):
        seconds += DECISION * (1 + (n_steps - task.first - 1) // task.period)
    phases = rough_units(model.eprop).scaled(slowness).phase_seconds(count(simulation))
    return slowness * seconds + phases["deliver"] + phases["update"] + phases["sweep"]


def rank_bytes(simulation: Watched) -> int:
    """Collective: estimate the bytes of the largest process: those in use now, and those that samples will fill."""
    untouched = sum(size for kind, size in simulation.nbytes().items() if kind not in BUILT)
    return int(collectives.maximum(simulation.world, peak_rss_bytes() + untouched))
