"""Steps of Adam without a gradient, many of which are taken at once."""

from __future__ import annotations

import numpy as np

from .. import elementary

MOST_IDLE, IDLE_COLUMNS, IDLE_GROWTH, IDLE_REST = 128, 16, 1.0 / 16.0, 1e-20  # see idle_adam.pxi


def idle_steps(betas: np.ndarray, adam: np.ndarray) -> dict[str, np.ndarray]:
    """Return what the kernel needs to take steps of Adam without a gradient at once, see `idle_adam.pxi`.

    Parameters
    ----------
    betas : np.ndarray
        float64 (n_blocks, 2), `beta_1` and `beta_2` of each block of synapses.
    adam : np.ndarray
        bool (n_blocks,), whether its optimizer is Adam.

    Returns
    -------
    dict
        "idle_of", int64 (n_blocks,): place of a block's constants; "idle_powers", float64 (n_places, 128, 16): r^i
        (y_i - 1)^k from i = 1 on; "idle_steps", int64 (n_places, 2): steps of a part, 0 if beta_2 forgets too fast, and
        steps after which nothing moves.
    """
    pairs = [tuple(line) for line in betas.tolist()]
    places = list(dict.fromkeys(pair for pair, used in zip(pairs, adam, strict=True) if used))
    powers, steps = np.zeros((len(places), MOST_IDLE, IDLE_COLUMNS)), np.zeros((len(places), 2), np.int64)
    i = np.arange(1, MOST_IDLE + 1)
    for k, (beta_1, beta_2) in enumerate(places):
        if min(beta_1, beta_2) <= 0.0 or max(beta_1, beta_2) >= 1.0:
            continue
        y, r = elementary.power(1.0 / np.sqrt(beta_2), i), beta_1 / np.sqrt(beta_2)
        part = int(np.count_nonzero(y - 1.0 <= IDLE_GROWTH))
        powers[k, :part, 0] = elementary.power(r, i[:part])
        for column in range(1, IDLE_COLUMNS):
            powers[k, :part, column] = powers[k, :part, column - 1] * (y[:part] - 1.0)
        ends = int(elementary.log(IDLE_REST) / elementary.log(r)) + 1 if r < 1.0 else np.iinfo(np.int64).max
        steps[k] = part, ends
    idle_of = [places.index(pair) if used else 0 for pair, used in zip(pairs, adam, strict=True)]
    return {"idle_of": np.array(idle_of, np.int64), "idle_powers": powers, "idle_steps": steps}
