"""C of what rows of synapses make of stretches of steps and of single steps (spike variant).

A row goes through a stretch of each of its targets, or two, and through single steps between: their numbers come one by
one from columns of neurons, or beside each other from records of the block's steps, where these are made. Each case is
compiled apart: whether spikes enter, whether there is a trace beside ebar, how single steps are read.
"""

from __future__ import annotations

from .expressions import is_kept
from .language import Tree, names_of
from .stretches import EBAR, Stretches, entry, in_first_half, lines_of, sum_of

RECORDS_AHEAD = 32  # synapses to the one whose target's records are fetched
FEW = 2  # numbers of a line that are read one by one
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


class StretchRows(Stretches):
    """All functions of `neuron_model.h` on stretches, with those of rows."""

    def text(self) -> str:
        """Return them."""
        return "\n".join([
            self.of_neurons(), f"enum {{ RECORDS_AHEAD = {RECORDS_AHEAD} }};", _CREDIT, self._find(),
            *map(self._through_port, self.ports), self._through(), f"""
static const NEURON_STRETCHES NAME(stretches) = {{
    NEURON_MODEL_VERSION, sizeof(REAL),
    {len(self.slots)}, {len(self.others)}, {self.n - self.first_entry}, {len(self.derived)}, {self.n_recorded},
    NAME(begin), NAME(append), NAME(prepend), NAME(compose), NAME(go_through),
}};

VISIBLE const NEURON_STRETCHES *NAME(neuron_stretches)(void) {{ return &NAME(stretches); }}
""",
        ])  # fmt: skip

    def _find(self) -> str:
        """What single steps of synapses read once."""
        return "\n".join([
            "static ALWAYS_INLINE void NAME(find_constants)(const NEURON_STEPS *of, LaneTargets some,",
            "    NAME(Found) *found)", "{", "    (void)of; (void)some; (void)found;",
            *(f"    found->constant[{k}] = {self._constant(k)};" for k in self.reads["constant"]), "}", "",
            "static ALWAYS_INLINE void NAME(find_before)(const NEURON_STEPS *of, LaneTargets some, NAME(Found) *found)",
            "{", "    (void)of; (void)some; (void)found;",
            *(f"    found->before[{k}] = gather_lanes(of->step->before + {k} * of->n_neurons, some);"
              for k in self.reads["before"]),
            "}", "",
        ])  # fmt: skip

    @staticmethod
    def _constant(k: int) -> str:
        """A column of the constants of targets."""
        return f"NAME(constants_of)(of->constant + {k} * of->n_neurons, of->shared, some)"

    def _step_of_port(self, port: int) -> str:
        """Synapses onto one port go through a single step."""
        reached, E = self.reached[port], entry(port)

        def row(kind: str, r: int | str) -> str:
            terms = []
            for (name, key, c), place in self.step.items():
                if name == kind and key == r and c in reached:
                    terms.append(f"m[{place}] * x_{c}")
            return sum_of(terms) or "all_lanes(0.0)"

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
            "    const NEURON_STEP *s, LaneTargets some, NAME(Found) *at, lanes *x, lanes *b, lanes *o, lanes *g)", "{",
            "    if (s->L)", "        NAME(credit)(other, of, s, gather_lanes(s->L, some),",
            "            other ? gather_lanes(s->F, some) : all_lanes(0.0), b, o, g);",
            "    if (!s->psi)", "        return;",
            *(f"    at->kept[{k}] = gather_lanes(s->kept + {k} * of->n_neurons, some);" for k in self.needed),
            *(f"    at->derived[{k}] = gather_lanes(s->derived + {k} * of->n_neurons, some);"
              for k in range(len(self.derived))),
            f"    NAME(move_{port})(other, of, s, gather_lanes(s->psi, some), at, x, b, o);", "}", "",
            f"static {self.inlined} void NAME(follow_{port})(const int other, const NEURON_STEPS *of,",
            "    const NEURON_STEP *s, const double *record, LaneTargets some, NAME(Found) *at, lanes *x, lanes *b,",
            "    lanes *o, lanes *g)", "{",
            "    lanes line[8];", "    read_targets(record, of->record_width, some, line);",
            *(f"    at->{name} = line[{k}];" for k, name in enumerate(self.recorded)),
            f"    NAME(credit)(other, of, s, line[{n + 1}], line[{n + 2}], b, o, g);",
            f"    NAME(move_{port})(other, of, s, line[{n}], at, x, b, o);", "}", "",
            f"static __attribute__((noinline)) void NAME(decay_{port})(const int other, const NEURON_STEPS *of,",
            "    LaneTargets some, lanes *x, lanes *b, lanes *o)", "{", *self._decay(port),
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
            if not is_kept(by, k):
                lines.append(f"    x[{k}] = all_lanes(0.0);")
                continue
            lines += ["    {", f"        const lanes own = {constant(by.J[k, k])};"]
            lines.append(f"        x[{k}] = power_lanes(own, of->n_decay) * x[{k}];")
            if k in by.v and model.n in self.reached[port] and by.moving.isdisjoint(names_of(by.v[k])):
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
        rows = {r: sum_of(terms("P", r)) or "all_lanes(0.0)" for r in reached}
        entering = {r: of("P", r, E) for r in reached} | {kind: of(kind, E) for kind in "BGX"}
        read, fetched = [], []
        for (enters, other), places in used.items():
            head = f"if ({' && '.join(['enters'] * enters + ['other'] * other)}) " if enters or other else ""
            for k in sorted({place // 8 for place in places}):
                some = sorted(place for place in places if place // 8 == k)
                if len(some) <= FEW:
                    read += [f"    {head}p[{i}] = read_one({self._at(i)}, at->width, some);" for i in some]
                    continue
                into = f"p + {8 * k}" if not head else "q"
                read_line = "read_first_fours" if in_first_half(some, k) else "read_targets"
                lines = [f"{read_line}({self._at(8 * k)}, at->width, some, {into});"]
                lines += [f"p[{i}] = q[{i - 8 * k}];" for i in some] if head else []
                read.append(f"    {head}{{ lanes q[8]; {' '.join(lines)} }}" if head else f"    {lines[0]}")
                if not head:
                    fetched.append(
                        f"        __builtin_prefetch(at->number + at->width * (int64_t)target[i] + {8 * k});"
                    )
        if self.apart:
            read.append("    const lanes apart = gather_doubles(at->apart, some);")
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
            "    const NEURON_STRETCH *at, LaneTargets some, lanes *x, lanes *b, lanes *o, lanes *g)", "{",
            f"    lanes p[{8 * lines_of(self.n)}];", *read,
            *(f"    const lanes x_{c} = x[{c}];" for c in reached),
            f"    *g -= {sum_of(G)};", "    if (other) {", f"        *g -= {g_X} * *o;", f"        *o = {sum_of(X)};",
            f"        if (enters) *o += entering * {entering['X']};", "    }",
            f"    *b = {sum_of(B)};", *(f"    x[{r}] = {text};" for r, text in rows.items()),
            "    if (enters) {", f"        *g -= entering * {entering['G']};",
            f"        *b += entering * {entering['B']};",
            *(f"        x[{r}] += entering * {entering[r]};" for r in reached), "    }", "}", "",
            f"static ALWAYS_INLINE void NAME(fetch_{port})(const NEURON_STRETCH *at, const uint32_t *target)", "{",
            "    for (int64_t i = 0; i < LANES; i++) {", *fetched, "    }", "}", "",
            f"static ALWAYS_INLINE void NAME(chunk_{port})(const int enters, const int other, const int single,",
            f"    {arguments}, int64_t k, NAME(Found) *found)", "{",
            "    const LaneTargets some = {row->target + k, 0};",
            f"    lanes x[{self.size}], b = load_lanes(row->Y + k, LANES), o = all_lanes(0.0), g = o;", *loads,
            "    if (row->owes)", "        g = load_lanes(row->C + k, LANES);",
            "    if (other)", "        o = load_lanes(row->X + k, LANES);",
            "    if (before)", f"        NAME(apply_{port})(0, other, 0.0, before, some, x, &b, &o, &g);",
            "    if (single && steps->n > 0) {", "        if (!steps->shared)",
            "            NAME(find_constants)(steps, some, found);",
            "        NAME(find_before)(steps, some, found);", "    }",
            "    if (single == 1) {", "        if (steps->n_decay > 0)",
            f"            NAME(decay_{port})(other, steps, some, x, &b, &o);",
            "        for (int64_t i = 0; i < steps->n; i++)",
            f"            NAME(step_{port})(other, steps, steps->step + i, some, found, x, &b, &o, &g);", "    }",
            *([] if not self.n_recorded else ["    if (single == 2)", "        for (int64_t i = 0; i < steps->n; i++)",
            f"            NAME(follow_{port})(other, steps, steps->step + i,",
            "                steps->record + i * steps->record_stride, some, found, x, &b, &o, &g);"]),
            "    if (enters)", f"        NAME(apply_{port})(1, other, entering, after, some, x, &b, &o, &g);",
            "    else if (after)", f"        NAME(apply_{port})(0, other, 0.0, after, some, x, &b, &o, &g);",
            "    if (single && steps->n_last > 0) {", "        const NEURON_STEP *const last = steps->step + steps->n;",
            "        NAME(credit)(other, steps, last, gather_lanes(last->L, some),",
            "            other ? gather_lanes(last->F, some) : all_lanes(0.0), &b, &o, &g);", "    }",
            "    if (row->updates) {    /* 0 - g, so that a gradient of 0 keeps the sign of a weight of -0 */",
            "        const lanes low = all_lanes(row->low), high = all_lanes(row->high);",
            "        lanes w = load_lanes(row->weight + k, LANES) - row->eta * (all_lanes(0.0) - g);",
            "        w = where(w > low, w, low);", "        g = where(w < high, w, high);", "    }",
            "    REAL *const changed = (row->updates ? row->weight : row->C) + k;",
            "    if (k + LANES > row->n) {    /* those of the row that comes next stay as they are */",
            "        const lane_order own = first_lanes(row->n - k);",
            "        g = where(own, g, load_lanes(changed, LANES));",
            "        b = where(own, b, load_lanes(row->Y + k, LANES));",
            "        if (other)", "            o = where(own, o, load_lanes(row->X + k, LANES));",
            *(f"        x[{c}] = where(own, x[{c}], load_lanes(row->trace + {c} * row->stride + k, LANES));"
              for c in reached), "    }",
            "    store_lanes(changed, g, LANES);", "    store_lanes(row->Y + k, b, LANES);", *stores,
            "    if (other)", "        store_lanes(row->X + k, o, LANES);", "}", "",
            f"static {self.inlined} void NAME(row_{port})(const int enters, const int other, const int single,",
            f"    {arguments})", "{",
            "    const uint32_t *const target = row->target;", "    NAME(Found) found;",
            "    if (single && steps->shared)",
            "        NAME(find_constants)(steps, (LaneTargets){target, 0}, &found);",
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
            f"        NAME(chunk_{port})(enters, other, single, row, before, steps, after, entering, k, &found);",
            "        if (row->arriving && k + LANES <= row->n)", "            for (int i = 0; i < LANES; i++)",
            "                row->arriving[target[k + i]] += row->weight[k + i];",
            "        else if (row->arriving)", "            for (int64_t i = k; i < row->n; i++)",
            "                row->arriving[target[i]] += row->weight[i];",
            "    }", "}", "",
            *(line for enters, other, single in kinds for line in (
                f"static __attribute__((noinline)) void NAME(row_{port}_{enters}{other}{single})(",
                f"    {arguments}, int64_t n)", "{",
                "    NEURON_ROW of = *row;    /* nothing that is written can be in these copies */",
                "    NEURON_STRETCH first, second;", "    of.n = n;", "    if (before) first = *before;",
                "    if (after) second = *after;",
                *(["    if (before && after) second.width = first.width;    /* one array */"] * (not enters)),
                f"    NAME(row_{port})({enters}, {other}, {single}, &of,",
                "        before ? &first : NULL, steps, after ? &second : NULL, entering);", "}", "",
            )),
            f"static void NAME(through_{port})({arguments})", "{",
            f"    static void (*const kinds[])({_types(arguments)}, int64_t) = {{",
            f"        {', '.join(f'NAME(row_{port}_{enters}{other}{single})' for enters, other, single in kinds)},",
            "    };",
            f"    void (*const work_row)({_types(arguments)}, int64_t) =",
            "        kinds[(entering != 0.0 ? 6 : 0) + (row->X ? 3 : 0) + (steps ? "
            f"{'steps->record' if self.n_recorded else 'steps->record && steps->n == 0'} ? 2 : 1 : 0)];",
            "    const int64_t rest = row->n + LANES > row->readable ? row->n % LANES : 0, full = row->n - rest;",
            "    work_row(row, before, steps, after, entering, full);",
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
            "        work_row(&some, before, steps, after, entering, LANES);",
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


def _types(arguments: str) -> str:
    """Return arguments without their names."""
    items = arguments.split(", ")
    return ", ".join(item[: item.index("*") + 1] if "*" in item else item.split()[0] for item in items)
