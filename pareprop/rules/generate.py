"""C of a rule at a neuron model: numbers of a step, the sweep back through an interval, steps of synapses.

Between arrivals, steps compose (spike variant). From the start of a block to step u they are a map (P, q) of a target:
x -> P x, g += q . x. From step a to step b of a block, x leads to P_b y, and adds (q_b - q_a) . y, where y = P_a^-1 x
is what would have had to be there at the start: so a synapse reads two maps, however many steps there are. P is
triangular, and where its diagonal does not vary, the inverse loses as few digits as the power of the diagonal over a
block: blocks are as long as that allows, of each target by itself. Where the diagonal varies, synapses go through each
step.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..neurons.derive import derive
from ..neurons.expressions import Columns, Loop, function
from ..neurons.generate import Generator, source_of
from ..neurons.kept import FLAGS
from ..neurons.language import Tree, names_of
from .bound import NOW, OLD, WAS, Bound
from .linear import NEW, ZERO

_NUMBER = "number[{k} * across + j * width]"
_ROW = (
    "const REAL *before, const REAL *kept, const REAL *restrict psi, const REAL *restrict L, const REAL *restrict F, "
    "const REAL M, REAL *state, REAL *number"
)


class RuleGenerator:
    """Writes the functions of a rule.

    Parameters
    ----------
    bound : Bound
        The rule at neurons of a model that keeps what the rule reads.

    Attributes
    ----------
    columns : Columns
        Numbers of each target that do not move.
    numbers : list of tuple
        Those of a step that move, in the order in which they are kept.
    map : dict
        See `_list_map`.
    own : list of int
        Columns that synapses read of a target; the steps of its blocks follow there.
    """

    def __init__(self, bound: Bound) -> None:
        self.bound, self.columns, self.numbers = bound, Columns(), list[Tree]()
        derived = derive(bound.model)
        flags = [FLAGS] if derived.spiked or derived.refractory else []
        self.kept = [*derived.keeps, *flags]
        steps = bound.steps
        self.index = {name: k for k, name in enumerate(bound.synapse)}
        self.M = {(self.index[a], self.index[b]): tree for (a, b), tree in steps.M.items()}
        self.coefficients: dict[str, dict[int, Tree]] = {
            key: {self.index[name]: tree for name, tree in getattr(steps, key).items()} for key in ("U", "w", "w0")
        }
        for tree in (*self.M.values(), *(tree for part in self.coefficients.values() for tree in part.values())):
            self._number(tree)
        self._number(steps.v)
        self.map, self.own = self._list_map(), list[int]()
        # also where what is compiled is at hand: the functions decide the columns
        parts = [
            self._step(),
            self._sweep(),
            self._trace(),
            self._interval(),
            self._map(),
            self._advance(),
            self._window(),
        ]
        self._text = f"#undef N_OWN\n#define N_OWN {len(self.own) + 1}\n" + "\n".join(parts)

    @property
    def sizes(self) -> dict[str, int]:
        """Numbers of each kind."""
        return {
            "n_constants": len(self.columns.trees), "n_states": len(self.bound.states),
            "n_synapse": len(self.index), "n_numbers": len(self.numbers), "n_map": len(self.map),
        }  # fmt: skip

    def source(self, headers: Mapping[str, str]) -> str:
        """Return a source that needs nothing but the compiler's own headers."""
        return source_of(Generator.with_functions(self._text), headers)

    # ---- parts -------------------------------------------------------------------------------------------------------

    def _moves(self, tree: Tree) -> bool:
        return not (self.bound.moving | self.bound.terms.keys()).isdisjoint(names_of(tree))

    def _number(self, tree: Tree) -> None:
        if tree[0] == "number":
            return
        if not self._moves(tree):
            self.columns.place(tree)
        elif tree not in self.numbers:
            self.numbers.append(tree)

    def _coefficient(self, tree: Tree, loop: Loop, number: str) -> str:
        """Return C of a coefficient, where the numbers of a step are read as `number` says."""
        if tree[0] == "number":
            return loop.number(tree[1])
        if not self._moves(tree):
            return loop.value(tree)
        return loop.let(number.format(k=self.numbers.index(tree)))

    def _step(self) -> str:
        """What a step gives: new states of `neuron`, then the numbers that move."""
        bound = self.bound
        names = dict.fromkeys(bound.moving, "")
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
            now, was = (loop.let(f"{array}{place}[j]") for array in ("kept", "before"))
            for name, flag in (("z", now), (f"{WAS} z", was)):
                names[name] = loop.let(f"({flag} == R(1.0)) | ({flag} == R(3.0)) ? ONE : ZERO")
            names["refractory"] = loop.let(f"{now} >= R(2.0) ? ONE : ZERO")
        for name in bound.states:
            names[f"{OLD} {name}"] = loop.let(names[f"{OLD} {name}"])
        lines = [f"{_NUMBER.format(k=k)} = {loop.literal(tree)};" for k, tree in enumerate(self.numbers)]
        lines += [f"state{k}[j] = {loop.literal(('name', f'{NEW} {name}'))};" for k, name in enumerate(bound.states)]
        loop.lines += lines
        given = ("constant", "before", "kept", "psi", "L", "F", "M", "state", "number")
        return function(
            "inline ALWAYS void NAME(step_body)",
            f"int64_t n, int64_t stride, const int64_t across, const int64_t width, const REAL *constant, {_ROW}",
            pointers, loop,
            [" ".join(f"(void){name};" for name in given)],
        )  # fmt: skip

    def _sweep(self) -> str:
        """One step back: what an arrival adds to the gradient, and the derivative by the states before."""
        size, steps, number = len(self.index), self.coefficients, "number[{k} * stride + j]"
        loop = Loop(self.columns, {})
        pointers = {f"lam{k}": f"REAL *restrict lam{k} = lam + {k} * stride" for k in range(size)}

        def coefficient(tree: Tree) -> str:
            return self._coefficient(tree, loop, number)

        later = {}
        for k in range(size):
            own = loop.let(f"lam{k}[j]")
            later[k] = loop.let(f"{own} + {coefficient(steps['w'][k])}") if k in steps["w"] else own
        terms = [loop.let(f"{coefficient(tree)} * {later[k]}") for k, tree in steps["U"].items()]
        terms += [] if self.bound.steps.v == ("number", 0.0) else [coefficient(self.bound.steps.v)]
        lines = [f"B[j] = {loop.sum(terms) or 'ZERO'};"]
        for k in range(size):
            terms = [loop.let(f"{coefficient(tree)} * {later[a]}") for (a, b), tree in self.M.items() if b == k]
            terms += [coefficient(steps["w0"][k])] if k in steps["w0"] else []
            lines.append(f"lam{k}[j] = {loop.sum(terms) or 'ZERO'};")
        loop.lines += lines
        return function(
            "void NAME(sweep_body)",
            "int64_t n, int64_t stride, const REAL *constant, const REAL *restrict number, REAL *lam, REAL *restrict B",
            pointers, loop, ["(void)constant; (void)number; (void)lam;"],
        )  # fmt: skip

    def _trace(self) -> str:
        """One step of n synapses of a row: their states, and what the step adds to the gradient, taken from C."""
        size, steps = len(self.index), self.coefficients
        loop = Loop(self.columns, {})
        loop.lines.append("const int64_t to = target[j];")

        def coefficient(tree: Tree) -> str:
            if tree[0] != "number" and not self._moves(tree):
                return loop.let(f"own[{self._own_place(tree)} + to * N_OWN]")
            return self._coefficient(tree, loop, "number[{k} + to * width]")

        old = {k: loop.let(f"x[{k} * x_stride + j]") for k in range(size)}
        credit = [loop.let(f"{coefficient(tree)} * {old[k]}") for k, tree in steps["w0"].items()]
        new = {}
        for k in range(size):
            terms = [loop.let(f"{coefficient(tree)} * {old[b]}") for (a, b), tree in self.M.items() if a == k]
            terms += [loop.let(f"{coefficient(steps['U'][k])} * arrived")] if k in steps["U"] else []
            new[k] = loop.sum(terms) or "ZERO"
        credit += [loop.let(f"{coefficient(tree)} * {new[k]}") for k, tree in steps["w"].items()]
        if self.bound.steps.v != ("number", 0.0):
            credit.append(loop.let(f"{coefficient(self.bound.steps.v)} * arrived"))
        # what decays for long would end in numbers that take a hundred times as long
        lines = [f"x[{k} * x_stride + j] = {new[k]} < TINY && {new[k]} > -TINY ? ZERO : {new[k]};" for k in range(size)]
        loop.lines += [*lines, f"C[j] -= {loop.sum(credit) or 'ZERO'};"]
        return "\n".join([
            "#undef TINY", "#define TINY (sizeof(REAL) == 8 ? R(1e-290) : R(1e-30))",
            "VISIBLE void NAME(rule_trace)(int64_t n, int64_t width, const uint32_t *restrict target,",
            "    const REAL *restrict own, const REAL *restrict number, REAL arrived, REAL *restrict x,",
            "    int64_t x_stride, REAL *restrict C)", "{", "    (void)width; (void)own; (void)number; (void)arrived;",
            "    INDEPENDENT", "    for (int64_t j = 0; j < n; j++) {", *(f"        {line}" for line in loop.lines),
            "    }", "}", "",
        ])  # fmt: skip

    # ---- maps of steps -----------------------------------------------------------------------------------------------

    @property
    def diagonal(self) -> list[Tree]:
        """Diagonal of M by state."""
        return [self.M.get((k, k), ZERO) for k in range(len(self.index))]

    def _list_map(self) -> dict[tuple[int | str, int], int]:
        """Return the place of each number of a map, by row and column, "q" for what is added; none without maps.

        The diagonal comes first, then what is below it, then q.
        """
        size = len(self.index)
        reached = set(self.M) | {(k, k) for k in range(size)}
        while more := {(a, c) for a, b in reached for d, c in reached if b == d} - reached:
            reached |= more
        if not self.bound.composes:
            return {}
        keys: list[tuple[int | str, int]] = [(k, k) for k in range(size)]
        keys += sorted((a, b) for a, b in reached if a != b)
        keys += [("q", k) for k in range(size)]
        return {key: place for place, key in enumerate(keys)}

    def _map(self) -> str:
        """The map from the start of the block to step u, after its numbers are found; in `state` and in `number`."""
        n_states, steps, first = len(self.bound.states), self.coefficients, len(self.numbers)
        loop, size = Loop(self.columns, {}), len(self.index)

        def coefficient(tree: Tree) -> str:
            return self._coefficient(tree, loop, "number[{k} + j * width]")

        pointers = {f"m{k}": f"REAL *restrict m{k} = state + {n_states + k} * stride" for k in range(len(self.map))}
        loop.lines.append("const int64_t within = u & ((int64_t)block[j] - 1);")
        old, new = {}, {}
        for key, place in self.map.items():
            old[key] = loop.let(f"within ? m{place}[j] : {'ONE' if key[0] == key[1] else 'ZERO'}")
        for row, column in (key for key in self.map if key[0] != "q"):
            terms = [
                loop.let(f"{coefficient(tree)} * {old[b, column]}")
                for (a, b), tree in self.M.items() if a == row and (b, column) in old
            ]  # fmt: skip
            new[row, column] = loop.sum(terms) or "ZERO"
        for column in range(size if self.map else 0):
            terms = [old["q", column]]
            terms += [
                loop.let(f"{coefficient(tree)} * {new[a, column]}")
                for a, tree in steps["w"].items()
                if (a, column) in new
            ]
            terms += [
                loop.let(f"{coefficient(tree)} * {old[a, column]}")
                for a, tree in steps["w0"].items()
                if (a, column) in old
            ]
            new["q", column] = loop.sum(terms)
        for key, place in self.map.items():
            loop.lines.append(f"m{place}[j] = number[{first + place} + j * width] = {new[key]};")
        return function(
            "void NAME(map_body)",
            "int64_t n, int64_t stride, int64_t width, int64_t u, const REAL *constant, const REAL *restrict block, "
            "REAL *state, REAL *restrict number",
            pointers, loop, ["(void)width; (void)u; (void)constant; (void)block; (void)state; (void)number;"],
        )  # fmt: skip

    def _advance(self) -> str:
        """A step of targets: its numbers, and the map up to it; constants end with the steps of a block."""
        block = f"constant + {len(self.columns.trees)} * stride"
        composes = [f"    NAME(map_body)(n, stride, width, u, constant, {block}, state, number);"]
        return "\n".join([
            "VISIBLE void NAME(rule_step)(int64_t n, int64_t stride, int64_t width, int64_t u, const REAL *constant,",
            f"    {_ROW})", "{",
            "    NAME(step_body)(n, stride, 1, width, constant, before, kept, psi, L, F, M, state, number);",
            *(composes if self.map else ["    (void)u;"]), "}", "",
        ])  # fmt: skip

    def _own_place(self, tree: Tree) -> int:
        """Return the place of a constant among those of a target that synapses read."""
        place = self.columns.place(tree)
        if place not in self.own:
            self.own.append(place)
        return self.own.index(place)

    def _window(self) -> str:
        """Synapses go through steps [u, end), where a spike may enter in the first one, by maps of their targets.

        Where all targets have blocks of one length, synapses go side by side; to the same bits.
        """
        if not self.map:
            return ""
        size, first = len(self.index), len(self.numbers)
        states = range(size)
        order = sorted(states, key=lambda k: sum(key[0] == k for key in self.map))  # a state after those that it reads

        def at(row: str, key: tuple[int | str, int]) -> str:
            return f"{row}[at + {first + self.map[key]}]"

        solved = []
        for a in order:
            below = [f" - {at('from', (a, b))} * y{b}" for b in order if a != b and (a, b) in self.map]
            solved.append(f"const REAL y{a} = (x{a}{''.join(below)}) / {at('from', (a, a))};")
        moved = {a: " + ".join(f"{at('to', (a, b))} * {{y}}{b}" for b in states if (a, b) in self.map) for a in states}
        added = " + ".join(f"({at('to', ('q', k))} - {at('from', ('q', k))}) * y{k}" for k in states)
        whole = " + ".join(f"{at('to', ('q', k))} * x{k}" for k in states)

        def loop(y: str, more: list[str], credit: str) -> list[str]:
            """Return a loop over synapses, y: the letter of their states at the start of the block."""
            lines = ["const int64_t at = (int64_t)target[j] * width;"]
            lines += [*(f"const REAL x{k} = x[{k} * x_stride + j];" for k in states), *more]
            lines += [f"const REAL z{a} = {text.format(y=y)};" for a, text in moved.items()]
            lines += [f"x[{k} * x_stride + j] = z{k} < TINY && z{k} > -TINY ? ZERO : z{k};" for k in states]
            head = ["                INDEPENDENT", "                for (int64_t j = low; j < high; j++) {"]
            return [
                *head,
                *(f"                    {line}" for line in (*lines, f"C[j] -= {credit};")),
                "                }",
            ]

        return "\n".join([
            "VISIBLE void NAME(rule_window)(int64_t n, int64_t width, const uint32_t *restrict target,",
            "    const REAL *restrict own, const REAL *restrict ring, int64_t row, int64_t rows, int64_t u,",
            "    int64_t end, REAL arrived, REAL *restrict x, int64_t x_stride, REAL *restrict C)", "{",
            "    if (arrived != ZERO) {",
            "        NAME(rule_trace)(n, width, target, own, ring + u % rows * row, arrived, x, x_stride, C);",
            "        u += 1;", "    }", "    if (u >= end)", "        return;",
            f"    const REAL *const blocks = own + {len(self.own)};",
            "    const REAL common = n > 0 ? blocks[(int64_t)target[0] * N_OWN] : ONE;", "    int differ = 0;",
            "    for (int64_t j = 0; j < n; j++)",
            "        differ |= blocks[(int64_t)target[j] * N_OWN] != common;",
            "    for (int64_t i = 0; i < (differ ? n : 1); i++) {",
            "        const int64_t block = (int64_t)blocks[(int64_t)target[i] * N_OWN], low = differ ? i : 0;",
            "        const int64_t high = differ ? i + 1 : n;",
            "        for (int64_t a = u; a < end;) {",
            "            const int64_t next = (a | (block - 1)) + 1, b = next < end ? next : end;",
            "            const REAL *restrict to = ring + (b - 1) % rows * row;",
            "            const REAL *restrict from = ring + (a > 0 ? a - 1 : 0) % rows * row;",
            "            if (a & (block - 1)) {", *loop("y", solved, added),
            "            } else {", *loop("x", [], whole),
            "            }", "            a = b;", "        }", "    }", "}", "",
        ])  # fmt: skip

    @staticmethod
    def _interval() -> str:
        """All steps of an interval forward, which leaves their numbers, then back."""
        return """
VISIBLE void NAME(rule_interval)(int64_t n_steps, int64_t n, int64_t stride, const REAL *constant, const REAL *first,
    const REAL *kept, int64_t kept_row, const REAL *psi, int64_t psi_row, const REAL *L, const REAL *F, const REAL *M,
    REAL *state, REAL *number, int64_t number_row, REAL *lam, REAL *B)
{
    for (int64_t t = 0; t < n_steps; t++)
        NAME(step_body)(n, stride, stride, 1, constant, t ? kept + (t - 1) * kept_row : first, kept + t * kept_row,
            psi + t * psi_row, L + t * stride, F, M[t], state, number + t * number_row);
    for (int64_t t = n_steps - 1; t >= 0; t--)
        NAME(sweep_body)(n, stride, constant, number + t * number_row, lam, B + t * stride);
}
"""
