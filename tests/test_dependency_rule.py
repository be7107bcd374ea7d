"""The direction of imports: engine <- actors <- gateways <- cluster, and what each may take from outside.

The engine is pure: besides itself it knows msgspec, numpy and the parts of the standard library that have no effects.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
OURS = {"engine", "actors", "gateways", "cluster", "benchmarks", "tests"}
PURE = {"msgspec", "numpy"}
EFFECTS = {
    "asyncio", "glob", "http", "io", "logging", "multiprocessing", "os", "pathlib", "random", "secrets", "selectors",
    "shutil", "signal", "socket", "subprocess", "tempfile", "threading", "time", "urllib", "uuid", "warnings",
}  # fmt: skip


class Import(NamedTuple):
    """One import: the importing file, its line, and the top-level package it takes."""

    path: str
    line: int
    package: str


def imports_in(package: str) -> Iterator[Import]:
    """Read every import of a package's files, those inside functions included."""
    for path in sorted((ROOT / package).rglob("*.py")):
        yield from imports_of(path.read_text(encoding="utf-8"), str(path.relative_to(ROOT)))


def imports_of(source: str, path: str) -> Iterator[Import]:
    for node in ast.walk(ast.parse(source, path)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(path, node.lineno, alias.name.split(".")[0])
        elif isinstance(node, ast.ImportFrom):
            yield Import(path, node.lineno, "relative" if node.level else (node.module or "").split(".")[0])


def breaches(package: str, allowed: set[str]) -> list[str]:
    """Name the imports of a package outside the standard library and what it may take."""
    return [
        f"{found.path}:{found.line} imports {found.package}"
        for found in imports_in(package)
        if found.package not in allowed
        and (found.package in OURS or found.package not in sys.stdlib_module_names)
    ]


def test_engine_imports_only_itself_msgspec_and_numpy() -> None:
    assert breaches("engine", {"engine"} | PURE) == []


def test_engine_has_no_clock_randomness_environment_or_input_and_output() -> None:
    assert [found for found in imports_in("engine") if found.package in EFFECTS] == []
    for path in (ROOT / "engine").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            assert not isinstance(node, (ast.AsyncFunctionDef, ast.Await)), (
                f"{path}:{node.lineno} is asynchronous"
            )
            called = node.func if isinstance(node, ast.Call) else None
            if isinstance(called, ast.Attribute):
                assert called.attr not in {"now", "utcnow", "today"}, f"{path}:{called.lineno} reads a clock"
            if isinstance(called, ast.Name):
                assert called.id not in {"open", "print", "input"}, (
                    f"{path}:{called.lineno} does input or output"
                )


def test_actors_import_the_engine_and_leave_ray_to_one_file() -> None:
    found = breaches("actors", {"actors", "engine", "structlog"} | PURE)
    assert [
        breach for breach in found if not (breach.startswith("actors/remote.py:") and breach.endswith(" ray"))
    ] == []


def test_gateways_import_no_wiring_and_no_ray() -> None:
    taken = {found.package: found for found in imports_in("gateways")}
    assert [taken[name] for name in ("cluster", "benchmarks", "tests", "ray") if name in taken] == []


@pytest.mark.parametrize("package", ["engine", "actors", "gateways"])
def test_nothing_below_imports_the_wiring(package: str) -> None:
    assert [
        found for found in imports_in(package) if found.package in {"cluster", "benchmarks", "tests"}
    ] == []


def test_nothing_that_ships_imports_the_tests() -> None:
    shipped = OURS - {"tests"}
    assert [found for package in shipped for found in imports_in(package) if found.package == "tests"] == []


def test_imports_are_absolute() -> None:
    assert [found for package in OURS for found in imports_in(package) if found.package == "relative"] == []


def test_an_import_inside_a_function_is_seen() -> None:
    source = "def late() -> None:\n    import ray\n    from cluster.cli import main\n"
    assert [(found.line, found.package) for found in imports_of(source, "x.py")] == [
        (2, "ray"),
        (3, "cluster"),
    ]
