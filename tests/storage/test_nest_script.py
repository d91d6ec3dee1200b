"""A run as a script for NEST: the same spikes there, from the parameters and weights in its results."""

import ast
import re
import subprocess
from pathlib import Path

import pytest
import ranks
from commands import command

from pareprop.storage import nest_rebuild

TRAINED = {  # with the samples whose weights are known
    "sine-waves": (["n_rec=20", "n_in=20", "n_step=300", "iterations=3", "neuron=iaf_adapt"], ["first"]),
    "evidence-accumulation": (
        ["n_ad=10", "n_reg=10", "iterations=2", "batch_size=2", "test_samples=2"],
        ["first", "last"],
    ),
    "sine-waves-plus": (["n_rec=20", "n_in=20", "n_step=300", "iterations=20", "eta=0.01"], ["first", "last"]),
}


pytestmark = pytest.mark.usefixtures("no_figures")


def test_the_script_needs_nothing_of_the_package() -> None:
    nodes = list(ast.walk(ast.parse(Path(nest_rebuild.__file__).read_text())))
    assert not [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.level]
    names = {name.name for node in nodes if isinstance(node, ast.Import) for name in node.names}
    assert "numpy" in names and "pareprop" not in names


@pytest.mark.peer
@pytest.mark.parametrize("task", TRAINED)
def test_nest_has_the_same_spikes(tmp_path: Path, capsys: pytest.CaptureFixture, task: str) -> None:
    pytest.importorskip("nest")
    settings, samples = TRAINED[task]
    options = [part for text in settings for part in ("--set", text)]
    assert command(capsys, "run", task, *options, "--out", tmp_path / "run")[0] == 0
    assert command(capsys, "export", "--nest", tmp_path / "run", tmp_path / "rebuild.py")[0] == 0
    assert (tmp_path / "rebuild.h5").exists() == (task == "sine-waves-plus")
    for sample in samples:
        line = [*ranks.python("nest"), "rebuild.py", sample]
        done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, timeout=900, check=False)
        assert done.returncode == 0, done.stderr
        equal, wanted, more = map(
            int, re.search(r"(\d+) of (\d+) spikes are equal, NEST has (\d+) more", done.stdout).groups()
        )
        assert equal == wanted > 50 and more == 0, done.stdout


def test_what_cannot_be_exported_is_told(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    options = [part for text in ("n_rec=4", "n_in=3", "n_step=20", "iterations=1") for part in ("--set", text)]
    assert command(capsys, "run", "sine-waves", *options, "--out", tmp_path / "run")[0] == 0
    (tmp_path / "there.py").write_text("mine")
    for target, expected in (("x.txt", "ends in .py"), ("there.py", "exists")):
        code, _, errors = command(capsys, "export", "--nest", tmp_path / "run", tmp_path / target)
        assert code == 2 and expected in errors and errors.count("\n") == 1
    assert (tmp_path / "there.py").read_text() == "mine"
    code, _, errors = command(capsys, "export", "--nest", tmp_path, tmp_path / "x.py")
    assert code == 2 and "results.h5" in errors


def test_only_spikes_of_a_script_are_replaced_beside_it(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Results of a run may have the name of the script."""
    options = [part for text in ("n_rec=4", "n_in=3", "n_step=20", "iterations=1") for part in ("--set", text)]
    assert command(capsys, "run", "sine-waves-plus", *options, "--out", tmp_path / "run")[0] == 0
    results = (tmp_path / "run/results.h5").read_bytes()
    line = ["export", "--nest", tmp_path / "run", tmp_path / "run/results.py", "--overwrite"]
    code, _, errors = command(capsys, *line)
    assert code == 2 and "results.h5: exists" in errors and errors.count("\n") == 1
    assert (tmp_path / "run/results.h5").read_bytes() == results and not (tmp_path / "run/results.py").exists()
    for more in ([], ["--overwrite"]):
        assert command(capsys, "export", "--nest", tmp_path / "run", tmp_path / "x.py", *more)[0] == 0
