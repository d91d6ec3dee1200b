"""Synapses that change their rows while a projection learns, with all their values."""

from __future__ import annotations

import numpy as np

from ..network.synapse_table import ProjectionSlice, SynapseTable


class MovingSynapses:
    """The synapses of a projection on this rank; its table has rows for all sources and all possible delays.

    Attributes
    ----------
    moving : list of np.ndarray
        (n_synapses,) of the span each: targets, weights, and arrays that the owner adds, such as moments.
    """

    def __init__(self, table: SynapseTable, span: ProjectionSlice) -> None:
        self.table, self.span = table, span
        self.moving = [table.target[span.synapses], table.weight[span.synapses]]

    @property
    def target(self) -> np.ndarray:
        """Targets of the synapses, (n_synapses,)."""
        return self.moving[0]

    @property
    def weight(self) -> np.ndarray:
        """Weights of the synapses, (n_synapses,)."""
        return self.moving[1]

    @property
    def row_ptr(self) -> np.ndarray:
        """Ends of the rows of the span as in the table, (n_rows + 1,)."""
        return self.table.row_ptr[self.span.rows : self.span.rows + self.span.n_rows + 1]
