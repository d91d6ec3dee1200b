"""A twin of `pareprop nest` that loses what NEST loses, written apart from the package's way to compute gradients.

In the interval variant NEST updates a synapse when its source spikes in the next interval. If that is in step 1, the
learning signal of the interval's last step has not arrived, and counts as zero. So the gradient from source i to
neuron j misses L_j[T - 1] ebar_ij[T - 1]; the trace is stepped forward here, as Bellec et al. (2020) write it down.
Neurons start intervals at rest and cannot spike in time for it: inputs alone lose. For one rank.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pareprop.engines.interval import Interval
from pareprop.kernels import layout
from pareprop.nest.interval_clock import IntervalClock

EARLY = 1  # step of the next interval in which a spike comes too early


def apply() -> None:
    """Have all clocks that are made from now on lose."""
    make = IntervalClock.__init__

    def losing(clock: IntervalClock, *args: Any) -> None:
        make(clock, *args)
        gradient = clock.engine.gradient
        gradient.keep()
        collect = gradient.collect

        def collect_less(inputs: Any, spikes: Any, error: np.ndarray, local: Any, psi: np.ndarray, n: Any) -> None:
            surrogate = psi.astype(float)  # collect overwrites it
            collect(inputs, spikes, error, local, psi, n)
            early = np.unique(clock.train.sources[clock.train.stamps == clock._first + clock.n_steps + EARLY])
            if len(early):
                _take_back(clock.engine, early, inputs, error[-1], surrogate)

        gradient.collect = collect_less

    IntervalClock.__init__ = losing


def traces(engine: Interval, sources: np.ndarray, inputs: Any, surrogate: np.ndarray) -> np.ndarray:
    """Filtered eligibility traces in the last step of an interval, float64 (n_sources, n_neurons)."""
    alpha, zeta, rho, beta = (engine.parameters[name].astype(float) for name in ("alpha", "zeta", "rho", "adapt_beta"))
    kappa = engine.constants["alpha"]
    steps, ids = inputs.spikes(len(surrogate))
    raster = np.zeros((len(surrogate), int(max(ids.max(initial=0), sources.max())) + 1))
    raster[steps, ids] = 1.0
    raster[0] = 0.0  # what arrives in step 0 is lost
    zbar, eps, ebar = np.zeros((3, len(sources), len(alpha)))
    for psi, z in zip(surrogate, raster[:, sources], strict=True):
        zbar = alpha * zbar + zeta * z[:, None]
        e = psi * (zbar - beta * eps)
        eps = rho * eps + e
        ebar = kappa * ebar + (1.0 - kappa) * e
    return ebar


def _take_back(engine: Interval, sources: np.ndarray, inputs: Any, error: np.ndarray, surrogate: np.ndarray) -> None:
    """Take what the last learning signal has given to the synapses of some inputs."""
    signal = error @ engine.network.dense_feedback()
    missing = signal * traces(engine, sources, inputs, surrogate)
    table = engine.network.incoming
    gradient = engine.gradient.arrays[id(table)]
    for block in table.blocks[table.blocks[:, layout.LOG] == 0]:
        for source, values in zip(sources, missing, strict=True):
            if block[layout.SOURCE] <= source < block[layout.SOURCES]:
                row = block[layout.ROW] + source - block[layout.SOURCE]
                own = slice(table.row_ptr[row], table.row_ptr[row + 1])
                gradient[own] -= values[table.target[own]]
