"""The form of a benchmark, and how one runs: start, measure, audit, report."""

import hashlib
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from benchmarks.harness.hops import FillHops
from benchmarks.harness.machine import fingerprint
from benchmarks.harness.progress import Reporter
from benchmarks.harness.report import BenchReport, Measured, judged
from benchmarks.harness.session import BenchSession, audited, opened_session
from cluster.config.options import ClusterOptions, Config
from cluster.errors import UsageError


class Benchmark(NamedTuple):
    """One benchmark. `sizes` are its settings by size name (tiny, small, full); `draw` writes its
    chart.
    """

    name: str
    sizes: dict[str, Any]
    measure: Callable[[BenchSession, Any], Awaitable[Measured]]
    draw: Callable[[BenchReport, Path], None]
    config: Callable[[Any], Config]
    parts: Callable[[Any], list[tuple[str, Any]]] = lambda settings: [("", settings)]
    """Settings of what each runs on a cluster of its own, by the name of its directory."""


def default_config(settings: Any) -> Config:
    """The cluster's default configuration."""
    return Config()


def sharded_config(settings: Any) -> Config:
    """The default configuration with as many follower shards as the settings say, each in a host
    of its own.
    """
    shards = settings.follower_shards
    return Config(cluster=ClusterOptions(follower_shards=shards, follower_hosts=shards))


def with_changes(settings: Any, changes: Iterable[str]) -> Any:
    """Apply `name=value` texts to settings; a list's values are separated by commas. Raises:
    ValueError.
    """
    known = msgspec.structs.asdict(settings)
    changes = list(changes)
    changed: dict[str, Any] = {}
    for change in changes:
        name, _, text = change.partition("=")
        if name not in known:
            raise ValueError(f"--set {change}: expected one of {', '.join(known)}, found {name!r}")
        changed[name] = text.split(",") if isinstance(known[name], tuple) else text
    try:
        return msgspec.convert({**known, **changed}, type(settings), strict=False)
    except msgspec.ValidationError as error:
        told = " ".join(f"--set {change}" for change in changes)
        raise ValueError(f"{told}: {error}") from None


async def run_benchmark(
    benchmark: Benchmark,
    settings: Any,
    *,
    command: str,
    data: Path | None,
    keep: bool,
    reporter: Reporter,
) -> BenchReport:
    """Run one benchmark on a cluster of its own. Returns: its report, without figures when the
    audit failed.
    """
    if data is not None and data.is_dir() and any(data.iterdir()):
        raise UsageError(
            f"--data {data}: expected an empty directory, for a "
            "benchmark starts from nothing; name another"
        )
    directory = data or Path(tempfile.mkdtemp(prefix=f"lockstep-bench-{benchmark.name}-"))
    config = benchmark.config(settings)
    is_kept = keep or data is not None
    machine = fingerprint()
    measured: list[Measured] = []
    audits: dict[str, dict[str, Any]] = {}
    try:
        for name, part in benchmark.parts(settings):
            async with opened_session(directory / name, config, reporter) as session:
                measured.append(await benchmark.measure(session, part))
                await session.settled()
                reporter.say("auditing")
                audits[name] = await audited(directory / name)
            if name and not is_kept and audits[name].get("passed") is True:
                shutil.rmtree(directory / name, ignore_errors=True)
    finally:
        if any(audit.get("passed") is not True for audit in audits.values()):
            reporter.say(f"kept, for its audit failed: {directory}")
        elif not is_kept:
            shutil.rmtree(directory, ignore_errors=True)
    audit = joined_audits(audits)
    return report_of(
        benchmark, settings, config, joined(measured), audit, command=command, machine=machine
    )


def joined(measured: list[Measured]) -> Measured:
    """Join the parts of a benchmark into one result."""
    if len(measured) == 1:
        return measured[0]
    return Measured(
        runs=[run for part in measured for run in part.runs],
        summary={name: figures for part in measured for name, figures in part.summary.items()},
        loading=joined_loading([part.loading for part in measured]),
        goals=measured[0].goals,
    )


def joined_loading(loadings: list[dict[str, Any]]) -> dict[str, Any]:
    """Add up what the parts loaded."""
    added: dict[str, Any] = {
        key: sum(loading[key] for loading in loadings)
        for key in ("subscriptions", "creators", "seconds")
    }
    return {
        **added,
        "subscriptions_per_s": round(added["subscriptions"] / max(added["seconds"], 1e-9), 1),
    }


def joined_audits(audits: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Join the audits of a benchmark's parts: passed when all passed."""
    if len(audits) == 1:
        return next(iter(audits.values()))
    return {
        "passed": all(audit.get("passed") is True for audit in audits.values()),
        "error": "; ".join(str(audit["error"]) for audit in audits.values() if audit.get("error")),
        "checks": [check for audit in audits.values() for check in audit.get("checks", [])],
        "parts": audits,
    }


def report_of(
    benchmark: Benchmark,
    settings: Any,
    config: Config,
    measured: Measured,
    audit: dict[str, Any],
    *,
    command: str,
    machine: dict[str, Any],
) -> BenchReport:
    """Build a report. Figures of a run whose audit failed are left out."""
    empty = BenchReport(
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
    """Hash the outcome of every fill: its orders and executions with their quantities. One seed
    gives one hash, whatever the speed.
    """
    digest = hashlib.blake2b(digest_size=16)
    for one in hops:
        for row in sorted(one.rows()):
            digest.update(repr(row).encode())
    return digest.hexdigest()
