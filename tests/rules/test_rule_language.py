"""Learning rules as their users write them: what is linear, what is refused, and in which words."""

import json
import re
from collections.abc import Callable

import numpy as np
import pytest

import pareprop
from pareprop.engines.sample import Sample
from pareprop.errors import InputError
from pareprop.neurons import library as models
from pareprop.neurons.language import evaluate_tree
from pareprop.rules import library
from pareprop.rules.bound import BoundRule
from pareprop.rules.check import check_rule
from pareprop.rules.definition import Eprop, LearningRule, from_dict, read_rules

GOOD = {"neuron": {"y": "0.9*y + z"}, "synapse": {"r": "0.9*r + pre"}, "gradient": "r*z"}


def mine(**changes: object) -> LearningRule:
    return LearningRule("mine", **{key: value for key, value in {**GOOD, **changes}.items() if value is not None})


def change(text: str) -> Callable[[], object]:
    return lambda: mine(gradient=None, change=text)


def network(variant: str = "spike", **options: object) -> pareprop.Model:
    model = pareprop.Model(variant)
    cells = model.neurons("rec", 3, options.pop("neurons", "iaf"))
    model.connect(model.inputs("in", 2), cells, **options)
    return model


def onto_readout() -> None:
    model = network()
    model.connect(model.populations[0], model.readouts("out", 1), learning_rule="pair_stdp")


def without_modulator() -> None:
    Sample.from_raster(np.zeros((5, 2)), np.zeros((5, 0))).check(5, network(learning_rule="r_stdp"))


psc_exp = models.get_definition("iaf_psc_exp")
REFUSED = {
    "rule mine, synapse, s: pre*r is not linear: both factors hold synapse states or pre": (
        lambda: mine(synapse={"r": "0.9*r + pre", "s": "pre*r"})
    ),
    "rule mine, synapse, r: the term 0.1 holds neither a synapse state nor pre; each term must": (
        lambda: mine(synapse={"r": "0.9*r + pre + 0.1"})
    ),
    "rule mine, change: tanh(r) is not linear": change("tanh(r)"),
    "rule mine, change: the condition r > 1 holds synapse states or pre: not linear": change("where(r > 1, r, 0)"),
    "rule mine, change: a rule may not read the weight w": change("r*w"),
    "rule mine, change: q is not known here; known are dt, z, ": change("r*q"),
    "rule mine, states: only states of neuron have initial values; synapse states start at 0": (
        lambda: mine(states={"r": [1.0, "1"]})
    ),
    "rule mine: gradient or change, one of them": lambda: mine(change="r"),
    "rule mine, change: the term 1 holds neither": change("(r + 1)*z - z"),
    "rule mine, change: the term z holds neither": change("where(y, r, z)"),
    "rule mine, change: r/(1 + y + r) is not linear: the divisor holds synapse states or pre": change("r/(1 + y + r)"),
    "rule mine, change: pre*y*(1 + before(r)) is not linear: both factors hold synapse states or pre": (
        change("pre*y*(1 + before(r))")
    ),
    "rule mine, gradient: the term L*psi holds neither a synapse state nor pre; each term must: multiply it by pre, or "
    "by a state of synapse": lambda: mine(synapse=None, gradient="L*psi*pre + L*psi"),
    "rule mine, synapse, r: new(s) is not known here: new values are those of entries above": (
        lambda: mine(synapse={"r": "new(s)", "s": "pre"})
    ),
    "rule mine, neuron, y: new(y) is not known here: new values are those of entries above": (
        lambda: mine(neuron={"y": "0.9*new(y) + z"})
    ),
    "rule mine, change: new(y) is not known here: write y, which is the new value already": change("r*new(y)"),
    "rule mine, synapse, r: new(y) is not known here: write y, which is the new value already": (
        lambda: mine(synapse={"r": "pre*new(y)"})
    ),
    "rule mine, change: new(h) is not known here, nor is h": change("r*new(h)"),
    "rule mine, neuron, y: before(y) is not known here: write y, which is the old value": (
        lambda: mine(neuron={"y": "before(y)"})
    ),
    'rule mine, change: before(psi) is not known here: keep it, with neuron = {last = "psi"}, and write before(last)': (
        change("r*before(psi)")
    ),
    'rule mine, synapse, r: before(pre) is not known here: keep it, with synapse = {last = "pre"}, and write last': (
        lambda: mine(synapse={"r": "0.9*r + before(pre)"})
    ),
    "rule mine, change: before(V_m) is not known here: a state of the target must stand in reads": (
        change("r*before(V_m)")
    ),
    "rule mine, change: unreset(y) is not known here: only states of the target in reads are": change("r*unreset(y)"),
    "rule mine, constants, k: before(dt) is not known here: write dt, which does not vary": (
        lambda: mine(constants={"k": "before(dt)"})
    ),
    "rule mine, neuron: name 'kappa' has a meaning in rules already": lambda: mine(neuron={"kappa": "z"}),
    "rule mine, synapse: the name 'r' stands in reads already": lambda: mine(reads=["r"]),
    "rule urbanczik_senn reads V_d; model iaf has no state, parameter or constant of this name": (
        lambda: network(learning_rule="urbanczik_senn")
    ),
    "rule mine: before(tau_m) or unreset(tau_m), but tau_m is not a state of model iaf": (
        lambda: network(learning_rule=mine(reads=["tau_m"], gradient="r*before(tau_m)"))
    ),
    "rule r_stdp reads M; the network has no modulator": without_modulator,
    "eprop through leak: a spike at port exc of model iaf_psc_exp reaches no state that its spike test reads": (
        lambda: network(neurons=psc_exp, learning_rule=Eprop(through="leak"))
    ),
    "learning: readouts learn by eprop or not at all": onto_readout,
    "transmission: U = 1.5": lambda: network(transmission={"U": 1.5, "tau_rec": 10.0}),
    "transmission: U has 3 values for 2": lambda: network(transmission={"U": [0.5] * 3, "tau_rec": 1.0}),
    "unknown learning_rule 'pair_std', did you mean 'pair_stdp'": lambda: network(learning_rule="pair_std"),
    "learning_parameters: unknown parameter 'tau'": (
        lambda: network(learning_rule="pair_stdp", learning_parameters={"tau": 1.0})
    ),
    "A_plus has 2 values, must have 3": (
        lambda: network(learning_rule="pair_stdp", learning_parameters={"A_plus": [1.0, 2.0]})
    ),
    "rule eprop: through = 'some' must be one of all, no own spike, leak": lambda: Eprop(through="some"),
    "rule eprop: without options it has this name; give yours another": (
        lambda: from_dict("eprop", {"rule": "eprop", "filter": "none"})
    ),
    "rule: name 'a b' must be a letter": lambda: Eprop(name="a b"),
    "learn_delay does not go with learning_rule = 'eprop_unfiltered': rules other than e-prop": (
        lambda: network("interval", learning_rule=Eprop(filter="none"), learn_delay={"eta": 1.0, "high": 5.0})
    ),
    "rule 'mine': unknown key 'synapses', did you mean 'synapse'?": lambda: from_dict("mine", {"synapses": {}}),
    "rule mine: description = '\\ud800' is no text that a file can hold": lambda: mine(description="\ud800"),
    "rules.toml: rules = 3 must be a table of names": lambda: read_rules(3, "rules.toml"),
}


@pytest.mark.parametrize("text", REFUSED)
def test_refused_in_one_line(text: str) -> None:
    with pytest.raises(InputError, match=re.escape(text)) as problem:
        REFUSED[text]()
    assert "\n" not in str(problem.value)


def test_what_messages_advise_is_accepted() -> None:
    mine(neuron={"last": "psi"}, gradient="r*before(last)")
    mine(synapse={"last": "pre", "r": "0.9*r + last"}, gradient="L*before(last) + z*r")


def test_a_rule_without_states_is_read_again() -> None:
    rule = mine(synapse=None, gradient="L*psi*pre")
    assert from_dict("mine", json.loads(json.dumps(rule.to_dict()))) == rule
    assert check_rule(rule).passed


@pytest.mark.parametrize("name", library.list_names())
def test_rules_of_the_package_are_read_again(name: str) -> None:
    rule = library.get_definition(name)
    assert from_dict(name, json.loads(json.dumps(rule.to_dict()))) == rule
    assert isinstance(rule, Eprop) or rule.source


COEFFICIENTS = {  # rule, its targets, and what is to be of a step
    ("pair_stdp", "iaf"): {"synapse": ["r"], "states": ["y"], "kept": ("z",)},
    ("clopath", "iaf_cond_exp"): {"synapse": ["r"], "states": ["u_minus", "u_plus"], "kept": ("V_m",)},
    ("urbanczik_senn", "two_compartment"): {"synapse": ["psp", "pi"], "states": [], "kept": ("V_d", "z")},
    ("inhibitory_stdp", "iaf"): {"synapse": ["r"], "states": ["y"], "kept": ("z",)},
    ("three_factor", "iaf"): {"synapse": ["r"], "states": [], "kept": ()},
    ("reward_eprop", "iaf"): {"synapse": ["zbar", "ebar", "elig"], "states": [], "kept": ()},
    ("superspike", "iaf"): {"synapse": ["zbar", "up", "down"], "states": [], "kept": ()},
}


@pytest.mark.parametrize(("name", "model"), COEFFICIENTS)
def test_what_is_kept(name: str, model: str) -> None:
    """States whose old value nobody reads are substituted away; neurons keep what is read of them alone."""
    bound = BoundRule(library.get_definition(name), models.get_definition(model))
    wanted = COEFFICIENTS[name, model]
    assert (bound.synapse_states, bound.states, bound.kept_names) == (
        wanted["synapse"],
        wanted["states"],
        wanted["kept"],
    )


def test_coefficients_that_grow_with_each_state_are_refused() -> None:
    """Each state reads the two above it: coefficients grow as Fibonacci's numbers."""
    synapse = {"s0": "0.9*s0 + pre", "s1": "0.8*s1 + z*new(s0)"}
    synapse |= {f"s{k}": f"psi*new(s{k - 1}) + z*new(s{k - 2})" for k in range(2, 60)}
    with pytest.raises(InputError, match=r"rule mine, synapse, s16: .* coefficients have more than 50000 parts"):
        BoundRule(mine(synapse=synapse, gradient="s59"), models.get_definition("iaf"))


def literally(rule: LearningRule, values: dict, old: dict, pre: float) -> tuple[dict, float]:
    """New states and the gradient of a step, from the strings alone; `values`: all that belongs to the target."""
    known, new = {**values, **old, "pre": pre}, {}
    for name, tree in rule.synapse.items():
        new[name] = evaluate_tree(tree, known | {f"new {key}": value for key, value in new.items()})
    later = {**known, **new} | {f"before {key}": value for key, value in old.items()}
    return new, evaluate_tree(rule.gradient, later)


@pytest.mark.parametrize(
    "name", [name for name in library.list_names() if isinstance(library.get_definition(name), LearningRule)]
)
def test_coefficients_equal_the_strings(name: str) -> None:
    """With random numbers for all that belongs to the target, M, U, w, w0 and v give what the strings say."""
    of_eprop = name.removeprefix("eprop_") if name.startswith("eprop_") else "iaf"
    model = models.get_definition("two_compartment" if name == "urbanczik_senn" else of_eprop)
    rule, rng = library.get_definition(name), np.random.default_rng(1)
    bound = BoundRule(rule, model)
    target = {key: rng.normal() for key in (*rule.parameters, *rule.constants, *rule.reads, "dt", "psi", "L", "F", "M")}
    target |= {"z": 1.0, "kappa": 0.9, "before z": 0.0, "x": 0.3, "I": 2.0, "refractory": 0.0}
    target |= {f"{word} {key}": rng.normal() for key in rule.reads for word in ("before", "unreset")}
    of_neuron = {key: rng.normal() for key in rule.neuron}
    target |= of_neuron | {f"before {key}": rng.normal() for key in rule.neuron}
    old = {key: rng.normal() if key in bound.synapse_states else 0.0 for key in rule.synapse}
    new, gradient = literally(rule, target, old, 0.7)

    names = {f"new {key}": target[key] for key in rule.neuron} | {
        f"old {key}": target[f"before {key}"] for key in rule.neuron
    }
    names |= {f"model {key}": target[key] for key in rule.reads} | {"was z": 0.0} | target
    for key in rule.reads:
        names |= {f"now {key}": target[f"unreset {key}"], f"now after {key}": target[key]}
        names |= {f"was {key}": target[f"before {key}"], f"was after {key}": target[f"before {key}"]}

    def value(tree: tuple) -> float:
        return float(evaluate_tree(tree, names))

    steps = bound.steps
    x = {k: sum(value(tree) * old[b] for (a, b), tree in steps.M.items() if a == k) for k in bound.synapse_states}
    x = {k: x[k] + (value(steps.U[k]) * 0.7 if k in steps.U else 0.0) for k in bound.synapse_states}
    g = sum(value(tree) * x[k] for k, tree in steps.w.items()) + value(steps.v) * 0.7
    g += sum(value(tree) * old[k] for k, tree in steps.w0.items())
    np.testing.assert_allclose([x[k] for k in bound.synapse_states], [new[k] for k in bound.synapse_states], rtol=1e-12)
    np.testing.assert_allclose(g, gradient, rtol=1e-12, atol=1e-14)
