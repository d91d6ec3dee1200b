"""Repartition neurons among ranks during a run: as by a checkpoint and a restart, but in memory.

The state that a checkpoint would hold goes from rank to rank by messages. Results stay the same. The costs of neurons
follow from their firing rates, and from the seconds that each rank has computed. A new division is made if these costs,
the number of synapses, and the remaining steps say that it pays; all ranks decide alike.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from dataclasses import replace
from typing import cast

import numpy as np

from ..machine import find_available_memory
from ..network.costs import estimate_rank_costs
from ..network.model import Model
from ..network.partition_bounds import choose_bounds, has_given_bounds
from ..network.sharing import count_synapses
from ..parallel import collectives
from ..parallel.exchange import Ranks
from ..parallel.mpi import Comm
from ..simulation.loop import Simulation
from ..simulation.observer import Observer, Watched
from ..timers import COMPUTE
from . import checkpoint_pieces

PICOSECONDS_PER_SYNAPSE = 100_000  # picoseconds to build a synapse again and to move its state
PICOSECONDS_PER_REPARTITION = 10**11  # picoseconds of a new partition in addition to its synapses
LEAST_SAVING = (
    0.03  # a new division must save at least this part of the slowest rank's cost, as seconds vary by as much
)
LEAST_SECONDS = 0.1  # fewer seconds of a rank are chance; costs then follow from rates alone
LARGEST_FACTOR = 2.0  # neurons are taken to cost at most this times the expected cost, and at least its inverse


class Repartition(Observer):
    """Partitions neurons again after 1, 2, 4, 8, ... iterations, if that saves more than it costs.

    It must be the last observer, so that the others have handled the iteration; all must be `movable`. The training
    ends after iteration `last`.

    Attributes
    ----------
    done : list of int
        Iterations after which neurons were partitioned again.
    """

    movable = True

    def __init__(self, last: int) -> None:
        self.last, self.done, self._spent = last, list[int](), 0.0

    def after_iteration(self, simulation: Watched, iteration: int, loss: float) -> None:
        """Partition neurons again if that pays."""
        n = iteration + 1
        if n & (n - 1):
            return
        before, self._spent = self._spent, sum_compute_seconds(simulation)
        fresh = n == 1 or (n == 2 and self.done)  # the first iteration in new memory takes longer, and is no measure
        if repartition_neurons(cast(Simulation, simulation), self.last, 0.0 if fresh else self._spent - before):
            self.done.append(n)

    def format_lines(self) -> list[str]:
        """Return a line on the iterations after which neurons were repartitioned; [] without any."""
        when = ", ".join(map(str, self.done))
        what = "neurons were shared among ranks anew by measured rates and seconds, after iteration"
        return [f"{what} {when}"] if when else []


def sum_compute_seconds(simulation: Watched) -> float:
    """Return the seconds that this rank has spent on its neurons."""
    return sum(simulation.timers.seconds.get(name, 0.0) for name in COMPUTE)


def repartition_neurons(simulation: Simulation, last: int, spent: float = 0.0) -> bool:
    """Collective: between iterations, partition neurons again if that pays until iteration `last`; return whether.

    Rates are measured in the last sample of the simulation. `spent` is the number of seconds that this rank has spent
    on its neurons since the last partition; 0 if unknown.
    """
    exchange, comm = simulation.exchange, simulation.exchange.comm
    if comm is None or simulation.network.n_sharing == 1 or simulation.replicas.count > 1 or has_given_bounds():
        return False
    if collectives.max_over_ranks(comm, not all(observer.movable for observer in simulation.observers)):
        return False
    old, seconds_by_rank, load_factors = simulation.network.cuts, comm.gather(spent), None
    model = replace(simulation.model, rates_hz=comm.bcast(simulation.measure_rates()), load_factors=None)
    with collectives.share_errors(comm):
        if comm.rank == 0:
            load_factors = find_load_factors(model, old, np.array(seconds_by_rank))
    model.load_factors = comm.bcast(load_factors)
    steps = (last - simulation.iteration) * model.optimizer.batch_size * simulation.task.n_steps
    if not saves_time(model, old, choose_bounds(model, exchange.size, exchange.node_starts), steps):
        return False
    with simulation.timers.time_phase("build"):
        return _move_state(simulation, model)


def find_load_factors(model: Model, cuts: np.ndarray, spent: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the cost of the neurons of each rank relative to the expected cost, as `Model.load_factors`.

    `model` has measured rates; `cuts` is int64 (n_ranks + 1,), the first neuron of each rank and the number of all;
    `spent` (n_ranks,) has the seconds of each rank. If any is below `LEAST_SECONDS`, the result is None.
    """
    (expected,) = estimate_rank_costs(model, cuts)
    if not (np.all(spent >= LEAST_SECONDS) and np.all(expected > 0)):
        return None
    times = spent / expected * (expected.sum() / spent.sum())
    return cuts, np.clip(times, 1.0 / LARGEST_FACTOR, LARGEST_FACTOR)


def saves_time(model: Model, old: np.ndarray, new: np.ndarray, steps: int) -> bool:
    """Return whether division `new` of the neurons, int64 (n_ranks + 1,), saves more in `steps` steps than it costs."""
    before, after = (int(costs.max()) for costs in estimate_rank_costs(model, old, new))
    saved = before - after
    return (
        saved > LEAST_SAVING * before
        and saved * steps
        > PICOSECONDS_PER_REPARTITION + PICOSECONDS_PER_SYNAPSE * count_synapses(model) / (len(new) - 1)
    )


def _move_state(simulation: Simulation, model: Model) -> bool:
    """Collective: rebuild the network and move the state to it; return False if a rank lacks memory for a copy."""
    comm, rank = simulation.exchange.comm, simulation.exchange.rank
    state = simulation.engine.state()
    need = (state.count_bytes() + sum(simulation.nbytes().values())) * cast(Ranks, simulation.exchange).nodes.local.size
    if collectives.max_over_ranks(comm, 0 < find_available_memory() < need):
        return False
    pieces = checkpoint_pieces.list_pieces(state, rank, comm)
    numbers, shared = comm.bcast((state.numbers, {item.name: item.array for item in pieces if item.kind == "shared"}))
    kept = [checkpoint_pieces.copy(item) for item in pieces if item.kind != "shared"]
    del state, pieces
    simulation.rebuild_engine(model)  # frees the old arrays
    gc.collect()
    simulation.engine.load_state(numbers, shared)
    state = simulation.engine.state()
    for name, (table, array) in state.rows.items():
        array[...] = shared[name][table.number_whole_rows()[0]]
    wanted = [item for item in checkpoint_pieces.list_pieces(state, rank, comm) if item.kind != "shared"]
    counts = np.array(comm.allgather([[len(item) for item in kept], [item.count for item in wanted]]))
    before, after = (
        np.concatenate([np.zeros_like(part[:1]), part.cumsum(axis=0)]) for part in np.moveaxis(counts, 1, 0)
    )
    moved = [_redistribute_items(comm, item, before[:, k], after[:, k]) for k, item in enumerate(kept)]
    firsts = after[rank].tolist()
    checkpoint_pieces.fill_pieces(wanted, firsts, lambda k, low, high: moved[k][low - firsts[k] : high - firsts[k]])
    simulation.engine.refresh_derived()
    return True


def _redistribute_items(comm: Comm, own: np.ndarray, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Collective: return the items of an array that this rank has after a new partition.

    `own` are the items of this rank before; `before` and `after` are int64 (n_ranks + 1,), the first item of each rank
    in the whole array, then the number of all.
    """
    rank = comm.rank
    new = np.empty((after[rank + 1] - after[rank], *own.shape[1:]), own.dtype)

    def list_parts(mine: np.ndarray, theirs: np.ndarray) -> Iterator[tuple[int, slice]]:
        """Yield the ranks that have some of this rank's items by the other division, and which these are."""
        low, high = mine[rank], mine[rank + 1]
        begin, end = np.searchsorted(theirs, low, side="right") - 1, np.searchsorted(theirs, high)
        for r in range(begin, end) if low < high else ():
            first, last = max(low, theirs[r]), min(high, theirs[r + 1])
            if first < last:
                yield r, slice(first - low, last - low)

    sent = [comm.Isend(own[part], r) for r, part in list_parts(before, after) if r != rank]
    for r, part in list_parts(after, before):
        if r == rank:
            shift = after[rank] - before[rank]
            new[part] = own[part.start + shift : part.stop + shift]
        else:
            comm.Recv(new[part], r)
    for request in sent:
        request.Wait()
    return new
