"""The run directory: names in it, claiming it for one run at a time, clearing an older run, reopening it to resume."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import cast

from .. import files
from ..errors import InputError, ParepropError, quote
from ..parallel import collectives
from ..parallel.mpi import Comm
from ..storage import checkpoint_write, combined_file
from ..storage.disk import lock_directory, output_errors
from ..values import Values
from .config import CONFIG, DIGEST_LINE, read
from .log_files import CSV, EPOCHS, LOG

RESULTS, CHECKPOINTS, RECORD, BEST = "results.h5", "checkpoints", "record", "best"


@contextmanager
def claim_directory(comm: Comm, wanted: str | None, task: str, overwrite: bool = False) -> Iterator[Path]:
    """Collective context manager: claim a run directory for this run alone; `runs/<task>-<number>` if none is `wanted`.

    Directories that it made are removed again if the block fails before anything is written into them.

    Raises on all ranks an `InputError` if the directory is not empty and may not be overwritten, another run writes to
    it, or it can't be made; a `StateError` if the disk is full.
    """
    with ExitStack() as stack:
        path = problem = None
        if comm is None or comm.rank == 0:
            try:
                with output_errors(Path(wanted or "runs"), "--out "):
                    path = _claim_directory(stack, wanted, task, overwrite)
            except ParepropError as error:
                problem = error
            except ValueError as error:  # a NUL in a name
                problem = InputError(f"--out {quote(wanted or 'runs')}: {error}")
        collectives.raise_together(comm, problem)
        yield cast(Path, path if comm is None else comm.bcast(path))


def _claim_directory(stack: ExitStack, wanted: str | None, task: str, overwrite: bool) -> Path:
    path = Path(wanted) if wanted is not None else None
    if path is None:
        number = 1
        if not Path("runs").exists():
            stack.callback(_remove_empty, [Path("runs")])
        Path("runs").mkdir(exist_ok=True)
        while path is None:
            try:
                os.mkdir(Path("runs", f"{task}-{number}"))  # fails if another run has just made it
                path = Path("runs", f"{task}-{number}")
            except FileExistsError:
                number += 1
        stack.callback(_remove_empty, [path])
    else:
        if path.exists() and not path.is_dir():
            raise InputError(f"--out {path}: is a file")
        missing = [place for place in (path, *path.parents) if not place.exists()]
        stack.callback(_remove_empty, missing)
        path.mkdir(parents=True, exist_ok=True)
    stack.enter_context(lock_directory(path, "--out"))
    if any(path.iterdir()):
        if not overwrite and not _was_cut(path):
            raise InputError(
                f"--out {path}: exists and is not empty; --overwrite replaces what is in it, --restart continues it"
            )
        _require_replaceable(path)
    if not os.access(path, os.W_OK):
        raise InputError(f"--out {path}: may not be written to")
    return path


def _remove_empty(places: list[Path]) -> None:
    for place in places:
        with suppress(OSError):  # something is in it
            place.rmdir()


def _was_cut(path: Path) -> bool:
    """Return whether the start of a run ended before its configuration was written: killed, or the disk was full."""
    return os.path.lexists(path / f"{CONFIG}.part") and not os.path.lexists(path / CONFIG)


def _require_replaceable(path: Path) -> None:
    """Raise `InputError` if files that a run would replace do not come from a run."""
    names = (CONFIG, RESULTS, CHECKPOINTS, RECORD, BEST, f"{RECORD}.h5")
    ours = [name for name in names if os.path.lexists(path / name)]
    links = [name for name in ours if (path / name).is_symlink()]
    if links:
        raise InputError(f"--out {path}: {', '.join(links)} is a link, which --overwrite does not follow")
    if ours and not is_run(path):
        raise InputError(
            f"--out {path}: has {', '.join(ours)} but is not a run directory; --overwrite replaces runs only"
        )


def is_run(directory: Path) -> bool:
    """Return whether a directory is a run directory, with a configuration."""
    try:
        return DIGEST_LINE in files.read(files.require_own_file(directory / CONFIG)).decode(errors="replace")
    except OSError:
        return False


def clear_run(directory: Path) -> None:
    """Remove checkpoints, recording and logs of an older run, and leave all other files."""
    for folder in (CHECKPOINTS, BEST):
        for path in checkpoint_write.list_checkpoints(directory / folder):
            shutil.rmtree(path)
    for name, pattern in (
        (CHECKPOINTS, r"iteration-\d+\.(part|old)|listening"),
        (BEST, r"iteration-\d+\.(part|old)"),
        (RECORD, combined_file.PART),
    ):
        for path in sorted((directory / name).glob("*")):
            if re.fullmatch(pattern, path.name):
                path.unlink() if path.is_symlink() or not path.is_dir() else shutil.rmtree(path)
    for name in (f"{RECORD}.h5", LOG, CSV, EPOCHS):
        with suppress(IsADirectoryError):  # a folder of another program
            (directory / name).unlink(missing_ok=True)


@contextmanager
def reopen_directory(comm: Comm, directory: Path) -> Iterator[Values]:
    """Collective context manager: claim the directory of a run to resume; yield the sections of its configuration.

    `InputError` on all ranks if it is not a run directory, or another run uses it.
    """
    with ExitStack() as stack:
        sections: Values = {}
        with collectives.share_errors(comm):
            if comm is None or comm.rank == 0:
                if not (directory / CONFIG).is_file():
                    raise InputError(f"{quote(str(directory))} is not a run directory: {CONFIG} is missing")
                for name in (RESULTS, CHECKPOINTS, RECORD, BEST, CONFIG):
                    if (directory / name).is_symlink():
                        raise InputError(f"{directory / name} is a link; a run continues in its own directory only")
                stack.enter_context(lock_directory(directory, "run directory"))
                sections = read(directory / CONFIG)
        yield collectives.broadcast_from_root(comm, sections)
