"""Figures of a run, drawn from its result file alone.

`draw` makes every figure for which the file has data; `draw_seeds` compares runs that differ in their seed.

May import the core utilities alone.

Where to add:

- a figure: a module with `draw_figure(file)`, listed in `FIGURES` of `figures`; the report embeds its PNG file;
- a chart of the report: drawing in `charts`, data in `runs/report.py`, place in `runs/report.html`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .figures import FIGURES, draw_figures
    from .loss import draw_seeds

__all__ = ["FIGURES", "draw_figures", "draw_seeds"]


def __getattr__(name: str) -> object:
    """Import the figures when they are needed: matplotlib takes longer to load than most commands take."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import figures

    return getattr(figures, name)
