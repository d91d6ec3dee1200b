"""Schedules of eta and c_H: their values, what they change, on ranks and resumed, in the curves; what is refused."""

import csv
from pathlib import Path

import numpy as np
import pytest
from commands import as_options, command, digests, on_ranks

from pareprop import Simulation
from pareprop.errors import InputError
from pareprop.simulation import Annealing
from pareprop.tasks import TASKS
from pareprop.tasks.base import make_task

pytestmark = pytest.mark.usefixtures("no_figures")
SMALL = ("n_rec=13", "iterations=4", "batch_size=4", "test_samples=2", "decisions=4", "cells=4")
FALLING = (*SMALL, "schedule=cosine", "eta_end=1e-4", "c_H=0.1", "c_H_end=0")
ONLINE = (*SMALL, "variant=spike", "batch_size=1", "schedule=linear", "eta_end=1e-3", "c_H_end=0", "decay_iterations=3")


def run_of(out: Path, *settings: str) -> list[object]:
    return ["run", "reach", "--out", out, *as_options(*settings)]


@pytest.mark.parametrize(
    ("kind", "middle"), [("linear", 0.55), ("exponential", 0.1**0.5), ("cosine", 0.55), ("constant", 1.0)]
)
def test_values(kind: str, middle: float) -> None:
    annealing = Annealing(kind, 10, {"eta": (1.0, 0.1)})
    found = [annealing.compute_rates(k).get("eta", 1.0) for k in range(12)]
    last = 1.0 if kind == "constant" else 0.1
    assert found[0] == 1.0 and found[10:] == [pytest.approx(last, rel=1e-14)] * 2
    assert found[5] == pytest.approx(middle, rel=1e-14)
    assert np.all(np.diff(found) <= 0)
    if kind == "cosine":
        assert found[1] == pytest.approx(0.1 + 0.45 * (1 + np.cos(np.pi / 10)), rel=1e-14)


def test_a_schedule_is_what_is_set_by_hand() -> None:
    """With rates of the readouts of their own, which keep their ratio to the others."""
    task = make_task(TASKS["reach"], (*FALLING, "eta_out=2e-2"))
    annealing = Annealing(task.schedule, task.decay_iterations, task.list_scheduled())
    simulation = Simulation(task.build_model(), task, observers=[annealing], settings=task.make_settings())
    simulation.train(2)
    simulation.train(4)
    by_hand = Simulation(task.build_model(), task, settings=task.make_settings())
    for k in range(4):
        share = 0.5 + 0.5 * np.cos(np.pi * k / 4)
        eta = 1e-4 + (5e-3 - 1e-4) * share
        for item in by_hand.engine.plastic:
            by_hand.set_eta(4 * eta if item.name == "rec->out" else eta, item.name)
        by_hand.set_c_H(0.1 * share)
        by_hand.train(k + 1)
    for name, table in simulation.network.list_tables().items():
        np.testing.assert_allclose(table.weight, by_hand.network.list_tables()[name].weight, rtol=0, atol=1e-12)
    np.testing.assert_allclose(simulation.losses, by_hand.losses, rtol=1e-12)
    assert simulation.engine.loss.c_H == 0.0
    unchanged = Simulation(task.build_model(), task, settings=task.make_settings())
    unchanged.train(4)
    assert abs(unchanged.losses[3] - simulation.losses[3]) > 1e-3


@pytest.mark.slow
@pytest.mark.mpi
def test_on_ranks_replicas_and_resumed(tmp_path: Path) -> None:
    sets = {"interval": FALLING, "spike": ONLINE}
    several = [run_of(tmp_path / name, *settings) for name, settings in sets.items()]
    codes, output, errors = on_ranks(1, [*several, run_of(tmp_path / "constant", *SMALL, "c_H=0.1")])
    assert (codes, errors) == ([0, 0, 0], [])
    *alone, constant = digests(output)
    assert constant != alone[0]
    parts = [[*run_of(tmp_path / f"{name}-2", *sets[name]), "--until", 2] for name in sets]
    codes, output, _ = on_ranks(2, [*parts, [*run_of(tmp_path / "replicas", *FALLING), "--replicas", 2]])
    assert (codes, digests(output)[2:]) == ([0, 0, 0], alone[:1])
    codes, output, _ = on_ranks(3, [["resume", tmp_path / f"{name}-2"] for name in sets])
    assert (codes, digests(output)) == ([0, 0], alone)


def test_curves_and_a_longer_training(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """The schedule of a run that is resumed to train longer stays as it was, and ends with its last value."""
    assert command(capsys, *run_of(tmp_path / "run", *FALLING))[0] == 0
    assert command(capsys, "resume", tmp_path / "run", "--set", "iterations=6")[0] == 0
    with (tmp_path / "run" / "loss.csv").open() as file:
        rows = list(csv.DictReader(file))
    share = np.array([0.5 + 0.5 * np.cos(np.pi * min(k, 4) / 4) for k in range(6)])
    np.testing.assert_allclose([float(row["c_H"]) for row in rows], 0.1 * share, atol=1e-9)
    np.testing.assert_allclose([float(row["eta"]) for row in rows], 1e-4 + 4.9e-3 * share, rtol=1e-8)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("schedule=exponential",), "needs eta and eta_end above 0"),
        (("schedule=exponential", "eta_end=1e-4", "c_H_end=0"), "needs c_H and c_H_end above 0"),
        (("schedule=linear", "eta=0"), "needs eta above 0"),
        (("schedule=step",), "schedule"),
    ],
)
def test_schedules_that_are_refused(settings: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_task(TASKS["reach"], settings)
