"""NEST's e-prop tutorials and tests, as the wheel ships them, run with NEST and with `pareprop nest`."""

import importlib.metadata
import os
import subprocess
from pathlib import Path

import nest_tutorials
import numpy as np
import pytest
from nest_tutorials import order
from ranks import python
from ranks import run as run_on_ranks

RUNNER = Path(nest_tutorials.__file__).resolve()


def find_shipped(ending: str) -> Path:
    """A file of the wheel; the test is skipped without it."""
    try:
        return nest_tutorials.find_shipped(ending)
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("no NEST: install the extra 'peer'")


def tutorial(name: str) -> Path:
    """A tutorial by its short name."""
    return find_shipped(f"eprop_plasticity/eprop_{nest_tutorials.NAMES[name]}.py")


def run(
    code: str, folder: Path, peer: bool = False, ranks: int = 1, timeout: float = 300, options: tuple[str, ...] = ()
) -> dict[str, np.ndarray]:
    """Run a script, with NEST if `peer`; return what it computed, and the digest; `options` of `pareprop nest`."""
    if peer:
        find_shipped("nest/__init__.py")
    folder.mkdir(parents=True, exist_ok=True)
    name = "peer" if peer else f"ours-{ranks}"
    script, kept = folder / f"{name}.py", folder / f"{name}.npz"
    script.write_text(code)
    environment = {"MPLBACKEND": "Agg", "PYNEST_QUIET": "1"}
    if peer or ranks == 1:
        front = python("nest") if peer else [*python(), "-m", "pareprop", "nest", "--timings", *options]
        line, own = list(map(str, [*front, RUNNER, script, kept])), {"cwd": folder, "env": os.environ | environment}
        done = subprocess.run(line, capture_output=True, text=True, timeout=timeout, check=False, **own)
    else:
        line = ("-m", "pareprop", "nest", "--timings", *options, RUNNER, script, kept)
        done = run_on_ranks(ranks, *line, timeout=timeout, cwd=folder, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    found = dict(np.load(kept))
    if not peer:
        found["digest"] = "".join(done.stdout.splitlines()[-1:])
        found["told"] = done.stderr
    return found


def assert_same(ours: dict, peer: dict, losses: float = 1e-8, weights: float = 1e-9, others: float = 1e-7) -> None:
    """Spikes equal, losses, weights and everything recorded as close as said."""
    for key, other in peer.items():
        one = ours[key]
        assert one.shape == other.shape, f"{key}: {one.shape} instead of {other.shape}"
        if "/" in key:
            recorder = key.split("/")[0]
            one, other = one[order(ours, recorder)], other[order(peer, recorder)]
        if other.dtype.kind in "iuUb" or key.endswith("times"):
            assert np.array_equal(one, other), key
        else:
            bound = losses if "loss" in key else weights if "weight" in key else others
            np.testing.assert_allclose(one, other, rtol=0 if "weight" in key else bound, atol=bound, err_msg=key)
