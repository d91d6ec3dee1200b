"""A network of populations by its numbers at full size, of which tasks make smaller ones with the same activity."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Poisson:
    """Poisson spikes that each neuron gets besides those of the network.

    Attributes
    ----------
    rate_hz : np.ndarray
        float64 (n,), spikes per second of a neuron of each population.
    weight : np.ndarray
        float64 (n,), weight in pA.
    name : str or None
        What they stand for; None: background.
    """

    rate_hz: np.ndarray
    weight: np.ndarray
    name: str | None = None


@dataclass(frozen=True)
class Circuit:
    """Populations, the connections between them and their input, at full size.

    Attributes
    ----------
    names, areas : tuple of str
        Name and area of each of n populations, "" for no area.
    excitatory : np.ndarray
        bool (n,).
    sizes : np.ndarray
        int64 (n,), numbers of neurons.
    indegrees, weights : np.ndarray
        float64 (n, n), target and source: mean in-degree, and mean weight in pA.
    delays : np.ndarray
        float64 (n, n, 2), target and source: mean and standard deviation in ms.
    poisson : tuple of Poisson
        Input of all neurons.
    thalamic : np.ndarray
        float64 (n,), mean numbers of thalamic synapses.
    rates_hz : np.ndarray
        float64 (n,), mean rates of the full network.
    read : str
        Name of the population that readouts listen to.
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
        """Return the sizes of the populations, `scale` times those of the full network, at least one neuron each."""
        return np.maximum(np.round(self.sizes * scale), 1).astype(int)

    def mean_poisson(self) -> np.ndarray:
        """Return the mean Poisson input of neurons of the full network, (n,), in pA per second."""
        first, *others = (item.rate_hz * item.weight for item in self.poisson)
        return sum(others, first)

    def compensate(self, share: float, tau_syn: float) -> np.ndarray:
        """Return the constant current in pA, (n,), that replaces the synapses that are missing with smaller in-degrees.

        With in-degrees times `share` and weights divided by its root, the variance of the input stays, and the mean
        falls by a factor sqrt(share), which this current compensates (S. J. van Albada, M. Helias, M. Diesmann, PLoS
        Comput. Biol. 11 (2015) e1004490, doi 10.1371/journal.pcbi.1004490, equation 11).

        Parameters
        ----------
        share : float
            In-degrees, Poisson input included, relative to those of the full network.
        tau_syn : float
            Time constant of the synapses in ms.

        Returns
        -------
        np.ndarray
            Current of the neurons of each population.
        """
        products = self.indegrees * self.weights * self.rates_hz
        recurrent = np.array([math.fsum(row) for row in products])  # the same bits everywhere
        return (1.0 - np.sqrt(share)) * tau_syn / 1000.0 * (recurrent + self.mean_poisson())
