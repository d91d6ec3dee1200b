"""Scaling: studies of measured runs, dry runs of one rank, prediction of time and memory, SLURM jobs."""
