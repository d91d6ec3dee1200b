"""What `ping` measures of exchanges, and the file that it writes."""

import os
from pathlib import Path

import numpy as np
import pytest
from commands import on_ranks, refusal_of
from launch import ENVIRONMENT

from pareprop.scaling import ping, traffic


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
    found = ping.measure_messages(Four(monkeypatch), 40)
    assert found["latency_s"] == pytest.approx(2e-6)
    assert found["bandwidth"] == pytest.approx(3 * 4 * 65536 / 16e-6)


@pytest.mark.slow
@pytest.mark.mpi
@pytest.mark.parametrize(
    ("per_node", "missing"), [(3, set()), (5, {"latency_s", "bandwidth", "message_s"})], ids=["two nodes", "one node"]
)
def test_ranks_measure_exchanges(per_node: int, missing: set[str], tmp_path: Path) -> None:
    """All costs are measured on two nodes, of three ranks and two; on one, what senders from others cost is not."""
    nodes = ENVIRONMENT | {"PAREPROP_RANKS_PER_NODE": f"{per_node}"}
    codes, output, errors = on_ranks(5, [["ping", "--rounds", 20]], env=os.environ | nodes, cwd=tmp_path)
    n = -(-5 // per_node)
    assert (codes, errors) == ([0], []) and output[-1] == f"{n} node(s); written to ping.json"
    found, _ = traffic.read(tmp_path / "ping.json")
    fields = traffic.Interconnect.model_fields
    assert {name for name in fields if getattr(found, name) is None} == missing
    assert {line.partition(":")[0] for line in output[:-1]} == {fields[name].description for name in fields} - {
        fields[name].description for name in missing
    }
    assert 1e-8 < found.round_s < 1 and 0 < found.look_up_s < 1
    assert missing or (0 < found.latency_s < 1 and found.bandwidth > 1e6)


@pytest.mark.mpi
def test_one_rank_on_a_node_measures_nothing(tmp_path, capsys) -> None:
    alone = ENVIRONMENT | {"PAREPROP_RANKS_PER_NODE": "1"}
    codes, _, errors = on_ranks(2, [["ping"]], env=os.environ | alone, cwd=tmp_path)
    assert codes == [2] and "at least two ranks on each node" in errors[0] and not list(tmp_path.iterdir())
    assert "srun" in refusal_of(capsys, "ping")
