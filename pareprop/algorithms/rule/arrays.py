"""Arrays of `rule`: what learning rules given by equations keep of the latest steps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...arrays import Array, allocate_aligned
from ...kernels import layout
from ...network.local import LocalNetwork
from ...values import Values
from ..base import Struct
from ..plan import NetworkPlan, TablePlan
from .learner import Rules

RULE_FOLD_STEPS = 256  # as `plan.FOLD_STEPS`, while an arrival has not entered the traces yet
RULE_TARGETS = np.asarray(layout.example_targets()).dtype


class SpikeRules(Rules, Struct):
    """Learning rules in the spike variant: values of their steps are kept in rings, which synapses read.

    Attributes
    ----------
    modulator : ndarray
        float64 (n_steps + m + 2,), a ring of what rules read as `M`.
    """

    name, kind = "learners", "Learners"

    def __init__(self, network: LocalNetwork, plan: NetworkPlan, tables: Sequence[TablePlan], n_steps: int) -> None:
        super().__init__(network, 0.0)
        self._m, self._steps = plan.m, RULE_FOLD_STEPS + plan.m + 2
        self.modulator = np.zeros(n_steps + plan.m + 2)
        modes = {(item.learner, item.settings["algorithm"]) for item in plan.plans.values()}
        self._singly = {self.learners[k].at.name for k, mode in modes if k >= 0 and mode != layout.RULE}
        sizes = {
            name: [max(getattr(item.program, key) for item in items) for key in ("n_numbers", "n_entries", "n_map")]
            for name, items in self._sharing.items()
        }
        # (steps, n_numbers, n): all steps that synapses still read, or one
        self._numbers = {
            name: allocate_aligned((self._steps if name in self._singly else 1, numbers, self.n), self._real)
            for name, (numbers, _, _) in sizes.items()
        }
        self._entries = {
            name: allocate_aligned((self._steps, entries, self.n), self._real)
            for name, (_, entries, _) in sizes.items()
        }
        self._ends = {
            name: allocate_aligned((layout.RULE_ENDS, n_map, self.n), self._real)
            for name, (_, _, n_map) in sizes.items()
        }
        self.arrays = self._list_arrays()

    @property
    def _computed(self) -> list[np.ndarray]:
        return [(self._entries if item.program.n_entries else self._numbers)[item.at.name] for item in self.learners]

    def _list_arrays(self) -> list[Array]:
        """List what rules keep; constants, and values of steps that no synapse reads later, are not saved."""
        rings = {"entry": self._entries, "end": self._ends, "number": self._numbers}
        found = [Array(f"{name}_state_{k}", row) for name, rows in self.states.items() for k, row in enumerate(rows)]
        found += [
            Array(f"rule_{name}_{kind}_{k}", ring[:, k], saved=kind != "number" or name in self._singly)
            for kind, of_rules in rings.items()
            for name, ring in of_rules.items()
            for k in range(ring.shape[1])
        ]
        constants = {id(item.constant): item.constant for item in self.learners}.values()
        found += [Array("constants", constant, saved=False) for constant in constants]
        return found + [Array("modulator", self.modulator, "rank")] * bool(self.learners)

    def kernel(self) -> Values:
        """Return the table of rules as the kernel takes it."""
        rows, self._own = [], list[np.ndarray]()  # kept: kernels have their addresses
        for item in self.learners:
            program, places, name = item.program, item.places, item.at.name
            table, shift = places.table.astype(self._real), np.zeros(self.n, self._real)
            shift[item.first : item.last] = places.shift
            if not places.shared:
                table = np.zeros((*places.table.shape[:2], self.n), self._real)
                table[:, :, item.first : item.last] = places.table
            numbers, entries, ends = self._numbers[name], self._entries[name], self._ends[name]
            arrays = {
                "constant": item.constant,
                "state": item.state,
                "number": numbers,
                "own": program.select_synapse_constants(item.constant),
                "present": item.state[program.n_states :],
                "entry": entries,
                "end": ends,
                "table": table,
                "shift": shift,
            }
            composes = program.n_entries > 0
            fields = {key: array.ctypes.data for key, array in arrays.items()} | {
                "first": item.first,
                "last": item.last,
                "lag": self._m if item.at.rule.is_late else 0,
                "step": program.get_address("step", self._real),
                "trace": program.get_address("trace", self._real),
                "row": program.get_address("row", self._real) if composes else 0,
                "n_numbers": numbers.shape[1],
                "n_kept": len(numbers),
                "n_entries": entries.shape[1] if composes else 0,
                "n_ends": ends.shape[1],
                "n_columns": table.shape[1],
                "n_places": len(table),
                "shared": places.shared,
                "block": 1 << int(min(places.shift, default=0)),
            }
            self._own += arrays.values()
            rows.append(tuple(fields[key] for key in RULE_TARGETS.fields or ()))
        learners = np.array(rows, RULE_TARGETS)
        return {"table": learners, "steps": self._steps, "fold_steps": RULE_FOLD_STEPS, "modulator": self.modulator}

    def take_modulator(self, first: int, n_steps: int, given: np.ndarray | None) -> None:
        """Write the modulator `M` of steps [first, first + n_steps) into its ring."""
        places = np.arange(first, first + n_steps) % len(self.modulator)
        self.modulator[places] = 0.0 if given is None else given[:n_steps]
