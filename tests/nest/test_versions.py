"""Scripts of older versions of NEST; the numbers are those published with NEST's tests and with the paper's code."""

import re
from pathlib import Path

import numpy as np
import pytest
from test_suite import run_pytest
from tutorials import find_shipped, run

import pareprop.nest as nest
from pareprop.nest import errors
from pareprop.network.local import draw_cell_values

FILE = "pytests/synapses/test_eprop_bsshslm_2020_plasticity.py"


def as_of_38(code: str) -> str:
    """The test file with the parameters of NEST 3.7 and 3.8: no width, and c_reg over the steps of the window."""
    code = re.sub(r"^ *params_nrn_\w+\[.surrogate_gradient_(height|width).\] .*\n", "", code, flags=re.M)
    code = re.sub(r'^ *"surrogate_gradient_width": .*\n', "", code, flags=re.M)
    code = code.replace('"surrogate_gradient_height": 0.3', '"gamma": 0.3')
    head, classification = code.split("def test_eprop_classification")
    return head + "def test_eprop_classification" + classification.replace('"c_reg": 300.0', '"c_reg": 2.0')


@pytest.mark.peer
@pytest.mark.slow
def test_losses_of_nest_3_8(tmp_path: Path) -> None:
    """Regression and classification: 101.964363098144, 103.466735839843, 103.340606689453 and so on."""
    file = tmp_path / "test_old.py"
    file.write_text(as_of_38(find_shipped(FILE).read_text()))
    printed = run_pytest(tmp_path, "-k", "regression or classification", file)
    assert re.search(r"\b3 passed\b", printed), printed[-3000:]


SCRIPT = """
import nest
nest.ResetKernel()
nest.set(resolution=1.0)
parrot = nest.Create("parrot_neuron")
neurons = nest.Create("{model}", 2, {values})
nest.Connect(parrot, neurons, "all_to_all", {{"synapse_model": "{synapse}", "delay": 1.0}})
nest.Simulate(10.0)
events_x = {{"none": 0.0}}
"""
INTERVAL = {"model": "eprop_iaf_bsshslm_2020", "synapse": "eprop_synapse_bsshslm_2020"}
SPIKE = {"model": "eprop_iaf", "synapse": "eprop_synapse"}


@pytest.fixture
def fresh() -> None:
    errors._given.clear()
    nest.ResetKernel()
    yield
    nest.ResetKernel()


def network(models: dict[str, str], **values: object) -> nest.NodeCollection:
    """Neurons that learn."""
    nest.set(resolution=1.0)
    neurons = nest.Create(models["model"], 2, {"E_L": -10.0, "V_m": -10.0, "V_th": -8.0} | values)
    synapse = {"synapse_model": models["synapse"], "delay": 1.0}
    nest.Connect(nest.Create("parrot_neuron"), neurons, "all_to_all", synapse)
    return neurons


def wired() -> dict[str, float]:
    """Parameters of the neurons that are simulated."""
    nest.Simulate(10.0)
    from pareprop.nest.kernel import kernel

    network = kernel.clock.network
    population = network.pieces[0].population
    names = (name for name, value in population.params if not isinstance(value, str | None))
    return {
        name: float(draw_cell_values(network.model, population, name, getattr(population.params, name), 0, 1)[0])
        for name in names
    }


@pytest.mark.parametrize(
    ("models", "values", "version", "height", "width"),
    [
        (INTERVAL, {"gamma": 0.3}, "3.8", 0.15, 2.0),
        (INTERVAL, {"gamma": 0.3, "beta": 4.0}, "3.9", 0.3, 0.25),
        (INTERVAL, {"gamma": 0.3, "surrogate_gradient_function": "exponential"}, "3.9", 0.3, 1.0),
        (SPIKE, {"gamma": 0.3}, "3.9", 0.3, 1.0),
        (SPIKE, {"surrogate_gradient_function": "arctan", "beta": 2.0}, "3.9", 0.3 / np.pi, 0.5 / np.pi),
    ],
)
def test_the_version_is_told_by_names(
    models: dict, values: dict, version: str, height: float, width: float, fresh: None
) -> None:
    network(models, **values)
    with pytest.warns(errors.NESTWarning, match=f"taken as a script of NEST {version}"):
        cells = wired()
    assert np.isclose(cells["surrogate_gradient_height"], height)
    assert np.isclose(cells["surrogate_gradient_width"], width)


def test_names_of_today_tell_nothing(fresh: None, recwarn: pytest.WarningsRecorder) -> None:
    network(INTERVAL, surrogate_gradient_height=0.3)
    assert wired()["surrogate_gradient_height"] == 0.3 and not recwarn.list


def test_names_that_contradict_each_other_ask_for_the_version(fresh: None) -> None:
    network(INTERVAL, gamma=0.3, surrogate_gradient_width=0.3)
    with pytest.raises(nest.NESTErrors.NotImplemented, match=r"--as 3.7\|3.8\|3.9\|3.10"):
        nest.Simulate(10.0)


@pytest.mark.parametrize(
    ("version", "models", "values", "told"),
    [
        ("3.7", INTERVAL, {"beta": 1.0}, "'beta' is a name of NEST 3.9"),
        ("3.10", INTERVAL, {"gamma": 1.0}, "'gamma' is a name of NEST 3.7, 3.8, 3.9"),
        ("3.9", INTERVAL, {"surrogate_gradient_height": 1.0}, "is a name of NEST 3.10"),
        ("3.8", SPIKE, {}, "eprop_iaf came with NEST 3.9"),
    ],
)
def test_names_of_other_versions_are_refused(version: str, models: dict, values: dict, told: str, fresh: None) -> None:
    nest.set(eprop_as=version)
    with pytest.raises(nest.NESTError, match=told):
        network(models, **values)


def test_c_reg_is_not_averaged_in_nest_3_8(fresh: None) -> None:
    """What averages gradients divides them by the window, so that c_reg takes it."""
    nest.set(eprop_as="3.8", eprop_learning_window=150.0)
    nest.SetDefaults(INTERVAL["synapse"], {"average_gradient": True})
    network(INTERVAL, c_reg=2.0)
    assert wired()["c_reg"] == 300.0


@pytest.mark.parametrize(
    ("version", "there", "not_there"),
    [
        ("3.8", {"gamma"}, {"beta", "surrogate_gradient_height", "surrogate_gradient_width"}),
        ("3.9", {"gamma", "beta"}, {"surrogate_gradient_height", "surrogate_gradient_width"}),
        ("3.10", {"surrogate_gradient_height", "surrogate_gradient_width"}, {"beta", "gamma"}),
    ],
)
def test_defaults_have_the_names_of_the_version(version: str, there: set, not_there: set, fresh: None) -> None:
    """Scripts leave out parameters that `GetDefaults` does not show."""
    nest.set(eprop_as=version)
    neuron = nest.Create(INTERVAL["model"])
    for shown in ({*nest.GetDefaults(INTERVAL["model"])}, {*neuron.get()}):
        assert there <= shown and not not_there & shown
    if version == "3.9":
        neuron.set({"gamma": 0.5, "beta": 4.0})
        assert neuron.get(["gamma", "beta"]) == {"gamma": 0.5, "beta": 4.0} and neuron.get()["beta"] == 4.0
        assert nest.GetDefaults(SPIKE["model"], ["gamma", "beta", "eprop_isi_trace_cutoff"]) == [0.3, 1.0, 1000.0]
        assert nest.Create(SPIKE["model"]).eprop_isi_trace_cutoff == 1000.0


def test_the_cutoff_of_nest_3_9(fresh: None) -> None:
    nest.set(eprop_as="3.9")
    network(SPIKE)
    nest.Simulate(1.0)
    from pareprop.nest.kernel import kernel

    neurons = kernel.clock.model.of_role("recurrent")[0]
    assert neurons.params.eprop_isi_trace_cutoff == 1000.0


@pytest.mark.slow
def test_the_command_takes_a_version(tmp_path: Path) -> None:
    code = SCRIPT.format(**INTERVAL, values={"gamma": 0.3, "V_th": -50.0})
    assert "taken as" not in run(code, tmp_path, options=("--as", "3.9"))["told"]
    assert "taken as a script of NEST 3.8" in run(code, tmp_path)["told"]
