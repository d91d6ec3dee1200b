"""Functions of random parameters draw NEST's numbers."""

from pathlib import Path

import numpy as np
import pytest
from tutorials import find_shipped, run

pytestmark = pytest.mark.peer

SCRIPT = """
import nest
nest.verbosity = nest.VerbosityLevel.FATAL
kept = {}
makers = {
    "exp": lambda x: nest.math.exp(x), "sin": lambda x: nest.math.sin(3.0 * x), "cos": lambda x: nest.math.cos(x),
    "min": lambda x: nest.math.min(x, 0.2), "max": lambda x: nest.math.max(x, -0.1) + 1.0,
    "redraw": lambda x: nest.math.redraw(x, -0.3, 0.5),
    "all": lambda x: nest.math.exp(nest.math.redraw(x, -1.0, 1.0) * x),
}
for n in (1, 3):
    for name, make in makers.items():
        nest.ResetKernel()
        nest.set(total_num_virtual_procs=n)
        kept[f"{name} {n}"] = nest.Create("eprop_iaf", 50, {"I_e": make(nest.random.normal(0.0, 1.0))}).get("I_e")
events_all = kept
"""


def test_nests_numbers(tmp_path: Path) -> None:
    find_shipped("nest/__init__.py")
    ours, peer = run(SCRIPT, tmp_path), run(SCRIPT, tmp_path, peer=True)
    for key, values in peer.items():
        np.testing.assert_allclose(ours[key], values, rtol=1e-13, atol=1e-15, err_msg=key)
