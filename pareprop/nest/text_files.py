"""Recordings in text with NEST's columns: in a file for each virtual process, or on the screen."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..values import Given
from .devices.base import Recorder
from .recorders import EventList, Meter
from .settings import to_ms, to_steps

HEAD = "# NEST version: 3.10.0\n# RecordingBackendASCII version: 2\n"


class TextFiles:
    """The files of one recorder with `record_to` "ascii"; with "screen" it has none, and its events are printed.

    The files are one for each of `n_processes` virtual processes.

    Attributes
    ----------
    n : int
        Number of events in all files.
    """

    def __init__(self, device: Recorder, n_processes: int) -> None:
        self._device, self._n_processes, self._dt = device, n_processes, device.dt
        self._open: list[Path] = []
        self._prints = device.get("record_to") == "screen"
        self.n = 0

    def list_paths(self, params: Given) -> list[Path]:
        """Return the paths of the files, or their paths after the next stretch; `params` are kernel parameters."""
        if self._prints:
            return []
        label, extension = map(self._device.get, ("label", "file_extension"))
        name = f"{params['data_prefix']}{label or self._device.model}-{self._device.node}"
        width = len(str(self._n_processes - 1))
        return [
            Path(params["data_path"]) / f"{name}-{process:0{width}d}.{extension}"
            for process in range(self._n_processes)
        ]

    def describe_location(self, params: Given) -> str:
        """Where the events are, for messages."""
        return "on the screen" if self._prints else f"in {self.list_paths(params)[0]}"

    def create_files(self, recorder: Meter | EventList, params: Given) -> None:
        """Make new files for a recorder; `params` are kernel parameters.

        Raises an `InputError` if a file exists that must not be overwritten.
        """
        self._open = self.list_paths(params)
        for path in self._open:
            if path.exists() and not params["overwrite_files"]:
                raise InputError(
                    f"{path} exists already: set nest.overwrite_files to True, or change nest.data_path, "
                    "nest.data_prefix or the label of the recorder"
                )
        times = ("time_step", "time_offset") if self._in_steps else ("time_ms",)
        for path in self._open:
            path.write_text(HEAD + "\t".join(["sender", *times, *_list_columns(recorder.list_events(0))]) + "\n")

    def move_events(self, recorder: Meter | EventList, clock: int, writes: bool) -> None:
        """Remove the events that a recorder shows at `clock`; the rank that `writes` writes them to the files."""
        self.n += recorder.count_events(clock)
        if writes:
            self._write(recorder.list_events(clock))
        recorder.clear_events(clock)

    def _write(self, events: Mapping[str, np.ndarray]) -> None:
        number = f"%.{max(int(self._device.get('precision')), 0)}f"
        owner = events["targets" if "targets" in events else "senders"] % self._n_processes
        columns, kinds = [events["senders"], events["times"]], ["%d", number]
        if self._in_steps:
            steps = to_steps(events["times"], self._dt)
            columns[1:] = [steps, to_ms(steps, self._dt) - events["times"]]
            kinds[1:] = ["%d", number]
        for key in _list_columns(events):
            columns.append(events[key])
            kinds.append("%d" if events[key].dtype.kind == "i" else number)
        line = "\t".join(kinds) + "\n"
        if self._prints:
            print("".join(line % row for row in zip(*(column.tolist() for column in columns), strict=True)), end="")
        for process, path in enumerate(self._open):
            mine = [column[owner == process].tolist() for column in columns]
            with path.open("a") as file:
                file.writelines(line % row for row in zip(*mine, strict=True))

    @property
    def _in_steps(self) -> bool:
        return bool(self._device.get("time_in_steps"))


def _list_columns(events: Mapping[str, np.ndarray]) -> list[str]:
    """Names of the columns of events after senders and times, in NEST's order: whole numbers last."""
    keys = [key for key in events if key not in ("senders", "times")]
    return sorted(keys, key=lambda key: events[key].dtype.kind == "i")
