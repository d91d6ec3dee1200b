"""Lemniscate: a network draws a figure eight from frozen input noise.

Sizes and parameters of NEST's tutorial `eprop_supervised_regression_lemniscate_bsshslm_2020`.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from pydantic import Field

from .. import elementary
from .trajectory import Trajectory


class Lemniscate(Trajectory):
    """x goes once and y twice through a sine."""

    name: ClassVar[str] = "lemniscate"
    summary: ClassVar[str] = "a figure eight in the plane from frozen input noise (NEST's tutorial)"

    n_step: int = Field(1258, ge=2, description="steps of one sample")

    @property
    def n_steps(self) -> int:
        """Steps of one sample."""
        return self.n_step

    def compute_path(self) -> np.ndarray:
        """Return x and y in every step, (n_steps, 2)."""
        phase = np.linspace(0.0, 2.0 * np.pi, self.n_step)
        return np.column_stack([elementary.sin(phase), elementary.sin(2.0 * phase)])
