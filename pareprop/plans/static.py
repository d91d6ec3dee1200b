"""Way `static`: fixed weights."""

from __future__ import annotations

from ..kernels import layout
from .request import Request
from .way import Way


class Static(Way):
    """Learns nothing, and keeps nothing."""

    name, mode = "static", layout.STATIC

    def why_not(self, request: Request) -> str | None:
        """Return why a projection cannot learn this way, None if it can."""
        return "its weights learn" if request.projection.plastic else None
