"""C of what stretches of steps make of the traces of a model's synapses (spike variant).

Between entries of spikes the traces x of a synapse (eps, and e of the step before where it is read) change linearly, by
numbers of the target and the step alone: x = M x, e = w x, the trace beside ebar as in `neuron_model.h`. A stretch of
steps is the product of its steps: for each column c of x

    P[r, c] : what x_c before it adds to x_r after it        B[c], X[c] : to ebar, to the trace beside it
    G[c]    : to the gradient                                "B", "X" in place of c: what those two add

A spike that enters at port p in the first step of a stretch is one more column, "E" + p; it is kept where rows are
closed, from a step to the end of its block.

Only numbers that are not 0 for any product of steps are kept, column by column, in lines of eight (`lanes.h`): a
synapse onto a port reads the columns of the traces that an arrival there can reach.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .expressions import Derived
from .language import Tree

CHUNK = 32  # neurons whose steps are computed together
MOST_INLINED = 4  # traces; what more of them do is too long to be compiled for each case
FEW = 2  # numbers of a line that are read one by one
Key = tuple[str, int | str, int | str]


class Stretches:
    """The functions of `neuron_model.h` on stretches.

    Parameters
    ----------
    model : Derived
        The model, its derivatives, and how expressions become C.

    Attributes
    ----------
    numbers, others : list of tuple
        What a stretch keeps, by place; `others` where there is a trace beside ebar.
    n : int
        Numbers with those of spikes that enter, which only rows that are closed read.
    """

    def __init__(self, model: Derived) -> None:
        self.model, by = model, model.by
        self.size = model.n + bool(by.v)
        self.map, self.step = self._step()
        followed = {(i, i) for i in range(self.size)}
        followed |= {(r, c) for kind, r, c in self.step if kind == "M" and isinstance(r, int) and isinstance(c, int)}
        while more := {(r, c) for r, k in followed for q, c in followed if k == q} - followed:
            followed |= more
        seen = {c for kind, _, c in self.step if kind == "w" and isinstance(c, int)}
        self.seen = {c for r, c in followed if r in seen}
        self.numbers: list[Key] = [("G", "", "B")]
        self.others: list[Key] = [("G", "", "X"), ("X", "", "B")]
        for c in range(self.size):
            self.numbers += [("P", r, c) for r in range(self.size) if (r, c) in followed]
            if c in self.seen:
                self.numbers += [("B", "", c), ("G", "", c)]
                self.others += [("X", "", c)]
        ports = range(len(model.ports))
        self.reached = [self._reached(port, followed) for port in ports]
        self.place = {key: place for place, key in enumerate([*self.numbers, *self.others])}
        self.n = len(self.place)
        for port in ports:
            keys: list[Key] = [("P", r, entry(port)) for r in self.reached[port]]
            keys += [(kind, "", entry(port)) for kind in "BGX"]
            if self.n % 8 + len(keys) > 8:  # those of a port share a line
                self.n = 8 * _count(self.n)
            self.place |= {key: self.n + place for place, key in enumerate(keys)}
            self.n += len(keys)

    def text(self) -> str:
        """Return all functions."""
        return "\n".join([
            self.map, self._begin(), self._extended("append", self._append()),
            self._extended("prepend", self._prepend()), self._compose(),
            *map(self._through_port, range(len(self.reached))), self._through(), f"""
static const NEURON_STRETCHES NAME(stretches) = {{
    NEURON_MODEL_VERSION, sizeof(REAL), {len(self.numbers)}, {len(self.others)}, {self.n_entries},
    NAME(begin), NAME(append), NAME(prepend), NAME(compose), NAME(go_through),
}};

VISIBLE const NEURON_STRETCHES *NAME(neuron_stretches)(void) {{ return &NAME(stretches); }}
""",
        ])  # fmt: skip

    @property
    def n_entries(self) -> int:
        """Places of what enters, those between lines among them."""
        return self.n - len(self.numbers) - len(self.others)

    def _reached(self, port: int, followed: set[tuple[int, int]]) -> list[int]:
        """Return the columns of the traces that an arrival at a port can make other than 0."""
        new = {r for kind, r, c in self.step if kind == "M" and c == entry(port)}
        return sorted({r for r, c in followed if c in new})

    # ---- a step ------------------------------------------------------------------------------------------------------

    def _step(self) -> tuple[str, dict[Key, int]]:
        """Return C that writes M and w of a step in columns, and the numbers of these; an e that is read is a row."""
        model, by = self.model, self.model.by
        n = model.n
        loop, pointers = model.derivative_names()
        found: dict[Key, str] = {}
        columns_of: dict[int | str, dict[int, Tree]] = {c: model.by_column(by.J, c) for c in range(n)}
        columns_of |= {n: by.v} if by.v else {}
        columns_of |= {entry(port): model.by_column(by.U, port) for port in range(len(model.ports))}
        for c, column in columns_of.items():
            new = {i: loop.literal(tree) for i, tree in column.items()}
            e, after = model.end_step(loop, new)
            found |= {("M", i, c): value for i, value in after.items()}
            if e:
                found["w", "", c] = e
        columns: dict[Key, int] = {}
        for key, value in found.items():
            columns[key] = len(columns)
            loop.lines.append(f"map[{columns[key]} * {CHUNK} + j] = {value};")
        if by.v:
            columns |= {("M", n, c): place for (kind, _, c), place in columns.items() if kind == "w"}
        text = model.function(
            "void NAME(map)", "int64_t n, int64_t stride, const REAL *constant, const REAL *before, const REAL *kept, "
            "const REAL *restrict psi, REAL *restrict map", pointers, loop,
            ["(void)before; (void)kept; (void)constant; (void)stride; (void)psi;"],
        )  # fmt: skip
        return text, columns

    def _begin(self) -> str:
        lines = [f"        number[{self.place['P', c, c]}] = 1.0;" for c in range(self.size)]
        return "\n".join([
            "static void NAME(begin)(int64_t n, double *number, int64_t width)", "{",
            "    for (int64_t j = 0; j < n; j++, number += width) {", "        for (int64_t i = 0; i < width; i++)",
            "            number[i] = 0.0;", *lines, "    }", "}", "",
        ])  # fmt: skip

    # ---- products ----------------------------------------------------------------------------------------------------

    def _of(self, array: str, *key: int | str) -> str:
        """Return the place of a number in C, "" if it is 0."""
        kind, *rest = key
        row, column = (rest[0], rest[1]) if len(rest) == 2 else ("", rest[0])
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
        for c in range(self.size):
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
        for c in (*range(self.size), *map(entry, range(len(self.reached)))):
            column = {int(r): place for (kind, r, k), place in self.step.items() if kind == "M" and k == c}
            w = self.step.get(("w", "", c))
            for key in [key for key in self.place if key[2] == c]:
                kind, row, _ = key
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
            "int64_t n, int64_t stride, const REAL *constant, const REAL *before, const REAL *kept, const REAL *psi, "
            "const NEURON_SIGNALS *signals, double kappa_power, double keep_power, double *number, int64_t width"
        )
        size = len(set(self.step.values()))
        return "\n".join([
            f"static void NAME({name})({arguments})", "{", "    const int64_t other = signals->other;",
            f"    REAL map[{max(size, 1)} * {CHUNK}] = {{ZERO}};",
            "    const double kappa = signals->kappa, keep = signals->keep, share = signals->share;",
            "    const double f = other == REGULARIZED ? share : 0.0;",
            "    const lanes zero = all_lanes(0.0);",
            f"    for (int64_t first = 0; first < n; first += {CHUNK}) {{",
            f"        const int64_t several = n - first < {CHUNK} ? n - first : {CHUNK};",
            "        NAME(map)(several, stride, constant + first, before + first, kept + first, psi + first, map);",
            "        for (int64_t i = 0; i < several; i += LANES) {",
            "            const int64_t count = several - i < LANES ? several - i : LANES;",
            "            double *const at = number + width * (first + i);",
            "            lanes a = load_lanes(signals->L + first + i, count), c = zero, d = zero;",
            "            if (other) {",
            "                const lanes F = load_lanes(signals->F + first + i, count);",
            "                c = F;",
            "                if (other == REWARDED)",
            "                    d = a, a = share * F, c = all_lanes(signals->delta);",
            "            }",
            "            (void)d; (void)f; (void)keep;",
            f"            lanes m[{max(size, 1)}];",
            f"            for (int k = 0; k < {size}; k++)",
            f"                m[k] = load_lanes(map + k * {CHUNK} + i, LANES);",
            *self._lines("            ", "p", "at", "read_neighbours({}, width, count, {});"),
            *(f"            {line}" for line in body),
            *self._lines(
                "            ", "p", "at", "write_neighbours({}, width, count, {});", False, name == "prepend"
            ),
            "        }", "    }", "}", "",
        ])  # fmt: skip

    def _lines(
        self, indent: str, array: str, at: str, call: str, declares: bool = True, entries: bool = False
    ) -> list[str]:
        """Read or write all numbers of eight neurons."""
        without, with_ = _count(len(self.numbers)), _count(len(self.numbers) + len(self.others))
        every = _count(self.n)
        head = [f"{indent}lanes {array}[{8 * every}];"] if declares else []
        return [
            *head, f"{indent}for (int k = 0; k < ({every if entries else f'other ? {with_} : {without}'}); k++)",
            f"{indent}    {call.format(f'{at} + 8 * k', f'{array} + 8 * k')}",
        ]  # fmt: skip

    def _compose(self) -> str:
        """A stretch, then the next."""
        lines, new = [], []
        p_B, p_X, p_XB = self._of("p", "G", "B"), self._of("p", "G", "X"), self._of("p", "X", "B")
        s_B, s_X, s_XB = self._of("s", "G", "B"), self._of("s", "G", "X"), self._of("s", "X", "B")
        for c in range(self.size):
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
        return "\n".join([
            "static void NAME(compose)(int64_t n, double kappa_power, double next_kappa, double keep_power,",
            "                          double next_keep, int64_t other, const double *next, double *number,",
            "                          int64_t width)", "{", "    const lanes zero = all_lanes(0.0);",
            "    (void)zero;", "    for (int64_t j = 0; j < n; j += LANES) {",
            "        const int64_t count = n - j < LANES ? n - j : LANES;",
            *self._lines("        ", "p", "number + width * j", "read_neighbours({}, width, count, {});"),
            *self._lines("        ", "s", "next + width * j", "read_neighbours({}, width, count, {});"),
            *(f"        {line}" for line in lines), f"        {p_B} += {s_B} * kappa_power;",
            f"        if (other) {{ {more} }}", *(f"        {line}" for line in new),
            *self._lines("        ", "p", "number + width * j", "write_neighbours({}, width, count, {});", False),
            "    }", "}", "",
        ])  # fmt: skip

    # ---- synapses ----------------------------------------------------------------------------------------------------

    def _through_port(self, port: int) -> str:
        """Synapses onto one port go through a stretch; with `enters`, spikes enter in its first step."""
        reached, E = self.reached[port], entry(port)
        used: dict[tuple[bool, bool], dict[int, set[int]]] = {(e, o): {} for e in (False, True) for o in (False, True)}

        def of(*key: int | str) -> str:
            if text := self._of("p", *key):
                place = int(text[2:-1])
                used[key[-1] == E, "X" in key].setdefault(place // 8, set()).add(place)
            return text

        def terms(*key: int | str) -> list[str]:
            return [f"{value} * x_{c}" for c in reached if (value := of(*key, c))]

        G, B, X = [*terms("G"), f"{of('G', 'B')} * *b"], [*terms("B"), "at->kappa * *b"], terms("X")
        X += [f"{of('X', 'B')} * *b", "at->keep * *o"]
        g_X = of("G", "X")
        rows = {r: _sum(terms("P", r)) or "all_lanes(0.0)" for r in reached}
        entering = {r: of("P", r, E) for r in reached} | {kind: of(kind, E) for kind in "BGX"}
        read, fetched = [], []
        for k in sorted(set().union(*used.values())):
            needed = [" && ".join(["enters"] * e + ["other"] * o) for (e, o), lines in used.items() if k in lines]
            head = f"if ({' || '.join(needed)}) " if "" not in needed else ""
            places = sorted({place for lines in used.values() for place in lines.get(k, ())})
            if len(places) <= FEW:
                read += [f"    {head}p[{i}] = read_one(at->number + {i}, at->width, eight);" for i in places]
            else:
                read.append(f"    {head}read_targets(at->number + {8 * k}, at->width, eight, p + {8 * k});")
            if not head:
                fetched.append(f"        __builtin_prefetch(at->number + at->width * (int64_t)target[i] + {8 * k});")
        loads = [f"        x[{c}] = load_lanes(trace + {c} * stride + k, LANES);" for c in reached]
        stores = [f"        store_lanes(trace + {c} * stride + k, x[{c}], LANES);" for c in reached]
        arguments = (
            "int64_t n, const uint32_t *target, const NEURON_STRETCH *before, const NEURON_STRETCH *after, "
            "double entering, int64_t ahead, REAL *trace, int64_t stride, REAL *Y, REAL *X, REAL *C"
        )
        passed = "n, target, before, after, entering, ahead, trace, stride, Y, X, C"
        y = self.size
        inlined = "ALWAYS_INLINE" if self.size <= MOST_INLINED else "__attribute__((noinline))"
        return "\n".join([
            f"static {inlined} void NAME(apply_{port})(const int enters, const int other, double entering,",
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
            f"static ALWAYS_INLINE void NAME(through_body_{port})(const int enters, {arguments})", "{",
            "    const int other = X != NULL;",
            "    for (int64_t k = 0; k < n; k += LANES) {",
            "        const Targets8 eight = {target + k, 0};",
            "        if (ahead && k + ahead + LANES <= n) {",
            f"            if (before) NAME(fetch_{port})(before, target + k + ahead);",
            f"            if (after) NAME(fetch_{port})(after, target + k + ahead);",
            "        }",
            f"        lanes x[{self.size}], b = load_lanes(Y + k, LANES), g = load_lanes(C + k, LANES);",
            "        lanes o = all_lanes(0.0);", *loads,
            "        if (other) o = load_lanes(X + k, LANES);",
            "        for (int s = before ? 0 : 1; s < (after && !enters ? 2 : 1); s++)",
            f"            NAME(apply_{port})(0, other, 0.0, s ? after : before, eight, x, &b, &o, &g);",
            f"        if (enters) NAME(apply_{port})(1, other, entering, after, eight, x, &b, &o, &g);",
            "        if (other) store_lanes(X + k, o, LANES);",
            "        store_lanes(C + k, g, LANES);", "        store_lanes(Y + k, b, LANES);", *stores,
            "    }", "}", "",
            *(line for enters in (0, 1) for line in (
                f"static __attribute__((noinline)) void NAME(eights_{port}_{enters})({arguments})", "{",
                f"    NAME(through_body_{port})({enters}, {passed});", "}", "",
            )),
            f"static void NAME(through_{port})({arguments})", "{",
            f"    void (*const eights)({_types(arguments)}) =",
            f"        entering != 0.0 ? NAME(eights_{port}_1) : NAME(eights_{port}_0);",
            "    const int64_t full = n - n % LANES, rest = n - full;",
            f"    eights({passed.replace('n, ', 'full, ', 1)});",
            "    if (rest > 0) {    /* the last ones, filled up with copies of the first of them */",
            "        uint32_t last[LANES];",
            f"        REAL left[{self.size + 3}][LANES];",
            "        for (int64_t i = 0; i < LANES; i++) {",
            "            const int64_t k = full + (i < rest ? i : 0);",
            "            last[i] = target[k];",
            *(f"            left[{c}][i] = trace[{c} * stride + k];" for c in reached),
            f"            left[{y}][i] = Y[k], left[{y + 1}][i] = X ? X[k] : ZERO, left[{y + 2}][i] = C[k];",
            "        }",
            "        eights(LANES, last, before, after, entering, 0, left[0], LANES,",
            f"               left[{y}], X ? left[{y + 1}] : NULL, left[{y + 2}]);",
            "        for (int64_t i = 0; i < rest; i++) {",
            *(f"            trace[{c} * stride + full + i] = left[{c}][i];" for c in reached),
            f"            Y[full + i] = left[{y}][i], C[full + i] = left[{y + 2}][i];",
            f"            if (X) X[full + i] = left[{y + 1}][i];",
            "        }", "    }", "}", "",
        ])  # fmt: skip

    def _through(self) -> str:
        call = "(n, target, before, after, entering, ahead, trace, trace_stride, Y, X, C)"
        cases = [f"    case {port}: NAME(through_{port}){call}; break;" for port in range(len(self.reached))]
        return "\n".join([
            "static void NAME(go_through)(int64_t n, int64_t port, const uint32_t *target,",
            "                             const NEURON_STRETCH *before, const NEURON_STRETCH *after, double entering,",
            "                             int64_t ahead, REAL *trace, int64_t trace_stride, REAL *Y, REAL *X, REAL *C)",
            "{", "    switch (port) {", *cases, "    }", "}", "",
        ])  # fmt: skip


def entry(port: int) -> str:
    """Return the column of spikes that enter at a port."""
    return f"E{port}"


def _types(arguments: str) -> str:
    """Return arguments without their names."""
    items = arguments.split(", ")
    return ", ".join(item[: item.index("*") + 1] if "*" in item else item.split()[0] for item in items)


def _sum(terms: Iterable[str]) -> str:
    return " + ".join(terms)


def _count(n: int) -> int:
    """Return lines of eight numbers."""
    return -(-n // 8)
