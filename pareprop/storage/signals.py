"""Handle the signals that stop a run after a checkpoint."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType

ASKING = (signal.SIGUSR1, signal.SIGTERM, signal.SIGINT)  # signals that stop a run


class Signals:
    """Notes signals that stop the run after a checkpoint; a second Ctrl-C ends this process at once.

    A thread reads the signals from a pipe, because Python's own handlers run only after a compiled call returns, which
    may take a whole sample.

    Attributes
    ----------
    asked : str
        Name of the first signal received, or "".
    """

    def __init__(self) -> None:
        self.asked = ""
        self._pipe, self._written = os.pipe()
        os.set_blocking(self._written, False)
        self._before = {number: signal.signal(number, self._ignore_signal) for number in ASKING}
        self._wakeup = signal.set_wakeup_fd(self._written, warn_on_full_buffer=False)
        threading.Thread(target=self._read, name="signals", daemon=True).start()

    @staticmethod
    def _ignore_signal(number: int, frame: FrameType | None) -> None:
        """Do nothing: `_read` gets the signal from the pipe."""

    def _read(self) -> None:
        while number := os.read(self._pipe, 1):
            if number[0] not in ASKING:
                continue
            if number[0] == signal.SIGINT and self.asked == "SIGINT":
                os.write(2, b"pareprop: interrupted twice, ending at once\n")
                os._exit(130)  # an MPI launcher then ends the other ranks
            self.asked = self.asked or signal.Signals(number[0]).name
        os.close(self._pipe)

    def restore_handlers(self) -> None:
        """Restore the former handlers.

        If a signal stopped the run, SIGUSR1 and SIGTERM are ignored from here on, so that they do not kill the rest of
        the run; an interrupt does.
        """
        signal.set_wakeup_fd(self._wakeup)
        for number, handler in self._before.items():
            if signal.getsignal(number) is not self._ignore_signal:  # somebody else has replaced the handler since
                continue
            signal.signal(number, signal.SIG_IGN if self.asked and number != signal.SIGINT else handler)
        os.close(self._written)  # ends the thread
