"""The report of a benchmark: one JSON document with stable keys, and the comparison of two.

    format      1
    bench       the benchmark's name
    command     the command that reproduces it
    settings    the benchmark's settings, and the cluster's
    machine     the machine's fingerprint
    loading     accounts loaded through `commands.bulk`
    runs        every run whole
    summary     figures over the runs: medians unless the key says otherwise; units end the key
    goals       figures against a limit: found, limit, met
    audit       `passed`, and each check's counts

A run whose audit failed measured nothing: `runs`, `summary` and `goals` are empty. Where no fill
passed, there is a `count` of 0 and no other key; `found` and `met` of its goals are null.

In a run, `stages` are shares of the time. `processes` has per role the CPU seconds of the run, the
resident bytes at its end, the peak since each process began, and the number of processes.
"""

from pathlib import Path
from typing import Any

import msgspec

FORMAT = 1


class Goal(msgspec.Struct, frozen=True, kw_only=True):
    """A figure against its goal. `found` is None when this size does not measure it."""

    figure: str
    """Dotted path into `summary`."""
    at_most: float | None = None
    at_least: float | None = None
    found: float | None = None
    met: bool | None = None


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a benchmark's own code."""

    runs: list[dict[str, Any]]
    summary: dict[str, Any]
    loading: dict[str, Any] = {}
    goals: tuple[Goal, ...] = ()


class BenchReport(msgspec.Struct, frozen=True, kw_only=True):
    """One benchmark's result; see the module for the keys."""

    format: int = FORMAT
    bench: str
    command: str
    settings: dict[str, Any]
    machine: dict[str, Any]
    loading: dict[str, Any] = {}
    runs: list[dict[str, Any]] = []
    summary: dict[str, Any] = {}
    goals: list[Goal] = []
    audit: dict[str, Any] = {}


def judged(goals: tuple[Goal, ...], summary: dict[str, Any]) -> list[Goal]:
    """Compare the figures of a summary with the goals."""
    return [_judged(goal, figure_at(summary, goal.figure)) for goal in goals]


def _judged(goal: Goal, found: Any) -> Goal:
    if not isinstance(found, int | float):
        return goal
    met = (goal.at_most is None or found <= goal.at_most) and (
        goal.at_least is None or found >= goal.at_least
    )
    return msgspec.structs.replace(goal, found=found, met=met)


def figure_at(summary: dict[str, Any], path: str) -> Any:
    """Look up a figure by its dotted path. Returns: None when it is not there."""
    found: Any = summary
    for name in path.split("."):
        if not isinstance(found, dict) or name not in found:
            return None
        found = found[name]
    return found


def write_report(report: BenchReport, path: Path) -> None:
    """Store a report."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report)) + b"\n")


def read_report(path: Path) -> BenchReport:
    """Read a stored report. Raises: OSError; ValueError when it is none, or of another format."""
    report = msgspec.json.decode(path.read_bytes(), type=BenchReport)
    if report.format != FORMAT:
        raise ValueError(f"expected format {FORMAT}, found {report.format}")
    return report


def flat(summary: dict[str, Any], prefix: str = "") -> dict[str, float]:
    """Return every number of a summary by its dotted path."""
    found: dict[str, float] = {}
    for name, value in summary.items():
        if isinstance(value, dict):
            found.update(flat(value, f"{prefix}{name}."))
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found[prefix + name] = value
    return found


def compared(
    before: BenchReport, after: BenchReport
) -> list[tuple[str, float, float, float | None]]:
    """Pair the figures of two reports: path, before, after, and after / before (None where
    before is zero).
    """
    first, second = flat(before.summary), flat(after.summary)
    return [
        (name, first[name], second[name], second[name] / first[name] if first[name] else None)
        for name in first
        if name in second
    ]
