"""Lazy imports: on a parallel file system, each imported module costs each rank some calls at its start."""

from __future__ import annotations

from collections import UserDict
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar

__all__ = ["Later", "h5py"]

T = TypeVar("T")


class Later(UserDict[str, T]):
    """Names and the attributes of modules that they stand for; a module is imported on first use.

    `places` maps a name to module and attribute, relative to `package`, such as "sine_waves.SineWaves".
    """

    def __init__(self, package: str, places: Mapping[str, str]) -> None:
        self._package, self.data = package, dict(places)  # type: ignore[arg-type]

    def __getitem__(self, name: str) -> T:
        place = self.data[name]
        if not isinstance(place, str):  # an object, added directly
            return place
        module, _, attribute = place.rpartition(".")
        return getattr(import_module(f"{self._package}.{module}"), attribute)


class _Module:
    """Stands for a module, which is imported on the first use of one of its names."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:  # Any: whatever the module holds
        return getattr(import_module(self._name), name)


if TYPE_CHECKING:
    import h5py
else:  # 40 modules, and a process that h5py starts: ranks that read and write no file do without
    h5py = _Module("h5py")
