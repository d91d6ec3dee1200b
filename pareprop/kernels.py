"""Import the compiled kernels for the level of this processor; other modules import them from here.

Kernels with most of the run time are compiled for several levels of instructions (`cython_core/build_kernels.py`); this
module chooses the level. All levels have the same bits. Kernels of neurons and synapses come in two precisions.
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
LEVEL = choose_level(build_info.levels, build_info.instructions)  # first, as unsupported instructions end the process
pareprop.core.__path__.insert(0, os.path.join(pareprop.core.__path__[0], LEVEL))  # folder of the level's kernels

from pareprop.core import (  # noqa: E402, F401
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
    source_set,
    spike,
    spike_log,
    spike_single,
    topology,
)


@dataclass(frozen=True)
class Precision:
    """Precision of weights, learning, state of neurons and histories, with the kernels for it.

    Attributes
    ----------
    real : type[np.floating]
        Type of these arrays.
    interval, spike : ModuleType
        Kernels of the variants.
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

    Without it, a kernel without exceptions would continue with wrong numbers or addresses and crash without a message.
    The launcher ends the other ranks.
    """

    def hook(error: sys.UnraisableHookArgs) -> None:
        before(error)
        if issubclass(error.exc_type, IndexError):
            print(f"pareprop: error: a bounds check failed in a kernel: {error.exc_value}", file=sys.stderr, flush=True)
            os._exit(1)

    return hook


if build_info.mode.startswith("checked"):
    sys.unraisablehook = _end_on_index_errors(sys.unraisablehook)
