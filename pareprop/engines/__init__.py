"""The two variants of e-prop: run a sample, learn, hold state between samples.

May import `network`, `neurons`, `parallel`, `algorithms`, `rules` and the ground.

Where to add
------------
A variant: a subclass of `base.Engine`, which names all that the loop asks for, and an entry of `ENGINES` below. What an
engine keeps from one sample to the next: its `state`, and `nest.growth`, by which a network that has grown continues.
Losses and optimizers: in `network`. Learning rules: in `rules/library`. Ways of learning of the spike variant: in
`algorithms`.
"""

from ..network.variants import ENGINES

ENGINES |= {"interval": "interval.Interval", "spike": "spike.Spike"}  # type: ignore[dict-item]  # until they are used
