"""A run as a script for NEST: the same spikes there, from the parameters and weights in its results."""

import ast
import re
import subprocess
from pathlib import Path

import h5py
import pages
import pytest
import ranks
from commands import output_of, refusal_of, run_of

from pareprop.exchange_formats import nest_template, nest_writer

TRAINED = {  # with the samples whose weights are known
    "sine-waves": (["n_rec=20", "n_in=20", "n_step=300", "iterations=3", "neuron=iaf_adapt"], ["first"]),
    "evidence-accumulation": (
        ["n_ad=10", "n_reg=10", "iterations=2", "batch_size=2", "test_samples=2"],
        ["first", "last"],
    ),
    "sine-waves-plus": (["n_rec=20", "n_in=20", "n_step=300", "iterations=20", "eta=0.01"], ["first", "last"]),
}


TINY = {"n_rec": 4, "n_in": 3, "n_step": 20, "iterations": 1}
pytestmark = pytest.mark.usefixtures("no_figures")


def test_the_script_needs_nothing_of_the_package() -> None:
    nodes = list(ast.walk(ast.parse(Path(nest_template.__file__).read_text())))
    assert not [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.level]
    names = {name.name for node in nodes if isinstance(node, ast.Import) for name in node.names}
    assert "numpy" in names and "pareprop" not in names


@pytest.mark.peer
@pytest.mark.parametrize("task", TRAINED)
def test_nest_has_the_same_spikes(tmp_path: Path, capsys: pytest.CaptureFixture, task: str) -> None:
    pytest.importorskip("nest")
    settings, samples = TRAINED[task]
    output_of(capsys, *run_of(task, tmp_path / "run", *settings))
    output_of(capsys, "export", "--nest", tmp_path / "run", tmp_path / "rebuild.py")
    assert (tmp_path / "rebuild.h5").exists() == (task == "sine-waves-plus")
    for sample in samples:
        assert_equal(tmp_path, sample, 50)


@pytest.mark.peer
@pytest.mark.parametrize(("delay", "iterations"), [("", 2), ("delay=(1, 3), ", 1)])
def test_the_network_of_the_first_page(tmp_path: Path, delay: str, iterations: int) -> None:
    """Time constants are drawn; inputs of step 0 are lost, but for those that arrive later."""
    pytest.importorskip("nest")
    network = pages.first_network().replace("(inputs, neurons, ", f"(inputs, neurons, {delay}")
    train = f"pareprop.run(model, Levels(), 'run', iterations={iterations}, test_samples=1, figures='none')"
    (tmp_path / "levels.py").write_text(f"{network}\nimport pareprop\n{train}\n")
    subprocess.run([*ranks.python(), "levels.py"], cwd=tmp_path, check=True)
    with h5py.File(tmp_path / "run/results.h5") as file:
        assert 0 in file["dynamics/first/input_steps"][()]
    nest_writer.export_network(tmp_path / "run/results.h5", tmp_path / "rebuild.py")
    for sample in ("first", "last"):
        assert_equal(tmp_path, sample, 1000)


def assert_equal(folder: Path, sample: str, at_least: int) -> None:
    """Run the script, and look at what it says."""
    line = [*ranks.python("nest"), "rebuild.py", sample]
    done = subprocess.run(line, cwd=folder, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr
    told = re.search(r"(\d+) of (\d+) spikes are equal, NEST has (\d+) more", done.stdout)
    equal, wanted, more = map(int, told.groups())
    assert equal == wanted > at_least and more == 0, done.stdout


@pytest.mark.peer
@pytest.mark.parametrize("task", ["sine-waves", "sine-waves-plus"])
def test_after_one_iteration(tmp_path: Path, capsys: pytest.CaptureFixture, task: str) -> None:
    """The first sample is the last one, too."""
    pytest.importorskip("nest")
    output_of(capsys, *run_of(task, tmp_path / "run", *TRAINED[task][0][:3], "iterations=1"))
    output_of(capsys, "export", "--nest", tmp_path / "run", tmp_path / "rebuild.py")
    for sample in ("first", *(["last"] if task == "sine-waves-plus" else [])):
        assert_equal(tmp_path, sample, 50)


def test_what_cannot_be_exported_is_told(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    output_of(capsys, *run_of("sine-waves", tmp_path / "run", **TINY))
    (tmp_path / "there.py").write_text("mine")
    for target, expected in (("x.txt", "ends in .py"), ("there.py", "exists")):
        assert expected in refusal_of(capsys, "export", "--nest", tmp_path / "run", tmp_path / target)
    assert (tmp_path / "there.py").read_text() == "mine"
    assert "results.h5" in refusal_of(capsys, "export", "--nest", tmp_path, tmp_path / "x.py")


def test_only_spikes_of_a_script_are_replaced_beside_it(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Results of a run may have the name of the script."""
    output_of(capsys, *run_of("sine-waves-plus", tmp_path / "run", **TINY))
    results = (tmp_path / "run/results.h5").read_bytes()
    line = ["export", "--nest", tmp_path / "run", tmp_path / "run/results.py", "--overwrite"]
    assert "results.h5: exists" in refusal_of(capsys, *line)
    assert (tmp_path / "run/results.h5").read_bytes() == results and not (tmp_path / "run/results.py").exists()
    for more in ([], ["--overwrite"]):
        output_of(capsys, "export", "--nest", tmp_path / "run", tmp_path / "x.py", *more)
