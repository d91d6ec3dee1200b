"""Connection rules, which choose the synapses of a projection, one class each; `RULES` lists all by name.

This module has the rules that `topology` draws; `streamed_rules` has the others. Learning rules: `pareprop/rules`.
"""

from __future__ import annotations

from ..errors import InputError, quote
from ..kernels import topology
from ..values import Values
from .parameters import is_number
from .rule_base import ConnectionRule, Described, has_whole_value
from .streamed_rules import Callback, DistanceDependent, Explicit, LognormalDegrees, Sonata

MOST_SYNAPSES = 2**48  # largest total of "fixed_total_number"


class AllToAll(ConnectionRule):
    """One synapse from each source to each target."""

    code = topology.ALL_TO_ALL
    reaches_all = True

    def compute_indegree(self, projection: Described) -> float:
        """Return the mean number of synapses onto one target."""
        return projection.n_choices


class OneToOne(ConnectionRule):
    """One synapse from source k to target k."""

    code = topology.ONE_TO_ONE

    def check(self, here: str, projection: Described) -> None:
        """Raise `InputError` unless both populations have the same size."""
        if projection.pre.size != projection.post.size:
            raise InputError(
                f"{here}: rule 'one_to_one' needs populations of the same size, they have {projection.pre.size} and "
                f"{projection.post.size} cells"
            )

    def compute_indegree(self, projection: Described) -> float:
        """Return the mean number of synapses onto one target."""
        return 1.0 if projection.n_choices == projection.pre.size else 0.0


class FixedIndegree(ConnectionRule):
    """`indegree` sources per target, drawn with or without repetition."""

    code = topology.FIXED_INDEGREE
    options = ("indegree",)

    def check(self, here: str, projection: Described) -> None:
        """Raise `InputError` unless there are enough sources."""
        limit = 2**31 if projection.allow_multapses else projection.n_choices
        limit = limit if projection.n_choices else 0
        if not has_whole_value(projection.indegree) or not 0 <= projection.indegree <= limit:
            raise InputError(
                f"{here}: indegree = {quote(projection.indegree)} must be a whole number from 0 to {limit}"
            )

    def check_fields(self, here: str, projection: Described) -> Values:
        """Return the checked fields; the kernel counts in integers."""
        checked = super().check_fields(here, projection)
        return {**checked, "indegree": int(checked["indegree"])}

    def compute_indegree(self, projection: Described) -> float:
        """Return the mean number of synapses onto one target."""
        return projection.indegree


class FixedTotalNumber(ConnectionRule):
    """`N` synapses in all, each with a random source and a random target; each rank draws those onto its targets."""

    code = topology.FIXED_INDEGREE
    options = ("N",)

    def check(self, here: str, projection: Described) -> None:
        """Raise `InputError` unless so many synapses can be drawn with repetition."""
        if not projection.allow_multapses:
            raise InputError(f"{here}: rule 'fixed_total_number' cannot leave out multapses")
        limit = MOST_SYNAPSES if projection.n_choices else 0
        if not has_whole_value(projection.N) or not 0 <= projection.N <= limit:
            raise InputError(f"{here}: N = {quote(projection.N)} must be a whole number from 0 to {limit}")

    def check_fields(self, here: str, projection: Described) -> Values:
        """Return the checked fields; the number is whole."""
        checked = super().check_fields(here, projection)
        return {**checked, "N": int(checked["N"])}

    def compute_indegree(self, projection: Described) -> float:
        """Return the mean number of synapses onto one target."""
        return projection.N / projection.post.size


class FixedProbability(ConnectionRule):
    """A synapse from each source to each target with `probability`."""

    code = topology.FIXED_PROBABILITY
    options = ("probability",)

    def check(self, here: str, projection: Described) -> None:
        """Raise `InputError` unless `probability` lies in [0, 1]."""
        if not (is_number(projection.probability) and 0 <= projection.probability <= 1):
            raise InputError(f"{here}: probability = {quote(projection.probability)} must lie in [0, 1]")

    def compute_indegree(self, projection: Described) -> float:
        """Return the mean number of synapses onto one target."""
        return projection.probability * projection.n_choices


RULES: dict[str, ConnectionRule] = {
    "all_to_all": AllToAll(),
    "one_to_one": OneToOne(),
    "fixed_indegree": FixedIndegree(),
    "fixed_total_number": FixedTotalNumber(),
    "fixed_probability": FixedProbability(),
    "explicit": Explicit(),
    "lognormal_degrees": LognormalDegrees(),
    "distance": DistanceDependent(),
    "sonata": Sonata(),
    "callback": Callback(),
}
OPTIONS = sorted({name for rule in RULES.values() for name in rule.options})
