"""The microcircuit, and areas with delays between them, with the same synapses in NEST: the same spikes."""

from dataclasses import replace

import numpy as np
import pytest

from pareprop.network.model import Model
from pareprop.simulation.loop import Simulation
from pareprop.tasks.circuit import Circuit
from pareprop.tasks.microcircuit import Microcircuit
from pareprop.tasks.multi_area import MultiArea

NAMES = ("C_m", "tau_m", "t_ref", "E_L", "V_th", "V_reset", "tau_syn_ex", "tau_syn_in", "I_e")
DURATION_MS = 250.0
SMALL = {"scale": 0.01, "indegrees": 0.1, "background": "constant", "precision": "double", "sample_ms": DURATION_MS}


def simulate(task: Microcircuit) -> tuple[Model, dict[str, list[np.ndarray]], set[tuple[int, int]]]:
    """A small network with constant input, its synapses (source, target, delay, weight), spikes (step, neuron)."""
    simulation = Simulation(task.build_model(), task, settings=task.make_settings())
    simulation.run_sample(0, "train", learn=False)
    table, log, synapses = simulation.network.incoming, simulation.engine.log, {}
    for span in table.spans:
        chunks = [(*part, table.weight[index]) for *part, index in table.yield_chunks(span)]
        synapses[span.projection.name] = [np.concatenate(column) for column in zip(*chunks, strict=True)]
    steps = np.repeat(np.arange(len(log.ptr) - 1), np.diff(log.ptr))
    return simulation.model, synapses, set(zip(steps.tolist(), log.ids[: log.ptr[-1]].tolist(), strict=True))


class Driven(MultiArea):
    """Areas with so much input from outside that they fire without noise."""

    @property
    def circuit(self) -> Circuit:
        outside, others = super().circuit.poisson
        return replace(super().circuit, poisson=(replace(outside, rate_hz=1.6 * outside.rate_hz), others))


@pytest.mark.peer
@pytest.mark.parametrize(
    "task",
    [Microcircuit(**SMALL), Driven(**SMALL, chi=1.9, chi_inhibitory=2.0)],
    ids=lambda task: task.name,
)
def test_same_spikes_as_nest(task: Microcircuit) -> None:
    """Each spike in its step: delays, weights, signs, ports and neurons are NEST's. Its steps are counted from 1."""
    nest = pytest.importorskip("nest")
    model, synapses, expected = simulate(task)
    nest.verbosity = nest.VerbosityLevel.ERROR
    nest.ResetKernel()
    nest.set(resolution=0.1)
    cells = {}
    for item in model.of_role("recurrent"):
        values = {name: getattr(item.params, name) for name in NAMES}
        cells[item.name] = np.array(nest.Create("iaf_psc_exp", item.size, {**values, "V_m": -65.0}).tolist())
    for item in model.projections:
        source, target, delay, weight = synapses[item.name]
        options = {"weight": weight, "delay": 0.1 * delay}
        nest.Connect(cells[item.pre.name][source], cells[item.post.name][target], "one_to_one", options)
    recorder = nest.Create("spike_recorder")
    for ids in cells.values():
        nest.Connect(nest.NodeCollection(ids.tolist()), recorder)
    nest.Simulate(DURATION_MS)
    steps = np.rint(np.asarray(recorder.events["times"]) * 10.0).astype(int) - 1
    ids = np.asarray(recorder.events["senders"]) - min(ids[0] for ids in cells.values())
    assert len(expected) > 1000 and len({step for step, _ in expected}) > 100
    assert set(zip(steps.tolist(), ids.tolist(), strict=True)) == expected
