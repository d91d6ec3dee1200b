"""The spike variant against forward traces of one synapse after the other: all kernels, any delays and cutoffs."""

import itertools

import numpy as np
import pytest
import spike_networks
from hypothesis import given, settings
from hypothesis import strategies as st
from params import first, first_rows
from properties import examples
from reference import run_case
from spike_networks import changes

from pareprop.algorithms.choice import choose_algorithms
from pareprop.algorithms.plan import FOLD_STEPS
from pareprop.algorithms.prefix import arrays as prefix_arrays
from pareprop.algorithms.prefix.algorithm import LOSS
from pareprop.errors import InputError
from pareprop.network.model import Model
from pareprop.network.optimizers import Adam, GradientDescent

SHORT = {"tau_m": 3.0, "kappa": 0.8, "kappa_reg": 0.8, "c_reg": 1.0, "model": "iaf"}  # what neurons forget soon
LONG = {"tau_m": 20.0, "kappa": 0.9, "kappa_reg": 0.9, "model": "iaf"}
AT_REST = {"E_L": 0.0, "V_m": 0.0, "V_min": -5.0}
PLAIN = {"type": "gradient_descent", "eta": 1e-3, "optimize_each_step": False}


def check(case: dict, *splits: tuple[int, int]) -> tuple[dict, float]:
    """Run a case in one sample and for each (steps of a sample, of a round); compare with the twin.

    Windows are worked off by sums, also with the memory layout of large networks, by composed maps, and step by step.

    Returns what the twin found and the worst deviation of weights, relative to the largest.
    """
    expected = run_case(case)
    worst = 0.0
    for without, few_cells in (((), prefix_arrays.FEW_CELLS), ((), 0), (("prefix",), 0), (("prefix", "scan"), 0)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(prefix_arrays, "FEW_CELLS", few_cells)
            for n_steps, round_steps in ((0, 0), *splits):
                run = spike_networks.simulation(case, n_steps, round_steps, without=without)
                assert not spike_networks.algorithms(run) & set(without)
                worst = max(worst, spike_networks.compare(case, spike_networks.run_samples(run), expected))
    return expected, worst


def network(seed: int, n_steps: int, m: int = 1, sizes=(4, 4), dense: bool = False, **params) -> dict:
    """A random case of groups with common `params`, no bounds, mean squared error and a lag of `m` steps."""
    rng = np.random.default_rng(seed)
    d_out = (m + 1) // 2
    n_rec = sum(sizes)
    shapes = {"w_in": (n_rec, 5), "w_rec": (n_rec, n_rec), "w_out": (2, n_rec), "w_fb": (n_rec, 2)}
    weights = {
        key: np.where(rng.random(shape) < 0.7 + dense, rng.normal(0.3 * (key == "w_in"), 0.4, shape), np.nan)
        for key, shape in shapes.items()
    }
    weights["w_out"][0, 0] = weights["w_fb"][0, 0] = 0.5
    return (
        spike_networks.random_case(seed, n_steps)
        | weights
        | {
            "groups": [spike_networks.group(rng, n, m, **params) for n in sizes],
            "readout": {"C_m": 1.0, "tau_m": 20.0, "loss": "mean_squared_error", "eprop_isi_trace_cutoff": 30.0},
            "optimizer": PLAIN,
            "targets": rng.normal(size=(n_steps, 2)),
            "window": np.ones(n_steps),
            "d_rec": rng.integers(1, 6, (n_rec, n_rec)) if not dense else np.full((n_rec, n_rec), 2),
            "d_in": 1 if dense else rng.integers(1, 6, (n_rec, 5)),
            "d_out": d_out,
            "d_fb": m + 1 - d_out,
            "step_currents": rng.normal(0.0, 0.1, (n_steps, n_rec)),
        }
    )


def clip(case: dict, bound: float) -> None:
    for key in spike_networks.KEYS.values():
        case[key] = np.clip(case[key], -bound, bound)


@settings(max_examples=examples(30))
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(18, 34))
def test_random_networks(seed: int, n: int) -> None:
    check(spike_networks.random_case(seed, 7 * n), (7, 0), (n, 1))


@pytest.mark.slow
def test_random_networks_are_worth_comparing() -> None:
    lively, seen = 0, set()
    for seed in range(20):
        case = spike_networks.random_case(seed)
        expected = run_case(case)
        lively += min(changes(case, expected)) > 1e-4 and len(expected["spike_ids"]) > 30
        seen |= spike_networks.algorithms(spike_networks.simulation(case))
    assert lively >= 8
    assert seen == {"prefix", "scan", "steps", "readout"}  # "lines" are in test_algorithms


@pytest.mark.parametrize("model", first(1, ["iaf", "iaf_psc_delta_adapt", "iaf_psc_delta", "iaf_adapt"], rest=2))
@pytest.mark.parametrize("kind", ["gradient_descent", "adam", "sgd_momentum", "adamw"])
@pytest.mark.parametrize("each_step", [False, True])
def test_every_choice(model: str, kind: str, each_step: bool) -> None:
    """Every model and optimizer learns something in each kind of weights."""
    case = network(5, 200, m=3, tau_m=20.0, kappa=0.9, kappa_reg=0.8, c_reg=1.0, model=model)
    bounds = {"Wmin": -0.6, "Wmax": 0.6}
    eta = {"gradient_descent": 3e-3, "sgd_momentum": 2e-4}.get(kind, 1e-3)
    case["optimizer"] = {"type": kind, "eta": eta, "optimize_each_step": each_step} | bounds
    clip(case, 0.59999)
    case["groups"][0]["params"]["tau_m"] = np.linspace(5.0, 30.0, 4)
    case["groups"][0]["params"]["refractory_input"] = case["groups"][1]["params"].pop("refractory_input", None) is False
    if "psc_delta" not in model:
        del case["groups"][0]["params"]["refractory_input"]
    expected, _ = check(case, (50, 0), (40, 1))
    assert np.bincount(expected["spike_ids"], minlength=8).max() > 5
    assert min(changes(case, expected)) > 1e-3
    if model == "iaf":
        assert any(np.any(np.abs(expected[key]) == 0.6) for key in spike_networks.KEYS.values())


@pytest.mark.parametrize(("m", "same", "dense"), first_rows(2, dict.fromkeys([
    (5, True, False), (1, False, False), (2, False, True), (9, True, True), (5, False, True), (1, True, True),
    *itertools.product((1, 2, 5, 9), (False, True), (False, True)),
]), rest=6))  # fmt: skip
def test_prefix_sums(m: int, same: bool, dense: bool) -> None:
    """Many short blocks: with one and two sets of sums, dense and sparse rows, and every cutoff that allows sums."""
    for cutoff in (m + 1, 20.0, np.inf):
        filters = SHORT | {"kappa_reg": 0.8 if same else 0.9, "eprop_isi_trace_cutoff": cutoff}
        case = network(m, 150, m, dense=dense, **filters)
        run = spike_networks.simulation(case)
        assert spike_networks.algorithms(run) == {"prefix", "readout"}
        assert run.engine.plan.block == (20 if case["dt"] == 1.0 else 30)  # ln 1000 / max(dt / tau_m, -ln kappa)
        assert np.all(run.network.incoming.blocks[:, 5] == dense)
        expected, _ = check(case, (25, 0), (50, 1))
        assert min(changes(case, expected)) > 1e-3


@pytest.mark.parametrize("m", [1, 3])
def test_dense_rows_that_descend_together(m: int) -> None:
    """70 inputs, most of which spike in every step, and 300 neurons that reach all others but not themselves."""
    n_steps, n_in, n_rec, rng = 45, 70, 300, np.random.default_rng(m)
    case = network(m, n_steps, m, sizes=(n_rec,), dense=True, **SHORT, eprop_isi_trace_cutoff=6.0)
    case["inputs"] = rng.random((n_steps, n_in)) < np.where(np.arange(n_in) < 5, 0.1, 0.97)
    case["w_in"], case["w_rec"] = rng.normal(0.0, 0.05, (n_rec, n_in)), rng.normal(0.0, 0.04, (n_rec, n_rec))
    np.fill_diagonal(case["w_rec"], np.nan)
    case["w_out"] *= 0.06
    case["optimizer"] = PLAIN | {"eta": 1e-5}
    run = spike_networks.simulation(case)
    assert spike_networks.algorithms(run) == {"prefix", "readout"}
    assert run.engine.plan.block in (20, 30)
    assert np.all(run.network.incoming.blocks[:, 5])
    expected, worst = check(case, (15, 1))
    assert min(changes(case, expected)) > 1e-4
    assert worst < 1e-12


@pytest.mark.parametrize("m", first(1, [4, 1]))
@pytest.mark.parametrize("cutoff", first(2, [np.inf, 60.0, 1500.0]))
@pytest.mark.parametrize("model", ["iaf", "iaf_adapt"])
def test_long_silence(m: int, cutoff: float, model: str) -> None:
    """Sources that are silent for longer than rows wait to be folded, over many blocks; one of them for good."""
    n_steps = 2 * FOLD_STEPS + 252
    filters = {"tau_m": 10.0, "kappa": 0.97, "kappa_reg": 0.9, "c_reg": 1.0, "eprop_isi_trace_cutoff": cutoff}
    case = network(4, n_steps, m, sizes=(2,), model=model, I_e=0.1, V_th=0.6, **filters, **AT_REST)
    case["readout"]["eprop_isi_trace_cutoff"] = cutoff
    case["optimizer"] = PLAIN | {"eta": 1e-5}
    case["w_rec"] = case["w_rec"] * 0.1
    case["inputs"] = np.zeros((n_steps, 5), bool)
    spikes = [(3,), (0, 1100), (500, 510, n_steps - 20), (1020, 1021, 1030), (1024, n_steps - 1)]
    for source, steps in enumerate(spikes):
        case["inputs"][list(steps), source] = True
    expected, _ = check(case, (n_steps // 23, 0))
    assert changes(case, expected)[0] > 1e-4


def test_filters_without_prefix_sums() -> None:
    """Short tau_m, kappa = 0, adaptation, Adam need maps of steps; cutoffs within the lag, narrow bounds steps."""

    def chosen(model: str = "iaf", optimizer=None, m: int = 1, **params) -> str:
        network = Model("spike", optimizer=optimizer or GradientDescent())
        cells = network.neurons("rec", 2, model, **({"tau_m": 20.0} | params))
        network.connect(network.inputs("in", 1), cells, name="in")
        network.connect(cells, network.readouts("out", 1), delay=m)
        return choose_algorithms(network).algorithms["in"]

    assert chosen() == chosen(eprop_isi_trace_cutoff=2) == "prefix"
    assert chosen(optimizer=GradientDescent(optimize_each_step=False, Wmin=0)) == "prefix"
    assert chosen(tau_m=0.5) == chosen(kappa=0.0) == chosen(kappa_reg=0.0) == chosen(tau_m=[20.0, 21.0]) == "scan"
    assert chosen("iaf_adapt") == chosen(optimizer=Adam(optimize_each_step=False)) == "scan"
    assert chosen(m=2, eprop_isi_trace_cutoff=2) == chosen(optimizer=Adam(), kappa_reg=0.9) == "steps"
    assert chosen(optimizer=Adam()) == "lines"
    assert chosen(optimizer=GradientDescent(Wmin=-1.0)) == "steps"


def test_powers_of_all_populations_stay_within_bounds() -> None:
    """The block that suits one population is too long for another one, whose kappa shrinks faster than its alpha."""
    network = Model("spike")
    slow = network.neurons("slow", 1, tau_m=2.0, kappa=0.6, kappa_reg=0.6)
    fast = network.neurons("fast", 1, tau_m=1.0 / 0.6, kappa=np.exp(-1.2), kappa_reg=np.exp(-1.2))
    for cells in (slow, fast):
        network.connect(network.inputs(f"in {cells.name}", 1), cells, name=cells.name)
    plan = choose_algorithms(network)
    assert plan.block == 13  # ln 1000 / ln (1 / 0.6)
    assert plan.algorithms == {"slow": "prefix", "fast": "scan"}
    assert slow.params.kappa**-plan.block < LOSS["double"] < fast.params.kappa**-plan.block


def test_sums_in_other_blocks_are_refused() -> None:
    """Traces mean something else there, in arrays of the same shapes."""
    engine = spike_networks.simulation(network(3, 30, model="iaf")).engine
    state = engine.state()
    with pytest.raises(InputError, match=r"blocks of 128 and 128 steps.*, this version uses \d+ and \d+ steps"):
        engine.load_state(state.numbers | {"blocks": [128, 128]}, state.shared)


def test_adam_takes_no_rounding_error_for_a_gradient() -> None:
    """A gradient of exactly 0 moves nothing, however large the sums are that it is a difference of."""
    filters = {"tau_m": 5.0, "kappa": 0.995, "kappa_reg": 0.995, "c_reg": 0.0, "eprop_isi_trace_cutoff": np.inf}
    surrogate = {"surrogate_gradient_function": "piecewise_linear"}
    case = network(82, 300, 5, model="iaf", t_ref=3.0, **filters, **surrogate)
    case["optimizer"] = {"type": "adam", "eta": 1e-3, "optimize_each_step": False}
    _, worst = check(case)
    assert worst < 1e-13


@pytest.mark.parametrize("last", range(20, 32))
def test_flush_after_any_number_of_steps(last: int) -> None:
    """The window that the flush closes may be as old as cutoff and lag allow; seen with a cutoff below the lag."""
    case = network(3, 32, 9, sizes=(2,), I_e=0.2, V_th=0.5, **LONG, **AT_REST)
    case["readout"]["eprop_isi_trace_cutoff"] = 3.0
    case |= {key: case[key][:last] for key in ("inputs", "targets", "window", "step_currents")}
    expected, _ = check(case)
    assert changes(case, expected)[2] > 1e-4


def test_projections_without_synapses_have_no_delay() -> None:
    """One group has no readout synapses and no feedback: delays of the learning loop are those of the other."""
    case = network(2, 100, 5, **LONG)
    case["w_out"][:, 4:] = np.nan
    case["w_fb"][4:] = np.nan
    expected, _ = check(case)
    assert min(changes(case, expected)) > 1e-3


@pytest.mark.parametrize("betas", first(2, [(0.9, 0.999), (0.0, 0.9), (0.5, 0.6), (0.99, 0.9), (0.999, 0.9999)]))
def test_adam_of_any_memory(betas: tuple[float, float]) -> None:
    """Steps without a gradient are taken at once, or one by one where beta_2 forgets fast; epsilon may matter."""
    case = network(11, 260, 2, tau_m=15.0, kappa=0.9, kappa_reg=0.9, c_reg=0.5, model="iaf_adapt")
    case["inputs"] &= np.random.default_rng(1).random(case["inputs"].shape) < 0.3
    for epsilon in (1e-7, 0.05):
        case["optimizer"] = {
            "type": "adam",
            "eta": 2e-3,
            "optimize_each_step": False,
            "Wmin": -0.9,
            "Wmax": 0.9,
            "beta_1": betas[0],
            "beta_2": betas[1],
            "epsilon": epsilon,
        }
        clip(case, 0.9)
        expected, _ = check(case)
        assert min(changes(case, expected)) > 1e-3


@pytest.mark.parametrize(
    "rule",
    first(
        2,
        [
            {"type": "sgd_momentum", "momentum": 0.9},
            {"type": "adamw", "weight_decay": 5.0},
            {"type": "sgd_momentum", "momentum": 0.0},
            {"type": "sgd_momentum", "momentum": 0.2},
            {"type": "sgd_momentum", "momentum": 0.999},
            {"type": "adamw", "weight_decay": 50.0},
        ],
    ),
    ids=str,
)
def test_steps_without_a_gradient(rule: dict) -> None:
    """At once or one by one, of windows of a few and of hundreds of steps, until velocities are gone."""
    case = network(11, 500, 2, tau_m=15.0, kappa=0.9, kappa_reg=0.9, c_reg=0.5, model="iaf_adapt")
    case["inputs"] &= np.random.default_rng(1).random(case["inputs"].shape) < 0.3
    case["inputs"][40:440, 0] = False
    case["optimizer"] = rule | {"eta": 1e-3, "optimize_each_step": False, "Wmin": -0.9, "Wmax": 0.9}
    for key in spike_networks.KEYS.values():
        case[key] = np.clip(case[key], -0.9, 0.9)
    expected, _ = check(case)
    assert min(changes(case, expected)) > 1e-3


@pytest.mark.parametrize("precision", ["double", "single"])
@pytest.mark.parametrize(
    ("model", "cutoff", "kind"),
    [
        ("iaf", 30.0, "adam"),
        ("iaf", np.inf, "adam"),
        ("iaf_adapt", 30.0, "adam"),
        ("iaf", 30.0, "sgd_momentum"),
        ("iaf", 30.0, "adamw"),
    ],
)
def test_lines_of_targets_change_no_bit(model: str, cutoff: float, kind: str, precision: str) -> None:
    """Steps in each time step: read from lines of some steps of a target, or from steps of all targets.

    Traces fade so fast that squares of gradients are too small for single precision.
    """
    case = network(
        7,
        260,
        m=2,
        sizes=(19, 18),
        dense=True,
        kappa=0.5,
        kappa_reg=0.5,
        c_reg=0.5,
        model=model,
        eprop_isi_trace_cutoff=cutoff,
    )
    case["optimizer"] = {"type": kind, "eta": 1e-3, "Wmin": -0.9, "Wmax": 0.9}
    clip(case, 0.9)
    case["w_rec"][np.random.default_rng(1).random(case["w_rec"].shape) < 0.2] = np.nan
    case["precision"], found = precision, []
    for lined in (True, False):
        run = spike_networks.simulation(case, 130, without=() if lined else ("lines",))
        assert ("lines" in spike_networks.algorithms(run)) == (len(run.engine.memory.history["psi"]) < 9) == lined
        found.append(spike_networks.run_samples(run))
    for name, array in found[0].items():
        np.testing.assert_array_equal(array, found[1][name], err_msg=name)
    assert min(changes(case, {key: found[0][name] for name, key in spike_networks.KEYS.items()})) > 1e-3


@pytest.mark.parametrize("m", [1, 4])
def test_adaptation_that_turns_traces_around(m: int) -> None:
    """Where psi adapt_beta exceeds rho, eps changes its sign from step to step: composed maps divide by nothing."""
    surrogate = {"surrogate_gradient_function": "exponential", "surrogate_gradient_height": 0.9}
    cell = LONG | surrogate | {"tau_m": 10.0, "c_reg": 0.5, "eprop_isi_trace_cutoff": 50.0}
    case = network(m, 200, m, **cell | {"model": "iaf_adapt", "adapt_beta": 1.5, "adapt_tau": 30.0})
    case["optimizer"] = PLAIN | {"eta": 1e-4}
    run = spike_networks.simulation(case)
    assert spike_networks.algorithms(run) == {"scan", "readout"}
    expected, worst = check(case, (25, 0))
    assert np.max(run.engine.kernel.neurons.adapt_beta) * 0.9 > 1.3
    assert changes(case, expected)[0] > 1e-4 and worst < 1e-11
