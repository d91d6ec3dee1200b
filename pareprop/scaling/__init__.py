"""Scaling: studies of measured runs, dry runs of one rank, prediction of time and memory, SLURM jobs.

May import `runs`, `storage`, `simulation`, `tasks`, `plots`, `engines`, `network`, `parallel` and the ground.

Where to add
------------
What a kernel costs: `units`. How much of it a rank has to do: `work`. A command: `commands`.
"""
