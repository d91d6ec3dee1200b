"""`pareprop.run`: what the command line does, from a script, with a network and a task of its own.

One file, because all tests train the same small network.
"""

import functools
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import checkpoints
import damage
import numpy as np
import pytest
import ranks
import small
from commands import output_of, refusal_of, run_of
from params import first_rows
from small import Levels

import pareprop
from pareprop import Adam, Eprop, InputError, LearningRate, Model, Normal, Observer, Sample, Simulation
from pareprop.network.losses import FunctionLoss
from pareprop.tasks.sine_waves import SineWaves

LEVELS = Levels(60, (10, 50), 0.2)


def network(batch: int = 2, std: float = 0.05, variant: str = "interval") -> Model:
    options = {"optimizer": Adam(eta=5e-3, batch_size=batch)} if variant == "interval" else {"kind": "iaf_psc_delta"}
    among = {"rule": "fixed_indegree", "indegree": 5} if variant == "interval" else {}
    stds = {"among": among | {"weight": Normal(std=std)}, "onto": 0.05}
    return small.network(variant, 20, cell={"t_ref": 3.0}, seed=1, **stds, **options)


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
    return pareprop.run(network(), LEVELS, out, iterations=iterations, **options)


@pytest.mark.slow
def test_a_script_and_the_command_line_write_the_same_run(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Printed lines, files, results and digest; `compare` finds no difference."""
    values = {"iterations": 4, "n_rec": 20, "n_in": 10, "validate_every": 2, "test_samples": 1}
    output = output_of(capsys, *run_of("sine-waves", tmp_path / "a", "record.every=2", "checkpoint.every=2", **values))
    done = pareprop.run(None, SineWaves(**values), tmp_path / "b", record={"every": 2}, checkpoint={"every": 2})
    printed = capsys.readouterr().out.replace(f"{tmp_path}/b", f"{tmp_path}/a")
    of_process = re.compile(r"iteration ")  # lines that tell the memory of the process so far
    printed, told = ([line for line in text.splitlines() if not of_process.search(line)] for text in (printed, output))
    assert printed == told
    assert output.splitlines()[-1] == f"digest: {done.digest}"
    names = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*"))
    assert sorted(path.relative_to(tmp_path / "b") for path in (tmp_path / "b").rglob("*")) == names
    assert output_of(capsys, "compare", tmp_path / "a", tmp_path / "b") == "no difference\n"
    # and either goes on
    output = output_of(capsys, "resume", tmp_path / "b", "--no-figures", "--set", "iterations=6")
    more = {"iterations": 6, "restart": True, "record": {"every": 2}, "figures": "none"}
    again = pareprop.run(None, SineWaves(**values), tmp_path / "a", **more)
    assert output.splitlines()[-1] == f"digest: {again.digest}"


def test_own_network_and_task_equal_a_bare_simulation(tmp_path: Path) -> None:
    bare = Simulation(network(), LEVELS)
    bare.train(5)
    done = run(tmp_path / "run", 5, record={"every": 2, "what": ["spikes", "V_m"]})
    assert (done.losses, done.digest) == (bare.losses, bare.hexdigest())
    assert np.array_equal(done.open().losses["loss"], bare.losses)
    files = {"results.h5", "record.h5", "checkpoints", "run.log", "loss.csv", "config.toml"}
    assert files <= set(os.listdir(tmp_path / "run"))
    assert "Levels" in (tmp_path / "run/config.toml").read_text()


def test_phases_of_a_script(tmp_path: Path) -> None:
    """Validations and test are those of a bare simulation; a loss below the bound ends the training."""
    done = run(tmp_path / "run", 6, validate_every=3, validate_samples=2, test_samples=3)
    bare = Simulation(network(), LEVELS)
    expected = []
    for n in (3, 6):
        bare.train(n)
        expected.append((n, bare.test(2, "validate")))
    assert done.validations == expected
    assert done.test.value == bare.test(3)
    early = run(tmp_path / "early", 6, validate_every=3, validate_samples=2, stop_below=1e9)
    assert early.stopped and len(early.losses) == 3 and early.test is not None


def test_a_loss_below_0_does_not_stop_a_training_that_has_no_bound(tmp_path: Path) -> None:
    """Found by random networks: `stop_below = 0`, the default, which means never, was taken for a bound."""
    model = network()
    model.loss = FunctionLoss(lambda output, target: (output - target, 0.5 * np.sum(np.square(output - target)) - 1e3))
    done = pareprop.run(model, LEVELS, tmp_path, iterations=3, validate_every=1, figures="none", quiet=True)
    assert done.validations[0][1] < 0.0 and len(done.losses) == 3 and not done.stopped


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
    """What differs is said in words, of the model, the optimizer, and the data."""
    run(tmp_path / "run", 2)
    weight = "projection 'rec->rec': weight = Normal(kind='normal', mean=0.0, std=0.05), now Normal(kind='normal', "
    given, eta = network(), network()
    given.projections[1] = given.projections[1].model_copy(update={"weight": Normal(std=0.06)})
    eta.optimizer = Adam(eta=6e-3, batch_size=2)
    data = type("Renamed", (Levels,), {"sample": lambda self, index, phase="train": LEVELS.sample(index + 1, phase)})
    for model, task, words in (
        (given, LEVELS, weight + "mean=0.0, std=0.06)"),
        (eta, LEVELS, "learning.eta = 0.005, now 0.006; eta = 0.005, now 0.006"),
        (
            network(),
            data(60, (10, 50), 0.2),
            "sample 0 of the training has another input spikes and target; its data, or what makes",
        ),
    ):
        with pytest.raises(InputError, match=re.escape(f"belongs to another run: {words}")):
            pareprop.run(model, task, tmp_path / "run", iterations=4, restart=True, figures="none")
    assert len(pareprop.open_run(tmp_path / "run").losses["loss"]) == 2


def test_data_are_known_by_their_content(tmp_path: Path) -> None:
    """A class of another name that makes the same samples goes on; one whose later samples differ does not."""
    run(tmp_path / "run", 2)
    renamed = type("Renamed", (Levels,), {})
    done = pareprop.run(
        network(), renamed(60, (10, 50), 0.2), tmp_path / "run", iterations=4, restart=True, figures="none", quiet=True
    )
    assert done.digest == run(tmp_path / "whole", 4).digest
    swapped = type("Levels", (Levels,), {"sample": lambda self, k, phase="train": LEVELS.sample(k + (k == 6), phase)})
    with pytest.raises(InputError, match="sample 6 of the training has another input spikes and target"):
        pareprop.run(
            network(), swapped(60, (10, 50), 0.2), tmp_path / "run", iterations=6, restart=True, figures="none"
        )


def test_other_phases_and_figures_go_on(tmp_path: Path) -> None:
    """More samples of test and validation, other stops, other figures: what was learned stays, and goes on."""
    first = run(tmp_path / "run", 6, validate_every=2, stop_below=1e9, test_samples=2)
    assert first.stopped and len(first.losses) == 2
    options = {"validate_every": 3, "validate_samples": 4, "test_samples": 5, "restart": True, "quiet": True}
    later = pareprop.run(network(), LEVELS, tmp_path / "run", iterations=6, figures="png", **options)
    whole = run(tmp_path / "whole", 6, test_samples=5)
    assert (later.digest, later.losses, later.test) == (whole.digest, whole.losses, whole.test)
    assert [iteration for iteration, _ in later.validations] == [2, 3, 6] and not later.stopped
    assert len(later.test.losses) == 5 and (tmp_path / "run/loss.png").exists()
    tested = run(tmp_path / "run", 6, test_samples=9, restart=True)  # nothing left to train
    assert tested.test.losses[:5] == later.test.losses and len(tested.test.losses) == 9


def test_spikes_of_test_samples_are_kept(tmp_path: Path) -> None:
    done = run(tmp_path / "run", 2, test_samples=3, record={"test": 2})
    opened = done.open()
    assert set(opened.samples) == {"first", "last", "test-0", "test-1"}
    for k in range(2):
        done.simulation.run_sample(k, "test", False)
        steps, ids = done.simulation.engine.log.list_spikes(LEVELS.n_steps)
        spikes = opened.spikes(f"test-{k}")
        assert spikes["step"].tolist() == steps.tolist() and spikes["id"].tolist() == ids.tolist() and len(ids)
    assert np.array_equal(opened.signals("last")["V_m"], opened.signals("test-0")["V_m"])
    with pytest.raises(InputError, match=r"\[record\] test = 4: there are test_samples = 3 in section \[run\]"):
        run(tmp_path / "other", 2, test_samples=3, record={"test": 4})


class Rising(Observer):
    """Makes the training worse after some iterations: learning rates that are much too high."""

    def after_iteration(self, simulation: Simulation, iteration: int, loss: float) -> None:
        simulation.set_eta(1.0 if iteration >= 3 else 5e-3)


BEST = {"validate_every": 1, "validate_samples": 3, "patience": 3, "keep_best": True, "test_samples": 4}


@pytest.mark.parametrize("variant", ["interval", "spike"])
def test_patience_ends_a_training_and_the_best_weights_are_kept(tmp_path: Path, variant: str) -> None:
    """The result has the weights of a training that ends at the best validation; the course goes on beyond it."""
    make = functools.partial(network, variant=variant)
    options = {"figures": "none", "quiet": True, "observers": [Rising()]}
    done = pareprop.run(make(), LEVELS, tmp_path / "run", iterations=30, **options, **BEST)
    values = [value for _, value in done.validations]
    best = int(np.argmin(values)) + 1
    assert done.stopped and len(values) == len(done.losses) == best + 3 < 30
    shorter = BEST | {"patience": 0, "keep_best": False}
    short = pareprop.run(make(), LEVELS, tmp_path / "short", iterations=best, **shorter, **options)
    for name in done.open().projections:
        found, expected = (run.open().weights(name)["weight"] for run in (done, short))
        assert np.array_equal(found, expected)
    assert done.test.losses == short.test.losses and done.losses[:best] == short.losses
    log = (tmp_path / "run/run.log").read_text()
    assert f"none of 3 validations was better than {values[best - 1]:.4g} after {best}" in log
    assert f"weights: those after {best} iterations, the best validation ({values[best - 1]:.4g})" in log
    again = pareprop.run(make(), LEVELS, tmp_path / "run", iterations=30, restart=True, **options, **BEST)
    assert (again.digest, again.test.losses, again.losses) == (done.digest, done.test.losses, done.losses)


def test_the_best_weights_survive_restarts(tmp_path: Path) -> None:
    """With checkpoints before and after the best validation, and where a run goes on from before it once more."""
    options = {"figures": "none", "quiet": True, "observers": [Rising()], "checkpoint": {"keep": 9}}
    options |= BEST | {"patience": 0}
    whole = pareprop.run(network(), LEVELS, tmp_path / "whole", iterations=9, **options)
    for until in (2, 5, None, None):
        part = pareprop.run(network(), LEVELS, tmp_path / "parts", iterations=9, until=until, restart=True, **options)
        if until is None:
            assert (part.digest, part.test.losses) == (whole.digest, whole.test.losses)
            assert part.validations == whole.validations
        for path in (tmp_path / "parts/checkpoints").glob("iteration-0000000[59]") if until is None else ():
            shutil.rmtree(path)  # as if it had ended between the checkpoint and the best validation


def test_damaged_best_weights_are_told_and_those_of_the_end_written(tmp_path: Path) -> None:
    """Nothing of the damaged ones comes into the network."""
    options = {"figures": "none", "quiet": True, "observers": [Rising()], "iterations": 6} | BEST | {"patience": 0}
    plain = pareprop.run(network(), LEVELS, tmp_path / "plain", **options | {"keep_best": False})
    pareprop.run(network(), LEVELS, tmp_path / "run", until=5, **options)
    for path in (tmp_path / "run/best").glob("iteration-*"):
        damage.flip(path / "rank-00000.bin", int(checkpoints.table_of(path)["offset"][0, -1]))
    with pytest.raises(InputError, match=r"best/iteration-\d+ is damaged: rank-00000.bin: the checksum of \S+ differs"):
        pareprop.run(network(), LEVELS, tmp_path / "run", restart=True, **options)
    runs = plain.open(), pareprop.open_run(tmp_path / "run")
    for name in runs[0].projections:
        assert np.array_equal(*(run.weights(name)["weight"] for run in runs))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"iteration": 5}, "pareprop.run: unknown setting 'iteration', did you mean 'iterations'?"),
        ({"eta": 0.1}, "pareprop.run: unknown setting 'eta'"),
        ({"patience": 2}, "pareprop.run: patience = 2 needs validate_every above 0"),
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
        pareprop.run(network(), LEVELS, tmp_path / "run", **options)
    assert message in str(found.value) and "\n" not in str(found.value)
    assert not (tmp_path / "run").exists()


def test_ends_of_a_call_that_are_no_model_or_task(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="task PosixPath: n_steps is missing"):
        pareprop.run(network(), tmp_path)
    with pytest.raises(InputError, match=r"model = None needs a task of pareprop.tasks, not Levels$"):
        pareprop.run(None, LEVELS, tmp_path / "run")
    with pytest.raises(InputError, match=r"model must be a pareprop.Model, not <class.*>$"):
        pareprop.run(Levels, LEVELS, tmp_path / "run")
    ways = "exists and is not empty; overwrite=True replaces what is in it, restart=True continues it"
    with pytest.raises(InputError, match=f"^pareprop.run: out = {tmp_path}: {ways}$"):
        (tmp_path / "file").touch()
        pareprop.run(network(), LEVELS, tmp_path)


@pytest.mark.slow
def test_commands_on_the_run_of_a_script(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Those that read results or the network work; what needs samples of the script says where they are made."""
    run(tmp_path / "run", 3, record={"every": 1})
    out = tmp_path / "run"
    for words in (
        ["info", out],
        ["plot", out],
        ["report", out],
        ["compare", out, out],
        ["export", out, tmp_path / "spikes.h5"],
        ["export", "--network", out, tmp_path / "net"],
        ["export", "--nest", out, tmp_path / "net.py"],
        ["dry-run", out, "--ranks", 2],
        ["dry-run", out / "config.toml", "--ranks", 2],
    ):
        output_of(capsys, *words)
    told = refusal_of(capsys, "resume", out)
    assert "its class Levels makes the samples: pareprop.run(..., restart=True) in " in told


SCRIPT = """
import sys
sys.path[:0] = {path!r}
from test_script import LEVELS, network
import pareprop
from pareprop import LearningRate
rate = [LearningRate(lambda k: 5e-3 / (1 + k), name) for name in ("in->rec", "rec->rec", "rec->out")]
done = pareprop.run(
    network(8), LEVELS, sys.argv[1], iterations=int(sys.argv[2]), replicas=int(sys.argv[3]), restart=True,
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
    outputs.add(ranks.run(4, path, tmp_path / "together", 8, 2).stdout)
    assert ranks.run(2, path, tmp_path / "parts", 3, 2).returncode == 0
    outputs.add(ranks.run(3, path, tmp_path / "parts", 8, 1).stdout)
    assert len(outputs) == 1 and outputs.pop().strip()


def run_script(path: Path, out: Path, iterations: int) -> str:
    """Output of the script on one rank."""
    line = [*ranks.python(), str(path), str(out), str(iterations), "1"]
    return subprocess.run(line, check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize(
    ("asked", "code"),
    first_rows(0, [(signal.SIGTERM, 75), (signal.SIGINT, -signal.SIGINT), (signal.SIGUSR1, 75)], rest=2),
)
def test_a_signal_ends_a_script_with_a_checkpoint(tmp_path: Path, asked: signal.Signals, code: int) -> None:
    """From which the same script goes on, with the bits of one that was not stopped."""
    path, out = script(tmp_path), tmp_path / "run"
    process = subprocess.Popen([*ranks.python(), str(path), out, "1000000", "1"], stderr=subprocess.PIPE, text=True)
    while not (out / "checkpoints/listening").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.send_signal(asked)
    _, errors = process.communicate(timeout=900)
    assert process.returncode == code, errors
    done = int(next((out / "checkpoints").glob("iteration-*")).name.removeprefix("iteration-"))
    assert run_script(path, out, done + 3) == run_script(path, tmp_path / "whole", done + 3) != ""


def each_its_own(current: float) -> Model:
    """A network with a threshold and, in the test, a current of each neuron, and a rule with options."""
    model = small.network("interval", cell={"V_th": np.linspace(0.5, 0.8, 20)}, seed=1)
    model.connect(model.populations[0], model.populations[1], name="more", learning_rule=Eprop(filter="none"))
    model.inject(model.populations[1], mean=np.linspace(0.0, current, 20), phases="test")
    return model


def test_arrays_of_a_network_stay_with_its_configuration(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """In a run from the configuration of another one, in its place, and where a restart gives others."""
    task = SineWaves(n_rec=20, n_in=10, n_step=60)
    options = {"figures": "none", "quiet": True, "test_samples": 1}
    whole = pareprop.run(each_its_own(0.1), task, tmp_path / "a", iterations=3, **options)
    for out, more in (("b", []), ("a", ["--overwrite"])):
        output = output_of(
            capsys, "run", tmp_path / "a" / "config.toml", "--out", tmp_path / out, *more, "--until", "1"
        )
        assert "stopped as requested" in output
        assert output_of(capsys, "resume", tmp_path / out).splitlines()[-1] == f"digest: {whole.digest}"
    written = (tmp_path / "b" / "network.h5").stat().st_ino
    pareprop.run(each_its_own(0.1), task, tmp_path / "b", iterations=3, restart=True, **options)
    assert (tmp_path / "b" / "network.h5").stat().st_ino == written  # arrays may be large
    pareprop.run(each_its_own(0.2), task, tmp_path / "b", iterations=4, restart=True, **options)
    model = pareprop.open_run(tmp_path / "b").simulation(task).model
    assert np.array_equal(model.perturbations[0].options.mean, np.linspace(0.0, 0.2, 20))
    output = output_of(capsys, "resume", tmp_path / "b", "--set", "iterations=5")
    longer = pareprop.run(each_its_own(0.2), task, tmp_path / "c", iterations=5, **options)
    assert output.splitlines()[-1] == f"digest: {longer.digest}"


class Tones:
    """Ten of twenty inputs fire; two readouts report which ten, as classes."""

    classes = ("low", "high")
    n_steps = learning_window = 40

    def sample(self, index: int, phase: str = "train") -> Sample:
        rng = np.random.default_rng([index, len(phase)])
        tone = int(rng.integers(2))
        raster = rng.random((self.n_steps, 20)) < 0.15 * ((np.arange(20) < 10) == tone)
        return Sample.from_raster(raster, np.eye(2)[np.full(self.n_steps, tone)], label=tone)


def classifier() -> Model:
    stds = dict.fromkeys(("into", "among", "onto", "back"), 0.1)
    rule = Adam(eta=1e-2, batch_size=8)
    return small.network(n_in=20, n_out=2, cell={"t_ref": 3.0}, out={"tau_m": 10.0}, seed=3, optimizer=rule, **stds)


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
    assert done.test.format_line("test") in (tmp_path / "run/run.log").read_text()
    assert done.open().attributes["output_names"].tolist() == ["low", "high"]
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
    print(done.digest, len(done.losses), good.errors, done.test.format_line("test"))
"""


@pytest.mark.slow
def test_early_stopping_with_replicas(tmp_path: Path) -> None:
    """The observer sees the whole batch in each group, so all stop after the same iteration."""
    path, here = tmp_path / "early.py", Path(__file__).parent
    path.write_text(EARLY.format(path=[str(here), str(here.parent)]))
    runs = [ranks.run(n, path, tmp_path / f"{n}-{r}", r) for n, r in ((1, 1), (2, 2), (4, 2))]
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
