"""A scaling study: its runs of the benchmark, read from TOML and checked together."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from ..network.parameters import Frozen, validate_values
from ..network.variants import DEFAULT
from ..runs import config
from ..runs.benchmark import Bench
from ..values import Values

Positive = Annotated[int, Field(ge=1)]
Numbers = Annotated[tuple[int, ...], Field(min_length=1)]  # each is checked by `Bench`


@dataclass(frozen=True)
class Point:
    """One run of a study: its kind, number of ranks, number of the repetition, and settings of the whole network."""

    kind: str
    ranks: int
    repeat: int
    bench: Bench

    @property
    def columns(self) -> Values:
        """Columns of the run in tables."""
        return {"kind": self.kind, "ranks": self.ranks, "repeat": self.repeat} | self.bench.model_dump()

    @property
    def label(self) -> str:
        """Name of the run, unique within a study."""
        one = self.bench
        return (
            f"{one.variant}-n{one.neurons}-k{one.indegree}-d{one.delay}-h{one.rate:g}-s{one.seed}"
            f"-r{self.ranks}-{self.repeat}"
        )

    def make_arguments(self, json_file: Path) -> list[str]:
        """Return the arguments of `pareprop` that run the point and write its results to a file."""
        given = self.bench.model_dump(include=self.bench.model_fields_set)
        return ["bench", *(f"--{key}={value}" for key, value in given.items()), f"--json={json_file}"]


class Study(Frozen):
    """Keys of a study file: all combinations of its lists are run, each `repeats` times.

    `neurons` counts the neurons of each rank in a weak study, of the whole network in a strong one.
    """

    kind: Literal["strong", "weak"] = "strong"
    ranks: tuple[Positive, ...] = Field((1, 2), min_length=1)
    variants: tuple[str, ...] = Field((DEFAULT,), min_length=1)
    neurons: Numbers = (1000,)
    indegrees: Numbers = (100,)
    delays: Numbers = (1,)
    rates: tuple[float, ...] = Field((0.0,), min_length=1)
    seeds: Numbers = (1,)
    repeats: Positive = 1
    inputs: int = 100
    steps: int = 1000
    intervals: int = 1
    warmup: int = 1
    timeout_s: float = Field(3600.0, gt=0)

    def list_points(self, origin: str = "study") -> list[Point]:
        """Return all runs; repetitions are the outermost loop, so that a disturbance affects few runs of a point.

        `origin` begins the message on a value out of range.
        """
        shared = self.model_dump(include={"inputs", "steps", "intervals", "warmup"})
        keys = ("variant", "neurons", "indegree", "delay", "rate", "seed")
        lists = (self.variants, self.neurons, self.indegrees, self.delays, self.rates, self.seeds)
        points = []
        for repeat, *values, ranks in itertools.product(range(self.repeats), *lists, self.ranks):
            settings: Values = shared | dict(zip(keys, values, strict=True))
            settings["neurons"] *= ranks if self.kind == "weak" else 1
            points.append(Point(self.kind, ranks, repeat, validate_values(Bench, settings, origin)))
        return points


def read(path: Path) -> Study:
    """Read a study; raise `InputError` for a damaged file, an unknown key or a value out of range."""
    study = validate_values(Study, config.read(path), str(path))
    study.list_points(str(path))
    return study
