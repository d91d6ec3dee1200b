"""Traces of parameters that learn (spike variant): one for each neuron and parameter, never reset.

An error is caused by the step of neurons that lies the delay to the readouts earlier: traces wait for it that long.
The gradient of a sample comes from the errors of the sample, which are all known after its last step.
"""

from __future__ import annotations

import numpy as np

from ..arrays import allocate_aligned
from ..network.local import LocalNetwork
from ..values import Values
from .parameters import Parameters
from .state import State

KEPT = ("trace", "ebar", "ereg")


class ParameterTraces:
    """Traces of this rank's neurons, and the gradients of the present sample.

    `d_out` are the steps from neurons to readouts; the learning signal of step u arrives before step u + m + 1. The
    last axis of `arrays`, by name for the kernel, is the neurons.
    """

    def __init__(self, network: LocalNetwork, parameters: Parameters, d_out: int, m: int) -> None:
        self._parameters, self._d_out = parameters, d_out
        n, real = network.neurons[1] - network.neurons[0], network.model.kernels.real
        n_slots = max((len(item.learn) for item in network.model.of_role("recurrent")), default=0)
        shapes = {"trace": (n_slots, network.widths["traces"], n), "gradient": (n_slots, n), "e": (n,), "signal": (n,)}
        shapes |= dict.fromkeys(("ebar", "ereg"), (m + 2, n_slots, n))  # learned from m + 1 steps later
        kinds = {name: float if name == "gradient" else real for name in shapes}
        self.arrays = {name: allocate_aligned(shape, kinds[name]) for name, shape in shapes.items()}
        self.reset_traces()

    def reset_traces(self) -> None:
        """Set traces to their values at the start of the run."""
        for name in KEPT:
            self.arrays[name].fill(0.0)
        for item, slot, mine in self._list_slots():
            start = self._parameters.get_slopes(item.population)[slot]
            self.arrays["trace"][slot, : len(start), mine] = start

    def _list_slots(self) -> list[tuple]:
        """Return learned parameters of this rank's neurons, each with its slot and the slice of these neurons."""
        items = self._parameters.items
        return [
            (items[place], slot, items[place].mine)
            for _, places in self._parameters.pieces
            for slot, place in enumerate(places)
        ]

    def for_kernel(self) -> Values:
        """Return the arguments of the kernel."""
        rows, kappas = [], []
        for piece, places in self._parameters.pieces:
            params = piece.population.params
            rows += [(piece.index, slot, piece.program.n_ports + slot) for slot in range(len(places))]
            kappas += [(params.kappa, params.kappa_reg)] * len(places)
        items, filters = np.array(rows, np.int64).reshape(-1, 3), np.array(kappas, float).reshape(-1, 2)
        return self.arrays | {"items": items, "kappas": filters, "d_out": self._d_out}

    def clear_gradients(self) -> None:
        """Clear the gradients at the start of a sample."""
        self.arrays["gradient"].fill(0.0)

    def list_gradients(self) -> list[np.ndarray]:
        """Return the gradients of the present sample, as `Parameters.step` takes them."""
        found = [np.zeros(0) for _ in self._parameters.items]
        for item, slot, mine in self._list_slots():
            found[self._parameters.items.index(item)] = self.arrays["gradient"][slot, mine]
        return found

    def add_to(self, state: State) -> None:
        """Add the arrays that the next sample reads to a state."""
        if self._parameters.items:
            state.neurons |= {f"learned/{name}": self.arrays[name] for name in KEPT}

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(array.nbytes for array in self.arrays.values())
