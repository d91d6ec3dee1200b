"""Descriptions of networks, independent of ranks (`model`), and the local part of one rank (`local`).

May import `neurons`, `parallel`, `rules`, `sonata` and the core utilities.

Where to add:

- a neuron model with equations of NEST's: parameters, bounds and flags in `neurons`, its name in `variants`;
- an option of a connection: a field of `Connection` in `connection`, which checks it;
- a distribution: a class in `parameters`, its formula in `cython_core/random.pxd`;
- a connection rule: a class and an entry of `RULES` in `connection_rules`, its draw in `cython_core/topology.pyx`; or
  a class in `streamed_rules` that yields synapses from Python;
- a loss: a class and an entry of `LOSSES` in `losses`;
- an optimizer: a class with settings and equations in `optimizers`, and an entry of `OPTIMIZERS`;
- features that cannot be combined: a row of the table in `unsupported`.
"""
