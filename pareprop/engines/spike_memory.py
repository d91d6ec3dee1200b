"""Memory of the spike variant: logs, histories of neurons, structs of algorithms, tables of synapses."""

from __future__ import annotations

import numpy as np

from ..algorithms.plan import NetworkPlan
from ..algorithms.prefix.arrays import TDErrors
from ..algorithms.rule.arrays import SpikeRules
from ..algorithms.scan.arrays import ComposedMaps
from ..algorithms.structs import STRUCTS
from ..arrays import Array, count_array_bytes
from ..errors import InputError
from ..kernels import layout
from ..network.local import LocalNetwork
from ..network.synapse_table import SynapseTable
from ..parallel.channel import Channel
from ..parallel.spike_log import SpikeLog
from ..values import Later, Values
from .cells import Cells
from .state import State
from .table_memory import TableMemory

KINDS = ("incoming", "outgoing", "adaptive")
ERRORS = ("error_ring", "error_sums")  # histories of all readouts, the same on every rank


def _describe_blocks(blocks: list[int]) -> str:
    """Describe `SpikeMemory.blocks`."""
    maps, lines = " and composed maps" * (layout.MAP_STEPS in blocks[2:]), blocks[2:] != [layout.MAP_STEPS]
    histories = f" and histories in lines of {blocks[-1]}" if blocks[2:] and lines else ""
    return "blocks of {} and {} steps".format(*blocks) + maps + histories


class SpikeMemory:
    """Arrays of one rank in the spike variant, as many and as long as plans and delays require.

    Attributes
    ----------
    structs : dict
        Name to `Struct`, arrays of algorithms.
    tables : list of TableMemory
        Of incoming and outgoing synapses, and of adaptive feedback, as `KINDS`.
    arrays : list of Array
        Of neurons and of the rank.
    history : dict
        Saved arrays by name, without the states of neurons: rings, sums, and errors of readouts.
    inputs : SpikeLog
        Spikes of the inputs in the last `steps_kept` steps and in the present sample.
    length : int
        Steps of the logs.
    """

    def __init__(self, network: LocalNetwork, plan: NetworkPlan, n_steps: int, cells: Cells) -> None:
        self.network, self.plan, self._real = network, plan, network.model.kernels.real
        tables = network.incoming, network.outgoing, network.following.adaptive
        self._plans = [plan.of_table(table) for table in tables]
        self.steps_kept = self._longest_kept()
        self.length = self.steps_kept + n_steps + plan.m + 2
        self.inputs = SpikeLog(self.length)
        self.structs: dict[str, Later] = {kind.name: kind(network, plan, self._plans, n_steps) for kind in STRUCTS}
        maps = self.structs[ComposedMaps.name]
        self.tables = [
            TableMemory(*given, network, plan, maps) for given in zip(KINDS, tables, self._plans, strict=True)
        ]
        own = [item for struct in self.structs.values() for item in struct.arrays]
        self.history = {item.name: item.values for item in own if item.saved}
        cells.allocate_history(len(self.history["psi"]) + 1)
        states = cells.state.items()
        self.arrays = [Array(*item, ring="steps" if item[0] == "history" else "") for item in states] + own

    @property
    def rules(self) -> SpikeRules:
        """Learning rules given by equations."""
        return self.structs[SpikeRules.name]

    @property
    def td_errors(self) -> TDErrors:
        """TD errors of the latest steps."""
        return self.structs[TDErrors.name]

    def _longest_kept(self) -> int:
        """Return the number of past steps of the logs that samples read."""
        delays = [item.delay_range[1] for item in self.network.model.projections]
        finite = [int(c) for plan in self._plans for c in plan.settings["cutoff"] if c >= 0]
        return max(delays, default=1) + max(finite, default=0) + self.plan.m + 2

    @property
    def blocks(self) -> list[int]:
        """Steps of the blocks of prefix sums of neurons and of errors; of composed maps and lines, if some are."""
        of_structs = [item.block_steps for item in self.structs.values() if item.block_steps]
        return [self.plan.block, self.plan.readout_block, *of_structs]

    def find_table(self, table: SynapseTable) -> TableMemory | None:
        """Return the memory of the synapses of a table, None for feedback that does not learn."""
        return next((item for item in self.tables if item.table is table), None)

    def share_constants(self) -> None:
        """Find again which populations share constants, after parameters changed."""
        for table in self.tables:
            table.share_constants()

    # ---- keeping -----------------------------------------------------------------------------------------------------

    def _list_moving(self) -> list[np.ndarray]:
        """Return all arrays that a sample or a flush changes, without weights."""
        own = [item.values for item in self.arrays if item.saved]
        return [*own, *(array for table in self.tables for array in table.list_moving())]

    def copy_arrays(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return all arrays that a flush changes, each with a copy."""
        weights = [self.network.feedback.weight, *(item.table.weight for item in self.tables)]
        return [(array, array.copy()) for array in (*weights, *self._list_moving())]

    def list_starts(self, *others: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return all arrays that samples change, without weights, each with a copy, of one row if all are equal."""
        arrays = [array for array in (*self._list_moving(), *others) if len(array)]
        return [(array, (array[:1] if np.all(array == array[:1]) else array).copy()) for array in arrays]

    def state(self, time: int, base: int, channel: Channel) -> State:
        """Return spikes and errors in flight, histories, sums, traces and moments, after `time` steps.

        The logs start with step `base`; `channel` holds the logs of neurons.
        """
        first, last = self.first_step(time) - base, time - base
        inputs, spikes = self.inputs.slice_steps(first, last), channel.own_spikes.slice_steps(first, last)
        state = State({"blocks": self.blocks, "algorithms": self.plan.algorithms})
        for item in self.arrays:
            if item.saved:
                {"neuron": state.neurons, "rank": state.shared}[item.per][item.name] = item.values
        state.shared |= {"inputs_ids": inputs.ids, "inputs_ptr": inputs.ptr}
        state.spikes["spikes"] = lambda: spikes
        for table in self.tables:
            table.add_to(state)
        return state

    def first_step(self, time: int) -> int:
        """Return the first step of the logs that samples from step `time` on still read."""
        return max(time - self.steps_kept, 0)

    def load_logs(self, time: int, numbers: Values, shared: dict[str, np.ndarray], channel: Channel) -> None:
        """Load spikes in flight; the logs then start with `first_step(time)`.

        `InputError` if the logs don't fit the network, or the blocks of prefix sums differ.
        """
        kept = numbers["algorithms"]
        for name, chosen in self.plan.algorithms.items():
            if kept.get(name) != chosen:
                asked = (
                    f"learns by '{kept.get(name)}' in the checkpoint, by '{chosen}' in this run: "
                    "ask for the same `algorithms`"
                )
                raise InputError(f"cannot resume: projection '{name}' {asked}")
        if (blocks := numbers["blocks"]) != self.blocks:
            written = f"in {_describe_blocks(blocks)}"
            raise InputError(
                f"cannot resume: the checkpoint was written with prefix sums {written}, this version uses "
                f"{_describe_blocks(self.blocks).removeprefix('blocks of ')}"
            )
        steps = time - self.first_step(time)
        sizes = {"inputs": self.network.n_inputs, "spikes": self.network.n_recurrent}
        for name, log in (("inputs", self.inputs), ("spikes", channel)):
            ids, ptr = shared[f"{name}_ids"], shared[f"{name}_ptr"]
            sound = ptr.shape == (steps + 1,) and ptr[0] == 0 and np.all(np.diff(ptr) >= 0) and ptr[-1] == len(ids)
            if not sound or (len(ids) and int(ids.max()) >= sizes[name]):
                raise InputError(
                    f"the spikes in flight ({name}) are not those of {steps} steps of {sizes[name]} sources"
                )
            log.load(SpikeLog.from_arrays(ids, ptr), steps)

    def find_kept(self, name: str, n: int, other: int, time: int) -> tuple[np.ndarray, np.ndarray]:
        """Return indices into rings of two lengths of the latest entries that both have, or of leading entries."""
        ring = next((item.ring for item in self.arrays if item.name == name), "")
        if not ring:
            return np.arange(min(n, other)), np.arange(min(n, other))
        latest = time if ring == "steps" else max(time - 1, 0) // max(self.plan.block, 1)
        entry = np.arange(max(latest + 1 - min(n, other), 0), latest + 1)
        return entry % n, entry % other

    def history_steps(self) -> int:
        """Return the steps of the longest ring of a neuron, bounded by cutoff or folding."""
        lengths = [len(ring) for name, ring in self.history.items() if ring.ndim == 2 and name not in ERRORS]
        return max(*lengths, *(item.n_steps for item in self.structs.values()))

    def count_bytes(self) -> dict[str, int]:
        """Return bytes by kind: traces of synapses, state of rows, histories, logs."""
        of_tables = [item for table in self.tables for item in table.arrays]
        return {
            "gradients": count_array_bytes(item for item in of_tables if item.per == "synapse"),
            "books": count_array_bytes(item for item in of_tables if item.per == "row"),
            "histories": count_array_bytes(self.arrays),
            "log": self.inputs.nbytes,
        }
