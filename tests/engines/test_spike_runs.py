"""Runs of the spike variant: rounds and ranks, weights shown on the way, memory, phases without learning."""

import sys
from pathlib import Path

import launch
import numpy as np
import pytest
import ranks
import spike_networks
from hypothesis import given, settings
from hypothesis import strategies as st
from params import first
from properties import examples
from reference import run_case

from pareprop.algorithms.plan import FOLD_STEPS

# Prints one digest per case and length of rounds.
DIGESTS = """
import sys, warnings
warnings.filterwarnings("ignore", ".*the training diverges")
sys.path[:0] = sys.argv[1], sys.argv[1] + "/.."
import test_spike_runs
from pareprop.parallel import launcher
for line in test_spike_runs.digests(launcher.exchange()):
    print(line)
"""


def make_delayed_case(seed: int, n_steps: int = 120, **overrides) -> dict:
    """A random case in which no delay between neurons is shorter than two steps."""
    rng = np.random.default_rng(seed)
    case = spike_networks.random_case(seed, n_steps, d_out=int(rng.integers(2, 6)), d_fb=int(rng.integers(2, 6)))
    return case | {"d_rec": rng.integers(2, 6, case["d_rec"].shape)} | overrides


def lone(seed: int) -> dict:
    """One neuron of a delayed case, without recurrent synapses."""
    case = make_delayed_case(seed)
    case["groups"] = [spike_networks.group(np.random.default_rng(seed), 1, 3, model="iaf", tau_m=20.0, kappa=0.9)]
    for key, rows, columns in (("w_in", 1, 5), ("w_rec", 1, 1), ("w_out", 1, 1), ("w_fb", 1, 1)):
        case[key] = case[key][:rows, :columns]
    case["w_rec"] = np.full((1, 1), np.nan)
    case["d_rec"], case["d_in"] = np.full((1, 1), 2), 1
    return case | {key: case[key][:, :1] for key in ("targets", "step_currents")}


def digests(exchange, rounds=(0, 1)) -> list[str]:
    """Length of the rounds and digest of some cases on rank 0, the last one with fewer neurons than ranks."""
    lines = []
    for case in (*(make_delayed_case(seed) for seed in range(6)), lone(1)):
        for round_steps in rounds:
            run = spike_networks.simulation(case, 40, round_steps, exchange)
            run.train(3)
            digest = run.hexdigest()
            if exchange.rank == 0:
                lines.append(f"{run.engine.round_steps} {digest}")
    return lines


@pytest.mark.slow
@pytest.mark.mpi
def test_one_digest_for_any_rounds_and_ranks() -> None:
    found = {}
    for n in (1, 3):
        done = ranks.run(n, "-c", DIGESTS, Path(__file__).parent)
        assert (done.returncode, done.stderr) == (0, "")
        found[n] = done.stdout.splitlines()
    assert [line.split()[1] for line in found[1]] == [line.split()[1] for line in found[3]]
    assert {int(line.split()[0]) for line in found[1]} == {1, 40}  # one rank has nobody to wait for within a sample
    lines = [line.split() for line in found[3]]
    assert len(lines) == 14
    for (steps, digest), (forced, other) in zip(lines[::2], lines[1::2], strict=True):
        assert (int(forced), digest) == (1, other)
        assert int(steps) >= 2
    assert len({digest for _, digest in lines}) == 7
    assert {int(steps) for steps, _ in lines[::2]} >= {2, 3}


@pytest.mark.mpi
@pytest.mark.parametrize("precision", first(1, ["single", "double"], rest=1))
def test_one_digest_whether_cells_are_fetched_ahead_or_not(precision: str) -> None:
    """On one rank there are more cells than a cache holds, on each of two there are not; some rows end early."""
    sizes = ("--neurons", 20_000, "--indegree", 20, "--inputs", 3, "--steps", 240, "--intervals", 1)
    found = []
    for n in (1, 2):
        done = ranks.run(n, "-m", "pareprop", "bench", "--variant", "spike", "--precision", precision, *sizes)
        assert (done.returncode, done.stderr) == (0, "")
        found += [line.split()[1] for line in done.stdout.splitlines() if line.startswith("digest: ")]
    assert len(found) == 2 and found[0] == found[1]


@settings(max_examples=examples(15))
@given(seed=st.integers(0, 2**32 - 1))
def test_shown_weights_are_those_of_a_run_that_ends_there(seed: int) -> None:
    """After each sample they are the final weights of the twin; showing them does not disturb the run."""
    case, n_steps = spike_networks.random_case(seed, 90), 30
    run, silent = (spike_networks.simulation(case, n_steps) for _ in range(2))

    def look(run, index: int) -> None:
        last = (index + 1) * n_steps
        prefix = case | {key: case[key][:last] for key in ("inputs", "targets", "window", "step_currents")}
        expected = run_case(prefix)
        found = spike_networks.collect_state(run)
        for name, key in spike_networks.KEYS.items():
            np.testing.assert_allclose(found[name], expected[key], rtol=1e-10, atol=1e-10, err_msg=name)
        again = spike_networks.collect_state(run)
        for name in spike_networks.KEYS:
            np.testing.assert_array_equal(found[name], again[name])

    spike_networks.run_samples(run, between=look)
    spike_networks.run_samples(silent)
    assert run.hexdigest() == silent.hexdigest()


# ---- memory ----------------------------------------------------------------------------------------------------------


def quiet(cutoff: float, model: str, n_rec: int = 4) -> dict:
    """A case with a source and neurons that never spike, for samples of 100 steps."""
    rng = np.random.default_rng(1)
    params = {
        "C_m": 1.0,
        "E_L": 0.0,
        "V_th": 0.5,
        "tau_m": 20.0,
        "kappa": 0.9,
        "kappa_reg": 0.95,
        "c_reg": 1.0,
        "eprop_isi_trace_cutoff": cutoff,
        "I_e": 0.05,
    }
    case = spike_networks.random_case(1, 100)
    case["inputs"][:, 0] = False
    case["inputs"][3, 1] = True
    never = {"V_th": 1e9}
    case["groups"] = [
        {"model": model, "n": n_rec // 2, "params": params},
        {"model": model, "n": n_rec // 2, "params": params | never},
    ]
    return case | {
        "w_in": rng.normal(0.1, 0.2, (n_rec, 5)),
        "w_rec": rng.normal(0.0, 0.1, (n_rec, n_rec)),
        "w_out": rng.normal(0.0, 0.1, (2, n_rec)),
        "w_fb": rng.normal(0.0, 0.1, (n_rec, 2)),
        "d_rec": np.ones((n_rec, n_rec), int),
        "targets": np.zeros((100, 2)),
        "d_in": 1,
        "dt": 1.0,
        "step_currents": np.zeros((100, n_rec)),
        "readout": {"C_m": 1.0, "loss": "mean_squared_error"},
        "optimizer": {"type": "gradient_descent", "eta": 1e-6, "optimize_each_step": False},
        "d_out": 2,
        "d_fb": 1,
    }


class Again(spike_networks.CaseTask):
    """The first sample over and over."""

    def sample(self, index: int, phase: str = "train"):
        return super().sample(0, phase)


def endless(cutoff: float, model: str, n_rec: int = 4):
    run = spike_networks.simulation(quiet(cutoff, model, n_rec), 100)
    run.task = Again(run.task.case, 100)
    return run


@pytest.mark.parametrize("model", ["iaf", "iaf_adapt"])
@pytest.mark.parametrize("cutoff", [20.0, 700.0, np.inf])
def test_histories_are_bounded(model: str, cutoff: float) -> None:
    """Rings hold the longest cutoff, or the steps between two foldings, and grow with nothing."""
    run = endless(cutoff, model)
    longest = min(cutoff, FOLD_STEPS)
    assert (
        max(len(ring) for ring in run.engine.memory.history.values() if ring.ndim == 2 and ring.shape[1] == 4)
        <= longest + 2 * run.engine.plan.m + 4
    )
    run.train(10)
    before = run.engine.count_bytes()
    run.train(100)
    assert run.engine.count_bytes() == before
    assert before["histories"] < 8 * 4 * 24 * (longest + 40)
    assert run.rates[-1] > 1.0


PEAK = """
import resource, sys
sys.path[:0] = sys.argv[1], sys.argv[1] + "/.."
import test_spike_runs
run = test_spike_runs.endless(float(sys.argv[2]), sys.argv[3], 200)
for n in (10, 100):
    run.train(n)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
@pytest.mark.mpi
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss has other units")
@pytest.mark.parametrize("model", ["iaf", "iaf_adapt"])
def test_ten_times_longer_takes_no_more_memory(model: str) -> None:
    """Peak of the process after 1 000 and 10 000 steps, with 100 neurons and a source that never spike, no cutoff."""
    done = launch.mpirun(1, "-c", PEAK, Path(__file__).parent, "inf", model)
    assert (done.returncode, done.stderr) == (0, "")
    short, long = map(int, done.stdout.split())
    assert long - short < 1500  # KiB; one number per neuron and step would be 14 000


# ---- phases ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", first(2, range(6)))
@pytest.mark.parametrize("each_step", [False, True])
def test_samples_without_learning_have_a_learning_rate_of_0(seed: int, each_step: bool) -> None:
    """Spikes, readouts and traces go on; every window that is closed meanwhile teaches nothing."""
    case = make_delayed_case(seed, 150) if seed % 2 else spike_networks.random_case(seed, 150)
    case["optimizer"] |= {"optimize_each_step": each_step, "Wmin": -100.0, "Wmax": 100.0}
    case["readout"]["eprop_isi_trace_cutoff"] = np.inf
    for group in case["groups"]:
        group["params"]["eprop_isi_trace_cutoff"] = np.inf
    learns = [True, False, False, True, True]
    rate = case["optimizer"]["eta"]
    expected = run_case(case | {"etas": np.repeat(np.where(learns, rate, 0.0), 30)})
    always = run_case(case)
    weights = []

    def look(run, index: int) -> None:
        weights.append([item.table.weight.copy() for item in run.engine.memory.tables[:2]])

    found = spike_networks.run_samples(spike_networks.simulation(case, 30), learns, look)
    spike_networks.compare(case, found, expected)
    assert max(spike_networks.changes(always, expected)) > 1e-7
    for index in (1, 2):
        for before, after in zip(weights[index - 1], weights[index], strict=True):
            np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("seed", range(4))
def test_weights_shown_after_a_sample_without_learning_hold_what_is_pending(seed: int) -> None:
    """The twin: its learning rate is 0 in the last sample, and back at what it was when all sources spike once more."""
    case = spike_networks.random_case(seed, 150)
    case["optimizer"] |= {"optimize_each_step": False, "Wmin": -100.0, "Wmax": 100.0}
    rate = case["optimizer"]["eta"]
    expected = run_case(case | {"etas": np.repeat([rate, 0.0, rate], [120, 30, 1])})
    found = spike_networks.run_samples(spike_networks.simulation(case, 30), [True] * 4 + [False])
    spike_networks.compare(case, found, expected)


def test_learning_rate_may_change_between_samples() -> None:
    for seed in range(4):
        case = spike_networks.random_case(seed, 150)
        case["optimizer"]["optimize_each_step"] = False
        rates = [case["optimizer"]["eta"] * factor for factor in (1.0, 3.0, 0.0, 2.0, 0.5)]
        expected = run_case(case | {"etas": np.repeat(rates, 30)})
        run = spike_networks.simulation(case, 30)
        found = spike_networks.run_samples(
            run, between=lambda run, index, rates=rates: run.set_eta(rates[min(index + 1, 4)])
        )
        spike_networks.compare(case, found, expected)


@pytest.mark.parametrize("seed", range(4))
def test_learning_that_starts_late(seed: int) -> None:
    """Bookkeeping then starts with the first spike that arrives while the network learns, in both kernels alike."""
    case = spike_networks.random_case(seed, 147)
    found = []
    for stepwise in (False, True):
        run = spike_networks.simulation(case, 21, without=["prefix"] * stepwise)
        found.append(spike_networks.run_samples(run, [False] * 3 + [True] * 4))
    np.testing.assert_array_equal(found[0]["spike_steps"], found[1]["spike_steps"])
    for name in spike_networks.KEYS:
        np.testing.assert_allclose(found[0][name], found[1][name], rtol=1e-11, atol=1e-12, err_msg=name)
    assert spike_networks.changes(case, {key: found[0][name] for name, key in spike_networks.KEYS.items()})[0] > 1e-5


@pytest.mark.parametrize("seed", range(2))
def test_showing_weights_leaves_those_of_the_latest_arrivals(seed: int) -> None:
    """The flush updates every synapse as an arrival does, and is undone."""
    case = spike_networks.random_case(seed, 60)
    case["optimizer"] |= {"type": "adam", "optimize_each_step": True}
    run = spike_networks.simulation(case, 30)
    run.engine.keep_arrived()
    run.train(2)
    tables = [run.network.incoming, run.network.outgoing]
    before = [run.engine.get_weights(table).copy() for table in tables]
    run.engine.show_weights()
    for weights, table in zip(before, tables, strict=True):
        np.testing.assert_array_equal(run.engine.get_weights(table), weights)
