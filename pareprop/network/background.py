"""Poisson background: spikes from separate sources for each neuron, drawn in the kernel during the run.

`background.pxi` draws them; the draws depend only on the neuron's number in its population and the step of the run.
"""

from __future__ import annotations

import numpy as np
from pydantic import InstanceOf

from .. import elementary, rng
from ..errors import InputError, quote
from ..values import AnyValue
from .connectivity import Population, check_name
from .parameters import Constant, Distribution, Frozen, Value, check_lengths, list_bounds, show_value, suggest_name
from .signs import check_drawn

MOST = 100.0  # highest mean number of spikes that a neuron gets in a step


class Background(Frozen):
    """Poisson spikes to each neuron of a population, independent between neurons.

    In a step a neuron gets a number of spikes that is Poisson distributed with mean rate times step. The weights never
    learn. `rate_hz` is the sum over a neuron's sources: 1 600 sources of 8 Hz are a background of 12 800 Hz.

    Attributes
    ----------
    rate_hz : float, array_like or Distribution
        Spikes per second of each neuron, one for all, (size,), or drawn.
    weight : float, array_like or Distribution
        Weight of each spike, in the units of a synapse onto the neuron; one for all, (size,), or drawn.
    port : str or None
        Synaptic input of the neurons, one of their model's ports; None: the first one.
    name : str or None
        Unique name, which keys the draws; None: "background->post".
    """

    bounds = ("rate_hz >= 0",)

    rate_hz: Value
    weight: Value = 1.0
    port: str | None = None
    name: str | None = None


class PopulationBackground(Background):
    """A background that fits its population.

    Attributes
    ----------
    name : str
        Unique name, "background->post" unless given.
    post : Population
        The neurons that get it.
    """

    name: str
    post: InstanceOf[Population]

    @property
    def port_index(self) -> int:
        """Index of the port among the neurons' ports."""
        return 0 if self.port is None else self.post.ports.index(self.port)

    def format_line(self) -> str:
        """Return rate, weight, port and targets in one line."""
        rate, weight = map(show_value, (self.rate_hz, self.weight))
        port = f", port {self.port}" if self.port else ""
        return f"{self.name}: rate_hz {rate}, weight {weight}{port}, onto {self.post.size} {self.post.name}"


def name_background(post: object, name: AnyValue) -> str:
    """Return the name of a background; `InputError` if it can't be one, or `post` is not a population of neurons."""
    if not isinstance(post, Population) or post.role != "recurrent":
        raise InputError(f"background: post = {quote(post)} must be a population of neurons of the model")
    name = f"background->{post.name}" if name is None else name
    check_name("background", name, 300)
    return name


def fit_background(
    here: str, name: str, post: Population, background: Background, dt_ms: float
) -> PopulationBackground:
    """Check a background against its population; `InputError`, starting with `here`, names the value and the bound."""
    check_lengths(background, post.size, here)
    if background.port is not None and background.port not in post.ports:
        known = f"must be one of {', '.join(post.ports)}, the ports of model '{post.model}'"
        raise InputError(f"{here}: port = {quote(background.port)} {known}{suggest_name(background.port, post.ports)}")
    if isinstance(background.rate_hz, Constant):
        background = background.model_copy(update={"rate_hz": background.rate_hz.value})
    options = {key: getattr(background, key) for key in Background.model_fields}
    fitted = PopulationBackground(**(options | {"name": name, "post": post}))
    if of_port := post.requires_positive(background.port):
        if isinstance(fitted.weight, Distribution):
            check_drawn(fitted.weight, of_port, here)
        elif (lowest := np.min(fitted.weight)) < 0:
            raise InputError(f"{here}: weight = {lowest:g} is below 0; {of_port}")
    if not isinstance(fitted.rate_hz, Distribution):
        check_rates(here, np.atleast_1d(np.asarray(fitted.rate_hz, float)), dt_ms, 0)
    return fitted


def check_rates(here: str, rates: np.ndarray, dt_ms: float, first: int) -> None:
    """Raise `InputError` for the first rate of neurons from `first` on that is below 0 or too high for the step."""
    (bound,) = list_bounds(Background)
    if broken := bound.find_broken(rates, bound.limit):
        raise InputError(f"{here}: rate_hz of neuron {first + broken[0]} is {broken[1]:g}, {broken[2]}")
    limit = MOST * 1000.0 / dt_ms
    for place in np.flatnonzero(~(rates <= limit))[:1]:
        raise InputError(
            f"{here}: rate_hz = {rates[place]:g} must be at most {limit:g}, {MOST:g} spikes per step of {dt_ms:g} ms"
        )


def list_levels(mean: np.ndarray) -> np.ndarray:
    """Return the thresholds that turn random numbers of 32 bits into Poisson counts, uint32 (k, n); see
    `rng.make_levels`.

    `mean` are mean counts, float64 (n,), from 0 to `MOST`. k is so large that no number of 32 bits exceeds the last
    thresholds.
    """
    chance = elementary.exp(-np.asarray(mean, float))
    total, levels = chance.copy(), []
    while np.any((level := rng.make_levels(total)) < rng.SPAN - 1):
        levels.append(level)
        chance = chance * mean / len(levels)
        total = total + chance
    return np.array(levels, np.uint32).reshape(len(levels), len(chance))
