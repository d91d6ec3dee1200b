"""Networks of neurons that are given as equations, in both engines: golden cases, ports, precision, restart."""

import re
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from case_files import find
from commands import command, verify_on_ranks
from small import Noise, network

from pareprop.errors import InputError
from pareprop.network.model import Model
from pareprop.network.optimizers import GradientDescent
from pareprop.network.parameters import Normal
from pareprop.neurons import compile as compiling
from pareprop.neurons import library
from pareprop.rules import library as rules
from pareprop.rules import program as rule_program
from pareprop.rules.definition import Eprop, LearningRule
from pareprop.simulation import building
from pareprop.simulation.loop import Simulation

CASES = find("neurons")


def edit_copy(path: str, target: Path, change) -> Path:
    shutil.copy(path, target)
    target.chmod(0o644)
    with h5py.File(target, "r+") as file:
        change(file)
    return target


NOISE = Noise(np.full((60, 1), 0.5), 8)


def small(variant: str, precision: str = "double", kinds: tuple[str, ...] = ("iaf_psc_exp", "adex")) -> Model:
    """Two populations of models with one port and with two, and one of a model of the package."""
    rule = GradientDescent(eta=1e-4, Wmin=-1e4, Wmax=1e4)
    model = Model(variant, seed=3, precision=precision, optimizer=rule)
    inputs, out = model.inputs("in", 8), model.readouts("out", 1, C_m=1.0, tau_m=20.0)
    for name in kinds:
        definition = library.get_definition(name)
        cells = model.neurons(name, 5, definition, C_m=Normal(mean=200.0, std=5.0), I_e=300.0, c_reg=1.0)
        model.connect(inputs, cells, weight=Normal(mean=60.0, std=20.0), port=definition.ports[-1])
        model.connect(cells, out, weight=Normal(std=0.5))
        model.connect(out, cells, weight=Normal(std=1.0))
    plain = model.neurons("plain", 4, "iaf", I_e=400.0)
    model.connect(inputs, plain, weight=Normal(mean=3.0, std=1.0))
    model.connect(plain, out, weight=Normal(std=0.5))
    return model


@pytest.mark.slow
@pytest.mark.mpi
def test_cases_of_equations_hold_on_any_number_of_ranks() -> None:
    verify_on_ranks(CASES, "", (2, 1))


@pytest.mark.parametrize("key", ["expected/states/V_m", "expected/surrogate_gradient"])
def test_a_wrong_state_does_not_hold(capsys: pytest.CaptureFixture, tmp_path: Path, key: str) -> None:
    def edit(file: h5py.File) -> None:
        file[key][5, 0] += 1e-6

    case = edit_copy(next(path for path in CASES if "interval-adex" in path), tmp_path / "case.h5", edit)
    code, output, _ = command(capsys, "verify", case)
    assert code == 1 and "DOES NOT HOLD" in output


BAD = {
    "ports": (lambda file: file.attrs.__setitem__("port_in", "dendrite"), "port = 'dendrite' must be one of exc, inh"),
    "number of ports": (lambda file: file.attrs.__setitem__("port_in", ["exc"] * 3), "'port_in' names 3 ports"),
    "no JSON": (lambda file: file.attrs.__setitem__("neuron_models", "{"), "'neuron_models' is not JSON"),
}


@pytest.mark.parametrize("name", BAD)
def test_unusable_case_of_equations(capsys: pytest.CaptureFixture, tmp_path: Path, name: str) -> None:
    edit, message = BAD[name]
    source = next(path for path in CASES if "interval-iaf-psc-exp" in path)
    code, output, errors = command(capsys, "verify", edit_copy(source, tmp_path / "case.h5", edit))
    assert (code, output) == (2, "")
    assert re.fullmatch(r"pareprop: error: case [^\n]+\n", errors) and message in errors


def test_port_of_a_model_of_the_package() -> None:
    model = Model("interval")
    inputs, cells, out = model.inputs("in", 2), model.neurons("rec", 2), model.readouts("out", 1)
    with pytest.raises(InputError, match=r"^projection 'in->rec': port = 'exc' must be one of arriving, the ports"):
        model.connect(inputs, cells, port="exc")
    with pytest.raises(InputError, match=r"^projection 'rec->out': port = 'exc' is for spikes onto neurons$"):
        model.connect(cells, out, port="exc")


def test_unknown_parameter_and_length() -> None:
    model = Model("interval")
    with pytest.raises(InputError, match=r"unknown parameter 'tau_ww', did you mean 'tau_w'\?"):
        model.neurons("rec", 2, library.get_definition("adex"), tau_ww=1.0)
    with pytest.raises(InputError, match=r"^population 'rec': tau_w has 3 values for 2 neurons$"):
        model.neurons("rec", 2, library.get_definition("adex"), tau_w=[1.0, 2.0, 3.0])


@pytest.mark.parametrize("variant", ["interval", "spike"])
def test_state_continues_with_the_same_bits(variant: str) -> None:
    """A second simulation, loaded with the state of the first one, goes on as that does."""
    first, second = (Simulation(small(variant), NOISE) for _ in range(2))
    before = first.network.incoming.weight.copy()
    first.train(2)
    assert first.engine.n_spikes > 0 and np.any(first.network.incoming.weight != before)
    state = first.engine.state()
    shared = {name: array.copy() for name, array in state.shared.items()}
    shared |= {f"{name}_ids": log().ids.copy() for name, log in state.spikes.items()}
    shared |= {f"{name}_ptr": log().ptr.copy() for name, log in state.spikes.items()}
    second.engine.load_state(state.numbers, shared)
    loaded = second.engine.state()
    for kind in ("neurons", "rows", "synapses"):
        theirs, mine = getattr(state, kind), getattr(loaded, kind)
        assert list(theirs) == list(mine)
        for name, entry in theirs.items():
            pair = [item if kind == "neurons" else item[-1] for item in (entry, mine[name])]
            pair[1][...] = pair[0]
    second.engine.refresh_derived()
    outcomes = [run.engine.run(NOISE.sample(3)) for run in (first, second)]
    for run in (first, second):
        run.engine.step_optimizers()
    np.testing.assert_array_equal(outcomes[0][0], outcomes[1][0])
    np.testing.assert_array_equal(first.network.incoming.weight, second.network.incoming.weight)


@pytest.mark.parametrize("variant", ["interval", "spike"])
def test_forced_neurons_spike_when_they_are_told_to(variant: str) -> None:
    """One of each model spikes there and nowhere else, resets, and is refractory as after a spike of its own."""
    ids = np.array([1, 6, 11])
    due = np.random.default_rng(2).random((NOISE.n_steps, len(ids))) < 0.1
    found = {}
    for forced in (False, True):
        run = Simulation(small(variant, kinds=("iaf_psc_exp", "adex")), NOISE)
        run.engine.record_neurons(np.arange(14))
        if forced:
            run.engine.force_spikes(ids, due)
        run.train(1)
        steps, neurons = run.engine.get_received_spikes().list_spikes(NOISE.n_steps)
        raster = np.zeros((NOISE.n_steps, 14), bool)
        raster[steps, neurons] = True
        found[forced] = raster, run.engine.recorded.states
    others = np.setdiff1d(np.arange(14), ids)
    np.testing.assert_array_equal(found[True][0][:, ids], due)
    np.testing.assert_array_equal(found[True][0][:, others], found[False][0][:, others])
    assert np.any(found[False][0][:, ids] != due)
    reset = library.get_definition("adex").defaults["V_reset"]
    after = found[True][1]["V_m"][:, 6]
    np.testing.assert_array_equal(after[due[:, 1]], reset)  # recorded after the reset
    assert not np.any(after[~due[:, 1]] > 100.0)


@pytest.mark.parametrize("precision", ["double", "single"])
@pytest.mark.parametrize(
    ("variant", "algorithms", "options", "rule"),
    [
        ("interval", None, {}, {}),
        ("interval", None, {"learn": {"I_e": GradientDescent(eta=0.1, low=0.0, high=900.0)}}, {}),
        ("interval", None, {}, {"learning_rule": Eprop(through="leak")}),
        ("spike", None, {}, {}),
        ("spike", None, {"kappa_reg": 0.5}, {}),
        ("spike", "steps", {}, {}),
        ("spike", None, {"learn": {"I_e": GradientDescent(eta=0.1, low=0.0, high=900.0)}}, {}),
        ("spike", None, {}, {"learning_rule": Eprop(through="leak")}),
        ("interval", None, {}, {"learning_rule": rules.get_definition("clopath")}),
        ("spike", None, {}, {"learning_rule": rules.get_definition("clopath")}),
    ],
)
def test_no_rank_compiles_by_itself(
    monkeypatch, tmp_path: Path, variant: str, precision: str, algorithms, options: dict, rule: dict
) -> None:
    """All that a run needs is compiled on one rank before; what lacked then, all ranks would compile at once."""
    compile_models = building.compile_models

    def compile_once(*given: object) -> None:
        compile_models(*given)
        monkeypatch.setattr(compiling, "fetch_parts", None)

    for known in (compiling, rule_program):
        monkeypatch.setattr(known, "_programs", {})
    monkeypatch.setattr(building, "compile_models", compile_once)
    monkeypatch.setenv("PAREPROP_CACHE", str(tmp_path))
    own = {"kind": library.get_definition("adex"), "cell": {"I_e": 300.0} | options, "into": {"weight": 60.0} | rule}
    optimizer = GradientDescent(eta=1e-4, Wmin=-1e4, Wmax=1e4)
    model = network(variant, 8, 5, **own, onto=0.5, back=1.0, precision=precision, optimizer=optimizer)
    run = Simulation(model, NOISE, algorithms=algorithms)
    run.train(2)
    assert compiling.fetch_parts is None and run.iteration == 2
    of_rule = [path.stem.partition("-rule_")[2] for path in tmp_path.iterdir() if path.stem.startswith("clopath")]
    assert of_rule == [f"{variant}-{precision}"] * isinstance(rule.get("learning_rule"), LearningRule)
