"""Progress bar on rank 0: iteration, loss or return, time left; silent unless on a terminal or in a notebook."""

from __future__ import annotations

import sys

from ..simulation.observer import Observer, Watched
from ..values import Foreign
from .phases import Phases


class Progress(Observer):
    """A progress bar on standard error, for `n_iterations` in all.

    `phases` is an observer before this one, with scores of the training; None: the bar shows the loss alone.
    """

    everywhere = False
    movable = True

    def __init__(self, n_iterations: int, phases: Phases | None = None) -> None:
        self._n, self._phases = n_iterations, phases
        self._bar: Foreign = None  # of tqdm, where it is shown

    def start(self, simulation: Watched) -> None:
        """Open the bar."""
        shown = sys.stderr.isatty() or "ipykernel" in sys.modules
        if shown and simulation.exchange.rank == 0:
            from tqdm.auto import tqdm  # with a tenth of all modules: not on other ranks

            self._bar = tqdm(total=self._n, initial=simulation.iteration, unit="iteration", mininterval=0.2)

    def after_iteration(self, simulation: Watched, iteration: int, loss: float) -> None:
        """Advance the bar."""
        if self._bar is None:
            return
        moves = {"moves": sum(counts[-1] for counts in simulation.moves.values())} if simulation.moves else {}
        shown = self._phases.summarize_iteration(simulation) if self._phases else {"loss": loss}
        self._bar.set_postfix({name: f"{value:.4g}" for name, value in shown.items()}, **moves, refresh=False)
        self._bar.update()

    def finish(self, simulation: Watched) -> None:
        """Close the bar."""
        if self._bar is not None:
            self._bar.close()
