"""`Request`: a projection with all that the choice of its algorithm depends on, from the model alone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .. import elementary
from ..errors import InputError
from ..kernels import layout
from ..network import learning
from ..network.connectivity import Population, Projection
from ..network.model import Model
from ..network.neurons import CUTOFF_LIMIT, round_up_steps
from ..network.optimizers import Optimizer, Summed
from ..network.parameters import Distribution
from ..network.rule_options import definition_of
from ..neurons.model import NeuronModel
from ..rules.definition import Eprop, LearningRule

DEFAULT_BOUND = 100.0  # NEST's Wmin and Wmax


@dataclass(frozen=True)
class Lags:
    """Delays of the learning loop.

    Attributes
    ----------
    d_out, d_fb : int
        Delays in steps from neurons to readouts and back.
    """

    d_out: int = 1
    d_fb: int = 1

    @property
    def m(self) -> int:
        """Steps by which learning signals lag behind: d_out + d_fb - 1."""
        return self.d_out + self.d_fb - 1


def lags(model: Model) -> Lags:
    """Return the delays of the learning loop, which must be one value each.

    Raises
    ------
    InputError
        If delays to or from the readouts differ, or the loop is longer than 63 steps.
    """
    lags = {}
    for key, pre, post in (("d_out", "recurrent", "readout"), ("d_fb", "readout", "recurrent")):
        items = [item for item in model.projections if item.pre.role == pre and item.post.role == post]
        items = [item for item in items if not item.is_empty]
        delays = {delay for item in items for delay in item.delay_range}
        if len(delays) > 1:
            raise InputError(
                f"projections {[item.name for item in items]} have delays from {min(delays)} to {max(delays)} steps; "
                "in the spike variant all delays to readouts, and all from them, must be one value"
            )
        lags[key] = delays.pop() if delays else 1
    result = Lags(**lags)
    if result.m > 62:
        raise InputError(f"delays to readouts and back are {result.d_out} + {result.d_fb} steps, at most 63 together")
    return result


def uniform_alpha(population: Population, dt_ms: float) -> float | None:
    """Return exp(-dt/tau_m) if all neurons of the population share it, else None."""
    tau_m = getattr(population.params, "tau_m", None)
    if tau_m is None or hasattr(population.params, "definition"):
        return None
    if isinstance(tau_m, Distribution) or (np.ndim(tau_m) and np.ptp(tau_m) > 0):
        return None
    return elementary.exp(-dt_ms / float(np.ravel(tau_m)[0]))


def cutoff_steps(population: Population, dt_ms: float) -> int:
    """Return `eprop_isi_trace_cutoff`, which is given in ms, in steps; `NO_CUTOFF` if it is infinite.

    Raises
    ------
    InputError
        If the cutoff is longer than spikes are kept.
    """
    cutoff = population.params.eprop_isi_trace_cutoff
    if np.isinf(cutoff):
        return layout.NO_CUTOFF
    given = hasattr(population.params, "definition")
    steps = int(np.rint(cutoff / dt_ms) if given else round_up_steps(cutoff, dt_ms))
    if steps > CUTOFF_LIMIT:
        raise InputError(
            f"population '{population.name}': eprop_isi_trace_cutoff = {cutoff:g} ms is {steps} steps of {dt_ms:g} ms, "
            f"must be at most {CUTOFF_LIMIT:g}, or inf for none"
        )
    return steps


def filters_apart(model: Model) -> bool:
    """Return whether regularization of rates needs a separate filter or separate sums: by kappa_reg, or for a rule."""
    if any(item.params.kappa != item.params.kappa_reg for item in model.of_role("recurrent")):
        return True
    unfiltered = any(rule.filter == "none" for rule in learning.list_eprop(model))
    return unfiltered or bool(learning.list_rules_reading(model, "L") or learning.list_rules_reading(model, "F"))


@dataclass(frozen=True)
class Request:
    """A projection, and what algorithms ask about it.

    Attributes
    ----------
    model : Model
        The whole network.
    projection : Projection
        From inputs or neurons, onto neurons or readouts.
    m : int
        Steps by which learning signals lag behind.
    block : int
        Steps of a block of prefix sums, 0 without such sums.
    filters_apart : bool
        Whether the network filters for the regularization of rates apart, see the function of that name.
    kept : tuple of str
        What steps of the targets keep for learning rules.
    learner : int
        Index of its learning rule in the table of learners, `NO_LEARNER` for e-prop.
    at_arrivals : bool
        Whether the optimizer is asked about as if it had optimize_each_step = False.
    """

    model: Model
    projection: Projection
    m: int
    block: int
    filters_apart: bool
    kept: tuple[str, ...]
    learner: int
    at_arrivals: bool = False

    @property
    def post(self) -> Population:
        """The targets."""
        return self.projection.post

    @property
    def optimizer(self) -> Optimizer:
        """What synapses take at spikes: the optimizer of the projection or of the model, or sums in batches."""
        if self.is_batched:
            return Summed()
        optimizer = self.projection.optimizer or self.model.optimizer
        return optimizer.model_copy(update={"optimize_each_step": False}) if self.at_arrivals else optimizer

    @property
    def is_batched(self) -> bool:
        """Whether weights change after batches of several samples."""
        return self.model.optimizer.batch_size > 1

    @property
    def definition(self) -> NeuronModel | None:
        """Equations from which traces are derived; None for readouts, and for NEST's own neurons with plain e-prop."""
        given = getattr(self.post.params, "definition", None)
        return given or (definition_of(self.post) if self.through or not self.is_filtered else None)

    @property
    def equations(self) -> LearningRule | None:
        """The rule by which the projection learns, None for e-prop."""
        rule = learning.rule_of(self.projection)
        return rule if isinstance(rule, LearningRule) else None

    @property
    def through(self) -> str:
        """Part of the derivatives that traces of e-prop follow, "" for all."""
        rule = learning.rule_of(self.projection)
        return rule.through if isinstance(rule, Eprop) and rule.through != "all" else ""

    @property
    def is_filtered(self) -> bool:
        """Whether traces of e-prop are filtered as readouts filter spikes."""
        return getattr(learning.rule_of(self.projection), "filter", "readout") == "readout"

    @property
    def lag(self) -> int:
        """Steps before an arrival at which the time ends that a synapse learns from then."""
        return self.m if self.equations is None or self.equations.is_late else 0

    @property
    def why_not_whole(self) -> str | None:
        """Why the options of its e-prop need an algorithm that goes step by step; None if they do not."""
        if self.through or not self.is_filtered:
            return f"it learns by a part of e-prop, '{learning.rule_of(self.projection).name}'"
        return None

    @cached_property
    def cutoff(self) -> int:
        """Cutoff of the targets' traces in steps, see `cutoff_steps`; none with rewards: TD errors come later."""
        return layout.NO_CUTOFF if self.model.is_rewarded else cutoff_steps(self.post, self.model.dt_ms)

    @cached_property
    def fades(self) -> int:
        """With rewards: steps after which a spike adds nothing more to the traces that TD errors still meet."""
        return cutoff_steps(self.post, self.model.dt_ms) if self.model.is_rewarded else layout.NO_CUTOFF

    @cached_property
    def alpha(self) -> float | None:
        """Decay per step of the targets, None if they differ, see `uniform_alpha`."""
        return uniform_alpha(self.post, self.model.dt_ms)

    @property
    def adapts(self) -> bool:
        """Whether thresholds of the targets adapt."""
        return self.definition is None and bool(getattr(self.post.params, "adaptive", False))

    @property
    def own_zbar(self) -> bool:
        """Whether each synapse stores its filtered spikes: targets' decays differ, or synapses move."""
        return self.alpha is None or bool(self.projection.rewire or self.equations or self.definition)

    @property
    def is_bounded(self) -> bool:
        """Whether clipping after every step can differ from clipping once after the summed step."""
        optimizer = self.optimizer
        bounded = optimizer.Wmin > -DEFAULT_BOUND or optimizer.Wmax < DEFAULT_BOUND or self.projection.keeps_signs
        return optimizer.optimize_each_step and bounded

    @property
    def needs_steps(self) -> str | None:
        """Why the optimizer has to step in each time step; None if one summed step is the same.

        Gradient descent may take one summed step, unless a weight meets a bound on the way. Adam takes full steps even
        with a gradient of 0 that was rounded to 1e-14; momentum counts the steps since a gradient.
        """
        optimizer = self.optimizer
        if self.is_bounded:
            signs = self.projection.keeps_signs
            what = "signs" if signs else f"bounds {optimizer.Wmin:g} and {optimizer.Wmax:g}"
            return f"{what} hold in each time step"
        if optimizer.optimize_each_step and not optimizer.accumulates:
            return f"{optimizer.type} steps in each time step"
        return None

    @property
    def is_rewarded_apart(self) -> str | None:
        """Why TD errors need each step of a synapse; None if they do not."""
        if self.fades >= 0:
            given = self.post.params.eprop_isi_trace_cutoff
            return f"TD errors go on after eprop_isi_trace_cutoff = {given:g} ms"
        if self.model.is_rewarded and self.filters_apart:
            return "TD errors and kappa_reg take a trace each"
        return None

    @property
    def why_not_at_once(self) -> str | None:
        """Why the steps between two arrivals cannot be taken at once; None if they can."""
        if reason := self.needs_steps or self.is_rewarded_apart:
            return reason
        if 0 <= self.cutoff <= self.m:
            given = self.post.params.eprop_isi_trace_cutoff
            return f"eprop_isi_trace_cutoff = {given:g} ms ends within the {self.m} steps by which signals lag behind"
        return None
