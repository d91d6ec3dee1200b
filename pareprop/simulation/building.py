"""Build a network on the ranks: a `Model` becomes this rank's neurons and synapses, and their engine."""

from __future__ import annotations

from ..algorithms.plan import NetworkPlan, compile_models
from ..engines import footprint
from ..engines.base import Engine, Settings
from ..network import shared_reading
from ..network.cuts import cut
from ..network.local import LocalNetwork
from ..network.model import Model
from ..parallel.channel import ChannelSizes
from ..parallel.collectives import guarded
from ..parallel.exchange import Exchange
from ..timers import Timers


def build(model: Model, n_steps: int, exchange: Exchange, settings: Settings, timers: Timers) -> Engine:
    """Collective: build this rank's share of a network and its engine, and connect the ranks.

    Parameters
    ----------
    model : Model
        The network.
    n_steps : int
        Most steps of a sample.
    exchange : Exchange
        Exchange of this rank's group of ranks.
    settings : Settings
        Settings of the variant.
    timers : Timers
        Seconds by phase, which the engine adds to.

    Raises
    ------
    InputError
        If the network cannot be built so, or has no room; on all ranks.
    """
    world, sizes = exchange.replicas.world or exchange.comm, [model.size(role) for role in ("recurrent", "readout")]
    with guarded(world):
        nodes = exchange.node_starts
        found = cut(model, exchange.size, nodes) if exchange.leads else None
    cuts = exchange.share(found)
    exchange.require_memory(ChannelSizes(sizes[0], n_steps, n_steps, sizes[1], cuts=cuts))
    plan = choose_algorithms(model, exchange, settings)
    with guarded(world):  # memory may be short on one rank alone
        footprint.require(model, n_steps, exchange.rank, exchange.size, cuts, plan)
    with guarded(world):
        drawn = shared_reading.with_own_edges(model, exchange.comm, cuts)
    with guarded(world):
        network = LocalNetwork(drawn, exchange.rank, exchange.size, nodes, cuts)
        shared_reading.release(drawn)
        engine: Engine = model.eprop.engine(network, exchange, settings, n_steps, timers, plan)
    if exchange.comm is not None or exchange.size == 1:
        shared_reading.require_all(network, exchange.comm)
    engine.bind()
    return engine


def choose_algorithms(model: Model, exchange: Exchange, settings: Settings) -> NetworkPlan | None:
    """Collective: return how projections learn, once models and rules that are given by equations are compiled."""
    world = exchange.replicas.world or exchange.comm
    with guarded(world):
        plan = model.eprop.engine.plan_of(model, settings.ways)
    with guarded(world):
        compile_models(model, exchange.comm, plan)
    return plan
