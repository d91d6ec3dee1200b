"""Memory of the spike variant: logs, histories of neurons, books of rows, traces of synapses.

One file, because what is allocated, written to a state and loaded from it are the same arrays.
"""

from __future__ import annotations

from operator import attrgetter
from typing import Any

import numpy as np

from .. import elementary
from ..algorithms.lines.arrays import Lines, line_steps
from ..algorithms.plan import FOLD_STEPS, TRACES, NetworkPlan, TablePlan
from ..algorithms.prefix.arrays import PrefixSums, TDErrors
from ..algorithms.request import Request
from ..algorithms.scan.arrays import NOT_OPEN, POWERS, SPANNED, ComposedMaps
from ..arrays import allocate_aligned
from ..errors import InputError
from ..kernels import layout, optimizers
from ..network import transmission
from ..network.connectivity import Population
from ..network.local import LocalNetwork
from ..network.synapse_table import ProjectionSlice, SynapseTable
from ..parallel.channel import Channel
from ..parallel.spike_log import SpikeLog
from ..values import Values
from .rules import SpikeRules
from .state import State

KINDS = ("incoming", "outgoing", "adaptive")
RINGS = ("psi", "L", "F")  # in the precision of the model; sums are double
ERRORS = ("error_ring", "error_sums")  # histories of all readouts, the same on every rank
NOTHING = np.zeros(0, np.int64)
LATEST = 2 * FOLD_STEPS  # steps of an optimizer of which numbers are kept
PER_ROW = ("Z", "books", "counters", "mark", "factors", "older")
PER_SYNAPSE = ("weight", "Y", "C", "Y2", "h", "zbar", "eps", "kept", "traces")
Rows = Any  # of the kernels of the precision, of which each has a class of its own


def new_books(n_rows: int) -> np.ndarray:
    """Return the bookkeeping of rows at which no spike has arrived, int64 (n_rows, BOOK_COLUMNS)."""
    books = np.zeros((n_rows, layout.BOOK_COLUMNS), np.int64)
    books[:, layout.LATEST] = layout.NEVER
    return books


def _tell_blocks(blocks: list[int]) -> str:
    """Name `SpikeMemory.blocks`."""
    maps, lines = " and composed maps" * (layout.MAP_STEPS in blocks[2:]), blocks[2:] != [layout.MAP_STEPS]
    histories = f" and histories in lines of {blocks[-1]}" if blocks[2:] and lines else ""
    return "blocks of {} and {} steps".format(*blocks) + maps + histories


def _place_emitted(table: SynapseTable) -> np.ndarray:
    """Return where blocks keep the latest spike of each source, once for each projection, and how many there are."""
    sources = table.blocks[:, layout.SOURCES] - table.blocks[:, layout.SOURCE]
    first = np.arange(len(sources)) - table.blocks[:, layout.NUMBER]
    ends = np.cumsum(sources * (table.blocks[:, layout.NUMBER] == 0))
    return np.append((ends - sources)[first], ends[-1:] if len(ends) else 0)


class SpikeMemory:
    """Arrays of one rank in the spike variant, as many and as long as plans and delays require.

    Parameters
    ----------
    network : LocalNetwork
        This rank's share.
    plan : NetworkPlan
        How each projection learns.
    n_steps : int
        Steps of a sample.
    neurons : dict
        Name to array (n_neurons,), the state of the neurons.

    Attributes
    ----------
    tables : tuple of SynapseTable
        Incoming and outgoing synapses, adaptive feedback, as `KINDS`.
    plans : list of TablePlan
        Of the tables.
    rows : list
        The kernel's view of each table.
    names : list of set
        Names of the arrays that the synapses of each table keep beside weights.
    history : dict
        Name to ring (steps, n_neurons), sum (n_neurons,), or ring of errors (steps, n_readouts).
    inputs : SpikeLog
        Spikes of the inputs in the last `steps_kept` steps and in the present sample.
    length : int
        Steps of the logs.
    """

    def __init__(self, network: LocalNetwork, plan: NetworkPlan, n_steps: int, neurons: dict[str, np.ndarray]) -> None:
        self.network, self.plan, self.neurons, model = network, plan, neurons, network.model
        self._kernels, self._real = model.kernels, model.kernels.real
        self.tables = network.incoming, network.outgoing, network.following.adaptive
        self.plans = [plan.of_table(table) for table in self.tables]
        self.steps_kept = self._longest_kept()
        self.length = self.steps_kept + n_steps + plan.m + 2
        self.inputs = SpikeLog(self.length)
        onto = self.plans[0]
        self.sums, self.lines = PrefixSums(network, plan, onto), Lines(network, plan, onto)
        self.maps = ComposedMaps(network, plan, onto)
        self.td_errors = TDErrors(network, plan, onto, self._count_errors())
        self.rules, self._addresses = SpikeRules(network, plan, n_steps), dict[tuple[str, str], int]()
        self.names = [set(plan.numbers) for plan in self.plans]
        self.rows = [self._rows(*given) for given in zip(self.tables, self.plans, self.names, strict=True)]
        self.history = self._histories()

    # ---- building ----------------------------------------------------------------------------------------------------

    def _longest_kept(self) -> int:
        """Return the number of past steps of the logs that samples read."""
        delays = [item.delay_range[1] for item in self.network.model.projections]
        finite = [int(c) for plan in self.plans for c in plan.settings["cutoff"] if c >= 0]
        return max(delays, default=1) + max(finite, default=0) + self.plan.m + 2

    @property
    def blocks(self) -> list[int]:
        """Steps of the blocks of prefix sums of neurons and of errors; of composed maps and lines, if some are."""
        maps, lines = [layout.MAP_STEPS] * self.plan.uses("scan"), [line_steps(self._real)] * self.plan.uses("lines")
        return [self.plan.block, self.plan.readout_block, *maps, *lines]

    def _rows(self, table: SynapseTable, plan: TablePlan, names: set[str]) -> Rows:
        n, n_rows = len(table.weight), len(table.row_ptr) - 1
        learns, maps = plan.learns, plan.uses("scan")
        counted, steps = plan.is_counted, (len(table.blocks) * plan.is_counted, LATEST)
        weighs, batched = learns and table.has_transmission, self.network.model.optimizer.batch_size > 1
        posts = table.by_block(attrgetter("post"))
        settings, emitted = plan.settings, _place_emitted(table)
        settings["model"] = [self._address(item.request) for item in plan.plans]
        settings["maps"] = [
            self.maps.address_of(post) * chosen for post, chosen in zip(posts, plan.chosen("scan"), strict=True)
        ]
        settings["shared"] = [self._share_constants(post) for post in posts]
        settings["emitted"] = emitted[:-1]
        arrays = {name: allocate_aligned(n * (name in names), self._real) for name in PER_SYNAPSE[1:-2]}
        arrays["kept"] = allocate_aligned((len(plan.moments), n), self._real)
        for array in arrays.values():
            array.fill(0.0)  # no page is first touched while the network runs
        books = new_books(n_rows * learns)
        return self._kernels.spike.Rows(
            arrays
            | {
                "blocks": table.blocks,
                "row_ptr": table.row_ptr,
                "target": table.target,
                "weight": table.weight,
                "first": NOTHING,
                "rate_since": NOTHING,
                "rates": np.zeros((0, len(table.blocks))),
                "watch": np.zeros((0, 3), np.int64),
                "watched": np.zeros((0, 0)),
                "arrived": np.zeros(0, self._real),
                "signs": np.zeros(0, np.int8) if batched else table.row_signs(),  # bounds hold after batches
                "settings": settings,
                "books": books,
                "traces": allocate_aligned((len(names & {*TRACES}), n), self._real),
                "Z": np.zeros(n_rows * learns),
                "factors": np.ones((n_rows * weighs, self.plan.m + 1)),  # of rows without short-term plasticity, too
                "older": np.zeros(n_rows * weighs),
                "total": np.zeros(0),
                "emitted": np.full(emitted[-1], layout.NEVER),
                "from_own": table.by_source,
                "counters": np.zeros(n_rows * counted, np.int64),
                "mark": np.full(n_rows * maps, NOT_OPEN),
                "following": np.zeros(n_rows * maps, np.int64),
                "head": np.zeros((len(table.blocks) * maps, layout.MAP_STEPS + 1), np.int64),
                "powers": np.full((len(table.blocks) * maps, POWERS, SPANNED + 1), np.nan),
                "step_known": np.zeros(steps, np.int64),
                "step_numbers": np.zeros((*steps, int(optimizers.STEP_NUMBERS))),
            }
            | plan.idle_steps
        )

    def _address(self, request: Request) -> int:
        """Return the address of the compiled model that traces of a projection follow, 0 for one of the package."""
        if request.definition is None or request.equations:
            return 0
        key = request.post.name, request.through or "all"
        if key not in self._addresses:
            follows = self.plan.follows(request.post, key[1])
            program = self.network.program_of(request.post, key[1] if follows else "all")
            self._addresses[key] = program.address(self._real, "trace" if follows else "step")
        return self._addresses[key]

    def _share_constants(self, post: Population) -> bool:
        """Return whether all neurons of a population on this rank have the same constants."""
        if (piece := self.network.piece_of.get(post.name)) is None:
            return True
        part = self.network.constants[:, piece.first : piece.last]
        return bool(np.all(part == part[:, :1]))

    def share_constants(self) -> None:
        """Find anew which populations share constants, as parameters may have learned."""
        for rows, table in zip(self.rows, self.tables, strict=True):
            shared = [self._share_constants(post) for post in table.by_block(attrgetter("post"))]
            np.asarray(rows.settings)["shared"] = shared

    def _count_errors(self) -> int:
        """Return the steps of which errors are kept: synapses learn of m steps after a sample."""
        looking = self.plans if self.network.model.is_rewarded else self.plans[1:]
        return max(plan.longest_cutoff() for plan in looking) + 2 * self.plan.m + 4

    def _histories(self) -> dict[str, np.ndarray]:
        """Return rings (steps, n) of the latest steps, only as long as the longest cutoff (or folding) requires."""
        m, n = self.plan.m, self.network.neurons[1] - self.network.neurons[0]
        steps = self.plans[0].kept_steps() + m + 2
        beside = self.plan.sets == 2 or self.network.model.is_rewarded
        found = {"f_av": allocate_aligned(n, self._real)}
        for name, length in {"psi": steps, "L": steps, "F": steps if beside else m + 2}.items():
            found[name] = allocate_aligned((length, n), self._real)
        for part in (self.sums, self.lines, self.maps, self.rules, self.td_errors):
            found |= part.arrays
        return found | {name: np.zeros((self._count_errors(), self.network.n_readouts)) for name in ERRORS}

    @property
    def shared(self) -> dict[str, np.ndarray]:
        """What TD errors need and is the same on every rank; empty without them."""
        found = self.td_errors.shared
        return found | {"products": self.maps.products} if found and self.plan.uses("scan") else found

    def kernel_histories(self, kappa_out: np.ndarray) -> Values:
        """Return the rings as the kernel takes them; `kappa_out` (n_readouts,) is the decay of readouts in a step."""
        widths = self.network.widths
        return {name: self.history[name] for name in (*RINGS, *ERRORS)} | {
            "lines": self.lines.array,
            "out_block": self.plan.readout_block,
            "out_powers": elementary.power(kappa_out, np.arange(self.plan.readout_block + 1)[:, None]),
            "found": allocate_aligned((widths["constants"] + 2 * widths["kept"] + 1, layout.CHUNK), self._real),
        }

    def keep_arrived(self) -> None:
        """Keep the weights at latest arrivals where the optimizer steps in each time step, so that they go on alone."""
        for rows, plan, names, table in zip(self.rows, self.plans, self.names, self.tables, strict=True):
            if np.any(plan.settings["each_step"]):
                rows.arrived = np.full(len(table.weight), np.nan, self._real)
                names.add("arrived")

    def traces(self, table: SynapseTable, span: ProjectionSlice) -> list[np.ndarray]:
        """Return what the synapses of a projection keep beside their weights, views of (n_synapses,) each."""
        k = self.tables.index(table)
        return [self.array(k, name)[span.first : span.last] for name in sorted(self.names[k])]

    def array(self, k: int, name: str) -> np.ndarray:
        """Return what the synapses of table k keep under a name, (n_synapses,)."""
        rows, moments = self.rows[k], self.plans[k].moments
        if name in TRACES:
            return np.asarray(rows.traces)[TRACES.index(name)]
        return np.asarray(rows.kept)[moments.index(name)] if name in moments else np.asarray(getattr(rows, name))

    # ---- keeping -----------------------------------------------------------------------------------------------------

    def _list_moving(self) -> list[np.ndarray]:
        """Return all arrays that a sample or a flush changes, but weights."""
        arrays = [*self.neurons.values(), *self.history.values(), *self.shared.values()]
        arrays += [table.factors for table in self.tables]
        for rows in self.rows:
            arrays += [np.asarray(getattr(rows, name)) for name in (*PER_SYNAPSE[1:], *PER_ROW)]
        return arrays

    def snapshot(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return all arrays that a flush changes, each with a copy."""
        weights = [self.network.feedback.weight, *(table.weight for table in self.tables)]
        return [(array, array.copy()) for array in (*weights, *self._list_moving())]

    def list_starts(self, *others: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return all arrays that samples change, but weights, each with its values, or with its row if all are one."""
        arrays = [array for array in (*self._list_moving(), *others) if len(array)]
        return [(array, (array[:1] if np.all(array == array[:1]) else array).copy()) for array in arrays]

    def gradients(self) -> list[np.ndarray]:
        """Return what the synapses of each table added up in a batch, (n_synapses,); nothing where none learns."""
        return [np.asarray(rows.kept)[0] if len(rows.kept) else np.zeros(0) for rows in self.rows]

    def state(self, time: int, base: int, channel: Channel) -> State:
        """Return spikes and errors in flight, histories, sums, traces and moments.

        Parameters
        ----------
        time, base : int
            Steps done, and the step that the logs start with.
        channel : Channel
            Holds the logs of neurons.
        """
        first, last = self.first_step(time) - base, time - base
        inputs, spikes = self.inputs.part(first, last), channel.own.part(first, last)
        errors = {name: self.history[name] for name in ERRORS} | self.shared
        state = State({"blocks": self.blocks, "ways": self.plan.ways})
        state.shared = errors | {"inputs_ids": inputs.ids, "inputs_ptr": inputs.ptr}
        state.spikes["spikes"] = lambda: spikes
        if self.rules.learners:
            state.shared |= {"modulator": self.rules.modulator}
        state.neurons = self.neurons | {name: array for name, array in self.history.items() if name not in ERRORS}
        items = zip(KINDS, self.rows, self.tables, self.plans, self.names, strict=True)
        for k, (kind, rows, table, plan, names) in enumerate(items):
            more = ["counters"] * plan.is_counted + ["mark"] * plan.uses("scan")
            if table.has_transmission:
                state.rows[f"{kind}/transmission"] = table, table.factors[transmission.LIVE][:, transmission.STATE]
                more += ["factors", "older"] * plan.learns
            for name in ("books", "Z", *more) if plan.learns else ():
                state.rows[f"{kind}/{name}"] = table, np.asarray(getattr(rows, name))
            for span in table.spans:
                if span.projection.plastic:
                    arrays = {name: self.array(k, name) for name in ("weight", *sorted(names))}
                    state.add_synapses(kind, table, span, **arrays)
        return state

    def first_step(self, time: int) -> int:
        """Return the first step of the logs that samples from step `time` on still read."""
        return max(time - self.steps_kept, 0)

    def load_logs(self, time: int, numbers: Values, shared: dict[str, np.ndarray], channel: Channel) -> None:
        """Load spikes in flight; the logs then start with `first_step(time)`.

        Parameters
        ----------
        time : int
            Steps done.
        numbers, shared : dict
            As in `State`.
        channel : Channel
            Holds the logs of neurons.

        Raises
        ------
        InputError
            If they don't fit the network, or sums were made in other blocks of steps.
        """
        kept = numbers["ways"]
        for name, way in self.plan.ways.items():
            if kept.get(name) != way:
                asked = (
                    f"learns by '{kept.get(name)}' in the checkpoint, by '{way}' in this run: ask for the same `ways`"
                )
                raise InputError(f"cannot resume: projection '{name}' {asked}")
        if (blocks := numbers["blocks"]) != self.blocks:
            written = f"in {_tell_blocks(blocks)}"
            raise InputError(
                f"cannot resume: the checkpoint was written with prefix sums {written}, this version uses "
                f"{_tell_blocks(self.blocks).removeprefix('blocks of ')}"
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
        """Return places in rings of two lengths of the latest entries that both have, or of leading entries."""
        latest = time
        if name.startswith("end_"):
            latest = max(time - 1, 0) // max(self.plan.block, 1)
        elif name not in ("psi", "L", "F", "history", *ERRORS):
            return np.arange(min(n, other)), np.arange(min(n, other))
        entry = np.arange(max(latest + 1 - min(n, other), 0), latest + 1)
        return entry % n, entry % other

    def history_steps(self) -> int:
        """Return the steps of the longest ring of a neuron, bounded by cutoff or folding."""
        lengths = [len(ring) for name, ring in self.history.items() if ring.ndim == 2 and name not in ERRORS]
        return max(*lengths, len(self.lines.array) * line_steps(self._real))

    def nbytes(self) -> dict[str, int]:
        """Return bytes by kind: traces of synapses, bookkeeping of sources, histories, logs."""
        learning, books = 0, 0
        for rows in self.rows:
            learning += sum(np.asarray(getattr(rows, name)).nbytes for name in PER_SYNAPSE[1:])
            books += sum(
                np.asarray(getattr(rows, name)).nbytes for name in (*PER_ROW, "emitted", "step_numbers", "step_known")
            )
        apart = self.rules.arrays
        histories = [array for name, array in self.history.items() if not name.startswith("end_") and name not in apart]
        return {
            "gradients": learning, "books": books, "log": self.inputs.nbytes,
            "histories": self.rules.nbytes + self.maps.scratch_bytes
            + sum(array.nbytes for array in (*histories, *self.sums.lines.values(), *self.neurons.values())),
        }  # fmt: skip
