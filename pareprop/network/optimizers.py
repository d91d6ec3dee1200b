"""Optimizers: settings with NEST's names and defaults, checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from ..errors import InputError
from .parameters import Frozen, checked, nearest


class GradientDescent(Frozen):
    """Plain gradient descent (`eprop_synapse` optimizer "gradient_descent")."""

    type: Literal["gradient_descent"] = "gradient_descent"
    eta: float = Field(1e-4, ge=0)
    batch_size: int = Field(1, ge=1)
    Wmin: float = -100.0
    Wmax: float = 100.0
    optimize_each_step: bool = True

    @model_validator(mode="after")
    def _ordered(self) -> GradientDescent:
        if self.Wmin > self.Wmax:
            raise ValueError(f"Wmin = {self.Wmin} must not exceed Wmax = {self.Wmax}")
        return self


class Adam(GradientDescent):
    """Adam (Kingma and Ba 2015) as in NEST."""

    type: Literal["adam"] = "adam"
    beta_1: float = Field(0.9, ge=0, lt=1)
    beta_2: float = Field(0.999, ge=0, lt=1)
    epsilon: float = Field(1e-7, gt=0)


Optimizer = Adam | GradientDescent


def optimizer(values: Mapping[str, Any], origin: str) -> Optimizer:
    """Make a checked optimizer from NEST's optimizer dictionary (`type` tells which)."""
    kinds = {"gradient_descent": GradientDescent, "adam": Adam}
    kind = values.get("type", "gradient_descent")
    if kind not in tuple(kinds):
        raise InputError(f"{origin}: unknown optimizer type '{kind}'{nearest(str(kind), kinds)}")
    return checked(kinds[kind], values, origin)
