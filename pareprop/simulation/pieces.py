"""Run a sample in pieces, as `Simulation.advance` does: the inputs of a step may depend on the steps before.

Contract
--------
Pieces change no bit: a sample in pieces of any lengths, on any number of ranks, has the results of the whole sample.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..engines.base import Engine
from ..engines.sample import BY_STEP, Sample
from ..errors import InputError
from ..network.features import list_features
from ..network.model import Model
from ..network.unsupported import require_supported
from ..parallel.replicas import Replicas
from ..values import Values
from .task import ClosedTask, OpenTask, Task, is_closed, is_open


class Pieces:
    """The present sample of an engine of either variant, piece by piece.

    Attributes
    ----------
    done : int
        Steps of the sample that are over; 0 between samples.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine, self.done = engine, 0
        self._taken: list[Sample] = []

    def run(self, piece: Sample, learn: bool) -> np.ndarray:
        """Collective: run the next steps of the sample; return the readout voltages, float64 (n_steps, n_readouts)."""
        engine, first, last = self._engine, self.done, self.done + len(piece.inputs.ptr) - 1
        if not first:
            engine.begin_pieces(learn)
        if piece.window is None:
            piece = replace(piece, window=np.arange(first, last) >= engine.n - engine.settings.learning_window)
        engine.feed_steps(first, piece)
        engine.run_steps(first, last)
        self.add_piece(piece)
        return engine.show_signal()[first:last].copy()

    def add_piece(self, piece: Sample) -> None:
        """Note a piece that was run."""
        self._taken.append(piece)
        self.done += len(piece.inputs.ptr) - 1

    def join_pieces(self) -> Sample:
        """Return the whole sample after its last step, and be ready for the next one."""
        taken, self._taken, self.done = self._taken, [], 0
        parts: Values = {name: _join_parts(name, [getattr(piece, name) for piece in taken]) for name in BY_STEP}
        return replace(taken[-1], inputs=self._engine.inputs, **parts)


def _join_parts(name: str, parts: list[np.ndarray | None]) -> np.ndarray | None:
    """Return an array of all pieces one after the other; None if no piece has it, `InputError` if some have."""
    known = [part for part in parts if part is not None]
    if known and len(known) < len(parts):
        raise InputError(f"sample: {name} is missing in some pieces, and given in others")
    return np.concatenate(known) if known else None


def require_pieces(task: Task | ClosedTask | OpenTask, model: Model, replicas: Replicas, whole: bool) -> None:
    """Raise `InputError` unless samples of a task may be run in pieces, or be shorter than others if `whole`."""
    if whole and not (is_open(task) and model.eprop.is_online):
        raise InputError("advance: whole=True needs the spike variant, and a task with pieces")
    found = {"advance": "advance()"} | list_features(model)
    if is_closed(task):
        found["episodes"] = f"task {task.__class__.__name__}, which has episodes"
    if replicas.count > 1:
        found["replicas"] = f"replicas = {replicas.count}"
    require_supported("", found)


def require_samples(task: Task | ClosedTask | OpenTask, name: str) -> None:
    """Raise `InputError` for an `OpenTask`, as method `name` of `Simulation` runs whole samples or episodes."""
    if is_open(task):
        here = f"{name}: task {task.__class__.__name__}"
        raise InputError(f"{here} has no samples but pieces of a run, which advance(steps) runs")
