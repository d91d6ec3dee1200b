"""Weights and spikes in canonical order, the same on any number of ranks; SHA-256 over them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from . import collective
from .network import Network
from .spikelog import Log
from .synapses import Span, Synapses

SYNAPSE = np.dtype([("target", "<i8"), ("source", "<i8"), ("delay", "<i4"), ("weight", "<f8")])


def tables(network: Network) -> list[tuple[Synapses, Span]]:
    """All projections of spikes with their tables, in the model's order of definition."""
    spans = {
        span.projection.name: (table, span) for table in network.tables().values() for span in table.spans
    }  # fmt: skip
    return [spans[projection.name] for projection in network.model.projections]


def synapses(comm: Any, table: Synapses, span: Span, weight: np.ndarray | None = None) -> Iterator[np.ndarray]:
    """Collective: yield on rank 0 the synapses of a projection as records of `SYNAPSE`, by target, source, delay.

    Parameters
    ----------
    weight : float64, in place of the table's, such as weights with pending updates applied
    """
    return collective.to_root(comm, _own(table, span, table.weight if weight is None else weight))


def _own(table: Synapses, span: Span, weight: np.ndarray) -> Iterator[np.ndarray]:
    for source, target, delay, index in table.chunks(span):
        records = np.empty(len(index), SYNAPSE)
        records["source"], records["target"], records["delay"] = source, target, delay
        records["weight"] = weight[index]
        yield records


class Digest:
    """SHA-256 over the recurrent spikes of all samples, then the final weights of all projections."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def add_spikes(self, log: Log, n_steps: int) -> None:
        """Add one sample's spikes: the number of each step, then the ids by step and id."""
        self._hash.update(np.diff(log.ptr[: n_steps + 1]).astype("<u4").tobytes())
        self._hash.update(log.ids[: log.ptr[n_steps]].astype("<u4", copy=False).tobytes())

    def add_weights(self, comm: Any, network: Network, shown: dict[int, np.ndarray] | None = None) -> None:
        """Collective: add the weights; `shown` maps id(table) to weights in place of the table's."""
        for table, span in tables(network):
            for records in synapses(comm, table, span, (shown or {}).get(id(table))):
                self._hash.update(records.tobytes())

    def update(self, other: Digest) -> None:
        """Add another digest."""
        self._hash.update(other._hash.digest())

    def hexdigest(self) -> str:
        """The digest so far, 64 hexadecimal digits."""
        return self._hash.hexdigest()
