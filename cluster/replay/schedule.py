"""The order of a replay: fills by time, and before each fill the marks since the fill before.

Fills and prices are ordered by time. At equal times prices come before fills, each in the order of
its file. Each fill's own price is published as a mark of its symbol just before the fill, at the
fill's time. Marks after the last fill make a last step without a fill.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from cluster.replay.inputs import FillRow, PriceRow
from engine.values.units import format_micros, format_quantity, format_time

MARKS_BYTES_MAX = 1 << 20
MARKS_COUNT_MAX = 50_000
"""Larger arrays of marks are split: one message may hold 100,000."""


class ScheduleStep(NamedTuple):
    """The messages before a barrier: `prices` as one array, then the fill's own mark and the
    fill.
    """

    prices: list[PriceRow]
    fill: FillRow | None


def steps(fills: Sequence[FillRow], prices: Sequence[PriceRow]) -> Iterator[ScheduleStep]:
    """Merge fills and prices into steps."""
    ordered = sorted(prices, key=lambda row: row.time)
    taken = 0
    for fill in sorted(fills, key=lambda row: row.time):
        first = taken
        while taken < len(ordered) and ordered[taken].time <= fill.time:
            taken += 1
        yield ScheduleStep(ordered[first:taken], fill)
    if taken < len(ordered):
        yield ScheduleStep(ordered[taken:], None)


def mark_messages(rows: Sequence[PriceRow]) -> Iterator[bytes]:
    """Write marks as arrays, as few as their size allows."""
    parts: list[bytes] = []
    size = 0
    for row in rows:
        part = _mark(row.symbol, row.price, row.time)
        if parts and (size + len(part) >= MARKS_BYTES_MAX or len(parts) >= MARKS_COUNT_MAX):
            yield b"[" + b",".join(parts) + b"]"
            parts, size = [], 0
        parts.append(part)
        size += len(part) + 1
    if parts:
        yield b"[" + b",".join(parts) + b"]"


def fill_mark_message(fill: FillRow) -> bytes:
    """Write a fill's price as a mark at the fill's time."""
    return b"[" + _mark(fill.symbol, fill.price, fill.time) + b"]"


def fill_message(fill: FillRow) -> bytes:
    """Write a fill as its broker would."""
    return msgspec.json.encode(
        {
            "exec_id": fill.fill_id,
            "creator_id": fill.creator_id,
            "symbol": fill.symbol,
            "side": "buy" if fill.side > 0 else "sell",
            "last_qty": format_quantity(fill.quantity),
            "last_px": format_micros(fill.price),
            "transact_time": format_time(fill.time),
        }
    )


def _mark(symbol: str, price: int, time: int) -> bytes:
    return msgspec.json.encode(
        {"symbol": symbol, "px": format_micros(price), "time": format_time(time)}
    )
