"""Code observations of Gymnasium's spaces as spikes of input cells: numbers by tuning curves, states one-hot."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ..errors import InputError, shorten
from ..values import Foreign
from .population_code import PopulationCode

MOST_NUMBERS = 10**6  # observations of more numbers are refused; each number drives several sources


class SpaceCode:
    """Population code of a space: cells for each number of a `Box`, sources for each state of a `Discrete`.

    The parts of a `Tuple` or `Dict` are concatenated. `low` and `high` are the ranges of all numbers, empty for the
    ranges of the space; `cells`, `sigma` and `peak` are as in `PopulationCode`, and a state of a `Discrete` drives
    `cells` sources with probability `peak`. Other spaces, and numbers without a finite range, raise `InputError`.
    """

    def __init__(
        self, space: Foreign, low: Sequence[float], high: Sequence[float], cells: int, sigma: float, peak: float
    ) -> None:
        self.space, self._cells, self._peak = space, cells, peak
        self._parts = list(_list_parts(space, ""))
        if (
            n_numbers := sum(part.shape[0] for _, _, part in self._parts if name_space_kind(part) == "Box")
        ) > MOST_NUMBERS:
            raise InputError(f"the observations have {n_numbers} numbers, must have at most {MOST_NUMBERS}")
        own = [bounds for _, _, part in self._parts for bounds in _list_ranges(part)]
        for name, given in (("low", low), ("high", high)):
            if len(given) not in (0, len(own)):
                raise InputError(f"{name} has {len(given)} values, the observations have {len(own)} numbers")
        low, high = low or [bounds[0] for bounds in own], high or [bounds[1] for bounds in own]
        for k, (lowest, highest) in enumerate(zip(low, high, strict=True)):
            if not (np.isfinite(lowest) and np.isfinite(highest) and highest - lowest < 1e30):
                raise InputError(
                    f"component {k} of the observation has the range {lowest:g} to {highest:g}: give a finite one with "
                    "low and high"
                )
        self._code = PopulationCode(tuple(low), tuple(high), cells, sigma, peak) if own else None
        self._states = [int(part.n) for _, _, part in self._parts if name_space_kind(part) == "Discrete"]

    @property
    def n_sources(self) -> int:
        """Number of sources: first the cells of all numbers, then the sources of all states."""
        return (self._code.n_sources if self._code else 0) + self._cells * int(sum(self._states))

    def flatten_observation(self, observation: Foreign) -> np.ndarray:
        """Return an observation as float64 (n,): all numbers, then all states, counted from 0.

        An observation that is not in the space raises `InputError`.
        """
        if not self.space.contains(observation):
            shown = shorten(" ".join(str(observation).split()), 200)
            raise InputError(f"observation {shown} is not in its space {self.space}")
        numbers: list[np.ndarray] = []
        states: list[float] = []
        for path, _, part in self._parts:
            value = observation
            for key in path:
                value = value[key]
            if name_space_kind(part) == "Discrete":
                states.append(float(int(value) - int(part.start)))
            else:
                numbers.extend(np.asarray(value, float).ravel())
        return np.array(numbers + states)

    def compute_probabilities(self, observation: np.ndarray) -> np.ndarray:
        """Return the probability of a spike per step, float64 (n_sources,), for a flat observation."""
        n = len(observation) - len(self._states)
        parts = [self._code.compute_probabilities(observation[:n])] if self._code else []
        for count, state in zip(self._states, observation[n:], strict=True):
            one_hot = np.zeros((count, self._cells))
            one_hot[int(state)] = self._peak
            parts.append(one_hot.ravel())
        return np.concatenate(parts)


def name_space_kind(space: Foreign) -> str:
    """Return the name of the class of a space."""
    return type(space).__name__


def _list_parts(space: Foreign, name: str, path: tuple = ()) -> Iterator[tuple[tuple, str, Foreign]]:
    """Yield path, name and space of each `Box` and `Discrete`."""
    if name_space_kind(space) in ("Tuple", "Dict"):
        items = space.spaces.items() if name_space_kind(space) == "Dict" else enumerate(space.spaces)
        for key, inner in items:
            yield from _list_parts(inner, f"{name}/{key}", (*path, key))
    elif name_space_kind(space) == "Discrete" or (name_space_kind(space) == "Box" and len(space.shape) == 1):
        yield path, name, space
    else:
        raise InputError(
            f"observation space{f' {name}' if name else ''} {shorten(str(space), 200)}: must be Box of one "
            "dimension, Discrete, or a Tuple or Dict of those"
        )


def _list_ranges(part: Foreign) -> list[tuple[float, float]]:
    if name_space_kind(part) == "Discrete":
        return []
    return list(zip(map(float, part.low), map(float, part.high), strict=True))
