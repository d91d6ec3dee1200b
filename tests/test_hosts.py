"""One training on two hosts: two network namespaces of this machine that speak TCP through a pair of interfaces."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from commands import command, digests
from launch import ENVIRONMENT, find_mpirun, kill_session

pytestmark = pytest.mark.mpi

# Everything happens in namespaces of this script's own, which end with it. Host 2 is another network namespace with its
# own host name; the agent takes the place of ssh: it enters the namespaces of the host that it is told.
SCRIPT = r"""
set -euo pipefail
folder=$1
shift
mount --make-rprivate /
mount -t tmpfs none /run && mkdir -p /run/netns
hostname host1
ip link set lo up
ip netns add host2
ip link add link1 type veth peer name link2 netns host2
ip address add 10.77.0.1/24 dev link1 && ip link set link1 up
ip netns exec host2 ip link set lo up
ip netns exec host2 ip address add 10.77.0.2/24 dev link2
ip netns exec host2 ip link set link2 up
printf '127.0.0.1 localhost\n10.77.0.1 host1\n10.77.0.2 host2\n' >"$folder/hosts"
mount --bind "$folder/hosts" /etc/hosts
cat >"$folder/agent" <<'AGENT'
#!/usr/bin/env bash
host=$1
shift
exec ip netns exec "$host" unshare --uts bash -c "hostname $host; $*"
AGENT
chmod +x "$folder/agent"
export PRTE_MCA_plm_ssh_agent=$folder/agent OMPI_MCA_btl=self,tcp OMPI_MCA_btl_tcp_if_include=10.77.0.0/24
export PRTE_MCA_prte_if_include=10.77.0.0/24 OMPI_MCA_mpi_yield_when_idle=1
exec "$@"
"""
TRIAL = (
    "mount --make-rprivate / && mount -t tmpfs none /run && mkdir /run/netns && ip netns add a "
    "&& ip link add one type veth peer name two netns a"
)
TASK = ["sine-waves", "--set", "n_rec=60", "--set", "n_step=200", "--set", "iterations=3"]


def on_two_hosts(folder: Path, arguments: list[object], timeout: float = 90) -> subprocess.CompletedProcess[str]:
    """Run a Python command with one rank on each of two hosts; skip where that is not allowed."""
    mpirun = find_mpirun()
    if mpirun is None:
        pytest.skip("no mpirun: install the extra 'mpi' or a system MPI")
    if not shutil.which("ip") or not shutil.which("unshare"):
        pytest.skip("needs the commands ip (iproute2) and unshare")
    unshare = ["unshare", "--mount", "--net", "--uts"]
    tried = subprocess.run([*unshare, "bash", "-c", TRIAL], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"this machine allows no network namespaces: {tried.stderr.strip()}")
    ranks = [mpirun, "--bind-to", "none", "--host", "host1:1,host2:1", "-n", "2", sys.executable, *map(str, arguments)]
    whole = ["timeout", "-k", "5", str(timeout), *unshare, "bash", "-c", SCRIPT, "hosts", str(folder), *ranks]
    environment = {key: value for key, value in (os.environ | ENVIRONMENT).items() if key != "OMPI_MCA_btl"}
    process = subprocess.Popen(
        whole, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
        start_new_session=True,
    )  # fmt: skip
    try:
        output, errors = process.communicate()
    finally:
        kill_session(process.pid)
    return subprocess.CompletedProcess(whole, process.returncode, output, errors)


def test_two_hosts_exist(tmp_path):
    done = on_two_hosts(tmp_path, ["-c", "import socket; print(socket.gethostname())"])
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.split()) == ["host1", "host2"]


@pytest.mark.parametrize("variant", ["interval", "spike"])
def test_same_digest(variant, tmp_path, capsys):
    arguments = ["run", *TASK, "--set", f"variant={variant}", "--out"]
    done = on_two_hosts(tmp_path, ["-m", "pareprop", *arguments, tmp_path / "two"])
    assert done.returncode == 0, done.stderr
    code, output, _ = command(capsys, *arguments, tmp_path / "one")
    assert code == 0 and digests(done.stdout.splitlines()) == digests(output.splitlines()) != []
    assert re.match(r"2 ranks;", done.stdout)
