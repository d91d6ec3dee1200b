"""Rules and short-term plasticity in configurations, and in what a run keeps of its network."""

import re
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import small

import pareprop
from pareprop import AdamW, GradientDescent, Model, Normal, Sample, Simulation
from pareprop.errors import InputError
from pareprop.network import identity, to_tables
from pareprop.network.learning import rule_of, rules_by_name
from pareprop.network.parameters import Uniform
from pareprop.network.rule_options import ShortTerm
from pareprop.rules import library
from pareprop.rules.definition import FILTERS, THROUGH, Eprop, LearningRule, from_dict
from pareprop.runs import config

TOML = """
[task]
name = "data"
data = "DATA"

[model]
variant = "spike"
populations = [
    {name = "in", role = "input", size = 3},
    {name = "rec", role = "recurrent", size = 4, model = "iaf"},
    {name = "out", role = "readout", size = 1},
]
projections = [
    {pre = "in", post = "rec", learning_rule = "mine", learning_parameters = {tau = [1.0, 2.0, 3.0, 4.0]}},
    {pre = "rec", post = "rec", learning_rule = "pair_stdp", transmission = {U = 0.5, tau_rec = 100.0}},
    {pre = "rec", post = "out"},
    {pre = "out", post = "rec"},
]

[learning_rules.mine]
parameters = {tau = [20.0, "ms"]}
constants = {first = "exp(-dt/tau)", second = "first**2"}
synapse = {r = "second*r + pre", a = "0.5*a + new(r)"}
gradient = "L*a"
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file["raster"] = np.zeros((4, 20, 3), np.uint8)
        file["targets"] = np.zeros((4, 20, 1))
    path = tmp_path / "mine.toml"
    path.write_text(TOML.replace("DATA", str(tmp_path / "data.h5")))
    return path


def test_configuration(path: Path, tmp_path: Path) -> None:
    """Rules of the package that are named stand in the configuration, too; order of entries is kept."""
    read = config.load(str(path))
    model = read.task.build_model()
    first, second = (model.projections[k] for k in (0, 1))
    assert isinstance(first.learning_rule, LearningRule) and first.learning_rule.name == "mine"
    assert list(first.learning_rule.constants) == ["first", "second"]
    np.testing.assert_array_equal(first.learning_parameters["tau"], [1.0, 2.0, 3.0, 4.0])
    assert second.learning_rule == library.get_definition("pair_stdp")
    assert second.transmission == ShortTerm(U=0.5, tau_rec=100.0)
    again = tmp_path / "again.toml"
    again.write_text(read.to_toml())
    assert "[learning_rules.pair_stdp.neuron]" in read.to_toml()
    assert config.load(str(again)).compute_digest() == read.compute_digest()
    assert identity.list_facts(config.load(str(again)).task.build_model()) == identity.list_facts(model)
    path.write_text(path.read_text().replace("mine", "pair_stdp"))  # one's own goes before that of the package
    assert list(config.load(str(path)).task.build_model().projections[1].learning_rule.constants) == ["first", "second"]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('gradient = "L*a"', 'gradient = "L*a*r"', "rule mine, gradient: L*a*r is not linear"),
        ('"mine", learn', '"mime", learn', "unknown learning_rule 'mime', did you mean 'mine'?"),
        ("tau = [1.0, 2.0,", "tau = [", "tau has 2 values, must have 4"),
        ("U = 0.5", "U = -0.5", "transmission: U = -0.5"),
        ("[learning_rules.mine]", "[learning_rules.mine]\nrules = 1", "unknown key 'rules'"),
        (
            'model = "iaf"',
            'model = "iaf", learn = {tau_m = {type = "adam", low = 5.0, high = 50.0}}',
            "learning_rule = 'mine' does not go with parameters of 'rec' that learn (tau_m): neurons keep",
        ),
    ],
)
def test_mistakes(path: Path, old: str, new: str, told: str) -> None:
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(InputError, match=re.escape(told)):
        config.load(str(path))


def test_described_by_tables() -> None:
    model = pareprop.Model("interval")
    inputs, cells = model.inputs("in", 30), model.neurons("rec", 20, "iaf")
    model.connect(
        inputs,
        cells,
        learning_rule="clopath",
        learning_parameters={"A_LTD": np.linspace(0.1, 0.2, 20)},
        transmission=ShortTerm(U=Uniform(low=0.1, high=0.3), tau_rec=np.linspace(50.0, 90.0, 30)),
    )
    model.connect(cells, cells, learning_rule=Eprop(through="leak", name="leaky"), name="back")
    tables, arrays = to_tables.describe_model(model)
    own = {"variant": "interval", "seed": 1, "precision": "double"}
    again = to_tables.build_model({**tables, **own}, arrays, {}, rules_by_name(model))
    assert identity.list_facts(again) == identity.list_facts(model)
    other = to_tables.build_model({**tables, **own}, arrays, {}, rules_by_name(model) | {"leaky": Eprop(through="all")})
    assert identity.list_facts(other) != identity.list_facts(model)


OPTIONS = [{"through": through, "filter": kept} for through in THROUGH for kept in FILTERS]


@pytest.mark.parametrize("options", [*OPTIONS, {"name": "mine"}, {"filter": "none", "name": "mine"}], ids=str)
def test_options_of_eprop_come_back(options: dict) -> None:
    """Under the default name, which tells them, and under a given one."""
    rule = Eprop(**options)
    model = Model("interval")
    model.connect(model.inputs("in", 2), model.neurons("rec", 3), learning_rule=rule)
    tables, arrays = to_tables.describe_model(model)
    rules = {name: from_dict(name, rule.to_dict()) for name, rule in rules_by_name(model).items()}
    own = {"variant": "interval", "seed": 1, "precision": "double"}
    again = to_tables.build_model({**tables, **own}, arrays, {}, rules)
    assert rule_of(again.projections[0]).to_dict() == rule.to_dict()
    assert ("name" in options) or (rule.name == "eprop") == rule.is_plain
    assert len({Eprop(**options).name for options in OPTIONS}) == len(OPTIONS)


def test_rules_under_other_names_than_their_own_come_back() -> None:
    model = Model("interval", learning_rules={"eprop": decaying(0.9), "b": Eprop(through="leak")})
    inputs, cells = model.inputs("in", 2), model.neurons("rec", 3)
    model.connect(inputs, cells, learning_rule="eprop")
    model.connect(cells, cells, learning_rule="b")
    tables, _ = to_tables.describe_model(model)
    assert [item["learning_rule"] for item in tables["projections"]] == ["same", "eprop_leak"]


RASTER = np.random.default_rng(0).random((300, 2)) < 0.05
RASTER[0] = False


@pytest.mark.parametrize(
    ("weight", "sign", "given"),
    [
        (-0.5, "free", {}),
        (Uniform(low=-0.6, high=-0.4), "free", {}),
        (Normal(std=0.5), -1, {}),
        (0.5, "free", {}),
        (Normal(std=0.5), "free", {"sign_of_weights": -1.0}),
    ],
)
@pytest.mark.parametrize("rate", [5.0, 50.0])
def test_inhibition_grows_and_shrinks_with_the_rate(rate: float, weight: object, sign: object, given: dict) -> None:
    """Sizes of weights change by eta (x_post - alpha) at a source's spike, eta x_pre at a target's (Vogels et al.)."""
    learns = {"learning_rule": "inhibitory_stdp", "learning_parameters": {"rate": rate, **given}}
    into = {"weight": weight, "sign": np.full(2, sign) if sign == -1 else sign, **learns}
    options = {"onto": {"plastic": False}, "back": None, "seed": 2, "optimizer": GradientDescent(eta=1e-3)}
    model = small.network("interval", 2, 3, cell={"I_e": 430.0}, defaults=True, into=into, **options)
    assert model.notes == []
    simulation = Simulation(model, small.Once(Sample.from_raster(RASTER, np.zeros((300, 1))), 300))
    before = simulation.weights("in->rec")
    simulation.train(1)
    weights = [before["weight"], simulation.weights("in->rec")["weight"]]
    x_pre, x_post, size, keep, eta = np.zeros(2), np.zeros(3), np.zeros((2, 3)), np.exp(-1.0 / 20.0), 1e-3
    fired = small.raster(simulation.engine.log, 300, 3)
    for arrives, fires in zip(RASTER, fired, strict=True):
        x_pre, x_post = keep * x_pre + arrives, keep * x_post
        size += eta * (np.outer(arrives, x_post - 2.0 * rate * 0.020) + np.outer(x_pre, fires))
        x_post += fires
    expected = size[before["source"], before["target"]]
    assert np.all(expected > 0) if rate < 10.0 else np.all(expected < 0)
    change = before["weight"] - weights[1] if given else np.abs(weights[1]) - np.abs(weights[0])
    np.testing.assert_allclose(change, expected, rtol=1e-9)


def test_rules_of_one_sign_tell_where_weights_have_both() -> None:
    model = Model("interval")
    inputs, cells = model.inputs("in", 2), model.neurons("rec", 3)
    model.connect(inputs, cells, learning_rule="inhibitory_stdp", weight=Normal(std=1.0))
    (line,) = model.notes
    assert line.startswith("projection 'in->rec': inhibitory_stdp takes all its weights as above 0, though some may")


def decaying(keep: float, name: str = "same", **options: object) -> LearningRule:
    return LearningRule(name, synapse={"r": f"{keep}*r + pre"}, gradient="L*psi*r", **options)


@pytest.mark.parametrize(
    ("first", "second", "name"),
    [
        (decaying(0.9), decaying(0.5), "same"),
        ("pair_stdp", decaying(0.9, "pair_stdp"), "pair_stdp"),
        (Eprop(through="leak", name="mine"), Eprop(filter="none", name="mine"), "mine"),
        (Eprop(through="leak", name="same"), decaying(0.9), "same"),
    ],
)
@pytest.mark.parametrize("variant", ["interval", "spike"])
def test_two_rules_of_one_name_are_refused(variant: str, first: object, second: object, name: str) -> None:
    """Arrays and descriptions know rules by name: the interval variant would take the last for both."""
    model = Model(variant)
    inputs, cells = model.inputs("in", 2), model.neurons("rec", 3)
    model.connect(inputs, cells, learning_rule=first)
    told = f"projection 'rec->rec': another learning rule of the model is named '{name}'; give one of them another name"
    with pytest.raises(InputError, match=f"^{re.escape(told)}$"):
        model.connect(cells, cells, learning_rule=second)
    assert [item.name for item in model.projections] == ["in->rec"]
    with pytest.raises(InputError, match=f"another learning rule of the model is named '{name}'"):
        other = Model(variant)
        other.connect(other.inputs("in", 2), other.neurons("rec", 3), learning_rule=second)
        replace(model, projections=model.projections + other.projections)


def test_the_same_rule_may_be_given_twice() -> None:
    """Also one that is defined again, with other words about it."""
    model = Model("interval")
    inputs, cells = model.inputs("in", 2), model.neurons("rec", 3)
    model.connect(inputs, cells, learning_rule=decaying(0.9))
    model.connect(cells, cells, learning_rule=decaying(0.9, description="again"), name="again")
    model.connect(cells, cells, learning_rule="pair_stdp")
    assert [*rules_by_name(model)] == ["same", "pair_stdp"]
    assert len(replace(model).projections) == 3


@pytest.mark.parametrize("variant", ["interval", "spike"])
def test_normalized_leaves_rules_without_a_filter_alone(variant: str) -> None:
    """A weight moves by eta times the sum of the rule's changes, whatever the neurons' kappa; e-prop's by 1 - kappa."""
    raster = np.random.default_rng(3).random((60, 3)) < 0.3

    def move(kappa: float, rule: object, normalized: bool, eta: float = 1e-3) -> np.ndarray:
        more = {"kappa": kappa} if variant == "spike" else {}
        weights = {"into": {"weight": 0.4, "learning_rule": rule}, "onto": {"weight": 0.1, "plastic": False}}
        options = {"seed": 2, "optimizer": GradientDescent(eta=eta, normalized=normalized)}
        model = small.network(variant, 3, 4, cell={"t_ref": 0.0} | more, **weights, back={"weight": 1.0}, **options)
        simulation = Simulation(model, small.Once(Sample.from_raster(raster, np.ones((60, 1))), 60), quiet=True)
        simulation.train(1)
        return simulation.weights("in->rec")["weight"] - 0.4

    pairs = [move(kappa, "pair_stdp", True) for kappa in (0.97, 0.5)]
    plain = move(0.97, "pair_stdp", False)
    assert np.abs(plain).min() > 1e-4
    for moved in pairs:
        np.testing.assert_array_equal(moved, plain)
    filtered, whole = move(0.97, None, True, 1e-7), move(0.97, None, False, 1e-7)
    scale = 0.03 if variant == "spike" else 1.0
    np.testing.assert_allclose(filtered, scale * whole, rtol=1e-3)


def test_decay_of_more_than_a_weight_is_refused() -> None:
    told = r"eta \* weight_decay = 1.5 must be at most 1: signs would flip"
    with pytest.raises(InputError, match=told):
        AdamW(eta=0.5, weight_decay=3.0)
    AdamW(eta=0.5, weight_decay=2.0)
    model = small.network("interval", 3, 4)
    model.optimizer = AdamW(eta=0.1, weight_decay=2.0)
    simulation = Simulation(model, small.Once(Sample.from_raster(np.zeros((5, 3)), np.zeros((5, 1))), 5), quiet=True)
    with pytest.raises(InputError, match="at most 1"):
        simulation.set_eta(0.75)


@pytest.mark.parametrize(
    ("signal", "c_reg", "is_warned"), [("L", 0.1, True), ("(L + F)", 0.1, False), ("L", 0.0, False)]
)
def test_rules_without_regularization_are_named(signal: str, c_reg: float, is_warned: bool) -> None:
    mine = LearningRule("mine", synapse={"a": "0.5*a + pre"}, gradient=f"{signal}*psi*a")
    model = small.network("interval", 3, 4, cell={"c_reg": c_reg}, into={"learning_rule": mine, "weight": 0.1})
    simulation = Simulation(model, small.Once(Sample.from_raster(np.zeros((5, 3)), np.zeros((5, 1))), 5))
    lines = [line for line in simulation.notices.lines if "rule mine reads L alone, so c_reg and f_target of" in line]
    assert bool(lines) == is_warned
