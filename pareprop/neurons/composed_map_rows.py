"""Write the C by which rows of synapses apply composed maps of steps, and single steps (spike variant).

A row applies one or two composed maps of each of its targets, and single steps in between. It reads numbers of single
steps one by one from columns of neurons, or next to each other from the records of the block's steps, if there are
any. Each case is compiled separately: whether spikes enter, whether a trace is the same in all synapses of the row,
whether there is a second trace in addition to ebar, how single steps are read.
"""

from __future__ import annotations

from itertools import product
from string import Template

from .composed_maps import EBAR, ComposedMaps, lines_of, name_entry, sum_of
from .expressions import outlives_cutoff
from .language import Tree, names_of

FEW = 2  # up to so many numbers of a cache line are read one by one
# C for all ports
_TYPES = """
typedef struct {
    lanes x[$size], b, o, g;    /* traces, ebar, the second trace, minus the gradient */
} NAME(Traces);

static ALWAYS_INLINE void NAME(add_gradient)(const int other, const NEURON_STEPS *of, const NEURON_STEP *s, lanes L,
    lanes F, NAME(Traces) *t)
{
    if (!other)
        t->g -= L * t->b;
    else if (of->other == REGULARIZED)
        t->g -= L * t->b + F * t->o;
    else {
        t->g -= of->share * F * t->b + s->delta * t->o;
        t->o = s->keep * t->o + L * t->b;
    }
}

static ALWAYS_INLINE void NAME(find_constants)(const NEURON_STEPS *of, LaneTargets some, NAME(Found) *found)
{
    (void)of; (void)some; (void)found;
    $constants
}

static ALWAYS_INLINE void NAME(find_before)(const NEURON_STEPS *of, LaneTargets some, NAME(Found) *found)
{
    (void)of; (void)some; (void)found;
    $before
}

/* store count lanes only: the others belong to the next row */
static ALWAYS_INLINE void NAME(store_own)(REAL *to, lanes x, int64_t count)
{
    store_lanes(to, count < LANES ? where(first_lanes(count), x, load_lanes(to, LANES)) : x, LANES);
}

static ALWAYS_INLINE void NAME(deliver)(const NEURON_ROW *row)
{
    const uint32_t *const target = row->target;
    int64_t k = 0;
    for (; k + LANES <= row->n; k += LANES)
        if (row->dense && target[k + LANES - 1] - target[k] == LANES - 1)
            *(kept_lanes *)(row->arriving + target[k]) += *(const kept_lanes *)(row->weight + k);
        else
            for (int i = 0; i < LANES; i++)
                row->arriving[target[k + i]] += row->weight[k + i];
    for (; k < row->n; k++)
        row->arriving[target[k]] += row->weight[k];
}
"""
# arguments of all functions on rows
_PARTS = "const NEURON_ROW *row, const NEURON_MAP *before, const NEURON_STEPS *steps, const NEURON_MAP *after"
# C for each port
_ROW = """
static $inlined void NAME(move_$port)(const int own, const int other, const NEURON_STEPS *of, const NEURON_STEP *s,
    lanes psi, NAME(Found) *at, NAME(Traces) *t)
{
    lanes m[$n_map], *const x = t->x;
    NAME(map)(at->constant, at->before, at->kept, psi, at->derived, m);
    $keep_before
    $old
    (void)own;
    lanes e = $e;
    $moved
    t->b = of->kappa * t->b + e;
    if (other && of->other == REGULARIZED)
        t->o = s->keep * t->o + of->share * e;
}

static $inlined void NAME(step_$port)(const int own, const int other, const NEURON_STEPS *of, const NEURON_STEP *s,
    LaneTargets some, NAME(Found) *at, NAME(Traces) *t)
{
    $enter_step
    if (s->L)
        NAME(add_gradient)(other, of, s, gather_lanes(s->L, some),
            other ? gather_lanes(s->F, some) : all_lanes(0.0), t);
    if (!s->psi)
        return;
    $found
    NAME(move_$port)(own, other, of, s, gather_lanes(s->psi, some), at, t);
}

static $inlined void NAME(decay_$port)(const int own, const int other, const NEURON_STEPS *of,
    LaneTargets some, NAME(Traces) *t)
{
    lanes *const x = t->x;
    (void)x; (void)some; (void)own;
    $decayed
    t->b *= of->kappa_decay;
    if (other)
        t->o *= of->keep_decay;
}

static $inlined void NAME(apply_$port)(const int enters, const int own, const int other, double entering,
    const NEURON_MAP *at, LaneTargets some, NAME(Traces) *t)
{
    lanes p[$n_numbers], *const x = t->x;
    const int64_t width = $width;
    (void)own; (void)enters; (void)entering;
    $read
    $old
    t->g -= $to_g;
    if (other) {
        t->g -= $x_to_g * t->o;
        t->o = $to_o;
    }
    t->b = $to_b;
    $applied
    $entered
}

static ALWAYS_INLINE void NAME(fetch_$port)(const NEURON_MAP *at, const uint32_t *target, const int other)
{
    const int64_t width = at ? $width : 0;
    (void)other;
    for (int64_t i = 0; at && i < LANES; i++) {
        $fetched
    }
}

static ALWAYS_INLINE void NAME(chunk_$port)(const int enters, const int own, const int other, const int single,
    $parts, double entering, int64_t k, LaneTargets some, NAME(Found) *found)
{
    NAME(Traces) t = {.b = load_lanes(row->Y + k, LANES), .o = other ? load_lanes(row->X + k, LANES) : all_lanes(0.0),
                      .g = row->owes ? load_lanes(row->C + k, LANES) : all_lanes(0.0)};
    const int64_t count = row->n - k < LANES ? row->n - k : LANES;
    lanes *const x = t.x;
    $load
    if (before)
        NAME(apply_$port)(0, own, other, 0.0, before, some, &t);
    if (single && steps->n > 0) {
        if (!steps->shared)
            NAME(find_constants)(steps, some, found);
        NAME(find_before)(steps, some, found);
    }
    if (single == 1) {
        if (steps->n_decay > 0)
            NAME(decay_$port)(own, other, steps, some, &t);
        for (int64_t i = 0; i < steps->n; i++)
            NAME(step_$port)(own, other, steps, steps->step + i, some, found, &t);
    }
    $by_records
    $enter_after
    if (enters)
        NAME(apply_$port)(1, own, other, entering, after, some, &t);
    else if (after)
        NAME(apply_$port)(0, own, other, 0.0, after, some, &t);
    if (single && steps->n_last > 0) {
        const NEURON_STEP *const last = steps->step + steps->n;
        NAME(add_gradient)(other, steps, last, gather_lanes(last->L, some),
            other ? gather_lanes(last->F, some) : all_lanes(0.0), &t);
    }
    if (row->updates) {    /* 0 - g, so that a gradient of 0 keeps the sign of a weight of -0 */
        const lanes low = all_lanes(row->low), high = all_lanes(row->high);
        lanes w = load_lanes(row->weight + k, LANES) - row->eta * (all_lanes(0.0) - t.g);
        w = where(w > low, w, low);
        t.g = where(w < high, w, high);
    }
    $enter_last
    NAME(store_own)((row->updates ? row->weight : row->C) + k, t.g, count);
    NAME(store_own)(row->Y + k, t.b, count);
    $store
    if (other)
        NAME(store_own)(row->X + k, t.o, count);
}

static $inlined void NAME(row_$port)(const int enters, const int own, const int other, const int single,
    $parts, double entering)
{
    const uint32_t *const target = row->target;
    NAME(Found) found;
    if (single && steps->shared)
        NAME(find_constants)(steps, (LaneTargets){target, 0}, &found);
    for (int64_t k = 0; row->nodes_ahead && k + LANES <= row->n && k < row->nodes_ahead; k += LANES) {
        NAME(fetch_$port)(before, target + k, other);
        NAME(fetch_$port)(after, target + k, other);
    }
    for (int64_t k = 0; k < row->n; k += LANES) {
        const int64_t ahead = k + row->row_ahead;
        if (row->nodes_ahead && k + row->nodes_ahead + LANES <= row->n) {
            NAME(fetch_$port)(before, target + k + row->nodes_ahead, other);
            NAME(fetch_$port)(after, target + k + row->nodes_ahead, other);
        }
        $fetch_records
        if (row->row_ahead) {
            __builtin_prefetch(target + ahead);
            __builtin_prefetch(row->Y + ahead);
            $fetch_traces
            if (other)
                __builtin_prefetch(row->X + ahead);
            if (row->owes || !row->updates)
                __builtin_prefetch(row->C + ahead);
            if (row->updates || row->moment)
                __builtin_prefetch(row->weight + ahead);
            if (row->moment) {
                __builtin_prefetch(row->moment + ahead);
                __builtin_prefetch(row->variance + ahead);
            }
        }
        const int adjacent = row->dense && k + LANES <= row->n && target[k + LANES - 1] - target[k] == LANES - 1;
        NAME(chunk_$port)(enters, own, other, single, row, before, steps, after, entering, k,
            (LaneTargets){target + k, adjacent}, &found);
    }
}
"""
_WALK = """
static __attribute__((noinline)) void NAME(row_${port}_$kind)($parts, double entering, int64_t n)
{
    NEURON_ROW of = *row;    /* nothing that is written can be in these copies */
    NEURON_MAP first, second;
    of.n = n;
    if (before) first = *before;
    if (after) second = *after;
    $one_width
    NAME(row_$port)($given, &of, before ? &first : NULL, steps, after ? &second : NULL, entering);
}
"""
_FOLLOW = """
static $inlined void NAME(follow_$port)(const int other, const NEURON_STEPS *of, const NEURON_STEP *s,
    const double *record, LaneTargets some, NAME(Found) *at, NAME(Traces) *t)
{
    lanes line[8];
    read_targets(record, of->record_width, some, line);
    $recorded
    NAME(add_gradient)(other, of, s, line[$L], line[$F], t);
    NAME(move_$port)(1, other, of, s, line[$psi], at, t);
}
"""
_THROUGH = """
typedef void (*NAME(Walk))($parts, double entering, int64_t n);

static void NAME(go_through)(int64_t port, $parts, double entering)
{
    static const NAME(Walk) walks[][$n_kinds] = {
        $walks
    };
    static const int64_t place[] = {$places};
    const int64_t enters = $enters, own = $own, single = steps ? $single : 0;
    const int64_t kind = ((enters * $n_own + own) * $n_other + $other) * 3 + single;
    const NAME(Walk) work_row = walks[place[port]][kind];
    const int64_t rest = row->n + LANES > row->readable ? row->n % LANES : 0, full = row->n - rest;
    work_row(row, before, steps, after, entering, full);
    if (rest > 0) {    /* the last ones of all rows, filled up with copies of the first of them */
        uint32_t target[LANES];
        REAL left[$size + 4][LANES];
        NEURON_ROW some = *row;
        REAL *trace[] = {$traces};
        REAL **const array[] = {$arrays &some.Y, &some.X, &some.C, &some.weight};
        enum { N_ARRAYS = sizeof array / sizeof *array };
        REAL *kept[N_ARRAYS];
        for (int a = 0; a < N_ARRAYS; a++) {
            kept[a] = *array[a];
            for (int64_t i = 0; kept[a] && i < LANES; i++)
                left[a][i] = kept[a][full + (i < rest ? i : 0)];
            *array[a] = kept[a] ? left[a] : NULL;
        }
        for (int64_t i = 0; i < LANES; i++)
            target[i] = row->target[full + (i < rest ? i : 0)];
        some.target = target, some.trace = trace, some.dense = some.nodes_ahead = some.row_ahead = 0;
        work_row(&some, before, steps, after, entering, LANES);
        for (int a = 0; a < N_ARRAYS; a++)
            for (int64_t i = 0; kept[a] && i < rest; i++)
                kept[a][full + i] = left[a][i];
    }
    if (row->arriving)    /* not chunk by chunk: what writes these would wait for all that was computed */
        NAME(deliver)(row);
}

static const NEURON_MAPS NAME(maps) = {
    NEURON_MODEL_VERSION, sizeof(REAL),
    $sizes,
    NAME(append), NAME(prepend), NAME(compose), NAME(go_through),
};

VISIBLE const NEURON_MAPS *NAME(neuron_maps)(void) { return &NAME(maps); }
"""


def fill_template(text: str, **values: object) -> str:
    """Return a template with its names replaced; several lines are indented as the first one."""
    lines = []
    for line in text.splitlines():
        indent = line[: len(line) - len(line.lstrip())]
        given = {
            name: f"\n{indent}".join(value) if isinstance(value, list) else value for name, value in values.items()
        }
        lines.append(Template(line).substitute(given))
    return "\n".join(line for line in lines if line.strip()) + "\n"


class ComposedMapRows(ComposedMaps):
    """All functions of `neuron_model.h` on composed maps, including the functions on rows."""

    def write_functions(self) -> str:
        """Return the functions."""
        owns, entries = (0, 1) if self.common is not None else (1,), (0,) if self.ahead else (0, 1)
        others = sorted(self.second_trace_cases)
        kinds = list(product(entries, owns, others, (0, 1, 2)))  # single steps: none, by columns, by records if any
        walks, names = [], []
        for port in self.ports:
            of_port = ["".join(map(str, kind)) for kind in kinds]
            names.append(f"{{{', '.join(f'NAME(row_{port}_{kind})' for kind in of_port)}}},")
            for (enters, *_), kind in zip(kinds, of_port, strict=True):
                one_width = [] if enters else ["if (before && after) second.width = first.width;    /* one array */"]
                given = ", ".join(kind)
                walks.append(fill_template(_WALK, port=port, kind=kind, parts=_PARTS, given=given, one_width=one_width))
        sizes = len(self.slots), len(self.others), self.n - self.first_entry, len(self.derived), self.n_recorded
        return "\n".join([
            self.write_neuron_functions(),
            fill_template(
                _TYPES, size=self.size,
                constants=[f"found->constant[{k}] = {self._write_constant(k)};" for k in self.reads["constant"]],
                before=[f"found->before[{k}] = gather_lanes(of->step->before + {k} * of->n_neurons, some);"
                        for k in self.reads["before"]],
            ),
            *map(self._write_port_functions, self.ports), *walks,
            fill_template(
                _THROUGH, parts=_PARTS, n_kinds=len(kinds), walks=names, n_own=len(owns), n_other=len(others),
                other="(row->X != NULL)" if len(others) > 1 else "0",
                places=", ".join(str(sum(k < p for k in self.ports)) for p in range(max(self.ports) + 1)),
                enters="0" if self.ahead else "entering != 0.0",
                own=f"row->trace[{self.common}] != NULL" if len(owns) > 1 else "0",
                single="steps->record ? 2 : 1" if self.n_recorded else "steps->n == 0 ? 2 : 1",
                traces=", ".join(f"row->trace[{c}]" for c in range(self.size)),
                arrays=" ".join(f"trace + {c}," for c in range(self.size)),
                size=self.size, sizes=", ".join(map(str, (*sizes, int(self.ahead)))),
            ),
        ])  # fmt: skip

    @staticmethod
    def _write_constant(k: int) -> str:
        """Return a column of the constants of targets."""
        return f"NAME(constants_of)(of->constant + {k} * of->n_neurons, of->shared, some)"

    def _write_port_functions(self, port: int) -> str:
        """Return the functions of synapses onto one port; with `enters`, spikes enter in the first step of a map."""
        reached, E, n = self.reached[port], name_entry(port), len(self.recorded)
        old = {c: f"x_{c}" for c in reached}
        U = {i: tree for (i, p), tree in self.model.by.U.items() if p == port} if self.ahead else {}

        def write_entry(value: str) -> list[str]:
            """Return C by which spikes enter traces that are stored ahead."""
            return [f"t->x[{i}] += {tree[1]!r} * {value};" for i, tree in U.items()]

        e = self._step_dot("w", "", old)
        moved = []
        if not self.ahead:
            by_entry = {r: self.step["M", r, E] for r in reached if ("M", r, E) in self.step}
            rows = {r: sum_of(self._step_dot("M", r, old)) or "all_lanes(0.0)" for r in reached}
            moved = [f"x[{r}] = {text};" for r, text in rows.items()]
            enters = [f"x[{r}] += s->entering * m[{place}];" for r, place in by_entry.items()]
            if ("w", "", E) in self.step:
                enters.append(f"e += s->entering * m[{self.step['w', '', E]}];")
            moved += [f"if (s->entering != 0.0) {{ {' '.join(enters)} }}"] if enters else []
            moved += [f"x[{r}] += {self._multiply_gain(r, 'e')};" for r in self.gain if r in reached]
        else:
            moved = [
                f"x[{r}] = {self._update_common_trace(r, self._advance_trace(r, old, 'e'), 'of->common')};"
                for r in reached
            ]
        text = fill_template(
            _ROW, port=port, inlined=self.inlined, parts=_PARTS, n_map=max(self.n_map, 1),
            n_numbers=8 * lines_of(self.n), moved=moved,
            e=f"{'psi * ' * self.ahead}({sum_of(e) or 'all_lanes(0.0)'})",
            keep_before=[f"at->before[{k}] = at->kept[{k}];" for k in self.reads["before"]],
            old=[f"const lanes x_{c} = x[{c}];" for c in reached],
            found=[f"at->kept[{k}] = gather_lanes(s->kept + {k} * of->n_neurons, some);" for k in self.needed]
            + [f"at->derived[{k}] = gather_lanes(s->derived + {k} * of->n_neurons, some);"
               for k in range(len(self.derived))],
            enter_step=[f"if (s->entering != 0.0) {{ {' '.join(write_entry('s->entering'))} }}"] * bool(U),
            enter_after=[
                f"if (entering != 0.0) {{ {' '.join(write_entry('entering'))} }}".replace("t->", "t."),
            ]
            * bool(U),
            enter_last=[line.replace("t->", "t.") for line in write_entry("row->arrived")],
            decayed=self._write_decay(port), load=[self._write_load(c) for c in reached],
            store=[f"if ({'own' if c == self.common else '1'}) NAME(store_own)(row->trace[{c}] + k, x[{c}], count);"
                   for c in reached],
            by_records=[
                "if (single == 2)", "    for (int64_t i = 0; i < steps->n; i++)",
                f"        NAME(follow_{port})(other, steps, steps->step + i, steps->record + i * steps->record_stride,",
                "            some, found, &t);",
            ] * bool(self.n_recorded),
            fetch_records=[
                "if (single == 2 && k + RECORDS_AHEAD + LANES <= row->n)",
                "    for (int64_t i = 0; i < steps->n; i++)", "        for (int j = 0; j < LANES; j++)",
                "            __builtin_prefetch(steps->record + i * steps->record_stride",
                "                               + steps->record_width * (int64_t)target[k + RECORDS_AHEAD + j]);",
            ] * bool(self.n_recorded),
            fetch_traces=[
                f"{'if (own) ' * (c == self.common)}__builtin_prefetch(row->trace[{c}] + ahead);" for c in reached
            ],
            **self._write_map_application(port),
        )  # fmt: skip
        if not self.n_recorded:
            return text
        recorded = [f"at->{name} = line[{k}];" for k, name in enumerate(self.recorded)]
        follow = fill_template(
            _FOLLOW, port=port, inlined=self.inlined, recorded=recorded, psi=str(n), L=str(n + 1), F=str(n + 2)
        )
        chunk = text.index(f"static ALWAYS_INLINE void NAME(chunk_{port})")
        return text[:chunk] + follow + text[chunk:]

    def _write_load(self, c: int) -> str:
        load = f"load_lanes(row->trace[{c}] + k, LANES)"
        return f"x[{c}] = {f'own ? {load} : all_lanes(row->common)' if c == self.common else load};"

    def _update_common_trace(self, c: int, text: str, factor: str) -> str:
        """Return the new value of a trace; a trace that the synapses of a row share only decays."""
        return f"own ? {text} : x[{c}] * {factor}" if c == self.common else text or "all_lanes(0.0)"

    def _write_decay(self, port: int) -> list[str]:
        """Return C of steps past the cutoff, like `Generator.write_decay`."""
        model, by, lines = self.model, self.model.by, []

        def write_constant(tree: Tree) -> str:
            if tree[0] == "number":
                return f"all_lanes({tree[1]!r})"
            return self._write_constant(model.columns.place_tree(tree))

        for k in (k for k in self.reached[port] if k < model.n):
            if not outlives_cutoff(by, k):
                lines.append(f"x[{k}] = all_lanes(0.0);")
                continue
            power = f"power_lanes({write_constant(by.J[k, k])}, of->n_decay)"
            lines.append(f"x[{k}] *= {f'own ? {power} : all_lanes(of->common_decay)' if k == self.common else power};")
            if k in by.v and model.n in self.reached[port] and by.moving.isdisjoint(names_of(by.v[k])):
                before = f"({write_constant(by.v[k])} * x[{model.n}])"
                lines.append(f"x[{k}] += power_lanes({write_constant(by.J[k, k])}, of->n_decay - 1) * {before};")
        return lines + [f"x[{model.n}] = all_lanes(0.0);"] * (model.n in self.reached[port])

    def _write_map_application(self, port: int) -> dict[str, object]:
        """Return C by which synapses apply a composed map."""
        reached, E, own = self.reached[port], name_entry(port), self.place_of[port]
        used: dict[tuple[bool, bool], set[int]] = {(e, o): set() for e in (False, True) for o in (False, True)}

        def read_number(*key: int | str) -> str:
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

        def list_terms(*key: int | str) -> list[str]:
            return [f"{value} * x_{c}" for c in reached if (value := read_number(*key, c))]

        G, B = [*list_terms("G"), f"{read_number('G', 'B')} * t->b"], [*list_terms("B"), "at->kappa * t->b"]
        X = [*list_terms("X"), f"{read_number('X', 'B')} * t->b", "at->keep * t->o"]
        x_to_g = read_number("G", "X")
        applied = [
            f"x[{r}] = {self._update_common_trace(r, sum_of(list_terms('P', r)), 'at->common')};" for r in reached
        ]
        entered = []
        if not self.ahead:
            entering = {r: read_number("P", r, E) for r in reached} | {kind: read_number(kind, E) for kind in "BGX"}
            entered = [
                "if (enters) {",
                f"    if (other) t->o += entering * {entering['X']};",
                f"    t->g -= entering * {entering['G']};",
                f"    t->b += entering * {entering['B']};",
                *(f"    x[{r}] += entering * {entering[r]};" for r in reached),
                "}",
            ]
        read, fetched = self._write_reads(used)
        if self.apart:
            read.append("const lanes apart = gather_doubles(at->apart, some);")
        # a power of two, by which compilers shift
        width = "(int64_t)1 << __builtin_ctzll(at->width)" if self.ahead else "at->width"
        sums = {"to_g": sum_of(G), "x_to_g": x_to_g, "to_o": sum_of(X), "to_b": sum_of(B)}
        return {"width": width, "read": read, "fetched": fetched, "applied": applied, "entered": entered, **sums}

    def _write_reads(self, used: dict[tuple[bool, bool], set[int]]) -> tuple[list[str], list[str]]:
        """Return reads of the used indices, depending on whether spikes enter and there is a second trace."""
        read, fetched = [], []
        for enters, head in ((False, ""), (True, "if (enters) ")):
            plain, every = used[enters, False], used[enters, False] | used[enters, True]
            for k in sorted({place // 8 for place in every}):
                both = [
                    self._read_places(k, [place for place in sorted(some) if place // 8 == k])
                    for some in (every, plain)
                ]
                if both[0] == both[1]:
                    read += [f"{head}{{ {both[0]} }}"]
                else:
                    read += [f"{head}{{ if (other) {{ {both[0]} }} else {{ {both[1]} }} }}"]
                if "width, some, q" in both[0] and not enters:
                    there = "if (other) " * ("some, q" not in both[1])
                    fetched.append(f"{there}__builtin_prefetch(at->number + width * (int64_t)target[i] + {8 * k});")
        return read, fetched

    def _read_places(self, k: int, places: list[int]) -> str:
        """Return C that reads indices of cache line k: one by one, or four or eight at once."""
        if len(places) <= FEW:
            return " ".join(f"p[{i}] = read_one({self._address_number(i)}, width, some);" for i in places)
        read = "read_first_fours" if all(place % 8 < 4 for place in places) else "read_targets"
        copies = " ".join(f"p[{i}] = q[{i - 8 * k}];" for i in places)
        return f"lanes q[8]; {read}({self._address_number(8 * k)}, width, some, q); {copies}"
