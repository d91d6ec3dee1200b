"""Recordings of events as samples: files of SHD and of event cameras, data sets as objects, and their mistakes."""

import struct
import warnings
from pathlib import Path

import h5py
import numpy as np
import pytest

from pareprop import Adam, InputError, Model, Normal, Simulation, run
from pareprop.tasks import EventData, Gestures, Spoken
from pareprop.tasks.event_files import read_aedat


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
    steps, ids = first.inputs.spikes(100)
    assert list(zip(steps.tolist(), ids.tolist(), strict=True)) == [(1, 0), (1, 139), (63, 2)]
    assert first.target[:, 4].all() and first.target.sum() == 100
    assert next(sample for sample in samples if sample.label == 19).inputs.ptr[-1] == 0  # after the last step


def test_events_after_the_last_step_are_told(tmp_path: Path) -> None:
    """Once a run; a few of them are usual."""
    units = list(range(20))
    data = Spoken(shd(tmp_path / "shd_train.h5", [np.linspace(0.0, 0.9, 20).tolist()] * 2, [units] * 2, [0, 0]))

    def lines(n_steps: int) -> list[str]:
        task = EventData(data, n_steps=n_steps, step_us=10_000.0)
        model = Model("interval", optimizer=Adam(eta=1e-3))
        inputs, out = model.inputs("in", 700), model.readouts("out", task.n_classes, C_m=1.0, tau_m=20.0)
        cells = model.neurons("rec", 4, C_m=1.0, E_L=0.0, V_th=0.6)
        for pre, post in ((inputs, cells), (cells, out), (out, cells)):
            model.connect(pre, post, weight=Normal(mean=1.0, std=0.1))
        simulation = Simulation(model, task)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            simulation.train(2)
        return simulation.notices.lines

    assert lines(92) == []
    assert lines(61) == [
        "sample 0 of 'train': 7 events come after the last step and are left out, 13 spikes are in the sample; more "
        "n_steps or a longer step_us hold more"
    ]


def test_what_a_data_set_does_not_tell_is_asked_for() -> None:
    events = np.zeros(3, [("t", "i8"), ("x", "i8")])
    for given, message in (
        ({"sensor_size": (4, 1, 1)}, "EventData: train tells no n_classes and no classes: give n_classes"),
        ({"n_classes": 2}, "EventData: train has no sensor_size: give sensor_size, the numbers of x, y and p"),
    ):
        with pytest.raises(InputError, match=f"^{message}$"):
            EventData([(events, 0)], **given)
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
    steps, ids = sample.inputs.spikes(50)
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
    model = Model("interval", seed=1, optimizer=Adam(eta=1e-2, batch_size=4))
    inputs, out = model.inputs("in", task.n_inputs), model.readouts("out", task.n_classes, C_m=1.0, tau_m=20.0)
    rec = model.neurons("rec", 30, C_m=1.0, E_L=0.0, V_th=0.6, tau_m=20.0, t_ref=3.0)
    for pre, post in ((inputs, rec), (rec, out), (out, rec)):
        model.connect(pre, post, weight=Normal(std=0.3))
    simulation = Simulation(model, task)
    simulation.train(25)
    assert simulation.test(12).accuracy > 0.9


def test_no_recording_validates_or_tests_twice(tmp_path: Path) -> None:
    """More are refused before the training; after an early stop one is tested."""
    task = EventData(Tonic(), Tonic(), n_steps=61, step_us=1000.0, hold_out=4)
    model = Model("interval", seed=1, optimizer=Adam(eta=1e-2, batch_size=2))
    inputs, out = model.inputs("in", task.n_inputs), model.readouts("out", task.n_classes, C_m=1.0, tau_m=20.0)
    rec = model.neurons("rec", 3, C_m=1.0, E_L=0.0, V_th=0.6, tau_m=20.0)
    for pre, post in ((inputs, rec), (rec, out), (out, rec)):
        model.connect(pre, post, weight=Normal(std=0.3))
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


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"n_steps": 1}, "EventData: n_steps = 1 must be a whole number of at least 2"),
        ({"step_us": 0.0}, "EventData: step_us = 0.0 must be a number above 0 and finite"),
        ({"hold_out": 12}, "EventData: hold_out = 12 must be below 12, the recordings of train"),
        ({"sensor_size": (4, 1, 1)}, "must lie in 0 to 3, the sensor's size"),
        ({"n_classes": 1}, "label = 1 must be a class from 0 to 0"),
        ({"sensor_size": 5}, "EventData: sensor_size = 5 must be whole numbers above 0: of x, y, p"),
    ],
)
def test_mistakes_are_named(options: dict, words: str) -> None:
    with pytest.raises(InputError) as found:
        task = EventData(Tonic(), **options)
        for k in range(12):
            task.sample(k)
    assert words in str(found.value) and "\n" not in str(found.value)


def test_damaged_files_are_named(tmp_path: Path) -> None:
    whole = aedat(camera())
    path = tmp_path / "a.aedat"
    for content, words in (
        (b"#!AER-DAT2.0\r\n", "is not of AEDAT 3"),
        (whole[:40], "ends within its header"),
        (whole[:-3], "is damaged"),
        (whole + b"12345", "ends within the header of a packet"),
    ):
        path.write_bytes(content)
        with pytest.raises(InputError, match=words):
            read_aedat(path)
    for missing in ("labels", "spikes/times", "spikes/units"):
        name = shd(tmp_path / f"{missing[-3:]}.h5", [[0.1]], [[1]], [0])
        with h5py.File(name, "a") as file:
            del file[missing]
        with pytest.raises(InputError, match=f"{missing} is missing"):
            Spoken(name)
    (tmp_path / "text.h5").write_text("no HDF5")
    for make in (lambda: Spoken(tmp_path / "text.h5"), lambda: Spoken(tmp_path / "none.h5"), Gestures):
        with pytest.raises(InputError):
            make()
