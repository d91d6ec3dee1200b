"""What is imported when it is used: on a parallel file system, each module costs each rank some calls at its start."""

from __future__ import annotations

import sys
from collections import UserDict
from collections.abc import Mapping
from importlib import import_module
from importlib.machinery import ModuleSpec
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
        place = self.data[name]
        if not isinstance(place, str):  # somebody added it
            return place
        module, _, attribute = place.rpartition(".")
        return getattr(import_module(f"{self._package}.{module}"), attribute)


class _Present:
    """Finds modules that are there: an import that asks a package for its path, and so loads it, would go on to load
    again what the package has imported.
    """

    def find_spec(self, name: str, path: object, target: ModuleType | None = None) -> ModuleSpec | None:
        """Return how to load a module that is there; a `target` is to be loaded anew."""
        return ModuleSpec(name, _Present()) if target is None and name in sys.modules else None  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return the module."""
        self._spec = sys.modules[spec.name].__spec__
        return sys.modules[spec.name]

    def exec_module(self, module: ModuleType) -> None:
        """Leave the module as it was."""
        module.__spec__ = self._spec


class _Unloaded(ModuleType):
    """A module that is loaded when a name is asked for that it does not have yet."""

    def __getattr__(self, name: str) -> Any:  # Any: whatever the module holds
        with _lock:  # other threads wait until all is there
            if "_loader" in self.__dict__:
                loader, path = self.__dict__.pop("_loader")
                self.__dict__.update(path)
                try:
                    loader.exec_module(self)
                except BaseException:  # the next use tells the same
                    self.__dict__.pop("__path__", None)
                    self.__dict__["_loader"] = loader, path
                    raise
                self.__class__ = ModuleType  # type: ignore[assignment]
                if name == "__path__":
                    sys.meta_path.insert(0, _Present())  # type: ignore[arg-type]
        return object.__getattribute__(self, name)


def load_when_used(name: str) -> None:
    """Have `import name` bind a module that is loaded at the first use of one of its names.

    `importlib.util.LazyLoader` does not do it: an `import` of its modules looks at their `__spec__`, which loads them.
    """
    spec = None if name in sys.modules else find_spec(name)
    if spec is not None and spec.loader is not None:
        module = sys.modules[name] = module_from_spec(spec)
        # without its path an import of a submodule asks for it, which loads the module first
        path = {key: module.__dict__.pop(key) for key in ("__path__",) if key in module.__dict__}
        module.__class__, module.__dict__["_loader"] = _Unloaded, (spec.loader, path)
