"""The same bits on any number of ranks, and losses as published."""

from pathlib import Path

import h5py
import launch
import numpy as np
import pytest
from commands import command, digests, on_ranks

# A network in which everything is drawn, trained with different rules per projection; prints losses and digest.
DRAWN = """
import numpy as np
from pareprop import launcher, streams
from pareprop.model import Model
from pareprop.params import Adam, Normal, Uniform
from pareprop.sample import Sample
from pareprop.simulation import Simulation
from pareprop.spikelog import Log


class Noise:
    n_steps, learning_window = 200, 150

    def sample(self, index, phase="train"):
        key = streams.key(7, f"{phase}/{index}")
        inputs = Log.from_arrays(*streams.bernoulli(key, np.full(12, 0.1), self.n_steps))
        target = np.sin(np.arange(self.n_steps)[:, None] / (20.0 + np.arange(3)))
        return Sample(inputs, target, currents=0.02 * streams.normal(key, np.arange(self.n_steps), 2))


model = Model("interval", seed=5, optimizer=Adam(eta=1e-3, batch_size=2))
inputs, graded = model.inputs("in", 12), model.currents("dc", 2)
common = dict(C_m=1.0, E_L=0.0, t_ref=2.0, c_reg=2.0, regular_spike_arrival=False, surrogate_gradient_height=10.0,
              surrogate_gradient_width=0.03, V_th=Uniform(low=0.02, high=0.04))
plain = model.neurons("plain", 17, "iaf", tau_m=Normal(mean=30.0, std=2.0), **common)
adaptive = model.neurons("adaptive", 13, "iaf_adapt", tau_m=np.linspace(20.0, 40.0, 13), adapt_tau=200.0,
                         adapt_beta=Uniform(low=0.0, high=0.01), **common)
out = model.readouts("out", 3, C_m=1.0, tau_m=30.0, regular_spike_arrival=False)
model.connect(inputs, plain, "fixed_probability", probability=0.5, weight=Normal(std=0.4), delay=(2, 4))
model.connect(inputs, adaptive, "fixed_indegree", indegree=5, weight=Normal(std=0.4), plastic=False)
model.connect(plain, adaptive, "fixed_probability", probability=0.4, weight=Normal(std=0.3), delay=(3, 5))
model.connect(plain, plain, "all_to_all", allow_autapses=False, weight=Normal(std=0.2), delay=(3, 4))
model.connect(adaptive, plain, "fixed_indegree", indegree=4, allow_multapses=False, weight=Uniform(low=-0.3, high=0.3),
              delay=3, optimizer={"type": "gradient_descent", "eta": 1e-3, "Wmax": 0.3})
model.connect(adaptive, adaptive, "explicit", source=np.arange(13), target=np.arange(13)[::-1], weight=0.1,
              delay=3 + np.arange(13) % 2)
model.connect(graded, plain, weight=Uniform(low=0.5, high=1.0))
for group in (plain, adaptive):
    model.connect(group, out, weight=Normal(std=0.2))
    model.connect(out, group, "fixed_probability", probability=0.6, weight=Normal(std=0.2))
simulation = Simulation(model, Noise(), launcher.exchange())
losses = simulation.train(3)
validation = simulation.test(2, "validate")
digest = simulation.hexdigest()
if simulation.exchange.rank == 0:
    print(*[value.hex() for value in (*losses, validation, *map(float, simulation.rates))], digest)
"""


@pytest.mark.mpi
def test_network_with_everything_drawn() -> None:
    results = [launch.mpirun(n, "-c", DRAWN) for n in (1, 2, 3, 4)]
    assert [(done.returncode, done.stderr) for done in results] == [(0, "")] * 4
    assert len({done.stdout for done in results}) == 1
    *numbers, _ = results[0].stdout.split()
    losses, rates = [float.fromhex(text) for text in numbers[:4]], [float.fromhex(text) for text in numbers[4:]]
    assert len(set(losses)) == 4
    assert all(1.0 < rate < 200.0 for rate in rates)


@pytest.mark.mpi
def test_sine_waves(tmp_path: Path) -> None:
    """Dense and sparse, and with fewer neurons and readouts than ranks."""
    settings = (
        ("iterations=3",),
        ("iterations=3", "indegree=10", "n_rec=60", "n_out=2"),
        ("iterations=2", "n_rec=3", "n_out=2", "n_step=300"),
        ("iterations=2", "n_rec=1", "n_step=300", "batch_size=2"),
    )
    found = []
    for n in (1, 2, 3, 4):
        commands = [
            ["run", "sine-waves", "--out", tmp_path / f"{n}-{k}", *(part for text in texts for part in ("--set", text))]
            for k, texts in enumerate(settings)
        ]
        codes, output, errors = on_ranks(n, commands)
        assert (codes, errors) == ([0] * len(commands), [])
        found.append(digests(output))
    assert len(set(found[0])) == len(settings)
    assert found[1:] == found[:1] * 3
    for k in range(len(settings)):
        files = [results(tmp_path / f"{n}-{k}") for n in (1, 2, 3, 4)]
        for other in files[1:]:
            assert other.keys() == files[0].keys()
            for name, values in files[0].items():
                np.testing.assert_array_equal(values, other[name], err_msg=name)


def results(directory: Path) -> dict[str, np.ndarray]:
    """All arrays of a run."""
    found = {}

    def keep(name: str, node: h5py.HLObject) -> None:
        if isinstance(node, h5py.Dataset):
            found[name] = node[()]

    with h5py.File(directory / "results.h5") as file:
        file.visititems(keep)
    return found


def test_published_losses(capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    """First losses of the TensorFlow code of Bellec et al. 2020 for this task, RandomState(1)."""
    code, output, errors = command(capsys, "run", "sine-waves", "--set", "iterations=5", "--out", tmp_path / "run")
    assert (code, errors) == (0, "")
    published = [101.964363098144, 103.466735839843, 103.340606689453, 103.680244445800, 104.412780761718]
    with h5py.File(tmp_path / "run" / "results.h5") as file:
        np.testing.assert_allclose(file["loss"], published, rtol=1e-7)
        assert output.splitlines()[-1] == f"digest: {file.attrs['digest']}"
