"""Case files "pareprop-case-4": parameters that learn, and comparison of what a run learns with what they expect.

Compared are values after each step of the optimizers, and the gradients of the first step.
"""

from __future__ import annotations

import numpy as np

from ..engines.interval import Interval
from ..errors import InputError
from ..later import h5py
from ..simulation import digest
from ..simulation.observer import Observer, Outcome, Watched
from ..values import Values
from . import case_fields as fields
from . import delay_cases

MATRICES = ("w_in", "w_rec", "w_out")  # of weights
GRADIENTS = {name: f"gradient_{name.removeprefix('w_')}" for name in MATRICES}


def read(file: h5py.File, n_groups: int) -> list[dict[str, Values]]:
    """Return for each group of neurons its parameters that learn: name to the settings of the optimizer."""
    learns: list[dict[str, Values]] = [{} for _ in range(n_groups)]
    for _, group, name, settings in _entries(file):
        if not 0 <= group < n_groups:
            raise InputError(f"learn: group = {group} must lie in [0, {n_groups - 1}]")
        if name in learns[group]:
            raise InputError(f"learn: '{name}' of group {group} is there twice")
        learns[group][name] = settings
    return learns


def _entries(file: h5py.File) -> list[tuple[str, int, str, Values]]:
    """Return number, group, name and optimizer settings of each parameter that learns."""
    found = []
    for key, settings in fields.numbered(file, "learn"):
        group, name = fields.whole(settings, "group"), str(settings.pop("name", ""))
        del settings["group"]
        found.append((key, group, name, fields.optimizer_of(settings)))
    return found


def read_expected(group: h5py.Group, file: h5py.File, n_samples: int, batch: int) -> dict[str, np.ndarray]:
    """Return the expected arrays, checked, by name; `learned/NAME/...` by parameter, such as "rec0.tau_m"."""
    nodes = fields.group(file, "groups")
    sizes = {int(key): fields.whole(fields.attributes(nodes[key]), "n") for key in nodes}
    shapes: dict[str, tuple[str, tuple[int, ...]]] = {"loss": ("loss", (n_samples,))}
    if file.attrs.get("variant") == "interval":
        shapes |= {gradient: (gradient, file[name].shape) for name, gradient in GRADIENTS.items()}
    shapes |= {name: (name, shape) for name, shape in delay_cases.expected_shapes(file).items()}
    for key, index, name, settings in _entries(file):
        n = 1 if settings.get("shared") else sizes[index]
        for kind, rows in (("final", ()), ("gradient", ()), ("history", (n_samples // batch + 1,))):
            shapes[f"learned/rec{index}.{name}/{kind}"] = f"learned/{key}/{kind}", (*rows, n)
    expected = {}
    for name, (key, shape) in shapes.items():
        expected[name] = fields.dataset(group, key)
        if expected[name].shape != shape or expected[name].dtype.kind not in "iuf":
            found = f"shape {expected[name].shape} of {expected[name].dtype}"
            raise InputError(f"'expected/{key}' has {found}, must be numbers of shape {shape}")
    return expected


def matrices(
    simulation: Watched, shown: dict[int, np.ndarray], shapes: dict[str, tuple[int, ...]]
) -> dict[str, np.ndarray]:
    """Collective: return one number of each synapse as matrices of given shapes on rank 0; NaN without a synapse.

    The number is that of `shown`, an array of a table by `id` of the table; or else the weight.
    """
    model, found = simulation.model, {key: np.full(shape, np.nan) for key, shape in shapes.items()}
    for table, span in digest.tables(simulation.network):
        pre, post = span.projection.pre, span.projection.post
        key = "w_out" if post.role == "readout" else {"input": "w_in", "recurrent": "w_rec"}.get(pre.role)
        for records in digest.synapses(simulation.exchange.comm, table, span, shown.get(id(table))):
            if key in found:
                rows, columns = records["target"] + model.offset(post), records["source"] + model.offset(pre)
                found[key][rows, columns] = records["weight"]
    return found


class Learned(Observer):
    """Keeps what a run learns, in the form of the case files.

    Attributes
    ----------
    found : dict of str to ndarray
        Results of the run by the names of the expected arrays, on rank 0.
    """

    def __init__(self, expected: dict[str, np.ndarray]) -> None:
        self._shapes = {name: expected[gradient].shape for name, gradient in GRADIENTS.items() if gradient in expected}
        starts = ("loss", "learned/", "gradient_", *delay_cases.STARTS)
        self._names = [name for name in expected if name.startswith(starts)]
        self._delays = [name for name in expected if name.startswith(delay_cases.STARTS)]
        self.found: dict[str, np.ndarray] = {}
        self._losses: list[float] = []
        self._learns: dict[str, np.ndarray] = {}
        self._values: dict[str, list[np.ndarray]] = {}

    def start(self, simulation: Watched) -> None:
        """Keep the values at the start."""
        simulation.engine.parameters.kept = []
        self._keep_values(simulation)

    def after_sample(self, simulation: Watched, outcome: Outcome) -> None:
        """Keep the loss, and the gradients of the first batch before synapses move to rows of other delays."""
        self._losses.append(outcome.loss)
        engine, names = simulation.engine, [name for name in self._delays if name.startswith("gradient")]
        if isinstance(engine, Interval) and outcome.index + 1 == simulation.model.optimizer.batch_size:
            sums, divisor = engine.gradient.sums.peek(), engine.gradient.n_collected * engine.gradient.averaged_steps
            gradients = {key: sums[place] / float(divisor) for place, key in enumerate(engine.gradient.arrays)}
            for name, matrix in matrices(simulation, gradients, self._shapes).items():
                self.found[GRADIENTS[name]] = matrix
            self.found |= delay_cases.collect(simulation, names, sums)

    def after_iteration(self, simulation: Watched, iteration: int, loss: float) -> None:
        """Keep the values after a step of the optimizers."""
        self._keep_values(simulation)

    def _keep_values(self, simulation: Watched) -> None:
        parameters, comm = simulation.engine.parameters, simulation.exchange.comm
        for item in parameters.items:
            self._values.setdefault(item.name, []).append(parameters.gather(comm, item.values, item))

    def finish(self, simulation: Watched) -> None:
        """Complete `found`."""
        parameters, comm = simulation.engine.parameters, simulation.exchange.comm
        self.found["loss"] = np.array(self._losses)
        self._learns = delay_cases.find_learned(simulation.model)
        names = [name for name in self._delays if not name.startswith("gradient")]
        self.found |= delay_cases.collect(simulation, names)
        for place, item in enumerate(parameters.items):
            gradient = parameters.kept[0][place] if parameters.kept else np.zeros(0)
            self.found[f"learned/{item.name}/gradient"] = parameters.gather(comm, gradient, item)
            self.found[f"learned/{item.name}/history"] = np.array(self._values[item.name])
            self.found[f"learned/{item.name}/final"] = self._values[item.name][-1]

    def compare(self, expected: dict[str, np.ndarray]) -> dict[str, float]:
        """Return the largest differences of "learned" values, "gradients" and "losses", relative to their size."""
        worst: dict[str, float] = {}
        for name in self._names:
            kind = "losses" if name == "loss" else "gradients" if "gradient" in name else "learned"
            wanted, found, deviation = expected[name], self.found.get(name), np.inf
            if name in self._learns:  # fixed delays have no gradient
                wanted = np.where(self._learns[name], wanted, np.nan)
            known = ~np.isnan(wanted)
            if found is not None and found.shape == wanted.shape and np.array_equal(np.isnan(found), ~known):
                is_delay = name.startswith(("delay", "d_"))  # in steps, so that differences are absolute
                size = 1.0 if is_delay else np.max(np.abs(wanted[known]), initial=1e-300)
                deviation = float(np.max(np.abs(found - wanted)[known], initial=0.0) / size)
            worst[kind] = max(worst.get(kind, 0.0), deviation)
        return worst
