"""The house rules that a machine can check: which way imports run, how long things are, what they are called."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "tlmed"
FILES = sorted(PACKAGE.rglob("*.py"))

# From the top to the foundation; what stands in one row are siblings, which do not import each other.
LAYERS = [
    {"cli"},
    {"experiment", "learning_curve"},
    {"results", "measuring", "references", "provenance", "openings", "request"},
    {"domains", "auditing", "external", "delivery", "draft"},
    {"report"},
    {"serving"},
    {"transfer", "audit"},
    {"evaluation"},
    {"models", "data"},
    {"runtime"},
    {"recipe"},
    {"errors"},
]
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}

# What pure functions of predictions may know besides the standard library and each other.
PURE = sorted(set((PACKAGE / "evaluation").rglob("*.py")) - {PACKAGE / "evaluation/predict.py"})
PURE_IMPORTS = {"numpy", "scipy", "pandas", "sklearn", "tlmed"}

LONGEST_BODY, LONGEST_FILE = 60, 400
VAGUE_NAMES = {"utils", "util", "helpers", "helper", "common", "misc"}


def imported_modules(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module


def layer_breaches(place: str, modules: Iterator[str]) -> list[str]:
    """Imports of a file in the part `place` of the package that run upwards or sideways."""
    parts = [module.split(".")[1] for module in modules if module.startswith("tlmed.")]
    return sorted({part for part in parts if part != place and RANK[part] <= RANK[place]})


def parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


@pytest.mark.parametrize("file", [f for f in FILES if f.parent != PACKAGE or f.stem in RANK], ids=str)
def test_imports_run_downwards(file: Path) -> None:
    place = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
    assert layer_breaches(place, imported_modules(parsed(file))) == []


def test_the_check_of_imports_fires() -> None:
    upwards = ast.parse("from tlmed.transfer.fit import fit")
    sideways = ast.parse("import tlmed.data.images")
    assert layer_breaches("serving", imported_modules(upwards)) == []
    assert layer_breaches("models", imported_modules(upwards)) == ["transfer"]
    assert layer_breaches("models", imported_modules(sideways)) == ["data"]


def test_what_is_deployed_carries_no_training_code() -> None:
    for file in (PACKAGE / "serving").glob("*.py"):
        parts = {module.split(".")[1] for module in imported_modules(parsed(file)) if module.startswith("tlmed.")}
        assert not parts & {"transfer", "audit"}, file


def test_metrics_know_arrays_and_tables_alone() -> None:
    for file in PURE:
        tops = {module.split(".")[0] for module in imported_modules(parsed(file))}
        foreign = {top for top in tops if (PACKAGE.parent / top).exists() or not _is_standard(top)} - PURE_IMPORTS
        assert foreign == set(), file


def _is_standard(top: str) -> bool:
    import sys

    return top in sys.stdlib_module_names


def test_only_the_device_module_creates_a_fabric() -> None:
    for file in FILES:
        if file.name != "device.py":
            assert "Fabric(" not in file.read_text(encoding="utf-8"), file


@pytest.mark.parametrize("file", FILES, ids=str)
def test_files_and_functions_stay_short(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= LONGEST_FILE
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            length = (node.body[-1].end_lineno or 0) - node.body[0].lineno + 1
            documented = ast.get_docstring(node)
            length -= len(documented.splitlines()) if documented else 0
            assert length <= LONGEST_BODY, node.name


def test_no_module_has_a_vague_name() -> None:
    assert [file for file in FILES if file.stem in VAGUE_NAMES] == []


def test_every_part_of_the_package_has_a_layer() -> None:
    parts = {path.stem for path in PACKAGE.iterdir() if path.is_dir() or path.suffix == ".py"}
    assert parts - {"__init__", "__main__", "__pycache__", "py"} == set(RANK)
