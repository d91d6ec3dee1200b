"""Connection rules: which pairs of nodes are connected, in the order and with the random numbers of NEST."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ..errors import quote
from ..network.parameters import is_number
from ..network.rule_base import has_whole_value
from .draws import Draws, Pairs
from .errors import NESTErrors, notice, refuse
from .mersenne import Twister
from .random import Generators, Parameter

OPTIONS = {"rule", "allow_autapses", "allow_multapses", "make_symmetric"}
ARGUMENT = {"fixed_indegree": "indegree", "fixed_outdegree": "outdegree", "fixed_total_number": "N",
            "pairwise_bernoulli": "p"}  # fmt: skip
MOST = 2**31  # connections of a node, or in all
RULES = ("all_to_all", "one_to_one", *ARGUMENT)


def specification(spec: Any) -> dict[str, Any]:
    """Check a connection specification and complete it."""
    if not isinstance(spec, str | Mapping | None):
        raise NESTErrors.TypeMismatch(f"conn_spec = {quote(spec)} must be the name of a rule, or a dictionary")
    spec = {"rule": spec} if isinstance(spec, str) else dict(spec or {"rule": "all_to_all"})
    if "rule" not in spec:
        raise KeyError("rule")
    rule = spec["rule"]
    if not isinstance(rule, str) or rule not in RULES:
        known = ("pairwise_poisson", "symmetric_pairwise_bernoulli", "pairwise_avg_num_conns")
        if rule in known:
            raise refuse(f"the connection rule '{rule}'", "draw the pairs yourself and connect them one_to_one")
        raise NESTErrors.BadProperty(f"Unknown connectivity rule: {quote(rule)} (known: {', '.join(RULES)})")
    argument = ARGUMENT.get(rule)
    for key in spec.keys() - OPTIONS - {argument}:
        raise NESTErrors.UnaccessedDictionaryEntry(f"Unaccessed elements in conn_spec, in function Connect: {key}")
    if argument is not None and argument not in spec:
        raise IndexError(f"rule '{rule}' needs '{argument}'")
    if argument is not None and isinstance(spec[argument], Parameter):
        raise refuse(f"a random '{argument}'", "draw the pairs yourself and connect them one_to_one")
    if argument is not None and not is_number(spec[argument]):
        raise NESTErrors.TypeMismatch(f"{argument} = {quote(spec[argument])} must be a number")
    for key in sorted((OPTIONS - {"rule"}) & spec.keys()):
        if not isinstance(spec[key], bool | np.bool_):
            raise NESTErrors.TypeMismatch(f"{key} = {quote(spec[key])} must be true or false")
    if spec.get("make_symmetric"):
        raise refuse("make_symmetric", "connect both ways yourself")
    return {"allow_autapses": True, "allow_multapses": True} | spec


def pairs(
    spec: Mapping[str, Any], source: np.ndarray, target: np.ndarray, generators: Generators,
    random: Mapping[str, Parameter],
) -> Pairs:  # fmt: skip
    """Connect two collections of ids by a rule.

    Parameters
    ----------
    spec : dict
        As completed by `specification`.
    source, target : np.ndarray
        int64, ids.
    generators : Generators
        Random numbers.
    random : dict
        Parameters of synapses that are drawn for each connection.

    Returns
    -------
    Pairs
        In the order in which NEST makes them.
    """
    rule, autapses, multapses = spec["rule"], spec["allow_autapses"], spec["allow_multapses"]
    if rule == "all_to_all":
        chosen = _all_to_all(source, target, autapses)
    elif rule == "one_to_one":
        chosen = _one_to_one(source, target, autapses)
    else:
        _check(spec, len(source), len(target))
        draws = Draws(generators, random, _expect_number(spec, len(source), len(target)))
        if rule == "fixed_outdegree":
            return _fixed_outdegree(spec, source, target, draws)
        if rule == "fixed_indegree":
            n = int(spec["indegree"])
            return draws.by_target(
                target,
                lambda vp, k: _choices(
                    draws.of(vp), source, n, None if autapses else target[k], multapses, draws.singly
                ),
                (len(target), n),
            )
        if rule == "pairwise_bernoulli":
            p = float(spec["p"])
            return draws.by_target(
                target,
                lambda vp, k: _bernoulli(draws.of(vp), source, None if autapses else target[k], p, draws.singly),
                None,
            )
        return _fixed_total(spec, source, target, draws)
    if random:
        draws = Draws(generators, random, 0)
        return Pairs(chosen.source, chosen.target, drawn=draws.in_order(target[chosen.target]))
    return chosen


def _all_to_all(source: np.ndarray, target: np.ndarray, autapses: bool) -> Pairs:
    n, m = len(source), len(target)
    k, i = np.repeat(np.arange(m), n), np.tile(np.arange(n), m)
    if not autapses:
        kept = source[i] != target[k]
        k, i = k[kept], i[kept]
    return Pairs(i, k, (m, n), k, i)


def _one_to_one(source: np.ndarray, target: np.ndarray, autapses: bool) -> Pairs:
    if len(source) != len(target):
        raise NESTErrors.DimensionMismatch(
            f"Source and Target population must be of the same size, they have {len(source)} and {len(target)} nodes"
        )
    k = np.arange(len(source))
    k = k if autapses else k[source != target]
    return Pairs(k, k, (1, len(source)), np.zeros_like(k), k)


def _check(spec: Mapping[str, Any], n: int, m: int) -> None:
    rule = spec["rule"]
    value = spec[ARGUMENT[rule]]
    if rule == "pairwise_bernoulli":
        if not 0 <= value <= 1:
            raise NESTErrors.BadProperty(f"Connection probability 0 <= p <= 1 required, p = {value}")
        return
    if not has_whole_value(value) or not 0 <= value < MOST:
        raise NESTErrors.BadProperty(f"{ARGUMENT[rule]} = {quote(value)} must be a whole number from 0 to below {MOST}")
    limit = {"fixed_indegree": n, "fixed_outdegree": m}.get(rule)
    if limit is not None and not spec["allow_multapses"] and value > limit - (not spec["allow_autapses"]):
        raise NESTErrors.BadProperty(f"{ARGUMENT[rule]} = {value} cannot be larger than the population, {limit}")
    if rule == "fixed_total_number" and not spec["allow_multapses"]:
        raise NESTErrors.NotImplemented("fixed_total_number cannot leave out multapses")
    if limit == 0 or (limit is not None and limit == 1 and not spec["allow_autapses"] and n == m):
        raise NESTErrors.BadProperty("there is nobody to connect to")


def _expect_number(spec: Mapping[str, Any], n: int, m: int) -> float:
    value = float(spec[ARGUMENT[spec["rule"]]])
    return value * {"fixed_indegree": m, "fixed_outdegree": n, "fixed_total_number": 1}.get(spec["rule"], n * m)


def _choices(
    twister: Twister, source: np.ndarray, wanted: int, own: int | None, multapses: bool, singly: bool
) -> Iterator[np.ndarray]:
    """Places of `wanted` sources, without the node `own`, without repeats unless `multapses`; yielded as they come."""
    chosen = np.zeros(0, np.int64)
    while len(chosen) < wanted:
        more = twister.whole(len(source), 1 if singly else wanted - len(chosen))
        if own is not None:
            more = more[source[more] != own]
        if not multapses:
            both = np.concatenate([chosen, more])
            both = both[np.sort(np.unique(both, return_index=True)[1])]
            more = both[len(chosen) :]
        chosen = np.concatenate([chosen, more])
        if len(more):
            yield more


def _bernoulli(twister: Twister, source: np.ndarray, own: int | None, p: float, singly: bool) -> Iterator[np.ndarray]:
    """Places of the sources that are drawn with probability p, without the node `own`."""
    places = np.flatnonzero(source != own) if own is not None else np.arange(len(source))
    if not singly:
        yield places[twister.uniform(len(places)) < p]
        return
    for place in places:
        if twister.drand() < p:
            yield np.array([place])


def _fixed_outdegree(spec: Mapping[str, Any], source: np.ndarray, target: np.ndarray, draws: Draws) -> Pairs:
    n, autapses, twister = int(spec["outdegree"]), spec["allow_autapses"], draws.generators.shared
    targets = [np.zeros(0, np.int64)]
    for node in source:
        targets += _choices(twister, target, n, None if autapses else node, spec["allow_multapses"], False)
    place, k = np.concatenate(targets), np.arange(n * len(source))
    row = k // max(n, 1)
    return Pairs(row, place, (len(source), n), row, k - n * row, draws.in_order(target[place]))


def _fixed_total(spec: Mapping[str, Any], source: np.ndarray, target: np.ndarray, draws: Draws) -> Pairs:
    if draws.generators.n > 1:
        notice("fixed_total_number with several virtual processes: the pairs are not those that NEST draws")
    n_pairs, twister, accepted = int(spec["N"]), draws.of(0), []
    drawn = {name: [] for name in draws.random}
    while len(accepted) < n_pairs:
        pair = int(twister.whole(len(source), 1)[0]), int(twister.whole(len(target), 1)[0])
        if spec["allow_autapses"] or source[pair[0]] != target[pair[1]]:
            accepted.append(pair)
            if draws.singly:
                draws.draw(0, drawn)
    both = np.array(accepted, np.int64).reshape(-1, 2)
    singly = {name: np.array(row) for name, row in drawn.items()}
    values = singly if draws.singly else draws.in_order(target[both[:, 1]])
    k = np.arange(len(both))
    return Pairs(both[:, 0], both[:, 1], (1, n_pairs), np.zeros_like(k), k, values)
