"""ReFrame: one digest on any number of ranks, and a scaling study with its real-time factors as performance.

    reframe -C SETTINGS.py -c jobs/recipes/reframe_checks.py -r --performance-report
    reframe ... -S DigestCheck.ranks=128 -S StudyCheck.study=$PWD/jobs/weak.toml -S StudyCheck.launcher=srun

Jobs find `pareprop` on their PATH, as the environments or modules of SETTINGS.py say.
"""

import csv
import os

import reframe as rfm
import reframe.utility.sanity as sn
from reframe.core.backends import getlauncher
from reframe.core.builtins import parameter, performance_function, run_before, sanity_function, variable

DIGEST = r"^digest: (\w{64})$"
NETWORK = ["bench", "--neurons=2000", "--indegree=100", "--steps=500", "--intervals=1"]


class Check(rfm.RunOnlyRegressionTest):
    """A check on any system that has pareprop, with a core for each rank."""

    valid_systems = ["*"]  # noqa: RUF012
    valid_prog_environs = ["*"]  # noqa: RUF012
    executable = "pareprop"
    sourcesdir = None
    num_cpus_per_task = 1
    ranks = variable(int, value=2)

    @run_before("setup")
    def ask_for_ranks(self):
        """Ask for a task for each rank."""
        self.num_tasks = self.ranks


@rfm.simple_test
class DigestCheck(Check):
    """A training on one rank and the same on several have the same bits."""

    variant = parameter(["interval", "spike"])

    @run_before("run")
    def train(self):
        """Train alone first, then on all ranks."""
        self.executable_opts = [*NETWORK, f"--variant={self.variant}"]
        self.prerun_cmds = [f"pareprop {' '.join(self.executable_opts)} > alone.txt"]

    @sanity_function
    def has_one_digest(self):
        """Compare the digests."""
        alone, together = (sn.extractsingle(DIGEST, file, 1) for file in ("alone.txt", self.stdout))
        return sn.assert_eq(alone, together)

    @performance_function("s")
    def seconds(self):
        """Return the seconds of the training."""
        return sn.extractsingle(r"^train\s+(\S+) s", self.stdout, 1, float)


@rfm.simple_test
class StudyCheck(Check):
    """A scaling study runs to its end; `ranks` is its largest number of ranks."""

    ranks = 4
    study = variable(
        str, value=os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "strong.toml")
    )
    launcher = variable(str, value="mpirun")
    time_limit = "1h"

    @run_before("run")
    def run_study(self):
        """Run the points one after the other, each of which starts its own ranks."""
        self.executable_opts = ["scaling", "run", self.study, "--out", "study", "--launcher", self.launcher]
        self.postrun_cmds = ["pareprop scaling collect study", "pareprop scaling plot study"]
        self.job.launcher = getlauncher("local")()

    @sanity_function
    def is_complete(self):
        """Look for the table with all points."""
        return sn.assert_found(r"^table: .*, (\d+) of \1 points", self.stdout)

    @run_before("performance")
    def read_summary(self):
        """Make a performance variable of each number of the summary that papers compare."""
        units = {"real_time_factor": "s/s", "joules_per_event": "J"}
        with open(os.path.join(self.stagedir, "study", "summary.csv"), newline="") as file:
            for row in csv.DictReader(file):
                point = "-".join(
                    f"{row[name]}" for name in ("variant", "neurons", "indegree", "delay", "rate", "ranks")
                )
                for name, unit in units.items():
                    if row.get(name):
                        self.perf_variables[f"{point}_{name}"] = sn.make_performance_function(
                            sn.defer(float(row[name])), unit
                        )
