"""When `static` fits, what it costs, what its synapses keep."""

from __future__ import annotations

from ...kernels import layout
from ..base import Way
from ..request import Request


class Static(Way):
    """Learns nothing, and keeps nothing."""

    name, mode = "static", layout.STATIC

    def why_not(self, request: Request) -> str | None:
        """Return why a projection cannot learn this way, None if it can."""
        return "its weights learn" if request.projection.plastic else None
