"""scripts/compare_jax.py: dense peers, of which the yardstick has pareprop's gradient."""

import json
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("jax", reason="no JAX: install jax and braintrace")
import compare_jax
from click.testing import CliRunner

from pareprop.errors import InputError
from pareprop.network.local import LocalNetwork
from pareprop.tasks import TASKS

pytestmark = pytest.mark.peer


def test_gradient_is_that_of_pareprop():
    found = compare_jax.compare_gradients(40)
    assert found.keys() == {"in", "rec", "out", "threshold"} and max(found.values()) < 1e-5


def test_another_gradient_is_noticed(monkeypatch):
    import jax_peers

    dense_of = jax_peers.dense_of
    monkeypatch.setattr(jax_peers, "dense_of", lambda *them: replace(dense_of(*them), kappa=0.9))
    assert compare_jax.compare_gradients(40)["rec"] > compare_jax.TOLERANCE


def test_networks_that_it_does_not_know():
    import jax_peers

    for settings in ({"neuron": "iaf_adapt"}, {"delay": 2}):
        task = TASKS["sine-waves"](n_rec=10, **settings)
        with pytest.raises(InputError, match="dense peers know"):
            jax_peers.dense_of(LocalNetwork(task.model(), 0, 1), task.sample(0))


def test_yardstick_steps_down_the_gradient():
    import jax_peers

    task = TASKS["sine-waves"](n_rec=20)
    net = jax_peers.dense_of(LocalNetwork(task.model(), 0, 1), task.sample(0))
    run = jax_peers.yardstick(net)
    run(1)
    found, *_ = jax_peers.gradient(net, net.weights)
    for name, weights in run.state().items():
        np.testing.assert_allclose(weights, net.weights[name] - net.eta * found[name], atol=1e-6)


@pytest.mark.parametrize("algorithm", ["d_rtrl", "eprop", "es_d_rtrl"])
def test_braintrace_learns(algorithm):
    pytest.importorskip("braintrace")
    import jax_peers

    task = TASKS["sine-waves"](n_rec=20)
    net = jax_peers.dense_of(LocalNetwork(task.model(), 0, 1), task.sample(0))
    run = jax_peers.braintrace(net, algorithm, **compare_jax.options(algorithm, net.kappa))
    before = jax_peers.jax.tree.leaves(run.state())
    run(1)
    for old, new in zip(before, jax_peers.jax.tree.leaves(run.state()), strict=True):
        assert np.all(np.isfinite(new)) and not np.array_equal(old, new)


def test_the_script(tmp_path):
    files = ["--json", str(tmp_path / "f.json")]
    done = CliRunner().invoke(compare_jax.main, ["--neurons", "20", "--repeat", "1", "--no-braintrace", *files])
    assert done.exit_code == 0, done.output
    (result,) = json.loads((tmp_path / "f.json").read_text())
    assert {"pareprop double", "dense JAX"} <= result["runs"].keys()
    assert np.all([run["seconds"] > 0 for runs in result["runs"].values() for run in runs])
