"""Unit costs are measured on this machine, by processes that end with the measurement."""

import dataclasses
import itertools
import json
import multiprocessing
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from commands import on_ranks, refusal_of
from launch import ENVIRONMENT, find_mpirun, kill_session, processes_of, wait_until
from params import first

from pareprop.errors import StateError
from pareprop.runs import benchmark, units, work
from pareprop.scaling import measure, ping

SMALL = (measure.Probe(300, 30, 2, 40), measure.Probe(400, 20, 2, 40))
MEASURE = """
from pareprop.scaling import measure
if __name__ == "__main__":
    small = measure.Probe(300, 30, 2, 40)
    network = measure.Interconnect()
    measure.measure("interval", (small,), 10**6, network, lambda line: print(line, flush=True))
"""


@pytest.mark.skipif(measure.count_copies() < 2, reason="one core")
@pytest.mark.parametrize("name", first(1, ["SIGKILL", "SIGTERM", "SIGINT"]))
def test_no_copy_outlives_the_measurement(tmp_path, name):
    (tmp_path / "endless.py").write_text(MEASURE)
    line = [sys.executable, tmp_path / "endless.py"]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    try:
        process.stdout.readline()
        assert len(processes_of(process.pid)) > 2
        process.send_signal(signal.Signals[name])
        process.wait(900)
        wait_until(lambda: not processes_of(process.pid))
    finally:
        kill_session(process.pid)
        process.communicate()


@pytest.mark.skipif(measure.count_copies() < 2, reason="one core")
def test_a_copy_that_is_ended_ends_the_measurement():
    def end(_: str) -> None:
        for child in multiprocessing.active_children():
            child.kill()

    with pytest.raises(StateError, match="processes at once was ended"):
        measure.measure("interval", SMALL, 3, units.Interconnect(), end)


@pytest.mark.parametrize("probe", measure.PROBES, ids=str)
def test_probes_can_be_run(probe):
    """A hundredth of each: a probe that is no share of a larger run is refused."""
    small = dataclasses.replace(probe, neurons=probe.neurons // 10, indegree=probe.indegree // 10, steps=20)
    assert measure.run("interval", small).phases["deliver"] > 0


@pytest.mark.slow
@pytest.mark.mpi
def test_ranks_measure_the_exchange(monkeypatch):
    """Not the defaults, which stand in where there is no mpirun."""
    if find_mpirun() is None:
        pytest.skip("no mpirun: install the extra 'mpi' or a system MPI")
    monkeypatch.setattr(measure, "EXCHANGES", 20)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    told = measure.exchange_costs()
    assert told["nodes"] == 1 and len(told["repetitions"]) == ping.REPEATS
    for costs in told["repetitions"]:
        assert costs["latency_s"] > 0 and costs.get("skew", 1.0) >= 0 and costs["bandwidth"] > 1e6
        for name in ("pack_s", "copy_s", "sum_s", "merge_s", "number_s"):  # differences of seconds
            assert 0 <= costs[name] < 1.0, name
            assert any(other[name] > 0 for other in told["repetitions"]), name
        assert 1e-8 < costs["round_s"] < 1.0 and "message_s" not in costs
    middle = units.Units({}, {}).with_exchange(**told).network
    assert middle.pack_s > middle.copy_s  # to choose spikes takes longer than to copy


def test_seconds_of_repetitions_and_copies() -> None:
    """The median of each phase counts, of copies at once the mean."""
    phases = [{"deliver": 2.0, "update": 1.0}, {"deliver": 1.0, "update": 4.0}, {"deliver": 1.5, "update": 9.0}]
    runs = [units.Measured(None, one, {}) for one in phases]
    assert measure._median(runs).phases == {"deliver": 1.5, "update": 4.0}
    assert measure._mean(runs[:2]).phases == {"deliver": 1.5, "update": 2.5}


def test_copies_meet_before_each_sample() -> None:
    """Building takes longer than a sample: copies would else seldom run one at the same time."""
    met = []

    class Barrier:
        def wait(self, seconds: float) -> None:
            met.append(seconds)

        def abort(self) -> None:
            raise AssertionError

    measure._Copy.barrier = Barrier()
    found = measure._run_copy("interval", measure.Probe(100, 5, 2, 20))
    assert met == [measure.MEET] * 2 and found.phases["deliver"] > 0


@pytest.mark.parametrize("cache", [2.0**22, 2.0**25])
def test_the_cache_that_fits_best_is_found(cache: float) -> None:
    """Seconds made of unit costs and a cache give both back."""
    costs = {"events": 0.3e-9, "cold_events": 0.5e-9, "visits": 10e-9, "cold_visits": 40e-9}
    runs = []
    for neurons, indegree, ranks in itertools.product((2000, 9000, 30_000), (50, 300, 1500), (2, 16)):
        model = benchmark.model(neurons, indegree, 100)
        item = work.of_rank(model, 100, work.Firing(5.0, 3.0), ranks, 0)
        deliver = sum(cost * getattr(item.with_cache(cache), name) for name, cost in costs.items())
        runs.append(units.Measured(item, {"deliver": deliver, "credit": deliver}, {}))
    found = units.fit(runs, units.Interconnect(), 0.0)
    assert found.cache == cache == found.crowded_cache
    told = {name: cost for name, cost in found.seconds["deliver"].items() if cost > 1e-14}
    assert told == pytest.approx(costs, rel=1e-3)
    assert found._seconds("deliver", runs[0].work) == pytest.approx(runs[0].phases["deliver"])


def test_what_ranks_measured_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is known without ranks."""
    told = {"repetitions": [{"latency_s": 2e-6, "skew": 0.25}], "nodes": 1}
    answer = f"print({json.dumps(json.dumps(told))})"
    monkeypatch.setattr(measure.launchers, "command", lambda *_: [sys.executable, "-c", answer])
    assert measure.exchange_costs() == told
    answer = "raise SystemExit(1)"
    assert measure.exchange_costs() == {"repetitions": [], "nodes": 1}


@pytest.mark.parametrize("busy", [0.0, 10.0])
def test_nobody_waits_for_a_core(monkeypatch: pytest.MonkeyPatch, busy: float) -> None:
    """Of samples in which other programs kept cores busy nothing is taken; of others the shortest waits."""
    waits = iter((4.0, 2.0, 3.0))

    def run(*_: object) -> dict:
        parts = [{"phases": {"wait": wait}} for wait in (next(waits), 0.0)]
        return {"shares": parts, "phases": {"deliver": 3.0, "update": 1.0}, "other_cores": busy}

    monkeypatch.setattr(benchmark, "run", run)
    assert ping.skew(None, 10) == ({} if busy else {"skew": 0.25})


class Four:
    """Rank 0 of four, between which a short message takes 4 µs and a long one 20."""

    rank, size = 0, 4

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(ping.time, "perf_counter", lambda: self.now)

    def Allgather(self, own: np.ndarray, whole: np.ndarray) -> None:
        assert len(whole) == 4 * len(own)
        self.now += {64: 4e-6, 65536: 20e-6}[len(own)]


def test_messages_are_taken_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of four ranks a short message takes two stages, a long one carries three times 256 KiB more."""
    found = ping.messages(Four(monkeypatch), 40)
    assert found["latency_s"] == pytest.approx(2e-6)
    assert found["bandwidth"] == pytest.approx(3 * 4 * 65536 / 16e-6)


@pytest.mark.slow
@pytest.mark.mpi
def test_nodes_measure_messages(tmp_path) -> None:
    """Two nodes, of three ranks and two: all costs are measured, and kept in place of those that were known."""
    file, before = tmp_path / "units.json", measure.shipped()[1]
    nodes = ENVIRONMENT | {"PAREPROP_RANKS_PER_NODE": "3"}
    codes, output, errors = on_ranks(5, [["ping", "--rounds", 20]], env=os.environ | nodes, cwd=tmp_path)
    assert (codes, errors) == ([0], []) and output[-1].startswith("2 node(s); written to units.json")
    told = {line[:26].strip() for line in output[:-1]}
    assert told <= {*units.TOLD.values()}
    names = {name for name, words in units.TOLD.items() if words in told}
    assert {field.name for field in dataclasses.fields(units.Interconnect)} - names <= {"skew"}  # on a busy machine
    found = units.read(file)
    for variant, item in found.items():
        assert set(item.measured) == names | set(before[variant].measured) and item.seconds == before[variant].seconds
        assert item.network.latency_s > 0 and item.network != before[variant].network


@pytest.mark.mpi
def test_one_rank_on_a_node_measures_nothing(tmp_path, capsys) -> None:
    alone = ENVIRONMENT | {"PAREPROP_RANKS_PER_NODE": "1"}
    codes, _, errors = on_ranks(2, [["ping"]], env=os.environ | alone, cwd=tmp_path)
    assert codes == [2] and "at least two ranks on each node" in errors[0] and not list(tmp_path.iterdir())
    assert "srun" in refusal_of(capsys, "ping")
