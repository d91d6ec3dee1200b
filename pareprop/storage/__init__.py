"""Files of a run: results, recordings, checkpoints, exports.

May import `simulation`, `engines`, `network`, `parallel` and the ground.

Where to add
------------
A dataset of `results.h5`: `results`. A quantity of neurons to record: `RECORDED_UNITS` in `engines.base`. An
observer's part of a checkpoint: its `state`.
"""
