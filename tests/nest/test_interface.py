"""What scripts may call, and what is refused: no NEST needed.

One file, because most of it is calls that are refused, each with its message.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import ranks
from commands import apart

import pareprop.nest as nest
from pareprop.nest.errors import NESTWarning

NESTErrors = nest.NESTErrors
PARAMETERS = {"E_L": 0.0, "V_m": 0.0, "V_th": 0.5, "C_m": 1.0, "c_reg": 1.0, "f_target": 300.0}


@pytest.fixture(autouse=True)
def fresh() -> None:
    nest.ResetKernel()
    nest.set(resolution=1.0)


def network(**synapse: object) -> tuple:
    """Two parrots, three neurons, a readout, connected; spikes at some times."""
    generator = nest.Create("spike_generator", 2, {"spike_times": [3.0, 10.0, 11.0, 25.0]})
    parrots, neurons = nest.Create("parrot_neuron", 2), nest.Create("eprop_iaf", 3, PARAMETERS)
    readout = nest.Create("eprop_readout", 1, {"C_m": 1.0})
    nest.Connect(generator, parrots, "one_to_one")
    learning = {"synapse_model": "eprop_synapse", "delay": 1.0}
    nest.Connect(parrots, neurons, "all_to_all", learning | {"weight": 0.4} | synapse)
    nest.Connect(neurons, readout, "all_to_all", learning | {"weight": 0.1})
    nest.Connect(readout, neurons, "all_to_all", {"synapse_model": "eprop_learning_signal_connection", "weight": 0.1})
    return parrots, neurons, readout


def test_collections_behave_as_in_nest() -> None:
    both = nest.Create("eprop_iaf", 3) + nest.Create("parrot_neuron", 2)
    assert both.tolist() == [1, 2, 3, 4, 5] and len(both[1:3]) == 2 and both[-1].global_id == 5
    assert np.array_equal(np.concatenate([both[:1], both[3:]]), [1, 4, 5])
    assert both[[0, 4]].tolist() == [1, 5] and 5 in both and 6 not in both
    with pytest.raises(NESTErrors.BadProperty):
        both[[3, 1]]
    with pytest.raises(IndexError):
        both[5]


def test_parameters_of_nodes() -> None:
    nodes = nest.Create("eprop_iaf", 3, {"tau_m": [10.0, 20.0, 30.0]})
    nodes[1:].set(V_th=-50.0)
    assert nodes.get("tau_m") == (10.0, 20.0, 30.0) and nodes.get("V_th") == (-55.0, -50.0, -50.0)
    nodes.V_m = -60.0
    assert nodes[0].V_m == -60.0 and nest.GetStatus(nodes, "V_m") == (-60.0,) * 3
    nodes.set({"f_target": 20.0})
    assert nodes[0].get("f_target") == 0.02  # as NEST shows it


def test_old_names_are_shown_by_old_names() -> None:
    nodes = nest.Create("eprop_iaf", 1, {"gamma": 0.5, "beta": 2.0})
    assert nodes.get("surrogate_gradient_height") == 0.5 and nodes.get("surrogate_gradient_width") == 0.5
    assert nodes.gamma == 0.5 and nodes.beta == 2.0


def connect(rule: dict, weight: object, n: int = 60) -> np.ndarray:
    """Source, target and weight of each connection of new nodes among themselves, in order."""
    nest.ResetKernel()
    nest.set(rng_seed=5, total_num_virtual_procs=3)
    nodes = nest.Create("eprop_iaf", n)
    nest.Connect(nodes, nodes, rule, {"weight": weight})
    return np.array([nest.GetConnections().get(key) for key in ("source", "target", "weight")])


def test_pairs_do_not_depend_on_the_room_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where their number is not known before they are chosen in pieces, if they are more than expected."""
    from pareprop.nest import draws

    mutual = {"rule": "symmetric_pairwise_bernoulli", "allow_autapses": False, "make_symmetric": True}
    rules = [
        ({"rule": "pairwise_bernoulli", "p": 0.4}, lambda: nest.random.normal(1.0, 2.0)),
        (mutual | {"p": 0.4}, float),
    ]
    whole = [connect(rule, weight()) for rule, weight in rules]
    monkeypatch.setattr(draws, "estimate_connections", lambda p, n, m: n)
    monkeypatch.setattr(draws, "CHUNK_SIZE", 0)
    for (rule, weight), expected in zip(rules, whole, strict=True):
        np.testing.assert_array_equal(connect(rule, weight()), expected)
        assert expected.shape[1] > 60


@pytest.mark.parametrize(
    ("rule", "n", "expected"),
    [
        ({"rule": "fixed_indegree", "indegree": 1}, 1, "no nodes to connect to"),
        ({"rule": "fixed_outdegree", "outdegree": 1}, 1, "no nodes to connect to"),
        ({"rule": "fixed_total_number", "N": 1}, 1, "no nodes to connect to"),
        ({"rule": "fixed_indegree", "indegree": 5, "allow_multapses": False}, 5, "indegree = 5 cannot be larger"),
        ({"rule": "fixed_indegree", "indegree": 2**31 - 1}, 100_000, "connections of one call of Connect"),
        ({"rule": "symmetric_pairwise_bernoulli", "p": 1.0, "make_symmetric": True}, 3, "p < 1 required, p = 1"),
        ({"rule": "symmetric_pairwise_bernoulli", "p": 0.5}, 3, "needs .* make_symmetric = True"),
    ],
)
def test_rules_that_have_no_end_are_refused(rule: dict, n: int, expected: str) -> None:
    nodes = nest.Create("eprop_iaf", n)
    with pytest.raises(NESTErrors.BadProperty, match=expected):
        nest.Connect(nodes, nodes, rule | {"allow_autapses": False})


def test_connections_are_found_and_changed() -> None:
    parrots, neurons, _ = network()
    found = nest.GetConnections(parrots, neurons)
    assert len(found) == 6 and found.get("weight") == [0.4] * 6
    assert found.get(["source", "target"]) == {"source": [3, 3, 3, 4, 4, 4], "target": [5, 6, 7] * 2}
    found.set(weight=[0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    assert nest.GetConnections(parrots[1], neurons[2]).get("weight") == 0.6
    with pytest.raises(NESTErrors.BadProperty):
        found.set(weight=1e6)


def test_any_durations_give_the_same() -> None:
    shown = []
    for pieces in ((40.0,), (1.0, 2.0, 3.0, 10.0, 24.0), (1.0,) * 40):
        nest.ResetKernel()
        nest.set(resolution=1.0)
        parrots, neurons, readout = network()
        meter, recorder = nest.Create("multimeter", {"record_from": ["V_m"]}), nest.Create("spike_recorder")
        nest.Connect(meter, neurons + readout)
        nest.Connect(parrots + neurons, recorder)
        for piece in pieces:
            nest.Simulate(piece)
        weights = nest.GetConnections(parrots, neurons).get("weight")
        shown.append((meter.get("events"), recorder.get("events"), weights))
    for other in shown[1:]:
        for one, two in zip(shown[0][:2], other[:2], strict=True):
            assert all(np.array_equal(one[key], two[key]) for key in one)
        assert other[2] == shown[0][2] != [0.4] * 6
    times = shown[0][0]["times"]
    assert times.max() == 39.0
    recorder.get("events")["times"][:] = 0.0  # a script's own
    assert recorder.get("events")["times"].max() > 0.0


def change() -> None:
    _, neurons, _ = network()
    nest.Simulate(5.0)
    neurons.set(V_th=0.1)


def both_variants() -> None:
    network()
    nest.Create("eprop_iaf_bsshslm_2020")
    nest.Simulate(5.0)


def history() -> None:
    _, neurons, _ = network()
    nest.Connect(nest.Create("multimeter", {"record_from": ["eprop_history_duration"]}), neurons)
    nest.Simulate(5.0)


REFUSED = {
    "changing V_th of neurons in a run": change,
    "networks of both variants": both_variants,
    "eprop_history_duration": history,
    "ignore_and_spike": lambda: nest.Create("iaf_psc_delta", 1, {"ignore_and_spike": True}),
    "adaptation": lambda: nest.Create("eprop_iaf_adapt", 1, {"adaptation": 0.5}),
    "record_to": lambda: nest.Create("spike_recorder", 1, {"record_to": "sionlib"}),
    "spike_weights": lambda: nest.Create("spike_generator", 1, {"spike_weights": [1.0]}),
    "positions": lambda: nest.Create("eprop_iaf", 1, positions=[[0, 0]]),
    "rng_type": lambda: nest.set(rng_type="Philox_32"),
    "nest.Disconnect": lambda: nest.Disconnect,
    "nest.spatial": lambda: nest.spatial.grid,
    "pairwise_poisson": lambda: nest.Connect(nest.Create("eprop_iaf"), nest.Create("eprop_iaf"), "pairwise_poisson"),
}


def test_modules_are_not_loaded() -> None:
    """A script goes on with models of the same names, and a name that is unknown is refused where it is used."""
    nest.ResetKernel()
    with pytest.warns(NESTWarning, match=r"nest\.Install\('eprop_module'\) loads nothing: pareprop simulates"):
        nest.Install("eprop_module")
    assert len(nest.Create("eprop_iaf_psc_delta", 2)) == 2
    with pytest.raises(NESTErrors.UnknownModelName, match="my_neuron"):
        nest.Create("my_neuron")
    with pytest.raises(NESTErrors.TypeMismatch, match="module_name = 5 must be the name"):
        nest.Install(5)


def test_more_nodes_than_memory_holds() -> None:
    nest.ResetKernel()
    told = f"n = {2**40}: a network of so many nodes takes .* GiB of memory, this machine has"
    with pytest.raises(NESTErrors.BadParameterValue, match=told):
        nest.Create("eprop_iaf", 2**40)
    assert len(nest.Create("eprop_iaf", 3)) == 3


WRONG_RULES = [
    ("x" * 10**5, "BadProperty", "Unknown connectivity rule"),
    (5, "TypeMismatch", "conn_spec = 5 must be"),
    ({"rule": ["all_to_all"]}, "BadProperty", "Unknown connectivity rule"),
    ({"rule": "fixed_indegree", "indegree": "2"}, "TypeMismatch", "indegree = '2' must be a number"),
    ({"rule": "fixed_indegree", "indegree": np.nan}, "BadProperty", "indegree = nan must be a whole number"),
    ({"rule": "fixed_outdegree", "outdegree": 0.5}, "BadProperty", "outdegree = 0.5 must be a whole number"),
    ({"rule": "fixed_total_number", "N": 1e300}, "BadProperty", r"N = 1e\+300 must be a whole number"),
    ({"rule": "fixed_total_number", "N": 2**63}, "BadProperty", f"N = {2**63} must be a whole number"),
    ({"rule": "pairwise_bernoulli", "p": None}, "TypeMismatch", "p = None must be a number"),
    ({"rule": "all_to_all", "allow_autapses": "no"}, "TypeMismatch", "allow_autapses = 'no' must be true or false"),
]


@pytest.mark.parametrize(("rule", "kind", "message"), WRONG_RULES)
def test_rules_that_are_none(rule: object, kind: str, message: str) -> None:
    nest.ResetKernel()
    neurons = nest.Create("eprop_iaf", 3)
    with pytest.raises(getattr(NESTErrors, kind), match=message) as caught:
        nest.Connect(neurons, neurons, rule)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("feature", REFUSED)
def test_refused_by_name(feature: str) -> None:
    with pytest.raises(NESTErrors.NotImplemented, match=feature):
        REFUSED[feature]()


def test_what_a_rate_connection_joins_is_named() -> None:
    """NEST's readouts of update intervals have no receptor for a learning window."""
    neurons = nest.Create("eprop_iaf_bsshslm_2020", 1, PARAMETERS)
    readout = nest.Create("eprop_readout_bsshslm_2020", 1, {"C_m": 1.0})
    window = nest.Create("step_rate_generator", 1, {"amplitude_times": [1.0], "amplitude_values": [1.0]})
    nest.Connect(neurons, readout, "all_to_all", {"synapse_model": "eprop_synapse_bsshslm_2020", "weight": 0.1})
    nest.Connect(window, readout, "all_to_all", {"synapse_model": "rate_connection_delayed", "receptor_type": 1})
    with pytest.raises(NESTErrors.NotImplemented, match="from step_rate_generator to readout with receptor_type 1"):
        nest.Simulate(10.0)


def test_long_delays_need_a_switch() -> None:
    with pytest.raises(NESTErrors.IllegalConnection, match="eprop_delays_above_one_step"):
        network(delay=3.0)
    nest.ResetKernel()
    nest.set(resolution=1.0, eprop_delays_above_one_step=True)
    network(delay=3.0)
    nest.Simulate(20.0)


def test_a_mistake_ends_all_ranks_with_exit_code_1(tmp_path: Path) -> None:
    script = tmp_path / "mistake.py"
    script.write_text("import nest\nnest.Create('eprop_iaf', 1, {'C_m': -1.0})\n")
    done = ranks.run(2, "-m", "pareprop", "nest", script)
    assert done.returncode == 1 and done.stderr.count("\nNESTErrors.BadProperty:") == 1
    assert "C_m" in done.stderr and "mistake.py" in done.stderr


@pytest.mark.slow
def test_a_mistake_of_one_rank_ends_the_others(tmp_path: Path) -> None:
    script = tmp_path / "mistake.py"
    script.write_text("import nest\nif nest.Rank() == 1:\n    raise ValueError('here')\nnest.SyncProcesses()\n")
    impatient = "import sys; from pareprop import cli; from pareprop.nest import commands; commands.PATIENCE = 1.0; "
    done = ranks.run(2, "-c", f"{impatient}cli.main(sys.argv[1:])", "nest", script)
    assert done.returncode != 0 and "ValueError: here" in done.stderr


@pytest.mark.mpi
def test_ranks_that_simulate_for_other_times_are_told(tmp_path: Path) -> None:
    script = tmp_path / "apart.py"
    script.write_text(
        "import nest\nnest.Create('eprop_iaf', 2)\nnest.Simulate(3.0)\nnest.Simulate(5.0 + nest.Rank())\n"
    )
    done = ranks.run(2, "-m", "pareprop", "nest", script, timeout=60)
    assert done.returncode == 1 and "ranks disagree: steps = 50 on rank 0, 60 on rank 1" in done.stderr


def test_timings_tell_where_the_time_went(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    from pareprop.cli import main

    script = tmp_path / "small.py"
    script.write_text(
        "import nest\na, b = nest.Create('parrot_neuron'), nest.Create('eprop_iaf', 3)\n"
        "nest.Connect(a, b, 'all_to_all', {'synapse_model': 'eprop_synapse', 'delay': 0.1})\nnest.Simulate(1.0)\n"
    )
    main(["nest", "--timings", str(script)])
    lines = capfd.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:3]] == ["describe", "wire", "build"]
    assert lines[-2].startswith("script ") and lines[-1].startswith("digest: ")


def test_scripts_see_their_arguments(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    from pareprop.cli import main

    script = tmp_path / "arguments.py"
    script.write_text("import sys, nest\nprint(sys.argv[1:], nest.NumProcesses())\nsys.exit(0)\n")
    main(["nest", str(script), "--flag", "3"])
    assert capfd.readouterr().out == "['--flag', '3'] 1\n"
    assert "nest" not in sys.modules or sys.modules["nest"].__name__ == "nest"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("local_num_threads", 2**31),
        ("total_num_virtual_procs", 2**16 + 1),
        ("local_num_threads", float("inf")),
        ("resolution", float("inf")),
        ("eprop_update_interval", float("inf")),
        ("eprop_learning_window", 10**400),
    ],
)
def test_kernel_parameters_without_bounds_are_refused(key: str, value: float) -> None:
    nest.ResetKernel()
    with pytest.raises((NESTErrors.BadProperty, NESTErrors.TypeMismatch)):
        nest.set(**{key: value})


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda nodes: nest.Simulate(float("inf")), "simulation time must be a finite number, it is inf"),
        (lambda nodes: nest.Simulate(10**400), "simulation time must be a finite number"),
        (lambda nodes: nest.Simulate(True), "simulation time must be a finite number, it is True"),
        *(
            (
                lambda nodes, delay=delay: nest.Connect(nodes, nodes, "one_to_one", {"delay": delay}),
                "Delay must be greater than or equal to resolution, 0.1, and at most 32768 steps",
            )
            for delay in (0.0, float("nan"), float("inf"), 1e300, 3277.0, [1.0, -1.0], [1.0, float("nan")])
        ),
        (lambda nodes: nest.Connect(nodes, nodes, "one_to_one", {"weight": 10**400}), "'weight' must be a number"),
        (lambda nodes: nest.Create("parrot_neuron", 10**400), "of memory"),
    ],
)
def test_numbers_beyond_all_bounds_are_refused(call: Callable, told: str) -> None:
    nest.ResetKernel()
    with pytest.raises((nest.NESTError, TypeError), match=told) as caught:
        call(nest.Create("parrot_neuron", 2))
    assert len(str(caught.value)) < 300


def test_networks_without_neurons_run() -> None:
    """Parrots and readouts alone, and nothing at all, as in NEST."""
    nest.ResetKernel()
    nest.Simulate(1.0)
    assert nest.biological_time == 1.0
    for readout in ("eprop_readout", "eprop_readout_bsshslm_2020"):
        nest.ResetKernel()
        generator = nest.Create("spike_generator", 1, {"spike_times": [1.0, 3.0]})
        parrots = nest.Create("parrot_neuron", 2)
        recorder, meter = nest.Create("spike_recorder"), nest.Create("multimeter", {"record_from": ["V_m"]})
        readouts = nest.Create(readout, 2, {"I_e": 3.0})
        nest.Connect(generator, parrots)
        nest.Connect(parrots + generator, recorder)
        nest.Connect(meter, readouts)
        nest.Simulate(6.0)
        assert recorder.get("events")["times"].tolist() == [1.0, 2.0, 2.0, 3.0, 4.0, 4.0]
        assert nest.local_spike_counter == 4 and nest.network_size == 7
        voltages = meter.get("events")["V_m"]
        assert len(voltages) == 10 and np.all(np.diff(voltages[::2]) > 0)


@pytest.mark.parametrize(
    ("values", "times"),
    [  # of NEST 3.10
        ({"spike_times": [0.1, 10.0, 10.5, 10.50001]}, [0.1, 10.0, 10.5, 10.5]),
        ({"spike_times": [10.50001, 10.55, 10.5501], "allow_offgrid_times": True}, [10.5, 10.6, 10.6]),
        ({"spike_times": [0.0, 10.0, 10.50001], "shift_now_spikes": True}, [0.1, 10.0, 10.5]),
    ],
)
def test_times_of_spikes_go_to_the_grid(values: dict, times: list) -> None:
    nest.ResetKernel()
    generator = nest.Create("spike_generator", 1, values)
    assert np.allclose(generator.get("spike_times"), times, rtol=0, atol=1e-9)


def test_spikes_of_now_move_a_step_on() -> None:
    """As NEST does with `shift_now_spikes`; without, they are over."""
    for shift, expected in ((True, [101, 110]), (False, [110])):
        nest.ResetKernel()
        generator = nest.Create("spike_generator", 1, {"shift_now_spikes": shift})
        recorder = nest.Create("spike_recorder", {"time_in_steps": True})
        nest.Connect(generator, recorder)
        nest.Simulate(10.0)
        generator.set({"spike_times": [10.0001, 11.0001]})
        nest.Simulate(10.0)
        assert recorder.get("events")["times"].tolist() == expected


@pytest.mark.parametrize(
    ("values", "kind", "told"),
    [
        ({"spike_times": [1.05]}, "BadProperty", "Time point 1.05 is not representable in current resolution"),
        ({"spike_times": [0.0]}, "BadProperty", "spike time cannot be set to 0"),
        ({"precise_times": "yes"}, "TypeMismatch", "has a value of the wrong type: 'yes'"),
        ({"precise_times": True, "shift_now_spikes": True}, "BadProperty", "Option precise_times cannot be set"),
    ],
)
def test_times_that_are_none(values: dict, kind: str, told: str) -> None:
    nest.ResetKernel()
    with pytest.raises(getattr(NESTErrors, kind), match=told):
        nest.Create("spike_generator", 1, values)


ODD = [
    (lambda nodes: nest.Creat, AttributeError, "no attribute 'Creat'; did you mean Create"),
    (lambda nodes: nest.Create(), TypeError, r"Create\(\): .*missing"),
    (lambda nodes: nest.Create(5), None, "5 is not a known model name: pareprop has the e-prop models"),
    (lambda nodes: nest.Create("eprop_iaf", "x"), TypeError, "n must have an integer value; see help"),
    (lambda nodes: nodes.V_thresh, AttributeError, "eprop_iaf has no parameter 'V_thresh'; it has C_m"),
    (lambda nodes: nodes.get("V_thresh"), KeyError, "eprop_iaf has no parameter 'V_thresh'"),
    (lambda nodes: nodes.set(5), TypeError, r"set\(NodeCollection, 5\): status dict"),
    (lambda nodes: nest.Connect(1, nodes), TypeError, r"Connect\(1, NodeCollection\)"),
    (lambda nodes: nest.Connect(nodes, nodes, syn_spec=5), TypeError, "see help"),
    (lambda nodes: nest.GetDefaults("eprop_iaf", "x"), KeyError, "defaults of eprop_iaf: there is no 'x'; there are"),
    (lambda nodes: nest.SetDefaults("eprop_iaf", 5), None, "see help"),
    (lambda nodes: nest.SetStatus(5, {}), AttributeError, r"SetStatus\(5, dict\)"),
    (lambda nodes: nest.get("x"), KeyError, "kernel parameters: there is no 'x'"),
    (lambda nodes: setattr(nest, "network_size", 3), AttributeError, "nest.network_size cannot be set, only read"),
    (lambda nodes: setattr(nest, "min_delay", 3.0), None, "Both min_delay and max_delay have to be specified"),
    (lambda nodes: setattr(nest, "resolutoin", 3.0), AttributeError, "did you mean resolution"),
    (lambda nodes: nest.Simulate(), TypeError, r"Simulate\(\): .*missing"),
    (lambda nodes: nest.GetConnections(synapse_model=5), None, "must be the name of a model"),
    (lambda nodes: nest.set_verbosity("M_LOUD"), KeyError, "M_LOUD|LOUD"),
    (lambda nodes: nest.CopyModel("eprop_iaf", ["x"]), TypeError, "see help"),
    (lambda nodes: nest.EnableStructuralPlasticity, AttributeError, "connections stay as they are made"),
]


@pytest.mark.parametrize(("call", "kind", "told"), ODD)
def test_odd_calls_name_what_was_asked(call: Callable, kind: type | None, told: str) -> None:
    """Errors of NEST, which are also those that Python would raise."""
    nodes = nest.Create("eprop_iaf", 2)
    with pytest.raises(nest.NESTError, match=told) as caught:
        call(nodes)
    assert kind is None or isinstance(caught.value, kind)
    assert len(str(caught.value)) < 1000 and "\n" not in str(caught.value)


@pytest.mark.slow
def test_warnings_show_the_line_of_the_script(tmp_path: Path) -> None:
    script = tmp_path / "old.py"
    script.write_text(
        "import nest\na, b = nest.Create('parrot_neuron'), nest.Create('eprop_iaf_bsshslm_2020', 3, {'gamma': 0.5})\n"
        "nest.Connect(a, b, 'all_to_all', {'synapse_model': 'eprop_synapse_bsshslm_2020', 'delay': 0.1})\n"
        "nest.Simulate(1.0)\n"
    )
    told = apart("nest", script).stderr
    assert f"{script}:4: NESTWarning: taken as a script of NEST 3.8" in told and "nest.Simulate(1.0)" in told


def test_rates_that_change() -> None:
    """Trains of an inhomogeneous Poisson generator: counts lie within five standard deviations of the rates."""
    rates = {"rate_times": [100.0, 600.0], "rate_values": [400.0, 50.0]}
    generator, other = (nest.Create("inhomogeneous_poisson_generator", 1, rates) for _ in range(2))
    parrots, recorder = nest.Create("parrot_neuron", 200), nest.Create("spike_recorder")
    _, neurons, _ = network()
    nest.Connect(generator, parrots)
    nest.Connect(other, neurons, syn_spec={"weight": 0.01})
    nest.Connect(parrots, recorder)
    nest.Simulate(500.0)
    nest.Simulate(600.0)
    generator.set({"rate_times": [1200.0], "rate_values": [0.0]})
    nest.Simulate(300.0)
    events = recorder.get("events")
    counts, _ = np.histogram(events["times"], [0, 101, 601, 1201, 1401])  # a parrot sends one step later
    for n, expected in zip(counts, (0.0, 200 * 500 * 0.4, 200 * 600 * 0.05, 0.0), strict=True):
        assert abs(n - expected) <= 5 * expected**0.5
    assert len(np.unique(events["senders"])) == 200
    with pytest.raises(NESTErrors.BadProperty, match="rate_values hold -1"):
        other.set({"rate_times": [2000.0], "rate_values": [-1.0]})


def test_events_are_forgotten_and_counted_in_steps() -> None:
    parrots, neurons, _ = network()
    meter = nest.Create("multimeter", {"record_from": ["V_m"], "time_in_steps": True})
    recorder = nest.Create("spike_recorder", {"time_in_steps": True})
    nest.Connect(meter, neurons)
    nest.Connect(parrots, recorder)
    nest.Simulate(20.0)
    assert meter.get("events")["times"].dtype == np.int64 and meter.get("events")["times"].max() == 19
    assert recorder.get("events")["times"].tolist() == [4, 4, 11, 11, 12, 12] and recorder.n_events == 6
    meter.n_events, recorder.n_events = 0, 0
    assert meter.n_events == recorder.n_events == 0
    nest.Simulate(10.0)
    assert meter.get("events")["times"].tolist() == np.repeat(np.arange(20, 30), 3).tolist()
    assert recorder.get("events")["times"].tolist() == [26, 26]
    with pytest.raises(NESTErrors.BadProperty, match="can only be set to 0"):
        recorder.n_events = 5


def test_lists_are_defaults() -> None:
    nest.SetDefaults("spike_generator", {"spike_times": [3.0, 9.0]})
    nest.CopyModel("multimeter", "meter", {"record_from": ["V_m"], "interval": 2.0})
    nest.CopyModel("step_rate_generator", "rates", {"amplitude_times": [2.0], "amplitude_values": (1.5,)})
    assert nest.Create("spike_generator").get("spike_times").tolist() == [3.0, 9.0]
    assert nest.Create("meter").record_from == ["V_m"] and nest.Create("rates", 2)[1].amplitude_values == [1.5]
    with pytest.raises(NESTErrors.TypeMismatch, match="must be a list of numbers"):
        nest.SetDefaults("spike_generator", {"spike_times": 3.0})


def test_what_nodes_are_and_show_is_what_nest_says() -> None:
    """Keys and values of NEST 3.10, with one thread."""
    alike = {"frozen", "global_id", "local", "model", "node_uses_wfr", "thread", "vp", "element_type"}
    neuron, readout, recorder = nest.Create("eprop_iaf"), nest.Create("eprop_readout"), nest.Create("weight_recorder")
    assert {"learning_signal", "surrogate_gradient", "recordables", "V_m"} | alike <= {*neuron.get()}
    assert readout.element_type == nest.Create("parrot_neuron").element_type == "neuron"
    assert (neuron.frozen, neuron.local, neuron.node_uses_wfr, neuron.thread, neuron.vp) == (False, True, False, 0, 0)
    assert nest.GetDefaults("eprop_readout", "element_type") == "neuron"
    assert {"start", "events", "n_events", "senders", "record_to"} | alike <= {*recorder.get()}
    assert not {"precision", "file_extension", "filenames"} & {*recorder.get(), *nest.GetDefaults("weight_recorder")}
    recorder.senders = [1, 2]
    assert recorder.senders == neuron + readout and len(recorder.targets) == 0
    with pytest.raises(NESTErrors.NotImplemented, match="another frozen of nodes"):
        neuron.frozen = True
    nest.ResetKernel()
    nest.set(resolution=1.0)
    network()
    nest.Simulate(5.0)
    assert "V_m" not in nest.GetNodes({"model": "eprop_iaf"}).get()


def test_attributes_of_the_kernel_are_there() -> None:
    network()
    assert nest.time_simulate == 0.0 and nest.tics_per_step == 1000 and nest.ms_per_tic == 0.001
    nest.Simulate(10.0)
    assert nest.time_simulate > 0.0 and nest.memory_size > 1000 and nest.get("time_construction_connect") > 0.0
    assert nest.GetLocalNodeCollection(nest.GetNodes()) == nest.GetNodes()
    assert nest.time_simulate_cpu > 0.0 and nest.time_construction_create > 0.0 and nest.use_wfr is True
    nest.use_wfr, nest.wfr_tol = False, 0.5  # as NEST's scripts do; there is nothing that they would change
    assert nest.get("use_wfr") is False and nest.wfr_tol == 0.5 and nest.build_info["version"] == "3.10.0"
    with pytest.raises(NESTErrors.NotImplemented, match="dict_miss_is_error"):
        nest.dict_miss_is_error = False
    for name in ("to_do", "modules", "stimulation_backends", "max_num_syn_models", "update_time_limit"):
        assert name in nest.kernel_status


@pytest.mark.parametrize("suffix", ["", "_bsshslm_2020"])
def test_spikes_of_the_latest_stretch_are_counted(suffix: str) -> None:
    """Those of neurons and parrots, as in NEST; with recorders or without."""
    counted = []
    for recorded in (True, False):
        nest.ResetKernel()
        nest.set(resolution=1.0)
        parrots, generator = nest.Create("parrot_neuron", 3), nest.Create("spike_generator")
        generator.spike_times = [2.0, 5.0, 5.0, 9.0, 10.0, 15.0]
        neurons = nest.Create(f"eprop_iaf{suffix}", 3, {"V_th": -69.99})
        nest.Connect(generator, parrots)
        synapse = {"synapse_model": f"eprop_synapse{suffix}", "delay": 1.0, "weight": 0.12345678901}
        nest.Connect(parrots, neurons, syn_spec=synapse)
        recorder = nest.Create("spike_recorder")
        if recorded:
            nest.Connect(parrots + neurons, recorder)
        assert nest.local_spike_counter == 0
        counted.append([nest.Simulate(1.0) or nest.local_spike_counter for _ in range(20)])
        assert not recorded or recorder.n_events == sum(counted[0])
    nest_has = [0, 0, 3, 3, 0, 9, 0, 3, 0, 6, 3, 3, 0, 3, 0, 6, 0, 3, 0, 3]  # of NEST 3.10, e-prop+
    assert counted[0] == counted[1] and (suffix or counted[0] == nest_has)
