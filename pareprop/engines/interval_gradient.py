"""Learning of the interval variant after a sample: a backward pass, gradients by all arrivals, optimizer steps."""

from __future__ import annotations

import itertools
import math
from functools import partial

import numpy as np

from ..arrays import allocate_aligned
from ..kernels import layout
from ..network.learning import reads_signals
from ..network.local import LocalNetwork
from ..network.synapse_table import SynapseTable
from ..parallel.channel import Channel
from ..parallel.exact_sums import find_norm
from ..parallel.mpi import Comm
from ..parallel.replicas import Replicas, TreeSum
from ..parallel.spike_log import SegmentedLog, SpikeLog
from ..timers import Timers
from .arrivals import ArrivalAccumulator, Arrivals
from .backward_pass import BackwardPass
from .cells import Cells
from .learning_signal import Taught
from .parameters import Parameters
from .plasticity import list_plastic, share_rates
from .rule_kernels import IntervalRules, Kinds
from .state import State

EMPTY = SpikeLog(0, 0)


class IntervalGradient:
    """Gradients of the synapses of one rank, summed over the samples of a batch, and the optimizers that use them.

    If all optimizers are linear in the gradient and step after every sample, `step_optimizers` adds gradients straight
    to the weights, and no gradient takes memory; `keep_gradients` undoes this. `averaged_steps` divides the gradients
    of rules that read learning signals.

    Attributes
    ----------
    plastic, adaptive : list of Plastic
        Plastic projections of this rank, and adaptive feedback, by the readout projections that it learns with.
    sums : TreeSum
        Sums of the gradients of all tables, then of delays, then of parameters.
    n_collected : int
        Samples of the batch so far, including the samples of other groups of ranks.
    first : dict or None
        After `keep_gradients`: the gradients of the first batch as optimizers take them, by `id` of the table.
    norm : float
        With `max_norm`: norm of the gradient of the latest batch, before it was scaled down; NaN before the first one.
    delays : list of LearnedDelays
        Delays that learn.
    kappa : float
        As of `BackwardPass`.

    Raises
    ------
    InputError
        If local readouts have another time constant than the other readouts, or a weight is out of its bounds.
    """

    def __init__(
        self,
        network: LocalNetwork,
        averaged_steps: int,
        n_steps: int,
        cells: Cells,
        parameters: Parameters,
        timers: Timers,
    ) -> None:
        self.network, self.averaged_steps, self.timers = network, averaged_steps, timers
        model = network.model
        self._real = model.kernels.real
        self.backward = BackwardPass(network, cells)
        self.kappa = self.backward.kappa
        tables = (network.incoming, network.outgoing)
        self._tables = (*tables, network.following.adaptive)
        rules = (model.optimizer, *(item.optimizer for item in model.projections if item.optimizer))
        stay = all(item.learn_delay is None for item in model.projections)  # gradients of delays need the old weights
        self._direct = stay and all(rule.accumulates and rule.batch_size == 1 for rule in rules)
        self._direct = self._direct and model.optimizer.max_norm is None
        self._pending: list[Arrivals] = []  # with which `step_optimizers` changes the weights
        self.adaptive = list_plastic(network.following.adaptive, model.optimizer, seed=model.seed)
        self.plastic = [item for table in tables for item in list_plastic(table, model.optimizer, seed=model.seed)]
        share_rates(self.adaptive, self.plastic)
        self.delays = [item.delays for item in self.plastic if item.delays]
        ends = np.cumsum([0, *(len(item.delay) for item in self.delays)])
        self._parts = [slice(*pair) for pair in itertools.pairwise(ends.tolist())]  # of the array of delays
        places = {item.name: item.span.first - part.start for item, part in zip(self.delays, self._parts, strict=True)}
        self._accumulator = ArrivalAccumulator(model.kernels.interval, self._tables, places, timers)
        self.parameters = parameters
        self.n_collected = 0
        self.first: dict[int, np.ndarray] | None = None
        self.norm = math.nan
        self.rules = IntervalRules(network, self.kappa, n_steps, cells.history)
        self.kinds = Kinds(network, self.rules, cells, n_steps)
        averages = {item.name: reads_signals(item.span.projection) for item in self.plastic}
        self._divisors = {name: averaged_steps if averaged else 1 for name, averaged in averages.items()}
        self._kernels = [self.backward.bind_neurons(kind.neurons, kind.is_filtered) for kind in self.kinds.eprop]
        self._allocate_arrays()

    def _allocate_arrays(self) -> None:
        sizes = [0 if self._direct else len(table.weight) for table in self._tables]
        sizes.append(sum(len(item.delay) for item in self.delays))
        self.sums = TreeSum([*(allocate_aligned(size, self._real) for size in sizes), *self.parameters.gradients])

    def keep_gradients(self) -> None:
        """Keep gradients in separate arrays even if `step_optimizers` needs none, for scripts and tests."""
        self._direct, self.first = False, {}
        self._allocate_arrays()

    @property
    def arrays(self) -> dict[int, np.ndarray]:
        """Arrays that samples add to, by `id` of the table: the gradient so far if all samples are in one leaf."""
        return {id(table): array for table, array in zip(self._tables, self.sums.arrays, strict=False)}

    @property
    def of_delays(self) -> list[np.ndarray]:
        """As `arrays`, for each of `delays`: twice the derivatives per unit of weight."""
        return self.split_delays(self.sums.arrays)

    def split_delays(self, sums: list[np.ndarray]) -> list[np.ndarray]:
        """Return the parts of `sums` that belong to each of `delays`."""
        return [sums[len(self._tables)][part] for part in self._parts]

    @property
    def _of_parameters(self) -> list[np.ndarray]:
        return self.sums.arrays[len(self._tables) + 1 :]

    def add_to(self, state: State) -> None:
        """Add the gradients of the batch so far to a state, if they are kept in separate arrays."""
        for item in () if self._direct else self.plastic:
            state.add_synapses("gradient", item.table, item.span, gradient=self.arrays[id(item.table)])

    def clear_gradients(self) -> None:
        """Drop the gradients of the batch so far."""
        self.sums.clear_sums()
        self._pending = []

    @property
    def is_pending(self) -> bool:
        """Whether a gradient waits for `step_optimizers` that the next sample would overwrite."""
        return self._direct and self.n_collected > 0

    def collect_gradients(
        self,
        inputs: SpikeLog,
        channel: Channel,
        psi: np.ndarray,
        taught: Taught,
        starts: bool,
        is_reset: bool,
        origin: int,
    ) -> None:
        """Add the gradient of one interval to the batch.

        Parameters
        ----------
        inputs : SpikeLog
            Spikes of the inputs in the interval.
        channel : Channel
            Holds the spikes of the interval that this rank received, and those its neurons emitted.
        psi : np.ndarray
            (n_steps, n_ports, n_neurons), surrogate gradients of the steps that were run, in the first port;
            overwritten by the coefficients of arrivals at each port. If delays learn, a step of zeros follows.
        taught : Taught
            Errors and other signals that synapses learn from.
        starts, is_reset : bool
            Whether the run starts with this interval, and whether neurons started from rest.
        origin : int
            Step of the run with which the interval began.
        """
        self.n_collected += 1
        self._accumulator.origin = origin
        network, n_steps = self.network, len(psi)
        if not psi.shape[2]:  # no neurons, so no synapses
            return

        with self.timers.time_phase("sweep"):
            self.run_rules(psi, taught)
            parts: list[Arrivals] = []
            incoming = partial(Arrivals, network.incoming, inputs=inputs, received=channel.received_spikes)
            for kind, kernel in zip(self.kinds.eprop, self._kernels, strict=True):
                own = kind.coefficients[:n_steps]
                own[:, 0] = psi[:, 0]
                parts.append(incoming(kind.blocks, coefficients=self.backward.run(taught, own, kernel)))
            for blocks, B in zip(self.kinds.of_rules, self.rules.coefficients, strict=True):
                parts.append(incoming(blocks, coefficients=B[:n_steps, None]))
            coefficients = psi
            if self.parameters.items or self.delays or np.any(self.kinds.plain[:, layout.PLASTIC]):
                coefficients = self.backward.run(taught, psi)
            self.parameters.collect_gradients(self.backward.adjoint, self._of_parameters, starts, is_reset)
            if self.delays:  # arrivals in step 0 are lost; non-finite values stay, so that checks find them
                coefficients[0] *= 0.0
            parts.append(incoming(self.kinds.plain, coefficients=coefficients))
            fired, swept = SegmentedLog([channel.own_spikes]), self.backward.run_readouts(taught.error)
            for table in (table for table in self._tables[1:] if len(table.blocks)):
                blocks = self.kinds.onto_readouts if table is network.outgoing else table.blocks
                parts.append(Arrivals(table, blocks, EMPTY, fired, swept[:, None], same_step=True))
        if self._direct:
            self._pending = parts
        else:
            arrays = self.arrays
            self._accumulator.add_gradients(
                self.sums.arrays[len(self._tables)],
                parts,
                lambda table: (np.ones(len(table.blocks)), arrays[id(table)]),
            )

    def run_rules(self, psi: np.ndarray, taught: Taught) -> None:
        """Compute the coefficients of rules, and advance their states; arguments as of `collect_gradients`."""
        if self.rules.learners and psi.shape[2]:
            self.rules.run(psi, taught)

    def step_optimizers(self, replicas: Replicas, comm: Comm) -> None:
        """Collective: step all optimizers with the mean gradient of the batch; do nothing if no sample learned.

        `replicas` are the groups of ranks that ran samples of the batch, `comm` the ranks of this group.
        """
        if not self.n_collected:
            return
        divisors = {name: float(self.n_collected) * steps for name, steps in self._divisors.items()}
        for item in (*self.plastic, *self.adaptive):
            item.begin_step()
        if self._direct:
            rates = {item.name: item.rate for item in self.plastic}
            self._accumulator.add_gradients(
                self.sums.arrays[len(self._tables)],
                self._pending,
                lambda table: (_list_rates(table, rates, divisors), table.weight),
            )
            self._pending = []
        with self.timers.time_phase("communicate"):
            self.sums.sum_over_groups(replicas)
        arrays = self.arrays
        if self.first == {}:
            self.first = {key: array.copy() for key, array in arrays.items()}
            for item in self.plastic:
                self.first[id(item.table)][item.span.synapses] /= divisors[item.name]
        if (max_norm := self.network.model.optimizer.max_norm) is not None:
            self.norm = self._find_norm(comm, divisors)
            by = max(1.0, self.norm / max_norm) if math.isfinite(self.norm) else 1.0
            divisors = {name: divisor * by for name, divisor in divisors.items()}
        with self.timers.time_phase("optimize"):
            for delays, gradient in zip(self.delays, self.of_delays, strict=True):  # times the old weights
                gradient *= delays.weight
            for item in (*self.plastic, *self.adaptive):
                if self._direct:
                    item.clip_weights()
                else:
                    item.step(arrays[id(item.table)], divisors[item.name])
            divisor = float(self.n_collected * self.averaged_steps)
            for delays, gradient in zip(self.delays, self.of_delays, strict=True):
                delays.step(gradient, 2.0 * divisor)
            self.network.following.copy_weights()
            self.parameters.step(self._of_parameters, divisor, comm)
        self.n_collected = 0

    def _find_norm(self, comm: Comm, divisors: dict[str, float]) -> float:
        """Collective: return the norm of the gradient of all weights; a non-finite gradient ends the run."""
        arrays = self.arrays
        parts = [(arrays[id(item.table)][item.span.synapses], divisors[item.name]) for item in self.plastic]
        return find_norm(comm, parts)

    @property
    def nbytes(self) -> int:
        """Bytes of gradients and of the optimizers' state."""
        return self.sums.nbytes + self.parameters.nbytes + sum(item.nbytes for item in self.plastic)


def _list_rates(table: SynapseTable, etas: dict[str, float], divisors: dict[str, float]) -> np.ndarray:
    """Return minus the learning rate of each block of `table` over its projection's divisor; float64 (n_blocks,)."""
    return np.array(table.map_blocks(lambda item: -etas.get(item.name, 0.0) / divisors.get(item.name, 1.0)), float)
