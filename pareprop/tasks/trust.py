"""Remember the code, such as environments, that this user has named before, and that configurations may import.

The configuration of a run may come from anybody. Code that it names is imported only if the user has named it before:
in a setting, in a file of their own, in a script, or by `--trust`. Names are kept in the cache folder, whose compiled
neuron models are executed as well.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress

from .. import files
from ..neurons.compile import cache_folder
from ..parallel.launcher import rank_of_launcher

KNOWN, LIMIT = "trusted", 2**24


def is_known(*code: object) -> bool:
    """Return whether this user has used this code before, with these arguments."""
    path = cache_folder() / KNOWN
    try:
        status = path.lstat()
        lines = files.read(path, LIMIT).split()
    except OSError:
        return False
    return status.st_uid in (os.getuid(), 0) and not status.st_mode & 0o022 and _name(code).encode() in lines


def remember(*code: object) -> None:
    """Remember that this user has named this code; if nothing can be written, `--trust` is needed again."""
    if rank_of_launcher(os.environ) or is_known(*code):
        return
    path, flags = cache_folder() / KNOWN, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
            file.write(f"{_name(code)}\n".encode())


def _name(code: tuple[object, ...]) -> str:
    return hashlib.sha256(json.dumps(code, sort_keys=True, default=str).encode()).hexdigest()
