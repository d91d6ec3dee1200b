"""Predictions: what a dry run measured, times the samples of a run, and exchanges by one formula."""

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
from commands import as_options, command, on_ranks, output_of, refusal_of

from pareprop.engines import footprint
from pareprop.errors import InputError
from pareprop.network import sharing
from pareprop.network.local import LocalNetwork
from pareprop.network.model import Model
from pareprop.network.partition_bounds import choose_bounds
from pareprop.parallel import tree
from pareprop.runs.benchmark import Bench, BenchTask, RankFigures
from pareprop.scaling import dryrun, predict, slurm, subject, traffic
from pareprop.scaling.traffic import Interconnect, Traffic

SINES = ["sine-waves", *as_options(n_rec=900, indegree=30, n_step=50)]
FLAT = Interconnect(
    latency_s=1e-6, bandwidth=1e9, message_s=2e-7, round_s=4e-7, line_s=5e-8, look_up_s=1e-9, pack_s=5e-9
)
PHASES = {"deliver": 4.0, "update": 2.0, "sweep": 1.0, "credit": 3.0, "optimize": 0.5}  # seconds of one rank alone


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Ranks that are built: without building, their seconds are those of their part of the network, plus 0.1."""
    asked = []

    def run(
        model: Model, task: object, ranks: int, rank: int, settings: object, *, samples: int, **options: object
    ) -> dryrun.DryRun:
        asked.append((ranks, rank))
        phases = {name: samples * (value / ranks + 0.1) for name, value in PHASES.items()}
        share = RankFigures("host", 2, phases | {"build": 7.0 / ranks}, {"incoming": 10}, 100)
        return dryrun.DryRun(share, samples, 20.0, 20.0, samples * 0.25)

    monkeypatch.setattr(dryrun, "run", run)
    return asked


def predict_one(chosen: subject.Subject, ranks: int, per_node: int = 64, **options: object) -> predict.Prediction:
    return predict.predict_runs(chosen, [ranks], per_node, FLAT, **options)[0][0]


@pytest.mark.parametrize("samples", [1, 3])
def test_seconds_are_those_of_all_samples(measured: list, samples: int) -> None:
    """Of 5 batches of 2; 2 validations of 3 and a test of 4 learn nothing; the optimizer steps after batches."""
    words = ["iterations=5", "batch_size=2", "validate_every=2", "validate_samples=3", "test_samples=4"]
    found = predict_one(subject.find_subject("sine-waves", words), 1, samples=samples)
    each = {name: value + 0.1 for name, value in PHASES.items()} | {"other": 0.25}
    times = {"deliver": 20, "update": 20, "other": 20, "sweep": 10, "credit": 10, "optimize": 5}
    assert found.phases == pytest.approx(
        dict.fromkeys(("wait", "communicate", "pack", "look_up"), 0.0)
        | {name: times[name] * each[name] for name in each}
        | {"build": 7.0}
    )
    assert found.sample_seconds == pytest.approx(sum(each.values())) and measured == [(1, 0)]
    assert found.seconds == pytest.approx(sum(found.phases.values()))
    assert found.core_hours == pytest.approx(found.seconds / 3600)


def test_exchanges_are_added(measured: list) -> None:
    """To the seconds of the largest of eight ranks; what ranks wait for the one with most arrivals, as derived."""
    chosen = subject.find_subject("bench", ["neurons=2000", "steps=100", "intervals=1"])
    found, alone = (predict_one(chosen, ranks, 4) for ranks in (8, 1))
    added = Traffic(chosen.model, 100, 20.0, 8, 4).estimate_seconds(FLAT)
    for name, seconds in added.items():
        assert found.phases[name] == pytest.approx(seconds) and alone.phases[name] == 0.0
    assert found.phases["deliver"] == pytest.approx(4.0 / 8 + 0.1)
    n_arrivals = 2000 * (100 + 100) / 8 * 20 * 0.1  # at 20 Hz from 100 inputs and 100 neurons
    wait = np.sqrt(2 * np.log(8) * n_arrivals / 100) * 100 * found.phases["deliver"] / n_arrivals
    assert found.phases["wait"] == pytest.approx(wait) and alone.phases["wait"] == 0.0


def test_the_rank_that_costs_most_is_built(measured: list) -> None:
    model = Model()
    rare, busy = model.neurons("rare", 5000), model.neurons("busy", 30)
    model.connect(rare, busy, weight=0.1)
    chosen = subject.Subject("own", model, BenchTask(1, 10, 1), model.eprop.make_settings(10), 1)
    predict_one(chosen, 8)
    ((ranks, rank),) = measured
    costs = predict.estimate_rank_costs(model, choose_bounds(model, 8))[0]
    assert ranks == 8 and costs[rank] == max(costs)


@pytest.mark.parametrize(
    ("several", "expected"),
    [([1, 64], [128, 64]), ([1], [100, 50]), ([2, 50, 75, 120], [120, 75, 50]), ([50, 400], [400, 50])],
)
def test_large_ranks_are_extrapolated(measured: list, monkeypatch, several: list[int], expected: list[int]) -> None:
    """On the line through two others: one of them with about the most synapses that are built here."""
    chosen = subject.find_subject("bench", ["neurons=2000", "steps=100", "intervals=1"])
    monkeypatch.setattr(predict, "MAX_SYNAPSES", 2000 * 200 / 50)
    found, _ = predict.predict_runs(chosen, several, 128, FLAT)
    assert [ranks for ranks, _ in measured] == expected
    for item in found:
        assert item.phases["deliver"] == pytest.approx(4.0 / item.ranks + 0.1)
        assert item.phases["build"] == pytest.approx(7.0 / item.ranks)
        twice = min(ranks for ranks in expected if ranks >= 2 * min(expected))
        assert item.measured == ((item.ranks,) if item.ranks >= 50 else (min(expected), twice))


def test_memory_is_that_of_the_formula(measured: list) -> None:
    """A node has the files of the program, and what its ranks share, once."""
    chosen = subject.find_subject("bench", ["neurons=20000", "indegree=1", "inputs=10", "steps=50", "delay=3"])
    found = predict_one(chosen, 12, 4)
    bounds = choose_bounds(chosen.model, 12)
    rank = measured[0][1]
    parts = footprint.list_parts(chosen.model, 50, *bounds[rank : rank + 2].tolist())
    assert found.memory == parts and found.nodes == 3
    routes, shared = Traffic(chosen.model, 50, 20.0, 12, 4).count_bytes()
    own = sum(parts.values()) + routes
    assert found.rank_bytes > own and routes > 0 < shared
    files = (4 * found.rank_bytes + shared - found.node_bytes) / 3  # which three of four ranks do not have again
    assert 0 < files < found.rank_bytes - own


# ---- exchanges -------------------------------------------------------------------------------------------------------


def test_seconds_of_exchanges() -> None:
    """Of 10 000 neurons at 30 Hz: a node of 99 ranks; 10 nodes that hear everything, in four stages of messages."""
    model = Bench(neurons=10_000).build_model()
    alone, many, spread = (Traffic(model, 1000, 30.0, *sizes) for sizes in ((1, 10), (99, 99), (100, 10)))
    assert set(alone.estimate_seconds(FLAT).values()) == {0.0}
    found = many.estimate_seconds(FLAT)
    assert found["communicate"] == pytest.approx(1000 * (4e-7 + 97 * 5e-8)) and found["pack"] == 0.0
    spikes = 10_000 * 30
    assert found["look_up"] == pytest.approx(1e-9 * spikes * many._is_listed)
    n_bytes = 4 * (spikes * 9 / 10 + 1000 * tree.WORDS_OF_SUM * 9)  # with sums for the readout
    per_round = 4e-7 + 8 * 5e-8 + 4e-6
    assert spread.estimate_seconds(FLAT)["communicate"] == pytest.approx(1000 * per_round + n_bytes / 1e9)


def test_messages_to_some_nodes() -> None:
    """1 024 nodes of two ranks: each further neighbour costs a message; sums go in a tree, as that spares messages."""
    model = Bench(neurons=8192, indegree=3, inputs=20, delay=3).build_model()
    item, firsts = Traffic(model, 150, 30.0, 2048, 2), np.arange(1025) * 8
    assert item.is_targeted and item.exchanges == 50
    network = LocalNetwork(model, 100, 1024, None, firsts)
    assert item.neighbours == pytest.approx(len(np.unique(network.sources.ids // 8)) - 1, abs=2)  # 24 draws of 1 024
    before = item.estimate_seconds(FLAT)["communicate"]
    item.neighbours += 10
    assert item.estimate_seconds(FLAT)["communicate"] - before == pytest.approx(50 * 10 * 2e-7)
    item._sums = 0
    none = item.estimate_seconds(FLAT)["communicate"]
    item._sums = 15_000
    many = item.estimate_seconds(FLAT)["communicate"]
    assert many - none == pytest.approx(50 * 10 * 1e-6 + 4 * tree.WORDS_OF_SUM * 15_000 * 10 / 1e9)
    assert item.estimate_seconds(FLAT)["pack"] == pytest.approx(5e-9 * 2 * item.node_spikes * 1023 / 1024 / 2)


def test_small_networks_exchange_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """One rank has them."""
    monkeypatch.delenv(sharing.VARIABLE)
    assert set(
        Traffic(Bench(neurons=100, indegree=10, inputs=10).build_model(), 50, 30.0, 8, 2)
        .estimate_seconds(FLAT)
        .values()
    ) == {0.0}


def test_what_is_assumed_is_listed() -> None:
    none, some = Interconnect(), FLAT.model_copy(update={"pack_s": None})
    assert none.list_assumed(1, 1) == [] == FLAT.list_assumed(9, 9)
    assert none.list_assumed(1, 2) == ["exchange of two ranks"]
    assert some.list_assumed(2, 2) == ["packing of a spike"]
    assert none.find_cost("latency_s") == none.find_cost("message_s") == 0.0 < none.find_cost("round_s")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, "No such file or directory; `pareprop ping` writes it"),
        ("{", "holds no costs of exchanges"),
        ("[" * 9000, "holds no costs of exchanges"),
        ('{"latency_s": -1}', "latency_s"),
        ('{"bandwidth": 0}', "bandwidth"),
        ('{"latency_s": NaN}', "latency_s"),
        ('{"lateny_s": 1}', "lateny_s"),
    ],
)
def test_files_without_costs(text: str | None, expected: str, tmp_path: Path, capsys) -> None:
    path = tmp_path / "costs.json"
    if text is not None:
        path.write_text(text)
    line = refusal_of(capsys, "predict", *SINES, "--ping", path)
    assert expected in line and str(path) in line


def test_costs_at_hand_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From ping.json in the folder, or a named file; a latency that is given goes before."""
    monkeypatch.chdir(tmp_path)
    assert traffic.read(None) == (Interconnect(), "")
    assert traffic.read(None, 3e-6, 1e10) == (Interconnect(latency_s=3e-6, bandwidth=1e10), "")
    Path("ping.json").write_text(json.dumps({"latency_s": 5e-6}))
    Path("other.json").write_text(FLAT.model_dump_json())
    assert traffic.read(None) == (Interconnect(latency_s=5e-6), "ping.json")
    assert traffic.read(Path("other.json"), latency_s=9.0) == (FLAT.model_copy(update={"latency_s": 9.0}), "other.json")


# ---- commands --------------------------------------------------------------------------------------------------------


def test_a_run_is_measured(tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Progress goes to standard error; what was measured and what not is said."""
    monkeypatch.chdir(tmp_path)
    code, output, errors = command(capsys, "predict", *SINES, "--ranks", "1")
    lines = errors.splitlines()
    assert code == 0 and lines[0].startswith("building rank 0 of 1") and lines[2].startswith("sample 2 of 2: ")
    assert output.startswith("1 ranks, 2000 samples: ") and "measured: one rank of the run" in output
    assert "assumed" not in output and "messages" not in output
    phases = {line.split()[0]: line.split()[1] for line in output.splitlines() if line.endswith(" s")}
    assert all(float(phases[name]) > 0 for name in ("deliver", "update", "sweep", "credit", "other"))
    output = output_of(capsys, "predict", *SINES, "--ranks", "8", "--ranks-per-node", "4")
    assert "messages between nodes are not in it: `pareprop ping`" in output
    assert "assumed, not measured: exchange of two ranks, further rank of a node, " in output
    (tmp_path / "ping.json").write_text(FLAT.model_dump_json())
    output = output_of(capsys, "predict", *SINES, "--ranks", "8", "--ranks-per-node", "4", "--rate", "10")
    assert "messages" not in output and "assumed" not in output and "exchanges: ping.json" in output
    assert "a checkpoint has 4 files" in output and "neurons fire at 10 Hz" in output


@pytest.mark.parametrize(
    "config",
    [["cart-pole"], ["cart-pole", "--set", "variant=spike"], ["evidence-accumulation", "--set", "batch_size=2"]],
    ids=" ".join,
)
def test_tasks_of_all_kinds_are_measured(config: list[str], capsys: pytest.CaptureFixture) -> None:
    """Episodes that end early stand for whole ones."""
    assert " s per sample" in output_of(capsys, "predict", *config, "--ranks", "2")


def test_memory_alone_builds_nothing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    """Of a network that no machine holds, too."""
    monkeypatch.setattr(dryrun, "run", lambda *_, **__: pytest.fail("a rank was built"))
    sizes = ["--set", "neurons=100000000", "--set", "indegree=10000", "--ranks-per-node", "128"]
    output = output_of(capsys, "predict", "bench", *sizes, "--ranks", "1000,10000", "--memory")
    head, *rows = output.splitlines()
    assert head.split()[:3] == ["ranks", "nodes", "seconds"] and len(rows) == 2
    few, many = (float(row.split()[3]) for row in rows)  # MiB: 10^5 and 10^4 neurons with 10^4 synapses of 12 bytes
    assert few == pytest.approx(12e9 / 2**20, rel=0.2) and many < few / 5
    assert "memory of a node" in rows[0]


def test_a_table_of_ranks(measured: list, capsys: pytest.CaptureFixture) -> None:
    """Each row is what `predict` says of that number of ranks alone."""
    more = ["--ranks-per-node", "4", "--node-memory", "1000"]
    head, *rows = output_of(capsys, "predict", *SINES, "--ranks", "1,2,...,16", *more).splitlines()[:6]
    assert head.split()[:3] == ["ranks", "nodes", "seconds"]
    chosen = subject.find_subject("sine-waves", ["n_rec=900", "indegree=30", "n_step=50"])
    found = {n: predict.predict_runs(chosen, [n], 4, Interconnect())[0][0] for n in (1, 2, 4, 8, 16)}
    for row, (n, one) in zip(rows, found.items(), strict=True):
        ranks, nodes, seconds, memory, _, hours, efficiency, *limit = row.split()
        assert (int(ranks), int(nodes), seconds) == (n, -(-n // 4), f"{one.seconds:.4g}")
        assert float(hours) == pytest.approx(one.seconds * n / 3600, rel=0.01)
        assert int(memory) == pytest.approx(one.rank_bytes / 2**20, abs=2)
        assert float(efficiency) == pytest.approx(found[1].seconds / one.seconds / n, abs=0.006)
        assert limit[0] == max(one.phases, key=one.phases.__getitem__)
    output = output_of(capsys, "predict", *SINES, "--ranks", "1,2", "--node-memory", "0.01")
    assert "memory of a node" in output


@pytest.mark.parametrize(
    "ranks", ["0", "1,1", "2,1", "1,...,8", "1,2,...", "2,3,...,9", "x", "1,,2", "²", "", "9" * 12]
)
def test_ranks_that_are_no_list(capsys, ranks):
    assert "--ranks" in refusal_of(capsys, "predict", "bench", "--ranks", ranks)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("2h", 7200), ("90m", 5400), ("1d12h", 129600), ("02:30:00", 9000), ("45s", 45), ("1h30m", 5400)],
)
def test_times(text, seconds):
    assert slurm.parse_time(text) == seconds


@pytest.mark.parametrize("text", ["", "2", "h", "2x", "1:2", "00:00:00", "-2h"])
def test_bad_times(text):
    with pytest.raises(InputError, match="--time"):
        slurm.parse_time(text)


def test_jobs_command(measured: list, capsys: pytest.CaptureFixture) -> None:
    output = output_of(capsys, "jobs", *SINES, "--nodes", 2, "--ranks-per-node", 4)
    *notes, line = output.splitlines()
    assert (
        line.startswith("sbatch --nodes=2 --ntasks=8 --ntasks-per-node=4 --hint=nomultithread --mem=")
        and "--signal" not in line
    )
    assert line.endswith("jobs/chain.sbatch sine-waves --set=n_rec=900 --set=indegree=30 --set=n_step=50")
    assert "1 job(s)" in notes[0] and all(note.startswith("# ") for note in notes)
    assert "# messages between nodes are not in it: `pareprop ping` on two nodes measures them" in notes
    chosen = subject.find_subject("sine-waves", ["n_rec=900", "indegree=30", "n_step=50"])
    found = predict.predict_runs(chosen, [8], 4, Interconnect())[0][0]
    assert (
        f"--time={slurm.format_time(1.5 * found.seconds + 60 + 120)}" in line
    )  # it ends before chain.sbatch is signalled
    output = output_of(capsys, "jobs", *SINES, "--time", "40m", "--ranks-per-node", 1)
    assert "--time=00:40:00 --signal=B:USR1@120 jobs" in output and "1 job(s)" not in output


def test_memory_of_a_node_and_an_early_signal(measured: list) -> None:
    """A chain of long samples is signalled before the last one must begin."""
    made = predict_one(subject.find_subject("bench", ["neurons=2000", "steps=100", "intervals=1"]), 64, 8)
    made = dataclasses.replace(made, sample_seconds=100.0, node_bytes=4e9, phases=made.phases | {"deliver": 9000.0})
    line, number = slurm.make_command("x", [], 8, 8, 600.0, made)
    assert f"--mem={math.ceil(1.5 * 4e9 / 2**20 / 10) * 10}M" in line
    assert number > 1 and "--signal=B:USR1@210" in line


def test_commands_refuse_what_they_cannot_do(tmp_path, capsys):
    for arguments, wanted in (
        (["predict", "bench", "--ping", tmp_path / "none.json"], "pareprop ping"),
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


def test_a_benchmark_with_any_axis_is_predicted() -> None:
    """As options of `bench` have them."""
    words = ["neurons=300", "precision=single", "neuron=iaf_psc_exp", "longest_delay=9", "readouts=3", "populations=2"]
    found = subject.find_subject("bench", words).model
    assert found.precision == "single" and found.size("readout") == 3 and len(found.of_role("recurrent")) == 2
    assert {item.delay_range for item in found.projections} >= {(1, 9)}
    with pytest.raises(InputError, match="learn = 'E_L' must be a parameter of the neurons that is above 0"):
        subject.find_subject("bench", ["learn=E_L"])
    with pytest.raises(InputError, match="longest_delay = 2 must be at least delay = 3"):
        subject.find_subject("bench", ["delay=3", "longest_delay=2"])
