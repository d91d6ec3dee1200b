"""Feedback weights that follow the readout weights (symmetric) or learn like them (adaptive).

Every rank repeats the learning of the readout synapses of its own neurons: spikes, errors and rules are the same, so
are the bits, and no weight ever travels. Adaptive feedback starts from its own draws. Bellec et al. 2020, Methods.
"""

from __future__ import annotations

import numpy as np

from ..errors import InputError
from .connectivity import Projection
from .model import Model
from .synapse_table import SynapseTable


class FeedbackMirror:
    """Copies of the readout synapses from this rank's neurons, where a learning-signal connection needs them.

    Parameters
    ----------
    model : Model
        The whole network.
    neurons : tuple of int
        Half-open range of this rank's neurons.
    feedback : SynapseTable
        Learning-signal connections, whose weights are kept up to date.

    Attributes
    ----------
    table : SynapseTable
        Mirrored synapses onto all readouts, with rows for this rank's neurons only.
    index : np.ndarray
        int64 (n,), synapse of `feedback` for each mirrored one, -1 where it has no partner.

    Raises
    ------
    InputError
        If a learning-signal connection has not exactly one projection to follow.
    """

    def __init__(self, model: Model, neurons: tuple[int, int], feedback: SynapseTable) -> None:
        followed = [item for item in model.projections if item.feedback in ("symmetric", "adaptive")]
        partners = [_partners(model, item) for item in followed]
        self.table = SynapseTable(model, [item for group in partners for item in group], 0, model.size("readout"))
        self.table.restrict(*neurons)
        self.feedback = feedback
        self.index = np.full(len(self.table.weight), -1, np.int64)
        for projection, group in zip(followed, partners, strict=True):
            self._link(projection, group)
        self.follow()

    def _link(self, projection: Projection, group: list[Projection]) -> None:
        """Find the partners of one learning-signal connection and start it or its mirror."""
        back = next(span for span in self.feedback.spans if span.projection is projection)
        there = np.concatenate([np.stack((s, t, i)) for s, t, _, i in self.feedback.chunks(back)], axis=1)
        key = there[0] * projection.post.size + there[1]
        order = np.argsort(key)
        if projection.feedback == "symmetric":
            self.feedback.weight[back.first : back.last] = 0.0
        for span in self.table.spans:
            if not any(span.projection is item for item in group):
                continue
            for source, target, _, index in self.table.chunks(span):
                partner_key = target * projection.post.size + source
                place = np.minimum(np.searchsorted(key, partner_key, sorter=order), max(len(key) - 1, 0))
                has_partner = key[order[place]] == partner_key if len(key) else np.zeros(len(partner_key), bool)
                self.index[index[has_partner]] = there[2][order[place[has_partner]]]
                if projection.feedback == "adaptive":
                    self.table.weight[index[has_partner]] = self.feedback.weight[self.index[index[has_partner]]]

    def follow(self) -> None:
        """Copy the mirrored weights into the learning-signal connections."""
        linked = self.index >= 0
        self.feedback.weight[self.index[linked]] = self.table.weight[linked]

    @property
    def nbytes(self) -> int:
        """Bytes of the copies."""
        return self.table.nbytes + self.index.nbytes


def mirror(model: Model, neurons: tuple[int, int], feedback: SynapseTable) -> FeedbackMirror | None:
    """Return the mirror of a rank, None if all feedback is random and fixed; arguments as for `FeedbackMirror`."""
    if all(item.feedback in ("", "random") for item in model.projections):
        return None
    return FeedbackMirror(model, neurons, feedback)


def _partners(model: Model, projection: Projection) -> list[Projection]:
    """Return the readout projections that run the other way.

    Raises
    ------
    InputError
        If there is none, or another learning-signal connection follows the same one.
    """
    pre, post = projection.post, projection.pre
    partners = [item for item in model.projections if item.pre == pre and item.post == post]
    twins = [item for item in model.projections if item.pre == post and item.post == pre and item.feedback != "random"]
    if len(partners) != 1 or len(twins) != 1:
        raise InputError(
            f"projection '{projection.name}': feedback = '{projection.feedback}' needs exactly one projection from "
            f"'{pre.name}' to '{post.name}' and one that follows it, there are {len(partners)} and {len(twins)}"
        )
    return partners
