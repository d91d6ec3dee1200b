"""Ids are cut where the expected cost is equal, and results do not depend on where that is."""

import itertools

import numpy as np
import pytest
import ranks
from hypothesis import given, settings
from hypothesis import strategies as st
from params import first
from properties import examples

from pareprop.errors import InputError
from pareprop.network.cuts import EVENT, STEP, VARIABLE, cut, cut_equally
from pareprop.network.local import LocalNetwork
from pareprop.network.model import Model
from pareprop.parallel.partition import firsts

# Neurons that hear few others at one of many delays, and inputs that reach one neuron each: most rows would be empty.
TRAIN = """
import sys
import numpy as np
from pareprop import Model, Normal, Sample, Simulation, exchange
from pareprop.network import synapse_table

variant, few = sys.argv[1:]
synapse_table.FEWEST_ROWS = int(few)
rule = {} if variant == "interval" else {"kappa": 0.97, "kappa_reg": 0.97}
model, cell = Model(variant, seed=5), {"C_m": 1.0, "E_L": 0.0, "tau_m": 30.0, "V_th": 0.5}
inputs, one = model.inputs("in", 90), model.neurons("one", 30, **cell, **rule)
two = model.neurons("two", 90, **cell, **rule)
out = model.readouts("out", 1, C_m=1.0, E_L=0.0, tau_m=30.0)
model.connect(inputs, two, "one_to_one", weight=Normal(mean=0.5, std=0.1), delay=(1, 9))
model.connect(one, two, "fixed_indegree", indegree=3, weight=Normal(std=0.5), delay=2)
model.connect(two, one, "fixed_indegree", indegree=9, weight=0.2, delay=2)
model.connect(two, two, "fixed_indegree", indegree=4, weight=Normal(std=0.5), delay=(2, 40), allow_multapses=False)
for group in (one, two):
    model.connect(group, out, weight=Normal(std=0.2), delay=2)
    model.connect(out, group, weight=Normal(std=0.2), delay=2)

class Task:
    n_steps = learning_window = 120

    def sample(self, index, phase="train"):
        raster = np.random.default_rng(index).random((120, 90)) < 0.15
        return Sample.from_raster(raster, np.sin(np.arange(120)[:, None] / 20.0))

ranks = exchange()
simulation = Simulation(model, Task(), ranks)
simulation.train(3)
digest, indexed = simulation.hexdigest(), any(span.bits is not None for span in simulation.network.incoming.spans)
own = simulation.network.neurons[0], indexed
everybodys = ranks.comm.gather(own) if ranks.comm else [own]
if ranks.rank == 0:
    firsts = ",".join(str(first) for first, _ in everybodys[1:])
    print(digest, simulation.rates[-1] > 2, any(indexed for _, indexed in everybodys), firsts)
"""


@pytest.mark.mpi
@pytest.mark.parametrize("variant", ["interval", "spike"])
@pytest.mark.parametrize("n", first(1, [2, 3, 4]))
def test_same_digest_for_any_cut(n: int, variant: str) -> None:
    """Drawn cuts, empty ranks among them, on one and several nodes; rows with synapses alone, or for all sources."""
    plain = ranks.run(1, "-c", TRAIN, variant, 10**12)
    assert plain.returncode == 0, plain.stderr
    digest, fires, indexed = plain.stdout.split()
    assert (fires, indexed) == ("True", "False")
    draw = np.random.default_rng([n, variant == "spike"])
    for env in ({"PAREPROP_SENDING": "targeted", "PAREPROP_RANKS_PER_NODE": "1"}, {"PAREPROP_RANKS_PER_NODE": "2"}, {}):
        cuts = ",".join(map(str, np.sort(draw.integers(0, 121, n - 1))))
        done = ranks.run(n, "-c", TRAIN, variant, 0, env=env | {VARIABLE: cuts})
        assert done.returncode == 0, done.stderr
        assert done.stdout.split() == [digest, "True", "True", cuts]


@settings(max_examples=examples(60))
@given(lengths=st.lists(st.integers(1, 9), min_size=1, max_size=6), size=st.integers(1, 12), data=st.data())
def test_no_rank_costs_more_than_its_share_and_a_neuron(lengths: list[int], size: int, data: st.DataObject) -> None:
    cost = st.integers(1, 1000)
    costs = [
        np.array(data.draw(st.lists(cost, min_size=n, max_size=n) | st.lists(cost, min_size=1, max_size=1)))
        for n in lengths
    ]
    bounds = cut_equally(costs, lengths, size)
    each = np.concatenate([np.broadcast_to(cost, n) for cost, n in zip(costs, lengths, strict=True)])
    assert bounds[0] == 0 and bounds[-1] == len(each) and np.all(np.diff(bounds) >= 0) and len(bounds) == size + 1
    for low, high in itertools.pairwise(bounds):
        assert each[low:high].sum() < each.sum() / size + each.max() + 1


@given(n=st.integers(1, 10**9), size=st.integers(1, 2000))
def test_neurons_that_cost_the_same_are_cut_into_equal_blocks(n: int, size: int) -> None:
    np.testing.assert_array_equal(cut_equally([np.array([STEP])], [n], size), firsts(n, size))


def two(indegrees: tuple[int, int]) -> Model:
    model = Model(seed=2)
    groups = [model.neurons(name, 2000) for name in ("one", "two")]
    for group, indegree in zip(groups, indegrees, strict=True):
        model.connect(groups[0], group, "fixed_indegree", indegree=indegree)
    return model


def imbalance(model: Model, size: int, indegree: np.ndarray, rate_hz: float = 10.0) -> float:
    each = STEP + EVENT * rate_hz * 1e-3 * indegree
    shares = np.add.reduceat(each, cut(model, size)[:-1])
    return shares.max() / shares.mean()


@pytest.mark.parametrize("size", [2, 3, 7])
@pytest.mark.parametrize("indegrees", [(100, 1000), (1000, 100)])
def test_populations_of_different_indegrees(indegrees: tuple[int, int], size: int) -> None:
    indegree = np.repeat(indegrees, 2000)
    assert imbalance(two(indegrees), size, indegree) < 1.01


def test_true_degrees_count() -> None:
    """Log-normal in-degrees as they are drawn; explicit synapses, few neurons of which have most."""
    model = Model(seed=4)
    cells = model.neurons("rec", 3000)
    model.connect(cells, cells, "lognormal_degrees", indegree=100, sigma_in=1.0, sigma_out=0.5)
    target = LocalNetwork(model, 0, 1).incoming.target
    assert imbalance(model, 5, np.bincount(target, minlength=3000)) < 1.02
    model = Model(seed=4)
    cells = model.neurons("rec", 3000)
    target = np.concatenate([np.arange(3000), np.repeat(np.arange(2990, 3000), 20_000)])
    model.connect(cells, cells, "explicit", source=np.arange(len(target)) % 3000, target=target, weight=1.0, delay=1)
    assert imbalance(model, 2, np.bincount(target)) < 1.05 and cut(model, 2)[1] > 1800


@pytest.mark.parametrize(
    ("text", "problem"),
    [("5", "first neuron of each of 3 ranks"), ("5,x", "first neuron"), ("7,5", "ascend"), ("5,99999", "ascend")],
)
def test_bad_cuts(text: str, problem: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, text)
    with pytest.raises(InputError, match=problem):
        cut(two((10, 10)), 3)


def test_a_network_of_one_rank_takes_no_cuts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "5,9")
    monkeypatch.delenv("PAREPROP_SHARE_ABOVE")
    model = Model()
    model.neurons("rec", 20)
    with pytest.raises(InputError, match="PAREPROP_CUTS = '5,9': one rank has this small network"):
        cut(model, 3)
