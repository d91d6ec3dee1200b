"""Perturbations of a network in some phases of a run: silenced cells, injected currents, lost spikes, cut projections.

A new kind is a class here, an entry of `KINDS`, a method of `Model`, and a case in `engines.perturbed`.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from pydantic import BeforeValidator, Field, SkipValidation

from .. import rng
from ..errors import InputError, quote
from ..values import AnyValue
from .connectivity import Population, Projection, Role, check_name
from .parameters import Distribution, Frozen, Value, check_lengths, list_bounds, show_value, suggest_name

PHASES = ("train", "validate", "test")  # phases of runs; a script may name others
CELLS: tuple[Role, ...] = ("input", "recurrent")  # roles of cells that spike


def _read_phases(value: object) -> tuple[str, ...] | None:
    if value is None:
        return None
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise ValueError('must be names of phases, such as ["test"]; none: only where a test asks for it')
    if "all" in names:
        return None
    return tuple(names)


Phases = Annotated[SkipValidation[tuple[str, ...] | None], BeforeValidator(_read_phases)]


class Perturbation(Frozen):
    """Base of all perturbations: the phases, and the part of each sample, in which one acts.

    Attributes
    ----------
    phases : sequence of str or None
        "train", "validate", "test", or another phase of a script; "all" or None: every phase; an empty list: only if
        `Simulation.test(..., perturb=[...])` requests it. By default `silence` and `cut` act in tests, `dropout` in
        training, `inject` in all phases.
    start_ms, stop_ms : float or None
        Interval of each sample in which it acts, whole steps of `dt_ms`; None: from its start, to its end.
    name : str or None
        Unique name, which keys draws; None: kind and target, such as "silence->rec".
    """

    bounds: ClassVar[tuple[str, ...]] = ("start_ms >= 0",)
    kind: ClassVar[str]
    roles: ClassVar[tuple[Role, ...]] = ("recurrent",)  # roles of possible target populations

    phases: Phases = ("test",)
    start_ms: float = 0.0
    stop_ms: float | None = None
    name: str | None = None

    def acts_in(self, phase: str) -> bool:
        """Return whether it acts in the samples of a phase."""
        return self.phases is None or phase in self.phases

    def describe_strength(self) -> str:
        """Return the strength in words."""
        return ""


class Silence(Perturbation):
    """Neurons, or inputs, that do not spike.

    A silenced neuron is refractory all the time: it does not spike, and its surrogate gradient is 0, so that synapses
    onto it do not learn. Its voltage behaves as the model's voltage does while refractory: it changes in `iaf`, and is
    constant in `iaf_psc_delta`, `iaf_psc_exp` and `glif_psc`.

    Attributes
    ----------
    cells : sequence of int or None
        Ids within the population, from 0 on; None: all.
    """

    kind = "silence"
    roles = CELLS

    cells: SkipValidation[tuple[int, ...] | None] = None

    def describe_strength(self) -> str:
        """Return the strength in words."""
        return "" if self.cells is None else f"{len(self.cells)} cells"


class Injection(Perturbation):
    """A current into each neuron: constant, or noise as of NEST's `noise_generator`, other noise for each neuron.

    In each interval of `dt` the current is `mean` + `std` times a standard normal number.

    Attributes
    ----------
    mean : float, array_like or Distribution
        Mean in pA, one for all, (size,), or drawn.
    std : float, array_like or Distribution
        Standard deviation in pA; 0 is a constant current.
    dt : float or None
        Interval in ms between changes of the current, whole steps; None: one step.
    """

    kind = "inject"
    bounds: ClassVar[tuple[str, ...]] = ("std >= 0", "dt > 0")

    mean: Value = 0.0
    std: Value = 0.0
    dt: float | None = None
    phases: Phases = None

    def describe_strength(self) -> str:
        """Return the strength in words."""
        mean, std = map(show_value, (self.mean, self.std))
        return f"mean {mean} pA" + ("" if std == "0" else f", std {std} pA")


class Dropout(Perturbation):
    """Spikes that are lost on their way out of a cell, each with probability `p`, independently of others.

    A spike is lost for all targets. The neuron still spikes: it resets, adapts, and the spike counts for its target
    rate. The remaining spikes are not scaled by 1 / (1 - p), as every spike has the weight of the synapse. If targets
    need the same mean input in tests, keep the dropout there: `phases="all"`.

    Attributes
    ----------
    p : float
        Probability, from 0 to 1.
    """

    kind = "dropout"
    roles = CELLS

    p: float = Field(ge=0, le=1)
    phases: Phases = ("train",)

    def describe_strength(self) -> str:
        """Return the strength in words."""
        return f"p {self.p:g}"


class Cut(Perturbation):
    """A projection of which nothing arrives; not while weights are learned."""

    kind = "cut"


KINDS: dict[str, type[Perturbation]] = {kind.kind: kind for kind in (Silence, Injection, Dropout, Cut)}


@dataclass(frozen=True)
class Applied:
    """A perturbation that was checked against its target.

    Attributes
    ----------
    name : str
        Unique name.
    of : str
        Name of the target: a population or a projection.
    options : Perturbation
        Kind and settings.
    start : int
        First step of a sample in which it acts.
    stop : int or None
        One past the last step; None: the end of the sample.
    period : int
        Steps between draws of a current.
    """

    name: str
    of: str
    options: Perturbation
    start: int
    stop: int | None
    period: int = 1

    @property
    def kind(self) -> str:
        """Its kind, one of `KINDS`."""
        return self.options.kind

    def steps_of(self, n_steps: int) -> tuple[int, int]:
        """Return the half-open range of steps in which it acts in a sample of `n_steps` steps."""
        stop = n_steps if self.stop is None else min(self.stop, n_steps)
        return min(self.start, stop), stop

    def format_line(self) -> str:
        """Return kind, target, strength and phases in one line."""
        options = self.options
        phases = "all phases" if options.phases is None else ", ".join(options.phases) or "where a test asks for it"
        end = "" if options.stop_ms is None else f" to {options.stop_ms:g}"
        window = f", {options.start_ms:g}{end or ' on'} ms" if options.start_ms or end else ""
        facts = ", ".join(filter(None, (f"{self.kind} {self.of}", options.describe_strength())))
        return f"{self.name}: {facts}; {phases}{window}"


def name_perturbation(kind: type[Perturbation], target: AnyValue, name: str | None) -> str:
    """Return the name of a perturbation; `InputError` if it can't be one, or the target is of another kind."""
    if kind is Cut:
        fits, wanted = isinstance(target, Projection), "a projection of the model, which connect() returned"
    else:
        fits = isinstance(target, Population) and target.role in kind.roles
        wanted = f"a population of {'inputs or neurons' if 'input' in kind.roles else 'neurons'} of the model"
    if not fits:
        raise InputError(f"{kind.kind}: {quote(getattr(target, 'name', target))} must be {wanted}")
    if kind is Cut and target.pre.role == "readout":
        raise InputError(f"cut: projection '{target.name}' carries learning signals, not spikes")
    name = f"{kind.kind}->{target.name}" if name is None else name
    check_name(kind.kind, name, 400)
    return name


def fit_perturbation(name: str, target: Population | Projection, options: Perturbation, dt_ms: float) -> Applied:
    """Check a perturbation against its target; `InputError` names the value and the bound."""
    here = f"{options.kind} '{name}'"
    start, stop = _count_steps(here, "start_ms", options.start_ms, dt_ms), None
    if options.stop_ms is not None:
        stop = _count_steps(here, "stop_ms", options.stop_ms, dt_ms)
        if stop <= start:
            raise InputError(f"{here}: stop_ms = {options.stop_ms:g} must be above start_ms = {options.start_ms:g}")
    period = 1
    if isinstance(options, Injection):
        check_lengths(options, target.size if isinstance(target, Population) else 0, here)
        period = 1 if options.dt is None else _count_steps(here, "dt", options.dt, dt_ms)
    if isinstance(options, Silence) and options.cells is not None:
        assert isinstance(target, Population)
        options = options.model_copy(update={"cells": _check_cells(here, options.cells, target)})
    if options.kind == "cut" and options.acts_in("train"):
        raise InputError(f"{here}: phases must not have 'train': what arrives nowhere has nothing to learn from")
    return Applied(name, target.name, options, start, stop, period)


def _count_steps(here: str, name: str, ms: float, dt_ms: float) -> int:
    steps = round(ms / dt_ms)
    if abs(steps * dt_ms - ms) > 1e-6 * dt_ms:
        raise InputError(f"{here}: {name} = {ms:g} must be whole steps of {dt_ms:g} ms")
    return steps


def _check_cells(here: str, cells: object, target: Population) -> tuple[int, ...]:
    try:
        ids = np.atleast_1d(np.asarray(cells))
    except ValueError:
        ids = np.array(None)
    if ids.dtype.kind not in "iu" or ids.ndim != 1:
        raise InputError(f"{here}: cells = {quote(cells)} must be whole numbers, from 0 on")
    for wrong in ids[(ids < 0) | (ids >= target.size)][:1]:
        raise InputError(f"{here}: cells: {wrong} must lie in 0 to {target.size - 1}, '{target.name}' has no more")
    return tuple(np.unique(ids).tolist())


def check_std(here: str, std: np.ndarray, first: int) -> None:
    """Raise `InputError` for the first standard deviation of neurons from `first` on that was drawn below 0."""
    (bound,) = (item for item in list_bounds(Injection) if item.name == "std")
    if broken := bound.find_broken(std, bound.limit):
        raise InputError(f"{here}: std of neuron {first + broken[0]} is {broken[1]:g}, {broken[2]}")


def list_notes(applied: Applied) -> list[str]:
    """Return a line for each part of a perturbation that has no effect, or is likely a mistake."""
    options, here = applied.options, f"{applied.kind} '{applied.name}'"
    notes = []
    for phase in options.phases or ():
        if phase not in PHASES and "did you mean" in (hint := suggest_name(phase, PHASES)):  # scripts may name others
            notes.append(f"{here}: phase '{phase}' is not one of a run{hint}")
    if isinstance(options, Injection) and not any(
        isinstance(value, Distribution) or np.any(value) for value in (options.mean, options.std)
    ):
        notes.append(f"{here}: mean and std are 0, it has no effect")
    if isinstance(options, Dropout) and not options.p:
        notes.append(f"{here}: p is 0, it has no effect")
    return notes


def choose_perturbations(everything: Sequence[Applied], phase: str, asked: Sequence[object] | None) -> list[Applied]:
    """Return the perturbations that act in a phase, or the requested ones, by name or as objects.

    Raises `InputError` for a perturbation that the model does not have.
    """
    if asked is None:
        return [item for item in everything if item.options.acts_in(phase)]
    if isinstance(asked, str | Applied) or not isinstance(asked, Sequence):
        raise InputError(f"perturb = {quote(asked)} must be a list of perturbations of the model, or of their names")
    known: Mapping[str, Applied] = {item.name: item for item in everything}
    names = [str(getattr(item, "name", item)) for item in asked]
    for name in names:
        if name not in known:
            raise InputError(f"perturb: the model has no perturbation {quote(name)}{suggest_name(name, known)}")
    return [item for item in everything if item.name in names]


def find_steps(applied: Sequence[Applied], first: int, last: int, n_steps: int) -> list[tuple[int, int, list[str]]]:
    """Split steps [first, last) of a sample where cuts begin or end; return ranges, and the projections cut in each."""
    cuts = [(item.of, *item.steps_of(n_steps)) for item in applied if item.kind == "cut"]
    edges = sorted({first, last, *(edge for _, *ends in cuts for edge in ends if first < edge < last)})
    return [
        (low, high, [of for of, start, stop in cuts if start <= low < stop]) for low, high in itertools.pairwise(edges)
    ]


def list_cell_ranges(options: Perturbation, population: Population) -> list[tuple[int, int]]:
    """Return the cells of a population on which a perturbation acts, as half-open ranges."""
    cells = getattr(options, "cells", None)
    if cells is None:
        return [(0, population.size)]
    ids = np.asarray(cells, np.int64)
    ends = np.flatnonzero(np.diff(ids) != 1) + 1
    return [(int(part[0]), int(part[-1]) + 1) for part in np.split(ids, ends) if len(part)]


def draw_lost(key: np.ndarray, steps: np.ndarray, numbers: np.ndarray, p: float) -> np.ndarray:
    """Return whether each spike is lost, by the step of the run and the number of the cell; see perturbed.pxi."""
    lost = np.zeros(len(steps), bool)
    for step in np.unique(steps):
        mine = np.flatnonzero(steps == step)
        draws = rng.draw_uniform(key, [step], int(numbers[mine].max()) + 1)[0]
        lost[mine] = draws[numbers[mine]] < p
    return lost
