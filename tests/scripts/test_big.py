"""The network of `jobs/big.sbatch` on ranks of which one has all neurons; `tests/scaling/test_slurm.py` shares them."""

import pytest
import ranks
from commands import digests

SCRIPT = ("-m", "pareprop.jobs.big")
SMALL = ("--neurons", 300, "--indegree", 20, "--steps", 100, "--digest")


@pytest.mark.mpi
def test_a_rank_without_neurons_ends_as_the_others() -> None:
    few = {"PAREPROP_SHARE_ABOVE": "1000000"}
    runs = [ranks.run(n, *SCRIPT, *SMALL, env=few) for n in (1, 2)]
    assert [run.returncode for run in runs] == [0, 0], runs[1].stderr
    first, second = (digests(run.stdout.splitlines()) for run in runs)
    assert first == second != [] and "deliver" in runs[1].stdout
