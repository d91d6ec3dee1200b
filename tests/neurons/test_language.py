"""The language of models: what is read, what is refused and how; nothing is ever executed."""

import json
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pareprop import InputError, NeuronModel
from pareprop.neurons import compile as compiler
from pareprop.neurons import library, terms
from pareprop.neurons.derive import NEVER_LEARNED, NO_LEARNS, Learns, _Deriving, derive_model
from pareprop.neurons.language import evaluate_tree, parse_expression, with_terms, write
from pareprop.neurons.stored_terms import OLD

GOOD = {
    "parameters": {"tau_m": [10.0, "ms"], "E_L": [-70.0, "mV"]},
    "constants": {"alpha": "exp(-dt/tau_m)"},
    "states": {"V_m": ["E_L", "mV"]},
    "step": {"V_m": "E_L + alpha*(V_m - E_L) + arriving"},
    "spike": "V_m + 55",
    "reset": {"V_m": "E_L"},
}


def made(**changes):
    return NeuronModel.from_dict("mine", {key: value for key, value in (GOOD | changes).items() if value is not None})


BAD = [  # what is changed, and what the line must tell
    ({"step": {"V_m": "E_L + alhpa*V_m"}}, ["step: V_m", "character 7", "'alhpa'", "did you mean 'alpha'"]),
    ({"step": {"V_m": "exp(V_m, 2)"}}, ["exp takes 1 arguments, not 2", "exp(a)"]),
    ({"step": {"V_m": "V_m ^ 2"}}, ["character 5", "write **"]),
    ({"step": {"V_m": "V_m if V_m > 0 else 0"}}, ["write where(condition, a, b)"]),
    ({"step": {"V_m": "V_m.real"}}, ["dot stands only within numbers"]),
    ({"step": {"V_m": "__import__('os').system('true')"}}, ['"\'" is not allowed']),
    ({"step": {"V_m": "exp"}}, ["exp is a function: exp(a)"]),
    ({"step": {"V_m": "exp(*V_m)"}}, ["by place alone"]),
    ({"step": {"V_m": "(V_m"}}, ["step: V_m", "cannot be read"]),
    ({"step": {"V_m": ""}}, ["is empty"]),
    ({"step": {"V_m": "V_m, 2"}}, ["a comma stands only"]),
    ({"step": {"V_m": "V_m*1e999"}}, ["too large"]),
    ({"step": {"V_m": "2j*V_m"}}, ["must be a real number"]),
    ({"step": {"V_m": "V_m + " * 200_000 + "1"}}, ["1200045 characters", "at most 100000"]),
    ({"step": {"V_m": "(" * 4000 + "V_m" + ")" * 4000}}, ["nested deeper than 100"]),
    ({"step": {"V_m": "-" * 9000 + "V_m"}}, ["nested deeper than 100"]),
    ({"step": {"V_m": "+".join(["V_m"] * 2400)}}, ["nested deeper than 100"]),
    ({"step": {"V_m": ["V_m"]}}, ["must be an expression in quotes"]),
    ({"step": {"V_m": "V_m*2**2**40"}}, ["step: V_m: at character 5", "2**2**40 is inf, must be a finite number"]),
    ({"constants": {"alpha": "exp(-dt/tau_m)/(2**2**40)"}}, ["constants: alpha: at character 17", "2**2**40 is inf"]),
    ({"step": {"V_n": "V_m"}}, ["step: unknown state 'V_n'", "did you mean 'V_m'"]),
    ({"step": {}}, ["one is needed"]),
    ({"dynamics": {"V_m": "-V_m"}}, ["not both"]),
    ({"step": None, "dynamics": {"V_m": "-V_m*V_m/tau_m"}}, ["not linear", "exponential_euler, euler, rk4"]),
    ({"integrator": "rk4"}, ["goes with dynamics"]),
    *(
        ({"substeps": n}, [f"substeps = {n!r} must be a whole number from 1 to 1000", "takes as long as a step"])
        for n in (0, -1, 1.5, True, "10", 10**9)
    ),
    ({"substeps": 10}, ["substeps goes with dynamics"]),
    (
        {"step": None, "dynamics": {"V_m": "-V_m/tau_m"}, "integrator": "rk4", "substeps": 10},
        ["substeps = 10 would change nothing", "dynamics is linear"],
    ),
    (
        {"states": {"V_m": ["E_L", "mV"], "w": [0.0, "pA"]}, "dynamics": {"w": "-w"}, "jumps": {"V_m": "arriving"}},
        ["jumps: state 'V_m' has a step"],
    ),
    (
        {"states": {"V_m": ["E_L", "mV"], "w": 0.0, "u": 0.0}, "dynamics": {"w": "-w"}},
        ["step or dynamics of state 'u' is missing"],
    ),
    ({"spike": None}, ["spike is missing"]),
    ({"spike": "V_m > E_L"}, ["spike: 'V_m > E_L' is 0 or 1", "so at 0, too", "write V_m - E_L"]),
    (
        {"spike": "where(V_m > E_L, V_m < 0 and E_L > 1, 1)"},
        ["spike: 'V_m < 0 and E_L > 1' is 0 or 1", "where(condition"],
    ),
    ({"spike": "V_m + 1/0"}, ["spike: at character 7", "1/0 is inf, must be a finite number"]),
    ({"step": {"V_m": "V_m + sqrt(-1)"}}, ["step: V_m: at character 7", "sqrt(-1) is nan"]),
    ({"surrogate": "max(0, 1 - x/(3 - 3))**where(1 < 2, 1e200*1e200, 1)"}, ["surrogate", "1e+200*1e+200 is inf"]),
    ({"spike": "V_m + arriving"}, ["spike", "unknown name 'arriving'"]),
    ({"states": {}}, ["states is missing"]),
    ({"states": {"V_m": ["E_L", "mV"], "w": [0.0, "pA"]}}, ["step of state 'w' is missing"]),
    ({"states": {"V_m": ["V_m", "mV"]}}, ["states: V_m", "unknown name 'V_m'"]),
    ({"states": {"lambda": [0.0, "mV"]}}, ["'lambda' is a keyword"]),
    ({"states": {"alpha": [0.0, "mV"]}}, ["'alpha' stands in constants already"]),
    ({"parameters": {"tau_m": ["fast", "ms"], "E_L": [-70.0, "mV"]}}, ["tau_m", "must be a number"]),
    ({"parameters": {"tau_m": [10.0, "ms", 3], "E_L": [-70.0, "mV"]}}, ["a value and a unit"]),
    ({"parameters": {"tau_m": [float("nan"), "ms"], "E_L": [-70.0, "mV"]}}, ["must be finite"]),
    ({"parameters": 5}, ["parameters = 5 must be a table"]),
    ({"constants": {"alpha": "exp(-dt/tau)"}}, ["constants: alpha", "did you mean 'tau_m'"]),
    ({"constants": {"alpha": "exp(-dt/tau_m)*V_m"}}, ["constants: alpha", "unknown name 'V_m'"]),
    ({"ports": ["exc"]}, ["unknown name 'arriving'"]),
    ({"ports": []}, ["one input at least"]),
    ({"ports": ["a", "a"]}, ["names 'a' twice"]),
    ({"ports": {"arriving": "negative"}}, ["ports: arriving = 'negative' must be 'positive' or 'any'"]),
    ({"follow": ["w"]}, ["follow: 'w' is not a state"]),
    ({"reset": {}, "follow": ["V_m"]}, ["'V_m' is not in reset"]),
    ({"surrogate": "piecewise"}, ["unknown name 'piecewise'", "did you mean 'piecewise_linear'"]),
    ({"current_from": 2}, ["current_from = 2 must be 0 or 1"]),
    ({"colour": "red"}, ["unknown key 'colour'"]),
    ({"description": 5}, ["description must be text"]),
]


@pytest.mark.parametrize(("changes", "told"), BAD, ids=lambda value: str(value)[:40])
def test_mistakes(changes: dict, told: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        _ = made(**changes).equations
    line = str(caught.value)
    assert line.startswith("neuron model 'mine'") and "\n" not in line and len(line) < 1000
    for part in told:
        assert part in line


def nested(text: str, times: int) -> str:
    """An expression in itself, so many times; `{}` is its place."""
    inner = "V_m"
    for _ in range(times):
        inner = text.format(inner)
    return f"{inner} + arriving"


@pytest.mark.parametrize("text", ["abs({} - 1)", "min({}, E_L)", "max(E_L, {})"])
def test_derivatives_that_would_not_end(text: str) -> None:
    with pytest.raises(InputError, match=r"'mine': step: V_m: the derivatives up to here may have .* parts"):
        derive_model(made(step={"V_m": nested(text, 45)}))


def test_derivatives_of_many_terms_and_factors() -> None:
    """Sums and products of any number make no trees that are as deep as they are long."""
    terms, factors = ([f"{text}*{k})" for k in range(1, n)] for n, text in ((150, "exp(V_m"), (70, "(1 + V_m")))

    def halved(items: list[str], operator: str) -> str:
        half = len(items) // 2
        both = (items[:half], items[half:])
        return items[0] if not half else f"({operator.join(halved(part, operator) for part in both)})"

    step = f"{halved(terms, '+')} + {halved(factors, '*')} + arriving"
    J = evaluate_tree(derive_model(made(step={"V_m": step})).J[0, 0], {OLD + "V_m": 0.01})
    by_hand = sum(k * np.exp(0.01 * k) for k in range(1, 150))
    by_hand += np.prod([1 + 0.01 * k for k in range(1, 70)]) * sum(k / (1 + 0.01 * k) for k in range(1, 70))
    np.testing.assert_allclose(J, by_hand, rtol=1e-12)


LONG = "*".join(f"tanh({k}*V_m + exp({k}*V_m))" for k in range(1, 61))


def test_a_long_product_is_not_written_out() -> None:
    """Its derivative has 60 terms of 60 factors: written out, these are 25 000 lines of C."""
    model = made(step={"V_m": f"{LONG} + arriving"})
    assert compiler._generate_source(model, compiler.Part("quick", "double"), NO_LEARNS).count("\n") < 12_000
    given = {"exp": np.exp, "tanh": np.tanh, "V_m": -0.01 + 1e-30j}
    by_complex_step = eval(LONG, {}, given).imag / 1e-30
    np.testing.assert_allclose(
        evaluate_tree(derive_model(model).J[0, 0], {OLD + "V_m": -0.01}), by_complex_step, rtol=1e-12
    )


@pytest.mark.parametrize(
    ("text", "integrator"), [(LONG, "euler"), ("*".join(f"(V_m + {k})" for k in range(1, 71)), "exponential_euler")]
)
def test_what_is_long_is_seen_to_be_not_linear(text: str, integrator: str) -> None:
    """Second derivatives of products have as many terms as there are pairs of factors: a minute of work."""
    model = made(step=None, dynamics={"V_m": f"-V_m/tau_m + {text}"}, jumps={"V_m": "arriving"}, integrator=integrator)
    start = time.process_time()
    assert model.equations.integration == integrator
    assert time.process_time() - start < 6.0


def test_what_is_long_and_linear_is_integrated_exactly() -> None:
    rates = "*".join(f"(tanh(tau_m + {k}) + E_L/E_L)" for k in range(60))
    text = f"-(V_m - I)*{rates}/2**60/tau_m + where(tau_m > 0, V_m, I)*0*({rates})"
    model = made(step=None, dynamics={"V_m": text}, parameters={"tau_m": [10.0, "ms"], "E_L": [-70.0, "mV"]})
    assert model.equations.integration == "exact"


@pytest.mark.parametrize("name", library.list_names())
def test_derivatives_of_long_trees_are_those_of_sympy(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = library.get_definition(name)
    learns = Learns(tuple(sorted({*model.parameters, "I_e"} - {*NEVER_LEARNED})))
    by_sympy = _Deriving(model, learns).derive_all()
    monkeypatch.setattr(terms, "LONG", -1)
    found, read = _Deriving(model, learns).derive_all(), dict[str, float]()
    for by in (by_sympy, found):
        names = {*model.names, *(OLD + state for state in model.states), "dt"}
        values = {key: float(np.random.default_rng(sum(map(ord, key))).uniform(0.5, 2.0)) for key in sorted(names)}
        read = with_terms(with_terms(values, model.equations.constants | by.constants), by.terms)
        tables = [by.J, by.U, by.v, by.h, by.R, *vars(by.learned).values()]
        numbers = [{at: evaluate_tree(tree, read) for at, tree in table.items()} for table in tables]
        if by is by_sympy:
            wanted = numbers
    for table, by_symbols in zip(numbers, wanted, strict=True):
        for at in table.keys() | by_symbols.keys():
            np.testing.assert_allclose(table.get(at, 0.0), by_symbols.get(at, 0.0), rtol=1e-9, atol=1e-12)


def test_a_branch_that_is_not_taken_has_no_part_in_a_long_derivative(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terms, "LONG", -1)
    text = "where(V_m > 0, log(V_m), V_m)*min(V_m, exp(1000 - V_m)) + abs(V_m)**2/(V_m - 3) + V_m**V_m - 2*V_m/V_m/5"
    by = _Deriving(made(step={"V_m": f"{text} + arriving"}), NO_LEARNS).derive_all()
    a = 1.0 + np.log(1.5) + (2 * 1.5 * (1.5 - 3) - 1.5**2) / (1.5 - 3) ** 2 + 1.5**1.5 * (np.log(1.5) + 1)
    np.testing.assert_allclose(evaluate_tree(by.J[0, 0], {OLD + "V_m": 1.5}), a, rtol=1e-12)
    wanted = 2 * -1.0 + (2 * -1.0 * (-1.0 - 3) - 1.0) / (-1.0 - 3) ** 2
    by = _Deriving(made(step={"V_m": text.replace(" + V_m**V_m", "") + " + arriving"}), NO_LEARNS).derive_all()
    np.testing.assert_allclose(evaluate_tree(by.J[0, 0], {OLD + "V_m": -1.0}), wanted, rtol=1e-12)


def test_more_code_than_a_compiler_takes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiler, "_LINES", 1500)  # a fortieth
    groups = {i: ["+".join(f"tanh(s{i}*{g}{k}.{i})" for k in range(20)) for g in range(1, 3)] for i in range(2)}
    step = {f"s{i}": f"({')+('.join(some)})" for i, some in groups.items()}
    model = made(states={name: [0.0, "1"] for name in step}, step=step, spike="s0 - 1", reset=None, ports=["a"])
    with pytest.raises(InputError, match=r"neuron model 'mine': its equations become \d+ lines of C, more than 1500"):
        compiler.compile_model(model)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"step": {"V_m": "V_m + E_L/(V_m - V_m) + arriving"}}, "step: V_m"),
        ({"step": {"V_m": "alpha*V_m*sqrt(V_m - V_m - 1) + arriving"}}, "step: V_m"),
        ({"spike": "V_m*log(tau_m - tau_m)"}, "spike"),
        ({"reset": {"V_m": "E_L + log(V_m - V_m)"}, "follow": ["V_m"]}, "reset: V_m"),
        ({"step": None, "dynamics": {"V_m": "-V_m/(tau_m - tau_m)"}}, "dynamics: V_m"),
        ({"step": None, "integrator": "rk4", "dynamics": {"V_m": "V_m**2/(tau_m - tau_m)"}}, "dynamics: V_m"),
    ],
)
def test_what_is_no_number_once_it_is_simplified(changes: dict, told: str) -> None:
    with pytest.raises(InputError, match=f"^neuron model 'mine': {told}.* holds a number that is not finite"):
        derive_model(made(**changes))


def test_powers_of_numbers_are_taken_by_floats() -> None:
    """An exact power of these numbers would fill the memory."""
    tiny, near = "(1/3)**(2**40)", "(999999999/1000000000)**1000000000"
    by = derive_model(made(step={"V_m": f"{tiny}*V_m*V_m + {near}*V_m + arriving"}))
    J = evaluate_tree(by.J[0, 0], {OLD + "V_m": 1.0})
    np.testing.assert_allclose(J, np.exp(1e9 * np.log1p(-1e-9)), rtol=1e-6)
    for power in ("(2*V_m)**(2**40)", "((((2*V_m)**64)**64)**64)**64"):
        with pytest.raises(InputError, match="step: V_m: its derivative by V_m holds a number that is not finite"):
            derive_model(made(step={"V_m": f"{power} + arriving"}))


def test_division_by_zero_at_the_start() -> None:
    with pytest.raises(InputError, match=r"constants: alpha is nan, where .*tau_m = 0"):
        made(constants={"alpha": "0/tau_m"}).check_start({"tau_m": 0.0}, 1.0)
    with pytest.raises(InputError, match=r"step: V_m at the initial state is -?inf, where .*V_m = -70"):
        made(step={"V_m": "alpha/(V_m - E_L) + arriving"}).check_start({}, 1.0)
    with pytest.raises(InputError, match="surrogate at the initial state"):
        made(surrogate="log(x - x - 1)").check_start({}, 1.0)


def test_a_state_that_runs_away() -> None:
    with pytest.raises(InputError, match="runs away"):
        made(step={"V_m": "V_m*V_m + arriving"}, reset=None, spike="0*V_m - 1").check()


@pytest.mark.parametrize("name", library.list_names())
def test_forms(name: str) -> None:
    """JSON holds all of a model; the hash is that of the equations, not of the words about them."""
    model = library.get_definition(name)
    again = NeuronModel.from_json(name, model.to_json())
    assert again == model and again.digest == model.digest and again.to_dict() == model.to_dict()
    changed = NeuronModel.from_dict(name, model.to_dict() | {"description": "another word"})
    assert changed == model
    other = json.loads(model.to_json())
    other["spike"] += " + 1"
    assert NeuronModel.from_dict(name, other) != model


def test_forms_of_ports() -> None:
    """A table tells signs beside names; the equations, by which a program is known, are those of the list."""
    plain, step = made(ports=["a", "b"], step={"V_m": "a - b"}), {"V_m": "a - b"}
    signed = made(ports={"a": "positive", "b": "any"}, step=step)
    assert signed.ports == plain.ports == ("a", "b") and signed.positive == {"a"} and not plain.positive
    assert signed.digest == plain.digest and signed != plain
    assert made(ports={"a": "any", "b": "any"}, step=step) == plain
    again = NeuronModel.from_json("mine", signed.to_json())
    assert again == signed and again.to_dict()["ports"] == {"a": "positive", "b": "any"}
    assert made(ports={"arriving": "positive"}).to_dict()["ports"] == {"arriving": "positive"}


def test_no_json() -> None:
    for text in ("{", "[" * 100_000, "5"):
        with pytest.raises(InputError, match="neuron model 'mine'"):
            NeuronModel.from_json("mine", text)


NUMBERS = st.floats(-3, 3).map(lambda x: ("number", round(x, 3)))
LEAVES = st.one_of(NUMBERS, st.sampled_from([("name", "a"), ("name", "b")]))
TREES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.tuples(
            st.sampled_from(["+", "-", "*", "/", "**", "<", ">=", "==", "and", "or", "min", "max"]), inner, inner
        ),
        st.tuples(st.sampled_from(["neg", "not", "exp", "tanh", "abs", "detach"]), inner),
        st.tuples(st.just("where"), inner, inner, inner),
    ),
    max_leaves=12,
)


@settings(max_examples=200)
@example(("**", ("number", -0.0), ("number", 0.0)))
@given(TREES)
def test_what_is_written_reads_the_same(tree: tuple) -> None:
    again = parse_expression(write(tree), ["a", "b"], "here", internal=True)
    values = {"a": np.array([0.5, -1.5]), "b": np.array([2.0, 0.25])}
    np.testing.assert_array_equal(evaluate_tree(again, values), evaluate_tree(tree, values))


@settings(max_examples=300)
@given(st.text(alphabet="ab()+-*/<>=., 19enotrwh_\n\t", max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        parse_expression(text, ["a", "b"], "here")
    except InputError as problem:
        assert "\n" not in str(problem)


def test_json_with_a_key_twice(tmp_path: Path) -> None:
    """As in TOML: neither of two values counts in silence."""
    path, entry = tmp_path / "mine.json", '"spike": "V_m - 1"'
    path.write_text(f'{{"neuron_models": {{"mine": {{"spike": "V_m", {entry}}}}}}}')
    with pytest.raises(InputError, match=r"^cannot read .*mine\.json: key 'spike' stands twice$"):
        library.load_definitions(path)
