"""`lockstep bench`: one command per benchmark, and `compare`.

Every command writes the JSON, draws a chart next to it, and prints each run, the summary, the goals
and the audit. Exit codes: 0 measured, 1 the audit failed, a server ended or something broke, 2 the
request is wrong. Goals that are not met do not change the exit code: they are figures.
"""

import shlex
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from actors.host.logging import set_up_logging
from benchmarks.harness.benchmark import Benchmark, run_benchmark, with_changes
from benchmarks.harness.printing import print_comparison, print_report
from benchmarks.harness.progress import Reporter
from benchmarks.harness.report import BenchReport, compared, read_report, write_report
from benchmarks.measures import fanout, latency, memory, recovery, sustained
from cluster.errors import ClusterError
from cluster.running.stopping import run_until_stopped

CANONICAL = "fanout"
BENCHMARKS: dict[str, Benchmark] = {
    one.name: one
    for one in (
        fanout.BENCHMARK,
        latency.BENCHMARK,
        sustained.BENCHMARK,
        memory.BENCHMARK,
        recovery.BENCHMARK,
    )
}

app = typer.Typer(
    name="lockstep bench",
    help="Measure the engine on the real path. Benchmarks: "
    f"{', '.join(BENCHMARKS)}; without a name: {CANONICAL}.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=False,
)

JsonOption = Annotated[
    Path | None,
    typer.Option(
        "--json",
        metavar="F",
        help="Where the report goes, the chart beside it; else build/bench/NAME-SIZE.json.",
    ),
]
SizeOption = Annotated[
    str,
    typer.Option(
        help="tiny (seconds), small (minutes) or full (the sizes that goals are set for)."
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Change one of the size's settings."),
]
DataOption = Annotated[
    Path | None,
    typer.Option(
        "--data", metavar="DIR", help="Empty directory to use and keep; else a temporary one."
    ),
]
KeepOption = Annotated[
    bool, typer.Option("--keep", help="Keep the temporary data directory, for `lockstep audit`.")
]


def _measure(
    name: str,
    json: Path | None,
    size: str,
    changes: list[str] | None,
    data: Path | None,
    keep: bool,
) -> None:
    benchmark = BENCHMARKS[name]
    if size not in benchmark.sizes:
        raise typer.BadParameter(
            f"--size: expected one of {', '.join(benchmark.sizes)}, found {size!r}"
        )
    try:
        settings = with_changes(benchmark.sizes[size], changes or [])
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    set_up_logging("bench")
    path = json or Path("build/bench") / f"{name}-{size}.json"
    _expect_writable(path)
    options = ["--size", size, *(text for change in changes or [] for text in ("--set", change))]
    command = shlex.join(["lockstep", "bench", name, *options])
    try:
        report = run_until_stopped(
            run_benchmark(
                benchmark, settings, command=command, data=data, keep=keep, reporter=Reporter()
            ),
            stopped=_stopped,
        )
    except ExceptionGroup as group:
        # Several tasks at one thing: the first that failed says why.
        raise _first(group) from group
    # Stored first: whoever reads the terminal may be gone.
    stored = store(benchmark, report, path)
    print_report(report)
    print("\n".join(stored))
    if report.audit.get("passed") is not True:
        raise typer.Exit(1)


def _stopped() -> NoReturn:
    raise ClusterError("the benchmark was stopped before it was done; what it started is down")


def _first(error: Exception) -> Exception:
    return _first(error.exceptions[0]) if isinstance(error, ExceptionGroup) else error


def _expect_writable(path: Path) -> None:
    """Refuse a report's path before the benchmark starts."""
    if path.suffix == ".png":
        raise typer.BadParameter(
            f"--json: expected a name for the report, found the chart's, {path}"
        )
    for each in (path, path.with_suffix(".png")):
        is_there = each.exists()
        try:
            each.parent.mkdir(parents=True, exist_ok=True)
            each.open("ab").close()
            if not is_there:
                each.unlink()
        except OSError as error:
            raise typer.BadParameter(
                f"--json: expected a file that can be written, found {error}"
            ) from None


def store(benchmark: Benchmark, report: BenchReport, path: Path) -> list[str]:
    """Write the report and its chart. Returns: their paths, one line each."""
    write_report(report, path)
    chart = path.with_suffix(".png")
    # An earlier run's chart would look like this one's.
    chart.unlink(missing_ok=True)
    if not report.runs:
        return [f"report: {path}"]
    benchmark.draw(report, chart)
    return [f"report: {path}", f"chart:  {chart}"]


def _add(name: str, text: str) -> None:
    def command(
        json: JsonOption = None,
        size: SizeOption = "full",
        changes: SetOption = None,
        data: DataOption = None,
        keep: KeepOption = False,
    ) -> None:
        _measure(name, json, size, changes, data, keep)

    # The short help would be cut otherwise.
    app.command(name, help=text, short_help=text)(command)


_add(
    "fanout",
    "One fill to 1k ... 1M accounts: when intents, orders and "
    "positions are there; with the baselines beside it.",
)
_add(
    "latency",
    "200 fills/s over 200 creators of 100 accounts, open loop; with the bare skeleton beside it.",
)
_add("sustained", "The highest rate of executed copy orders held without growing backlog.")
_add("memory", "Resident bytes per subscription that holds 5 instruments.")
_add("recovery", "kill -9 of a follower actor under load; latency while snapshots are taken.")


@app.command()
def compare(before: Path, after: Path) -> None:
    """Show two reports' figures side by side."""
    first, second = _read(before), _read(after)
    if first.bench != second.bench:
        raise typer.BadParameter(
            f"expected two reports of one benchmark, found {first.bench} and {second.bench}"
        )
    print_comparison(first, second, compared(first, second))


def _read(path: Path) -> BenchReport:
    try:
        report = read_report(path)
    except (OSError, ValueError) as error:
        raise typer.BadParameter(f"{path}: expected a report, found {error}") from None
    if report.audit.get("passed") is not True:
        raise typer.BadParameter(
            f"{path}: expected a report with figures, found one whose audit failed"
        )
    return report


def run(args: list[str]) -> int:
    """Run the command line of the harness. Returns: the exit code."""
    try:
        app(args=_named(args), prog_name="lockstep bench")
    except SystemExit as ending:
        return ending.code if isinstance(ending.code, int) else 0
    return 0


def _named(args: list[str]) -> list[str]:
    """Without a benchmark's name the canonical one is meant."""
    return (
        args
        if args and (not args[0].startswith("-") or args[0] == "--help")
        else [CANONICAL, *args]
    )
