"""Find and name numbers that are not finite, after each sample."""

from __future__ import annotations

import math

import numpy as np

from ..engines.base import Engine
from ..errors import NotFiniteError, StateError
from ..kernels import optimizers as kernel
from ..kernels import readout_sums
from ..network.local import LocalNetwork
from ..network.synapse_table import ProjectionSlice, SynapseTable
from .observer import Watched

LIMIT = 1e150  # larger numbers count as overflow
READOUT_LIMIT = readout_sums.LARGEST  # weights onto readouts overflow their exact sums from here on
KERNELS = {"d": kernel.sound_double, "f": kernel.sound_single}


def find_bad(network: LocalNetwork, engine: Engine) -> StateError | None:
    """Return an error that names the first number on this rank that is not finite or beyond `LIMIT`; None without one.

    Each call checks the weights, and the arrays that such a number soon reaches; the whole state is searched only if
    that finds one.
    """
    watched = engine.list_arrays_to_check()
    if (
        all(map(_is_in_range, watched.values()))
        and _is_in_range(network.incoming.weight)
        and _is_in_range(network.outgoing.weight, READOUT_LIMIT)
    ):
        return None
    state = engine.state()
    with np.errstate(over="ignore", invalid="ignore"):
        for name, array in (watched | state.neurons).items():
            for where in np.argwhere(_find_bad_value(array))[:1]:
                return StateError(f"{name} = {array[tuple(where)]:g} in {_name_neuron(network, int(where[-1]))}")
        for name, (table, span, array) in state.synapses.items():
            if name.endswith("/weight"):
                limit = READOUT_LIMIT if table is network.outgoing else LIMIT
                for index in np.flatnonzero(_find_bad_value(array, limit))[:1]:
                    return StateError(f"weight = {array[index]:g} in {_name_synapse(table, span, int(index))}")
    return None


def require_finite(simulation: Watched, index: int, loss: float) -> None:
    """Collective: end the run after sample `index` if a number on any rank is not finite."""
    model, engine = simulation.model, simulation.engine
    found, problem = find_bad(simulation.network, engine), None
    if found or not math.isfinite(loss):
        what = f"{found} (sample {index})"
        if not math.isfinite(loss):
            what = f"the loss of sample {index} is {loss}" + (f"; {found}" if found else "")
        hint = "a smaller learning rate or tighter weight bounds may help"
        within = model.eprop.is_online and model.optimizer.batch_size == 1
        if not simulation.iteration and not within:
            hint = "no weight has changed yet: the inputs, the initial weights or the parameters are the cause"
        problem = NotFiniteError(f"{what}; {hint}")
    engine.channel.raise_problems_of_neurons(problem)


def _is_in_range(array: np.ndarray, limit: float = LIMIT) -> bool:
    return KERNELS[array.dtype.char](limit, array.ravel())


def _find_bad_value(array: np.ndarray, limit: float = LIMIT) -> np.ndarray:
    return ~(np.abs(array) < limit)


def _name_neuron(network: LocalNetwork, local: int) -> str:
    index = network.neurons[0] + local
    for population in network.model.of_role("recurrent"):
        first = network.model.offset(population)
        if first <= index < first + population.size:
            return f"neuron {index - first} of population '{population.name}'"
    raise IndexError(index)


def _name_synapse(table: SynapseTable, span: ProjectionSlice, place: int) -> str:
    index = span.first + place
    row = int(np.searchsorted(table.row_ptr, index, side="right")) - 1 - span.rows
    source = int(span.find_sources(np.array(row)))
    target = int(table.target[index]) - span.base + span.targets[0]
    return (
        f"projection '{span.projection.name}', from neuron {source} of '{span.projection.pre.name}' to neuron {target} "
        f"of '{span.projection.post.name}'"
    )
