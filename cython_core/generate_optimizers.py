"""Write the C of the optimizers' steps, in the build, from the equations in `pareprop/network/optimizers.py`.

Expressions without synapses are computed once, in double precision: from settings and `eta` alone ("fixed"), or per
step of the optimizer ("moving"). The rest becomes loops over neighbouring synapses, and steps of vectors of them, with
the operations in the order in which they are written.
"""

import ast
import json
import re
from pathlib import Path

from pareprop.neurons.language import Tree, names_of, parse_expression, walk_tree

EQUATIONS = Path(__file__).parents[1] / "pareprop" / "network" / "optimizers.py"
PARTS = ("kept", "weight", "of_step", "idle", "series", "negligible")
MOST_CONSTANTS, MOST_KEPT = 8, 4  # columns of layout.pxd

HEAD = """/* Made by generate_optimizers.py; included once per precision REAL, with different NAMED. */
#ifndef PAREPROP_OPTIMIZERS
#define PAREPROP_OPTIMIZERS
#include "elementary.h"
#ifndef ALWAYS_INLINE
#define ALWAYS_INLINE inline __attribute__((always_inline))
#endif
#define MAYBE_UNUSED static __attribute__((unused))
#if defined(__clang__)
#define NEIGHBOURS _Pragma("clang loop vectorize(assume_safety)")
#else
#define NEIGHBOURS _Pragma("GCC ivdep")
#endif
#define ROOT(x) (sizeof(REAL) == 8 ? (REAL)__builtin_sqrt(x) : (REAL)__builtin_sqrtf((float)(x)))
#define TERMS (sizeof(REAL) == 8 ? 13 : 6)    /* of a series, of which the kernel has SERIES_COLUMNS */
enum { SERIES_COLUMNS = 16 };
"""
OPTIMIZED = """
typedef struct {    /* synapses, and inputs of an optimizer step that all of them share */
    int64_t kind;
    REAL low, high, fixed[MOST_FIXED];
    REAL *gradient, *weight, *kept[MOST_KEPT];    /* in the spike variant minus the gradient */
} NAMED(Optimized);

static ALWAYS_INLINE REAL NAMED(series)(const REAL *s, REAL x)
{
    REAL sum = s[5];
    if (TERMS > 6)
        sum += x * (s[6] + x * (s[7] + x * (s[8] + x * (s[9] + x * (s[10] + x * (s[11] + x * s[12]))))));
    return s[0] + x * (s[1] + x * (s[2] + x * (s[3] + x * (s[4] + x * sum))));
}
"""
STEP_OWED = """
/* a step of n synapses from `start` on; `gradient` holds minus the gradients and becomes 0 */
MAYBE_UNUSED void NAMED(step_owed)(const NAMED(Optimized) *of, int64_t start, int64_t n, const REAL *moving)
"""
STEP_MEAN = """
/* step `n_step` with sums of `divisor` gradients, which become 0 */
MAYBE_UNUSED void NAMED(step_mean)(int64_t kind, const double *constant, double eta, int64_t n_step, REAL divisor,
                                   REAL low, REAL high, int64_t n, REAL *gradient, REAL *weight, REAL **kept)
"""
NUMBERS_OF_MEAN = """
    double of_step[MOST_OF_STEP];
    REAL moving[MOST_MOVING] = {0};
    NAMED(Optimized) of = {.kind = kind, .low = low, .high = high, .gradient = gradient, .weight = weight};
    __builtin_memcpy(of.kept, kept, sizeof of.kept);
    number_step(kind, constant, n_step, of_step);
    NAMED(number_fixed)(kind, constant, eta, of.fixed);
    NAMED(number_moving)(kind, constant, eta, of_step, moving);
"""
STEP_IDLY = """
/* several gradient-free steps at once; if `first`, after a step with the gradient, minus `gradient` */
MAYBE_UNUSED void NAMED(step_idly)(const NAMED(Optimized) *of, int64_t start, int64_t n, const int first,
                                   const REAL *moving, const double *sums, const double *numbers)
"""
NUMBERS_OF_IDLE = """
    REAL s[SERIES_COLUMNS], idle[MOST_IDLE_NUMBERS];
    for (int k = 0; k < SERIES_COLUMNS; k++)
        s[k] = k < TERMS ? (REAL)sums[k] : (REAL)0.0;
    for (int k = 0; k < MOST_IDLE_NUMBERS; k++)
        idle[k] = (REAL)numbers[k];
"""
STEP_SIDE = """
static ALWAYS_INLINE void step_side(const int kind, const REAL *fixed, const REAL *moving, side_lanes g, side_lanes *x,
                                    side_lanes *weight)
"""


def place(text: str, texts: list[str]) -> int:
    """Return the index of a text in a list; append it if it is new."""
    if text not in texts:
        texts.append(text)
    return texts.index(text)


class Optimizer:
    """An optimizer: names in its equations, and their C.

    Parameters
    ----------
    name : str
        Its class.
    parts : dict
        `PARTS` of the class to its texts.

    Attributes
    ----------
    kept, constants : list of str
        Names of state variables of a synapse, and of settings in equations.
    of_step, fixed, moving, idle, rate, terms : list of str
        C of numbers without synapses.
    """

    def __init__(self, name: str, parts: dict) -> None:
        self.name, self.parts, self.kept = name, parts, list(parts["kept"])
        named = {key: {"weight": item} if isinstance(item, str) else item for key, item in parts.items()}
        trees = {
            key: {
                of: parse_expression(text, re.findall(r"\w+", text), f"{name}: {key}: {of}", True)
                for of, text in item.items()
            }
            for key, item in named.items()
        }
        step = trees["kept"] | trees.pop("weight")
        self.trees = trees | {"step": step}
        self.steps = list(parts["of_step"])
        known = {"g", "weight", "eta", "n", *self.kept, *self.steps, *parts["idle"]}
        nodes = [node for part in self.trees.values() for tree in part.values() for node in walk_tree(tree)]
        names = dict.fromkeys(items[0] for kind, *items in nodes if kind == "name")
        self.constants = [name for name in names if name not in known]
        self.fixed, self.moving, self.idle = list[str](), list[str](), list[str]()
        self.of_step = [self.uniform(tree) for tree in trees["of_step"].values()]
        self.rate, self.terms = (
            [self.uniform(trees["series"][key]) for key in keys if parts["idle"]]
            for keys in (["rate"], ["factor", "growth"])
        )
        self.scalar = self.statements("step", "g", {})
        least = {key: f"fixed[{place(self.uniform(tree), self.fixed)}]" for key, tree in trees["negligible"].items()}
        self.of_vectors = self.statements("step", "g", least, root="root_side", kind="side_lanes")
        self.updates = self.scalar[: len(self.kept)]  # of state variables, by a step with a gradient
        self.idly = self.statements("idle", "0", {})
        if len(self.constants) > MOST_CONSTANTS or len(self.kept) > MOST_KEPT:
            raise ValueError(f"{name}: more than {MOST_CONSTANTS} settings in equations, or {MOST_KEPT} numbers kept")

    def uniform(self, tree: Tree) -> str:
        """Return C of an expression without synapses, in double precision."""
        kind, *items = tree
        if kind == "number":
            return repr(items[0])
        if kind == "name" and items[0] in ("eta", "n"):
            return items[0]
        if kind == "name":
            array, names = ("of_step", self.steps) if items[0] in self.steps else ("constant", self.constants)
            return f"{array}[{names.index(items[0])}]"
        values = list(map(self.uniform, items))
        if kind == "**":
            return f"elementary_power({', '.join(values)})"
        if kind == "where":
            return "({} ? {} : {})".format(*values)
        return self.operation(kind, values, "sqrt")

    def operation(self, kind: str, values: list[str], root: str) -> str:
        """Return C of an operation on values in C."""
        if kind in ("+", "-", "*", "/", "<", "<=", ">", ">="):
            return f"({f' {kind} '.join(values)})"
        if kind in ("neg", "sqrt"):
            return f"{root}({values[0]})" if kind == "sqrt" else f"(-{values[0]})"
        raise ValueError(f"{self.name}: {kind} cannot stand in an equation of an optimizer")

    def value(self, tree: Tree, names: dict[str, str], root: str) -> str:
        """Return C of an expression of a synapse; parts without synapses are numbers computed before."""
        kind, *items = tree
        if kind == "number":
            return f"(REAL){items[0]!r}"
        if kind == "name" and items[0] in names:
            return names[items[0]]
        used = names_of(tree)
        if kind != "series" and used.isdisjoint(names):
            array = "moving" if used & {*self.steps} else "idle" if "n" in used else "fixed"
            return f"{array}[{place(self.uniform(tree), getattr(self, array))}]"
        values = [self.value(item, names, root) for item in items]
        return f"NAMED(series)(s, {values[0]})" if kind == "series" else self.operation(kind, values, root)

    def statements(
        self, part: str, gradient: str, least: dict[str, str], root: str = "ROOT", kind: str = "REAL"
    ) -> list[str]:
        """Return the equations of a part, for `g`, `w` and the state variables `x0`, `x1`, ..."""
        places = {name: f"x{k}" for k, name in enumerate(self.kept)} | {"weight": "w"}
        names, lines = places | {"g": gradient}, []
        for name, tree in self.trees[part].items():
            given = names | {"g": f"above(g, {least[name]})"} if name in least else names
            if name not in places:
                names[name] = name
            target = places.get(name, f"const {kind} {name}")
            lines.append(f"{target} = {self.value(tree, given, root)};")
        return lines

    def loop(self, name: str, arguments: str, lines: list[str]) -> str:
        """Return a loop over neighbouring synapses, with lines that change `w` and the state variables."""
        kept = range(len(self.kept))
        return "\n".join(
            [
                f"static ALWAYS_INLINE void NAMED({name})(",
                f"    const NAMED(Optimized) *of, int64_t start, int64_t n, {arguments})",
                "{",
                "    REAL fixed[MOST_FIXED];",
                "    const REAL low = of->low, high = of->high;",
                "    REAL *restrict gradient = of->gradient + start, *restrict weight = of->weight + start;",
                *(f"    REAL *restrict k{k} = of->kept[{k}] + start;" for k in kept),
                "    __builtin_memcpy(fixed, of->fixed, sizeof fixed);    /* nothing that is written can be in it */",
                "    (void)fixed, (void)gradient, (void)moving;",
                "    NEIGHBOURS for (int64_t i = 0; i < n; i++)",
                "    {",
                "        REAL w = weight[i];",
                *(f"        REAL x{k} = k{k}[i];" for k in kept),
                *(f"        {line}" for line in lines),
                "        w = w > low ? w : low;",
                "        weight[i] = w < high ? w : high;",
                *(f"        k{k}[i] = x{k};" for k in kept),
                "    }",
                "}",
            ]
        )

    def loops(self, code: int) -> list[str]:
        """Return the loops of a step, and of steps without a gradient."""
        take, spent = "const REAL g = {};", "gradient[i] = (REAL)0.0;"
        negated = "(REAL)0.0 - gradient[i]"  # not -gradient[i]: a weight of -0.0 keeps its sign
        gradient = [take.format(f"negate ? {negated} : gradient[i] / divisor"), spent]
        arguments = "const REAL *moving, const int negate, REAL divisor"
        made = [self.loop(f"steps_{code}", arguments, gradient + self.scalar)]
        if self.idly:
            first = ["if (first) {", *(f"    {line}" for line in [take.format(negated), spent, *self.updates]), "}"]
            arguments = "const int first, const REAL *moving, const REAL *s, const REAL *idle"
            made.append(self.loop(f"idle_{code}", arguments, first + self.idly))
        return made

    def step_of_vectors(self) -> list[str]:
        """Return a step of `side_lanes`, without bounds."""
        kept = range(len(self.kept))
        return [
            "{",
            "    side_lanes w = *weight;",
            *(f"    side_lanes x{k} = x[{k}];" for k in kept),
            *(f"    {line}" for line in self.of_vectors),
            "    *weight = w;",
            *(f"    x[{k}] = x{k};" for k in kept),
            "}",
        ]


def read(path: Path = EQUATIONS) -> list[Optimizer]:
    """Read the optimizers of a file, in its order."""
    classes: dict[str, dict] = {}
    for node in ast.parse(path.read_text()).body:
        if not isinstance(node, ast.ClassDef):
            continue
        inherited = [classes[base.id] for base in node.bases if isinstance(base, ast.Name) and base.id in classes]
        if not inherited and node.name != "Optimizer":
            continue
        own = {
            target.id: ast.literal_eval(item.value)
            for item in node.body
            if isinstance(item, ast.Assign | ast.AnnAssign) and item.value is not None
            for target in (item.targets if isinstance(item, ast.Assign) else [item.target])
            if isinstance(target, ast.Name) and target.id in PARTS
        }
        classes[node.name] = {key: value for base in inherited for key, value in base.items()} | own
    return [Optimizer(name, parts) for name, parts in classes.items() if name != "Optimizer"]


def switch(declaration: str, cases: list[list[str]], before: str = "", kind: str = "kind") -> str:
    """Return a function with lines of C for each optimizer."""
    texts = [
        "\n".join([f"    case {code}:", *(f"        {line}" for line in lines), "        break;"])
        for code, lines in enumerate(cases)
        if lines
    ]
    return "\n".join(
        [
            declaration,
            "{",
            *([before] if before else []),
            f"    switch ({kind}) {{",
            *texts,
            "    default:",
            "        break;",
            "    }",
            "}",
        ]
    )


def filling(name: str, arguments: str, array: str, numbers: list[list[str]]) -> str:
    """Return a function that fills an array with numbers of each optimizer."""
    cast = "(REAL)" if name.startswith("NAMED") else ""
    cases = [[f"{array}[{k}] = {cast}{text};" for k, text in enumerate(own)] for own in numbers]
    return switch(f"static inline void {name}(int64_t kind, const double *constant, {arguments})", cases)


def write_source(path: Path = EQUATIONS) -> str:
    """Return the header of the optimizers of a file."""
    all_ = read(path)
    kinds = [
        {"equations": json.dumps([item.parts[part] for part in PARTS]), "constants": item.constants} for item in all_
    ]
    of_step, fixed, moving = (
        [item.of_step for item in all_],
        [item.fixed for item in all_],
        [item.moving for item in all_],
    )
    idle, kept = [item.idle for item in all_], [len(item.kept) for item in all_]
    numbers = {"FIXED": fixed, "MOVING": moving, "IDLE_NUMBERS": idle, "OF_STEP": of_step}
    sizes = {"CONSTANTS": MOST_CONSTANTS, "KEPT": MOST_KEPT} | {
        name: max(1, *map(len, each)) for name, each in numbers.items()
    }
    negated, mean = (
        [[f"NAMED(steps_{code})({how});"] for code in range(len(all_))]
        for how in ("of, start, n, moving, 1, (REAL)1.0", "&of, 0, n, moving, 0, divisor")
    )
    idly = [
        [
            "if (first)",
            f"    NAMED(idle_{code})(of, start, n, 1, moving, s, idle);",
            "else",
            f"    NAMED(idle_{code})(of, start, n, 0, moving, s, idle);",
        ]
        if item.idly
        else []
        for code, item in enumerate(all_)
    ]
    return "\n\n".join(
        [
            HEAD + "enum { " + ", ".join(f"MOST_{name} = {size}" for name, size in sizes.items()) + " };",
            f"static const char OPTIMIZERS[] = {json.dumps(json.dumps(kinds))};",
            f"#define EACH_KEEPING(OF) {' '.join(f'OF({code})' for code, n in enumerate(kept) if n)}",
            f"#define KEPT_OF(kind) ({' : '.join(f'(kind) == {code} ? {n}' for code, n in enumerate(kept))} : 0)",
            filling("number_step", "int64_t n, double *of_step", "of_step", of_step),
            filling("number_idle", "int64_t n, double *idle", "idle", idle),
            filling(
                "rate_of_series",
                "double eta, const double *of_step, double *rate",
                "rate",
                [item.rate for item in all_],
            ),
            filling("terms_of_series", "double *term", "term", [item.terms for item in all_]),
            "#endif",
            OPTIMIZED.strip(),
            filling("NAMED(number_fixed)", "double eta, REAL *fixed", "fixed", fixed),
            filling("NAMED(number_moving)", "double eta, const double *of_step, REAL *moving", "moving", moving),
            *(loop for code, item in enumerate(all_) for loop in item.loops(code)),
            switch(STEP_OWED.strip(), negated, kind="of->kind"),
            switch(STEP_MEAN.strip(), mean, NUMBERS_OF_MEAN.strip("\n")),
            switch(STEP_IDLY.strip(), idly, NUMBERS_OF_IDLE.strip("\n"), kind="of->kind"),
            "#ifdef SIDES",
            switch(STEP_SIDE.strip(), [item.step_of_vectors() for item in all_]),
            "#endif\n",
        ]
    )
