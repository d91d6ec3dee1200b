"""The dry run of one rank against that rank of a real run."""

import json
import os
import re
import statistics
from pathlib import Path

import numpy as np
import pytest
import ranks
from commands import as_options, output_of

from pareprop.engines import footprint
from pareprop.engines.interval import IntervalSettings
from pareprop.engines.spike import SpikeSettings
from pareprop.errors import InputError
from pareprop.network import local
from pareprop.network.model import Model
from pareprop.network.parameters import Normal
from pareprop.parallel import drawn_spikes
from pareprop.parallel.drawn_spikes import DrivenExchange, draw_log
from pareprop.parallel.exchange import Alone, Exchange
from pareprop.runs import benchmark
from pareprop.runs.benchmark import Bench, BenchTask
from pareprop.scaling import dryrun
from pareprop.scaling.traffic import Traffic
from pareprop.simulation.loop import Simulation

VARIANTS = pytest.mark.parametrize("variant", ["interval", "spike"])
N, INDEGREE, STEPS, RATE = 300, 20, 200, 30.0


def settings(variant, n_steps, **options):
    return (SpikeSettings if variant == "spike" else IntervalSettings)(n_steps, **options)


def deaf_readouts(variant: str, delay: int) -> Model:
    """Readouts hear nothing: what other ranks bring to them is not known to a dry run, and here it is 0 on both."""
    model = Bench(neurons=N, indegree=INDEGREE, inputs=10, delay=delay, variant=variant).build_model()
    for k, item in enumerate(model.projections):
        if item.post.role == "readout":
            model.projections[k] = item.model_copy(update={"weight": Normal(std=0.0), "plastic": False})
    return model


SPARSE = Bench(neurons=20_000, indegree=1, inputs=10, delay=3, steps=200)  # of its network nodes hear a part


def train(folder: str, words: list[str], exchange: Exchange) -> None:
    if words == ["memory"]:
        task = SPARSE.make_task()
        simulation = benchmark.build_simulation(SPARSE.build_model(), task, exchange, RATE)
        run_twice(simulation, task)
        meeting = simulation.engine.channel
        shared = os.fstat(meeting.owners[0].fd).st_blocks * 512 * simulation.exchange.is_node_leader
        found = simulation.network.incoming.nbytes, simulation.exchange.nbytes, shared
        Path(folder, f"bytes-{exchange.rank}.json").write_text(json.dumps(found))
        return
    model, task = deaf_readouts(words[0], int(words[1])), BenchTask(10, STEPS, 1)
    simulation = benchmark.build_simulation(model, task, exchange, RATE)
    run_twice(simulation, task)
    log, path = simulation.engine.log, Path(folder, f"real-{exchange.rank}")
    np.savez(path, weight=simulation.network.incoming.weight, ids=log.ids[: log.ptr[-1]])


def run_twice(simulation: Simulation, task: BenchTask) -> None:
    for index in range(2):
        simulation.engine.run(task.sample(index), True)
        simulation.engine.step_optimizers()


@pytest.mark.mpi
@pytest.mark.parametrize("delay", [1, 4])
@VARIANTS
def test_same_bits_as_the_real_rank(variant, delay, tmp_path):
    """With drawn spikes on both sides, a dry run of a rank learns what that rank really learns."""
    ranks.train(3, __file__, tmp_path, variant, str(delay))
    model, task = deaf_readouts(variant, delay), BenchTask(10, STEPS, 1)
    dry = drawn_spikes.DryExchange(2, 3, RATE / 1000.0, N, model.seed, own=True)
    simulation = Simulation(model, task, dry, settings=settings(variant, STEPS))
    run_twice(simulation, task)
    root, real, log = np.load(tmp_path / "real-0.npz"), np.load(tmp_path / "real-2.npz"), simulation.engine.log
    np.testing.assert_array_equal(log.ids[: log.ptr[-1]], root["ids"])
    np.testing.assert_array_equal(simulation.network.incoming.weight, real["weight"])
    untrained = Simulation(model, task, dry, settings=settings(variant, STEPS)).network.incoming.weight
    assert np.any(untrained != real["weight"])


@pytest.mark.slow
@pytest.mark.mpi
@VARIANTS
def test_memory_of_a_rank(variant, tmp_path):
    """Within 5 % by kind."""
    sizes = {"neurons": 4000, "indegree": 200, "inputs": 50, "steps": 300}
    chosen = {"intervals": 2, "warmup": 1, "rate": f"{RATE:g}", "variant": variant, "json": tmp_path / "real.json"}
    arguments = [f"--{key}={value}" for key, value in (sizes | chosen).items()]
    ranks.output(2, "-m", "pareprop", "bench", *arguments)
    real = json.loads((tmp_path / "real.json").read_text())["shares"]
    bench = Bench(**sizes, variant=variant)
    model, task = bench.build_model(), bench.make_task()
    for rank in (0, 1):
        driven = {"samples": 2, "rate_hz": RATE, "drive": True}
        dry = dryrun.run(model, task, 2, rank, settings(variant, 300), **driven).share
        assert set(dry.phases) <= set(real[rank]["phases"])
        for kind, size in real[rank]["memory"].items():
            assert dry.memory[kind] == pytest.approx(size, rel=0.05), kind


@VARIANTS
def test_rate_of_the_others(variant):
    """Others fire as the own neurons did in the sample before; a wanted rate is kept."""
    bench = Bench(neurons=400, indegree=40, inputs=20, steps=400, variant=variant)
    model, task = bench.build_model(), bench.make_task()
    free = dryrun.run(model, task, 4, 1, settings(variant, 400), warmup=2)
    assert free.others_hz == pytest.approx(free.rate_hz, rel=0.35) and free.others_hz != local.compute_target_rate(
        model
    )
    assert dryrun.run(model, task, 4, 1, settings(variant, 400), rate_hz=7.0).others_hz == pytest.approx(7.0)


def test_drawn_spikes_depend_on_the_neuron_alone():
    whole = draw_log(3, 0, 50, 0.1, 400)
    steps, ids = whole.list_spikes(400)
    for first, last in ((0, 20), (20, 21), (21, 50)):
        found = draw_log(3, first, last, 0.1, 400).list_spikes(400)
        mine = (ids >= first) & (ids < last)
        np.testing.assert_array_equal(found, (steps[mine], ids[mine]))
    assert statistics.fmean(np.bincount(ids)) == pytest.approx(40, abs=4)


@VARIANTS
def test_driven_alone_sends_drawn_spikes(variant):
    bench = Bench(neurons=100, indegree=10, inputs=10, steps=100, variant=variant, delay=3)
    task = bench.make_task()
    simulation = benchmark.build_simulation(bench.build_model(), task, Alone(), 200.0)
    assert isinstance(simulation.exchange, DrivenExchange)
    for index in range(2):
        simulation.engine.run(task.sample(index), True)
        log = simulation.engine.log
        np.testing.assert_array_equal(log.list_spikes(100), draw_log(1, 0, 100, 0.2, 100).list_spikes(100))


@pytest.mark.mpi
def test_memory_of_a_node_is_predicted(tmp_path: Path) -> None:
    """Of four ranks on two nodes: tables and routes of a rank, and what a node shares, as they are."""
    env = {"PAREPROP_RANKS_PER_NODE": "2", "PAREPROP_SENDING": "targeted"}
    ranks.train(4, __file__, tmp_path, "memory", env=env)
    model = SPARSE.build_model()
    for rank in range(4):
        tables, sent, shared = json.loads((tmp_path / f"bytes-{rank}.json").read_text())
        here = Traffic(model, SPARSE.steps, RATE, 4, 2)
        routes, of_node = here.count_bytes()
        ends = here.cuts[rank : rank + 2].tolist()
        parts = footprint.list_parts(model, SPARSE.steps, *ends)
        onto = sum(size for what, size in parts.items() if "'in->rec'" in what or "'rec->rec'" in what)
        assert onto == pytest.approx(tables, rel=0.1)
        assert rank % 2 == 0 or routes == pytest.approx(sent, rel=0.3)  # the leader has the messages, too
        assert rank % 2 or of_node == pytest.approx(shared, rel=0.5)


@pytest.mark.parametrize(("ranks", "rank"), [(4, 4), (4, -1), (1, 1)])
def test_no_such_rank(ranks, rank):
    bench = Bench(neurons=20, indegree=5, inputs=5, steps=20)
    with pytest.raises(InputError, match="rank"):
        dryrun.run(bench.build_model(), bench.make_task(), ranks, rank, settings("interval", 20))


def of_files() -> float:
    """MiB of resident pages of files: all of files that are mapped but those that this process changed."""
    files, size = False, 0
    for line in Path("/proc/self/smaps").read_text().splitlines():
        name, value, *rest = line.split()
        if "-" in name:
            files = rest[-1].startswith("/") and not rest[-1].startswith("/dev/shm")
        elif name in ("Rss:", "Anonymous:"):
            size += files * int(value) * (1 if name == "Rss:" else -1)
    return size / 1024


def test_command(capsys):
    sizes = as_options("n_rec=400", "indegree=50")
    words = ["--ranks", "100", "--rank", "17", "--ranks-per-node", "10"]
    before = of_files()
    output = output_of(capsys, "dry-run", "sine-waves", *sizes, *words)
    told = float(re.search(r"the node has (\d+) MiB, its files, once", output)[1])
    assert before - 1 <= told <= of_files() + 1  # a run reads more of them
    assert "rank 17 of 100" in output and "a node of 10 such ranks: " in output and "s to build" in output
    fires, note = re.search(r"fires at ([\d.]+) Hz", output)[1], "note: neurons of this rank fire at "
    assert float(fires) > 20.0  # twice the default f_target
    assert f"{note}{fires} Hz, training draws them to 10 Hz (f_target): `--rate 10` predicts costs at that" in output
    assert note not in output_of(capsys, "dry-run", "sine-waves", *sizes, *words, "--rate", "10")
    assert note not in output_of(capsys, "dry-run", "sine-waves", *as_options(f"f_target={fires}"), *sizes, *words)
    names = {line.split()[0] for line in output.splitlines()}
    assert names >= {"deliver", "update", "sweep", "credit", "incoming", "histories"}
