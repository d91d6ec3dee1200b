"""What a script hands over is checked with a hint; learning rates follow schedules; objects have short reprs."""

import warnings

import numpy as np
import pytest

import pareprop
from pareprop import InputError, LearningRate, Model, Normal, Observer, Sample, Simulation


class Noise:
    """A frozen sample."""

    n_steps = learning_window = 40

    def sample(self, index: int, phase: str = "train") -> Sample:
        rng = np.random.default_rng(1)
        return Sample.from_raster(rng.random((40, 6)) < 0.2, np.ones((40, 1)))


def network() -> Model:
    model = Model(seed=3)
    inputs, out = model.inputs("in", 6), model.readouts("out", 1, C_m=1.0, tau_m=20.0)
    neurons = model.neurons("rec", 5, "iaf", C_m=1.0, E_L=0.0, V_th=0.3, tau_m=20.0)
    model.connect(inputs, neurons, weight=Normal(std=0.5))
    model.connect(neurons, out, weight=Normal(std=0.1))
    model.connect(out, neurons, weight=Normal(std=0.1))
    return model


@pytest.mark.parametrize("name", ["n_steps", "learning_window", "sample"])
def test_a_task_that_lacks_something(name: str) -> None:
    members = {key: value for key, value in vars(Noise).items() if key != name}
    with pytest.raises(InputError, match=f"task Lacking: {name} is missing: "):
        Simulation(network(), type("Lacking", (), members)())


def test_a_task_that_returns_a_tuple() -> None:
    class Pair(Noise):
        def sample(self, index: int, phase: str = "train") -> tuple:
            return np.zeros((40, 6)), np.ones((40, 1))

    with pytest.raises(
        InputError, match=r"sample\(\) returned a tuple, must return a Sample, such as Sample\.from_raster"
    ):
        Simulation(network(), Pair()).train(1)


def test_an_observer_with_a_misspelt_hook() -> None:
    class Patience(Observer):
        def after_iterations(self, simulation, iteration, loss) -> None:
            """Never called."""

    with pytest.raises(InputError, match=r"Patience: after_iterations is not a hook; did you mean after_iteration\?"):
        Simulation(network(), Noise(), observers=[Patience()])
    with pytest.raises(InputError, match=r"Patience is a class; pass an instance, Patience\(\)"):
        Simulation(network(), Noise(), observers=[Patience])
    with pytest.raises(InputError, match=r"observer list must be derived from pareprop\.Observer"):
        Simulation(network(), Noise(), observers=[[]])


def test_own_methods_of_an_observer_are_left_alone() -> None:
    class Own(Observer):
        def report(self) -> None: ...

        def failure(self) -> None: ...

    Simulation(network(), Noise(), observers=[Own()])


def test_rates_of_three_projections_follow_their_schedules() -> None:
    """As weights do that are trained one iteration at a time, with rates set by hand."""
    schedules = {"in->rec": lambda k: 1e-2 / (k + 1), "rec->out": lambda k: 1e-2 * (k % 2)}
    scheduled = Simulation(network(), Noise(), observers=[LearningRate(f, name) for name, f in schedules.items()])
    scheduled.train(2)
    scheduled.train(4)  # goes on
    by_hand = Simulation(network(), Noise())
    for k in range(4):
        for name, schedule in schedules.items():
            by_hand.set_eta(schedule(k), name)
        by_hand.train(k + 1)
    assert scheduled.hexdigest() == by_hand.hexdigest()
    constant = Simulation(network(), Noise())
    constant.train(4)
    assert constant.hexdigest() != scheduled.hexdigest()


def test_a_rate_of_no_projection_is_refused() -> None:
    with pytest.raises(InputError, match="no plastic projection 'rec->outt', did you mean"):
        Simulation(network(), Noise(), observers=[LearningRate(lambda k: 1e-3, "rec->outt")]).train(1)


def test_training_as_often_as_before_is_told() -> None:
    simulation = Simulation(network(), Noise())
    simulation.train(3)
    with pytest.warns(UserWarning, match=r"train\(3\): 3 iterations are done.*a total.*train\(6\)"):
        simulation.train(3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(simulation.train(6)) == 6


def test_objects_describe_themselves_in_a_line() -> None:
    model = network()
    assert repr(model) == "Model(interval, seed 3; in 6, out 1, rec 5; in->rec, rec->out, out->rec)"
    simulation = Simulation(model, Noise())
    assert repr(simulation) == "Simulation(Noise, 5 neurons, 0 iterations, rank 0 of 1)"
    losses = simulation.train(2)
    assert f"2 iterations, loss {losses[-1]:.4g}" in repr(simulation) and pareprop.LearningRate is LearningRate
