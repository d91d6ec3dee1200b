"""Guard the state of a script's loss: tests leave it as it is; warn if a loss changes without `state()`."""

from __future__ import annotations

import copy
import inspect
import pickle
from functools import cached_property
from types import FunctionType

import numpy as np

from ..kernels import checksum
from ..network.losses import FunctionLoss, Loss, name_loss
from ..values import Values
from .notices import Notices

WATCHED = 10  # training samples that are checked for changes: each costs two passes over the state of a loss


class LossState:
    """Guards the state of a loss while samples run; warns if it changes without `state` and `load_state`."""

    def __init__(self, loss: Loss, notices: Notices) -> None:
        self._loss, self._notices, self._to_look = loss, notices, WATCHED
        self._kept: Values | None = None
        self._marks: dict[str, int] | None = None

    def watch_changes(self, trains: bool) -> LossState:
        """Return a context for a sample: without training it restores the state, with training it finds changes."""
        self._kept = copy.deepcopy(self._loss.state()) if self._loss.has_state and not trains else None
        looks = trains and self._to_look > 0 and not self._loss.has_state
        self._marks, self._to_look = _mark_attributes(self._loss) if looks else None, self._to_look - looks
        return self

    def __enter__(self) -> None:
        pass

    def __exit__(self, *failure: object) -> None:
        if self._kept is not None:
            self._loss.load_state(self._kept)
        elif self._marks is not None:
            now = _mark_attributes(self._loss)
            self._warn_of_change([name for name in now if now[name] != self._marks.get(name)])

    def _warn_of_change(self, changed: list[str]) -> None:
        if changed:
            what = f"loss {name_loss(self._loss)}: {', '.join(changed)} change{'s' * (len(changed) == 1)}"
            why = "as samples are learned from; no checkpoint keeps that, and tests change it"
            self._notices.report_notice("loss state", f"{what} {why}: give it state() and load_state()")


def _mark_attributes(loss: Loss) -> dict[str, int]:
    """Return a checksum of each attribute of a loss, by name; of a function also of the variables that it encloses."""
    own = loss.function if isinstance(loss, FunctionLoss) else loss
    held = dict(getattr(own, "__dict__", {}))
    if own is loss:
        held.pop("_context", None)  # `Loss.set_context` sets it
    if isinstance(own, FunctionType):
        held |= inspect.getclosurevars(own).nonlocals
    derived = (name for name in held if isinstance(getattr(type(own), name, None), cached_property))
    return {name: _hash_value(value) for name, value in held.items() if name not in set(derived)}


def _hash_value(value: object) -> int:
    """Return a checksum of a value; 0 if it cannot be pickled, as an open file."""
    buffers: list[pickle.PickleBuffer] = []
    try:
        content = pickle.dumps(value, 5, buffer_callback=buffers.append)
    except Exception:  # each kind that cannot be pickled raises another one
        return 0
    parts: list[bytes | memoryview] = [content, *(buffer.raw() for buffer in buffers)]
    return hash(tuple(checksum.xxh64(np.frombuffer(part, np.uint8)) for part in parts))
