"""`pareprop.run`: what the command line does, from a script, with a network and a task of its own.

One file, because all tests train the same small network.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import ranks
from commands import command

import pareprop
from pareprop import Adam, InputError, LearningRate, Model, Normal, Observer, Sample, Simulation
from pareprop.tasks.sine_waves import SineWaves


class Levels:
    """First ten of the inputs fire, later the other ten; the readout reports which."""

    n_steps = learning_window = 60

    def sample(self, index: int, phase: str = "train") -> Sample:
        rng = np.random.default_rng([index, len(phase)])
        first = np.arange(self.n_steps) < rng.integers(10, 50)
        rates = np.where(np.arange(20) < 10, first[:, None], ~first[:, None]) * 0.2
        return Sample.from_raster(rng.random(rates.shape) < rates, np.where(first, 0.5, -0.5)[:, None])


def network(batch: int = 2, std: float = 0.05) -> Model:
    model = Model("interval", seed=1, optimizer=Adam(eta=5e-3, batch_size=batch))
    inputs, out = model.inputs("in", 20), model.readouts("out", 1, C_m=1.0, tau_m=20.0)
    neurons = model.neurons("rec", 20, "iaf", C_m=1.0, E_L=0.0, V_th=0.6, tau_m=20.0, t_ref=3.0)
    model.connect(inputs, neurons, weight=Normal(std=0.5))
    model.connect(neurons, neurons, "fixed_indegree", indegree=5, weight=Normal(std=std))
    model.connect(neurons, out, weight=Normal(std=0.05))
    model.connect(out, neurons, weight=Normal(std=0.1))
    return model


class Patience(Observer):
    """Stops after some iterations."""

    def __init__(self, n: int) -> None:
        self.n, self.seen = n, 0

    def after_iteration(self, simulation: Simulation, iteration: int, loss: float) -> None:
        self.seen += 1
        simulation.stop_requested = self.seen >= self.n

    def state(self, simulation: Simulation) -> dict[str, int]:
        return {"seen": self.seen}

    def load_state(self, state: dict[str, int]) -> None:
        self.seen = state["seen"]


def run(out: Path, iterations: int, **options) -> pareprop.Trained:
    options = {"figures": "none", "quiet": True} | options
    return pareprop.run(network(), Levels(), out, iterations=iterations, **options)


@pytest.mark.slow
def test_a_script_and_the_command_line_write_the_same_run(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Printed lines, files, results and digest; `compare` finds no difference."""
    values = {"iterations": 4, "n_rec": 20, "n_in": 10, "validate_every": 2, "test_samples": 1}
    options = [item for key, value in values.items() for item in ("--set", f"{key}={value}")]
    options += ["--set", "record.every=2", "--set", "checkpoint.every=2"]
    code, output, _ = command(capsys, "run", "sine-waves", *options, "--out", tmp_path / "a")
    assert code == 0
    done = pareprop.run(None, SineWaves(**values), tmp_path / "b", record={"every": 2}, checkpoint={"every": 2})
    printed = capsys.readouterr().out.replace(f"{tmp_path}/b", f"{tmp_path}/a")
    of_process = re.compile(r"iteration |^estimate: ")  # lines that tell the memory of the process so far
    assert [line for line in printed.splitlines() if not of_process.search(line)] == [
        line for line in output.splitlines() if not of_process.search(line)
    ]
    assert output.splitlines()[-1] == f"digest: {done.digest}"
    names = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*"))
    assert sorted(path.relative_to(tmp_path / "b") for path in (tmp_path / "b").rglob("*")) == names
    code, output, _ = command(capsys, "compare", tmp_path / "a", tmp_path / "b")
    assert (code, output.strip()) == (0, "no difference")
    code, output, _ = command(capsys, "resume", tmp_path / "b", "--set", "iterations=6")  # and either goes on
    assert code == 0
    again = pareprop.run(None, SineWaves(**values), tmp_path / "a", iterations=6, restart=True, record={"every": 2})
    assert output.splitlines()[-1] == f"digest: {again.digest}"


def test_own_network_and_task_equal_a_bare_simulation(tmp_path: Path) -> None:
    bare = Simulation(network(), Levels())
    bare.train(5)
    done = run(tmp_path / "run", 5, record={"every": 2, "what": ["spikes", "V_m"]})
    assert (done.losses, done.digest) == (bare.losses, bare.hexdigest())
    assert np.array_equal(done.open().losses["loss"], bare.losses)
    assert {"results.h5", "record.h5", "checkpoints", "run.log", "loss.csv", "config.toml"} <= set(
        os.listdir(tmp_path / "run")
    )
    assert "Levels" in (tmp_path / "run/config.toml").read_text()


def test_phases_of_a_script(tmp_path: Path) -> None:
    """Validations and test are those of a bare simulation; a loss below the bound ends the training."""
    done = run(tmp_path / "run", 6, validate_every=3, validate_samples=2, test_samples=3)
    bare = Simulation(network(), Levels())
    expected = []
    for n in (3, 6):
        bare.train(n)
        expected.append((n, bare.test(2, "validate")))
    assert done.validations == expected
    assert done.test.value == bare.test(3)
    early = run(tmp_path / "early", 6, validate_every=3, validate_samples=2, stop_below=1e9)
    assert early.stopped and len(early.losses) == 3 and early.test is not None


def test_restart_goes_on_with_the_same_bits(tmp_path: Path) -> None:
    """Stopped at two places, with observers that keep a state; `restart` in an empty directory begins."""
    whole = run(tmp_path / "whole", 9, observers=[LearningRate(lambda k: 5e-3 / (1 + k))], validate_every=2)
    for until in (4, 7, None):
        rate = LearningRate(lambda k: 5e-3 / (1 + k))
        part = run(tmp_path / "parts", 9, until=until, restart=True, observers=[rate], validate_every=2)
    assert part.digest == whole.digest and part.losses == whole.losses and part.validations == whole.validations
    assert part.digest != run(tmp_path / "constant", 9).digest  # the learning rate changed


def test_an_observer_stops_the_run(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Such a run is at its end: it is tested, and stays stopped after a restart."""
    done = run(tmp_path / "run", 50, observers=[Patience(4)], test_samples=2, quiet=False)
    assert done.stopped and len(done.losses) == 4 and len(done.test.losses) == 2
    assert "stopped after 4 iterations: an observer asked for it" in capsys.readouterr().out
    again = run(tmp_path / "run", 50, observers=[Patience(4)], test_samples=2, restart=True)
    assert again.stopped and again.digest == done.digest


def test_a_run_without_a_checkpoint_begins_anew(tmp_path: Path) -> None:
    done = run(tmp_path / "run", 3)
    for path in (tmp_path / "run/checkpoints").iterdir():
        path.rename(tmp_path / path.name)
    assert run(tmp_path / "run", 3, restart=True).digest == done.digest


def test_another_network_is_not_gone_on_with(tmp_path: Path) -> None:
    run(tmp_path / "run", 2)
    with pytest.raises(InputError, match=r"belongs to another run: task.network.rec->rec = .\w+., now .\w+.$"):
        pareprop.run(network(std=0.06), Levels(), tmp_path / "run", iterations=4, restart=True, figures="none")
    assert len(pareprop.open_run(tmp_path / "run").losses["loss"]) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"iteration": 5}, "pareprop.run: unknown setting 'iteration', did you mean 'iterations'?"),
        ({"eta": 0.1}, "pareprop.run: unknown setting 'eta'"),
        ({"stop_below": -1.0}, "pareprop.run: stop_below = -1.0: Input should be greater than or equal to 0"),
        ({"record": {"evry": 1}}, "pareprop.run: record: unknown parameter 'evry', did you mean 'every'?"),
        ({"record": 5}, "pareprop.run: record = 5 must be a table"),
        ({"record": {"every": 1, "what": ["weights"], "projections": ["x"]}}, "projection"),
        ({"checkpoint": {"keep": 0}}, "pareprop.run: checkpoint: keep = 0"),
        ({"replicas": 3}, "replicas = 3 must be a power of two"),
        ({"observers": [Patience]}, "observer Patience is a class; pass an instance"),
    ],
)
def test_mistakes_write_nothing(tmp_path: Path, options: dict, message: str) -> None:
    with pytest.raises(InputError) as found:
        pareprop.run(network(), Levels(), tmp_path / "run", **options)
    assert message in str(found.value) and "\n" not in str(found.value)
    assert not (tmp_path / "run").exists()


def test_ends_of_a_call_that_are_no_model_or_task(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="task PosixPath: n_steps is missing"):
        pareprop.run(network(), tmp_path)
    with pytest.raises(InputError, match=r"model = None needs a task of pareprop.tasks, not Levels$"):
        pareprop.run(None, Levels(), tmp_path / "run")
    with pytest.raises(InputError, match=r"model must be a pareprop.Model, not <class.*>$"):
        pareprop.run(Levels, Levels(), tmp_path / "run")
    with pytest.raises(InputError, match="exists and is not empty"):
        (tmp_path / "file").touch()
        pareprop.run(network(), Levels(), tmp_path)


def test_commands_on_the_run_of_a_script(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Those that read results work; those that need the network say where it is."""
    run(tmp_path / "run", 3, record={"every": 1})
    for arguments in (["info"], ["plot"], ["report"], ["compare", tmp_path / "run"]):
        name, *rest = arguments
        assert command(capsys, name, tmp_path / "run", *rest)[0] == 0
    assert command(capsys, "export", tmp_path / "run", tmp_path / "spikes.h5")[0] == 0
    for arguments in (["resume", tmp_path / "run"], ["export", "--network", tmp_path / "run", tmp_path / "net"]):
        code, _, errors = command(capsys, *arguments)
        assert code == 2 and "a script trained this run" in errors and errors.count("\n") == 1


SCRIPT = """
import sys
sys.path[:0] = {path!r}
from test_script import Levels, network
import pareprop
from pareprop import LearningRate
rate = [LearningRate(lambda k: 5e-3 / (1 + k), name) for name in ("in->rec", "rec->rec", "rec->out")]
done = pareprop.run(
    network(8), Levels(), sys.argv[1], iterations=int(sys.argv[2]), replicas=int(sys.argv[3]), restart=True,
    test_samples=3, figures="none", observers=rate, quiet={quiet},
)
if done.simulation.exchange.rank + done.simulation.replicas.index == 0:
    print(done.digest, done.test.value)
"""


def script(tmp_path: Path, quiet: bool = True) -> Path:
    path = tmp_path / "script.py"
    here = Path(__file__).parent
    path.write_text(SCRIPT.format(path=[str(here), str(here.parent)], quiet=quiet))
    return path


@pytest.mark.slow
def test_one_digest_on_any_number_of_ranks_and_replicas(tmp_path: Path) -> None:
    """Also over restarts on another number of ranks."""
    path, outputs = script(tmp_path), set()
    outputs.add(run_script(path, tmp_path / "alone", 8))
    for n, replicas in ((2, 1), (3, 1), (2, 2), (4, 2)):
        outputs.add(ranks.run(n, path, tmp_path / f"{n}-{replicas}", 8, replicas).stdout)
    assert ranks.run(2, path, tmp_path / "parts", 3, 2).returncode == 0
    outputs.add(ranks.run(3, path, tmp_path / "parts", 8, 1).stdout)
    assert len(outputs) == 1 and outputs.pop().strip()


def run_script(path: Path, out: Path, iterations: int) -> str:
    """Output of the script on one rank."""
    done = subprocess.run([sys.executable, path, out, str(iterations), "1"], check=True, capture_output=True, text=True)
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("asked", "code"), [(signal.SIGUSR1, 75), (signal.SIGTERM, 75), (signal.SIGINT, -signal.SIGINT)]
)
def test_a_signal_ends_a_script_with_a_checkpoint(tmp_path: Path, asked: signal.Signals, code: int) -> None:
    """From which the same script goes on, with the bits of one that was not stopped."""
    path, out = script(tmp_path), tmp_path / "run"
    process = subprocess.Popen([sys.executable, path, out, "1000000", "1"], stderr=subprocess.PIPE, text=True)
    while not (out / "checkpoints/listening").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.send_signal(asked)
    _, errors = process.communicate(timeout=900)
    assert process.returncode == code, errors
    done = int(next((out / "checkpoints").glob("iteration-*")).name.removeprefix("iteration-"))
    assert run_script(path, out, done + 3) == run_script(path, tmp_path / "whole", done + 3) != ""


def test_configuration_of_a_script_names_it(tmp_path: Path) -> None:
    run(tmp_path / "run", 1)
    opened = pareprop.open_run(tmp_path / "run")
    assert opened.config["task"]["name"] == opened.attributes["task"] == "Levels"
    assert opened.config["run"]["script"] and json.loads(opened.attributes["model"])["populations"][0]["name"] == "in"


class Tones:
    """Ten of twenty inputs fire; two readouts report which ten, as classes."""

    n_steps = learning_window = 40

    def sample(self, index: int, phase: str = "train") -> Sample:
        rng = np.random.default_rng([index, len(phase)])
        tone = int(rng.integers(2))
        raster = rng.random((self.n_steps, 20)) < 0.15 * ((np.arange(20) < 10) == tone)
        return Sample.from_raster(raster, np.eye(2)[np.full(self.n_steps, tone)], label=tone)


def classifier() -> Model:
    model = Model("interval", seed=3, optimizer=Adam(eta=1e-2, batch_size=8))
    inputs, out = model.inputs("in", 20), model.readouts("out", 2, C_m=1.0, tau_m=10.0)
    rec = model.neurons("rec", 20, C_m=1.0, E_L=0.0, V_th=0.6, tau_m=20.0, t_ref=3.0)
    for pre, post in ((inputs, rec), (rec, rec), (rec, out), (out, rec)):
        model.connect(pre, post, weight=Normal(std=0.1))
    return model


def test_the_score_of_a_test_is_in_all_results(tmp_path: Path) -> None:
    """The same of a bare simulation, of the run, of its results, and as a line of its log."""
    done = pareprop.run(
        classifier(), Tones(), tmp_path / "run", iterations=3, test_samples=11, figures="none", quiet=True
    )
    bare = Simulation(classifier(), Tones())
    bare.train(3)
    scores = [done.test, bare.test(11), done.open().test]
    labels = [Tones().sample(k, "test").label for k in range(11)]
    for score in scores:
        assert score.labels == labels and score.losses == scores[0].losses and float(score) == float(scores[0])
        assert score.confusion.shape == (2, 2) and score.counts.tolist() == np.bincount(labels).tolist()
        assert score.accuracy == np.mean(np.equal(labels, score.predictions)) and score.predictions == bare_of(done)
    assert done.test.line("test") in (tmp_path / "run/run.log").read_text()
    untested = pareprop.run(classifier(), Tones(), tmp_path / "b", iterations=1, figures="none", quiet=True)
    assert untested.open().test is None


def bare_of(done: pareprop.Trained) -> list[int]:
    """Predictions of the test samples, one by one."""
    return [(done.simulation.run_sample(k, "test", False), done.simulation.predictions[0])[1] for k in range(11)]


class Good(Observer):
    """Stops when an iteration has at most one wrong sample; keeps the share of wrong ones, and tests in between."""

    def __init__(self) -> None:
        self.errors: list[float] = []

    def after_iteration(self, simulation: Simulation, iteration: int, loss: float) -> None:
        assert len(simulation.labels) == len(simulation.predictions) == len(simulation.batch) == 8
        self.errors.append(float(np.mean(np.not_equal(simulation.labels, simulation.predictions))))
        simulation.stop_requested = self.errors[-1] <= 1 / 8 and iteration > 3
        simulation.test(3, "validate")


def test_an_observer_sees_the_scores_of_the_training(tmp_path: Path) -> None:
    """Those of the iteration, though the run validates, and the observer tests, after it."""
    good = Good()
    options = {"iterations": 100, "validate_every": 1, "validate_samples": 8, "figures": "none", "quiet": True}
    done = pareprop.run(classifier(), Tones(), tmp_path / "run", observers=[good], **options)
    assert good.errors == done.open().losses["error"].tolist() and done.stopped and len(done.losses) < 100
    assert good.errors[-1] <= 1 / 8 and max(good.errors) > 0.25
    plain = pareprop.run(classifier(), Tones(), tmp_path / "plain", **options | {"iterations": len(done.losses)})
    assert (plain.digest, plain.validations) == (done.digest, done.validations)


EARLY = """
import sys
sys.path[:0] = {path!r}
from test_script import Good, Tones, classifier
import pareprop
good = Good()
done = pareprop.run(
    classifier(), Tones(), sys.argv[1], iterations=100, replicas=int(sys.argv[2]), observers=[good], test_samples=16,
    figures="none", quiet=True,
)
if done.simulation.exchange.rank + done.simulation.replicas.index == 0:
    print(done.digest, len(done.losses), good.errors, done.test.line("test"))
"""


@pytest.mark.slow
def test_early_stopping_with_replicas(tmp_path: Path) -> None:
    """The observer sees the whole batch in each group, so all stop after the same iteration."""
    path, here = tmp_path / "early.py", Path(__file__).parent
    path.write_text(EARLY.format(path=[str(here), str(here.parent)]))
    runs = [ranks.run(n, path, tmp_path / f"{n}-{r}", r) for n, r in ((1, 1), (2, 2), (4, 4), (4, 2))]
    assert len({done.stdout for done in runs}) == 1 and runs[0].stdout, runs[0].stderr


def fail(*_: object) -> None:
    """What an observer does that has a mistake of its own."""
    raise ZeroDivisionError


@pytest.mark.parametrize("moment", ["start", "after_iteration", "finish"])
def test_a_run_that_fails_gives_the_signals_back(tmp_path: Path, moment: str) -> None:
    """Else the second stop of whatever a notebook does next would end its kernel."""
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)]
    with pytest.raises(ZeroDivisionError):
        run(tmp_path / "run", 2, observers=[type("Broken", (Observer,), {moment: fail})()])
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)] == before
