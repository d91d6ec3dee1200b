"""Tables of a network of populations at full size, from which tasks make smaller networks with the same activity."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Poisson:
    """Poisson input of each neuron, in addition to the spikes of the network.

    `rate_hz` and `weight` (pA) have shape (n_populations,). `name` describes the replaced input; None: background.
    """

    rate_hz: np.ndarray
    weight: np.ndarray
    name: str | None = None


@dataclass(frozen=True)
class Circuit:
    """Populations, the connections between them and their input, at full size.

    `names`, `areas` ("" for none), `excitatory`, `sizes`, `thalamic` (mean numbers of thalamic synapses) and `rates_hz`
    (mean rates) have an entry for each of n populations. `indegrees` and `weights` (means, pA) have shape (n, n),
    target and source; `delays` (n, n, 2) has mean and standard deviation in ms. Readouts receive from population
    `read`.
    """

    names: tuple[str, ...]
    areas: tuple[str, ...]
    excitatory: np.ndarray
    sizes: np.ndarray
    indegrees: np.ndarray
    weights: np.ndarray
    delays: np.ndarray
    poisson: tuple[Poisson, ...]
    thalamic: np.ndarray
    rates_hz: np.ndarray
    read: str

    def list_sizes(self, scale: float) -> np.ndarray:
        """Return the sizes of the populations, `scale` times the full ones, at least one neuron each."""
        return np.maximum(np.round(self.sizes * scale), 1).astype(int)

    def compute_mean_poisson(self) -> np.ndarray:
        """Return the mean Poisson input of neurons of the full network, (n,), in pA per second."""
        first, *others = (item.rate_hz * item.weight for item in self.poisson)
        return sum(others, first)

    def compute_compensation(self, share: float, tau_syn: float) -> np.ndarray:
        """Return the constant current in pA, (n,), that replaces the synapses that are missing with smaller in-degrees.

        `share` is the ratio of the in-degrees, Poisson input included, to the full ones; `tau_syn` the time constant of
        the synapses in ms. With in-degrees times `share` and weights divided by its root, the variance of the input is
        unchanged, and the mean falls by a factor sqrt(share), which this current compensates (S. J. van Albada, M.
        Helias, M. Diesmann, PLoS Comput. Biol. 11 (2015) e1004490, doi 10.1371/journal.pcbi.1004490, equation 11).
        """
        products = self.indegrees * self.weights * self.rates_hz
        recurrent = np.array([math.fsum(row) for row in products])  # the same bits everywhere
        return (1.0 - np.sqrt(share)) * tau_syn / 1000.0 * (recurrent + self.compute_mean_poisson())
