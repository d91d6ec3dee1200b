"""Files of a run: results, recordings, checkpoints, exports.

May import `simulation`, `engines`, `network`, `parallel` and the ground.

Where to add
------------
A dataset of `results.h5`: `results`. A recorded quantity: `recorder`. An observer's part of a checkpoint: its `state`.
"""
