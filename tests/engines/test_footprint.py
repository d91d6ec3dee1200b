"""What can't fit into memory, and weights out of their bounds, are refused before anything is taken or written."""

import re
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import small
from commands import as_options, refusal_of
from small import Noise

from pareprop import machine
from pareprop.engines import footprint
from pareprop.errors import InputError
from pareprop.network.local import LocalNetwork
from pareprop.network.model import Model
from pareprop.network.optimizers import Adam, GradientDescent
from pareprop.network.parameters import Normal
from pareprop.network.rule_options import ShortTerm
from pareprop.parallel import drawn_spikes
from pareprop.rules import library
from pareprop.rules.definition import Eprop, LearningRule
from pareprop.runs.benchmark import Bench
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
    monkeypatch.setattr(machine, "find_available_memory", lambda: 2**20)
    model = Model()
    a = model.neurons("a", 400)
    model.connect(a, a, weight=0.1)
    with pytest.raises(InputError, match=r"projection 'a->a' \(all_to_all, 400 x 400\) takes 0.00\d+ GiB of memory"):
        footprint.require_memory(model, 10)
    footprint.require_memory(model, 10, rank=1, size=4)
    with pytest.raises(InputError, match="history of 400 neurons over n_steps = 1000 takes"):
        footprint.require_memory(model, 1000, size=1)


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


MANY = LearningRule(
    "many",
    reads=["V_m"],
    neuron={"s": "0.9*s + 0.1*V_m", "y": "0.9*y + z"},
    synapse={"r": "0.9*r + pre", "c": "0.8*c + psi*new(r)"},
    gradient="L*c + F*r + s*pre - y*pre",
)
SHORT = {"transmission": ShortTerm(U=0.5, tau_rec=50.0)}
OPTIONS: dict[str, dict] = {  # of synapses from inputs and neurons onto neurons
    "STDP": {"learning_rule": library.get_definition("pair_stdp")},
    "a rule that reads states and signals": {"learning_rule": MANY},
    "e-prop with options": {"learning_rule": Eprop(through="leak", filter="none")},
    "short-term plasticity": SHORT,
    "STDP with short-term plasticity": {"learning_rule": library.get_definition("pair_stdp")} | SHORT,
}
SETTINGS: dict[str, dict] = {
    "plain": {},
    "delays": {"longest_delay": 15},
    "adam": {"optimizer": "adam"},
    "rewiring": {"rewire": True},
    "adaptive": {"neuron": "iaf_adapt"},
    "equations": {"neuron": "iaf_psc_exp"},
    "adex": {"neuron": "adex"},
    "tau_m learns": {"learn": "tau_m"},
    "readouts": {"readouts": 20},
    "filters": {"kappa_reg": 0.9},
    "delays learn": {"learn_delay": True, "longest_delay": 15},
}
BATCHES = {"batch": GradientDescent, "batch of adam": Adam}


@pytest.mark.parametrize("precision", ["double", "single"])
@pytest.mark.parametrize("variant", ["interval", "spike"])
@pytest.mark.parametrize("name", [*SETTINGS, *OPTIONS, *BATCHES])
def test_memory_is_that_of_a_rank_that_is_built(
    name: str, variant: str, precision: Literal["double", "single"]
) -> None:
    """Within 5 %, of a rank that has 500 of 1500 neurons."""
    if (variant, name) == ("spike", "delays learn"):
        pytest.skip("delays learn in the interval variant")
    sizes = {"neurons": 1500, "indegree": 60, "inputs": 100, "steps": 200}
    bench = Bench(**sizes, variant=variant, precision=precision, **SETTINGS.get(name, {}))
    model, task = bench.build_model(), bench.make_task()
    for k, item in enumerate(model.projections):
        if item.post.role == "recurrent" and item.pre.role in ("input", "recurrent"):
            model.projections[k] = item.model_copy(update=OPTIONS.get(name, {}))
    if name in BATCHES:
        steps = {"optimize_each_step": False} if variant == "spike" else {}
        model.optimizer = BATCHES[name](batch_size=2, **steps)
    simulation = Simulation(model, task, drawn_spikes.DryExchange(1, 3, 0.03, 1500, 1, own=True))
    parts = footprint.list_parts(model, 200, *simulation.network.neurons)
    assert sum(parts.values()) == pytest.approx(sum(simulation.nbytes().values()), rel=0.05)


def test_heard_neurons_are_those_with_targets_here() -> None:
    """As many as expected."""
    model = Model()
    a, b, c = (model.neurons(name, 1000) for name in "abc")
    model.connect(a, b, "fixed_indegree", indegree=5, weight=0.1)
    model.connect(b, b, "fixed_probability", probability=0.01, weight=0.1)
    model.connect(c, b, weight=0.1)
    for first, last in ((1000, 1100), (1000, 1500), (0, 1000), (2500, 3000)):
        found = footprint.count_sources(model, first, last)
        sources = LocalNetwork(model, 1, 3, None, np.array([0, first, last, 3000])).sources
        heard = np.arange(3000) if sources.ids is None else sources.ids
        for k, group in enumerate("abc"):
            counted = int(np.sum((heard >= 1000 * k) & (heard < 1000 * (k + 1))))
            assert found[group] == pytest.approx(counted, rel=0.05, abs=1), group


@pytest.mark.parametrize(("precision", "kind"), [("single", np.float32), ("double", np.float64)])
def test_signals_of_local_readouts_are_counted(precision: str, kind: type) -> None:
    """One number of the model's precision for each neuron and step."""
    model = Model(precision=precision)
    model.neurons("a", 50)
    model.local_readouts("out", model.of_role("recurrent"))
    parts = footprint.list_parts(model, 10, 0, 50)
    assert parts["signals of local readouts of 50 neurons"] == np.empty((10, 50), kind).nbytes


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
