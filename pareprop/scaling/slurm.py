"""Make the sbatch command of a run, with memory and time from its prediction."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Sequence

from ..errors import InputError
from .predict import Prediction

MARGIN = 1.5  # factor on the predicted time and memory
SIGNAL_SECONDS = 120


def parse_time(text: str) -> int:
    """Return the seconds of a time such as "2h", "90m", "1d12h", "30s", or SLURM's "HH:MM:SS"."""
    original = text
    if match := re.fullmatch(r"(\d+):([0-5]\d):([0-5]\d)", text):
        text = "{}h{}m{}s".format(*match.groups())
    match = re.fullmatch(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", text)
    parts = match.groups(default="0") if match else "0000"
    seconds = sum(int(part) * unit for part, unit in zip(parts, (86400, 3600, 60, 1), strict=True))
    if not seconds:
        raise InputError(f"--time {original}: must be like 2h, 90m, 1d12h or 02:00:00")
    return seconds


def format_time(seconds: float) -> str:
    """Return a time in SLURM's form HH:MM:SS, rounded up to minutes."""
    minutes = max(1, math.ceil(seconds / 60.0))
    return f"{minutes // 60:02d}:{minutes % 60:02d}:00"


def make_command(
    script: str,
    arguments: Sequence[str],
    nodes: int,
    ranks_per_node: int,
    limit_s: float | None,
    prediction: Prediction,
) -> tuple[str, int]:
    """Return the sbatch command of a run, and the number of jobs in its chain.

    Memory and time have a margin of `MARGIN`. Without a limit one job gets all the time, and ends before its script is
    signalled. Jobs of a chain are signalled early enough before their limit for a sample and a checkpoint.
    """
    needed = MARGIN * prediction.seconds + 60.0
    jobs, job_s = 1, needed + SIGNAL_SECONDS
    signal_s = max(SIGNAL_SECONDS, math.ceil(MARGIN * prediction.sample_seconds) + 60)
    if limit_s is not None and job_s > limit_s:
        usable = limit_s - signal_s - MARGIN * prediction.phases["build"] - 60.0
        if usable <= MARGIN * prediction.sample_seconds:
            sample_s = prediction.sample_seconds
            raise InputError(f"--time of {limit_s:g} s leaves no time for a sample of {sample_s:.3g} s")
        jobs = math.ceil((needed - MARGIN * prediction.phases["build"]) / usable)
        job_s = limit_s
    megabytes = math.ceil(MARGIN * prediction.node_bytes / 2**20 / 10) * 10
    options = [
        f"--nodes={nodes}",
        f"--ntasks={nodes * ranks_per_node}",
        f"--ntasks-per-node={ranks_per_node}",
        "--hint=nomultithread",
        f"--mem={megabytes}M",
        f"--time={format_time(job_s)}",
        *([f"--signal=B:USR1@{signal_s}"] if jobs > 1 else []),
    ]
    return shlex.join(["sbatch", *options, script, *arguments]), jobs
