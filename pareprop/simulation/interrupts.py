"""KeyboardInterrupt that waits for the end of an iteration."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType


class Deferred:
    """Context that raises a `KeyboardInterrupt` at the end of its block; a second one is raised at once.

    Replaces Python's own handler alone: a handler that a script has set stays in place.

    Attributes
    ----------
    asked : bool
        Whether an interrupt came.
    """

    def __init__(self) -> None:
        self.asked = False
        self._replaced = False

    def __enter__(self) -> Deferred:
        main = threading.current_thread() is threading.main_thread()
        if main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._note_signal)
            self._replaced = True
        return self

    def __exit__(self, kind: type | None, value: BaseException | None, trace: TracebackType | None) -> None:
        if self._replaced:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        if self.asked and kind is None:
            raise KeyboardInterrupt

    def _note_signal(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
