"""The start of a run tells expected time and memory, before anything was measured."""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import ranks
import small
from commands import output_of, run_of

import pareprop
from pareprop.engines.sample import Sample
from pareprop.network.local import cost_of
from pareprop.network.model import Model
from pareprop.parallel.exchange import Exchange
from pareprop.runs import config, estimate, speed
from pareprop.simulation.loop import Simulation
from pareprop.tasks.sine_waves import SineWaves


def build(name: str, settings: list[str]) -> tuple[Simulation, object]:
    task = config.load(name, settings).task
    return Simulation(task.model(), task.subject, settings=task.settings()), task


def test_more_work_is_expected_to_take_longer() -> None:
    """Twice the iterations twice as long; more neurons, synapses and steps longer; 10^9 iterations need no list."""
    simulation, task = build("own-activity", ["n_rec=500", "n_in=50"])
    base = estimate.run_seconds(simulation, task, 10)
    assert estimate.run_seconds(simulation, task, 20) == pytest.approx(2 * base)
    assert estimate.run_seconds(simulation, task, 10**9) == pytest.approx(1e8 * base)
    for more in ("n_rec=1000", "indegree=220", "n_step=2000"):
        other, its_task = build("own-activity", ["n_rec=500", "n_in=50", more])
        assert base < estimate.run_seconds(other, its_task, 10) < 4 * base


def test_validations_and_the_test_are_counted() -> None:
    """On top of 10 iterations of 2 trials: 3 validations of 8, and at the end of the training 50."""
    settings = ["batch_size=2", "iterations=10", "validate_every=3", "validate_samples=8", "test_samples=50"]
    simulation, task = build("evidence-accumulation", settings)
    each = estimate.sample_seconds(simulation)
    ends = [estimate.run_seconds(simulation, task, last) for last in (8, 9, 10)]
    update = ends[0] / 8 - (8 * 2 + 2 * 8) * each / 8
    assert ends[1] - ends[0] == pytest.approx((2 + 8) * each + update)
    assert ends[2] - ends[1] == pytest.approx((2 + 50) * each + update)


def test_synapses_in_memory_take_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Events whose synapses the caches do not hold take 2.4 ns each; inputs fire at 25 Hz, neurons at their target."""
    simulation, _ = build("sine-waves", ["n_rec=60", "n_in=30", "n_step=1000"])
    cached = estimate.sample_seconds(simulation)
    monkeypatch.setattr(estimate, "CACHE", 0)
    n_events = 60 * 30 * 25 + (60 * 60 + 60) * 10
    assert estimate.sample_seconds(simulation) - cached == pytest.approx(1.2e-9 * n_events, rel=0.1)


def train(folder: str, words: list[str], exchange: Exchange) -> None:
    task = SineWaves(n_step=200, n_rec=61, iterations=70)
    run = Simulation(task.model(), task, exchange, settings=task.settings())
    print(f"{estimate.run_seconds(run, task, 70)!r} {estimate.rank_bytes(run)}\n", end="", flush=True)


def test_all_ranks_expect_the_same(tmp_path: Path) -> None:
    """Shared, and of more ranks than most machines have cores, which take turns."""
    for n in (1, 3):
        lines = ranks.train(n, __file__, tmp_path, env={"PAREPROP_SHARE_ABOVE": "0"}).splitlines()
        assert len(lines) == n and len(set(lines)) == 1


def test_the_start_tells_time_and_memory(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """A resumed run tells what is left."""
    words = run_of("sine-waves", tmp_path, n_rec=8, n_in=6, n_step=30, iterations=4, figures="none")
    output = output_of(capsys, *words, "--until", 1)
    line = r"estimate: about 1 s for {}, \d+ MiB on each rank with the program; counted, not measured, .*; unit costs "
    line += rf"are multiplied by [\d.e+-]+, as a short measurement on this processor \({speed.here()[1]}\) asks for\n"
    assert re.search(r"^1 rank; .*\ntraining: .*\n" + line.format("1 iteration"), output)
    output = output_of(capsys, "resume", tmp_path)
    assert re.search("^" + line.format("3 iterations"), output, re.MULTILINE)


def equations(n: int) -> Model:
    one = {"weight": 1.0}
    return small.network("interval", 5, n, kind="adex", into=one, onto=one, back=one, defaults=True)


STILL = small.Once(Sample.from_raster(np.zeros((100, 5), bool), np.zeros((100, 1))), 100)


def test_models_given_by_equations_are_measured_and_tell_what_they_keep(tmp_path: Path, capsys) -> None:
    """The steps of 20 000 AdEx neurons take most of a sample; psi, voltage and flags are kept of each (README)."""
    cost = cost_of(equations(1), equations(1).populations[1])
    assert 0 < cost.step < 1e-5 and 0 < cost.sweep < 1e-5
    seconds = [estimate.sample_seconds(Simulation(equations(n), STILL)) for n in (10_000, 30_000)]
    spikes = 20_000 * (5 * estimate.INPUT_HZ + 10.0) * 0.1 * 2.4e-9
    step = max(cost.step, estimate.NEURON_STEP)  # neurons take at least as long as those of the package
    assert seconds[1] - seconds[0] == pytest.approx(20_000 * 100 * (step + cost.sweep), abs=2 * spikes)
    pareprop.run(equations(20), STILL, tmp_path / "run", iterations=1, figures="none")
    assert "\nnumbers kept per neuron and step: adex 3\n" in capsys.readouterr().out
    told = output_of(capsys, "info", tmp_path / "run")
    assert re.search(r"^ *kept_per_neuron_and_step: adex 3$", told, re.MULTILINE)


# ---- the speed of this processor -------------------------------------------------------------------------------------


@pytest.fixture
def speeds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[str]]:
    """Variants in the order in which they are measured, without a clock; nothing is known before."""
    measured: list[str] = []

    def measure(variant: str) -> float:
        measured.append(variant)
        return 3.0 * speed.REFERENCE[variant]

    monkeypatch.setattr(speed, "_measure", measure)
    monkeypatch.setenv("PAREPROP_CACHE", str(tmp_path / "cache"))
    speed.sample_seconds.cache_clear()
    yield measured
    speed.sample_seconds.cache_clear()


def ask(variant: str) -> float:
    """As a process that has asked for nothing before."""
    speed.sample_seconds.cache_clear()
    return speed.slowness(None, variant)


def test_speed_is_measured_once_for_each_processor_and_level(speeds: list[str], monkeypatch) -> None:
    assert [ask(variant) for variant in ("spike", "interval", "spike", "interval")] == pytest.approx([3.0] * 4)
    assert speeds == ["spike", "interval"]
    monkeypatch.setattr(speed, "here", lambda: ("another", "v2"))
    ask("spike"), ask("spike")
    monkeypatch.setattr(speed, "here", lambda: ("another", "v3"))
    ask("spike")
    assert speeds == ["spike", "interval", "spike", "spike"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_text(path.read_text()[:-5]),
        lambda path: path.write_text("[" * 5000),
        lambda path: path.write_text(path.read_text().replace("0.0", "-0.0")),
        lambda path: path.write_text(re.sub(r"0\.0\d+", "NaN", path.read_text())),
        lambda path: path.write_text(re.sub(r"0\.0\d+", '"fast"', path.read_text())),
        lambda path: path.write_text(re.sub(r'"of": \["', '"of": ["another ', path.read_text())),
        lambda path: path.chmod(0o666),
        lambda path: (path.unlink(), path.mkdir()),
        lambda path: (path.unlink(), os.mkfifo(path)),
    ],
    ids="half deep negative nan text foreign writable folder fifo".split(),
)
def test_a_damaged_or_foreign_file_is_measured_anew(speeds: list[str], tmp_path: Path, damage: Callable) -> None:
    ask("spike")
    (path,) = (tmp_path / "cache").iterdir()
    damage(path)
    assert ask("spike") == pytest.approx(3.0) and speeds == ["spike", "spike"]
    assert [item for item in path.parent.iterdir() if item != path] == []


def test_without_a_folder_nothing_is_kept(speeds: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cache").write_text("a file")
    assert ask("spike") == ask("spike") == pytest.approx(3.0)
    monkeypatch.delenv("PAREPROP_CACHE")
    monkeypatch.setattr(speed, "cache_folder", Mock(side_effect=RuntimeError("no home")))
    assert ask("spike") == pytest.approx(3.0)
    assert speeds == ["spike"] * 3


def test_speed_scales_what_was_not_measured_here() -> None:
    """All but the steps of models given by equations, which are timed on this machine."""
    simulation, task = build("sine-waves", ["n_rec=60", "n_in=30", "n_step=1000"])
    base = estimate.run_seconds(simulation, task, 10)
    assert estimate.run_seconds(simulation, task, 10, 2.5) == pytest.approx(2.5 * base)
    given = Simulation(equations(30_000), STILL)
    own = 30_000 * 100 * (cost_of(given.model, given.model.populations[1]).step + 0.0)
    assert estimate.sample_seconds(given, 0.0) > 0.5 * own


def test_the_network_is_measured() -> None:
    """Of both variants, whatever they take here."""
    assert all(0 < speed._measure(variant) < 10 for variant in speed.REFERENCE)
