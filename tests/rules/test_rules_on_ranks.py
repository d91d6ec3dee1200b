"""Rules and short-term plasticity with all else that a network has: one digest on any ranks, and after a restart."""

import itertools
from pathlib import Path

import h5py
import numpy as np
import pytest
import ranks
import small
from params import first_rows

from pareprop.engines.spike import SpikeSettings
from pareprop.errors import StateError
from pareprop.network.model import Model
from pareprop.network.optimizers import Adam, GradientDescent
from pareprop.network.parameters import Normal, Uniform
from pareprop.network.rewire import Rewire
from pareprop.network.rule_options import ShortTerm
from pareprop.neurons import library
from pareprop.rules.definition import Eprop, LearningRule
from pareprop.simulation.loop import Simulation

STEPS = 60
OWN = LearningRule(
    "own",
    parameters={"tau": (12.0, "ms")},
    constants={"keep": "exp(-dt/tau)"},
    reads=["V_m", "V_th"],
    states={"fast": (0.2, "1")},
    neuron={"fast": "keep*fast + z", "far": "unreset(V_m) - V_th"},
    synapse={"r": "keep*r + pre", "c": "0.9*c + psi*new(r)*far + 0.01*z*before(fast)*pre"},
    gradient="(0.1*L + 0.01*M)*c + 0.02*before(r)*refractory",
)


def noise(n_steps: int, p: object) -> small.Noise:
    """Random spikes, targets and modulators."""
    return small.Noise(
        lambda draws: draws.normal(size=(n_steps, 1)), 10, p, modulator=lambda draws: draws.normal(size=n_steps)
    )


NOISE = noise(STEPS, 0.2)


def build(name: str) -> Model:
    """Two populations of the package and one of equations, which learn by rules of all kinds."""
    if name == FEW:
        return few()
    optimizer = GradientDescent(eta=1e-4, batch_size=2 if "batches" in name else 1)
    model = Model("spike" if "spike" in name else "interval", seed=3, optimizer=optimizer)
    inputs, out = model.inputs("in", 10), model.readouts("out", 1, C_m=1.0, tau_m=20.0)
    groups = [
        model.neurons("plain", 8, "iaf", I_e=420.0, tau_m=Uniform(low=8.0, high=12.0)),
        model.neurons("adapting", 8, "iaf_adapt", I_e=420.0),
        model.neurons("adex", 8, library.get_definition("adex"), I_e=700.0),
    ]
    moving = {"rewire": Rewire(l1=0.5, temperature=1e-3), "allow_multapses": False} if "rewiring" in name else {}
    scale = 1.0, 1.0, 20.0
    for k, cells in enumerate(groups):
        weight = Normal(mean=4.0 * scale[k], std=1.0 * scale[k])
        rules = ("pair_stdp", OWN, "r_stdp")[k], (OWN, Eprop(through="no own spike"), "triplet_stdp")[k]
        model.connect(
            inputs,
            cells,
            "fixed_indegree",
            indegree=5,
            weight=weight,
            delay=[1, 3],
            learning_rule=rules[0],
            optimizer=(Adam if k else GradientDescent)(eta=1e-3, Wmin=-1e3, Wmax=1e3),
            **moving,
            learning_parameters={"tau": Uniform(low=1.0, high=40.0)} if rules[0] is OWN else None,
        )
        for other in groups:
            model.connect(
                other,
                cells,
                "fixed_indegree",
                indegree=3,
                allow_autapses=False,
                delay=[2, 4],
                weight=Normal(mean=0.0, std=scale[k]),
                learning_rule=rules[1],
                optimizer=GradientDescent(eta=1e-4, Wmin=-1e3, Wmax=1e3),
                transmission=ShortTerm(U=Uniform(low=0.2, high=0.6), tau_rec=60.0, tau_fac=100.0 * k),
            )
        model.connect(cells, out, weight=Normal(std=0.5), transmission=ShortTerm(U=0.5, tau_rec=40.0))
        model.connect(out, cells, weight=Normal(std=1.0))
    return model


FEW = "spike, a rank without neurons"
NAMES = ("interval", "spike", "spike, rewiring", "spike, rewiring, batches", FEW)
RECORDED = ("in->plain", "in->adapting", "plain->adapting", "adex->adex", "adapting->out")
RECORD = {"every": 1, "what": ["synapse_states"], "projections": RECORDED, "synapses": 5}


def train(folder: str, words: list[str], exchange: object) -> None:
    """Train all networks, or go on with them; print the digest of each."""
    for name in NAMES:
        more = {"record": RECORD} if name in NAMES[:2] else {}
        done = ranks.run_part(words, exchange, build(name), NOISE, Path(folder, name), stop_samples=1, **more)
        if exchange.rank == 0:
            print(f"{name}: {done.digest}", flush=True)


@pytest.mark.slow
@pytest.mark.mpi
def test_same_digest_on_other_ranks_and_after_a_restart(tmp_path: Path) -> None:
    """And the same states of synapses."""
    assert list(ranks.check_restart(__file__, tmp_path)) == list(NAMES)
    for name in NAMES[:2]:
        with (
            h5py.File(tmp_path / "one" / name / "record.h5") as file,
            h5py.File(tmp_path / "part" / name / "record.h5") as other,
        ):
            assert set(file["weights"]) == set(RECORDED)
            for projection, group in file["weights"].items():
                tracks = [key for key in group if key.startswith("state_")]
                assert tracks
                for key in tracks:
                    np.testing.assert_array_equal(group[key], other[f"weights/{projection}/{key}"])
                assert any(np.any(group[key][()] != 0.0) for key in tracks), projection


@pytest.mark.parametrize("reset", [True, False])
def test_batches_take_the_mean_of_gradients(reset: bool) -> None:
    """Of the spike variant: those that runs whose optimizers take no step sum up, of each sample or of all."""

    def simulate(samples: range, batch: int) -> dict[str, np.ndarray]:
        model = build("spike")
        model.optimizer = Adam(eta=0.0, batch_size=batch)
        for k, item in enumerate(model.projections):
            if item.optimizer:
                model.projections[k] = item.model_copy(update={"optimizer": Adam(eta=0.0, Wmin=-1e3, Wmax=1e3)})
        run = Simulation(model, NOISE, settings=SpikeSettings(STEPS, reset=reset if batch > 1 else None))
        run.engine.keep_gradients()
        for index in samples:
            run.run_sample(index, "train", learn=True)
        run.engine.step_optimizers()
        found = run.engine.get_gradients(run.engine.show_weights())
        tables = run.network.incoming, run.network.outgoing
        return {
            span.projection.name: found[id(table)][span.first : span.last] for table in tables for span in table.spans
        }

    parts = [simulate(samples, 1) for samples in ((range(1), range(1, 2)) if reset else (range(2),))]
    for name, gradient in simulate(range(2), 2).items():
        expected = sum(part[name] for part in parts) / 2
        size = np.max(np.abs(expected))
        np.testing.assert_allclose(gradient, expected, rtol=0, atol=1e-10 * size, err_msg=name)
        assert size > 0


@pytest.mark.parametrize("variant", ["interval", "spike"])
def test_all_projections_learn(variant: str) -> None:
    model = build(variant)
    simulation = Simulation(model, NOISE)
    tables = simulation.network.incoming, simulation.network.outgoing
    before = [table.weight.copy() for table in tables]
    simulation.train(4)
    assert np.all(np.bincount(simulation.engine.log.ids // 8, minlength=3) > 0)
    for table, weights in zip(tables, before, strict=True):
        for span in table.spans:
            own = slice(span.first, span.last)
            assert np.any(table.weight[own] != weights[own]), span.projection.name


def with_transmission(bound: float, rule: object = None, **connection: object) -> Model:
    """Neurons of all kinds that learn from spikes with factors; weights stay within any of the bounds."""
    model = Model("spike", seed=3, optimizer=GradientDescent(eta=1e-4, Wmin=-bound, Wmax=bound))
    inputs, groups = model.inputs("in", 10), []
    for kind, current in (("iaf", 420.0), ("iaf_adapt", 420.0), (library.get_definition("adex"), 700.0)):
        groups.append(model.neurons(str(getattr(kind, "name", kind)), 8, kind, I_e=current, c_reg=1.0))
        transmission = ShortTerm(U=0.4, tau_rec=60.0, tau_fac=100.0)
        given = {"delay": [1, 3], "transmission": transmission, "learning_rule": rule} | connection
        model.connect(inputs, groups[-1], weight=Normal(mean=3.0, std=1.0), **given)
    small.read_out(model, *groups)
    return model


def few(variant: str = "spike", rule: object = None) -> Model:
    """Two neurons, so that one of three ranks has none."""
    return driven(variant, 2, transmission=ShortTerm(U=0.4, tau_rec=60.0), learning_rule=rule)


def driven(variant: str, n: int, std: float = 1.0, rate: float = 1e-4, bound: float = 100.0, **into: object) -> Model:
    """Ten inputs, and neurons near their threshold that a readout feeds back to."""
    options = {"seed": 3, "optimizer": GradientDescent(eta=rate, Wmin=-bound, Wmax=bound)}
    onto = {"into": {"weight": Normal(mean=3.0, std=std)} | into, "onto": 0.5, "back": 1.0}
    return small.network(variant, 10, n, cell={"I_e": 420.0}, out=small.READOUT, defaults=True, **onto, **options)


def weights_of(model: Model, task: object = None, **algorithms: object) -> tuple[np.ndarray, np.ndarray]:
    """Weights before and after training."""
    simulation = Simulation(model, task or NOISE, **algorithms)
    table = simulation.network.incoming
    before = table.weight.copy()
    simulation.train(4)
    return before, simulation.engine.show_weights().get(id(table), table.weight)


def test_ways_agree_where_spikes_have_factors() -> None:
    """E-prop by composed maps and step by step."""
    before, by_maps = weights_of(with_transmission(1e3), algorithms="scan")
    _, by_steps = weights_of(with_transmission(1e3), algorithms="steps")
    change = np.abs(by_steps - before).max()
    assert change > 1e-4
    np.testing.assert_allclose(by_maps, by_steps, rtol=0, atol=1e-10 * change)


@pytest.mark.parametrize("loop", [1, 2])  # steps of the delays to and from readouts
def test_sums_agree_with_steps_where_spikes_have_factors(loop: int) -> None:
    """Dense and sparse rows, windows that a cutoff closes, spikes that enter when they arrive, or later."""
    weights = []
    for algorithm in ("prefix", "steps"):
        given = {"transmission": ShortTerm(U=0.4, tau_rec=60.0, tau_fac=100.0), "weight": Normal(mean=3.0, std=1.0)}
        model = small.network(
            "spike",
            10,
            24,
            cell={"I_e": 420.0, "c_reg": 1.0, "eprop_isi_trace_cutoff": 8.0},
            out=small.READOUT,
            into=given,
            among={"rule": "fixed_indegree", "indegree": 6} | given,
            defaults=True,
            seed=3,
            onto={"weight": Normal(std=0.5), "delay": loop},
            back={"weight": Normal(std=1.0), "delay": loop},
            optimizer=GradientDescent(eta=1e-4),
        )
        weights.append(weights_of(model, algorithms=algorithm))
    (before, by_sums), (_, by_steps) = weights
    change = np.abs(by_steps - before).max()
    assert change > 1e-4
    np.testing.assert_allclose(by_sums, by_steps, rtol=0, atol=1e-10 * change)


SPREAD = Uniform(low=0.5, high=400.0)
KEEPS_NOTHING = LearningRule("now", neuron={"y": "0.9*y + z"}, synapse={"r": "pre"}, gradient="0.1*r*y")


SILENCE = noise(900, np.linspace(0.0005, 0.05, 10))  # sources may be silent for longer than rows are kept


@pytest.mark.parametrize(
    ("rule", "more"),
    first_rows(
        6,
        [
            ("pair_stdp", {}),
            ("pair_stdp", {"transmission": ShortTerm(U=1.0, tau_rec=1e17)}),
            (KEEPS_NOTHING, {}),
            (OWN, {"learning_parameters": {"tau": SPREAD}}),
            ("r_stdp", {"task": SILENCE}),
            ("pair_stdp", {"task": SILENCE, "learning_parameters": {"tau_plus": SPREAD}, "delay": 1}),
            ("superspike", {}),
            (OWN, {}),
        ],
    ),
)
def test_maps_of_rules_agree_with_single_steps(rule: object, more: dict) -> None:
    """Bounds that are never met let the optimizer step in each time step, so that no steps are taken together.

    Also where all spikes of a source but the first have a factor of 0, and where synapses keep nothing.
    """
    connection = dict(more)
    task = connection.pop("task", None)
    before, by_maps = weights_of(with_transmission(1e3, rule, **connection), task)
    _, by_steps = weights_of(with_transmission(99.0, rule, **connection), task)
    change = np.abs(by_steps - before).max()
    assert change > 1e-6
    np.testing.assert_allclose(by_maps, by_steps, rtol=0, atol=1e-9 * change)


@pytest.mark.parametrize("variant", ["interval", "spike"])
def test_rules_without_states_learn(variant: str) -> None:
    """A rule that counts arrivals in steps in which the target fires, by hand; one that reads L as with a state."""
    model = driven(variant, 2, rate=1e-3, delay=2, learning_rule=LearningRule("together", gradient="pre*z"))
    simulation = Simulation(model, NOISE)
    table = simulation.network.incoming
    before = table.weight.copy()
    simulation.train(1)
    arrives = np.roll(np.random.default_rng(0).random((STEPS, 10)) < 0.2, 1, axis=0)
    arrives[0] = False
    log = simulation.engine.log
    fires = np.array([np.isin([0, 1], log.ids[first:last]) for first, last in itertools.pairwise(log.ptr)])
    count = arrives.T.astype(int) @ fires
    assert count.min() > 0
    after = simulation.engine.show_weights().get(id(table), table.weight)
    np.testing.assert_allclose(before - after, 1e-3 * count.ravel(), rtol=0, atol=1e-12)

    rules = [
        LearningRule("now", neuron={"y": "0.9*y + z"}, synapse=synapse, gradient=f"{name}*(0.1*y + L*psi)")
        for synapse, name in (({}, "pre"), ({"e": "pre"}, "e"))
    ]
    (before, without), (_, with_one) = (weights_of(few(variant, rule)) for rule in rules)
    assert np.abs(without - before).max() > 1e-6
    np.testing.assert_array_equal(without, with_one)


@pytest.mark.parametrize(("rule", "bound"), [("pair_stdp", 1e3), ("three_factor", 1e3), ("pair_stdp", 99.0)])
def test_rows_that_are_brought_forward_keep_their_bits(rule: str, bound: float) -> None:
    """As all are before synapses move; here none does."""
    weights = []
    for rewire in (None, Rewire(l1=0.0, temperature=0.0)):
        given = {"rule": "fixed_indegree", "indegree": 5, "allow_multapses": False, "rewire": rewire}
        weights.append(weights_of(driven("spike", 8, 0.2, bound=bound, learning_rule=rule, **given))[1])
    np.testing.assert_array_equal(*weights)


def test_nothing_is_told_of_signals_that_are_not_read(recwarn: pytest.WarningsRecorder) -> None:
    model = Model("spike")
    cells = model.neurons("rec", 3, "iaf")
    model.readouts("out", 1)
    model.connect(model.inputs("in", 10), cells, learning_rule="pair_stdp")
    Simulation(model, NOISE).train(1)
    assert not any("learns nothing" in str(warning.message) for warning in recwarn)


@pytest.mark.parametrize("variant", ["interval", "spike"])
def test_numbers_that_are_not_finite_end_the_run(variant: str) -> None:
    """Bounds of weights would hide them."""
    rule = LearningRule("wild", synapse={"r": "0.9*r + pre"}, change="r/(z - z)")
    with pytest.raises(StateError, match=r"^numbers of rule wild = .*inf in neuron 0 of population 'rec' \(sample 0\)"):
        Simulation(few(variant, rule), NOISE).train(1)
