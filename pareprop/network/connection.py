"""The arguments of `Model.connect`, described and checked in one place for scripts, files and NEST's front end."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Annotated, Literal, Self, TypeVar

import numpy as np
from pydantic import (
    BeforeValidator,
    Field,
    InstanceOf,
    ModelWrapValidatorHandler,
    PrivateAttr,
    SkipValidation,
    model_validator,
)

from ..errors import InputError
from ..rules.definition import Eprop, LearningRule
from ..sonata.edges import Edges
from ..values import AnyValue
from .delays import Law
from .optimizers import Optimizer, make_optimizer
from .parameters import Frozen, Value, Weight, validate_values
from .rewire import Rewire
from .rule_options import ShortTerm
from .space import Space

F = TypeVar("F", bound=Callable[..., object])
Feedback = Literal["random", "symmetric", "adaptive"]
PLACE = "**options\n    Options of a `Connection`.\n"  # in docstrings; `document_options` inserts the list of options


def _make_validator(kind: type[Frozen], make: Callable[[Mapping[str, object], str], Frozen]) -> BeforeValidator:
    """Return the validator of a field that takes a description of a kind, or a table of its settings."""

    def read(value: object) -> object:
        if value is None or isinstance(value, kind):
            return value
        if not isinstance(value, Mapping):
            raise ValueError(f"must be a table of settings, or of type {kind.__name__}")
        try:
            return make(value, "")
        except InputError as problem:
            raise ValueError(str(problem)) from None

    return BeforeValidator(read)


class Connection(Frozen):
    """How a projection connects two populations.

    A new option is a field here. `connectivity.resolve` checks whether it fits the populations, the class of the
    connectivity rule (`connection_rules`, `streamed_rules`) whether it fits that rule.

    Attributes
    ----------
    rule : str or callable
        "all_to_all", "one_to_one", "fixed_indegree" (needs `indegree`), "fixed_total_number" (needs `N`),
        "fixed_probability" (needs `probability`), "lognormal_degrees" (needs `indegree`, `sigma_in`, `sigma_out`),
        "distance" (needs `probability`, `space`), "explicit" (needs `source`, `target`), "sonata" (needs `edges`); or a
        function that gives the synapses (needs `indegree`), see `synapses`.
    weight : float, Distribution, Scaled or array_like
        One for all, drawn (`Normal`, `Uniform`, `LogNormal`), or (n_synapses,) for "explicit". `Scaled` draws by the
        number of sources and the constants of the targets, so that a first network fires.
    delay : int, tuple of int, array_like, Distribution, dict or None
        Whole steps, at least 1; a pair (low, high) draws one per synapse, uniformly; `Normal` and `LogNormal` draw
        one, rounded to whole steps, and again beyond four standard deviations and below one step; (n_synapses,) for
        "explicit"; {"per_length": p, "offset": o} for "distance": p times the distance plus o, rounded. None: 1.
    delay_ms : float, tuple of float, array_like, Distribution, dict or None
        The same in ms, in place of `delay`: whole steps of `dt_ms`, which delays of a distribution are rounded to.
    name : str or None
        Unique name; None: "pre->post".
    optimizer : dict, Optimizer or None
        Optimizer of this projection; None: the model's. Missing settings have their defaults, not the model's values;
        only `batch_size` and `max_norm` are taken from the model.
    feedback : str or None
        "random", "symmetric" or "adaptive", for learning-signal connections; None: "random".
    sign : str or array_like of int
        "source" gives weights the sign of their source, which plastic weights keep (Dale's law); "free" does not; or
        +1, -1, 0 for each source. Drawn weights become abs(w) times the sign, explicit weights must have the sign. Onto
        a port that takes weights of at least 0 all signs must be +1.
    rewire : Rewire, dict or None
        How synapses move while they learn; for plastic projections onto neurons.
    learn_delay : Optimizer, dict or None
        Optimizer of the delays, one per synapse, in steps: `eta`, `low` (1 if it is missing) and `high`; for plastic
        projections from inputs and neurons onto neurons, in the interval variant.
    learn_delay_ms : Optimizer, dict or None
        The same with `eta`, `low` and `high` in ms, in place of `learn_delay`.
    indegree : int, float or None
        Synapses per target, or their mean; for a function an estimate, used to balance neurons among ranks.
    probability : float or None
        Probability of a synapse between a source and a target; of "distance": at distance 0.
    N : int or None
        Synapses of the projection in all, each with a source and a target drawn from all.
    source, target : array_like or None
        (n_synapses,), ids within the populations.
    allow_autapses, allow_multapses : bool
        As in NEST.
    plastic : bool
        Whether weights from inputs and neurons learn.
    sigma_in, sigma_out : float or None
        Standard deviations of the logarithms of in- and out-degrees.
    space : Space, dict or None
        Positions of the cells and profile of the probability.
    edges : Edges or None
        Edges of a SONATA file.
    synapses : callable or None
        The function that is given as `rule`. It takes ids of targets, int64 (n,), ascending, and returns a dict of the
        synapses onto these targets: "source" and "target", and "weight" and "delay" (steps, within the range of
        `delay`) unless these are drawn. Each rank calls it for its local targets, several times: it must return the
        same synapses of a target each time, in the same order, whatever the other targets. Weights count as drawn.
    normalized : bool
        Whether drawn weights are divided by the square root of their target's number of synapses.
    inhibition : float
        Factor of drawn weights of sources whose sign is -1.
    keep_signs : bool
        Whether signs of sources hold while weights learn, not only at the start.
    port : str or None
        Synaptic input of the targets, one of their model's ports; None: the first one.
    learning_rule : str, LearningRule, Eprop or None
        Rule by which weights from inputs and neurons learn, or its name; None: "eprop".
    learning_parameters : dict or None
        Parameters of the rule that differ from defaults: one value, one for each target neuron, or a distribution.
    transmission : ShortTerm, dict or None
        Short-term plasticity, with values for each source; None: all spikes count alike.
    """

    rule: SkipValidation[str | Callable] = "all_to_all"
    weight: Weight = 1.0
    delay: SkipValidation[int | tuple[int, ...] | np.ndarray | Law | None] = None
    delay_ms: SkipValidation[float | tuple[float, ...] | np.ndarray | Law | None] = None
    name: str | None = None
    optimizer: Annotated[InstanceOf[Optimizer] | None, _make_validator(Optimizer, make_optimizer)] = None
    feedback: Feedback | None = None
    sign: SkipValidation[str | list[int] | np.ndarray] = "free"
    rewire: Annotated[InstanceOf[Rewire] | None, _make_validator(Rewire, partial(validate_values, Rewire))] = None
    learn_delay: Annotated[InstanceOf[Optimizer] | None, _make_validator(Optimizer, make_optimizer)] = None
    learn_delay_ms: Annotated[InstanceOf[Optimizer] | None, _make_validator(Optimizer, make_optimizer)] = None
    indegree: SkipValidation[float | None] = None
    probability: SkipValidation[float | None] = None
    N: SkipValidation[int | None] = None
    source: SkipValidation[list[int] | np.ndarray | None] = None
    target: SkipValidation[list[int] | np.ndarray | None] = None
    allow_autapses: bool = True
    allow_multapses: bool = True
    plastic: bool = True
    sigma_in: SkipValidation[float | None] = None
    sigma_out: SkipValidation[float | None] = None
    space: Annotated[InstanceOf[Space] | None, _make_validator(Space, partial(validate_values, Space))] = None
    edges: InstanceOf[Edges] | None = None
    synapses: SkipValidation[Callable | None] = None
    normalized: bool = False
    inhibition: float = Field(1.0, gt=0)
    keep_signs: bool = True
    port: str | None = None
    learning_rule: SkipValidation[str | LearningRule | Eprop | None] = None
    learning_parameters: dict[str, Value] | None = None
    transmission: Annotated[
        InstanceOf[ShortTerm] | None, _make_validator(ShortTerm, partial(validate_values, ShortTerm))
    ] = None

    _has_table: bool = PrivateAttr(False)

    @model_validator(mode="wrap")
    @classmethod
    def _look_for_table(cls, values: AnyValue, make: ModelWrapValidatorHandler[Self]) -> Self:
        made = make(values)
        made._has_table = isinstance(values, Mapping) and isinstance(values.get("optimizer"), Mapping)
        return made

    @property
    def has_table(self) -> bool:
        """Whether the optimizer was given as a table, not as an object."""
        return self._has_table


def document_options(description: type[Frozen]) -> Callable[[F], F]:
    """Return a decorator: it gives a function with `**options` the signature and documentation of a description's
    fields.

    The description's list of attributes replaces `PLACE`.
    """

    def document_function(function: F) -> F:
        described = [kind for kind in reversed(description.__mro__) if issubclass(kind, Frozen) and kind is not Frozen]
        own_lists = (inspect.cleandoc(vars(kind)["__doc__"]) for kind in described)
        listed = "\n".join(filter(None, (text.partition("Attributes\n----------\n")[2] for text in own_lists)))
        place = PLACE.replace("Connection", description.__name__)
        function.__doc__ = inspect.cleandoc(function.__doc__ or "").replace(place, f"{listed}\n")
        signature = inspect.signature(function)
        own = [item for item in signature.parameters.values() if item.kind is not inspect.Parameter.VAR_KEYWORD]
        options = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=field.default)
            for name, field in description.model_fields.items()
            if name not in signature.parameters
        ]
        function.__signature__ = signature.replace(parameters=own + options)  # type: ignore[attr-defined]
        return function

    return document_function
