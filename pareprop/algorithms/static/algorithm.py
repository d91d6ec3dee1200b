"""`static`: the projections that it fits, its cost, and the numbers that its synapses store."""

from __future__ import annotations

from ..base import Algorithm
from ..request import Request


class Static(Algorithm):
    """Learns nothing, and keeps nothing."""

    name = "static"
    learns = False

    def why_not(self, request: Request) -> str | None:
        """Return why a projection cannot learn by it, None if it can."""
        return "its weights learn" if request.projection.plastic else None
