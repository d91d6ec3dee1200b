"""Scaling: studies of measured runs, dry runs of one rank, prediction of time and memory, SLURM jobs.

May import `runs`, `storage`, `simulation`, `tasks`, `plots`, `engines`, `network`, `parallel` and the core utilities.

Where to add:

- a column of the table of a study: `collect`;
- a command: `commands`;
- a launcher: `launchers`.
"""
