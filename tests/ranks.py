"""Ranks that are started once and run what tests send them: ``ranks.run(2, "-m", "pareprop", "verify", path)``.

`run` takes and returns what `launch.mpirun` does, but saves the start of mpirun and all imports, more than a second of
a core for each rank. Each process of the tests has one pool for each number of ranks; it lives until the tests end.
After a job, signals, environment, folder and what the job changed in modules of the package are as before.

Jobs that kill ranks, abort, measure memory, or set limits of a process have a `launch.mpirun` of their own. If a job
does end its ranks, `run` returns their exit code as ever, and the next job gets new ones.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import launch
import pytest

MOST = 4  # ranks of a pool; more are started for each job
START, END = 300, 30  # seconds
LAUNCHER = ("OMPI_", "PMIX_", "PMI_", "PRTE_", "HYDRA", "COV_", "COVERAGE_")  # environment of a rank, never changed
pools: dict[int, Pool] = {}


def run(
    n: int, *args: object, timeout: float = 900, env: dict[str, str] | None = None, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run ``python *args`` on the `n` ranks of a pool; return the largest exit code, and what they wrote, by rank.

    `args` are ``-c CODE``, ``-m MODULE`` or a script, with their arguments. A job of more than `timeout` seconds is
    killed and fails the test. `env` adds to the environment; PYTHONPATH counts as well.
    """
    if n > MOST:
        return launch.mpirun(n, *args, timeout=timeout, env=env, cwd=cwd)
    if launch.find_mpirun() is None:
        pytest.skip("no mpirun: install the extra 'mpi' or a system MPI")
    if n not in pools:
        pools[n] = Pool(n)
    environment = {key: value for key, value in (os.environ | (env or {})).items() if not key.startswith(LAUNCHER)}
    job = {"args": [str(arg) for arg in args], "env": environment, "cwd": str(cwd or Path.cwd())}
    return pools[n].run(job, timeout)


def run_on_each(numbers: tuple[int, ...], here: Path, *args: object) -> str:
    """Run ``python *args`` on each of some numbers of ranks and return the output, which must be the same on all.

    Modules in the folders `here` and above can be imported.
    """
    outputs = set()
    for n in numbers:
        done = run(n, *args, env={"PYTHONPATH": f"{here}{os.pathsep}{here.parent}"})
        assert done.returncode == 0, done.stderr
        outputs.add(done.stdout)
    assert len(outputs) == 1
    return outputs.pop()


class Pool:
    """Ranks under one mpirun; each waits at a socket, without a load, for the next job."""

    def __init__(self, n: int) -> None:
        self.n = n
        self.folder = tempfile.TemporaryDirectory(prefix="pareprop-ranks-")
        place = Path(self.folder.name)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(place / "socket"))
            listener.listen(n)
            listener.settimeout(0.5)
            for _ in range(3):
                self.errors = (place / "mpirun").open("w+")
                self.process = subprocess.Popen(
                    [launch.find_mpirun(), "-n", str(n), sys.executable, __file__, place],
                    stdin=subprocess.DEVNULL, stdout=self.errors, stderr=subprocess.STDOUT, start_new_session=True,
                    env=os.environ | launch.ENVIRONMENT,
                )  # fmt: skip
                self.sockets = list(self._accept(listener))
                if len(self.sockets) == n or launch.NO_LISTENER not in (place / "mpirun").read_text():
                    break
        if len(self.sockets) < n:
            self.kill()
            pytest.fail(f"{n} ranks did not start\n{(place / 'mpirun').read_text()}", pytrace=False)

    def _accept(self, listener: socket.socket) -> Iterator[socket.socket]:
        """Connections of all ranks, fewer if mpirun ends before."""
        end = time.monotonic() + START
        missing = self.n
        while missing and time.monotonic() < end and self.process.poll() is None:
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                continue
            missing -= 1
            yield connection

    def run(self, job: dict[str, Any], timeout: float) -> subprocess.CompletedProcess[str]:
        place = Path(self.folder.name)
        for path in place.glob("std*"):
            path.unlink()
        codes, message = [], json.dumps(job).encode() + b"\n"
        with selectors.DefaultSelector() as waiting:
            for connection in self.sockets:
                connection.sendall(message)
                waiting.register(connection, selectors.EVENT_READ)
            end = time.monotonic() + timeout
            while len(codes) < self.n and (ready := waiting.select(end - time.monotonic())):
                for key, _ in ready:
                    answer = key.fileobj.recv(16)
                    codes.append(int(answer) if answer else None)
                    waiting.unregister(key.fileobj)
                if None in codes:
                    break
        if None in codes:  # a rank has ended: so will the others
            try:
                code = self.process.wait(END)
            except subprocess.TimeoutExpired:
                code = None
        if len(codes) < self.n or None in codes:
            self.kill()
        output, errors = (
            "".join(path.read_text(errors="replace") for path in sorted(place.glob(f"{kind}-*")))
            for kind in ("stdout", "stderr")
        )
        if None in codes:
            errors += (place / "mpirun").read_text()
        if (len(codes) < self.n and None not in codes) or (None in codes and code is None):
            words = " ".join(job["args"])
            pytest.fail(f"killed after {timeout} s, {self.n} ranks: {words}\n{output}\n{errors}", pytrace=False)
        return subprocess.CompletedProcess(job["args"], code if None in codes else max(codes), output, errors)

    def kill(self) -> None:
        """End what is left of the ranks; the next job starts others."""
        pools.pop(self.n, None)
        launch.kill_session(self.process.pid)
        self.process.wait()
        for connection in self.sockets:
            connection.close()

    def close(self) -> None:
        """Let the ranks end by themselves, so that they write what they measured."""
        for connection in self.sockets:
            connection.close()
        try:
            self.process.wait(END)
        except subprocess.TimeoutExpired:
            pass
        finally:
            self.kill()
            self.folder.cleanup()


@atexit.register
def close() -> None:
    """End all pools."""
    for pool in list(pools.values()):
        pool.close()


# ---- one rank of a pool ----------------------------------------------------------------------------------------------


def serve(place: Path) -> None:
    """Run job after job, until the tests close the socket."""
    from pareprop import cli  # what most jobs need
    from pareprop.parallel import launcher

    launcher.exchange()
    cli.launcher.end_at_once_on_interrupt()
    rank = launcher.rank_of_launcher(os.environ)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(place / "socket"))
        lines = connection.makefile()
        while line := lines.readline():
            with redirected(place, rank), restored():
                code = execute(json.loads(line))
            connection.sendall(b"%d" % code)


def execute(job: dict[str, Any]) -> int:
    """Run one job as ``python *args`` does, and return its exit code."""
    for name in list(os.environ):
        if not name.startswith(LAUNCHER) and name not in job["env"]:
            del os.environ[name]
    os.environ.update(job["env"])
    os.chdir(job["cwd"])
    kind, *rest = job["args"]
    sys.path[:0] = [part for part in job["env"].get("PYTHONPATH", "").split(os.pathsep) if part]
    try:
        if kind == "-c":
            sys.argv = ["-c", *rest[1:]]
            sys.path.insert(0, "")
            exec(compile(rest[0], "<string>", "exec"), main_module().__dict__)
        elif kind == "-m":
            sys.argv = rest
            runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
        else:
            sys.argv = job["args"]
            sys.path.insert(0, str(Path(kind).parent))
            exec(compile(Path(kind).read_text(), kind, "exec"), main_module(kind).__dict__)
    except SystemExit as stop:
        if isinstance(stop.code, str):
            print(stop.code, file=sys.stderr)
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())  # ends all ranks, as it does in any program of several
        return 1
    return 0


def main_module(path: str | None = None) -> ModuleType:
    """A new `__main__`, as scripts that pickle or inspect themselves need."""
    module = ModuleType("__main__")
    if path:
        module.__file__ = path
    sys.modules["__main__"] = module
    return module


@contextmanager
def redirected(place: Path, rank: int) -> Iterator[None]:
    """What this process writes goes to files."""
    kept = [os.dup(number) for number in (1, 2)]
    for number, name in ((1, "stdout"), (2, "stderr")):
        with (place / f"{name}-{rank}").open("wb") as file:
            os.dup2(file.fileno(), number)
    try:
        yield
    finally:
        for number, stream, before in ((1, sys.stdout, kept[0]), (2, sys.stderr, kept[1])):
            stream.flush()
            os.dup2(before, number)
            os.close(before)


@contextmanager
def restored() -> Iterator[None]:
    """Signals, environment, folder, paths, and modules of the package and some others are as before afterwards."""
    environment, folder, path = dict(os.environ), Path.cwd(), list(sys.path)
    argv, main = sys.argv, sys.modules["__main__"]
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGALRM)
    handlers, streams = [signal.getsignal(number) for number in numbers], (sys.stdout, sys.stderr, sys.excepthook)
    modules = [
        (module, dict(vars(module)))
        for name, module in list(sys.modules.items())
        if name.split(".")[0] in ("pareprop", "h5py") or name in ("os", "time", "shutil", "signal")
    ]
    kinds = {kind for _, names in modules for kind in names.values() if isinstance(kind, type)}
    classes = [(kind, dict(vars(kind))) for kind in kinds if kind.__module__.startswith("pareprop")]
    try:
        yield
    finally:
        for owner, before in (*modules, *classes):
            now = vars(owner)
            for name in [name for name in now if name not in before and not isinstance(owner, ModuleType)]:
                if not name.startswith("__"):
                    delattr(owner, name)
            for name, value in before.items():
                if now.get(name) is not value:
                    setattr(owner, name, value)
        for number, handler in zip(numbers, handlers, strict=True):
            signal.signal(number, handler)
        sys.stdout, sys.stderr, sys.excepthook = streams
        sys.path[:], sys.argv, sys.modules["__main__"] = path, argv, main
        os.environ.clear()
        os.environ.update(environment)
        os.chdir(folder)
        gc.collect()


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
