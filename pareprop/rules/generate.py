"""C of a rule at a neuron model: numbers of a step, the sweep back through an interval, a step of synapses."""

from __future__ import annotations

import json
from collections.abc import Mapping

from ..neurons.expressions import Columns, Loop, function
from ..neurons.generate import Generator, source_of
from ..neurons.kept import FLAGS
from ..neurons.language import Tree, names_of
from ..neurons.derive import derive
from .bound import NOW, WAS, OLD, Bound
from .linear import NEW

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
    """

    def __init__(self, bound: Bound) -> None:
        self.bound, self.columns, self.numbers = bound, Columns(), list[Tree]()
        derived = derive(bound.model)
        flags = [FLAGS] if derived.spiked or derived.refractory else []
        self.kept = [*derived.keeps, *flags]
        steps = bound.steps
        self.index = {name: k for k, name in enumerate(bound.synapse)}
        self.coefficients = {
            "M": {(self.index[a], self.index[b]): tree for (a, b), tree in steps.M.items()},
            **{key: {self.index[name]: tree for name, tree in getattr(steps, key).items()} for key in ("U", "w", "w0")},
        }  # fmt: skip
        for entries in self.coefficients.values():
            for tree in entries.values():
                self._number(tree)
        self._number(steps.v)
        # also where what is compiled is at hand: the functions decide the columns
        self._text = "\n".join([self._step(), self._sweep(), self._trace(), self._interval()])

    @property
    def sizes(self) -> dict[str, int]:
        """Numbers of each kind."""
        return {
            "n_constants": len(self.columns.trees), "n_states": len(self.bound.states),
            "n_synapse": len(self.index), "n_numbers": len(self.numbers),
        }  # fmt: skip

    def source(self, headers: Mapping[str, str]) -> str:
        """Return a source that needs nothing but the compiler's own headers."""
        return source_of(Generator._with_functions(self._text), headers)

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
        for k in range(len(self.numbers)):
            pointers[f"number{k}"] = f"REAL *restrict number{k} = number + {k} * stride"
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
        lines = [f"number{k}[j] = {loop.literal(tree)};" for k, tree in enumerate(self.numbers)]
        lines += [f"state{k}[j] = {loop.literal(('name', f'{NEW} {name}'))};" for k, name in enumerate(bound.states)]
        loop.lines += lines
        unused = "(void)constant; (void)before; (void)kept; (void)psi; (void)L; (void)F; (void)M; (void)state; (void)number;"
        body = function("void NAME(step_body)", f"int64_t n, int64_t stride, const REAL *constant, {_ROW}", pointers, loop,
                        [unused])  # fmt: skip
        return body + "\n".join([
            f"VISIBLE void NAME(rule_step)(int64_t n, int64_t stride, const REAL *constant, {_ROW})", "{",
            "    NAME(step_body)(n, stride, constant, before, kept, psi, L, F, M, state, number);", "}", "",
        ])  # fmt: skip

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
            terms = [loop.let(f"{coefficient(tree)} * {later[a]}") for (a, b), tree in steps["M"].items() if b == k]
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
                return loop.let(f"constant[{self.columns.place(tree)} * stride + to]")
            return self._coefficient(tree, loop, "number[{k} * stride + to]")

        old = {k: loop.let(f"x[{k} * x_stride + j]") for k in range(size)}
        credit = [loop.let(f"{coefficient(tree)} * {old[k]}") for k, tree in steps["w0"].items()]
        new = {}
        for k in range(size):
            terms = [loop.let(f"{coefficient(tree)} * {old[b]}") for (a, b), tree in steps["M"].items() if a == k]
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
            "VISIBLE void NAME(rule_trace)(int64_t n, int64_t stride, const uint32_t *restrict target,",
            "    const REAL *restrict constant, const REAL *restrict number, REAL arrived, REAL *restrict x,",
            "    int64_t x_stride, REAL *restrict C)", "{", "    (void)constant; (void)number; (void)arrived;",
            "    INDEPENDENT", "    for (int64_t j = 0; j < n; j++) {", *(f"        {line}" for line in loop.lines), "    }",
            "}", "",
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
        NAME(step_body)(n, stride, constant, t ? kept + (t - 1) * kept_row : first, kept + t * kept_row,
            psi + t * psi_row, L + t * stride, F, M[t], state, number + t * number_row);
    for (int64_t t = n_steps - 1; t >= 0; t--)
        NAME(sweep_body)(n, stride, constant, number + t * number_row, lam, B + t * stride);
}
"""
