"""The state of a run, which checkpoints keep: described so that it does not depend on the number of ranks.

Contract
--------
An engine (`Interval`, `Spike`) has these methods, used between iterations only. A `Simulation` has them, too, with
`load_network` and, after the arrays are filled, `load_progress` in place of `load_state`:

`state() -> State`
    Names everything that the next iteration reads and that a newly built engine does not have already. The arrays in
    `neurons` and `synapses` are the live ones, not copies: a checkpoint reads them, a restart fills them in
    place. Arrays that are derived from the model, or overwritten before they are read, do not belong here.
`load_state(numbers, shared)`
    Loads the two small parts, and gives every array that the next `state()` names its right shape. The arrays of
    `state()` are filled right after it, so kernels must hold views of these arrays. `State.load` sets the numbers that
    `state()` counted, and fills its shared arrays.

`refresh_derived()`
    Called last, by engines only: updates everything that is derived from the arrays.

Six kinds of parts, by owner:

`numbers`   the same on all ranks, as JSON: counters, learning rates, time
`shared`    arrays that are the same on all ranks, of any shape: spikes in flight, readouts, their errors
`neurons`   last axis = this rank's recurrent neurons (rings are (length, n)); kept by id of the neuron
`rows`      first axis = the rows (source and delay) of a table; the same on all ranks that have synapses in a row;
            kept with rows for all sources, 0 where no rank has one
`spikes`    logs of spikes in flight, which contain at least the spikes of this rank's neurons; kept as `shared`
`synapses`  one value per synapse of a projection, as it lies in the table; kept in canonical order (target, source,
            delay), by source where ranks own sources, so any number of ranks can load it

The names of a state and their order must not depend on the rank, nor on its neurons and synapses. Weights that never
change are drawn again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import reduce
from operator import getitem

import numpy as np

from ..errors import InputError
from ..network.synapse_table import ProjectionSlice, SynapseTable
from ..parallel.spike_log import SpikeLog
from ..values import AnyValue, Values


@dataclass
class State:
    """Parts of a state by name.

    Attributes
    ----------
    numbers, shared, neurons, rows, synapses, spikes : dict
        Name to part, of the six kinds of the contract above.
    """

    numbers: Values = field(default_factory=dict)
    shared: dict[str, np.ndarray] = field(default_factory=dict)
    neurons: dict[str, np.ndarray] = field(default_factory=dict)
    rows: dict[str, tuple[SynapseTable, np.ndarray]] = field(default_factory=dict)
    synapses: dict[str, tuple[SynapseTable, ProjectionSlice, np.ndarray]] = field(default_factory=dict)
    spikes: dict[str, Callable[[], SpikeLog]] = field(
        default_factory=dict
    )  # return the log of this rank's neurons, by id
    _counted: list[tuple[tuple[str, ...], object, tuple[str, ...]]] = field(default_factory=list)

    def add_numbers(self, owner: object, *attributes: str, path: tuple[str, ...] = ()) -> None:
        """Add attributes of an object to the numbers, in the nested mappings that `path` names."""
        place = reduce(lambda place, key: place.setdefault(key, {}), path, self.numbers)
        place.update({name: getattr(owner, name) for name in attributes})
        self._counted.append((path, owner, attributes))

    def load(self, numbers: Values, shared: dict[str, np.ndarray]) -> None:
        """Set the counted attributes, and fill the shared arrays; `InputError` if one of these has another shape."""
        for path, owner, attributes in self._counted:
            kept = reduce(getitem, path, numbers)
            for name in attributes:
                setattr(owner, name, type(getattr(owner, name))(kept[name]))
        for name, array in self.shared.items():
            if shared[name].shape != array.shape:
                raise InputError(f"'{name}' has shape {shared[name].shape}, {array.shape} in this network")
            array[...] = shared[name]

    def add_synapses(self, kind: str, table: SynapseTable, span: ProjectionSlice, **values: np.ndarray) -> None:
        """Add arrays over all synapses of `table`, or only over the synapses of `span`; `kind` names the table."""
        for name, array in values.items():
            array = np.asarray(array)
            if len(array) != span.last - span.first:
                array = array[span.synapses]
            self.synapses[f"{kind}/{span.projection.name}/{name}"] = table, span, array

    def add_part(self, name: str, numbers: object, shared: dict[str, np.ndarray]) -> None:
        """Add the numbers and shared arrays of a part of the run under its name."""
        self.numbers[name] = numbers
        self.shared |= {f"{name}/{key}": array for key, array in shared.items()}

    @staticmethod
    def get_part(name: str, numbers: Values, shared: dict[str, np.ndarray]) -> tuple[AnyValue, dict[str, np.ndarray]]:
        """Return the numbers and shared arrays of the part with that name, see `add_part`."""
        start = f"{name}/"
        return numbers[name], {key.removeprefix(start): array for key, array in shared.items() if key.startswith(start)}

    def count_bytes(self) -> int:
        """Return the bytes of this rank's arrays."""
        return sum(array.nbytes for _, array in self.iterate_arrays())

    def iterate_arrays(self) -> Iterator[tuple[str, np.ndarray]]:
        """Yield the name of each array of this rank, and the array."""
        yield from self.neurons.items()
        for name, (_, _, array) in self.synapses.items():
            yield name, array
