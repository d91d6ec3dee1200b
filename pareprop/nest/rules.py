"""Connection rules: which pairs of nodes are connected, in the order and with the random numbers of NEST."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..errors import quote
from ..network.parameters import is_number
from ..network.rule_base import has_whole_value
from ..values import Given, Values
from .draws import Draws, Pairs, check_memory
from .errors import NESTErrors, make_refusal
from .random import Generators, Parameter

OPTIONS = {"rule", "allow_autapses", "allow_multapses", "make_symmetric"}
ARGUMENT = {
    "fixed_indegree": "indegree",
    "fixed_outdegree": "outdegree",
    "fixed_total_number": "N",
    "pairwise_bernoulli": "p",
    "symmetric_pairwise_bernoulli": "p",
}
MOST = 2**31  # connections of a node, or in all
BOTH_WAYS = "symmetric_pairwise_bernoulli"
RULES = ("all_to_all", "one_to_one", *ARGUMENT)


def complete_specification(spec: object) -> Values:
    """Check a connection specification and complete it."""
    if not isinstance(spec, str | Mapping | None):
        raise NESTErrors.TypeMismatch(f"conn_spec = {quote(spec)} must be the name of a rule, or a dictionary")
    spec = {"rule": spec} if isinstance(spec, str) else dict(spec or {"rule": "all_to_all"})
    if "rule" not in spec:
        raise KeyError("rule")
    rule = spec["rule"]
    if not isinstance(rule, str) or rule not in RULES:
        if rule == "pairwise_poisson":
            raise make_refusal(f"the connection rule '{rule}'", "draw the pairs yourself and connect them one_to_one")
        raise NESTErrors.BadProperty(f"Unknown connectivity rule: {quote(rule)} (known: {', '.join(RULES)})")
    argument = ARGUMENT.get(rule)
    for key in spec.keys() - OPTIONS - {argument}:
        raise NESTErrors.UnaccessedDictionaryEntry(f"Unaccessed elements in conn_spec, in function Connect: {key}")
    if argument is not None and argument not in spec:
        raise IndexError(f"rule '{rule}' needs '{argument}'")
    if argument is not None and isinstance(spec[argument], Parameter):
        raise make_refusal(f"a random '{argument}'", "draw the pairs yourself and connect them one_to_one")
    if argument is not None and not is_number(spec[argument]):
        raise NESTErrors.TypeMismatch(f"{argument} = {quote(spec[argument])} must be a number")
    for key in sorted((OPTIONS - {"rule"}) & spec.keys()):
        if not isinstance(spec[key], bool | np.bool_):
            raise NESTErrors.TypeMismatch(f"{key} = {quote(spec[key])} must be true or false")
    if spec.get("make_symmetric") and rule != BOTH_WAYS:
        raise make_refusal("make_symmetric", "connect both ways yourself")
    return {"allow_autapses": True, "allow_multapses": True, "make_symmetric": False} | spec


def choose_pairs(
    spec: Given,
    source: np.ndarray,
    target: np.ndarray,
    generators: Generators,
    random: Mapping[tuple[int, str], Parameter],
) -> Pairs:
    """Connect two collections of int64 ids by a rule; the order of pairs is NEST's.

    `spec` was completed by `complete_specification`; `random` has the parameters of synapses that are drawn for each
    connection, in this order. Pairs of `fixed_total_number` are sorted by virtual process.
    """
    rule, autapses, multapses = spec["rule"], spec["allow_autapses"], spec["allow_multapses"]
    draws = Draws(source, target, autapses, generators, random)
    if rule == "one_to_one":
        return _choose_one_to_one(draws)
    if rule == "all_to_all":
        check_memory(len(source) * len(target))
        return _choose_all_to_all(draws)
    value = spec[ARGUMENT[rule]]
    if rule in ("pairwise_bernoulli", BOTH_WAYS):
        p = float(value)
        if not 0 <= p <= 1:
            raise NESTErrors.BadProperty(f"Connection probability 0 <= p <= 1 required, p = {p}")
        check_memory(p * len(source) * len(target))
        return draws.choose_by_probability(p) if rule == "pairwise_bernoulli" else _choose_both_ways(spec, draws)
    if not has_whole_value(value) or not 0 <= value < MOST:
        raise NESTErrors.BadProperty(f"{ARGUMENT[rule]} = {quote(value)} must be a whole number from 0 to below {MOST}")
    n = int(value)
    if rule == "fixed_total_number":
        check_memory(n)
        return _choose_total(n, multapses, draws)
    nodes, others = (source, target) if rule == "fixed_outdegree" else (target, source)
    check_memory(n * len(nodes))
    _check_choice(f"{ARGUMENT[rule]} = {n}", nodes, others, n, autapses, multapses)
    return draws.choose_outdegree(n, multapses) if rule == "fixed_outdegree" else draws.choose_indegree(n, multapses)


def _choose_all_to_all(draws: Draws) -> Pairs:
    n, m = len(draws.source), len(draws.target)
    source, target, kept = np.tile(draws.source, m), np.repeat(draws.target, n), None
    if not draws.autapses and len(np.intersect1d(draws.source, draws.target)):
        kept = source != target
        source, target = source[kept], target[kept]
    return draws.draw_in_order(source, target, (m, n), kept)


def _choose_one_to_one(draws: Draws) -> Pairs:
    source, target, kept = draws.source, draws.target, None
    if len(source) != len(target):
        raise NESTErrors.DimensionMismatch(
            f"Source and Target population must be of the same size, they have {len(source)} and {len(target)} nodes"
        )
    n = len(source)
    if not draws.autapses:
        kept = source != target
        source, target = source[kept], target[kept]
    return draws.draw_in_order(source, target, (1, n), kept)


def _check_choice(what: str, nodes: np.ndarray, others: np.ndarray, n: int, autapses: bool, multapses: bool) -> None:
    """Refuse choices that would never come to an end."""
    if n and len(nodes):
        free = len(others)
        if not autapses and free:
            times = np.bincount(others, minlength=int(nodes.max()) + 1)
            free -= int(times[nodes].max())
        if not multapses and n > free:
            raise NESTErrors.BadProperty(f"{what} cannot be larger than the population that may be chosen, {free}")
        if not free:
            raise NESTErrors.BadProperty("there are no nodes to connect to")


def _choose_total(n: int, multapses: bool, draws: Draws) -> Pairs:
    if not multapses:
        raise NESTErrors.NotImplemented("fixed_total_number cannot leave out multapses")
    process, other = draws.target % draws.generators.n, np.ones(len(draws.target), bool)
    if not draws.autapses and len(some := np.unique(draws.source)) == 1:
        other = draws.target != some[0]
    alone = np.setdiff1d(process, process[other])  # virtual processes, which draw on their own
    if n and (len(alone) or not len(draws.source) or not len(draws.target)):
        raise NESTErrors.BadProperty("there are no nodes to connect to")
    return draws.choose_total(n)


def _choose_both_ways(spec: Given, draws: Draws) -> Pairs:
    if spec["allow_autapses"] or not spec["allow_multapses"] or not spec["make_symmetric"]:
        raise NESTErrors.BadProperty(
            f"{BOTH_WAYS} needs allow_autapses = False, allow_multapses = True, make_symmetric = True"
        )
    if spec["p"] == 1:
        raise NESTErrors.BadProperty("Connection probability 0 <= p < 1 required, p = 1")
    if draws.random:
        raise NESTErrors.NotImplemented(f"{BOTH_WAYS} takes no random {next(iter(draws.random))[1]}: set it afterwards")
    return draws.choose_both_ways(float(spec["p"]))
