"""Handwriting: a network writes a word, or draws a path of the user, from frozen input noise.

Sizes and parameters of NEST's tutorial `eprop_supervised_regression_handwriting_bsshslm_2020`, which writes "chaos" as
digitised by hand; here a single-stroke font writes any word.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
from pydantic import Field, model_validator

from .. import elementary
from . import paths
from .trajectory import Trajectory

STEPS_PER_POINT = 8


class Handwriting(Trajectory):
    """`path` takes the place of `word` if both are given."""

    name: ClassVar[str] = "handwriting"
    summary: ClassVar[str] = "a word, or a path of your own, in the plane from frozen input noise (NEST's tutorial)"

    word: str = Field("eprop", max_length=1000, description="word to write")
    path: Path | None = Field(None, description="file with x,y per line to draw instead")
    points: int = Field(228, ge=2, description="points along the path, 8 steps each")

    @model_validator(mode="after")
    def _check_path(self) -> Handwriting:
        _ = self._path  # raises for a bad word or file before anything is built
        return self

    @cached_property
    def _path(self) -> np.ndarray:
        return paths.read_path(self.path) if self.path else paths.draw_word(self.word)

    @property
    def n_steps(self) -> int:
        """Steps of one sample."""
        return self.points * STEPS_PER_POINT

    def compute_path(self) -> np.ndarray:
        """Return x and y in every step, (n_steps, 2)."""
        points = paths.normalize_path(paths.resample_path(self._path, self.points))
        steps = np.arange(self.n_steps) / STEPS_PER_POINT
        return np.column_stack([elementary.interpolate(steps, np.arange(self.points), column) for column in points.T])
