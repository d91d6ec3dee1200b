"""The benchmark network and its figures."""

import json

import pytest
from commands import command, digests, on_ranks, output_of, refusal_of

from pareprop.energy import Meter
from pareprop.parallel.exchange import Alone
from pareprop.runs import benchmark, counters
from pareprop.runs.benchmark import Bench
from pareprop.simulation.loop import Simulation
from pareprop.simulation.observer import Observer

SMALL = ["bench", "--neurons", "60", "--indegree", "10", "--inputs", "20", "--steps", "200", "--intervals", "2"]
VARIANTS = pytest.mark.parametrize("variant", ["interval", "spike"])


@VARIANTS
@pytest.mark.parametrize("neuron", ["iaf_psc_exp", "adex", "iaf_cond_exp"])
def test_models_of_equations(variant, neuron, capsys):
    """With weights as large as their units ask for."""
    code, output, errors = command(capsys, *SMALL, "--variant", variant, "--neuron", neuron)
    assert (code, errors) == (0, "") and digests(output.splitlines())


@pytest.mark.parametrize(("algorithm", "used"), [([], "prefix"), (["--algorithm", "steps"], "steps")])
def test_an_algorithm_may_be_asked_for(algorithm, used, capsys, tmp_path):
    file = tmp_path / "figures.json"
    code, _, errors = command(capsys, *SMALL, "--variant", "spike", *algorithm, "--json", file)
    assert (code, errors) == (0, "")
    assert json.loads(file.read_text())["algorithms"] == {"in->rec": used, "rec->rec": used, "rec->out": "readout"}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--variant", "spike", "--algorithm", "lines"], "cannot learn by 'lines': its optimizer keeps no moments"),
        (["--algorithm", "steps"], "algorithms = 'steps' does not go with the interval variant: "),
    ],
)
def test_a_way_that_does_not_fit_is_refused(options, told, capsys):
    assert told in refusal_of(capsys, *SMALL, *options)


def test_json_that_cannot_be_written(capsys, tmp_path):
    assert "--json" in refusal_of(capsys, *SMALL, "--json", tmp_path / "missing" / "figures.json")


@pytest.mark.parametrize("size", ["--neurons=0", "--inputs=0", "--steps=0", "--intervals=0", "--indegree=-1"])
def test_size_below_its_bound(size, capsys):
    assert size.split("=")[0].strip("-") in refusal_of(capsys, *SMALL, size)


@pytest.mark.mpi
@pytest.mark.parametrize("n", [2, 3])
def test_digest_and_events_on_ranks(n, capsys, tmp_path):
    alone, commands = [], []
    for variant in ("interval", "spike"):
        for delay in (1, 3):
            arguments = [*SMALL, "--variant", variant, "--delay", delay]
            alone += digests(command(capsys, *arguments, "--json", tmp_path / "alone")[1].splitlines())
            commands.append([*arguments, "--json", tmp_path / f"{variant}{delay}"])
    assert len(set(alone)) == 4
    codes, lines, _ = on_ranks(n, commands)
    assert codes == [0] * 4 and digests(lines) == alone
    last, same = (json.loads((tmp_path / name).read_text()) for name in ("alone", "spike3"))
    assert same["ranks"] == n and same["events"] == last["events"] and same["synapses"] == last["synapses"]


class _Spikes(Observer):
    """(sample, step, id) of every spike."""

    def __init__(self):
        self.found = []

    def after_sample(self, simulation, outcome):
        steps, ids = simulation.engine.log.list_spikes(simulation.task.n_steps)
        self.found += [(outcome.index, int(step), int(i)) for step, i in zip(steps, ids, strict=True)]


@VARIANTS
@pytest.mark.parametrize("delay", [1, 4])
def test_events(variant, delay):
    """Against going through all spikes and all synapses one by one."""
    n_steps, n_samples = 60, 2
    bench = Bench(neurons=30, indegree=5, inputs=8, delay=delay, variant=variant, steps=n_steps, intervals=n_samples)
    figures, model, task = benchmark.run(bench, Alone()), bench.build_model(), bench.make_task()
    spikes = _Spikes()
    simulation = Simulation(model, task, observers=[spikes])
    simulation.train(n_samples)
    steps, ids = task.sample(0).inputs.list_spikes(n_steps)
    inputs = [(k, int(s), int(i)) for k in range(n_samples) for s, i in zip(steps, ids, strict=True)]
    table, events = simulation.network.incoming, 0
    for span in table.spans:
        # an input's row s arrives in step s, which takes its delay of one step out
        shift, sent = (1, inputs) if span.projection.pre.role == "input" else (0, spikes.found)
        for source, _, delays, _ in table.yield_chunks(span):
            for _, step, sender in sent:
                for d in delays[source == sender]:
                    events += variant == "spike" or 0 < step + d - shift < n_steps
    assert spikes.found and figures["events"] == events
    assert figures["firing_rate_hz"] == pytest.approx(len(spikes.found) / (30 * n_samples * n_steps / 1000.0))


def test_counting_and_digest_are_not_timed(monkeypatch):
    """By a clock that each look at it moves by 1 s, and counting and digest by 100 s."""
    seconds = [0.0]

    def look(_):
        seconds[0] += 1.0
        return seconds[0]

    def slow(function):
        def slowed(*arguments):
            seconds[0] += 100.0
            return function(*arguments)

        return slowed

    monkeypatch.setattr(benchmark, "read_synchronized_clock", look)
    monkeypatch.setattr(benchmark, "count_events", slow(benchmark.count_events))
    monkeypatch.setattr(Simulation, "hexdigest", slow(Simulation.hexdigest))
    figures = benchmark.run(Bench(neurons=30, indegree=5, inputs=8, steps=100), Alone())
    assert figures["train_seconds"] == 3.0 and seconds[0] == 6.0 + 400.0


class Ranks:
    """Three ranks of two machines: what they counted, of which this is the first one's."""

    def allgather(self, own):
        return [own, (0.0, -1.0, False), (5.0, 4.0, True)]


def test_counters_of_machines_add_up(monkeypatch):
    """Of 8 core seconds, 3 are this rank's and 1 that of another on its machine; the third rank found 4 of others."""
    seconds = iter([(10.0, 1.0), (18.0, 4.0)])
    monkeypatch.setattr(counters, "leads_machine", lambda comm: True)
    monkeypatch.setattr(Meter, "measure_interval", lambda meter: 2.0)
    found = counters.Counters(Ranks())
    for pair in seconds:
        monkeypatch.setattr(counters.machine, "busy_seconds", lambda pair=pair: pair[0])
        monkeypatch.setattr(counters.time, "process_time", lambda pair=pair: pair[1])
        found.start_counting() if pair[0] == 10.0 else found.stop_counting()
    assert found.collect_figures(4.0) == {"joules": 7.0, "other_cores": (8.0 - 3.0 - 1.0 + 4.0) / 4.0 / 2}
    found.joules = float("nan")
    assert found.collect_figures(4.0).keys() == {"other_cores"}


def test_joules_of_a_benchmark(capsys, monkeypatch, tmp_path):
    """Counters that go on by 2 J whenever they are looked at, in two intervals; without counters a line says so."""
    monkeypatch.setattr(Meter, "measure_interval", lambda meter: 2.0)
    output = output_of(capsys, *SMALL, "--json", tmp_path / "told.json")
    figures = json.loads((tmp_path / "told.json").read_text())
    each = 1e6 * 4.0 / figures["events"]
    assert figures["joules"] == 4.0 and f"; 4 joules, {each:.3g} µJ per synaptic event\n" in output
    assert figures["core_hours"] == pytest.approx(figures["train_seconds"] / 3600)
    monkeypatch.undo()
    monkeypatch.setenv("POWERCAP", str(tmp_path))
    output = output_of(capsys, *SMALL, "--json", tmp_path / "none.json")
    assert "joules" not in json.loads((tmp_path / "none.json").read_text())
    assert "core hours" in output and "joules: this machine does not tell them, it has no counters" in output
