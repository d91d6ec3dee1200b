"""Training that was interrupted goes on between iterations, or not at all."""

import signal
import threading
from collections.abc import Callable
from pathlib import Path

import networks
import pytest
import ranks
import spike_networks

from pareprop.engines.sample import Sample
from pareprop.errors import StateError
from pareprop.simulation.loop import Simulation


class Told:
    """The task of a simulation over and over, with something that happens before some samples."""

    def __init__(self, simulation: Simulation, moments: dict[int, Callable[[], None]], n_samples: int = 6) -> None:
        self.task, self.moments, self.n_samples = simulation.task, moments, n_samples
        self.n_steps, self.learning_window = self.task.n_steps, self.task.learning_window

    def sample(self, index: int, phase: str = "train") -> Sample:
        self.moments.pop(index, lambda: None)()
        return self.task.sample(index % self.n_samples, phase)


def build(variant: str, seed: int, exchange=None) -> tuple[Simulation, int]:
    """A simulation of the variant, and how many iterations its samples allow."""
    if variant == "spike":
        return spike_networks.simulation(spike_networks.random_case(seed, 120), 20, exchange=exchange), 6
    case = networks.random_case(seed)
    case["optimizer"] = case["optimizer"] | {"batch_size": 2, "type": ["adam", "gradient_descent"][seed % 2]}
    run = networks.simulation(case, exchange, keep_gradients=bool(seed % 3))
    run.task = Told(run, {}, 3)
    return run, 6


def interrupt() -> None:
    signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("variant", ["interval", "spike"])
@pytest.mark.parametrize("seed", range(3))
def test_an_interrupt_waits_for_the_end_of_the_iteration(variant: str, seed: int) -> None:
    whole, n = build(variant, seed)
    whole.train(n)
    run, _ = build(variant, seed)
    run.task = Told(run, {1: interrupt, 5: interrupt})
    done = []
    while run.iteration < n:
        try:
            run.train(n)
        except KeyboardInterrupt:
            done.append(run.iteration)
    assert done == ([2, 6] if variant == "spike" else [1, 3])
    assert run.losses == whole.losses and run.hexdigest() == whole.hexdigest()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("variant", ["interval", "spike"])
def test_interrupts_at_any_time(variant: str) -> None:
    """From a timer, wherever the computation is."""
    whole, n = build(variant, 4)
    whole.train(n)
    for k in range(10):
        run, _ = build(variant, 4)
        timer = threading.Timer(0.0004 * k, signal.pthread_kill, (threading.main_thread().ident, signal.SIGINT))
        for _ in range(3):
            try:
                if not timer.ident:
                    timer.start()
                run.train(n)
                timer.join()
            except KeyboardInterrupt:
                pass
        assert run.hexdigest() == whole.hexdigest()


@pytest.mark.parametrize("variant", ["interval", "spike"])
@pytest.mark.parametrize("how", ["twice", "error"])
def test_what_is_half_done_is_never_gone_on_with(variant: str, how: str) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    run, n = build(variant, 3)
    run.task = Told(run, {3: (lambda: (interrupt(), interrupt())) if how == "twice" else fail})
    with pytest.raises(KeyboardInterrupt if how == "twice" else ZeroDivisionError):
        run.train(n)
    for action in (lambda: run.train(n), lambda: run.test(1), lambda: run.run_sample(0, "train", True)):
        with pytest.raises(StateError, match=r"iteration [13] was left half done; build the simulation anew"):
            action()


def test_an_interrupted_test_does_not_disturb_training() -> None:
    for variant in ("interval", "spike"):
        whole, n = build(variant, 2)
        whole.train(3)
        whole.test(2)
        whole.train(n)
        run, _ = build(variant, 2)
        run.train(3)
        run.task = Told(run, {1: interrupt})
        with pytest.raises(KeyboardInterrupt):
            run.test(2)
        run.train(n)
        assert run.hexdigest() == whole.hexdigest()


def train(folder: str, words: list[str], exchange: object) -> None:
    """Rank 1 is interrupted, once in each variant."""
    for variant in ("interval", "spike"):
        whole, n = build(variant, 1, exchange)
        whole.train(n)
        run, _ = build(variant, 1, exchange)
        run.task = Told(run, {3: interrupt} if exchange.rank == 1 else {})
        with pytest.raises(KeyboardInterrupt):
            run.train(n)
        done = run.iteration
        run.train(n)
        digests = run.hexdigest(), whole.hexdigest()
        print(variant, done, exchange.rank or digests[0] == digests[1], flush=True)


@pytest.mark.mpi
def test_an_interrupt_of_one_rank_stops_all_after_the_same_iteration(tmp_path: Path) -> None:
    found = ranks.train(2, __file__, tmp_path, silent=True).splitlines()
    assert sorted(found) == ["interval 2 1", "interval 2 True", "spike 4 1", "spike 4 True"]
