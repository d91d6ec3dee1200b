"""What both engines share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass
class Recorded:
    """Dynamics of one sample. Recorded neurons are those of this rank; signals are of all readouts."""

    record: np.ndarray
    V_m: np.ndarray
    adaptation: np.ndarray
    surrogate_gradient: np.ndarray
    learning_signal: np.ndarray
