"""Reports as tables on the terminal."""

from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.report import Report, flat

UNSHOWN = ("processes", "lag")
"""Keys of a run that are told elsewhere: in a table of their own, in the chart."""


def print_report(report: Report) -> None:
    """Print every run, the summary, goals and audit."""
    console = Console(width=140)
    machine = report.machine
    console.print(
        f"[bold]{report.bench}[/bold]  {machine.get('processor')} x{machine.get('cores')}, load {machine.get('load_1m')}",
        highlight=False,
    )
    console.print(f"reproduce: {report.command}", highlight=False)
    _print_audit(console, report)
    if not report.runs:
        return
    if report.loading:
        console.print(
            f"loaded {report.loading['subscriptions']:,} subscriptions in {report.loading['seconds']:.1f} s: "
            f"{report.loading['subscriptions_per_s']:,.0f}/s",
            highlight=False,
        )
    for group in _groups(report.runs):
        console.print(_runs_table(group))
    if "processes" in report.runs[-1]:
        console.print(_processes_table(report.runs[-1]["processes"]))
    console.print(_summary_table(report.summary))
    for goal in report.goals:
        limit = f"<= {goal.at_most:,g}" if goal.at_most is not None else f">= {goal.at_least:,g}"
        found = (
            "not measured at this size"
            if goal.found is None
            else f"{goal.found:,.4g}  {'met' if goal.met else 'NOT MET'}"
        )
        console.print(f"goal {goal.figure} {limit}: {found}", highlight=False)


def _print_audit(console: Console, report: Report) -> None:
    if report.audit.get("passed") is True:
        console.print("audit passed", highlight=False)
        return
    failed = [check for check in report.audit.get("checks", []) if not check.get("passed")]
    texts = [f"{check.get('promise')}: {check.get('offender')}" for check in failed] or [
        str(report.audit.get("error", ""))
    ]
    console.print(f"audit FAILED, so no figure: {'; '.join(texts)}", highlight=False)


def _groups(runs: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Put runs with the same figures together."""
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for run in runs:
        groups.setdefault(tuple(_row(run)), []).append(run)
    return list(groups.values())


def _row(run: dict[str, Any]) -> dict[str, Any]:
    shown = {name: value for name, value in run.items() if name not in UNSHOWN}
    names = {name: value for name, value in shown.items() if isinstance(value, str)}
    return {**names, **flat(shown)}


def _runs_table(runs: list[dict[str, Any]]) -> Table:
    table = Table(
        "figure", *(f"run {number}" for number in range(1, len(runs) + 1)), title="runs", title_justify="left"
    )
    rows = [_row(run) for run in runs]
    for name in rows[0]:
        table.add_row(name, *(_text(row[name]) for row in rows))
    return table


def _summary_table(summary: dict[str, Any]) -> Table:
    table = Table("summary", "", title_justify="left")
    for name, value in flat(_shown(summary)).items():
        table.add_row(name, _text(value))
    return table


def _shown(summary: dict[str, Any]) -> dict[str, Any]:
    """Leave out what only the JSON shows, at any depth."""
    return {
        name: _shown(value) if isinstance(value, dict) else value
        for name, value in summary.items()
        if name not in UNSHOWN
    }


def _processes_table(processes: dict[str, dict[str, float]]) -> Table:
    table = Table("processes of the last run", "CPU s", "resident MB", "peak MB", "count")
    for role, spent in processes.items():
        sizes = (f"{spent[name] / 1e6:,.0f}" for name in ("resident_bytes", "peak_bytes"))
        table.add_row(role, f"{spent['cpu_s']:,.2f}", *sizes, f"{spent['processes']:.0f}")
    return table


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def print_comparison(
    before: Report, after: Report, rows: list[tuple[str, float, float, float | None]]
) -> None:
    """Print two reports' figures side by side."""
    console = Console(width=140)
    console.print(f"before: {before.command}\nafter:  {after.command}", highlight=False)
    if before.machine.get("processor") != after.machine.get("processor"):
        console.print("the two were measured on different machines", highlight=False)
    table = Table("figure", "before", "after", "after / before")
    for name, first, second, ratio in rows:
        table.add_row(name, _text(first), _text(second), "" if ratio is None else f"{ratio:.3f}")
    console.print(table)
