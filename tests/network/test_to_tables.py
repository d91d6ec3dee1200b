"""Models as tables of a configuration: what comes back is the same model, and what tables can't hold is named."""

import json
from dataclasses import replace

import case_files
import numpy as np
import pytest

from pareprop import Adam, InputError, LogNormal, Model, NeuronModel, Normal, Reward, Uniform
from pareprop.network import identity, to_tables
from pareprop.network.model import equations_of


def all_kinds(variant: str = "interval") -> Model:
    """A network with each kind of option."""
    draws = np.random.default_rng(1)
    model = Model(variant, seed=7, dt_ms=0.5, optimizer=Adam(eta=1e-3, batch_size=2 if variant == "interval" else 1))
    inputs, currents = model.inputs("in", 12, sign=[1, -1] * 6), model.currents("stimulus", 2)
    plain = model.neurons("plain", 20, "iaf", C_m=1.0, E_L=0.0, V_th=0.6, tau_m=Normal(mean=20.0, std=1.0))
    values = {"C_m": 1.0, "tau_m": draws.uniform(10, 20, 30), "V_th": Uniform(low=0.5, high=0.6)}
    adaptive = model.neurons("adaptive", 30, "iaf_adapt", sign=np.where(np.arange(30) < 20, 1, -1), **values)
    given = model.neurons("given", 5, "adex")
    out = model.readouts("out", 2, C_m=1.0, tau_m=20.0, loss="cross_entropy")
    model.connect(inputs, plain, weight=0.5, sign="source")
    model.connect(currents, plain, weight=Normal(std=1.0), plastic=False)
    model.connect(adaptive, plain, "fixed_probability", probability=0.2, sign="source", weight=LogNormal(std=0.3))
    explicit = {"source": np.arange(20), "target": np.arange(20), "weight": draws.normal(size=20)}
    model.connect(plain, adaptive, "explicit", delay=draws.integers(1, 5, 20), **explicit)
    drawn = {"indegree": 3, "allow_autapses": False, "allow_multapses": False}
    own = {"optimizer": Adam(eta=1e-2), "rewire": {"l1": 0.1}, "sign": "source", "weight": Uniform(low=0.0, high=0.1)}
    model.connect(adaptive, adaptive, "fixed_indegree", delay=(2, 5), name="own", **drawn, **own)
    space = {"extent": (10, 10), "length": 2.0, "cutoff": 4.0, "sources": draws.uniform(0, 10, (30, 2))}
    growing = {"per_length": 0.7, "offset": 0.5}
    model.connect(adaptive, given, "distance", probability=0.5, space=space, delay_ms=growing)
    law = {"N": 40, "delay_ms": Normal(mean=2.0, std=0.5)}
    model.connect(plain, plain, "fixed_total_number", weight=LogNormal(mean=-1.0, std=0.2), **law)
    model.background(adaptive, rate_hz=draws.uniform(0, 9, 30), weight=Normal(std=0.1), name="noise")
    for population, feedback in ((plain, "random"), (adaptive, "symmetric"), (given, "adaptive")):
        model.connect(population, out, weight=Normal(std=0.1))
        model.connect(out, population, feedback=feedback, **({"weight": 0.1} if feedback == "random" else {}))
    return model


def again(model: Model) -> Model:
    """The model from its tables, through JSON."""
    tables, arrays = to_tables.describe_model(model)
    own = {"variant": model.variant, "seed": model.seed, "precision": model.precision}
    return to_tables.build_model(json.loads(json.dumps(tables | own)), arrays, equations_of(model))


@pytest.mark.parametrize("variant", ["interval", "spike"])
def test_the_same_model_comes_back(variant: str) -> None:
    model = all_kinds(variant)
    assert identity.list_facts(again(model)) == identity.list_facts(model)


def test_rewards_and_local_readouts_come_back() -> None:
    rewarded = Model("interval", loss=Reward(gamma=0.9, c_H=0.01))
    rewarded.neurons("rec", 3)
    assert again(rewarded).loss == rewarded.loss
    local = Model("interval")
    local.local_readouts("own", local.neurons("rec", 3), tau_m=50.0)
    assert again(local).local == local.local


@pytest.mark.parametrize("neuron", ["iaf", "iaf_psc_exp"])
def test_sonata_networks_come_back(neuron: str) -> None:
    """By their circuit, whose edges are read again; edges onto two ports by the sign of their weights."""
    path = case_files.SONATA / "guide" / "circuit_config.json"
    model = Model.from_sonata(path, neuron=neuron, sign="weights", projections={"*": {"rewire": {"l1": 0.1}}})
    out = model.readouts("out", 1)
    model.connect(model.populations[0], out, weight=0.5)
    assert identity.list_facts(again(model)) == identity.list_facts(model)
    assert identity.list_facts(again(replace(model, rates_hz={}))) == identity.list_facts(model)  # as of `repartition`
    broken = model.circuit = path.parent / "nothing.json"
    with pytest.raises(InputError, match=f"{broken}: No such file"):
        again(model)


def test_what_tables_cannot_hold_is_named() -> None:
    def squares(output: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, float]:
        return output - target, 0.5 * float(np.sum((output - target) ** 2))

    own = Model("interval", loss=squares)
    hooked, regularized = Model(learning_signal=lambda signal, error, context: signal), Model(activity=squares)
    for model, words in (
        (own, "its loss .*squares is code of the script"),
        (hooked, "hook of learning signals .*<lambda> is code of the script"),
        (regularized, "loss of firing rates .*squares is code of the script"),
    ):
        with pytest.raises(InputError, match=words):
            to_tables.describe_model(model)


def given(leak: str, name: str = "own", surrogate: str = "piecewise_linear") -> NeuronModel:
    table = {"states": {"v": [0, "mV"]}, "step": {"v": leak}, "spike": "v - 1", "surrogate": surrogate}
    return NeuronModel.from_dict(name, table)


def test_two_models_of_one_name_are_refused() -> None:
    model = Model("interval")
    model.neurons("a", 2, given("0.5*v + I"))
    told = "population 'b': another neuron model of the model is named 'own'; give one of them another name"
    with pytest.raises(InputError, match=f"^{told}$"):
        model.neurons("b", 2, given("0.9*v + I"))
    model.neurons("b", 2, "adex")
    with pytest.raises(InputError, match="another neuron model of the model is named 'adex'"):
        model.neurons("c", 2, given("0.9*v + I", "adex"))
    assert [item.name for item in model.populations] == ["a", "b"]
    model.neurons("c", 2, given("0.9*v + I", "iaf"))  # it runs, but its description would name the other one
    with pytest.raises(InputError, match="'iaf', given by equations, is a model of the package; give yours another"):
        to_tables.describe_model(model)


def test_surrogates_of_one_model_come_back() -> None:
    model = Model("interval")
    model.neurons("a", 2, "adex", surrogate_gradient_function="arctan_derivative")
    model.neurons("b", 2, "adex")
    for name, surrogate in (("c", "piecewise_linear"), ("d", "arctan_derivative")):
        model.neurons(name, 2, given("0.5*v + I", surrogate=surrogate))
    assert len({again(model).populations[k].params.definition for k in range(4)}) == 4
    assert identity.list_facts(again(model)) == identity.list_facts(model)


def test_arrays_that_changed_are_refused() -> None:
    tables, arrays = to_tables.describe_model(all_kinds())
    own = {"variant": "interval", "seed": 7, "precision": "double"}
    for name, array in arrays.items():
        with pytest.raises(InputError, match=f"array {name} is not the one that was written"):
            to_tables.build_model(tables | own, arrays | {name: np.zeros_like(array) + 3}, {})
    with pytest.raises(InputError, match="array in/sign is missing"):
        to_tables.build_model(tables | own, {}, {})
