"""Runs with an open end: what `train` does with whole samples is the oracle, as it knows nothing of pieces."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import ranks

from pareprop import (
    Adam,
    InputError,
    Model,
    Normal,
    Observer,
    Sample,
    Simulation,
    StateError,
    exchange,
)
from pareprop.storage import checkpoint_read
from pareprop.storage.checkpoint_observer import Checkpoints

N_STEPS, ODD = 40, (1, 7, 40, 25, 80, 3, 4)


class Noise:
    """Other spikes, currents and targets in each sample."""

    n_steps, learning_window = N_STEPS, 30

    def sample(self, index: int, phase: str = "train") -> Sample:
        rng = np.random.default_rng(index)
        more = {
            "currents": rng.normal(0.0, 0.2, (N_STEPS, 2)),
            "label": index % 2,
            "modulator": rng.normal(size=N_STEPS),
        }
        return Sample.from_raster(rng.random((N_STEPS, 6)) < 0.3, rng.normal(size=(N_STEPS, 2)), **more)


class Feedback:
    """Inputs spike where the readouts were above their target; keeps what it has told."""

    n_steps, learning_window = N_STEPS, 40

    def __init__(self, n: int = 0) -> None:
        self.signal, self.n = np.zeros(2), n
        self.told: list[np.ndarray] = []

    def piece(self, first: int, last: int) -> Sample:
        target = np.sin(np.arange(first, last)[:, None] / np.array([5.0, 9.0]))
        raster = np.repeat(target > self.signal, 3, axis=1) * (np.arange(first, last)[:, None] % 3 == 0)
        self.told.append(raster)
        currents = np.outer(target[:, 0], [0.1, 0.2])
        return Sample.from_raster(raster, target, currents=currents, modulator=target[:, 1])


class Replay:
    """The samples that a run with feedback has had."""

    n_steps, learning_window = N_STEPS, 40

    def __init__(self, raster: np.ndarray) -> None:
        self.raster = raster

    def sample(self, index: int, phase: str = "train") -> Sample:
        first = index * N_STEPS
        known = Feedback().piece(first, first + N_STEPS)
        more = {"currents": known.currents, "modulator": known.modulator}
        return Sample.from_raster(self.raster[first : first + N_STEPS], known.target, **more)


def network(variant: str, rule: str = "eprop", **options) -> Model:
    model = Model(variant, seed=3, **options)
    inputs, currents = model.inputs("in", 6), model.currents("drive", 2)
    neurons = model.neurons("rec", 7, "iaf", C_m=1.0, E_L=0.0, V_th=0.4, tau_m=20.0, c_reg=0.1, f_target=20.0)
    out = model.readouts("out", 2, C_m=1.0, E_L=-0.2, tau_m=20.0)
    for pre, post in ((inputs, neurons), (neurons, neurons), (neurons, out), (out, neurons)):
        more = {"learning_rule": rule} if pre in (inputs, neurons) and post is neurons else {}
        model.connect(pre, post, weight=Normal(std=0.4), **more)
    model.connect(currents, neurons, weight=Normal(std=0.5), delay=3, plastic=False)
    return model


KINDS = {
    "interval": lambda: network("interval"),
    "interval, Adam, batches": lambda: network("interval", optimizer=Adam(eta=1e-3, batch_size=2)),
    "spike": lambda: network("spike"),
    "spike, Adam": lambda: network("spike", optimizer=Adam(eta=1e-3)),
    "interval, rewards": lambda: network("interval", "r_stdp", optimizer=Adam(eta=1e-3, batch_size=2)),
    "spike, rewards": lambda: network("spike", "reward_eprop", optimizer=Adam(eta=1e-3)),
}


class Hooks(Observer):
    """Keeps the order of calls."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def before_sample(self, simulation, index, phase) -> None:
        self.calls.append(f"before {index}")

    def after_sample(self, simulation, outcome) -> None:
        kept = outcome.signal.sum(), outcome.loss, simulation.engine.log.ptr[-1]
        self.calls.append(f"after {outcome.index} {kept} {outcome.prediction}")

    def after_batch(self, simulation, first, n, phase) -> None:
        self.calls.append(f"batch {first} {n} {simulation.score.accuracy}")

    def after_iteration(self, simulation, iteration, loss) -> None:
        self.calls.append(f"iteration {iteration} {loss}")


@pytest.mark.parametrize("kind", KINDS)
def test_pieces_change_no_bit(kind: str) -> None:
    hooks = Hooks(), Hooks()
    whole, pieces = (Simulation(KINDS[kind](), Noise(), observers=[own]) for own in hooks)
    whole.train(160 // N_STEPS // whole.model.optimizer.batch_size)
    signals = [pieces.advance(n) for n in ODD]
    assert [len(signal) for signal in signals] == list(ODD) and sum(ODD) == 160
    assert pieces.losses == whole.losses and pieces.rates == whole.rates and len(whole.losses) >= 2
    assert hooks[0].calls == hooks[1].calls and pieces.hexdigest() == whole.hexdigest()
    pieces.train(whole.iteration + 1)  # both go on
    whole.advance(N_STEPS * whole.model.optimizer.batch_size)
    assert pieces.hexdigest() == whole.hexdigest() and whole.iteration == pieces.iteration


def close(kind: str) -> tuple[Simulation, Feedback]:
    """Run a closed loop, in which all steps depend on what went out a few steps before."""
    task = Feedback()
    simulation = Simulation(KINDS[kind](), task, exchange())
    for n in (3, 3, 4) * 16:
        task.signal = simulation.advance(n)[-1]
    return simulation, task


@pytest.mark.parametrize("kind", KINDS)
def test_a_closed_loop_learns_as_its_replay(kind: str) -> None:
    looped, task = close(kind)
    raster = np.concatenate(task.told)
    assert 50 < raster.sum() < 950
    replayed = Simulation(KINDS[kind](), Replay(raster))
    replayed.train(looped.iteration)
    assert looped.losses == replayed.losses and looped.hexdigest() == replayed.hexdigest()


@pytest.mark.parametrize("variant", ["interval", "spike"])
def test_a_checkpoint_takes_back_a_sample_in_pieces(variant: str, tmp_path: Path) -> None:
    simulation = Simulation(network(variant), Noise(), observers=[Checkpoints(tmp_path, {}, 1)])
    simulation.advance(2 * N_STEPS)
    losses, digest = list(simulation.losses), simulation.hexdigest()
    simulation.advance(20)
    with pytest.raises(StateError, match=r"iteration 2 is not over: advance\(20\) ends it"):
        simulation.hexdigest()  # weights have what is pending at the end of a sample alone
    checkpoint_read.load(simulation, tmp_path, {})
    assert simulation.losses == losses and simulation.hexdigest() == digest
    whole = Simulation(network(variant), Noise())
    whole.train(3)
    simulation.advance(N_STEPS)
    assert simulation.hexdigest() == whole.hexdigest()


@pytest.mark.parametrize("variant", ["interval", "spike"])
def test_some_pieces_have_windows(variant: str) -> None:
    class Windows(Feedback):
        def piece(self, first: int, last: int) -> Sample:
            sample = super().piece(first, last)
            return sample if first % 20 else replace(sample, window=np.ones(last - first, bool))

    some, none = Simulation(network(variant), Windows()), Simulation(network(variant), Feedback())
    for run in (some, none):
        for _ in range(8):
            run.advance(10)
    assert some.losses == none.losses and len(some.losses) == 2


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.startswith("spike")])
def test_steps_may_be_whole_samples(kind: str) -> None:
    """Where weights do not wait for the end of a sample, it makes no difference where samples end, but for windows."""

    class Windows(Feedback):
        def piece(self, first: int, last: int) -> Sample:
            return replace(super().piece(first, last), window=np.arange(first, last) % 3 > 0)

    whole, pieces = Simulation(KINDS[kind](), Windows()), Simulation(KINDS[kind](), Windows())
    signals = [whole.advance(n, whole=True) for n in (1, 7, 40, 25, 47)]
    others = pieces.advance(120)
    assert np.array_equal(np.concatenate(signals), others) and np.any(others) and whole.iteration == 6
    shown = [run.engine.show_weights()[id(run.network.incoming)] for run in (whole, pieces)]
    assert np.array_equal(*shown) and not np.array_equal(
        shown[0], Simulation(KINDS[kind](), Windows()).network.incoming.weight
    )


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.startswith("interval")])
def test_targets_may_come_late(kind: str) -> None:
    class Late(Feedback):
        def __init__(self) -> None:
            super().__init__()
            self.asked: list[int] = []

        def piece(self, first: int, last: int) -> Sample:
            return replace(super().piece(first, last), target=None)

        def late_target(self) -> np.ndarray:
            self.asked.append(sum(map(len, self.told)))
            first = (len(self.asked) - 1) * N_STEPS
            return Feedback().piece(first, first + N_STEPS).target

    late, known = Simulation(KINDS[kind](), Late()), Simulation(KINDS[kind](), Feedback())
    late.advance(2 * N_STEPS)
    assert late.place == (1, N_STEPS) and late.task.asked == [N_STEPS]
    late.advance(2 * N_STEPS + 1)
    known.advance(4 * N_STEPS)
    assert late.place == (4, 1) and late.losses == known.losses and len(known.losses) >= 2
    with pytest.raises(StateError, match=r"iteration [24] is not over: its last target comes when the next step"):
        late.state()
    late.task.late_target = lambda: np.zeros((3, 2))
    with pytest.raises(InputError, match=r"target has shape \(3, 2\), must be \(40, 2\)"):
        late.advance(N_STEPS)
    with pytest.raises(InputError, match=r"^late_target does not go with the spike variant: each chunk learns from"):
        Simulation(network("spike"), Late())


def test_factors_of_errors() -> None:
    """Of 0 and 1 they are a window; others matter."""

    class Scaled(Noise):
        def __init__(self, low: float, **others) -> None:
            self.low, self.others = low, others

        def sample(self, index: int, phase: str = "train") -> Sample:
            off = np.random.default_rng(index).random(N_STEPS) < 0.3
            factors = np.where(off, self.low, 1.0)[:, None] + np.zeros(2)
            known = {"window": np.ones(N_STEPS, bool), "factors": factors, "masked": ~off}
            return replace(super().sample(index, phase), **{key: known[name] for key, name in self.others.items()})

    tasks = {
        "window": Scaled(0.0, window="masked"),
        "zeros": Scaled(0.0, window="window", factors="factors"),
        "halves": Scaled(0.5, window="window", factors="factors"),
    }
    shown = {}
    for name, task in tasks.items():
        whole, pieces = (Simulation(network("spike"), task) for _ in range(2))
        whole.train(2)
        for n in (3, 37, 40):
            pieces.advance(n)
        assert whole.hexdigest() == pieces.hexdigest()
        shown[name] = whole.engine.show_weights()[id(whole.network.incoming)]
    assert np.array_equal(shown["window"], shown["zeros"]) and not np.array_equal(shown["zeros"], shown["halves"])
    with pytest.raises(InputError, match="sample: field 'factors' does not go with the interval variant: "):
        Simulation(network("interval"), tasks["halves"]).train(1)


@pytest.mark.parametrize("variant", ["interval", "spike"])
def test_nothing_is_learned_without_learn(variant: str) -> None:
    run = Simulation(network(variant), Feedback())
    before = [table.weight.copy() for table in run.network.list_tables().values()]
    run.advance(2 * N_STEPS + 3, learn=False)
    assert all(map(np.array_equal, before, (table.weight for table in run.network.list_tables().values())))
    assert run.iteration == 2


def test_what_is_refused() -> None:
    simulation = Simulation(network("interval", optimizer=Adam(batch_size=2)), Noise())
    with pytest.raises(InputError, match=r"advance: steps = 0 must be at least 1"):
        simulation.advance(0)
    simulation.advance(57)
    for within in (lambda: simulation.train(3), lambda: simulation.test(1), simulation.state):
        with pytest.raises(StateError, match=r"iteration 0 is not over: advance\(23\) ends it"):
            within()
    simulation.advance(23)
    simulation.train(2)
    opened = Simulation(network("spike"), Feedback())
    with pytest.raises(InputError, match="train: task Feedback has no samples but pieces of a run"):
        opened.train(1)
    with pytest.raises(InputError, match=r"piece\(\) returned a tuple"):
        opened.task.piece = lambda first, last: ()
        opened.advance(1)
    for run in (Simulation(network("interval"), Feedback()), Simulation(network("spike"), Noise())):
        with pytest.raises(InputError, match="advance: whole=True needs the spike variant, and a task with pieces"):
            run.advance(3, whole=True)
    with pytest.raises(InputError, match="advance: whole=True needs samples that go on: batch_size = 1, or reset"):
        Simulation(network("spike", optimizer=Adam(batch_size=2)), Feedback()).advance(3, whole=True)


def test_a_piece_of_the_wrong_length_is_refused() -> None:
    class Short(Feedback):
        def piece(self, first: int, last: int) -> Sample:
            return super().piece(first, last - 1)

    with pytest.raises(InputError, match=r"target has shape \(4, 2\), must be \(5, 2\)"):
        Simulation(network("interval"), Short()).advance(5)


def test_episodes_and_perturbations_are_refused() -> None:
    model = network("interval")
    model.silence(model.of_role("recurrent")[0])
    with pytest.raises(
        InputError, match=r"^advance\(\) does not go with perturbations \(.*\): they act in whole samples"
    ):
        Simulation(model, Noise()).advance(5)


@pytest.mark.mpi
@pytest.mark.parametrize("kind", ["interval, Adam, batches", "spike"])
def test_one_digest_on_two_ranks(kind: str, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    here = str(Path(__file__).parent), str(Path(__file__).parents[1])
    script.write_text(
        f"import sys; sys.path[:0] = {here!r}\nfrom test_advance import close\n"
        f"digest = close({kind!r})[0].hexdigest()\nprint(digest)\n"
    )
    done = ranks.run(2, script)
    assert done.returncode == 0 and close(kind)[0].hexdigest() in done.stdout, done.stdout + done.stderr
