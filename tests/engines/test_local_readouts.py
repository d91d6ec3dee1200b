"""Readouts of single neurons: as one-to-one readouts that travel, on any number of ranks, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
import ranks
from small import Once

from pareprop import Model, Normal, Sample, Simulation
from pareprop.engines.interval import IntervalSettings
from pareprop.engines.local_readouts import correlate_signals
from pareprop.errors import InputError
from pareprop.network.optimizers import Adam
from pareprop.parallel.exchange import Alone, Exchange
from pareprop.parallel.spike_log import SpikeLog

N, N_STEPS = 25, 150


class Own(Once):
    """The same inputs and targets in each sample."""

    def __init__(self, local: bool) -> None:
        random = np.random.default_rng(1)
        raster = random.random((N_STEPS, 10)) < 0.1
        self.target = 10 + 5 * np.sin(np.arange(N_STEPS)[:, None] / 20 + np.arange(N))
        if local:
            inputs, none = SpikeLog.from_raster(raster), np.zeros((N_STEPS, 0))
            only = Sample(inputs, none, local_targets=lambda first, last: self.target[:, first:last])
        else:
            only = Sample.from_raster(raster, self.target)
        super().__init__(only, N_STEPS)
        self.learning_window = 120


def network(local: bool, **readouts: object) -> Model:
    model = Model(seed=2, optimizer=Adam(eta=0.01))
    inputs = model.inputs("in", 10)
    neurons = model.neurons("rec", N, "iaf", C_m=1.0, E_L=0.0, V_th=1.0, tau_m=20.0, t_ref=3.0)
    model.connect(inputs, neurons, weight=Normal(mean=0.2, std=0.1))
    model.connect(neurons, neurons, "fixed_indegree", indegree=6, weight=Normal(std=0.2))
    if local:
        model.local_readouts("out", neurons, tau_m=100.0, weight=1000.0, feedback=1e-3, **readouts)
    else:
        out = model.readouts("out", N, C_m=1.0, E_L=0.0, tau_m=100.0, regular_spike_arrival=False)
        ids = np.arange(N)
        model.connect(neurons, out, "explicit", source=ids, target=ids, weight=1000.0, plastic=False)
        model.connect(out, neurons, "explicit", source=ids, target=ids, weight=1e-3)
    return model


def simulate(local: bool, exchange: Exchange, **readouts: object) -> Simulation:
    simulation = Simulation(network(local, **readouts), Own(local), exchange, [], IntervalSettings(120))
    simulation.train(8)
    return simulation


def train(folder: str, words: list[str], exchange: Exchange) -> None:
    course = {"loss": "correlation", "trials": 3, "tau_rise": 12.0}
    simulation = simulate(True, exchange, **course if words else {})
    text = simulation.hexdigest()
    if exchange.rank == 0:
        print(text, *map(float.hex, simulation.losses))


def test_as_readouts_one_to_one() -> None:
    local, apart = simulate(True, Alone()), simulate(False, Alone())
    np.testing.assert_allclose(np.array(local.losses) * N, apart.losses, rtol=1e-10)
    assert apart.losses[-1] < 0.9 * apart.losses[0]
    np.testing.assert_allclose(local.network.incoming.weight, apart.network.incoming.weight, rtol=0, atol=1e-10)
    assert local.digest.state == apart.digest.state  # all spikes


@pytest.mark.mpi
@pytest.mark.parametrize("words", [(), ("course",)])
def test_same_bits_on_any_number_of_ranks(words: tuple, tmp_path: Path) -> None:
    assert len({ranks.train(n, __file__, tmp_path, *words) for n in (1, 3)}) == 1


def test_correlation_of_signal_and_target() -> None:
    simulation = Simulation(network(True), Own(True), Alone(), [], IntervalSettings(120))
    local = simulation.engine.local
    local.measured_from, local.kept = 30, np.arange(N)
    simulation.run_sample(0, "train", learn=False)
    expected = [np.corrcoef(local.shown[30:, k], simulation.task.target[30:, k])[0, 1] for k in range(N)]
    silent = np.ptp(local.shown[30:], axis=0) == 0
    assert silent.sum() < N
    np.testing.assert_allclose(local.correlation[~silent], np.array(expected)[~silent], atol=1e-12)
    assert np.all(local.correlation[silent] == 0)


def test_a_correlation_has_the_same_bits_in_any_company() -> None:
    """However many neurons a rank has beside."""
    random = np.random.default_rng(1)
    signal, target = random.random((2, 1000, 3))
    for first, last in ((0, 1), (1, 3), (2, 3)):
        alone = correlate_signals(signal[:, first:last], target[:, first:last], 100)
        np.testing.assert_array_equal(alone, correlate_signals(signal, target, 100)[first:last])


def test_what_is_refused() -> None:
    model = network(True)
    with pytest.raises(InputError, match="local readouts 'more': must be the only ones"):
        model.local_readouts("more", model.populations[1])
    with pytest.raises(InputError, match="of = 'in' is not a population of neurons"):
        other = Model()
        other.local_readouts("out", other.inputs("in", 2))
    task = Own(False)
    task.only = Sample(task.only.inputs, np.zeros((N_STEPS, 0)))
    simulation = Simulation(model, task, Alone(), [], IntervalSettings(120))
    with pytest.raises(InputError, match="local readouts 'out' need local_targets"):
        simulation.train(1)
    task.only = Sample(task.only.inputs, np.zeros((N_STEPS, 0)), local_targets=lambda first, last: np.zeros((3, 4)))
    simulation = Simulation(network(True), task, Alone(), [], IntervalSettings(120))
    with pytest.raises(InputError, match=r"local_targets of neurons \[0, 25\) have shape \(3, 4\), not \(150, 25\)"):
        simulation.train(1)


@pytest.mark.parametrize("kind", ["mean_squared_error", "correlation"])
def test_losses_of_courses(kind: str) -> None:
    """Learning signals are the derivatives of the loss by spikes, here those of a slow twin: spikes are filtered twice,
    averaged over three trials and compared.
    """
    rise, trials = 12.0, 3
    simulation = Simulation(
        network(True, tau_rise=rise, loss=kind, trials=trials), Own(True), Alone(), [], IntervalSettings(120)
    )
    local = simulation.engine.local
    local.measured_from, local.kept = 30, np.arange(N)
    loss, _ = simulation.run_sample(0, "train", learn=False)
    steps, ids = simulation.engine.log.list_spikes(N_STEPS)
    spikes = np.zeros((N_STEPS, N))
    spikes[steps, ids] = 1.0
    target = simulation.task.target

    def course(spikes: np.ndarray) -> np.ndarray:
        keep, slow = np.exp(-1.0 / 100.0), np.exp(-1.0 / rise)
        rate, found = np.zeros(N), np.zeros((N_STEPS + 1, N))
        for t in range(N_STEPS):
            rate = keep * rate + 1000.0 * (1 - keep) * spikes[t]
            found[t] = slow * found[t - 1] + (1 - slow) * rate
        return found[:-1]

    def losses(spikes: np.ndarray) -> np.ndarray:
        mean, wanted = (x[30:].reshape(trials, 40, N).mean(axis=0) for x in (course(spikes), target))
        if kind == "mean_squared_error":
            return 0.5 * np.sum(np.square(mean - wanted), axis=0)
        some = np.ptp(mean, axis=0) > 0
        return np.array([1 - np.corrcoef(mean[:, k], wanted[:, k])[0, 1] if some[k] else 1.0 for k in range(N)])

    np.testing.assert_allclose(local.shown, course(spikes), atol=1e-9)
    assert loss == pytest.approx(losses(spikes).mean(), rel=1e-9)
    fired = spikes.any(axis=0)
    assert fired.sum() > 5
    for t in (3, 31, 77, 149):  # of all neurons at once: none sees the others; the jump of a rate is left out
        step = np.zeros_like(spikes)
        step[t] = 1e-5
        slope = (losses(spikes + step) - losses(spikes - step)) / 2e-5
        wanted = 1e-3 * slope / (1000.0 * (1 - np.exp(-1.0 / 100.0)))
        np.testing.assert_allclose(local.filtered[t, fired], wanted[fired], rtol=1e-4, atol=1e-9)


def test_trials_that_do_not_fit_are_refused() -> None:
    simulation = Simulation(network(True, trials=7), Own(True), Alone(), [], IntervalSettings(120))
    with pytest.raises(InputError, match="trials = 7 must divide 120, the steps with a learning signal"):
        simulation.train(1)
