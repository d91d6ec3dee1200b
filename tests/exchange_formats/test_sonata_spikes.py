"""Times of spikes that leave the package are NEST's, and lead back to the same steps."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import small
from commands import output_of

import pareprop
from pareprop import Sample
from pareprop.sonata import spikes
from pareprop.storage.opened import RunResults

pytestmark = pytest.mark.usefixtures("no_figures")
CURRENTS = [400.0, 500.0, 700.0]  # pA
STEPS = 600


@pytest.fixture
def run(tmp_path: Path) -> RunResults:
    """Neurons that spike by themselves, for 60 ms."""
    own, zero = {"kind": "iaf_psc_exp", "cell": {"I_e": CURRENTS}, "defaults": True}, {"weight": 0.0}
    model = small.network("spike", 4, 3, **own, into=zero, onto=zero, back=zero, dt_ms=0.1)
    raster = np.random.default_rng(3).random((STEPS, 4)) < 0.1
    task = small.Once(Sample.from_raster(raster, np.zeros((STEPS, 1))), STEPS)
    record = {"every": 1, "what": ["spikes", "input_spikes"]}
    pareprop.run(model, task, tmp_path / "run", record=record, iterations=1, quiet=True)
    return pareprop.open_run(tmp_path / "run")


def test_exported_spikes_are_read_back_in_the_same_steps(
    run: RunResults, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    output_of(capsys, "export", run.directory, tmp_path / "spikes.h5")
    for name, of, size in (("rec", "neurons", 3), ("in", "inputs", 4)):
        step, ids = spikes.read(tmp_path / "spikes.h5", name, size, 0.1)
        wanted = run.spikes("last", of)
        assert len(step) > 5
        np.testing.assert_array_equal(step, wanted["step"])
        np.testing.assert_array_equal(ids, wanted["id"])
        with h5py.File(tmp_path / "spikes.h5") as file:
            np.testing.assert_array_equal(file[f"spikes/{name}/timestamps"], wanted["time_ms"])


@pytest.mark.peer
def test_times_are_those_of_nest(run: RunResults) -> None:
    nest = pytest.importorskip("nest")
    nest.ResetKernel()
    nest.set(resolution=0.1)
    neurons = nest.Create("iaf_psc_exp", 3, {"tau_syn_in": 5.0})
    neurons.set([{"I_e": current} for current in CURRENTS])
    recorder = nest.Create("spike_recorder")
    nest.Connect(neurons, recorder)
    nest.Simulate(STEPS * 0.1)
    theirs, ours = recorder.events, run.spikes("last")
    assert len(ours["id"]) > 5
    order, own = (
        np.lexsort((ids, times)) for ids, times in ((theirs["senders"], theirs["times"]), (ours["id"], ours["time_ms"]))
    )
    np.testing.assert_array_equal(theirs["senders"][order] - 1, ours["id"][own])
    np.testing.assert_allclose(theirs["times"][order], ours["time_ms"][own], rtol=1e-12)
