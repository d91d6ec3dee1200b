"""Neuron models as equations: read (`language`, `entries`, `model`), derived (`derive`), generated as C and compiled.

Kernels of NEST's e-prop neurons are generated when the package is built (`built_in`), other kernels when they are first
used (`compile`).

May import the core utilities.

Where to add:

- a neuron model: a file `models/NAME.toml` with its equations; no other file names it;
- a surrogate gradient: a name and a formula in `surrogates`;
- a function in expressions: `language`, `symbols` and `expressions`; `stages` if it takes tens of instructions;
- an integration method: `dynamics`; derivatives by parameters: `derive` and `generate`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .model import NeuronModel

if TYPE_CHECKING:
    from .check import Check


def _check(self: NeuronModel, dt_ms: float = 1.0, **values: float) -> Check:
    """Compare derivatives, step and backward pass with slow computations; find rest, firing curve, traces, units, cost.

    Parameters
    ----------
    dt_ms : float
        Time step.
    **values : float
        Parameters that are not defaults.

    Returns
    -------
    Check
        Results: `print(model.check().text())`.

    Raises
    ------
    InputError
        If a state is not finite at the start, or diverges.
    """
    from .check import check_model  # needs the compiled kernels, whose build imports this package

    return check_model(self, dt_ms, values)


NeuronModel.check = _check
