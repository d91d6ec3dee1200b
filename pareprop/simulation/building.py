"""Build a network on the ranks: a `Model` becomes this rank's neurons and synapses, and their engine."""

from __future__ import annotations

from ..algorithms.plan import NetworkPlan, compile_models
from ..engines import footprint
from ..engines.base import Engine, Settings
from ..network import shared_reading
from ..network.local import LocalNetwork
from ..network.model import Model
from ..network.partition_bounds import choose_bounds
from ..parallel.channel import ChannelSizes
from ..parallel.collectives import share_errors
from ..parallel.exchange import Exchange
from ..timers import Timers


def build_engine(model: Model, n_steps: int, exchange: Exchange, settings: Settings, timers: Timers) -> Engine:
    """Collective: build this rank's part of a network and its engine, and connect the ranks.

    Samples have at most `n_steps` steps; `exchange` joins this rank's group of ranks, and the engine adds to `timers`.
    Raises an `InputError` on all ranks if the network cannot be built so, or the memory is too small.
    """
    world, sizes = exchange.replicas.world or exchange.comm, [model.size(role) for role in ("recurrent", "readout")]
    with share_errors(world):
        nodes = exchange.node_starts
        found = choose_bounds(model, exchange.size, nodes) if exchange.is_node_leader else None
    cuts = exchange.broadcast_in_node(found)
    exchange.require_memory(ChannelSizes(sizes[0], n_steps, n_steps, sizes[1], bounds=cuts))
    plan = choose_algorithms(model, exchange, settings)
    with share_errors(world):  # memory may be short on one rank alone
        footprint.require_memory(model, n_steps, exchange.rank, exchange.size, cuts, plan)
    with share_errors(world):
        drawn = shared_reading.hold_own_edges(model, exchange.comm, cuts)
    with share_errors(world):
        network = LocalNetwork(drawn, exchange.rank, exchange.size, nodes, cuts)
        shared_reading.release_edges(drawn)
        engine: Engine = model.eprop.engine(network, exchange, settings, n_steps, timers, plan)
    if exchange.comm is not None or exchange.size == 1:
        shared_reading.require_all(network, exchange.comm)
    engine.connect_ranks()
    return engine


def choose_algorithms(model: Model, exchange: Exchange, settings: Settings) -> NetworkPlan | None:
    """Collective: return how projections learn, once models and rules that are given by equations are compiled."""
    world = exchange.replicas.world or exchange.comm
    with share_errors(world):
        plan = model.eprop.engine.plan_of(model, settings.algorithms)
    with share_errors(world):
        compile_models(model, exchange.comm, plan)
    return plan
