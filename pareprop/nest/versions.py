"""Scripts of older versions of NEST: which one a script is for, and what its parameters mean.

| version | surrogate gradient at x = voltage - threshold, V = V_th - E_L | `c_reg` with `average_gradient` |
|---|---|---|
| 3.7, 3.8 | gamma / V max(0, 1 - abs(x) / V) | not divided by the learning window |
| 3.9 | `gamma` is the height, `beta` one divided by the width | divided, like the rest of the gradient |
| 3.10 | `surrogate_gradient_height`, `surrogate_gradient_width` | divided |

In 3.9 `eprop_isi_trace_cutoff` is 1000 ms unless a script sets it, and the surrogate gradient "arctan" is
gamma / pi / (1 + (pi beta x)^2).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..values import AnyValue, Given, Numbers, Values
from .errors import NESTErrors, make_refusal, warn_once

VERSIONS = ("3.7", "3.8", "3.9", "3.10")
BEFORE_BETA = ("3.7", "3.8")
ONLY = {  # names that imply the version of a script
    "gamma": ("3.7", "3.8", "3.9"),
    "beta": ("3.9",),
    "surrogate_gradient_height": ("3.10",),
    "surrogate_gradient_width": ("3.10",),
}
CUTOFF = "eprop_isi_trace_cutoff"
OLD_CUTOFF = 1000.0  # ms
FUNCTION = "surrogate_gradient_function"
ARCTAN = "arctan"  # of NEST 3.9, with a pi that 3.10 left out


class Versions:
    """The version that a script is for: `named` by the user, else ("") implied by the names in the script."""

    def __init__(self, named: str) -> None:
        self.named = named
        self._used: set[str] = set()  # names that imply a version
        self._of_39 = False  # whether something else is there that came with 3.9

    def read(self, values: Given, known: Given, variant: str) -> Values:
        """Translate parameters of neurons into present names, and note which version they imply.

        `values` has the parameters that a script sets, `known` the model's; `variant` is the model's, "" if it is not a
        neuron. Raises a `KernelException`: `UnaccessedDictionaryEntry` for a name that the version does not have.
        """
        values = dict(values)
        if "surrogate_gradient_height" not in known:
            return values
        for key in values.keys() & ONLY.keys():
            self._require_version(key, ONLY[key])
            self._used.add(key)
        function = values.get(FUNCTION, "piecewise_linear")
        if isinstance(function, str):
            if function == ARCTAN:
                self._require_version(ARCTAN, ("3.9",))
                self._used.add("beta")  # of the same version
            self._of_39 |= function != "piecewise_linear"
        self._of_39 |= variant == "spike"
        if "gamma" in values:
            values["surrogate_gradient_height"] = values.pop("gamma")
        if "beta" in values:
            beta = values.pop("beta")
            if np.any(np.asarray(beta, float) <= 0):
                raise NESTErrors.BadProperty(f"beta = {beta} must be above 0")
            values["surrogate_gradient_width"] = 1.0 / np.asarray(beta, float) if np.ndim(beta) else 1.0 / beta
        return values

    def show_parameters(self, values: Given) -> Values:
        """Parameters of neurons, by names of today, as the version that the user named has them."""
        values = dict(values)
        if self.named in ONLY["gamma"] and "surrogate_gradient_height" in values:
            width, height = (values.pop(f"surrogate_gradient_{name}") for name in ("width", "height"))
            values["gamma"] = height
            if self.named == "3.9":
                values["beta"] = 1.0 / width
        if CUTOFF in values:
            values[CUTOFF] = self.show_cutoff(values[CUTOFF])
        return values

    def show_cutoff(self, value: object) -> AnyValue:
        """`eprop_isi_trace_cutoff` with the default of the version that the user named."""
        return OLD_CUTOFF if self.named == "3.9" and np.all(value == np.inf) else value

    def require_variant(self, model: str, variant: str) -> None:
        """Raise `UnknownModelName` for a model that the named version does not have."""
        if variant == "spike" and self.named in BEFORE_BETA:
            raise NESTErrors.UnknownModelName(
                f"{model} came with NEST 3.9, and this is taken as a script of NEST {self.named} (--as)"
            )

    def _require_version(self, name: str, versions: tuple[str, ...]) -> None:
        if self.named and self.named not in versions:
            raise NESTErrors.UnaccessedDictionaryEntry(
                f"Unaccessed elements in params: '{name}' is a name of NEST {', '.join(versions)}, and this is taken "
                f"as a script of NEST {self.named} (--as)"
            )

    def find_version(self, rank: int = 0) -> str:
        """Return the version that the script is for; rank 0 reports which was assumed.

        `NotImplemented`, a `KernelException`, if the names contradict each other.
        """
        if self.named or not self._used:
            return self.named or "3.10"
        left = [version for version in VERSIONS if all(version in ONLY[name] for name in self._used)]
        names = " and ".join(f"'{name}'" for name in sorted(self._used))
        if "gamma" in self._used and "beta" not in self._used and left:
            left, names = (
                (["3.9"], f"{names}, and what came with it") if self._of_39 else (["3.8"], f"{names} without 'beta'")
            )
        if not left:
            raise make_refusal(
                f"a script with {names}, which no version of NEST has together",
                f"say which one it is for: --as {'|'.join(VERSIONS)}",
            )
        if left[0] != "3.10":
            warn_once(
                f"taken as a script of NEST {left[0]}, as it sets {names}; say --as {'|'.join(VERSIONS)} otherwise",
                rank,
            )
        return left[0]


def translate_parameters(version: str, values: Values, window: int) -> Values:
    """Translate the parameters of a neuron of another version into present names.

    `values` has present names; in versions before `beta` existed the height means `gamma`. An averaged gradient is
    divided by `window` steps, 1 if it is not averaged.
    """
    if version in BEFORE_BETA and "surrogate_gradient_height" in values:
        V = np.subtract(values["V_th"], values["E_L"])
        if np.any(V <= 0):
            raise NESTErrors.BadProperty(
                f"V_th - E_L = {np.min(V):g} must be above 0: it is the width of the "
                f"surrogate gradient in NEST {version}"
            )
        height = np.divide(values["surrogate_gradient_height"], V)
        return values | {
            "surrogate_gradient_height": _unwrap_scalar(height),
            "surrogate_gradient_width": _unwrap_scalar(V),
            "c_reg": _unwrap_scalar(np.multiply(values["c_reg"], window)),
        }
    if values.get(FUNCTION) == ARCTAN:
        values |= {FUNCTION: "arctan_derivative"} | {
            key: _unwrap_scalar(np.divide(values[key], np.pi))
            for key in ("surrogate_gradient_height", "surrogate_gradient_width")
        }
    if version == "3.9" and values.get(CUTOFF) == np.inf:
        values |= {CUTOFF: OLD_CUTOFF}
    return values


def read_old_parameter(key: str, read: Callable[[str], float]) -> float:
    """Value of a parameter under its old name; `read` takes names of today."""
    return read("surrogate_gradient_height") if key == "gamma" else 1.0 / read("surrogate_gradient_width")


def _unwrap_scalar(value: Numbers) -> Numbers:
    return float(value) if np.ndim(value) == 0 else value
