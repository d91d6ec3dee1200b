"""Print text of commands: control characters as escapes, no error if the reader of a pipe has gone."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TextIO

from .errors import escape_unprintable

PATIENCE = 2.0  # seconds until `show_progress` prints its first line


def echo(text: object = "", err: bool = False, nl: bool = True) -> None:
    """Print a text, on the standard error with `err`, with a newline after it if `nl`.

    Control characters, which may come from a name in a file, are shown as escapes. If the reader of a pipe is closed,
    as by `head`, the text is dropped and the command continues.
    """
    stream = sys.stderr if err else sys.stdout
    try:
        stream.write(escape_unprintable(str(text)) + "\n" * nl)
        stream.flush()
    except BrokenPipeError:
        _redirect_to_null(stream)


def format_count(n: int, noun: str) -> str:
    """Return a number with its noun, in the singular for 1."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


@contextmanager
def show_progress(what: str, first: str) -> Generator[Callable[[str], None], None, None]:
    """Context that prints the progress of a long block on the standard error: after `PATIENCE`, twice that, and so on.

    `what` is the subject of the block, `first` its first activity. Yields a function to call with the current activity.
    """
    ended, doing, started = threading.Event(), [first], time.monotonic()

    def report_progress() -> None:
        next_s = PATIENCE
        while not ended.wait(started + next_s - time.monotonic()):
            echo(f"{what}: {doing[-1]}, {next_s:g} s so far", err=True)
            next_s *= 2

    thread = threading.Thread(target=report_progress, daemon=True)
    thread.start()
    try:
        yield doing.append
    finally:
        ended.set()
        thread.join()


def _redirect_to_null(stream: TextIO) -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, stream.fileno())
    finally:
        os.close(null)
