"""A scaling study: its runs of the benchmark, read from TOML and checked as a whole."""

from __future__ import annotations

import itertools
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from .. import files
from ..errors import InputError
from ..network.parameters import Frozen, validate
from ..network.variants import DEFAULT, VariantName

Positive = Annotated[int, Field(ge=1)]


@dataclass(frozen=True)
class Point:
    """One run of a study, with the options of `pareprop bench`.

    Attributes
    ----------
    kind : str
        "strong" or "weak".
    ranks : int
        Number of ranks.
    variant : str
        Name of the variant of e-prop.
    neurons, indegree, inputs, steps, intervals, warmup, delay, seed : int
        Options of the benchmark, for the whole network.
    rate : float
        Rate of drawn spikes in Hz, 0 for the network's own spikes.
    repeat : int
        Number of the repetition.
    """

    kind: str
    ranks: int
    variant: str
    neurons: int
    indegree: int
    inputs: int
    steps: int
    intervals: int
    warmup: int
    delay: int
    seed: int
    rate: float
    repeat: int

    @property
    def label(self) -> str:
        """Name of the run, unique within a study."""
        return (
            f"{self.variant}-n{self.neurons}-k{self.indegree}-d{self.delay}-h{self.rate:g}-s{self.seed}"
            f"-r{self.ranks}-{self.repeat}"
        )

    def arguments(self, json_file: Path) -> list[str]:
        """Return the arguments of `pareprop` that run the point and write its results to a file."""
        other = ("kind", "ranks", "repeat")
        options = [f"--{key}={value}" for key, value in asdict(self).items() if key not in other]
        return ["bench", *options, f"--json={json_file}"]


class Study(Frozen):
    """Keys of a study file: all combinations of its lists are run, each `repeats` times.

    `neurons` counts the neurons of each rank in a weak study, of the whole network in a strong one.
    """

    kind: Literal["strong", "weak"] = "strong"
    ranks: tuple[Positive, ...] = Field((1, 2), min_length=1)
    variants: tuple[VariantName, ...] = Field((DEFAULT,), min_length=1)
    neurons: tuple[Positive, ...] = Field((1000,), min_length=1)
    indegrees: tuple[Annotated[int, Field(ge=0)], ...] = Field((100,), min_length=1)
    delays: tuple[Positive, ...] = Field((1,), min_length=1)
    rates: tuple[Annotated[float, Field(ge=0, le=1000)], ...] = Field((0.0,), min_length=1)
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field((1,), min_length=1)
    repeats: Positive = 1
    inputs: Positive = 100
    steps: Positive = 1000
    intervals: Positive = 1
    warmup: int = Field(1, ge=0)
    timeout_s: float = Field(3600.0, gt=0)

    def points(self) -> list[Point]:
        """Return all runs; repetitions are the outermost loop, so that a disturbance spares other runs of a point."""
        axes = (range(self.repeats), self.variants, self.neurons, self.indegrees, self.delays, self.rates, self.seeds)
        return [
            Point(
                kind=self.kind,
                ranks=ranks,
                variant=variant,
                neurons=neurons * (ranks if self.kind == "weak" else 1),
                indegree=indegree,
                inputs=self.inputs,
                steps=self.steps,
                intervals=self.intervals,
                warmup=self.warmup,
                delay=delay,
                seed=seed,
                rate=rate,
                repeat=repeat,
            )
            for repeat, variant, neurons, indegree, delay, rate, seed in itertools.product(*axes)
            for ranks in self.ranks
        ]


def read(path: Path) -> Study:
    """Read a study.

    Raises
    ------
    InputError
        If the file cannot be read, is not TOML, or holds an unknown key or a value out of range.
    """
    try:
        values = files.parse_toml(files.read(path).decode())
    except OSError as problem:
        raise InputError(f"{path}: {problem.strerror}") from None
    except ValueError as problem:
        raise InputError(f"{path} is not TOML: {problem}") from None
    study = validate(Study, values, str(path))
    for point in study.points():
        if point.indegree >= point.neurons:
            raise InputError(f"{path}: indegree = {point.indegree} must be below the {point.neurons} neurons")
    return study
