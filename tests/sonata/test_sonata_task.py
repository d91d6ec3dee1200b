"""A SONATA network in a configuration, with the spike files of its simulation as inputs."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from case_files import SONATA
from commands import command, digests, on_ranks, output_of

from pareprop.sonata import spikes

pytestmark = pytest.mark.usefixtures("no_figures")
CONFIG = """
[task]
name = "data"
data = "{data}"
[run]
iterations = 2
[model]
sonata = "{sonata}"
populations = [
    {{ name = "out", role = "readout", size = 1, C_m = 1.0, E_L = 0.0, tau_m = 20.0 }},
]
projections = [
    {{ pre = "cortex", post = "out", weight = {{ mean = 0.0, std = 0.1 }} }},
    {{ pre = "out", post = "cortex", weight = {{ mean = 0.0, std = 1.0 }} }},
]
[model.sonata_options]
sign = "weights"
values = {{ V_th = -68.5 }}
projections = {{ lgn_to_cortex = {{ plastic = false }} }}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    np.savez(tmp_path / "data.npz", targets=np.random.default_rng(1).random((2, 250, 1)))
    path = tmp_path / "config.toml"
    path.write_text(CONFIG.format(data=tmp_path / "data.npz", sonata=SONATA / "bmtk/simulation_config.json"))
    return path


@pytest.mark.slow
@pytest.mark.mpi
def test_trained_on_any_number_of_ranks(tmp_path: Path, config: Path, capsys: pytest.CaptureFixture) -> None:
    alone = digests(output_of(capsys, "run", config, "--out", tmp_path / "1").splitlines())
    codes, output, errors = on_ranks(3, [["run", config, "--out", tmp_path / "3"]])
    assert (codes, errors) == ([0], []) and digests(output) == alone
    with h5py.File(tmp_path / "1/results.h5") as file, h5py.File(SONATA / "bmtk/inputs/lgn_spikes.h5") as given:
        times, ids = (given[f"spikes/lgn/{key}"][()] for key in ("timestamps", "node_ids"))
        for name, low in (("first", 0), ("last", 250)):  # samples follow one another in the file
            inside = (times > low) & (times <= low + 250)  # a spike of step t is at t + 1 ms
            wanted = np.unique(
                np.stack([np.ceil(times[inside]).astype(int) - 1 - low, ids[inside].astype(int)]), axis=1
            )
            sample = file[f"dynamics/{name}"]
            np.testing.assert_array_equal(np.stack([sample["input_steps"][()], sample["input_ids"][()]]), wanted)
        weight = file["projections/cortex_to_cortex/weight"][()]
        before = file["projections/cortex_to_cortex/weight_initial"][()]
        assert np.any(weight != before) and np.all(weight * before >= 0)


def test_mistakes_are_told(config: Path, capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    text = config.read_text()
    for old, new, words in (
        ('pre = "cortex"', 'pre = "cortx"', "pre = 'cortx' is not a population, did you mean 'cortex'"),
        ("simulation_config.json", "nothing.json", "nothing.json: No such file"),
        ('sign = "weights"', 'sing = "weights"', "unknown option 'sing', did you mean 'sign'"),
    ):
        config.write_text(text.replace(old, new))
        code, _, errors = command(capsys, "run", config, "--out", tmp_path / "out")
        assert code == 2 and words in errors, errors
        assert "Traceback" not in errors


def test_spike_files_that_do_not_fit(tmp_path: Path) -> None:
    path = tmp_path / "spikes.h5"
    with h5py.File(path, "w") as file:
        file["spikes/lgn/timestamps"], file["spikes/lgn/node_ids"] = [0.0, 3.9999999, 7.2], [0, 2, 1]
    step, ids = spikes.read(path, "lgn", 3, 1.0)
    np.testing.assert_array_equal(step, [0, 3, 7])  # a spike of step 3 is at 4 ms
    np.testing.assert_array_equal(ids, [0, 2, 1])
    with pytest.raises(Exception, match=r"node_ids\[1\] = 2, population 'lgn' has 2 nodes"):
        spikes.read(path, "lgn", 2, 1.0)
    with pytest.raises(Exception, match=r"no spikes of population 'v1' \(there: lgn\)"):
        spikes.read(path, "v1", 3, 1.0)
