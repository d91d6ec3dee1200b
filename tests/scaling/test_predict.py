"""Counts of work, unit costs and the predictions made of them."""

import dataclasses
import functools
import json
import re
from itertools import product

import numpy as np
import pytest
import scipy.optimize
import small
from commands import as_options, command, digests, on_ranks, output_of, refusal_of

from pareprop.errors import InputError
from pareprop.network.cuts import cut
from pareprop.network.local import LocalNetwork, cost_of
from pareprop.network.model import Model
from pareprop.network.optimizers import Adam, GradientDescent
from pareprop.network.rule_options import ShortTerm
from pareprop.parallel import stand_ins
from pareprop.parallel.exchange import Alone
from pareprop.rules import library
from pareprop.rules.definition import Eprop, LearningRule
from pareprop.runs import benchmark, speed, units, work
from pareprop.scaling import dryrun, measure, slurm, subject
from pareprop.scaling.predict import nodes_for, predict, representatives
from pareprop.simulation.loop import Simulation


def network(variant="interval"):
    """Several populations and readouts, a range of delays."""
    model = Model(variant, 1)
    inputs = model.inputs("in", 30)
    cells = {"C_m": 1.0, "tau_m": 30.0, "E_L": 0.0, "V_th": 0.5}
    one, two = model.neurons("one", 70, "iaf", **cells), model.neurons("two", 37, "iaf_adapt", **cells)
    out = model.readouts("out", 3, C_m=1.0, tau_m=30.0, E_L=0.0)
    model.connect(inputs, one, "fixed_indegree", indegree=7, weight=1.0)
    model.connect(inputs, two, weight=1.0)
    model.connect(one, two, "fixed_indegree", indegree=11, weight=1.0, delay=(2, 4))
    model.connect(two, two, allow_autapses=False, weight=1.0, delay=2)
    model.connect(one, out, weight=1.0)
    model.connect(out, one, weight=1.0)
    return model


@pytest.mark.parametrize("ranks", [1, 2, 4, 5, 64])
def test_counts_are_those_of_the_network(ranks):
    model = network()
    for rank in {0, ranks // 2, ranks - 1}:
        found, built = work.of_rank(model, 100, work.Firing(5.0, 3.0), ranks, rank), LocalNetwork(model, rank, ranks)
        tables = built.incoming, built.outgoing, built.feedback
        counts = found.synapses, found.readout_synapses, found.feedback_synapses
        assert counts == tuple(len(table.weight) for table in tables)
        n_heard = len(built.sources.ids) if built.sources.ids is not None else model.size("recurrent")
        assert found.heard == pytest.approx(n_heard, rel=0.25) and (ranks > 4 or found.heard == n_heard)
        rows = sum(len(table.row_ptr) - 1 for table in tables)
        assert found.rows == (rows if found.heard == n_heard else pytest.approx(rows, rel=0.25))
        assert (found.neurons, found.readouts) == (built.neurons[1] - built.neurons[0], 3)
        assert (found.rounds, found.spikes, found.input_spikes) == (50, 107 * 3.0, 150.0)
        # lists of sources are estimated
        assert found.table_bytes["incoming"] == pytest.approx(built.incoming.nbytes, rel=0.25, abs=64)


@pytest.mark.parametrize("variant", ["interval", "spike"])
def test_events_are_those_counted(variant):
    model, task = benchmark.model(500, 40, 20, variant=variant), benchmark.BenchTask(20, 1000, 1)
    settings = subject.find("bench", ["neurons=500", "steps=1000", f"variant={variant}"]).settings
    share = dryrun.run(model, task, 2, 1, rate_hz=30.0, drive=True, settings=settings)
    assert share.rate_hz == pytest.approx(30.0, rel=0.05)
    simulation = benchmark.build(model, task, Alone(), 30.0)
    simulation.engine.run(task.sample(0), True)
    inputs = task.sample(0).inputs
    counted = benchmark.count_events(simulation.network.incoming, inputs, simulation.engine.log, 1000, True)
    expected = work.of_rank(model, 1000, work.Firing.at(benchmark.INPUT_PROBABILITY, 30.0, 1000, 1.0), 1, 0)
    assert expected.events == pytest.approx(counted, rel=0.02)


FLAT = units.Units(
    {phase: dict.fromkeys(counts, 1e-9) for phase, counts in units.PHASES.items()},
    {kind: dict.fromkeys(counts, 8.0) for kind, counts in units.MEMORY.items()},
    units.Interconnect(1e-6, 1e9, 0.0),
    1e6,
)
FIRING = work.Firing(50.0, 30.0)
SINES = ["sine-waves", *as_options(n_rec=5000, indegree=100)]


def test_fit_finds_the_unit_costs():
    works = [
        work.of_rank(benchmark.model(n, k, 20), T, FIRING, ranks, ranks - 1)
        for n, k, T, ranks in (
            (100, 10, 50, 2),
            (300, 80, 100, 3),
            (2000, 20, 70, 16),
            (900, 300, 30, 1),
            (5000, 50, 200, 8),
            (700, 5, 500, 4),
        )
    ]
    runs = [units.Measured(item, FLAT.phase_seconds(item), FLAT.memory(item)) for item in works]
    found = units.fit(runs, FLAT.network, FLAT.base_bytes)
    other = work.of_rank(benchmark.model(4000, 90, 20), 300, FIRING, 32, 31)
    assert found.phase_seconds(other) == pytest.approx(FLAT.phase_seconds(other), rel=1e-6)
    assert found.memory(other) == pytest.approx(FLAT.memory(other), rel=1e-6)


def test_a_busy_node_is_slower():
    """Costs of 3 ns with all of five cores busy, 1 ns with one: two ranks 1.5 ns, five and more 3 ns."""
    works = [work.of_rank(benchmark.model(n, k, 20), 50, FIRING, 2, 1) for n, k in ((100, 10), (2000, 80), (700, 300))]
    alone = [units.Measured(item, FLAT.phase_seconds(item), FLAT.memory(item)) for item in works]
    slow = [dataclasses.replace(run, phases={k: 3 * v for k, v in run.phases.items()}) for run in alone]
    found = units.fit(alone, FLAT.network, FLAT.base_bytes, slow, 5)
    for ranks, factor in ((1, 1.0), (2, 1.5), (3, 2.0), (5, 3.0), (8, 3.0)):
        item = work.of_rank(benchmark.model(2000, 80, 20), 50, FIRING, ranks, 0)
        predicted, plain = found.phase_seconds(item), FLAT.phase_seconds(item)
        found_seconds, seconds = (item["deliver"] + item["credit"] for item in (predicted, plain))
        assert found_seconds == pytest.approx(factor * seconds, rel=1e-6)
    spread = work.of_rank(benchmark.model(2000, 80, 20), 50, FIRING, 8, 0, nodes=8)  # a rank alone on each node
    assert found.phase_seconds(spread)["update"] == pytest.approx(FLAT.phase_seconds(spread)["update"], rel=1e-6)


def test_sums_in_a_tree_are_predicted():
    """1 024 nodes of two ranks, 1 µs per message and 1 of Python, 1 ns per byte, 2 ns per sum; 50 rounds of 3 steps."""
    item = work.of_rank(benchmark.model(8192, 3, 20, delay=3), 150, FIRING, 2048, 0, nodes=1024)
    assert item.targeted and item.exchanges == 50
    item = dataclasses.replace(item, neighbours=1023)
    none, one, many = (FLAT.exchange_parts(dataclasses.replace(item, readouts=n)) for n in (0, 1, 100))
    for name, alone, tree in (
        ("messages", 0.0, 50 * 10 * 2e-6),
        ("bytes", 150 * 1023 * 16e-9, 15000 * 10 * 16e-9),
        ("sums", 150 * (2 + 1023) * 2e-9 / 2, 15000 * (2 / 2 + 10) * 2e-9),
    ):
        assert one[name] - none[name] == pytest.approx(alone)
        assert many[name] - none[name] == pytest.approx(tree)


def test_neighbours_are_counted():
    """Of a network whose nodes hear three random sources for each of 8 neurons; and of none, and of all."""
    model = benchmark.model(8192, 3, 20, delay=3)
    item, firsts = work.of_rank(model, 150, FIRING, 2048, 0, nodes=1024), np.arange(1025) * 8
    network = LocalNetwork(model, 100, 1024, None, firsts)
    assert item.neighbours == pytest.approx(len(np.unique(network.sources.ids // 8)) - 1, abs=2)  # 24 draws of 1 024
    none, all_of_them = (dict.fromkeys(work.sources(model, 0, 8), n) for n in (0.0, 8192.0))
    assert work.count_neighbours(model, none, firsts, 3) == 0.0
    assert work.count_neighbours(model, all_of_them, firsts, 3) == pytest.approx(1023, rel=1e-3)
    few, many = (FLAT.exchange_parts(dataclasses.replace(item, neighbours=n, readouts=0)) for n in (24.0, 1023.0))
    assert many["messages"] - few["messages"] == pytest.approx(50 * 999 * FLAT.network.message_s)
    with_sums = FLAT.exchange_parts(dataclasses.replace(item, readouts=1))  # in a tree, as that spares messages
    alone = FLAT.exchange_parts(dataclasses.replace(item, readouts=0))
    assert with_sums["messages"] - alone["messages"] == pytest.approx(50 * 10 * 2e-6)


def test_equal_work_takes_unequal_time():
    """Two ranks wait 10 % of their work, 16 ranks twice as long."""
    unequal = dataclasses.replace(FLAT, network=dataclasses.replace(FLAT.network, skew=0.1))
    for ranks, share in ((1, 0.0), (2, 0.1), (16, 0.2)):
        item = work.of_rank(benchmark.model(2000, 80, 20), 50, FIRING, ranks, 0)
        steps = FLAT.phase_seconds(item)
        more = unequal.wait_seconds(item) - FLAT.wait_seconds(item)
        assert more == pytest.approx(share * (steps["deliver"] + steps["update"]))


def test_unit_costs_of_an_earlier_version(tmp_path):
    """Costs with one busy core alone, without those that came later."""
    old = dataclasses.asdict(FLAT)
    for name in ("crowded", "cores"):
        del old[name]
    del old["network"]["skew"]
    for phase, count in units.LATER:
        del old["seconds"][phase][count]
    (tmp_path / "units.json").write_text(json.dumps({"interval": old}))
    found = units.read(tmp_path / "units.json")["interval"]
    item = work.of_rank(benchmark.model(2000, 80, 20), 50, FIRING, 2, 0)
    assert found.phase_seconds(item)["credit"] == FLAT.phase_seconds(item)["credit"]
    old["crowded"] = {"deliver": {"events": 1e-9}}
    (tmp_path / "units.json").write_text(json.dumps({"interval": old}))
    with pytest.raises(InputError, match="missing"):
        units.read(tmp_path / "units.json")


def test_least_squares_is_that_of_lawson_and_hanson():
    random = np.random.default_rng(1)
    for _ in range(20):
        x, y = random.normal(size=(9, 4)), random.normal(size=9)
        np.testing.assert_allclose(units.least_squares(x, y), scipy.optimize.nnls(x, y)[0], atol=1e-9)


@functools.cache
def fit(variant):
    """Unit costs, fitted to five small shares."""
    probes = [measure.Probe(300, 30, 2, 40), measure.Probe(1000, 20, 4, 80), measure.Probe(600, 150, 3, 20),
              measure.Probe(3000, 10, 16, 120), measure.Probe(500, 20, 3, 60, 5)]  # fmt: skip
    return units.fit([measure.run(variant, probe) for probe in probes], units.Interconnect(), 0.0)


@pytest.mark.parametrize("variant", ["interval", "spike"])
def test_memory_as_predicted(variant):
    """The memory of others of other sizes within 5 %."""
    for sizes in ((2000, 100, 2, 100), (1500, 60, 8, 200), (1500, 60, 8, 200, 5)):
        probe = measure.Probe(*sizes)
        found = measure.run(variant, probe)
        predicted = fit(variant).memory(found.work)
        assert sum(predicted.values()) == pytest.approx(sum(found.memory.values()), rel=0.05)


MANY = LearningRule(
    "many",
    reads=["V_m"],
    neuron={"s": "0.9*s + 0.1*V_m", "y": "0.9*y + z"},
    synapse={"r": "0.9*r + pre", "c": "0.8*c + psi*new(r)"},
    gradient="L*c + F*r + s*pre - y*pre",
)
SHORT = ShortTerm(U=0.5, tau_rec=50.0)
OPTIONS = {  # of synapses from inputs and neurons onto neurons
    "STDP": {"learning_rule": library.get("pair_stdp")},
    "STDP of inputs": {"learning_rule": library.get("pair_stdp")},
    "a rule that reads states and signals": {"learning_rule": MANY},
    "e-prop with options": {"learning_rule": Eprop(through="leak", filter="none")},
    "short-term plasticity": {"transmission": SHORT},
    "STDP with short-term plasticity": {"learning_rule": library.get("pair_stdp"), "transmission": SHORT},
}


@pytest.mark.parametrize("precision", ["double", "single"])
@pytest.mark.parametrize("variant", ["interval", "spike"])
@pytest.mark.parametrize("name", OPTIONS)
def test_memory_of_rules_as_predicted(name, variant, precision):
    """What they change is predicted within 3 %, by kind, of a rank that has 500 of 1500 neurons."""
    made, of = {}, ("input",) if name.endswith("of inputs") else ("input", "recurrent")
    for changed in (False, True):
        model = benchmark.model(1500, 60, 100, variant=variant, precision=precision)
        for k, item in enumerate(model.projections if changed else ()):
            if item.post.role == "recurrent" and item.pre.role in of:
                model.projections[k] = item.model_copy(update=OPTIONS[name])
        task = benchmark.BenchTask(100, 200, 1)
        simulation = Simulation(model, task, stand_ins.DryExchange(1, 3, 0.03, 1500, 1, own=True))
        found = work.of_rank(model, 200, work.Firing.at(benchmark.INPUT_PROBABILITY, 30.0, 200, 1.0), 3, 1)
        made[changed] = simulation.nbytes(), fit(variant).memory(found)
    measured, predicted = ({kind: made[True][k][kind] - made[False][k][kind] for kind in made[True][k]} for k in (0, 1))
    assert any(measured.values())
    for kind, more in measured.items():
        assert predicted.get(kind, 0.0) == pytest.approx(more, rel=0.03, abs=1e-3 * made[False][0][kind]), kind


@pytest.mark.parametrize("kind", [GradientDescent, Adam])
def test_memory_of_batches_as_predicted(kind):
    """What they change in the spike variant is predicted within 3 %, of a rank that has 500 of 1500 neurons."""
    made = []
    for batch in (1, 2):
        model = benchmark.model(1500, 60, 100, variant="spike", axes=benchmark.Axes(neuron="iaf_adapt"))
        model.optimizer = kind(batch_size=batch, optimize_each_step=False)
        task = benchmark.BenchTask(100, 200, 1)
        simulation = Simulation(model, task, stand_ins.DryExchange(1, 3, 0.03, 1500, 1, own=True))
        found = work.of_rank(model, 200, work.Firing.at(benchmark.INPUT_PROBABILITY, 30.0, 200, 1.0), 3, 1)
        made.append((simulation.nbytes(), fit("spike").memory(found)))
    measured, predicted = ({name: made[1][k][name] - made[0][k][name] for name in made[1][k]} for k in (0, 1))
    assert measured["gradients"] > 0
    for name, more in measured.items():
        assert predicted.get(name, 0.0) == pytest.approx(more, rel=0.03, abs=1e-3 * made[0][0][name]), name


def test_prediction():
    model = benchmark.model(10_000, 100, 100)
    alone, many, spread = (
        predict(model, 1000, 5, FIRING, *ranks, FLAT, 10 if ranks == (100,) else 0) for ranks in ((1,), (99,), (100,))
    )
    assert alone.phases["communicate"] == alone.phases["wait"] == 0.0 and alone.imbalance == 1.0
    # one node: 97 lines of other ranks beside the first; no message, whatever the number of spikes
    assert many.phases["communicate"] == pytest.approx(5 * 1000 * (4e-7 + 97 * 5e-8 + 99 * 2e-9))
    # 10 nodes of 10 ranks that listen to all: 4 stages of 1 us, 9 messages of the spikes of 1000 neurons at 1 GB/s
    words = 3 + (1000 * 5 + 1000 * 30) / 1000
    per_round = 4e-7 + 8 * 5e-8 + 4e-6 + 9 * 4 * words / 1e9 + 19 * 2e-9
    assert spread.phases["communicate"] == pytest.approx(5 * 1000 * per_round)
    # the leader copies the spikes of all
    assert spread.phases["pack"] == pytest.approx(5 * 1.3e-9 * 30 * 10_000) and many.phases["pack"] == 0.0
    # 100 arrivals of 1 ns each at about 100 neurons in each of 1000 rounds: the largest of 100 ranks
    arrivals = 100 * (100 * 30 + 100 * 50) / 1000
    assert spread.phases["wait"] == pytest.approx(5 * 1000 * 1e-9 * np.sqrt(2 * np.log(100) * arrivals))
    assert many.phases["deliver"] < alone.phases["deliver"] / 20
    assert many.imbalance == pytest.approx(1.0, abs=1e-2)  # no rank has more than its share, with the readout
    assert many.nbytes < alone.nbytes


def test_ranks_of_every_kind_are_looked_at():
    for n_neurons, ranks in ((23, 7), (23, 10), (24, 4), (2, 2), (5, 1), (3, 8)):
        model = Model()
        model.neurons("rec", n_neurons, "iaf")
        counts = [work.of_rank(model, 10, FIRING, ranks, r).neurons for r in range(ranks)]
        assert {counts[r] for r in representatives(model, cut(model, ranks))} == set(counts)


def test_a_node_has_the_files_of_its_processes_once():
    of_files, model = dataclasses.replace(FLAT, base_file_bytes=4e5), benchmark.model(2000, 100, 100)
    node, other = (predict(model, 1000, 1, FIRING, 64, costs, 16).node_bytes for costs in (FLAT, of_files))
    assert node - other == pytest.approx(15 * 4e5)


def test_nodes_for_a_time():
    model = benchmark.model(100_000, 1000, 100)
    arguments = model, 1000, 100, FIRING, FLAT
    few, predicted = nodes_for(*arguments, 60.0, 8, 64e9)
    more, _ = nodes_for(*arguments, 20.0, 8, 64e9)
    assert predicted.seconds <= 60.0 and more > few > 1
    assert predict(model, 1000, 100, FIRING, 8 * (few - 1), FLAT, 8).seconds > 60.0
    small, _ = nodes_for(*arguments, 60.0, 8, 4e8)
    assert small > few and predict(model, 1000, 100, FIRING, 8 * small, FLAT, 8).node_bytes <= 4e8
    with pytest.raises(InputError, match="fastest"):
        nodes_for(*arguments, 1e-3, 8, 64e9)
    with pytest.raises(InputError, match="fit"):
        nodes_for(*arguments, 1000.0, 8, 1e6)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("2h", 7200), ("90m", 5400), ("1d12h", 129600), ("02:30:00", 9000), ("45s", 45), ("1h30m", 5400)],
)
def test_times(text, seconds):
    assert slurm.seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "2", "h", "2x", "1:2", "00:00:00", "-2h"])
def test_bad_times(text):
    with pytest.raises(InputError, match="--time"):
        slurm.seconds_of(text)


def test_jobs_command(tmp_path, capsys):
    units.write(tmp_path / "units.json", {"interval": FLAT, "spike": FLAT})
    arguments = [*SINES, "--units", tmp_path / "units.json"]
    output = output_of(capsys, "jobs", *arguments, "--nodes", 2, "--ranks-per-node", 4)
    note, line = output.splitlines()
    assert (
        line.startswith("sbatch --nodes=2 --ntasks=8 --ntasks-per-node=4 --hint=nomultithread --mem=")
        and "--signal" not in line
    )
    assert line.endswith("jobs/chain.sbatch sine-waves --set=n_rec=5000 --set=indegree=100") and "1 job(s)" in note
    chosen = subject.find("sine-waves", ["n_rec=5000", "indegree=100"])
    found = predict(chosen.model, 1000, chosen.samples, chosen.firing(None), 8, FLAT)
    assert f"--time={slurm.clock(1.5 * found.seconds + 60 + 120)}" in line  # it ends before chain.sbatch is signalled
    other = dataclasses.replace(FLAT, processor="another", level="v1")
    units.write(tmp_path / "other.json", {"interval": other})
    lines = output_of(capsys, "jobs", *SINES, "--units", tmp_path / "other.json").splitlines()
    assert len(lines) == 3 and lines[1].startswith("# note: unit costs are those of another (v1), here is ")
    output = output_of(capsys, "jobs", *arguments, "--time", "4m", "--ranks-per-node", 1)
    assert "--time=00:04:00 --signal=B:USR1@120 jobs" in output and "1 job(s)" not in output


def test_memory_of_a_node_and_an_early_signal():
    """Buffers of the leader count once; a chain of long samples is signalled before the last one must begin."""
    made = predict(benchmark.model(100_000, 1000, 100), 1000, 100, FIRING, 64, FLAT, 8)
    made = dataclasses.replace(made, sample_seconds=100.0, node_bytes=4e9, phases=made.phases | {"deliver": 9000.0})
    line, number = slurm.command("x", [], 8, 8, 600.0, made)
    assert f"--mem={int(np.ceil(1.5 * 4e9 / 2**20 / 10)) * 10}M" in line
    assert number > 1 and "--signal=B:USR1@210" in line


def test_a_table_of_ranks(tmp_path, capsys):
    """Each row is what `predict` says of that number of ranks alone."""
    units.write(tmp_path / "units.json", {"interval": FLAT, "spike": FLAT})
    arguments = ["predict", *SINES, "--units", tmp_path / "units.json"]
    more = ["--ranks-per-node", "4", "--node-memory", "1000"]
    note, origin, head, *rows = output_of(capsys, *arguments, "--ranks", "1,2,...,16", *more).splitlines()
    assert "10 Hz" in note and str(tmp_path) in origin and head.split()[:3] == ["ranks", "nodes", "seconds"]
    chosen = subject.find("sine-waves", ["n_rec=5000", "indegree=100"])
    found = {n: predict(chosen.model, 1000, chosen.samples, chosen.firing(None), n, FLAT, 4) for n in (1, 2, 4, 8, 16)}
    for row, (n, one) in zip(rows, found.items(), strict=True):
        ranks, nodes, seconds, memory, _, hours, efficiency, *limit = row.split()
        assert (int(ranks), int(nodes), seconds) == (n, -(-n // 4), f"{one.seconds:.4g}")
        assert float(hours) == pytest.approx(one.seconds * n / 3600, rel=0.01)
        assert int(memory) == round(one.nbytes / 2**20)
        assert float(efficiency) == pytest.approx(found[1].seconds / one.seconds / n, abs=0.006)
        assert limit[0] == max(one.phases, key=one.phases.get)
    assert "memory of a node" in command(capsys, *arguments, "--ranks", "1,2", "--node-memory", "0.01")[1]
    assert "note" not in command(capsys, *arguments, "--rate", "20")[1]
    output = output_of(capsys, *arguments, "--ranks", "65536", "--ranks-per-node", "128")
    assert output.splitlines()[-1] == "a checkpoint has 514 files"


BAND = {"deliver": (0.5, 1.5), "update": (1.0, 3.0), "communicate": (0.25, 2.0)}


def test_a_range_of_seconds(tmp_path, capsys):
    """Each phase between its ends; phases without any, such as build, as predicted."""
    wide = dataclasses.replace(FLAT, spread=BAND, date="2026-11-30", processor="this", level="v3", cores=2)
    units.write(tmp_path / "units.json", {"interval": wide})
    assert units.read(tmp_path / "units.json") == {"interval": wide}
    chosen = subject.find("sine-waves", ["n_rec=5000", "indegree=100"])
    arguments = chosen.model, 1000, chosen.samples, chosen.firing(10.0)
    for ranks in (1, 100):
        found = predict(*arguments, ranks, wide, 10)
        assert predict(*arguments, ranks, FLAT, 10).band is None and found.phases["deliver"] > 0
        for end, value in enumerate(found.band):
            more = sum((BAND[name][end] - 1.0) * found.phases[name] for name in BAND)
            assert value == pytest.approx(found.seconds + more)
    options = ["--rate", "10", "--ranks-per-node", "10", "--units", tmp_path / "units.json"]
    output = output_of(capsys, "predict", *SINES, "--ranks", "100", *options)
    low, high = found.band
    assert f"range        {low:.4g} to {high:.4g} s" in output and "not told by the unit costs" in output
    assert f"core hours   {100 * found.seconds / 3600:9.3g}" in output
    assert "this (v3), 2 cores, 2026-11-30; estimated, not measured: " in output
    told = (
        "latency between nodes, bandwidth between nodes, further message of a round, further rank of a round, waiting"
    )
    assert f"{told} for equal work (`pareprop ping` measures them)" in output
    *_, head, one, many = output_of(capsys, "predict", *SINES, "--ranks", "1,100", *options).splitlines()
    assert "lowest s  highest s  limited by" in head and f"{low:.4g}  " in many and one


def test_ranges_are_those_of_repetitions():
    """Of 21 repetitions, whose seconds are from 0.8 to 1.2 of the costs, the lowest and the highest are left out."""
    items = [work.of_rank(benchmark.model(n, k, 20), 50, FIRING, 2, 1) for n, k in ((100, 10), (2000, 80))]
    costs = dataclasses.replace(FLAT, crowded=FLAT.seconds)
    runs = []
    for k in range(21):
        phases = FLAT.phase_seconds(items[k % 2])
        runs.append(units.Measured(items[k % 2], phases | {"deliver": phases["deliver"] * (0.8 + 0.02 * k)}, {}))
    for alone in (0, 11, 21):
        found = units.spread(costs, runs[:alone], runs[alone:])
        assert found["deliver"] == pytest.approx((0.82, 1.18)) and found["credit"] == pytest.approx((1.0, 1.0))


def test_exchanges_that_were_measured():
    """The median of each; one node says nothing of messages between nodes; bandwidth costs by its inverse."""
    told = [{"latency_s": s, "bandwidth": b, "skew": k}
            for s, b, k in ((1e-6, 2e9, 0.1), (4e-6, 4e9, 0.1), (2e-6, 1e9, 0.3))]  # fmt: skip
    told.append({"latency_s": 2e-6, "bandwidth": 2e9})  # a machine that was too busy
    base = dataclasses.replace(FLAT, spread={"deliver": (0.5, 1.5)})
    here, there = (base.with_exchange(told, nodes) for nodes in (1, 2))
    assert (there.network.latency_s, there.network.bandwidth, there.network.skew) == (2e-6, 2e9, 0.1)
    assert there.network.message_s == FLAT.network.message_s
    for phase, ratios in (("communicate", [0.5, 1, 1, 2, 0.5, 1, 1, 2]), ("wait", [1, 1, 3, 0.5, 1.5])):
        assert there.spread[phase] == pytest.approx(np.quantile(ratios, (0.05, 0.95)))
    assert there.spread["deliver"] == (0.5, 1.5)
    assert here.measured == ("skew",) and there.measured == ("bandwidth", "latency_s", "skew")
    item = work.of_rank(benchmark.model(2000, 80, 20), 50, FIRING, 8, 0, nodes=2)
    assert here.estimated(item) == ["latency_s", "bandwidth", "message_s", "line_s"]
    assert there.estimated(item) == ["message_s", "line_s"]
    again = there.with_exchange([{"latency_s": 1e-9, "bandwidth": 1e12, "round_s": 1e-7, "skew": 0.4}], 1)
    assert (again.network.latency_s, again.network.bandwidth, again.network.skew) == (2e-6, 2e9, 0.4)
    assert again.measured == (*there.measured[:2], "round_s", "skew")
    assert again.spread["communicate"] == there.spread["communicate"]  # of messages, which count more than rounds
    assert base.with_exchange([], 1).spread["deliver"] == (0.5, 1.5) and base.with_network(latency_s=1.0).measured == (
        "latency_s",
    )


def test_joules_of_a_prediction():
    """Of 5 W for each of ten cores."""
    hot = dataclasses.replace(FLAT, watts=5.0)
    found = predict(benchmark.model(1000, 100, 100), 1000, 5, FIRING, 10, hot)
    assert found.joules == pytest.approx(found.seconds * 50.0)
    assert np.isnan(predict(benchmark.model(1000, 100, 100), 1000, 5, FIRING, 10, FLAT).joules)


def test_unit_costs_of_the_package(tmp_path, capsys, monkeypatch):
    """Without a measurement here; a units.json in the folder goes before them."""
    monkeypatch.chdir(tmp_path)
    name, costs = measure.shipped()
    assert set(costs) == {"interval", "spike"} and all(item.date and item.spread for item in costs.values())
    output = output_of(capsys, "predict", *SINES, "--rate", "10")
    assert f"unit costs: {name}, {costs['interval'].processor}" in output and "range" in output
    assert f"unit costs: {name}" in output_of(capsys, "jobs", *SINES)
    units.write(tmp_path / "units.json", {"interval": FLAT})
    assert "unit costs: units.json\n" in output_of(capsys, "predict", *SINES, "--rate", "10")


@pytest.mark.parametrize("here", [("that", "v2"), ("this", "v2"), ("that", "v3"), ("none", "v3")], ids="-".join)
def test_the_nearest_unit_costs_of_the_package(tmp_path, monkeypatch, here):
    """Of processor and level, else of the level."""
    for processor, level in (("this", "v2"), ("that", "v2"), ("that", "v3"), ("this", "v4")):
        item = dataclasses.replace(FLAT, processor=processor, level=level)
        units.write(tmp_path / f"{processor}-{level}.json", {"interval": item})
    monkeypatch.setattr(measure, "SHIPPED", tmp_path)
    monkeypatch.setattr(speed, "here", lambda: here)
    processor, level = ("that", "v3") if here[0] == "none" else here
    assert measure.shipped()[0] == f"{processor}-{level}.json of the package"


def test_unit_costs_of_another_machine(tmp_path, capsys, monkeypatch):
    """Measured where a short network took 2 ms; here it takes 5. The network between nodes stays what it is."""
    path = tmp_path / "units.json"
    arguments = "predict", "bench", "--set", "neurons=2000", "--rate", "20", "--units", path

    def ask(*more: str) -> tuple[list[str], float]:
        code, output, errors = command(capsys, *arguments, *more)
        assert (code, errors) == (0, "")
        return [line for line in output.splitlines() if line.startswith("note")], seconds_in(output)

    monkeypatch.setattr(speed, "sample_seconds", {"interval": 5e-3}.__getitem__)
    monkeypatch.setattr(speed, "here", lambda: ("this", "v3"))
    for here in ("that", "v3"), ("this", "v2"):
        foreign = dataclasses.replace(FLAT, processor=here[0], level=here[1], sample_s=2e-3)
        units.write(path, {"interval": foreign, "spike": foreign})
        (note,), plain = ask()
        assert f"{here[0]} ({here[1]})" in note and "--here" in note
        (note,), scaled = ask("--here")
        assert scaled == pytest.approx(2.5 * plain, rel=1e-3) and "2.5" in note and "this (v3)" in note
    own = dataclasses.replace(FLAT, processor="this", level="v3", sample_s=5e-3)
    units.write(path, {"interval": own, "spike": own})
    assert ask() == ([], plain)
    units.write(path, {"interval": FLAT, "spike": FLAT})
    assert ask() == ([], plain)
    assert "--measure" in refusal_of(capsys, *arguments, "--here")
    slower = FLAT.scaled(3.0).network
    assert (slower.latency_s, slower.bandwidth, slower.copy_s) == (1e-6, 1e9, pytest.approx(3 * FLAT.network.copy_s))


def seconds_in(output: str) -> float:
    return float(re.search(r"samples?: (\S+) s", output)[1])


@pytest.mark.parametrize(
    "ranks", ["0", "1,1", "2,1", "1,...,8", "1,2,...", "2,3,...,9", "x", "1,,2", "²", "", "9" * 12]
)
def test_ranks_that_are_no_list(capsys, ranks):
    assert "--ranks" in refusal_of(capsys, "predict", "bench", "--ranks", ranks)


def test_commands_refuse_what_they_cannot_do(tmp_path, capsys):
    for arguments, wanted in (
        (["predict", "bench", "--units", tmp_path / "none.json"], "--measure"),
        (["scaling", "plot", tmp_path], "collect"),
        (["scaling", "run", tmp_path / "none.toml", "--out", tmp_path], "none.toml"),
        (["dry-run", "benchh", "--ranks", "4"], "unknown task"),
        (["dry-run", "bench", "--set", "neurns=4", "--ranks", "4"], "did you mean 'neurons'"),
        (["jobs", "bench"], "study.sbatch"),
    ):
        assert wanted in refusal_of(capsys, *arguments)


@pytest.mark.mpi
def test_not_under_mpirun():
    codes, _, errors = on_ranks(2, [["dry-run", "sine-waves", "--ranks", "4"], ["scaling", "plot", "x"]])
    assert codes == [2, 2] and sum("without mpirun" in line for line in errors) == 2


@pytest.mark.mpi
def test_driven_digest_on_ranks(capsys):
    """The control is one run on any number of ranks."""
    fixed = ["bench", "--neurons=90", "--indegree=9", "--inputs=10", "--steps=80", "--rate=50", "--warmup=1"]
    lines = [[*fixed, f"--delay={delay}", f"--variant={v}"] for v in ("interval", "spike") for delay in (1, 3)]
    alone = [digest for line in lines for digest in digests(command(capsys, *line)[1].splitlines())]
    assert len(set(alone)) == 4
    for n in (2, 3):
        assert digests(on_ranks(n, lines)[1]) == alone


def test_models_given_by_equations_add_their_own_seconds_and_histories():
    """In place of 1 ns for a neuron of the package; kept: voltage and flags of each of 50 neurons and 100 steps."""
    plain, given = (small.network("interval", 5, 100, kind=kind, defaults=True) for kind in ("iaf", "adex"))
    cost = cost_of(given, given.populations[1])
    found = [predict(model, 100, 3, FIRING, 2, FLAT) for model in (plain, given)]
    for phase, seconds in (("update", cost.step), ("sweep", cost.sweep)):
        more = found[1].phases[phase] - found[0].phases[phase]
        assert more == pytest.approx(3 * 50 * 100 * max(seconds - 1e-9, 0.0), rel=1e-9)
    assert found[1].memory["histories"] - found[0].memory["histories"] == 50 * 100 * 2 * 8
    assert found[1].phases["deliver"] == found[0].phases["deliver"]


@pytest.mark.parametrize(
    ("axes", "arrivals"),
    [
        ([], 1.0),
        (["neuron=iaf_adapt"], 2.1),
        (["drawn_tau=True"], 1.9),
        (["optimizer=adam"], 2.4),
        (["optimizer=adam", "each_step=True"], 7.25),
    ],
    ids=["plain", "adaptive", "drawn tau_m", "adam", "each step"],
)
def test_ways_of_learning_take_their_times(axes: list[str], arrivals: float) -> None:
    """As many plain arrivals as `scripts/paths.py` finds for each (2 000 × 100, 17 Hz).

    With a step of Adam in each of 100 steps, a quarter for each step. Costs are 1 ns for an event and a visit;
    30 inputs and 30 neurons spike four times each.
    """
    words = ["variant=spike", "neurons=30", "inputs=30", "indegree=10", *axes]
    item = work.of_rank(subject.find("bench", words).model, 100, work.Firing(4.0, 4.0), 1, 0)
    costs = {"deliver": {"events": 1e-9, "visits": 1e-9}, "update": {"neuron_steps": 1e-9}}
    found = units.Units(costs, {}).phase_seconds(item)
    assert found["deliver"] == pytest.approx(arrivals * 1e-9 * (item.events + item.visits), rel=0.06)
    assert found["update"] == pytest.approx(3e-6) and item.events == pytest.approx(4.0 * 30 * 40)


@pytest.mark.parametrize(
    ("neurons", "indegree", "deliver", "credit"),
    [(2000, 100, 1.68, 1.61), (10_000, 100, 1.75, 1.98), (2000, 1000, 1.40, 1.47)],
)
def test_delays_that_differ_take_their_times(neurons: int, indegree: int, deliver: float, credit: float) -> None:
    """As often one delay as `scripts/paths.py` measured for delays 1 to 15, interval variant, 17 Hz, an idle core."""
    costs = {
        "deliver": {"events": 2.36e-10, "cold_events": 2.4e-10, "visits": 9.5e-9},  # of that machine
        "credit": {"events": 2.45e-10, "cold_events": 2.63e-10, "visits": 1.15e-8},
    }
    found = []
    for delays in ([], ["longest_delay=15"]):
        words = ["variant=interval", f"neurons={neurons}", "inputs=2", f"indegree={indegree}", *delays]
        item = work.of_rank(subject.find("bench", words).model, 1000, work.Firing(1.0, 17.0), 1, 0)
        found.append(units.Units(costs, {}).phase_seconds(item))
    for phase, measured in (("deliver", deliver), ("credit", credit)):
        assert found[1][phase] / found[0][phase] == pytest.approx(measured, rel=0.13)


def test_a_benchmark_with_any_axis_is_predicted() -> None:
    """As options of `bench` have them."""
    words = ["neurons=300", "precision=single", "neuron=iaf_psc_exp", "longest_delay=9", "readouts=3", "populations=2"]
    found = subject.find("bench", words).model
    assert found.precision == "single" and found.size("readout") == 3 and len(found.of_role("recurrent")) == 2
    assert {item.delay_range for item in found.projections} >= {(1, 9)}
    with pytest.raises(InputError, match="--learn = 'E_L' must be a parameter of the neurons that is above 0"):
        subject.find("bench", ["learn=E_L"])
    with pytest.raises(InputError, match="--longest-delay = 2 must be at least --delay = 3"):
        subject.find("bench", ["delay=3", "longest_delay=2"])


AXES = [
    {}, {"longest_delay": 15}, {"precision": "single"}, {"optimizer": "adam"}, {"rewire": True},
    {"neuron": "iaf_adapt"}, {"neuron": "iaf_psc_exp"}, {"learn": "tau_m"},
]  # fmt: skip


LEARNED = {"learn_delay": True, "longest_delay": 15}


@pytest.mark.parametrize(
    ("variant", "axes"),
    [*product(["interval", "spike"], AXES), ("interval", LEARNED), ("interval", LEARNED | {"optimizer": "adam"})],
    ids=lambda value: value if isinstance(value, str) else next(iter(value), "plain"),
)
def test_memory_along_axes(variant: str, axes: dict[str, object]) -> None:
    """Synapses, what they learn with, and books of rows are those of a rank that is built."""
    sizes = {"neurons": 300, "indegree": 20, "steps": 50, "variant": variant} | axes
    chosen = subject.find("bench", [f"{name}={value}" for name, value in sizes.items()])
    share = dryrun.run(chosen.model, chosen.task, 2, 1, rate_hz=30.0, settings=chosen.settings).share
    item = work.of_rank(chosen.model, 50, work.Firing(2.5, 1.5), 2, 1)
    found = units.Units({}, {}).memory(item)
    for kind in ("incoming", "gradients"):
        assert found[kind] == pytest.approx(share.memory[kind], rel=0.01, abs=64), kind
    if variant == "spike":
        assert found["books"] == pytest.approx(share.memory["books"], rel=0.05)
