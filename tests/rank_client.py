"""A rank that mpirun starts: a copy of the template (see `ranks`) does its work. Imports nothing that takes time.

Signals that a run listens to are handed on to the copy.
"""

import json
import os
import signal
import socket
import sys
from contextlib import suppress


def client(place: str, arguments: list[str]) -> None:
    """Hand over to a copy of the template and end as it does."""
    order = json.dumps([arguments, dict(os.environ), os.getcwd()]).encode()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(place)
        socket.send_fds(connection, [len(order).to_bytes(4, "big")], [0, 1, 2])
        connection.sendall(order)
        copy = int.from_bytes(connection.recv(4), "big")
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, lambda number, _: hand_on(copy, number))
        status = connection.recv(16)
    code = int(status or 1)
    if code < 0:
        with suppress(OSError):  # SIGKILL has no handler
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


def hand_on(copy: int, number: int) -> None:
    """Send a signal to the copy, unless it has just ended."""
    with suppress(ProcessLookupError):
        os.kill(copy, number)


if __name__ == "__main__":
    client(sys.argv[1], sys.argv[2:])
