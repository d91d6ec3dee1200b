"""Write expressions of a model as statements of C: loops over adjacent neurons, each expression computed once.

Expressions of parameters, constants and `dt` alone are computed beforehand, as columns. Forward expressions keep the
written order of operations; `elementary.h` has exp and log.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from .derive import NO_LEARNS, Derivatives, Learns, derive_model
from .language import CONDITIONS, Repeat, Tree, names_of, replace_names
from .model import NeuronModel
from .stored_terms import FLAGS, OLD

SPIKED = "has spiked"  # a name that no model can have
_OVERWRITTEN = re.compile(r"(\w+)\[j\] = @(\w+)\(\1\[j\]\);")


@dataclass
class Columns:
    """The constant columns of a model, in the order in which functions request them."""

    trees: list[Tree] = field(default_factory=list)

    def place_tree(self, tree: Tree) -> int:
        """Return the number of the column of a tree."""
        if tree not in self.trees:
            self.trees.append(tree)
        return self.trees.index(tree)


@dataclass
class Substeps:
    """Substeps before the body of a loop: `times` loops over neurons, one after another.

    Attributes
    ----------
    name : str
        Prefix of the names of arrays over neurons: `name`_0 and so on, first the arrays of the variables.
    times : int
        Number of substeps.
    start : list of str
        Statements of the outer body that fill each of the arrays, which `body` and then the outer body read.
    body : Loop
        Statements of a substep, which write the variables.
    """

    name: str
    times: int
    start: list[str]
    body: Loop


class Loop:
    """The body of one loop: statements, each expression computed once."""

    kind, zero, one, psi = "REAL", "ZERO", "ONE", "psi[j]"

    def __init__(self, columns: Columns, names: Mapping[str, str], prefix: str = "t") -> None:
        self.columns, self.names, self.prefix = columns, names, prefix
        self.substeps: dict[Tree, Substeps] = {}
        self.terms: Mapping[str, Tree] = {}  # trees by the additional names that stand for them
        self.lines: list[str] = []
        self.used: dict[int, None] = {}  # columns that the loop reads
        self.known: dict[Tree, str] = {}
        self.texts: dict[str, str] = {}

    def name_value(self, tree: Tree) -> str:
        """Return the C name of the value of a tree."""
        if tree not in self.known:
            self.known[tree] = self._compute_value(tree)
        return self.known[tree]

    def _compute_value(self, tree: Tree) -> str:
        kind, *items = tree
        if kind == "number":
            return f"({items[0]!r})" if items[0] < 0 else repr(items[0])
        names = names_of(tree)
        if names.isdisjoint(self.names) and names.isdisjoint(self.terms):
            place = self.columns.place_tree(tree)
            self.used[place] = None
            return f"c{place}"
        if kind == "name":
            return self.names[items[0]] if items[0] in self.names else self.name_value(self.terms[items[0]])
        if kind == "entry":
            return self.assign_variable(f"{self._make_substeps(self.terms[items[0][1]]).name}_{int(items[1][1])}[j]")
        return self.assign_variable(self._write_operation(kind, items))

    def _make_substeps(self, tree: Tree) -> Substeps:
        """Return the substeps of a tree "repeat"."""
        if tree in self.substeps:
            return self.substeps[tree]
        loop, array, names = Repeat.from_tree(tree), f"sub{len(self.substeps)}", dict[str, str]()
        body = Loop(self.columns, names, f"{array}_t")
        given = {name: self.write_literal(first) for name, first in loop.start.items()}
        read = sorted(name for name in names_of(tree) if name in self.names or name in self.terms)
        given |= {name: self.name_value(("name", name)) for name in read}
        start = [f"{array}_{i}[j] = {value};" for i, value in enumerate(given.values())]
        for i, name in enumerate(given):
            names[name] = body.assign_variable(f"{array}_{i}[j]")
        body.terms = loop.terms
        after = [body.write_literal(update) for update in loop.update.values()]
        body.lines += [f"{array}_{i}[j] = {value};" for i, value in enumerate(after)]
        self.used |= body.used
        self.substeps[tree] = Substeps(array, loop.times, start, body)
        return self.substeps[tree]

    def assign_variable(self, text: str) -> str:
        """Assign a C expression to a variable; return its name."""
        if text not in self.texts:
            self.texts[text] = f"{self.prefix}{len(self.texts)}"
            self.lines.append(f"const {self.kind} {self.texts[text]} = {text};")
        return self.texts[text]

    def write_choice(self, condition: str, yes: str, no: str) -> str:
        """Return one of two values as C."""
        return f"{condition} ? {yes} : {no}"

    @staticmethod
    def read(array: str, k: int) -> str:
        """Return number k of an array of columns as C."""
        return f"{array}{k}[j]"

    def write_number(self, value: float) -> str:
        """Return a number as C."""
        return f"R({value!r})"

    def _write_operation(self, kind: str, items: list[Tree]) -> str:
        if kind in CONDITIONS:
            return self.write_where((kind, *items), self.one, self.zero)
        if kind == "where":
            return self.write_where(items[0], self.write_literal(items[1]), self.write_literal(items[2]))
        if kind == "**":
            return self.write_power(*items)
        a, *rest = map(self.write_literal, items)
        b = rest[0] if rest else ""
        match kind:
            case "+" | "-" | "*" | "/":
                return f"{a} {kind} {b}"
            case "neg":
                return f"-{a}"
            case "detach":
                return a
            case "abs":
                return self.write_choice(f"{a} >= {self.zero}", a, f"-{a}")
            case "min":
                return self.write_choice(f"{a} <= {b}", a, b)
            case "max":
                return self.write_choice(f"{a} >= {b}", a, b)
        return self.write_call(kind, a)  # exp, log, sqrt, tanh

    def write_call(self, name: str, argument: str) -> str:
        """Return a call of a function."""
        return f"@{name}({argument})"

    def write_literal(self, tree: Tree) -> str:
        """Return C of the value of a tree; numbers become of type REAL."""
        return self.write_number(tree[1]) if tree[0] == "number" else self.name_value(tree)

    def write_where(self, tree: Tree, yes: str, no: str) -> str:
        """Return one of two values by nested single comparisons, the only form that compilers vectorize."""
        kind, *items = tree
        if kind == "not":
            return self.write_where(items[0], no, yes)
        if kind == "and":
            return self.write_where(items[0], self.assign_variable(self.write_where(items[1], yes, no)), no)
        if kind == "or":
            return self.write_where(items[0], yes, self.assign_variable(self.write_where(items[1], yes, no)))
        return self.write_choice(self.write_condition(tree), yes, no)

    def write_condition(self, tree: Tree) -> str:
        """Return C of a condition; a tree that is no comparison counts as true if it is not 0."""
        kind, *items = tree
        if kind in CONDITIONS:
            return f"({self.write_literal(items[0])} {kind} {self.write_literal(items[1])})"
        return f"({self.write_literal(tree)} != {self.zero})"

    def write_power(self, base: Tree, exponent: Tree) -> str:
        """Return a power: multiplications for a whole exponent, a root for the exponent 1/2."""
        if exponent[0] == "number" and exponent[1] == 0.5:
            return self.write_call("sqrt", self.write_literal(base))
        if exponent[0] != "number" or not float(exponent[1]).is_integer() or abs(exponent[1]) > 64:
            logarithm = self.write_literal(("log", base))  # a column, if the base is one
            return self.write_call("exp", self.assign_variable(f"{self.write_literal(exponent)} * {logarithm}"))
        n, square, result = abs(int(exponent[1])), self.write_literal(base), ""
        while n:
            if n & 1:
                result = self.assign_variable(f"{result} * {square}") if result else square
            n >>= 1
            square = self.assign_variable(f"{square} * {square}") if n else square
        result = result or self.one
        return f"{self.one} / {result}" if exponent[1] < 0 else result

    def write_sum(self, terms: Iterable[str]) -> str:
        """Return the sum of terms, from the left; "" if there are none."""
        total = ""
        for term in terms:
            total = self.assign_variable(f"{total} + {term}") if total else term
        return total

    def write_product(self, tree: Tree, factor: str) -> str:
        """Return the product of a tree and a variable, without factors of 1."""
        if tree[0] == "number" and tree[1] in (1.0, -1.0):
            return factor if tree[1] == 1.0 else self.assign_variable(f"-{factor}")
        return self.assign_variable(f"{self.write_literal(tree)} * {factor}")

    def write_dot_product(self, trees: Mapping[int, Tree], values: Mapping[int, str]) -> str:
        """Return the scalar product of trees and variables by number; "" if it is 0."""
        return self.write_sum(self.write_product(tree, values[k]) for k, tree in trees.items() if values.get(k))


class Lanes(Loop):
    """The body of a loop over several neurons at a time: each value is a vector, see `lanes.h`."""

    kind, zero, one, psi = "lanes", "all_lanes(0.0)", "all_lanes(1.0)", "psi"

    def write_choice(self, condition: str, yes: str, no: str) -> str:
        """Return one of two vectors, lane by lane."""
        return f"where({condition}, {yes}, {no})"

    @staticmethod
    def read(array: str, k: int) -> str:
        """Return a column."""
        return f"{array}[{k}]"

    def write_call(self, name: str, argument: str) -> str:
        """Return a call for each lane."""
        return f"lanes_{name}({argument})"

    def write_number(self, value: float) -> str:
        """Return a number in all lanes."""
        return f"all_lanes({value!r})"


def write_function(
    name: str,
    arguments: str,
    pointers: Mapping[str, str],
    body: Loop,
    head: Iterable[str] = (),
    loops: Sequence[Sequence[str] | str] = (),
    before: Iterable[str] = (),
    may_share: bool = False,
) -> str:
    """Return a C function with one loop over j, or several.

    `name` contains the type; `pointers` are declarations by name. `body` is the loop, whose constant columns are
    declared; `loops` replaces it by several: the statements of each, and lines of text between them. `head` are
    statements at the start, `before` before the loops. `may_share`: the function has an argument `shared`, which says
    that the constants of the first neuron hold for all neurons, so that they are read before the loop.
    """
    read = "shared ? f{c} : k{c}[j]" if may_share else "k{c}[j]"
    lines = [f"static {name}({arguments})", "{", *(f"    {line}" for line in head)]
    lines += [f"    const REAL *restrict k{c} = constant + {c} * stride;" for c in body.used]
    lines += [f"    const REAL f{c} = k{c}[0];" for c in body.used] if may_share else []
    lines += [f"    {declaration};" for declaration in pointers.values()]
    lines += [f"    {line}" for line in before]
    for statements in loops or [body.lines]:
        if isinstance(statements, str):
            lines.append(f"    {statements}")
            continue
        if len(statements) == 1 and (found := _OVERWRITTEN.fullmatch(statements[0])):
            lines.append(f"    NAME(overwrite_{found[2]})(n, {found[1]});")  # compiled once for all calls
            continue
        words = set(re.findall(r"\bc\d+\b", " ".join(statements)))
        lines += ["    INDEPENDENT", "    for (int64_t j = 0; j < n; j++) {"]
        lines += [f"        const REAL c{c} = {read.format(c=c)};" for c in body.used if f"c{c}" in words]
        lines += [*(f"        {line}" for line in statements), "    }"]
    return "\n".join([*lines, "}", ""])


def arguments_of(arguments: str) -> dict[str, bool]:
    """Return the names of arguments in C, and whether each is a pointer."""
    return {item.split()[-1].lstrip("*"): "*" in item for item in arguments.split(",")}


class Derived:
    """A model with its derivatives, and the parts that its C functions share."""

    def __init__(self, model: NeuronModel, learns: Learns = NO_LEARNS) -> None:
        self.model, self.by, self.learned = model, derive_model(model, learns), derive_model(model, learns).learned
        self.states, self.ports = list(model.states), list(model.ports)
        self.columns = Columns()
        self.flags = self.by.spiked or self.by.refractory
        self.n = len(self.states)
        self.follow = () if model.through == "leak" else model.follow
        self.written: dict[str, str] = {}  # functions of substeps, see `stages.over_neurons`

    @property
    def keeps(self) -> list[Tree]:
        """Trees that a row of `kept` holds, `FLAGS` last."""
        return [*self.by.keeps, *([FLAGS] if self.flags else [])]

    def kept_of(self, row: str, kind: type[Loop]) -> tuple[dict[str, str], dict[Tree, str]]:
        """Return the declarations by name, and the reads by tree, of a row of `kept`."""
        trees = self.keeps
        pointers = {f"{row}{k}": f"const REAL *restrict {row}{k} = {row} + {k} * stride" for k in range(len(trees))}
        return pointers, {tree: kind.read(row, k) for k, tree in enumerate(trees)}

    def derivative_names(self, kind: type[Loop] = Loop) -> tuple[Loop, dict[str, str]]:
        """Return a loop that can compute all derivatives from the rows of two steps, and its pointers."""
        before_pointers, before = self.kept_of("before", kind)
        kept_pointers, kept = self.kept_of("kept", kind)
        names: dict[str, str] = {}
        for name in (*self.states, *self.ports, "I", "z", "refractory"):
            names[name] = f"<{name}>"
        for name in (*(OLD + name for name in self.states), *self.by.held):
            names[name] = f"<{name}>"
        loop = kind(self.columns, names)
        loop.terms = self.by.terms
        for tree, text in kept.items():
            if tree != FLAGS:
                loop.known[tree] = loop.assign_variable(text)
        if self.by.spiked:
            one, both = loop.write_number(1.0), loop.write_number(3.0)
            for name, row in ((SPIKED, kept), ("z", before)):
                flag = loop.assign_variable(row[FLAGS])
                names[name] = loop.assign_variable(
                    loop.write_choice(f"({flag} == {one}) | ({flag} == {both})", loop.one, loop.zero)
                )
        if self.by.refractory:
            flag = loop.assign_variable(kept[FLAGS])
            names["refractory"] = loop.assign_variable(
                loop.write_choice(f"{flag} >= {loop.write_number(2.0)}", loop.one, loop.zero)
            )
        known = [] if self.by.learns.names else self.states  # with learned parameters old states are stored
        earlier = {name: ("name", OLD + "kept " + name) for name in known if ("name", name) in before}
        for name, tree in earlier.items():
            names[tree[1]] = loop.assign_variable(before["name", name])
        read = self.read_before()
        for name, tree in earlier.items():
            reset = self.model.equations.reset.get(name, tree)
            if OLD + name in read and names_of(replace_names(reset, earlier)).isdisjoint(
                self.states
            ):  # else in terms alone
                names[OLD + name] = names[tree[1]]
                if reset != tree:
                    after = loop.write_literal(replace_names(reset, earlier))
                    names[OLD + name] = loop.assign_variable(
                        loop.write_choice(f"{names['z']} != {loop.zero}", after, names[tree[1]])
                    )
        return loop, before_pointers | kept_pointers

    def end_step(self, loop: Loop, new: Mapping[int, str], learned: int = -1) -> tuple[str, dict[int, str]]:
        """Return e of a step, and eps after the reset by state, from `new`, eps before the reset.

        Zeros are "" and missing entries. `learned` is the index of the parameter for traces of a learned parameter,
        else -1.
        """
        by, after, own = self.by, dict(new), self.learned
        x = loop.write_literal(own.x[learned]) if learned in own.x else ""
        seen = loop.write_sum(filter(None, [loop.write_dot_product(by.h, new), x]))
        e = loop.assign_variable(f"{loop.psi} * {seen}") if seen else ""
        for i in (self.states.index(name) for name in self.follow):
            r = [loop.write_literal(own.r[i, learned])] if (i, learned) in own.r else []
            reset, kept = (
                loop.write_sum(filter(None, [loop.write_dot_product(self.by_row(by.R, i), new), *r])),
                new.get(i, ""),
            )
            if reset != kept:
                spiked = f"{loop.names[SPIKED]} != {loop.zero}"
                after[i] = loop.assign_variable(loop.write_choice(spiked, reset or loop.zero, kept or loop.zero))
            if i in by.gap and e:
                after[i] = loop.write_sum([*filter(None, [after.get(i)]), loop.write_product(by.gap[i], e)])
        return e, after

    def read_before(self) -> set[str]:
        """Return the names in J, U and v."""
        by = self.by
        return set().union(*(names_of(tree, by.terms) for tree in (*by.J.values(), *by.U.values(), *by.v.values())))

    def by_row(self, entries: Mapping[tuple[int, int], Tree], row: int) -> dict[int, Tree]:
        """Return a row of a matrix by column."""
        return {j: tree for (i, j), tree in entries.items() if i == row}

    def by_column(self, entries: Mapping[tuple[int, int], Tree], column: int) -> dict[int, Tree]:
        """Return a column of a matrix by row."""
        return {i: tree for (i, j), tree in entries.items() if j == column}


def outlives_cutoff(by: Derivatives, k: int) -> bool:
    """Return whether the trace of state k continues past a cutoff: its own entry of J is constant."""
    return (k, k) in by.J and by.moving.isdisjoint(names_of(by.J[k, k]))
