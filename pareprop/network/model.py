"""Rank-free description of a network: populations and the projections between them.

A `Model` holds no synapse and no neuron, only rules; each rank draws its local part from it (`drawing`, `local`).
Global ids (gid) count the input populations first, then the recurrent ones, then the readouts, in order of definition.
Most lines of this module document arguments, for `help(Model)`.
"""

from __future__ import annotations

import inspect
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import numpy as np

from ..errors import InputError, quote
from ..kernels import PRECISIONS, Precision
from ..neurons import library
from ..neurons.derive import Learns
from ..neurons.model import NeuronModel
from ..rules.definition import Eprop, LearningRule
from ..values import AnyValue, Given, Values
from . import background, learned, parameters, perturbations, signs
from .background import Background, PopulationBackground
from .connection import PLACE, Connection, document_options
from .connectivity import MAX_NAME, Population, Projection, Role, check_name, check_population, resolve_connection
from .equations import ONLINE, CustomNeuron, make_parameters_class
from .local_readouts import LocalReadouts, list_names
from .losses import FunctionLoss, Loss, name_loss, require_whole_state
from .neurons import TICS_PER_MS, Neuron, round_up_steps
from .optimizers import OF_MODEL, Optimizer, default_optimizer, require_of_weights
from .perturbations import Applied, Cut, Dropout, Injection, Perturbation, Silence
from .reward import Reward
from .rule_options import find_signless
from .trajectory_losses import TrajectoryLoss
from .unsupported import list_features_of, name_variant, require_supported
from .variants import DEFAULT, Variant, document_parameters, find_variant, require_read

SHORTEST, LONGEST = 1e-9, 1e9  # steps in ms: rates per step and times in steps neither overflow nor vanish
KEPT = (
    "name",
    "optimizer",
    "rewire",
    "learn_delay",
    "plastic",
    "keep_signs",
    "port",
    "learning_rule",
    "learning_parameters",
    "transmission",
)  # options of a projection that `copy_weights` does not change


@runtime_checkable
class Weighted(Protocol):
    """The part of an opened run that holds weights, and parameters of neurons."""

    projections: list[str]
    populations: list[str]

    def sizes_of(self, projection: str) -> tuple[int, int]:
        """Return the numbers of sources and targets of a projection."""

    def weights(self, projection: str) -> Given:
        """Return source, target, delay and weight of its synapses, (n_synapses,) each."""

    def parameters(self, population: str) -> Given:
        """Return parameters of all cells of a population, (size,) each."""


def _make_adder(kind: type[Perturbation], target: str, *examples: str) -> Callable[..., Applied]:
    """Return the method of `Model` that adds a kind of perturbation, documented by the class of the kind."""

    def add(self: Model, of: Population | Projection, **options: object) -> Applied:
        return self._apply_perturbation(kind, of, options)

    summary = inspect.cleandoc(kind.__doc__ or "").partition("\n\nAttributes\n")[0]
    place = PLACE.replace("Connection", kind.__name__)
    returns = "Returns\n-------\nApplied\n    For `Simulation.test(..., perturb=[...])`."
    add.__doc__ = f"{summary}\n\nParameters\n----------\nof\n    {target}\n{place}\n{returns}"
    if examples:
        add.__doc__ += "\n".join(["\n\nExamples\n--------", *(f">>> {example}" for example in examples)])
    add.__name__ = kind.kind
    return document_options(kind)(add)


@dataclass(repr=False)
class Model:
    """A network in words.

    Attributes
    ----------
    variant : str
        Name of the variant, "interval" (`*_bsshslm_2020`) or "spike" (e-prop+); `eprop` describes it.
    seed : int
        Seed of all draws, from 0 to 2^63 - 1.
    dt_ms : float
        Step in ms, from 1e-9 to 1e9.
    populations : list of Population
        In order of definition; see `inputs`, `currents`, `neurons`, `readouts`.
    projections : list of Projection
        In order of definition; see `connect`.
    optimizer : Optimizer
        Optimizer of projections without another one; by default `GradientDescent(eta=1e-5, normalized=True)`, small
        steps of the same length in both variants.
    precision : str
        "double" or "single": of weights, traces of synapses, state of neurons and histories. Errors, readouts and sums
        over long times are double in either.
    loss : Reward, Loss, callable or None
        Loss of episodes with rewards; or a loss of a script: an object of a class of `Loss`, or a function of outputs
        and targets that returns errors and loss, see `FunctionLoss`; the spike variant calls it in each step, for the
        outputs of that step alone. None: the loss of the readouts.
    local : LocalReadouts or None
        Readouts of single neurons, see `local_readouts`.
    neuron_models : dict of str to NeuronModel
        Custom models that `neurons` finds by name, in addition to the package's models.
    learning_rules : dict of str to LearningRule or Eprop
        Learning rules that `connect` finds by name, in addition to the package's rules.
    backgrounds : list of PopulationBackground
        Poisson background in order of definition; see `background`.
    perturbations : list of Applied
        Perturbations of some phases, in order of definition; see `silence`, `inject`, `dropout`, `cut`.
    rates_hz : dict of str to float
        Measured firing rates of populations in Hz by name, to share neurons evenly among ranks; other populations are
        taken to fire at `f_target`. Results do not depend on it.
    load_factors : tuple of np.ndarray or None
        Measured costs, to share neurons evenly among ranks: int64 (n_blocks + 1,), first neuron of each block, and the
        number of neurons; (n_blocks,), cost of each block over the expected cost, see `storage.repartition`.
    circuit : Path or None
        Configuration of the SONATA network that `from_sonata` read.
    activity : Loss, callable or None
        A loss of firing rates in addition to `c_reg`, given like `loss`: a function of the rates and of `f_target` in
        Hz, (1, n) each, for this rank's neurons. The interval variant passes the rates in a sample; the spike variant
        calls it in each step with rates filtered by `kappa_reg`, and sums. Reported losses do not include it.
    learning_signal : callable or None
        A hook between errors and neurons: a function of learning signals (n_steps, n) of this rank's neurons, errors
        (n_steps, n_readouts), and a `Context`, whose `neurons` name the columns. It returns the signals from which
        synapses onto neurons learn. The spike variant calls it in each step, n_steps = 1, when the errors arrive.

        Both hooks run on each rank for its local neurons. Their result for a neuron may depend only on the neuron's
        column, the errors and the context: then any number of ranks has the same bits.
    notes : list of str
        A line for each option that has no effect; a simulation prints them.

    Raises
    ------
    InputError
        Names the value and the bound.

    Examples
    --------
    >>> model = Model("interval", seed=1)
    >>> inputs = model.inputs("in", 100)
    >>> neurons = model.neurons("rec", 200, "iaf", C_m=1.0, E_L=0.0, V_th=0.03, tau_m=30.0, t_ref=0.0)
    >>> out = model.readouts("out", 1, C_m=1.0, tau_m=30.0)
    >>> model.connect(inputs, neurons, weight=Normal(std=0.1))
    """

    variant: str = DEFAULT
    seed: int = 1
    dt_ms: float = 1.0
    populations: list[Population] = field(default_factory=list)
    projections: list[Projection] = field(default_factory=list)
    optimizer: Optimizer = field(default_factory=default_optimizer)
    precision: Literal["double", "single"] = "double"
    local: LocalReadouts | None = None
    loss: Reward | Loss | Callable | None = None
    neuron_models: dict[str, NeuronModel] = field(default_factory=dict, compare=False)
    learning_rules: dict[str, LearningRule | Eprop] = field(default_factory=dict, compare=False)
    backgrounds: list[PopulationBackground] = field(default_factory=list)
    perturbations: list[Applied] = field(default_factory=list)
    rates_hz: dict[str, float] = field(default_factory=dict, compare=False, repr=False)
    load_factors: tuple[np.ndarray, np.ndarray] | None = field(default=None, compare=False, repr=False)
    activity: Loss | Callable | None = None
    learning_signal: Callable | None = None
    circuit: Path | None = field(default=None, compare=False, repr=False)
    notes: list[str] = field(default_factory=list, init=False, compare=False)

    def __post_init__(self) -> None:
        find_variant(self.variant)
        if not isinstance(self.precision, str) or self.precision not in PRECISIONS:
            raise InputError(f"precision = {quote(self.precision)} must be {' or '.join(map(repr, PRECISIONS))}")
        if not parameters.is_whole(self.seed) or not 0 <= self.seed < 2**63:
            raise InputError(f"seed = {quote(self.seed)} must be a whole number of at least 0, below 2^63")
        if not parameters.is_number(self.dt_ms) or not SHORTEST <= parameters.normalize_value(self.dt_ms) <= LONGEST:
            raise InputError(f"dt_ms = {quote(self.dt_ms)} must be a number from {SHORTEST:g} to {LONGEST:g}")
        self.seed, self.dt_ms = map(parameters.normalize_value, (self.seed, self.dt_ms))
        if not isinstance(self.optimizer, Optimizer):
            raise InputError(f"optimizer = {quote(self.optimizer)} must be an optimizer, such as Adam()")
        for name, kind in (
            ("populations", Population),
            ("projections", Projection),
            ("backgrounds", PopulationBackground),
            ("perturbations", Applied),
        ):
            items = getattr(self, name)
            if not isinstance(items, list) or not all(isinstance(item, kind) for item in items):
                raise InputError(f"{name} = {quote(items)} must be a list of {name}")
        self._check_neuron_models()
        rules = self.learning_rules
        if not isinstance(rules, dict) or not all(isinstance(item, LearningRule | Eprop) for item in rules.values()):
            raise InputError(f"learning_rules = {quote(rules)} must be a dict of learning rules")
        if not isinstance(self.circuit, Path | None):
            raise InputError(f"circuit = {quote(self.circuit)} must be None; from_sonata() sets it")
        if not isinstance(self.local, LocalReadouts | None):
            raise InputError(f"local = {quote(self.local)} must be None; local_readouts() sets it")
        self.loss, self.activity = self._read_loss("loss"), self._read_loss("activity")
        if isinstance(self.activity, Reward | TrajectoryLoss) or (self.activity and self.activity.has_state):
            raise InputError(f"activity = {quote(self.activity)} must be a loss without a state, of firing rates")
        if self.learning_signal is not None and not callable(self.learning_signal):
            wanted = "must be a function of signals, errors and context"
            raise InputError(f"learning_signal = {quote(self.learning_signal)} {wanted}")
        if isinstance(self.loss, TrajectoryLoss):
            require_supported("", {"trajectory loss": f"loss {name_loss(self.loss)}"} | name_variant(self.variant))
        self._names: dict[str, set[str]] = {"populations": set(), "projections": set()}
        self._offsets: dict[str, int] = {}
        self._meanings: dict[tuple[str, str], object] = {}
        self.shadowing: set[str] = set()  # names of models of the package that were given as other objects
        self._note_optimizer("optimizer", self.optimizer)
        for population in self.populations:
            self._require_one_model(population)
        for projection in self.projections:
            self._require_one_rule(projection)

    def _read_loss(self, key: str) -> Loss | None:
        """Return the loss of an attribute; a function becomes a `FunctionLoss`."""
        loss = getattr(self, key)
        if loss is not None and not isinstance(loss, Loss):
            if not callable(loss) or isinstance(loss, type):
                hint = "; readouts(..., loss=...) takes names" if isinstance(loss, str) and key == "loss" else ""
                of = "outputs and targets" if key == "loss" else "firing rates and their targets"
                raise InputError(f"{key} = {quote(loss)} must be a function of {of}, or a Loss{hint}")
            loss = FunctionLoss(loss)
        if loss is not None:
            require_whole_state(loss)
        return loss

    def _check_neuron_models(self) -> None:
        given = self.neuron_models
        if not isinstance(given, dict) or not all(isinstance(item, NeuronModel) for item in given.values()):
            raise InputError(f"neuron_models = {quote(given)} must be a dict of neuron models")
        for name in given:
            if name in self.eprop.neurons:
                raise InputError(f"neuron_models: '{name}' is a model of the package; give yours another name")

    def _require_one_meaning(self, here: str, kind: str, name: str, given: object) -> None:
        """Raise `InputError` if a name already stands for something else; arrays and descriptions of runs use names as
        keys.
        """
        if self._meanings.setdefault((kind, name), given) != given:
            raise InputError(f"{here}: another {kind} of the model is named '{name}'; give one of them another name")

    def _require_one_model(self, population: Population) -> None:
        if definition := getattr(population.params, "definition", None):
            here, plain = f"population '{population.name}'", _with_plain_surrogate(definition)
            self._require_one_meaning(here, "neuron model", definition.name, plain)

    def _require_one_rule(self, projection: Projection) -> None:
        if rule := projection.learning_rule:
            self._require_one_meaning(f"projection '{projection.name}'", "learning rule", rule.name, rule)

    def __repr__(self) -> str:
        cells = ", ".join(f"{item.name} {item.size:,}" for item in self.populations) or "no populations"
        names = ", ".join(item.name for item in self.projections) or "no projections"
        return f"Model({self.variant}, seed {self.seed}; {cells}; {names})"

    @classmethod
    def from_sonata(
        cls,
        config: str | Path,
        dt_ms: float = 1.0,
        variant: str = DEFAULT,
        *,
        seed: int = 1,
        optimizer: Optimizer | None = None,
        precision: Literal["double", "single"] = "double",
        neuron: str | None = None,
        values: Values | None = None,
        sign: str = "free",
        round_delays: bool = False,
        default_weight: float | None = None,
        default_delay: float | None = None,
        projections: dict[str, Values] | None = None,
        neuron_models: dict[str, NeuronModel] | None = None,
        learning_rules: dict[str, LearningRule | Eprop] | None = None,
    ) -> Model:
        """Make a model of a SONATA network, to which readouts can be added.

        Edges stay in their files until each rank reads the edges of its neurons.

        Parameters
        ----------
        config : str or Path
            `circuit_config.json`, or the `simulation_config.json` that names one.
        dt_ms : float
            Step in ms.
        variant : str
            "interval" or "spike".
        seed : int
            Seed of all draws.
        optimizer : Optimizer or None
            As of a `Model`; None: gradient descent with NEST's defaults.
        precision : str
            "double" or "single".
        neuron : str or None
            Model of all neurons; None: the models of the node types' templates.
        values : dict or None
            Parameters of all neurons, in place of the node types'.
        sign : str
            "source": signs of sources by column `ei`; "weights": the common sign of a source's weights; or "free".
        round_delays : bool
            Whether delays are rounded to whole steps, at least one; else other delays raise an error.
        default_weight, default_delay : float or None
            Weight, and delay in ms, of edges without one; None: each edge must have its own.
        projections : dict or None
            Edge population, or "*" for all, to further arguments of `connect`, such as `plastic` and `rewire`.
        neuron_models, learning_rules : dict or None
            As of a `Model`.

        Returns
        -------
        Model
            With inputs, neurons and the projections between them.

        Raises
        ------
        InputError
            Names the file, and the value in it that is wrong or not supported.
        """
        from . import from_sonata  # its modules only where they are needed, see `later`

        model = cls(variant, seed, dt_ms, optimizer=optimizer or default_optimizer(), precision=precision)
        model.neuron_models, model.learning_rules = neuron_models or {}, learning_rules or {}
        model._check_neuron_models()
        from_sonata.add_circuit(
            model,
            Path(config),
            {
                "neuron": neuron,
                "values": values or {},
                "sign": sign,
                "projections": projections or {},
                "round_delays": round_delays,
                "default_weight": default_weight,
                "default_delay": default_delay,
            },
        )
        return model

    @classmethod
    def from_nir(
        cls,
        path: str | Path,
        dt_ms: float | None = None,
        variant: str = DEFAULT,
        *,
        seed: int = 1,
        optimizer: Optimizer | None = None,
        precision: Literal["double", "single"] = "double",
        neuron: str = "iaf_psc_delta",
    ) -> Model:
        """Make a model of a graph of NIR, to which readouts and feedback can be added; the package nir is needed.

        Nodes LIF become `iaf_psc_delta`, CubaLIF `iaf_psc_exp`, LI readouts, Input inputs; weights of Linear and Affine
        that are not 0 become synapses that learn, a bias `I_e`. Time constants are in s, a spike is a current of height
        1 for a step, voltages count as mV, and the delays of the graph grow by one step.

        Parameters
        ----------
        path : str or Path
            The file.
        dt_ms : float or None
            Step in ms for which the graph was made; None: the one that `pareprop export --nir` wrote into it.
        variant : str
            "interval" or "spike".
        seed : int
            Seed of all draws.
        optimizer : Optimizer or None
            As of a `Model`; None: gradient descent with NEST's defaults.
        precision : str
            "double" or "single".
        neuron : str
            Model of nodes LIF: "iaf_psc_delta", or "iaf", which subtracts `V_th` instead of the reset to `V_reset`.

        Returns
        -------
        Model
            The network.

        Raises
        ------
        InputError
            Names the file, and the node in it that is wrong or not supported.
        """
        from . import from_nir

        graph = from_nir.Graph(Path(path))
        model = cls(
            variant, seed, graph.find_step(dt_ms), optimizer=optimizer or default_optimizer(), precision=precision
        )
        from_nir.add_graph(model, graph, neuron)
        return model

    @property
    def eprop(self) -> Variant:
        """The variant of e-prop: its models, losses and costs."""
        return find_variant(self.variant)

    @property
    def is_rewarded(self) -> bool:
        """Whether the loss is for episodes with rewards, without targets."""
        return isinstance(self.loss, Reward)

    @property
    def kernels(self) -> Precision:
        """Kernels of the model's precision, and its type."""
        return PRECISIONS[self.precision]

    def inputs(self, name: str, size: int, sign: object = 0) -> Population:
        """Add a population of spike sources, driven by each sample's raster; `sign` as for `neurons`."""
        return self._add_population(Population(name, size, "input"), sign)

    def currents(self, name: str, size: int) -> Population:
        """Add a population of graded sources: each sample gives their amplitudes (pA) per step."""
        return self._add_population(Population(name, size, "current"))

    @document_parameters(lambda variant: variant.neurons)
    def neurons(
        self,
        name: str,
        size: int,
        model: str | NeuronModel = "iaf",
        *,
        sign: object = 0,
        area: object = "",
        learn: object = None,
        **values: object,
    ) -> Population:
        """Add a population of recurrent neurons.

        Parameters
        ----------
        name : str
            Unique name.
        size : int
            Number of neurons.
        model : str or NeuronModel
            NEST's model name without prefix, one of `neuron_models` or of the package, or a custom model.
        sign : int or array_like of int
            +1 (excites), -1 (inhibits) or 0 (not bound), one for all or one per neuron; see `connect`.
        area : str
            Name of an area, such as "V1": its populations, which must be consecutive, stay together on a node of a
            cluster if that costs little. Results do not depend on it.
        learn : dict of str to Optimizer or dict
            Parameters that learn, each with its optimizer, which has bounds `low` and `high`; such as
            {"tau_m": Adam(eta=0.02, low=5.0, high=100.0, scale="log")}.
        **values : float, array_like or Distribution
            NEST's parameters in NEST's units: one for all, (size,), or drawn.

        Returns
        -------
        Population
            The new population.

        Raises
        ------
        InputError
            Names the population, the value and the bound.

        Notes
        -----
        Parameters of the neuron models and their defaults; `pareprop help parameters` prints those for custom models.

        Filled by `document_parameters`.
        """
        kind = self.find_neuron(model, f"population {quote(name)}")
        if not isinstance(area, str):
            raise InputError(f"population {quote(name)}: area = {quote(area)} must be a name")
        before = next((group for group in reversed(self.populations) if group.role == "recurrent"), None)
        if area and before and before.area != area and any(group.area == area for group in self.of_role("recurrent")):
            self.notes.append(f"population '{name}' does not follow the others of area '{area}': it may lie apart")
        given_as = kind.name if isinstance(kind, NeuronModel) else str(model)
        if learn:
            kind, values = learned.convert_to_equations(kind, values, f"population '{name}'")
        if isinstance(kind, NeuronModel):
            checked: Neuron | CustomNeuron = self._check_parameters(name, size, kind, values)
        else:
            checked = parameters.validate_values(kind, values, f"population '{name}'")
            parameters.check_lengths(checked, size, f"population '{name}'")
        optimizers = {}
        if isinstance(checked, CustomNeuron) and learn:
            optimizers = learned.check_learned(f"population '{name}'", checked, learn)
        learns = Learns(tuple(optimizers), bool(optimizers) and self.eprop.is_online)
        population = Population(name, size, "recurrent", given_as, checked, None, area, optimizers, learns)
        added = self._add_population(population, sign)
        self._note_refractory_steps(added)
        defaults = {key: field.default for key, field in type(checked).model_fields.items()}
        self._note_large_values(f"population '{name}'", checked.__dict__, defaults)
        return added

    def _note_large_values(self, here: str, values: Given, defaults: Given) -> None:
        """Note values of lognormal distributions that are far above a default: often the mean was meant in ms."""
        for key, value in values.items():
            if isinstance(value, parameters.LogNormal) and (line := value.note_large(defaults.get(key))):
                self.notes.append(f"{here}: {key}: {line}")

    def _note_refractory_steps(self, population: Population) -> None:
        """Note a refractory period that grows by rounding to whole steps."""
        t_ref = population.params.t_ref
        if isinstance(t_ref, parameters.Distribution):
            return
        given = np.atleast_1d(t_ref)
        counted = round_up_steps(given, self.dt_ms) * self.dt_ms
        for k in np.flatnonzero(np.abs(counted - given) > 1.0 / TICS_PER_MS)[:1]:
            why = f"is no multiple of the step of {self.dt_ms:g} ms, and counts as {counted[k]:g} ms"
            self.notes.append(f"population '{population.name}': t_ref = {given[k]:g} ms {why}")

    def list_neuron_models(self) -> tuple[str, ...]:
        """Return the names of models that `neurons` accepts."""
        return tuple(dict.fromkeys((*self.neuron_models, *self.eprop.neurons, *library.free_names())))

    def find_neuron(self, model: object, here: str) -> type[Neuron] | NeuronModel:
        """Return the model that a name means to `neurons`; `InputError` starts with `here` and lists the models."""
        if isinstance(model, NeuronModel):
            if model.name in self.eprop.neurons:
                self.shadowing.add(model.name)
            return model
        if not isinstance(model, str) or model not in self.list_neuron_models():
            hint = parameters.suggest_name(str(model), self.list_neuron_models())
            raise InputError(f"{here}: unknown model {quote(model)} in variant '{self.variant}'{hint}")
        known = self.neuron_models.get(model) or self.eprop.neurons.get(model)
        if known is None:
            return library.get_definition(model)
        if not isinstance(known, NeuronModel):
            require_read(self.eprop, known, here)
        return known

    def _check_parameters(self, name: str, size: int, model: NeuronModel, values: Values) -> CustomNeuron:
        """Return the checked parameters of a population with a custom model."""
        here = f"population '{name}'"
        if surrogate := values.pop("surrogate_gradient_function", None):
            model = model.with_surrogate(surrogate)
        checked = parameters.validate_values(make_parameters_class(model), values, here)
        parameters.check_lengths(checked, size, here)
        model.check_start(checked.list_numbers(), self.dt_ms)
        idle = [key for key in ONLINE if key in values and getattr(checked, key) != model.defaults[key]]
        if idle and not self.eprop.is_online:
            self.notes.append(f"{here}: {', '.join(idle)}: no effect in the {self.variant} variant")
        return checked

    @document_parameters(lambda variant: {"readout": variant.readout})
    def readouts(self, name: str, size: int, **values: object) -> Population:
        """Add a population of leaky readouts; `values` are NEST's parameters, one for all.

        Parameters
        ----------
        name : str
            Unique name.
        size : int
            Number of readouts.
        **values : float or str
            NEST's parameters in NEST's units.

        Returns
        -------
        Population
            The new population.

        Notes
        -----
        Filled by `document_parameters`.
        """
        require_read(self.eprop, self.eprop.readout, f"population '{name}'")
        checked = parameters.validate_values(self.eprop.readout, values, f"population '{name}'")
        return self._add_population(Population(name, size, "readout", "readout", checked))

    def local_readouts(self, name: str, of: Population | Sequence[Population], **values: object) -> LocalReadouts:
        """Give each neuron of some populations a local readout, see `LocalReadouts`; samples have targets."""
        if self.local:
            raise InputError(f"local readouts '{name}': must be the only ones")
        require_supported("", {"local readouts": f"local_readouts '{name}'"} | name_variant(self.variant))
        fields = {"name": name, "of": list_names(of)} | values
        readouts = parameters.validate_values(LocalReadouts, fields, f"local readouts '{name}'")
        neurons = [population.name for population in self.of_role("recurrent")]
        for other in readouts.of:
            if other not in neurons:
                raise InputError(f"local readouts '{name}': of = '{other}' is not a population of neurons")
        self.local = readouts
        return readouts

    def of_role(self, *roles: Role) -> list[Population]:
        """Return the populations with one of `roles`, in order of definition."""
        return [population for population in self.populations if population.role in roles]

    def size(self, *roles: Role) -> int:
        """Return the number of cells with one of `roles`."""
        return sum(population.size for population in self.of_role(*roles))

    def offset(self, population: Population) -> int:
        """Return the index of the population's first cell among the cells of its role."""
        if len(self._offsets) != len(self.populations):  # a script may change the list
            ends = Counter[str]()
            for other in self.populations:
                self._offsets[other.name] = ends[other.role]
                ends[other.role] += other.size
        return self._offsets[population.name]

    def min_delay(self, *roles: Role) -> int | None:
        """Return the shortest delay in steps of the projections among cells of these roles, None without a synapse."""
        items = [item for item in self.projections if item.pre.role in roles and item.post.role in roles]
        return min((item.delay_range[0] for item in items if not item.is_empty), default=None)

    @document_options(Connection)
    def connect(
        self, pre: Population, post: Population, rule: str | Callable = "all_to_all", **options: object
    ) -> Projection:
        """Add a projection.

        Parameters
        ----------
        pre, post : Population
            Sources and targets; from readouts to neurons it is a learning-signal connection.
        **options
            Options of a `Connection`.

        Returns
        -------
        Projection
            The new projection, checked.

        Raises
        ------
        InputError
            Names the projection, the value and the bound.
        """
        name = self._name_projection(pre, post, options.get("name"))
        return self.add_projection(
            pre, post, parameters.validate_values(Connection, {"rule": rule, **options}, f"projection '{name}'")
        )

    def add_projection(self, pre: Population, post: Population, connection: Connection) -> Projection:
        """Add a projection whose options are checked already, see `connect`."""
        name = self._name_projection(pre, post, connection.name)
        here, optimizer, batch = f"projection '{name}'", connection.optimizer, self.optimizer.batch_size
        if optimizer is not None and "batch_size" in optimizer.model_fields_set and optimizer.batch_size != batch:
            raise InputError(
                f"{here}: optimizer: batch_size = {optimizer.batch_size} must be that of the model, {batch}"
            )
        if optimizer is not None and optimizer.max_norm not in (None, self.optimizer.max_norm):
            raise InputError(
                f"{here}: optimizer: max_norm = {optimizer.max_norm:g} is of all weights together: give it to the "
                "optimizer of the model"
            )
        projection = resolve_connection(here, name, pre, post, connection, self.dt_ms, self.learning_rules)
        require_supported(f"{here}: ", list_features_of(projection, self.variant))
        if name in self._names_of("projections"):
            raise InputError(f"{here}: a projection of that name exists already; give another with name=")
        self._require_one_rule(projection)
        self._names["projections"].add(name)
        self.projections.append(projection)
        self._note_what_has_no_effect(projection, connection)
        if optimizer is not None:
            self._note_optimizer(f"{here}: optimizer", optimizer)
            self._note_left_out(f"{here}: optimizer", optimizer, connection.has_table)
        return projection

    @document_options(Background)
    def background(self, neurons: Population, **options: object) -> PopulationBackground:
        """Give each neuron of a population Poisson spikes from separate sources, the same on any number of ranks.

        Parameters
        ----------
        neurons : Population
            The neurons that get it; a population may have several.
        **options
            Options of a `Background`.

        Returns
        -------
        PopulationBackground
            The new background, checked.

        Raises
        ------
        InputError
            Names the background, the value and the bound.
        """
        name = background.name_background(neurons, options.get("name"))
        checked = parameters.validate_values(Background, options, f"background '{name}'")
        return self.add_background(neurons, checked)

    def add_background(self, neurons: Population, options: Background) -> PopulationBackground:
        """Add a background whose options are checked already, see `background`."""
        name = background.name_background(neurons, options.name)
        here = f"background '{name}'"
        if neurons not in self.populations:
            raise InputError(f"{here}: {quote(neurons.name)} is not a population of the model")
        self._require_free(here, name)
        added = background.fit_background(here, name, neurons, options, self.dt_ms)
        self.backgrounds.append(added)
        for key, value in (("rate_hz", added.rate_hz), ("weight", added.weight)):
            if not isinstance(value, parameters.Distribution) and not np.any(value):
                self.notes.append(f"{here}: {key} is 0, it has no effect")
        return added

    silence = _make_adder(
        Silence,
        "Neurons or inputs. Without `phases` they are silent in tests.",
        "inhibition = model.silence(inhibitory, phases=[], start_ms=50.0)",
        "simulation.test(100), simulation.test(100, perturb=[inhibition])",
    )
    inject = _make_adder(
        Injection,
        "Neurons. Without `phases` the current flows in all phases.",
        "model.inject(neurons, mean=200.0, std=50.0)  # noise, in all phases",
        'model.inject(neurons, mean=-500.0, phases=["test"], start_ms=100.0, stop_ms=200.0)',
    )
    dropout = _make_adder(Dropout, "Neurons or inputs. Without `phases` spikes are lost in training.")
    cut = _make_adder(
        Cut, "What `connect` returned, onto neurons or readouts. Without `phases` nothing arrives in tests."
    )

    def _apply_perturbation(
        self, kind: type[Perturbation], target: Population | Projection, options: Values
    ) -> Applied:
        name = perturbations.name_perturbation(kind, target, options.get("name"))
        return self.add_perturbation(target, parameters.validate_values(kind, options, f"{kind.kind} '{name}'"))

    def add_perturbation(self, target: Population | Projection, options: Perturbation) -> Applied:
        """Add a perturbation whose options are checked already, see `silence`, `inject`, `dropout`, `cut`."""
        name = perturbations.name_perturbation(type(options), target, options.name)
        here = f"{options.kind} '{name}'"
        known: list[Population | Projection] = [*self.populations, *self.projections]
        if not any(item is target or item.name == target.name for item in known):
            raise InputError(f"{here}: {quote(target.name)} is not of the model")
        self._require_free(here, name)
        added = perturbations.fit_perturbation(name, target, options, self.dt_ms)
        self.perturbations.append(added)
        self.notes += perturbations.list_notes(added)
        return added

    def _require_free(self, here: str, name: str) -> None:
        """Raise `InputError` if something in the model already has a name; names key draws."""
        others: list[PopulationBackground | Applied | Projection | Population] = [
            *self.backgrounds,
            *self.perturbations,
            *self.projections,
            *self.populations,
        ]
        if any(name == other.name for other in others):
            raise InputError(f"{here}: that name is taken already; give another with name=")

    def copy_weights(self, run: Weighted, projections: Sequence[str] | None = None) -> list[str]:
        """Start from the final weights of a run: its synapses replace the synapses that would be drawn.

        Optimizers, signs and other options of the projections stay. Weights that carry learning signals are drawn by
        the seed of the model. Each rank holds all copied synapses until the network is built.

        Parameters
        ----------
        run : OpenRun
            What `open_run` returns.
        projections : sequence of str or None
            Names of projections; None: all projections that the run also has.

        Returns
        -------
        list of str
            Names of the projections whose weights were copied.

        Raises
        ------
        InputError
            If the run has no such projection, or one between populations of other sizes.

        Examples
        --------
        >>> model.copy_weights(open_run("runs/tones"))
        """
        if not isinstance(run, Weighted):
            raise InputError(f"copy_weights: run = {quote(run)} must be what open_run returns")
        mine = {item.name: k for k, item in enumerate(self.projections) if item.pre.role != "readout"}
        wanted = [name for name in mine if name in run.projections] if projections is None else list(projections)
        for name in wanted:
            for owner, known in (("the model", list(mine)), ("the run", list(run.projections))):
                if name not in known:
                    hint = parameters.suggest_name(str(name), known)
                    raise InputError(f"copy_weights: {owner} has no projection {quote(name)}{hint}")
        if not wanted:
            raise InputError(f"copy_weights: the run has none of the projections {', '.join(mine)}")
        changed = {name: self._with_weights(self.projections[mine[name]], run) for name in wanted}
        for name, projection in changed.items():
            self.projections[mine[name]] = projection
        return wanted

    def copy_parameters(self, run: Weighted) -> list[str]:
        """Start from the final values of neuron parameters that a run learned.

        Populations with the same name take the values, even if the parameters do not learn in this model.

        Parameters
        ----------
        run : OpenRun
            What `open_run` returns.

        Returns
        -------
        list of str
            Names of the copied parameters, such as "rec.tau_m".

        Raises
        ------
        InputError
            If a population has another size in the run, another model, or narrower bounds.

        Examples
        --------
        >>> model.copy_parameters(open_run("runs/tones"))
        """
        if not isinstance(run, Weighted):
            raise InputError(f"copy_parameters: run = {quote(run)} must be what open_run returns")
        copied = []
        for population in self.of_role("recurrent"):
            if population.name not in run.populations:
                continue
            here, columns = f"copy_parameters: population '{population.name}'", run.parameters(population.name)
            values = {name: columns[name] for name in columns if f"{name}_initial" in columns}
            if not values:
                continue
            if len(columns["neuron"]) != population.size:
                raise InputError(
                    f"{here} has {len(columns['neuron'])} cells in the run, {population.size} in the model"
                )
            learned.set_parameters(here, population, values)
            copied += [f"{population.name}.{name}" for name in values]
        return copied

    def _with_weights(self, projection: Projection, run: Weighted) -> Projection:
        """Return a projection that has the synapses of a run in place of its connection rule."""
        here, (n_pre, n_post) = f"copy_weights: projection '{projection.name}'", run.sizes_of(projection.name)
        for end, n in (("pre", n_pre), ("post", n_post)):
            if n != (size := getattr(projection, end).size):
                raise InputError(f"{here}: its {end} has {n} cells in the run, {size} in the model")
        columns = run.weights(projection.name)
        kept = {name: getattr(projection, name) for name in KEPT}
        sign = "free" if projection.signs is None else projection.signs
        synapses = {name: columns[name] for name in ("source", "target", "delay", "weight")}
        given = Connection(rule="explicit", sign=sign, **kept, **synapses)
        return resolve_connection(here, projection.name, projection.pre, projection.post, given, self.dt_ms)

    @staticmethod
    def _name_projection(pre: Population, post: Population, name: AnyValue) -> str:
        for key, end in (("pre", pre), ("post", post)):
            if not isinstance(end, Population):
                raise InputError(f"connect: {key} = {quote(end)} must be a population of the model")
        name = f"{pre.name}->{post.name}" if name is None else name
        check_name("projection", name, 3 * MAX_NAME)
        return name

    def _note_optimizer(self, here: str, optimizer: Optimizer) -> None:
        require_of_weights(optimizer, here)
        if optimizer.max_norm is not None:
            found = {"max_norm": f"max_norm = {optimizer.max_norm:g}"} | name_variant(self.variant)
            require_supported(f"{here}: ", found)
        if not optimizer.optimize_each_step and (not self.eprop.is_online or self.optimizer.batch_size > 1):
            batches = f"with batch_size = {self.optimizer.batch_size}"
            where = batches if self.eprop.is_online else "in the interval variant"
            self.notes.append(f"{here}: optimize_each_step = False: no effect {where}, which steps after each batch")

    def _note_left_out(self, here: str, optimizer: Optimizer, is_table: bool) -> None:
        """Note settings that a projection's optimizer leaves out, if their defaults differ from the model's."""
        given = optimizer.model_fields_set | OF_MODEL | (set() if is_table else {"type"})
        names = [name for name in type(optimizer).model_fields if name not in given]
        values = {name: (getattr(optimizer, name), getattr(self.optimizer, name, None)) for name in names}
        differ = {name: pair for name, pair in values.items() if pair[1] not in (None, pair[0])}
        if differ and optimizer.eta:
            what = "its table" if is_table else f"{type(optimizer).__name__}(...)"
            own, others = ([f"{name} = {pair[k]}" for name, pair in differ.items()] for k in (0, 1))
            kept = f"{', '.join(own)} by default; the model has {', '.join(others)}"
            self.notes.append(f"{here}: {what} leaves out {', '.join(differ)}: {kept}")

    def _note_what_has_no_effect(self, projection: Projection, connection: Connection) -> None:
        here, weight = f"projection '{projection.name}'", connection.weight
        if projection.pre.role == "current" and connection.plastic:
            self.notes.append(f"{here}: weights of currents never learn; plastic=False says that it is meant")
        if projection.feedback == "symmetric" and not (parameters.is_number(weight) and weight == 1.0):
            self.notes.append(f"{here}: its weight is not used: symmetric feedback has the weights onto the readouts")
        if projection.plastic and (rule := find_signless(projection)):
            how = "use projections of one sign each, or set learning_parameters={'sign_of_weights': -1.0}"
            self.notes.append(f"{here}: {rule.name} takes all its weights as above 0, though some may inhibit: {how}")
        if isinstance(projection.learning_rule, LearningRule):
            given = projection.learning_parameters or {}
            self._note_large_values(f"{here}: learning_parameters", given, projection.learning_rule.defaults)
        definition, place = getattr(projection.post.params, "definition", None), projection.port_index
        by_eprop = projection.plastic and not isinstance(projection.learning_rule, LearningRule)
        if definition is not None and by_eprop and not definition.traces_port(place):
            what = f"a spike at port {definition.ports[place]} changes no trace of model {definition.name}"
            self.notes.append(f"{here}: learns nothing by e-prop, as {what}; plastic=False says that it is meant")

    def _add_population(self, population: Population, sign: AnyValue = 0) -> Population:
        check_population(population)
        population = replace(population, size=int(population.size))
        if population.name in self._names_of("populations"):
            raise InputError(f"population '{population.name}' exists already")
        cell_signs = signs.check_cell_signs(sign, population.size, f"population '{population.name}'")
        if np.any(sign):  # of a population of 2^31 cells this is one number
            population = replace(population, sign=cell_signs)
        self._require_one_model(population)
        self._names["populations"].add(population.name)
        self.populations.append(population)
        return population

    def _names_of(self, kind: str) -> set[str]:
        """Return the names of "populations" or "projections"."""
        items = getattr(self, kind)
        if len(self._names[kind]) != len(items):  # a script may change the list
            self._names[kind] = {item.name for item in items}
        return self._names[kind]


@cache
def _with_plain_surrogate(definition: NeuronModel) -> NeuronModel:
    """Return a model with the default surrogate gradient, as each population may have another surrogate gradient."""
    return definition.with_surrogate("piecewise_linear")


def equations_of(model: Model) -> dict[str, NeuronModel]:
    """Return the custom models by name, each with the surrogate gradient of the first population."""
    found: dict[str, NeuronModel] = {}
    for item in model.of_role("recurrent"):
        if isinstance(item.params, CustomNeuron):
            found.setdefault(item.params.definition.name, item.params.definition)
    return found


def describe_model(model: Model) -> str:
    """Return populations (name, size, role, model) and projections (name, rule, delays in steps) as JSON.

    Backgrounds and perturbations, a line for each, are included if there are any.
    """
    populations = [
        {"name": item.name, "size": item.size, "role": item.role, "model": item.model} for item in model.populations
    ]
    projections = [
        {"name": item.name, "rule": item.rule, "delay": list(item.delay_range)} for item in model.projections
    ]
    kinds: dict[str, Sequence[PopulationBackground | Applied]] = {
        "backgrounds": model.backgrounds,
        "perturbations": model.perturbations,
    }
    more = {name: [item.format_line() for item in items] for name, items in kinds.items() if items}
    return json.dumps({"populations": populations, "projections": projections, **more})
