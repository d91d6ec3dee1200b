"""Ranks that start at once, with all imports done: ``ranks.run(2, "-m", "pareprop", "verify", path)``.

`run` takes and returns what `launch.mpirun` does. Of the 1.4 seconds of a core that a rank takes to start, 1.1 are
imports. So each process of the tests has a template that has done them; mpirun starts small clients (`rank_client`),
each of which hands its environment, folder and streams to a copy (a fork) of the template and waits for its end. A copy
is a process of its own: what it changes, another one does not see. It is no child of mpirun: what kills ranks by their
number, or measures their memory, takes `launch.mpirun`. `python` is for what needs no mpirun.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import runpy
import select
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import launch

NO_FIGURES = "TESTS_WITHOUT_FIGURES"  # variable; where it is set, runs of copies draw none
CLIENT = Path(__file__).with_name("rank_client.py")
PACKAGE = ("h5py", "mpi4py", "pareprop.cli", "pareprop.plots.figures", "pareprop.runs.report")


def run(
    n: int, *args: object, timeout: float = 900, env: dict[str, str] | None = None, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run ``python *args`` on `n` ranks and return exit code and output, as `launch.mpirun` does.

    `args` are ``-c CODE``, ``-m MODULE`` or a script, with their arguments.
    """
    return launch.mpirun(n, *args, timeout=timeout, env=env, cwd=cwd, python=python())


def output(n: int, *args: object, **options: Any) -> str:
    """The output of `run`, which must succeed."""
    done = run(n, *args, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def python(*imports: str) -> list[str]:
    """The beginning of a command that stands for Python's, with these modules imported, by default the package's.

    What is killed, or must find the process that it started, takes `sys.executable`.
    """
    return [sys.executable, "-I", "-S", str(CLIENT), Template.place(imports or PACKAGE)]


def commands() -> str:
    """Return a folder for the front of a PATH: its `python` and `pareprop` start at once, with the package imported."""
    return str(Path(Template.place(PACKAGE)).parent)


def train(n: int, file: str, folder: Path, *words: str, env: dict[str, str] | None = None, silent: bool = False) -> str:
    """Call `train(folder, words, exchange)` of a test module, given by its file, on `n` ranks; return the output.

    It must end well and, if `silent`, without a word of errors.
    """
    here = Path(file)
    code = (
        f"import sys\nimport {here.stem} as here\nfrom pareprop.parallel import launcher\n"
        "here.train(sys.argv[1], sys.argv[2:], launcher.exchange())"
    )
    path = {"PYTHONPATH": f"{here.parent}{os.pathsep}{here.parent.parent}"}
    done = run(n, "-c", code, str(folder), *words, env=path | (env or {}))
    assert done.returncode == 0 and not (silent and done.stderr), done.stderr
    return done.stdout


def run_part(
    words: list[str], exchange: object, model: object, task: object, folder: Path, **options: object
) -> object:
    """Train 4 iterations for `check_restart`: with "part" among the words the first half, with "rest" the other one."""
    import pareprop  # most users of this module need the package in copies of the template alone

    settings = {
        "iterations": 4,
        "figures": "none",
        "quiet": True,
        "restart": "rest" in words,
        "overwrite": True,
    } | options
    until = settings["iterations"] // 2 if "part" in words else None
    return pareprop.run(model, task, folder, until=until, exchange=exchange, **settings)


def digests(n: int, file: str, folder: Path, *words: str, env: dict[str, str] | None = None) -> dict[str, str]:
    """As `train`, whose lines are `name: digest`."""
    return dict(line.split(": ") for line in train(n, file, folder, *words, env=env).splitlines())


def check_restart(file: str, folder: Path, *words: str) -> dict[str, str]:
    """Assert one digest of each training on 1 rank and where 3 ranks do its "part" and 2 the "rest"; return digests.

    The files of the run on 1 rank are in `folder` / "one", those of the others in "part".
    """
    whole = digests(1, file, folder / "one", *words)
    assert whole and len(set(whole.values())) == len(whole)
    digests(3, file, folder / "part", *words, "part")
    assert digests(2, file, folder / "part", *words, "rest") == whole
    return whole


class Template:
    """A template of this process, which has imported some modules; it ends with it."""

    known: ClassVar[dict[tuple[str, ...], Template]] = {}

    def __init__(self, imports: tuple[str, ...]) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="pareprop-ranks-")
        self.commands = Path(self.folder.name, "bin")
        self.commands.mkdir()
        self.socket = self.commands / "socket"
        self.process = subprocess.Popen(
            [sys.executable, __file__, self.socket, *imports],
            env=os.environ | launch.ENVIRONMENT | {"PYNEST_QUIET": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        client = shlex.join([sys.executable, "-I", "-S", str(CLIENT), str(self.socket)])
        real = shlex.quote(sys.executable)
        self.write("python", f'case $1 in -c | -m | [!-]*) exec {client} "$@" ;; *) exec {real} "$@" ;; esac')
        self.write("pareprop", f'exec {client} -m pareprop "$@"')
        if launcher := launch.find_mpirun():  # is looked for beside Python
            self.write("mpirun", f'exec {shlex.quote(launcher)} "$@"')
        assert self.process.stdout.readline() == b"ready\n"
        atexit.register(self.close)

    def write(self, name: str, line: str) -> None:
        """Write a command."""
        path = self.commands / name
        path.write_text(f"#!/bin/sh\n{line}\n")
        path.chmod(0o755)

    @classmethod
    def place(cls, imports: tuple[str, ...]) -> str:
        """Return the path of the socket of the template, which is started now if it is not there."""
        if imports not in cls.known or cls.known[imports].process.poll() is not None:
            cls.known[imports] = cls(imports)
        return str(cls.known[imports].socket)

    def close(self) -> None:
        """Let the template end, so that it writes what it measured."""
        self.process.stdin.close()
        self.process.wait()
        self.folder.cleanup()


# ---- the template ----------------------------------------------------------------------------------------------------


def serve(place: str, imports: list[str]) -> list[str] | None:
    """Make copies until the tests end. Returns twice: None in the template, then; an order's arguments in a copy."""
    for name in imports:
        importlib.import_module(name)
    gc.freeze()
    wake, waker = socket.socketpair()
    waker.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(waker.fileno())
    copies: dict[int, tuple[int, socket.socket]] = {}  # number of a client's file to its copy
    waiting = select.poll()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(place)
        listener.listen(64)
        for source in (listener, wake, sys.stdin):
            waiting.register(source, select.POLLIN)
        print("ready", flush=True)
        while True:
            for number, _ in waiting.poll():
                if number == sys.stdin.fileno():  # the tests have ended
                    for copy, _ in copies.values():
                        os.kill(copy, signal.SIGKILL)
                    return None
                if number == wake.fileno():
                    wake.recv(4096)
                    report(copies, waiting)
                elif number == listener.fileno():
                    connection, _ = listener.accept()
                    copy = os.fork()
                    if not copy:
                        signal.set_wakeup_fd(-1)
                        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                        return take_over(connection)
                    copies[connection.fileno()] = copy, connection
                    waiting.register(connection, 0)  # its end alone; the copy reads
                elif number in copies:  # the client was killed
                    waiting.unregister(number)
                    os.kill(copies[number][0], signal.SIGKILL)


def report(copies: dict[int, tuple[int, socket.socket]], waiting: select.poll) -> None:
    """Tell the clients of copies that have ended how they did."""
    for number, (copy, connection) in list(copies.items()):
        ended, status = os.waitpid(copy, os.WNOHANG)
        if not ended:
            continue
        del copies[number]
        with suppress(KeyError):  # after the end of the client
            waiting.unregister(number)
        with suppress(OSError):
            connection.sendall(b"%d" % os.waitstatus_to_exitcode(status))
        connection.close()


def take_over(connection: socket.socket) -> list[str]:
    """Become what a client asks for: streams, environment and folder are the client's; return its arguments."""
    length, streams, _, _ = socket.recv_fds(connection, 4, 3)
    order, size = b"", int.from_bytes(length, "big")
    while len(order) < size:
        order += connection.recv(2**20)
    connection.sendall(os.getpid().to_bytes(4, "big"))
    arguments, environment, folder = json.loads(order)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.environ.clear()
    os.environ.update(environment)
    sys.executable = str(Path(connection.getsockname()).with_name("python"))  # what a copy starts, starts at once, too
    os.chdir(folder)
    sys.path[0:1] = [part for part in environment.get("PYTHONPATH", "").split(os.pathsep) if part]
    return arguments


def execute(arguments: list[str]) -> None:
    """Run ``python *arguments``."""
    first, *rest = arguments
    if os.environ.get(NO_FIGURES):
        from pareprop.runs import run as runs

        runs.draw_run = lambda directory, **_: None
    sys.argv = rest if first == "-m" else [first, *rest[first == "-c" :]]
    sys.path.insert(0, "" if first in ("-c", "-m") else str(Path(first).parent))
    if first == "-m":
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
        return
    module = sys.modules["__main__"] = ModuleType("__main__")
    code, name = (rest[0], "<string>") if first == "-c" else (Path(first).read_text(), first)
    if first != "-c":
        module.__file__ = first
    exec(compile(code, name, "exec"), module.__dict__)


if __name__ == "__main__":
    order = serve(sys.argv[1], sys.argv[2:])
    if order is not None:
        execute(order)
