"""Neurons and readouts of one rank, with their state, as the kernels of either variant see them."""

from __future__ import annotations

from types import ModuleType

import numpy as np

from ..arrays import allocate_aligned
from ..network.local import LocalNetwork

STATE = ("v", "a", "z", "refractory", "arriving", "excess", "drive", "kept")


class Cells:
    """State of the neurons of one rank and of all readouts.

    Parameters
    ----------
    network : LocalNetwork
        This rank's share.
    kernels : ModuleType
        Kernels of the variant in the precision of the model.

    Attributes
    ----------
    parameters : dict
        Name to array (n_neurons,) of the neurons' parameters, in the model's precision.
    state : dict
        Name to array (n_neurons,) of their state, in the model's precision.
    constants : dict
        Constants of the readouts, see `LocalNetwork.readout_constants`.
    y : np.ndarray
        float64 (n_readouts,), voltages of the readouts from E_L.
    neurons, readouts : object
        The kernel's view of all this.
    """

    def __init__(self, network: LocalNetwork, kernels: ModuleType) -> None:
        n, real = network.neurons[1] - network.neurons[0], network.model.kernels.real
        self.parameters = network.parameters(kernels.Neurons)
        self.state = {name: allocate_aligned(n, real) for name in STATE}
        self.state["v"][:] = network.cells["V_init"]
        self.neurons = kernels.Neurons(
            self.parameters | self.state | {"first_id": network.neurons[0], "pieces": network.pieces}
        )
        self.constants = network.readout_constants()
        self.y = np.full(network.n_readouts, self.constants["V_init"])
        names = ("alpha", "zeta", "drive", "V_min")
        self.readouts = kernels.Readouts(
            {name: self.constants[name] for name in names} | {"y": self.y, "arriving": np.zeros_like(self.y)}
        )
