"""What connections tell, and which are not made: as NEST 3.10."""

from collections.abc import Callable

import numpy as np
import pytest

import pareprop.nest as nest


@pytest.fixture(autouse=True)
def fresh() -> None:
    nest.ResetKernel()


def test_delays_are_set_before_the_first_step() -> None:
    one, other = nest.Create("eprop_iaf", 2)
    nest.Connect(one, other, "one_to_one", {"delay": 2.0})
    nest.Connect(other, one, "one_to_one", {"synapse_model": "eprop_synapse", "delay": 0.1})
    static, learning = (nest.GetConnections(synapse_model=name) for name in ("static_synapse", "eprop_synapse"))
    static.set(delay=5.0)
    assert (static.delay, learning.delay) == (5.0, 0.1) and (nest.min_delay, nest.max_delay) == (0.1, 5.0)
    with pytest.raises(nest.NESTErrors.IllegalConnection, match="need a delay of one step"):
        learning.delay = 0.2
    with pytest.raises(nest.NESTErrors.BadDelay):
        static.delay = 0.0
    nest.Simulate(1.0)
    with pytest.raises(nest.NESTErrors.NotImplemented, match="another delay of connections after the first step"):
        static.delay = 2.0


def test_each_connection_tells_its_thread_and_model() -> None:
    nest.set(local_num_threads=2)
    nodes, recorder = nest.Create("eprop_iaf", 3), nest.Create("spike_recorder")
    nest.Connect(nodes, nodes)
    nest.Connect(nodes, recorder)
    found = nest.GetConnections(nodes[:2]).get(["target", "target_thread", "synapse_id", "port"])
    assert found["target"] == [1, 2, 3, 1, 2, 3, 4, 4]
    assert found["target_thread"] == [1, 0, 1, 1, 0, 1, 1, 0]  # of a recorder: where the source is
    assert set(found["synapse_id"]) == {nest.GetDefaults("static_synapse", "synapse_modelid")}
    assert found["port"] == [0, 0, 1, 2, 1, 3, 0, 0]


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda n: nest.Connect(n, nest.NodeCollection()), "IllegalConnection", "a NodeCollection is empty"),
        (lambda n: nest.Connect(n, nest.Create("voltmeter")), "IllegalConnection", "connection is not possible"),
        (lambda n: nest.Connect(np.array([1, 1]), np.array([2, 3])), "ValueError", "the rule 'one_to_one' only"),
    ],
    ids=["empty", "to a voltmeter", "repeats"],
)
def test_connections_that_are_not_made(call: Callable, error: str, text: str) -> None:
    nodes = nest.Create("eprop_iaf", 3)
    with pytest.raises(nest.NESTError, match=text) as caught:
        call(nodes)
    assert error in [base.__name__ for base in type(caught.value).__mro__]
    assert nest.num_connections == 0


@pytest.mark.parametrize(
    ("target", "synapse", "error"),
    [
        ("eprop_iaf", {"receptor_type": 3}, "UnknownReceptorType"),
        ("eprop_readout", {"synapse_model": "eprop_synapse", "receptor_type": 1, "delay": 0.1}, "UnknownReceptorType"),
        ("parrot_neuron", {"receptor_type": 2}, "UnknownReceptorType"),
        ("spike_generator", {}, "IllegalConnection"),
    ],
)
def test_ends_that_take_no_spikes(target: str, synapse: dict, error: str) -> None:
    nodes, other = nest.Create("eprop_iaf", 2), nest.Create(target)
    with pytest.raises(getattr(nest.NESTErrors, error)):
        nest.Connect(nodes, other, "all_to_all", synapse)
    with pytest.raises(nest.NESTErrors.IllegalConnection, match="readouts send no spikes"):
        nest.Connect(nest.Create("eprop_readout"), nodes)
    assert not nest.GetConnections() and nest.GetConnections().get() == {}


def test_values_as_text() -> None:
    """As NEST gives them."""
    nodes, recorder = nest.Create("eprop_iaf", 2), nest.Create("spike_recorder")
    nest.Connect(nodes, nodes[0])
    assert nodes.get("V_m", output="json") == "[-70.0, -70.0]" and nodes[0].get("V_m", output="json") == "-70.0"
    assert nodes.get(["V_m", "C_m"], output="json") == '{"V_m": [-70.0, -70.0], "C_m": [250.0, 250.0]}'
    assert recorder.get("events", output="json") == '{"senders": [], "times": []}'
    assert nest.GetDefaults("eprop_iaf", ["V_m", "C_m"], output="json") == "[-70.0, 250.0]"
    assert nest.GetStatus(nodes, ["V_m"], output="json") == "[[-70.0], [-70.0]]"
    found = nest.GetConnections()
    assert found.get(["weight", "source"], output="json") == '{"weight": [1.0, 1.0], "source": [1, 2]}'
    with pytest.raises(IndexError):
        found[9]


def test_weight_recorders_are_what_they_are_called() -> None:
    with pytest.raises(nest.NESTErrors.BadProperty, match="is a spike_recorder, it must be a weight_recorder"):
        nest.SetDefaults("eprop_synapse", {"weight_recorder": nest.Create("spike_recorder")})
    with pytest.raises(nest.NESTErrors.TypeMismatch, match="weight_recorder = 3 must be a NodeCollection"):
        nest.SetDefaults("eprop_synapse", {"weight_recorder": 3})


@pytest.mark.parametrize(("weight", "bound"), [(780.0, "most Wmax = 100"), (-101.0, "least Wmin = -100")])
def test_weights_beyond_their_bounds_tell_where_these_are_set(weight: float, bound: str) -> None:
    synapse = {"synapse_model": "eprop_synapse", "weight": weight}
    nest.Connect(nest.Create("parrot_neuron"), nest.Create("eprop_iaf"), "all_to_all", synapse | {"delay": 0.1})
    told = f"weight = {weight:g} must be at {bound} of its optimizer"
    with pytest.raises(nest.NESTErrors.BadProperty, match=f"{told}$"):
        nest.Simulate(1.0)
    nest.ResetKernel()
    nest.SetDefaults("eprop_synapse", {"optimizer": {"Wmin": -200.0, "Wmax": 1000.0}})
    nest.Connect(nest.Create("parrot_neuron"), nest.Create("eprop_iaf"), "all_to_all", synapse | {"delay": 0.1})
    nest.Simulate(1.0)


def test_values_of_adam_do_not_matter_to_gradient_descent() -> None:
    nest.SetDefaults("eprop_synapse", {"optimizer": {"type": "gradient_descent", "beta_1": 0.5}})
    assert "beta_1" not in nest.GetDefaults("eprop_synapse")["optimizer"]
    with pytest.raises(nest.NESTErrors.UnaccessedDictionaryEntry, match="beta of an optimizer"):
        nest.SetDefaults("eprop_synapse", {"optimizer": {"beta": 0.5}})


def test_any_resolution_where_no_update_interval_matters() -> None:
    nest.resolution = 0.3
    nest.Create("eprop_iaf")
    nest.Simulate(0.9)
    nest.ResetKernel()
    nest.resolution = 0.3
    nest.Create("eprop_iaf_bsshslm_2020")
    with pytest.raises(nest.NESTErrors.BadProperty, match="must be a multiple of the resolution"):
        nest.Simulate(0.9)
    assert nest.__version__ == nest.build_info["version"] == "3.10.0"


def test_single_connections_are_checked_anew_after_other_defaults() -> None:
    """What fits is remembered, with the receptor type that it had."""
    nest.ResetKernel()
    neuron = nest.Create("eprop_iaf")
    nest.Connect(neuron, neuron)
    nest.SetDefaults("static_synapse", {"receptor_type": 1})
    with pytest.raises(nest.NESTErrors.UnknownReceptorType):
        nest.Connect(neuron, neuron)
