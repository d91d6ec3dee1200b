"""Scaling: studies of measured runs, dry runs of one rank, prediction of time and memory, SLURM jobs.

May import `runs`, `storage`, `simulation`, `tasks`, `plots`, `engines`, `network`, `parallel` and the ground.

Where to add
------------
The cost of a kernel and the number of its operations on a rank: `units` and `work` of the room `runs`. A network whose
costs are measured: `measure.PROBES`. A column of the table of a study: `collect`. A command: `commands`.
"""
