"""Write the C of a rule at a neuron model: numbers of a step, the backward pass of an interval, steps of synapses.

Between arrivals, steps compose (spike variant). After the first step of a block, those up to step u are a map (P, q)
of a target: x -> P x, g += q . x. A synapse keeps not x but y, the states that it would have had at the start, x = P y,
and C, so that its gradient is q . y - C: both stay as they are until a spike enters or the block ends. A spike a that
enters in step u adds P^-1 U a to y, and takes (U . w + v - q . P^-1 U) a from C, as steps before it add nothing to
it. Both factors are found once for a target, which keeps them for the latest steps. The map at the end of a block
goes through the first step of the next one, too. So an arrival reads a number or two of the step of the spike before
it, and of the present one, however many steps there are. P is triangular, and where its diagonal does not vary, the
inverse loses as few digits as the power of the diagonal over a block: blocks are as long as that allows, of each
target by itself. What follows from the place of a step in its block alone stands in a table. Where the diagonal
varies, synapses go through each step.

When rows are brought forward changes no bit: what a synapse keeps is rounded at each event.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from ..neurons.compile import Part
from ..neurons.derive import derive_model
from ..neurons.expressions import Columns, Loop, write_function
from ..neurons.generate import Generator, source_of
from ..neurons.language import Tree, names_of
from ..neurons.slopes import ONE as ONE_TREE
from ..neurons.slopes import ZERO
from ..neurons.stored_terms import FLAGS
from .bound import NOW, OLD, WAS, BoundRule
from .linear import NEW

_NUMBER = "number[{k} * across + j]"
_ROW = (
    "const REAL *before, const REAL *kept, const REAL *restrict psi, const REAL *restrict L, const REAL *restrict F, "
    "const REAL M, REAL *state, REAL *number"
)


class RuleGenerator:
    """Writes the functions of a rule, as `neurons.compile.Compilable`.

    The model of the bound rule stores the quantities that the rule reads.

    Attributes
    ----------
    columns : Columns
        Constants of each target.
    numbers : list of tuple
        Coefficients that vary with the step, in the order in which they are kept.
    own : list of int
        Columns that synapses read of a target where they go through each step.
    keys : list of tuple
        Row and column of each number of a map, with row "q" for the gradient; none without maps.
    table : list of tuple
        Columns of the table of places: ("full", row, column) of maps before they end with a block, ("now", ...) after
        that, ("inverse", k) of the diagonal, ("enters", k), what a spike adds to y.
    moving, entries : list
        Keys of maps, and numbers by which a spike enters, that are not in the table; the last is "f", taken from C.
    """

    code_files = tuple(Path(__file__).parent / f"{name}.py" for name in ("linear", "bound", "generate", "definition"))

    def __init__(self, bound: BoundRule) -> None:
        self.name, self.digest, self.here = bound.name, bound.digest, bound.here
        self.bound, self.columns, self.numbers = bound, Columns(), list[Tree]()
        derived = derive_model(bound.model)
        flags = [FLAGS] if derived.spiked or derived.refractory else []
        self.kept = [*derived.keeps, *flags]
        steps = bound.steps
        self.index = {name: k for k, name in enumerate(bound.synapse_states)}
        self.M = {(self.index[a], self.index[b]): tree for (a, b), tree in steps.M.items()}
        self.coefficients: dict[str, dict[int, Tree]] = {
            key: {self.index[name]: tree for name, tree in getattr(steps, key).items()} for key in ("U", "w", "w0")
        }
        for tree in (*self.M.values(), *(tree for part in self.coefficients.values() for tree in part.values())):
            self._place_coefficient(tree)
        self._place_coefficient(steps.v)
        self.own, self.keys = list[int](), self._list_keys()
        self._list_table()
        # all are written: functions decide the columns
        step, sweep, trace = self._write_step(), self._write_backward_step(), self._write_trace_step()
        self._text = {
            "rule_interval": [step, sweep, self._write_interval()],
            "rule_spike": [step, trace, self._write_map(), self._write_rule_step(), self._write_row()],
        }

    @property
    def sizes(self) -> dict[str, int]:
        """Numbers of each kind."""
        return {
            "n_constants": len(self.columns.trees),
            "n_states": len(self.bound.states),
            "n_synapse": len(self.index),
            "n_numbers": len(self.numbers),
            "n_map": len(self.moving),
            "n_entries": len(self.entries),
        }

    def write_source(self, headers: Mapping[str, str], part: Part) -> str:
        """Return a source of the functions of a variant that needs nothing but the compiler's own headers."""
        row = f"#undef RULE_ROW\n#define RULE_ROW NAME(RuleRow)\n{headers['rule_row.h']}"
        own = f"#undef N_OWN\n#define N_OWN {max(len(self.own), 1)}"
        text = "\n".join([row, own, *self._text[part.kind]])
        return source_of(Generator.with_functions(text), headers, [part.precision])

    # ---- parts -------------------------------------------------------------------------------------------------------

    def _is_varying(self, tree: Tree) -> bool:
        return not (self.bound.varying_names | self.bound.terms.keys()).isdisjoint(names_of(tree))

    def _place_coefficient(self, tree: Tree) -> None:
        if tree[0] == "number":
            return
        if not self._is_varying(tree):
            self.columns.place_tree(tree)
        elif tree not in self.numbers:
            self.numbers.append(tree)

    def _write_coefficient(self, tree: Tree, loop: Loop, number: str) -> str:
        """Return C of a coefficient, where the numbers of a step are read as `number` says."""
        if tree[0] == "number":
            return loop.write_number(tree[1])
        if not self._is_varying(tree):
            return loop.name_value(tree)
        return loop.assign_variable(number.format(k=self.numbers.index(tree)))

    def _write_step(self) -> str:
        """Compute a step: new states of `neuron`, and the numbers that vary."""
        bound = self.bound
        names = dict.fromkeys(bound.varying_names, "")
        names |= {"psi": "psi[j]", "L": "L[j]", "F": "F[j]", "M": "M"}
        pointers = {}
        for row, array in ((NOW, "kept"), (WAS, "before")):
            for k, tree in enumerate(self.kept):
                pointers[f"{array}{k}"] = f"const REAL *restrict {array}{k} = {array} + {k} * stride"
                if tree != FLAGS and tree[0] == "name":
                    names[f"{row} {tree[1]}"] = f"{array}{k}[j]"
        for k, name in enumerate(bound.states):
            names[f"{OLD} {name}"] = f"state{k}[j]"
            pointers[f"state{k}"] = f"REAL *restrict state{k} = state + {k} * stride"
        loop = Loop(self.columns, names)
        loop.terms = bound.terms
        if FLAGS in self.kept:
            place = self.kept.index(FLAGS)
            now, was = (loop.assign_variable(f"{array}{place}[j]") for array in ("kept", "before"))
            for name, flag in (("z", now), (f"{WAS} z", was)):
                names[name] = loop.assign_variable(f"({flag} == R(1.0)) | ({flag} == R(3.0)) ? ONE : ZERO")
            names["refractory"] = loop.assign_variable(f"{now} >= R(2.0) ? ONE : ZERO")
        for name in bound.states:
            names[f"{OLD} {name}"] = loop.assign_variable(names[f"{OLD} {name}"])
        lines = [f"{_NUMBER.format(k=k)} = {loop.write_literal(tree)};" for k, tree in enumerate(self.numbers)]
        lines += [
            f"state{k}[j] = {loop.write_literal(('name', f'{NEW} {name}'))};" for k, name in enumerate(bound.states)
        ]
        loop.lines += lines
        given = ("constant", "before", "kept", "psi", "L", "F", "M", "state", "number")
        return write_function(
            "inline ALWAYS void NAME(step_body)",
            f"int64_t n, int64_t stride, const int64_t across, const REAL *constant, {_ROW}",
            pointers,
            loop,
            [" ".join(f"(void){name};" for name in given)],
        )

    def _write_backward_step(self) -> str:
        """Write a step backward: what an arrival adds to the gradient, and the derivative by the states before."""
        size, steps, number = len(self.index), self.coefficients, _NUMBER
        loop = Loop(self.columns, {})
        pointers = {f"lam{k}": f"REAL *restrict lam{k} = lam + {k} * across" for k in range(size)}

        def write_coefficient(tree: Tree) -> str:
            return self._write_coefficient(tree, loop, number)

        later = {}
        for k in range(size):
            own = loop.assign_variable(f"lam{k}[j]")
            later[k] = loop.assign_variable(f"{own} + {write_coefficient(steps['w'][k])}") if k in steps["w"] else own
        terms = [loop.assign_variable(f"{write_coefficient(tree)} * {later[k]}") for k, tree in steps["U"].items()]
        terms += [] if self.bound.steps.v == ("number", 0.0) else [write_coefficient(self.bound.steps.v)]
        lines = [f"B[j] = {loop.write_sum(terms) or 'ZERO'};"]
        for k in range(size):
            terms = [
                loop.assign_variable(f"{write_coefficient(tree)} * {later[a]}")
                for (a, b), tree in self.M.items()
                if b == k
            ]
            terms += [write_coefficient(steps["w0"][k])] if k in steps["w0"] else []
            lines.append(f"lam{k}[j] = {loop.write_sum(terms) or 'ZERO'};")
        loop.lines += lines
        return write_function(
            "inline ALWAYS void NAME(sweep_body)",
            "int64_t n, int64_t stride, const int64_t across, const REAL *constant, const REAL *restrict number, "
            "REAL *lam, REAL *restrict B",
            pointers,
            loop,
            ["(void)constant; (void)number; (void)lam;"],
        )

    def _write_trace_step(self) -> str:
        """Write a step of n synapses of a row: their states, and what it adds to the gradient, taken from C."""
        size, steps = len(self.index), self.coefficients
        loop = Loop(self.columns, {})
        loop.lines.append("const int64_t to = target[j];")

        def write_coefficient(tree: Tree) -> str:
            if tree[0] != "number" and not self._is_varying(tree):
                return loop.assign_variable(f"own[{self._index_target_constant(tree)} + to * N_OWN]")
            return self._write_coefficient(tree, loop, "number[{k} * stride + to]")

        old = {k: loop.assign_variable(f"x[{k} * x_stride + j]") for k in range(size)}
        credit = [loop.assign_variable(f"{write_coefficient(tree)} * {old[k]}") for k, tree in steps["w0"].items()]
        new = {}
        for k in range(size):
            terms = [
                loop.assign_variable(f"{write_coefficient(tree)} * {old[b]}")
                for (a, b), tree in self.M.items()
                if a == k
            ]
            terms += [loop.assign_variable(f"{write_coefficient(steps['U'][k])} * arrived")] if k in steps["U"] else []
            new[k] = loop.write_sum(terms) or "ZERO"
        credit += [loop.assign_variable(f"{write_coefficient(tree)} * {new[k]}") for k, tree in steps["w"].items()]
        if self.bound.steps.v != ("number", 0.0):
            credit.append(loop.assign_variable(f"{write_coefficient(self.bound.steps.v)} * arrived"))
        # long decays would end in subnormal numbers, which take a hundred times as long
        lines = [f"x[{k} * x_stride + j] = {new[k]} < TINY && {new[k]} > -TINY ? ZERO : {new[k]};" for k in range(size)]
        loop.lines += [*lines, f"C[j] -= {loop.write_sum(credit) or 'ZERO'};"]
        return "\n".join(
            [
                "#undef TINY",
                "#define TINY (sizeof(REAL) == 8 ? R(1e-290) : R(1e-30))",
                "VISIBLE void NAME(rule_trace)(int64_t n, int64_t stride, const uint32_t *restrict target,",
                "    const REAL *restrict own, const REAL *restrict number, REAL arrived, REAL *restrict x,",
                "    int64_t x_stride, REAL *restrict C)",
                "{",
                "    (void)stride; (void)own; (void)number; (void)arrived;",
                "    INDEPENDENT",
                "    for (int64_t j = 0; j < n; j++) {",
                *(f"        {line}" for line in loop.lines),
                "    }",
                "}",
                "",
            ]
        )

    # ---- maps of steps -----------------------------------------------------------------------------------------------

    @property
    def diagonal(self) -> list[Tree]:
        """Diagonal of M by state."""
        return [self.M.get((k, k), ZERO) for k in range(len(self.index))]

    def _list_keys(self) -> list[tuple[int | str, int]]:
        """Return the keys of a map: the diagonal, the entries below the diagonal, then q."""
        if not self.bound.can_compose:
            return []
        size = len(self.index)
        reached = set(self.M) | {(k, k) for k in range(size)}
        while more := {(a, c) for a, b in reached for d, c in reached if b == d} - reached:
            reached |= more
        keys: list[tuple[int | str, int]] = [(k, k) for k in range(size)]
        return [*keys, *sorted((a, b) for a, b in reached if a != b), *(("q", k) for k in range(size))]

    def _list_table(self) -> None:
        """Find the numbers that depend on the place of a step in its block alone: they follow from constants."""
        pairs = [key for key in self.keys if key[0] != "q"]
        #: states, each after those that it reads
        self.order = sorted(range(len(self.index)), key=lambda k: sum(key[0] == k for key in pairs))
        fixed, self.entering, steady = set[tuple[int | str, int]](), list[int](), set[int]()
        for a in self.order if self.keys else ():
            below = [b for b in self.order if b != a and (a, b) in pairs]
            for b in (b for b in self.order if (a, b) in pairs):
                terms = [(c, tree) for (row, c), tree in self.M.items() if row == a and (c, b) in pairs]
                if all(not self._is_varying(tree) and (c == a or (c, b) in fixed) for c, tree in terms):
                    fixed.add((a, b))
            reads = [b for b in below if b in self.entering]
            if a in self.coefficients["U"] or reads:
                self.entering.append(a)
                moves = a in self.coefficients["U"] and self._is_varying(self.coefficients["U"][a])
                if not moves and all((a, b) in fixed and b in steady for b in reads):
                    steady.add(a)
        kept = [key for key in pairs if key in fixed]
        self.table: list[tuple] = [(word, *key) for word in ("full", "now") for key in kept]
        self.table += [("inverse", k) for k in self.order if self.keys] + [("enters", k) for k in sorted(steady)]
        self.moving = [key for key in self.keys if key not in fixed]
        self.entries: list[int | str] = [k for k in self.entering if k not in steady] + ["f"] * bool(self.keys)

    def list_table_trees(self) -> list[Tree]:
        """Return the coefficients that the table of places is made of."""
        trees = [tree for (a, b), tree in self.M.items() if ("full", a, b) in self.table]
        steady = [k for k in self.entering if k not in self.entries]
        return [*trees, *(self.coefficients["U"][k] for k in steady if k in self.coefficients["U"]), ONE_TREE]

    def fill_table(self, given: Mapping[Tree, np.ndarray], shift: np.ndarray) -> np.ndarray:
        """Return the table of numbers by place of a step in its block, (steps of the longest block, columns, n).

        `given` has the values of each coefficient, (n,) of the type of the table; `shift`, int (n,), is log2 of the
        steps of a block.
        """
        one, steps = given[ONE_TREE], 1 << int(np.max(shift, initial=0))
        table = np.zeros((steps, len(self.table), len(one)), one.dtype)
        kept = [column[1:] for column in self.table if column[0] == "full"]
        start = {(a, b): one * (a == b) for a, b in kept}
        now = start
        for u in range(1, steps + 1):
            full = dict.fromkeys(kept, 0 * one)
            for (a, c), tree in self.M.items():
                for b in (b for b in self.order if (a, b) in kept and (c, b) in now):
                    full[a, b] = full[a, b] + given[tree] * now[c, b]
            now = {key: np.where(u % (1 << shift) == 0, start[key], full[key]) for key in kept}
            inverse = {k: one / now[k, k] for k in self.order if (k, k) in now}
            enters: dict[int, np.ndarray] = {}
            for a in (k for k in self.entering if k not in self.entries):
                U = self.coefficients["U"]
                total = given[U[a]] if a in U else 0 * one
                for b in (b for b in self.order if b != a and (a, b) in now and b in enters):
                    total = total - now[a, b] * enters[b]
                enters[a] = total * inverse[a]
            found: dict[tuple, np.ndarray] = {("full", *key): value for key, value in full.items()}
            found |= {("now", *key): value for key, value in now.items()}
            found |= {("inverse", k): value for k, value in inverse.items()}
            found |= {("enters", k): value for k, value in enters.items()}
            for k, column in enumerate(self.table):
                table[u % steps, k] = found[column]
        return table

    def _compose_map(
        self, loop: Loop, coefficient: Callable[[Tree], str], old: Mapping[tuple[int | str, int], str]
    ) -> dict[tuple[int | str, int], str]:
        """Return the numbers of a map one step after `old`, which has all of them."""
        new: dict[tuple[int | str, int], str] = {}
        for row in self.order:
            for a, column in (key for key in self.keys if key[0] == row):
                if (a, column) not in self.moving:
                    new[a, column] = loop.assign_variable(
                        f"at[{self.table.index(('full', a, column))} * columns + each * j]"
                    )
                    continue
                terms = [
                    loop.assign_variable(f"{coefficient(tree)} * {old[b, column]}")
                    for (c, b), tree in self.M.items()
                    if c == row and (b, column) in old
                ]
                new[a, column] = loop.write_sum(terms) or "ZERO"
        for column in self.order:
            terms = [old["q", column]]
            for part, values in (("w", new), ("w0", old)):
                terms += [
                    loop.assign_variable(f"{coefficient(tree)} * {values[a, column]}")
                    for a, tree in self.coefficients[part].items()
                    if (a, column) in values
                ]
            new["q", column] = loop.write_sum(terms)
        return new

    def _write_map(self) -> str:
        """Write the function that finds the map up to step u, in `state`, what enters then, and the end of a block."""
        if not self.keys:
            return ""
        n_states, loop = len(self.bound.states), Loop(self.columns, {})

        def write_coefficient(tree: Tree) -> str:
            return self._write_coefficient(tree, loop, _NUMBER.replace("across", "stride"))

        def read_table(row: str, *column: object) -> str:
            return loop.assign_variable(f"{row}[{self.table.index(column)} * columns + each * j]")

        pointers = {f"m{k}": f"REAL *restrict m{k} = state + {n_states + k} * stride" for k in range(len(self.moving))}
        loop.lines += [
            "const int64_t power = (int64_t)shift[each * j];",
            "const int closes = each ? (u & (((int64_t)1 << power) - 1)) == 0 : ends;",
        ]
        old = {
            key: loop.assign_variable(f"m{self.moving.index(key)}[j]")
            if key in self.moving
            else read_table("was", "now", *key)
            for key in self.keys
        }
        new, now = self._compose_map(loop, write_coefficient, old), {}
        ends = [f"last[{k} * stride + j] = {new[key]};" for k, key in enumerate(self.moving)]
        loop.lines += [
            "if (closes) {",
            f"    REAL *restrict last = end + ((u >> power) & (n_ends - 1)) * {len(self.moving)} * stride;",
            *(f"    {line}" for line in ends),
            "}",
        ]
        for key in self.keys:
            if key in self.moving:
                now[key] = loop.assign_variable(f"closes ? {'ONE' if key[0] == key[1] else 'ZERO'} : {new[key]}")
            else:
                now[key] = read_table("at", "now", *key)
        enters: dict[int, str] = {}
        for a in self.entering:
            if a not in self.entries:
                enters[a] = read_table("at", "enters", a)
                continue
            U = self.coefficients["U"]
            total = write_coefficient(U[a]) if a in U else "ZERO"
            for b in (b for b in self.order if b != a and (a, b) in now and b in enters):
                total = loop.assign_variable(f"{total} - {now[a, b]} * {enters[b]}")
            enters[a] = loop.assign_variable(f"({total}) * {read_table('at', 'inverse', a)}")
        w, U = self.coefficients["w"], self.coefficients["U"]
        terms = [
            loop.assign_variable(f"{write_coefficient(tree)} * {write_coefficient(U[k])}")
            for k, tree in w.items()
            if k in U
        ]
        terms += [] if self.bound.steps.v == ("number", 0.0) else [write_coefficient(self.bound.steps.v)]
        total = loop.write_sum(terms) or "ZERO"
        for k, y in enters.items():
            total = loop.assign_variable(f"{total} - {now['q', k]} * {y}")
        left = [total if key == "f" else enters[int(key)] for key in self.entries]
        loop.lines += [f"m{k}[j] = {now[key]};" for k, key in enumerate(self.moving)]
        loop.lines += [f"entry[{k} * stride + j] = {value};" for k, value in enumerate(left)]
        return write_function(
            "inline ALWAYS void NAME(map_body)",
            "int64_t n, int64_t stride, int64_t u, const REAL *constant, const REAL *restrict number, REAL *state, "
            "REAL *restrict entry, REAL *end, int64_t n_ends, const REAL *restrict was, const REAL *restrict at, "
            "int64_t columns, const int each, const REAL *restrict shift, const int ends",
            pointers,
            loop,
            ["(void)constant; (void)number; (void)columns; (void)was; (void)at; (void)ends;"],
        )

    def _write_rule_step(self) -> str:
        """Write a step of targets: its numbers, and the map up to it; `shift`: log2 of the steps of a block."""
        composes = [
            "    if (entry == NULL)",
            "        return;",
            f"    const int64_t columns = shared ? 1 : stride, row = {len(self.table)} * columns;",
            "    const REAL *at = table + (u & (places - 1)) * row, *was = table + ((u - 1) & (places - 1)) * row;",
            "#define MAP(each, ends) NAME(map_body)(n, stride, u, constant, number, state, entry, end, n_ends, \\",
            "                                       was, at, columns, each, shift, ends)",
            "    if (!shared)",
            "        MAP(1, 0);",
            "    else if ((u & (((int64_t)1 << (int64_t)shift[0]) - 1)) == 0)",
            "        MAP(0, 1);",
            "    else",
            "        MAP(0, 0);",
            "#undef MAP",
        ]
        unused = (
            "    (void)entry; (void)end; (void)n_ends; (void)table; (void)places; (void)shared; (void)shift; (void)u;"
        )
        return "\n".join(
            [
                "VISIBLE void NAME(rule_step)(int64_t n, int64_t stride, int64_t u, const REAL *constant,",
                f"    {_ROW},",
                "    REAL *entry, REAL *end, int64_t n_ends, const REAL *table, int64_t places, int64_t shared,",
                "    const REAL *shift)",
                "{",
                "    NAME(step_body)(n, stride, stride, constant, before, kept, psi, L, F, M, state, number);",
                *(composes if self.keys else [unused]),
                "}",
                "",
            ]
        )

    def _index_target_constant(self, tree: Tree) -> int:
        """Return the place of a constant among those of a target that synapses read."""
        place = self.columns.place_tree(tree)
        if place not in self.own:
            self.own.append(place)
        return self.own.index(place)

    def _write_row(self) -> str:
        """Write the function by which synapses of a row go through events and learn; see `rule_row.h`."""
        if not self.keys:
            return ""
        states = range(len(self.index))

        def at_step(key: int | str) -> str:
            return f"gather_lanes(entry + {self.entries.index(key)} * of->stride, to)"

        def at_place(*column: object) -> str:
            return f"NAME(rule_tabled)(of, steady, {self.table.index(column)}, each, to)"

        def at_end(*key: object) -> str:
            if key in self.moving:
                return f"NAME(rule_ends)(of, event, {self.moving.index(key)}, {len(self.moving)}, each, to)"
            return at_place("full", *key)

        crossed = [f"const lanes p{a}_{b} = {at_end(a, b)};" for a in states for b in states if (a, b) in self.keys]
        crossed += [f"const lanes q{k} = {at_end('q', k)};" for k in states]
        crossed += ["lanes found = c;", *(f"found = found - q{k} * y{k};" for k in states)]
        for a in states:
            total = " + ".join(f"p{a}_{b} * y{b}" for b in states if (a, b) in self.keys)
            crossed += [
                f"lanes z{a} = {total};",
                f"z{a} = where((z{a} < TINY) & (z{a} > -TINY), all_lanes(0.0), z{a});",
            ]
        crossed += ["if (each) {", "    const lane_order own = NAME(rule_closes)(of, event, to);"]
        crossed += [f"    z{k} = where(own, z{k}, y{k});" for k in states] + ["    found = where(own, found, c);", "}"]
        crossed += [f"y{k} = NAME(rounded)(z{k});" for k in states] + ["c = NAME(rounded)(found);"]
        entered = []
        for k in self.entering:
            value = at_step(k) if k in self.entries else at_place("enters", k)
            entered.append(f"y{k} = NAME(rounded)(y{k} + event->arrived * {value});")
        entered.append(f"c = NAME(rounded)(c - event->arrived * {at_step('f')});")
        q = [f"gather_lanes(of->present + {self.moving.index(('q', k))} * of->stride, to) * y{k}" for k in states]
        fetches = [f"__builtin_prefetch(of->x + {k} * of->x_stride + j + of->ahead);" for k in states]
        return f"""
#ifndef ENTRIES_AHEAD
#define ENTRIES_AHEAD 4    /* lanes */
#endif
static ALWAYS_INLINE lanes NAME(rounded)(lanes x)
{{
    return sizeof(REAL) == sizeof(float) ? WIDENED_FLOATS(NARROWED_DOUBLES(x)) : x;
}}

/* a column of the table of places */
static ALWAYS_INLINE lanes NAME(rule_tabled)(const RULE_ROW *of, const REAL *row, int64_t k, const int each,
                                             LaneTargets to)
{{
    return each ? gather_lanes(row + k * of->stride, to) : all_lanes(row[k]);
}}

/* a column of maps of whole blocks, each target's own */
static ALWAYS_INLINE lanes NAME(rule_ends)(const RULE_ROW *of, const RULE_EVENT *event, int64_t k, int64_t columns,
                                           const int each, LaneTargets to)
{{
    const int64_t row = columns * of->stride;
    if (!each)
        return gather_lanes(of->end + ((event->step >> (int64_t)of->shift[to.target[0]]) & (of->ends - 1)) * row +
                            k * of->stride, to);
    lanes found;
    for (int i = 0; i < LANES; i++)
        found[i] = of->end[((event->step >> (int64_t)of->shift[to.target[i]]) & (of->ends - 1)) * row + k * of->stride +
                           to.target[i]];
    return found;
}}

/* whose blocks end with the event */
static ALWAYS_INLINE lane_order NAME(rule_closes)(const RULE_ROW *of, const RULE_EVENT *event, LaneTargets to)
{{
    lane_order found;
    for (int i = 0; i < LANES; i++)
        found[i] = event->step & (((int64_t)1 << (int64_t)of->shift[to.target[i]]) - 1);
    return found == 0;
}}

static ALWAYS_INLINE void NAME(rule_lanes)(const RULE_ROW *of, const int what, const int each, int64_t j,
                                           const int64_t count)
{{
    uint32_t target[LANES];
    for (int i = 0; i < LANES; i++)
        target[i] = of->target[j + (i < count ? i : count - 1)];
    const LaneTargets to = {{target, 0}};
    {" ".join(f"lanes y{k} = load_lanes(of->x + {k} * of->x_stride + j, count);" for k in states)}
    lanes c = load_lanes(of->C + j, count);
    for (int64_t e = 0; e < of->n_events; e++) {{
        const RULE_EVENT *event = of->event + e;
        const REAL *steady = event->table, *entry = event->at;
        if (event->enters) {{
            {" ".join(entered)}
        }} else {{
            {chr(10).join(f"            {line}" for line in crossed).strip()}
        }}
        (void)steady, (void)entry;
    }}
    if (what != RULE_FOLLOWS) {{
        const lanes sum = {" + ".join(q)};
        if (what == RULE_LEARNS) {{
            lanes w = NAME(rounded)(load_lanes(of->weight + j, count) - of->eta * (sum - c));
            w = where(w > of->low, w, all_lanes(of->low));
            w = where(w < of->high, w, all_lanes(of->high));
            store_lanes(of->weight + j, w, count);
            w = w * of->factor;
            for (int i = 0; i < count; i++)
                of->arriving[target[i]] += (REAL)w[i];
            c = NAME(rounded)(sum);
        }} else
            c = NAME(rounded)(what == RULE_OWES ? c - sum : c + sum);
    }}
    {" ".join(f"store_lanes(of->x + {k} * of->x_stride + j, y{k}, count);" for k in states)}
    store_lanes(of->C + j, c, count);
}}

static ALWAYS_INLINE void NAME(rule_row_of)(const RULE_ROW *of, const int what, const int each)
{{
    const REAL *entry = of->n_events > 0 && of->event[0].enters ? of->event[0].at : NULL;
    for (int64_t j = 0; j + LANES <= of->n; j += LANES) {{
        if (entry && j + (ENTRIES_AHEAD + 1) * LANES <= of->n)
            for (int64_t i = j + ENTRIES_AHEAD * LANES; i < j + (ENTRIES_AHEAD + 1) * LANES; i++)
                for (int64_t k = 0; k < {len(self.entries)}; k++)
                    __builtin_prefetch(entry + k * of->stride + of->target[i]);
        if (of->ahead) {{
            __builtin_prefetch(of->target + j + of->ahead);
            __builtin_prefetch(of->C + j + of->ahead);
            __builtin_prefetch(of->weight + j + of->ahead);
            {" ".join(fetches)}
        }}
        NAME(rule_lanes)(of, what, each, j, LANES);
    }}
}}

static NOT_INLINED void NAME(rule_rest)(const RULE_ROW *of, int each, int64_t count)
{{
    NAME(rule_lanes)(of, (int)of->what, each, of->n - count, count);
}}

VISIBLE void NAME(rule_row)(const RULE_ROW *of)
{{
    if (of->shared && of->what == RULE_LEARNS)
        NAME(rule_row_of)(of, RULE_LEARNS, 0);
    else if (of->shared)
        NAME(rule_row_of)(of, (int)of->what, 0);
    else
        NAME(rule_row_of)(of, (int)of->what, 1);
    if (of->n % LANES)
        NAME(rule_rest)(of, !of->shared, of->n % LANES);
}}
"""

    @staticmethod
    def _write_interval() -> str:
        """Return the pass forward through an interval, which keeps numbers of steps, and the pass backward."""
        return """
#undef TILE
#define TILE (int64_t)(256 / sizeof(REAL))    /* targets whose numbers of all steps the cache holds */
static ALWAYS_INLINE void NAME(rule_tile)(int64_t n_steps, const int64_t n, int64_t stride, const REAL *constant,
    const REAL *first, const REAL *kept, int64_t kept_row, const REAL *psi, int64_t psi_row, const REAL *L,
    const REAL *F, const REAL *M, REAL *state, REAL *number, int64_t number_row, REAL *lam, REAL *B)
{
    for (int64_t t = 0; t < n_steps; t++)
        NAME(step_body)(n, stride, TILE, constant, t ? kept + (t - 1) * kept_row : first, kept + t * kept_row,
            psi + t * psi_row, L + t * stride, F, M[t], state, number + t * number_row);
    for (int64_t t = n_steps - 1; t >= 0; t--)
        NAME(sweep_body)(n, stride, TILE, constant, number + t * number_row, lam, B + t * stride);
}

VISIBLE void NAME(rule_interval)(int64_t n_steps, int64_t n, int64_t stride, const REAL *constant, const REAL *first,
    const REAL *kept, int64_t kept_row, const REAL *psi, int64_t psi_row, const REAL *L, const REAL *F, const REAL *M,
    REAL *state, REAL *number, int64_t number_row, REAL *lam, int64_t n_lam, REAL *B)
{
#define OF_TILE(width) NAME(rule_tile)(n_steps, width, stride, constant + j, first + j, kept + j, kept_row, psi + j, \\
    psi_row, L + j, F + j, M, state + j, number, number_row, lam + n_lam * j, B + j)
    int64_t j = 0;
    for (; j + TILE <= n; j += TILE)
        OF_TILE(TILE);
    if (j < n)
        OF_TILE(n - j);
#undef OF_TILE
}
"""
