"""The result of a run in one number, read from its results file: of validation, test or training."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .. import hdf5
from ..later import h5py
from ..values import Values

VALIDATIONS = {"share of wrong samples": "accuracy", "loss": "loss", "return": "return"}  # unit in the file to name
HIGHEST = ("accuracy", "return")  # higher values of these are better


@dataclass(frozen=True)
class Result:
    """The number by which a run is compared with others.

    Attributes
    ----------
    name : str
        Name of the number, such as "test accuracy".
    value : float
        The number.
    n : int
        Number of samples or episodes of which it is the mean.
    """

    name: str
    value: float
    n: int = 1

    @property
    def highest_is_best(self) -> bool:
        """Whether higher values are better."""
        return self.name.endswith(HIGHEST)


def settings_of(file: h5py.File) -> Values:
    """Return section [run] of the configuration of the run."""
    return hdf5.list_sections(file).get("run", {})


def read_test_result(file: h5py.File) -> Result | None:
    """Return the accuracy, mean return or mean loss of the test; None without a test."""
    test = hdf5.find_child(file, "test")
    if test is None:
        return None
    if "accuracy" in test.attrs:
        return Result("test accuracy", float(test.attrs["accuracy"]))
    for name, text in (("returns", "test return"), ("loss", "test loss")):
        if (values := hdf5.read_values(test, name)) is not None and len(values):
            return Result(text, float(np.mean(values)), len(values))
    return None


def read_validation_result(file: h5py.File) -> Result | None:
    """Return accuracy, mean return or mean loss of the validation whose weights the run kept, or of the last one.

    None without a validation.
    """
    validation = hdf5.find_child(file, "validation")
    pair = None if validation is None else hdf5.read_pair(validation, "iteration", "value")
    if validation is None or pair is None or not len(pair[0]):
        return None
    iterations, values = pair
    kept = np.flatnonzero(iterations == validation.attrs.get("weights_after", iterations[-1]))
    value = float(values[kept[-1] if len(kept) else -1])
    kind = VALIDATIONS.get(hdf5.read_text(validation["value"], "unit"), "")
    return Result(f"validation {kind}".strip(), 1.0 - value if kind == "accuracy" else value)


def read_training_result(file: h5py.File) -> Result | None:
    """Return the mean return, or the loss, of the last training iteration; None without an iteration."""
    for name, text in (("mean_return", "return"), ("loss", "loss")):
        if (values := hdf5.read_values(file, name)) is not None and len(values):
            return Result(text, float(values[-1]))
    return None
