"""Spike variant with rewards: weights that change within episodes, against the slow twin; samples, ranks, faults."""

from functools import partial

import networks
import numpy as np
import pytest
import reward_reference
import spike_networks
import test_spike_rewiring as rewired
from corridor import CorridorTask
from params import first

from pareprop.engines.spike import SpikeSettings
from pareprop.errors import InputError
from pareprop.network.reward import Reward
from pareprop.network.rewire import Rewire
from pareprop.parallel.exchange import Exchange
from pareprop.simulation.loop import Simulation

LOSS = {"gamma": 0.95, "lambda_": 0.9, "c_V": 0.6, "c_H": 0.1}


def random_case(seed: int, models: tuple[str, ...] = ("iaf",), **overrides) -> dict:
    """A case of the spike variant with the readouts of a corridor, without cutoffs."""
    rng = np.random.default_rng(seed)
    d_out, d_fb = (int(x) for x in rng.choice([1, 1, 2, 3], 2))
    kappas = {"kappa": float(rng.choice([0.9, 0.95])), "eprop_isi_trace_cutoff": np.inf}
    kappas["kappa_reg"] = kappas["kappa"]
    groups = [
        spike_networks.group(rng, int(rng.integers(2, 5)), d_out + d_fb - 1, model=model, **kappas, c_reg=0.3)
        for model in models
    ]
    for group in groups:
        group["params"]["tau_m"] = float(rng.choice([10.0, 20.0]))
    n_rec = sum(group["n"] for group in groups)
    optimizer = {"type": "gradient_descent", "eta": 3e-3, "optimize_each_step": False, "Wmin": -100.0, "Wmax": 100.0}
    return (
        spike_networks._weights(rng, CorridorTask.n_inputs, n_rec, 3)
        | {
            "variant": "spike",
            "groups": groups,
            "dt": 1.0,
            "d_in": rng.integers(1, 4, (n_rec, CorridorTask.n_inputs)),
            "readout": {"C_m": 1.0, "E_L": 0.0, "I_e": 0.0, "tau_m": 12.0, "V_m": 0.0},
            "optimizer": optimizer,
            "d_rec": rng.integers(1, 4, (n_rec, n_rec)),
            "d_out": d_out,
            "d_fb": d_fb,
        }
        | overrides
    )


def simulation(
    case: dict,
    task: CorridorTask,
    loss: dict,
    round_steps: int = 0,
    algorithms: str | None = None,
    change=None,
    reset: bool | None = None,
    exchange: Exchange | None = None,
) -> Simulation:
    model = networks.model(case)
    model.loss = Reward(**loss)
    if change:
        change(model)
    settings = SpikeSettings(task.n_steps, round_steps=round_steps, reset=reset)
    return Simulation(model, task, exchange, settings=settings, algorithms=algorithms)


def compare(
    case: dict,
    n_episodes: int = 12,
    loss: dict | None = None,
    tolerance: float = 1e-9,
    algorithms: str | None = None,
    found: tuple | None = None,
    change=None,
    reset: bool | None = None,
    **settings,
) -> Simulation:
    """Run some episodes and compare spikes, actions, values and weights with the twin, or what it found before."""
    task, loss = CorridorTask(**settings), loss or LOSS
    run, happened, start = simulation(case, task, loss, algorithms=algorithms, change=change, reset=reset), [], 0
    batch = case["optimizer"].get("batch_size", 1)
    for item in (item for item in run.engine.plastic if item.rewiring):
        item.rewiring.kept = []
    twin = reward_reference.run_online if batch == 1 else partial(reward_reference.run_batches, reset=reset)
    weights, expected, z = found or twin(case, task, loss, n_episodes)
    for index in range(n_episodes):
        sample = run.episodes.play_episode(index, "train", learn=True)
        run.engine.finish_sample(sample, learn=True)
        if (index + 1) % batch == 0:
            run.engine.step_optimizers()
        rollout, value = sample.rollout, run.engine.evaluation.extra["value"]
        happened += zip([index] * len(value), rollout.actions, rollout.rewards, value, strict=True)
        spikes = np.stack(run.engine.log.list_spikes(run.engine.n))
        np.testing.assert_array_equal(spikes, np.nonzero(z[start : start + run.engine.n]))
        start += (run.engine.n // reward_reference.BLOCK + 1) * reward_reference.BLOCK
    np.testing.assert_allclose(np.array(happened, float), np.array(expected, float), rtol=0, atol=max(tolerance, 1e-9))
    assert np.count_nonzero(z) > 4 * n_episodes and len(z) == start
    learned = spike_networks.collect_state(run)
    for key, wanted in weights.items():
        np.testing.assert_allclose(learned[key], wanted, rtol=0, atol=tolerance, err_msg=key)
        assert np.nanmax(np.abs(wanted - case[f"w_{key}"])) > 1e-4, key
    return run


@pytest.mark.parametrize("sensor_delay", [1, 3])
@pytest.mark.parametrize("seed", first(3, range(6)))
def test_sums_give_the_weights_of_the_rule(seed: int, sensor_delay: int) -> None:
    run = compare(random_case(seed), sensor_delay=sensor_delay)
    assert spike_networks.algorithms(run) == {"prefix", "readout"}


@pytest.mark.parametrize("seed", first(2, range(4)))
@pytest.mark.parametrize("algorithm", ["scan", "steps"])
def test_windows_give_the_weights_of_the_rule(seed: int, algorithm: str) -> None:
    """By maps of steps, and step by step."""
    run = compare(random_case(seed, ("iaf_adapt", "iaf", "iaf_psc_delta_adapt")), algorithms=algorithm)
    assert spike_networks.algorithms(run) == {algorithm, "readout"}


@pytest.mark.parametrize("reset", [True, False])
@pytest.mark.parametrize("seed", first(2, range(4)))
def test_batches_of_episodes_add_up_gradients(seed: int, reset: bool) -> None:
    case = random_case(seed, ("iaf_adapt", "iaf"))
    case["optimizer"] = case["optimizer"] | {"batch_size": 3}
    compare(case, 6, reset=reset)


@pytest.mark.parametrize(
    ("seed", "values"),
    [
        (1, {"kappa_reg": 0.6}),
        (2, {"eprop_isi_trace_cutoff": 9.0}),
        (3, {"kappa_reg": 0.8, "eprop_isi_trace_cutoff": 2.0}),
    ],
)
def test_cutoffs_and_filters_apart(seed: int, values: dict) -> None:
    """TD errors meet what spikes were credited with before the cutoff, also after it."""
    case = random_case(seed, ("iaf_adapt", "iaf"))
    for group in case["groups"]:
        group["params"] |= values
    if "kappa_reg" not in values:
        case["readout"]["eprop_isi_trace_cutoff"] = 5.0
    run = compare(case)
    assert spike_networks.algorithms(run) == {"steps", "readout"}


class MovingRow(reward_reference.OnlineNeuronRow, rewired.MovingRow):
    """Of synapses that move, what TD errors meet included."""

    kept = (*rewired.OF_SYNAPSES, "h")


@pytest.mark.parametrize(("seed", "algorithm"), [(1, "scan"), (2, "steps")])
def test_synapses_move_after_episodes(seed: int, algorithm: str) -> None:
    """A synapse that comes is credited with nothing that the one that went did."""
    random, n, n_in = np.random.default_rng(seed), 8, CorridorTask.n_inputs
    signs = {key: random.choice([-1, 1], size) for key, size in (("in", n_in), ("rec", n))}
    rules = {"in": Rewire(l1=15.0, every=1), "rec": Rewire(l1=15.0, every=2)}
    case, made = random_case(seed), {}
    values = {"kappa": 0.9, "kappa_reg": 0.9, "eprop_isi_trace_cutoff": np.inf, "c_reg": 0.3, "tau_m": 10.0}
    lag, model = case["d_out"] + case["d_fb"] - 1, "iaf_adapt" if seed == 1 else "iaf"
    case["groups"] = [spike_networks.group(random, n, lag, model=model, **values)]
    for key, degree in (("in", 3), ("rec", 4)):
        weights = np.full((n, len(signs[key])), np.nan)
        for row in weights:
            some = random.choice(len(row), degree, replace=False)
            row[some] = np.abs(random.normal(0.0, 0.5, degree)) * signs[key][some]
        case[f"w_{key}"] = weights
    case |= {"w_out": random.normal(0.0, 0.4, (3, n)), "w_fb": random.normal(0.0, 0.6, (n, 3))}
    case |= {"d_in": random.integers(1, 4, (n, n_in)), "d_rec": random.integers(1, 4, (n, n))}

    def moving(net, key, weights, delays):
        made[key] = rewired.MovingRows(
            net, weights, delays, np.inf, rewired.NAMES[key], rules[key], signs[key], MovingRow
        )
        return made[key]

    found = reward_reference.run_online(case, CorridorTask(), LOSS, 12, moving)
    run = compare(case, found=found, algorithms=algorithm, change=lambda model: rewired.rewire(model, rules, signs))
    for item in (item for item in run.engine.plastic if item.rewiring):
        key = next(key for key, name in rewired.NAMES.items() if name == item.name)
        seen = np.concatenate(item.rewiring.kept)
        assert len(seen) > 3, "the case must have moves"
        np.testing.assert_array_equal(seen, made[key].moves, err_msg=key)


@pytest.mark.parametrize("seed", [2, 5])
def test_feedback_that_follows_the_readouts(seed: int) -> None:
    case = random_case(seed, feedback="symmetric")
    rng, n_rec = np.random.default_rng(seed), len(case["w_rec"])
    case |= {"w_out": rng.normal(0.0, 0.4, (3, n_rec)), "w_fb": np.zeros((n_rec, 3))}
    compare(case)


@pytest.mark.parametrize("loss", [{"gamma": 0.5, "lambda_": 0.4}, {"gamma": 1.0, "lambda_": 0.0}, {"c_V": 0.0}])
def test_traces_that_end_within_a_block(loss: dict) -> None:
    """Sums would lose their digits: windows are worked off instead. Without a discount they are not."""
    run = compare(random_case(4), loss=LOSS | loss)
    assert ("prefix" in spike_networks.algorithms(run)) == ("gamma" not in loss)


def test_adam_takes_the_gradient_of_each_step() -> None:
    optimizer = {"type": "adam", "eta": 1e-3, "optimize_each_step": True, "Wmin": -100.0, "Wmax": 100.0}
    run = compare(random_case(3, optimizer=optimizer), tolerance=1e-8)
    assert "prefix" not in spike_networks.algorithms(run)


@pytest.mark.parametrize("models", first(1, [("iaf", "iaf_adapt"), ("iaf", "iaf")]))
def test_synapses_of_silent_sources_keep_up(models: tuple[str, ...]) -> None:
    """Histories are as long as is needed, whatever the time between two spikes."""
    case = random_case(7, models)
    case["w_in"][:, 0] = np.nan
    compare(case, n_episodes=45, bootstrap=False, n_steps=29)


def test_single_precision_is_near_double() -> None:
    """As long as both spike alike; sums are used where their powers lose at most 1.5 digits."""
    found = []
    for precision in ("double", "single"):
        case = random_case(1, precision=precision)
        for group in case["groups"]:
            group["params"] |= {"tau_m": 20.0, "kappa": 0.95, "kappa_reg": 0.95}
        run = simulation(case, CorridorTask(), {"gamma": 1.0, "lambda_": 0.97, "c_V": 0.5, "c_H": 0.1})
        assert "prefix" in spike_networks.algorithms(run)
        for index in range(3):
            run.run_sample(index, "train", learn=True)
        found.append(spike_networks.collect_state(run))
    for key in found[0]:
        np.testing.assert_allclose(found[1][key], found[0][key], rtol=0, atol=1e-5)


def test_samples_without_learning_change_no_weight() -> None:
    run = simulation(random_case(1), CorridorTask(), LOSS)
    for index in range(4):
        run.run_sample(index, "train", learn=True)
    run.run_sample(0, "test", learn=False)
    before = [table.weight.copy() for table in run.network.list_tables().values()]
    for index in range(1, 4):
        run.run_sample(index, "test", learn=False)
    for table, weight in zip(run.network.list_tables().values(), before, strict=True):
        np.testing.assert_array_equal(table.weight, weight)


@pytest.mark.parametrize("round_steps", [1, 2])
def test_the_length_of_rounds_changes_no_bit(round_steps: int) -> None:
    case, found = random_case(4, d_rec=3, d_out=3, d_fb=3), []
    for steps in (0, round_steps):
        run = simulation(case | {"d_rec": np.full(case["w_rec"].shape, 3)}, CorridorTask(), LOSS, steps)
        for index in range(6):
            run.run_sample(index, "train", learn=True)
        found.append(run.hexdigest())
    assert found[0] == found[1]


def _of_groups(**values):
    return lambda case: [group["params"].update(values) for group in case["groups"]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda case: case.update(d_out=5), "first = 4 must be at least the delay to the readouts, 5 steps"),
    ],
)
def test_what_is_not_possible_is_refused_in_one_line(change, message: str) -> None:
    case = random_case(2)
    change(case)
    with pytest.raises(InputError, match=message) as found:
        simulation(case, CorridorTask(), LOSS)
    assert "\n" not in str(found.value)
