"""Restart: the same bits on any number of ranks, however a run was ended; damaged checkpoints are told.

One file, because all tests start from the same finished run.
"""

import errno
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import checkpoints
import damage
import launch
import networks
import numpy as np
import pytest
import ranks
import spike_networks
from checkpoints import change, change_table
from commands import apart, as_options, command, digests, on_ranks, output_of, refusal_of
from params import first

from pareprop.parallel.drawn_spikes import DryExchange
from pareprop.runs.run import Run
from pareprop.storage import checkpoint_pieces, checkpoint_read, checkpoint_table, checkpoint_write

SIZES = ["--set", "n_rec=12", "--set", "n_in=10", "--set", "n_step=30"]
CASES = {
    "interval": ["variant=interval", "delay=2"],
    "adaptive feedback": ["variant=interval", "feedback=adaptive", "neuron=iaf_adapt"],
    "spike": ["variant=spike", "delay=3"],
    "spike, loops": ["variant=spike", "neuron=iaf_adapt", "kappa=0.9", "feedback=symmetric", "cutoff=70"],
    "spike, delta": ["variant=spike", "neuron=iaf_psc_delta", "feedback=adaptive", "cutoff=20", "indegree=0"],
}


pytestmark = pytest.mark.usefixtures("no_figures")


def task(*settings: str) -> list[str]:
    return ["run", "sine-waves", *SIZES, *as_options(*settings)]


def digest_of(capsys: pytest.CaptureFixture, *arguments: object) -> str:
    output = output_of(capsys, *arguments)
    return digests(output.splitlines())[-1]


@pytest.mark.parametrize(
    "names", first(1, [("adaptive feedback", "spike, loops"), ("interval", "spike", "spike, delta")]), ids=len
)
def test_resume_on_other_ranks_gives_the_same_bits(
    names: Collection[str], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    cases = [CASES[name] for name in names]
    lines = [task(*settings, "iterations=6") for settings in cases]
    undisturbed = [digest_of(capsys, *line, "--out", tmp_path / "whole" / str(k)) for k, line in enumerate(lines)]
    assert len(set(undisturbed)) == len(cases)
    on_ranks(2, [[*line, "--until", 2, "--out", tmp_path / "stopped" / str(k)] for k, line in enumerate(lines)])
    middle = [["resume", tmp_path / "stopped" / str(k), "--until", 4] for k in range(len(cases))]
    _, output, _ = on_ranks(3, middle)
    assert not set(digests(output)) & set(undisturbed)
    last = [digest_of(capsys, "resume", tmp_path / "stopped" / str(k)) for k in range(len(cases))]
    assert last == undisturbed
    for k in range(len(cases)):
        code, output, _ = command(capsys, "compare", tmp_path / "whole" / str(k), tmp_path / "stopped" / str(k))
        assert (code, output) == (0, "no difference\n")


@pytest.mark.mpi
def test_ranks_without_neurons_write_checkpoints_and_resume(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Found by hand: arrays were listed by the sizes of a rank, of which small networks leave all but one none."""
    settings = task("variant=spike", "neuron=iaf_adapt", "cutoff=70", "iterations=4")
    whole = digest_of(capsys, *settings, "--out", tmp_path / "whole")
    stopped, unshared = tmp_path / "stopped", {"PAREPROP_SHARE_ABOVE": ""}
    assert on_ranks(2, [[*settings, "--until", 1, "--out", stopped]], env=unshared)[0] == [0]
    assert on_ranks(3, [["resume", stopped, "--until", 2]], env=unshared)[0] == [0]
    assert on_ranks(2, [["resume", stopped, "--until", 3]])[0] == [0]
    assert digest_of(capsys, "resume", stopped) == whole


def kinds_of_pieces(case: dict, rank: int, size: int) -> list[tuple]:
    """What a rank lists for a checkpoint: name, kind, type and shape of an item, none of which may be its own."""
    module = networks if case["variant"] == "interval" else spike_networks
    n = sum(group["n"] for group in case["groups"])
    state = module.simulation(case, exchange=DryExchange(rank, size, 0.0, n, 0)).engine.state()
    rows = [(name, table.number_whole_rows()[1], array.shape[1:]) for name, (table, array) in state.rows.items()]
    pieces = checkpoint_pieces.list_pieces(state, rank)
    return [rows, *((p.name, p.kind, p.array.dtype.str, p.item) for p in pieces if p.kind != "shared")]


def of_equations(seed: int) -> dict:
    """A case of neurons by equations, whose synapses learn by composed maps."""
    case = spike_networks.random_case(seed, 20)
    optimizer = case["optimizer"] | {"optimize_each_step": False, "Wmin": -100.0, "Wmax": 100.0}
    kappas = {"kappa": 0.9, "kappa_reg": 0.9 if seed % 2 else 0.8}
    groups = [{"model": "adex", "n": group["n"], "params": kappas} for group in case["groups"]]
    return case | {"groups": groups, "optimizer": optimizer}


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("make", [networks.random_case, spike_networks.random_case, of_equations])
def test_names_in_a_checkpoint_are_those_of_the_model(make, shared: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """They do not depend on the neurons and synapses of a rank: those of the only rank are found on each of more."""
    monkeypatch.setenv("PAREPROP_SHARE_ABOVE", "0" if shared else "")
    for seed in range(2 if shared else 8):
        case = make(seed)
        n = sum(group["n"] for group in case["groups"])
        size = n + 2 if shared else 2  # at least two ranks without neurons, or one
        expected = kinds_of_pieces(case, 0, 1)
        for rank in range(size):
            assert kinds_of_pieces(case, rank, size) == expected, (seed, rank)


@pytest.mark.slow
@pytest.mark.mpi
def test_a_finished_run_is_resumed_to_its_own_digest(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Nothing is left to run: weights are shown, and results written, from what was restored alone."""
    outs = [tmp_path / str(k) for k in range(len(CASES))]
    whole = [
        digest_of(capsys, *task(*s, "iterations=3"), "--out", o) for s, o in zip(CASES.values(), outs, strict=True)
    ]
    codes, output, _ = on_ranks(3, [["resume", out] for out in outs])
    assert (codes, digests(output)) == ([0] * len(CASES), whole)
    assert all((out / "results.h5").exists() and not (out / "results.part").exists() for out in outs)


def test_early_stop_test_phase_and_adam_survive(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    sizes = {"n_rec": 10, "n_in": 8, "n_step": 40, "iterations": 5, "batch_size": 2, "validate_every": 2}
    settings = as_options(**sizes)
    whole = digest_of(capsys, "run", "lemniscate", *settings, "--out", tmp_path / "a")
    digest_of(capsys, "run", "lemniscate", *settings, "--out", tmp_path / "b", "--until", 3)
    assert digest_of(capsys, "resume", tmp_path / "b") == whole
    assert command(capsys, "compare", tmp_path / "a", tmp_path / "b")[:2] == (0, "no difference\n")


# ---- killed runs -----------------------------------------------------------------------------------------------------

LONG = task("iterations=60", "checkpoint.every=1", "checkpoint.keep=3")
HOW = ("one", "all", "writing")


def ranks_of(session: int) -> list[int]:
    """Processes of the ranks of a session that mpirun leads."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and os.getsid(int(entry.name)) == session:
                name = (entry / "cmdline").read_bytes().split(b"\0")
                if b"pareprop" in name and not name[0].endswith((b"mpirun", b"prterun", b"timeout")):
                    found.append(int(entry.name))
        except OSError:
            continue
    return sorted(found)


def start(n: int, *arguments: object, python: Sequence[str] = (sys.executable,)) -> subprocess.Popen:
    """A long run on `n` ranks in a session of its own, whose ranks have been started."""
    launcher = launch.find_mpirun()
    if launcher is None:
        pytest.skip("no mpirun")
    line = [launcher, "-n", str(n), *python, "-m", "pareprop", *map(str, arguments)]
    for _ in range(3):
        streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        own = {"env": os.environ | launch.ENVIRONMENT, "start_new_session": True}
        process = subprocess.Popen(["timeout", "-k", "5", "1800", *line], **streams, **own)
        while process.poll() is None:
            if ranks_of(process.pid):
                return process
            time.sleep(0.01)
        output = process.communicate()[0]
        if launch.NO_LISTENER not in output:
            break
    pytest.fail(output)


def alone(*arguments: object) -> subprocess.Popen:
    """A run in one process."""
    command = [*ranks.python(), "-m", "pareprop", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(condition, process: subprocess.Popen, seconds: float = 900) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < end, "nothing happened in time"


def kill(how: str, moment: int, out: Path) -> str:
    """Kill a run on two ranks at a random moment after its first checkpoint; return where it was."""
    draw = random.Random(f"{how} {moment}")
    folder = out / "checkpoints"
    process = start(2, *LONG, "--out", out)
    try:
        first = checkpoint_write.directory_name(draw.randint(1, 15))
        wait_for(lambda: any(path.name >= first for path in checkpoint_write.list_checkpoints(folder)), process)
        time.sleep(draw.uniform(0, 0.05))
        if how == "writing":
            wait_for(lambda: any(folder.glob("*.part")), process)
        found = ranks_of(process.pid)
        assert len(found) == 2
        for rank in found if how == "all" else [draw.choice(found)]:
            os.kill(rank, signal.SIGKILL)
        process.communicate(timeout=900)
        assert process.returncode != 0
    finally:
        launch.kill_session(process.pid)
    return ", ".join(sorted(path.name for path in folder.iterdir()))


@pytest.mark.mpi
@pytest.mark.parametrize("n", first(0, [1, 7], rest=1))
def test_killed_runs_resume_to_the_same_digest(tmp_path: Path, capsys: pytest.CaptureFixture, n: int) -> None:
    """SIGKILL of one rank, of all, and within the writing of a checkpoint: random moments."""
    moments = [(how, k) for k in range(n) for how in HOW]
    expected = digest_of(capsys, *task("iterations=60"), "--out", tmp_path / "whole")
    with ThreadPoolExecutor(2) as pool:
        left = list(pool.map(lambda moment: kill(*moment, tmp_path / "{}{}".format(*moment)), moments))
    assert sum(".part" in names for names in left) >= n // 2, left
    assert len(set(left)) > len(moments) // 2  # they were at different iterations
    quick = ["--set", "checkpoint.every=0"]
    several = [["resume", tmp_path / f"{how}{k}", *quick] for how, k in moments]
    found = [digest_of(capsys, *arguments) for arguments in several[::2]]
    codes, output, _ = on_ranks(3, several[1::2], timeout=900)
    assert not any(codes)
    assert {*found, *digests(output)} == {expected}
    assert len(found) + len(digests(output)) == len(moments)


# ---- signals ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT], ids=lambda number: number.name)
def test_a_signal_asks_for_a_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture, number: signal.Signals) -> None:
    arguments = [*task("iterations=100000"), "--out", tmp_path / "run"]
    process = alone(*arguments)
    try:
        wait_for((tmp_path / "run" / "checkpoints" / "listening").exists, process)
        process.send_signal(number)
        output, errors = process.communicate(timeout=900)
    finally:
        process.kill()
    assert process.returncode == 75, errors
    done = int(re.search(rf"stopped by {number.name} after (\d+) of 100000", output)[1])
    assert digests(output.splitlines()) == [digest_of(capsys, *task(f"iterations={done}"), "--out", tmp_path / "same")]
    whole = digest_of(capsys, *task(f"iterations={done + 3}"), "--out", tmp_path / "whole")
    assert digest_of(capsys, "resume", tmp_path / "run", "--until", done + 3) == whole


@pytest.mark.mpi
def test_a_signal_to_mpirun_reaches_all_ranks(tmp_path: Path) -> None:
    process = start(2, *task("iterations=100000"), "--out", tmp_path / "run", python=ranks.python())
    try:
        wait_for((tmp_path / "run" / "checkpoints" / "listening").exists, process)
        parent = next(p for p in Path("/proc").iterdir() if p.name.isdigit() and _is_mpirun(p, process.pid))
        os.kill(int(parent.name), signal.SIGUSR1)
        output, _ = process.communicate(timeout=900)
    finally:
        launch.kill_session(process.pid)
    assert process.returncode == 75
    assert "stopped by SIGUSR1 after" in output


def _is_mpirun(entry: Path, session: int) -> bool:
    try:
        name = (entry / "cmdline").read_bytes().split(b"\0")[0]
        return os.getsid(int(entry.name)) == session and name.endswith((b"mpirun", b"prterun"))
    except OSError:
        return False


@pytest.mark.slow
def test_interrupted_twice_ends_at_once(tmp_path: Path) -> None:
    arguments = [*task("iterations=3", "n_step=3000000", "indegree=2"), "--out", tmp_path / "run"]
    process = alone(*arguments)
    try:
        wait_for((tmp_path / "run" / "checkpoints" / "listening").exists, process)
        while process.poll() is None:  # signals that come before the first one is heard count as one
            process.send_signal(signal.SIGINT)
            time.sleep(0.3)
        errors = process.communicate(timeout=900)[1]
    finally:
        process.kill()
    assert process.returncode == 130 and "interrupted twice, ending at once" in errors


def test_a_checkpoint_that_could_not_be_written_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full at the second one: the first one stays, and what the second one took is free again."""
    write, written = checkpoint_pieces.write, []

    def write_until_full(*arguments: object) -> None:
        write(*arguments)
        written.append(arguments)
        if len(written) > 1:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint_pieces, "write", write_until_full)
    code, _, errors = command(capsys, *task("iterations=4", "checkpoint.every=1"), "--out", tmp_path / "run")
    assert code == 3 and "No space left on device" in errors
    assert [path.name for path in (tmp_path / "run" / "checkpoints").glob("iteration*")] == ["iteration-00000001"]


# ---- damaged and foreign checkpoints ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A run of 4 iterations on 2 nodes of a rank with checkpoints of iterations 2, 3 and 4, and its digest."""
    out = tmp_path_factory.mktemp("run") / "run"
    line = [*task("iterations=4", "checkpoint.every=1", "keep=3"), "--out", out]
    _, output, _ = on_ranks(2, [line], env={"PAREPROP_RANKS_PER_NODE": "1"})
    return out, digests(output)[0]


@pytest.fixture
def copy(finished: tuple[Path, str], tmp_path: Path) -> tuple[Path, Path, str]:
    """A copy of that run, its latest checkpoint, the digest."""
    shutil.copytree(finished[0], tmp_path / "run")
    return tmp_path / "run", checkpoint_write.list_checkpoints(tmp_path / "run" / "checkpoints")[0], finished[1]


def shorten(latest: Path) -> None:
    path = latest / "rank-00001.bin"
    path.write_bytes(path.read_bytes()[:5000])


def flip(latest: Path) -> None:
    places = checkpoints.table_of(latest)["offset"][0]
    damage.flip(latest / "rank-00000.bin", places[checkpoints.column_of(latest, "rec->rec/weight")] + 11, 2)


def resize(key: str, value: object):
    return lambda latest: change(latest, lambda manifest: manifest["arrays"][-1].update({key: value}))


def entry(key: str, value: int, row: int = 1):
    """Change the entry of the last array in a row of the table."""

    def spoil(table: np.ndarray) -> None:
        table[key][row, -1] = value

    return lambda latest: change_table(latest, spoil)


DAMAGES = {
    "truncated": (shorten, r"rank-00001.bin has 5000 bytes, \S+ ends at \d+"),
    "one bit flipped": (flip, r"rank-00000.bin: the checksum of \S+rec->rec/weight differs"),
    "a share is missing": (lambda latest: (latest / "rank-00001.bin").unlink(), "rank-00001.bin: No such file"),
    "no manifest": (lambda latest: (latest / "manifest.json").unlink(), "manifest.json is missing"),
    "another kind of file": (
        lambda latest: (latest / "manifest.json").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(3000)),
        "manifest.json: its checksum differs",
    ),
    "an absurd size": (
        lambda latest: (entry("first", 2**40)(latest), entry("first", 2**40, 2)(latest)),
        r"rank-00000.bin has \d+ bytes, \S+ ends at",
    ),
    "no table": (lambda latest: (latest / "table.bin").unlink(), "table.bin: No such file"),
    "half a table": (lambda latest: os.truncate(latest / "table.bin", 400), r"table.bin: has 400 bytes, not \d+"),
    "one bit of the table flipped": (
        lambda latest: damage.flip(latest / "table.bin", 777, 2),
        "table.bin: its checksum differs",
    ),
    "a negative place": (entry("offset", -8), r"table.bin: array \S+ has places that cannot be"),
    "more items than there can be": (entry("first", 2**60, 2), r"table.bin: array \S+ has places that cannot be"),
    "a type of objects": (resize("dtype", "|O"), r"arrays\.\d+\.dtype: Input should be '<f8'"),
    "not a manifest": (
        lambda latest: change(latest, lambda manifest: manifest.pop("arrays")),
        "manifest.json is malformed",
    ),
}


@pytest.mark.parametrize("name", first(4, DAMAGES))
def test_a_damaged_checkpoint_is_told_and_the_one_before_taken(copy, capsys: pytest.CaptureFixture, name: str) -> None:
    directory, latest, digest = copy
    how, expected = DAMAGES[name]
    how(latest)
    code, output, errors = command(capsys, "resume", directory)
    assert re.search(f"warning: .*iteration-00000004 is damaged: .*{expected}.*; the one before is used", errors)
    assert "iteration-00000003, 3 iterations done" in output
    assert (code, digests(output.splitlines())) == (0, [digest])


def replace_whole_numbers(latest: Path, name: str, spoil) -> None:
    """Replace an array of rank 0, with the right checksums."""
    column, table = checkpoints.column_of(latest, name), checkpoints.table_of(latest)
    n, place = int(table["first"][1, column]), int(table["offset"][0, column])
    data = bytearray((latest / "rank-00000.bin").read_bytes())
    values = spoil(np.frombuffer(data, np.int64, n, place)).astype(np.int64).tobytes()
    data[place : place + len(values)] = values
    (latest / "rank-00000.bin").write_bytes(data)

    def note(table: np.ndarray) -> None:
        table["crc"][0, column] = zlib.crc32(values)

    change_table(latest, note)


@pytest.fixture(scope="module")
def in_flight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the spike variant with delays, whose checkpoints hold spikes that are on their way."""
    out = tmp_path_factory.mktemp("spike") / "run"
    done = apart(*task("variant=spike", "delay=3", "iterations=2"), "--no-figures", "--out", out)
    assert done.returncode == 0, done.stderr
    return out


@pytest.mark.parametrize("name", ["inputs", "spikes"])
@pytest.mark.parametrize(
    "spoil",
    [
        lambda ends: ends + (np.arange(len(ends)) < 1),
        lambda ends: ends[::-1],
        lambda ends: ends + 1,
        lambda ends: ends - np.arange(len(ends)),
        lambda ends: 2 * ends,
    ],
)
def test_steps_of_spikes_in_flight_are_checked(
    in_flight: Path, tmp_path: Path, capsys: pytest.CaptureFixture, name: str, spoil
) -> None:
    """Ends of steps that begin elsewhere, fall or lead beyond the spikes."""
    shutil.copytree(in_flight, tmp_path / "run")
    for path in checkpoint_write.list_checkpoints(tmp_path / "run" / "checkpoints"):
        replace_whole_numbers(path, f"engine/{name}_ptr", spoil)
    assert f"the spikes in flight ({name}) are not those of" in refusal_of(
        capsys, "resume", tmp_path / "run", "--set", "iterations=3"
    )


def test_killed_before_the_first_checkpoint(copy, capsys: pytest.CaptureFixture) -> None:
    """What SIGKILL leaves: the configuration and the start of the results."""
    directory = copy[0]
    shutil.rmtree(directory / "checkpoints")
    (directory / "checkpoints").mkdir()
    told = refusal_of(capsys, "resume", directory)
    assert f"no checkpoint to resume from in {directory / 'checkpoints'}: the run ended before it wrote one; " in told
    assert "[checkpoint] every = N (--set checkpoint.every=N) writes one every N iterations" in told


def changed(what):
    return lambda latest: change(latest, what)


def lose(latest: Path) -> None:
    """Let no rank have an item of an array."""
    column = checkpoints.column_of(latest, "v")

    def clear(table: np.ndarray) -> None:
        table["first"][:, column] = table["crc"][:, column] = 0

    change_table(latest, clear)


REFUSED = {
    "format": (changed(lambda manifest: manifest.update(format="pareprop-checkpoint-9")), "has format 'pareprop-check"),
    "version": (changed(lambda manifest: manifest.update(version="9.9")), "belongs to another run: pareprop 9.9, now"),
    "shape": (
        changed(lambda manifest: next(a for a in manifest["arrays"] if a["name"] == "v")["item"].append(1)),
        "does not fit this network: v = ",
    ),
    "count": (lose, "does not fit this network: v = "),
    "numbers": (changed(lambda manifest: manifest["numbers"].pop("engine")), "does not fit: KeyError: 'engine'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_foreign_checkpoint_is_refused(copy, capsys: pytest.CaptureFixture, name: str) -> None:
    directory, latest, _ = copy
    how, expected = REFUSED[name]
    how(latest)
    assert expected in refusal_of(capsys, "resume", directory)


def test_another_configuration_is_refused_with_the_differences(copy, capsys: pytest.CaptureFixture) -> None:
    code, _, errors = command(capsys, "resume", copy[0], "--set", "eta=0.5", "--set", "n_rec=13")
    assert code == 2
    assert "belongs to another run: model.n_rec = 12, now 13; learning.eta = null, now 0.5" in errors


def test_a_run_may_be_made_longer(copy, capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    longer = digest_of(capsys, "resume", copy[0], "--set", "iterations=6")
    assert longer == digest_of(capsys, *task("iterations=6"), "--out", tmp_path / "whole")


def test_no_run_here(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert "config.toml is missing" in command(capsys, "resume", tmp_path)[2]


def test_as_many_stay_as_asked_for(finished: tuple[Path, str]) -> None:
    names = sorted(path.name for path in (finished[0] / "checkpoints").iterdir())
    assert names == ["iteration-00000002", "iteration-00000003", "iteration-00000004"]


def test_what_is_written_after_a_damage_stays(
    copy, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Later ones, which are damaged, go in its place; and one that is written again, when its successor is there."""
    directory, latest, digest = copy
    third, rename, seen = latest.with_name("iteration-00000003"), os.rename, []
    for path in (latest, third):
        flip(path)

    def look(old: Path, new: Path) -> None:
        if new == third:
            seen.extend(path.parent.name for path in third.parent.glob("iteration-00000003*/manifest.json"))
        rename(old, new)

    monkeypatch.setattr(os, "rename", look)
    output_of(capsys, "resume", directory, "--until", 3, "--set", "checkpoint.keep=1")
    assert sorted(seen) == [f"{third.name}.old", f"{third.name}.part"]
    assert [path.name for path in third.parent.glob("iteration*")] == [third.name]
    assert digest_of(capsys, "resume", directory) == digest


def test_what_a_kill_left_of_one_that_was_written_again_is_removed(copy, capsys: pytest.CaptureFixture) -> None:
    directory, latest, _ = copy
    for suffix in (".part", ".old"):
        shutil.copytree(latest, latest.with_suffix(suffix))
    flip(latest)  # so that the run goes on from the one before
    output_of(capsys, "resume", directory)
    assert [path.name for path in latest.parent.glob(f"{latest.name}*")] == [latest.name]


def test_a_kill_between_two_names_loses_nothing(copy, capsys: pytest.CaptureFixture) -> None:
    """The only checkpoint was about to be replaced by one that was written again."""
    directory, latest, digest = copy
    for path in latest.parent.iterdir():
        if path != latest:
            shutil.rmtree(path)
    latest.rename(latest.with_suffix(".old"))
    assert digest_of(capsys, "resume", directory) == digest
    assert [path.name for path in latest.parent.iterdir()] == [latest.name]


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EACCES, errno.EIO])
def test_errors_of_the_system_are_no_damage(
    copy, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(path: Path) -> None:
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(checkpoint_read, "_open", refuse)
    code, output, errors = command(capsys, "resume", copy[0])
    assert (code, "damaged" in output + errors) == (3, False)
    assert f"{copy[1] / 'table.bin'}: {os.strerror(number)}" in errors


def test_few_files_are_open_at_a_time(copy, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    opened, counts, open_file, sums = [], [], checkpoint_read._open, checkpoint_read._Files.list_checksums

    def note(path: Path) -> object:
        opened.append((path.name, open_file(path)))
        return opened[-1][1]

    def count(own: object) -> np.ndarray:
        counts.append(sum("rank-" in name for name, file in opened if not file.closed))
        return sums(own)

    for place, name, value in (
        (checkpoint_read, "OPEN", 1),
        (checkpoint_read, "_open", note),
        (checkpoint_read._Files, "list_checksums", count),
    ):
        monkeypatch.setattr(place, name, value)
    assert digest_of(capsys, "resume", copy[0]) == copy[2]
    assert counts == [1, 1] and all(file.closed for _, file in opened)


def test_each_candidate_is_shown_before_it_is_loaded(copy, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    """Found by a review: best weights that are found damaged as they are loaded were replaced by older ones."""
    shown, restore = [], checkpoint_read._restore_state

    def fail_once(*arguments: object) -> str:
        return restore(*arguments) if len(shown) > 1 else "it is damaged"

    monkeypatch.setattr(checkpoint_read, "_restore_state", fail_once)
    monkeypatch.setattr(
        Run, "_ensure_results", lambda run, path, complaints: shown.append((path.name, len(complaints)))
    )
    assert digest_of(capsys, "resume", copy[0]) == copy[2]
    assert shown == [("iteration-00000004", 0), ("iteration-00000003", 1)]


@pytest.mark.mpi
@pytest.mark.parametrize("variant", first(1, ["interval", "spike"]))
def test_a_damage_is_told_where_several_ranks_read_a_part_of_what_one_wrote(tmp_path: Path, variant: str) -> None:
    """What the damaged one left in the simulation does not count. Nor do two damages hide each other."""
    settings = task(f"variant={variant}", "delay=2", "iterations=3", "checkpoint.every=1", "keep=3")
    run = tmp_path / "run"
    _, whole, _ = on_ranks(1, [[*settings, "--out", run]])
    latest, before, _ = checkpoint_write.list_checkpoints(run / "checkpoints")
    flip(latest)
    table, column = checkpoints.table_of(before), checkpoints.column_of(before, "rec->rec/weight")
    start, end = (int(table["offset"][0, column]) + 8 * int(n) for n in table["first"][:, column])
    for place in (start + 3, end - 5):
        damage.flip(before / "rank-00000.bin", place, 2)
    codes, output, errors = on_ranks(3, [["resume", run]])
    for path, line in zip((latest, before), errors, strict=True):
        told = rf"{path} is damaged: rank-00000.bin: the checksum of \S*rec->rec/weight differs; the one before is used"
        assert re.search(told, line), line
    assert (codes, digests(output)) == ([0], digests(whole))


WATCHED = """
import json, os, sys
from pareprop.cli import main
read, removed = [], []
def watch(name, note):
    real = getattr(os, name)
    def call(*arguments, **options):
        done = real(*arguments, **options)
        note(done, *arguments)
        return done
    setattr(os, name, call)
def note_read(done, descriptor, given, place):
    size = len(done) if isinstance(done, bytes) else done
    read.append((os.readlink(f"/proc/self/fd/{descriptor}"), place, size))
watch("pread", note_read)
watch("preadv", note_read)
watch("unlink", lambda done, path: removed.append(os.path.abspath(path)))
path = f"{sys.argv.pop(1)}-{os.getpid()}"
try:
    main()
finally:
    with open(path, "w") as file:
        json.dump([read, removed], file)
"""


def watched(n: int, per_node: int, *words: object, out: Path) -> list[tuple[list, list[str]]]:
    """What each of `n` ranks read of files, (file, first byte, bytes), and removed in a command."""
    ranks.output(n, "-c", WATCHED, out / "seen", *words, env={"PAREPROP_RANKS_PER_NODE": str(per_node)})
    seen = sorted(out.glob("seen-*"))
    found = [json.loads(path.read_text()) for path in seen]
    for path in seen:
        path.unlink()
    return found


@pytest.mark.mpi
def test_nodes_have_a_file_each_byte_of_which_is_read_once(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Written by 3 ranks on 2 nodes, resumed on 4 on others, which remove its checkpoints, each rank a share."""
    settings, run = task("variant=spike", "neuron=iaf_adapt", "cutoff=70", "iterations=6"), tmp_path / "run"
    several = ["--set", "checkpoint.every=1", "--set", "checkpoint.keep=2"]
    watched(3, 2, *settings, *several, "--until", 2, "--out", run, out=tmp_path)
    first, second = sorted(checkpoint_write.list_checkpoints(run / "checkpoints"))
    names = ["manifest.json", "rank-00000.bin", "rank-00002.bin", "table.bin"]
    assert sorted(path.name for path in second.iterdir()) == names
    assert len(names) == checkpoint_write.count_files(2)
    manifest, table = checkpoints.manifest_of(second), checkpoints.table_of(second)
    counts = {name: np.zeros((second / name).stat().st_size, int) for name in names[1:3]}
    expected = {name: np.zeros_like(count) for name, count in counts.items()}
    for rank, column in np.ndindex(3, len(manifest["arrays"])):
        array = manifest["arrays"][column]
        item = np.dtype(array["dtype"]).itemsize * int(np.prod(array["item"], dtype=int))
        start = table["offset"][rank, column]
        n_bytes = item * int(np.diff(table["first"][:, column])[rank])
        expected["rank-00000.bin" if rank < 2 else "rank-00002.bin"][start : start + n_bytes] += 1
    left = run / "checkpoints" / "iteration-00000009.part"
    shutil.copytree(first, left)
    seen = watched(4, 1, "resume", run, *several, "--until", 4, out=tmp_path)
    for read, _ in seen:
        for path, start, size in read:
            if Path(path).name in counts:
                counts[Path(path).name][start : start + size] += 1
    for name, count in counts.items():
        np.testing.assert_array_equal(count, expected[name])
        assert count.max() == 1
    gone = [[Path(path) for path in removed if "iteration" in path] for _, removed in seen]
    assert sorted(path.name for paths in gone for path in paths) == sorted(3 * names)
    assert all(len(paths) == 3 for paths in gone)  # of three times four files
    assert {path.parent.suffix for paths in gone for path in paths} == {".part"}
    assert len(list((run / "checkpoints").glob("iteration-*"))) == 2
    assert digest_of(capsys, "resume", run) == digest_of(capsys, *settings, "--out", tmp_path / "whole")


@pytest.mark.parametrize("sizes", [[1], [3, 0, 5], [0, 0, 4096, 1, 70_000], [2**17 + 1, 999]])
def test_checksums_of_parts_make_that_of_the_whole(sizes: list[int]) -> None:
    parts, found = [random.Random(size).randbytes(size) for size in sizes], 0
    for k, part in enumerate(parts):
        found ^= checkpoint_pieces.extend_checksum(zlib.crc32(part), sum(sizes[k + 1 :]))
    assert found == zlib.crc32(b"".join(parts))


def test_space_is_checked_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first checkpoint fits, the second one does not: the first one stays, and the run ends with exit code 3."""
    write, real, free = checkpoint_pieces.write, os.statvfs, []

    def write_once(*arguments: object) -> None:
        assert len(free) < 2, "written without space for it"
        write(*arguments)

    def room(path: object) -> os.statvfs_result:
        if "checkpoints" not in str(path):
            return real(path)
        free.append(2**20 if free else 2**30)
        return os.statvfs_result((4096, 4096, 2**20, 0, free[-1] // 4096, *real(path)[5:]))

    monkeypatch.setattr(checkpoint_pieces, "write", write_once)
    monkeypatch.setattr(os, "statvfs", room)
    line = task("n_rec=300", "iterations=4", "checkpoint.every=1")
    code, _, errors = command(capsys, *line, "--out", tmp_path / "run")
    told = re.search(r"No space left on device: (\S+) GiB are needed, (\S+) GiB are free", errors)
    needed, there = map(float, told.groups())
    first, *others = (tmp_path / "run" / "checkpoints").glob("iteration*")
    taken = sum(path.stat().st_size for path in first.iterdir())
    assert taken <= 2**30 * needed <= taken + 2**20 and there == pytest.approx(2**-10, 1e-3)
    assert (code, first.name, others) == (3, "iteration-00000001", []) and f"safe: {first}" in errors


@pytest.mark.parametrize("size", [1, 2, 2**24, 2**24 + 1])
def test_checksums_are_of_all_bytes(tmp_path: Path, size: int) -> None:
    whole = random.Random(size).randbytes(size + 3)
    (tmp_path / "file").write_bytes(whole)
    with open(tmp_path / "file", "rb") as file:
        assert checkpoint_pieces.compute_checksum(file.fileno(), 2, size) == zlib.crc32(whole[2:-1])


def table_of(counts: list[list[int]]) -> checkpoint_table.Table:
    """A table of arrays of which ranks have so many items."""
    rows = np.array([(n, 0, 0) for row in counts for n in row], checkpoint_table.ENTRY)
    return checkpoint_table.Table(
        len(counts), checkpoint_table.join_rows(rows, len(counts[0]), len(counts)).__getitem__
    )


def test_a_rank_reads_few_rows_of_a_large_table() -> None:
    """As many ranks as machines have; each range of items is what going through all ranks finds."""
    draw = np.random.default_rng(3)
    counts = draw.integers(0, 3, (65_536, 1)) * (draw.random((65_536, 1)) < 0.7)
    rows, read = np.array([(n, 0, 0) for (n,) in counts], checkpoint_table.ENTRY), []
    entries = checkpoint_table.join_rows(rows, 1, len(counts))
    table = checkpoint_table.Table(len(counts), lambda number: (read.append(number), entries[number])[1])
    owner, place = np.repeat(np.arange(len(counts)), counts[:, 0]), np.concatenate([np.arange(n) for (n,) in counts])
    for low in (0, 1, 12_345, len(owner) - 9):
        read.clear()
        found = list(table.list_parts(0, low, low + 9))
        got = [(rank, at + k) for rank, begin, end, at in found for k in range(end - begin)]
        assert got == list(zip(owner[low : low + 9], place[low : low + 9], strict=True))
        assert len(read) < 60, len(read)


def test_numbers_that_could_not_be_read_again_are_told_before_data_are_written(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint_write, "MANIFEST_LIMIT", 3000)
    monkeypatch.setattr(checkpoint_pieces, "write", lambda *_: pytest.fail("data were written"))
    code, _, errors = command(capsys, *task("iterations=2"), "--out", tmp_path / "run")
    assert code == 3 and re.search(r"numbers of \d+ bytes, at most 3000 can be read again", errors), errors
    assert not list((tmp_path / "run" / "checkpoints").glob("iteration*"))


def test_manifests_do_not_grow_with_ranks(copy, capsys: pytest.CaptureFixture) -> None:
    """Found by reckoning: 31 bytes per rank and array, which met the limit near 45 000 ranks."""
    directory, two, _ = copy
    digest_of(capsys, "resume", directory, "--set", "iterations=5")
    one = checkpoint_write.list_checkpoints(directory / "checkpoints")[0]
    sizes = [len(json.dumps(checkpoints.manifest_of(path)["arrays"])) for path in (one, two)]
    assert sizes[0] == sizes[1]
    assert [(path / "table.bin").stat().st_size for path in (one, two)] == [
        20 * n * len(checkpoints.manifest_of(one)["arrays"]) for n in (2, 3)
    ]


DIFFERENT = """
import numpy as np
from pareprop.engines.state import State
from pareprop.errors import StateError
from pareprop.parallel import collectives, launcher
from pareprop.storage.checkpoint_pieces import list_pieces
exchange = launcher.exchange()
rank, comm = exchange.rank, exchange.comm
more = {"w": np.zeros((3, 2))} if rank < 2 else {}
try:
    list_pieces(State(neurons={"v": np.zeros(2), **more}), rank, comm)
except StateError as problem:
    print(problem, flush=True)
before, total = collectives.sum_lower_ranks(comm, np.array([rank + 1, 2**40]))
assert (before.tolist(), total.tolist()) == ([[0, 1, 3][rank], rank * 2**40], [6, 3 * 2**40])
"""


@pytest.mark.mpi
def test_ranks_that_keep_different_arrays_are_told() -> None:
    """Their entries in the table would be mixed up."""
    output = ranks.output(3, "-c", DIFFERENT)
    line = "ranks keep different arrays: w (<f8, (3,)) on rank 0, none on rank 2 in its place"
    assert output.splitlines() == [line] * 3


COUNTED = """
import sys
from pathlib import Path
from mpi4py import MPI
from pareprop.parallel.exchange import Ranks
from pareprop.runs.benchmark import Bench
from pareprop.simulation.loop import Simulation
from pareprop.storage import checkpoint_read, checkpoint_write

class Counted(MPI.Intracomm):
    n_gathered = 0
    def gather(self, *values, **options):
        Counted.n_gathered += 1
        return super().gather(*values, **options)
    def allgather(self, *values, **options):
        Counted.n_gathered += 1
        return super().allgather(*values, **options)

folder, world = Path(sys.argv[1]), MPI.COMM_WORLD
bench = Bench(neurons=20, indegree=4, inputs=3, steps=20)
make = lambda comm: Simulation(bench.build_model(), bench.make_task(), Ranks(Counted(comm)))
apart = make(world.Split(world.rank < 2))
apart.train(1)
simulation = make(world)
Counted.n_gathered = 0
if world.rank < 2:
    checkpoint_write.write(apart, folder, {})
world.Barrier()
checkpoint_read.load(simulation, folder, {})
n_gathered, digests = Counted.n_gathered, (apart.hexdigest(), simulation.hexdigest())
print(n_gathered, world.rank > 0 or digests[0] == digests[1], flush=True)
"""


@pytest.mark.mpi
def test_no_objects_of_all_ranks_are_gathered(tmp_path: Path) -> None:
    """By two ranks that write, and three that read parts of what these wrote."""
    assert ranks.output(3, "-c", COUNTED, tmp_path).splitlines() == ["0 True"] * 3
