"""A network in words (`model`, `connectivity`, `neurons`, `losses`, `optimizers`), and its part on a rank (`local`).

May import `neurons`, `parallel`, `rules`, `sonata` and the ground.

Where to add
------------
A neuron model: its parameters, bounds and flags in `neurons`, its name in `variants`. An option of a connection: a
field of `Connection` in `connection`. A distribution: its class in `parameters`. A connectivity rule: its class in
`rules` and its draw in `topology.pyx`, or its class in `streamed_rules`. A loss: its class in `losses`. An optimizer:
its class in `optimizers`, its step in `optimizers.pyx`.
"""
