"""Values by name whose types are known only where they are checked: they come from scripts, TOML, JSON or HDF5."""

from collections.abc import Mapping
from typing import Any

Values = dict[str, Any]
Given = Mapping[str, Any]  # values that are only read
