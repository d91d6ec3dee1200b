"""Recordings of events: what is read, drawn and moved, against independent counts."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
from case_files import RECORDINGS
from commands import command, output_of

from pareprop.engines.sample import Sample
from pareprop.errors import InputError
from pareprop.exchange_formats.n_mnist_reader import Problems, Recordings, decode_events, open_splits
from pareprop.tasks import TASKS
from pareprop.tasks.base import make_task

pytestmark = pytest.mark.usefixtures("no_figures")


def task(name: str, *settings: str):
    return make_task(TASKS[name], settings)


def encode(events) -> bytes:
    """(x, y, on, time in microseconds) as 5 bytes each, written bit by bit from the description of the format."""
    return b"".join(bytes([x, y]) + (on * 2**23 + time).to_bytes(3, "big") for x, y, on, time in events)


def write_recordings(folder: Path, n: int = 20, seed: int = 3) -> dict[str, list]:
    rng, written = np.random.default_rng(seed), {}
    for split in ("Train", "Test"):
        for number in range(n):
            times = np.sort(rng.integers(0, 336040, 60))
            events = [(*map(int, rng.integers(0, 34, 2)), int(rng.integers(2)), int(time)) for time in times]
            path = folder / split / str(number % 10) / f"{number:05}.bin"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode(events))
            written[f"{split}/{path.parent.name}/{path.name}"] = events
    return written


def zip_folder(folder: Path, out: Path) -> Path:
    out.mkdir()
    for split in ("Train", "Test"):
        with zipfile.ZipFile(out / f"{split}.zip", "w", zipfile.ZIP_DEFLATED) as file:
            for path in sorted((folder / split).rglob("*.bin")):
                file.write(path, path.relative_to(folder))
    return out


def test_folders_and_zips_give_the_same_events(tmp_path: Path):
    written = write_recordings(tmp_path / "set")
    zips = zip_folder(tmp_path / "set", tmp_path / "zips")
    for data in (tmp_path / "set", zips, f"{zips}/Train.zip,{zips}/Test.zip", zips / "Train.zip"):
        problems = Problems()
        for name, split in zip(("Train", "Test"), open_splits(str(data), problems), strict=True):
            assert sorted(split.labels) == sorted([k % 10 for k in range(20)])
            found = [split.read_events(k) for k in range(20)]
            names = sorted(key for key in written if key.startswith(name))
            for label, events, key in zip(split.labels, found, names, strict=True):
                assert key.split("/")[1] == str(label)
                np.testing.assert_array_equal(np.column_stack([events[name] for name in "xypt"]), written[key])
        assert problems.format_lines() == []


def test_what_is_no_recording_is_named_and_counted(tmp_path: Path):
    write_recordings(tmp_path)
    train = tmp_path / "Train"
    (train / "0" / "00000.bin").write_bytes(b"1234567")
    (train / "0" / "00010.bin").write_bytes(b"")
    (train / "11").mkdir()
    (train / "11" / "00001.bin").write_bytes(encode([(1, 1, 1, 1)]))
    (train / "README.txt").write_text("hello")
    (train / "1" / "00001.bin").write_bytes(encode([(34, 0, 1, 10), (3, 200, 0, 20), (5, 6, 1, 30)]))
    problems = Problems()
    split = Recordings(train, problems)
    assert len(split) == 18 and 0 not in split.labels
    found = [split.read_events(k) for k in range(18)]
    assert len(split.read_events(list(split.labels).index(1))) == 1 and all(item is not None for item in found)
    assert sorted(problems.format_lines()) == [
        "1 files that are no recordings: README.txt",
        "1 recordings with a label outside 0..9: 11/00001.bin",
        "2 events outside 34 x 34 pixels, in: 1/00001.bin",
        "2 recordings that are truncated (not whole events of 5 bytes): 0/00000.bin, 0/00010.bin",
    ]


def test_places_without_recordings(tmp_path: Path):
    with pytest.raises(InputError, match=r"has neither Train/ nor Train\.zip"):
        open_splits(str(tmp_path), Problems())
    (tmp_path / "Train").mkdir()
    (tmp_path / "Train" / "note.txt").write_text("nothing")
    with pytest.raises(InputError, match=r"has no recording.*1 files that are no recordings: note\.txt"):
        open_splits(str(tmp_path), Problems())
    (tmp_path / "a.zip").write_bytes(b"no zip")
    with pytest.raises(InputError, match=r"a\.zip cannot be read as a zip"):
        open_splits(f"{tmp_path}/a.zip,{tmp_path}/b.zip", Problems())
    with pytest.raises(InputError, match=r"b\.zip' does not exist"):
        Recordings(tmp_path / "b.zip", Problems())


def test_damaged_recordings_give_way_to_the_next(tmp_path: Path):
    write_recordings(tmp_path / "set")
    zips = zip_folder(tmp_path / "set", tmp_path / "zips")
    content = bytearray((zips / "Train.zip").read_bytes())
    with zipfile.ZipFile(zips / "Train.zip") as file:
        item = file.infolist()[4]
    content[item.header_offset + 60 : item.header_offset + 90] = bytes(30)  # in its compressed events
    (zips / "Train.zip").write_bytes(content)
    chosen = task("n-mnist", f"data={zips}", "variant=interval", "test_samples=20")
    chosen.build_model()
    samples = [chosen.sample(index) for index in range(20)]
    assert len(samples) == 20
    assert chosen.list_remarks() == [f"data: 1 recordings that cannot be read: {item.filename}"]


def test_spikes_of_a_recording_by_pixel_and_step(tmp_path: Path):
    write_recordings(tmp_path)
    chosen = task("n-mnist", f"data={tmp_path}", "test_samples=20")
    pixels = chosen.list_arrays()["input_pixels"]
    assert len(pixels) == chosen.build_model().populations[0].size < 2312
    written = write_recordings(tmp_path)
    seen = {(y, x, on) for key, events in written.items() if key.startswith("Train") for x, y, on, _ in events}
    assert {tuple(map(int, pixel)) for pixel in pixels} == seen
    sample = chosen.sample(0)
    steps, ids = sample.inputs.list_spikes(300)
    found = {(int(step), *map(int, pixels[i])) for step, i in zip(steps, ids, strict=True)}
    expected = [
        {(round(time * 300 / 336040), y, x, on) for x, y, on, time in events}
        for key, events in written.items()
        if key.startswith(f"Train/{sample.label}/")
    ]
    assert found in [{event for event in events if 0 < event[0] < 300} for events in expected]


def test_training_recordings_are_moved_as_a_whole(tmp_path: Path):
    write_recordings(tmp_path)
    still, moved = (task("n-mnist", f"data={tmp_path}", "test_samples=20", f"shift={n}") for n in (0, 2))
    pixels = still.list_arrays()["input_pixels"].astype(int)
    places = set(map(tuple, pixels))

    def events(sample: Sample) -> set[tuple[int, ...]]:
        return {(int(step), *pixels[i]) for step, i in zip(*sample.inputs.list_spikes(300), strict=True)}

    seen = set()
    for index in range(40):
        before, after = events(still.sample(index)), events(moved.sample(index))
        moves = [(dy, dx) for dy in range(-2, 3) for dx in range(-2, 3)]
        results = {(dy, dx): {(t, y + dy, x + dx, on) for t, y, x, on in before} for dy, dx in moves}
        fits = [move for move, found in results.items() if {e for e in found if e[1:] in places} == after]
        assert len(fits) == 1
        seen.update(fits)
    assert len(seen) > 15  # of 25
    np.testing.assert_array_equal(still.sample(0, "test").inputs.ids, moved.sample(0, "test").inputs.ids)


def test_every_epoch_shows_each_training_recording_once(tmp_path: Path):
    write_recordings(tmp_path)
    settings = "test_samples=20", "hold_out=5", "validate_every=1", "validate_samples=5"
    chosen = task("n-mnist", f"data={tmp_path}", *settings)

    def read_spikes(phase: str, first: int, n: int) -> list[bytes]:
        return [chosen.sample(index, phase).inputs.ids.tobytes() for index in range(first, first + n)]

    epochs = [read_spikes("train", 15 * k, 15) for k in range(3)]
    assert all(len(set(epoch)) == 15 and set(epoch) == set(epochs[0]) for epoch in epochs)
    assert epochs[0] != epochs[1] and epochs[1] != epochs[2]
    held = read_spikes("validate", 0, 5)
    assert len(set(held)) == 5 and not set(held) & set(epochs[0])
    assert read_spikes("train", 0, 15) == epochs[0]
    assert len(set(read_spikes("test", 0, 20))) == 20


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["test_samples=21"], "test_samples = 21 must be at most 20"),
        (["test_samples=5", "hold_out=20"], "hold_out = 20 must be at most 19"),
        (["test_samples=5", "validate_every=2", "validate_samples=3"], "hold_out = 0 must be at least 3"),
    ],
)
def test_more_recordings_than_there_are(tmp_path: Path, settings: list[str], message: str):
    write_recordings(tmp_path)
    with pytest.raises(InputError, match=message):
        task("n-mnist", f"data={tmp_path}", *settings).build_model()


def test_without_data_it_says_where_they_are(capsys: pytest.CaptureFixture):
    code, _, errors = command(capsys, "run", "n-mnist")
    assert code == 2 and all(
        text in errors for text in ("10.17632/468j46mzdv", "--set data=FOLDER", "--set data=synthetic")
    )
    assert "n-mnist" in output_of(capsys, "tasks")


def test_real_recordings():
    problems = Problems()
    train, test = open_splits(str(RECORDINGS), problems)
    assert (sorted(train.labels), sorted(test.labels)) == (list(range(10)), [0, 2, 4])
    found = [train.read_events(index) for index in range(10)] + [test.read_events(index) for index in range(3)]
    n_events = sorted(map(len, found))
    assert n_events == sorted(
        item.file_size // 5
        for name in ("Train", "Test")
        for item in zipfile.ZipFile(RECORDINGS / f"{name}.zip").infolist()
    )
    for events in found:
        assert np.all(np.diff(events["t"]) >= 0) and 290_000 < events["t"][-1] < 336_041
        assert 0.3 < events["p"].mean() < 0.7
    assert problems.format_lines() == []


def test_decoding_of_extreme_events():
    events = decode_events(bytes([33, 0, 0xFF, 0xFF, 0xFF, 0, 33, 0, 0, 1]))
    assert events[list("xypt")].tolist() == [(33, 0, 1, 2**23 - 1), (0, 33, 0, 1)]


def test_synthetic_digits_move_three_times():
    pytest.importorskip("sklearn", reason="scikit-learn (extra `synthetic`) is not installed")
    chosen = task("n-mnist", "data=synthetic", "scan=20")
    assert chosen.list_attributes()["note"] == "synthetic digits"
    train, test = chosen._splits
    assert (len(train), len(test)) == (1437, 360) and set(train.labels) == set(range(10))
    events = train.read_events(0)
    per_saccade = np.histogram(events["t"], [0, 112_013, 224_027, 336_040])[0]
    assert np.all(per_saccade > 300) and np.all(np.diff(events["t"]) >= 0)
    # while the digit moves right, its left edges get darker and its right edges brighter: ON events lie further right
    first, on = events["t"] < 112_013, events["p"] == 1
    assert events["x"][first & on].mean() > events["x"][first & ~on].mean()
    np.testing.assert_array_equal(train.read_events(0), events)
