"""Signs of weights, before and after learning: signs of sources (Dale's law), or of ports.

A source excites or inhibits all its targets. A port that takes weights of at least 0 binds all its sources to +1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from ..errors import InputError, quote
from ..values import AnyValue
from .parameters import Distribution, array_of
from .rule_base import Described

SIGNS = (-1, 0, 1)


def check_cell_signs(values: object, size: int, here: str) -> np.ndarray:
    """Return checked signs, int8 (size,), read-only: +1, -1 or 0 (not bound), from one per cell or one for all.

    `here` is the owner of the signs. `InputError` names the first wrong cell and its value.
    """
    array = array_of(values, f"{here}: sign")
    if array.ndim > 1 or (array.ndim and len(array) != size):
        raise InputError(f"{here}: sign has shape {array.shape}, must be one number or {size}")
    wrong = np.flatnonzero(~np.isin(array, SIGNS))
    if len(wrong):
        where = f" of cell {wrong[0]}" if array.ndim else ""
        raise InputError(f"{here}: sign{where} = {np.ravel(array)[wrong[0]]} must be +1, -1 or 0")
    return np.broadcast_to(array.astype(np.int8), size)


def find_source_signs(sign: AnyValue, cells: ArrayLike, size: int, here: str) -> np.ndarray | None:
    """Return the signs of sources that bind a projection, int8 (size,); None if no source is bound.

    `sign` is "source" for the signs `cells` of the source population, "free" for none, or +1, -1, 0 for each source.
    Raises `InputError`, starting with `here`, for another word, or a wrong sign.
    """
    if isinstance(sign, str):
        if sign not in ("source", "free"):
            raise InputError(f"{here}: sign = {quote(sign)} must be 'source', 'free' or signs of the sources")
        if sign == "source" and isinstance(cells, np.ndarray):  # checked with its population
            return cells
        sign = cells if sign == "source" else 0
    source_signs = check_cell_signs(sign, size, here)
    return source_signs if np.any(sign) else None  # for 2^31 sources without a sign this is one number


def find_weight_sign(projection: Described) -> int:
    """Return the initial sign of a projection's weights (drawn ones: of their median); 0 if both signs occur."""
    weight = projection.weight.center if isinstance(projection.weight, Distribution) else projection.weight
    found = np.unique(np.sign(weight if projection.signs is None else projection.signs))
    found = found[found != 0]
    return int(found[0]) if len(found) == 1 else 0


def find_projection_signs(sign: object, projection: Described, here: str) -> np.ndarray | None:
    """Return the signs that bind a projection, as `find_source_signs`; given weights must have these signs."""
    pre, of_port = projection.pre, projection.requires_positive
    if isinstance(sign, str) and sign == "free" and not of_port:
        return None
    if not isinstance(sign, str) and pre.role not in ("input", "recurrent"):
        raise InputError(f"{here}: sign needs sources that are inputs or neurons, not {pre.role}")
    signs = find_source_signs(sign, 0 if pre.sign is None else pre.sign, pre.size, here)
    if of_port:
        for first in np.flatnonzero(signs < 0)[:1] if signs is not None else ():
            which = "" if projection.port else f"give the port ({' or '.join(projection.post.ports)}) and "
            remedy = f"{which}leave out sign: the port says it"
            raise InputError(f"{here}: sign of source {first} is -1; {of_port}; {remedy}")
        signs = np.broadcast_to(np.int8(1), pre.size)
        if isinstance(projection.weight, Distribution):
            check_drawn(projection.weight, of_port, here)
    if signs is not None and projection.source is not None:
        check_weights(signs, projection.source, projection.weight, of_port, here)
    return signs


def check_drawn(weight: Distribution, of_port: str, here: str) -> None:
    """Raise `InputError` if most drawn weights are below 0; otherwise absolute values are taken."""
    if weight.center < 0:
        shown = f"{weight.center:g} is below 0" if weight.is_constant else f"{weight} is mostly below 0"
        raise InputError(f"{here}: weight = {shown}; {of_port}")


def check_weights(signs: np.ndarray, source: np.ndarray, weight: np.ndarray, of_port: str | None, here: str) -> None:
    """Raise `InputError` if given weights have another sign than their sources, or than their port requires."""
    wrong = np.flatnonzero(weight * signs[source] < 0)
    if len(wrong):
        first = wrong[0]
        if of_port:
            which = f"the first is {weight[first]:g} of source {source[first]}"
            raise InputError(f"{here}: {len(wrong)} weights are below 0, {which}; {of_port}")
        raise InputError(
            f"{here}: {len(wrong)} weights have not the sign of their source, the first is weight {weight[first]:g} of "
            f"source {source[first]}, whose sign is {signs[source[first]]:+d}"
        )


def check_bounds(signs: np.ndarray, low: float, high: float, of_port: str | None, here: str) -> None:
    """Raise `InputError` if Wmin = `low` or Wmax = `high` excludes a sign that occurs."""
    if high < 0 and np.any(signs > 0):
        why = f"; {of_port}" if of_port else ", there are sources of sign +1"
        raise InputError(f"{here}: Wmax = {high:g} must be at least 0{why}")
    if low > 0 and np.any(signs < 0):
        raise InputError(f"{here}: Wmin = {low:g} must be at most 0, there are sources of sign -1")
