"""Imports point down only, and siblings never import each other."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from support.places import PACKAGE

SOURCE = PACKAGE
LAYERS = [
    {"errors", "findings"},
    {"_internal", "_scan"},
    {"keys", "policy"},
    {"_manifest"},
    {"_judging", "_storage"},
    {"_loading"},
    {"_signing", "audit"},
    {"store"},
    {"_api"},
    {"__init__"},
    {"guard"},
    {"_cli"},
    {"__main__"},
]
LEVEL = {part: level for level, parts in enumerate(LAYERS) for part in parts}
MODULES = sorted(SOURCE.rglob("*.py"))


def part_of(path: Path) -> str:
    part = path.relative_to(SOURCE).with_suffix("").parts[0]
    return "_cli" if part == "__main__" else part


def imported_parts(path: Path) -> set[str]:
    """The parts of safeload that a module imports, wherever in it, for type checking too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            module = node.module or ""
            names = [f"{module}.{alias.name}" if module == "safeload" else module for alias in node.names]
        else:
            continue
        for name in names:
            if name == "safeload":
                found.add("__init__")
            elif name.startswith("safeload."):
                part = name.split(".")[1]
                found.add(part if part in LEVEL else "__init__")
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_point_down(path: Path) -> None:
    part = part_of(path)
    assert part in LEVEL, f"{part} has no layer yet"
    for other in imported_parts(path) - {part}:
        assert LEVEL[other] < LEVEL[part], f"{part} imports {other}, which is not below it"


PUBLIC_PACKAGES = {"keys", "policy", "store", "audit"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_other_rooms_use_the_public_names_of_a_public_package(path: Path) -> None:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    for name in found:
        _, package, *rest = [*name.split("."), ""]
        if package in PUBLIC_PACKAGES - {part_of(path)} and name.startswith("safeload.") and rest != [""]:
            public = importlib.import_module(f"safeload.{package}").__all__
            assert rest[0] in public, f"{name} is not a public name of safeload.{package}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_only_the_command_line_prints(path: Path) -> None:
    if part_of(path) == "_cli":
        return
    calls = [node.func.id for node in ast.walk(ast.parse(path.read_text()))
             if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]  # fmt: skip
    assert "print" not in calls


@pytest.mark.parametrize("path", sorted((SOURCE / "_scan").rglob("*.py")), ids=lambda path: path.name)
def test_the_scanner_knows_no_loader(path: Path) -> None:
    tree = ast.parse(path.read_text())
    tops = {alias.name.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    tops |= {(node.module or "").split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not tops & {"joblib", "fickling", "pickle", "sklearn", "scipy", "importlib"}


@pytest.mark.parametrize("path", sorted((SOURCE / "_manifest").rglob("*.py")), ids=lambda path: path.name)
def test_manifests_and_digests_open_no_file(path: Path) -> None:
    """They take bytes and blobs, and reading files is the business of others."""
    tree = ast.parse(path.read_text())
    tops = {alias.name.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    tops |= {(node.module or "").split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not tops & {"os", "io", "pathlib", "shutil", "mmap", "tempfile", "socket"}
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert "open" not in names


def test_nothing_heavy_is_imported_with_the_package() -> None:
    heavy = ("fickling", "sklearn", "scipy", "joblib", "numpy", "rich", "click", "blake3", "tomlkit", "cryptography")
    code = f"import sys, safeload; print([name for name in {heavy!r} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(SOURCE.parent).with_suffix("").parts).removesuffix(".__init__")


def imports_at_run_time(path: Path, known: set[str]) -> set[str]:
    """The modules that a module imports, in functions too, but for those that only type checkers see."""
    found: set[str] = set()

    def walk(node: ast.AST) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
                continue
            if isinstance(child, ast.Import):
                found.update(alias.name for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                submodules = {f"{child.module}.{alias.name}" for alias in child.names} & known
                found.update(submodules or {child.module or ""})
            walk(child)

    walk(ast.parse(path.read_text()))
    return (found & known) - {module_of(path)}


def test_no_modules_import_each_other_in_a_circle() -> None:
    paths = {module_of(path): path for path in MODULES}
    graph = {name: imports_at_run_time(path, set(paths)) for name, path in paths.items()}
    while free := [name for name, wanted in graph.items() if not wanted & graph.keys()]:
        for name in free:
            del graph[name]
    assert not graph, f"these import each other: {sorted(graph)}"
