"""Models whose kernels are compiled with the package; what compiled models do with constants that are shared."""

import shlex
import subprocess
from pathlib import Path

import numpy as np
import pytest

from pareprop import kernels
from pareprop.neurons import built_in, library
from pareprop.neurons.calls import Cells
from pareprop.neurons.compile import Part, compile_model
from pareprop.neurons.language import evaluate_tree, parse_expression
from pareprop.neurons.surrogates import SURROGATES


def test_the_default_surrogates_are_in_the_package() -> None:
    """None is compiled by its first user, who may have no compiler."""
    for name in library.nest_names():
        assert kernels.neuron_models.find(built_in.find_model(name, built_in.DEFAULT).digest), name
    assert kernels.neuron_models.find(library.get_definition("adex").digest) is None


def test_wheels_have_all_surrogates(tmp_path: Path) -> None:
    """What the compiler finds where the build defines PAREPROP_MODELS, and where it does not."""
    folder = Path(kernels.build_info.__file__).parent
    headers = {name: (folder / name).read_text() for name in ("elementary.h", "lanes.h", "neuron_model.h")}
    (tmp_path / "models.c").write_text(built_in.write_source(headers))
    command = [*shlex.split(kernels.build_info.compiler), "-E", str(tmp_path / "models.c")]
    for surrogates, option in ((SURROGATES, "-DPAREPROP_MODELS"), ([built_in.DEFAULT], "-P")):
        done = subprocess.run([*command, option], capture_output=True, text=True, check=True)
        for name in library.nest_names():
            found = {each for each in SURROGATES if f'"{built_in.find_model(name, each).digest}"' in done.stdout}
            assert found == {*surrogates}, name
    subprocess.run([*command, "-DPAREPROP_MODELS", "-fsyntax-only", "-Werror"], check=True, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize("surrogate", SURROGATES)
def test_each_surrogate_is_that_of_its_formula(surrogate: str) -> None:
    """At a step of a neuron of NEST's from the package, or compiled here, in the voltage before."""
    model = built_in.find_model("iaf_psc_delta", surrogate)
    cells = Cells(compile_model(model, parts=[Part("step")]), 30, {"V_th": -55.0}, 1.0, kinds=("step",))
    cells.state[:] = np.random.default_rng(2).uniform(0.0, 20.0, cells.state.shape)
    psi = cells.step(np.zeros((1, 30)), np.zeros(30))[1]
    named = cells.program.compute_values({"V_th": -55.0}, 1.0)
    named |= dict(zip(model.states, cells.state, strict=True))
    x = evaluate_tree(model.equations.spike, named)
    expected = evaluate_tree(parse_expression(SURROGATES[surrogate], ["x", *named], "psi"), named | {"x": x})
    np.testing.assert_allclose(psi[cells.z == 0], expected[cells.z == 0], rtol=1e-12)


@pytest.mark.parametrize("name", [*library.nest_names(), "adex", "iaf_psc_exp", "iaf_cond_exp"])
def test_states_counted_from_a_parameter_are_those_of_the_same_neuron(name: str) -> None:
    """Each expression of the written equations, at random states, against the same one in shifted states."""
    model = library.get_definition(name)
    moved, rng = built_in.count_from(model, "E_L"), np.random.default_rng(3)
    values = {
        key: value * rng.uniform(0.9, 1.1, 50) if abs(value) < 1e3 else value for key, value in model.defaults.items()
    }
    values = model.complete_values(values, 0.5)
    now = {
        key: rng.uniform(-80.0, -40.0, 50) if unit == "mV" else rng.random(50)
        for key, (_, unit) in model.states.items()
    }
    rest = {key: rng.random(50) for key in (*model.ports, "I")} | {
        key: rng.integers(0, 2, 50).astype(float) for key in ("z", "refractory")
    }
    voltages = [key for key, (_, unit) in model.states.items() if unit == "mV"]
    lowered = now | {key: now[key] - values["E_L"] for key in voltages}
    for key in ("step", "traces", "reset"):
        written, shifted = getattr(model.equations, key), getattr(moved.equations, key)
        assert written.keys() == shifted.keys()
        for state, tree in written.items():
            expected = evaluate_tree(tree, values | now | rest) - (values["E_L"] if state in voltages else 0.0)
            np.testing.assert_allclose(
                evaluate_tree(shifted[state], values | lowered | rest), expected, rtol=0, atol=1e-11
            )
    np.testing.assert_allclose(
        evaluate_tree(moved.equations.spike, values | lowered),
        evaluate_tree(model.equations.spike, values | now),
        atol=1e-11,
    )
    for state, initial in moved.compute_initial(values).items():
        expected = model.compute_initial(values)[state] - (values["E_L"] if state in voltages else 0.0)
        np.testing.assert_allclose(initial, expected, atol=1e-12)


@pytest.mark.parametrize("real", [np.float64, np.float32])
@pytest.mark.parametrize("name", ["iaf_psc_exp", "adex", "iaf_cond_exp"])
def test_constants_that_are_shared_give_the_same_bits(name: str, real: type) -> None:
    """Those of the first neuron for all, or a column each."""
    program, rng = compile_model(library.get_definition(name)), np.random.default_rng(1)
    one, each = (Cells(program, 37, {"t_ref": 2.0}, 0.5, real) for _ in range(2))
    assert one.shared == 1
    each.shared = 0
    adjoint = np.zeros((2, program.n_adjoint, 37), real)
    for _ in range(60):
        ports, level = rng.uniform(0.0, 40.0, (program.n_ports, 37)).astype(real), rng.uniform(0.0, 900.0, 37)
        signal, rate = rng.normal(size=(2, 37)).astype(real)
        found = []
        for cells, own in zip((one, each), adjoint, strict=True):
            before = cells.before.copy()
            z, psi, kept = cells.step(ports.copy(), level)
            cells.before[...] = kept
            found.append(
                [z, psi, kept, cells.state.copy(), cells.run_backward_step(before, kept, 0.1, signal, rate, own, psi)]
            )
        for first, second in zip(*found, strict=True):
            np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(*adjoint)
