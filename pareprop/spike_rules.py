"""How each block of synapses learns in the spike variant: kernel, constants, and the histories that this needs."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .errors import InputError
from .model import Model, Population, Projection
from .params import Adam, Normal, Optimizer, Uniform
from .synapses import Synapses

STATIC, PREFIX, LOOP, READOUT = range(4)
NO_CUTOFF = -1
FOLD_STEPS = 1024  # how often rows without a cutoff (or a longer one) are worked off, whatever their source does
LARGEST_BLOCK, SMALLEST_BLOCK = 256, 8
LOSS = 1e3  # the powers within a block of prefix sums span at most this factor, so at most three digits are lost
DEFAULT_BOUND = 100.0  # NEST's Wmin and Wmax


@dataclass(frozen=True)
class Lags:
    """Delays of the learning loop.

    Attributes
    ----------
    d_out, d_fb : delays in steps from neurons to readouts and back
    """

    d_out: int = 1
    d_fb: int = 1

    @property
    def m(self) -> int:
        """Steps by which learning signals lag behind: d_out + d_fb - 1."""
        return self.d_out + self.d_fb - 1


def lags(model: Model) -> Lags:
    """Delays of the learning loop, which must be one value each.

    Raises
    ------
    InputError
        If delays to or from the readouts differ, or the loop is longer than 63 steps.
    """
    found = {}
    for key, pre, post in (("d_out", "recurrent", "readout"), ("d_fb", "readout", "recurrent")):
        items = [item for item in model.projections if item.pre.role == pre and item.post.role == post]
        items = [item for item in items if item.rule != "explicit" or len(item.source)]
        delays = {delay for item in items for delay in item.delay_range}
        if len(delays) > 1:
            raise InputError(
                f"projections {[item.name for item in items]} have delays from {min(delays)} to {max(delays)} steps; "
                "in the spike variant all delays to readouts, and all from them, must be one value"
            )
        found[key] = delays.pop() if delays else 1
    result = Lags(**found)
    if result.m > 62:
        raise InputError(f"delays to readouts and back are {result.d_out} + {result.d_fb} steps, at most 63 together")
    return result


def uniform_alpha(population: Population, dt_ms: float) -> float | None:
    """exp(-dt/tau_m) where all neurons of the population share it, else None."""
    tau_m = population.params.tau_m
    if isinstance(tau_m, Normal | Uniform) or (np.ndim(tau_m) and np.ptp(tau_m) > 0):
        return None
    return math.exp(-dt_ms / float(np.ravel(tau_m)[0]))


def block_length(model: Model) -> int:
    """Steps of a block of prefix sums that all populations which can use them allow; 0 if none can."""
    lengths = []
    for population in model.of_role("recurrent"):
        alpha, kappas = uniform_alpha(population, model.dt_ms), (population.params.kappa, population.params.kappa_reg)
        if alpha is None or "adapt" in population.model or min(kappas) <= 0:
            continue
        rates = [abs(math.log(alpha))] + [abs(math.log(kappa)) for kappa in kappas]
        rates += [abs(math.log(alpha / kappa)) for kappa in kappas]
        length = 2 ** int(math.log2(min(LARGEST_BLOCK, math.log(LOSS) / max(rates))))
        if length >= SMALLEST_BLOCK:
            lengths.append(length)
    return min(lengths, default=0)


def mode(model: Model, projection: Projection, optimizer: Optimizer, length: int, m: int) -> int:
    """Kernel of a projection, the same on all ranks."""
    if not projection.plastic:
        return STATIC
    if projection.post.role == "readout":
        return READOUT
    values = projection.post.params
    each_step = optimizer.optimize_each_step and (
        isinstance(optimizer, Adam) or optimizer.Wmin > -DEFAULT_BOUND or optimizer.Wmax < DEFAULT_BOUND
    )  # with plain gradient descent one summed step is the same, unless a bound is met on the way
    alpha = uniform_alpha(projection.post, model.dt_ms)
    simple = alpha is not None and "adapt" not in projection.post.model and min(values.kappa, values.kappa_reg) > 0
    if not simple or each_step or not length or values.eprop_isi_trace_cutoff <= m:
        return LOOP
    ratio = max(abs(math.log(alpha / values.kappa)), abs(math.log(alpha / values.kappa_reg)), abs(math.log(alpha)))
    return PREFIX if ratio * length <= math.log(LOSS) else LOOP


@dataclass
class Rules:
    """Rules of the blocks of one table.

    Attributes
    ----------
    rules : int64 (n_blocks, 6): mode, cutoff, own zbar, adaptive, Adam, optimizer step per time step
    constants : float64 (n_blocks, 9): alpha, kappa, kappa_reg, eta, Wmin, Wmax, beta_1, beta_2, epsilon
    """

    rules: np.ndarray
    constants: np.ndarray

    @property
    def modes(self) -> set[int]:
        """The modes in use."""
        return set(self.rules[:, 0].tolist())

    def longest_cutoff(self) -> int:
        """Steps of the longest cutoff, `FOLD_STEPS` if there is none or a longer one."""
        cutoffs = self.rules[self.rules[:, 0] != STATIC, 1]
        if not len(cutoffs):
            return 1
        return FOLD_STEPS if cutoffs.min() < 0 else int(min(cutoffs.max(), FOLD_STEPS))


def rules(model: Model, table: Synapses, length: int, m: int) -> Rules:
    """Rules of all blocks of `table`."""
    integers, floats = [], []
    for span in table.spans:
        projection = span.projection
        optimizer = projection.optimizer or model.optimizer
        values = projection.post.params
        kind = mode(model, projection, optimizer, length, m)
        cutoff = values.eprop_isi_trace_cutoff
        alpha = uniform_alpha(projection.post, model.dt_ms)
        row = (
            kind, NO_CUTOFF if cutoff > 2**40 else int(cutoff), int(alpha is None), int("adapt" in projection.post.model),
            int(isinstance(optimizer, Adam)), int(optimizer.optimize_each_step and kind in (LOOP, READOUT)),
        )  # fmt: skip
        line = (
            alpha or 0.0, getattr(values, "kappa", 0.0), getattr(values, "kappa_reg", 0.0), optimizer.eta, optimizer.Wmin,
            optimizer.Wmax, getattr(optimizer, "beta_1", 0.0), getattr(optimizer, "beta_2", 0.0),
            getattr(optimizer, "epsilon", 1.0),
        )  # fmt: skip
        integers += [row] * len(span.delays)
        floats += [line] * len(span.delays)
    return Rules(np.array(integers, np.int64).reshape(-1, 6), np.array(floats, float).reshape(-1, 9))
