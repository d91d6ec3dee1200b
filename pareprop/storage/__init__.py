"""Files of a run: results, recordings, checkpoints.

May import `simulation`, `engines`, `network`, `parallel` and the core utilities.

Where to add:

- a dataset of `results.h5`: `results`; its unit and axes: `self_description`;
- a quantity of neurons to record: `RECORDED_UNITS` in `engines/base.py`;
- an array of a checkpoint: `state` and `load_state` of the engine, simulation or observer that has it; the version of
  the format is `FORMAT` in `checkpoint_write`;
- a key of [record] or [checkpoint]: `record_settings`, `checkpoint_observer`.
"""
