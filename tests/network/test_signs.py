"""Signs of sources (Dale's law): drawn, given and kept while weights learn."""

import numpy as np
import pytest
from case_files import find
from commands import verify_on_ranks

from pareprop import Model, Normal, Sample, Simulation, kernels
from pareprop.engines.interval import IntervalSettings
from pareprop.engines.spike import SpikeSettings
from pareprop.errors import InputError
from pareprop.parallel.exchange import Alone
from pareprop.simulation import digest

CASES = find("rewiring", "sign-*")
N_STEPS = 120


@pytest.mark.slow
@pytest.mark.mpi
def test_golden_cases_hold_on_any_number_of_ranks() -> None:
    assert len(CASES) == 4
    verify_on_ranks(CASES)


@pytest.mark.parametrize("real", [np.float32, np.float64])
@pytest.mark.parametrize("high", [0.5, np.inf])
def test_weights_are_clipped_one_by_one(real: type, high: float) -> None:
    """Runs of each sign, some longer than what is read at once, some empty: no weight depends on its neighbours."""
    random = np.random.default_rng(6)
    ends = np.cumsum([0, 3, 0, 5000, 512, 513, 1, 2048, 700])
    signs = np.array([1, -1, 1, -1, 0, -1, 1, 0])
    weight = (np.repeat(signs, np.diff(ends)) + random.choice([0.0, 3.0], ends[-1], p=[0.9995, 0.0005])) * 0.4
    weight = (weight * random.random(ends[-1])).astype(real)
    weight[[0, 1, 2, 5515, 5516]] = -0.0, 0.0, np.nextafter(real(0), real(-1)), 0.0, -0.0
    weight[[900, 8100, 8200]] = 0.7, -0.0, -9.0
    low, expected = real(-0.45), []
    for w, sign in zip(weight.tolist(), np.repeat(signs, np.diff(ends)).tolist(), strict=True):
        w = min(max(w, float(low)), high)
        expected.append(w if sign == 0 or w * sign > 0 else 0.0)
    kernels.signs.clip(float(low), high, np.column_stack([ends[:-1], ends[1:], signs]), weight)
    assert weight.tobytes() == np.array(expected, real).tobytes()


class Frozen:
    """The same sample each time."""

    n_samples, n_steps, learning_window = 1, N_STEPS, N_STEPS

    def __init__(self) -> None:
        random = np.random.default_rng(4)
        raster = random.random((N_STEPS, 12)) < 0.1
        self.only = Sample.from_raster(raster, random.standard_normal((N_STEPS, 2)))

    def sample(self, index: int, phase: str = "train") -> Sample:
        return self.only


def network(variant: str, optimizer: dict, bound: str, density: float) -> Model:
    """12 inputs and 20 neurons, of which some excite and some inhibit; `bound` by "sign", "apart" or "not"."""
    random = np.random.default_rng(5)
    model = Model(variant, seed=3)
    signs = {"in": random.choice([-1, 0, 1], 12), "rec": random.choice([-1, 1], 20)}
    values = {"C_m": 1.0, "E_L": 0.0, "V_th": 0.3, "tau_m": 20.0, "c_reg": 1.0}
    if variant == "spike":
        values |= {"kappa": 0.95, "kappa_reg": 0.95}
    inputs = model.inputs("in", 12, sign=signs["in"])
    neurons = model.neurons("rec", 20, "iaf", **values, sign=signs["rec"])
    out = model.readouts("out", 2, C_m=1.0, E_L=0.0, tau_m=20.0)
    for pre, post in ((inputs, neurons), (neurons, neurons), (neurons, out)):
        target, source = np.nonzero(random.random((post.size, pre.size)) < density)
        weight = np.abs(random.standard_normal(len(source))) * 0.1
        sign = signs[pre.name][source]
        weight = np.where(sign == 0, weight - 0.08, weight * sign)
        kinds = ((1, {"Wmin": 0.0}), (0, {}), (-1, {"Wmax": 0.0})) if bound == "apart" else ((None, {}),)
        for value, limits in kinds:
            some = slice(None) if value is None else sign == value
            model.connect(
                pre,
                post,
                "explicit",
                source=source[some],
                target=target[some],
                weight=weight[some],
                name=f"{pre.name}-{post.name}-{value}",
                optimizer=optimizer | limits,
                sign="source" if bound == "sign" else "free",
            )
    model.connect(out, neurons, weight=Normal(std=1.0))
    return model


def final(model: Model, settings: object) -> tuple[np.ndarray, str]:
    """Weights by projection, target and source after five samples, and the digest of the spikes."""
    simulation = Simulation(model, Frozen(), Alone(), [], settings)
    simulation.train(5)
    shown = simulation.engine.show_weights()
    found = []
    for table, span in digest.tables(simulation.network):
        pre, post = span.projection.pre, span.projection.post
        records = np.concatenate(list(digest.synapses(None, table, span, shown.get(id(table)))))
        found += [
            (pre.name, post.name, *key)
            for key in zip(
                records["target"].tolist(), records["source"].tolist(), records["weight"].tolist(), strict=True
            )
        ]
    return np.array([line[-1] for line in sorted(found)]), simulation.digest.hexdigest()


@pytest.mark.parametrize("variant", ["interval", "spike"])
@pytest.mark.parametrize("density", [1.0, 0.5])
@pytest.mark.parametrize("optimizer", [
    {"type": "gradient_descent", "eta": 0.002, "optimize_each_step": False},
    {"type": "gradient_descent", "eta": 0.01},
    {"type": "adam", "eta": 0.01},
], ids=["summed", "each-step", "adam"])  # fmt: skip
def test_signs_as_projections_bounded_apart(variant: str, density: float, optimizer: dict) -> None:
    settings = SpikeSettings(N_STEPS) if variant == "spike" else IntervalSettings(N_STEPS)
    weights, spikes = final(network(variant, optimizer, "sign", density), settings)
    wanted, wanted_spikes = final(network(variant, optimizer, "apart", density), settings)
    assert spikes == wanted_spikes
    np.testing.assert_allclose(weights, wanted, atol=1e-9)
    free, _ = final(network(variant, optimizer, "not", density), settings)
    assert np.sum(free * weights < 0) > 0  # signs did matter


def test_drawn_weights_take_the_sign() -> None:
    model = Model(seed=1)
    neurons = model.neurons("rec", 50, "iaf", C_m=1.0, V_th=1.0, sign=[1] * 20 + [-1] * 20 + [0] * 10)
    free = model.connect(neurons, neurons, "fixed_indegree", indegree=9, weight=Normal(std=1.0), name="w")
    free = weights_of(model, free.name)
    bound = Model(seed=1)
    neurons = bound.neurons("rec", 50, "iaf", C_m=1.0, V_th=1.0, sign=[1] * 20 + [-1] * 20 + [0] * 10)
    bound.connect(neurons, neurons, "fixed_indegree", indegree=9, weight=Normal(std=1.0), name="w", sign="source")
    bound = weights_of(bound, "w")
    sign = np.repeat([1, -1, 0], [20, 20, 10])[free["source"]]
    np.testing.assert_array_equal(bound["source"], free["source"])
    wanted = np.where(sign == 0, free["weight"], np.abs(free["weight"]) * sign)
    np.testing.assert_array_equal(bound["weight"], wanted)


def weights_of(model: Model, name: str) -> np.ndarray:
    from pareprop.network.local import LocalNetwork

    network = LocalNetwork(model, 0, 1)
    table, span = next(pair for pair in digest.tables(network) if pair[1].projection.name == name)
    return np.concatenate(list(digest.synapses(None, table, span)))


def test_bad_signs_are_told() -> None:
    model = Model()
    with pytest.raises(InputError, match=r"population 'a': sign of cell 1 = 2 must be \+1, -1 or 0"):
        model.inputs("a", 3, sign=[1, 2, 0])
    with pytest.raises(InputError, match=r"sign has shape \(2,\), must be one number or 3"):
        model.inputs("a", 3, sign=[1, 1])
    inputs = model.inputs("in", 3, sign=[1, -1, 0])
    neurons = model.neurons("rec", 2, "iaf", C_m=1.0, V_th=1.0)
    with pytest.raises(InputError, match=r"2 weights have not the sign of their source, the first is weight -0.5 of s"):
        model.connect(
            inputs,
            neurons,
            "explicit",
            source=[0, 1, 2, 1],
            target=[0, 0, 1, 1],
            weight=[-0.5, -1, -1, 1],
            sign="source",
        )
    with pytest.raises(InputError, match="sign = 'sauce' must be 'source', 'free' or"):
        model.connect(inputs, neurons, sign="sauce")
    model.connect(inputs, neurons, weight=1.0, sign="source", optimizer={"Wmin": 0.5, "Wmax": 2.0})
    model.readouts("out", 1, C_m=1.0)
    with pytest.raises(InputError, match=r"Wmin = 0\.5 must be at most 0, there are sources of sign -1"):
        Simulation(model, Frozen(), Alone(), [], IntervalSettings(N_STEPS))
