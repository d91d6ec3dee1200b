"""Choose the values that a step stores for later derivatives: the fewest numbers that determine all derivatives.

Derivatives read states, ports and the current, but often only through few terms, such as the total conductance of a
membrane; these terms are stored instead if they are fewer. The minimum is a smallest cut between varying values and
derivatives (Ford and Fulkerson 1956, doi 10.4153/CJM-1956-045-5). Of several smallest cuts, the one nearest to the
varying values is taken, so that states themselves are stored if terms save nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from .language import CONDITIONS, Tree, names_of
from .model import NeuronModel

OLD = "old "  # prefix of the name of a state's value after the reset of the previous step
FLAGS: Tree = ("flags",)  # one number of a step: whether the neuron spiked, and whether it was refractory
_START: Tree = ("start",)
_END: Tree = ("end",)
_MANY = 1 << 30


@dataclass(frozen=True)
class Kept:
    """Values that each neuron stores in each step, in addition to the surrogate gradient.

    Attributes
    ----------
    trees : tuple of tuple
        Names of states (before the reset), ports and `I`, then terms.
    spiked, refractory : bool
        Whether a step stores if the neuron spiked, and if it was refractory at the start of the step.
    """

    trees: tuple[Tree, ...]
    spiked: bool
    refractory: bool


def choose_stored_terms(
    model: NeuronModel, derivatives: Iterable[Tree], terms: Mapping[str, Tree], held: Collection[str] = ()
) -> Kept:
    """Return the smallest set of values from which all `derivatives` can be computed.

    In the trees of derivatives, names with `OLD` are states before the step, others new states. `terms` are trees by
    additional name; `held` are further varying names that are known when the step is made.
    """
    graph = _Graph(model, terms, held)
    roots = [tree for tree in derivatives if graph.add_tree(tree)]
    if model.follow:
        graph.add_tree(FLAGS)
        roots.append(FLAGS)
    cut = graph.find_cut(roots)
    names: list[Tree] = [("name", name) for name in (*model.states, *model.ports, "I")]
    trees = [name for name in names if name in cut or name[1] in model.also_keeps]
    trees += [tree for tree in graph.sources if tree in cut and tree not in (*trees, FLAGS)]
    read = graph.read(roots, cut)
    spiked = {("name", "z"), *(("name", OLD + name) for name in model.equations.reset)} & read
    spiked |= {("name", "z")} & {("name", name) for name in model.also_keeps}
    refractory = ("name", "refractory") in read or "refractory" in model.also_keeps
    return Kept(tuple(trees), bool(model.follow) or bool(spiked), refractory)


class _Graph:
    """Dependencies between trees, starting from the numbers of a step; arguments as of `choose_stored_terms`.

    Attributes
    ----------
    sources : dict of tuple to list of tuple
        Each varying tree, and the trees from which it is computed.
    """

    def __init__(self, model: NeuronModel, terms: Mapping[str, Tree], held: Collection[str]) -> None:
        self.sources: dict[Tree, list[Tree]] = {}
        self._terms = terms
        self._states, self._reset = set(model.states), model.equations.reset
        self._plain = {*model.states, *model.ports, "I", *held}

    def add_tree(self, tree: Tree) -> bool:
        """Add a tree and all trees from which it is computed; return whether it varies."""
        if tree not in self.sources:
            found = self._list_sources(tree)
            found = [source for source in dict.fromkeys(found) if source == _START or self.add_tree(source)]
            if not found:
                return False
            self.sources[tree] = found
        return True

    def _list_sources(self, tree: Tree) -> list[Tree]:
        kind, *items = tree
        if kind == "number":
            return []
        if tree == FLAGS:
            return [_START]
        if kind == "entry":
            return [self._terms[items[0][1]]]
        if kind == "repeat":  # values inside the loop cannot be stored
            return [("name", name) for name in sorted(names_of(tree))]
        if kind != "name":
            return items
        if items[0] in self._plain:
            return [_START]
        if items[0] in ("z", "refractory"):
            return [FLAGS]
        if items[0] in self._terms:
            return [self._terms[items[0]]]
        if not items[0].startswith(OLD):
            return []
        name = items[0].removeprefix(OLD)  # computed from the previous step, with its reset
        read = sorted(names_of(self._reset[name]) & self._states) if name in self._reset else []
        return [("name", name), *(("name", other) for other in read), *([FLAGS] if name in self._reset else [])]

    def find_cut(self, roots: list[Tree]) -> set[Tree]:
        """Return the fewest trees through which all paths to the roots lead, those nearest to the start."""
        # entry and exit of each tree are joined by an edge of capacity 1
        room: dict[tuple[Tree, bool], dict[tuple[Tree, bool], int]] = {}

        def add_edge(first: tuple[Tree, bool], second: tuple[Tree, bool], size: int) -> None:
            room.setdefault(first, {})[second] = size
            room.setdefault(second, {}).setdefault(first, 0)

        for tree, sources in self.sources.items():
            never = tree[0] in (*CONDITIONS, "repeat") or tree in (("name", "z"), ("name", "refractory"))
            add_edge((tree, False), (tree, True), _MANY if never else 1)
            for source in sources:
                add_edge((source, True), (tree, False), _MANY)
        for root in roots:
            add_edge((root, True), (_END, False), _MANY)
        while True:
            came_from = {(_START, True): (_START, True)}
            waiting = [(_START, True)]
            for place in waiting:  # grows
                for other, size in room.get(place, {}).items():
                    if size and other not in came_from:
                        came_from[other] = place
                        waiting.append(other)
            if (_END, False) not in came_from:
                return {tree for tree in self.sources if (tree, False) in came_from and (tree, True) not in came_from}
            place = (_END, False)
            while place != (_START, True):
                before = came_from[place]
                room[before][place] -= 1
                room[place][before] += 1
                place = before

    def read(self, roots: Iterable[Tree], cut: set[Tree]) -> set[Tree]:
        """Return the trees of a cut from which the roots are computed."""
        read: set[Tree] = set()
        waiting = [*roots]
        while waiting:
            tree = waiting.pop()
            if tree != _START and tree not in read and tree not in cut:
                read.add(tree)
                waiting += self.sources[tree]
        return read
