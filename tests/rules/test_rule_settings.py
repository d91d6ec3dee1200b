"""Rules and short-term plasticity in configurations, and in what a run keeps of its network."""

import re
from pathlib import Path

import h5py
import numpy as np
import pytest

import pareprop
from pareprop.errors import InputError
from pareprop.network import identity, to_tables
from pareprop.network.learning import rules_by_name
from pareprop.network.parameters import Uniform
from pareprop.network.rule_options import ShortTerm
from pareprop.rules import library
from pareprop.rules.definition import Eprop, LearningRule
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
    model = read.task.model()
    first, second = (model.projections[k] for k in (0, 1))
    assert isinstance(first.learning_rule, LearningRule) and first.learning_rule.name == "mine"
    assert list(first.learning_rule.constants) == ["first", "second"]
    np.testing.assert_array_equal(first.learning_parameters["tau"], [1.0, 2.0, 3.0, 4.0])
    assert second.learning_rule == library.get("pair_stdp")
    assert second.transmission == ShortTerm(U=0.5, tau_rec=100.0)
    again = tmp_path / "again.toml"
    again.write_text(read.toml())
    assert "[learning_rules.pair_stdp.neuron]" in read.toml()
    assert config.load(str(again)).digest() == read.digest()
    assert identity.list_facts(config.load(str(again)).task.model()) == identity.list_facts(model)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('gradient = "L*a"', 'gradient = "L*a*r"', "rule mine, gradient: L*a * r is not linear"),
        ('"mine", learn', '"mime", learn', "unknown learning_rule 'mime', did you mean 'mine'?"),
        ("tau = [1.0, 2.0,", "tau = [", "tau has 2 values, must have 4"),
        ("U = 0.5", "U = -0.5", "transmission: U = -0.5"),
        ("[learning_rules.mine]", "[learning_rules.mine]\nrules = 1", "unknown key 'rules'"),
        (
            'model = "iaf"',
            'model = "iaf", learn = {tau_m = {type = "adam", low = 5.0, high = 50.0}}',
            "learning_rule = 'mine' does not go with",
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
        inputs, cells, learning_rule="clopath", learning_parameters={"A_LTD": np.linspace(0.1, 0.2, 20)},
        transmission=ShortTerm(U=Uniform(low=0.1, high=0.3), tau_rec=np.linspace(50.0, 90.0, 30)),
    )  # fmt: skip
    model.connect(cells, cells, learning_rule=Eprop(through="leak", name="leaky"), name="back")
    tables, arrays = to_tables.describe(model)
    own = {"variant": "interval", "seed": 1, "precision": "double"}
    again = to_tables.build({**tables, **own}, arrays, {}, rules_by_name(model))
    assert identity.list_facts(again) == identity.list_facts(model)
    other = to_tables.build({**tables, **own}, arrays, {}, rules_by_name(model) | {"leaky": Eprop(through="all")})
    assert identity.list_facts(other) != identity.list_facts(model)
