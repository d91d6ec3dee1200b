"""The tasks: their data against independent counts and formulas, equal on all ranks, their learning against NEST."""

import sys
import zipfile
from itertools import pairwise
from pathlib import Path

import networks
import numpy as np
import pytest
from commands import command, digests, on_ranks

from pareprop import rng
from pareprop.engines.sample import Sample
from pareprop.errors import InputError
from pareprop.network.parameters import Normal
from pareprop.simulation.loop import Simulation
from pareprop.tasks import TASKS, paths
from pareprop.tasks.base import make
from pareprop.tasks.events import Problems, Recordings, decode, splits


def task(name: str, *settings: str):
    return make(TASKS[name], settings)


def raster(sample: Sample, n_inputs: int) -> np.ndarray:
    found = np.zeros((len(sample.target), n_inputs), bool)
    found[sample.inputs.spikes(len(found))] = True
    return found


# ---- trajectories ----------------------------------------------------------------------------------------------------


def test_lemniscate_is_a_lying_eight():
    x, y = task("lemniscate").sample(0).target.T
    assert len(x) == 1258
    np.testing.assert_allclose(y**2, 4 * x**2 * (1 - x**2), atol=1e-12)  # sin(2p)^2 = 4 sin(p)^2 cos(p)^2
    assert (x[0], y[0]) == (0, 0) and x[314] == pytest.approx(1, abs=1e-4)


def test_noise_is_frozen_and_of_its_rate():
    chosen = task("lemniscate")
    first, later = (raster(chosen.sample(index), 100) for index in (0, 7))
    np.testing.assert_array_equal(first, later)
    assert not first[0].any()
    assert first.mean() == pytest.approx(0.05, abs=4 * (0.05 * 0.95 / first.size) ** 0.5)
    assert np.any(first != raster(task("lemniscate", "seed=2").sample(0), 100))


def test_membrane_time_constants_are_drawn():
    chosen = task("lemniscate", "n_rec=1000")
    tau = -1 / np.log(Simulation(chosen.model(), chosen).network.cells["alpha"])
    assert tau.mean() == pytest.approx(30, abs=0.3) and tau.std() == pytest.approx(2, abs=0.2)


def test_word_has_equal_steps_and_the_scale_of_the_tutorial():
    chosen = task("handwriting", "word=eprop", "points=400")
    points = chosen.sample(0).target[::8]
    x_scale, y_scale = (np.abs(column).max() for column in paths.of_word("eprop").T)
    steps = np.hypot(*(np.diff(points, axis=0) * (x_scale, y_scale)).T)
    assert np.median(steps) == pytest.approx(steps.max(), rel=0.02)  # shorter only where the pen turns
    np.testing.assert_allclose(points.mean(axis=0), 0, atol=1e-12)
    ends = points.max(axis=0) - points.min(axis=0)
    assert ends[0] == pytest.approx(1, abs=0.05)  # the pen starts near x = 0


def test_words_differ_and_bridge_lifted_pens():
    assert len(paths.of_word("i")) > 3
    e, p = (task("handwriting", f"word={word}").sample(0).target for word in "ep")
    assert not np.array_equal(e, p)


@pytest.mark.parametrize("text", ["x,y\n0,0\n\n3,0\n# remark\n3,4\n", "0 0\n3 0\n3 0\n3 4\n", "0;0\n3;0\n3;4"])
def test_path_of_a_file(tmp_path: Path, text: str):
    file = tmp_path / "path.csv"
    file.write_text(text)
    points = paths.resample(paths.of_file(file), 8)
    np.testing.assert_allclose(points, [(0, 0), (1, 0), (2, 0), (3, 0), (3, 1), (3, 2), (3, 3), (3, 4)], atol=1e-12)
    target = task("handwriting", f"path={file}", "points=8").sample(0).target
    np.testing.assert_allclose(target[::8, 0], points[:, 0] / 3 - np.mean(points[:, 0] / 3))
    np.testing.assert_allclose(target[12], (target[8] + target[16]) / 2)  # interpolated between points


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0,0\n1,one\n", "line 2, '1,one', must be two numbers"),
        ("0,0\n1,2,3\n", "line 2"),
        ("0,0\n1,inf\n", "line 2, '1,inf', must be finite"),
        ("1,1\n1,1\n", "fewer than two different points"),
        ("", "fewer than two different points"),
        (None, "No such file"),
    ],
)
def test_bad_path_files_are_named(tmp_path: Path, text: str | None, message: str):
    file = tmp_path / "path.csv"
    if text is not None:
        file.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        task("handwriting", f"path={file}")
    assert str(file) in str(caught.value)


@pytest.mark.parametrize("word", ["", "  ", "größe"])
def test_words_that_the_font_lacks(word: str):
    with pytest.raises(InputError, match=f"word = '{word.strip()}'"):
        task("handwriting", f"word={word}")


# ---- evidence accumulation -------------------------------------------------------------------------------------------


def test_evidence_trials_by_their_spikes():
    chosen, n, on_target, sides = task("evidence-accumulation"), 200, 0, 0
    rates = np.zeros(3)
    for index in range(n):
        sample = chosen.sample(index)
        spikes = raster(sample, 40).reshape(2250, 4, 10)
        assert not spikes[:2100, 2].any() and not spikes[1050:, :2].any()
        cues = np.array([spikes[150 * k + 50 : 150 * k + 150, :2].sum(axis=(0, 2)) for k in range(7)])
        assert not any(spikes[150 * k : 150 * k + 50, :2].any() for k in range(7))
        assert np.all((cues > 0).sum(axis=1) == 1)  # each cue is on one side
        right = int((cues[:, 1] > 0).sum())
        assert sample.label == int(right > 3)
        np.testing.assert_array_equal(sample.target, np.tile(np.eye(2)[sample.label], (2250, 1)))
        on_target += max(right, 7 - right)
        sides += sample.label
        rates += cues.sum() / 7000 / n, spikes[2100:, 2].mean() / n, spikes[1:, 3].mean() / n
    np.testing.assert_allclose(rates, (0.04, 0.04, 0.01), rtol=0.02)
    # cues on the majority side: expectation of max(k, 7 - k) for a binomial k of 7 with 0.7
    k = np.arange(8)
    share = np.array([1, 7, 21, 35, 35, 21, 7, 1]) * 0.7**k * 0.3 ** (7 - k)
    assert on_target / n == pytest.approx(np.sum(share * np.maximum(k, 7 - k)), abs=0.25)
    assert abs(sides / n - 0.5) < 0.15


def test_evidence_trials_differ_by_index_phase_and_seed():
    def spikes(index: int, phase: str, seed: int) -> tuple:
        log = task("evidence-accumulation", f"seed={seed}").sample(index, phase).inputs
        return tuple(log.ids[:50])

    assert len({spikes(*which) for which in ((0, "train", 1), (1, "train", 1), (0, "test", 1), (0, "train", 2))}) == 4
    assert spikes(3, "train", 1) == spikes(3, "train", 1)


# ---- event recordings ------------------------------------------------------------------------------------------------


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
        for name, split in zip(("Train", "Test"), splits(str(data), problems), strict=True):
            assert sorted(split.labels) == sorted([k % 10 for k in range(20)])
            found = [split.events(k) for k in range(20)]
            names = sorted(key for key in written if key.startswith(name))
            for label, events, key in zip(split.labels, found, names, strict=True):
                assert key.split("/")[1] == str(label)
                np.testing.assert_array_equal(
                    np.column_stack([events.x, events.y, events.on, events.time_us]), written[key]
                )
        assert problems.lines() == []


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
    found = [split.events(k) for k in range(18)]
    assert len(split.events(list(split.labels).index(1)).x) == 1 and all(item is not None for item in found)
    assert sorted(problems.lines()) == [
        "1 files that are no recordings: README.txt",
        "1 recordings with a label outside 0..9: 11/00001.bin",
        "2 events outside 34 x 34 pixels, in: 1/00001.bin",
        "2 recordings that are truncated (not whole events of 5 bytes): 0/00000.bin, 0/00010.bin",
    ]


def test_places_without_recordings(tmp_path: Path):
    with pytest.raises(InputError, match=r"has neither Train/ nor Train\.zip"):
        splits(str(tmp_path), Problems())
    (tmp_path / "Train").mkdir()
    (tmp_path / "Train" / "note.txt").write_text("nothing")
    with pytest.raises(InputError, match=r"has no recording.*1 files that are no recordings: note\.txt"):
        splits(str(tmp_path), Problems())
    (tmp_path / "a.zip").write_bytes(b"no zip")
    with pytest.raises(InputError, match=r"a\.zip cannot be read as a zip"):
        splits(f"{tmp_path}/a.zip,{tmp_path}/b.zip", Problems())
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
    chosen.model()
    samples = [chosen.sample(index) for index in range(20)]
    assert len(samples) == 20
    assert chosen.report() == [f"data: 1 recordings that cannot be read: {item.filename}"]


def test_spikes_of_a_recording_by_pixel_and_step(tmp_path: Path):
    write_recordings(tmp_path)
    chosen = task("n-mnist", f"data={tmp_path}", "test_samples=20")
    pixels = chosen.arrays()["input_pixels"]
    assert len(pixels) == chosen.model().populations[0].size < 2312
    written = write_recordings(tmp_path)
    seen = {(y, x, on) for key, events in written.items() if key.startswith("Train") for x, y, on, _ in events}
    assert {tuple(map(int, pixel)) for pixel in pixels} == seen
    sample = chosen.sample(0)
    steps, ids = sample.inputs.spikes(300)
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
    pixels = still.arrays()["input_pixels"].astype(int)
    places = set(map(tuple, pixels))

    def events(sample: Sample) -> set[tuple[int, ...]]:
        return {(int(step), *pixels[i]) for step, i in zip(*sample.inputs.spikes(300), strict=True)}

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
        task("n-mnist", f"data={tmp_path}", *settings).model()


def test_without_data_it_says_where_they_are(capsys: pytest.CaptureFixture):
    code, _, errors = command(capsys, "run", "n-mnist")
    assert code == 2
    assert all(text in errors for text in ("10.17632/468j46mzdv", "--set data=FOLDER", "--set data=synthetic"))
    code, output, _ = command(capsys, "tasks")
    assert code == 0 and "n-mnist" in output


def test_real_recordings(shared: Path):
    problems = Problems()
    train, test = splits(str(shared / "data" / "nmnist-small"), problems)
    assert (len(train), len(test)) == (800, 100)
    found = [train.events(index) for index in range(0, 800, 20)] + [test.events(index) for index in range(0, 100, 5)]
    assert np.mean([len(events.x) for events in found]) == pytest.approx(4133, rel=0.1)
    for events in found:
        assert np.all(np.diff(events.time_us) >= 0) and 290_000 < events.time_us[-1] < 336_041
        assert 0.3 < events.on.mean() < 0.7
    assert problems.lines() == []


def test_decoding_of_extreme_events():
    events = decode(bytes([33, 0, 0xFF, 0xFF, 0xFF, 0, 33, 0, 0, 1]))
    assert [list(part) for part in (events.x, events.y, events.on, events.time_us)] == [
        [33, 0], [0, 33], [1, 0], [2**23 - 1, 1]
    ]  # fmt: skip


def test_synthetic_digits_move_three_times():
    pytest.importorskip("sklearn", reason="scikit-learn (extra `synthetic`) is not installed")
    chosen = task("n-mnist", "data=synthetic", "scan=20")
    assert chosen.attributes()["note"] == "synthetic digits"
    train, test = chosen._splits
    assert (len(train), len(test)) == (1437, 360) and set(train.labels) == set(range(10))
    events = train.events(0)
    per_saccade = np.histogram(events.time_us, [0, 112_013, 224_027, 336_040])[0]
    assert np.all(per_saccade > 300) and np.all(np.diff(events.time_us) >= 0)
    # while the digit moves right, its left edges get darker and its right edges brighter: ON events lie further right
    first = events.time_us < 112_013
    assert events.x[first & (events.on == 1)].mean() > events.x[first & (events.on == 0)].mean()
    np.testing.assert_array_equal(train.events(0).x, events.x)


# ---- ranks and NEST --------------------------------------------------------------------------------------------------

SMALL = (
    ("lemniscate", "iterations=2", "n_rec=30", "n_step=300"),
    ("handwriting", "iterations=2", "n_rec=30", "points=40"),
    ("evidence-accumulation", "iterations=2", "batch_size=2", "n_reg=7", "n_ad=6", "validate_every=1",
     "validate_samples=3", "test_samples=4", "stop_below=0.5", "stop_samples=3", "pause=50", "n_cues=3"),
    ("n-mnist", "iterations=3", "n_rec=20", "test_samples=3"),
    ("n-mnist", "iterations=2", "variant=interval", "batch_size=3", "n_rec=20", "test_samples=3"),
)  # fmt: skip


@pytest.mark.mpi
def test_equal_on_any_number_of_ranks(tmp_path: Path):
    write_recordings(tmp_path / "set")
    found = []
    for n in (1, 2, 3):
        commands = [
            ["run", name, "--out", tmp_path / f"{n}-{k}", *(part for text in texts for part in ("--set", text)),
             *(("--set", f"data={tmp_path / 'set'}") if name == "n-mnist" else ())]
            for k, (name, *texts) in enumerate(SMALL)
        ]  # fmt: skip
        codes, output, errors = on_ranks(n, commands)
        assert (codes, errors) == ([0] * len(SMALL), [])
        found.append(digests(output))
    assert len(set(found[0])) == len(SMALL)
    assert found[1:] == found[:1] * 2


class Quiet:
    """The samples of a task, without input in steps 0 and 1: NEST treats a spike in step 1 of an interval wrongly."""

    def __init__(self, chosen, silent_steps: int) -> None:
        self.chosen, self.n_steps, self.learning_window = chosen, chosen.n_steps, chosen.learning_window
        self.n_inputs, self.silent_steps = chosen.model().size("input"), silent_steps

    def sample(self, index: int, phase: str = "train") -> Sample:
        original = self.chosen.sample(index, phase)
        spikes = raster(original, self.n_inputs)
        spikes[: self.silent_steps] = False
        return Sample.from_raster(spikes, original.target)


def parameters(run: Simulation, population) -> dict:
    """NEST's parameters of a population, with what was drawn for each neuron."""
    values = population.params.model_dump(exclude={"V_min"})
    for name, value in values.items():
        if isinstance(getattr(population.params, name), Normal):
            key = rng.key(run.model.seed, f"{population.name}/{name}")
            values[name] = value["mean"] + value["std"] * rng.normal(key, np.arange(population.size), 1)[:, 0]
    return values


def specification(run: Simulation, chosen: Quiet, n_samples: int) -> dict:
    """Network and samples as the oracle takes them, before training."""
    weights = {f"w_{key}": value for key, value in networks.matrices(run, lambda table: table.weight.copy()).items()}
    samples = [chosen.sample(index) for index in range(n_samples)]
    spec = weights | {
        "variant": run.model.variant,
        "groups": [
            {"model": item.model, "n": item.size, "params": parameters(run, item)}
            for item in run.model.of_role("recurrent")
        ],
        "readout": run.model.of_role("readout")[0].params.model_dump(exclude={"V_min"}),
        "w_fb": run.network.dense_feedback().T,
        "inputs": np.concatenate([raster(sample, chosen.n_inputs) for sample in samples]),
        "targets": np.concatenate([sample.target for sample in samples]),
        "optimizer": run.model.optimizer.model_dump(),
    }
    settings = chosen.chosen.settings()
    if run.model.variant == "spike":
        del spec["readout"]["loss"]
        window = np.arange(chosen.n_steps) >= chosen.n_steps - chosen.learning_window
        return spec | {"window": np.tile(window, n_samples)}
    del spec["optimizer"]["optimize_each_step"]
    return spec | {
        "interval": chosen.n_steps, "learning_window": chosen.learning_window,
        "average_gradient": settings.average_gradient,
    }  # fmt: skip


@pytest.mark.peer
@pytest.mark.parametrize(
    ("name", "settings", "n_samples"),
    [
        ("lemniscate", ["n_step=500"], 1),
        ("handwriting", ["points=60"], 1),
        ("evidence-accumulation", ["batch_size=2"], 2),
        ("lemniscate", ["variant=spike", "n_step=500"], 1),
        ("handwriting", ["variant=spike", "points=60"], 1),
        ("evidence-accumulation", ["variant=spike"], 1),
        ("n-mnist", ["silent=0.2"], 2),
        ("n-mnist", ["silent=0.2", "variant=interval", "batch_size=2", "n_rec=150"], 2),
    ],
)
def test_first_iteration_is_that_of_nest(shared: Path, monkeypatch, name: str, settings: list[str], n_samples: int):
    pytest.importorskip("nest", reason="NEST (extra `peer`) is not installed")
    monkeypatch.setattr(sys, "path", [*sys.path, str(shared / "oracle")])
    import nest_oracle

    data = [f"data={shared / 'data' / 'nmnist-small'}"] if name == "n-mnist" else []
    chosen = task(name, *settings, *data)
    quiet = Quiet(chosen, 2 if chosen.variant == "interval" else 0)
    spikes: list[tuple[int, int]] = []
    run = Simulation(chosen.model(), quiet, settings=chosen.settings())
    expected = nest_oracle.run(specification(run, quiet, n_samples))
    for index in range(n_samples):
        run.run_sample(index, "train", learn=True)
        steps, ids = run.engine.log.spikes(chosen.n_steps)
        spikes += zip((steps + index * chosen.n_steps).tolist(), ids.tolist(), strict=True)
    run.engine.optimize()
    assert spikes == list(zip(expected["spike_steps"].tolist(), expected["spike_ids"].tolist(), strict=True))
    assert len(spikes) > 100
    shown = run.engine.shown_weights()
    untrained = Simulation(chosen.model(), quiet, settings=chosen.settings())
    before = networks.matrices(untrained, lambda table: table.weight)
    after = networks.matrices(run, lambda table: shown.get(id(table), table.weight))
    for key, weights in after.items():
        wanted = expected[f"w_{key}"].copy()
        if name == "evidence-accumulation" and chosen.variant == "spike" and key != "in":
            # the last update in NEST takes a spike in step n_steps + 2, which a refractory neuron (5 steps) cannot give
            refractory = np.unique([i for step, i in spikes if step + 5 >= chosen.n_steps + 2])
            assert 0 < len(refractory) < 20
            wanted[:, refractory] = weights[:, refractory]
        np.testing.assert_allclose(weights, wanted, rtol=0, atol=1e-9, err_msg=key)
        assert np.nanmax(np.abs(weights - before[key])) > 1e-6, f"{key} learned nothing"


def test_trajectory_is_recorded_over_the_iterations():
    kept = task("lemniscate").kept_samples()
    places = [index for (phase, index) in kept if phase == "train"]
    assert kept["test", 0] == "last" and kept["train", 0] == "first" and len(kept) == 6
    assert all(b > a for a, b in pairwise(sorted(places)))
