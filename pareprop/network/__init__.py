"""A network in words (`model`, `connectivity`, `neurons`, `optimizers`), and this rank's part of it (`local`).

May import `parallel`, `sonata` and the ground.

Where to add
------------
A neuron model: its parameters in `neurons`. A connectivity rule: `connectivity` and its draw. An optimizer: its
settings in `optimizers`.
"""
