"""Learning rates that mean the same in both variants, of neurons and of readouts."""

import numpy as np
import pytest
import small
from small import Levels, Noise

from pareprop import Adam, GradientDescent, InputError, Model, Normal, Simulation
from pareprop.network import to_tables
from pareprop.network.optimizers import AdamW, Optimizer, SgdMomentum, make_optimizer
from pareprop.network.synapse_table import SynapseTable

TAU_OUT, KAPPA, N_STEPS = 15.0, 0.9, 60


WAVES = Noise(np.sin(np.arange(N_STEPS) / 8.0)[:, None], 12, frozen=3)


def network(
    variant: str, rule: Optimizer, regular: bool = True, feedback: str = "random", kappa: float = KAPPA
) -> Model:
    own = {"kappa": kappa, "kappa_reg": kappa} if variant == "spike" else {"regular_spike_arrival": regular}
    out = {"tau_m": TAU_OUT} | ({} if variant == "spike" else own)
    back = {"feedback": feedback} | ({"weight": Normal(std=0.3)} if feedback == "random" else {})
    sizes = {"n_in": 12, "n": 15, "cell": {"t_ref": 2.0, **own}, "out": out}
    return small.network(variant, **sizes, among=0.1, back=back, seed=2, optimizer=rule)


def tables_of(simulation: Simulation) -> dict[str, SynapseTable]:
    """Tables of synapses that learn, by the role of their targets."""
    spans = [(table, span.projection) for table in simulation.network.list_tables().values() for span in table.spans]
    return {item.post.role: table for table, item in spans if item.pre.role != "readout"}


def changes(model: Model) -> dict[str, np.ndarray]:
    """Change of the weights by one sample, by projection."""
    simulation = Simulation(model, WAVES)
    tables = tables_of(simulation)
    before = {role: table.weight.copy() for role, table in tables.items()}
    simulation.train(1)
    shown = simulation.engine.show_weights()
    return {role: shown.get(id(table), table.weight) - before[role] for role, table in tables.items()}


def slope(model: Model, k: int, step: float = 1e-4) -> float:
    """Derivative of the loss by the weight of synapse k onto the readout, by central differences."""
    losses = []
    for sign in (1.0, -1.0):
        simulation = Simulation(model, WAVES)
        table = tables_of(simulation)["readout"]
        table.weight[k] += sign * step
        losses.append(simulation.run_sample(0, "test", False)[0])
    return (losses[0] - losses[1]) / (2 * step)


@pytest.mark.parametrize(("variant", "regular"), [("interval", True), ("interval", False), ("spike", True)])
def test_readouts_follow_the_gradient_with_a_filter_of_gain_one(variant: str, regular: bool) -> None:
    """As the finite difference of the loss, of readouts whose filter is scaled to gain 1."""
    eta = 1e-8
    model = network(variant, GradientDescent(eta=eta, normalized=True), regular)
    gain = 1.0 if not regular else 1.0 - np.exp(-1.0 / TAU_OUT)
    found = changes(model)["readout"] / -eta
    checked = np.flatnonzero(np.abs(found) > 1e-3)[:3]
    assert len(checked) == 3
    np.testing.assert_allclose(found[checked], [gain * slope(model, k) for k in checked], rtol=2e-3)


@pytest.mark.parametrize("kind", [GradientDescent, SgdMomentum, Adam, AdamW])
@pytest.mark.parametrize("variant", ["interval", "spike"])
def test_factors_are_those_of_the_table(variant: str, kind: type[Optimizer]) -> None:
    """Neurons and readouts learn by the factors that the handbook names; Adam, whose steps do not grow, by none."""
    eta = 1e-9  # weights hardly change within the sample, in which the spike variant learns
    plain, normalized = (changes(network(variant, kind(eta=eta, normalized=given))) for given in (False, True))
    out = 1.0 - np.exp(-1.0 / TAU_OUT)
    factors = {"readout": out, "recurrent": 1.0 - KAPPA if variant == "spike" else 1.0}
    for role, factor in factors.items():
        expected = plain[role] * (1.0 if issubclass(kind, Adam) else factor)
        assert np.any(expected)
        np.testing.assert_allclose(normalized[role], expected, rtol=1e-4, atol=1e-15)


@pytest.mark.parametrize("feedback", ["adaptive"])
@pytest.mark.parametrize("variant", ["interval", "spike"])
def test_adaptive_feedback_learns_as_its_readouts(variant: str, feedback: str) -> None:
    """With a learning rate of its own that is the normalised one, it learns to the same bits."""
    eta, out = 2.0**-10, 1.0 - np.exp(-1.0 / TAU_OUT)
    digests = set()
    for rates in ({"eta": eta, "normalized": True}, {"eta": eta}):
        model = network(variant, GradientDescent(eta=eta, normalized=True), feedback=feedback)
        k = [item.name for item in model.projections].index("rec->out")
        own = GradientDescent(
            **rates
            | ({} if "normalized" in rates else {"eta": eta * model.eprop.compute_gain(model.projections[k].post, 1.0)})
        )
        model.projections[k] = model.projections[k].model_copy(update={"optimizer": own})
        simulation = Simulation(model, WAVES)
        simulation.train(3)
        digests.add(simulation.hexdigest())
    assert len(digests) == 1 and out == pytest.approx(
        model.eprop.compute_gain(model.projections[k].post, 1.0), rel=1e-14
    )


@pytest.mark.parametrize("variant", ["interval", "spike"])
def test_adaptive_feedback_learns_with_the_rate_that_its_readouts_are_set_to(variant: str) -> None:
    simulation = Simulation(network(variant, GradientDescent(eta=1e-4, batch_size=2), feedback="adaptive"), WAVES)
    readouts, feedback = simulation.network.outgoing, simulation.network.feedback
    simulation.train(1)
    before = readouts.weight.copy(), feedback.weight.copy()
    simulation.set_eta(8e-4, "rec->out")
    simulation.train(2)
    change = feedback.weight - before[1]  # of one readout: synapses of both tables are in order of neurons
    np.testing.assert_allclose(change, readouts.weight - before[0], rtol=0, atol=1e-15)
    assert np.abs(change).max() > 1e-5


def first_model(variant: str, n: int, chosen: bool) -> Model:
    """What a new user writes, who gives no optimizer; unless constants are `chosen` with the defaults of NEST."""
    among = {"rule": "fixed_indegree", "indegree": 10, "weight": Normal(std=0.05 if chosen else 0.5)}
    into = 0.5 if chosen else {"weight": Normal(mean=3.0, std=5.0)}
    stds = {"into": into, "among": among, "onto": n**-0.5, "back": 1.0}
    return small.network(variant, 20, n, **stds, defaults=not chosen, seed=1)


@pytest.mark.parametrize("n", [100, 300])
@pytest.mark.parametrize("chosen", [False, True])
def test_a_first_model_learns_with_the_defaults_in_both_variants(n: int, chosen: bool) -> None:
    """With eta = 1e-4 that is not normalised, losses of the interval variant grow to 1e10 and more."""
    ends = []
    for variant in ("interval", "spike"):
        simulation = Simulation(first_model(variant, n, chosen), Levels(500, (100, 400), 0.08))
        losses = simulation.train(16)
        assert simulation.engine.n_spikes > n and np.mean(losses[-4:]) < 0.8 * losses[0]
        assert not simulation.notices.lines
        ends.append(np.mean(losses[-4:]))
    np.testing.assert_allclose(ends[0], ends[1], rtol=0.25)


def course(variant: str, unit: float, rule: Optimizer) -> tuple[list[float], np.ndarray]:
    """Losses, and changes of weights in units, of a training with voltages of neurons in another unit."""
    cell = {"V_th": 0.6 * unit, "surrogate_gradient_height": 0.3 / unit, "surrogate_gradient_width": 0.6 * unit}
    stds = {"into": 0.5 * unit, "among": 0.1 * unit}
    model = small.network(variant, n_in=12, n=15, cell=cell, **stds, back=0.3, seed=2, optimizer=rule)
    simulation = Simulation(model, WAVES)
    before = simulation.weights("rec->rec")["weight"].copy()
    losses = simulation.train(6)
    return losses, (simulation.weights("rec->rec")["weight"] - before) / unit


@pytest.mark.parametrize("kind", [GradientDescent, Adam])
@pytest.mark.parametrize("variant", ["interval", "spike"])
def test_scaled_rates_hold_in_other_units(variant: str, kind: type[Optimizer]) -> None:
    """A network in microvolts learns as that in millivolts; with a plain eta its weights change by another share."""
    bounds = {"Wmin": -1e6, "Wmax": 1e6} | ({"epsilon": 1e-14} if kind is Adam else {})
    eta = {GradientDescent: 0.03, Adam: 0.01}[kind]
    ends = [course(variant, unit, kind(eta=eta, scaled=True, **bounds)) for unit in (1.0, 1000.0)]
    (losses, changes), (other_losses, other_changes) = ends
    np.testing.assert_allclose(other_losses, losses, rtol=1e-6)
    np.testing.assert_allclose(other_changes, changes, rtol=1e-4, atol=1e-6 * np.abs(changes).max())
    assert abs(losses[-1] / losses[0] - 1) > 0.05 and np.abs(changes).max() > 1e-4  # it learns
    sizes = [np.abs(course(variant, unit, kind(eta=1e-5, **bounds))[1]).max() for unit in (1.0, 1000.0)]
    assert sizes[1] < 0.01 * sizes[0]


@pytest.mark.parametrize(
    ("variant", "batch", "steps"), [("interval", 1, 1), ("interval", 2, 1), ("spike", 1, N_STEPS), ("spike", 2, 1)]
)
def test_the_scale_is_that_of_weights_that_move_a_target(variant: str, batch: int, steps: int) -> None:
    """By the sums of a geometric series: of a readout, and of a neuron with the same time constant."""
    p, n_sources, keep = 0.01, 15, np.exp(-1.0 / 20.0)
    moments = p**2 / (1 - keep) ** 2 + p * (1 - p) / (1 - keep**2)
    scale = 1.0 / np.sqrt(n_sources * moments)
    for kind, wanted in (
        (Adam, lambda size, gain: size / steps),
        (GradientDescent, lambda size, gain: gain * size**2 / N_STEPS),
    ):
        rule = kind(scaled=True, batch_size=batch)
        assert rule.eta == {Adam: 0.01, GradientDescent: 0.3}[kind]
        model = small.network(variant, n_in=12, n=15, among=0.1, seed=2, optimizer=rule)
        found = {item.name: item.gain for item in Simulation(model, WAVES).engine.plastic}
        out = 1 - keep
        hidden = 1 - 0.97 if variant == "spike" else 1.0
        assert found["rec->out"] == pytest.approx(wanted(scale, out), rel=1e-3)
        assert found["rec->rec"] == pytest.approx(wanted(0.6 * scale, hidden), rel=1e-3)


@pytest.mark.parametrize("variant", ["interval", "spike"])
def test_scaled_rates_take_the_weights_of_scaled(variant: str) -> None:
    """Those of some models are thousands of pA; bounds hold where they are given, or where nothing is scaled."""
    model = small.network(variant, n_in=3, n=4, among=0.1, into=3000.0, seed=2, optimizer=Adam(scaled=True))
    Simulation(model, WAVES)
    for rule in (Adam(scaled=True, Wmin=-100.0), Adam()):
        model = small.network(variant, n_in=3, n=4, among=0.1, into=3000.0, seed=2, optimizer=rule)
        with pytest.raises(InputError, match=r"'in->rec': weight = .* must be at least Wmin = -100"):
            Simulation(model, WAVES)
        assert make_optimizer(to_tables.describe_model(model)[0]["optimizer"], "") == rule


def test_scaled_rates_need_targets_at_rest_below_threshold() -> None:
    rule = Adam(scaled=True)
    model = small.network("interval", cell={"V_th": 0.5, "I_e": 1.0}, optimizer=rule)
    with pytest.raises(InputError, match="projection 'in->rec': optimizer: scaled: 'rec' spikes at rest"):
        Simulation(model, small.ramp(20, 10))
