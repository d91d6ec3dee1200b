"""Things that go wrong while a run lasts: numbers that are not finite, and signals that ask for an end."""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import StateError
from .kernels import optimizers as kernel
from .network import Network

if TYPE_CHECKING:
    from .simulation import Simulation

LIMIT = 1e150  # beyond this a number counts as overflown
SOUND = {"d": kernel.sound_double, "f": kernel.sound_single}
ASKING = (signal.SIGUSR1, signal.SIGTERM, signal.SIGINT)


def find_bad(simulation: Simulation) -> StateError | None:
    """Look for a number on this rank that is not finite or beyond `LIMIT`; the error names where it is.

    One pass over what would soon be infected by such a number, and over all weights; only if that fails everything is
    looked through for the place.
    """
    network, engine = simulation.network, simulation.engine
    watched, tables = engine.watched(), (network.incoming, network.outgoing)
    if all(map(_sound, watched.values())) and all(_sound(table.weight) for table in tables):
        return None
    state = engine.saved()
    with np.errstate(over="ignore", invalid="ignore"):
        for name, array in (state.neurons | watched).items():
            for where in np.argwhere(_bad(array))[:1]:
                return StateError(f"{name} = {array[tuple(where)]:g} in {_neuron(network, int(where[-1]))}")
        for name, (table, span, array) in state.synapses.items():
            if name.endswith("/weight"):
                for index in np.flatnonzero(_bad(array))[:1]:
                    return StateError(f"weight = {array[index]:g} in {_synapse(table, span, int(index))}")
    return None


def _sound(array: np.ndarray) -> bool:
    return SOUND[array.dtype.char](LIMIT, array.ravel())


def _bad(array: np.ndarray) -> np.ndarray:
    return ~(np.abs(array) < LIMIT)


def _neuron(network: Network, local: int) -> str:
    index = network.neurons[0] + local
    for population in network.model.of_role("recurrent"):
        first = network.model.offset(population)
        if first <= index < first + population.size:
            return f"neuron {index - first} of population '{population.name}'"
    raise IndexError(index)


def _synapse(table: Any, span: Any, place: int) -> str:
    index = span.first + place
    row = int(np.searchsorted(table.row_ptr, index, side="right")) - 1 - span.rows
    source = int(span.source(np.array(row)))
    target = int(table.target[index]) - span.base + span.targets[0]
    return (
        f"projection '{span.projection.name}', from neuron {source} of '{span.projection.pre.name}' to neuron {target} "
        f"of '{span.projection.post.name}'"
    )


class Signals:
    """Notes signals that ask for a checkpoint and an end; the second interrupt ends this process at once.

    A thread reads them from a pipe: Python's own handlers wait for the end of a compiled call, which may be a whole
    sample.

    Attributes
    ----------
    asked : name of the first signal that came, or ""
    """

    def __init__(self) -> None:
        self.asked = ""
        self._pipe, self._written = os.pipe()
        os.set_blocking(self._written, False)
        self._before = {number: signal.signal(number, lambda *_: None) for number in ASKING}
        self._wakeup = signal.set_wakeup_fd(self._written, warn_on_full_buffer=False)
        threading.Thread(target=self._read, name="signals", daemon=True).start()

    def _read(self) -> None:
        while number := os.read(self._pipe, 1):
            if number[0] not in ASKING:
                continue
            if number[0] == signal.SIGINT and self.asked == "SIGINT":
                os.write(2, b"pareprop: interrupted twice, ending at once\n")
                os._exit(130)  # an MPI launcher then ends the other ranks
            self.asked = self.asked or signal.Signals(number[0]).name
        os.close(self._pipe)

    def release(self) -> None:
        """Give the signals back to whom they belonged."""
        signal.set_wakeup_fd(self._wakeup)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        os.close(self._written)  # ends the thread
