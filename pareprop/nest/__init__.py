"""NEST's Python interface in front of this package: `import pareprop.nest as nest`.

A script describes nodes and connections (`kernel`), which become a `Model` before the first step (`wiring`). A clock
hands it to a `Simulation`, tells it what generators emit, lets it advance in pieces of any length, and records. What is
made in a run is a new network, which takes over the state of the one before (`growth`). See the README of this folder.

May import `simulation`, `engines`, `network`, `neurons`, `parallel`, `algorithms` and the ground.

Where to add
------------
A device, that is a generator or a recorder: a file in `devices`. A neuron or synapse model: `catalogue` and `wiring`. A
connection rule: `rules`. A quantity to record: `catalogue` and the two clocks. A state that a clock keeps: its
`take_over`, too; one that an engine keeps: `growth`. A function of NEST: `api`.
"""

import sys

from .api import Module

sys.modules[__name__].__class__ = Module
