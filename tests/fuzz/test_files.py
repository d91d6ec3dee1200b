"""Any bytes: data files, cases, results and recordings, recordings of event cameras."""

import io
import json
import os
import random
import shutil
import struct
import zipfile
from pathlib import Path

import checkpoints
import h5py
import numpy as np
import pytest
from commands import as_options
from fuzzing import attack, change, in_memory, judge, limit_process, mutate, until
from params import first

from pareprop import plots
from pareprop.errors import InputError
from pareprop.exchange_formats.n_mnist_reader import MAX_BYTES, Problems, Recordings
from pareprop.plots import style
from pareprop.storage import checkpoint_write

# ---- samples of a user -----------------------------------------------------------------------------------------------

N, STEPS, INPUTS = 4, 12, 20
pytestmark = pytest.mark.slow
SPIKES = np.array([[0, 3, 1], [1, 4, 19], [3, 11, 0]])
ARRAYS = {
    "rates": {"rates": np.full((N, INPUTS), 9.0)},
    "raster": {"raster": np.eye(STEPS, INPUTS)[None].repeat(N, 0)},
    "spikes": {"spikes": SPIKES},
    "labels": {"rates": np.full((N, STEPS, INPUTS), 9.0), "labels": np.zeros(N, int)},
}


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize("kind", ["npz", "h5"])
def test_any_data_file(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture, fuzz_seconds: float) -> None:
    path, out = tmp_path / f"data.{kind}", tmp_path / "out"
    out.mkdir()

    def content(arrays: dict[str, np.ndarray]) -> bytes:
        if kind == "h5":
            return in_memory(lambda file: [file.__setitem__(*item) for item in arrays.items()])
        saved = io.BytesIO()
        np.savez(saved, **arrays)
        return saved.getvalue()

    sources = {name: content({"targets": np.zeros((N, STEPS, 1)), **arrays}) for name, arrays in ARRAYS.items()}

    def one(draw: random.Random, number: int) -> None:
        source = sources[draw.choice(sorted(sources))]
        if kind == "h5":
            attack(draw, source, path)
        else:
            path.write_bytes(mutate(draw, source))
        arguments = ["run", "data", "--set", f"data={path}", "--out", out / str(number)]
        judge(capsys, f"data file {kind}", arguments, out)

    until(fuzz_seconds, f"data file {kind}", one)


# ---- cases -----------------------------------------------------------------------------------------------------------


def case(file: h5py.File, variant: str) -> None:
    """A case of three neurons with what it must give left out: what is compared does not matter here."""
    rng, n_in, n, n_out, steps = np.random.default_rng(1), 2, 3, 1, 20
    file.attrs.update(format="pareprop-case-1", variant=variant, weights_tolerance=1e-9, interval=10, learning_window=5)
    file["inputs"], file["targets"] = rng.random((steps, n_in)) < 0.3, rng.random((steps, n_out))
    if variant == "spike":
        file["window"] = np.ones(steps, bool)
    for name, shape in (("w_in", (n, n_in)), ("w_rec", (n, n)), ("w_out", (n_out, n)), ("w_fb", (n, n_out))):
        file[name] = rng.normal(size=shape)
    file.create_group("optimizer").attrs.update(type="gradient_descent", eta=1e-3)
    file.create_group("groups/0").attrs.update(n=n, model="iaf", C_m=1.0, E_L=0.0, V_th=0.3, tau_m=20.0)
    file.create_group("readout").attrs.update(C_m=1.0, tau_m=20.0)
    expected = file.create_group("expected")
    for name in ("w_in", "w_rec", "w_out"):
        expected[name] = file[name][()]
    expected["readout_signal"] = np.zeros((steps, n_out))
    expected["spike_steps"], expected["spike_ids"] = np.zeros(0, int), np.zeros(0, int)


@pytest.mark.parametrize("variant", ["interval", "spike"])
def test_any_case(variant: str, tmp_path: Path, capsys: pytest.CaptureFixture, fuzz_seconds: float) -> None:
    source, path = in_memory(lambda file: case(file, variant)), tmp_path / "case.h5"
    path.write_bytes(source)
    assert judge(capsys, "case", ["verify", path], None, (1,)) == 1  # it runs, and does not hold

    def one(draw: random.Random, number: int) -> None:
        attack(draw, source, path)
        judge(capsys, "case", ["verify", path], tmp_path, (0, 1, 2))

    until(fuzz_seconds, f"case {variant}", one)


# ---- what a run left -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("finished", first(0, ["interval", "spike"], rest=1), indirect=True)
@pytest.mark.parametrize("name", ["results.h5", "record.h5", "record/part-000-rank-00000.h5", "provenance.json"])
def test_any_recording(
    name: str, finished: Path, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch, fuzz_seconds: float
) -> None:
    source = (finished / name).read_bytes()
    shutil.copytree(finished, tmp_path / "run")
    monkeypatch.setattr(style, "save", lambda *_: [])  # figures are made, and not written: that takes seconds

    def one(draw: random.Random, number: int) -> None:
        if name == "provenance.json":
            (tmp_path / "run" / name).write_bytes(mutate(draw, source))
            judge(capsys, name, ["info", tmp_path / "run"], tmp_path)
            return
        attack(draw, source, tmp_path / "run" / name)
        judge(capsys, name, ["compare", tmp_path / "run", finished], tmp_path, (0, 1, 2))
        if name == "results.h5":
            try:
                with limit_process():
                    plots.draw_figures(tmp_path / "run")
            except InputError as problem:
                assert 0 < len(str(problem)) < 2**15
        elif judge(capsys, name, ["export", tmp_path / "run", tmp_path / "out.h5"], tmp_path, (0, 2, 3)) == 0:
            (tmp_path / "out.h5").unlink()

    until(fuzz_seconds / 2, f"{name} of {finished.name}", one)


# ---- recordings of event cameras -------------------------------------------------------------------------------------


def write_zip(folder: Path, name: str = "Train.zip", files: dict[str, bytes] | None = None) -> Path:
    events = bytes(k % 30 if k % 5 < 2 else 0 for k in range(100))
    with zipfile.ZipFile(folder / name, "w", zipfile.ZIP_DEFLATED) as archive:
        for label in range(3):
            for number in range(2):
                archive.writestr(f"{label}/{number:05d}.bin", events)
        for entry, content in (files or {}).items():
            archive.writestr(entry, content)
    return folder / name


SMALL = as_options(
    "n_rec=4",
    "n_step=20",
    "iterations=1",
    "batch_size=1",
    "test_samples=1",
    "scan=6",
    "density_in=1.0",
    "density_rec=0.0",
)


def test_any_zip(tmp_path: Path, capsys: pytest.CaptureFixture, fuzz_seconds: float) -> None:
    for name in ("Train.zip", "Test.zip"):
        write_zip(tmp_path, name)
    out, source = tmp_path / "out", (tmp_path / "Train.zip").read_bytes()
    out.mkdir()

    def one(draw: random.Random, number: int) -> None:
        (tmp_path / "Train.zip").write_bytes(mutate(draw, source))
        judge(capsys, "zip", ["run", "n-mnist", "--set", f"data={tmp_path}", *SMALL, "--out", out / str(number)], out)

    until(fuzz_seconds, "zip", one)


def test_names_in_a_zip_lead_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Zip slip: nothing is unpacked, whatever a member is called."""
    names = ["../../3/00001.bin", "/tmp/4/00001.bin", "5/../../../00001.bin", "C:\\6\\00001.bin", "7/\x01.bin"]
    (tmp_path / "in").mkdir()
    monkeypatch.chdir(tmp_path / "in")
    path = write_zip(tmp_path / "in", files=dict.fromkeys(names, bytes(10)))
    found = Recordings(path, Problems())
    assert all(found.read_events(k) is not None for k in range(len(found)))
    assert [item.name for item in tmp_path.rglob("*")] == ["in", "Train.zip"]


def test_bombs_are_not_unpacked(tmp_path: Path) -> None:
    """Members that say how large they are, and one that lies."""
    path = write_zip(tmp_path, files={"8/00001.bin": bytes(2 * MAX_BYTES), "9/00001.bin": bytes(4 * MAX_BYTES)})
    content = path.read_bytes()
    for size in (4 * MAX_BYTES, 2 * MAX_BYTES):
        true, lie = struct.pack("<I", size), struct.pack("<I", 50)
        content = content.replace(true, lie) if size == 4 * MAX_BYTES else content
    path.write_bytes(content)
    problems = Problems()
    with limit_process():
        found = Recordings(path, problems)
        events = [found.read_events(k) for k in range(len(found))]
    assert sum(event is None for event in events) == 1 and len(events) == 7
    told = "\n".join(problems.format_lines())
    assert "1 recordings that are too long" in told and "8/00001.bin" in told
    assert "1 recordings that cannot be read: 9/00001.bin" in told


def test_a_dictionary_of_4_gib_is_a_recording_that_cannot_be_read(tmp_path: Path) -> None:
    """Found by hand: a member of LZMA says how much memory to take; the MemoryError ended the run."""
    path = tmp_path / "Train.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("1/00001.bin", bytes(100))
        archive.writestr("2/00001.bin", bytes(100))
    content, first = bytearray(path.read_bytes()), 30 + len("1/00001.bin")
    content[first + 5 : first + 9] = b"\xff" * 4  # after the version, the number of properties, and one of them
    path.write_bytes(content)
    problems = Problems()
    with limit_process():
        found = Recordings(path, problems)
        events = [found.read_events(k) for k in range(len(found))]
    assert [event is None for event in events] == [True, False]
    assert problems.format_lines() == ["1 recordings that cannot be read: 1/00001.bin"]


def test_folders_of_links_and_pipes(tmp_path: Path) -> None:
    """Loops of links are not followed; pipes and devices are no recordings."""
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "00001.bin").write_bytes(bytes(100))
    os.mkfifo(tmp_path / "1" / "00002.bin")
    links = {
        "2": tmp_path,
        "3": "3",
        "1/up": "..",
        "1/00003.bin": "00003.bin",
        "1/00004.bin": "00002.bin",
        "1/00005.bin": "/dev/zero",
        "1/00006.bin": "nowhere",
    }
    for name, target in links.items():
        (tmp_path / name).symlink_to(target)
    with limit_process():
        found = Recordings(tmp_path, Problems())
        assert [found.read_events(k) is not None for k in range(len(found))] == [True]


FIELDS = {  # of an entry in the table of a zip: where, what, and whether the whole file is refused
    "version": (6, b"\xff\0", True),
    "encrypted": (8, b"\1\0", False),
    "patched": (8, b"\x20\0", False),
    "method 93": (10, b"\x5d\0", False),
    "another method": (10, b"\x0e\0", False),
    "no bytes": (20, bytes(4), False),
    "extra field": (30, b"\x40\0", True),
    "offset": (42, b"\xff\xff\xff\x7f", False),
}


@pytest.mark.parametrize("name", FIELDS)
def test_fields_of_a_zip(name: str, tmp_path: Path) -> None:
    place, value, refused = FIELDS[name]
    path, problems = write_zip(tmp_path), Problems()
    content = bytearray(path.read_bytes())
    first = content.find(b"PK\1\2") + place
    content[first : first + len(value)] = value
    path.write_bytes(content)
    if refused:
        with pytest.raises(InputError, match="cannot be read as a zip"):
            Recordings(path, problems)
        return
    found = Recordings(path, problems)
    events = [found.read_events(k) for k in range(len(found))]
    assert [event is None for event in events] == [True] + [False] * 5
    assert problems.format_lines() == ["1 recordings that cannot be read: 0/00000.bin"]


@pytest.mark.parametrize("left", [0, 1, 0.1, 0.5, 0.9, -22, -1])
def test_truncated_zips(left: float, tmp_path: Path) -> None:
    path = write_zip(tmp_path)
    size = len(path.read_bytes())
    os.truncate(path, int(left * size if 0 < left < 1 else left % size))
    with pytest.raises(InputError, match="cannot be read as a zip"):
        Recordings(path, Problems())


# ---- manifests -------------------------------------------------------------------------------------------------------


def test_any_manifest(finished: Path, latest: Path, tmp_path: Path, capsys, fuzz_seconds: float) -> None:
    """Sealed again, as somebody with bad intentions would: taken, or refused, and what is outside stays as it is."""
    run, kept = tmp_path / "run", tmp_path / "kept"
    shutil.copytree(run, kept)
    text = (latest / "manifest.json").read_text().partition("\n")[2]

    def one(draw: random.Random, number: int) -> None:
        if draw.random() < 0.8:
            found = json.dumps(change(draw, json.loads(text)))
        else:
            found = mutate(draw, text.encode()).decode(errors="replace")
        content = f"{checkpoint_write.hash_manifest(found)}\n{found}\n".encode(errors="surrogatepass")
        (latest / "manifest.json").write_bytes(content)
        arguments = ["resume", run, "--set", "iterations=3"]
        if judge(capsys, f"manifest {finished.name}", arguments, None, (0, 2, 3)) != 2:
            shutil.rmtree(run)
            shutil.copytree(kept, run)
        assert not (tmp_path / "x").exists()

    until(fuzz_seconds, f"manifest {finished.name}", one)


def test_any_table(finished: Path, latest: Path, tmp_path: Path, capsys, fuzz_seconds: float) -> None:
    """As manifests; its checksum stands there."""
    run, kept = tmp_path / "run", tmp_path / "kept"
    shutil.copytree(run, kept)
    source = (latest / "table.bin").read_bytes()

    def one(draw: random.Random, number: int) -> None:
        checkpoints.write_table(latest, mutate(draw, source))
        if judge(capsys, f"table {finished.name}", ["resume", run, "--set", "iterations=3"], None, (0, 2)) != 2:
            shutil.rmtree(run)
            shutil.copytree(kept, run)

    until(fuzz_seconds / 2, f"table {finished.name}", one)


def test_any_share(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture, fuzz_seconds: float) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    shares = [path / "rank-00000.bin" for path in checkpoint_write.list_checkpoints(run / "checkpoints")]
    sources = [path.read_bytes() for path in shares]

    def one(draw: random.Random, number: int) -> None:
        for path, source in zip(shares, sources, strict=True):
            path.write_bytes(mutate(draw, source))
        judge(capsys, "share", ["resume", run, "--set", "iterations=2"], None, (0, 2))

    until(fuzz_seconds / 2, f"share {finished.name}", one)
