"""NEST's Python interface in front of this package: `import pareprop.nest as nest`.

A script describes nodes and connections (`kernel`), which become a `Model` before the first step (`wiring`), whose
time goes on in pieces of any length (`clock`). See the README of this folder.

May import `simulation`, `engines`, `network`, `neurons`, `parallel` and the ground.

Where to add
------------
A node or synapse model: `catalogue` and `wiring`. A connection rule: `rules`. A quantity to record: `catalogue` and the
two clocks. A function of NEST: `api`.
"""

import sys

from .api import Module

sys.modules[__name__].__class__ = Module
