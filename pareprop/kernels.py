"""The only door to the compiled kernels; those of neurons and synapses come in two precisions."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

import numpy as np

from pareprop.core import (
    build_info,
    degrees,
    exchange,
    interval,
    interval_single,
    layout,
    local_readouts,
    optimizers,
    random,
    rewire,
    rounds,
    rows,
    signs,
    spike,
    spike_log,
    spike_single,
    topology,
)

__all__ = [
    "PRECISIONS", "Precision", "build_info", "degrees", "exchange", "layout", "local_readouts", "optimizers", "random",
    "rewire", "rounds", "rows", "signs", "spike_log", "topology",
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


PRECISIONS = {
    "double": Precision(np.float64, interval, spike),
    "single": Precision(np.float32, interval_single, spike_single),
}
