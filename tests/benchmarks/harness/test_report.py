"""A report has figures only after a passed audit; it is written, read back and compared."""

from pathlib import Path

import msgspec

from benchmarks.harness.report import (
    Goal,
    compared,
    judged,
    read_report,
    write_report,
)
from tests.benchmarks.harness.builders import report


def test_a_failed_audit_leaves_no_figure() -> None:
    failed = report(False, p50=1.0)
    assert (failed.runs, failed.summary, failed.goals) == ([], {}, [])
    assert failed.audit == {"passed": False}
    assert report(True, p50=1.0).summary == {"p50": 1.0}


def test_goals_are_held_against_figures_by_path() -> None:
    goals = (
        Goal(figure="a.b", at_most=5),
        Goal(figure="a.c", at_least=5),
        Goal(figure="missing", at_most=1),
    )
    assert [goal.met for goal in judged(goals, {"a": {"b": 5, "c": 4.9}})] == [True, False, None]


def test_reports_are_read_back_and_compared(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_report(report(True, p50=2.0, nested={"p99": 4.0}), path)
    before = read_report(path)
    after = msgspec.structs.replace(before, summary={"p50": 1.0, "nested": {"p99": 6.0}})
    assert compared(before, after) == [("p50", 2.0, 1.0, 0.5), ("nested.p99", 4.0, 6.0, 1.5)]
