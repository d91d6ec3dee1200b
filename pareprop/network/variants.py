"""The variants of e-prop: the models, losses and costs of each; `VARIANTS` lists them.

A new variant is an entry of `VARIANTS`; the subpackage `engines` adds the class of its engine to `ENGINES`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

from pydantic import AfterValidator

from .. import elementary, later
from ..errors import InputError, quote
from ..values import Given, Later, Values
from .connectivity import Population
from .neurons import INTERVAL, Neuron, Readout, ReadoutBase, ReadoutInterval, make_nest_class
from .parameters import FLOAT_MAX, Frozen, list_meanings

PARAMETERS = "Filled by `document_parameters`."
F = TypeVar("F", bound=Callable[..., object])


@dataclass(frozen=True)
class Costs:
    """Approximate costs in picoseconds, including learning, while all cores are busy; they set partition bounds.

    Attributes
    ----------
    step : int
        A step of a neuron.
    event, cold_event, far_event : int
        The arrival of a spike at a synapse; the extra cost of a synapse in memory, and of a target in memory.
    row : int
        Opening the row of synapses of a source that spiked.
    readout_event : int
        The arrival of a spike at a readout.
    signal : int
        A step of a synapse that brings a learning signal.
    """

    step: int
    event: int
    cold_event: int
    far_event: int
    row: int
    readout_event: int
    signal: int


@dataclass(frozen=True)
class Variant:
    """A variant of e-prop.

    Attributes
    ----------
    name : str
        Name in `Model.variant`, files and options.
    summary : str
        Origin in a few words.
    neurons : dict
        Neuron models by NEST's name without prefix; a script may add its own.
    readout : type
        The readout model.
    nest_suffix : str
        End of NEST's names of its models.
    is_online : bool
        Whether weights change within samples, at spikes, unless they learn in batches of several. Filtered eligibility
        traces then lack a factor 1 - kappa. Else weights change after a batch, with a history of each sample.
    event_bytes : int
        Bytes that the arrival of a spike at a synapse touches, in double precision.
    costs : Costs
        Costs that determine the partition of neurons among ranks.
    losses, optimizers : tuple of str or None
        Names of the losses and optimizers of the variant; None: all, including losses and optimizers of scripts.
    """

    name: str
    summary: str
    neurons: dict[str, type[Neuron]]
    readout: type[ReadoutBase]
    nest_suffix: str
    is_online: bool
    event_bytes: int
    costs: Costs
    losses: tuple[str, ...] | None = None
    optimizers: tuple[str, ...] | None = None

    @property
    def engine(self) -> Later:
        """Class of the engine."""
        return ENGINES[self.name]

    def make_settings(self, learning_window: int, **options: object) -> Later:
        """Return settings of the engine, without options that it does not have."""
        kind = self.engine.settings_type
        known = {field.name for field in fields(kind)}
        return kind(learning_window, **{key: value for key, value in options.items() if key in known})

    def compute_scale(self, kappa: float) -> float:
        """Return the factor of weights (its square: of learning rates) that tasks need for the variant's traces."""
        return 1.0 - kappa if self.is_online else 1.0

    def compute_gain(self, post: Population, dt_ms: float) -> float:
        """Return the factor that rescales gradients of synapses onto `post` to traces of gain 1, for
        `Optimizer.normalized`.
        """
        if post.role == "readout":
            kappa = elementary.exp(-dt_ms / post.params.tau_m)
            return 1.0 - kappa if self.is_online or post.params.regular_spike_arrival else 1.0
        return self.compute_scale(post.params.kappa) if self.is_online else 1.0

    def find_kind(self, name: str) -> type[Neuron] | type[ReadoutBase]:
        """Return the class of a neuron model, or of "readout"."""
        return self.readout if name == "readout" else self.neurons[name]

    def select_parameters(self, name: str, values: Given) -> Values:
        """Return the values that are parameters of a model: all if there is no such model."""
        known = self.find_kind(name).model_fields if name in (*self.neurons, "readout") else values
        return {key: value for key, value in values.items() if key in known}

    def require_known(self, thing: str, name: str, known: Collection[str] | None) -> None:
        """Raise `InputError` unless the name of a thing, such as a loss, is among the known ones."""
        if known is not None and name not in known:
            raise InputError(f"{thing} '{name}' is not for the {self.name} variant (known: {', '.join(known)})")


ENGINES: later.Later[type] = later.Later("pareprop.engines", {})  # by name of the variant; `engines` fills it
VARIANTS: dict[str, Variant] = {
    variant.name: variant
    for variant in (
        Variant(
            name="interval",
            summary="Bellec 2020",
            neurons={name: make_nest_class(name, INTERVAL) for name in ("iaf", "iaf_adapt")},
            readout=ReadoutInterval,
            nest_suffix=INTERVAL,
            is_online=False,
            event_bytes=12,
            costs=Costs(2600, event=650, cold_event=350, far_event=350, row=25_000, readout_event=7800, signal=70),
        ),
        Variant(
            name="spike",
            summary="e-prop+",
            neurons={
                name: make_nest_class(name) for name in ("iaf", "iaf_adapt", "iaf_psc_delta", "iaf_psc_delta_adapt")
            },
            readout=Readout,
            nest_suffix="",
            is_online=True,
            event_bytes=28,
            costs=Costs(5500, event=1100, cold_event=900, far_event=0, row=45_000, readout_event=14_000, signal=85),
        ),
    )
}
DEFAULT = next(iter(VARIANTS))
NEURONS = tuple(dict.fromkeys(name for variant in VARIANTS.values() for name in variant.neurons))
if TYPE_CHECKING:
    NeuronName = str  # of one of them
else:
    NeuronName = Literal[*NEURONS]


def find_variant(name: object) -> Variant:
    """Return the variant with a name; `InputError` lists the variants."""
    if not isinstance(name, str) or name not in VARIANTS:
        raise InputError(f"variant = {quote(name)} must be {' or '.join(map(repr, VARIANTS))}")
    return VARIANTS[name]


def _check_variant(name: str) -> str:
    if name not in VARIANTS:
        raise ValueError(f"must be {' or '.join(map(repr, VARIANTS))}")
    return name


VariantName = Annotated[str, AfterValidator(_check_variant)]


_READ: dict[str, dict[str, frozenset[str]]] = {  # parameters that kernels read, by variant and name of the equations
    variant.name: {
        **{kind.name_equations(): frozenset(kind.model_fields) for kind in variant.neurons.values()},
        "readout": frozenset(variant.readout.model_fields),
    }
    for variant in VARIANTS.values()
}


def require_read(variant: Variant, kind: type[Frozen], here: str) -> None:
    """Raise `InputError` if a class of neurons or readouts has a parameter that no kernel of the variant reads."""
    equations = kind.name_equations() if issubclass(kind, Neuron) else "readout"
    if equations not in _READ[variant.name]:
        what = (
            f"the {variant.name} variant has no kernel of '{equations}', for which flags of class {kind.__name__} ask"
        )
        raise InputError(f"{here}: {what}: give the model as equations")
    if unread := [name for name in kind.model_fields if name not in _READ[variant.name][equations]]:
        what = f"no kernel of the {variant.name} variant reads {', '.join(unread)} of class {kind.__name__}"
        raise InputError(f"{here}: {what}: give the model as equations, or set the flags that {kind.__name__} needs")


def document_parameters(of: Callable[[Variant], Mapping[str, type[Frozen]]]) -> Callable[[F], F]:
    """Return a decorator that replaces `PARAMETERS` in a docstring by the parameters of models, for `help()`.

    `of` returns the classes of a variant's models by name.
    """
    kinds = {(variant.name, name): kind for variant in VARIANTS.values() for name, kind in of(variant).items()}

    def list_owners(name: str) -> str:
        having = [key for key, kind in kinds.items() if name in kind.model_fields]
        if len(having) == len(kinds):
            return ""
        variants = {variant for variant, _ in having}
        if having == [key for key in kinds if key[0] in variants]:
            return f" ({' and '.join(sorted(variants))} variant)"
        return f" ({', '.join(dict.fromkeys(model for _, model in having))})"

    lines: dict[str, str] = {}
    for kind in kinds.values():
        said = list_meanings(kind)
        for name, field in kind.model_fields.items():
            shown = "none" if field.default in (FLOAT_MAX, -FLOAT_MAX) else repr(field.default)
            lines.setdefault(name, f"- {name} = {shown}{list_owners(name)}: {said[name].replace('`', '')}")

    def document_function(function: F) -> F:
        function.__doc__ = inspect.cleandoc(function.__doc__ or "").replace(PARAMETERS, "\n".join(lines.values()))
        return function

    return document_function
