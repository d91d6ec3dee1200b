"""Learning signals that NEST loses in the interval variant, for runs that must equal NEST's.

NEST updates a synapse when its source spikes in the next interval. A spike that arrives in step 1 comes before the
learning signal of the last step of the interval, which counts as zero then: the gradient from source i to neuron j
misses L_j[T - 1] ebar_ij[T - 1], with the eligibility trace of Bellec et al. (2020), doi 10.1038/s41467-020-17236-y,
equations 23 to 25: the definition of e-prop, a rule of the library, is followed step by step.
"""

from __future__ import annotations

import numpy as np

from ..engines.interval_gradient import IntervalGradient
from ..engines.learning_signal import project_errors
from ..engines.traces import make_definition
from ..kernels import layout
from ..network.local import LocalNetwork, is_custom_model
from ..parallel.spike_log import SpikeLog

EARLY = 1  # step of the next interval in which a spike comes too early


def subtract_lost_signals(
    network: LocalNetwork,
    collected: IntervalGradient,
    sources: np.ndarray,
    inputs: SpikeLog,
    error: np.ndarray,
    surrogate: np.ndarray,
) -> None:
    """Subtract the contribution of the last learning signal to the synapses of some inputs from the gradient.

    `collected` has just collected the gradient of an interval in separate arrays (`IntervalGradient.keep_gradients`).
    `sources`, int64 and ascending, are inputs that spike in step `EARLY` of the next interval. `inputs` are all input
    spikes of the interval, `error` (n_readouts,) the error signals of the last step, and `surrogate`
    (n_steps, n_neurons) the surrogate gradients of this rank's neurons, both float64.
    """
    signal = project_errors(network, error[None], np.arange(network.neurons[1] - network.neurons[0]))[0]
    for piece in network.pieces:
        if is_custom_model(piece.population):  # onto which NEST has no e-prop synapses
            signal[piece.first : piece.last] = 0.0
    table = network.incoming
    gradient, first_counted = collected.arrays[id(table)], table.blocks[:, layout.SINCE]
    losing = (table.blocks[:, layout.LOG] == 0) & (table.blocks[:, layout.DELAY] == 1)  # the only delay that NEST has
    for since in np.unique(first_counted[losing]).tolist():
        missing = signal * compute_traces(
            network, collected.kappa, sources, drop_spikes_before(inputs, since), surrogate
        )
        for block in np.flatnonzero(losing & (first_counted == since)).tolist():
            for source, values in zip(sources, missing, strict=True):
                row = table.find_row(block, int(source))
                if row is not None:
                    own = slice(table.row_ptr[row], table.row_ptr[row + 1])
                    gradient[own] -= values[table.target[own]]


def drop_spikes_before(log: SpikeLog, step: int) -> SpikeLog:
    """Return a log without the spikes before a step."""
    if step >= len(log.ptr):
        return log
    first = log.ptr[step]
    return SpikeLog.from_arrays(log.ids[first:], np.maximum(log.ptr - first, 0))


def compute_traces(
    network: LocalNetwork, kappa: float, sources: np.ndarray, inputs: SpikeLog, surrogate: np.ndarray
) -> np.ndarray:
    """Filtered eligibility traces in the last step of an interval, float64 (n_sources, n_neurons)."""
    constants = {name: network.cells[name] for name in ("alpha", "zeta", "rho", "adapt_beta")}
    n_steps = len(surrogate)
    steps, ids = inputs.list_spikes(n_steps)
    place = np.minimum(np.searchsorted(sources, ids), len(sources) - 1)
    mine = sources[place] == ids
    raster = np.zeros((n_steps, len(sources)))
    raster[steps[mine], place[mine]] = 1.0
    raster[0] = 0.0  # arrivals in step 0 are lost
    literal = make_definition(network.model, "iaf_adapt", constants, kappa, (len(sources), surrogate.shape[1]))
    nothing = np.zeros((0, 1))  # the definition reads no kept values of neurons
    for psi, z in zip(surrogate, raster, strict=True):
        literal.step(nothing, nothing, {"psi": psi, "L": 0.0, "F": 0.0}, z[:, None])
    return literal.synapse["ebar"]
