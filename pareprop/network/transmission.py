"""Short-term plasticity of the rows of a table: constants of their sources, and x and u at their latest spikes."""

from __future__ import annotations

import numpy as np

from .. import elementary, rng
from ..errors import InputError
from ..kernels import layout
from .connectivity import Projection
from .model import Model
from .parameters import Distribution

STATE = slice(layout.UTILISATION, layout.LATEST_SPIKE + 1)
LIVE, AGAIN = 0, 1  # factors of the running network; of the second pass through an interval, for its gradient


def fill_rows(model: Model, projection: Projection, source: np.ndarray, rows: np.ndarray) -> None:
    """Write the short-term plasticity of a projection's rows, (n_rows, FACTOR_COLUMNS), of sources (n_rows,)."""
    given = projection.transmission
    assert given is not None

    def find_values(name: str) -> np.ndarray:
        value = getattr(given, name)
        if isinstance(value, Distribution):
            key = f"{projection.pre.name}/{projection.name}/transmission/{name}"  # as of `local.draw_cell_values`
            drawn = value.draw_values(rng.make_key(model.seed, key), source)[:, 0]
            _require_bounds(f"projection '{projection.name}': transmission", name, drawn)
            return drawn
        return np.broadcast_to(np.asarray(value, float), projection.pre.size)[source]

    U, tau_fac = find_values("U"), find_values("tau_fac")
    rows[:, layout.FACTOR_U] = U
    rows[:, layout.RECOVERY] = -model.dt_ms / find_values("tau_rec")
    rows[:, layout.FACILITATION] = np.where(tau_fac > 0, -model.dt_ms / np.where(tau_fac > 0, tau_fac, 1.0), 0.0)
    rows[:, layout.FIRST_UTILISATION] = U if given.u is None else find_values("u")
    rows[:, layout.FIRST_RESOURCES] = 1.0 if given.x is None else find_values("x")


def start_rows(rows: np.ndarray) -> None:
    """Set x and u of rows to their values before the first spike."""
    rows[:, layout.UTILISATION] = rows[:, layout.FIRST_UTILISATION]
    rows[:, layout.RESOURCES] = rows[:, layout.FIRST_RESOURCES]
    rows[:, layout.LATEST_SPIKE] = layout.NEVER


def advance_row(row: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Return the factors of spikes that arrive at a row in ascending `steps`; update its x and u to the last spike.

    A row without a spike so far has minus infinity as the step of its latest spike.
    """
    factors = np.ones(len(steps))
    U, u, x, latest = row[[layout.FACTOR_U, layout.UTILISATION, layout.RESOURCES, layout.LATEST_SPIKE]]
    for place, step in enumerate(steps):
        if np.isfinite(latest):
            n = step - latest
            x = 1.0 + (x - x * u - 1.0) * elementary.exp(n * row[layout.RECOVERY])
            grown = u * (1.0 - U) * elementary.exp(n * row[layout.FACILITATION]) if row[layout.FACILITATION] else 0.0
            u = U + grown
        latest, factors[place] = step, x * u
    row[[layout.UTILISATION, layout.RESOURCES, layout.LATEST_SPIKE]] = u, x, latest
    return factors


def _require_bounds(here: str, name: str, drawn: np.ndarray) -> None:
    low, high = (0.0, np.inf) if name.startswith("tau") else (0.0, 1.0)
    wrong = drawn[~((drawn > low) & (drawn <= high)) & ~((drawn == 0.0) & (name == "tau_fac"))]
    for value in wrong[:1]:
        bound = "above 0" if name.startswith("tau") else "above 0, at most 1"
        raise InputError(f"{here}: {name} drawn is {value:g}, must be {bound}")
