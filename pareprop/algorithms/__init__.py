"""Algorithms that evaluate the gradients of each projection in the spike variant, and the choice among them.

Each algorithm is a folder: `algorithm.py` states when it fits and its cost, `arrays.py` allocates and lists its arrays,
`structs` lists them for all; `cython_core/algorithms/NAME/` has its kernels. `base` has their base classes, `request`
the inputs of the choice, which depends on the model alone, so that it is the same on all ranks.

May import `network`, `neurons`, `parallel`, `rules` and the core utilities.

Where to add:

- an algorithm: a folder with its class, its place in the list in `plan`, its arrays in that of `structs`, its number in
  `cython_core/layout.pxd`, and its kernels.
"""
