"""`ALGORITHMS`, the list of all, and the choice of one for each projection of a network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ..errors import InputError, quote
from ..kernels import layout
from ..network import learning
from ..network.features import list_features
from ..network.model import Model
from ..network.optimizers import OPTIMIZERS, Optimizer
from ..network.parameters import suggest_name
from ..network.unsupported import require_supported
from .base import Algorithm
from .lines.algorithm import Lines
from .plan import NetworkPlan, Plan
from .prefix.algorithm import Prefix, block_length
from .readout.algorithm import Readout, readout_block_length
from .request import Request, filters_apart, lags
from .rule.algorithm import Rule
from .scan.algorithm import Scan
from .static.algorithm import Static
from .steps.algorithm import Steps

ALGORITHMS: dict[str, Algorithm] = {
    item.name: item for item in (Static(), Readout(), Prefix(), Scan(), Lines(), Steps(), Rule())
}  # best first
Algorithms = str | Mapping[str, str]  # as users give them: one for all projections onto neurons, or by name


def choose_algorithms(model: Model, algorithms: Algorithms | None = None) -> NetworkPlan:
    """Return the plan of a network: for each projection the first algorithm that fits, or the one that is asked for.

    Parameters
    ----------
    model : Model
        The whole network.
    algorithms : str, Mapping of str to str or None
        Algorithms that the user asks for: one for all plastic projections onto neurons, or an algorithm by the name of
        a projection or of a population. The name of a population stands for all plastic projections onto it.

    Raises
    ------
    InputError
        If the spike variant does not know a loss, an optimizer or a delay of the model, or an algorithm does not fit.
    """
    _require_known(model)
    loop = lags(model)
    is_apart, kept, learners = filters_apart(model), learning.list_kept(model), learning.index_rules(model)
    block = block_length(model)
    requests = {
        item.name: Request(
            model, item, loop.m, block, is_apart, kept.get(item.post.name, ()),
            learners.get(item.name, layout.NO_LEARNER),
        )
        for item in model.projections if item.pre.role in ("input", "recurrent")
    }  # fmt: skip
    asked = {} if algorithms is None else _list_asked(requests, algorithms)
    plans = {name: Plan(request, _choose_algorithm(request, asked.get(name))) for name, request in requests.items()}
    second = is_apart or model.is_rewarded
    return NetworkPlan(plans, loop.d_out, loop.m, block, readout_block_length(model), 1 + is_apart, second)


def explain_each_step(plan: Plan) -> str | None:
    """Return why synapses take each time step, if optimize_each_step = False would spare them that; else None."""
    request, reason = plan.request, plan.request.needs_steps
    if reason is None or not plan.algorithm.takes_each_step(request):
        return None
    other = replace(request, at_arrivals=True)
    return None if _choose_algorithm(other, None).takes_each_step(other) else reason


def _choose_algorithm(request: Request, asked: str | None) -> Algorithm:
    """Return the first algorithm that fits, or the one that is asked for if it does."""
    if asked is None:
        return next(item for item in ALGORITHMS.values() if not item.why_not(request))
    if reason := ALGORITHMS[asked].why_not(request):
        raise InputError(f"algorithms: projection '{request.projection.name}' cannot learn by '{asked}': {reason}")
    return ALGORITHMS[asked]


def _list_asked(requests: Mapping[str, Request], algorithms: object) -> dict[str, str]:
    """Return the algorithms that are asked for by name of the projection."""
    plastic = [item for item in requests.values() if item.projection.plastic and item.post.role == "recurrent"]
    if isinstance(algorithms, str):
        algorithms = dict.fromkeys((item.projection.name for item in plastic), algorithms)
    if not isinstance(algorithms, Mapping):
        raise InputError(
            f"algorithms = {quote(algorithms)} must be the name of an algorithm, "
            "or a table of projections and algorithms"
        )
    targets, asked = {item.post.name for item in plastic}, dict[str, str]()
    for name, wanted in algorithms.items():
        if not isinstance(wanted, str) or wanted not in ALGORITHMS:
            hint = suggest_name(str(wanted), ALGORITHMS)
            raise InputError(f"algorithms: {quote(name)}: unknown algorithm {quote(wanted)}{hint}")
        if name in requests:
            asked[name] = wanted
        elif name in targets:
            onto = [item.projection.name for item in plastic if item.post.name == name]
            asked = dict.fromkeys(onto, wanted) | asked
        else:
            hint = suggest_name(str(name), [*requests, *targets])
            raise InputError(
                f"algorithms: {quote(name)} is no projection, nor a population of neurons that learns{hint}"
            )
    return asked


def _require_known(model: Model) -> None:
    """Raise `InputError` if the spike variant does not know a loss or an optimizer of the model."""
    require_supported("", list_features(model))
    for readouts in model.of_role("readout") if not model.is_rewarded else ():
        model.eprop.require_known(f"population '{readouts.name}': loss", readouts.params.loss, model.eprop.losses)
    owners = {f"projection '{item.name}': ": item.optimizer for item in model.projections if item.optimizer}
    for owner, optimizer in ({"": model.optimizer} | owners).items():
        own = optimizer.find_compiled() is None or type(optimizer).step is not Optimizer.step
        if own and model.optimizer.batch_size == 1:
            known = ", ".join(OPTIMIZERS)
            raise InputError(
                f"{owner}optimizer '{optimizer.type}' has a step of its own in Python, which the spike variant cannot "
                f"take at each spike (known: {known})"
            )
