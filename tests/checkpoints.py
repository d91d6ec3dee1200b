"""Look into checkpoints and change them, sealed again, as somebody with bad intentions would."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

ENTRY = np.dtype([("first", "<i8"), ("offset", "<i8"), ("crc", "<u4")])


def manifest_of(path: Path) -> dict:
    """The manifest of a checkpoint."""
    return json.loads((path / "manifest.json").read_text().partition("\n")[2])


def table_of(path: Path) -> np.ndarray:
    """Its table, (ranks + 1, arrays)."""
    manifest = manifest_of(path)
    return np.fromfile(path / "table.bin", ENTRY).reshape(manifest["ranks"] + 1, len(manifest["arrays"]))


def seal(path: Path, text: str) -> None:
    """Write the text of a manifest with its checksum."""
    checksum = hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=32).hexdigest()
    (path / "manifest.json").write_bytes(f"{checksum}\n{text}\n".encode(errors="surrogatepass"))


def change(path: Path, what: Callable[[dict], object]) -> None:
    """Change a manifest."""
    manifest = manifest_of(path)
    what(manifest)
    seal(path, json.dumps(manifest))


def change_table(path: Path, what: Callable[[np.ndarray], object]) -> None:
    """Change a table."""
    table = table_of(path)
    what(table)
    write_table(path, table.tobytes())


def write_table(path: Path, content: bytes) -> None:
    """Replace a table by some bytes, and its checksum."""
    (path / "table.bin").write_bytes(content)
    change(path, lambda manifest: manifest.update(table=hashlib.blake2b(content, digest_size=32).hexdigest()))


def column_of(path: Path, end: str) -> int:
    """The column of the array whose name ends so."""
    return next(k for k, array in enumerate(manifest_of(path)["arrays"]) if array["name"].endswith(end))
