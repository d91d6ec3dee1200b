"""Split loops over neurons into blocks and stages, so that the processor rarely stalls.

A processor looks ahead some hundred instructions. A loop over neurons in which one exponential needs the result of
another is longer, and waits for each exponential in turn. So the loop is split: one loop up to the arguments of the
first exponentials, one loop for each exponential, and so on, over a block of neurons whose numbers stay in the first
cache. Loops are also split where the argument of an exponential is a choice, as by `min`, because compilers carry the
choice through the whole exponential. Order and rounding of operations stay as in one loop.

The stored numbers of a step exceed the cache, and are far from those of the previous step in memory. Where they are
read, or written in short loops, they are fetched one step ahead in small portions: a loop stalls while more fetches are
pending than the processor can track.

Substeps are loops over a block in a separate function: each substep covers all neurons of the block before the next one
begins.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from .expressions import Loop, Substeps, arguments_of, write_function

BLOCK = 128  # neurons; smaller blocks make loops too short, larger ones fill the processor's store buffer
ONE_LOOP = 32  # neurons of a block with one loop, where blocks serve prefetching only
MANY = 200  # a loop with more statements is compiled for fewer cases, to save time
_LONG = re.compile(r"@(?:exp|log|tanh)\((\w+)\)")  # functions that take tens of instructions
_DEFINED = re.compile(r"const REAL (\w+) = (.*);")
_FIXED = ("int64_t n", "int64_t stride", "const REAL *constant")  # arguments of all functions of substeps
_LOADED = re.compile(r"\w+\[j\]")


def over_neurons(
    name: str,
    arguments: str,
    pointers: Mapping[str, str],
    loop: Loop,
    head: Iterable[str],
    rows: Mapping[str, str],
    writes: bool,
    written: dict[str, str],
) -> str:
    """Return a C function `NAME(name)` that runs `loop` over neurons.

    `arguments`, `pointers` and `head` are as for `expressions.write_function`; an argument may be `shared`. `rows` maps
    pointers to rows that move from step to step to the C expression of the distance, in numbers, to the row of the next
    step, whose contents do not matter. `writes`: the rows are written; a long loop does so without waiting. `written`
    maps functions of substeps, which the source needs, to their names; new ones are added.
    """
    buffers, loops = split_loop(loop.lines)
    may_share = "shared" in arguments_of(arguments)
    if len(loops) == 1 and (writes or not rows) and not loop.substeps:
        return write_function(f"inline ALWAYS void NAME({name})", arguments, pointers, loop, head, may_share=may_share)
    head, known = [*head, *_declare_buffers(buffers)], arguments
    for substeps in loop.substeps.values():
        head += _take_substeps(substeps, loop, known, pointers, written)
        pointers = {**pointers, **_declare_arrays(substeps)}
        known += f", REAL *{substeps.name}"
    size = BLOCK if loops[1:] or loop.substeps else ONE_LOOP
    fetches = [f"FETCH({row}, {distance}, n);" for row, distance in rows.items()]
    block = write_function(
        f"inline ALWAYS void NAME({name}_block)",
        arguments,
        pointers,
        loop,
        head,
        loops=loops,
        before=fetches,
        may_share=may_share,
    )
    given = arguments_of(arguments).items()
    passed = ["count" if item == "n" else f"FROM({item})" if is_pointer else item for item, is_pointer in given]
    return block + "\n".join(
        [
            f"static inline ALWAYS void NAME({name})({arguments})",
            "{",
            f"    for (int64_t from = 0; from < n; from += {size}) {{",
            f"        const int64_t count = n - from < {size} ? n - from : {size};",
            f"        NAME({name}_block)({', '.join(passed)});",
            "    }",
            "}",
            "",
        ]
    )


def _take_substeps(
    substeps: Substeps, loop: Loop, arguments: str, pointers: Mapping[str, str], written: dict[str, str]
) -> list[str]:
    """Return C that takes substeps of a block by a function of `written`; equal substeps share one function."""
    texts = {found[1]: found[2] for found in map(_DEFINED.fullmatch, loop.lines) if found}
    needed = _list_needed([name for line in substeps.start for name in _find_names(line, texts)], texts)
    start = [f"const REAL {name} = {text};" for name, text in texts.items() if name in needed]
    buffers, first = split_loop([*start, *substeps.start])
    more, bodies = split_loop(substeps.body.lines)
    statements = "\n".join(line for lines in (*first, *bodies) for line in lines)
    body = Loop(loop.columns, {})
    body.used = {c: None for c in sorted(loop.used) if re.search(rf"\bc{c}\b", statements)}
    words = set(re.findall(r"\w+", statements))
    read = {name: declaration for name, declaration in pointers.items() if name in words}
    words |= set(re.findall(r"\w+", " ".join(read.values())))
    words -= {"n", "stride", "constant", "shared"}
    own = [item for item in arguments.split(", ") if item.split()[-1].lstrip("*") in words]
    text = write_function(
        "NOT_INLINED void NAME({})",
        ", ".join([*_FIXED, *own, f"const int shared, REAL *{substeps.name}"]),
        read | _declare_arrays(substeps),
        body,
        _declare_buffers([*buffers, *more]),
        loops=[*first, f"for (int k = 0; k < {substeps.times}; k++) {{", *bodies, "}"],
        may_share=True,
    )
    name = written.setdefault(text, f"substeps_{len(written)}")
    given = ["n", "stride", "constant", *(item.split()[-1].lstrip("*") for item in own)]
    given += ["shared" if "shared" in arguments_of(arguments) else "0", substeps.name]
    array = f"REAL {substeps.name}[{len(substeps.start)} * {BLOCK}] __attribute__((aligned(64)));"
    return [array, f"NAME({name})({', '.join(given)});"]


def _declare_arrays(substeps: Substeps) -> dict[str, str]:
    """Return declarations of the arrays of substeps by name."""
    names = (f"{substeps.name}_{k}" for k in range(len(substeps.start)))
    return {name: f"REAL *restrict {name} = {substeps.name} + {k} * {BLOCK}" for k, name in enumerate(names)}


def _declare_buffers(names: Iterable[str]) -> list[str]:
    return [f"REAL {name}[{BLOCK}] __attribute__((aligned(64)));" for name in names]


def split_loop(lines: list[str]) -> tuple[list[str], list[list[str]]]:
    """Split the body of a loop where a long function needs the result of another, or a choice.

    `lines` are definitions of constants, each once, and assignments to arrays, which no definition reads. Returns the
    buffers, arrays over a block of neurons, and the bodies of the loops: one body if there is no long function.
    """
    texts = {found[1]: found[2] for found in map(_DEFINED.fullmatch, lines) if found}
    long = {name: found[1] for name, text in texts.items() if (found := _LONG.fullmatch(text))}
    depth: dict[str, int] = {}  # length of the longest chain of long functions before a value
    for name, text in texts.items():
        depth[name] = max((depth[other] + (other in long) for other in _find_names(text, texts)), default=0)
    last = max((depth[name] + 1 for name in long), default=0)  # has none
    stages = [[name for name in long if depth[name] == stage] for stage in range(last + 1)]
    if last < 2 and not any(" ? " in texts[name] for name in _list_needed(long.values(), texts)):
        return [], [lines]
    written = [line for line in lines if not _DEFINED.fullmatch(line)]
    stage_of = dict.fromkeys(long, -1)  # where a value is computed, before that stage or in it
    buffers = dict.fromkeys(long)
    loops: list[list[str]] = []
    place_of: dict[int, int] = {}  # stage to its first loop
    for stage, functions in enumerate(stages):
        waiting = [long[name] for name in functions] or [name for line in written for name in _find_names(line, texts)]
        needed: dict[str, str] = {}
        while waiting:
            name = waiting.pop()
            if name in needed:
                continue
            if stage_of.setdefault(name, stage) == stage or _LOADED.fullmatch(texts[name]):
                needed[name] = texts[name]
                waiting += _find_names(texts[name], texts)
            else:
                needed[name] = f"{name}_of[j]"
                if name not in buffers:
                    buffers[name] = None
                    loops[place_of[stage_of[name]]].append(f"{name}_of[j] = {name};")
        place_of[stage] = len(loops)
        body = []
        for line in lines:
            if found := _DEFINED.fullmatch(line):
                body += [f"const REAL {found[1]} = {needed[found[1]]};"] if found[1] in needed else []
            elif not functions:
                body.append(line)
        loops.append([*body, *(f"{name}_of[j] = {long[name]};" for name in functions)])
        loops += [[f"{name}_of[j] = {texts[name].replace(long[name], f'{name}_of[j]')};"] for name in functions]
    return [f"{name}_of" for name in buffers], loops


def _list_needed(names: Iterable[str], texts: Mapping[str, str]) -> set[str]:
    """Return the names, and all names that their definitions need."""
    needed, waiting = set(), list(names)
    while waiting:
        if (name := waiting.pop()) not in needed:
            needed.add(name)
            waiting += _find_names(texts[name], texts)
    return needed


def _find_names(text: str, known: Mapping[str, str]) -> list[str]:
    """Return the known names in a C expression."""
    return [word for word in re.findall(r"\w+", text) if word in known]
