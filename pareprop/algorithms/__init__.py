"""Algorithms that evaluate the gradients of each projection in the spike variant, and the choice among them.

Each algorithm is a folder: `algorithm.py` states when it fits and its cost, `arrays.py` allocates and lists its arrays;
`cython_core/algorithms/NAME/` has its kernels. `base` has their base classes, `choice` the list of all and the choice,
`request` its inputs, which depend on the model alone, so that the choice is the same on all ranks; `plan` its result.

May import `network`, `neurons`, `parallel`, `rules` and the core utilities.

Where to add:

- an algorithm: a folder with its class and arrays, its place in the list in `choice`, its number in
  `cython_core/layout.pxd`, and its kernels.
"""
