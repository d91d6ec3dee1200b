"""Ranks of a node: what happens when one ends, or when there is too little shared memory."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from commands import digests, on_ranks
from launch import ENVIRONMENT, find_mpirun, held, kill_session, mpirun, wait_until
from params import first_rows

from pareprop.parallel.shared_memory import SHARED

pytestmark = pytest.mark.mpi

TASK = ["sine-waves", "--set", "n_rec=60", "--set", "n_step=200"]
COMPLETE = "iteration-*[0-9]/manifest.json"  # of checkpoints, without those that were not written to the end


def ranks_of(session: int) -> list[int]:
    """Processes of the session that are ranks."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words, fields = (path / "cmdline").read_bytes().split(b"\0"), (path / "stat").read_text().rsplit(")", 1)[1]
        except OSError:
            continue
        if b"pareprop" in words and int(fields.split()[3]) == session != int(path.name):
            found.append(int(path.name))
    return sorted(found)


@pytest.mark.parametrize(("n", "share_above"), first_rows(1, [(2, "0"), (2, ""), *[(3, "0")] * 20], rest=2))
def test_all_end_when_one_is_killed(n: int, share_above: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With an exit code that is not 0, and nothing left; the run resumed on other ranks goes on as ever.

    Memory without a name is gone when all who hold it have ended.
    """
    monkeypatch.setenv("PAREPROP_SHARE_ABOVE", share_above)
    launcher = find_mpirun()
    if launcher is None:
        pytest.skip("no mpirun: install the extra 'mpi' or a system MPI")
    task = [*TASK, "--set", "iterations=1000000", "--set", "checkpoint.every=20"]
    whole = [launcher, "-n", str(n), sys.executable, "-m", "pareprop", "run", *task, "--out", tmp_path / "run"]
    checkpoints = tmp_path / "run" / "checkpoints"
    pipes = dict.fromkeys(("stdout", "stderr"), subprocess.PIPE)
    process = subprocess.Popen(whole, **pipes, text=True, env=os.environ | ENVIRONMENT, start_new_session=True)
    try:
        wait_until(lambda: process.poll() is not None or any(checkpoints.glob(COMPLETE)))
        time.sleep(0.3 * random.random())
        ranks = ranks_of(process.pid)
        assert len(ranks) == n
        memory = [held(rank) for rank in ranks]
        assert all(memory) and all(name.endswith(" (deleted)") for names in memory for name in names), memory
        os.kill(random.choice(ranks), signal.SIGKILL)
        process.communicate(timeout=900)
        assert process.returncode != 0
        wait_until(lambda: ranks_of(process.pid) == [])
    finally:
        kill_session(process.pid)
    last = max(int(path.parent.name.rpartition("-")[2]) for path in checkpoints.glob(COMPLETE))
    until = ["--until", last + 10]
    codes, output, errors = on_ranks(n % 2 + 1, [["resume", tmp_path / "run", *until]])
    assert codes == [0], errors
    codes, undisturbed, _ = on_ranks(1, [["run", *task, "--out", tmp_path / "other", *until]])
    assert codes == [0] and digests(output) == digests(undisturbed) != []


@pytest.mark.slow
def test_four_ranks_on_any_nodes(tmp_path: Path) -> None:
    """The same digest on one node, on two, on three and four."""
    found = []
    for per_node in ("", "1", "2", "3"):
        several = [
            ["run", *TASK, "--set", "iterations=1", "--set", f"variant={name}", "--out", tmp_path / f"{name}{per_node}"]
            for name in ("interval", "spike")
        ]
        codes, output, errors = on_ranks(4, several, env={"PAREPROP_RANKS_PER_NODE": per_node})
        assert (codes, errors) == ([0, 0], [])
        found.append(tuple(digests(output)))
    assert len(set(found)) == 1 and len(set(found[0])) == 2


@pytest.mark.slow
def test_small_shared_memory(tmp_path: Path) -> None:
    """One line before anything is built, on all ranks."""
    inside = f'mount -t tmpfs -o size=1m none {SHARED} && exec "$@"'
    trial = ["unshare", "--mount", "bash", "-c", inside, "-", "true"]
    if subprocess.run(trial, capture_output=True, check=False).returncode:
        pytest.skip("this machine allows no mounts")
    line = [find_mpirun(), "-n", "2", sys.executable, "-m", "pareprop", "bench", "--neurons=200000", "--indegree=10"]
    environment = os.environ | ENVIRONMENT | {"OMPI_MCA_btl": "self,tcp", "TMPDIR": str(tmp_path)}
    line = ["timeout", "900", *trial[:-1], *line]
    done = subprocess.run(line, capture_output=True, text=True, env=environment, check=False)
    lines = [text for text in done.stderr.splitlines() if text.startswith("pareprop: error:")]
    assert done.returncode == 2 and len(lines) == 1 and "/dev/shm has" in lines[0], done.stderr


def test_each_rank_in_a_user_namespace_of_its_own(tmp_path: Path) -> None:
    """As in containers of unprivileged users: found by hand, the memory of a node could not be opened there."""
    apart = ["unshare", "--user", "--map-current-user"]
    if not shutil.which("unshare") or subprocess.run([*apart, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine allows no user namespaces")
    run = ["-m", "pareprop", "run", *TASK, "--set", "iterations=2", "--no-figures", "--out"]
    done = mpirun(2, *run, tmp_path / "apart", python=[*apart, sys.executable])
    assert done.returncode == 0, done.stderr
    codes, output, _ = on_ranks(1, [["run", *TASK, "--set", "iterations=2", "--out", tmp_path / "one"]])
    assert codes == [0] and digests(done.stdout.splitlines()) == digests(output) != []


def test_info_tells_rounds(tmp_path: Path) -> None:
    """Each step of delay, as often as nodes exchanged messages; one that found no room was sent once more."""
    env = {"PAREPROP_RANKS_PER_NODE": "2", "PAREPROP_SENDING": "everything"}
    told = []
    for n in (2, 4):
        folder = tmp_path / str(n)
        codes, _, errors = on_ranks(n, [["run", *TASK, "--set", "iterations=2", "--out", folder]], env=env)
        assert (codes, errors) == ([0], [])
        line = next(line for line in on_ranks(1, [["info", folder]])[1] if line.strip().startswith("rounds: "))
        told.append(dict(entry.split() for entry in line.strip().removeprefix("rounds: ").split(", ")))
    one, two = told
    steps = int(one["within_nodes"])
    assert one == {"within_nodes": f"{steps}", "steps_within_nodes": "1"} and steps > 0
    assert two["within_nodes"] == one["within_nodes"] and steps <= int(two["between_nodes"]) < steps + 5
    assert (two["steps_between_nodes"], two["nodes"], two["sending"]) == ("1", "2", "everything")
    assert int(two["received_bytes"]) > 0
