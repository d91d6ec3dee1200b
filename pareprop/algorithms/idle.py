"""Take many steps of an optimizer without a gradient at once, for all optimizers with a `series`.

At an arrival the optimizer catches up with the time steps since the arrival before: the first step has the gradient,
the others have none. In step i a weight loses rate_i factor^i / (1 - x (growth^i - 1)), times a factor that all steps
share; only x differs between synapses (`Optimizer.series`). With
    1 / (1 - x (growth^i - 1)) = sum_k (x (growth^i - 1))^k
all steps together are sum_k x^k sum_i rate_i factor^i (growth^i - 1)^k: for Adam a root and a division, whatever their
number. They are taken in parts in which growth^i - 1 stays below 1/16, so that 13 terms suffice, 6 in single precision
(Adam's x lies between -1 and 0); a part that factor^i has made less than 1e-20 changes no weight.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .. import elementary
from ..kernels import optimizers as kernel
from ..network.optimizers import Optimizer

MOST_IDLE, IDLE_COLUMNS, IDLE_GROWTH, IDLE_REST = 128, 16, 1.0 / 16.0, 1e-20  # see optimizers.pxi


def tabulate_idle_steps(optimizers: Sequence[Optimizer]) -> tuple[list[int], dict[str, np.ndarray]]:
    """Return the tables with which kernels take steps without a gradient at once, see the module.

    Parameters
    ----------
    optimizers : sequence of Optimizer
        Optimizer of each block of synapses.

    Returns
    -------
    list of int
        Row of each block in the tables.
    dict
        "idle_powers", float64 (n_rows, 128, 16): factor^i (growth^i - 1)^k from i = 1 on; "idle_steps",
        int64 (n_rows, 2): steps of a part, 0 if they are taken one by one, and steps after which weights no longer
        change.
    """
    settings = [(item.code, tuple(item.constants)) for item in optimizers]
    places = list(dict.fromkeys(settings))
    powers, steps = np.zeros((len(places), MOST_IDLE, IDLE_COLUMNS)), np.zeros((len(places), 2), np.int64)
    i = np.arange(1, MOST_IDLE + 1)
    for k, (code, constants) in enumerate(places):
        factor, growth = kernel.terms(code, np.array(constants, float))
        if not (factor > 0.0 and np.isfinite(growth)):
            continue
        y = elementary.power(growth, i)
        part = int(np.count_nonzero(y - 1.0 <= IDLE_GROWTH))
        powers[k, :part, 0] = elementary.power(factor, i[:part])
        for column in range(1, IDLE_COLUMNS):
            powers[k, :part, column] = powers[k, :part, column - 1] * (y[:part] - 1.0)
        rest = 0 if factor == growth == 1.0 else np.iinfo(np.int64).max  # weights stay where nothing fades
        steps[k] = part, int(elementary.log(IDLE_REST) / elementary.log(factor)) + 1 if factor < 1.0 else rest
    return [*map(places.index, settings)], {"idle_powers": powers, "idle_steps": steps}
