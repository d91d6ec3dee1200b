"""The golden cases of learning rules and short-term plasticity, on one rank and on three."""

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from case_files import find
from commands import verify_on_ranks
from params import first

from pareprop.parallel.launcher import exchange
from pareprop.runs import cases, verify

CASES = find("rules")
FAST = ("interval-pair-stdp-eprop-adam-delays", "spike-stp-eprop-cutoff-ottt")


@pytest.mark.parametrize("path", first(0, sorted(CASES, key=lambda path: Path(path).stem not in FAST), rest=2))
def test_case_holds(path: str) -> None:
    """Spikes, readouts, states, weights, gradients and states of synapses."""
    verdict = verify.verify(cases.load(path), exchange())
    assert verdict.holds, verdict.line
    assert "gradients" in verdict.line


@pytest.mark.slow
@pytest.mark.mpi
def test_cases_hold_on_ranks() -> None:
    verify_on_ranks(CASES, held="gradients")


@pytest.mark.parametrize("key", ["gradient_rec"])
def test_another_gradient_does_not_hold(key: str, tmp_path: Path) -> None:
    path = shutil.copy(CASES[0], tmp_path / "case.h5")
    Path(path).chmod(0o644)
    with h5py.File(path, "r+") as file:
        values = file[f"expected/{key}"]
        values[...] = values[()] + 1e-6 * np.nanmax(np.abs(values[()]))
    assert not verify.verify(cases.load(path), exchange()).holds
