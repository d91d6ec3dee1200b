"""Rooms import one way, hold no circle, and say what lives in them; only one module knows COMM_WORLD."""

import ast
import io
import re
import sys
import tokenize
from functools import cache
from pathlib import Path

import pytest

MEMORY = ("row_map.pyx", "spike_log.pyx")  # kernels that own memory
ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "pareprop"
SOURCES = sorted(PACKAGE.rglob("*.py"))
GROUND = set(
    "arrays elementary energy errors files hdf5 installation kernels later machine rng terminal timers values".split()
)
MAY_IMPORT = {  # room: the rooms that it may import beside the ground
    "parallel": set(),
    "sonata": set(),
    "neurons": set(),
    "rules": {"neurons"},
    "network": {"neurons", "parallel", "rules", "sonata"},
    "algorithms": {"network", "neurons", "parallel", "rules"},
    "engines": {"network", "neurons", "parallel", "algorithms", "rules"},
    "simulation": {"engines", "network", "parallel", "algorithms"},
    "tasks": {"exchange_formats", "engines", "network", "neurons", "parallel", "rules", "sonata"},
    "storage": {"simulation", "engines", "network", "parallel"},
    "exchange_formats": {"storage", "network", "neurons", "sonata"},
    "plots": set(),
    "runs": set(
        "exchange_formats storage simulation tasks plots engines network neurons parallel algorithms rules".split()
    ),
    "nest": {"simulation", "engines", "network", "neurons", "parallel", "algorithms"},
    "scaling": {"runs", "storage", "simulation", "tasks", "plots", "engines", "network", "parallel"},
}
LIBRARIES = {  # beside the standard library and NumPy
    "ground": {"h5py"},
    "parallel": {"mpi4py"},
    "sonata": {"h5py"},
    "neurons": {"sympy"},
    "rules": set(),
    "network": {"nir", "pydantic"},
    "algorithms": set(),
    "engines": set(),
    "simulation": {"typing_extensions"},  # for type checkers alone
    "tasks": {"HersheyFonts", "gymnasium", "h5py", "pydantic", "pydantic_core", "sklearn"},
    "storage": {"h5py", "neo", "pandas", "pydantic"},
    "exchange_formats": {"h5py", "nest", "torch"},  # nest and torch in what is written
    "plots": {"h5py", "markupsafe", "matplotlib"},
    "runs": {"click", "h5py", "jinja2", "markupsafe", "mpi4py", "pydantic", "tensorboard", "tqdm"},
    "nest": {"click", "matplotlib", "pandas", "pytest"},
    "scaling": {"click", "pydantic"},
}


def module(path: Path) -> str:
    """Dotted name within the package; a room's `__init__` is the room."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module(path): path for path in SOURCES}
INSIDE = [path for path in SOURCES if path.parent != PACKAGE or path.stem in GROUND]


def room(name: str) -> str:
    """Room of a module, "ground" for the modules of the package's own folder."""
    first = name.split(".", maxsplit=1)[0]
    return first if first in MAY_IMPORT else "ground"


@cache
def imports(path: Path) -> tuple[set[str], set[str]]:
    """Modules of the package and libraries that a module imports, anywhere, for type checks as well."""
    package, libraries = set(), set()
    here = ("pareprop", *path.relative_to(PACKAGE).parts)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "Later":
            package |= imported_later(node, here)
        if not isinstance(node, ast.Import | ast.ImportFrom):
            continue
        for full in full_names(node, here):
            full = full[2:] if full[1:] == ["later", "h5py"] else full  # the library, loaded when it is used
            if full[0] != "pareprop":
                libraries.add(full[0])
                continue
            names = [".".join(full[1:n]) for n in (len(full), len(full) - 1)]
            assert names[0].startswith("core") or set(names) & MODULES.keys(), f"{path}: there is no {'.'.join(full)}"
            package.add(next((name for name in names if name in MODULES), names[0]))
    return package, libraries


def imported_later(node: ast.Call, here: tuple[str, ...]) -> set[str]:
    """Modules of the package that the table of a `Later` names."""
    base, table = node.args
    assert isinstance(table, ast.Dict) and ast.unparse(base) in ("__name__", "'pareprop'")
    folder = here[1:-1] if ast.unparse(base) == "__name__" else ()
    found = {".".join([*folder, ast.literal_eval(value).rpartition(".")[0]]) for value in table.values}
    assert found and found <= MODULES.keys()
    return found


def full_names(node: ast.Import | ast.ImportFrom, here: tuple[str, ...]) -> list[list[str]]:
    """Absolute dotted names that an import statement may load, split at the dots."""
    if isinstance(node, ast.Import):
        return [alias.name.split(".") for alias in node.names]
    base = [*here[: len(here) - node.level]] if node.level else []
    base += node.module.split(".") if node.module else []
    return [[*base, alias.name] for alias in node.names]


@pytest.mark.parametrize("path", INSIDE, ids=module)
def test_rooms_import_one_way(path: Path) -> None:
    name = module(path)
    package, libraries = imports(path)
    here = room(name)
    for other in package:
        if other.split(".")[0] == "core":
            assert name == "kernels", "only kernels.py imports the compiled modules"
        else:
            there = room(other)
            assert there in ("ground", here) or there in MAY_IMPORT[here], f"{name} imports {other}"
    foreign = libraries - set(sys.stdlib_module_names) - {"numpy"} - LIBRARIES[here]
    assert not foreign, f"{name} imports {foreign}, which is not among the libraries of '{here}'"


def test_no_circle() -> None:
    """Also none that an import for type checks alone would close."""
    arrows = {name: {other for other in imports(path)[0] if other in MODULES} for name, path in MODULES.items()}
    arrows.pop("")  # the public face hands names on
    done: set[str] = set()

    def visit(name: str, way: list[str]) -> None:
        assert name not in way, f"circle: {' -> '.join([*way[way.index(name) :], name])}"
        if name not in done:
            for other in arrows.get(name, ()):
                visit(other, [*way, name])
            done.add(name)

    for name in arrows:
        visit(name, [])


def test_no_module_of_the_package_is_imported_by_string() -> None:
    """Rooms and circles could not be seen.

    The public face imports what it hands on, `kernels` compiled modules, `nest.devices` all modules of its folder;
    `imports` reads the tables of `later`.
    """
    assert by_string('importlib.import_module(".check", __package__)') == by_string("import_module(name)") == [1]
    assert by_string("x = 1\n__import__('pareprop.kernels')") == [2] and not by_string("import_module('sympy')")
    texts = {name: path.read_text() for name, path in MODULES.items() if name}
    texts["kernels"] = texts["kernels"].replace('import_module(f"pareprop.core.', 'compiled(f"')
    texts["nest.devices"] = texts["nest.devices"].replace('import_module(f"{__name__}.', 'all_in_it(f"')
    texts["later"] = texts["later"].replace('import_module(f"{self._package}.', 'of_table(f"')
    texts["later"] = texts["later"].replace("import_module(self._name)", "a_library(self._name)")
    found = {name: lines for name, text in texts.items() if (lines := by_string(text))}
    assert not found, f"imports by string, by module: {found}"


def by_string(text: str) -> list[int]:
    """Lines that import by a string what is, or may be, a module of the package."""
    lines = []
    for node in ast.walk(ast.parse(text)) if re.search("import_module|__import__", text) else ():
        if isinstance(node, ast.Call) and re.search(r"\b(import_module|__import__)$", ast.unparse(node.func)):
            named = node.args[0].value if node.args and isinstance(node.args[0], ast.Constant) else "pareprop"
            if re.match(r"\.|pareprop\b", str(named)):
                lines.append(node.lineno)
    return lines


def test_every_folder_is_a_room() -> None:
    assert {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()} == set(MAY_IMPORT)
    loose = {path.stem for path in PACKAGE.glob("*.py")}
    assert loose == GROUND | {"__init__", "__main__", "cli"}
    used = {
        name: set().union(*(imports(path)[1] for path in INSIDE if room(module(path)) == name)) for name in LIBRARIES
    }
    for name, libraries in LIBRARIES.items():
        assert not libraries - used[name], f"nobody in '{name}' imports {libraries - used[name]}"


@pytest.mark.parametrize("name", MAY_IMPORT)
def test_a_room_says_what_it_is(name: str) -> None:
    """What lives there, what it may import, where the usual addition goes."""
    text = ast.get_docstring(ast.parse((PACKAGE / name / "__init__.py").read_text()))
    assert text and "May import" in text and "Where to add" in text
    told = set(re.findall(r"`(\w+)`", text[text.index("May import") : text.index("Where to add")]))
    assert told - GROUND == MAY_IMPORT[name], "what the docstring says is not what the test allows"


def unexplained(text: str) -> list[int]:
    """Lines with `Any` that neither a comment on them nor a line of comment above them explains."""
    reasons = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT and not re.match("# *(fmt|noqa|type):", token.string):
            reasons.add(token.start[0])
            if not token.line[: token.start[1]].strip():
                reasons.add(token.start[0] + 1)
    used = {node.lineno for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name) and node.id == "Any"}
    return sorted(used - reasons)


def test_what_is_any_says_why() -> None:
    """`pareprop.values` has names, with their reasons, for what is usually of no type that can be named."""
    texts = {path: path.read_text() for path in SOURCES}
    bare = {module(path): lines for path, text in texts.items() if "Any" in text and (lines := unexplained(text))}
    assert not bare, f"Any without a reason, by module: {bare}"
    assert unexplained("x: Any\n# a reason\ny: Any\nz: Any  # type: ignore\nw: Any  # a reason\n") == [1, 4]


def test_only_the_launcher_knows_comm_world() -> None:
    texts = {path.name: path.read_text() for path in SOURCES}
    assert [name for name, text in texts.items() if re.search(r"\bMPI\.COMM_WORLD\b", text)] == ["launcher.py"]


@pytest.mark.parametrize("path", sorted((ROOT / "cython_core").rglob("*.p[yx][xid]")), ids=lambda path: path.name)
def test_kernels_know_libc_and_one_another(path: Path) -> None:
    """Those that own memory take it from numpy."""
    known = {"libc", "posix", "cython", "pareprop.core", *({"numpy", "os"} if path.name in MEMORY else ())}
    for line in path.read_text().splitlines():
        if found := re.match(r"\s*(?:from|cimport|import)\s+([\w.]+)", line):
            assert any(f"{found[1]}.".startswith(f"{name}.") for name in known), line


def test_no_two_files_of_tests_have_one_name() -> None:
    """Tests import each other by name, and pytest knows only one of two."""
    names = [path.name for path in (ROOT / "tests").rglob("*.py") if path.name != "conftest.py"]
    assert sorted(names) == sorted(set(names))
