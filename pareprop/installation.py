"""Identify the installation: version of the package, digests of its sources and of those of its kernels."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.metadata import version
from pathlib import Path

from .kernels import build_info

DIGITS = 16  # hexadecimal digits of a digest
APART = ("core", "jobs")  # folders that a checkout lacks, and that are left out


@cache
def digest_sources(folder: Path = Path(__file__).parent) -> str:
    """Return a digest of the Python sources in a folder, wherever it lies and whenever they were written."""
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        name, content = path.relative_to(folder), path.read_bytes()
        if name.parts[0] not in APART:
            found.update(f"{name.as_posix()} {len(content)}\n".encode() + content)
    return found.hexdigest()[:DIGITS]


def facts() -> dict[str, str]:
    """Return the facts that must be the same on all ranks, name to value; levels of kernels may differ."""
    return {
        "pareprop": version("pareprop"), "sources of pareprop": digest_sources(),
        "sources of its kernels": build_info.sources,
    }  # fmt: skip
