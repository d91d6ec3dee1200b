"""Run directories that somebody else made, or that were damaged: one line and exit code 2, and nothing of other places.

One file, because all tests start from the same finished run.
"""

import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from types import ModuleType

import h5py
import numpy as np
import pytest
import ranks
from commands import apart, as_options, command
from damage import flip, replace
from params import first

from pareprop import plots
from pareprop.errors import InputError, escape_unprintable
from pareprop.network.space import Space
from pareprop.runs import config, replay, run
from pareprop.runs.directory import DIGEST_LINE
from pareprop.runs.opened import open_run

RUN = [
    "run",
    "sine-waves",
    *as_options("n_rec=8", "n_in=6", "n_step=30", "iterations=2", "record.every=1", "variant=spike"),
]
DRAW = run.draw_run


pytestmark = pytest.mark.usefixtures("no_figures")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "run"
    done = apart(*RUN, "--no-figures", "--out", out)
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path / "run"


def require_refusal(capsys: pytest.CaptureFixture, *arguments: object) -> str:
    code, output, errors = command(capsys, *arguments)
    assert code == 2 and errors.startswith("pareprop: error: ") and errors.count("\n") == 1, (code, output, errors)
    return errors


# ---- links to other places -------------------------------------------------------------------------------------------


def lead_out(run: Path, name: str) -> Path:
    """Make a file of a run a link to one elsewhere."""
    elsewhere = run.parent / "elsewhere"
    elsewhere.mkdir(exist_ok=True)
    (run / name).rename(elsewhere / name)
    (run / name).symlink_to(elsewhere / name)
    return elsewhere / name


@pytest.mark.slow
def test_a_report_shows_nothing_of_other_places(copy: Path, tmp_path: Path, capsys) -> None:
    (copy / "secret.png").write_bytes(b"a picture of somebody else")
    (copy / "own.png").write_bytes(b"a picture of this run")
    lead_out(copy, "secret.png")
    (copy / "inside.png").symlink_to("own.png")
    secret = lead_out(copy, "config.toml")
    secret.write_text(secret.read_text() + "# password: 1234\n")
    assert command(capsys, "report", copy, "--out", tmp_path / "out.html")[0] == 0
    text = (tmp_path / "out.html").read_text()
    assert "password" not in text and "YSBwaWN0dXJlIG9mIHNvbWVib2R5" not in text
    assert text.count("YSBwaWN0dXJlIG9mIHRoaXMgcnVu") == 2


@pytest.mark.parametrize(
    ("name", "commands"),
    [
        ("provenance.json", [["info"]]),
        ("results.h5", [["report"], ["plot"], ["compare", "OTHER"], ["export", "--nest", "x.py"]]),
        ("config.toml", [["resume"], ["export", "--network", "net"]]),
        ("record.h5", [["export", "x.h5"], ["compare", "OTHER"]]),
    ],
)
def test_files_of_a_run_are_not_links_to_other_places(
    copy: Path, finished: Path, tmp_path: Path, capsys, monkeypatch, name: str, commands: list[list[str]]
) -> None:
    monkeypatch.setattr(run, "draw_run", DRAW)
    lead_out(copy, name)
    for line in commands:
        options, rest = [x for x in line[1:] if x.startswith("--")], [x for x in line[1:] if not x.startswith("--")]
        others = [finished if text == "OTHER" else tmp_path / text for text in rest]
        assert "link" in require_refusal(capsys, line[0], *options, copy, *others), line


def test_a_folder_of_runs_holds_its_own(copy: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "several").mkdir()
    (tmp_path / "several" / "seed-1").symlink_to(copy)
    assert "is a link to another place" in require_refusal(capsys, "report", tmp_path / "several")
    (tmp_path / "latest").symlink_to(copy)  # which the user named
    assert command(capsys, "report", tmp_path / "latest", "--out", tmp_path / "out.html")[0] == 0
    assert command(capsys, "info", tmp_path / "latest")[0] == 0


# ---- damage ----------------------------------------------------------------------------------------------------------


def test_any_flipped_bit_of_results_ends_in_a_line(copy: Path, finished: Path, capsys) -> None:
    """Found by hand: `compare` ended in a traceback, with the exit code of runs that differ."""
    source, ends = (copy / "results.h5").read_bytes(), set()
    with h5py.File(copy / "results.h5") as file:
        loss = file["loss"].id.get_offset()  # a number, and so a difference
    for place in (7, 485, 1455, loss, *range(0, min(len(source), 30_000), 990)):
        flip(copy / "results.h5", place, place % 8, source)
        code, output, errors = command(capsys, "compare", copy, finished)
        assert (code, errors.count("\n")) in ((0, 0), (1, 0), (2, 1)) and "Traceback" not in errors, (place, errors)
        assert code != 1 or " and " in output or " in the " in output
        ends.add(code)
    assert ends == {0, 1, 2}


@pytest.mark.parametrize("sample", ["weight_initial", "weight", "source"])
def test_columns_of_another_length(copy: Path, tmp_path: Path, capsys, sample: str) -> None:
    with h5py.File(copy / "results.h5", "r+") as file:
        replace(f"projections/rec->rec/{sample}", np.zeros(3))(file)
    assert "must be equal" in require_refusal(capsys, "export", "--nest", copy, tmp_path / "x.py")
    with pytest.raises(InputError, match="must be equal"):
        open_run(copy).weights("rec->rec")


def test_weights_of_another_network(copy: Path, tmp_path: Path, capsys) -> None:
    with h5py.File(copy / "results.h5", "r+") as file:
        for name in ("source", "target", "delay", "weight_initial", "weight"):
            replace(f"projections/rec->rec/{name}", lambda values: values[:-1])(file)
    assert "weights, its network" in require_refusal(capsys, "export", "--nest", copy, tmp_path / "x.py")


def test_numbers_that_numpy_lacks(copy: Path, finished: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    """A float of 16 bytes with an exponent of 30 bits."""
    monkeypatch.setattr(run, "draw_run", DRAW)
    kind = h5py.h5t.IEEE_F64LE.copy()
    kind.set_size(16)
    kind.set_precision(128)
    kind.set_fields(127, 97, 30, 0, 97)
    kind.set_ebias(2**29 - 1)
    with h5py.File(copy / "results.h5", "r+") as file:
        h5py.h5d.create(file.id, b"odd", kind, h5py.h5s.create_simple((3,)))
    export = ["export", "--nest", copy, tmp_path / "x.py"]
    for arguments in (["compare", copy, finished], ["plot", copy], ["report", copy], export):
        assert "is damaged" in require_refusal(capsys, *arguments)
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file["targets"] = np.zeros((2, 10, 1))
        h5py.h5d.create(file.id, b"rates", kind, h5py.h5s.create_simple((2, 20)))
    require_refusal(capsys, "run", "data", "--set", f"data={tmp_path / 'data.h5'}", "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


# ---- files and sizes that cannot be ----------------------------------------------------------------------------------


def test_any_damaged_head_of_positions_is_bad_input(tmp_path: Path) -> None:
    np.save(tmp_path / "positions.npy", np.random.default_rng(1).random((5, 2)))
    source = (tmp_path / "positions.npy").read_bytes()
    for place in range(128):
        flip(tmp_path / "positions.npy", place, place % 7, source)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                Space(extent=(1.0, 1.0), length=0.1, cutoff=0.3, sources=str(tmp_path / "positions.npy"))
            except InputError as problem:
                assert str(problem).startswith("Space: sources = ") and "positions.npy" in str(problem)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["cart-pole", "--set", f"sensor_delay={2**64}"], f"sensor_delay = {2**64} must be at most"),
        (["own-activity", "--set", f"n_rec={10**12}"], "this machine has"),
    ],
)
def test_sizes_that_cannot_be_leave_nothing(tmp_path: Path, capsys, arguments: list[str], told: str) -> None:
    assert told in require_refusal(capsys, "run", *arguments, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_activity_that_cannot_be_is_bad_input(tmp_path: Path, capsys) -> None:
    with h5py.File(tmp_path / "rates.h5", "w") as file:
        file["rates"] = np.full((30, 8), 1e300)
    settings = (
        "n_rec=8",
        "n_in=4",
        "n_step=30",
        "skip=0",
        "indegree=2",
        "indegree_in=2",
        "iterations=1",
        f"activity={tmp_path / 'rates.h5'}",
    )
    options = as_options(*settings)
    assert "1e+300 must lie in 0 to 1e+06 Hz" in require_refusal(
        capsys, "run", "own-activity", *options, "--out", tmp_path / "out"
    )


# ---- extreme numbers and odd names in figures ------------------------------------------------------------------------

PLACES = (
    ("loss", "firing_rate"),
    ("dynamics/last/V_m", "dynamics/last/readout_signal", "projections/rec->rec/weight"),
    ("dynamics/last/spike_steps",),
    ("dynamics/last/input_ids",),
)


@pytest.mark.parametrize("value", first(0, [1e308, -1e308], rest=1))
def test_extreme_numbers_are_drawn_or_refused_in_silence(copy: Path, monkeypatch, value: float) -> None:
    for names in PLACES:
        shutil.copy(copy / "results.h5", copy / "kept.h5")
        with h5py.File(copy / "results.h5", "r+") as file:
            for data in map(file.__getitem__, names):
                if data.dtype.kind == "f":
                    data[(0,) * data.ndim] = value
                elif np.isfinite(value):
                    bounds = np.iinfo(data.dtype)
                    data[0] = int(np.clip(value, bounds.min, bounds.max // 2))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                plots.draw_figures(copy, pdf=False)
            except InputError as problem:
                assert str(problem).count("\n") == 0
        os.replace(copy / "kept.h5", copy / "results.h5")


@pytest.mark.slow
def test_odd_texts_in_figures(copy: Path) -> None:
    """Names are no formulas, and have no control characters."""
    with h5py.File(copy / "results.h5", "r+") as file:
        file.attrs["task"], file.attrs["note"] = "a\x07b\x1b[31m", "$x_{$ and $"
        file.move("projections/rec->rec", "projections/$\\frac{1->\x02")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert plots.draw_figures(copy)


# ---- terminals and pipes ---------------------------------------------------------------------------------------------


def test_control_characters_are_shown_as_escapes() -> None:
    assert escape_unprintable("a\x1b[2Jb\x07\r\x9b\u202e\udc80\U000e0001 é→\t\n") == (
        "a\\u001b[2Jb\\u0007\\u000d\\u009b\\u202e\\udc80\\U000e0001 é→\t\n"
    )


def test_no_file_speaks_to_the_terminal(copy: Path, tmp_path: Path, capsys) -> None:
    path = copy / "provenance.json"
    path.write_text(path.read_text().replace('"command": "', '"command": "\\u001b]0;owned\\u0007', 1))
    code, output, _ = command(capsys, "info", copy)
    assert code == 0 and "\\u001b]0;owned\\u0007" in output and "\x1b" not in output
    (tmp_path / "Train").mkdir()
    (tmp_path / "Test").mkdir()
    (tmp_path / "Train" / "\x1b[2J.txt").write_text("no recording")
    errors = require_refusal(capsys, "run", "n-mnist", "--set", f"data={tmp_path}", "--out", tmp_path / "out")
    assert "\x1b" not in errors and "\\u001b[2J.txt" in errors


def require_quiet(*arguments: object) -> None:
    """A command whose output nobody reads succeeds without a word."""
    reader, writer = os.pipe()
    os.close(reader)
    line = [*ranks.python(), "-m", "pareprop", *arguments]
    done = subprocess.run(line, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")


PRINTED = (["info", "RUN"], ["tasks"], ["config", "sine-waves"], ["compare", "RUN", "RUN"])


@pytest.mark.parametrize("arguments", first(1, PRINTED, rest=2))
def test_a_pipe_whose_reader_has_gone_is_quiet(finished: Path, arguments: list[str]) -> None:
    """As `pareprop info DIR | head -0`."""
    require_quiet(*(str(finished) if text == "RUN" else text for text in arguments))


@pytest.mark.slow
def test_a_run_goes_on_when_nobody_reads_what_it_prints(tmp_path: Path) -> None:
    require_quiet(*RUN, "--no-figures", "--out", tmp_path / "run")
    assert len(open_run(tmp_path / "run").losses["loss"]) == 2


# ---- code that a configuration names ---------------------------------------------------------------------------------

MAZE = """
import pathlib
import gymnasium
pathlib.Path(__file__).with_name("imported").touch()
class Maze(gymnasium.Env):
    action_space = gymnasium.spaces.Discrete(2)
    observation_space = gymnasium.spaces.Discrete(3)
    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return int(self.np_random.integers(3)), {}
    def step(self, action):
        return int(self.np_random.integers(3)), float(action), False, False, {}
gymnasium.register("Maze-v0", Maze)
"""


@pytest.fixture
def maze(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gymnasium: ModuleType) -> list[str]:
    """Settings of a run in an environment of a module that leaves a mark when it is imported."""
    gymnasium.registry.pop("Maze-v0", None)
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "evil_maze.py").write_text(MAZE)
    monkeypatch.syspath_prepend(tmp_path / "code")
    monkeypatch.delitem(sys.modules, "evil_maze", raising=False)
    monkeypatch.setenv("PAREPROP_CACHE", str(tmp_path / "cache"))
    return ["env=evil_maze:Maze-v0", "n_rec=5", "decisions=3", "iterations=1", "batch_size=1", "figures=none"]


@pytest.mark.parametrize("kept", ["all", "not its digest"])
def test_code_that_a_run_names(capsys: pytest.CaptureFixture, tmp_path: Path, maze: list[str], kept: str) -> None:
    """A run of somebody else imports nothing, whatever is done with it, but where the user says so."""
    theirs = config.load("gym", maze)
    (tmp_path / "run").mkdir()
    text = f"{theirs.to_toml()}\n{DIGEST_LINE} {theirs.compute_digest()}\n" if kept == "all" else theirs.to_toml()
    (tmp_path / "run" / "config.toml").write_text(text)
    with h5py.File(tmp_path / "run" / "results.h5", "w") as file:
        file.attrs.update(format="pareprop-run-1", variant="spike", config="{}", dt_ms=1.0)
    told = f"{tmp_path / 'run' / 'config.toml'}: env = 'evil_maze:Maze-v0' is code that is not of Gymnasium"
    run, mark = tmp_path / "run", tmp_path / "code" / "imported"
    for line in (
        ["resume", run],
        ["predict", run],
        ["dry-run", run, "--ranks", 1],
        ["jobs", run],
        ["run", run, "--out", tmp_path / "new"],
        ["run", run, "--set", "seed=2", "--set", "env_arguments={ a = 1 }"],
        ["export", run, tmp_path / "sonata", "--network"],
        *([["run", run / "config.toml"]] if kept == "all" else []),
    ):
        assert told in require_refusal(capsys, *line)
    for use in (open_run(run).model, open_run(run).simulation, lambda: replay.simulate_records(run)):
        with pytest.raises(InputError, match=r"--trust, or trust=True, imports it"):
            use()
    assert command(capsys, "config", run)[0] == 0 and not mark.exists()
    own = ["env=CartPole-v1", "low=[-1,-1,-1,-1]", "high=[1,1,1,1]"]
    begin = ["run", run, "--no-figures", "--out"]
    assert command(capsys, *begin, tmp_path / "own", *as_options(*own))[0] == 0
    assert not mark.exists()
    assert command(capsys, *begin, tmp_path / "trusted", "--trust")[0] == 0 and mark.exists()
    assert told in require_refusal(capsys, *begin, tmp_path / "again")  # each time


def test_code_that_a_user_names(capsys: pytest.CaptureFixture, tmp_path: Path, maze: list[str]) -> None:
    """A setting or a file of one's own is a word of one's own, also where it goes on; the file of a run is not."""
    begin = ["run", "gym", *as_options(*maze), "--out", tmp_path / "run", "--restart"]
    assert command(capsys, *begin)[0] == 0
    assert (tmp_path / "code" / "imported").exists()
    assert command(capsys, *begin)[0] == 0
    resume = ["resume", tmp_path / "run", "--no-figures", "--set", "iterations=2"]
    assert "is code that is not of Gymnasium" in require_refusal(capsys, *resume)
    assert command(capsys, *resume, "--trust")[0] == 0
    (tmp_path / "mine.toml").write_text(config.load("gym", maze).to_toml())
    assert command(capsys, "run", tmp_path / "mine.toml", "--out", tmp_path / "mine")[0] == 0


@pytest.mark.slow
def test_code_that_the_run_of_a_script_names(capsys: pytest.CaptureFixture, tmp_path: Path, maze: list[str]) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import sys, pareprop\nfrom pareprop.tasks import TASKS\n"
        "task = TASKS['gym'](env='evil_maze:Maze-v0', n_rec=5, decisions=3, iterations=1, batch_size=1)\n"
        "pareprop.run(task.build_model(), task, sys.argv[1], iterations=1, figures='none', quiet=True)\n"
    )
    own = os.environ | {"PYTHONPATH": str(tmp_path / "code")}
    subprocess.run([*ranks.python(), script, tmp_path / "run"], check=True, env=own)
    resume = ["resume", tmp_path / "run", "--no-figures", "--set", "iterations=2"]
    assert "is code that is not of Gymnasium" in require_refusal(capsys, *resume)
    assert command(capsys, *resume, "--trust")[0] == 0
