"""A module imports only from rows above it, in the table of the README, and only one knows COMM_WORLD."""

import ast
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "pareprop").rglob("*.py"))


def table() -> tuple[dict[str, int], dict[int, set[str]]]:
    """Row of each module ("tasks" and "plots" stand for all in them), and what each row may import from elsewhere."""
    rows, libraries = {}, {}
    for line in (ROOT / "README.md").read_text().splitlines():
        if found := re.fullmatch(r"\| (\d+) \|([^|]*)\|([^|]*)\|", line):
            for name in re.findall(r"`(\w+)`", found[2].replace("`COMM_WORLD`", "")):
                assert name not in rows, f"{name} stands in two rows"
                rows[name] = int(found[1])
            libraries[int(found[1])] = set(re.findall(r"`(\w+)`", found[3]))
    return rows, libraries


def name_of(path: Path) -> str:
    """Name of a module in the table."""
    return path.relative_to(ROOT / "pareprop").parts[0].removesuffix(".py")


def imports(path: Path) -> tuple[set[str], set[str]]:
    """Modules of the package, by their names in the table, and libraries that a module imports at run time."""
    package, libraries = set(), set()
    tree = ast.parse(path.read_text())
    skipped = [node for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)]
    skipped = {id(inner) for node in skipped for inner in ast.walk(node)}
    here = ("pareprop", *path.relative_to(ROOT / "pareprop").parts)
    for node in ast.walk(tree):
        if id(node) in skipped or not isinstance(node, ast.Import | ast.ImportFrom):
            continue
        for full in full_names(node, here):
            if full[0] == "pareprop":
                package |= {full[1]} if len(full) > 1 else set()
            else:
                libraries.add(full[0])
    return package, libraries


def full_names(node: ast.Import | ast.ImportFrom, here: tuple[str, ...]) -> list[list[str]]:
    """Absolute dotted names that an import statement may load, split at the dots."""
    if isinstance(node, ast.Import):
        return [alias.name.split(".") for alias in node.names]
    base = [*here[: len(here) - node.level]] if node.level else []
    base += node.module.split(".") if node.module else []
    return [[*base, alias.name] for alias in node.names]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_come_from_rows_above(path: Path) -> None:
    rows, allowed = table()
    name = name_of(path)
    if name.startswith("__"):
        return
    assert name in rows, f"the table of layers in the README lacks a row for {name}"
    package, libraries = imports(path)
    for other in package - {name, "__version__"}:
        if other == "core":
            assert name == "kernels", "only kernels.py imports the compiled modules"
        else:
            assert other in rows, f"{name} imports {other}, which is not in the table of layers"
            assert rows[other] < rows[name], f"{name} (row {rows[name]}) imports {other} (row {rows[other]})"
    foreign = libraries - set(sys.stdlib_module_names) - {"numpy"} - allowed[rows[name]]
    assert not foreign, f"{name} imports {foreign}, which the table of layers does not allow"


def test_the_table_holds_modules_that_exist() -> None:
    rows, allowed = table()
    assert set(rows) == {name_of(path) for path in SOURCES if not name_of(path).startswith("__")}
    for row, libraries in allowed.items():
        used = set().union(*(imports(path)[1] for path in SOURCES if rows.get(name_of(path)) == row))
        assert not libraries - used, f"nobody in row {row} imports {libraries - used}"


def test_only_the_launcher_knows_comm_world() -> None:
    texts = {path.name: path.read_text() for path in SOURCES}
    assert [name for name, text in texts.items() if re.search(r"\bMPI\.COMM_WORLD\b", text)] == ["launcher.py"]


@pytest.mark.parametrize("path", sorted((ROOT / "cython_core").glob("*.p[yx][xi]")), ids=lambda path: path.name)
def test_kernels_know_libc_alone(path: Path) -> None:
    for line in path.read_text().splitlines():
        if found := re.match(r"\s*(?:from|cimport|import)\s+([\w.]+)", line):
            assert found[1].split(".")[0] in ("libc", "cython"), line
