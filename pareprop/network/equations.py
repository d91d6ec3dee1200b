"""Parameters of populations with custom neuron models: a class is made for each model."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import ClassVar

import numpy as np
from pydantic import ConfigDict, create_model

from ..errors import InputError
from ..kernels import layout
from ..neurons.model import COMMON, NeuronModel
from ..neurons.units import NONE, unit_of
from ..values import Values
from .neurons import Cell, Filtered
from .parameters import Value

TIME, CAPACITANCE = (0, 0, 1), (-1, 1, 1)  # powers of volt, ampere and second
ONLINE = ("kappa", "kappa_reg", "eprop_isi_trace_cutoff")  # parameters of the spike variant alone


class CustomNeuron(Cell, Filtered):
    """Parameters of all custom models; the class of each model adds the model's parameters, with their defaults.

    Attributes
    ----------
    definition : NeuronModel
        The model.
    """

    model_config = ConfigDict(protected_namespaces=())

    definition: ClassVar[NeuronModel]

    @property
    def kernel_code(self) -> int:
        """Bits that describe the model's features to kernels, see `layout.pxd`."""
        return layout.BY_EQUATIONS | (0 if self.definition.current_from else layout.EARLY_CURRENT)

    @property
    def surrogate_gradient_function(self) -> str:
        """Name or expression of the surrogate gradient."""
        return self.definition.surrogate

    def list_numbers(self) -> Values:
        """Return parameters that are numbers or arrays, not drawn."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: value for name, value in values.items() if isinstance(value, float | int | np.ndarray)}


def _list_bounds(definition: NeuronModel) -> Iterator[str]:
    """Yield bounds of a model's parameters that follow from their units and agree with their defaults.

    A capacitance is above 0, and so is a time constant, which is recognized by its name; other times are at least 0.
    """
    for name, (default, text) in definition.parameters.items():
        dimension = (unit_of(text) or NONE)[1:]
        if name in COMMON or dimension not in (TIME, CAPACITANCE):
            continue
        relation = ">" if dimension == CAPACITANCE or name.startswith("tau") else ">="
        if default > 0 or (default == 0 and relation == ">="):
            yield f"{name} {relation} 0"


@cache
def make_parameters_class(definition: NeuronModel) -> type[CustomNeuron]:
    """Return the class of a model's parameters; `InputError` for a parameter with a reserved name."""
    fields: Values = {}
    for name, default in definition.defaults.items():
        known = CustomNeuron.model_fields.get(name)
        if known is None and hasattr(CustomNeuron, name):
            raise InputError(f"neuron model '{definition.name}': parameters: the name '{name}' is taken")
        if known is None or default != known.default:
            fields[name] = (known.annotation if known and name in ("kappa", "kappa_reg") else Value, default)
    kind = create_model(definition.name, __base__=CustomNeuron, __doc__=definition.docstring, **fields)
    kind.definition, kind.bounds = definition, tuple(_list_bounds(definition))
    kind.__qualname__ = f"{definition.name} {definition.digest}"  # identifies the model in a resumed run
    return kind
