"""The only door to the compiled kernels; those of neurons and synapses come in two precisions.

Kernels in which runs spend their time are there once for each level of the processor that was asked for when the
package was built (`cython_core/build_kernels.py`). Which one runs is decided here, once; their bits are the same.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

import numpy as np

import pareprop.core
from pareprop.core import build_info

from .machine import choose_level

#: the level of the processor whose kernels run, such as "v3"
LEVEL = choose_level(build_info.levels, build_info.instructions)  # before a kernel could end the process without a word
pareprop.core.__path__.insert(
    0, os.path.join(pareprop.core.__path__[0], LEVEL)
)  # what has levels lies in their folders

from pareprop.core import (  # noqa: E402
    checksum,
    degrees,
    elementary_arrays,
    exchange,
    interval,
    interval_single,
    layout,
    local_readouts,
    members,
    nest_draws,
    neuron_models,
    optimizers,
    random,
    readout_sums,
    rewire,
    rounds,
    row_map,
    rows,
    signs,
    spike,
    spike_log,
    spike_single,
    topology,
)

__all__ = [
    "LEVEL", "PRECISIONS", "Precision", "build_info", "checksum", "degrees", "elementary_arrays", "exchange", "layout",
    "local_readouts", "members", "nest_draws", "neuron_models", "optimizers", "random", "readout_sums", "rewire",
    "rounds", "row_map", "rows", "signs", "spike_log", "topology",
]  # fmt: skip


@dataclass(frozen=True)
class Precision:
    """Of weights, of what synapses need to learn, of neurons' state and of histories.

    Attributes
    ----------
    real : type[np.floating]
        Type of these arrays.
    interval, spike : ModuleType
        Kernels of the variants for it.
    """

    real: type[np.floating]
    interval: ModuleType
    spike: ModuleType

    def of(self, variant: str) -> ModuleType:
        """Return the kernels of a variant."""
        return getattr(self, variant)


PRECISIONS = {
    "double": Precision(np.float64, interval, spike),
    "single": Precision(np.float32, interval_single, spike_single),
}


def _end_on_index_errors(
    before: Callable[[sys.UnraisableHookArgs], object],
) -> Callable[[sys.UnraisableHookArgs], None]:
    """Return a hook for errors that a kernel cannot raise; it ends the process at an index error.

    Kernels without exceptions go on after one, with numbers or addresses that are wrong, to a crash that tells nothing.
    A launcher ends the other ranks.
    """

    def hook(error: sys.UnraisableHookArgs) -> None:
        before(error)
        if issubclass(error.exc_type, IndexError):
            print(f"pareprop: error: a bounds check failed in a kernel: {error.exc_value}", file=sys.stderr, flush=True)
            os._exit(1)

    return hook


if build_info.mode.startswith("checked"):
    sys.unraisablehook = _end_on_index_errors(sys.unraisablehook)
