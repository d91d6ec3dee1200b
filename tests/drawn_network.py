"""A network in which everything is drawn, as a script, and what a run left."""

from pathlib import Path

import h5py
import numpy as np

# A network in which everything is drawn, trained with different rules per projection; prints losses and digest.
DRAWN = """
import numpy as np
from pareprop import rng
from pareprop.parallel import launcher
from pareprop.network.model import Model
from pareprop.network.optimizers import Adam
from pareprop.network.parameters import Normal, Uniform
from pareprop.engines.sample import Sample
from pareprop.simulation.loop import Simulation
from pareprop.parallel.spike_log import SpikeLog


class Noise:
    n_steps, learning_window = 200, 150

    def sample(self, index, phase="train"):
        key = rng.make_key(7, f"{phase}/{index}")
        inputs = SpikeLog.from_arrays(*rng.draw_bernoulli(key, np.full(12, 0.1), self.n_steps))
        target = np.sin(np.arange(self.n_steps)[:, None] / (20.0 + np.arange(3)))
        return Sample(inputs, target, currents=0.02 * rng.draw_normal(key, np.arange(self.n_steps), 2))


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
model.connect(graded, plain, weight=Uniform(low=0.5, high=1.0), plastic=False)
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


def results(directory: Path) -> dict[str, np.ndarray]:
    """All arrays of a run."""
    found = {}

    def keep(name: str, node: h5py.HLObject) -> None:
        if isinstance(node, h5py.Dataset):
            found[name] = node[()]

    with h5py.File(directory / "results.h5") as file:
        file.visititems(keep)
    return found
