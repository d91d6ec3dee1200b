"""The two variants of e-prop: run a sample, learn, hold state between samples.

May import `network`, `neurons`, `parallel` and the ground.

Where to add
------------
A variant: a subclass of `base.Engine`, which names all that the loop asks for. Losses and optimizers: in `network`.
"""
