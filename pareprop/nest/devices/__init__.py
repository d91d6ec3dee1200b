"""Devices of NEST: classes in the modules of this folder, all of which are imported here.

Where to add:

- a device: a module with a class that has a `name` and derives from a class in `base`, or from another device.
  No other file names it.
"""

import pkgutil
from importlib import import_module

from .base import Device

for _module in pkgutil.iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")

DEVICES: list[type[Device]] = Device.named
