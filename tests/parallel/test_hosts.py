"""One training on two hosts: two network namespaces of this machine that speak TCP through a pair of interfaces."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from commands import as_options, digests, output_of
from launch import ENVIRONMENT, find_mpirun, in_session
from params import first

pytestmark = pytest.mark.mpi

SCRIPT = Path(__file__).parents[2] / "scripts" / "two_hosts.sh"
TRIAL = (
    "mount --make-rprivate / && mount -t tmpfs none /run && mkdir /run/netns && ip netns add a "
    "&& ip link add one type veth peer name two netns a"
)
TASK = ["sine-waves", *as_options(n_rec=60, n_step=200, iterations=3)]


def on_two_hosts(
    folder: Path, arguments: list[object], timeout: float = 90, **more: str
) -> subprocess.CompletedProcess[str]:
    """Run a Python command with one rank on each of two hosts; skip where that is not allowed."""
    mpirun = find_mpirun()
    if mpirun is None:
        pytest.skip("no mpirun: install the extra 'mpi' or a system MPI")
    if not shutil.which("ip") or not shutil.which("unshare"):
        pytest.skip("needs the commands ip (iproute2) and unshare")
    trial = ["unshare", "--mount", "--net", "--uts", "bash", "-c", TRIAL]
    tried = subprocess.run(trial, capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"this machine allows no network namespaces: {tried.stderr.strip()}")
    ranks = [mpirun, "--bind-to", "none", "--host", "host1:1,host2:1", "-n", "2", sys.executable, *map(str, arguments)]
    whole = ["timeout", "-k", "5", str(timeout), SCRIPT, folder, *ranks]
    environment = {key: value for key, value in (os.environ | ENVIRONMENT).items() if key != "OMPI_MCA_btl"}
    return in_session(whole, environment | more)


@pytest.mark.parametrize("variant", first(0, ["spike", "interval"], rest=1))
def test_same_digest(variant, tmp_path, capsys):
    arguments = ["run", *TASK, "--set", f"variant={variant}", "--out"]
    done = on_two_hosts(tmp_path, ["-m", "pareprop", *arguments, tmp_path / "two"])
    assert done.returncode == 0, done.stderr
    output = output_of(capsys, *arguments, tmp_path / "one")
    assert digests(done.stdout.splitlines()) == digests(output.splitlines()) != []
    assert re.match(r"2 ranks;", done.stdout)


@pytest.mark.parametrize("delay", first(0, [2000, 0], rest=1))
def test_what_a_round_costs(delay, tmp_path):
    """The benchmark of the exchange runs there; over a cable with a latency nothing is faster than that."""
    if delay and not os.access("/dev/net/tun", os.W_OK):
        pytest.skip("no /dev/net/tun for a cable with a latency")
    script = Path(__file__).parents[2] / "scripts" / "exchange.py"
    arguments = [script, "--rounds", "3", "--neurons", "3000", "--json", tmp_path / "found"]
    done = on_two_hosts(tmp_path, arguments, DELAY=str(delay or ""))
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "found").read_text())
    least = delay * 2 / 3  # of three rounds a rank that starts late waits for two
    assert found["ranks"] == 2 and found["barrier_us"] > least and len(found["rows"]) == 10
    for row in found["rows"]:
        assert row["round_us"] > least and row["bare_us"] > least and row["received_bytes"] >= 2 * row["spikes"]
