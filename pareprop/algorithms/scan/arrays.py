"""Arrays of `scan`: composed maps of steps of this rank's neurons."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...arrays import Array, allocate_aligned, round_to_lines
from ...kernels import layout
from ...network.connectivity import Population
from ...network.local import LocalNetwork
from ...network.synapse_table import SynapseTable
from ...values import Values
from ..base import Struct
from ..plan import NetworkPlan, TablePlan

POWERS = 3  # decays of which powers are kept: alpha, kappa, kappa_reg
SPANNED = layout.GAPS * layout.MAP_STEPS  # steps of the longest composed map
NOT_OPEN = -(1 << 30)  # mark of a row without an open window, see algorithms/scan/maps.pxi
# numbers of a composed map of built-in neurons, by index; in checkpoints after "stretch_"
MAP_NUMBERS = "QB ZZ BZ QZ EZ EE BE QE QX XB XZ XE".split()


def _count_map_numbers(table: TablePlan, second: bool) -> int:
    """Return the numbers of a composed map of a target that is not given by equations, in halves of cache lines.

    Numbers of eps are left out if no neuron adapts; a `second` trace takes another line.
    """
    adapts = any(item.request.adapts for item in table.plans if item.algorithm.name == "scan")
    return 2 * layout.NUMBERS if second else layout.NUMBERS if adapts else layout.FEW_NUMBERS


class ComposedMaps(Struct):
    """What composed maps of steps make of traces, by target."""

    name, kind = "maps", "ComposedMaps"

    def __init__(self, network: LocalNetwork, plan: NetworkPlan, tables: Sequence[TablePlan], n_steps: int) -> None:
        self._network, self._plan, real = network, plan, network.model.kernels.real
        n, second, table = network.neurons[1] - network.neurons[0], plan.second_trace, tables[0]
        posts = {item.request.post.name: item.request.post for item in table.plans}
        wanted = {name: (post, plan.composed(post)) for name, post in posts.items()}
        self._composed = {name: (network.program_of(post), of) for name, (post, of) in wanted.items() if of}
        scanned = [item for item in table.plans if item.algorithm.name == "scan"]
        places = layout.MAPS * any(item.request.definition is None for item in scanned)
        sizes = [program.get_composed_sizes(of) for program, of in self._composed.values() if not of.ahead]
        width = round_to_lines(max((numbers + others * second for numbers, others, *_ in sizes), default=0))
        wholes = [round_to_lines(maps + others) + round_to_lines(entries) for maps, others, entries, *_ in sizes]
        derived = max((size for *_, size, _ in sizes), default=0)
        recorded = max((size + second for *_, size in sizes if size), default=0)
        self._arrays = {
            "number": allocate_aligned((places, n, _count_map_numbers(table, second))),
            "products": np.ones(layout.MAPS),
            "of_models": allocate_aligned((layout.SUFFIX * (width > 0), n, width)),
            "suffix_of_models": allocate_aligned((n, max(wholes, default=0))),
            "apart": allocate_aligned((layout.MAPS * (width > 0), n)),
            "derived": allocate_aligned((layout.MAP_STEPS * (width > 0), derived, n), real),
            "records": allocate_aligned((layout.MAP_STEPS * (recorded > 0), n + round_to_lines(1), recorded)),
        }  # fmt: skip
        self.arrays, self.block_steps = self._list_arrays(), layout.MAP_STEPS * plan.uses("scan")

    def address_of(self, post: Population) -> int:
        """Return the address of what composes the steps of neurons; 0 for readouts, and where no synapse asks."""
        found = self._composed.get(post.name)
        return found[0].get_composed_address(found[1]) if found else 0

    def _list_arrays(self) -> list[Array]:
        """List what composed maps keep; the names are the same on all ranks."""
        number, columns, derived = (self._arrays[name] for name in ("number", "of_models", "derived"))
        names = MAP_NUMBERS[: number.shape[2]] if len(number) else []
        found = [Array(f"stretch_{name}", number[:, :, k], whole=number) for k, name in enumerate(names)]
        if len(columns):
            found += [Array(f"stretch_{k}", columns[:, :, k], whole=columns) for k in range(columns.shape[2])]
            found += [Array("stretch_apart", self._arrays["apart"])]
            found += [Array(f"derived_{k}", derived[:, k], whole=derived) for k in range(derived.shape[1])]
        if self._network.model.is_rewarded and self._plan.uses("scan"):
            found += [Array("products", self._arrays["products"], "rank")]
        return [*found, *(Array(name, self._arrays[name], saved=False) for name in ("records", "suffix_of_models"))]

    def kernel(self) -> Values:
        """Return maps as the kernel takes them."""
        in_use = self._network.neurons[1] > self._network.neurons[0] and self._plan.uses("scan")
        kind = 2 if self._network.model.is_rewarded else self._plan.sets - 1
        addresses = np.array([self.address_of(piece.population) for piece in self._network.pieces], np.int64)
        return self._arrays | {"addresses": addresses, "in_use": in_use, "kind": kind, "recorded": layout.NEVER}


class ScanRows(Struct):
    """What ends of blocks ask of each row of a table, and powers of the decays of its blocks."""

    name, kind = "scan", "ScanRows"

    def __init__(self, table: SynapseTable, plan: TablePlan, real: type) -> None:
        maps = bool(plan.reads_maps.any())
        n_rows, n_blocks = (len(table.row_ptr) - 1) * maps, len(table.blocks) * maps
        self._arrays = {
            "mark": np.full(n_rows, NOT_OPEN),
            "following": np.zeros(n_rows, np.int64),
            "head": np.zeros((n_blocks, layout.MAP_STEPS + 1), np.int64),
            "powers": np.full((n_blocks, POWERS, SPANNED + 1), np.nan),
        }
        self.arrays = [
            Array(name, values, "row", saved=maps and plan.learns and name == "mark")
            for name, values in self._arrays.items()
        ]

    def kernel(self) -> Values:
        """Return marks and lists as the kernel takes them."""
        return self._arrays
