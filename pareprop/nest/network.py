"""A described network as the package runs it."""

from __future__ import annotations

from dataclasses import dataclass, field
from operator import methodcaller

import numpy as np

from ..network.connectivity import Population
from ..network.model import Model
from .connections import Bundle
from .devices.base import SpikeSource, TrainSource
from .nodes import NodeTable
from .rates import RateConnections
from .stimuli import Links

IGNORED = 1  # receptor type at which parrots take spikes and do nothing


@dataclass
class Wiring:
    """A described network as the package runs it.

    Attributes
    ----------
    model : Model
        Populations and projections.
    recurrent, readouts, parrots : np.ndarray
        int64, ids of nodes by their index in the role (parrots: among the inputs).
    links : Links
        Spike generators to inputs.
    trains : Links
        Poisson generators to inputs.
    relays : Links
        Parrots, by their place, to other parrots.
    late : dict
        Input population to the number of steps by which its spikes follow the spikes of parrots or generators.
    direct : np.ndarray
        int64, ids of the spike generators that are inputs themselves.
    currents : np.ndarray
        int64, ids of current generators.
    rates : Rates
        Targets and learning windows.
    origin : dict
        Projection to bundles and places of its synapses.
    models : dict
        Plastic projection to the synapse model that has its learning rate.
    average_gradient : bool
        Of the interval variant.
    plastic : bool
        Whether anything learns.
    fixed : bool
        Whether there are synapses of inputs that do not learn.
    plain : tuple of str
        NEST's names of neurons without e-prop.
    """

    model: Model
    recurrent: np.ndarray
    readouts: np.ndarray
    parrots: np.ndarray
    rate_connections: RateConnections
    links: Links = field(default_factory=Links)
    trains: Links = field(default_factory=Links)
    relays: Links = field(default_factory=Links)
    extra_delays: dict[str, int] = field(default_factory=dict)
    direct: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    currents: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    origin: dict[str, list[tuple[int, np.ndarray]]] = field(default_factory=dict)
    models: dict[str, str] = field(default_factory=dict)
    average_gradient: bool = False
    plastic: bool = False
    fixed: bool = False
    plain: tuple[str, ...] = ()

    def add_parrot_links(self, bundle: Bundle, chosen: np.ndarray, nodes: NodeTable) -> None:
        """Take connections to parrots: `chosen` ones of a bundle."""
        if bundle.receptor == IGNORED:
            return
        delay = np.broadcast_to(bundle.delay, len(bundle))[chosen]
        place = np.searchsorted(self.parrots, bundle.target[chosen])
        source = bundle.source[chosen]
        for links, kind in ((self.links, SpikeSource), (self.trains, TrainSource)):
            mine = nodes.test_nodes(source, methodcaller("is_a", kind))
            links.add_links(source[mine], place[mine], delay[mine])
        relayed = nodes.test_nodes(source, lambda model: model.kind == "parrot")
        self.relays.add_links(np.searchsorted(self.parrots, source[relayed]), place[relayed], delay[relayed])


class PopulationNodes:
    """Nodes that become one population."""

    def __init__(self, population: Population, ids: np.ndarray) -> None:
        self.population, self.ids = population, ids
