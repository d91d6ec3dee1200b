"""Feedback weights that equal the readout weights (symmetric) or learn like them (adaptive).

The readout synapses of a neuron and the feedback onto it are on the neuron's rank, so ranks exchange no weights.
Adaptive feedback starts from separate draws, and learns from the same spikes and errors. Bellec et al. 2020, Methods.
"""

from __future__ import annotations

import numpy as np

from ..arrays import find_places, number_synapses
from ..errors import InputError
from .connectivity import Projection
from .model import Model
from .synapse_table import ProjectionSlice, SynapseTable


class TiedFeedback:
    """Feedback weights of this rank's neurons that copy their readout synapses, or learn in the same way.

    `neurons` is the half-open range of this rank's neurons, `feedback` holds learning-signal connections, whose weights
    are kept up to date, `outgoing` the readout synapses of this rank's neurons. Raises `InputError` unless each
    learning-signal connection has exactly one partner projection.

    Attributes
    ----------
    adaptive : SynapseTable
        Weights of adaptive feedback, laid out like the readout synapses with which they learn.
    symmetric_place, adaptive_place : np.ndarray
        int64 (n,), index in `feedback` of the partner of each synapse of `outgoing` and of `adaptive`, -1 without one;
        (0,) if there is no feedback of that kind.
    """

    def __init__(self, model: Model, neurons: tuple[int, int], feedback: SynapseTable, outgoing: SynapseTable) -> None:
        partners = {
            kind: [(item, _find_partner(model, item)) for item in model.projections if item.feedback == kind]
            for kind in ("symmetric", "adaptive")
        }
        learning = [partner for _, partner in partners["adaptive"]]
        self.adaptive = SynapseTable(model, learning, 0, model.size("readout"), sources=neurons)
        self.feedback, self._outgoing = feedback, outgoing
        self.symmetric_place, self.adaptive_place = (
            np.full(len(table.weight) if partner else 0, -1, np.int64)
            for table, partner in zip((outgoing, self.adaptive), partners.values(), strict=True)
        )
        for projection, partner in partners["symmetric"]:
            span = self._link_synapses(projection, partner, outgoing, self.symmetric_place)
            feedback.weight[span.synapses] = 0.0
        for projection, partner in partners["adaptive"]:
            self._link_synapses(projection, partner, self.adaptive, self.adaptive_place)
        linked = self.adaptive_place >= 0
        self.adaptive.weight[linked] = feedback.weight[self.adaptive_place[linked]]
        self.copy_weights()

    def _link_synapses(
        self, projection: Projection, partner: Projection, table: SynapseTable, place: np.ndarray
    ) -> ProjectionSlice:
        """Write the indices of a learning-signal connection's synapses into `place`; return its slice of `feedback`."""
        back = next(span for span in self.feedback.spans if span.projection is projection)
        source, target, _, places = self.feedback.list_columns(back)
        shape = projection.post.size, 1
        key = number_synapses(target, source, 0, shape)
        order = np.argsort(key)
        (span,) = (span for span in table.spans if span.projection is partner)
        for source, target, _, index in table.yield_chunks(span):
            found = find_places(number_synapses(source, target, 0, shape), key[order])
            place[index[found >= 0]] = places[order[found[found >= 0]]]
        return back

    def copy_weights(self) -> None:
        """Copy readout weights, or weights of adaptive feedback, into the learning-signal connections."""
        for table, place in ((self._outgoing, self.symmetric_place), (self.adaptive, self.adaptive_place)):
            if not len(place):
                continue
            linked = np.flatnonzero(place >= 0)
            self.feedback.weight[place[linked]] = table.weight[linked]

    @property
    def nbytes(self) -> int:
        """Bytes of adaptive weights and of indices."""
        return self.adaptive.nbytes + self.symmetric_place.nbytes + self.adaptive_place.nbytes


def _find_partner(model: Model, projection: Projection) -> Projection:
    """Return the readout projection between the same populations in the other direction.

    Raises `InputError` if there is none, or another learning-signal connection has the same partner.
    """
    pre, post = projection.post, projection.pre
    partners = [item for item in model.projections if item.pre == pre and item.post == post]
    twins = [item for item in model.projections if item.pre == post and item.post == pre and item.feedback != "random"]
    if len(partners) != 1 or len(twins) != 1:
        raise InputError(
            f"projection '{projection.name}': feedback = '{projection.feedback}' needs exactly one projection from "
            f"'{pre.name}' to '{post.name}' and one that follows it, there are {len(partners)} and {len(twins)}"
        )
    return partners[0]
