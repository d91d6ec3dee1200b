"""What is imported when it is used: on a parallel file system, each module costs each rank some calls at its start."""

from __future__ import annotations

import sys
from collections import UserDict
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from threading import RLock
from types import ModuleType
from typing import Any, TypeVar

T = TypeVar("T")
_lock = RLock()


class Later(UserDict[str, T]):
    """Names, and what a module holds for each: it is imported when it is asked for.

    Parameters
    ----------
    package : str
        Package that places are relative to.
    places : Mapping of str to str
        Name to module and attribute, such as "sine_waves.SineWaves".
    """

    def __init__(self, package: str, places: Mapping[str, str]) -> None:
        self._package, self.data = package, dict(places)  # type: ignore[arg-type]

    def __getitem__(self, name: str) -> T:
        module, _, attribute = str(self.data[name]).rpartition(".")
        return getattr(import_module(f"{self._package}.{module}"), attribute)


class _Unloaded(ModuleType):
    """A module that is loaded when a name is asked for that it does not have yet."""

    def __getattr__(self, name: str) -> Any:  # Any: whatever the module holds
        with _lock:  # other threads wait until all is there
            loader = self.__dict__.pop("_loader", None)
            if loader is not None:
                loader.exec_module(self)
                self.__class__ = ModuleType  # type: ignore[assignment]
        return object.__getattribute__(self, name)


def load_when_used(name: str) -> None:
    """Have `import name` bind a module that is loaded at the first use of one of its names.

    `importlib.util.LazyLoader` does not do it: an `import` of its modules looks at their `__spec__`, which loads them.
    """
    spec = None if name in sys.modules else find_spec(name)
    if spec is not None and spec.loader is not None:
        module = sys.modules[name] = module_from_spec(spec)
        module.__class__, module.__dict__["_loader"] = _Unloaded, spec.loader
