"""NEST's Python interface in front of this package: `import pareprop.nest as nest`.

A script describes nodes and connections (`kernel`), which become a `Model` before the first step (`wiring`). A clock
passes it to a `Simulation` with the input of generators, advances it in pieces of any length, and records. Nodes made
during a run make a new network, which copies the state of the previous one (`growth`).

May import `simulation`, `engines`, `network`, `neurons`, `parallel`, `algorithms` and the core utilities.

Where to add:

- a device (generator or recorder): a file in `devices`; no other file names it;
- a neuron or synapse model: `catalogue` and `wiring`;
- a connection rule: `rules`;
- a quantity to record: `catalogue` and the two clocks;
- a function of NEST: `api`.
"""

import sys

from .api import Module

sys.modules[__name__].__class__ = Module
