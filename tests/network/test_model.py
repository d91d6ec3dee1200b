"""The description of a network: what is refused, with which words, and what parameters become.

One file, because most of it is tables of bad arguments.
"""

import dataclasses
import re
from typing import ClassVar

import numpy as np
import pytest
from small import Once

from pareprop import rng
from pareprop.algorithms.request import cutoff_steps
from pareprop.engines.base import Settings
from pareprop.engines.interval import IntervalSettings
from pareprop.engines.sample import Sample
from pareprop.engines.spike import SpikeSettings
from pareprop.errors import InputError
from pareprop.network import from_tables, optimizers
from pareprop.network.local import LocalNetwork
from pareprop.network.model import Model
from pareprop.network.neurons import round_up_steps
from pareprop.network.optimizers import Adam, GradientDescent
from pareprop.network.parameters import LogNormal, Normal, Uniform
from pareprop.network.reward import Reward
from pareprop.network.variants import VARIANTS
from pareprop.neurons.model import NeuronModel
from pareprop.parallel.spike_log import SpikeLog
from pareprop.runs import config
from pareprop.simulation.loop import Simulation
from pareprop.tasks import TASKS


def small(variant: str = "interval", **optimizer):
    model = Model(variant, optimizer=optimizers.make_optimizer(optimizer, "test"))
    return model, model.inputs("in", 3), model.neurons("rec", 4, "iaf"), model.readouts("out", 2)


NEURON_MISTAKES = {
    "tau_m": (0.0, "tau_m = 0 must be above 0"),
    "C_m": (-1.0, "C_m = -1 must be above 0"),
    "t_ref": (-1.0, "t_ref = -1 must be at least 0"),
    "c_reg": (-1.0, "c_reg = -1 must be at least 0"),
    "f_target": (-1.0, "f_target = -1 must be at least 0"),
    "surrogate_gradient_height": (-1.0, "surrogate_gradient_height = -1 must be at least 0"),
    "surrogate_gradient_width": (0.0, "surrogate_gradient_width = 0 must be above 0"),
    "surrogate_gradient_function": ("sigmoid", "surrogate_gradient_function = 'sigmoid'"),
    "V_min": (-50.0, "V_min = -50 must not exceed V_th = -55"),
    "V_th": (np.array([-55.0, np.nan, 0.0, 0.0]), "finite"),
    "E_L": (np.zeros(3), "E_L has 3 values for 4 neurons"),
    "I_e": (np.zeros((4, 1)), "one dimension"),
    "tau_n": (1.0, "unknown parameter 'tau_n', did you mean 'tau_m'?"),
    "adapt_beta": (1.0, "unknown parameter 'adapt_beta'"),
    "V_m": ("high", "V_m = 'high'"),
}


@pytest.mark.parametrize("name", NEURON_MISTAKES)
def test_neuron_parameters_are_checked(name: str) -> None:
    value, message = NEURON_MISTAKES[name]
    with pytest.raises(InputError, match="population 'rec'") as caught:
        Model("interval").neurons("rec", 4, "iaf", **{name: value})
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Model("weekly"), "variant = 'weekly'"),
        (lambda: Model(seed=-1), "seed = -1"),
        (lambda: Model(dt_ms=0.0), "dt_ms = 0.0"),
        (lambda: Model(dt_ms=1e300), "dt_ms = 1e+300 must be a number from 1e-09 to 1e+09"),
        (lambda: Model(dt_ms=True), "dt_ms = True must be a number"),
        (lambda: Model(optimizer="adam"), "optimizer = 'adam' must be an optimizer, such as Adam()"),
        (lambda: Model(local="rec"), "local = 'rec' must be None; local_readouts() sets it"),
        (lambda: Model(populations=["rec"]), "populations = ['rec'] must be a list of populations"),
        (lambda: Model().neurons("rec", 3, 5), "population 'rec': unknown model 5"),
        (lambda: Model().neurons("rec", 3, C_m=b"1"), "C_m = b'1': must be a number, not text"),
        (lambda: Model().connect("in", "rec"), "connect: pre = 'in' must be a population of the model"),
        (lambda: Reward(gamma=True), "gamma = True must lie in [0, 1]"),
        (lambda: Model().inputs("in", 0), "population 'in': size = 0 must be at least 1"),
        (lambda: Model().neurons("rec", 3, "iaf_psc_delta"), "unknown model 'iaf_psc_delta' in variant 'interval'"),
        (lambda: Model().readouts("out", 1, loss="hinge"), "loss = 'hinge'"),
        (lambda: optimizers.make_optimizer({"eta": -1.0}, "here"), "here: eta = -1.0"),
        (lambda: optimizers.make_optimizer({"Wmin": 2.0, "Wmax": 1.0}, "here"), "Wmin = 2 must not exceed Wmax = 1"),
        (lambda: optimizers.make_optimizer({"beta_1": 0.5}, "here"), "unknown parameter 'beta_1'"),
        (lambda: optimizers.make_optimizer({"batch_size": 0}, "here"), "batch_size = 0"),
    ],
)
def test_parts_are_checked(make, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        make()


NEST_DEFAULTS = {
    "eta": 1e-4,
    "batch_size": 1,
    "Wmin": -100.0,
    "Wmax": 100.0,
    "optimize_each_step": True,
    "beta_1": 0.9,
    "beta_2": 0.999,
    "epsilon": 1e-7,
}  # documentation of eprop_synapse
OPTIMIZER_BOUNDS = {
    "eta": [0.0],
    "batch_size": [1],
    "beta_1": [0.0, 0.5],
    "beta_2": [0.0, 0.5],
    "momentum": [0.0, 0.5],
    "epsilon": [1e-300, 0.5],
    "Wmin": [100.0],
    "Wmax": [-100.0],
}


@pytest.mark.parametrize("kind", optimizers.OPTIMIZERS)
def test_defaults_of_optimizers_are_nests(kind: str) -> None:
    """And they are within their own bounds, whose ends are allowed; only 1 is not for a decay."""
    made = optimizers.make_optimizer({"type": kind}, "here")
    shared = NEST_DEFAULTS.keys() & type(made).model_fields.keys()
    assert {key: getattr(made, key) for key in shared} == {key: NEST_DEFAULTS[key] for key in shared}
    assert optimizers.make_optimizer(made.model_dump(), "here") == made
    for key in OPTIMIZER_BOUNDS.keys() & type(made).model_fields.keys():
        for value in OPTIMIZER_BOUNDS[key]:
            assert getattr(optimizers.make_optimizer({"type": kind, key: value}, "here"), key) == value
    for key in {"beta_1", "beta_2", "momentum"} & type(made).model_fields.keys():
        with pytest.raises(InputError, match=f"{key} = 1.0"):
            optimizers.make_optimizer({"type": kind, key: 1.0}, "here")


def test_defaults_of_the_data_task_are_nests() -> None:
    fields = TASKS["data"].model_fields
    assert {key: fields[key].default for key in ("Wmin", "Wmax")} == {"Wmin": -100.0, "Wmax": 100.0}
    for eta in (0.0, 0.5):
        assert config.load("data", [f"eta={eta}"]).task.eta == eta


@pytest.mark.parametrize("variant", ["interval", "spike"])
def test_a_parameter_that_no_kernel_reads_is_refused(variant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a class of one's own: a new name, and one that counts only with a flag; what is known may be given."""
    known = VARIANTS[variant]

    class Slow(known.neurons["iaf"]):
        tau_slow: float = 30.0

    class NotAdaptive(known.neurons["iaf"]):
        adapt_beta: float = 1.0

    class Weak(known.neurons["iaf_adapt"]):
        adapt_beta: float = 0.1

    class Readout(known.readout):
        gain: float = 2.0

    for name, kind in (("slow", Slow), ("not_adaptive", NotAdaptive), ("weak", Weak)):
        monkeypatch.setitem(known.neurons, name, kind)
    model = Model(variant)
    for name, unread in (("slow", "tau_slow of class Slow"), ("not_adaptive", "adapt_beta of class NotAdaptive")):
        with pytest.raises(InputError, match=f"^population 'rec': no kernel of the {variant} variant reads {unread}: "):
            model.neurons("rec", 3, name)
    assert model.neurons("rec", 3, "weak").params.adapt_beta == 0.1
    monkeypatch.setattr(Model, "eprop", dataclasses.replace(known, readout=Readout))
    with pytest.raises(InputError, match=f"^population 'out': no kernel of the {variant} variant reads gain of class"):
        model.readouts("out", 1)


def test_flags_that_no_kernel_has_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reset to `V_reset` in the interval variant, of which NEST has no such neuron."""

    class Reset(VARIANTS["interval"].neurons["iaf"]):
        psc_delta: ClassVar[bool] = True

    monkeypatch.setitem(VARIANTS["interval"].neurons, "reset", Reset)
    asked = "has no kernel of 'iaf_psc_delta_bsshslm_2020', for which flags of class Reset ask"
    with pytest.raises(InputError, match=f"^population 'rec': the interval variant {asked}: give the model"):
        Model("interval").neurons("rec", 3, "reset")


def test_defaults_of_neurons_are_nests() -> None:
    for adding in (Model("spike").neurons, Model("spike").readouts):
        assert adding("a", 1).params.eprop_isi_trace_cutoff == np.inf
        assert adding("b", 1, eprop_isi_trace_cutoff=0.0).params.eprop_isi_trace_cutoff == 0.0
    for adding in (Model("interval").neurons, Model("interval").readouts):
        assert adding("a", 1).params.regular_spike_arrival


CONNECTION_MISTAKES = {
    "rule": ({"rule": "all_to_al"}, "unknown rule 'all_to_al', did you mean 'all_to_all'?"),
    "option too much": ({"probability": 0.5}, "rule 'all_to_all' has no option probability"),
    "delay zero": ({"delay": 0}, "delay = 0 must be whole steps of at least 1"),
    "delay fraction": ({"delay": 1.5}, "delay = 1.5 must be whole steps"),
    "delay range": ({"delay": (3, 2)}, "delay = (3, 2) must be whole steps of at least 1, lowest first"),
    "delay text": ({"delay": "one"}, "delay = 'one': must be a number, not text"),
    "delay in ms": ({"delay_ms": 1.5}, "delay_ms = 1.5 ms must be whole steps of 1 ms from 1 to 32768"),
    "delay in negative ms": ({"delay_ms": -1}, "delay_ms = -1 ms must be whole steps of 1 ms from 1 to 32768"),
    "delays in ms, highest first": ({"delay_ms": (2, 1)}, "delay_ms = (2, 1) must be one time, or lowest and highest"),
    "two delays": ({"delay_ms": 2, "delay": 2}, "delay = 2 and delay_ms = 2: give one of them"),
    "indegree": ({"rule": "fixed_indegree", "indegree": -1}, "indegree = -1 must be a whole number"),
    "indegree too large": (
        {"rule": "fixed_indegree", "indegree": 4, "allow_multapses": False, "allow_autapses": False},
        "indegree = 4 must be a whole number from 0 to 3",
    ),
    "probability": ({"rule": "fixed_probability", "probability": 1.1}, "probability = 1.1 must lie in [0, 1]"),
    "weight": ({"weight": "strong"}, "weight = 'strong': must be a number, not text"),
    "weight nan": ({"weight": np.nan}, "weight = nan: must be finite"),
    "misspelt": ({"wieght": 1.0}, "unknown parameter 'wieght', did you mean 'weight'?"),
    "optimizer": ({"optimizer": {"type": "sgd"}}, "unknown optimizer type 'sgd'"),
    "feedback": ({"feedback": "random"}, "feedback = 'random' is for projections from readouts"),
    "no ids": ({"rule": "explicit"}, "rule 'explicit' needs source= and target="),
    "lengths": ({"rule": "explicit", "source": [0, 1], "target": [0]}, "source has shape (2,), target (1,)"),
    "source": ({"rule": "explicit", "source": [4], "target": [0]}, "source must hold whole numbers from 0 to 3"),
    "target": ({"rule": "explicit", "source": [0], "target": [-1]}, "target must hold whole numbers from 0 to 3"),
    "flag of text": ({"plastic": "no"}, "plastic = 'no': must be true or false"),
    "negative inhibition": ({"inhibition": -1.0}, "inhibition = -1.0"),
    "weight of no number": ({"weight": True}, "weight = True: must be a number, not true or false"),
    "no rule": ({"rule": ["all_to_all"]}, "unknown rule ['all_to_all']"),
    "no rewire": ({"rewire": True}, "rewire = True: must be a table of settings, or of type Rewire"),
    "ragged sources": ({"rule": "explicit", "source": [[0], [1, 2]], "target": [0]}, "source = [[0], [1, 2]] must be"),
    "weights": ({"rule": "explicit", "source": [0], "target": [0], "weight": [1.0, 2.0]}, "weight has shape (2,)"),
    "infinite": ({"rule": "explicit", "source": [0], "target": [0], "weight": [np.inf]}, "must be finite"),
    "delays": ({"rule": "explicit", "source": [0], "target": [0], "delay": [0]}, "delay = 0 must be whole steps"),
    "delays shape": ({"rule": "explicit", "source": [0], "target": [0], "delay": [1, 2]}, "delay has shape (2,)"),
    "one of the delays": (
        {"rule": "explicit", "source": [0, 0, 0], "target": [0, 1, 2], "delay": [1, 40000, 2]},
        "delay = 40000 must be",
    ),
    "delays in ms shape": (
        {"rule": "explicit", "source": [0], "target": [0], "delay_ms": [1, 2]},
        "delay_ms has shape (2,), must be (1,)",
    ),
}


@pytest.mark.parametrize("name", CONNECTION_MISTAKES)
def test_projections_are_checked(name: str) -> None:
    options, message = CONNECTION_MISTAKES[name]
    model, _, neurons, _ = small()
    with pytest.raises(InputError, match="projection 'rec->rec': ") as caught:
        model.connect(neurons, neurons, **options)
    assert message in str(caught.value)
    assert model.projections == []


def test_delays_in_ms() -> None:
    """As steps of the model's dt: one, a range, or one per synapse."""
    for dt, times, steps in ((1.0, 3, 3), (0.1, 0.3, 3), (0.5, (1.0, 2.5), (2, 5)), (0.25, 1.0, 4)):
        ms, whole = (Model("interval", dt_ms=dt) for _ in range(2))
        for model, delay in ((ms, {"delay_ms": times}), (whole, {"delay": steps})):
            cells = model.neurons("rec", 4)
            model.connect(cells, cells, weight=Normal(std=1.0), **delay)
            ends = {"source": [0, 1], "target": [1, 2]}
            model.connect(cells, cells, "explicit", name="two", delay_ms=np.array([2, 6]) * dt, **ends)
        assert ms.projections[0].delay == whole.projections[0].delay
        assert ms.projections[1].delay.tolist() == [2, 6]


def test_ends_and_names_of_projections() -> None:
    model, inputs, neurons, out = small()
    with pytest.raises(InputError, match="a projection from input to readout is not possible"):
        model.connect(inputs, out)
    model.connect(inputs, neurons)
    with pytest.raises(InputError, match="a projection of that name exists already"):
        model.connect(inputs, neurons)
    model.connect(inputs, neurons, name="again")
    with pytest.raises(InputError, match="population 'rec' exists already"):
        model.neurons("rec", 2)
    with pytest.raises(InputError, match="feedback = 'fixed': Input should be 'random', 'symmetric' or 'adaptive'"):
        model.connect(out, neurons, feedback="fixed")
    assert [projection.name for projection in model.projections] == ["in->rec", "again"]


def test_what_is_plastic() -> None:
    model, inputs, neurons, out = small()
    plastic = [
        model.connect(inputs, neurons).plastic,
        model.connect(neurons, neurons, plastic=False).plastic,
        model.connect(neurons, out).plastic,
        model.connect(out, neurons).plastic,
        model.connect(model.currents("dc", 1), neurons).plastic,
    ]
    assert plastic == [True, False, True, False, False]


# ---------------------------------------------------------------------------------------------------------------------
# what a rank makes of it


def test_networks_that_cannot_be_built() -> None:
    model = Model("interval")
    model.inputs("in", 2)
    with pytest.raises(InputError, match="the model has no recurrent neurons"):
        LocalNetwork(model, 0, 1)


EQUATION_MISTAKES = {
    "C_m": ("iaf_psc_exp", -5.0, "C_m = -5 must be above 0"),
    "tau_syn_ex": ("iaf_psc_exp", [2.0, 2.0, -1.0, 2.0], "tau_syn_ex = -1 must be above 0"),
    "tau_w": ("adex", Uniform(low=-1.0, high=9.0), "tau_w = -1 must be above 0"),
    "surrogate_gradient_width": ("adex", -1.0, "surrogate_gradient_width = -1 must be above 0"),
    "t_ref": ("adex", -0.1, "t_ref = -0.1 must be at least 0"),
    "t_rise": (
        {"parameters": {"t_rise": [1.0, "ms"]}, "states": {"v": [0, "mV"]}, "step": {"v": "t_rise*v"}, "spike": "v"},
        -1.0,
        "t_rise = -1 must be at least 0",
    ),
}


@pytest.mark.parametrize("name", EQUATION_MISTAKES)
def test_parameters_of_equations_are_checked_by_their_units(name: str) -> None:
    kind, value, message = EQUATION_MISTAKES[name]
    kind = NeuronModel.from_dict("own", kind) if isinstance(kind, dict) else kind
    for variant in ("interval", "spike"):
        with pytest.raises(InputError, match=f"population 'rec': {message}$"):
            Model(variant).neurons("rec", 4, kind, **{name: value})


def test_parameters_of_equations_may_be_below_0() -> None:
    """Conductances of adaptation, voltages, and what a model's author made so."""
    Model("interval").neurons("rec", 4, "adex", a=-11.0, V_reset=-80.0, b=-1.0)
    table = {"parameters": {"shift": [-2.0, "ms"]}, "states": {"v": [0, "mV"]}, "step": {"v": "shift*v"}, "spike": "v"}
    Model("interval").neurons("rec", 4, NeuronModel.from_dict("own", table), shift=-3.0)


def test_settings_without_effect_are_told() -> None:
    """Where they are set, and differ from what they are by default."""

    def notes(variant: str, optimizer: object = None, rule: object = None, dt_ms: float = 1.0, **values) -> list[str]:
        model = Model(variant, dt_ms=dt_ms, optimizer=optimizer or Adam())
        rec = model.neurons("rec", 3, "iaf_psc_exp", **values)
        model.connect(rec, rec, weight=1.0, optimizer=rule)
        return model.notes

    online = {"kappa": 0.5, "kappa_reg": 0.5, "eprop_isi_trace_cutoff": 100.0}
    assert notes("interval", **online) == [
        "population 'rec': kappa, kappa_reg, eprop_isi_trace_cutoff: no effect in the interval variant"
    ]
    assert notes("interval", kappa=0.97, eprop_isi_trace_cutoff=np.inf) == notes("spike", **online) == []
    slow = Adam(optimize_each_step=False)
    why = "optimize_each_step = False: no effect in the interval variant, which steps after each batch"
    assert notes("interval", slow) == [f"optimizer: {why}"]
    assert notes("interval", rule=slow) == [f"projection 'rec->rec': optimizer: {why}"]
    assert notes("interval", Adam(optimize_each_step=True)) == notes("spike", slow, slow) == []
    batches = slow.model_copy(update={"batch_size": 2})
    assert notes("spike", batches) == [f"optimizer: {why.replace('in the interval variant', 'with batch_size = 2')}"]


def test_settings_that_the_optimizer_of_a_projection_leaves_out_are_told() -> None:
    """They have their defaults; a table that leaves out its type is one of gradient descent, an object has a type."""

    def notes(rule: object, **options: float) -> list[str]:
        model = Model("interval", optimizer=Adam(eta=1e-3, batch_size=8, max_norm=1.0, **options))
        rec = model.neurons("rec", 3)
        model.connect(rec, rec, weight=1.0, optimizer=rule)
        table = {"pre": "rec", "post": "rec", "weight": 1.0, "optimizer": rule, "name": "again"}
        assert from_tables.add_projections(model, [table]) == []
        first, last = (model.notes[:1], model.notes[1:])
        assert last == [line.replace("rec->rec", "again") for line in first]
        return first

    here = "projection 'rec->rec': optimizer:"
    assert notes({"eta": 0.01}, Wmax=5.0) == [
        f"{here} its table leaves out type, Wmax: type = gradient_descent, Wmax = 100.0 by default; "
        "the model has type = adam, Wmax = 5.0"
    ]
    kept = "beta_1 = 0.9 by default; the model has beta_1 = 0.5"
    assert notes({"type": "adam", "eta": 0.01}, beta_1=0.5) == [f"{here} its table leaves out beta_1: {kept}"]
    assert notes(Adam(eta=0.01), beta_1=0.5) == [f"{here} Adam(...) leaves out beta_1: {kept}"]
    kept = "eta = 0.0001 by default; the model has eta = 0.001"
    assert notes(GradientDescent(), beta_1=0.5) == [f"{here} GradientDescent(...) leaves out eta: {kept}"]
    for rule in ({"type": "adam", "eta": 0.01}, Adam(eta=0.01), GradientDescent(eta=0.01), {"eta": 0.0}, None):
        assert notes(rule) == []  # as the model has it, or nothing moves


def test_lognormal_values_far_above_the_default_are_noted() -> None:
    """Its `mean` is that of the logarithm, as in NEST; the notice gives the one with which values have the mean."""
    model = Model("interval")
    rec = model.neurons("rec", 3, tau_m=LogNormal(mean=15.0, std=3.0), C_m=LogNormal(mean=np.log(2e4), std=0.1))
    model.neurons("own", 3, "adex", C_m=LogNormal(mean=-1.0, std=5.0))
    values = {"tau_plus": LogNormal(mean=15.0, std=3.0), "tau_minus": LogNormal(mean=3.0, std=0.2)}
    model.connect(rec, rec, weight=1.0, learning_rule="pair_stdp", learning_parameters=values)
    why = "mean and std are those of the logarithm, as in NEST"
    meant = "LogNormal(mean=2.688, std=0.198) has a mean of 15 and a standard deviation of 3"
    far = "values of LogNormal(mean=15, std=3) have a mean of e^19.5, the default is"
    assert model.notes == [
        f"population 'rec': tau_m: {far} 10: {why}; {meant}",
        "population 'own': C_m: values of LogNormal(mean=-1, std=5) have a mean of e^11.5, the default is 200: " + why,
        f"projection 'rec->rec': learning_parameters: tau_plus: {far} 20: {why}; {meant}",
    ]
    drawn = LogNormal(mean=2.688, std=0.198).draw_values(rng.make_key(1, "tau_m"), np.arange(100_000))
    np.testing.assert_allclose([drawn.mean(), drawn.std()], [15.0, 3.0], rtol=0.01)


def test_refractory_periods_between_steps_are_told() -> None:
    """They are rounded up, as by NEST."""

    def notes(dt_ms: float, t_ref: object, kind: str = "iaf") -> list[str]:
        model = Model("interval", dt_ms=dt_ms)
        model.neurons("rec", 3, kind, t_ref=t_ref)
        return model.notes

    told = "is no multiple of the step of 1 ms, and counts as"
    for kind in ("iaf", "adex"):
        assert notes(1.0, 2.5, kind) == [f"population 'rec': t_ref = 2.5 ms {told} 3 ms"]
        assert notes(1.0, [2.0, 0.3, 0.4], kind) == [f"population 'rec': t_ref = 0.3 ms {told} 1 ms"]
        assert notes(0.1, 2.5, kind) == notes(0.5, [0.0, 2.5, 3.0], kind) == []


DRAWN_OUT_OF_BOUNDS = {
    "adapt_beta": ("iaf_adapt", {"adapt_beta": Normal(mean=0.1, std=1.0)}, "must be at least 0"),
    "c_reg": ("iaf", {"c_reg": Normal(mean=0.1, std=1.0)}, "must be at least 0"),
    "surrogate_gradient_height": ("iaf", {"surrogate_gradient_height": Normal(mean=0.1, std=1.0)}, "be at least 0"),
    "surrogate_gradient_width": ("iaf", {"surrogate_gradient_width": Normal(mean=0.1, std=1.0)}, "be above 0"),
    "tau_m": ("iaf", {"tau_m": Normal(mean=1.0, std=1.0)}, "must be above 0"),
    "adapt_tau": ("iaf_adapt", {"adapt_tau": Normal(mean=1.0, std=1.0)}, "must be above 0"),
    "V_reset": ("iaf_psc_delta", {"V_reset": Normal(mean=-56.0, std=2.0)}, "must be below V_th = -55"),
    "V_reset of an array": (
        "iaf_psc_delta",
        {"V_reset": np.full(50, -56.0), "V_th": Normal(mean=-55.0, std=1.0)},
        "must be below V_th = -5",
    ),
    "V_min": ("iaf", {"V_min": -55.0, "V_th": Normal(mean=-55.0, std=1.0)}, "must not exceed V_th = -5"),
    "V_min of a reset": ("iaf_psc_delta", {"V_min": -71.0, "V_reset": Normal(mean=-70.0, std=1.0)}, "V_reset = -7"),
}


@pytest.mark.parametrize("name", DRAWN_OUT_OF_BOUNDS)
def test_drawn_parameters_are_within_their_bounds(name: str) -> None:
    """The line names population, neuron, value and bound; each rank names a neuron of its own."""
    kind, values, bound = DRAWN_OUT_OF_BOUNDS[name]
    model = Model("spike" if "psc" in kind else "interval")
    model.neurons("other", 3)
    model.neurons("rec", 50, kind, **values)
    for rank, size in ((0, 1), (1, 2)):
        with pytest.raises(InputError) as caught:
            LocalNetwork(model, rank, size)
        line = rf"population 'rec': {name.split(maxsplit=1)[0]}( drawn)? for neuron (\d+) is -?\d.*, must .*"
        assert bound in str(caught.value) and (found := re.fullmatch(line, str(caught.value)))
        assert 26 - 3 <= int(found[2]) < 50 or size == 1


# ---------------------------------------------------------------------------------------------------------------------
# samples


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        (Sample(SpikeLog(10), np.zeros((10, 3))), "target has shape (10, 3), must be (10, 2)"),
        (Sample(SpikeLog(9), np.zeros((10, 2))), "inputs have 9 steps, must have 10"),
        (Sample(SpikeLog.from_raster(np.eye(10)), np.zeros((10, 2))), "an input spike of source 9, the model has 3"),
        (
            Sample.from_raster(np.zeros((10, 2)), np.zeros((10, 2))),
            "the raster has 2 columns, one for each input, but the model has 3 inputs (in 3)",
        ),
        (Sample.from_rates(np.zeros(4), np.zeros((10, 2)), 1, 0), "the raster has 4 columns, one for each input"),
        (
            Sample(SpikeLog(10), np.zeros((10, 2)), currents=np.zeros((10, 2))),
            "currents has shape (10, 2), must be (10, 0)",
        ),
        (Sample(SpikeLog(10), np.zeros((10, 2)), window=np.zeros(9)), "window has shape (9,), must be (10,)"),
        (Sample(SpikeLog(10), np.full((10, 2), np.nan)), "target holds values that are not finite"),
    ],
)
def test_samples_are_checked(sample: Sample, message: str) -> None:
    model, inputs, neurons, out = small()
    model.connect(inputs, neurons)
    model.connect(neurons, out)
    with pytest.raises(InputError, match=re.escape(f"sample: {message}")):
        Simulation(model, Once(sample, 10)).train(1)


def test_rasters() -> None:
    sample = Sample.from_raster([[0, 1, 1], [0, 0, 0], [1, 0, 1]], [[0], [1], [2]])
    np.testing.assert_array_equal(sample.inputs.ptr, [0, 2, 2, 4])
    np.testing.assert_array_equal(sample.inputs.ids, [1, 2, 0, 2])
    steps, ids = sample.inputs.list_spikes(3)
    np.testing.assert_array_equal(steps, [0, 0, 2, 2])
    np.testing.assert_array_equal(ids, [1, 2, 0, 2])
    assert sample.target.dtype == float
    with pytest.raises(InputError, match=r"raster \(2, 1\) and target \(3, 1\) must be"):
        Sample.from_raster(np.zeros((2, 1)), np.zeros((3, 1)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (IntervalSettings(11), "learning_window = 11 must lie in [0, 10]"),
        (IntervalSettings(0, average_gradient=True), "learning_window = 0 must lie in [1, 10]"),
        (IntervalSettings(5, round_steps=-1), "round_steps = -1 must be at least 0"),
        (SpikeSettings(11), "learning_window = 11 must lie in [0, 10]"),
        (SpikeSettings(5, round_steps=-1), "round_steps = -1 must be at least 0"),
    ],
)
def test_settings_are_checked(settings: Settings, message: str) -> None:
    model, *_ = small("spike" if isinstance(settings, SpikeSettings) else "interval")
    with pytest.raises(InputError, match=re.escape(message)):
        Simulation(model, Once(Sample(SpikeLog(10), np.zeros((10, 2))), 10), settings=settings)


@pytest.mark.parametrize(
    ("dt_ms", "ms", "steps"),
    [
        (1.0, [2.0, 2.3, 2.5, 0.25, 0.3, 3.04], [2, 3, 3, 1, 1, 4]),
        (0.1, [2.0, 2.3, 2.5, 0.25, 0.24, 0.3, 3.04], [20, 23, 25, 3, 3, 3, 31]),
        (0.1, [0.0, np.inf], [0, np.inf]),
    ],
)
def test_times_become_steps_as_in_nest(dt_ms: float, ms: list[float], steps: list[int]) -> None:
    """Seen with refractory times of `iaf_psc_delta` in NEST 3.10."""
    np.testing.assert_array_equal(round_up_steps(ms, dt_ms), steps)


def test_a_cutoff_of_too_many_steps_is_refused() -> None:
    population = Model("spike", dt_ms=0.1).neurons("rec", 1, "iaf", eprop_isi_trace_cutoff=2e6)
    with pytest.raises(InputError, match=r"'rec': eprop_isi_trace_cutoff = 2e\+06 ms is 20000000 steps of 0.1 ms"):
        cutoff_steps(population, 0.1)
