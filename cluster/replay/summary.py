"""The short table that a replay prints at its end."""

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from cluster.audit.report import AuditReport
from cluster.replay.broker_csv import BrokerTotals
from cluster.replay.outcome import ReplayOutcome
from engine.history.storage import Ints
from engine.values.dispositions import Disposition

_NS_PER_MS = 1_000_000


class Counts(NamedTuple):
    """Counts of a replay's results. `skipped` is by reason, largest first."""

    signals: int
    ordered: int
    netted: int
    skipped: list[tuple[str, int]]
    orders: int


def counts_of(outcome: ReplayOutcome) -> Counts:
    """Count dispositions and orders."""
    codes: Counter[int] = Counter()
    orders = 0
    for tables in outcome.journals.followers.values():
        found, times = np.unique(tables.dispositions.table().codes, return_counts=True)
        codes.update(dict(zip(found.tolist(), times.tolist(), strict=True)))
        orders += len(tables.orders.table().subscriptions)
    reasons = Counter(
        {
            Disposition(code).reason: count
            for code, count in codes.items()
            if Disposition(code).reason
        }
    )
    signals = sum(
        int(tables.fills().legs_counts.sum()) for tables in outcome.journals.creators.values()
    )
    return Counts(
        signals,
        codes[Disposition.ORDERED],
        codes[Disposition.NETTED],
        reasons.most_common(),
        orders,
    )


def lines_of(
    outcome: ReplayOutcome, counts: Counts, broker: BrokerTotals, report: AuditReport
) -> Iterator[tuple[str, str]]:
    """Return the name and text of each row of the table."""
    inputs, published = outcome.inputs, outcome.published
    accounts = {row.account_id for row in inputs.followers}
    dedicated = len(inputs.dedicated_accounts)
    apart = f", {_many(dedicated)} of them in actors of their own" if dedicated else ""
    yield "creators", _many(len(inputs.creators))
    yield "fills", _fills(outcome, counts)
    yield "prices", f"{_many(published.marks_count)} marks"
    yield (
        "followers",
        f"{_many(len(accounts))} accounts, {_many(len(inputs.followers))} subscriptions{apart}",
    )
    yield "orders", f"{_many(counts.orders)}"
    decided = counts.ordered + counts.netted + sum(count for _, count in counts.skipped)
    yield (
        "dispositions",
        f"{_many(decided)}: {_many(counts.ordered)} ordered, {_many(counts.netted)} netted",
    )
    for reason, count in counts.skipped:
        yield "  skipped", f"{_many(count)} {reason}"
    yield (
        "executions",
        f"{_many(broker.trades_count)} of {_many(broker.orders_count)} orders at the broker",
    )
    yield "fill to broker", _latency(broker.latencies_ns)
    for number, line in enumerate(_audit(report)):
        yield "" if number else "audit", line


def _fills(outcome: ReplayOutcome, counts: Counts) -> str:
    published = outcome.published.fills
    refused = Counter(refusal.reason for refusal in outcome.refusals)
    repeated = sum(fill.is_repeated for fill in published)
    notes = [f"{_many(counts.signals)} signals"]
    notes += [f"{_many(count)} refused: {reason}" for reason, count in refused.most_common()]
    if repeated:
        notes.append(f"{_many(repeated)} dropped, their creator had used the fill_id before")
    return f"{_many(len(published))} ({', '.join(notes)})"


def _audit(report: AuditReport) -> list[str]:
    """Return the audit's last line, or all lines when it failed."""
    lines = "\n".join(report.lines()).splitlines()
    return (
        [lines[-1].removeprefix("audit ")]
        if report.passed
        else [lines[-1].removeprefix("audit "), *lines[:-1]]
    )


def _latency(latencies_ns: Ints) -> str:
    if not len(latencies_ns):
        return "no orders"
    middle, late = np.percentile(latencies_ns, (50, 99), method="inverted_cdf") / _NS_PER_MS
    return f"p50 {middle:.1f} ms, p99 {late:.1f} ms, to a fill's last order"


def _many(count: int) -> str:
    return f"{count:,}"
