"""Figures of a run, drawn from its result file alone.

`draw` makes every figure the file has data for; `draw_seeds` compares runs that differ in their seed.

May import the ground alone: figures need nothing but a result file.

Where to add
------------
A figure: a module with `figure(file)`, listed in `FIGURES` of `figures.py`; the report embeds the PNG files of all
figures of a run. A chart of the report alone: `charts`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .figures import FIGURES, draw
    from .loss import draw_seeds

__all__ = ["FIGURES", "draw", "draw_seeds"]


def __getattr__(name: str) -> object:
    """Import the figures when they are needed: matplotlib takes longer to load than most commands take."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import figures

    return getattr(figures, name)
