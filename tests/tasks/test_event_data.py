"""Recordings of events as samples: files of SHD and of event cameras, data sets as objects, and their mistakes."""

import struct
import warnings
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import small
from commands import output_of, refusal_of

from pareprop import Adam, InputError, Model, Simulation, run
from pareprop.exchange_formats.event_reader import read_aedat
from pareprop.runs import config
from pareprop.tasks import EventData, Folder, Gestures, Spoken


def network(task: EventData, n: int = 4, **optimizer: object) -> Model:
    alike = {"into": 0.3, "onto": 0.3, "back": 0.3, "cell": {"t_ref": 3.0}}
    return small.network(n_in=task.n_inputs, n=n, n_out=task.n_classes, **alike, optimizer=Adam(**optimizer))


def shd(path: Path, times: list[list[float]], units: list[list[int]], labels: list[int]) -> Path:
    """A file as SHD and SSC have it: times in seconds as float16, rows of different lengths."""
    with h5py.File(path, "w") as file:
        for name, rows, kind in (("times", times, "f2"), ("units", units, "u2")):
            data = file.create_dataset(f"spikes/{name}", (len(rows),), h5py.vlen_dtype(np.dtype(kind)))
            for k, row in enumerate(rows):
                data[k] = np.array(row, kind)
        file["labels"] = np.array(labels, "u2")
    return path


def test_spoken_digits(tmp_path: Path) -> None:
    """A spike falls into the step after its time; neighbouring channels share an input."""
    times, units = [[0.0, 0.0035, 0.25], [0.5]], [[0, 699, 11], [3]]
    data = Spoken(shd(tmp_path / "shd_train.h5", times, units, [4, 19]))
    assert (len(data), data.n_classes, data.sensor_size) == (2, 20, (700, 1, 1))
    events, label = data[0]
    assert label == 4 and events["x"].tolist() == units[0]
    np.testing.assert_allclose(events["t"], 1e6 * np.float16(times[0]).astype(float), atol=1)
    task = EventData(data, n_steps=100, step_us=4000.0, pool=5, learning_window=20)
    assert (task.n_inputs, task.n_classes) == (140, 20)
    samples = [task.sample(k) for k in range(2)]
    first = next(sample for sample in samples if sample.label == 4)
    steps, ids = first.inputs.list_spikes(100)
    assert list(zip(steps.tolist(), ids.tolist(), strict=True)) == [(1, 0), (1, 139), (63, 2)]
    assert first.target[:, 4].all() and first.target.sum() == 100
    assert next(sample for sample in samples if sample.label == 19).inputs.ptr[-1] == 0  # after the last step


def test_events_after_the_last_step_are_told(tmp_path: Path) -> None:
    """Once a run; a few of them are usual."""
    units = list(range(20))
    data = Spoken(shd(tmp_path / "shd_train.h5", [np.linspace(0.0, 0.9, 20).tolist()] * 2, [units] * 2, [0, 0]))

    def lines(n_steps: int) -> list[str]:
        task = EventData(data, n_steps=n_steps, step_us=10_000.0)
        simulation = Simulation(network(task), task)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            simulation.train(2)
        return simulation.notices.lines

    assert lines(92) == []
    assert lines(61) == [
        "sample 0 of 'train': 7 events come after the last step and are left out, 13 spikes are in the sample; more "
        "steps or a longer step_us hold more"
    ]


def test_an_object_names_its_sets() -> None:
    events = np.zeros(3, [("t", "i8"), ("x", "i8")])
    task = EventData([(events, 0)] * 3, sensor_size=(4, 1, 1), n_classes=2, hold_out=1, n_steps=9)
    expected = "EventData(2 recordings to train, 1 to validate, 0 to test; 4 inputs, 2 classes, 9 steps)"
    assert repr(task) == expected


def aedat(events: np.ndarray, packets: int = 2) -> bytes:
    """Bytes of AEDAT 3.1 by its specification: header, packets of polarity events and one of another kind."""
    content = b"#!AER-DAT3.1\r\n#Format: RAW\r\n#Source 1: DVS128\r\n#!END-HEADER\r\n"
    content += struct.pack("<hhiiiiii", 0, 1, 8, 4, 0, 1, 1, 1) + struct.pack("<Ii", 1, 7)  # special event
    for part in np.array_split(events, packets):
        content += struct.pack("<hhiiiiii", 1, 1, 8, 4, 0, len(part), len(part), len(part))
        for t, x, y, p in part.tolist():
            content += struct.pack("<Ii", int(x) << 17 | int(y) << 2 | int(p) << 1 | 1, int(t))
    return content


def camera(n: int = 60) -> np.ndarray:
    rng = np.random.default_rng(5)
    events = np.zeros(n, [(name, "i8") for name in "txyp"])
    events["t"], events["p"] = np.sort(rng.integers(0, 900_000, n)), rng.integers(0, 2, n)
    events["x"], events["y"] = rng.integers(0, 128, n), rng.integers(0, 128, n)
    return events


def test_gestures(tmp_path: Path) -> None:
    events = camera()
    (tmp_path / "user01_led.aedat").write_bytes(aedat(events))
    (tmp_path / "user01_led_labels.csv").write_text("class,startTime_usec,endTime_usec\n3,0,400000\n11,400001,900000\n")
    (tmp_path / "trials_to_train.txt").write_text("user01_led.aedat\n")
    assert np.array_equal(read_aedat(tmp_path / "user01_led.aedat"), events)
    data = Gestures(tmp_path / "trials_to_train.txt")
    assert (len(data), [data[k][1] for k in range(2)]) == (2, [2, 10])
    second = events[events["t"] > 400_000]
    assert np.array_equal(data[1][0]["t"], second["t"] - 400_001)
    task = EventData(data, n_steps=50, step_us=10_000.0, pool=4)
    assert task.n_inputs == 32 * 32 * 2
    sample = next(task.sample(k) for k in range(2) if task.sample(k).label == 10)
    steps, ids = sample.inputs.list_spikes(50)
    expected = {
        (1 + (int(t) - 400_001) // 10_000, (int(p) * 32 + int(y) // 4) * 32 + int(x) // 4) for t, x, y, p in second
    }
    assert set(zip(steps.tolist(), ids.tolist(), strict=True)) == {pair for pair in expected if pair[0] < 50}


class Tonic:
    """A data set as Tonic has them: indexed, with a sensor's size and names of classes."""

    sensor_size, classes = (8, 1, 1), ["low", "high"]

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        label = index % 2
        rng = np.random.default_rng(index)
        events = np.zeros(80, [("t", "i8"), ("x", "i8"), ("p", "i8")])
        events["t"], events["x"] = np.sort(rng.integers(0, 60_000, 80)), rng.integers(0, 4, 80) + 4 * label
        return events, label


def test_data_sets_as_objects_are_learned() -> None:
    """Orders are new in each pass and the same for each rank; held-out recordings validate; a network learns them."""
    task = EventData(Tonic(), Tonic(), n_steps=61, step_us=1000.0, hold_out=4)
    orders = [[task.sample(8 * turn + k).checksums()["input spikes"] for k in range(8)] for turn in range(3)]
    own = {EventData(Tonic(), n_steps=61, step_us=1000.0).sample(k).checksums()["input spikes"] for k in range(12)}
    assert len(own) == 12 and all(set(order) == set(orders[0]) for order in orders) and orders[0] != orders[1]
    held_out = {task.sample(k, "validate").checksums()["input spikes"] for k in range(8)}
    assert len(held_out) == 4 and held_out | set(orders[0]) == own
    simulation = Simulation(network(task, 30, eta=1e-2, batch_size=4), task)
    simulation.train(25)
    assert simulation.test(12).accuracy > 0.9


def test_no_recording_validates_or_tests_twice(tmp_path: Path) -> None:
    """More are refused before the training; after an early stop one is tested."""
    task = EventData(Tonic(), Tonic(), n_steps=61, step_us=1000.0, hold_out=4)
    model = network(task, eta=1e-2, batch_size=2)
    options = {"iterations": 1, "figures": "none", "quiet": True}
    for settings, told in (
        ({"validate_every": 1, "validate_samples": 5}, "validate_samples = 5 must be at most 4, the samples that"),
        ({"validate_every": 1, "stop_below": 0.1, "stop_samples": 6}, "stop_samples = 6 must be at most 4"),
        ({"test_samples": 13}, "test_samples = 13 must be at most 12, the samples that EventData has to test"),
    ):
        with pytest.raises(InputError, match=told):
            run(model, task, tmp_path / "run", **settings, **options)
    alone = EventData(Tonic(), n_steps=61, step_us=1000.0, hold_out=4)
    with pytest.raises(InputError, match="test_samples = 1, as after an early stop, must be at most 0"):
        run(model, alone, tmp_path / "run", validate_every=1, stop_below=0.1, **options)
    assert not (tmp_path / "run").exists()
    run(model, task, tmp_path / "run", validate_every=1, validate_samples=4, test_samples=12, **options)
    with pytest.raises(InputError, match=r"^test: 5 samples of 'validate' are asked for, the task has 4$"):
        Simulation(model, task).test(5, "validate")


# ---- what no sample can hold -----------------------------------------------------------------------------------------

EVENT = struct.pack("<Ii", 1, 7)
ODD_TIMES = [np.nan, -1.0, np.inf, -np.inf, 1e300, 3000.0, -0.5, 0.0]  # us; of which 1e300 is late, two are used


def events_of(times: list[float], x: object = None, kind: str = "f8") -> np.ndarray:
    events = np.zeros(len(times), [("t", kind), ("x", "f8" if x is not None else "i8")])
    events["t"], events["x"] = times, 1 if x is None else x
    return events


def test_events_without_a_time_are_told(tmp_path: Path) -> None:
    task = EventData([(events_of(ODD_TIMES * 19), 0)] * 2, n_steps=9, step_us=1e3, sensor_size=(4,), n_classes=2)
    steps, ids = task.sample(0).inputs.list_spikes(9)
    assert list(zip(steps.tolist(), ids.tolist(), strict=True)) == [(1, 1), (4, 1)]
    simulation = Simulation(network(task), task)
    with warnings.catch_warnings(record=True):
        simulation.train(1)
    told = "95 of 152 events have times that are negative or not finite, and are left out"
    assert f"sample 0 of 'train': {told}" in simulation.notices.lines
    spoken = Spoken(shd(tmp_path / "shd.h5", [[np.nan, -0.5, np.inf, 0.003, 0.002]], [[5, 5, 5, 5, 6]], [0]))
    task = EventData(spoken, n_steps=9, step_us=1e3)
    assert (task.sample(0).inputs.n_unusable, task.sample(0).inputs.ptr[-1]) == (3, 2)


def spoken_with(path: Path, **changes: object) -> Path:
    """A file as SHD has them, with other data sets."""
    shd(path, [[0.1, 0.2]], [[1, 2]], [0])
    with h5py.File(path, "a") as file:
        for name, data in changes.items():
            name = name.replace("spikes_", "spikes/")
            del file[name]
            if callable(data):
                data(file, name)
            else:
                file[name] = data
    return path


def rows_of(kind: object, values: list) -> object:
    """Rows of another kind in a file of h5py."""

    def write(file: h5py.File, name: str) -> None:
        data = file.create_dataset(name, (1,), h5py.vlen_dtype(kind))
        data[0] = np.array([file["spikes"].ref] * 2, kind) if kind == h5py.ref_dtype else np.array(values, kind)

    return write


def packet(size: int = 8, overflow: int = 0, content: bytes = EVENT) -> bytes:
    return b"#!AER-DAT3.1\r\n" + struct.pack("<hhiiiiii", 1, 1, size, 4, overflow, 1, 1, 1) + content


def test_overflow_of_times(tmp_path: Path) -> None:
    assert read(tmp_path, packet(overflow=1))["t"].tolist() == [2**31 + 7]


def read(folder: Path, content: bytes) -> np.ndarray:
    (folder / "a.aedat").write_bytes(content)
    return read_aedat(folder / "a.aedat")


def take(recording: object = (np.zeros(1, [("t", "f8"), ("x", "i8")]), 0), **options: object) -> None:
    EventData([recording], **{"n_steps": 9, "sensor_size": (4,), "n_classes": 2} | options).sample(0)


def spoken(folder: Path, **changes: object) -> None:
    EventData(Spoken(spoken_with(folder / "shd.h5", **changes)), n_steps=9).sample(0)


def without(folder: Path, missing: str) -> None:
    spoken_with(folder / "shd.h5")
    with h5py.File(folder / "shd.h5", "a") as file:
        del file[missing]
    Spoken(folder / "shd.h5")


def gestures(folder: Path, row: str = "3,0,400000", name: str = "a.aedat") -> None:
    (folder / "a.aedat").write_bytes(WHOLE)
    (folder / "a_labels.csv").write_text(f"class,startTime_usec,endTime_usec\n{row}\n")
    (folder / "list.txt").write_text(f"{name}\n")
    Gestures(folder / "list.txt")


def folder_of(folder: Path, *which: int, **options: object) -> None:
    tree(folder, ["0/x.bin", "1/y.npy"])
    (folder / "0" / "x.bin").write_bytes(bytes(7))
    np.save(folder / "1" / "y.npy", np.array([{}], object), allow_pickle=True)
    found = Folder(folder, (34, 34, 2), **options)
    for k in which:
        found[k]


WHOLE, HERE = aedat(camera()), "EventData: recording 0 of 'train': "
BESIDE = "line 1: .* must be the name of a file in the same folder"
REFUSED = [
    (lambda at: take(n_classes=None), "EventData: train has neither n_classes nor classes: give n_classes"),
    (lambda at: take(sensor_size=None), "EventData: train has no sensor_size: give sensor_size, the numbers of x, y"),
    (lambda at: take(n_steps=1), "EventData: n_steps = 1 must be a whole number of at least 2"),
    (lambda at: take(step_us=0.0), "EventData: step_us = 0.0 must be a number above 0 and finite"),
    (lambda at: take(hold_out=1), "EventData: hold_out = 1 must be below 1, the recordings of train"),
    (lambda at: take(sensor_size=5), "EventData: sensor_size = 5 must be whole numbers above 0: of x, y, p"),
    (lambda at: take(n_classes=2**40), "EventData: n_classes = 1099511627776 must be at most 65536"),
    (lambda at: take(sensor_size=(2**40, 2**40, 2)), r"EventData: sensor_size = .* makes \d+ inputs"),
    (lambda at: EventData(5), r"EventData: train = 5 must be a sequence of pairs \(events, label\)"),
    (lambda at: EventData(iter([])), "EventData: train = .* must be a sequence of pairs"),
    (lambda at: take(5), rf"{HERE}5 must be a pair \(events, label\)"),
    (lambda at: take((np.zeros(1, [("t", "f8"), ("x", "i8")]), 0, 1)), r"must be a pair \(events, label\)"),
    (lambda at: take((events_of([0.0]), 10**30)), f"label = {10**30} must be a class from 0 to 1"),
    (lambda at: take((events_of([0.0]), 0.5)), "label = 0.5 must be a class"),
    (lambda at: take((events_of([0.0, 1.0], [1.0, 2.5]), 0)), rf"{HERE}x\[1\] = 2.5 must be a whole number"),
    (lambda at: take((events_of([0.0], [np.nan]), 0)), r"x\[0\] = nan must be a whole number"),
    (lambda at: take((events_of([0.0], [1e300]), 0)), r"x\[0\] = 1e\+300 must lie in 0 to 3, the sensor's size"),
    (lambda at: take((np.zeros(2, [("t", "U3"), ("x", "i8")]), 0)), "t must be numbers, not <U3"),
    (lambda at: take((np.zeros(2, [("t", "i8"), ("x", "O")]), 0)), "x must be numbers, not object"),
    (lambda at: take((np.zeros((2, 2), [("t", "i8"), ("x", "i8")]), 0)), r"shape \(2, 2\), must have one axis"),
    (lambda at: take(([1, 2], 0)), "events must be a structured array with fields t and x, not"),
    (lambda at: spoken(at, labels=np.array([1.5])), r"shd.h5: labels\[0\] = 1.5 must be a whole number"),
    (lambda at: spoken(at, labels=np.array([b"one"])), "labels must be numbers, not"),
    (lambda at: spoken(at, labels=np.array([2**64 - 1], "u8")), r"labels\[0\] = 18446744073709551615 must lie in"),
    (lambda at: spoken(at, labels=np.array([-1])), r"labels\[0\] = -1 must lie in 0 to 65535"),
    (
        lambda at: spoken(at, labels=lambda file, name: file.create_dataset(name, (2**45,), "i8", chunks=(2**10,))),
        "labels takes .* GiB of memory",
    ),
    (lambda at: spoken(at, spikes_units=rows_of(np.dtype("f8"), [1.0, 2.5])), r"recording 0: units\[1\] = 2.5 must be"),
    (lambda at: spoken(at, spikes_units=rows_of(np.dtype("u2"), [1, 700])), r"recording 0: units\[1\] = 700 must lie"),
    (lambda at: spoken(at, spikes_times=rows_of(h5py.ref_dtype, [])), "recording 0: times must be numbers, not obj"),
    (lambda at: spoken(at, spikes_units=rows_of(h5py.ref_dtype, [])), "recording 0: units must be numbers, not"),
    (lambda at: spoken(at, spikes_times=np.array([b"abc"])), "recording 0: times must be numbers, not"),
    (lambda at: without(at, "labels"), "labels is missing"),
    (lambda at: without(at, "spikes/times"), "spikes/times is missing"),
    (lambda at: Spoken(at / "none.h5"), "none.h5: No such file"),
    (lambda at: (at / "text.h5").write_text("no HDF5") and Spoken(at / "text.h5"), "text.h5: "),
    (lambda at: Spoken("x\0.h5"), "embedded null"),
    (lambda at: Spoken(5), "must be the path of a file"),
    (lambda at: read_aedat(".."), "must be the path of a file"),
    (lambda at: Gestures(None), "must be the path of a file"),
    (lambda at: Gestures(), "no gestures in no files"),
    (lambda at: gestures(at, name=".."), BESIDE),
    (lambda at: gestures(at, name="/x.aedat"), BESIDE),
    (lambda at: gestures(at, name="a/b.aedat"), BESIDE),
    (lambda at: gestures(at, name="x\0.aedat"), BESIDE),
    (lambda at: gestures(at, name="none.aedat"), "none_labels.csv"),
    (lambda at: gestures(at, "3,0," + "4" * 200_000), "a_labels.csv: field larger than field limit"),
    (lambda at: gestures(at, "3,0," + "4" * 4000), "class 3 from 0 to a whole number of 13287 bits us is not"),
    (lambda at: gestures(at, "3,-5,400000"), "class 3 from -5 to 400000 us is not a gesture"),
    (lambda at: gestures(at, "3,0," + "4" * 5000), "each row must hold the numbers"),
    (lambda at: read(at, b"#!AER-DAT1.0\r\n"), "is not of AEDAT 2 or 3"),
    (lambda at: read(at, b"#!AER-DAT2.0\r\n" + bytes(12)), "not a multiple of 8"),
    (lambda at: read(at, b"#!AER-DAT2.0\r\n" + struct.pack(">II", 1 << 16, 5)), "event 0 has address 65536, which is"),
    (lambda at: read(at, WHOLE[:40]), "ends within its header"),
    (lambda at: read(at, WHOLE[:-3]), "is damaged"),
    (lambda at: read(at, WHOLE + b"12345"), "ends within the header of a packet"),
    (lambda at: read(at, packet(overflow=-1)), "a packet at byte 14 has overflow -1, must be at least 0"),
    (lambda at: read(at, packet(12, content=EVENT + bytes(4))), "a packet at byte 14 has events of the camera of 12 b"),
    (lambda at: read(at, packet(content=struct.pack("<Ii", 1, -7))), "a packet at byte 14 has an event at -7 us"),
    (Folder, r"has no recordings CLASS/NAME with NAME ending in \.npy, "),
    (lambda at: folder_of(at, classes=["0", "2"]), r"y\.npy: '1' is not one of the classes 0, 2$"),
    (lambda at: folder_of(at, by_file=True), "its name must be the number of a class"),
    (lambda at: folder_of(at, 0), "has 7 bytes, not a multiple of 5"),
    (lambda at: folder_of(at, 1), "Object arrays cannot be loaded"),
]


@pytest.mark.parametrize(("make", "message"), REFUSED, ids=[message[:40] for _, message in REFUSED])
def test_what_is_refused(make: Callable[[Path], object], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message) as found:
        make(tmp_path)
    assert "\n" not in str(found.value) and len(str(found.value)) < 500


# ---- from a configuration --------------------------------------------------------------------------------------------

CONFIG = """
[task]
name = "data"
data = 'DATA'
steps = 60
MORE
[model]
[[model.populations]]
name = "in"
role = "input"
size = IN
[[model.populations]]
name = "rec"
role = "recurrent"
size = 8
C_m = 1.0
E_L = 0.0
V_th = 0.4
[[model.populations]]
name = "out"
role = "readout"
size = OUT
C_m = 1.0
loss = "cross_entropy"
[[model.projections]]
pre = "in"
post = "rec"
weight = { std = 0.5 }
[[model.projections]]
pre = "rec"
post = "out"
weight = { std = 0.2 }
[[model.projections]]
pre = "out"
post = "rec"
feedback = "symmetric"
[learning]
batch_size = 2
[run]
iterations = 2
"""


def configuration(folder: Path, data: Path, n_in: int, n_out: int, more: str = "") -> Path:
    text = CONFIG
    for key, value in {"DATA": data, "IN": n_in, "OUT": n_out, "MORE": more}.items():
        text = text.replace(key, str(value))
    (folder / "own.toml").write_text(text)
    return folder / "own.toml"


def pairs_of(task: object, index: int, phase: str = "train") -> tuple[int, list[tuple[int, int]]]:
    sample = task.sample(index, phase)
    return sample.label, list(zip(*(values.tolist() for values in sample.inputs.list_spikes(60)), strict=True))


@pytest.mark.usefixtures("no_figures")
def test_spoken_digits_of_a_configuration(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Counts say which recordings train and validate; those of the other file test."""
    times = [[0.004 * k + 0.001, 0.102] for k in range(6)]
    train = shd(tmp_path / "shd_train.h5", times, [[5 * k, 699] for k in range(6)], [0, 1, 2, 0, 1, 2])
    test = shd(tmp_path / "shd_test.h5", [[0.02], [0.03], [0.04]], [[0], [9], [14]], [2, 1, 0])
    path = configuration(tmp_path, train, 140, 3, f"test_data = '{test}'\nstep_us = 4000.0\npool = 5")
    counts = ["--set", "n_validate=2", "--set", "n_test=2", "--set", "validate_every=1"]
    text = output_of(capsys, "run", path, *counts, "--out", tmp_path / "run")
    assert "4 train (0 to 3 of the file, counted from 0), 2 validate (4 to 5 of the file" in text
    assert "2 test (0 to 1 of test_data, counted from 0)" in text and "n = 2)" in text
    task = config.load(str(path), ("n_validate=2", "n_test=2")).task
    assert pairs_of(task, 1) == (1, [(2, 1), (26, 139)])  # 5 and 102 ms in steps of 4 ms, after the first one
    assert pairs_of(task, 1, "validate") == (2, [(6, 5), (26, 139)])
    assert pairs_of(task, 1, "test") == (1, [(8, 1)]) and task.list_attributes() == {}
    with h5py.File(train, "a") as file:  # as SHD has them
        file["extra/keys"] = np.array(["zero", "one", "null"], "S")
    assert config.load(str(path)).task.list_attributes() == {"output_names": ["zero", "one", "null"]}
    more = ["--out", tmp_path / "no"]
    for settings, words in (
        (["pool=1"], "the recordings need 700 inputs (700 x 1 x 1 values of x, y, p with pool = 1), the network has"),
        (["n_test=4"], f"n_test = 4 must be at most 3, the samples in {test}"),
        (["n_validate=6"], f"n_validate = 6 and at least one that trains make 7 samples, {train} has 6"),
        (["test_samples=4"], f"test_samples = 4 must be at most 3, the samples of {test} that test"),
        (["n_train=7"], "n_train = 7 must be at most 6, the samples in"),
        (["test_data=missing.h5"], "test_data missing.h5: holds no event recordings"),
        (["step_us=inf"], "step_us"),
        (["sensor_size=[34,34,2]"], f"sensor_size = (34, 34, 2) needs a folder of recordings, {train} is none"),
        (["label_from=file"], f"label_from = 'file' needs a folder of recordings, {train} is none"),
    ):
        told = refusal_of(capsys, "run", path, *(word for one in settings for word in ("--set", one)), *more)
        assert words in told and len(told.strip().splitlines()) == 1
    (tmp_path / "few.h5").write_bytes(train.read_bytes()[:900])
    for name in ("few.h5", "none.h5"):
        refusal_of(capsys, "run", path, "--set", f"data={tmp_path / name}", *more)
    config.load(str(path), ("sensor_size=[700,1,1]",)).task.build_model()
    told = refusal_of(capsys, "run", configuration(tmp_path, train, 700, 2), *more)
    assert "has class 2, the network has 2 readouts" in told


def structured(events: np.ndarray) -> np.ndarray:
    """As Tonic makes them: x, y, t, p of their own types."""
    kept = np.zeros(len(events), [("x", "i2"), ("y", "i2"), ("t", "i8"), ("p", "?")])
    for name in "xytp":
        kept[name] = events[name]
    return kept


def tree(folder: Path, names: list[str], seed: int = 0) -> dict[str, np.ndarray]:
    """A folder of recordings, events by name, in the format that the name ends in."""
    rng, made = np.random.default_rng(seed), {}
    for name in names:
        events = np.zeros(20, [(key, "i8") for key in "txyp"])
        events["t"], events["p"] = np.sort(rng.integers(0, 60_000, 20)), rng.integers(0, 2, 20)
        events["x"], events["y"] = rng.integers(0, 34, 20), rng.integers(0, 34, 20)
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".npy":
            np.save(path, structured(events))
        elif path.suffix == ".bin":  # 40 bits: x, y, polarity, 23 bits of time
            words = [x << 32 | y << 24 | p << 23 | t for t, x, y, p in events.tolist()]
            path.write_bytes(b"".join(word.to_bytes(5, "big") for word in words))
        else:  # AEDAT 2.0 of a DVS128: y, 127 - x, OFF; and an event that is none of a pixel
            words = [(y << 8 | (127 - x) << 1 | (1 - p), t) for t, x, y, p in events.tolist()] + [(1 << 15, 7)]
            header = b"#!AER-DAT2.0\r\n# This is a raw AE data file\r\n"
            path.write_bytes(header + b"".join(struct.pack(">II", *word) for word in words))
        made[name] = events
    return made


@pytest.mark.parametrize("kind", ["npy", "bin", "aedat"])
def test_folders_of_a_configuration(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Classes take turns; names of classes that are numbers are sorted as numbers."""
    made = tree(tmp_path / "Train", [f"{label}/{k}.{kind}" for label in ("2", "10") for k in range(2)])
    (tmp_path / "Train" / "2" / "notes.txt").write_text("no recording")
    tree(tmp_path / "Test", [f"10/0.{kind}"], 1)
    size = (128, 128, 2) if kind == "aedat" else (34, 34, 2)
    told = "" if kind == "aedat" else "\nsensor_size = [34, 34, 2]"
    n_in = 2 * (size[0] // 2) * (size[1] // 2)
    path = configuration(tmp_path, tmp_path / "Train", n_in, 2, f"test_data = '{tmp_path / 'Test'}'\npool = 2{told}")
    task = config.load(str(path), ()).task
    assert [task.sample(k).label for k in range(4)] == [0, 1, 0, 1] and task.sample(0, "test").label == 1
    assert task.available == {"train": 4, "validate": 0, "test": 1}
    assert task.list_attributes() == {"output_names": ["2", "10"]}
    events = made[f"10/0.{kind}"]
    half = size[0] // 2
    places = {(1 + t // 1000, (p * half + y // 2) * half + x // 2) for t, x, y, p in events.tolist()}
    assert set(pairs_of(task, 1)[1]) == {pair for pair in places if pair[0] < 60}
    if told:
        words = "give sensor_size in section [task], the numbers of values of x, y and p"
        none = configuration(tmp_path, tmp_path / "Train", n_in, 2)
        assert words in refusal_of(capsys, "run", none, "--out", tmp_path / "no")


def test_gestures_of_tonic_of_a_configuration(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Its files are USER/CLASS.npy with columns x, y, p and t in milliseconds."""
    for user in ("user01_led", "user02_lab"):
        (tmp_path / "all" / user).mkdir(parents=True)
        for label in range(3):
            np.save(tmp_path / "all" / user / f"{label}.npy", np.array([[4 * label, 8, 1, 10], [127, 0, 0, 33.0]]))
    path = configuration(tmp_path, tmp_path / "all", 2 * 32 * 32, 3, "pool = 4\nlabel_from = 'file'")
    task = config.load(str(path), ()).task
    assert pairs_of(task, 5) == (2, [(11, (1 * 32 + 2) * 32 + 2), (34, 31)])
    more = ["--set", "sensor_size=[128,128,2]", "--out", tmp_path / "run"]
    told = refusal_of(capsys, "run", path, "--set", "label_from=folder", *more)
    assert "must be a structured array with fields t and x" in told and "user01_led" in told


@pytest.mark.usefixtures("no_figures")
def test_cut_gestures_of_a_configuration(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "user01_led.aedat").write_bytes(aedat(camera()))
    (tmp_path / "user01_led_labels.csv").write_text("class,startTime_usec,endTime_usec\n3,0,400000\n11,400001,900000\n")
    (tmp_path / "trials_to_train.txt").write_text("user01_led.aedat\n")
    more = "pool = 16\nstep_us = 10000.0\nn_test = 1"
    path = configuration(tmp_path, tmp_path / "trials_to_train.txt", 2 * 8 * 8, 11, more)
    assert "test accuracy: " in output_of(capsys, "run", path, "--out", tmp_path / "run")
    task = config.load(str(path), ()).task
    assert [task.sample(0, phase).label for phase in ("train", "test")] == [2, 10]
    told = refusal_of(capsys, "resume", tmp_path / "run", "--set", f"data={tmp_path / 'none.txt'}")
    assert "No such file" in told
    (tmp_path / "user01_led.aedat").unlink()
    told = refusal_of(capsys, "resume", tmp_path / "run")
    assert "user01_led.aedat: No such file" in told and len(told.strip().splitlines()) == 1
