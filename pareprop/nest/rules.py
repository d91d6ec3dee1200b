"""Connection rules: which pairs of nodes are connected, in the order and with the random numbers of NEST."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .errors import NESTErrors, notice, refuse
from .mersenne import Twister
from .random import Generators, Parameter

MOST_EXACT = 300_000  # connections with random parameters of their own that are drawn one by one, as in NEST
OPTIONS = {"rule", "allow_autapses", "allow_multapses", "make_symmetric"}
ARGUMENT = {"fixed_indegree": "indegree", "fixed_outdegree": "outdegree", "fixed_total_number": "N",
            "pairwise_bernoulli": "p"}  # fmt: skip
RULES = ("all_to_all", "one_to_one", *ARGUMENT)


@dataclass(frozen=True)
class Pairs:
    """What a rule gave.

    Attributes
    ----------
    source, target : np.ndarray
        int64 (n,), places in the two collections.
    shape : tuple of int or None
        Of a matrix of weights, (rows, columns).
    row, column : np.ndarray or None
        int64 (n,), place of each pair in it; None if pairs come by target and columns count those of one target.
    drawn : dict or None
        Name to float64 (n,), parameters drawn with the pairs.
    """

    source: np.ndarray
    target: np.ndarray
    shape: tuple[int, int] | None = None
    row: np.ndarray | None = None
    column: np.ndarray | None = None
    drawn: Mapping[str, np.ndarray] | None = None

    def of_matrix(self, values: np.ndarray) -> np.ndarray:
        """Values of the pairs from a matrix of `shape`."""
        if self.row is not None:
            return values[self.row, self.column]
        return values[self.target, np.arange(len(self.target)) - np.searchsorted(self.target, self.target)]


def specification(spec: Any) -> dict[str, Any]:
    """Check a connection specification and complete it."""
    spec = {"rule": spec} if isinstance(spec, str) else dict(spec or {"rule": "all_to_all"})
    if "rule" not in spec:
        raise KeyError("rule")
    rule = spec["rule"]
    if rule not in RULES:
        known = ("pairwise_poisson", "symmetric_pairwise_bernoulli", "pairwise_avg_num_conns")
        if rule in known:
            raise refuse(f"the connection rule '{rule}'", "draw the pairs yourself and connect them one_to_one")
        raise NESTErrors.BadProperty(f"Unknown connectivity rule: {rule} (known: {', '.join(RULES)})")
    argument = ARGUMENT.get(rule)
    for key in spec.keys() - OPTIONS - {argument}:
        raise NESTErrors.UnaccessedDictionaryEntry(f"Unaccessed elements in conn_spec, in function Connect: {key}")
    if argument is not None and argument not in spec:
        raise IndexError(f"rule '{rule}' needs '{argument}'")
    if argument is not None and isinstance(spec[argument], Parameter):
        raise refuse(f"a random '{argument}'", "draw the pairs yourself and connect them one_to_one")
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
    if value != int(value) or value < 0:
        raise NESTErrors.BadProperty(f"{ARGUMENT[rule]} = {value} must be a whole number of at least 0")
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


class Draws:
    """Random choices of a rule, with parameters drawn for each connection as it is made.

    Parameters
    ----------
    generators : Generators
        Random numbers.
    random : dict
        Parameters to draw for each connection.
    n : float
        About how many connections are made; with more than `MOST_EXACT` parameters are drawn after all pairs.
    """

    def __init__(self, generators: Generators, random: Mapping[str, Parameter], n: float) -> None:
        self.generators, self.random = generators, dict(random)
        self.exact = not random or n <= MOST_EXACT
        if not self.exact:
            notice(
                f"random parameters of about {n:.0f} connections: they are drawn after the pairs, so they are not the "
                f"numbers that NEST draws; up to {MOST_EXACT} connections they are"
            )

    def of(self, vp: int) -> Twister:
        """Generator of a virtual process."""
        return self.generators.of(vp)

    def by_target(
        self, target: np.ndarray, choose: Callable[[int, int], Iterator[np.ndarray]], shape: tuple[int, int] | None
    ) -> Pairs:
        """Choose the sources of each target.

        Parameters
        ----------
        target : np.ndarray
            int64, ids.
        choose : Callable
            Takes a virtual process and the place of a target; yields pieces of places of sources, after each of which
            the generator stands as NEST's does when it has made these connections, one at a time if needed.
        shape : tuple of int or None
            Of a matrix of weights.

        Returns
        -------
        Pairs
            By target.
        """
        sources, drawn = [np.zeros(0, np.int64)], {name: [] for name in self.random}
        counts = np.zeros(len(target), np.int64)
        for k, node in enumerate(target.tolist()):
            vp = self.generators.of_node(node)
            for piece in choose(vp, k):
                sources.append(piece)
                counts[k] += len(piece)
                if self.singly:
                    self.draw(vp, drawn)
        source, place = np.concatenate(sources), np.repeat(np.arange(len(target)), counts)
        values = {name: np.array(row) for name, row in drawn.items()} if self.singly else self.in_order(target[place])
        return Pairs(source, place, shape, drawn=values)

    def in_order(self, target: np.ndarray) -> dict[str, np.ndarray]:
        """Draw the parameters of connections onto nodes `target` in this order."""
        if not self.exact:
            return {name: parameter.bulk(self.generators.bulk(), len(target))
                    for name, parameter in self.random.items()}  # fmt: skip
        if len(self.random) < 2:
            return {name: parameter.of_nodes(self.generators, target) for name, parameter in self.random.items()}
        drawn: dict[str, list[float]] = {name: [] for name in self.random}
        for node in target.tolist():
            self.draw(self.generators.of_node(node), drawn)
        return {name: np.array(column) for name, column in drawn.items()}

    def draw(self, vp: int, drawn: dict[str, list[float]]) -> None:
        """Draw the parameters of one connection."""
        for name, parameter in self.random.items():
            drawn[name].append(parameter.draw(self.generators.of(vp), vp))

    @property
    def singly(self) -> bool:
        """Whether connections are made one at a time."""
        return bool(self.random) and self.exact


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
