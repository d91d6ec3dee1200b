"""What recorders and `get` give in other forms: figures of spikes and voltages, tables, texts."""

import json
from collections.abc import Iterator

import numpy as np
import pytest

import pareprop.nest as nest

pytestmark = pytest.mark.filterwarnings("ignore::pareprop.nest.errors.NESTWarning")


@pytest.fixture
def recorders() -> Iterator[tuple]:
    """Three neurons that spike, with a spike recorder and a meter; another recorder without spikes."""
    plt = pytest.importorskip("matplotlib.pyplot")
    plt.switch_backend("Agg")
    nest.ResetKernel()
    nest.resolution = 1.0
    neurons = nest.Create("eprop_iaf", 3, {"I_e": [600.0, 700.0, 800.0]})
    spikes, meter = nest.Create("spike_recorder", 2), nest.Create("multimeter", 1, {"record_from": ["V_m"]})
    nest.Connect(neurons, spikes[0])
    nest.Connect(meter, neurons)
    nest.Simulate(60.0)
    yield neurons, spikes, meter, plt
    plt.close("all")


def test_spikes_and_their_rate(recorders: tuple) -> None:
    _, spikes, _, plt = recorders
    drawn, rate = nest.raster_plot.from_device(spikes[0], hist=True, hist_binwidth=10.0, title="three neurons")
    (line,) = drawn.lines
    assert np.array_equal(line.get_xdata(), spikes[0].events["times"]) and len(line.get_xdata()) > 5
    assert np.array_equal(line.get_ydata(), spikes[0].events["senders"])
    seconds = 0.010 * 3  # of a bin, and three neurons
    assert sum(bar.get_height() * seconds for bar in rate.patches) == pytest.approx(spikes[0].n_events)
    assert rate.get_xlabel() == "Time (ms)" and plt.gcf().get_suptitle() == "three neurons"


def test_voltages(recorders: tuple) -> None:
    neurons, _, meter, _ = recorders
    lines = nest.voltage_trace.from_device(meter, timeunit="s")
    assert [line.get_label() for line in lines] == [f"Neuron {node}" for node in neurons.tolist()]
    mine = meter.events["senders"] == neurons[1].global_id
    assert np.array_equal(lines[1].get_ydata(), meter.events["V_m"][mine])
    assert lines[1].get_xdata()[-1] == pytest.approx(0.059)
    assert len(nest.voltage_trace.from_device(meter, neurons[:1].tolist(), grayscale=True)) == 1


@pytest.mark.parametrize(
    ("draw", "told"),
    [
        (lambda neurons, spikes, meter: nest.raster_plot.from_device(neurons), "one 'spike_recorder'"),
        (lambda neurons, spikes, meter: nest.raster_plot.from_device(spikes[1]), "No events recorded"),
        (lambda neurons, spikes, meter: nest.voltage_trace.from_device(spikes[0]), "one 'voltmeter' or 'multimeter'"),
        (lambda neurons, spikes, meter: nest.voltage_trace.from_device(meter, timeunit="h"), "must be one of ms, s"),
    ],
)
def test_what_cannot_be_drawn(draw, told: str, recorders: tuple) -> None:
    with pytest.raises(nest.NESTError, match=told):
        draw(*recorders[:3])


def test_tables(recorders: tuple) -> None:
    """As NEST's: rows are nodes, or sources of connections; events of a recorder fill one cell."""
    pytest.importorskip("pandas")
    neurons, spikes, meter, _ = recorders
    assert neurons.get("I_e", output="pandas").to_dict() == {"I_e": {1: 600.0, 2: 700.0, 3: 800.0}}
    assert neurons[0].get(["I_e", "C_m"], output="pandas").to_dict("list") == {"I_e": [600.0], "C_m": [250.0]}
    assert list(meter.get("events", "times", output="pandas").columns) == ["times"]
    assert list(spikes.get("events", ["times", "senders"], output="pandas").columns) == ["times", "senders"]
    nest.ResetKernel()
    neurons = nest.Create("parrot_neuron", 2)
    assert nest.GetConnections().get("weight", output="pandas").empty
    nest.Connect(neurons, neurons)
    table = nest.GetConnections().get(["target", "weight"], output="pandas")
    assert list(table.index) == [1, 1, 2, 2] and list(table["target"]) == [1, 2, 1, 2]


def test_values_of_several_recorders(recorders: tuple) -> None:
    spikes = recorders[1]
    assert [len(times) for times in spikes.get("events", "times")] == [spikes[0].n_events, 0]
    both = spikes.get("events", ["times", "senders"])
    assert list(both) == ["times", "senders"] and [len(ids) for ids in both["senders"]] == [spikes[0].n_events, 0]
    assert json.loads(spikes.get("events", "times", output="json"))[1] == []
    with pytest.raises(nest.NESTErrors.NotImplemented, match="there are 'json' and 'pandas'"):
        spikes.get("events", output="html")


def test_classes_and_lists_of_nest(recorders: tuple, capsys: pytest.CaptureFixture) -> None:
    neurons, spikes, *_ = recorders
    found = nest.GetConnections(neurons, spikes)
    assert isinstance(neurons, nest.NodeCollection) and not isinstance(3, nest.NodeCollection)
    assert isinstance(found, nest.SynapseCollection) and isinstance(nest.random.uniform(), nest.Parameter)
    assert nest.NodeCollection([1, 2]) == neurons[:2] and not nest.NodeCollection()
    assert nest.GetStatus(found, "weight") == [1.0] * 3 and nest.GetStatus(neurons, "C_m") == (250.0,) * 3
    assert nest.Models("synapses", sel="eprop_synapse")[:2] == ("eprop_synapse", "eprop_synapse_bsshslm_2020")
    assert nest.to_json({"a": np.ones(2)}) == '{"a": [1.0, 1.0]}' and list(nest.GetLocalVPs()) == [0]
    nest.PrintNodes()
    assert capsys.readouterr().out == "1 .. 3 eprop_iaf\n4 .. 5 spike_recorder\n6      multimeter\n"


def test_default_delays_are_whole_steps() -> None:
    nest.ResetKernel()
    nest.set(resolution=0.1, min_delay=2.1, max_delay=12.3)
    nest.resolution = 1.0
    nest.SetDefaults("static_synapse", {"delay": 3.5})
    assert (nest.min_delay, nest.max_delay, nest.GetDefaults("static_synapse")["delay"]) == (2.0, 13.0, 4.0)
