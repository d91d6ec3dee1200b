"""Weights of a simulation as arrays: their order, and networks that take others, as if they had begun with them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ranks
import small

from pareprop import Adam, InputError, Model, Simulation, StateError
from pareprop.parallel.exchange import Alone

DRAWS = np.random.default_rng(8)
SOURCE, TARGET, DELAY = DRAWS.integers(0, 9, 80), DRAWS.integers(0, 9, 80), DRAWS.integers(1, 4, 80)  # some repeat
OLD, NEW = DRAWS.normal(0.0, 0.3, 80), DRAWS.normal(0.0, 0.3, 80)
ONTO = DRAWS.normal(0.0, 0.2, 18)
ORDER = np.lexsort((DELAY, SOURCE, TARGET))
TASK = small.Noise(np.ones((60, 2)), 6, 0.3)


def network(variant: str, weight: np.ndarray, onto: float | np.ndarray, batch_size: int = 1) -> Model:
    model = Model(variant, seed=4, optimizer=Adam(eta=1e-3, Wmin=-2.0, Wmax=2.0, batch_size=batch_size))
    inputs, rec = model.inputs("in", 6), model.neurons("rec", 9, **small.CELL)
    out = model.readouts("out", 2, **small.READOUT)
    model.connect(inputs, rec, weight=0.2)
    ends = {"source": SOURCE, "target": TARGET, "delay": DELAY}
    model.connect(rec, rec, "explicit", **ends, weight=weight, allow_multapses=True)
    source, target = np.tile(np.arange(9), 2), np.repeat(np.arange(2), 9)
    model.connect(rec, out, "explicit", source=source, target=target, weight=np.broadcast_to(onto, 18))
    model.connect(out, rec, feedback="symmetric")
    return model


def train(folder: str, words: list[str], exchange: Any) -> None:
    """Two iterations with other weights than those of the beginning: a line with the digest."""
    (variant,) = words
    simulation = Simulation(network(variant, OLD, 0.1), TASK, exchange)
    synapses = simulation.weights("rec->rec")
    for name, values in {"source": SOURCE, "target": TARGET, "delay": DELAY, "weight": OLD}.items():
        if name != "weight":  # of synapses with the same ends the order is that of the draft
            np.testing.assert_array_equal(synapses[name], values[ORDER])
    np.testing.assert_array_equal(np.sort(synapses["weight"]), np.sort(OLD))
    simulation.set_weights("rec->rec", NEW[ORDER])
    simulation.set_weights("rec->out", ONTO)
    np.testing.assert_array_equal(simulation.weights("rec->rec")["weight"], NEW[ORDER])
    simulation.train(2)
    assert np.any(simulation.weights("rec->rec")["weight"] != NEW[ORDER])
    if exchange.rank == 0:
        print(f"digest: {simulation.hexdigest()}")
    else:
        simulation.hexdigest()


@pytest.mark.parametrize("variant", ["interval", "spike"])
def test_as_if_it_had_begun_with_them_on_any_ranks(variant: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    begun = Simulation(network(variant, NEW, ONTO), TASK)
    begun.train(2)
    train("", [variant], Alone())
    assert capsys.readouterr().out == f"digest: {begun.hexdigest()}\n"
    assert ranks.digests(3, __file__, tmp_path, variant) == {"digest": begun.hexdigest()}


def test_what_cannot_be_set_is_named() -> None:
    simulation = Simulation(network("interval", OLD, 0.1), TASK)
    for name, weight, words in (
        ("rec->rex", OLD, r"no projection 'rec->rex', did you mean"),
        (["rec->rec"], OLD, r"no projection \['rec->rec'\]"),
        ("rec->rec", OLD[:7], r"the weights have shape \(7,\), must be \(80,\)"),
        ("rec->rec", [[1.0], [1.0, 2.0]], "must be numbers"),
        ("rec->rec", np.full(80, np.nan), "weight nan must be finite"),
        ("rec->rec", np.full(80, 2.5), r"weight 2\.5 must lie in Wmin = -2 to Wmax = 2"),
        ("out->rec", np.ones(18), "feedback = 'symmetric' follows the weights of the readouts"),
    ):
        with pytest.raises(InputError, match=words):
            simulation.set_weights(name, weight)
    simulation = Simulation(network("spike", OLD, 0.1), TASK)
    simulation.train(1)
    with pytest.raises(StateError, match="set weights before it learns"):
        simulation.set_weights("rec->rec", OLD)


def test_between_batches_of_the_spike_variant() -> None:
    """What was trained goes on to the same bits where its own weights are set, and to others where others are."""
    found = []
    for shift in (None, 0.0, 0.01):
        simulation = Simulation(network("spike", OLD, 0.1, 2), TASK)
        simulation.train(2)
        if shift is not None:
            simulation.set_weights("rec->rec", simulation.weights("rec->rec")["weight"] + shift)
        simulation.train(4)
        found.append(simulation.hexdigest())
    assert found[0] == found[1] != found[2]
