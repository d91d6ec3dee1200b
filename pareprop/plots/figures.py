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

__all__ = ["FIGURES", "draw", "draw_seeds"]

FIGURES = {
    "loss": loss.figure,
    "returns": loss.returns_figure,
    "episode": episode.figure,
    "paths": episode.paths,
    "dynamics_first": lambda file: dynamics.figure(file, "first"),
    "dynamics_last": lambda file: dynamics.figure(file, "last"),
    "weights": weights.figure,
    "delays": delays.figure,
    "learned": learned.figure,
    "trajectory": trajectory.figure,
    "evidence": evidence.figure,
    "own_activity": own_activity.figure,
    "populations": populations.figure,
    "rates": populations.rates_figure,
    "events": events.figure,
    "classification": classification.figure,
}


def draw(directory: str | Path, results: str = "results.h5", pdf: bool = True) -> list[Path]:
    """Draw all figures of a run beside its results, as PNG, and as PDF too; older figures are replaced.

    Parameters
    ----------
    directory : path
        The run directory.
    results : str
        Name of the result file in it.
    pdf : bool
        Whether to write PDF files beside the PNG files.

    Returns
    -------
    list of Path
        The files written. Figures of data that were not recorded are left out.

    Raises
    ------
    InputError
        When the result file is missing, unreadable, not the result of a run, or contradicts itself.
    """
    folder = Path(directory)
    with files.open_results(folder / results) as file, np.errstate(all="ignore"):
        figures = {stem: make(file) for stem, make in FIGURES.items()}
    return [path for stem, figure in figures.items() if figure for path in style.save(figure, folder, stem, pdf)]
