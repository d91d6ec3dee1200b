"""Neurons and readouts of one rank, with their state, as the kernels of either variant see them."""

from __future__ import annotations

from collections.abc import Iterable
from types import ModuleType

import numpy as np

from ..arrays import allocate_aligned, copy_aligned
from ..errors import InputError
from ..network.local import LocalNetwork, LocalPopulation
from ..network.local_background import LocalBackground
from ..network.synapse_table import ProjectionSlice
from ..neurons.compile import Program, is_shared
from ..values import Values

STATE = ("z", "refractory", "current", "kept")  # one number per neuron, in addition to v, a and arriving


class Cells:
    """State of the neurons of one rank and of all readouts; `kernels` are those for the variant and the precision.

    Attributes
    ----------
    parameters : dict
        Name to array (n_neurons,) of the neurons' parameters, in the model's precision.
    state : dict
        Name to array (n_neurons,) or (.., n_neurons) of their state, in the model's precision.
    constants : dict
        Constants of the readouts, see `LocalNetwork.compute_readout_constants`.
    y : np.ndarray
        float64 (n_readouts,), voltages of the readouts from E_L.
    neurons, readouts : object
        The kernel's views of these arrays.
    """

    def __init__(self, network: LocalNetwork, kernels: ModuleType) -> None:
        n, real = network.neurons[1] - network.neurons[0], network.model.kernels.real
        self.parameters = network.select_kernel_arrays(kernels.Neurons)
        self._initial, widths = network.initial, network.widths
        self.states = copy_aligned(network.initial, real)
        arriving = allocate_aligned((max(widths["ports"], 1), n), real)
        own = allocate_aligned((2, n), real)  # one array: kernels of NEST's own neurons take it as their states
        own[0] = network.cells["V_init"]
        self.state = {"v": own[0], "a": own[1], "arriving": arriving[0]}
        self.state |= {name: allocate_aligned(n, real) for name in STATE}
        self._kernels = kernels
        # the functions of programs that the kernel calls, without and with parameters that learn
        kinds = (["step"], ["step", "trace"]) if network.model.eprop.is_online else (["step", "sweep"],) * 2
        self._background = LocalBackground(network)
        self._values: Values = (
            self.parameters
            | self.state
            | self._background.arrays
            | {
                "first_id": network.neurons[0],
                "pieces": network.piece_table,
                "dt": network.model.dt_ms,
                "forced_z": np.full(n, -1.0, real),
                "models": np.array(
                    [
                        item.program.get_address(real, *kinds[bool(item.program.learns.names)])
                        for item in network.pieces
                    ],
                    np.int64,
                ),
                "constants": network.constants if real is np.float64 else copy_aligned(network.constants, real),
                "shared": np.array([_is_shared(network, piece) for piece in network.pieces], np.int64),
                "state": self.states,
                "history": allocate_aligned((1, 0, n), real),
                "arriving": arriving,
            }
        )
        self.neurons = kernels.Neurons(self._values)
        if widths["states"]:
            self.state |= {"arriving": arriving, "states": self.states}
        self._network = network
        self.constants = network.compute_readout_constants()
        self.y = self.constants["V_init"].copy()
        names = ("alpha", "zeta", "drive", "V_min")
        self.readouts = kernels.Readouts(
            {name: self.constants[name] for name in names} | {"y": self.y, "arriving": np.zeros_like(self.y)}
        )

    def allocate_history(self, n_rows: int) -> None:
        """Allocate the history that derivatives need, `n_rows` steps: the steps of a sample and the one before it."""
        n_kept, n = self._network.widths["kept"], self.states.shape[1]
        if n_kept:
            history = allocate_aligned((n_rows, n_kept, n), self.states.dtype)
            history.fill(0.0)  # no page is first touched while the network runs
            self.neurons.history = self.state["history"] = history

    @property
    def history(self) -> np.ndarray:
        """Values of the latest steps that derivatives need, (n_rows, n_kept, n)."""
        return np.asarray(self.neurons.history)

    def with_programs(self, programs: list[Program]) -> object:
        """Return the kernel's view of the same neurons with other compiled models, for a backward pass."""
        models = np.array([item.get_address(self.states.dtype.type, "sweep") for item in programs], np.int64)
        return self._kernels.Neurons(self._values | {"models": models, "history": self.neurons.history})

    def allocate_ring(self, spans: list[ProjectionSlice]) -> np.ndarray:
        """Return the ring buffer of later arrivals, for projections whose spikes are spread, see `delivery.pxi`.

        Its shape is (n_slots, n_ports, n_neurons), without slots if no projection in `spans` is spread. `InputError` if
        its indices need more than 32 bits.
        """
        n_slots = max((span.ring_steps for span in spans), default=0)
        n_ports, n = np.shape(self.neurons.arriving)
        if n_slots * n_ports * n >= 2**32:
            raise InputError(
                f"{n} neurons on a rank with delays that differ by {n_slots - 1} steps are too many: at most "
                f"{2**32 // (n_slots * n_ports)}; use more ranks"
            )
        return allocate_aligned((n_slots, n_ports, n), self.states.dtype)

    def reset(self) -> None:
        """Set neurons and readouts to rest."""
        for name in ("v", "a", "z", "refractory"):
            self.state[name][:] = 0.0
        self.states[...] = self._initial
        self.y[:] = 0.0

    def draw_from(self, stream: str) -> None:
        """Make the background draw from the streams whose keys end with `stream`."""
        np.asarray(self.neurons.background_keys)[...] = self._background.make_keys(stream)

    def copy_constants(self, pieces: Iterable[LocalPopulation]) -> None:
        """Copy the constants that `LocalNetwork.update_learned` computed into the kernel's arrays."""
        network, shared = self._network, np.asarray(self.neurons.shared)
        for piece in pieces:
            mine = slice(piece.first, piece.last)
            with np.errstate(over="ignore"):
                np.asarray(self.neurons.constants)[:, mine] = network.constants[:, mine]
                np.asarray(self.neurons.I_e)[mine] = network.cells["I_e"][mine]
            shared[piece.index] = _is_shared(network, piece)


def _is_shared(network: LocalNetwork, piece: LocalPopulation) -> bool:
    """Return whether all neurons of a piece have the same constants."""
    mine = slice(piece.first, piece.last)
    return is_shared(network.constants[:, mine], network.cells["t_ref"][mine])
