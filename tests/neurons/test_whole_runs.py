"""Neurons given by equations with all else that a network has: one digest on 1, 2 and 3 ranks, and after a restart.

Each network is trained in one process, then on ranks; a part of each also goes on from a checkpoint on other ranks.
"""

from pathlib import Path

import h5py
import numpy as np
import pytest
import ranks
import small
from corridor import CorridorTask
from params import first

from pareprop.network.model import Model
from pareprop.network.optimizers import Adam
from pareprop.network.parameters import Normal
from pareprop.network.reward import Reward
from pareprop.network.rewire import Rewire
from pareprop.neurons import library
from pareprop.neurons.model import NeuronModel

STEPS = 60
ADEX = library.get_definition("adex")
RECORDING = NeuronModel.from_dict(
    "adex", ADEX.to_dict() | {"records": {"leak": "g_L*(E_L - V_m)/C_m", "twice": "2*w + keep"}}
)


def noise(currents: bool) -> small.Noise:
    """Random spikes, targets and currents."""
    more = {"currents": lambda draws: draws.normal(0.0, 100.0, (STEPS, 2))} if currents else {}
    return small.Noise(lambda draws: draws.normal(size=(STEPS, 1)), 10, **more)


def course(first: int, last: int) -> np.ndarray:
    return np.sin(np.arange(STEPS)[:, None] + np.arange(first, last))


def build(name: str) -> tuple[Model, object]:
    """A network and its task with what the name says: two models, drawn parameters, two ports, one of the package."""
    spike, rewarded = "spike" in name, "rewards" in name
    rule = {"eta": 0.05, "Wmin": -1e4, "Wmax": 1e4, "batch_size": 1 if spike else 4}
    loss = Reward(gamma=0.95, lambda_=0.9, c_V=0.6, c_H=0.1) if rewarded else None
    model = Model("spike" if spike else "interval", seed=3, optimizer=Adam(**rule), loss=loss)
    inputs = model.inputs("in", CorridorTask.n_inputs if rewarded else 10, sign=1 if "signs" in name else 0)
    groups = []
    for k, definition in enumerate((library.get_definition("iaf_psc_exp"), RECORDING)):
        values = {"C_m": Normal(mean=200.0, std=5.0), "I_e": (400.0, 800.0)[k], "c_reg": 1.0}
        sign = (1, -1)[k] if "signs" in name else 0
        groups.append(model.neurons(definition.name, 7, definition, sign=sign, **values))
    groups.append(model.neurons("plain", 7, "iaf", I_e=400.0))
    moving = {"rewire": Rewire(l1=0.5, temperature=1e-3), "allow_multapses": False} if "rewiring" in name else {}
    for k, cells in enumerate(groups):
        ports = cells.params.definition.ports if k < 2 else ("arriving",)
        scale = 1.0 if k < 2 else 0.05
        how = {"indegree": 4, "weight": Normal(mean=80.0 * scale, std=20.0 * scale), "delay": 1 + 2 * k, **moving}
        model.connect(inputs, cells, "fixed_indegree", port=ports[0], **how)
        how = {"indegree": 2, "weight": Normal(std=20.0 * scale), "allow_autapses": False, "delay": [2, 4], **moving}
        for other in groups:
            model.connect(other, cells, "fixed_indegree", port=ports[-1], **how)
    if "currents" in name:
        sources = model.currents("dc", 2)
        for cells in groups:
            model.connect(sources, cells, weight=Normal(mean=1.0, std=0.2), plastic=False)
    if "local" in name:
        model.local_readouts("own", groups, tau_m=20.0)
        return model, small.Noise(np.zeros((STEPS, 0)), 10, local_targets=course)
    small.read_out(model, *groups, n=3 if rewarded else 1)
    return model, CorridorTask() if rewarded else noise("currents" in name)


SETS = {  # word to the networks that are trained together
    "signs": ("signs, delays", "spike, signs"),
    "more": ("local readouts", "spike, rewards"),
    "still more": ("rewiring", "spike, currents"),
    "other variant": ("currents", "rewards", "spike, rewiring"),
    "replicas": ("signs, delays", "rewiring"),
}


def train(folder: str, words: list[str], exchange: object) -> None:
    """Train all networks, or go on with them; print the digest of each, and whether it spiked and learned."""
    for name in SETS[words[0]]:
        options = {"record": RECORD, "replicas": 2 if "two" in words else 1, "stop_samples": 1}
        done = ranks.run_part(words, exchange, *build(name), Path(folder, name), **options)
        if exchange.rank == 0:
            print(f"{name}: {done.digest}", flush=True)


RECORD = {"every": 1, "what": ["spikes", "states"], "neurons": 21}


def check(word: str, tmp_path: Path) -> Path:
    """Train a set on one rank, and on three ranks and then two; return the folder of the first."""
    names, folder, parts = SETS[word], tmp_path / "one", tmp_path / "part"
    assert list(ranks.check_restart(__file__, tmp_path, word)) == list(names)
    for name in names:
        with h5py.File(folder / name / "results.h5") as file, h5py.File(parts / name / "results.h5") as other:
            counts = np.bincount(np.concatenate([file[f"dynamics/{key}/spike_ids"] for key in ("first", "last")]))
            assert np.all([counts[:7].sum(), counts[7:14].sum(), counts[14:].sum()]), f"{name}: {counts}"
            for key, item in file["projections"].items():
                if "weight_initial" in item and "onto" not in key and not key.startswith(("dc", "out")):
                    assert np.any(item["weight"][()] != item["weight_initial"][()]), f"{name}: {key}"
            for key in ("state_w", "state_leak"):
                np.testing.assert_array_equal(file[f"dynamics/last/{key}"], other[f"dynamics/last/{key}"])
        with h5py.File(folder / name / "record.h5") as file, h5py.File(parts / name / "record.h5") as other:
            assert file["state"].keys() == {"id", "V_m", "w", "i_ex", "i_in", "leak", "twice"}
            for key in file["state"]:
                np.testing.assert_array_equal(file["state"][key], other["state"][key])
    return folder


@pytest.mark.slow
@pytest.mark.mpi
def test_same_digest_on_other_ranks_and_after_a_restart(tmp_path: Path) -> None:
    """What is recorded follows its expressions, with drawn parameters of each neuron and constants."""
    folder = check("signs", tmp_path)
    for name in SETS["signs"]:
        with h5py.File(folder / name / "record.h5") as file, h5py.File(folder / name / "results.h5") as results:
            state = {key: values[()] for key, values in file["state"].items()}
            assert file["state/w"].attrs["unit"] == "pA"
            C_m = results["populations/adex/C_m"][()]
        values = ADEX.defaults
        assert np.all(np.isnan(state["w"][:, :7])) and np.all(np.isfinite(state["w"][:, 7:14]))
        V_m, w = state["V_m"][:, 7:14], state["w"][:, 7:14]
        assert np.ptp(w) > 10.0 and np.ptp(V_m) > 10.0
        np.testing.assert_allclose(state["leak"][:, 7:14], values["g_L"] * (values["E_L"] - V_m) / C_m, rtol=1e-13)
        twice = 2 * w + np.exp(-1.0 / values["tau_w"])
        np.testing.assert_allclose(state["twice"][:, 7:14], twice, rtol=1e-13)


@pytest.mark.mpi
@pytest.mark.parametrize("word", first(0, ["more", "still more", "other variant"], rest=1))
def test_same_digest_with_all_else(word: str, tmp_path: Path) -> None:
    check(word, tmp_path)


@pytest.mark.slow
@pytest.mark.mpi
def test_replicas(tmp_path: Path) -> None:
    alone = ranks.digests(1, __file__, tmp_path / "alone", "replicas")
    together = ranks.digests(2, __file__, tmp_path / "two", "replicas", "two")
    assert len(alone) == 2 and together == alone
