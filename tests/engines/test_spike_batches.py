"""Batches in the spike variant: gradients of samples in which weights stay, and steps of the optimizer after them."""

from pathlib import Path

import networks
import numpy as np
import pytest
import ranks
import spike_networks
from params import first
from reference import run_batches

from pareprop import ShortTerm
from pareprop.engines.rule_traces import traces_of
from pareprop.engines.sample import Sample
from pareprop.engines.spike import SpikeSettings
from pareprop.engines.traces import Chosen
from pareprop.errors import InputError, StateError
from pareprop.kernels import layout
from pareprop.network.model import Model
from pareprop.network.optimizers import Adam, GradientDescent, Optimizer, SgdMomentum
from pareprop.network.parameters import Normal
from pareprop.parallel import launcher
from pareprop.parallel.exchange import Exchange
from pareprop.simulation.loop import Simulation, check_replicas

SAMPLE = 25


def batched(seed: int, **overrides) -> dict:
    """A random case of eight samples in batches of two."""
    case = spike_networks.random_case(seed, n_steps=8 * SAMPLE, **overrides)
    eta = 30.0 * case["optimizer"]["eta"]
    case["optimizer"] = case["optimizer"] | {"batch_size": 2, "eta": eta, "optimize_each_step": True}
    return case


def simulation(case: dict, reset: bool | None) -> Simulation:
    task = spike_networks.CaseTask(case, SAMPLE)
    return Simulation(networks.model(case), task, settings=SpikeSettings(SAMPLE, reset=reset))


@pytest.mark.parametrize("seed", first(6, range(60), rest=12))
@pytest.mark.parametrize("reset", [True, False])
def test_random_networks(seed: int, reset: bool) -> None:
    case = batched(seed)
    expected = run_batches(case, SAMPLE, reset)
    found = spike_networks.run_samples(simulation(case, reset), batch=2)
    spike_networks.compare(case, found, expected)
    assert max(spike_networks.changes(case, expected)) > 1e-5


@pytest.mark.parametrize("reset", [True, False])
def test_samples_without_learning_leave_no_gradient(reset: bool) -> None:
    """Between batches and within them; in an endless run their spikes, and the time, count all the same."""
    case, learns = batched(3), [True, False, True, False, False, True, True, False]
    run, n_learned = simulation(case, reset), 0

    def step(run: Simulation, index: int) -> None:
        nonlocal n_learned
        n_learned += learns[index]
        if learns[index] and n_learned % 2 == 0:
            run.engine.step_optimizers()

    found = spike_networks.run_samples(run, learns, between=step)
    spike_networks.compare(case, found, run_batches(case, SAMPLE, reset, learns=learns))


def test_samples_of_a_batch_are_runs_of_their_own_unless_asked_otherwise() -> None:
    case = batched(5)
    digests = {}
    for reset in (None, True, False):
        run = simulation(case, reset)
        run.train(3)
        digests[reset] = run.hexdigest()
    assert digests[None] == digests[True] != digests[False]


class Noise:
    """Random spikes and targets."""

    n_steps = learning_window = 40

    def __init__(self, reset: bool | None = None) -> None:
        self._reset = reset

    def make_settings(self) -> SpikeSettings:
        return SpikeSettings(self.n_steps, reset=self._reset)

    def sample(self, index: int, phase: str = "train") -> Sample:
        rng = np.random.default_rng([index, len(phase)])
        return Sample.from_raster(rng.random((self.n_steps, 8)) < 0.2, rng.normal(size=(self.n_steps, 2)))


def network(feedback: str = "symmetric", optimizer: Optimizer | None = None, c_reg: float = 0.5, **options) -> Model:
    """Two populations with signs, synapses that move, short-term plasticity, and a background."""
    model = Model("spike", seed=2, optimizer=optimizer or SgdMomentum(eta=1e-3, batch_size=3), **options)
    inputs, out = model.inputs("in", 8), model.readouts("out", 2, C_m=1.0, tau_m=15.0)
    values = {
        "C_m": 1.0,
        "E_L": 0.0,
        "V_th": 0.4,
        "tau_m": 12.0,
        "t_ref": 1.0,
        "c_reg": c_reg,
        "kappa": 0.9,
        "kappa_reg": 0.9,
        "surrogate_gradient_width": 0.5,
    }
    groups = [
        model.neurons("one", 7, "iaf", sign=[1, 1, 1, -1, 1, -1, 1], **values),
        model.neurons("two", 6, "iaf_adapt", adapt_beta=0.2, adapt_tau=50.0, **values),
    ]
    model.background(groups[1], rate_hz=200.0, weight=0.2)
    for group in groups:
        model.connect(inputs, group, weight=Normal(mean=0.3, std=0.2), transmission=ShortTerm(U=0.5, tau_rec=50.0))
        model.connect(group, out, weight=Normal(std=0.3))
        model.connect(out, group, feedback=feedback, weight=1.0 if feedback == "symmetric" else Normal(std=0.5))
    model.connect(
        groups[0],
        groups[1],
        "fixed_indegree",
        indegree=3,
        allow_multapses=False,
        delay=(1, 3),
        weight=0.2,
        sign="source",
        optimizer=Adam(eta=0.2),
    )
    model.connect(
        groups[1],
        groups[0],
        "fixed_indegree",
        indegree=3,
        allow_multapses=False,
        weight=Normal(std=0.2),
        rewire={"l1": 1.0, "temperature": 1e-3, "every": 2},
    )
    return model


RUNS = {
    "samples": (None, {}),
    "endless": (False, {}),
    "adaptive": (None, {"feedback": "adaptive"}),
    "single": (None, {"precision": "single"}),
    "endless adaptive": (False, {"feedback": "adaptive"}),
}


def train(folder: str, words: list[str], exchange: Exchange) -> None:
    """See `ranks.check_restart`; or with "groups" as many groups of ranks."""
    for name, (reset, options) in RUNS.items():
        if words[0] == "groups":
            if reset is False:
                continue
            model = network(optimizer=SgdMomentum(eta=1e-3, batch_size=6), **options)
            run = Simulation(model, Noise(), launcher.split_into_replicas(exchange, int(words[1])))
            run.train(3)
            digest, tells = run.hexdigest(), not exchange.rank
        else:
            done = ranks.run_part(
                words,
                exchange,
                network(**options),
                Noise(reset),
                Path(folder, name),
                test_samples=2,
                validate_every=1,
                validate_samples=1,
            )
            digest, tells = done.digest, not exchange.rank
        if tells:
            print(f"{name}: {digest}", flush=True)


@pytest.mark.slow
@pytest.mark.mpi
def test_one_digest_on_ranks_and_after_a_restart(tmp_path: Path) -> None:
    ranks.check_restart(__file__, tmp_path, "whole")


@pytest.mark.slow
@pytest.mark.mpi
def test_one_digest_with_replicas(tmp_path: Path) -> None:
    found = [
        ranks.digests(n, __file__, tmp_path, "groups", str(groups)) for n, groups in ((1, 1), (2, 2), (4, 2), (4, 4))
    ]
    assert found[0] and all(each == found[0] for each in found)


@pytest.mark.parametrize("precision", ["double", "single"])
@pytest.mark.parametrize("reset", [None, False])
def test_weights_keep_their_bits_within_a_batch(reset: bool | None, precision: str) -> None:
    """Also the sign of zeros, which synapses that may move have in place of a sign."""
    run = Simulation(network("adaptive", precision=precision), Noise(), settings=SpikeSettings(40, reset=reset))
    tables = run.network.incoming, run.network.outgoing, run.network.following.adaptive
    for table in tables:
        table.weight[::3] = -0.0
    before = [table.weight.tobytes() for table in tables]
    for index in range(2):
        run.run_sample(index, "train", learn=True)
    assert [table.weight.tobytes() for table in tables] == before
    run.run_sample(2, "train", learn=True)
    run.engine.step_optimizers()
    assert all(table.weight.tobytes() != bits for table, bits in zip(tables, before, strict=True))


@pytest.mark.parametrize("reset", [None, False])
def test_signs_of_sources_hold_after_batches(reset: bool | None) -> None:
    run = Simulation(network(), Noise(), settings=SpikeSettings(40, reset=reset))
    (span,) = (span for span in run.network.incoming.spans if span.projection.keeps_signs)
    rows = np.diff(run.network.incoming.row_ptr[span.rows : span.rows + span.n_rows + 1])
    signs = np.repeat(span.list_row_signs(), rows)
    for k in range(6):
        run.train(k + 1)
        weight = run.network.incoming.weight[span.first : span.last]
        assert np.all(weight * signs >= 0.0)
    assert np.any(weight == 0.0) and np.any(weight != 0.0)


def test_no_row_is_brought_further_than_the_steps_that_are_known() -> None:
    """Where synapses move in an endless run, after a flush that was undone."""
    run = Simulation(network(), Noise(), settings=SpikeSettings(40, reset=False))
    run.train(2)
    cursor = np.asarray(run.engine.memory.tables[0].rows.books)[:, layout.CURSOR]
    assert 0 < cursor.max() <= run.engine.time - run.engine.plan.m


@pytest.mark.parametrize(("before", "after"), [(None, False), (False, None)])
def test_a_state_of_other_samples_is_refused(before: bool | None, after: bool | None) -> None:
    state = Simulation(network(), Noise(), settings=SpikeSettings(40, reset=before)).engine.state()
    run = Simulation(network(), Noise(), settings=SpikeSettings(40, reset=after))
    words = ("false", "true") if after is None else ("true", "false")
    told = "cannot resume: reset = {} in the checkpoint, {} in this run".format(*words)
    with pytest.raises(InputError, match=f"^{told}$"):
        run.engine.load_state(state.numbers, state.shared)


def test_reset_without_batches_is_refused() -> None:
    model = network(optimizer=GradientDescent(eta=1e-3))
    with pytest.raises(InputError) as refused:
        Simulation(model, Noise(), settings=SpikeSettings(40, reset=True))
    assert str(refused.value) == (
        "reset = true does not go with the spike variant and batch_size = 1: weights change at spikes, in a run "
        "without pauses"
    )


def test_replicas_of_an_endless_run_are_refused() -> None:
    model = network(optimizer=GradientDescent(eta=1e-3, batch_size=4))
    with pytest.raises(InputError, match=r"^replicas = 2 does not go with reset = false: "):
        check_replicas(2, model, SpikeSettings(40, reset=False))
    check_replicas(2, model, SpikeSettings(40))


@pytest.mark.parametrize("reset", [None, False])
@pytest.mark.parametrize("feedback", ["symmetric", "adaptive"])
def test_feedback_follows_the_weights_of_readouts(feedback: str, reset: bool | None) -> None:
    run = Simulation(
        network(feedback, GradientDescent(eta=3e-4, batch_size=2)), Noise(), settings=SpikeSettings(40, reset=reset)
    )
    before = run.network.build_dense_feedback().copy()
    readouts = dense_readouts(run)
    run.train(3)
    change, expected = run.network.build_dense_feedback() - before, dense_readouts(run) - readouts
    np.testing.assert_allclose(change, expected, rtol=0, atol=1e-15)
    assert np.abs(change).max() > 1e-4


def dense_readouts(run: Simulation) -> np.ndarray:
    """Weights onto readouts, (n_readouts, n_neurons)."""
    found, table = np.zeros((run.network.n_readouts, run.network.n_recurrent)), run.network.outgoing
    for span in table.spans:
        for source, target, _, index in table.yield_chunks(span):
            found[target, source + run.model.offset(span.projection.pre)] = table.weight[index]
    return found


def test_recorded_gradients_of_samples_add_up_to_that_of_the_batch() -> None:
    """But for the regularization of rates in the last steps of a sample, whose errors come after its end."""
    model = network(optimizer=GradientDescent(eta=0.0, batch_size=3), c_reg=0.0)
    run = Simulation(model, Noise())
    engine, (projection, *_) = run.engine, model.projections
    (span,) = (span for span in run.network.incoming.spans if span.projection.name == projection.name)
    source, target, delay, index = np.concatenate([*run.network.incoming.yield_chunks(span)], axis=1)
    item = traces_of(engine, Chosen(projection, source, target, delay))
    engine.record_neurons(item.record)
    engine.keep_gradients()
    total = np.zeros(len(source))
    for k in range(3):
        run.run_sample(k, "train", learn=True)
        recorded = item.record_states(engine.inputs, engine.log, engine.evaluation.error, None)
        total += recorded["gradient"].sum(axis=0)
    engine.step_optimizers()
    expected = engine.get_gradients({})[id(run.network.incoming)][index]
    np.testing.assert_allclose(total / 3, expected, rtol=0, atol=1e-12 * np.abs(expected).max())
    assert np.all(expected != 0.0)


@pytest.mark.parametrize("reset", [None, False])
def test_steps_of_advance_are_those_of_train(reset: bool | None) -> None:
    """Steps may end within a sample."""
    runs = [Simulation(network(), Noise(), settings=SpikeSettings(40, reset=reset)) for _ in range(2)]
    runs[0].train(2)
    for steps in (7, 100, 1, 132):
        runs[1].advance(steps)
    assert runs[0].hexdigest() == runs[1].hexdigest()


def test_a_checkpoint_within_a_batch_is_refused() -> None:
    """As in the interval variant."""
    run = Simulation(network(), Noise())
    run.advance(50)
    with pytest.raises(StateError, match=r"iteration 0 is not over: advance\(70\) ends it"):
        run.state()
