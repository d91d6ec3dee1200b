"""Scaling: studies of measured runs, dry runs of one rank, prediction of time and memory, SLURM jobs.

May import `runs`, `storage`, `simulation`, `tasks`, `plots`, `engines`, `network`, `parallel` and the ground.

Where to add
------------
The cost of a kernel: `units`. The number of its operations on a rank: `work`. A command: `commands`.
"""
