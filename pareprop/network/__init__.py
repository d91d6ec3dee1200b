"""Describe a network, free of ranks (`model`), and hold one rank's share of it (`local`).

May import `neurons`, `parallel`, `rules`, `sonata` and the ground.

Where to add
------------
A neuron model: its parameters, bounds and flags in `neurons`, its name in `variants`. An option of a connection: a
field of `Connection` in `connection`, which checks it. A distribution: its class in `parameters`. A connectivity rule
(which synapses there are): its class in `rules` and its draw in `topology.pyx`, or its class in `streamed_rules`. A
learning rule: not here, but in the room `rules`; `rule_options` checks that a projection fits it. A loss: its class in
`losses`. An optimizer: its class in `optimizers`, with its equations. What does not go together: a row of the table in
`unsupported`, whose features `features` finds in a model.
"""
