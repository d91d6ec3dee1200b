"""What a run came to, in one number: by which runs are compared."""

from __future__ import annotations

from dataclasses import dataclass

import h5py
import numpy as np

from ..plots import reader


@dataclass(frozen=True)
class Outcome:
    """The number by which a run is compared with others.

    Attributes
    ----------
    name : str
        What it is, such as "test accuracy".
    value : float
        The number.
    highest_is_best : bool
        Whether more of it is better.
    n : int
        Number of values of which it is the mean.
    """

    name: str
    value: float
    highest_is_best: bool
    n: int = 1


def outcome(file: h5py.File) -> Outcome | None:
    """Return the outcome of a run; None if it has trained and tested nothing.

    The first of these that there is: test accuracy, mean return of the test, mean loss of the test, mean return of the
    last training iteration, validation (the last one), loss (the last one).
    """
    test, validation = reader.child(file, "test"), reader.child(file, "validation")
    if test is not None and "accuracy" in test.attrs:
        return Outcome("test accuracy", float(test.attrs["accuracy"]), True)
    returns = reader.values(file, "mean_return")
    for node, name, text, highest in (
        (test, "returns", "test return", True),
        (test, "loss", "test loss", False),
    ):
        if node is not None and (values := reader.values(node, name)) is not None and len(values):
            return Outcome(text, float(np.mean(values)), highest, len(values))
    if returns is not None and len(returns):
        return Outcome("return", float(returns[-1]), True)
    for node, name, text in ((validation, "value", "validation"), (file, "loss", "loss")):
        if node is not None and (values := reader.values(node, name)) is not None and len(values):
            return Outcome(text, float(values[-1]), False)
    return None
