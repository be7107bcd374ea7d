"""What every benchmark module offers to the command line, and how one is run: start, measure, audit, report."""

import hashlib
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from benchmarks.hops import FillHops
from benchmarks.machine import fingerprint
from benchmarks.progress import Reporter
from benchmarks.report import Measured, Report, judged
from benchmarks.session import Session, audited, opened_session
from cluster.config import ClusterOptions, Config


class Benchmark(NamedTuple):
    """One benchmark. `sizes` are its settings by size name (tiny, small, full); `draw` writes its chart."""

    name: str
    sizes: dict[str, Any]
    measure: Callable[[Session, Any], Awaitable[Measured]]
    draw: Callable[[Report, Path], None]
    config: Callable[[Any], Config]


def default_config(settings: Any) -> Config:
    """Run the cluster with its defaults."""
    return Config()


def sharded_config(settings: Any) -> Config:
    """Run the cluster with the defaults but as many follower shards as the settings say, each in a host of its own."""
    shards = settings.follower_shards
    return Config(cluster=ClusterOptions(follower_shards=shards, follower_hosts=shards))


def with_changes(settings: Any, changes: Iterable[str]) -> Any:
    """Apply `name=value` texts to settings; a list's values are separated by commas. Raises: ValueError."""
    known = msgspec.structs.asdict(settings)
    changed: dict[str, Any] = {}
    for change in changes:
        name, _, text = change.partition("=")
        if name not in known:
            raise ValueError(f"--set {change}: expected one of {', '.join(known)}, found {name!r}")
        changed[name] = text.split(",") if isinstance(known[name], tuple) else text
    try:
        return msgspec.convert({**known, **changed}, type(settings), strict=False)
    except msgspec.ValidationError as error:
        raise ValueError(f"--set: {error}") from None


async def run_benchmark(
    benchmark: Benchmark, settings: Any, *, command: str, data: Path | None, keep: bool, reporter: Reporter
) -> Report:
    """Run one benchmark on a cluster of its own. Returns: its report, without figures when the audit failed."""
    directory = data or Path(tempfile.mkdtemp(prefix=f"lockstep-bench-{benchmark.name}-"))
    config = benchmark.config(settings)
    machine = fingerprint()
    try:
        async with opened_session(directory, config, reporter) as session:
            measured = await benchmark.measure(session, settings)
            await session.settled()
            reporter.say("auditing")
            audit = await audited(directory)
    finally:
        if not keep and data is None:
            shutil.rmtree(directory, ignore_errors=True)
    return report_of(benchmark, settings, config, measured, audit, command=command, machine=machine)


def report_of(
    benchmark: Benchmark,
    settings: Any,
    config: Config,
    measured: Measured,
    audit: dict[str, Any],
    *,
    command: str,
    machine: dict[str, Any],
) -> Report:
    """Put a report together; figures of a run whose audit failed are left out."""
    empty = Report(
        bench=benchmark.name,
        command=command,
        settings={**msgspec.to_builtins(settings), "cluster": msgspec.to_builtins(config)},
        machine=machine,
        audit=audit,
    )
    if audit.get("passed") is not True:
        return empty
    return msgspec.structs.replace(
        empty,
        loading=measured.loading,
        runs=measured.runs,
        summary=measured.summary,
        goals=judged(measured.goals, measured.summary),
    )


def result_hash(hops: Iterable[FillHops]) -> str:
    """Hash what came of every fill (orders and executions with their quantities): the same for one seed whatever the speed."""
    digest = hashlib.blake2b(digest_size=16)
    for one in hops:
        for row in sorted(one.rows()):
            digest.update(repr(row).encode())
    return digest.hexdigest()
