"""What commands print: text without control characters of files, and no error where a reader has closed its pipe."""

from __future__ import annotations

import os
import sys
from typing import TextIO

from .errors import printable


def echo(text: object = "", err: bool = False, nl: bool = True) -> None:
    """Print a text, on the standard error with `err`, with a newline after it unless not `nl`.

    Control characters, which may come from a name in a file, are shown as escapes. Where the reader of a pipe has gone,
    as `head` does, what is left is not shown; the command goes on.
    """
    stream = sys.stderr if err else sys.stdout
    try:
        stream.write(printable(str(text)) + "\n" * nl)
        stream.flush()
    except BrokenPipeError:
        _silence(stream)


def _silence(stream: TextIO) -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, stream.fileno())
    finally:
        os.close(null)
