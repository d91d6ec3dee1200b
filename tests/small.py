"""Small networks, of inputs, neurons and readouts that feed back, and samples for them: what most tests need."""

from __future__ import annotations

from typing import Any

import numpy as np

from pareprop.engines.sample import Sample
from pareprop.network.model import Model
from pareprop.network.parameters import Normal

CELL = {"C_m": 1.0, "E_L": 0.0, "V_th": 0.6, "tau_m": 20.0}
READOUT = {"C_m": 1.0, "E_L": 0.0, "tau_m": 20.0}


def network(
    variant: str = "interval",
    n_in: int = 10,
    n: int = 20,
    n_out: int = 1,
    *,
    kind: Any = "iaf",
    cell: dict | None = None,
    out: dict | None = None,
    into: Any = 0.5,
    among: Any = None,
    onto: Any = 0.1,
    back: Any = 0.1,
    defaults: bool = False,
    **options: Any,
) -> Model:
    """Populations "in", "rec" and "out"; `cell` and `out` have their parameters beside `CELL` and `READOUT`.

    Their projections `into`, `among`, `onto` the readouts, `back`: the standard deviation of the weights, or arguments
    of `connect`; a list of several, None where there is none. With `defaults`, and of other neurons than LIF,
    parameters are the default.
    """
    model = Model(variant, **options)
    inputs = model.inputs("in", n_in)
    of_cells, of_readouts = ({}, {}) if defaults else (CELL if str(kind).startswith("iaf") else {}, READOUT)
    rec = model.neurons("rec", n, kind, **of_cells | (cell or {}))
    readouts = model.readouts("out", n_out, **of_readouts | (out or {})) if n_out else None
    for pre, post, how in ((inputs, rec, into), (rec, rec, among), (rec, readouts, onto), (readouts, rec, back)):
        for one in (how if isinstance(how, list) else [how]) if pre and post else ():
            if one is not None:
                model.connect(pre, post, **(one if isinstance(one, dict) else {"weight": Normal(std=one)}))
    return model


def read_out(model: Model, *groups: Any, n: int = 1, onto: float = 0.5, back: float = 1.0) -> Any:
    """Make readouts "out" of all groups, that feed back; `onto` and `back` are standard deviations of weights."""
    out = model.readouts("out", n, **READOUT)
    for cells in groups:
        model.connect(cells, out, weight=Normal(std=onto))
        model.connect(out, cells, weight=Normal(std=back))
    return out


def population(
    n: int, rule: str = "all_to_all", kind: Any = "iaf", cell: dict | None = None, model: dict | None = None, **how: Any
) -> Model:
    """Neurons "rec" with the default parameters and `cell`, and one projection onto themselves."""
    made = Model(**(model or {}))
    neurons = made.neurons("rec", n, kind, **(cell or {}))
    made.connect(neurons, neurons, rule, **how)
    return made


class Noise:
    """Inputs that spike in a step with probability `p`, and a target (steps, readouts), or a function that draws it.

    All samples are that of the seed `frozen` if there is one. Modulators and currents may be drawn by functions, too.
    """

    def __init__(
        self,
        target: Any,
        n_in: int = 10,
        p: Any = 0.2,
        learning_window: int = 0,
        frozen: int | None = None,
        **more: Any,
    ) -> None:
        self.target, self.n_in, self.p, self.frozen, self.more = target, n_in, p, frozen, more
        self.n_steps = len(target(np.random.default_rng()) if callable(target) else target)
        self.learning_window = learning_window or self.n_steps

    def sample(self, index: int, phase: str = "train") -> Sample:
        draws = np.random.default_rng(index if self.frozen is None else self.frozen)
        raster = draws.random((self.n_steps, self.n_in)) < self.p
        target = self.target(draws) if callable(self.target) else self.target
        drawn = {name: how(draws) for name, how in self.more.items() if name != "local_targets" and callable(how)}
        return Sample.from_raster(raster, target, **self.more | drawn)


def ramp(n_steps: int, n_in: int, p: float = 0.15) -> Noise:
    """Random input, and a target that rises."""
    return Noise(np.linspace(0.0, 1.0, n_steps)[:, None], n_in, p)


def silence(n_steps: int) -> Noise:
    """Samples without inputs and readouts."""
    return Noise(np.zeros((n_steps, 0)), 0)


class Levels:
    """First ten of the inputs fire, later the other ten, with probability `p`; the readout reports which."""

    def __init__(self, n_steps: int, change: tuple[int, int], p: float) -> None:
        self.n_steps = self.learning_window = n_steps
        self.change, self.p = change, p

    def sample(self, index: int, phase: str = "train") -> Sample:
        draws = np.random.default_rng([index, len(phase)])
        first = np.arange(self.n_steps) < draws.integers(*self.change)
        rates = np.where(np.arange(20) < 10, first[:, None], ~first[:, None]) * self.p
        return Sample.from_raster(draws.random(rates.shape) < rates, np.where(first, 0.5, -0.5)[:, None])


def raster(log: Any, n_steps: int, n: int) -> np.ndarray:
    """The spikes of a log (steps, sources)."""
    found = np.zeros((n_steps, n), bool)
    found[log.list_spikes(n_steps)] = True
    return found


class Once:
    """One sample, each time."""

    def __init__(self, sample: Sample | None, n_steps: int) -> None:
        self.only, self.n_steps, self.learning_window = sample, n_steps, n_steps

    def sample(self, index: int, phase: str = "train") -> Sample:
        return self.only
