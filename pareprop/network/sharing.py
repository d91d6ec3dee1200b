"""Decide whether ranks share a network: a small network runs faster on one rank than with exchanges in each step."""

from __future__ import annotations

import os

from ..errors import InputError
from .connectivity import RULES
from .model import Model

VARIABLE = "PAREPROP_SHARE_ABOVE"
SMALL = 600.0  # neurons plus arrivals in a step, up to which exchanges cost two ranks more than they save
RATE = 10.0  # assumed firing rate in Hz


def count_sharing(model: Model, size: int) -> int:
    """Return the number of ranks, from rank 0 on, that have neurons: all `size` of them, or 1 if the network is small.

    The result follows from counts of the whole network, so it is the same on all ranks. Raises an `InputError` if
    PAREPROP_SHARE_ABOVE is not a whole number of at least 0.
    """
    text = os.environ.get(VARIABLE, "")
    if text and not text.isdecimal():
        raise InputError(f"{VARIABLE} = '{text}' must be a whole number of at least 0")
    small = float(text) if text else SMALL
    return 1 if count_work(model) <= small else size


def count_work(model: Model) -> float:
    """Return the number of neurons plus the number of spikes at synapses in a step, if all neurons fire at `RATE`."""
    return model.size("recurrent") + count_synapses(model) * RATE * model.dt_ms / 1000.0


def count_synapses(model: Model) -> float:
    """Return the expected number of synapses from inputs and neurons onto neurons."""
    synapses = 0.0
    for item in model.projections:
        if item.post.role == "recurrent" and item.pre.role in ("input", "recurrent"):
            given = item.edges.n_edges if item.edges else len(() if item.source is None else item.source)
            synapses += RULES[item.rule].compute_indegree(item) * item.post.size if item.is_drawn else given
    return synapses
