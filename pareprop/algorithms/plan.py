"""`NetworkPlan`: the algorithm of each projection, and what kernels need to know of it in their tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..kernels import layout
from ..network import learning
from ..network.connectivity import Population, Projection
from ..network.local import program_of
from ..network.model import Model
from ..network.rule_options import definition_of, origin_of
from ..network.synapse_table import SynapseTable
from ..neurons.compile import Part, compile_model
from ..neurons.derive import NO_LEARNS
from ..parallel.mpi import Comm
from ..rules.bound import BoundRule
from ..rules.program import compile_rule
from .base import Algorithm
from .idle import tabulate_idle_steps
from .request import Request

FOLD_STEPS = 1024  # rows without a cutoff (or with a longer one) are updated at least this often
TRACES = tuple(f"trace_{k}" for k in range(64))  # names of synapses' traces of neurons given by equations
BLOCK_SETTINGS = np.asarray(layout.example_settings()).dtype


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
        return self.algorithm.learns

    @property
    def numbers(self) -> set[str]:
        """Names of the numbers that a synapse stores, without its weight and traces of custom models."""
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

    def chosen(self, name: str) -> np.ndarray:
        """Return which blocks learn by an algorithm, bool (n_blocks,)."""
        return np.array([plan.algorithm.name == name for plan in self.plans], bool)

    @cached_property
    def reads_maps(self) -> np.ndarray:
        """Which blocks read composed maps of steps, bool (n_blocks,)."""
        return np.array([plan.algorithm.reads_maps for plan in self.plans], bool)

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
        """Names of the numbers that each synapse stores, without its weight: the union over all blocks."""
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
        """Return the steps of history that neurons store, without the lag of learning signals."""
        return max((plan.algorithm.kept_steps(self.longest_cutoff()) for plan in self.plans), default=1)


@dataclass(frozen=True)
class NetworkPlan:
    """The plans of all projections that bring spikes, the same on all ranks.

    Attributes
    ----------
    plans : dict
        Name of a projection to its plan.
    d_out, m : int
        Delay to readouts, and steps by which learning signals lag behind.
    block, readout_block : int
        Steps of a block of prefix sums of neurons and of errors, 0 without such sums.
    sets : int
        Filters of the traces: 2 if a population filters for its regularization apart.
    second_trace : bool
        Whether synapses have a second trace in addition to ebar.
    """

    plans: dict[str, Plan]
    d_out: int
    m: int
    block: int
    readout_block: int
    sets: int
    second_trace: bool

    @property
    def algorithms(self) -> dict[str, str]:
        """Name of each projection that brings spikes, to the name of its algorithm."""
        return {name: plan.algorithm.name for name, plan in self.plans.items()}

    def uses(self, name: str) -> bool:
        """Return whether a projection learns by an algorithm, the same on all ranks."""
        return any(plan.algorithm.name == name for plan in self.plans.values())

    def follows(self, post: Population, through: str) -> bool:
        """Return whether traces at neurons, of a part of the derivatives, are followed step by step."""
        return (post.name, through) in self._stepped or bool(post.learns.names and through == "all")

    @cached_property
    def _stepped(self) -> set[tuple[str, str]]:
        """Names of populations with the part of their derivatives that synapses follow step by step."""
        plans = [plan for plan in self.plans.values() if plan.algorithm.follows_neurons]
        return {(plan.request.post.name, plan.request.through or "all") for plan in plans}

    def composed(self, post: Population) -> Part | None:
        """Return the composed maps that synapses onto neurons need; None if they need none.

        Populations of one custom model share its compiled code.
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
                self.second_trace,
            )
            for key, plans in onto.items()
            if any(plan.algorithm.reads_maps for plan in plans)
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
