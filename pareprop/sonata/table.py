"""Read type tables: CSV with blanks between fields and quotes around fields with blanks."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from .. import files
from ..errors import InputError

NOTHING = ("NULL", "NONE", "NA", "")
SIZE_LIMIT = 2**26  # bytes

Row = dict[str, str]


def read(path: Path, key: str, population: str) -> dict[int, Row]:
    """Return the types of one population: id to column name to value, without columns that have no value.

    `key` is "node_type_id" or "edge_type_id". If the table has a column `population`, rows of other populations are
    skipped.
    """
    with files.input_errors(path, ValueError, csv.Error):
        text = io.StringIO(files.read(path, SIZE_LIMIT).decode(), newline="")
        rows = csv.reader(text, delimiter=" ", quotechar='"', skipinitialspace=True)
        lines = [[field for field in row if field] for row in rows]
    numbered = [(number, line) for number, line in enumerate(lines, 1) if line]
    if not numbered or key not in numbered[0][1]:
        raise InputError(f"{path}: column '{key}' is missing")
    header = numbered[0][1]
    numbered_rows: dict[int, dict[str, str]] = {}
    for number, line in numbered[1:]:
        if len(line) != len(header):
            raise InputError(f"{path}: line {number} has {len(line)} fields, the header {len(header)}")
        row = {name: value for name, value in zip(header, line, strict=True) if value.upper() not in NOTHING}
        if row.get("population", population) != population:
            continue
        try:
            identity = int(row[key])
        except (KeyError, ValueError):
            raise InputError(f"{path}: line {number}: {key} = {row.get(key)} must be a whole number") from None
        if identity in numbered_rows:
            raise InputError(f"{path}: line {number}: {key} = {identity} is there twice")
        numbered_rows[identity] = row
    return numbered_rows


def read_number(row: Row, key: str, here: str) -> float | None:
    """Return a number of a row, None if the column has no value."""
    if key not in row:
        return None
    try:
        return float(row[key])
    except ValueError:
        raise InputError(f"{here}: {key} = {row[key]} must be a number") from None
