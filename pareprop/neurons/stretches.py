"""C of what stretches of steps make of the traces of a model's synapses (spike variant).

Between entries of spikes the traces x of a synapse (eps, and e of the step before where it is read) change linearly, by
numbers of the target and the step alone: x = M x, e = w x, the trace beside ebar as in `neuron_model.h`. A stretch of
steps is the product of its steps: for each column c of x

    P[r, c] : what x_c before it adds to x_r after it        B[c], X[c] : to ebar, to the trace beside it
    G[c]    : to the gradient                                "B", "X" in place of c: what those two add

A spike that enters at port p in the first step of a stretch is one more column, "E" + p; it is kept where rows are
closed, from a step to the end of its block.

Only numbers are kept that are not 0 for any product of steps and that a synapse can meet, column by column, in lines
of eight (`lanes.h`): a synapse onto a port reads the columns of the traces that an arrival there can reach. Where that
takes fewer lines, each port has lines of its own, and what several read stands in each of them; and what ebar adds to
the gradient stands apart, as an array of its own.

M and w of a step are computed for eight targets at a time where they are needed, but for the derivatives that take
long, which are kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from .expressions import Derived, Lanes, Loop, function, is_kept, moving_names
from .language import Tree, names_of, walk

CHUNK = 256  # neurons whose derivatives that take long are computed together
MOST_INLINED = 4  # traces; what more of them do is too long to be compiled for each case
FEW = 2  # numbers of a line that are read one by one
RECORDS_AHEAD = 32  # synapses to the one whose target's records are fetched
LEAST_RECORDED = 4  # numbers of a step; fewer are read as fast one by one
Key = tuple[str, int | str, int | str]
LONG = ("exp", "log", "sqrt", "tanh", "/", "**")  # operations that take long
EBAR: Key = ("G", "", "B")
# in each lane, what expressions of single precision have, too
_FUNCTIONS = """
#ifndef LANES_OF_FUNCTIONS
#define LANES_OF_FUNCTIONS
#define OF_LANES(name, function) static inline lanes lanes_##name(lanes x) \\
    { for (int i = 0; i < LANES; i++) x[i] = function(x[i]); return x; }
OF_LANES(exp, elementary_exp)
OF_LANES(log, elementary_log)
OF_LANES(tanh, elementary_tanh)
OF_LANES(sqrt, sqrt)
#endif
static ALWAYS_INLINE lanes NAME(constants_of)(const REAL *constant, int64_t shared, Targets8 eight)
{
    return shared ? all_lanes(constant[eight.target[0]]) : gather_lanes(constant, eight);
}
"""
_CREDIT = """
static ALWAYS_INLINE void NAME(credit)(const int other, const NEURON_STEPS *of, const NEURON_STEP *s, lanes L, lanes F,
    lanes *b, lanes *o, lanes *g)
{
    if (!other)
        *g -= L * *b;
    else if (of->other == REGULARIZED)
        *g -= L * *b + F * *o;
    else {
        *g -= of->share * F * *b + s->delta * *o;
        *o = s->keep * *o + L * *b;
    }
}
"""


class Stretches:
    """The functions of `neuron_model.h` on stretches.

    Parameters
    ----------
    model : Derived
        The model, its derivatives, and how expressions become C.
    ports : sequence of int or None
        Ports at which synapses learn, ascending; None: all. What others alone would need is not kept.

    Attributes
    ----------
    slots : list of tuple or None
        What a stretch keeps, by place, some of it more than once; None: nothing.
    others : list of tuple
        More, where there is a trace beside ebar.
    apart : bool
        Whether what ebar adds to the gradient is not among them.
    n : int
        Numbers with those of spikes that enter, in lines of their own, which only rows that are closed read.
    """

    def __init__(self, model: Derived, ports: Sequence[int] | None = None) -> None:
        self.model, by = model, model.by
        self.ports = range(len(model.ports)) if ports is None else ports
        self.size = model.n + bool(by.v)
        trees = [*by.J.values(), *by.U.values(), *by.v.values(), *by.h.values(), *by.R.values(), *by.gap.values()]
        self.derived = [tree for tree in dict.fromkeys(trees) if takes_long(tree, moving_names(model.model))]
        self.map, self.step, self.reads = self._step()
        followed = {(i, i) for i in range(self.size)}
        followed |= {(r, c) for kind, r, c in self.step if kind == "M" and isinstance(r, int) and isinstance(c, int)}
        while more := {(r, c) for r, k in followed for q, c in followed if k == q} - followed:
            followed |= more
        seen = {c for kind, _, c in self.step if kind == "w" and isinstance(c, int)}
        self.seen = {c for r, c in followed if r in seen}
        self.reached = {port: self._reached(port, followed) for port in self.ports}
        self.columns = sorted(set().union(*self.reached.values()))
        self.slots, self.apart, self.place_of = self._layout(followed)
        self.others: list[Key] = [("G", "", "X"), ("X", "", "B")]
        self.others += [("X", "", c) for c in self.columns if c in self.seen]
        self.place: dict[Key, int] = {}
        self.copies: list[tuple[int, int]] = []
        for place, key in enumerate([*self.slots, *self.others]):
            if key in self.place:
                self.copies.append((place, self.place[key]))
            elif key is not None:
                self.place[key] = place
        self.first_entry = self.n = 8 * _count(len(self.slots) + len(self.others))
        for port in self.ports:
            keys: list[Key] = [
                *(("P", r, entry(port)) for r in self.reached[port]),
                *((k, "", entry(port)) for k in "BG"),
            ]
            if self.n % 8 + len(keys) > 8:  # those of a port share a line
                self.n = 8 * _count(self.n)
            self.place |= {key: self.n + place for place, key in enumerate(keys)}
            self.n += len(keys)
        self.first_other = self.n = 8 * _count(self.n)
        self.place |= {("X", "", entry(port)): self.n + k for k, port in enumerate(self.ports)}
        self.n += len(self.ports)
        self.recorded = [f"kept[{k}]" for k in self.needed] + [f"derived[{k}]" for k in range(len(self.derived))]

    def text(self) -> str:
        """Return all functions."""
        return "\n".join([
            _FUNCTIONS, f"enum {{ RECORDS_AHEAD = {RECORDS_AHEAD} }};", self._derive(), self.map, self._find(),
            self._begin(), self._extended("append", self._append()),
            self._extended("prepend", self._prepend()), self._compose(),
            *map(self._through_port, self.ports), self._through(), f"""
static const NEURON_STRETCHES NAME(stretches) = {{
    NEURON_MODEL_VERSION, sizeof(REAL),
    {len(self.slots)}, {len(self.others)}, {self.n - self.first_entry}, {len(self.derived)}, {self.n_recorded},
    NAME(begin), NAME(append), NAME(prepend), NAME(compose), NAME(go_through),
}};

VISIBLE const NEURON_STRETCHES *NAME(neuron_stretches)(void) {{ return &NAME(stretches); }}
""",
        ])  # fmt: skip

    @property
    def inlined(self) -> str:
        """What is said of a function of which each case is compiled apart, if that is not too long."""
        return "ALWAYS_INLINE" if self.size <= MOST_INLINED else "__attribute__((noinline))"

    @property
    def needed(self) -> list[int]:
        """Columns of `kept` that a step or the next one reads."""
        return sorted({*self.reads["kept"], *self.reads["before"]})

    @property
    def n_recorded(self) -> int:
        """Numbers of the record of a step: what it reads, psi, L; there is room for F, too. 0: none is made."""
        n = len(self.recorded) + 2
        return n if LEAST_RECORDED <= n < 8 else 0

    @property
    def n_map(self) -> int:
        """Numbers of a step."""
        return len(set(self.step.values()))

    def _reached(self, port: int, followed: set[tuple[int, int]]) -> list[int]:
        """Return the columns of the traces that an arrival at a port can make other than 0."""
        new = {r for kind, r, c in self.step if kind == "M" and c == entry(port)}
        return sorted({r for r, c in followed if c in new})

    def _layout(self, followed: set[tuple[int, int]]) -> tuple[list[Key | None], bool, dict[int, dict[Key, int]]]:
        """Return what stands where, whether what ebar adds is apart, and the places that each port reads."""

        def keys(columns: Iterable[int], apart: bool) -> list[Key]:
            found: list[Key] = [] if apart else [EBAR]
            for c in columns:
                found += [("P", r, c) for r in range(self.size) if (r, c) in followed]
                found += [("B", "", c), ("G", "", c)] if c in self.seen else []
            return found

        best: tuple[tuple[int, int], list[Key | None], bool, dict[int, dict[Key, int]]] | None = None
        for apart in (False, True):
            for groups in ([self.columns], list(map(list, dict.fromkeys(map(tuple, self.reached.values()))))):
                slots: list[Key | None] = []
                places: dict[int, dict[Key, int]] = {port: {} for port in self.ports}
                for group in groups:
                    first, found = 8 * _count(len(slots)), keys(group, apart)
                    slots += [None] * (first - len(slots))
                    slots += found
                    for reached, of in zip(self.reached.values(), places.values(), strict=True):
                        if set(reached) <= set(group) and not of:
                            of |= {key: first + found.index(key) for key in keys(reached, apart)}
                read = sum(len({place // 8 for place in of.values()}) for of in places.values())
                cost = _count(len(slots)), read
                if best is None or cost < best[0]:
                    best = cost, slots, apart, places
        assert best is not None
        return best[1:]

    # ---- a step ------------------------------------------------------------------------------------------------------

    def _step(self) -> tuple[str, dict[Key, int], dict[str, list[int]]]:
        """Return C of a step.

        Returns
        -------
        text : str
            A function that finds M and w of a step of eight neurons.
        columns : dict
            The numbers of these; an e that is read is a row.
        reads : dict of str to list of int
            Columns of `constant`, `before` and `kept` that it reads.
        """
        model, by = self.model, self.model.by
        n = model.n
        loop, _ = model.derivative_names(Lanes)
        for k, tree in enumerate(self.derived):
            loop.known[tree] = loop.let(f"derived[{k}]")
        found: dict[Key, str] = {}
        columns_of: dict[int | str, dict[int, Tree]] = {c: model.by_column(by.J, c) for c in range(n)}
        columns_of |= {n: by.v} if by.v else {}
        columns_of |= {entry(port): model.by_column(by.U, port) for port in self.ports}
        for c, column in columns_of.items():
            new = {i: loop.literal(tree) for i, tree in column.items()}
            e, after = model.end_step(loop, new)
            found |= {("M", i, c): value for i, value in after.items()}
            if e:
                found["w", "", c] = e
        columns: dict[Key, int] = {}
        for key, value in found.items():
            columns[key] = len(columns)
            loop.lines.append(f"map[{columns[key]}] = {value};")
        if by.v:
            columns |= {("M", n, c): place for (kind, _, c), place in columns.items() if kind == "w"}
        reads = _without_unused(loop)
        text = "\n".join([
            "static ALWAYS_INLINE void NAME(map)(const lanes *constant, const lanes *before, const lanes *kept,",
            "    const lanes psi, const lanes *derived, lanes *map)", "{",
            "    (void)before; (void)kept; (void)constant; (void)psi; (void)derived;",
            *(f"    const lanes c{c} = constant[{c}];" for c in loop.used), *(f"    {line}" for line in loop.lines),
            "}", "",
        ])  # fmt: skip
        return text, columns, reads

    def _derive(self) -> str:
        """Derivatives that take long."""
        if not self.derived:
            return ""
        loop, pointers = self.model.derivative_names()
        pointers |= {f"derived{k}": f"REAL *restrict derived{k} = derived + {k} * stride"
                     for k in range(len(self.derived))}  # fmt: skip
        for k, tree in enumerate(self.derived):
            loop.lines.append(f"derived{k}[j] = {loop.literal(tree)};")
        _without_unused(loop)
        body = function(
            "inline ALWAYS void NAME(derive_body)",
            "int64_t n, int64_t stride, const REAL *constant, const REAL *before, const REAL *kept, REAL *derived, "
            "const int shared", pointers, loop, ["(void)before; (void)kept; (void)constant;"], may_share=True,
        )  # fmt: skip
        passed = "(n, stride, constant, before, kept, derived"
        return body + "\n".join([
            "", "static NOT_INLINED void NAME(derive)(int64_t n, int64_t stride, const REAL *constant, int64_t shared,",
            "    const REAL *before, const REAL *kept, REAL *derived)", "{", "    if (shared)",
            f"        NAME(derive_body){passed}, 1);", "    else", f"        NAME(derive_body){passed}, 0);", "}", "",
        ])  # fmt: skip

    def _begin(self) -> str:
        ones = [place for place, key in enumerate(self.slots) if key and key[0] == "P" and key[1] == key[2]]
        return "\n".join([
            "static void NAME(begin)(int64_t n, const NEURON_STRETCH *stretch)", "{",
            "    for (int64_t j = 0; j < n; j++) {", "        double *number = stretch->number + stretch->width * j;",
            "        for (int64_t i = 0; i < stretch->width; i++)", "            number[i] = 0.0;",
            *(f"        number[{place}] = 1.0;" for place in ones), "        stretch->apart[j] = 0.0;",
            "    }", "}", "",
        ])  # fmt: skip

    # ---- products ----------------------------------------------------------------------------------------------------

    def _of(self, array: str, *key: int | str) -> str:
        """Return the place of a number in C, "" if it is 0."""
        kind, *rest = key
        row, column = (rest[0], rest[1]) if len(rest) == 2 else ("", rest[0])
        if self.apart and (kind, row, column) == EBAR:
            return f"{array}_apart"
        place = self.place.get((str(kind), row, column))
        return f"{array}[{place}]" if place is not None else ""

    def _rows(self, c: int) -> list[int]:
        return [r for r in range(self.size) if ("P", r, c) in self.place]

    def _step_dot(self, kind: str, row: int | str, values: dict[int, str]) -> list[str]:
        """Return the terms of a row of M or of w with values by column."""
        terms = []
        for (name, r, c), place in self.step.items():
            if name == kind and r == row and isinstance(c, int) and values.get(c):
                terms.append(f"m[{place}] * {values[c]}")
        return terms

    def _append(self) -> list[str]:
        """A step after a stretch."""
        lines, new = [], []
        for c in self.columns:
            P = {r: self._of("p", "P", r, c) for r in self._rows(c)}
            if c in self.seen:
                B, G, X = self._of("p", "B", c), self._of("p", "G", c), self._of("p", "X", c)
                lines += [f"{G} += a * {B};", f"if (other) {G} += c * {X};"]
                by = self._step_dot("w", "", P)
                lines.append(f"const lanes by_{c} = {_sum(by) or 'zero'};")
                new += [f"if (other) {X} = keep * {X} + d * {B} + f * by_{c};", f"{B} = kappa * {B} + by_{c};"]
            for r in self._rows(c):
                lines.append(f"const lanes n_{r}_{c} = {_sum(self._step_dot('M', r, P)) or 'zero'};")
                new.append(f"{P[r]} = n_{r}_{c};")
        B, X, both = self._of("p", "G", "B"), self._of("p", "G", "X"), self._of("p", "X", "B")
        return [
            *lines, f"{B} += a * kappa_power;",
            f"if (other) {{ {B} += c * {both}; {X} += c * keep_power; {both} = keep * {both} + d * kappa_power; }}",
            *new,
        ]  # fmt: skip

    def _prepend(self) -> list[str]:
        """A step before a stretch."""
        B, X, both = self._of("p", "G", "B"), self._of("p", "G", "X"), self._of("p", "X", "B")
        lines = [f"lanes to_G = {B}, to_X = zero;"]
        lines.append(f"if (other) {{ to_G += f * {X}; to_X = {both} + f * keep_power; }}")
        new: list[str] = []
        columns: list[int | str] = [*self.columns, *map(entry, self.ports)]
        for c in columns:
            column = {int(r): place for (kind, r, k), place in self.step.items() if kind == "M" and k == c}
            w = self.step.get(("w", "", c))
            for key in [key for key in self.place if key[2] == c]:
                kind, row = key[:2]
                own = f"p[{self.place[key]}]"
                terms = [
                    f"{value} * m[{place}]"
                    for r, place in column.items() if (value := self._of("p", kind, *([row] if kind == "P" else []), r))
                ]  # fmt: skip
                if w is not None and kind in "BGX":
                    factor = {"B": "kappa_power", "G": "to_G", "X": "to_X"}[kind]
                    terms.append(f"{factor} * m[{w}]")
                name = f"n_{kind}{row}_{c}"
                if kind == "X":
                    lines += [f"lanes {name} = zero;", f"if (other) {name} = {_sum(terms) or 'zero'};"]
                else:
                    lines.append(f"const lanes {name} = {_sum(terms) or 'zero'};")
                new.append(f"if (other) {own} = {name};" if kind == "X" else f"{own} = {name};")
        return [
            *lines, *new, f"{B} = a + kappa * {B};",
            f"if (other) {{ {B} += d * {X}; {both} = {both} * kappa + d * keep_power; {X} = c + keep * {X}; }}",
        ]  # fmt: skip

    def _extended(self, name: str, body: Sequence[str]) -> str:
        """Return `append` or `prepend`."""
        arguments = (
            "int64_t n, int64_t stride, const REAL *constant, int64_t shared, const REAL *before, const REAL *kept, "
            "const REAL *psi, const NEURON_SIGNALS *signals, REAL *derived, const NEURON_STRETCH *stretch"
        )
        if name == "append":
            arguments += ", double *record, int64_t width"
        inside = arguments.replace("int64_t shared, ", "")
        derive = [
            f"        if (j % {CHUNK} == 0)", f"            NAME(derive)(n - j < {CHUNK} ? n - j : {CHUNK}, stride,",
            "                constant + j, shared, before + j, kept + j, derived + j);",
        ]  # fmt: skip
        size, passed, reads = max(self.n_map, 1), _names(inside), self.reads
        return "\n".join([
            f"static {self.inlined} void NAME({name}_body)(const int other, const int shared, {inside})", "{",
            "    const double kappa = signals->kappa, keep = signals->keep, share = signals->share;",
            "    const double kappa_power = stretch->kappa, keep_power = stretch->keep;",
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
            "        NAME(map)(found.constant, found.before, found.kept, load_lanes(psi + j, count),",
            "            found.derived, m);",
            "        lanes a = load_lanes(signals->L + j, count), c = zero, d = zero;",
            "        if (other) {",
            "            const lanes F = load_lanes(signals->F + j, count);",
            "            c = F;",
            "            if (signals->other == REWARDED)",
            "                d = a, a = share * F, c = all_lanes(signals->delta);",
            "        }",
            "        (void)d; (void)f; (void)keep; (void)keep_power; (void)zero;",
            *(self._record() if self.n_recorded and name == "append" else []),
            *self._read("        ", "p", "stretch"),
            *(f"        {line}" for line in body),
            *self._write("        ", "p", "stretch", name == "prepend"),
            "    }", "}", "",
            f"static void NAME({name})({arguments})", "{",
            *(line for other in (1, 0) for shared in (1, 0) for line in (
                f"    if ({'!' * (not other)}signals->other && {'!' * (not shared)}shared)",
                f"        NAME({name}_body)({other}, {shared}, {passed});",
            )),
            "}", "",
        ])  # fmt: skip

    def _record(self) -> list[str]:
        """Write beside each other what single steps of rows read."""
        items = [*(f"found.{name}" for name in self.recorded), "load_lanes(psi + j, count)", "l", "r"]
        items += ["zero"] * (8 - len(items))
        return [
            "        if (record) {",
            "            const lanes l = load_lanes(signals->L + j, count);",
            "            const lanes r = other ? load_lanes(signals->F + j, count) : zero;",
            f"            lanes line[8] = {{{', '.join(items)}}};",
            f"            write_beside(record + width * j, width, {self.n_recorded} + other, count, line);",
            "        }",
        ]  # fmt: skip

    def _read(self, indent: str, array: str, stretch: str) -> list[str]:
        """Read all numbers of eight neurons."""
        apart = [f"{indent}lanes {array}_apart = load_doubles({stretch}->apart + j, count);"] if self.apart else []
        at = f"{stretch}->number + {stretch}->width * j + 8 * k, {stretch}->width, count, {array} + 8 * k"
        return [
            f"{indent}lanes {array}[{8 * _count(self.n)}];",
            f"{indent}for (int k = 0; k < {self._lines('other')}; k++)", f"{indent}    read_neighbours({at});", *apart,
        ]  # fmt: skip

    def _write(self, indent: str, array: str, stretch: str, entries: bool = False) -> list[str]:
        """Write them, with those of what enters or without."""
        apart = [f"{indent}store_doubles({stretch}->apart + j, {array}_apart, count);"] if self.apart else []
        at = f"{stretch}->number + {stretch}->width * j + 8 * k, {stretch}->width, count, {array} + 8 * k"
        entering = []
        for k in range(self.first_entry // 8, _count(self.n)) if entries else ():
            head = "" if 8 * k < self.first_other else "if (other) "
            write = "write_first_fours" if _in_first_half(self.place.values(), k) else "write_neighbours"
            to = f"{self._at(8 * k, stretch)} + {stretch}->width * j"
            entering.append(f"{indent}{head}{write}({to}, {stretch}->width, count, {array} + {8 * k});")
        return [
            *(f"{indent}{array}[{place}] = {array}[{of}];" for place, of in self.copies),
            f"{indent}for (int k = 0; k < {self._lines('other')}; k++)", f"{indent}    write_neighbours({at});",
            *entering, *apart,
        ]  # fmt: skip

    def _at(self, place: int, stretch: str = "at") -> str:
        """Return the address of a number in C; what enters follows upon what is there."""
        less = self.first_entry - 8 * _count(len(self.slots)) if place >= self.first_entry else 0
        return f"{stretch}->number + {place}" + (f" - (other ? 0 : {less})" if less else "")

    def _lines(self, other: str) -> str:
        """Return how many lines a stretch has, in C."""
        without, with_ = _count(len(self.slots)), _count(len(self.slots) + len(self.others))
        return f"({other} ? {with_} : {without})"

    def _compose(self) -> str:
        """A stretch, then the next."""
        lines, new = [], []
        p_B, p_X, p_XB = self._of("p", "G", "B"), self._of("p", "G", "X"), self._of("p", "X", "B")
        s_B, s_X, s_XB = self._of("s", "G", "B"), self._of("s", "G", "X"), self._of("s", "X", "B")
        for c in self.columns:
            P = {r: self._of("p", "P", r, c) for r in self._rows(c)}
            B, G, X = (self._of("p", kind, c) for kind in "BGX")

            def dot(*key: int | str, P: dict[int, str] = P) -> list[str]:
                return [f"{s} * {P[r]}" for r in P if (s := self._of("s", *key, r))]

            if c in self.seen:
                lines += [f"{G} += {_sum([*dot('G'), f'{s_B} * {B}'])};", f"if (other) {G} += {s_X} * {X};"]
                new.append(f"if (other) {X} = {_sum([*dot('X'), f'{s_XB} * {B}', f'next_keep * {X}'])};")
                new.append(f"{B} = {_sum([*dot('B'), f'next_kappa * {B}'])};")
            for r in P:
                lines.append(f"const lanes n_{r}_{c} = {_sum(dot('P', r)) or 'zero'};")
            new += [f"{P[r]} = n_{r}_{c};" for r in P]
        more = f"{p_B} += {s_X} * {p_XB}; {p_X} += {s_X} * keep_power; "
        more += f"{p_XB} = {s_XB} * kappa_power + next_keep * {p_XB};"
        arguments = "int64_t n, int64_t count, const NEURON_STRETCH *stretch, const NEURON_STRETCH *next"
        return "\n".join([
            f"static {self.inlined} void NAME(compose_body)(const int other,",
            f"    {arguments.replace(' count', ' several')})", "{", "    const lanes zero = all_lanes(0.0);",
            "    const double next_kappa = next->kappa, next_keep = next->keep;", "    (void)zero; (void)next_keep;",
            "    for (int64_t j = 0; j < n; j += LANES) {",
            "        const int64_t count = n - j < LANES ? n - j : LANES;",
            *self._read("        ", "s", "next"),
            "        for (int64_t i = 0; i < several; i++) {",
            "            const NEURON_STRETCH *const at = stretch + i;",
            "            const double kappa_power = at->kappa, keep_power = at->keep;", "            (void)keep_power;",
            *self._read("            ", "p", "at"),
            *(f"            {line}" for line in lines), f"            {p_B} += {s_B} * kappa_power;",
            f"            if (other) {{ {more} }}", *(f"            {line}" for line in new),
            *self._write("            ", "p", "at"),
            "        }", "    }", "}", "",
            f"static void NAME(compose)({arguments.replace('int64_t n, ', 'int64_t n, int64_t other, ')})", "{",
            "    if (other)", "        NAME(compose_body)(1, n, count, stretch, next);",
            "    else", "        NAME(compose_body)(0, n, count, stretch, next);", "}", "",
        ])  # fmt: skip

    # ---- synapses ----------------------------------------------------------------------------------------------------

    def _find(self) -> str:
        """What a step reads of eight neurons, and what single steps of synapses read once."""
        columns, before = self.reads["constant"], self.reads["before"]
        kept = max(self.model.by.n_kept, 1)
        sizes = {"constant": max(columns, default=0) + 1, "before": kept, "kept": kept, "derived": len(self.derived)}
        return "\n".join([
            "typedef struct {", *(f"    lanes {name}[{max(size, 1)}];" for name, size in sizes.items()),
            "} NAME(Found);", "", _CREDIT,
            "static ALWAYS_INLINE void NAME(find_constants)(const NEURON_STEPS *of, Targets8 eight,",
            "    NAME(Found) *found)", "{", "    (void)of; (void)eight; (void)found;",
            *(f"    found->constant[{k}] = {self._constant(k)};" for k in columns), "}", "",
            "static ALWAYS_INLINE void NAME(find_before)(const NEURON_STEPS *of, Targets8 eight, NAME(Found) *found)",
            "{",
            "    (void)of; (void)eight; (void)found;",
            *(f"    found->before[{k}] = gather_lanes(of->step->before + {k} * of->n_neurons, eight);" for k in before),
            "}", "",
        ])  # fmt: skip

    @staticmethod
    def _constant(k: int) -> str:
        """A column of the constants of eight targets."""
        return f"NAME(constants_of)(of->constant + {k} * of->n_neurons, of->shared, eight)"

    def _step_of_port(self, port: int) -> str:
        """Synapses onto one port go through a single step."""
        reached, E = self.reached[port], entry(port)

        def row(kind: str, r: int | str) -> str:
            terms = []
            for (name, key, c), place in self.step.items():
                if name == kind and key == r and c in reached:
                    terms.append(f"m[{place}] * x_{c}")
            return _sum(terms) or "all_lanes(0.0)"

        e, rows = row("w", ""), {r: row("M", r) for r in reached}
        enters = [f"        x[{r}] += s->entering * m[{self.step['M', r, E]}];" for r in reached
                  if ("M", r, E) in self.step]  # fmt: skip
        if ("w", "", E) in self.step:
            enters.append(f"        e += s->entering * m[{self.step['w', '', E]}];")
        n = len(self.recorded)
        return "\n".join([
            f"static {self.inlined} void NAME(move_{port})(const int other, const NEURON_STEPS *of,",
            "    const NEURON_STEP *s, lanes psi, NAME(Found) *at, lanes *x, lanes *b, lanes *o)", "{",
            f"    lanes m[{max(self.n_map, 1)}];",
            "    NAME(map)(at->constant, at->before, at->kept, psi, at->derived, m);",
            *(f"    at->before[{k}] = at->kept[{k}];" for k in self.reads["before"]),
            *(f"    const lanes x_{c} = x[{c}];" for c in reached),
            f"    lanes e = {e};", *(f"    x[{r}] = {text};" for r, text in rows.items()),
            "    if (s->entering != 0.0) {", *enters, "    }",
            "    *b = of->kappa * *b + e;", "    if (other && of->other == REGULARIZED)",
            "        *o = s->keep * *o + of->share * e;", "}", "",
            f"static {self.inlined} void NAME(step_{port})(const int other, const NEURON_STEPS *of,",
            "    const NEURON_STEP *s, Targets8 eight, NAME(Found) *at, lanes *x, lanes *b, lanes *o, lanes *g)", "{",
            "    if (s->L)", "        NAME(credit)(other, of, s, gather_lanes(s->L, eight),",
            "            other ? gather_lanes(s->F, eight) : all_lanes(0.0), b, o, g);",
            "    if (!s->psi)", "        return;",
            *(f"    at->kept[{k}] = gather_lanes(s->kept + {k} * of->n_neurons, eight);" for k in self.needed),
            *(f"    at->derived[{k}] = gather_lanes(s->derived + {k} * of->n_neurons, eight);"
              for k in range(len(self.derived))),
            f"    NAME(move_{port})(other, of, s, gather_lanes(s->psi, eight), at, x, b, o);", "}", "",
            f"static {self.inlined} void NAME(follow_{port})(const int other, const NEURON_STEPS *of,",
            "    const NEURON_STEP *s, const double *record, Targets8 eight, NAME(Found) *at, lanes *x, lanes *b,",
            "    lanes *o, lanes *g)", "{",
            "    lanes line[8];", "    read_targets(record, of->record_width, eight, line);",
            *(f"    at->{name} = line[{k}];" for k, name in enumerate(self.recorded)),
            f"    NAME(credit)(other, of, s, line[{n + 1}], line[{n + 2}], b, o, g);",
            f"    NAME(move_{port})(other, of, s, line[{n}], at, x, b, o);", "}", "",
            f"static __attribute__((noinline)) void NAME(decay_{port})(const int other, const NEURON_STEPS *of,",
            "    Targets8 eight, lanes *x, lanes *b, lanes *o)", "{", *self._decay(port),
            "    *b *= of->kappa_decay;", "    if (other)", "        *o *= of->keep_decay;", "}", "",
        ])  # fmt: skip

    def _decay(self, port: int) -> list[str]:
        """Steps past the cutoff, as in `decay` of generate.py."""
        model, by, lines = self.model, self.model.by, []

        def constant(tree: Tree) -> str:
            if tree[0] == "number":
                return f"all_lanes({tree[1]!r})"
            return self._constant(model.columns.place(tree))

        for k in (k for k in self.reached[port] if k < model.n):
            if not is_kept(by, k, model.model):
                lines.append(f"    x[{k}] = all_lanes(0.0);")
                continue
            lines += ["    {", f"        const lanes own = {constant(by.J[k, k])};"]
            lines.append(f"        x[{k}] = power_lanes(own, of->n_decay) * x[{k}];")
            if k in by.v and model.n in self.reached[port] and not names_of(by.v[k]) & moving_names(model.model):
                lines.append(
                    f"        x[{k}] += power_lanes(own, of->n_decay - 1) * ({constant(by.v[k])} * x[{model.n}]);"
                )
            lines.append("    }")
        return lines + [f"    x[{model.n}] = all_lanes(0.0);"] * (model.n in self.reached[port])

    def _through_port(self, port: int) -> str:
        """Synapses onto one port go through a stretch; with `enters`, spikes enter in its first step."""
        reached, E, own = self.reached[port], entry(port), self.place_of[port]
        used: dict[tuple[bool, bool], set[int]] = {(e, o): set() for e in (False, True) for o in (False, True)}

        def of(*key: int | str) -> str:
            kind, *rest = key
            row, column = (rest[0], rest[1]) if len(rest) == 2 else ("", rest[0])
            if self.apart and (kind, row, column) == EBAR:
                return "apart"
            whole = (str(kind), row, column)
            place = own.get(whole, self.place.get(whole))
            if place is None:
                return ""
            used[column == E, "X" in key].add(place)
            return f"p[{place}]"

        def terms(*key: int | str) -> list[str]:
            return [f"{value} * x_{c}" for c in reached if (value := of(*key, c))]

        G, B, X = [*terms("G"), f"{of('G', 'B')} * *b"], [*terms("B"), "at->kappa * *b"], terms("X")
        X += [f"{of('X', 'B')} * *b", "at->keep * *o"]
        g_X = of("G", "X")
        rows = {r: _sum(terms("P", r)) or "all_lanes(0.0)" for r in reached}
        entering = {r: of("P", r, E) for r in reached} | {kind: of(kind, E) for kind in "BGX"}
        read, fetched = [], []
        for (enters, other), places in used.items():
            head = f"if ({' && '.join(['enters'] * enters + ['other'] * other)}) " if enters or other else ""
            for k in sorted({place // 8 for place in places}):
                some = sorted(place for place in places if place // 8 == k)
                if len(some) <= FEW:
                    read += [f"    {head}p[{i}] = read_one({self._at(i)}, at->width, eight);" for i in some]
                    continue
                into = f"p + {8 * k}" if not head else "q"
                read_line = "read_first_fours" if _in_first_half(some, k) else "read_targets"
                lines = [f"{read_line}({self._at(8 * k)}, at->width, eight, {into});"]
                lines += [f"p[{i}] = q[{i - 8 * k}];" for i in some] if head else []
                read.append(f"    {head}{{ lanes q[8]; {' '.join(lines)} }}" if head else f"    {lines[0]}")
                if not head:
                    fetched.append(
                        f"        __builtin_prefetch(at->number + at->width * (int64_t)target[i] + {8 * k});"
                    )
        if self.apart:
            read.append("    const lanes apart = gather_doubles(at->apart, eight);")
        loads = [f"    x[{c}] = load_lanes(row->trace + {c} * row->stride + k, LANES);" for c in reached]
        stores = [f"    store_lanes(row->trace + {c} * row->stride + k, x[{c}], LANES);" for c in reached]
        ahead = [
            f"            __builtin_prefetch(row->trace + {c} * row->stride + k + row->row_ahead);" for c in reached
        ]
        arguments = (
            "const NEURON_ROW *row, const NEURON_STRETCH *before, const NEURON_STEPS *steps, "
            "const NEURON_STRETCH *after, double entering"
        )
        # single: 0 none, 1 by columns of neurons, 2 by records
        kinds = [(enters, other, single) for enters in (0, 1) for other in (0, 1) for single in (0, 1, 2)]
        y = self.size
        return "\n".join([
            self._step_of_port(port),
            f"static {self.inlined} void NAME(apply_{port})(const int enters, const int other, double entering,",
            "    const NEURON_STRETCH *at, Targets8 eight, lanes *x, lanes *b, lanes *o, lanes *g)", "{",
            f"    lanes p[{8 * _count(self.n)}];", *read,
            *(f"    const lanes x_{c} = x[{c}];" for c in reached),
            f"    *g -= {_sum(G)};", "    if (other) {", f"        *g -= {g_X} * *o;", f"        *o = {_sum(X)};",
            f"        if (enters) *o += entering * {entering['X']};", "    }",
            f"    *b = {_sum(B)};", *(f"    x[{r}] = {text};" for r, text in rows.items()),
            "    if (enters) {", f"        *g -= entering * {entering['G']};",
            f"        *b += entering * {entering['B']};",
            *(f"        x[{r}] += entering * {entering[r]};" for r in reached), "    }", "}", "",
            f"static ALWAYS_INLINE void NAME(fetch_{port})(const NEURON_STRETCH *at, const uint32_t *target)", "{",
            "    for (int64_t i = 0; i < LANES; i++) {", *fetched, "    }", "}", "",
            f"static ALWAYS_INLINE void NAME(eight_{port})(const int enters, const int other, const int single,",
            f"    {arguments}, int64_t k, NAME(Found) *found)", "{", "    const Targets8 eight = {row->target + k, 0};",
            f"    lanes x[{self.size}], b = load_lanes(row->Y + k, LANES), o = all_lanes(0.0), g = o;", *loads,
            "    if (row->owes)", "        g = load_lanes(row->C + k, LANES);",
            "    if (other)", "        o = load_lanes(row->X + k, LANES);",
            "    if (before)", f"        NAME(apply_{port})(0, other, 0.0, before, eight, x, &b, &o, &g);",
            "    if (single && steps->n > 0) {", "        if (!steps->shared)",
            "            NAME(find_constants)(steps, eight, found);",
            "        NAME(find_before)(steps, eight, found);", "    }",
            "    if (single == 1) {", "        if (steps->n_decay > 0)",
            f"            NAME(decay_{port})(other, steps, eight, x, &b, &o);",
            "        for (int64_t i = 0; i < steps->n; i++)",
            f"            NAME(step_{port})(other, steps, steps->step + i, eight, found, x, &b, &o, &g);", "    }",
            *([] if not self.n_recorded else ["    if (single == 2)", "        for (int64_t i = 0; i < steps->n; i++)",
            f"            NAME(follow_{port})(other, steps, steps->step + i,",
            "                steps->record + i * steps->record_stride, eight, found, x, &b, &o, &g);"]),
            "    if (enters)", f"        NAME(apply_{port})(1, other, entering, after, eight, x, &b, &o, &g);",
            "    else if (after)", f"        NAME(apply_{port})(0, other, 0.0, after, eight, x, &b, &o, &g);",
            "    if (single && steps->n_last > 0) {", "        const NEURON_STEP *const last = steps->step + steps->n;",
            "        NAME(credit)(other, steps, last, gather_lanes(last->L, eight),",
            "            other ? gather_lanes(last->F, eight) : all_lanes(0.0), &b, &o, &g);", "    }",
            "    if (row->updates) {    /* 0 - g, so that a gradient of 0 keeps the sign of a weight of -0 */",
            "        const lanes low = all_lanes(row->low), high = all_lanes(row->high);",
            "        lanes w = load_lanes(row->weight + k, LANES) - row->eta * (all_lanes(0.0) - g);",
            "        w = where(w > low, w, low);", "        g = where(w < high, w, high);", "    }",
            "    REAL *const changed = (row->updates ? row->weight : row->C) + k;",
            "    if (k + LANES > row->n) {    /* those of the row that comes next stay as they are */",
            "        const lane_order own = (lane_order){0, 1, 2, 3, 4, 5, 6, 7} < row->n - k;",
            "        g = where(own, g, load_lanes(changed, LANES));",
            "        b = where(own, b, load_lanes(row->Y + k, LANES));",
            "        if (other)", "            o = where(own, o, load_lanes(row->X + k, LANES));",
            *(f"        x[{c}] = where(own, x[{c}], load_lanes(row->trace + {c} * row->stride + k, LANES));"
              for c in reached), "    }",
            "    store_lanes(changed, g, LANES);", "    store_lanes(row->Y + k, b, LANES);", *stores,
            "    if (other)", "        store_lanes(row->X + k, o, LANES);", "}", "",
            f"static {self.inlined} void NAME(eights_{port})(const int enters, const int other, const int single,",
            f"    {arguments})", "{",
            "    const uint32_t *const target = row->target;", "    NAME(Found) found;",
            "    if (single && steps->shared)",
            "        NAME(find_constants)(steps, (Targets8){target, 0}, &found);",
            "    for (int64_t k = 0; row->nodes_ahead && k + LANES <= row->n && k < row->nodes_ahead; k += LANES) {",
            f"        if (before) NAME(fetch_{port})(before, target + k);",
            f"        if (after) NAME(fetch_{port})(after, target + k);", "    }",
            "    for (int64_t k = 0; k < row->n; k += LANES) {",
            "        if (row->nodes_ahead && k + row->nodes_ahead + LANES <= row->n) {",
            f"            if (before) NAME(fetch_{port})(before, target + k + row->nodes_ahead);",
            f"            if (after) NAME(fetch_{port})(after, target + k + row->nodes_ahead);",
            "        }",
            "        if (single == 2 && k + RECORDS_AHEAD + LANES <= row->n)",
            "            for (int64_t i = 0; i < steps->n; i++)", "                for (int j = 0; j < LANES; j++)",
            "                    __builtin_prefetch(steps->record + i * steps->record_stride",
            "                                       + steps->record_width * (int64_t)target[k + RECORDS_AHEAD + j]);",
            "        if (row->row_ahead) {",
            "            __builtin_prefetch(target + k + row->row_ahead);",
            "            __builtin_prefetch(row->Y + k + row->row_ahead);", *ahead,
            "            if (other)", "                __builtin_prefetch(row->X + k + row->row_ahead);",
            "            if (row->owes || !row->updates)",
            "                __builtin_prefetch(row->C + k + row->row_ahead);",
            "            if (row->updates)", "                __builtin_prefetch(row->weight + k + row->row_ahead);",
            "        }",
            f"        NAME(eight_{port})(enters, other, single, row, before, steps, after, entering, k, &found);",
            "        if (row->arriving && k + LANES <= row->n)", "            for (int i = 0; i < LANES; i++)",
            "                row->arriving[target[k + i]] += row->weight[k + i];",
            "        else if (row->arriving)", "            for (int64_t i = k; i < row->n; i++)",
            "                row->arriving[target[i]] += row->weight[i];",
            "    }", "}", "",
            *(line for enters, other, single in kinds for line in (
                f"static __attribute__((noinline)) void NAME(eights_{port}_{enters}{other}{single})(",
                f"    {arguments}, int64_t n)", "{",
                "    NEURON_ROW of = *row;    /* nothing that is written can be in these copies */",
                "    NEURON_STRETCH first, second;", "    of.n = n;", "    if (before) first = *before;",
                "    if (after) second = *after;",
                *(["    if (before && after) second.width = first.width;    /* one array */"] * (not enters)),
                f"    NAME(eights_{port})({enters}, {other}, {single}, &of,",
                "        before ? &first : NULL, steps, after ? &second : NULL, entering);", "}", "",
            )),
            f"static void NAME(through_{port})({arguments})", "{",
            f"    static void (*const kinds[])({_types(arguments)}, int64_t) = {{",
            f"        {', '.join(f'NAME(eights_{port}_{enters}{other}{single})' for enters, other, single in kinds)},",
            "    };",
            f"    void (*const eights)({_types(arguments)}, int64_t) =",
            "        kinds[(entering != 0.0 ? 6 : 0) + (row->X ? 3 : 0) + (steps ? "
            f"{'steps->record' if self.n_recorded else 'steps->record && steps->n == 0'} ? 2 : 1 : 0)];",
            "    const int64_t rest = row->n + LANES > row->readable ? row->n % LANES : 0, full = row->n - rest;",
            "    eights(row, before, steps, after, entering, full);",
            "    if (rest > 0) {    /* the last ones of all rows, filled up with copies of the first of them */",
            "        uint32_t last[LANES];",
            f"        REAL left[{self.size + 4}][LANES];",
            "        for (int64_t i = 0; i < LANES; i++) {",
            "            const int64_t k = full + (i < rest ? i : 0);",
            "            last[i] = row->target[k];",
            *(f"            left[{c}][i] = row->trace[{c} * row->stride + k];" for c in reached),
            f"            left[{y}][i] = row->Y[k], left[{y + 1}][i] = row->X ? row->X[k] : ZERO;",
            f"            left[{y + 2}][i] = row->owes ? row->C[k] : ZERO, left[{y + 3}][i] = row->weight[k];",
            "        }",
            "        NEURON_ROW some = *row;", "        some.target = last, some.trace = left[0], some.stride = LANES;",
            f"        some.Y = left[{y}], some.X = row->X ? left[{y + 1}] : NULL;",
            f"        some.C = left[{y + 2}], some.weight = left[{y + 3}];",
            "        some.arriving = NULL, some.nodes_ahead = some.row_ahead = 0;",
            "        eights(&some, before, steps, after, entering, LANES);",
            "        for (int64_t i = 0; i < rest; i++) {",
            *(f"            row->trace[{c} * row->stride + full + i] = left[{c}][i];" for c in reached),
            f"            row->Y[full + i] = left[{y}][i];",
            f"            if (row->X) row->X[full + i] = left[{y + 1}][i];",
            f"            if (row->updates) row->weight[full + i] = left[{y + 3}][i];",
            f"            else row->C[full + i] = left[{y + 2}][i];",
            "            if (row->arriving) row->arriving[last[i]] += row->weight[full + i];",
            "        }", "    }", "}", "",
        ])  # fmt: skip

    def _through(self) -> str:
        cases = [
            f"    case {port}: NAME(through_{port})(row, before, steps, after, entering); break;" for port in self.ports
        ]
        return "\n".join([
            "static void NAME(go_through)(int64_t port, const NEURON_ROW *row, const NEURON_STRETCH *before,",
            "                             const NEURON_STEPS *steps, const NEURON_STRETCH *after, double entering)",
            "{", "    switch (port) {", *cases, "    }", "}", "",
        ])  # fmt: skip


def entry(port: int) -> str:
    """Return the column of spikes that enter at a port."""
    return f"E{port}"


def takes_long(tree: Tree, moving: set[str]) -> bool:
    """Return whether a derivative that moves takes so long to compute that it is kept."""
    return any(node[0] in LONG and names_of(node) & moving for node in walk(tree))


def _without_unused(loop: Loop) -> dict[str, list[int]]:
    """Remove statements that nothing reads, and columns; return those that are read."""
    live, lines = "", []
    for line in reversed(loop.lines):
        if line.startswith(f"const {loop.kind} ") and not re.search(rf"\b{line.split()[2]}\b", live):
            continue
        lines.append(line)
        live += " " + line.split("=", 1)[1]
    loop.lines = lines[::-1]
    loop.used = {c: None for c in loop.used if re.search(rf"\bc{c}\b", live)}
    numbers = {name: sorted({int(k) for k in re.findall(rf"\b{name}\[(\d+)\]", live)}) for name in ("before", "kept")}
    return numbers | {"constant": list(loop.used)}


def _types(arguments: str) -> str:
    """Return arguments without their names."""
    items = arguments.split(", ")
    return ", ".join(item[: item.index("*") + 1] if "*" in item else item.split()[0] for item in items)


def _names(arguments: str) -> str:
    """Return the names of arguments."""
    return ", ".join(item.split()[-1].lstrip("*") for item in arguments.split(", "))


def _sum(terms: Iterable[str]) -> str:
    return " + ".join(terms)


def _in_first_half(places: Iterable[int], line: int) -> bool:
    """Return whether the numbers of a line of eight stand in its first half."""
    return all(place % 8 < 4 for place in places if place // 8 == line)


def _count(n: int) -> int:
    """Return lines of eight numbers."""
    return -(-n // 8)
