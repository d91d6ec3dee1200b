"""Files of a run: results, recordings, checkpoints.

May import `simulation`, `engines`, `network`, `parallel` and the ground.

Where to add
------------
A dataset of `results.h5`: `results`, its unit and axes in `self_description`. A quantity of neurons to record:
`RECORDED_UNITS` in `engines.base`. An array of a checkpoint: `state` of the engine, simulation or observer that has it
(`engines.state`). The version of the format of checkpoints: `FORMAT` in `checkpoint_write`. A key of [record] or
[checkpoint]: `record_settings`, `checkpoint_observer`.
"""
