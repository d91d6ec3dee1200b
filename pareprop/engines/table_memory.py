"""Memory of one table of synapses in the spike variant: traces, state of rows, weights that are shown."""

from __future__ import annotations

from operator import attrgetter
from typing import Any

import numpy as np

from ..algorithms.plan import NetworkPlan, TablePlan
from ..algorithms.request import Request
from ..algorithms.scan.arrays import ComposedMaps
from ..algorithms.structs import TABLE_STRUCTS
from ..arrays import Array
from ..kernels import layout
from ..network import transmission
from ..network.connectivity import Population
from ..network.local import LocalNetwork
from ..network.synapse_table import SynapseTable
from .state import State

NOTHING = np.zeros(0, np.int64)
Rows = Any  # of the kernels, which have a class for each precision


def new_books(n_rows: int) -> np.ndarray:
    """Return the state of rows at which no spike has arrived, int64 (n_rows, BOOK_COLUMNS)."""
    books = np.zeros((n_rows, layout.BOOK_COLUMNS), np.int64)
    books[:, layout.LATEST] = layout.NEVER
    return books


def _place_emitted(table: SynapseTable) -> np.ndarray:
    """Return the index of each block's latest spikes of sources, one part per projection, and their number."""
    sources = table.blocks[:, layout.SOURCES] - table.blocks[:, layout.SOURCE]
    first = np.arange(len(sources)) - table.blocks[:, layout.NUMBER]
    ends = np.cumsum(sources * (table.blocks[:, layout.NUMBER] == 0))
    return np.append((ends - sources)[first], ends[-1:] if len(ends) else 0)


class TableMemory:
    """The synapses of a table with all values that synapses and rows keep to learn.

    Attributes
    ----------
    kind : str
        Name of the table in the kernel and in states.
    rows : Rows
        The kernel's view.
    arrays : list of Array
        Of synapses, without weights, and of rows.
    """

    def __init__(
        self,
        kind: str,
        table: SynapseTable,
        plan: TablePlan,
        network: LocalNetwork,
        of_network: NetworkPlan,
        maps: ComposedMaps,
    ) -> None:
        self.kind, self.table, self.plan = kind, table, plan
        self._network, self._of_network, self._real = network, of_network, network.model.kernels.real
        kernels, learns, n_rows = network.model.kernels.spike, plan.learns, len(table.row_ptr) - 1
        weighs, batched = learns and table.has_transmission, network.model.optimizer.batch_size > 1
        emitted = _place_emitted(table)
        chosen = zip(table.map_blocks(attrgetter("post")), plan.reads_maps, strict=True)
        plan.settings["model"] = table.map_blocks(lambda item: self._get_address(of_network.plans[item.name].request))
        plan.settings["maps"] = [maps.address_of(post) * scans for post, scans in chosen]
        plan.settings["emitted"] = emitted[:-1]
        structs = [struct(table, plan, self._real) for struct in TABLE_STRUCTS]
        of_rows = {
            "books": new_books(n_rows * learns),
            "Z": np.zeros(n_rows * learns),
            "factors": np.ones((n_rows * weighs, of_network.m + 1)),  # of rows without short-term plasticity, too
            "older": np.zeros(n_rows * weighs),
            "emitted": np.full(emitted[-1], layout.NEVER),
        }
        saved = {"books": learns, "Z": learns, "factors": weighs, "older": weighs, "emitted": False}
        self.arrays = [Array(name, values, "row", saved[name]) for name, values in of_rows.items()]
        self.arrays += [item for struct in structs for item in struct.arrays]
        rates = {"first": NOTHING, "since": NOTHING, "values": np.zeros((0, len(table.blocks)))}
        self.rows: Rows = kernels.Rows(
            of_rows
            | {struct.name: getattr(kernels, struct.kind)(struct.kernel()) for struct in structs}
            | {name: getattr(table, name) for name in ("blocks", "row_ptr", "target", "weight")}
            | {
                "arrived": np.zeros(0, self._real),
                "signs": np.zeros(0, np.int8) if batched else table.list_row_signs(),  # bounds hold after batches
                "settings": plan.settings,
                "from_own": table.by_source,
                "rates": kernels.DelayedRates(rates),
                "watched": kernels.Watched({"synapses": np.zeros((0, 3), np.int64), "weights": np.zeros((0, 0))}),
            }
        )
        self.share_constants()

    def _get_address(self, request: Request) -> int:
        """Return the address of the compiled model that traces of a projection follow, 0 for a built-in model."""
        if request.definition is None or request.equations:
            return 0
        through = request.through or "all"
        follows = self._of_network.follows(request.post, through)
        program = self._network.program_of(request.post, through if follows else "all")
        return program.get_address(self._real, "trace" if follows else "step")

    def share_constants(self) -> None:
        """Find which blocks have targets of the same constants; called again after parameters changed."""
        shared = [self._shares_constants(post) for post in self.table.map_blocks(attrgetter("post"))]
        self.plan.settings["shared"] = shared

    def _shares_constants(self, post: Population) -> bool:
        """Return whether all neurons of a population on this rank have the same constants."""
        if (piece := self._network.piece_of.get(post.name)) is None:
            return True
        part = self._network.constants[:, piece.first : piece.last]
        return bool(np.all(part == part[:, :1]))

    # ---- state -------------------------------------------------------------------------------------------------------

    def list_moving(self) -> list[np.ndarray]:
        """Return all arrays that a sample or a flush changes, without weights."""
        changed = [item.values for item in self.arrays if item.saved or item.name == "books"]
        return [*changed, self.table.factors]

    @property
    def of_synapses(self) -> dict[str, np.ndarray]:
        """Values of synapses in addition to weights, (n_synapses,) by name, in the order of the names."""
        return {item.name: item.values for item in sorted(self.arrays, key=attrgetter("name")) if item.per == "synapse"}

    def add_to(self, state: State) -> None:
        """Add weights that learn and all saved arrays of synapses and rows to a state."""
        table, kind = self.table, self.kind
        if table.has_transmission:
            state.rows[f"{kind}/transmission"] = table, table.factors[transmission.LIVE][:, transmission.STATE]
        for item in self.arrays:
            if item.saved and item.per == "row":
                state.rows[f"{kind}/{item.name}"] = table, item.values
        for span in table.spans:
            if span.projection.plastic:
                state.add_synapses(kind, table, span, weight=table.weight, **self.of_synapses)

    @property
    def gradient(self) -> np.ndarray:
        """Gradients that synapses summed in a batch, (n_synapses,); (0,) if none learns."""
        moments = np.asarray(self.rows.optimizing.moments)
        return moments[0] if len(moments) else np.zeros(0)

    # ---- rates -------------------------------------------------------------------------------------------------------

    def set_rates(self, etas: dict[str, float], time: int) -> None:
        """Set learning rates by name of the projection, 0 for others, from step `time` on."""
        blocks, rates = self.table.map_blocks(lambda item: etas.get(item.name, 0.0)), self.rows.rates
        self.plan.settings["eta"] = blocks
        changes = len(rates.since)
        if changes and (changes == 1 or np.any(np.asarray(rates.values)[-1] != blocks)):
            rates.since = np.append(rates.since, time)
            rates.values = np.concatenate([rates.values, [blocks]])
        np.asarray(self.rows.watched.weights)[...] = np.nan

    def delay_rates(self, first: dict[str, float]) -> None:
        """Delay a change of learning rates, see `Spike.delay_rates`."""
        blocks, rates = self.table.map_blocks(lambda item: first.get(item.name, 0.0)), self.rows.rates
        if not len(rates.since):
            rates.first = np.full(len(self.table.row_ptr) - 1, layout.NEVER)
            rates.since, rates.values = np.zeros(1, np.int64), np.zeros((1, len(blocks)))
        np.asarray(rates.values)[0] = blocks

    # ---- weights that are shown --------------------------------------------------------------------------------------

    def watch_weights(self, synapses: np.ndarray, n_steps: int) -> np.ndarray:
        """Record weights of synapses when spikes arrive there, see `Spike.watch_weights`."""
        table, rows = self.table, self.rows
        if len(rows.books) < len(table.row_ptr) - 1:  # rows that do not learn have no state
            rows.books = new_books(len(table.row_ptr) - 1)
            self.arrays.append(Array("books", np.asarray(rows.books), "row", saved=False))
        row = np.searchsorted(table.row_ptr, synapses, side="right") - 1
        block = np.array([table.find_block(k) for k in row.tolist()], np.int64)
        rows.watched.synapses = np.stack([block, row, synapses], axis=1).astype(np.int64)
        rows.watched.weights = watched = np.full((n_steps, len(synapses)), np.nan)
        return watched

    def keep_arrived(self) -> None:
        """Keep the weights of the latest arrivals, if an optimizer steps between arrivals as well."""
        if np.any(self.plan.settings["each_step"]):
            arrived = np.full(len(self.table.weight), np.nan, self._real)
            self.rows.arrived = arrived
            self.arrays.append(Array("arrived", arrived, "synapse"))

    def get_weights(self) -> np.ndarray:
        """Return the weights of the latest arrivals, without later optimizer steps."""
        arrived = np.asarray(self.rows.arrived)
        return np.where(np.isnan(arrived), self.table.weight, arrived) if len(arrived) else self.table.weight

    def set_weights(self, places: np.ndarray, weight: np.ndarray) -> None:
        """Set the weights of the latest arrivals; optimizer steps since then are added to the new values."""
        table, arrived, before = self.table, np.asarray(self.rows.arrived), self.get_weights()[places]
        changed, weight, before = (values[weight != before] for values in (places, weight, before))
        table.weight[changed] = weight + (table.weight[changed] - before)
        if len(arrived):
            arrived[changed] = np.where(np.isnan(arrived[changed]), np.nan, weight)
