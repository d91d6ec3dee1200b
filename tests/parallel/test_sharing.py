"""Small networks stay on one rank, with the bits of a network that all ranks share."""

from pathlib import Path

import pytest
import ranks
import small
from commands import as_options, digests, on_ranks

from pareprop.errors import InputError
from pareprop.network import sharing
from pareprop.network.model import Model
from pareprop.parallel.exchange import Exchange
from pareprop.simulation.loop import Simulation
from pareprop.tasks.sine_waves import SineWaves

TASK = ["run", "sine-waves", *as_options(n_rec=60, n_step=200, iterations=3, n_out=2)]


def model(variant: str = "interval", n: int = 100, dt_ms: float = 1.0) -> Model:
    """A network with 50 inputs onto each neuron, and 20 synapses among neurons."""
    among = {"rule": "fixed_indegree", "indegree": 20, "weight": 1.0}
    return small.network(variant, 50, n, 2, among=among, dt_ms=dt_ms)


def train(folder: str, words: list[str], exchange: Exchange) -> None:
    """Tell the neurons of each rank, and how often it is called in a sample."""
    task = SineWaves(n_step=200, n_rec=int(words[0]))
    run = Simulation(task.build_model(), task, exchange, settings=task.make_settings())
    low, high = run.network.neurons
    print(f"{exchange.rank} {high - low} {run.engine.round_steps}\n", end="", flush=True)
    run.train(1)


def test_who_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small networks are not shared; the bound can be set."""
    monkeypatch.delenv(sharing.VARIABLE)
    assert [sharing.count_sharing(model(n=n), 4) for n in (100, 352, 353)] == [1, 1, 4]  # 1.7 n up to 600
    assert [sharing.count_sharing(model("spike", n), 4) for n in (352, 353)] == [1, 4]
    monkeypatch.setenv(sharing.VARIABLE, "170")
    assert [sharing.count_sharing(model(n=n), 4) for n in (100, 101)] == [1, 4]
    monkeypatch.setenv(sharing.VARIABLE, "-1")
    with pytest.raises(InputError, match="PAREPROP_SHARE_ABOVE = '-1' must be a whole number of at least 0"):
        sharing.count_sharing(model(), 4)


REACH = ["run", "reach", *as_options(iterations=2, batch_size=1, test_samples=3)]


@pytest.mark.slow
@pytest.mark.mpi
def test_a_restart_on_ranks_that_share(tmp_path: Path) -> None:
    """A checkpoint of a rank that has all neurons is read by ranks that share them, and the other way round."""
    task, whole, found = [*TASK, "--set", "variant=spike", "--set", "iterations=4"], tmp_path / "whole", set()
    for k, bounds in enumerate((("", "0"), ("0", ""))):
        out = tmp_path / str(k)
        several = [[*task, "--until", "2", "--out", out], *([] if k else [[*task, "--out", whole]])]
        codes, output, errors = on_ranks(2, several, env={sharing.VARIABLE: bounds[0]})
        assert (codes, errors) == ([0] * len(several), [])
        found |= set(digests(output)[1:])
        codes, output, errors = on_ranks(3, [["resume", out]], env={sharing.VARIABLE: bounds[1]})
        assert (codes, errors) == ([0], [])
        found |= set(digests(output))
    assert len(found) == 1


@pytest.mark.slow
@pytest.mark.mpi
def test_one_digest(tmp_path: Path) -> None:
    """Shared or not, on one node or on several, small batches, too; errors and rewards act on the next steps."""
    found, spike = set(), ["--set", "variant=spike"]
    tasks = [TASK, [*TASK, "--set", "batch_size=2"], [*TASK, *spike], [*REACH, *spike]]
    for n, bound, per_node in ((1, "", ""), (2, "0", ""), (3, "", ""), (4, "", "2")):
        folder = tmp_path / f"{n}-{bound}-{per_node}"
        environment = {sharing.VARIABLE: bound, "PAREPROP_RANKS_PER_NODE": per_node}
        several = [[*task, "--out", folder / str(k)] for k, task in enumerate(tasks)]
        codes, output, errors = on_ranks(n, several, env=environment)
        assert (codes, errors) == ([0] * len(tasks), [])
        found |= {(k, digest) for k, digest in enumerate(digests(output))}
    assert len(found) == len(tasks)


@pytest.mark.mpi
def test_ranks_without_neurons_meet_once_per_sample(tmp_path: Path) -> None:
    """A round is a sample of 200 steps where no spike is needed elsewhere, else a step."""
    for bound, n, expected in (("", 60, ["0 60 200", "1 0 200"]), ("0", 60, ["0 30 1", "1 30 1"])):
        told = ranks.train(2, __file__, tmp_path, str(n), env={sharing.VARIABLE: bound}, silent=True)
        assert sorted(told.splitlines()) == expected


@pytest.mark.mpi
@pytest.mark.parametrize("bound", ["some", "-3", "1.5"])
def test_a_bound_that_is_no_number(bound: str, tmp_path: Path) -> None:
    codes, _, errors = on_ranks(2, [[*TASK, "--out", tmp_path / "run"]], env={sharing.VARIABLE: bound})
    assert codes == [2]
    assert errors == [f"pareprop: error: {sharing.VARIABLE} = '{bound}' must be a whole number of at least 0"]
