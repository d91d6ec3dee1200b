"""The state of a script's network and run, on which the functions of the front end act, as in NEST."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from ..timers import Timers
from ..values import Values
from .bundles import Bundles
from .models import Models
from .nodes import NodeCollection, NodeTable
from .random import Generators
from .recorders import EventList, Meter
from .recording import Recorders
from .settings import DEFAULTS, KEPT_BY_RESET, to_ms
from .text_files import TextFiles
from .versions import Versions

if TYPE_CHECKING:
    from ..parallel.exchange import Exchange
    from .clock import Clock


class Session:
    """All state that `ResetKernel` resets.

    Attributes
    ----------
    nodes, bundles : NodeTable, Bundles
        Created nodes and connections.
    params : dict
        Kernel parameters.
    generators : Generators
        Random numbers.
    clock : Clock or None
        The running network, None until the first step.
    timers : Timers
        Wall seconds until it runs: describe (in `Connect`), wire, build.
    spent : Timers
        Seconds of all calls, see `status`.
    step : int
        NEST's steps that are simulated.
    stale : bool
        Whether weights have to be read from the network again.
    n_built : int
        Nodes at the time when the running network was built.
    generations : list of int
        Number of bundles whenever the network was built.
    grown : bool
        Whether nodes or connections were made since then for which the network must be rebuilt.
    prepared, files_open : bool
        Whether `Prepare` was called, and text files were begun since then.
    fitting : set of tuple
        Synapse models, receptor types, and models of source and target that they may connect.
    text : list of tuple
        Recorders to text and their files, of the present run.
    """

    def __init__(self) -> None:
        self.params: Values = {}
        self.reset()

    @cached_property
    def exchange(self) -> Exchange:
        """Between ranks; MPI starts when it is first needed."""
        from ..parallel import launcher

        return launcher.exchange()

    def reset(self) -> None:
        """Reset everything except `KEPT_BY_RESET`, as in NEST."""
        self.params = dict(DEFAULTS) | {key: self.params[key] for key in KEPT_BY_RESET if key in self.params}
        self.nodes, self.bundles = NodeTable(), Bundles()
        self.versions = Versions(self.params["eprop_as"])
        self.models = Models(lambda name: self.bundles.n_of_model[name], self.versions)
        self.recorders = Recorders(self)
        self.clock: Clock | None = None
        self.timers, self.spent = Timers(), Timers()
        self.step, self.stale, self.prepared, self.files_open = 0, False, False, False
        self.n_built, self.grown = 0, False
        self.generations: list[int] = []
        self.text: list[tuple[Meter | EventList, TextFiles]] = []
        self.fitting: set[tuple[str, int, str, str]] = set()
        self.seed_generators()

    def seed_generators(self) -> None:
        """Begin with the random numbers of the present settings."""
        self.generators = Generators(self.params["rng_seed"], self.params["total_num_virtual_procs"])

    @property
    def resolution(self) -> float:
        """Length of a step in ms."""
        return self.params["resolution"]

    @property
    def simulated(self) -> bool:
        """Whether the network runs already."""
        return self.clock is not None

    def get_delay(self, end: int) -> float:
        """Smallest (0) or largest (1) delay in ms."""
        return self.to_ms(self.delay_range[end])

    def to_ms(self, steps: int) -> float:
        """Time of some steps in ms."""
        return to_ms(steps, self.resolution)

    @property
    def delay_range(self) -> tuple[int, int]:
        """Smallest and largest delay in steps."""
        return self.bundles.delays or (1, 1)

    @property
    def running(self) -> Clock:
        """The clock of a network that has run."""
        assert self.clock is not None
        return self.clock

    @property
    def shown(self) -> int:
        """Stamps below it are shown by meters and weight recorders: in slices of the smallest delay, as in NEST."""
        return (self.step - 1) // self.delay_range[0] * self.delay_range[0] + 1

    def make_collection(self, ids: np.ndarray) -> NodeCollection:
        """Nodes by ascending id."""
        return NodeCollection(self, ids)
