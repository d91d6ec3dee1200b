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

    Parts of a `Tuple` or `Dict` stand side by side.

    Parameters
    ----------
    space : gymnasium.Space
        Space of the observations.
    low, high : sequence of float
        Ranges of all numbers, one after the other; empty: those of the space.
    cells, sigma, peak : int, float, float
        As in `PopulationCode`; a state of a `Discrete` drives `cells` sources with probability `peak`.

    Raises
    ------
    InputError
        For other spaces, and numbers without a finite range.
    """

    def __init__(
        self, space: Foreign, low: Sequence[float], high: Sequence[float], cells: int, sigma: float, peak: float
    ) -> None:
        self.space, self._cells, self._peak = space, cells, peak
        self._parts = list(_parts(space, ""))
        if (n_numbers := sum(part.shape[0] for _, _, part in self._parts if kind_of(part) == "Box")) > MOST_NUMBERS:
            raise InputError(f"the observations have {n_numbers} numbers, must have at most {MOST_NUMBERS}")
        own = [bounds for _, _, part in self._parts for bounds in _ranges(part)]
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
        self._states = [int(part.n) for _, _, part in self._parts if kind_of(part) == "Discrete"]

    @property
    def n_sources(self) -> int:
        """Number of sources: first the cells of all numbers, then the sources of all states."""
        return (self._code.n_sources if self._code else 0) + self._cells * int(sum(self._states))

    def flat(self, observation: Foreign) -> np.ndarray:
        """Return an observation as float64 (n,): all numbers, then all states, counted from 0.

        Raises
        ------
        InputError
            If the observation is not in its space.
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
            if kind_of(part) == "Discrete":
                states.append(float(int(value) - int(part.start)))
            else:
                numbers.extend(np.asarray(value, float).ravel())
        return np.array(numbers + states)

    def probability(self, observation: np.ndarray) -> np.ndarray:
        """Return the probability of a spike per step, float64 (n_sources,), for a flat observation."""
        n = len(observation) - len(self._states)
        parts = [self._code.probability(observation[:n])] if self._code else []
        for count, state in zip(self._states, observation[n:], strict=True):
            one_hot = np.zeros((count, self._cells))
            one_hot[int(state)] = self._peak
            parts.append(one_hot.ravel())
        return np.concatenate(parts)


def kind_of(space: Foreign) -> str:
    """Return the name of the class of a space."""
    return type(space).__name__


def _parts(space: Foreign, name: str, path: tuple = ()) -> Iterator[tuple[tuple, str, Foreign]]:
    """Yield path, name and space of each `Box` and `Discrete`."""
    if kind_of(space) in ("Tuple", "Dict"):
        items = space.spaces.items() if kind_of(space) == "Dict" else enumerate(space.spaces)
        for key, inner in items:
            yield from _parts(inner, f"{name}/{key}", (*path, key))
    elif kind_of(space) == "Discrete" or (kind_of(space) == "Box" and len(space.shape) == 1):
        yield path, name, space
    else:
        raise InputError(
            f"observation space{f' {name}' if name else ''} {shorten(str(space), 200)}: must be Box of one "
            "dimension, Discrete, or a Tuple or Dict of those"
        )


def _ranges(part: Foreign) -> list[tuple[float, float]]:
    if kind_of(part) == "Discrete":
        return []
    return list(zip(map(float, part.low), map(float, part.high), strict=True))
