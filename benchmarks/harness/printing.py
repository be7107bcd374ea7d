"""Reports as tables on the terminal: every run, as many side by side as the width has room for.
The JSON has everything.
"""

import shutil
from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.table import Column, Table

from benchmarks.harness.report import BenchReport, figure_at, flat

WIDTH = 140
"""Where there is no terminal and no COLUMNS."""
UNSHOWN = ("processes", "lag")
"""Keys of a run that are told elsewhere: in a table of their own, in the chart."""
TITLES = ("shape", "followers")
"""Keys that are the same in every run of a table."""
TEXT_LENGTH_MAX = 14
"""Of a hash its beginning tells."""
HEADS = ("run", "kind")
"""Keys that a run's column is headed by."""


def print_report(report: BenchReport) -> None:
    """Print every run, the summary, goals and audit."""
    console = _console()
    console.print(report.bench, style="bold")
    _say(console, f"machine: {_machine_text(report.machine)}")
    _say(console, f"reproduce: {report.command}")
    _say(console, f"settings: {_settings_text(report.settings)}")
    _print_audit(console, report)
    if not report.runs:
        return
    if report.loading:
        _say(
            console,
            f"loaded {report.loading['subscriptions']:,} subscriptions "
            f"in {report.loading['seconds']:.1f} s: "
            f"{report.loading['subscriptions_per_s']:,.0f}/s",
        )
    for group in _groups(report.runs):
        for table in _runs_tables(group, console.width):
            console.print(table)
    if "processes" in report.runs[-1]:
        console.print(_processes_table(report.runs[-1]["processes"]))
    console.print(_summary_table(report.summary))
    if "result_hash" in report.summary:
        _say(console, f"result hash: {report.summary['result_hash']}")
    for goal in report.goals:
        limit = f"<= {goal.at_most:,g}" if goal.at_most is not None else f">= {goal.at_least:,g}"
        found = (
            "not measured"
            if goal.found is None
            else f"{_text(goal.found)}  {'met' if goal.met else 'NOT MET'}"
        )
        _say(console, f"goal {goal.figure} {limit}: {found}")


def _console() -> Console:
    # What is told may hold brackets, which are no markup.
    return Console(
        width=shutil.get_terminal_size((WIDTH, 24)).columns, markup=False, highlight=False
    )


def _say(console: Console, text: str) -> None:
    """Print a line unbroken, so that it can be copied whole."""
    console.print(text, soft_wrap=True)


def _machine_text(machine: dict[str, Any]) -> str:
    memory = f"{machine.get('memory_bytes', 0) / (1 << 30):.0f} GiB"
    return (
        f"{machine.get('processor')} x{machine.get('cores')}, "
        f"{memory}, kernel {machine.get('kernel')}, "
        f"Python {machine.get('python')}, load {machine.get('load_1m')}"
    )


def _settings_text(settings: dict[str, Any]) -> str:
    """Return settings in the form that `--set` takes. The cluster's settings are in the JSON."""
    texts = {
        name: ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
        for name, value in settings.items()
        if name != "cluster"
    }
    return " ".join(f"{name}={text}" for name, text in texts.items())


def _print_audit(console: Console, report: BenchReport) -> None:
    checks = report.audit.get("checks", [])
    if report.audit.get("passed") is True:
        orders = sum(
            check["counts"].get("orders", 0) for check in checks if check.get("promise") == "P1"
        )
        _say(console, f"audit passed, {orders:,} orders")
        return
    texts = [
        f"{check.get('promise')}: {check.get('offender')}"
        for check in checks
        if not check.get("passed")
    ]
    _say(
        console,
        f"audit FAILED, so no figure: {'; '.join(texts or [str(report.audit.get('error', ''))])}",
    )


def _groups(runs: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Group runs of the same thing with the same figures."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for run in runs:
        key = (*(run.get(name) for name in TITLES), *_row(run))
        groups.setdefault(key, []).append(run)
    return list(groups.values())


def _row(run: dict[str, Any]) -> dict[str, str]:
    row: dict[str, str] = {}
    for name, value in run.items():
        if isinstance(value, dict):
            row.update({path: _text(found) for path, found in flat(_shown({name: value})).items()})
        elif name not in (*TITLES, *HEADS, *UNSHOWN):
            row[name] = _text(value)[:TEXT_LENGTH_MAX]
    return row


def _runs_tables(runs: list[dict[str, Any]], width: int) -> Iterator[Table]:
    rows = [_row(run) for run in runs]
    columns = [
        f"{run.get('kind', 'run')} {run.get('run', number)}" for number, run in enumerate(runs, 1)
    ]
    told = [f"{name} {_text(runs[0][name])}" for name in TITLES if name in runs[0]]
    widest = max(len(text) for row in rows for text in row.values())
    room = width - max(map(len, rows[0])) - 4
    count = max(1, room // (max(widest, *map(len, columns)) + 3))
    for first in range(0, len(rows), count):
        table = _table(", ".join(["figure", *told]), *columns[first : first + count])
        for name in rows[0]:
            table.add_row(name, *(row[name] for row in rows[first : first + count]))
        yield table


def _table(*columns: str) -> Table:
    """Make a table that never cuts a figure. It folds names where there is no room."""
    name, *figures = columns
    return Table(
        Column(name, overflow="fold"),
        *(Column(column, no_wrap=True, justify="right") for column in figures),
    )


def _summary_table(summary: dict[str, Any]) -> Table:
    table = _table("summary", "")
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
    table = _table("processes of the last run", "CPU s", "resident MB", "peak MB", "count")
    for role, spent in processes.items():
        sizes = (f"{spent[name] / 1e6:,.0f}" for name in ("resident_bytes", "peak_bytes"))
        table.add_row(role, f"{spent['cpu_s']:,.2f}", *sizes, f"{spent['processes']:.0f}")
    return table


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def print_comparison(
    before: BenchReport, after: BenchReport, rows: list[tuple[str, float, float, float | None]]
) -> None:
    """Print two reports' figures side by side, then what else differs between them."""
    console = _console()
    _say(console, f"before: {before.command}\nafter:  {after.command}")
    for text in differences(before, after):
        _say(console, text)
    table = _table("figure", "before", "after", "after / before")
    for name, first, second, ratio in rows:
        table.add_row(name, _text(first), _text(second), "" if ratio is None else f"{ratio:.3f}")
    console.print(table)


def differences(before: BenchReport, after: BenchReport) -> list[str]:
    """Return what makes two reports hard to compare: other settings, another machine, another
    result, figures that only one of them has.
    """
    told = []
    for what, first, second in (
        ("settings", before.settings, after.settings),
        ("machines", before.machine, after.machine),
    ):
        names = [name for name in _paths(first) | _paths(second) if name != "load_1m"]
        told += [
            f"{what} differ: {name} {figure_at(first, name)}, {figure_at(second, name)}"
            for name in names
            if figure_at(first, name) != figure_at(second, name)
        ]
    hashes = [report.summary.get("result_hash") for report in (before, after)]
    if hashes[0] != hashes[1]:
        told.append(f"results differ: hash {hashes[0]}, {hashes[1]}")
    alone = flat(before.summary).keys() ^ flat(after.summary).keys()
    if alone:
        told.append(f"in one of the two only: {', '.join(sorted(alone))}")
    return told


def _paths(tree: dict[str, Any], prefix: str = "") -> dict[str, None]:
    """List the leaves of a tree by their dotted paths, in order."""
    found: dict[str, None] = {}
    for name, value in tree.items():
        found |= (
            _paths(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: None}
        )
    return found
