"""What spike generators emit, what recorders show and when, their connections: expected is what NEST 3.10 does."""

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


def emit(parameters: dict, *, in_steps: bool = False, later: dict | None = None) -> dict[str, list]:
    """Spikes of a generator, and of a parrot neuron behind it."""
    generator, parrot = nest.Create("spike_generator", 1, parameters), nest.Create("parrot_neuron")
    recorder = nest.Create("spike_recorder", 1, {"time_in_steps": in_steps})
    for pre, post in ((generator, recorder), (generator, parrot), (parrot, recorder)):
        nest.Connect(pre, post)
    nest.Simulate(2.0)
    if later:
        generator.set(later)
    nest.Simulate(8.0)
    return {key: column.tolist() for key, column in recorder.events.items()}


PRECISE = {"precise_times": True, "spike_times": [1.0, 1.05, 1.05, 3.0001, 3.05]}


@pytest.mark.parametrize(
    ("parameters", "senders", "times"),
    [
        (PRECISE, [1, 1, 1, 2, 2, 2, 1, 1, 2, 2], [1.0, 1.05, 1.05, 2.0, 2.1, 2.1, 3.0001, 3.05, 4.1, 4.1]),
        (PRECISE | {"start": 1.0, "stop": 3.0}, [1, 1, 2, 2], [1.05, 1.05, 2.1, 2.1]),
        ({"allow_offgrid_times": True, "spike_times": [1.0001, 1.05]}, [1, 1, 2, 2], [1.0, 1.1, 2.0, 2.1]),
    ],
)
def test_spikes_between_steps(parameters: dict, senders: list[int], times: list[float]) -> None:
    shown = emit(parameters)
    assert shown["senders"] == senders and shown["times"] == pytest.approx(times, abs=1e-12)


def test_offsets_of_spikes_between_steps() -> None:
    shown = emit({"precise_times": True, "spike_times": [1e-5, 0.05, 0.1], "spike_multiplicities": [1, 2, 1]},
                 in_steps=True, later={"spike_times": [2.0, 2.0001, 2.55]})  # fmt: skip
    assert shown["times"] == [1, 1, 1, 1, 11, 11, 11, 11, 21, 21, 26, 31, 31, 36]
    offsets = [0.09999, 0.05, 0.05, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0999, 0.0999, 0.05, 0.0, 0.0, 0.0]
    assert shown["offsets"] == pytest.approx(offsets, abs=1e-12)


def test_options_of_times_come_before_or_with_the_times() -> None:
    generator = nest.Create("spike_generator", 2)
    generator.set(allow_offgrid_times=True)
    generator.set({"precise_times": True, "allow_offgrid_times": False, "spike_times": [1.05]})
    with pytest.raises(NESTErrors.BadProperty, match="Options can only be set together with spike times"):
        generator.set(precise_times=False)
    assert generator[0].precise_times and generator[0].spike_times.tolist() == [1.05]
