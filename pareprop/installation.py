"""Identify the installation: version of the package, digests of its sources and of its kernels' sources."""

from __future__ import annotations

import hashlib
import os
from functools import cache
from pathlib import Path

from . import __version__
from .kernels import build_info
from .values import Foreign

DIGITS = 16  # hexadecimal digits of a digest
APART = ("core", "jobs")  # folders that a checkout lacks, and that the digest leaves out


@cache
def digest_sources(folder: Path = Path(__file__).parent) -> str:
    """Return a digest of the Python sources in a folder, independent of its path and of times."""
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        name, content = path.relative_to(folder), path.read_bytes()
        if name.parts[0] not in APART:
            found.update(f"{name.as_posix()} {len(content)}\n".encode() + content)
    return found.hexdigest()[:DIGITS]


def list_installation_facts(local: Foreign = None) -> dict[str, str]:
    """Return the facts that must be the same on all ranks, name to value; levels of kernels may differ.

    Collective over `local`, a communicator of the ranks of this machine: one of them reads the sources for all that
    share the folder, as reads of hundreds of files by all ranks would slow a parallel file system.
    """
    place = os.stat(Path(__file__).parent)
    mine, sources = (place.st_dev, place.st_ino), "" if local is not None and local.rank else digest_sources()
    if local is not None:
        theirs, read = local.bcast((mine, sources))
        sources = read if theirs == mine else digest_sources()
    return {"pareprop": __version__, "sources of pareprop": sources, "sources of its kernels": build_info.sources}
