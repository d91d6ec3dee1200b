"""What a script hands over is checked with a hint; learning rates follow schedules; objects have short reprs."""

import math
import warnings
from dataclasses import replace

import numpy as np
import pytest
import small
from small import Noise

import pareprop
from pareprop import InputError, LearningRate, Model, Observer, Simulation
from pareprop.errors import NotFiniteError, ParepropWarning

NOISE = Noise(np.ones((40, 1)), 6, frozen=1)


def network() -> Model:
    return small.network(n_in=6, n=5, cell={"V_th": 0.3}, seed=3)


@pytest.mark.parametrize("name", ["n_steps", "learning_window", "sample"])
def test_a_task_that_lacks_something(name: str) -> None:
    members = vars(NOISE) | {"sample": NOISE.sample}
    del members[name]
    with pytest.raises(InputError, match=f"task Lacking: {name} is missing: "):
        Simulation(network(), type("Lacking", (), members)())


def test_a_task_that_returns_a_tuple() -> None:
    class Pair(Noise):
        def sample(self, index: int, phase: str = "train") -> tuple:
            return np.zeros((40, 6)), self.target

    with pytest.raises(
        InputError, match=r"sample\(\) returned a tuple, must return a Sample, such as Sample\.from_raster"
    ):
        Simulation(network(), Pair(NOISE.target)).train(1)


def test_an_observer_with_a_misspelt_hook() -> None:
    class Patience(Observer):
        def after_iterations(self, simulation, iteration, loss) -> None:
            """Never called."""

    with pytest.raises(InputError, match=r"Patience: after_iterations is not a hook; did you mean after_iteration\?"):
        Simulation(network(), NOISE, observers=[Patience()])

    class Inherited(Patience):
        pass

    with pytest.raises(InputError, match=r"Inherited: after_iterations is not a hook"):
        Simulation(network(), NOISE, observers=[Inherited()])

    class Late(Observer):
        def after_epoch(self, simulation) -> None:
            """Never called."""

        def on_end(self) -> None:
            """Never called."""

        def history(self) -> list:
            """No hook: its owner reads it."""

    with pytest.warns(ParepropWarning) as told:
        simulation = Simulation(network(), NOISE, observers=[Late(), Late()])
    every = "hooks: start, before_sample, after_sample, after_batch, after_iteration, "
    every += "list_requests, handle_requests, finish, failed"
    expected = [
        "observer Late: after_epoch is not a hook, nothing calls it; did you mean after_batch?",
        f"observer Late: on_end is not a hook, nothing calls it; {every}",
    ]
    assert simulation.notices.lines == [str(item.message) for item in told] == expected
    with pytest.raises(InputError, match=r"Patience is a class; pass an instance, Patience\(\)"):
        Simulation(network(), NOISE, observers=[Patience])
    with pytest.raises(InputError, match=r"observer list must be derived from pareprop\.Observer"):
        Simulation(network(), NOISE, observers=[[]])


def test_rates_of_three_projections_follow_their_schedules() -> None:
    """As weights do that are trained one iteration at a time, with rates set by hand."""
    schedules = {"in->rec": lambda k: 1e-2 / (k + 1), "rec->out": lambda k: 1e-2 * (k % 2)}
    scheduled = Simulation(network(), NOISE, observers=[LearningRate(f, name) for name, f in schedules.items()])
    scheduled.train(2)
    scheduled.train(4)  # goes on
    by_hand = Simulation(network(), NOISE)
    for k in range(4):
        for name, schedule in schedules.items():
            by_hand.set_eta(schedule(k), name)
        by_hand.train(k + 1)
    assert scheduled.hexdigest() == by_hand.hexdigest()
    constant = Simulation(network(), NOISE)
    constant.train(4)
    assert constant.hexdigest() != scheduled.hexdigest()


def test_a_rate_of_no_projection_is_refused() -> None:
    with pytest.raises(InputError, match="no plastic projection 'rec->outt', did you mean"):
        Simulation(network(), NOISE, observers=[LearningRate(lambda k: 1e-3, "rec->outt")]).train(1)


def test_training_as_often_as_before_is_told() -> None:
    simulation = Simulation(network(), NOISE)
    simulation.train(3)
    with pytest.warns(UserWarning, match=r"train\(3\): 3 iterations are done.*a total.*train\(6\)"):
        simulation.train(3)
    with pytest.warns(UserWarning, match=r"train\(1\): 3 iterations are done.*a total.*train\(4\)"):
        simulation.train(1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(simulation.train(6)) == 6
        assert len(simulation.train(0)) == 6  # nothing is asked for


def test_training_after_an_observer_stopped_it_is_told() -> None:
    class Stop(Observer):
        def after_iteration(self, simulation, iteration, loss) -> None:
            simulation.stop_requested = iteration == 1

    simulation = Simulation(network(), NOISE, observers=[Stop()])
    assert len(simulation.train(5)) == 2
    with pytest.warns(UserWarning, match=r"train\(5\): an observer stopped.*after 2.*stop_requested = False"):
        simulation.train(5)
    simulation.stop_requested = False
    assert len(simulation.train(5)) == 5


@pytest.mark.parametrize("batch_size", [1, 2])
@pytest.mark.parametrize("variant", ["interval", "spike"])
def test_a_loss_that_is_no_number_is_explained_once(variant: str, batch_size: int) -> None:
    """Advice on the learning rate where weights have changed; before that it cannot fit."""

    class Broken(pareprop.Loss):
        def value(self, output, target, error) -> float:
            return float(np.sum(error**2))

        def evaluate(self, signal, target, window, rollout=None):
            found = super().evaluate(signal, target, window, rollout)
            return found if self.context.index < first else replace(found, loss=math.nan)

    for iteration in (0, 1):
        first = iteration * batch_size
        model = small.network(n_in=6, n=5, variant=variant, loss=Broken())
        model.optimizer = model.optimizer.model_copy(update={"batch_size": batch_size})
        with pytest.raises(NotFiniteError) as raised:
            Simulation(model, NOISE, quiet=True).train(2)
        learned = iteration or (variant, batch_size) == ("spike", 1)
        hint = "a smaller learning rate or tighter weight bounds may help" if learned else "no weight has changed yet: "
        start = f"the loss of sample {first} is nan; {hint}"
        assert str(raised.value).startswith(start) and str(raised.value).count("sample") == 1


def test_objects_describe_themselves_in_a_line() -> None:
    model = network()
    assert repr(model) == "Model(interval, seed 3; in 6, rec 5, out 1; in->rec, rec->out, out->rec)"
    simulation = Simulation(model, NOISE)
    assert repr(simulation) == "Simulation(Noise, 5 neurons, 0 iterations, rank 0 of 1)"
    losses = simulation.train(2)
    assert f"2 iterations, loss {losses[-1]:.4g}" in repr(simulation) and pareprop.LearningRate is LearningRate
