"""Perturbations of the present sample on one rank: silenced or noisy neurons, lost inputs, cut projections."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import ModuleType

import numpy as np

from .. import rng
from ..arrays import allocate_aligned
from ..errors import InputError
from ..kernels import layout
from ..network import perturbations
from ..network.connectivity import Population
from ..network.drawing import find_local_range
from ..network.local import LocalNetwork, draw_cell_values
from ..network.perturbations import Applied, Dropout, Injection, Silence
from ..parallel.partition import find_overlap
from ..parallel.spike_log import SpikeLog

KINDS = {Silence: "silences", Injection: "noises", Dropout: "dropouts"}  # tables of the kernels


class Perturbing:
    """The perturbations of the present sample.

    Attributes
    ----------
    active : list of Applied
        Perturbations of the present sample.
    lost : np.ndarray
        int64 (n_neurons,), spikes of each neuron that were lost in the sample.
    """

    def __init__(self, network: LocalNetwork, kernels: ModuleType) -> None:
        self._network, self._kernels, n = network, kernels, network.neurons[1] - network.neurons[0]
        self.active: list[Applied] = []
        self.lost = np.zeros(n, np.int64)
        self._n_steps, self._stream = 0, ""
        self._held = allocate_aligned(n, network.model.kernels.real)
        self._drawn: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        for item in network.model.perturbations:  # bad drawn values are reported before the run
            if isinstance(item.options, Injection):
                self._drawn[item.name] = self._draw_currents(item, item.options)

    def choose_active(self, phase: str, learn: bool, asked: Sequence[object] | None, stream: str = "") -> None:
        """Set the perturbations of the next samples, of a phase or as `asked`; `InputError` if they are not possible.

        The keys of their draws end with `stream`.
        """
        self._stream = stream
        self.active = perturbations.choose_perturbations(self._network.model.perturbations, phase, asked)
        for item in self.active:
            if item.kind == "cut" and learn:
                raise InputError(f"cut '{item.name}': samples of phase '{phase}' are learned from: nothing can be cut")

    def begin_sample(self, n_steps: int) -> object:
        """Return the perturbations for the kernel, in a sample of `n_steps` steps."""
        self._n_steps = n_steps
        self.lost[:] = 0
        rows: dict[str, list[np.ndarray]] = {name: [] for name in KINDS.values()}
        keys: dict[str, list[np.ndarray]] = {name: [] for name in KINDS.values()}
        values: list[tuple[np.ndarray, np.ndarray]] = []
        probabilities: list[float] = []
        for item in self.active:
            kind = KINDS.get(type(item.options))
            if kind is None or self._find_role(item) != "recurrent":
                continue
            for first, last, number in self._list_ranges(item):
                row = np.zeros(layout.PERTURBED_COLUMNS, np.int64)
                row[layout.PERTURBED_FIRST], row[layout.PERTURBED_LAST] = first, last
                row[layout.PERTURBED_NUMBER] = number
                row[layout.PERTURBED_START], row[layout.PERTURBED_STOP] = item.steps_of(n_steps)
                row[layout.NOISE_PLACE], row[layout.NOISE_STEPS] = sum(len(one) for one, _ in values), item.period
                rows[kind].append(row)
                keys[kind].append(self._make_key(item))
                if isinstance(item.options, Injection):
                    values.append(self._drawn[item.name])
                if isinstance(item.options, Dropout):
                    probabilities.append(item.options.p)
        mean, std = (np.concatenate([np.zeros(0), *(pair[k] for pair in values)]) for k in range(2))
        tables = {name: np.array(rows[name], np.int64).reshape(-1, layout.PERTURBED_COLUMNS) for name in KINDS.values()}
        own_keys = {
            f"{name}_keys": np.array(keys[f"{name}s"], np.uint64).reshape(-1, 2) for name in ("noise", "dropout")
        }
        return self._kernels.Perturbed(
            tables
            | own_keys
            | {
                "refractory": self._held,
                "noise_mean": mean,
                "noise_std": std,
                "lost": self.lost,
                "noise": allocate_aligned(len(mean), self._network.model.kernels.real),
                "dropout_p": np.array(probabilities, float),
            }
        )

    def remove_lost_inputs(self, inputs: SpikeLog, first: int, first_draw: int, n_steps: int) -> SpikeLog:
        """Return spikes of the inputs without the spikes that perturbations remove; `inputs` itself if none does.

        `inputs` has the steps from `first` on of a sample of `n_steps` steps; `first_draw` is the number of the draws
        of the sample's first step.
        """
        acting = [item for item in self.active if type(item.options) in KINDS and self._find_role(item) == "input"]
        if not acting:
            return inputs
        n = len(inputs.ptr) - 1
        steps, ids = inputs.list_spikes(n)
        stays = np.ones(len(ids), bool)
        for item in acting:
            start, stop = item.steps_of(n_steps)
            population = self._find_population(item)
            number = ids.astype(np.int64) - self._network.model.offset(population)
            inside = (steps + first >= start) & (steps + first < stop)
            for low, high in perturbations.list_cell_ranges(item.options, population):
                mine = np.flatnonzero(stays & inside & (number >= low) & (number < high))
                if isinstance(item.options, Dropout):
                    when = steps[mine] + first + first_draw
                    mine = mine[perturbations.draw_lost(self._make_key(item), when, number[mine], item.options.p)]
                stays[mine] = False
        return SpikeLog.from_spikes(steps[stays], ids[stays], n)

    def run(self, first: int, last: int, steps: Callable[[int, int], None]) -> None:
        """Run steps [first, last) by calls of `steps`, split where cuts begin or end, with weights of 0 while cut."""
        for low, high, names in perturbations.find_steps(self.active, first, last, self._n_steps):
            if not names:
                steps(low, high)
                continue
            spans = [
                (table, span.synapses)
                for table in (self._network.incoming, self._network.outgoing)
                for span in table.spans
                if span.projection.name in names
            ]
            kept = [table.weight[place].copy() for table, place in spans]
            try:
                for table, place in spans:
                    table.weight[place] = 0.0
                steps(low, high)
            finally:
                for (table, place), weight in zip(spans, kept, strict=True):
                    table.weight[place] = weight
            self._network.following.copy_weights()  # feedback that the kernel has copied from readout synapses

    def _find_population(self, item: Applied) -> Population:
        return next(one for one in self._network.model.populations if one.name == item.of)

    def _find_role(self, item: Applied) -> str:
        return self._find_population(item).role

    def _make_key(self, item: Applied) -> np.ndarray:
        return rng.make_key(self._network.model.seed, f"{item.name}/{item.kind}{self._stream}")

    def _list_ranges(self, item: Applied) -> list[tuple[int, int, int]]:
        """Return ranges of this rank's neurons that `item` acts on: first, one past the last, the first's number."""
        model, (first, last), ranges = self._network.model, self._network.neurons, []
        population = self._find_population(item)
        offset = model.offset(population)
        for start, stop in perturbations.list_cell_ranges(item.options, population):
            low, high = find_overlap(first, last, offset + start, offset + stop)
            if low < high:
                ranges.append((low - first, high - first, low - offset))
        return ranges

    def _draw_currents(self, item: Applied, options: Injection) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and standard deviation of the current of this rank's neurons."""
        model, population = self._network.model, self._find_population(item)
        low, high = find_local_range(model, population, *self._network.neurons)
        mean, std = (
            draw_cell_values(model, population, f"{item.name}/{name}", getattr(options, name), low, high)
            for name in ("mean", "std")
        )
        perturbations.check_std(f"inject '{item.name}'", std, low)
        return mean, std
