"""`prefix`: the projections that it fits, its cost, and the numbers that its synapses store."""

from __future__ import annotations

from ... import elementary
from ...network.connectivity import Population
from ...network.model import Model
from ...network.reward import Reward
from ..base import OntoNeurons
from ..request import Request, uniform_alpha
from .arrays import PrefixSums, TDErrors

LARGEST_BLOCK, SMALLEST_BLOCK = 256, 8
ONLINE_BLOCK = 32  # steps of a block with rewards: episodes begin with one, and powers of gamma lambda count, too
# Largest ratio of the powers within a block: as many digits are lost, three of 16, or one and a half of 7.
LOSS = {"double": 1e3, "single": 30.0}


class Prefix(OntoNeurons):
    """Needs powers of decays within a block of steps that all neurons of a population share."""

    name = "prefix"
    structs = (PrefixSums, TDErrors)
    keeps_traces = False

    def why_not(self, request: Request) -> str | None:
        """Return why a projection cannot learn by it, None if it can."""
        if reason := super().why_not(request) or request.why_not_whole or request.why_not_at_once:
            return reason
        if request.is_batched:
            return "gradients of a batch are added up apart from weights"
        if not request.optimizer.accumulates:
            return f"{request.optimizer.type} keeps moments"
        if request.projection.rewire:
            return "its synapses move"
        rate = fastest_rate(request.post, request.model.dt_ms)
        if rate is None:
            return (
                "neurons that adapt, are given by equations, differ in tau_m, or filter by kappa = 0 have no such sums"
            )
        if not request.block or rate * request.block > elementary.log(LOSS[request.model.precision]):
            least = ONLINE_BLOCK if request.model.is_rewarded else SMALLEST_BLOCK
            return (
                f"its traces, or what is to come of rewards, fade too fast for sums over {request.block or least} steps"
            )
        return None


def fastest_rate(population: Population, dt_ms: float) -> float | None:
    """Return the largest absolute log growth rate per step of the prefix-sum terms of a population.

    None if there can be no such sums: adaptive thresholds, tau_m that differs, filters without memory.
    """
    alpha, kappas = uniform_alpha(population, dt_ms), (population.params.kappa, population.params.kappa_reg)
    if alpha is None or population.params.adaptive or min(kappas) <= 0:
        return None
    logs = [elementary.log(kappa) for kappa in kappas]
    return max(map(abs, [elementary.log(alpha), *logs, *(elementary.log(alpha) - log for log in logs)]))


def block_length(model: Model) -> int:
    """Return the steps of a block of prefix sums, for all populations that can use them; 0 if none can."""
    rates = [fastest_rate(population, model.dt_ms) for population in model.of_role("recurrent")]
    span = elementary.log(LOSS[model.precision])
    if isinstance(model.loss, Reward):
        discounts = model.loss.gamma * model.loss.lambda_
        rates = [rate for rate in rates if rate is not None and rate * ONLINE_BLOCK <= span]
        return ONLINE_BLOCK if rates and elementary.power(discounts, ONLINE_BLOCK) * LOSS[model.precision] >= 1.0 else 0
    lengths = [int(min(LARGEST_BLOCK, span / rate)) for rate in rates if rate is not None]
    return min((length for length in lengths if length >= SMALLEST_BLOCK), default=0)
