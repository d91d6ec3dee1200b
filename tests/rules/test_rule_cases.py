"""The golden cases of learning rules and short-term plasticity, on one rank and on three."""

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from case_files import find
from commands import verify_on_ranks

from pareprop.parallel.launcher import exchange
from pareprop.runs import cases, verify

CASES = find("rules")


@pytest.mark.slow
@pytest.mark.mpi
def test_cases_hold_on_ranks() -> None:
    """Spikes, readouts, states, weights, gradients and states of synapses."""
    verify_on_ranks(CASES, held="gradients")


@pytest.mark.parametrize("key", ["gradient_rec"])
def test_another_gradient_does_not_hold(key: str, tmp_path: Path) -> None:
    path = shutil.copy(CASES[0], tmp_path / "case.h5")
    Path(path).chmod(0o644)
    with h5py.File(path, "r+") as file:
        values = file[f"expected/{key}"]
        values[...] = values[()] + 1e-6 * np.nanmax(np.abs(values[()]))
    assert not verify.verify_case(cases.load(path), exchange()).holds
