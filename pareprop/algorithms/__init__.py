"""How each projection of the spike variant learns: by an algorithm, which a plan picks from `plan.WAYS`.

Each algorithm is a folder: `algorithm.py` says when it fits and what it costs, `arrays.py` what it keeps of neurons;
`cython_core/algorithms/NAME/` has its kernels. `base` has their base class, `request` all that the choice depends on.
A plan is made from the model alone, so that it is the same on all ranks. Memory, checkpoints, notices and kernels read
it. The page "Algorithms" of the handbook says what each does, and its bytes.

May import `network`, `neurons`, `parallel`, `rules` and the ground.

Where to add
------------
An algorithm: a folder with a class of `base.Way`, and its place in `plan.WAYS`. An optimizer needs nothing here.
"""
