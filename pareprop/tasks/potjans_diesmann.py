"""The tables of the cortical microcircuit: populations, connections, input and neurons.

Source: T. C. Potjans and M. Diesmann, The cell-type specific cortical microcircuit, Cerebral Cortex 24 (2014) 785-806,
doi 10.1093/cercor/bhs358, tables 4 and 5. The mean rates, which the compensation of smaller in-degrees needs, are the
full network's with Poisson input.
"""

from __future__ import annotations

import functools

import numpy as np

from .. import elementary
from .circuit import Circuit, Poisson

POPULATIONS = ("L23E", "L23I", "L4E", "L4I", "L5E", "L5I", "L6E", "L6I")
SIZES = np.array([20683, 5834, 21915, 5479, 4850, 1065, 14395, 2948])
EXCITATORY = np.array([name.endswith("E") for name in POPULATIONS])

# probability of at least one synapse between a source (column) and a target (row)
PROBABILITY = np.array(
    [
        [0.1009, 0.1689, 0.0437, 0.0818, 0.0323, 0.0000, 0.0076, 0.0000],
        [0.1346, 0.1371, 0.0316, 0.0515, 0.0755, 0.0000, 0.0042, 0.0000],
        [0.0077, 0.0059, 0.0497, 0.1350, 0.0067, 0.0003, 0.0453, 0.0000],
        [0.0691, 0.0029, 0.0794, 0.1597, 0.0033, 0.0000, 0.1057, 0.0000],
        [0.1004, 0.0622, 0.0505, 0.0057, 0.0831, 0.3726, 0.0204, 0.0000],
        [0.0548, 0.0269, 0.0257, 0.0022, 0.0600, 0.3158, 0.0086, 0.0000],
        [0.0156, 0.0066, 0.0211, 0.0166, 0.0572, 0.0197, 0.0396, 0.2252],
        [0.0364, 0.0010, 0.0034, 0.0005, 0.0277, 0.0080, 0.0658, 0.1443],
    ]
)

WEIGHT = 87.8  # pA, of an excitatory synapse: a postsynaptic potential of 0.15 mV
INHIBITION = -4.0  # weight of an inhibitory synapse, relative to that
DOUBLED = ("L4E", "L23E")  # source and target with weights twice as large
SPREAD = 0.1  # standard deviation of weights by their mean
DELAY = {True: (1.5, 0.75), False: (0.75, 0.375)}  # ms, mean and deviation, of excitatory and inhibitory synapses

BACKGROUND_INDEGREE = np.array([1600, 1500, 2100, 1900, 2000, 1900, 2900, 2100])
BACKGROUND_HZ = 8.0  # of each of these sources

THALAMIC_SIZE = 902
THALAMIC_PROBABILITY = np.array([0.0, 0.0, 0.0983, 0.0619, 0.0, 0.0, 0.0512, 0.0196])
THALAMIC_HZ, THALAMIC_MS = 120.0, 10.0  # of a volley

RATES_HZ = np.array([0.971, 2.868, 4.746, 5.396, 8.142, 9.078, 0.991, 7.523])  # of the full network

NEURON = {  # of all neurons, in NEST's units
    "C_m": 250.0,
    "tau_m": 10.0,
    "t_ref": 2.0,
    "E_L": -65.0,
    "V_th": -50.0,
    "V_reset": -65.0,
    "tau_syn_ex": 0.5,
    "tau_syn_in": 0.5,
}


def count_synapses(probability: np.ndarray, n_pre: np.ndarray | int, n_post: np.ndarray) -> np.ndarray:
    """Return the number of randomly drawn synapses for which a pair is connected with the given probability.

    Equation 1 of the article, K = ln(1 - C) / ln(1 - 1 / (n_pre n_post)), rounded to whole numbers as float64.
    """
    pairs = np.asarray(n_pre, float) * np.asarray(n_post, float)
    return np.round(elementary.log1p(-np.asarray(probability)) / elementary.log1p(-1.0 / pairs))


def list_indegrees() -> np.ndarray:
    """Return the mean in-degrees of the full network, (8, 8): target, source."""
    return count_synapses(PROBABILITY, SIZES[None, :], SIZES[:, None]) / SIZES[:, None]


def list_thalamic_indegrees() -> np.ndarray:
    """Return the mean numbers of thalamic synapses of the full network, (8,)."""
    return count_synapses(THALAMIC_PROBABILITY, THALAMIC_SIZE, SIZES) / SIZES


def list_weights() -> np.ndarray:
    """Return the mean weights in pA, (8, 8): target, source."""
    weights = np.where(EXCITATORY, WEIGHT, WEIGHT * INHIBITION) * np.ones((len(SIZES), 1))
    source, target = map(POPULATIONS.index, DOUBLED)
    weights[target, source] *= 2.0
    return weights


@functools.cache
def build_circuit() -> Circuit:
    """Return the full network."""
    delays = np.array([DELAY[bool(excites)] for excites in EXCITATORY])
    return Circuit(
        names=POPULATIONS,
        areas=("",) * len(POPULATIONS),
        excitatory=EXCITATORY,
        sizes=SIZES,
        indegrees=list_indegrees(),
        weights=list_weights(),
        delays=np.tile(delays, (len(SIZES), 1, 1)),
        poisson=(Poisson(BACKGROUND_INDEGREE * BACKGROUND_HZ, np.full(len(SIZES), WEIGHT)),),
        thalamic=list_thalamic_indegrees(),
        rates_hz=RATES_HZ,
        read="L5E",
    )
