"""Percentiles from an HdrHistogram: three significant digits, from a microsecond to an hour."""

from collections.abc import Iterable
from statistics import median
from typing import Any

from hdrh.histogram import HdrHistogram

_US_MAX = 3_600_000_000
PERCENTILES = {"p50_ms": 50.0, "p90_ms": 90.0, "p99_ms": 99.0, "p99_9_ms": 99.9}


def percentiles(durations_ns: Iterable[int]) -> dict[str, Any]:
    """Summarise durations as count, p50, p90, p99, p99.9 and max in ms. Without durations there
    is the count alone.
    """
    histogram = HdrHistogram(1, _US_MAX, 3)
    longest = count = 0
    for duration in durations_ns:
        histogram.record_value(min(max(1, duration // 1000), _US_MAX))
        longest = max(longest, duration)
        count += 1
    if not count:
        return {"count": 0}
    found = {
        name: min(histogram.get_value_at_percentile(share) / 1000, longest / 1e6)
        for name, share in PERCENTILES.items()
    }
    return {"count": count, **found, "max_ms": longest / 1e6}


def medians(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Take the median of every number that all rows have under one key, in nested dictionaries
    too; `run` is left out. Shares (`stages`) are averaged, so that they still add up to 1.
    """
    result: dict[str, Any] = {}
    for name in (name for name in (rows[0] if rows else ()) if name != "run"):
        values = [row.get(name) for row in rows]
        if all(isinstance(value, dict) for value in values):
            rows_below = [value for value in values if isinstance(value, dict)]
            result[name] = _averages(rows_below) if name == "stages" else medians(rows_below)
        elif all(
            isinstance(value, int | float) and not isinstance(value, bool) for value in values
        ):
            result[name] = median(value for value in values if isinstance(value, int | float))
    return result


def _averages(rows: list[dict[str, float]]) -> dict[str, float]:
    return {name: round(sum(row[name] for row in rows) / len(rows), 4) for name in rows[0]}
