"""Cortical areas, each a microcircuit, for example of macaque cortex (Schmidt et al. 2018): activity and learning."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field, field_validator, model_validator

from ..network.connectivity import Population
from ..network.parameters import suggest_name
from ..values import Given, Values
from . import areas as cortex
from .base import LEARNING, MODEL
from .circuit import Circuit
from .microcircuit import Microcircuit

BETWEEN: dict[str, Values] = {  # further defaults if volleys are learned between areas
    "interval": {"thalamic_hz": 300.0, "batch_size": 8, "eta": 30.0},
    "spike": {"thalamic_hz": 300.0, "eta": 2.0},
}


class MultiArea(Microcircuit):
    """Areas of cortex, a square millimetre with four layers each, connected with delays.

    `tables` is a file with the tables of macaque cortex, see `areas.read_tables`; without it there are three made-up
    areas. Poisson spikes replace the areas that are left out. Samples and `learn` are as in `microcircuit`; the
    thalamus projects to the first area, and readouts receive from L5E of the last one.
    """

    name: ClassVar[str] = "multi-area"
    summary: ClassVar[str] = "areas of cortex, as of macaques (Schmidt et al. 2018): their rates; or they learn volleys"

    tables: Path | None = Field(
        None,
        json_schema_extra=MODEL,
        description="file with the tables of macaque cortex (JSON); without it A, B and C, which are made up",
    )
    areas: tuple[str, ...] = Field(
        (),
        json_schema_extra=MODEL,
        description="areas of the tables; none: all, or the first two to learn volleys between areas",
    )
    scale: float = Field(
        0.01, gt=0, le=1000, json_schema_extra=MODEL, description="number of neurons, relative to the full network"
    )
    indegrees: float = Field(
        0.1,
        gt=0,
        le=1,
        json_schema_extra=MODEL,
        description="in-degrees, relative to the full network; below 1 weights grow and a current compensates",
    )
    chi: float = Field(
        1.0,
        gt=0,
        json_schema_extra=MODEL,
        description="factor of weights between areas; 1 for the ground state, 1.9 for the metastable state",
    )
    chi_inhibitory: float = Field(
        1.0,
        gt=0,
        json_schema_extra=MODEL,
        description="further factor of weights onto inhibitory neurons; 2 for the metastable state",
    )
    learn_between: bool = Field(
        False,
        json_schema_extra=LEARNING,
        description="whether only synapses between areas and onto readouts learn; volleys then have "
        "300 Hz, batches of the interval variant 8 samples, and eta is 30 or 2 by variant",
    )
    delay_spread: float = Field(
        0.5,
        ge=0,
        le=1,
        json_schema_extra=MODEL,
        description="standard deviation of delays between areas by their mean, below 0.25 for long rounds of nodes",
    )

    @classmethod
    def find_defaults(cls, values: Given) -> Given:
        """Return defaults that depend on `learn` and `learn_between`."""
        defaults = super().find_defaults(values)
        if values.get("learn_between") is not True or values.get("learn") != "volleys":
            return defaults
        return {**defaults, **BETWEEN.get(str(values.get("variant", "interval")), {})}

    @field_validator("areas", mode="before")
    @classmethod
    def _read_areas(cls, areas: object) -> object:
        if isinstance(areas, str | int):  # 46 is an area
            return () if areas == "all" else tuple(part.strip() for part in str(areas).split(","))
        return [str(area) if isinstance(area, int) else area for area in areas] if isinstance(areas, list) else areas

    @model_validator(mode="after")
    def _check_areas(self) -> MultiArea:
        known = cortex.read_tables(self.tables).areas
        for k, area in enumerate(self.areas):
            if area not in known:
                where = "" if self.tables else f"; {cortex.SOURCE}"
                raise ValueError(f"areas: unknown area '{area}'{suggest_name(area, known)}{where}")
            if area in self.areas[:k]:
                raise ValueError(f"areas: area '{area}' is named twice")
        return self

    @property
    def chosen_areas(self) -> tuple[str, ...]:
        """Areas of the network."""
        known = cortex.read_tables(self.tables).areas
        return self.areas or (known[:2] if self.learn_between and self.learn == "volleys" else known)

    @model_validator(mode="after")
    def _check_between(self) -> MultiArea:
        if self.learn_between and self.learn == "nothing":
            raise ValueError("learn_between = true needs learn = 'volleys' or 'rates'")
        if self.learn_between and len(self.chosen_areas) == 1:
            raise ValueError(f"learn_between = true needs at least two areas, there is {self.chosen_areas[0]} alone")
        return self

    def _is_plastic(self, pre: Population, post: Population) -> bool:
        within = pre.role == "input" or pre.area == post.area
        return super()._is_plastic(pre, post) and not (self.learn_between and within)

    @property
    def circuit(self) -> Circuit:
        """The full network."""
        return cortex.build_circuit(self.chosen_areas, self.chi, self.chi_inhibitory, self.delay_spread, self.tables)
