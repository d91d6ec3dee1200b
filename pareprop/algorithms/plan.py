"""`ALGORITHMS`, the list of all, and the plan of a network: an algorithm for each projection, and tables of kernels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from ..errors import InputError, quote
from ..kernels import layout
from ..network import learning
from ..network.connectivity import Population, Projection
from ..network.features import list_features
from ..network.local import program_of
from ..network.model import Model
from ..network.optimizers import OPTIMIZERS, Optimizer
from ..network.parameters import suggest_name
from ..network.rule_options import definition_of, origin_of
from ..network.synapse_table import SynapseTable
from ..network.unsupported import require_supported
from ..neurons.compile import Part, compile_model
from ..neurons.derive import NO_LEARNS
from ..parallel.mpi import Comm
from ..rules.bound import BoundRule
from ..rules.program import compile_rule
from .base import Algorithm
from .idle import tabulate_idle_steps
from .lines.algorithm import Lines
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
FOLD_STEPS = 1024  # rows without a cutoff (or with a longer one) are updated at least this often
RULE_FOLD_STEPS = 256  # as FOLD_STEPS, for rules given by equations, while an arrival has not entered the traces yet
TRACES = tuple(f"trace_{k}" for k in range(64))  # names of synapses' traces of neurons given by equations
BLOCK_SETTINGS = np.asarray(layout.example_settings()).dtype
Algorithms = str | Mapping[str, str]  # what a user asks for: one for all projections onto neurons, or by name


@dataclass(frozen=True)
class Plan:
    """How a projection learns.

    Attributes
    ----------
    request : Request
        The projection, and all that the choice depends on.
    algorithm : Algorithm
        The algorithm that was chosen.
    """

    request: Request
    algorithm: Algorithm

    @property
    def learns(self) -> bool:
        """Whether weights learn."""
        return not isinstance(self.algorithm, Static)

    @property
    def numbers(self) -> set[str]:
        """Names of the numbers that a synapse keeps beside its weight and traces of equations."""
        return self.algorithm.numbers(self.request) | set(self.moments)

    @property
    def moments(self) -> tuple[str, ...]:
        """Names of the numbers that the optimizer keeps of a synapse."""
        return self.request.optimizer.moments

    @property
    def n_traces(self) -> int:
        """Traces of a synapse onto neurons given by equations, or of a rule; else 0."""
        request = self.request
        if request.equations:
            definition = definition_of(request.post)
            return len(BoundRule(request.equations, definition, origin_of(request.post)).synapse_states)
        if request.definition is None or request.post.role == "readout":
            return 0
        return program_of(request.post, request.kept, request.through or "all").n_traces

    @property
    def why_each_step(self) -> str | None:
        """Why synapses take time steps one by one, if optimize_each_step = False would spare them that; else None."""
        request, reason = self.request, self.request.needs_steps
        if reason is None or not self.algorithm.takes_each_step(request):
            return None
        other = replace(request, at_arrivals=True)
        return None if _choose_algorithm(other, None).takes_each_step(other) else reason

    @cached_property
    def settings(self) -> dict[str, object]:
        """Fields of the projection's blocks in `BlockSettings` of the kernels, see `layout.pxd`."""
        request, optimizer, values = self.request, self.request.optimizer, self.request.post.params
        return {
            "algorithm": self.algorithm.code_of(request),
            "cutoff": layout.NO_CUTOFF if request.equations else request.cutoff,
            "own_zbar": request.own_zbar,
            "adaptive": request.adapts,
            "optimizer": optimizer.code,
            "counted": not optimizer.accumulates,
            "each_step": optimizer.optimize_each_step and self.algorithm.takes_each_optimizer_step(request),
            "moves": bool(request.projection.rewire),
            "lag": request.lag,
            "rule": self.learner,
            "horizon": request.fades,
            "alpha": request.alpha or 0.0,
            "kappa": getattr(values, "kappa", 0.0) * request.is_filtered,
            "kappa_reg": getattr(values, "kappa_reg", 0.0),
            "eta": optimizer.eta,
            "Wmin": optimizer.Wmin,
            "Wmax": optimizer.Wmax,
        }

    @property
    def learner(self) -> int:
        """Index of its learning rule in the table of learners, `NO_LEARNER` for e-prop."""
        return self.request.learner if self.learns else layout.NO_LEARNER


class TablePlan:
    """The plans of the blocks of a table of synapses, and what all synapses of the table keep.

    Parameters
    ----------
    plans : sequence of Plan
        Plan of each block.

    Attributes
    ----------
    settings : np.ndarray
        (n_blocks,), structs of the kernels, see `BlockSettings` in `layout.pxd`.
    moments : tuple of str
        Names of what the optimizers of all blocks keep of a synapse.
    idle_steps : dict
        Tables with which kernels take optimizer steps without a gradient, see `idle`.
    """

    def __init__(self, plans: Sequence[Plan]) -> None:
        self.plans = plans
        self.moments = tuple(sorted({name for plan in plans for name in plan.moments}))
        self.settings = np.zeros(len(plans), BLOCK_SETTINGS)
        self.settings["kept"] = -1
        for row, plan in zip(self.settings, plans, strict=True):
            for name, value in plan.settings.items():
                row[name] = value
            row["kept"][: len(plan.moments)] = [*map(self.moments.index, plan.moments)]
            constants = plan.request.optimizer.constants
            row["constants"][: len(constants)] = constants
        optimizers = [plan.request.optimizer for plan in plans]
        self.settings["idle"], self.idle_steps = tabulate_idle_steps(optimizers)

    def chosen(self, *names: str) -> np.ndarray:
        """Return which blocks learn by one of some algorithms, bool (n_blocks,)."""
        return np.array([plan.algorithm.name in names for plan in self.plans], bool)

    def uses(self, *names: str) -> bool:
        """Return whether a block learns by one of some algorithms."""
        return bool(self.chosen(*names).any())

    @cached_property
    def is_counted(self) -> bool:
        """Whether kernels count optimizer steps: those without a gradient change something in a block."""
        return any(not plan.request.optimizer.accumulates for plan in self.plans)

    @cached_property
    def learns(self) -> bool:
        """Whether any block learns."""
        return any(plan.learns for plan in self.plans)

    @cached_property
    def numbers(self) -> set[str]:
        """Names of the numbers that each synapse keeps beside its weight: all that any block asks for."""
        names = set().union(*(plan.numbers for plan in self.plans))
        return names | set(TRACES[: max(plan.n_traces for plan in self.plans)] if self.learns else ())

    def longest_cutoff(self, chosen: slice | np.ndarray = slice(None)) -> int:
        """Return the longest cutoff in steps; `FOLD_STEPS` if it is longer or infinite, 1 if nothing learns.

        Parameters
        ----------
        chosen : slice or np.ndarray
            Which of the blocks count.
        """
        blocks = self.settings[chosen]
        cutoffs = blocks["cutoff"][blocks["algorithm"] != layout.STATIC]
        if not len(cutoffs):
            return 1
        return FOLD_STEPS if cutoffs.min() < 0 else int(min(cutoffs.max(), FOLD_STEPS))

    def kept_steps(self) -> int:
        """Return the steps of history that neurons keep, beside those by which learning signals lag behind."""
        return max((plan.algorithm.kept_steps(self.longest_cutoff()) for plan in self.plans), default=1)


class NetworkPlan:
    """The plans of all projections that bring spikes, the same on all ranks.

    Parameters
    ----------
    model : Model
        The whole network.
    algorithms : str, Mapping of str to str or None
        What the user asks for: one for all projections that learn onto neurons, or name to algorithm. A name is that of
        a projection, or of a population: then of all projections that learn onto it. Projections onto one population
        may learn by different algorithms.

    Attributes
    ----------
    d_out, m : int
        Delay to readouts, and steps by which learning signals lag behind.
    block, readout_block : int
        Steps of a block of prefix sums of neurons and of errors, 0 without such sums.
    sets : int
        Filters of the traces: 2 if a population filters for its regularization apart.
    beside : bool
        Whether there is a trace beside ebar.

    Raises
    ------
    InputError
        If the spike variant does not know a loss, an optimizer or a delay of the model, or an algorithm does not fit.
    """

    def __init__(self, model: Model, algorithms: Algorithms | None = None) -> None:
        require_known(model)
        loop = lags(model)
        is_apart, kept, learners = filters_apart(model), learning.list_kept(model), learning.index_rules(model)
        self.d_out, self.m, self.sets = loop.d_out, loop.m, 1 + is_apart
        self.beside = is_apart or model.is_rewarded
        self.block, self.readout_block = block_length(model), readout_block_length(model)
        items = [item for item in model.projections if item.pre.role in ("input", "recurrent")]
        requests = {
            item.name: Request(
                model, item, self.m, self.block, is_apart, kept.get(item.post.name, ()),
                learners.get(item.name, layout.NO_LEARNER),
            )
            for item in items
        }  # fmt: skip
        asked = {} if algorithms is None else _list_asked(requests, algorithms)
        self.plans = {
            name: Plan(request, _choose_algorithm(request, asked.get(name))) for name, request in requests.items()
        }

    @property
    def algorithms(self) -> dict[str, str]:
        """Name of each projection that brings spikes, to the name of its algorithm."""
        return {name: plan.algorithm.name for name, plan in self.plans.items()}

    def uses(self, *names: str) -> bool:
        """Return whether a projection learns by one of some algorithms, the same on all ranks."""
        return any(plan.algorithm.name in names for plan in self.plans.values())

    def follows(self, post: Population, through: str) -> bool:
        """Return whether traces at neurons, of a part of the derivatives, are followed step by step."""
        return (post.name, through) in self._stepped or bool(post.learns.names and through == "all")

    @cached_property
    def _stepped(self) -> set[tuple[str, str]]:
        """Names of populations with the part of their derivatives that synapses follow step by step."""
        plans = [plan for plan in self.plans.values() if isinstance(plan.algorithm, Steps)]
        return {(plan.request.post.name, plan.request.through or "all") for plan in plans}

    def composed(self, post: Population) -> Part | None:
        """Return the composed maps that synapses onto neurons need; None if they need none.

        Populations share what is compiled for a model given by equations.
        """
        return self._composed.get(getattr(post.params, "definition", None) or post.name)

    @cached_property
    def _composed(self) -> dict[object, Part]:
        """What `composed` returns, by name of the population, or by its model if equations give it."""
        onto: dict[object, list[Plan]] = {}
        for plan in self.plans.values():
            for key in (plan.request.post.name, plan.request.definition) if plan.learns else ():
                onto.setdefault(key, []).append(plan)
        return {
            key: Part(
                "composed",
                plans[0].request.model.precision,
                tuple(sorted({plan.request.projection.port_index for plan in plans})),
                isinstance(key, str),
                self.beside,
            )
            for key, plans in onto.items()
            if any(isinstance(plan.algorithm, Scan) for plan in plans)
        }

    def of_table(self, table: SynapseTable) -> TablePlan:
        """Return the plans of all blocks of a table."""
        return TablePlan(table.map_blocks(lambda item: self.plans[item.name]))

    def of_projections(self, projections: Iterable[Projection]) -> TablePlan:
        """Return the plans of projections as if each were one block."""
        return TablePlan([self.plans[item.name] for item in projections])


def compile_models(model: Model, comm: Comm, plan: NetworkPlan | None) -> None:
    """Collective: compile on one rank models and rules that are not in the package, with the plan's composed maps."""
    definitions, kept_by = {}, learning.list_kept(model)
    for population in model.of_role("recurrent"):
        definition = definitions[population.name] = definition_of(population).with_saved(kept_by[population.name])
        compile_model(definition, comm, _list_parts(model, population, plan, "all"), population.learns)
    groups = {population.name: population for population in model.of_role("recurrent")}
    for name, through in learning.list_parts(model):
        post = groups[name]
        learns = post.learns if through == "all" else NO_LEARNS
        compile_model(
            definitions[name].learning_through(through), comm, _list_parts(model, post, plan, through), learns
        )
    of_rules = [Part("rule_interval" if plan is None else "rule_spike", model.precision)]
    for at in learning.list_rules(model):
        compile_rule(learning.bind_rule(at, definitions[at.post.name]), comm, of_rules)


def _list_parts(model: Model, post: Population, plan: NetworkPlan | None, through: str) -> list[Part]:
    """Return what a run needs of neurons, or of the traces at these that follow a part of their derivatives."""
    kinds = ["step"] * (through == "all")
    kinds += ["sweep"] if plan is None else ["trace"] * plan.follows(post, through)
    maps = plan.composed(post) if plan and through == "all" else None
    return [*(Part(kind, model.precision) for kind in kinds), *([maps] if maps else [])]


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


def require_known(model: Model) -> None:
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
