"""Recordings in text files (`record_to` "ascii"); expected are the files of NEST 3.10."""

import os
from pathlib import Path

import pytest
import ranks

import pareprop.nest as nest

SPIKES = [2.0, 5.0, 5.0, 9.0, 10.0, 15.0]
HEAD = ["# NEST version: 3.10.0", "# RecordingBackendASCII version: 2"]
FIRST = {  # of NEST, after 10 ms
    "p_lab-9-0.txt": ["sender\ttime_step\ttime_offset", "2\t3\t0.0000000", "2\t6\t0.0000000", "2\t6\t0.0000000",
                      "2\t10\t0.0000000"],
    "p_multimeter-10-1.dat": ["sender\ttime_ms\tV_m\tlearning_signal", "5\t2.000\t-70.000\t0.000",
                              "7\t2.000\t-70.000\t0.000", "5\t4.000\t-69.640\t0.000", "7\t4.000\t-69.640\t0.000",
                              "5\t6.000\t-69.715\t0.000", "7\t6.000\t-69.715\t0.000", "5\t8.000\t-69.106\t0.000",
                              "7\t8.000\t-69.106\t0.000"],
    "p_spike_recorder-8-0.dat": ["sender\ttime_ms", "6\t4.000", "6\t6.000", "6\t8.000", "6\t10.000"],
}  # fmt: skip
THEN = {  # of NEST, with another prefix, 6 ms later
    "q_lab-9-0.txt": ["sender\ttime_step\ttime_offset", "2\t11\t0.0000000", "2\t16\t0.0000000"],
    "q_multimeter-10-0.dat": [
        "sender\ttime_ms\tV_m\tlearning_signal",
        "6\t10.000\t-69.278\t0.000",
        "6\t12.000\t-68.714\t0.000",
        "6\t14.000\t-68.957\t0.000",
    ],
    "q_spike_recorder-8-1.dat": [
        "sender\ttime_ms",
        "5\t12.000",
        "7\t12.000",
        "5\t14.000",
        "7\t14.000",
        "5\t16.000",
        "7\t16.000",
    ],
}
WEIGHTS = [
    "1\t3.0000000000\t0.1234567890\t6\t0\t0",
    "2\t3.0000000000\t0.1234567890\t6\t0\t1",
    "3\t3.0000000000\t0.1234567890\t6\t0\t2",
]  # of NEST, sorted


def network(folder: Path) -> tuple[nest.NodeCollection, ...]:
    """Parrots, neurons, and recorders of all kinds."""
    nest.ResetKernel()
    nest.set(resolution=1.0, total_num_virtual_procs=2, data_path=str(folder), data_prefix="p_")
    parrots = nest.Create("parrot_neuron", 3)
    generator = nest.Create("spike_generator", 1, {"spike_times": SPIKES})
    neurons = nest.Create("eprop_iaf", 3, {"V_th": -69.99})
    spikes = nest.Create("spike_recorder", {"record_to": "ascii"})
    form = {"time_in_steps": True, "label": "lab", "precision": 7, "file_extension": "txt"}
    steps = nest.Create("spike_recorder", {"record_to": "ascii"} | form)
    values = {"record_to": "ascii", "record_from": ["V_m", "learning_signal"], "interval": 2.0}
    meter = nest.Create("multimeter", values)
    weights = nest.Create("weight_recorder", {"record_to": "ascii", "precision": 10})
    nest.SetDefaults("eprop_synapse", {"weight_recorder": weights})
    nest.Connect(generator, parrots)
    nest.Connect(parrots, neurons, syn_spec={"synapse_model": "eprop_synapse", "delay": 1.0, "weight": 0.12345678901})
    nest.Connect(neurons, spikes)
    nest.Connect(parrots, steps)
    nest.Connect(meter, neurons)
    return spikes, steps, meter, weights


def read(folder: Path) -> dict[str, list[str]]:
    """Lines of all files without their heads, by name."""
    found = {path.name: path.read_text().splitlines() for path in folder.iterdir()}
    assert all(lines[:2] == HEAD for lines in found.values())
    return {name: lines[2:] for name, lines in found.items()}


def test_files_are_those_of_nest(tmp_path: Path) -> None:
    spikes, steps, meter, _ = network(tmp_path)
    nest.Simulate(10.0)
    found = read(tmp_path)
    assert len(found) == 8 and FIRST.items() <= found.items()
    head = "sender\ttime_ms\tweights\ttargets\treceptors\tports"
    assert found["p_weight_recorder-11-0.dat"][:4] == [head, *WEIGHTS]
    assert spikes.n_events == steps.n_events == meter.n_events == 12
    nest.data_prefix = "q_"
    nest.Simulate(6.0)
    assert THEN.items() <= read(tmp_path).items() and spikes.n_events == 21
    assert spikes.filenames == [str(tmp_path / f"q_spike_recorder-8-{process}.dat") for process in range(2)]
    spikes.n_events = 0
    assert spikes.n_events == 0 and "events" not in spikes.get() and spikes.precision == 3
    with pytest.raises(KeyError, match="they are in"):
        spikes.get("events")


def test_files_are_not_overwritten_unless_told(tmp_path: Path) -> None:
    network(tmp_path)
    nest.Simulate(4.0)
    kept = read(tmp_path)
    with pytest.raises(nest.NESTErrors.IOError, match=r"exists already: set nest\.overwrite_files to True"):
        nest.Simulate(6.0)
    assert read(tmp_path) == kept and nest.biological_time == 4.0
    with pytest.raises(nest.NESTError, match="call Run, or Cleanup"):  # what failed was begun
        nest.Simulate(6.0)
    nest.Cleanup()
    nest.overwrite_files = True
    nest.Simulate(6.0)
    assert read(tmp_path)["p_spike_recorder-8-0.dat"] == ["sender\ttime_ms", "6\t6.000", "6\t8.000", "6\t10.000"]
    nest.data_path = str(tmp_path / "no")
    with pytest.raises(nest.NESTErrors.IOError, match="No such file"):
        nest.Simulate(1.0)


def test_runs_between_prepare_and_cleanup_share_files(tmp_path: Path) -> None:
    network(tmp_path)
    with nest.RunManager():
        nest.Run(4.0)
        nest.Run(6.0)
    assert FIRST.items() <= read(tmp_path).items()


@pytest.mark.parametrize(
    ("values", "kind", "told"),
    [
        ({"record_to": "mpi"}, "NotImplemented", "record to memory or ascii"),
        ({"record_to": "foo"}, "BadProperty", "unknown recording backend 'foo', there are ascii, memory, screen"),
        ({"record_to": 5}, "TypeMismatch", "'record_to' of spike_recorder has a value of the wrong type: 5"),
        ({"precision": 5}, "UnaccessedDictionaryEntry", "precision .* is for recorders with record_to = 'ascii'"),
        ({"record_to": "ascii", "precision": 2.5}, "TypeMismatch", "precision"),
        ({"record_to": "ascii", "file_extension": 3}, "TypeMismatch", "file_extension"),
    ],
)
def test_other_places_are_refused(values: dict, kind: str, told: str) -> None:
    nest.ResetKernel()
    with pytest.raises(getattr(nest.NESTErrors, kind), match=told):
        nest.Create("spike_recorder", values)


SCRIPT = """
import sys
from pathlib import Path
import test_text_files
import pareprop.nest as nest
test_text_files.network(Path(sys.argv[1]))
nest.Simulate(10.0)
print(nest.GetNodes({"model": "spike_recorder"}).get("n_events"))
"""


def test_two_ranks_write_the_same_files(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    (folder := tmp_path / "files").mkdir()
    script.write_text(SCRIPT)
    here = Path(__file__).parent
    path = f"{here}{os.pathsep}{here.parent}"
    output = ranks.output(2, "-m", "pareprop", "nest", script, folder, env={"PYTHONPATH": path})
    assert output.splitlines() == ["(12, 12)"] * 2
    found = read(folder)
    assert len(found) == 8 and FIRST.items() <= found.items()


def test_what_is_on_its_way_outlives_clearing() -> None:
    """NEST's weight recorder shows a spike when it arrives, one step after it was sent."""
    nest.ResetKernel()
    nest.set(resolution=1.0)
    parrot, neuron = nest.Create("parrot_neuron"), nest.Create("eprop_iaf")
    recorder = nest.Create("weight_recorder")
    nest.SetDefaults("eprop_synapse", {"weight_recorder": recorder})
    nest.Connect(nest.Create("spike_generator", 1, {"spike_times": [2.0, 4.0]}), parrot)
    nest.Connect(parrot, neuron, syn_spec={"synapse_model": "eprop_synapse", "delay": 1.0})
    nest.Simulate(5.0)
    assert recorder.get("events")["times"].tolist() == [3.0]
    recorder.n_events = 0
    nest.Simulate(5.0)
    assert recorder.get("events")["times"].tolist() == [5.0]
