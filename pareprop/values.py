"""Names for `Any`, by the reason why there is no better type; a direct `Any` has its reason in a comment next to it.

Values by name come from scripts, TOML, JSON or HDF5: their types are known only after checks.
"""

from collections.abc import Mapping
from typing import Any

AnyValue = Any  # a number, text, list, array or table from a user or a file: its reader checks it
Values = dict[str, AnyValue]
Given = Mapping[str, AnyValue]  # values that are only read
Numbers = Any  # a number or an array of any shape: the result has the shape of the argument
Foreign = Any  # an object of a library without types, or of a module that is imported lazily
Later = (
    Any  # an object of a module that imports this one, or of a higher subpackage: its type would need a circular import
)
