"""The direction of imports: engine <- actors <- gateways <- cluster, and what each may take from
outside.

The engine is pure: besides itself it knows msgspec, numpy and the parts of the standard library
that have no effects.
"""

import ast
import functools
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
OURS = {"engine", "actors", "gateways", "cluster", "benchmarks", "tests"}
PURE = {"msgspec", "numpy"}
EFFECTS = {
    "asyncio",
    "ctypes",
    "fcntl",
    "glob",
    "http",
    "io",
    "logging",
    "mmap",
    "multiprocessing",
    "os",
    "pathlib",
    "random",
    "secrets",
    "selectors",
    "shutil",
    "signal",
    "socket",
    "subprocess",
    "tempfile",
    "threading",
    "time",
    "urllib",
    "uuid",
    "warnings",
}


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
            yield Import(
                path, node.lineno, "relative" if node.level else (node.module or "").split(".")[0]
            )


def breaches(package: str, allowed: set[str]) -> list[str]:
    """Return the imports of a package outside the standard library and its allowed packages."""
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
                assert called.attr not in {"now", "utcnow", "today"}, (
                    f"{path}:{called.lineno} reads a clock"
                )
            if isinstance(called, ast.Name):
                assert called.id not in {"open", "print", "input"}, (
                    f"{path}:{called.lineno} does input or output"
                )


def test_actors_import_the_engine_and_leave_ray_to_one_file() -> None:
    found = breaches("actors", {"actors", "engine", "structlog"} | PURE)
    assert [
        breach
        for breach in found
        if not (breach.startswith("actors/host/ray_actors.py:") and breach.endswith(" ray"))
    ] == []


def test_gateways_import_no_wiring_and_no_ray() -> None:
    taken = {found.package: found for found in imports_in("gateways")}
    assert [
        taken[name] for name in ("cluster", "benchmarks", "tests", "ray") if name in taken
    ] == []


@pytest.mark.parametrize("package", ["engine", "actors", "gateways"])
def test_nothing_below_imports_the_wiring(package: str) -> None:
    assert [
        found
        for found in imports_in(package)
        if found.package in {"cluster", "benchmarks", "tests"}
    ] == []


def test_nothing_that_ships_imports_the_tests() -> None:
    shipped = OURS - {"tests"}
    assert [
        found for package in shipped for found in imports_in(package) if found.package == "tests"
    ] == []


def test_the_command_line_knows_no_benchmark() -> None:
    assert [found for found in imports_in("cluster") if found.package == "benchmarks"] == []


def test_imports_are_absolute() -> None:
    assert [
        found for package in OURS for found in imports_in(package) if found.package == "relative"
    ] == []


def test_an_import_inside_a_function_is_seen() -> None:
    source = "def late() -> None:\n    import ray\n    from cluster.command_line.cli import main\n"
    assert [(found.line, found.package) for found in imports_of(source, "x.py")] == [
        (2, "ray"),
        (3, "cluster"),
    ]


# Circles and siblings.


@functools.cache
def modules() -> dict[str, Path]:
    """Every module that ships, by its dotted name; a package by its folder's."""
    found = {}
    for package in sorted(OURS - {"tests"}):
        for path in sorted((ROOT / package).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = path
    return found


def imported_modules(source: str, known: set[str]) -> set[str]:
    """The known modules that a source imports, anywhere in it: in functions and under TYPE_CHECKING
    too.
    """
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names & known


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """The circles of a graph, each as the names that reach one another."""
    reached: dict[str, set[str]] = {}
    for start in graph:
        seen: set[str] = set()
        waiting = list(graph[start])
        while waiting:
            name = waiting.pop()
            if name not in seen:
                seen.add(name)
                waiting += graph.get(name, ())
        reached[start] = seen
    found = {
        tuple(sorted({name, *(other for other in reached[name] if name in reached.get(other, ()))}))
        for name in graph
        if name in reached[name]
    }
    return [list(circle) for circle in sorted(found)]


@functools.cache
def import_graph() -> dict[str, set[str]]:
    known = modules()
    return {
        name: imported_modules(path.read_text(encoding="utf-8"), set(known)) - {name}
        for name, path in known.items()
    }


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert circles(import_graph()) == []


def test_a_circle_is_found_wherever_its_imports_stand() -> None:
    late = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from b import B\n"
    graph = {
        "a": imported_modules(late, {"a", "b"}),
        "b": imported_modules("def f():\n    import a\n", {"a", "b"}),
    }
    assert circles(graph) == [["a", "b"]]


@pytest.mark.parametrize("layer", ["engine", "actors", "gateways", "cluster"])
def test_no_rooms_of_a_layer_import_each_other_in_a_circle(layer: str) -> None:
    graph: dict[str, set[str]] = {}
    for name, takes in import_graph().items():
        if name.startswith(f"{layer}."):
            ours = {room_of(taken) for taken in takes if taken.startswith(f"{layer}.")}
            graph.setdefault(room_of(name), set()).update(ours - {room_of(name)})
    assert circles(graph) == []


def room_of(module: str) -> str:
    """Return the room of a module; a module beside the rooms is one by itself."""
    return ".".join(module.split(".")[:2])


def taken_below(prefix: str, is_breach: Callable[[str], bool]) -> list[str]:
    """Return the forbidden imports of the modules whose names, with a dot, begin with a prefix."""
    return [
        f"{name} imports {taken}"
        for name, takes in import_graph().items()
        if f"{name}.".startswith(prefix)
        for taken in sorted(takes)
        if is_breach(taken)
    ]


MACHINES = ("creator", "follower", "broker_gateway")


@pytest.mark.parametrize("layer", ["engine", "actors"])
@pytest.mark.parametrize("machine", MACHINES)
def test_creator_follower_and_broker_gateway_know_nothing_of_each_other(
    layer: str, machine: str
) -> None:
    others = tuple(f"{layer}.{other}" for other in MACHINES if other != machine)
    if layer == "actors":
        others += tuple(f"engine.{other}" for other in MACHINES if other != machine)
    breaches = taken_below(
        f"{layer}.{machine}.",
        lambda taken: f"{taken}.".startswith(tuple(f"{other}." for other in others)),
    )
    assert breaches == []


@pytest.mark.parametrize("room", ["values", "columns", "journal", "messages"])
def test_shared_rooms_know_none_of_the_three_machines(room: str) -> None:
    breaches = taken_below(
        f"engine.{room}.",
        lambda taken: taken.startswith(tuple(f"engine.{machine}" for machine in MACHINES)),
    )
    assert breaches == []


def test_the_core_of_every_shard_knows_no_kind_of_shard() -> None:
    kinds = tuple(f"{layer}.{machine}." for layer in ("engine", "actors") for machine in MACHINES)
    breaches = taken_below("actors.shard.", lambda taken: f"{taken}.".startswith(kinds))
    assert breaches == []


def test_who_reads_and_writes_journals_knows_no_shard() -> None:
    kinds = tuple(f"{layer}.{machine}." for layer in ("engine", "actors") for machine in MACHINES)
    others = (*kinds, "actors.shard.", "actors.host.")
    breaches = taken_below("actors.journal.", lambda taken: f"{taken}.".startswith(others))
    assert breaches == []


BROKER_ROOMS = {
    "ledger": ("program", "paper", "acceptance"),
    "program": ("paper", "acceptance"),
    "paper": ("acceptance",),
    "acceptance": ("ledger", "program", "paper"),
}


@pytest.mark.parametrize("room", BROKER_ROOMS)
def test_a_broker_program_knows_no_broker_and_the_acceptance_suite_no_program(room: str) -> None:
    others = tuple(f"gateways.brokers.{other}." for other in BROKER_ROOMS[room])
    breaches = taken_below(
        f"gateways.brokers.{room}.", lambda taken: f"{taken}.".startswith(others)
    )
    assert breaches == []


@pytest.mark.parametrize("room", [*MACHINES, "values", "columns", "journal", "messages"])
def test_histories_know_the_machines_and_no_machine_knows_a_history(room: str) -> None:
    breaches = taken_below(
        f"engine.{room}.", lambda taken: f"{taken}.".startswith("engine.history.")
    )
    assert breaches == []


# The rooms of the cluster, each above those that it may take from.
CLUSTER_ROOMS = {
    "config": {"config"},
    "processes": {"config", "processes"},
    "servers": {"config", "processes", "servers"},
    "placement": {"config", "placement", "processes"},
    "running": {"config", "placement", "processes", "running", "servers"},
    "history": {"config", "history", "processes", "running", "servers"},
    "terminal": {"terminal"},
}


@pytest.mark.parametrize("room", CLUSTER_ROOMS)
def test_a_room_of_the_cluster_takes_only_from_those_below(room: str) -> None:
    allowed = tuple(
        f"cluster.{other}." for other in (*CLUSTER_ROOMS[room], "errors", "private_file")
    )
    breaches = taken_below(
        f"cluster.{room}.",
        lambda taken: taken.startswith("cluster.") and not f"{taken}.".startswith(allowed),
    )
    assert breaches == []


def reached_from(prefix: str) -> set[str]:
    """Every module of ours that the modules below a prefix need, themselves included."""
    graph = import_graph()
    waiting = [name for name in graph if f"{name}.".startswith(f"{prefix}.")]
    reached = set(waiting)
    while waiting:
        for taken in graph[waiting.pop()] - reached:
            reached.add(taken)
            waiting.append(taken)
    return reached


def packages_of(names: set[str]) -> set[str]:
    """The top-level packages that modules import."""
    known = modules()
    return {
        found.package
        for name in names
        for found in imports_of(known[name].read_text(encoding="utf-8"), name)
    }


def test_processes_are_kept_without_nats_and_without_ray() -> None:
    reached = reached_from("cluster.processes")
    assert packages_of(reached) & {"nats", "ray", "gateways"} == set()
    assert [name for name in reached if name.startswith(("actors.host", "actors.shard"))] == []


@pytest.mark.parametrize("name", ["cluster.placement.plan", "cluster.placement.kinds"])
def test_a_placement_plan_is_pure(name: str) -> None:
    reached = reached_from(name)
    assert packages_of(reached) & (EFFECTS | {"gateways", "ray", "structlog"}) == set()


def test_ray_is_known_to_the_placement_alone() -> None:
    allowed = ("actors/host/ray_actors.py", "cluster/placement/", "benchmarks/")
    assert [
        found
        for package in sorted(OURS - {"tests"})
        for found in imports_in(package)
        if found.package == "ray" and not found.path.startswith(allowed)
    ] == []


@pytest.mark.parametrize("name", sorted(modules()))
def test_a_module_says_what_lives_in_it(name: str) -> None:
    docstring = ast.get_docstring(ast.parse(modules()[name].read_text(encoding="utf-8")))
    assert docstring and len(docstring) > 10, f"{name}: expected a docstring"


DOTTED = re.compile(r"`((?:engine|actors|gateways|cluster|benchmarks|tests)(?:\.[a-z_0-9]+)+)`")


def test_docstrings_and_pages_name_modules_that_exist() -> None:
    known = set(modules()) | {
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in (ROOT / "tests").rglob("*.py")
    }
    pages = list(ROOT.glob("*.md")) + [
        path
        for package in OURS
        for kind in ("*.py", "*.md")
        for path in (ROOT / package).rglob(kind)
    ]
    wrong = [
        f"{path.relative_to(ROOT)} names {name}"
        for path in pages
        for name in DOTTED.findall(path.read_text(encoding="utf-8"))
        if name not in known and name.rpartition(".")[0] not in known
    ]
    assert wrong == []
