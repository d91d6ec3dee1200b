"""scripts/bandwidth.py: loops that compute what they should, bytes that kernels move, and the verdict."""

import json
import shutil

import bandwidth
import numpy as np
import pytest
import stream
import traffic
from click.testing import CliRunner

from pareprop.network.local import LocalNetwork
from pareprop.runs import benchmark

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")


@pytest.mark.parametrize("real", ["double", "float"])
def test_loops_compute(real, tmp_path):
    kind = {"double": np.float64, "float": np.float32}[real]
    library = stream.build(tmp_path, real)
    found = {}
    for loop in stream.MOVED:
        run = stream.prepare(library, loop, 4000, 50, 100, kind)  # rows that 16 does not divide
        run()
        found[loop] = run.args[-1]
    order, target, weight, total = found["scatter"]
    assert np.array_equal(np.sort(order[:-1]), np.arange(40)) and np.all(
        np.diff(target.reshape(40, 100).astype(int)) >= 0
    )
    assert np.array_equal(total, 1.0 + np.bincount(target, minlength=50)) and np.all(weight == 1.0)
    assert np.all(found["gather"][2] == 1.5) and np.all(found["triad"][2] == 1.5) and np.all(found["copy"][1] == 1.0)
    assert np.all(found["scale"][0] == kind(0.999))
    _, target, weight, Y, C, cells = found["update"]
    np.testing.assert_allclose(cells["total"], 1.0 + np.bincount(target, weight, 50), rtol=1e-5)
    assert np.all(Y == 0.5) and np.all(C == 1.5) and np.all(weight < 1.0 + 1e-7)


def test_bytes_are_those_of_the_layout():
    """Against the arrays of a network: what a spike's row of synapses takes in memory."""
    table = LocalNetwork(benchmark.model(50, 10, 10), 0, 1).incoming
    kernels = {(kernel.variant, kernel.name): kernel.nbytes(table.weight.itemsize, 50) for kernel in traffic.KERNELS}
    once = (table.weight.nbytes + table.target.nbytes) / len(table.weight)
    assert kernels["interval", "deliver"] == kernels["spike", "deliver, static"] == once
    assert kernels["interval", "credit"] == once + table.weight.itemsize
    assert stream.count_bytes("scatter", 8) == kernels["interval", "deliver"]
    assert stream.count_bytes("gather", 8) == kernels["interval", "credit"]
    assert stream.count_bytes("update", 8) == kernels["spike", "per-spike update"]


def test_state_counts_where_it_leaves_the_cache():
    (kernel,) = [item for item in traffic.KERNELS if (item.variant, item.name) == ("interval", "advance")]
    arrays, accesses = kernel.state
    most = traffic.CACHE // (8 * arrays)
    assert kernel.nbytes(8, most) == 8 and kernel.nbytes(8, most + 1) == 8 + 8 * accesses


def test_verdict():
    loops = [
        {"loop": "scale", "targets": 0, "row": 1, "processes": 1, "gb_per_s": 10.0},
        {"loop": "scatter", "targets": 9, "row": 5, "processes": 1, "ns": 2.0},
        {"loop": "scatter", "targets": 9, "row": 5, "processes": 2, "ns": 9.0},
    ]

    def verdict(nbytes, ns_in_cache):
        row = {"bytes": nbytes, "ns": 4.0, "gb_per_s": nbytes / 4.0, "ns_in_cache": ns_in_cache}
        (found,) = bandwidth.judge(loops, [row | {"loop": "scatter", "targets": 9, "row": 5}])
        return found["limit"], found["share"], found["of_scale"]

    assert verdict(30, 1.0) == ("bandwidth", 0.75, 0.75)
    assert verdict(10, 1.0) == ("gathers", 0.5, 0.25)
    assert verdict(10, 3.6) == ("arithmetic", 0.9, 0.25)


def test_what_several_ranks_could_gain():
    class Measured:
        """Nanoseconds by targets and row, twice that where two processes share the memory."""

        def measure(self, loop, targets, row, processes=1):
            return {"ns": {(200, 20): 4.0, (100, 20): 2.0, (100, 10): 2.5}[targets, row] * processes}

    rows = bandwidth.measure_sharing(Measured(), 200, 20, 2)
    assert [row["loop"] for row in rows] == list(stream.THROUGH_ROWS)
    assert all((row["strong"], row["weak"]) == (2 * 4.0 / 5.0, 2.0 / 5.0) for row in rows)


@pytest.mark.slow
def test_the_script(tmp_path, monkeypatch):
    monkeypatch.setattr(bandwidth, "TARGETS", (100, 1000))
    monkeypatch.setattr(bandwidth.os, "sched_setaffinity", lambda *_: None)
    arguments = [
        "--neurons",
        "200",
        "--indegree",
        "20",
        "--steps",
        "20",
        "--samples",
        "1",
        "--events",
        "5000",
        "--processes",
        "2",
        "--json",
        str(tmp_path / "f.json"),
    ]
    done = CliRunner().invoke(bandwidth.main, arguments)
    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "f.json").read_text())
    assert {row["kernel"] for row in found["kernels"]} == {kernel.name for kernel in traffic.KERNELS}
    assert all(row["ns"] > 0 and row["ns_in_cache"] > 0 for row in found["kernels"])
    assert {row["loop"] for row in found["sharing"]} == set(stream.THROUGH_ROWS)
    assert all(row["strong"] > 0 and row["weak"] > 0 for row in found["sharing"])
    assert "per-spike update" in done.output
