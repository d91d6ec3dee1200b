"""Signs of sources (Dale's law): drawn, given and kept while weights learn."""

import numpy as np
import pytest
import small
from case_files import find
from commands import verify_on_ranks
from small import Once

from pareprop import LogNormal, Model, NeuronModel, Normal, Sample, Simulation, Uniform, kernels
from pareprop.engines.interval import IntervalSettings
from pareprop.engines.spike import SpikeSettings
from pareprop.errors import InputError
from pareprop.network.local import LocalNetwork
from pareprop.network.local_background import LocalBackground
from pareprop.neurons import library
from pareprop.parallel.exchange import Alone
from pareprop.simulation import digest

CASES = find("rewiring", "sign-*")
N_STEPS = 120
ONTO_PORTS = slice(0, -80)  # of `conductances`: all weights but those onto and from the readouts


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


def frozen() -> Once:
    """The same sample each time."""
    random = np.random.default_rng(4)
    raster = random.random((N_STEPS, 12)) < 0.1
    return Once(Sample.from_raster(raster, random.standard_normal((N_STEPS, 2))), N_STEPS)


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
            ends = {"source": source[some], "target": target[some], "weight": weight[some]}
            how = {"optimizer": optimizer | limits, "sign": "source" if bound == "sign" else "free"}
            model.connect(pre, post, "explicit", **ends, name=f"{pre.name}-{post.name}-{value}", **how)
    model.connect(out, neurons, weight=Normal(std=1.0))
    return model


def final(model: Model, settings: object) -> tuple[np.ndarray, str]:
    """Weights by projection, target and source after five samples, and the digest of the spikes."""
    simulation = Simulation(model, frozen(), Alone(), [], settings)
    simulation.train(5)
    shown = simulation.engine.show_weights()
    found = []
    for table, span in digest.list_tables(simulation.network):
        pre, post = span.projection.pre, span.projection.post
        records = np.concatenate(list(digest.hash_synapses(None, table, span, shown.get(id(table)))))
        columns = [records[key].tolist() for key in ("target", "source", "weight")]
        found += [(pre.name, post.name, *key) for key in zip(*columns, strict=True)]
    return np.array([line[-1] for line in sorted(found)]), simulation.digest.hexdigest()


@pytest.mark.parametrize("variant", ["interval", "spike"])
@pytest.mark.parametrize("density", [1.0, 0.5])
@pytest.mark.parametrize(
    "optimizer",
    [
        {"type": "gradient_descent", "eta": 0.002, "optimize_each_step": False},
        {"type": "gradient_descent", "eta": 0.01},
        {"type": "adam", "eta": 0.01},
    ],
    ids=["summed", "each-step", "adam"],
)
def test_signs_as_projections_bounded_apart(variant: str, density: float, optimizer: dict) -> None:
    settings = SpikeSettings(N_STEPS) if variant == "spike" else IntervalSettings(N_STEPS)
    weights, spikes = final(network(variant, optimizer, "sign", density), settings)
    wanted, wanted_spikes = final(network(variant, optimizer, "apart", density), settings)
    assert spikes == wanted_spikes
    np.testing.assert_allclose(weights, wanted, atol=1e-9)
    free, _ = final(network(variant, optimizer, "not", density), settings)
    assert np.sum(free * weights < 0) > 0  # signs did matter


def test_drawn_weights_take_the_sign() -> None:
    how = {"rule": "fixed_indegree", "indegree": 9, "weight": Normal(std=1.0), "name": "w"}
    cell = {"C_m": 1.0, "V_th": 1.0, "sign": [1] * 20 + [-1] * 20 + [0] * 10}
    free, bound = (
        weights_of(small.population(50, cell=cell, model={"seed": 1}, **how, sign=sign), "w")
        for sign in ("free", "source")
    )
    sign = np.repeat([1, -1, 0], [20, 20, 10])[free["source"]]
    np.testing.assert_array_equal(bound["source"], free["source"])
    wanted = np.where(sign == 0, free["weight"], np.abs(free["weight"]) * sign)
    np.testing.assert_array_equal(bound["weight"], wanted)


def weights_of(model: Model, name: str) -> np.ndarray:
    network = LocalNetwork(model, 0, 1)
    table, span = next(pair for pair in digest.list_tables(network) if pair[1].projection.name == name)
    return np.concatenate(list(digest.hash_synapses(None, table, span)))


def test_bad_signs_are_told() -> None:
    model = Model()
    with pytest.raises(InputError, match=r"population 'a': sign of cell 1 = 2 must be \+1, -1 or 0"):
        model.inputs("a", 3, sign=[1, 2, 0])
    with pytest.raises(InputError, match=r"sign has shape \(2,\), must be one number or 3"):
        model.inputs("a", 3, sign=[1, 1])
    inputs = model.inputs("in", 3, sign=[1, -1, 0])
    neurons = model.neurons("rec", 2, "iaf", C_m=1.0, V_th=1.0)
    with pytest.raises(InputError, match=r"2 weights have not the sign of their source, the first is weight -0.5 of s"):
        ends = {"source": [0, 1, 2, 1], "target": [0, 0, 1, 1], "weight": [-0.5, -1, -1, 1]}
        model.connect(inputs, neurons, "explicit", **ends, sign="source")
    with pytest.raises(InputError, match="sign = 'sauce' must be 'source', 'free' or"):
        model.connect(inputs, neurons, sign="sauce")
    model.connect(inputs, neurons, weight=1.0, sign="source", optimizer={"Wmin": 0.5, "Wmax": 2.0})
    model.readouts("out", 1, C_m=1.0)
    with pytest.raises(InputError, match=r"Wmin = 0\.5 must be at most 0, there are sources of sign -1"):
        Simulation(model, frozen(), Alone(), [], IntervalSettings(N_STEPS))


def conductances(
    variant: str, each_step: bool = False, told: bool = True, limits: dict | None = None, **options
) -> Model:
    """20 neurons whose two ports take conductances; learning drives many weights below 0."""
    random = np.random.default_rng(5)
    rule = {"type": "gradient_descent", "eta": 0.3, "optimize_each_step": each_step}
    model = Model(variant, seed=3)
    inputs = model.inputs("in", 12)
    kind = library.get_definition("iaf_cond_exp")
    if not told:  # as users wrote it before ports could have signs
        kind = NeuronModel.from_dict(kind.name, kind.to_dict() | {"ports": ["exc", "inh"]})
    neurons = model.neurons("rec", 20, kind, surrogate_gradient_height=0.02, surrogate_gradient_width=15.0)
    out = model.readouts("two", 2, C_m=1.0, E_L=0.0, tau_m=20.0)
    for pre, port, scale in ((inputs, "exc", 10.0), (neurons, "inh", 2.0)):
        target, source = np.nonzero(random.random((20, pre.size)) < 0.25)
        pairs = {"source": source, "target": target, "weight": random.random(len(source)) * scale}
        how = {"port": port, "name": port, "optimizer": rule | (limits or {}), **options}
        model.connect(pre, neurons, "explicit", **pairs, **how)
    model.connect(neurons, out, weight=Normal(std=0.5))
    model.connect(out, neurons, weight=Normal(std=1.0))
    return model


@pytest.mark.parametrize("variant", ["interval", "spike"])
@pytest.mark.parametrize("each_step", [False, True])
def test_conductances_stay_at_or_above_0(variant: str, each_step: bool) -> None:
    """As if Wmin were 0, which is another way in both engines; no option lets them pass it."""
    settings = SpikeSettings(N_STEPS) if variant == "spike" else IntervalSettings(N_STEPS)
    weights, spikes = final(conductances(variant, each_step, keep_signs=False), settings)
    free, _ = final(conductances(variant, each_step, told=False), settings)
    wanted, wanted_spikes = final(conductances(variant, each_step, told=False, limits={"Wmin": 0.0}), settings)
    assert weights[ONTO_PORTS].min() == 0.0 and np.sum(free[ONTO_PORTS] < 0) > 5
    assert spikes == wanted_spikes
    np.testing.assert_allclose(weights, wanted, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("variant", ["interval", "spike"])
def test_conductances_that_are_rewired_stay_at_or_above_0(variant: str) -> None:
    settings = SpikeSettings(N_STEPS) if variant == "spike" else IntervalSettings(N_STEPS)
    weights, _ = final(conductances(variant, rewire={"l1": 0.01}), settings)
    assert weights[ONTO_PORTS].min() >= 0.0


def test_negative_weights_onto_conductances_are_told() -> None:
    model = Model()
    inputs = model.inputs("in", 3, sign=[1, -1, 0])
    neurons = model.neurons("rec", 2, "iaf_cond_exp", sign=-1)
    port = r"port 'exc' of model 'iaf_cond_exp' takes weights of at least 0$"
    pairs = {"source": [0, 1, 2], "target": [0, 0, 1], "weight": [0.5, -1.5, -1.0], "name": "p"}
    with pytest.raises(InputError, match=rf"'p': 2 weights are below 0, the first is -1\.5 of source 1; {port}"):
        model.connect(inputs, neurons, "explicit", **pairs)
    for weight in (-2.0, Normal(mean=-2.0, std=1.0), Uniform(low=-3.0, high=1.0)):
        with pytest.raises(InputError, match=rf"projection 'p': weight = .*-[23].* is (mostly )?below 0; {port}"):
            model.connect(inputs, neurons, weight=weight, name="p")
    leave = "leave out sign: the port says it$"
    which = rf"give the port \(exc or inh\) and {leave}"
    with pytest.raises(InputError, match=rf"projection 'p': sign of source 1 is -1; {port[:-1]}; {which}"):
        model.connect(inputs, neurons, sign="source", name="p")
    with pytest.raises(InputError, match=rf"'p': sign of source 0 is -1; port 'inh' .* at least 0; {leave}"):
        model.connect(neurons, neurons, sign=-1, name="p", port="inh")
    model.connect(neurons, neurons, weight=1.0, name="q", port="inh")
    for weight in (-2.0, [1.0, -2.0]):
        with pytest.raises(InputError, match=rf"background 'b': weight = -2 is below 0; {port}"):
            model.background(neurons, rate_hz=5.0, weight=weight, name="b")
    with pytest.raises(InputError, match=rf"projection 'p': Wmax = -1 must be at least 0; {port}"):
        model.connect(inputs, neurons, weight=1.0, name="p", optimizer={"Wmin": -2.0, "Wmax": -1.0})
        model.readouts("out", 1, C_m=1.0)
        Simulation(model, frozen(), Alone(), [], IntervalSettings(N_STEPS))


def test_drawn_weights_onto_conductances_are_magnitudes() -> None:
    """Of the same numbers as those of neurons without such ports; sources of sign 1 and 0 may have them."""
    found = []
    for kind in ("iaf_psc_exp", "iaf_cond_exp"):
        model = Model(seed=1)
        neurons = model.neurons("rec", 50, kind, sign=[1, 0] * 25)
        sign = "free" if kind == "iaf_psc_exp" else "source"
        model.connect(neurons, neurons, "fixed_indegree", indegree=9, weight=Normal(std=1.0), name="w", sign=sign)
        model.connect(neurons, neurons, weight=LogNormal(mean=-3.0, std=1.0), name="v")
        found.append(weights_of(model, "w"))
    assert found[0]["weight"].min() < 0
    np.testing.assert_array_equal(found[1]["weight"], np.abs(found[0]["weight"]))
    model = Model(seed=1)
    neurons = model.neurons("rec", 50, "iaf_cond_exp")
    model.background(neurons, rate_hz=10.0, weight=Normal(mean=1.0, std=1.0), name="b")
    weight = LocalBackground(LocalNetwork(model, 0, 1)).arrays["background_weight"]
    assert weight.min() > 0 and len(weight) == 50
