"""Every input that once ended in a traceback, a hang, too much memory, or was taken although it is nonsense.

One file, because it is a list of inputs.
"""

import io
import json
import os
import zipfile
from pathlib import Path

import checkpoints
import h5py
import numpy as np
import pytest
from fuzzing import judge, refusal

NETWORK = """
[task]
name = "data"
[[model.populations]]
name = "in"
role = "input"
size = 3
[[model.populations]]
name = "rec"
role = "recurrent"
size = 4
[[model.populations]]
name = "out"
role = "readout"
size = 1
[[model.projections]]
pre = "in"
post = "rec"
"""

TASK = '[task]\nname = "sine-waves"\n'
FILES = {  # text of a configuration, and what the answer must say
    "variant is a list": (TASK + "[model]\nvariant = [1, 2]\n", "variant = [1, 2]"),
    "task is a list": ("[task]\nname = []\n", "is not a task"),
    "nested too deeply": ("a = " + "[" * 5000 + "]" * 5000, "nested too deeply"),
    "integer of 5 000 digits": (TASK + f"[model]\nn_rec = {'5' * 5000}\n", "not a configuration file"),
    "integer of 4 000 digits": (TASK + f"[model]\nn_rec = {'5' * 4000}\n", "must be at most 2147483648"),
    "true for a number": (TASK + "[model]\nn_rec = true\n", "n_rec = True: must be a number, not true or false"),
    "text for a number": (TASK + '[model]\nn_rec = "5"\n', "n_rec = '5': must be a number, not text"),
    "true in a list": (TASK + "[record]\nneurons = [true]\n", "must be a number"),
    "size is text": (NETWORK.replace("size = 3", 'size = "5"'), "size = '5': must be a number, not text"),
    "a parameter is true": (NETWORK.replace("size = 4", "size = 4\ntau_m = true"), "tau_m = True: must be a number"),
    "a huge number": (NETWORK.replace("size = 4", f"size = 4\ntau_m = [{'9' * 400}]"), "tau_m"),
    "name with a slash": (NETWORK.replace('"rec"', '"a/b"'), "without '/'"),
    "name with NUL": (NETWORK.replace('"rec"', '"a\\u0000b"'), "must be printable"),
    "name is two dots": (NETWORK.replace('"rec"', '".."'), "not '.' or '..'"),
    "name of 70 000 characters": (NETWORK.replace('name = "rec"', f'name = "{"x" * 70_000}"'), "1 to 100 characters"),
    "a key of 70 000 characters": (TASK + f"{'x' * 70_000} = 3\n", "unknown parameter"),
    "no indegree": (NETWORK + 'rule = "fixed_indegree"\n', "needs indegree="),
    "another batch_size": (NETWORK + 'optimizer = { type = "adam", batch_size = 7 }\n', "must be that of the model, 1"),
    "a message of megabytes": (TASK + f"[model]\nn_rec = [{'5, ' * 300_000}]\n", "n_rec"),
    "a thousand problems": (TASK + "".join(f"x{k} = 3\n" for k in range(30_000)), "30000 problems"),
}


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize("name", FILES)
def test_configurations(name: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    text, expected = FILES[name]
    np.savez(tmp_path / "data.npz", rates=np.full((3, 3), 5.0), targets=np.zeros((3, 10, 1)))
    text = text.replace('name = "data"', f'name = "data"\ndata = "{tmp_path / "data.npz"}"')
    (tmp_path / "my.toml").write_text(text)
    errors = refusal(capsys, ["run", tmp_path / "my.toml", "--out", tmp_path / "run"], tmp_path)
    assert expected in errors, errors[:2000]


BIG = str(10**15)
LINES = {  # arguments, and what the answer must say
    "text after a newline": (["run", "sine-waves", "--set", "n_rec=5\nfoo = 1"], "n_rec = '5\\nfoo = 1'"),
    "true for a number": (["run", "sine-waves", "--set", "n_rec=true"], "must be a number, not true or false"),
    "5 000 digits": (["run", "sine-waves", "--set", f"n_rec={'5' * 5000}"], "n_rec"),
    "nested": (["run", "sine-waves", "--set", f"n_rec={'[' * 5000}"], "n_rec"),
    "rate nan": (["bench", "--rate", "nan"], "rate = nan: Input should be a finite number"),
    "bench --steps": (["bench", "--steps", BIG], "steps = "),
    "bench --steps of memory": (["bench", "--steps", "2000000000"], "of memory"),
    "bench --neurons": (["bench", "--neurons", "2000000000"], "of memory"),
    "bench --delay": (["bench", "--delay", BIG], "delay = "),
    "dry-run samples": (["dry-run", "bench", "--ranks", "2", "--samples", BIG], "--samples"),
    "ranks": (["jobs", "sine-waves", "--ranks-per-node", str(2**64)], "--ranks-per-node"),
    "long name of a run": (["resume", "x" * 5000], "is not the name of a file"),
    "NUL in a name": (["run", "sine-waves", "--out", "a\0b"], "is not the name of a file"),
    "endless path": (["run", "handwriting", "--set", "path=/dev/zero"], "is not a regular file"),
    "n_out": (["run", "sine-waves", "--set", "n_out=2147483648"], "n_out"),
    "data of precision": (["run", "data", "--set", "precision=triple"], "precision"),
}


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize("name", LINES)
def test_command_lines(name: str, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    arguments, expected = LINES[name]
    assert expected in refusal(capsys, arguments, tmp_path)


# ---- data ------------------------------------------------------------------------------------------------------------

TARGETS = np.zeros((3, 10, 1))
RATES = np.full((3, 20), 5.0)


def truncate_array(shape: tuple[int, ...], kind: str = "<f8") -> bytes:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": kind, "fortran_order": False, "shape": shape})
    return header.getvalue() + bytes(100)


def zeros(folder: Path, shape: tuple[int, ...]) -> None:
    """An array of 256 MiB of zeros in 256 kB, whose shape does not fit: not to be unpacked before that is seen."""
    with zipfile.ZipFile(folder / "data.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("targets.npy", "w", force_zip64=True) as file:
            file.write(truncate_array(shape)[:-100])
            for _ in range(2**28 // 2**24):
                file.write(bytes(2**24))
        content = io.BytesIO()
        np.save(content, RATES)
        archive.writestr("rates.npy", content.getvalue())


def with_spikes(folder: Path) -> None:
    """10^11 rows that take no place on the disk."""
    with h5py.File(folder / "data.h5", "w") as file:
        file["targets"] = TARGETS
        file.create_dataset("spikes", (10**11, 3), "i8", chunks=(2**16, 3))


def with_chunks(folder: Path) -> None:
    with h5py.File(folder / "data.h5", "w") as file:
        file["targets"] = TARGETS
        file.create_dataset("rates", (3, 20), "f8", chunks=(3, 20), maxshape=(None, None))
        del file["rates"]
        file.create_dataset("rates", (3, 20), "f8", maxshape=(None, None), chunks=(2**13, 2**13), compression="gzip")


def save(**arrays: np.ndarray):
    return lambda folder: np.savez(folder / "data.npz", **({"targets": TARGETS, "rates": RATES} | arrays))


DATA = {
    "fifo.npz": (lambda folder: os.mkfifo(folder / "data.npz"), "is not a regular file"),
    "fifo.h5": (lambda folder: os.mkfifo(folder / "data.h5"), "is not a regular file"),
    "256 MiB of another shape": (lambda folder: zeros(folder, (2**13, 2**12)), "another number of axes"),
    "spikes without end": (with_spikes, "spikes takes 2400000000000 bytes, at most 4294967296 are read"),
    "chunks of 512 MiB": (with_chunks, "has chunks of 536870912 bytes"),
    "targets not finite": (save(targets=np.full((3, 10, 1), np.nan)), "targets of sample 0 are not all finite"),
    "the last rate is bad": (
        save(rates=np.where(np.arange(60).reshape(3, 20) == 59, -1, 5.0)),
        "rates of sample 2: -1 must lie in 0 to",
    ),
    "1e300 Hz": (save(rates=np.full((3, 20), 1e300)), "rates of sample 0: 1e+300 must lie in 0 to 1e+06 Hz"),
    "label": (save(labels=np.array([0, 0, 1])), "label 1 of sample 2 is not one of the 1 readouts"),
    "negative label": (save(labels=np.array([0, -1, 0])), "label -1 of sample 1"),
}


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize("name", DATA)
def test_data(name: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    make, expected = DATA[name]
    make(tmp_path)
    path = next(tmp_path.glob("data.*"))
    arguments = ["run", "data", "--set", f"data={path}", "--out", tmp_path / "run"]
    assert expected in refusal(capsys, arguments, tmp_path)


# ---- manifests -------------------------------------------------------------------------------------------------------


def entry(key: str, value: object):
    return lambda manifest: manifest.update({key: value})


def array(**values: object):
    return lambda manifest: manifest["arrays"][-1].update(values)


def loop(key: str, value: object):
    return lambda manifest: manifest["numbers"]["loop"].update({key: value})


def nameless(manifest: dict) -> None:
    """Name an array of the dynamics by its sample alone, as a mutation of the text did."""
    array = next(array for array in manifest["arrays"] if array["name"].endswith("/spike_ids"))
    array["name"] = array["name"].rpartition("/")[0]


MANIFESTS = {
    "no version": (lambda manifest: manifest.pop("version"), "version: Field required"),
    "ranks 1.0": (entry("ranks", 1.0), "ranks: Input should be a valid integer"),
    "10^9 ranks and no array": (lambda manifest: manifest.update(ranks=10**9, arrays=[]), "malformed: "),
    "infinite iteration": (entry("iteration", float("inf")), "is malformed"),
    "40 axes": (array(item=[1] * 40), "item: List should have at most 8 items"),
    "axes that overflow": (array(item=[2**40, 2**40]), "more than there can be"),
    "a name that is a list": (array(name=[]), "name: Input should be a valid string"),
    "two of a name": (array(name="v"), "malformed"),
    "both another": (
        lambda manifest: (entry("iteration", 1)(manifest), loop("iteration", 1)(manifest)),
        "loop/losses has",
    ),
    "a short digest": (loop("digest", "abc"), "64 hexadecimal digits"),
    "no digest": (loop("digest", None), "malformed"),
    "numbers are a list": (entry("numbers", []), "numbers: Input should be a valid dictionary"),
    "an observer's state is a list": (lambda manifest: manifest["numbers"].update({"Phases.0": [1]}), "does not fit"),
    "dynamics of no sample": (nameless, "must name a sample and a quantity"),
    "dynamics of no iteration": (
        lambda manifest: manifest["numbers"]["ResultsFile.0"].update({"first/iteration": None}),
        "'first/iteration' = None must be an array or a whole number",
    ),
    "stopped by nothing known": (
        lambda manifest: manifest["numbers"]["Phases.0"].update(stopped_by="x"),
        "stopped_by = 'x' must be what ends a training",
    ),
    "not a table": (lambda manifest: manifest.clear(), "malformed"),
}


@pytest.mark.parametrize("name", MANIFESTS)
def test_manifests(name: str, latest: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    what, expected = MANIFESTS[name]
    manifest = checkpoints.manifest_of(latest)
    what(manifest)
    checkpoints.seal(latest, json.dumps(manifest))
    assert expected in refusal(capsys, ["resume", tmp_path / "run"], tmp_path)


def test_manifest_texts(latest: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    for text in ("[" * 100_000, "7", '{"format": ' + "9" * 5000 + "}", "", "null", '{"format": "x"}', '"\\ud800"'):
        checkpoints.seal(latest, text)
        assert judge(capsys, "corpus", ["resume", tmp_path / "run"], tmp_path) == 2


# ---- other files -----------------------------------------------------------------------------------------------------


def test_provenance_of_other_types(latest: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    for part in ({"peak_rss_bytes": 7}, {"peak_rss_bytes": ["x"]}, {"peak_rss_bytes": [True]}, 7, {"phases": []}):
        (tmp_path / "run" / "provenance.json").write_text(json.dumps({"parts": [part]}))
        judge(capsys, "corpus", ["info", tmp_path / "run"], tmp_path)
    for text in ("[" * 100_000, '{"parts": 3}', "7", "[]"):
        (tmp_path / "run" / "provenance.json").write_text(text)
        assert judge(capsys, "corpus", ["info", tmp_path / "run"], tmp_path) == 2


@pytest.mark.parametrize("text", ["7", "[", '{"latency_s": "x"}', '{"bandwidth": -1}', "[" * 100_000, '{"a": {}}'])
def test_costs_of_exchanges(text: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "ping.json").write_text(text)
    for name in ("predict", "jobs"):
        arguments = [name, "sine-waves", "--ping", tmp_path / "ping.json"]
        assert judge(capsys, "corpus", arguments, tmp_path) == 2


def test_a_header_of_an_array_that_is_no_python(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Found by mutated bytes: NumPy's parser raises a SyntaxError."""
    text = b"{'descr': '<f8', 'fortran_order': False, 'shape': (3, 10, 1), '}".ljust(69) + b"\n"
    header = b"\x93NUMPY\x01\x00\x46\x00" + text
    with zipfile.ZipFile(tmp_path / "data.npz", "w") as archive:
        archive.writestr("targets.npy", header + bytes(240))
    arguments = ["run", "data", "--set", f"data={tmp_path / 'data.npz'}", "--out", tmp_path / "run"]
    assert judge(capsys, "corpus", arguments, tmp_path) == 2
