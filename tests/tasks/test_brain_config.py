"""Biological networks in a configuration: rules, space, signs, rewiring, readouts of single neurons."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from commands import command, digests, on_ranks, output_of, refusal_of

from pareprop import Model, Normal
from pareprop.network.local import LocalNetwork
from pareprop.simulation import digest

SIGNS = [1] * 30 + [-1] * 10
CONFIG = f"""
[task]
name = "data"
data = "DATA"
[learning]
eta = 0.01
[run]
iterations = 4
[model]
local_readouts = {{ of = ["near", "far"], tau_m = 50.0 }}
populations = [
    {{ name = "in", role = "input", size = 20 }},
    {{ name = "near", role = "recurrent", size = 40, model = "iaf", C_m = 1.0, E_L = 0.0, V_th = 0.6, sign = {SIGNS} }},
    {{ name = "far", role = "recurrent", size = 30, model = "iaf", C_m = 1.0, E_L = 0.0, V_th = 0.6 }},
]
projections = [
    {{ pre = "in", post = "near", weight = {{ mean = 0.2, std = 0.1 }} }},
    {{ pre = "near", post = "far", rule = "lognormal_degrees", indegree = 7.5, sigma_in = 0.5, sigma_out = 0.6, weight = {{ mean = 0.0, std = 1.0 }}, normalized = true, sign = "source", inhibition = 2.0, rewire = {{ l1 = 0.1 }} }},
    {{ pre = "near", post = "near", rule = "distance", probability = 0.5, space = {{ extent = [1.0, 2.0], length = 0.2, cutoff = 0.4, profile = "exponential", periodic = false, sources = "WHERE", targets = "WHERE" }}, delay = [1, 3], weight = {{ mean = 0.0, std = 0.2 }}, sign = "source" }},
    {{ pre = "far", post = "far", rule = "distance", probability = 0.5, space = {{ extent = [1.0, 1.0], length = 0.3, cutoff = 0.5 }}, delay_ms = {{ per_length = 8.0, offset = 0.5 }}, weight = {{ mean = 0.0, std = 0.3 }} }},
]
"""  # noqa: E501, an inline table is one line


def model(where: np.ndarray) -> Model:
    """The same network, made in Python."""
    found = Model("interval", seed=1)
    found.inputs("in", 20)
    values = {"C_m": 1.0, "E_L": 0.0, "V_th": 0.6}
    near, far = found.neurons("near", 40, "iaf", sign=SIGNS, **values), found.neurons("far", 30, "iaf", **values)
    degrees = {"indegree": 7.5, "sigma_in": 0.5, "sigma_out": 0.6, "normalized": True}
    found.connect(near, far, "lognormal_degrees", **degrees, weight=Normal(std=1.0), sign="source", inhibition=2.0)
    space = {
        "extent": (1.0, 2.0),
        "length": 0.2,
        "cutoff": 0.4,
        "profile": "exponential",
        "periodic": False,
        "sources": where,
        "targets": where,
    }
    near_by = {"rule": "distance", "probability": 0.5}
    found.connect(near, near, **near_by, space=space, delay=(1, 3), weight=Normal(std=0.2), sign="source")
    space, delays = {"extent": (1.0, 1.0), "length": 0.3, "cutoff": 0.5}, {"per_length": 8.0, "offset": 0.5}
    found.connect(far, far, **near_by, space=space, delay_ms=delays, weight=Normal(std=0.3))
    return found


pytestmark = pytest.mark.usefixtures("no_figures")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    random = np.random.default_rng(3)
    np.save(tmp_path / "where.npy", random.random((40, 2)) * (1.0, 2.0))
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file["rates"] = np.full((2, 20), 60.0)
        file["local_targets"] = random.random((2, 80, 70)).astype(np.float32) * 20
    path = tmp_path / "config.toml"
    path.write_text(CONFIG.replace("DATA", str(tmp_path / "data.h5")).replace("WHERE", str(tmp_path / "where.npy")))
    return path


@pytest.mark.mpi
def test_all_of_it_runs_on_any_number_of_ranks(tmp_path: Path, config: Path, capsys: pytest.CaptureFixture) -> None:
    output = output_of(capsys, "run", config, "--out", tmp_path / "1")
    for n in (2, 3):
        codes, others, errors = on_ranks(n, [["run", config, "--out", tmp_path / str(n)]])
        assert (codes, errors) == ([0], []) and digests(others) == digests(output.splitlines())
    network = LocalNetwork(model(np.load(tmp_path / "where.npy")), 0, 1)
    with h5py.File(tmp_path / "1/results.h5") as file:
        for table, span in digest.list_tables(network):
            wanted = np.concatenate(list(digest.hash_synapses(None, table, span)))
            group = file[f"projections/{span.projection.name}"]
            before = "_initial" if "source_initial" in group else ""
            for key, name in (("source", f"source{before}"), ("delay", f"delay{before}"), ("weight", "weight_initial")):
                np.testing.assert_array_equal(group[name][()], wanted[key], err_msg=span.projection.name)
            assert np.any(group["weight"][()] != group["weight_initial"])
            if span.projection.signs is not None:
                assert np.all(group["weight"][()] * np.array(SIGNS)[group["source"][()]] >= 0)
        assert file["moves/near->far"][()].sum() > 0
        last, targets = file["dynamics/last"], h5py.File(tmp_path / "data.h5")["local_targets"][1]
        np.testing.assert_array_equal(last["local_target"][()], targets[:, last["local_ids"][()]])
        np.testing.assert_array_equal(last["target_peak"][()], np.argmax(targets, axis=0))
        # each readout is its neuron's spikes, filtered
        signal, steps, ids = np.zeros((80, 70)), last["spike_steps"][()], last["spike_ids"][()]
        alpha = np.exp(-1 / 50.0)
        for step in range(80):
            signal[step] = alpha * signal[step - 1] * (step > 0)
            np.add.at(signal[step], ids[steps == step], 1000.0 * (1 - alpha))
        np.testing.assert_allclose(last["local_signal"][()], signal[:, last["local_ids"][()]], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("sigma_out", "sigma_ot", "unknown parameter 'sigma_ot', did you mean 'sigma_out'?"),
        ("sigma_in = 0.5", "sigma_in = 9.0", "sigma_in = 9.0 must lie in [0, 5]"),
        ("length = 0.2", "length = 0.0", "space: length = 0.0: Input should be greater than 0"),
        ("where.npy", "nowhere.npy", "nowhere.npy: No such file or directory"),
        ("extent = [1.0, 2.0]", "extent = [1.0]", "must be two or three lengths above 0"),
        ('"near", "far"', '"near", "fra"', "of = 'fra' is not a population of neurons"),
        ("tau_m = 50.0 }", "tau = 50.0 }", "unknown parameter 'tau', did you mean 'tau_m'?"),
        ('["near", "far"]', '["near"]', "local_targets has shape (2, 80, 70), must be (2, 80, 40)"),
        ("per_length = 8.0", "per_lenght = 8.0", "unknown parameter 'per_lenght', did you mean 'per_length'?"),
        ("inhibition = 2.0", "inhibition = 0.0", "inhibition = 0.0: Input should be greater than 0"),
    ],
)
def test_mistakes_are_told(
    tmp_path: Path, config: Path, capsys: pytest.CaptureFixture, old: str, new: str, words: str
) -> None:
    text = config.read_text()
    assert old in text
    config.write_text(text.replace(old, new))
    code, _, errors = command(capsys, "run", config, "--out", tmp_path / "out")
    assert code == 2 and words in errors, errors
    assert "Traceback" not in errors


def test_targets_that_are_not_finite(tmp_path: Path, config: Path, capsys: pytest.CaptureFixture) -> None:
    with h5py.File(tmp_path / "data.h5", "r+") as file:
        file["local_targets"][1, 7, 45] = np.nan
    told = refusal_of(capsys, "run", config, "--out", tmp_path / "out")
    assert "local_targets[1, 7, 45] = nan must be finite" in told
