"""Write the C of a neuron model: forward step, backward step, step of the traces, decay of traces past the cutoff.

`cython_core/neuron_model.h` declares the functions and their arguments. Each loop runs over adjacent neurons or
synapses in memory and has no branch.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from ..errors import InputError
from ..values import Values
from .composed_map_rows import ComposedMapRows
from .derive import NO_LEARNS, Learns
from .expressions import SPIKED, Derived, Loop, outlives_cutoff, write_function
from .language import Tree, names_of, write
from .model import NeuronModel
from .stages import MANY, over_neurons
from .stored_terms import FLAGS, OLD

PRECISIONS = {"double": "double", "single": "float"}
PARTS = {"step": ("start", "step"), "sweep": ("sweep",), "trace": ("trace", "decay")}  # functions of a NEURON_MODEL


@dataclass
class Generated:
    """C code and sizes of a generated model.

    Attributes
    ----------
    functions : dict of str to str
        C for either precision, without the headers, by part: the parts of `PARTS`, "composed", and "derive", which
        "composed" calls. All functions read the same constant columns.
    substeps : dict of str to str
        C of functions that these call, by name.
    constants : dict of str to tuple
        Constants that the columns read; the constants of the model come first.
    columns : list of tuple
        Trees of the constant columns.
    initial : dict of (str, str) to tuple
        Derivatives of the initial values of states by learned parameters.
    sizes : dict of str to int
        Sizes of a NEURON_MODEL, see `neuron_model.h`, then `n_derived`.
    """

    functions: dict[str, str]
    substeps: dict[str, str]
    constants: dict[str, Tree]
    columns: list[Tree]
    initial: dict[tuple[str, str], Tree]
    sizes: dict[str, int]

    def write_source(self, *parts: str) -> str:
        """Return the C of parts with all functions that they call, and a NEURON_MODEL with their functions."""
        functions = [self.functions[part] for part in parts]
        called = set(re.findall(r"NAME\((substeps_\d+)\)", "".join(functions)))
        given = [name for part in parts for name in PARTS.get(part, ())]
        if given:
            pointers = [f"NAME({name})" if name in given else "NULL" for part in PARTS.values() for name in part]
            sizes = [str(size) for name, size in self.sizes.items() if name != "n_derived"]
            functions.append(_TABLE.format(", ".join([*sizes, *pointers])))
        return "\n".join([*(text for name, text in self.substeps.items() if name in called), *functions])


_TABLE = """
static const NEURON_MODEL NAME(table) = {{NEURON_MODEL_VERSION, sizeof(REAL), {}}};

VISIBLE const NEURON_MODEL *NAME(neuron_model)(void) {{ return &NAME(table); }}
"""


@lru_cache(maxsize=16)
def generate_model(
    model: NeuronModel,
    follows_synapses: bool = True,
    ports: tuple[int, ...] | None = None,
    learns: Learns = NO_LEARNS,
    ahead: bool = False,
    second_trace: bool | None = None,
) -> Generated:
    """Return the C of a model.

    `follows_synapses` asks for the functions on traces of synapses and on composed maps, `ahead` for composed maps of
    traces that are stored ahead. `ports` are the ports whose synapses use composed maps (None: all). With
    `second_trace`, composed maps have a second filtered trace in addition to ebar (None: both cases). `learns` lists
    the learned parameters of neurons.

    Learned parameters come last: the last columns of the backward pass hold, for each learned parameter, its gradient
    summed over steps, then, if `I_e` is learned, the contribution of the current in the first step of a sample. Ports
    of `trace` beyond the model's ports are learned parameters; there `arrived` says whether the current `I_e` flows in
    the step. Raises `InputError` if a derivative is too long, or no spike depends on a learned parameter.
    """
    generator = Generator(model, learns)
    for k, name in enumerate(learns.names):
        if not generator.learned.list_paths(model, k):
            why = "the gradient reaches neither steps nor spike, followed resets and initial values by it"
            raise InputError(f"{model.here}: parameter '{name}' cannot be learned: {why}")
    if model.through != "all":  # neurons have the columns of all derivatives
        whole = Generator(model.learning_through("all"), learns)
        whole.generate_program(follows_synapses, ports, ahead, second_trace)
        generator.columns.trees += whole.columns.trees
    return generator.generate_program(follows_synapses, ports, ahead, second_trace)


class Generator(Derived):
    """Writes the functions of a model."""

    def generate_program(
        self, follows_synapses: bool, ports: Sequence[int] | None, ahead: bool, second_trace: bool | None
    ) -> Generated:
        """Return the C of all functions, with sizes, constants and columns."""
        functions, n_derived = {}, 0
        if follows_synapses:
            functions["trace"] = f"{self.write_trace()}\n{self.write_decay()}"
        if follows_synapses or ahead:
            maps = ComposedMapRows(self, ports, ahead, second_trace)
            functions |= {"composed": maps.write_functions(), "derive": maps.derive}
            n_derived = len(maps.derived)
        n_traced = len(self.columns.trees)  # columns that synapses read come first
        functions |= {"step": f"{self.write_start()}\n{self.write_step()}", "sweep": self.write_backward_step()}
        by = self.by
        sizes = {
            "n_constants": len(self.columns.trees),
            "n_states": self.n,
            "n_ports": len(self.ports),
            "n_kept": by.n_kept,
            "n_adjoint": self.n_adjoint,
            "n_traces": self.n + bool(by.v),
            "n_traced": n_traced,
            "n_derived": n_derived,
        }
        functions = {part: self.with_functions(text) for part, text in functions.items()}
        substeps = {name: self.with_functions(text.replace("{}", name, 1)) for text, name in self.written.items()}
        constants, names = self.model.equations.constants | by.constants, by.learns.names
        initial = {(self.states[i], names[k]): tree for (i, k), tree in self.learned.initial.items()}
        return Generated(functions, substeps, constants, self.columns.trees, initial, sizes)

    @property
    def n_adjoint(self) -> int:
        """Number of columns of the backward pass, see `generate_model`."""
        return self.n + bool(self.by.v) + len(self.by.learns.names) + ("I_e" in self.by.learns.names)

    @property
    def row(self) -> str:
        """C expression of the distance between the rows of `kept` of two successive steps."""
        return f"{self.by.n_kept} * stride"

    @staticmethod
    def with_functions(text: str) -> str:
        """Replace functions of the language, such as `@exp`, by the C functions of a precision."""
        for name in ("exp", "log", "tanh", "sqrt"):
            text = text.replace(f"@{name}(", f"NAME(real_{name})(")
        return text

    # ---- functions ---------------------------------------------------------------------------------------------------

    def write_start(self) -> str:
        """Write the function that fills the row of `kept` before the first step."""
        lines = []
        for k, tree in enumerate(self.keeps):
            text = "ZERO"
            if tree == FLAGS:
                text = "z[j]"
            elif tree[1] in self.states:
                text = f"state[{self.states.index(tree[1])} * stride + j]"
            lines.append(f"        kept[{k} * stride + j] = {text};")
        unused = "(void)dt; (void)constant; (void)state; (void)z; (void)refractory; (void)kept; (void)stride;"
        return "\n".join(
            [
                "static void NAME(start)(int64_t n, int64_t stride, double dt, const REAL *constant,",
                "                        const REAL *state, const REAL *z, const REAL *refractory, REAL *kept)",
                "{",
                f"    {unused}",
                "    for (int64_t j = 0; j < n; j++) {",
                *lines,
                "    }",
                "}",
                "",
            ]
        )

    def write_step(self) -> str:
        """Write one step of the neurons."""
        equations = self.model.equations
        names = {name: f"s{k}[j]" for k, name in enumerate(self.states)}
        names |= {name: f"p{k}[j]" for k, name in enumerate(self.ports)}
        names |= {"I": "current[j]", "z": "z[j]", "refractory": "refractory[j]", "x": ""}
        loop = Loop(self.columns, names)
        loop.terms = equations.terms
        for name in (*self.states, *self.ports):
            names[name] = loop.assign_variable(names[name])
        read = set().union(*(names_of(tree, self.by.terms) for tree in (*equations.step.values(), *self.by.keeps)))
        if "I" in read:
            names["I"] = loop.assign_variable("current[j]")
        if "z" in read:
            names["z"] = loop.assign_variable("z[j]")
        counter = loop.assign_variable("refractory[j]")
        if "refractory" in read or self.flags:
            names["refractory"] = loop.assign_variable(f"{counter} > ZERO ? ONE : ZERO")
        new = {name: loop.write_literal(tree) for name, tree in equations.step.items()}
        loop.known.clear()  # below, the name of a state is its new value
        loop.terms = self.by.terms
        names |= {OLD + name: names[name] for name in self.states} | new
        lines = loop.lines
        lines.append(f"const REAL left = {counter} > ONE ? {counter} - ONE : ZERO;")
        x = loop.write_literal(equations.spike)
        names["x"] = x
        psi = loop.write_literal(equations.surrogate)
        lines.append(f"psi[j] = {counter} <= ONE ? {psi} : ZERO;")
        lines.append(f"const REAL crossed = ({x} >= ZERO) & ({counter} <= ONE) ? ONE : ZERO;")
        lines.append("const REAL fired = is_forced && forced_z[j] >= ZERO ? forced_z[j] : crossed;")
        lines.append("z[j] = fired;")
        lines.append("refractory[j] = fired != ZERO ? (shared ? first_t_ref : t_ref[j]) : left;")
        after = {name: loop.write_literal(tree) for name, tree in equations.reset.items()}
        for k, name in enumerate(self.states):
            value = f"fired != ZERO ? {after[name]} : {new[name]}" if name in after else new[name]
            lines.append(f"s{k}[j] = {value};")
        lines += [f"p{k}[j] = ZERO;" for k in range(len(self.ports))]
        refractory = names["refractory"]
        for k, tree in enumerate(self.keeps):
            value = f"fired + ({refractory} + {refractory})" if tree == FLAGS else loop.name_value(tree)
            lines.append(f"q{k}[j] = {value};")
        pointers = {f"s{k}": f"REAL *restrict s{k} = state + {k} * stride" for k in range(self.n)}
        pointers |= {f"p{k}": f"REAL *restrict p{k} = port + {k} * stride" for k in range(len(self.ports))}
        pointers |= {f"q{k}": f"REAL *restrict q{k} = kept + {k} * stride" for k in range(self.by.n_kept)}
        arguments = (
            "int64_t n, int64_t stride, const REAL *constant, const REAL *restrict t_ref, "
            "const REAL *restrict current, REAL *port, "
            "REAL *state, REAL *restrict z, REAL *restrict refractory, REAL *kept, REAL *restrict psi, "
            "const REAL *restrict forced_z"
        )
        flags = "const int shared, const int is_forced"
        is_long = len(loop.lines) > MANY
        kept_rows = {f"q{k}": self.row for k in range(self.by.n_kept)}
        first = ["const REAL first_t_ref = t_ref[0];"]
        body = over_neurons("step_body", f"{arguments}, {flags}", pointers, loop, first, kept_rows, True, self.written)
        passed = "n, stride, constant, t_ref, current, port, state, z, refractory, kept, psi, forced_z"
        cases = [("forced_z != NULL", f"step_body)({passed}, 0, 1)")]  # shared, is_forced
        if is_long:
            body += f"\nstatic COLD void NAME(step_forced)({arguments})\n{{\n    NAME({cases[0][1]};\n}}\n"
            cases = [("forced_z != NULL", f"step_forced)({passed})")]
        rest = [("shared", "1, 0"), ("1", "0, 0")]
        cases += [(case, f"step_body)({passed}, {of})") for case, of in rest[is_long:]]
        calls = [f"    {'else ' * bool(k)}if ({case})\n        NAME({call};" for k, (case, call) in enumerate(cases)]
        return body + "\n".join(
            [
                "",
                "static void NAME(step)(int64_t n, int64_t stride, double dt, const REAL *constant, int64_t shared,",
                "                       const REAL *t_ref, const REAL *current, REAL *port, REAL *state, REAL *z,",
                "                       REAL *refractory, REAL *before, REAL *kept, REAL *psi, const REAL *forced_z)",
                "{",
                "    (void)dt; (void)before; (void)kept;",
                *calls,
                "}",
                "",
            ]
        )

    def write_backward_step(self) -> str:
        """Write one step of the backward pass: gamma, lam~, B, and lam of the step before."""
        by, n = self.by, self.n
        loop, pointers = self.derivative_names()
        pointers |= {f"a{k}": f"REAL *restrict a{k} = adjoint + {k} * stride" for k in range(self.n_adjoint)}
        pointers |= {f"b{p}": f"REAL *restrict b{p} = gradient + {p} * port_stride" for p in range(1, len(self.ports))}
        lam = {k: loop.assign_variable(f"a{k}[j]") for k in range(n)}
        terms = [loop.assign_variable(f"{loop.assign_variable('share * signal[j]')} + rate[j]")]
        terms += [loop.assign_variable(f"a{n}[j]")] if by.v else []
        terms += [loop.write_product(tree, lam[k]) for k, tree in by.gap.items()]
        q = loop.assign_variable(f"{loop.assign_variable('gradient[j]')} * {loop.write_sum(terms)}")
        followed = [self.states.index(name) for name in self.follow]
        back: dict[int, str] = {}
        for j in range(n):
            reset = self.by_column(by.R, j)
            others = {k: tree for k, tree in reset.items() if k != j}
            own = lam[j]
            if j in followed:
                kept = loop.write_product(reset[j], lam[j]) if j in reset else "ZERO"
                own = (
                    lam[j]
                    if kept == lam[j]
                    else loop.assign_variable(f"{loop.names[SPIKED]} != ZERO ? {kept} : {lam[j]}")
                )
            if others:
                cross = loop.write_dot_product(others, lam)
                own = loop.write_sum([own, loop.assign_variable(f"{loop.names[SPIKED]} != ZERO ? {cross} : ZERO")])
            back[j] = loop.write_sum([own, *([loop.write_product(by.h[j], q)] if j in by.h else [])])
        for p in range(len(self.ports)):
            value = loop.write_dot_product(self.by_column(by.U, p), back) or "ZERO"
            loop.lines.append(f"{f'b{p}' if p else 'gradient'}[j] = {value};")
        for j in range(n):
            loop.lines.append(f"a{j}[j] = {loop.write_dot_product(self.by_column(by.J, j), back) or 'ZERO'};")
        if by.v:
            loop.lines.append(f"a{n}[j] = {loop.write_dot_product(by.v, back)};")
        self.add_learned_gradients(loop, lam, q, back)
        rows = {f"before{k}": f"-{self.row}" for k in range(by.n_kept)}
        if rows:
            gradients = ["gradient", *(f"b{p}" for p in range(1, len(self.ports)))]
            rows |= dict.fromkeys(gradients, f"-{len(self.ports)} * port_stride")
        is_long = len(loop.lines) > MANY
        body = over_neurons(
            "sweep_body",
            "int64_t n, int64_t stride, const REAL *constant, const REAL *before, const REAL *kept, "
            "REAL share, const REAL *restrict signal, const REAL *restrict rate, REAL *adjoint, "
            "REAL *restrict gradient, int64_t port_stride, const int shared",
            pointers,
            loop,
            ["(void)before; (void)kept; (void)port_stride;"],
            rows,
            False,
            self.written,
        )
        passed = "n, stride, constant, before, kept, share, signal, rate, adjoint, gradient, port_stride"
        return body + "\n".join(
            [
                "",
                "static void NAME(sweep)(int64_t n, int64_t stride, double dt, const REAL *constant, int64_t shared,",
                "                        const REAL *before, const REAL *kept, REAL share, const REAL *signal,",
                "                        const REAL *rate, REAL *adjoint, REAL *gradient, int64_t port_stride)",
                "{",
                "    (void)dt;",
                *([] if is_long else ["    if (shared)", f"        NAME(sweep_body)({passed}, 1);", "    else"]),
                f"        NAME(sweep_body)({passed}, 0);",
                "}",
                "",
            ]
        )

    def add_learned_gradients(self, loop: Loop, lam: Mapping[int, str], q: str, back: Mapping[int, str]) -> None:
        """Add the contributions of a step to the gradients by learned parameters."""
        learned, first = self.learned, self.n + bool(self.by.v)
        for k in range(len(self.by.learns.names)):
            terms = [loop.write_dot_product(self.by_column(learned.q, k), back)]
            if now := loop.write_dot_product(self.by_column(learned.current, k), back):
                loop.lines.append(f"a{first + len(self.by.learns.names)}[j] = {now};")
            terms += [now, loop.write_product(learned.x[k], q) if k in learned.x else ""]
            if reset := loop.write_dot_product(self.by_column(learned.r, k), lam):
                terms.append(loop.assign_variable(f"{loop.names[SPIKED]} != ZERO ? {reset} : ZERO"))
            if found := loop.write_sum(filter(None, terms)):
                loop.lines.append(f"a{first + k}[j] = a{first + k}[j] + {found};")

    def write_trace(self) -> str:
        """Write one step of the traces: a function for the synapses of each port and for each learned parameter."""
        bodies = [self.write_port_trace(p) for p in range(len(self.ports) + len(self.by.learns.names))]
        call = "(n, stride, constant, before, kept, psi, arrived, trace, trace_stride, e)"
        cases = [f"    case {p}: NAME(trace_{p}){call}; break;" for p in range(len(bodies))]
        return "\n".join(
            [
                *bodies,
                "static void NAME(trace)(int64_t n, int64_t stride, double dt, int64_t port, const REAL *constant,",
                "                        const REAL *before, const REAL *kept, const REAL *psi, REAL arrived,",
                "                        REAL *trace, int64_t trace_stride, REAL *e)",
                "{",
                "    (void)dt;",
                "    switch (port) {",
                *cases,
                "    }",
                "}",
                "",
            ]
        )

    def write_port_trace(self, port: int) -> str:
        """Write one step of the traces of synapses onto one port, or of a learned parameter, see `generate_model`."""
        by, n, learned = self.by, self.n, max(port - len(self.ports), -1)
        loop, pointers = self.derivative_names()
        pointers |= {f"x{k}": f"REAL *restrict x{k} = trace + {k} * trace_stride" for k in range(n + bool(by.v))}
        eps = {k: loop.assign_variable(f"x{k}[j]") for k in range(n)}
        before = loop.assign_variable(f"x{n}[j]") if by.v else ""
        new: dict[int, str] = {}
        for i in range(n):
            terms = [loop.write_product(tree, eps[j]) for j, tree in self.by_row(by.J, i).items()]
            terms += [loop.write_product(by.v[i], before)] if i in by.v else []
            terms += [loop.write_product(by.U[i, port], "arrived")] if (i, port) in by.U else []
            terms += [loop.write_literal(self.learned.q[i, learned])] if (i, learned) in self.learned.q else []
            if (i, learned) in self.learned.current:
                terms.append(loop.write_product(self.learned.current[i, learned], "arrived"))
            if terms:
                new[i] = loop.write_sum(terms)
        e, after = self.end_step(loop, new, learned)
        after |= {n: e} if by.v else {}
        loop.lines.append(f"e[j] = {e or 'ZERO'};")
        loop.lines += [f"x{k}[j] = {after.get(k) or 'ZERO'};" for k in range(n + bool(by.v))]
        return over_neurons(
            f"trace_{port}",
            "int64_t n, int64_t stride, const REAL *constant, const REAL *before, const REAL *kept, "
            "const REAL *restrict psi, REAL arrived, REAL *trace, int64_t trace_stride, REAL *restrict e",
            pointers,
            loop,
            ["(void)before; (void)kept; (void)arrived; (void)constant;"],
            {},
            False,
            self.written,
        )

    def write_decay(self) -> str:
        """Write steps past the cutoff: a trace decays if its own entry of J is constant; all other traces become 0."""
        by, n = self.by, self.n
        loop = Loop(self.columns, dict.fromkeys(by.moving, ""))
        pointers = {f"x{k}": f"REAL *restrict x{k} = trace + {k} * trace_stride" for k in range(n + bool(by.v))}
        for k in range(n):
            if not outlives_cutoff(by, k):
                loop.lines.append(f"x{k}[j] = ZERO;")
                continue
            own = loop.write_literal(by.J[k, k])
            value = loop.assign_variable(f"NAME(real_power)({own}, n_steps) * x{k}[j]")
            if k in by.v and by.moving.isdisjoint(names_of(by.v[k])):
                added = loop.write_product(by.v[k], loop.assign_variable(f"x{n}[j]"))
                before = loop.assign_variable(f"NAME(real_power)({own}, n_steps - 1) * {added}")
                value = loop.write_sum([value, before])
            loop.lines.append(f"x{k}[j] = {value};")
        if by.v:
            loop.lines.append(f"x{n}[j] = ZERO;")
        return write_function(
            "void NAME(decay)",
            "int64_t n, int64_t stride, double dt, int64_t n_steps, const REAL *constant, REAL *trace, "
            "int64_t trace_stride",
            pointers,
            loop,
            ["(void)dt; (void)constant; (void)n_steps; (void)stride;"],
        )


_PRELUDE = """
#include <stddef.h>
#if defined(__clang__)
#define INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#elif defined(__GNUC__)
#define INDEPENDENT _Pragma("GCC ivdep")
#else
#define INDEPENDENT
#endif
#define ALWAYS __attribute__((always_inline))
#define COLD __attribute__((cold, noinline))
#if defined(__clang__)
#define NOT_INLINED __attribute__((noinline))
#else
#define NOT_INLINED __attribute__((noinline, noclone))    /* loops of a known length lose their vectors */
#endif
#define FROM(pointer) ((pointer) != NULL ? (pointer) + from : NULL)
#define FETCH(pointer, distance, n) \\
    if ((pointer) != NULL) \\
        for (int64_t i = 0; i < (n); i += 64 / (int64_t)sizeof(REAL)) \\
            __builtin_prefetch((const void *)((uintptr_t)((pointer) + i) + (distance) * sizeof(REAL)), 0, 3)
#define VISIBLE __attribute__((visibility("default")))
#define JOINED(name, suffix) name##_##suffix
#define JOIN(name, suffix) JOINED(name, suffix)
#define NAME(name) JOIN(name, PRECISION)
#define OF_REAL(name) JOIN(name, REAL)
#define kept_lanes OF_REAL(kept_lanes)
#define load_lanes OF_REAL(load_lanes)
#define store_lanes OF_REAL(store_lanes)
#define gather_lanes OF_REAL(gather_lanes)
#define widened_at OF_REAL(widened_at)
#define narrow_to OF_REAL(narrow_to)
#define NEURON_MODEL OF_REAL(NeuronModel)
#define NEURON_SIGNALS OF_REAL(NeuronSignals)
#define NEURON_ROW OF_REAL(NeuronRow)
#define NEURON_STEP OF_REAL(NeuronStep)
#define NEURON_STEPS OF_REAL(NeuronSteps)
#define NEURON_MAPS OF_REAL(NeuronMaps)
#define R(x) ((REAL)(x))
#define ZERO R(0.0)
#define ONE R(1.0)
"""

_FUNCTIONS = """
static inline REAL NAME(real_exp)(REAL x) { return (REAL)elementary_exp((double)x); }
static inline REAL NAME(real_log)(REAL x) { return (REAL)elementary_log((double)x); }
static inline REAL NAME(real_tanh)(REAL x) { return (REAL)elementary_tanh((double)x); }
static inline REAL NAME(real_sqrt)(REAL x) { return (REAL)sqrt((double)x); }
static inline REAL NAME(real_power)(REAL x, int64_t n) { return (REAL)elementary_power((double)x, n); }
#undef OVERWRITE
#define OVERWRITE(name) \\
    static NOT_INLINED __attribute__((unused)) void NAME(overwrite_##name)(int64_t n, REAL *restrict x) \\
    { \\
        INDEPENDENT \\
        for (int64_t j = 0; j < n; j++) \\
            x[j] = NAME(real_##name)(x[j]); \\
    }
OVERWRITE(exp)
OVERWRITE(log)
OVERWRITE(tanh)
"""


def head_of(headers: Mapping[str, str], precisions: Iterable[str] = PRECISIONS) -> str:
    """Return the start of a source: headers and declarations for each precision; `headers` as for `source_of`."""
    by_precision = headers["lanes.h"], headers["neuron_model.h"]
    parts = [headers["elementary.h"] + _PRELUDE]
    for name in precisions:
        parts += [f"#define REAL {PRECISIONS[name]}", *by_precision, "#undef REAL"]
    return "\n".join(parts)


def section_of(text: str, precision: str, suffix: str = "") -> str:
    """Return the C of a model in one precision; names of functions end in the precision, and in a suffix."""
    ending = f"{precision}_{suffix}" if suffix else precision
    macros = {"REAL": PRECISIONS[precision], "PRECISION": ending, "PRECISION_NAME": precision}
    defined = [f"#define {name} {value}" for name, value in macros.items()]
    return "\n".join([*defined, _FUNCTIONS, text, *(f"#undef {name}" for name in macros), ""])


def texts_of(generated: Generated) -> str:
    """Return the JSON by which a program fills the columns of a model without generating it again."""
    texts: Values = {
        "constants": {name: write(tree) for name, tree in generated.constants.items()},
        "columns": [write(tree) for tree in generated.columns],
        "sizes": generated.sizes,
    }
    if generated.initial:
        texts["initial"] = [[*names, write(tree)] for names, tree in generated.initial.items()]
    return json.dumps(texts)


def source_of(text: str, headers: Mapping[str, str], precisions: Iterable[str] = PRECISIONS) -> str:
    """Return a C source that includes only the compiler's own headers.

    `text` is the result of `Generated.write_source`, `headers` maps "elementary.h", "lanes.h" and "neuron_model.h" to
    their texts, `precisions` are keys of `PRECISIONS`.
    """
    precisions = tuple(precisions)
    return "\n".join([head_of(headers, precisions), *(section_of(text, name) for name in precisions)])
