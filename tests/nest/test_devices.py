"""What spike generators emit, what recorders show and when, their connections: expected is what NEST 3.10 does."""

import numpy as np
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
    found = nest.GetConnections(meters[1]).get(["source", "target", "receptor"])
    assert found == {"source": [4, 4], "target": [1, 2], "receptor": [2, 2]}
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
    precise = {"precise_times": True, "spike_times": [1e-5, 0.05, 0.1], "spike_multiplicities": [1, 2, 1]}
    shown = emit(precise, in_steps=True, later={"spike_times": [2.0, 2.0001, 2.55]})
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


@pytest.mark.parametrize(
    ("n_processes", "ports"), [(1, [0, 1, 2, 3, 9, 10, 11, 12, 13, 14]), (2, [0, 0, 1, 1, 4, 5, 6, 5, 7, 8])]
)
def test_weights_that_do_not_learn_are_recorded(n_processes: int, ports: list[int]) -> None:
    """Among parrots, onto neurons and readouts, but not from generators and to recorders."""
    nest.set(resolution=1.0, total_num_virtual_procs=n_processes)
    recorder = nest.Create("weight_recorder")
    nest.CopyModel("static_synapse", "watched", {"weight_recorder": recorder, "weight": 2.0})
    generator = nest.Create("spike_generator", 1, {"spike_times": [2.0, 4.0, 4.0]})
    first, second = nest.Create("parrot_neuron", 2), nest.Create("parrot_neuron", 2)
    neurons, spikes = nest.Create("eprop_iaf", 2, {"V_th": -69.99}), nest.Create("spike_recorder")
    synapse = {"synapse_model": "watched"}
    nest.Connect(generator, first, "all_to_all", synapse)
    nest.Connect(generator, neurons, "all_to_all", synapse | {"weight": 0.1})
    nest.Connect(first, second, "all_to_all", synapse | {"delay": 2.0})
    nest.Connect(second, neurons, "one_to_one", synapse | {"weight": 5.0})
    nest.Connect(second, neurons, "one_to_one", synapse | {"weight": 6.0, "delay": 3.0})
    nest.Connect(neurons, neurons, "all_to_all", synapse | {"weight": -7.0})
    nest.Connect(second + neurons, spikes, "all_to_all", synapse)
    nest.Connect(second[0], second[1], "all_to_all", synapse | {"receptor_type": 1})
    nest.Connect(neurons, nest.Create("eprop_readout"), "all_to_all", synapse | {"weight": 8.0})
    counts = []
    for ms in (3.0, 4.0, 7.0):
        nest.Simulate(ms)
        counts.append(recorder.n_events)
    assert counts == [0, 28, 66]
    found = spikes.events
    assert sorted(zip(found["times"].tolist(), found["senders"].tolist(), strict=True)) == [
        *((3, k) for k in (7, 8)),
        *((5, k) for k in (5, 5, 6, 6)),
        *((7, k) for k in (5,) * 4 + (6,) * 4),
        *((ms, k) for ms in (8, 10, 12, 14) for k in (7, 8)),
    ]
    events = recorder.events
    keys = ("times", "senders", "targets", "weights", "receptors", "ports")
    rows = sorted(zip(*(events[key].tolist() for key in keys), strict=True))
    pairs = [(3, 5, 2), (3, 6, 2), (4, 5, 2), (4, 6, 2)]
    pairs += [(sender, *onto) for sender in (7, 8) for onto in ((7, -7), (8, -7), (10, 8))]
    assert rows[:10] == [(3.0, *pair, 0, port) for pair, port in zip(pairs, ports, strict=True)]
    assert sum(row[4] for row in rows) == 6  # onto the receptor that does nothing
    assert np.all(np.diff(events["times"]) >= 0)


def test_parrots_pass_spikes_on_at_any_pieces_of_time() -> None:
    """Those of a Poisson generator, in a ring that starts again."""
    trains = []
    for pieces in ([30.0], [1.0, 0.3, 11.7, 17.0]):
        nest.ResetKernel()
        nest.set(resolution=0.1)
        source, ring = nest.Create("poisson_generator", 1, {"rate": 50.0}), nest.Create("parrot_neuron", 3)
        recorder = nest.Create("spike_recorder")
        nest.Connect(source, ring[0])
        for k in range(3):
            nest.Connect(ring[k], ring[(k + 1) % 3], "one_to_one", {"delay": 1.0 + k})
        nest.Connect(ring, recorder)
        for ms in pieces:
            nest.Simulate(ms)
        events = recorder.events
        trains.append([np.rint(events["times"][events["senders"] == node] * 10).tolist() for node in ring.tolist()])
    first, second, third = trains[0]
    assert trains[0] == trains[1] and len(first) > len(set(first) - {step + 60 for step in first}) > 0
    assert second == [step + 10 for step in first if step + 10 <= 300]
    assert third == [step + 20 for step in second if step + 20 <= 300]
    assert {step + 30 for step in third if step + 30 <= 300} <= set(first)


FORCED = {"ignore_and_spike": True, "ignore_and_spike_offset": 3.0, "ignore_and_spike_interval": 7.0}


@pytest.mark.parametrize(
    ("model", "dt", "parameters", "first", "every", "voltage"),
    [
        ("eprop_iaf", 1.0, {"t_ref": 2.0}, 3.0, 7.0, [-70.0, -68.48, -77.1, -74.9, -72.91, -71.11, -69.48]),
        (
            "eprop_iaf",
            0.5,
            {"ignore_and_spike_offset": 2.6, "ignore_and_spike_interval": 3.3},
            3.0,
            3.5,
            [-70.0, -69.22, -68.48, -67.77, -67.1, -76.46, -75.37, -74.32, -73.33, -72.39, -71.49, -70.64, -79.83],
        ),
        ("eprop_iaf_bsshslm_2020", 1.0, {}, 3.0, 7.0, [-70.0, -68.48, -68.48, -77.1, -74.9, -72.91, -71.11, -69.48]),
        ("eprop_iaf_psc_delta", 1.0, {"t_ref": 2.0}, 3.0, 7.0, [-68.48, -67.1, -70.0, -70.0, -70.0, -68.48]),
    ],
)
def test_forced_neurons_spike_when_they_are_told_to(
    model: str, dt: float, parameters: dict, first: float, every: float, voltage: list[float]
) -> None:
    nest.set(resolution=dt)
    neuron = nest.Create(model, 1, {"V_m": -70.0, "V_th": -60.0, "I_e": 400.0, "t_ref": 0.0} | FORCED | parameters)
    spikes = nest.Create("spike_recorder")
    meter = nest.Create("multimeter", 1, {"interval": dt, "record_from": ["V_m"]})
    nest.Connect(neuron, spikes, "all_to_all", {"delay": dt})
    nest.Connect(meter, neuron, "all_to_all", {"delay": dt})
    for _ in range(3):
        nest.Simulate(20.0)
    assert spikes.events["times"].tolist() == np.arange(first, 60.0 + dt / 2, every).tolist()
    assert meter.events["V_m"][: len(voltage)] == pytest.approx(voltage, abs=0.006)


def test_forced_neurons_start_again_when_they_are_told_something_else() -> None:
    nest.set(resolution=1.0)
    free, forced = nest.Create("eprop_iaf", 1, {"V_th": -69.0, "I_e": 600.0}), nest.Create("eprop_iaf", 2, FORCED)
    recorder = nest.Create("spike_recorder")
    nest.Connect(forced, recorder)
    nest.Simulate(10.0)
    forced[0].set(ignore_and_spike_offset=2.0)
    nest.Simulate(10.0)
    forced.set(ignore_and_spike=False)
    nest.Simulate(20.0)
    events = recorder.events
    assert events["times"][events["senders"] == 2].tolist() == [3.0, 10.0, 12.0, 19.0]
    assert events["times"][events["senders"] == 3].tolist() == [3.0, 10.0, 17.0]
    with pytest.raises(NESTErrors.NotImplemented, match="changing V_th"):
        free.set(V_th=-60.0)
    with pytest.raises(NESTErrors.BadProperty, match="ignore_and_spike_offset > 0 required"):
        forced.set(ignore_and_spike_offset=0.0)


def test_the_interval_variant_starts_with_its_third_step() -> None:
    nest.set(resolution=1.0)
    nest.Create("eprop_iaf_bsshslm_2020", 1, FORCED | {"ignore_and_spike_offset": 2.0})
    with pytest.raises(NESTErrors.NotImplemented, match="set ignore_and_spike_offset to at least 3 steps"):
        nest.Simulate(10.0)


def test_events_are_printed(capfd: pytest.CaptureFixture) -> None:
    nest.set(resolution=1.0)
    neurons = nest.Create("eprop_iaf", 2, {"V_th": -69.9, "I_e": 300.0})
    meter = nest.Create("multimeter", 1, {"record_to": "screen", "record_from": ["V_m"]})
    spikes = nest.Create("spike_recorder", 1, {"record_to": "screen", "time_in_steps": True})
    nest.Connect(meter, neurons)
    nest.Connect(neurons, spikes)
    nest.Simulate(4.0)
    lines = ("1.000\t-70.000", "2\t0.000", "2.000\t-68.958", "3.000\t-67.915", "4\t0.000")
    assert sorted(capfd.readouterr().out.splitlines()) == [f"{node}\t{line}" for node in (1, 2) for line in lines]
    assert (spikes.n_events, meter.n_events, meter.precision) == (4, 6, 3)
    assert not {"events", "filenames", "file_extension"} & meter.get().keys()


def test_meters_keep_what_they_record_when_they_are_connected() -> None:
    meter = nest.Create("multimeter")
    nest.Connect(meter, nest.Create("eprop_iaf"))
    with pytest.raises(NESTErrors.IllegalConnection, match="can be connected to a node once"):
        nest.Connect(meter, nest.NodeCollection([2]))
    for change in ({"interval": 2.0}, {"offset": 1.0}, {"record_from": ["V_m"]}):
        with pytest.raises(NESTErrors.BadProperty, match="cannot be changed after the multimeter has been connected"):
            meter.set(change)
    meter.set(label="x", start=5.0)


def test_simulate_is_not_run_between_prepare_and_cleanup() -> None:
    nest.Create("eprop_iaf")
    nest.Prepare()
    with pytest.raises(nest.NESTError, match="between Prepare and Cleanup"):
        nest.Simulate(1.0)
    nest.Run(1.0)
    nest.Cleanup()
    nest.Simulate(1.0)
    assert nest.biological_time == 2.0


@pytest.mark.parametrize(
    ("model", "parameters", "error", "text"),
    [
        ("spike_generator", {"spike_times": [1.0, 2.0], "spike_multiplicities": [1]}, "BadProperty", "2, not 1"),
        ("spike_generator", {"spike_times": [1.0], "spike_multiplicities": [1.5]}, "TypeMismatch", "whole numbers"),
        ("spike_generator", {"spike_times": [float("nan")]}, "BadProperty", "spike_times must be finite, one is nan"),
        ("inhomogeneous_poisson_generator", {"rate_times": [4.0], "rate_values": [1.0]}, "BadProperty", "future"),
        ("dc_generator", {"start": 5.0, "stop": 3.0}, "BadProperty", "stop >= start required"),
        ("poisson_generator", {"start": 5.0, "stop": 3.0}, "BadProperty", "stop >= start required"),
    ],
)
def test_devices_that_nest_refuses(model: str, parameters: dict, error: str, text: str) -> None:
    device = nest.Create(model, 2)
    nest.Simulate(4.0)
    with pytest.raises(getattr(NESTErrors, error), match=text):
        device.set(parameters)


def test_fewer_times_leave_multiplicities_and_more_need_new_ones() -> None:
    generator = nest.Create("spike_generator", 1, {"spike_times": [1.0, 2.0], "spike_multiplicities": [2, 3]})
    generator.spike_times = [4.0]
    assert generator.spike_multiplicities.tolist() == [2, 3]
    with pytest.raises(NESTErrors.BadProperty, match="as spike_times, 3, not 2"):
        generator.spike_times = [4.0, 5.0, 6.0]


def test_targets_may_be_no_numbers_where_nothing_is_learned() -> None:
    """Of the spike variant, in which a window says where."""
    parrot, readout = nest.Create("parrot_neuron"), nest.Create("eprop_readout", 1, {"E_L": 0.0})
    neuron = nest.Create("eprop_iaf", 1, {"E_L": 0.0, "V_m": 0.0, "V_th": 1e9})
    synapse = {"synapse_model": "eprop_synapse", "delay": 0.1, "weight": 1.0}
    nest.Connect(parrot, neuron, "all_to_all", synapse)
    nest.Connect(neuron, readout, "all_to_all", synapse)
    nest.Connect(readout, neuron, "all_to_all", {"synapse_model": "eprop_learning_signal_connection", "delay": 0.1})
    values = {"target": ([np.nan, 2.0], [1.0, 3.0]), "window": ([1.0], [3.0])}
    for receptor, (amplitudes, times) in zip((2, 1), values.values(), strict=True):
        generator = nest.Create("step_rate_generator", 1, {"amplitude_values": amplitudes, "amplitude_times": times})
        rate = {"synapse_model": "rate_connection_delayed", "delay": 0.1, "receptor_type": receptor}
        nest.Connect(generator, readout, "all_to_all", rate)
    meter = nest.Create("multimeter", 1, {"record_from": ["error_signal"], "interval": 0.1})
    nest.Connect(meter, readout)
    nest.Simulate(5.0)
    assert np.allclose(meter.events["error_signal"][-5:], -2.0)
