"""Write the C that composes the linear maps by which steps change the traces of synapses (spike variant).

Between arrivals of spikes the traces x of a synapse (eps, and e of the previous step if the model reads it) change
linearly, with coefficients of the target and the step alone: x = M x, e = w x. `neuron_model.h` defines ebar and the
second filtered trace. A composed map of several steps is the product of their maps: for each column c of x

    P[r, c] : contribution of x_c before it to x_r after it    B[c], X[c] : to ebar, to the second trace
    G[c]    : to the gradient                                  "B", "X" in place of c: contributions of ebar and X

A spike that enters at port p in the first step of a map is one more column, "E" + p, which maps from a step to the end
of its block store. If J, U and v do not vary, traces may be stored *ahead*: x = J eps + v e, the value with which the
next step begins. Then e of the previous step is no trace, a spike enters as x += U and needs no column, and w varies by
the factor psi only, which is stored apart.

A map stores only the numbers that can differ from 0 and that a synapse can read, column by column, in cache lines of
eight (`lanes.h`): a synapse onto a port reads the columns of the traces that an arrival there can reach. If that saves
cache lines, each port has separate lines, with copies of numbers that several ports read, and the contribution of ebar
to the gradient is stored in a separate array.

M and w of a step are computed on use, for several targets at a time; derivatives that take long are computed once and
stored.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from .derive import Derivatives
from .expressions import Derived, Lanes, Loop, arguments_of
from .language import Tree, names_of, walk_tree
from .stages import MANY, over_neurons

CHUNK = 256  # neurons for which derivatives that take long are computed together
MOST_INLINED = 4  # functions for more traces are not inlined: they are too long to compile for each case
LEAST_RECORDED = 4  # steps with fewer numbers have no records: separate reads are as fast
_DERIVE = "int64_t n, int64_t stride, const REAL *constant, int64_t shared, const REAL *before, const REAL *kept, "
_DERIVE += "REAL *derived"
Key = tuple[str, int | str, int | str]
LONG = ("exp", "log", "sqrt", "tanh", "/", "**")  # operations that take long
EBAR: Key = ("G", "", "B")
ONE: Tree = ("number", 1.0)
# functions of the language, applied to each lane
FUNCTIONS = """
#ifndef LANES_OF_FUNCTIONS
#define LANES_OF_FUNCTIONS
enum { RECORDS_AHEAD = 32 };    /* synapses to the one whose target's records are fetched */
#define OF_LANES(name, function) static inline lanes lanes_##name(lanes x) \\
    { for (int i = 0; i < LANES; i++) x[i] = function(x[i]); return x; }
OF_LANES(exp, elementary_exp)
OF_LANES(log, elementary_log)
OF_LANES(tanh, elementary_tanh)
OF_LANES(sqrt, sqrt)
#endif
static ALWAYS_INLINE lanes NAME(constants_of)(const REAL *constant, int64_t shared, LaneTargets targets)
{
    return shared ? all_lanes(constant[targets.target[0]]) : gather_lanes(constant, targets);
}
"""


class ComposedMaps:
    """The functions of `neuron_model.h` on composed maps of neurons; `composed_map_rows` has the functions on rows.

    Synapses learn at `ports` (ascending; None: all); a map stores no numbers that only other ports read. `ahead`:
    traces are stored ahead. `second_trace`: whether synapses have a second filtered trace in addition to ebar; None:
    both cases.

    Attributes
    ----------
    derive : str
        C of a function that computes the derivatives that take long; "" if there are none.
    second_trace_cases : tuple of int
        Cases of `second_trace`, 1 first.
    common : int or None
        Trace that may be the same in all synapses of a row, if the constants that it reads are the same.
    slots : list of tuple or None
        Numbers of a map by index, some of them more than once; None: an empty slot.
    others : list of tuple
        Further numbers of maps with a second trace.
    apart : bool
        Whether the contribution of ebar to the gradient is stored in a separate array.
    n : int
        Count of all numbers, including those for entering spikes, which have separate cache lines.
    """

    def __init__(
        self, model: Derived, ports: Sequence[int] | None = None, ahead: bool = False, second_trace: bool | None = None
    ) -> None:
        self.model, self.ahead, by = model, ahead, model.by
        self.second_trace_cases = (1, 0) if second_trace is None else (int(second_trace),)
        self.ports = range(len(model.ports)) if ports is None else ports
        self.size = model.n + (bool(by.v) and not ahead)
        self.gain: dict[int, Tree] = (by.v if ahead else {model.n: ONE}) if by.v else {}  # what e adds to traces
        alone = {k for k in range(model.n) if all(k not in pair or pair == (k, k) for pair in by.J) and k not in by.v}
        self.common = min(alone, default=None) if ahead else None
        trees = [*by.J.values(), *by.U.values(), *by.v.values(), *by.h.values(), *by.R.values(), *by.gap.values()]
        self.derived = [tree for tree in dict.fromkeys(trees) if takes_long(tree, by)]
        self.map, self.step, self.reads = self._write_step()
        self.derive = self._write_derive()
        followed = {(i, i) for i in range(self.size)}
        followed |= {(r, c) for kind, r, c in self.step if kind == "M" and isinstance(r, int) and isinstance(c, int)}
        seen = {c for kind, _, c in self.step if kind == "w" and isinstance(c, int)}
        followed |= {(r, c) for r in self.gain for c in seen}
        while more := {(r, c) for r, k in followed for q, c in followed if k == q} - followed:
            followed |= more
        self.seen = {c for r, c in followed if r in seen}
        self.reached = {port: self._list_reached_columns(port, followed) for port in self.ports}
        self.columns = sorted(set().union(*self.reached.values()))
        self.slots, self.apart, self.place_of = self._lay_out_numbers(followed)
        self.others: list[Key] = [("G", "", "X"), ("X", "", "B")]
        self.others += [("X", "", c) for c in self.columns if c in self.seen]
        self.place: dict[Key, int] = {}
        self.copies: list[tuple[int, int]] = []
        self.second_trace_start = 8 * lines_of(len(self.slots)) if ahead else len(self.slots)
        for place, key in (*enumerate(self.slots), *enumerate(self.others, self.second_trace_start)):
            if key in self.place:
                self.copies.append((place, self.place[key]))
            elif key is not None:
                self.place[key] = place
        self.first_entry = self.n = 8 * lines_of(self.second_trace_start + len(self.others))
        for port in () if ahead else self.ports:
            keys: list[Key] = [
                *(("P", r, name_entry(port)) for r in self.reached[port]),
                *((k, "", name_entry(port)) for k in "BG"),
            ]
            if self.n % 8 + len(keys) > 8:  # the numbers of a port share a cache line
                self.n = 8 * lines_of(self.n)
            self.place |= {key: self.n + place for place, key in enumerate(keys)}
            self.n += len(keys)
        self.first_other = self.n = 8 * lines_of(self.n)
        if not ahead:
            self.place |= {("X", "", name_entry(port)): self.n + k for k, port in enumerate(self.ports)}
            self.n += len(self.ports)
        self.recorded = [f"kept[{k}]" for k in self.needed] + [f"derived[{k}]" for k in range(len(self.derived))]

    def write_neuron_functions(self) -> str:
        """Return the functions on composed maps of neurons."""
        return "\n".join(
            [
                FUNCTIONS,
                f"VISIBLE void (*NAME(derive))({_DERIVE});" * bool(self.derived),
                self.map,
                self._write_found_type(),
                self._write_extension("append", self._write_append()),
                self._write_extension("prepend", self._write_prepend()),
                self._write_compose(),
            ]
        )

    @property
    def inlined(self) -> str:
        """C attribute of functions that are compiled for each case; they are inlined unless they are too long."""
        return "ALWAYS_INLINE" if self.size <= MOST_INLINED else "__attribute__((noinline))"

    @property
    def needed(self) -> list[int]:
        """Columns of `kept` that a step or the next one reads."""
        return sorted({*self.reads["kept"], *self.reads["before"]})

    @property
    def n_recorded(self) -> int:
        """Count of numbers in the record of a step: its reads, psi, L, with room for F; 0: steps have no records."""
        n = len(self.recorded) + 2
        return n if LEAST_RECORDED <= n < 8 else 0

    @property
    def n_map(self) -> int:
        """Count of numbers of M, w and v of a step."""
        return len(set(self.step.values()))

    def _list_reached_columns(self, port: int, followed: set[tuple[int, int]]) -> list[int]:
        """Return the columns of the traces that an arrival at a port can make other than 0."""
        new = {r for kind, r, c in self.step if kind == "M" and c == name_entry(port)}
        new |= {i for i, p in self.model.by.U if p == port} if self.ahead else set()
        new |= {r for r in self.gain if ("w", "", name_entry(port)) in self.step}
        return sorted({r for r, c in followed if c in new})

    def _lay_out_numbers(
        self, followed: set[tuple[int, int]]
    ) -> tuple[list[Key | None], bool, dict[int, dict[Key, int]]]:
        """Return `slots`, `apart`, and the indices that each port reads."""

        def list_keys(columns: Iterable[int], apart: bool) -> list[Key]:
            found: list[Key] = [] if apart else [EBAR]
            for c in columns:
                found += [("P", r, c) for r in range(self.size) if (r, c) in followed]
                found += [("B", "", c), ("G", "", c)] if c in self.seen else []
            if self.ahead:  # numbers have the same index as in a model with fewer traces
                found.sort(key=lambda key: max([k for k in key[1:] if isinstance(k, int)], default=0))
            return found

        best: tuple[tuple[int, int], list[Key | None], bool, dict[int, dict[Key, int]]] | None = None
        for apart in (False,) if self.ahead else (False, True):
            for groups in ([self.columns], list(map(list, dict.fromkeys(map(tuple, self.reached.values()))))):
                slots: list[Key | None] = []
                places: dict[int, dict[Key, int]] = {port: {} for port in self.ports}
                for group in groups:
                    first, found = 8 * lines_of(len(slots)), list_keys(group, apart)
                    slots += [None] * (first - len(slots))
                    slots += found
                    for reached, of in zip(self.reached.values(), places.values(), strict=True):
                        if set(reached) <= set(group) and not of:
                            of |= {key: first + found.index(key) for key in list_keys(reached, apart)}
                read = sum(len({place // 8 for place in of.values()}) for of in places.values())
                cost = lines_of(len(slots)), read
                if best is None or cost < best[0]:
                    best = cost, slots, apart, places
        assert best is not None
        return best[1:]

    # ---- a step ------------------------------------------------------------------------------------------------------

    def _write_step(self) -> tuple[str, dict[Key, int], dict[str, list[int]]]:
        """Return C of a step: text, columns, reads.

        `text` defines a function that computes M and w of a step for several neurons, `columns` maps each number to its
        index (an e that is read is a row), `reads` maps `constant`, `before` and `kept` to the columns that the
        function reads.
        """
        model, by = self.model, self.model.by
        n = model.n
        loop, _ = model.derivative_names(Lanes)
        for k, tree in enumerate(self.derived):
            loop.known[tree] = loop.assign_variable(f"derived[{k}]")
        found: dict[Key, str] = {}
        columns_of: dict[int | str, dict[int, Tree]] = {c: model.by_column(by.J, c) for c in range(n)}
        columns_of |= {n: by.v} if by.v and not self.ahead else {}
        columns_of |= {name_entry(port): model.by_column(by.U, port) for port in self.ports if not self.ahead}
        for c, column in columns_of.items():
            new = {i: loop.write_literal(tree) for i, tree in column.items()}
            e, after = (
                (loop.write_dot_product(by.h, {int(c): loop.one}), new) if self.ahead else model.end_step(loop, new)
            )
            found |= {("M", i, c): value for i, value in after.items()}
            if e:
                found["w", "", c] = e
        found |= {("v", r, ""): loop.write_literal(tree) for r, tree in self.gain.items() if tree != ONE}
        columns: dict[Key, int] = {}
        for key, value in found.items():
            columns[key] = len(columns)
            loop.lines.append(f"map[{columns[key]}] = {value};")
        reads = _without_unused(loop)
        text = "\n".join(
            [
                "static ALWAYS_INLINE void NAME(map)(const lanes *constant, const lanes *before, const lanes *kept,",
                "    const lanes psi, const lanes *derived, lanes *map)",
                "{",
                "    (void)before; (void)kept; (void)constant; (void)psi; (void)derived;",
                *(f"    const lanes c{c} = constant[{c}];" for c in loop.used),
                *(f"    {line}" for line in loop.lines),
                "}",
                "",
            ]
        )
        return text, columns, reads

    def _write_found_type(self) -> str:
        """Return the C type that holds the numbers of a step for several neurons."""
        kept, columns = max(self.model.by.n_kept, 1), self.reads["constant"]
        sizes = {"constant": max(columns, default=0) + 1, "before": kept, "kept": kept, "derived": len(self.derived)}
        members = [f"    lanes {name}[{max(size, 1)}];" for name, size in sizes.items()]
        return "\n".join(["typedef struct {", *members, "} NAME(Found);", ""])

    def _write_derive(self) -> str:
        """Return the function that computes the derivatives that take long."""
        if not self.derived:
            return ""
        loop, pointers = self.model.derivative_names()
        pointers |= {
            f"derived{k}": f"REAL *restrict derived{k} = derived + {k} * stride" for k in range(len(self.derived))
        }
        for k, tree in enumerate(self.derived):
            loop.lines.append(f"derived{k}[j] = {loop.write_literal(tree)};")
        _without_unused(loop)
        body = over_neurons(
            "derive_body",
            "int64_t n, int64_t stride, const REAL *constant, const REAL *before, const REAL *kept, REAL *derived, "
            "const int shared",
            pointers,
            loop,
            ["(void)before; (void)kept; (void)constant;"],
            {},
            False,
            self.model.written,
        )
        passed = "(n, stride, constant, before, kept, derived"
        cases = [f"    if (shared)\n        NAME(derive_body){passed}, 1);\n    else"] * (len(loop.lines) <= MANY)
        return body + "\n".join(
            [
                "",
                f"VISIBLE void NAME(derive)({_DERIVE})",
                "{",
                *cases,
                f"        NAME(derive_body){passed}, 0);",
                "}",
                "",
            ]
        )

    # ---- products ----------------------------------------------------------------------------------------------------

    def _locate_number(self, array: str, *key: int | str) -> str:
        """Return the C expression of a number, "" if it is 0."""
        kind, *rest = key
        row, column = (rest[0], rest[1]) if len(rest) == 2 else ("", rest[0])
        if self.apart and (kind, row, column) == EBAR:
            return f"{array}_apart"
        place = self.place.get((str(kind), row, column))
        return f"{array}[{place}]" if place is not None else ""

    def _list_rows(self, c: int) -> list[int]:
        return [r for r in range(self.size) if ("P", r, c) in self.place]

    def _step_dot(self, kind: str, row: int | str, values: dict[int, str]) -> list[str]:
        """Return the terms of a row of M or of w times values by column."""
        terms = []
        for (name, r, c), place in self.step.items():
            if name == kind and r == row and isinstance(c, int) and values.get(c):
                terms.append(f"m[{place}] * {values[c]}")
        return terms

    def _advance_trace(self, r: int, values: dict[int, str], e: str) -> str:
        """Return trace r after a step, from the traces and e before the step; "" if it is 0."""
        gained = [self._multiply_gain(r, e)] if r in self.gain and e else []
        return sum_of([*self._step_dot("M", r, values), *gained])

    def _multiply_gain(self, r: int, value: str) -> str:
        """Return a value times the contribution of e to trace r."""
        place = self.step.get(("v", r, ""))
        return value if place is None else f"m[{place}] * {value}"

    def _write_append(self) -> list[str]:
        """Return C that adds a step at the end of a composed map."""
        lines, new = [], []
        for c in self.columns:
            P = {r: self._locate_number("p", "P", r, c) for r in self._list_rows(c)}
            by = f"by_{c}" if c in self.seen else ""
            if by:
                B, G, X = (
                    self._locate_number("p", "B", c),
                    self._locate_number("p", "G", c),
                    self._locate_number("p", "X", c),
                )
                lines += [f"{G} += a * {B};", f"if (other) {G} += c * {X};"]
                lines.append(
                    f"const lanes {by} = {'seen * ' * self.ahead}({sum_of(self._step_dot('w', '', P)) or 'zero'});"
                )
                new += [f"if (other) {X} = keep * {X} + d * {B} + f * {by};", f"{B} = kappa * {B} + {by};"]
            for r in self._list_rows(c):
                lines.append(f"const lanes n_{r}_{c} = {self._advance_trace(r, P, by) or 'zero'};")
                new.append(f"{P[r]} = n_{r}_{c};")
        B, X, both = (
            self._locate_number("p", "G", "B"),
            self._locate_number("p", "G", "X"),
            self._locate_number("p", "X", "B"),
        )
        return [
            *lines,
            f"{B} += a * kappa_power;",
            f"if (other) {{ {B} += c * {both}; {X} += c * keep_power; {both} = keep * {both} + d * kappa_power; }}",
            *new,
        ]

    def _write_prepend(self) -> list[str]:
        """Return C that adds a step at the start of a composed map: contributions of its e through traces, then terms
        of e.
        """
        B, X, both = (
            self._locate_number("p", "G", "B"),
            self._locate_number("p", "G", "X"),
            self._locate_number("p", "X", "B"),
        )
        lines: list[str] = []
        to = {"B": ("all_lanes(kappa_power)", ""), "G": (B, f"f * {X}"), "X": (both, "f * keep_power"), "P": ("", "")}
        new: list[str] = []
        columns: list[int | str] = [*self.columns, *([] if self.ahead else map(name_entry, self.ports))]
        by_e: dict[tuple[int | str, ...], str] = {}  # by row of the map; in two parts if psi is no separate factor

        def read_row(kind: str, *rows: int | str) -> dict[int, str]:
            """Return the map's coefficients of each trace."""
            return {r: value for r in range(self.size) if (value := self._locate_number("p", kind, *rows, r))}

        for c in columns:
            w = self.step.get(("w", "", c))
            for key in [key for key in self.place if key[2] == c]:
                kind, rows = key[0], [key[1]] if key[0] == "P" else []
                values = read_row(kind, *rows)
                terms = [
                    f"{values[int(r)]} * m[{place}]"
                    for (name, r, k), place in self.step.items()
                    if name == "M" and k == c and r in values
                ]
                own, added = to[kind]
                gained = [self._multiply_gain(r, values[r]) for r in self.gain if r in values]
                e = [[*gained, *([own] if own else [])]] if self.ahead else [gained, [own] if own else []]
                for k, some in enumerate(filter(None, e if w is not None else [])):
                    if (kind, *rows, k) not in by_e:
                        by = by_e[kind, *rows, k] = f"e_{len(by_e)}"
                        lines.append(f"lanes {by} = {sum_of(some)};")
                        lines += [f"if (other) {by} += {added};"] if added and own in some else []
                        lines += [f"{by} *= seen;"] * self.ahead
                    terms.append(f"{by_e[kind, *rows, k]} * m[{w}]")
                name, own = f"n_{kind}{key[1]}_{c}", f"p[{self.place[key]}]"
                if kind == "X":
                    lines += [f"lanes {name} = zero;", f"if (other) {name} = {sum_of(terms) or 'zero'};"]
                else:
                    lines.append(f"const lanes {name} = {sum_of(terms) or 'zero'};")
                new.append(f"if (other) {own} = {name};" if kind == "X" else f"{own} = {name};")
        return [
            *lines,
            *new,
            f"{B} = a + kappa * {B};",
            f"if (other) {{ {B} += d * {X}; {both} = {both} * kappa + d * keep_power; {X} = c + keep * {X}; }}",
        ]

    def _write_extension(self, name: str, body: Sequence[str]) -> str:
        """Return the function `append` or `prepend`."""
        arguments = (
            "int64_t n, int64_t stride, const REAL *constant, int64_t shared, const REAL *before, const REAL *kept, "
            "const REAL *psi, const NEURON_SIGNALS *signals, REAL *derived, int64_t none, const NEURON_MAP *map"
        )
        if name == "append":
            arguments += ", const NEURON_MAP *to, double *record, int64_t width"
        inside = arguments.replace("int64_t shared, ", "")
        derive = [
            f"        if (j % {CHUNK} == 0)",
            f"            NAME(derive)(n - j < {CHUNK} ? n - j : {CHUNK}, stride,",
            "                constant + j, shared, before + j, kept + j, derived + j);",
        ]
        size, passed, reads = max(self.n_map, 1), ", ".join(arguments_of(inside)), self.reads
        return "\n".join([
            f"static {self.inlined} void NAME({name}_body)(const int other, const int shared, {inside})", "{",
            "    const double kappa = signals->kappa, keep = signals->keep, share = signals->share;",
            "    const double kappa_power = map->kappa, keep_power = map->keep;",
            "    const double f = signals->other == REGULARIZED ? share : 0.0;",
            "    const lanes zero = all_lanes(0.0);", "    NAME(Found) found;",
            *(f"    found.constant[{k}] = all_lanes(constant[{k} * stride]);" for k in reads["constant"]),
            "    for (int64_t j = 0; j < n; j += LANES) {",
            "        const int64_t count = n - j < LANES ? n - j : LANES;",
            *(derive if self.derived and name == "append" else []),
            *(f"        if (!shared) found.constant[{k}] = load_lanes(constant + {k} * stride + j, count);"
              for k in reads["constant"]),
            *(f"        found.{row}[{k}] = load_lanes({row} + {k} * stride + j, count);"
              for row, columns in (("before", reads["before"]), ("kept", self.needed)) for k in columns),
            *(f"        found.derived[{k}] = load_lanes(derived + {k} * stride + j, count);"
              for k in range(len(self.derived))),
            f"        lanes m[{size}];",
            "        const lanes seen = load_lanes(psi + j, count);",
            "        NAME(map)(found.constant, found.before, found.kept, seen, found.derived, m);",
            "        lanes a = load_lanes(signals->L + j, count), c = zero, d = zero;",
            "        if (other) {",
            "            const lanes F = load_lanes(signals->F + j, count);",
            "            c = F;",
            "            if (signals->other == REWARDED)",
            "                d = a, a = share * F, c = all_lanes(signals->delta);",
            "        }",
            "        (void)d; (void)f; (void)keep; (void)keep_power; (void)zero;",
            *(self._write_record() if self.n_recorded and name == "append" else []),
            *self._read("        ", "p", "map", "none"),
            *(f"        {line}" for line in body),
            *self._write("        ", "p", "to" if name == "append" else "map", name == "prepend"),
            "    }", "}", "",
            f"static void NAME({name})({arguments})", "{",
            *(line for other in self.second_trace_cases for shared in (1, 0) for line in (
                f"    if ({'!' * (not other)}signals->other && {'!' * (not shared)}shared)",
                f"        NAME({name}_body)({other}, {shared}, {passed});",
            )),
            "}", "",
        ])  # fmt: skip

    def _write_record(self) -> list[str]:
        """Return C that writes the numbers that single steps of rows read, next to each other."""
        items = [*(f"found.{name}" for name in self.recorded), "seen", "l", "r"]
        items += ["zero"] * (8 - len(items))
        return [
            "        if (record) {",
            "            const lanes l = load_lanes(signals->L + j, count);",
            "            const lanes r = other ? load_lanes(signals->F + j, count) : zero;",
            f"            lanes line[8] = {{{', '.join(items)}}};",
            f"            write_beside(record + width * j, width, {self.n_recorded} + other, count, line);",
            "        }",
        ]

    def _read(self, indent: str, array: str, pointer: str, none: str = "") -> list[str]:
        """Return C that reads the maps of neurons; under the condition `none` it sets maps of no steps instead."""
        ones = {place for place, key in enumerate(self.slots) if key and key[0] == "P" and key[1] == key[2]}
        lines = [f"{indent}lanes {array}[{8 * lines_of(self.n)}]{f', {array}_apart' * self.apart};"]
        read = [
            f"    {line}" for line in self._write_line_calls(array, pointer, "read_neighbour_fours", "read_neighbours")
        ]
        read += [f"    {array}_apart = load_doubles({pointer}->apart + j, count);"] if self.apart else []
        if none:
            zero = [f"    for (int k = 0; k < {self.first_entry}; k++)", f"        {array}[k] = zero;"]
            zero += [f"    {array}[{place}] = all_lanes(1.0);" for place in sorted(ones)]
            zero += [f"    {array}_apart = zero;"] * self.apart
            lines += [f"{indent}{line}" for line in (f"if ({none}) {{", *zero, "} else {")]
        else:
            lines.append(f"{indent}{{")
        return [*lines, *(f"{indent}{line}" for line in read), f"{indent}}}"]

    def _write(self, indent: str, array: str, pointer: str, entries: bool = False) -> list[str]:
        """Return C that writes the maps of neurons, with or without the numbers for entering spikes."""
        lines = [f"{array}[{place}] = {array}[{of}];" for place, of in self.copies]
        lines += self._write_line_calls(array, pointer, "write_first_fours", "write_neighbours", entries)
        lines += [f"store_doubles({pointer}->apart + j, {array}_apart, count);"] if self.apart else []
        return [f"{indent}{line}" for line in lines]

    def _write_line_calls(self, array: str, pointer: str, fours: str, whole: str, entries: bool = False) -> list[str]:
        """Return a call for each cache line of the maps of neurons, with or without the numbers for entering spikes."""
        calls = []
        for k in range(lines_of(self.n) if entries else self.first_entry // 8):
            always = k < lines_of(len(self.slots)) or self.first_entry <= 8 * k < self.first_other
            name = fours if in_first_half(self.place.values(), k) else whole
            at = f"{self._address_number(8 * k, pointer)} + {pointer}->width * j, {pointer}->width, count, "
            at += f"{array} + {8 * k}"
            calls.append(f"{'' if always else 'if (other) '}{name}({at});")
        return calls

    def _address_number(self, place: int, pointer: str = "at") -> str:
        """Return the C address of a number; without a second trace, entries follow the other numbers at once."""
        less = self.first_entry - 8 * lines_of(len(self.slots)) if place >= self.first_entry else 0
        return f"{pointer}->number + {place}" + (f" - (other ? 0 : {less})" if less else "")

    def _write_compose(self) -> str:
        """Return the function that composes maps with the next one."""
        lines, new = [], []
        p_B, p_X, p_XB = (
            self._locate_number("p", "G", "B"),
            self._locate_number("p", "G", "X"),
            self._locate_number("p", "X", "B"),
        )
        s_B, s_X, s_XB = (
            self._locate_number("s", "G", "B"),
            self._locate_number("s", "G", "X"),
            self._locate_number("s", "X", "B"),
        )
        for c in self.columns:
            P = {r: self._locate_number("p", "P", r, c) for r in self._list_rows(c)}
            B, G, X = (self._locate_number("p", kind, c) for kind in "BGX")

            def list_products(*key: int | str, P: dict[int, str] = P) -> list[str]:
                return [f"{s} * {P[r]}" for r in P if (s := self._locate_number("s", *key, r))]

            if c in self.seen:
                lines += [f"{G} += {sum_of([*list_products('G'), f'{s_B} * {B}'])};", f"if (other) {G} += {s_X} * {X};"]
                new.append(f"if (other) {X} = {sum_of([*list_products('X'), f'{s_XB} * {B}', f'next_keep * {X}'])};")
                new.append(f"{B} = {sum_of([*list_products('B'), f'next_kappa * {B}'])};")
            for r in P:
                lines.append(f"const lanes n_{r}_{c} = {sum_of(list_products('P', r)) or 'zero'};")
            new += [f"{P[r]} = n_{r}_{c};" for r in P]
        more = f"{p_B} += {s_X} * {p_XB}; {p_X} += {s_X} * keep_power; "
        more += f"{p_XB} = {s_XB} * kappa_power + next_keep * {p_XB};"
        arguments = "int64_t n, int64_t count, const NEURON_MAP *map, const NEURON_MAP *next"
        return "\n".join([
            f"static {self.inlined} void NAME(compose_body)(const int other,",
            f"    {arguments.replace(' count', ' several')})", "{", "    const lanes zero = all_lanes(0.0);",
            "    const double next_kappa = next->kappa, next_keep = next->keep;", "    (void)zero; (void)next_keep;",
            "    for (int64_t j = 0; j < n; j += LANES) {",
            "        const int64_t count = n - j < LANES ? n - j : LANES;",
            *self._read("        ", "s", "next"),
            "        for (int64_t i = 0; i < several; i++) {",
            "            const NEURON_MAP *const at = map + i;",
            "            const double kappa_power = at->kappa, keep_power = at->keep;", "            (void)keep_power;",
            *self._read("            ", "p", "at"),
            *(f"            {line}" for line in lines), f"            {p_B} += {s_B} * kappa_power;",
            f"            if (other) {{ {more} }}", *(f"            {line}" for line in new),
            *self._write("            ", "p", "at"),
            "        }", "    }", "}", "",
            f"static void NAME(compose)({arguments.replace('int64_t n, ', 'int64_t n, int64_t other, ')})", "{",
            *(f"    if ({'!' * (not other)}other)\n        NAME(compose_body)({other}, n, count, map, next);"
              for other in self.second_trace_cases), "}", "",
        ])  # fmt: skip


def name_entry(port: int) -> str:
    """Return the column of spikes that enter at a port."""
    return f"E{port}"


def takes_long(tree: Tree, by: Derivatives) -> bool:
    """Return whether a derivative varies and takes so long to compute that steps store it."""
    if not by.terms.keys().isdisjoint(names_of(tree)):
        return True
    return any(node[0] in LONG and names_of(node) & (by.moving | by.held) for node in walk_tree(tree))


def _without_unused(loop: Loop) -> dict[str, list[int]]:
    """Remove statements and columns that nothing reads; return the columns that are read."""
    live, lines = set[str](), []
    for substeps in loop.substeps.values():
        live |= set(re.findall(r"\w+", " ".join([*substeps.start, *substeps.body.lines])))
    for line in reversed(loop.lines):
        if line.startswith(f"const {loop.kind} ") and line.split()[2] not in live:
            continue
        lines.append(line)
        live |= set(re.findall(r"\w+(?:\[\d+\])?", line.split("=", 1)[1]))
    loop.lines = lines[::-1]
    loop.used = {c: None for c in loop.used if f"c{c}" in live}
    reads = {"before": [], "kept": [], "constant": list(loop.used)}
    for found in filter(None, (re.fullmatch(r"(before|kept)\[(\d+)\]", word) for word in live)):
        reads[found[1]].append(int(found[2]))
    return {name: sorted(columns) if name != "constant" else columns for name, columns in reads.items()}


def sum_of(terms: Iterable[str]) -> str:
    """Return a sum of terms in C."""
    return " + ".join(terms)


def in_first_half(places: Iterable[int], line: int) -> bool:
    """Return whether the numbers of a line of eight are all in its first half."""
    return all(place % 8 < 4 for place in places if place // 8 == line)


def lines_of(n: int) -> int:
    """Return how many lines of eight numbers n numbers take."""
    return -(-n // 8)
