"""`STRUCTS` and `TABLE_STRUCTS`: arrays of all algorithms on a rank, and arrays that they share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..arrays import Array, allocate_aligned
from ..kernels import layout, optimizers
from ..network.local import LocalNetwork
from ..network.synapse_table import SynapseTable
from ..values import Values
from .base import Struct, Structs
from .choice import ALGORITHMS
from .plan import FOLD_STEPS, TRACES, NetworkPlan, TablePlan
from .readout.arrays import count_errors

LATEST = 2 * FOLD_STEPS  # steps of an optimizer of which numbers are kept


class Histories(Struct):
    """Rings of the latest steps of neurons and readouts, only as long as the longest cutoff (or folding) requires."""

    name, kind = "histories", "Histories"

    def __init__(self, network: LocalNetwork, plan: NetworkPlan, tables: Sequence[TablePlan], n_steps: int) -> None:
        m, n, steps = plan.m, network.neurons[1] - network.neurons[0], tables[0].kept_steps() + plan.m + 2
        self._network, real = network, network.model.kernels.real
        lengths = {"psi": steps, "L": steps, "F": steps if plan.second_trace else m + 2}
        self._rings = {name: allocate_aligned((length, n), real) for name, length in lengths.items()}
        errors = self._rings["error_ring"] = np.zeros((count_errors(network, plan, tables), network.n_readouts))
        self.arrays = [Array(name, self._rings[name], ring="steps") for name in lengths]
        self.arrays += [Array("error_ring", errors, "rank", ring="steps"), Array("f_av", allocate_aligned(n, real))]

    def kernel(self) -> Values:
        """Return the rings, and scratch for targets of generated models."""
        widths, real = self._network.widths, self._network.model.kernels.real
        shape = widths["constants"] + 2 * widths["kept"] + 1, layout.CHUNK
        return self._rings | {"found": allocate_aligned(shape, real)}


class Traces(Struct):
    """Traces of synapses: those that the algorithms of a table's blocks name, see `Algorithm.numbers`."""

    name, kind = "traces", "Traces"

    def __init__(self, table: SynapseTable, plan: TablePlan, real: type) -> None:
        n, names = len(table.weight), plan.numbers
        self._arrays = {
            name: allocate_aligned(n * (name in names), real) for name in ("C", "Y", "Y2", "h", "zbar", "eps")
        }
        of_model = [name for name in TRACES if name in names]
        self._arrays["of_model"] = allocate_aligned((len(of_model), n), real)
        for values in self._arrays.values():
            values.fill(0.0)  # no page is first touched while the network runs
        self.arrays = [Array(name, self._arrays[name], "synapse") for name in self._arrays.keys() & names]
        self.arrays += [Array(*item, "synapse") for item in zip(of_model, self._arrays["of_model"], strict=True)]

    def kernel(self) -> Values:
        """Return traces as the kernel takes them."""
        return self._arrays


class Optimizing(Struct):
    """What synapses and rows of a table keep for the steps of their optimizers."""

    name, kind = "optimizing", "Optimizing"

    def __init__(self, table: SynapseTable, plan: TablePlan, real: type) -> None:
        n, steps = len(table.weight), (len(table.blocks) * plan.is_counted, LATEST)
        self.moments = allocate_aligned((len(plan.moments), n), real)
        self.moments.fill(0.0)
        self._arrays = {
            "counters": np.zeros((len(table.row_ptr) - 1) * plan.is_counted, np.int64),
            "step_known": np.zeros(steps, np.int64),
            "step_numbers": np.zeros((*steps, int(optimizers.STEP_NUMBERS))),
        }
        self._idle = plan.idle_steps
        self.arrays = [Array(*item, "synapse") for item in zip(plan.moments, self.moments, strict=True)]
        self.arrays += [
            Array(name, values, "row", saved=plan.learns and plan.is_counted and name == "counters")
            for name, values in self._arrays.items()
        ]

    def kernel(self) -> Values:
        """Return moments, counters and tables as the kernel takes them."""
        return self._arrays | self._idle | {"moments": self.moments, "total": np.zeros(0)}


def _list_structs(attribute: str, *shared: type) -> Structs:
    """Return classes of shared structs, then those that algorithms name, each once."""
    return tuple(dict.fromkeys([*shared, *(item for of in ALGORITHMS.values() for item in getattr(of, attribute))]))


STRUCTS = _list_structs("structs", Histories)  # of neurons and readouts
TABLE_STRUCTS = _list_structs("table_structs", Traces, Optimizing)  # of the synapses and rows of a table
