"""Types of what no class can be named for, with the reasons; where `Any` stands elsewhere, the reason stands beside it.

Values by name come from scripts, TOML, JSON or HDF5: their types are known only where they are checked.
"""

from collections.abc import Mapping
from typing import Any

AnyValue = Any  # a number, text, list, array or table from a user or a file: its reader checks it
Values = dict[str, AnyValue]
Given = Mapping[str, AnyValue]  # values that are only read
Numbers = Any  # a number or an array of any shape: what comes out has the shape of what went in
Foreign = Any  # of a library that has no types, or is loaded only where it is asked for
Later = Any  # of a module that imports this one, or lies in a room above: naming its class would close a circle
