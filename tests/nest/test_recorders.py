"""What recorders show and when, and their connections: expected values are those of NEST 3.10."""

import pytest

import pareprop.nest as nest

NESTErrors = nest.NESTErrors


@pytest.fixture(autouse=True)
def fresh() -> None:
    nest.ResetKernel()
    nest.set(resolution=0.1)


@pytest.mark.parametrize(
    ("of_meter", "of_neurons", "ends", "delays"),
    [
        (1.0, None, [0, 0, 10, 20, 20, 60], (1.0, 1.0)),
        (0.7, 0.5, [0, 5, 10, 20, 25, 60], (0.5, 0.7)),
        (0.1, None, [2, 9, 10, 22, 29, 60], (0.1, 0.1)),
    ],
)
def test_meters_show_slices_of_the_smallest_delay(
    of_meter: float, of_neurons: float | None, ends: list[int], delays: tuple[float, float]
) -> None:
    neurons = nest.Create("eprop_iaf", 2)
    meter = nest.Create("multimeter", 1, {"interval": 0.1, "record_from": ["V_m"]})
    nest.Connect(meter, neurons, "all_to_all", {"delay": of_meter})
    if of_neurons:
        nest.Connect(neurons, neurons, "all_to_all", {"delay": of_neurons})
    shown = []
    for ms in (0.3, 0.7, 0.1, 1.2, 0.7, 3.1):
        nest.Simulate(ms)
        shown.append(meter.n_events // 2)
        assert len(meter.events["times"]) == meter.n_events
    assert shown == ends and (nest.min_delay, nest.max_delay) == pytest.approx(delays)


def test_delays_keep_within_those_of_the_first_step() -> None:
    neurons = nest.Create("eprop_iaf", 2)
    nest.Connect(neurons, neurons, "all_to_all", {"synapse_model": "eprop_synapse", "delay": 0.1})
    nest.Simulate(1.0)
    meter = nest.Create("multimeter", 1, {"interval": 0.1, "record_from": ["V_m"]})
    with pytest.raises(NESTErrors.BadDelay, match="between min_delay"):
        nest.Connect(meter, neurons)
    nest.Connect(meter, neurons, "all_to_all", {"delay": 0.1})
    nest.Simulate(1.0)
    assert meter.n_events == 18


def test_connections_of_recorders_are_found() -> None:
    neurons = nest.Create("eprop_iaf", 2)
    meters, spikes = nest.Create("multimeter", 2), nest.Create("spike_recorder")
    for meter in meters:
        nest.Connect(meter, neurons)
    nest.Connect(neurons, spikes)
    assert nest.GetConnections(meters[1]).get(["source", "target", "receptor"]) == {
        "source": [4, 4], "target": [1, 2], "receptor": [2, 2],
    }  # fmt: skip
    assert nest.GetConnections(target=spikes).source == [1, 2]
    assert len(nest.GetConnections()) == nest.num_connections == nest.GetDefaults("static_synapse")["num_connections"]


def test_connections_are_ordered_and_numbered_by_kind() -> None:
    """First those among neurons, then those to recorders, then those of devices."""
    neurons, meters, spikes = nest.Create("eprop_iaf", 2), nest.Create("multimeter", 2), nest.Create("spike_recorder")
    for meter in meters:
        nest.Connect(meter, neurons)
    nest.Connect(neurons, spikes)
    generator = nest.Create("spike_generator")
    nest.Connect(generator, neurons)
    nest.Connect(generator, spikes)
    nest.Connect(neurons, neurons)
    assert nest.GetConnections().get(["source", "target", "port", "receptor"]) == {
        "source": [1, 1, 2, 2, 1, 2, 3, 3, 4, 4, 6, 6, 6],
        "target": [1, 2, 1, 2, 5, 5, 1, 2, 1, 2, 1, 2, 5],
        "port": [0, 1, 2, 3, 0, 0, 0, 1, 0, 1, 0, 1, 2],
        "receptor": [0, 0, 0, 0, 0, 0, 1, 1, 2, 2, 0, 0, 0],
    }
