"""Stubs of the compiled kernels name what the kernels have, with the arguments that they take."""

import ast
import importlib.util
from enum import EnumMeta
from pathlib import Path
from types import ModuleType

import pytest

from pareprop import kernels

WRITER = Path(__file__).parents[1] / "cython_core" / "stubs.py"
NAMES = sorted(path.stem for path in WRITER.parent.glob("*.pyx"))


@pytest.fixture(scope="module")
def stubs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    spec = importlib.util.spec_from_file_location("stubs", WRITER)
    writer = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(writer)
    folder = tmp_path_factory.mktemp("stubs")
    writer.write(folder)
    return folder


def names_in(body: list[ast.stmt]) -> set[str]:
    """List the names that statements of a stub define."""
    found = {node.name for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    found |= {node.targets[0].id for node in body if isinstance(node, ast.Assign)}
    return found | {node.target.id for node in body if isinstance(node, ast.AnnAssign)}


def public(thing: object) -> set[str]:
    return {name for name in vars(thing) if not name.startswith("_")}


@pytest.mark.parametrize("name", NAMES)
def test_stubs_name_what_kernels_have(name: str, stubs: Path) -> None:
    kernel = importlib.import_module(f"pareprop.core.{name}")
    tree = ast.parse((stubs / f"{name}.pyi").read_text())
    named = names_in(tree.body)
    assert named <= set(vars(kernel))
    made_here = {key for key in public(kernel) if not isinstance(getattr(kernel, key), ModuleType | type)}
    made_here |= {key for key in public(kernel) if getattr(getattr(kernel, key), "__module__", "") == kernel.__name__}
    assert {key for key in made_here if not hasattr(kernels.layout, key)} <= named | {"annotations"}
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            members = names_in(node.body) - {"__init__"}
            assert members <= set(vars(getattr(kernel, node.name))), node.name
            if isinstance(getattr(kernel, node.name), EnumMeta):
                continue
            assert public(getattr(kernel, node.name)) <= members, node.name
            for method in node.body:
                if isinstance(method, ast.FunctionDef):
                    assert all(item.annotation or item.arg == "self" for item in method.args.args)
