"""All figures of a run: a new one is entered in `FIGURES`, by the name of its files. The report embeds them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .. import files
from . import (
    classification,
    delays,
    dynamics,
    episode,
    events,
    evidence,
    learned,
    loss,
    own_activity,
    populations,
    style,
    trajectory,
    weights,
)
from .loss import draw_seeds

__all__ = ["FIGURES", "draw_figures", "draw_seeds"]

FIGURES = {
    "loss": loss.draw_figure,
    "returns": loss.returns_figure,
    "episode": episode.draw_figure,
    "paths": episode.draw_paths,
    "dynamics_first": lambda file: dynamics.draw_figure(file, "first"),
    "dynamics_last": lambda file: dynamics.draw_figure(file, "last"),
    "weights": weights.draw_figure,
    "delays": delays.draw_figure,
    "learned": learned.draw_figure,
    "trajectory": trajectory.draw_figure,
    "evidence": evidence.draw_figure,
    "own_activity": own_activity.draw_figure,
    "populations": populations.draw_figure,
    "rates": populations.rates_figure,
    "events": events.draw_figure,
    "classification": classification.draw_figure,
}


def draw_figures(directory: str | Path, results: str = "results.h5", pdf: bool = True) -> list[Path]:
    """Draw all figures of a run into its directory, as PNG, and with `pdf` also as PDF; return the files.

    Older figures are replaced. Figures of data that were not recorded are skipped.
    """
    folder = Path(directory)
    with files.open_results(folder / results) as file, np.errstate(all="ignore"):
        figures = {stem: make(file) for stem, make in FIGURES.items()}
    return [path for stem, figure in figures.items() if figure for path in style.save(figure, folder, stem, pdf)]
