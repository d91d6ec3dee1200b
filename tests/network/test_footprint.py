"""What can't fit into memory, and weights out of their bounds, are refused before anything is taken or written."""

import re
from pathlib import Path

import numpy as np
import pytest
import small
from commands import as_options, refusal_of
from small import Noise

from pareprop import machine
from pareprop.errors import InputError
from pareprop.network import footprint
from pareprop.network.model import Model
from pareprop.network.parameters import Normal
from pareprop.simulation.loop import Simulation


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (["n_rec=1000000000"], "n_rec = 1000000000, n_out = 1, n_step = 1000: a draw takes "),
        (["n_rec=100000000", "indegree=100000"], "(fixed_indegree, indegree = 100000, 100000000 x 100000000) takes "),
        (["n_step=100000000000", "indegree=2", "n_in=1"], "history of 100 neurons over n_steps = 100000000000 takes"),
        (["n_rec=100000000000", "indegree=1"], "population 'rec': size = 100000000000 must be at most 2147483648"),
        (["variant=spike", "cutoff=1e9"], "population 'rec': eprop_isi_trace_cutoff = 1e+09 must be at most 1e+07"),
    ],
)
def test_absurd_sizes(settings: list[str], expected: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    arguments = as_options(*settings)
    assert expected in refusal_of(capsys, "run", "sine-waves", *arguments, "--out", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_more_than_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound is that of the machine, and each rank takes its share."""
    monkeypatch.setattr(machine, "available", lambda: 2**20)
    model = Model()
    a = model.neurons("a", 400)
    model.connect(a, a, weight=0.1)
    with pytest.raises(InputError, match=r"projection 'a->a' \(all_to_all, 400 x 400\) takes 0.00\d+ GiB of memory"):
        footprint.require(model, 10)
    footprint.require(model, 10, rank=1, size=4)
    with pytest.raises(InputError, match="history of 400 neurons over n_steps = 1000 takes"):
        footprint.require(model, 1000, size=1)


SLURM_2, SLURM_1 = "system.slice/slurmstepd.scope/job_7/step_0/user/task_0", "slurm/uid_1000/job_7/step_0/task_0"


@pytest.mark.parametrize(
    ("groups", "files", "expected"),
    [
        (f"0::/{SLURM_2}", {"system.slice/slurmstepd.scope/job_7": 2**33, SLURM_2: "max"}, 2**33),
        (f"0::/{SLURM_2}", {SLURM_2: 2**34, "system.slice/slurmstepd.scope/job_7/step_0": 2**32}, 2**32),
        ("0::/", {".": 2**31}, 2**31),  # of a container, which sees its own group as the root
        (f"3:cpu:/else\n2:memory:/{SLURM_1}", {"slurm/uid_1000/job_7": 2**30, SLURM_1: 2**63 - 4096}, 2**30),
        (f"9:memory,hugetlb:/{SLURM_1}\n0::/x", {"slurm/uid_1000/job_7/step_0": 2**29, "unified/x": 2**40}, 2**29),
        ("9:memory:/docker/1f\n", {".": 2**28}, 2**28),  # a container again
        ("4:cpuset:/a\n0::/b/../c\nnothing", {"unified/b": "max", "a": 1}, None),
        ("0::/a", {"a": "damaged", "b": 3}, None),
    ],
)
def test_limits_of_control_groups(groups: str, files: dict[str, object], expected: int | None, tmp_path: Path) -> None:
    """The lowest from a process's own group up; names as in cgroups(7), "memory.txt" of Linux, and of SLURM."""
    (tmp_path / "cgroup").write_text(groups)
    for group, limit in files.items():
        old = ":memory" in groups and not group.startswith("unified")
        folder = tmp_path / "fs" / ("memory" if old else ".") / group
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ("memory.limit_in_bytes" if old else "memory.max")).write_text(f"{limit}\n")
    assert min(machine.group_limits(tmp_path / "cgroup", tmp_path / "fs"), default=None) == expected


def test_rows_of_each_delay_are_counted() -> None:
    """A source has a row for each delay from the lowest to the highest, onto readouts as onto neurons."""
    for delay, n_delays in ((1, 1), ((1, 4), 4), ((3, 4), 2)):
        model = Model()
        a, out = model.neurons("a", 50), model.readouts("out", 2)
        model.connect(a, out, weight=0.1, delay=delay)
        model.connect(a, a, weight=0.1, delay=delay)
        rows = {what: n_bytes for n_bytes, what in footprint._parts(model, 10, 0, 50) if "rows" in what}
        assert len(rows) == 2 and all(n_bytes == 50 * n_delays * footprint.ROW for n_bytes in rows.values()), rows


@pytest.mark.parametrize(("precision", "kind"), [("single", np.float32), ("double", np.float64)])
def test_signals_of_local_readouts_are_counted(precision: str, kind: type) -> None:
    """One number of the model's precision for each neuron and step."""
    model = Model(precision=precision)
    model.neurons("a", 50)
    model.local_readouts("out", model.of_role("recurrent"))
    (n_bytes,) = [n_bytes for n_bytes, what in footprint._parts(model, 10, 0, 50) if "local readouts" in what]
    assert n_bytes == np.empty((10, 50), kind).nbytes


@pytest.mark.parametrize("variant", ["interval", "spike"])
@pytest.mark.parametrize(
    ("weight", "expected"),
    [
        (101.0, "weight = 101 must be at most Wmax = 100"),
        (-100.5, "weight = -100.5 must be at least Wmin = -100"),
        (Normal(mean=0.0, std=1e4), "must be at least Wmin = -100"),
    ],
)
def test_weights_out_of_bounds_are_refused_as_in_nest(variant: str, weight: object, expected: str) -> None:
    """NEST 3.10, eprop_synapse.h: "Minimal weight Wmin ≤ weight required", "weight ≤ maximal weight Wmax required"."""
    learning, static = (
        small.network(variant, 2, 40, 0, into={"weight": weight, "plastic": plastic}, defaults=True)
        for plastic in (True, False)
    )
    task = Noise(np.zeros((10, 0)), 2)
    with pytest.raises(InputError, match=f"projection 'in->rec': .*{re.escape(expected)}"):
        Simulation(learning, task)
    Simulation(static, task)
