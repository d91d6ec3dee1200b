"""The digest: SHA-256 over spikes and weights in an order that does not depend on the number of ranks."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Iterator

import numpy as np

from ..engines.parameters import Parameters
from ..network.local import LocalNetwork
from ..network.synapse_table import ProjectionSlice, SynapseTable
from ..parallel import collectives
from ..parallel.mpi import Comm
from ..parallel.spike_log import SpikeLog

CHUNK = 1_000_000  # rank 0 holds about this many synapses at a time
SYNAPSE = np.dtype([("target", "<i8"), ("source", "<i8"), ("delay", "<i4"), ("weight", "<f8")])


def list_tables(network: LocalNetwork) -> list[tuple[SynapseTable, ProjectionSlice]]:
    """Return each projection that carries spikes with its synapse table, in the model's order of definition."""
    spans = {span.projection.name: (table, span) for table in network.list_tables().values() for span in table.spans}
    return [spans[projection.name] for projection in network.model.projections]


def hash_synapses(
    comm: Comm,
    table: SynapseTable,
    span: ProjectionSlice,
    weight: np.ndarray | None = None,
    first: int = 0,
) -> Iterator[np.ndarray]:
    """Collective: yield on rank 0 the synapses of a projection as records of `SYNAPSE`, by target, source, delay.

    `weight` is float64, in place of the table's, such as weights with pending updates applied, or learned delays;
    `weight[0]` belongs to synapse `first` of the table.
    """
    own = _hash_own_synapses(table, span, table.weight if weight is None else weight, first)
    return _merge_parts(comm, span, own) if table.by_source else collectives.send_items_to_root(comm, own)


def _merge_parts(comm: Comm, span: ProjectionSlice, own: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """Collective: yield on rank 0 the synapses of a table by source, sorted by target, some targets at a time."""
    records = np.concatenate([np.empty(0, SYNAPSE), *own])
    low, high = span.targets
    n_groups = max(1, min(high - low, collectives.sum_over_ranks(comm, len(records)) // CHUNK))
    cuts = np.searchsorted(records["target"], [low + (high - low) * k // n_groups for k in range(n_groups + 1)])
    for first, last in itertools.pairwise(cuts):
        parts = list(collectives.send_items_to_root(comm, [records[first:last]]))
        if parts:
            merged = np.concatenate(parts)
            yield merged[np.argsort(merged["target"], kind="stable")]  # ranks come in the order of their sources


def _hash_own_synapses(
    table: SynapseTable, span: ProjectionSlice, weight: np.ndarray, first: int
) -> Iterator[np.ndarray]:
    """Yield this rank's synapses of a projection as records, in the order of the table."""
    for source, target, delay, index in table.yield_chunks(span):
        records = np.empty(len(index), SYNAPSE)
        records["source"], records["target"], records["delay"] = source, target, delay
        records["weight"] = weight[index - first]
        yield records


class Digest:
    """SHA-256 over the recurrent spikes of all samples, then the final weights of all projections.

    Samples are chained: the state after one is the SHA-256 of the state before and the sample's bytes. So a state is
    32 bytes, which a checkpoint can keep.

    Attributes
    ----------
    state : bytes
        32 bytes.
    """

    def __init__(self, state: bytes = bytes(32)) -> None:
        self.state = state

    def add_spikes(self, log: SpikeLog, n_steps: int) -> None:
        """Add one sample's spikes: the number of each step, then the ids by step and id."""
        counts = (log.ptr[1 : n_steps + 1] - log.ptr[:n_steps]).astype("<u4")
        self._chain_hashes([counts, log.ids[: log.ptr[n_steps]].astype("<u4", copy=False)])

    def add_weights(
        self,
        comm: Comm,
        network: LocalNetwork,
        shown: dict[int, np.ndarray] | None = None,
        delays: dict[str, np.ndarray] | None = None,
    ) -> None:
        """Collective: add the weights, and delays that learn.

        `shown` maps id(table) to weights in place of the table's; `delays` maps names of projections to the delays of
        their synapses, see `Engine.show_delays`.
        """
        real = delays or {}
        self._chain_hashes(
            records
            for table, span in list_tables(network)
            for records in itertools.chain(
                hash_synapses(comm, table, span, (shown or {}).get(id(table))),
                hash_synapses(comm, table, span, real[span.projection.name], span.first)
                if span.projection.name in real
                else (),
            )
        )

    def add_parameters(self, comm: Comm, parameters: Parameters) -> None:
        """Collective: add the values of parameters that learned; nothing without any."""
        found = [parameters.gather_values(comm, item.values, item) for item in parameters.items]
        if found:
            self._chain_hashes(found)

    def update(self, other: Digest) -> None:
        """Chain the state of another digest."""
        self._chain_hashes([np.frombuffer(other.state, np.uint8)])

    def _chain_hashes(self, parts: Iterable[np.ndarray]) -> None:
        chain = hashlib.sha256(self.state)
        for part in parts:
            chain.update(np.ascontiguousarray(part).view(np.uint8).data)
        self.state = chain.digest()

    def hexdigest(self) -> str:
        """Return the digest so far, 64 hexadecimal digits."""
        return self.state.hex()
