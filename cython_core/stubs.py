"""Write stubs (`.pyi`) of the compiled kernels from their sources, for type checkers and editors.

``python cython_core/stubs.py DIR`` writes them; so does the build, next to the installed kernels, and an editable
install into build/stubs. `Any`: not declared by a kernel, such as arguments that are Python objects, and results.
"""

import re
import sys
from pathlib import Path

KERNELS = Path(__file__).parent
HEAD = '''"""Stub of a compiled kernel, made by cython_core/stubs.py.

Arrays have the types that the kernel declares; the kernel refuses others. Any: not declared in the kernel.
"""

from enum import IntEnum
from typing import Any

import numpy as np
'''
TYPES = {"bint": "bool", "double": "float", "float": "float", "real": "float", "str": "str", "tuple": "tuple[Any, ...]"}
CLASS = re.compile(r"cdef class (\w+)(?:\((\w+)\))?:")
FUNCTION = re.compile(r"(?:def|cpdef (?:[\w\[\], ]+ )?)\s*(\w+)\((.*)\)")
ATTRIBUTES = re.compile(r"cdef (?:public|readonly) (?:const )?([\w.]+(?:\[[^\]]*\])?) (.+)")
CONSTANT = re.compile(r"(\w+) = (.+)")
MEMBER = re.compile(r"(\w+)(?: = .+)?$")


def read_statements(path: Path) -> list[tuple[int, str]]:
    """Read (indent, statement) of a source and its includes, without comments and texts, one line each."""
    text = re.sub(r'""".*?"""', "...", path.read_text(), flags=re.DOTALL)
    statements, waiting = [], ""
    for line in text.splitlines():
        line = re.sub(r"(^|\s)#.*", "", line).rstrip()
        waiting = f"{waiting} {line.strip()}" if waiting else line
        if waiting.count("(") > waiting.count(")") or not waiting:
            continue
        if included := re.match(r'include "(.+)"', waiting):
            statements += read_statements(path.parent / included[1])
        else:
            statements.append((len(waiting) - len(waiting.lstrip()), re.sub(r"\s+", " ", waiting.strip())))
        waiting = ""
    return statements


def split(text: str) -> list[str]:
    """Split at the commas outside of brackets."""
    return [part.strip() for part in re.split(r",(?![^\[(]*[\])])", text) if part.strip()]


def python_type(declared: str, classes: dict[str, str]) -> str:
    """Return the type in Python of a declaration of Cython."""
    declared = declared.removeprefix("const ")
    if "[" in declared:
        return "np.ndarray"
    if re.fullmatch(r"u?int\d*_t|intptr_t|int|long|size_t", declared):
        return "int"
    return TYPES.get(declared) or (declared if declared in classes else "Any")


def argument(text: str, classes: dict[str, str]) -> str:
    """Translate one argument of a function."""
    text, _, default = text.partition("=")
    words = text.strip().removesuffix("not None").split()
    if words == ["self"] or words[-1].startswith("*"):
        return words[-1]
    kind = python_type(" ".join(words[:-1]).replace(" ,", ","), classes)
    if default == "None" and kind != "Any":
        kind += " | None"
    return f"{words[-1]}: {kind}" + (f" = {default}" if default else "")


def returns(statements: list[tuple[int, str]], at: int) -> str:
    """Return the type of what the function at this place returns: None without a value to return."""
    indent = statements[at][0]
    for inner, statement in statements[at + 1 :]:
        if inner <= indent:
            break
        if re.match(r"(return|yield) ", statement):
            return "Any"
    return "None"


def describe(path: Path, classes: dict[str, str]) -> str:
    """Return the stub of a kernel; `classes` maps the classes of all kernels to their kernels."""
    shared = read_statements(path.with_suffix(".pxd")) if path.with_suffix(".pxd").exists() else []
    declared: dict[str, list[str]] = {}
    lines: list[str] = []
    for statements in (shared, read_statements(path)):
        inside = enum = False  # of a class, of an enumeration
        named: re.Match[str] | None = None
        target, members = lines, []
        for at, (indent, statement) in enumerate(statements):
            if indent == 0:
                inside = enum = False
                target = lines
            if opened := CLASS.match(statement):
                name, base = opened.groups()
                inside, members = True, declared.setdefault(name, [])
                target = members
                if statements is not shared:
                    lines += ["", f"class {name}" + (f"({base}):" if base else ":")]
                    target = lines
                    lines += members
                    if not any(inner for inner, _ in statements[at + 1 : at + 2]):
                        lines.append("    ...")
            elif statement.startswith("cpdef enum"):
                enum = True
                named = re.match(r"cpdef enum (\w+):", statement)
                lines += ["", f"class {named[1]}(IntEnum):"] if named else []
            elif enum and (member := MEMBER.match(statement)):
                lines.append(f"    {member[1]} = ..." if named else f"{member[1]}: int")
            elif (match := ATTRIBUTES.match(statement)) and inside:
                target += [f"    {name}: {python_type(match[1], classes)}" for name in split(match[2])]
            elif (match := FUNCTION.match(statement)) and statements is not shared and indent == 4 * inside:
                if match[1] == "__dealloc__":
                    continue
                before = statements[at - 1][1] if statements[at - 1][1] in ("@staticmethod", "@property") else ""
                margin = " " * indent
                arguments = ", ".join(argument(text, classes) for text in split(match[2]))
                if before:
                    lines.append(f"{margin}{before}")
                kind = python_type(statement.split()[1], classes) if statement.startswith("cpdef") else "Any"
                if kind == "Any":
                    kind = returns(statements, at)
                lines.append(f"{margin}def {match[1]}({arguments}) -> {kind}: ...")
            elif indent == 0 and (match := CONSTANT.fullmatch(statement)) and statements is not shared:
                lines.append(f"{match[1]}: {type_of_constant(match[2])}")
    own = "\n".join(lines)
    imports = [
        f"from pareprop.core.{module} import {name}"
        for name, module in sorted(classes.items())
        if module != path.stem and f"class {name}" not in own and re.search(rf"\b{name}\b", own)
    ]
    return "\n".join([HEAD, *imports, *lines]) + "\n"


def type_of_constant(text: str) -> str:
    """Return the type of what a module computes once."""
    if text.startswith(("{", "dict(")):
        return "dict[str, Any]"
    return "list[str]" if text.endswith(".split()") else "str" if ".decode" in text else "float"


def write(folder: Path) -> None:
    """Write the stubs of all kernels into a folder, which is made."""
    sources = sorted(KERNELS.glob("*.pyx"))
    classes = {
        name[1]: path.stem for path in sources for _, line in read_statements(path) if (name := CLASS.match(line))
    }
    folder.mkdir(parents=True, exist_ok=True)
    for path in sources:
        (folder / f"{path.stem}.pyi").write_text(describe(path, classes))


if __name__ == "__main__":
    write(Path(sys.argv[1]))
