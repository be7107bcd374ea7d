"""Order ids seen so far, as spans of subscriptions per cause, leg and attempt (P1).

One section leaves one span, whatever its size. A span without gaps needs nothing else, and joins
its neighbour. A span with gaps points at its record in the ledger. The record is read only when a
later block of the same cause overlaps the span, so first-time orders cost nothing per order. Recent
spans live in a dict, older ones in sorted columns of 28 bytes per span.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from engine.values.order_ids import OrderKey, cause_high

NO_GAPS = 0
"""Offset of a span that holds every number between its ends. No record stands at offset 0."""
_HOT_SPANS_MAX = 65_536
_HOT_SPANS_OF_KEY_MAX = 256

Span = tuple[int, int, int]
"""First subscription, last subscription, offset of the record (or NO_GAPS)."""


def order_key(
    shard: int, cause_kind: int, creator_shard: int, cause_number: int, leg: int, attempt: int
) -> int:
    """Pack everything of an order id but the subscription: cause 64 bits, leg 12, attempt 20."""
    return cause_high(shard, cause_kind, creator_shard, cause_number) << 32 | leg << 20 | attempt


class Coordinates(Protocol):
    """A section about orders of one cause, leg and attempt."""

    @property
    def follower_shard(self) -> int: ...

    @property
    def key(self) -> OrderKey: ...


def key_of(section: Coordinates) -> int:
    """Pack everything of a section's order ids but the subscriptions."""
    return order_key(section.follower_shard, *section.key)


class _SortedSpans(NamedTuple):
    highs: NDArray[np.uint64]
    lows: NDArray[np.uint32]
    firsts: NDArray[np.uint32]
    lasts: NDArray[np.uint32]
    offsets: NDArray[np.uint64]

    def find(self, key: int) -> list[Span]:
        high = np.uint64(key >> 32)
        start, stop = (
            int(np.searchsorted(self.highs, high)),
            int(np.searchsorted(self.highs, high, "right")),
        )
        if start == stop:
            return []
        rows = start + np.flatnonzero(self.lows[start:stop] == key & 0xFFFFFFFF)
        return list(
            zip(
                self.firsts[rows].tolist(),
                self.lasts[rows].tolist(),
                self.offsets[rows].tolist(),
                strict=True,
            )
        )


class SeenOrders:
    """The ids seen so far. `load` reads the subscriptions of the record at an offset."""

    def __init__(self, load: Callable[[int], NDArray[np.int64]]) -> None:
        self._load = load
        self._hot: dict[int, list[Span]] = {}
        self._hot_spans = 0
        self._sorted: list[_SortedSpans] = []

    @property
    def spans_count(self) -> int:
        """Number of spans kept. Memory grows with it."""
        return self._hot_spans + sum(len(spans.highs) for spans in self._sorted)

    def repeated(self, key: int, subscriptions: NDArray[np.int64]) -> NDArray[np.bool_] | None:
        """Mark the subscriptions that were seen under a key, None when none was.

        Shapes: `subscriptions` strictly ascending and not empty. Cost: independent of length unless
        spans overlap.
        """
        first, last = int(subscriptions[0]), int(subscriptions[-1])
        marks: NDArray[np.bool_] | None = None
        for span in self._find(key):
            if span[0] > last or span[1] < first:
                continue
            start, stop = (
                int(place) for place in np.searchsorted(subscriptions, (span[0], span[1] + 1))
            )
            if start == stop:
                continue
            if marks is None:
                marks = np.zeros(len(subscriptions), np.bool_)
            if span[2] == NO_GAPS:
                marks[start:stop] = True
            else:
                marks[start:stop] |= np.isin(
                    subscriptions[start:stop], self._load(span[2]), assume_unique=True
                )
        return marks if marks is not None and marks.any() else None

    def add(self, key: int, subscriptions: NDArray[np.int64], offset: int) -> None:
        """Add subscriptions, none of them seen before, whose record stands at an offset."""
        first, last = int(subscriptions[0]), int(subscriptions[-1])
        if last - first + 1 == len(subscriptions):
            offset = NO_GAPS
        spans = self._hot.setdefault(key, [])
        if offset == NO_GAPS and spans and spans[-1][2] == NO_GAPS and spans[-1][1] + 1 == first:
            spans[-1] = (spans[-1][0], last, NO_GAPS)
            return
        spans.append((first, last, offset))
        self._hot_spans += 1
        if self._hot_spans >= _HOT_SPANS_MAX or len(spans) >= _HOT_SPANS_OF_KEY_MAX:
            self._freeze()

    def _find(self, key: int) -> list[Span]:
        found = list(self._hot.get(key, ()))
        for spans in self._sorted:
            found += spans.find(key)
        return found

    def _freeze(self) -> None:
        keys = [(key, span) for key, spans in self._hot.items() for span in spans]
        count = len(keys)
        spans = _SortedSpans(
            np.fromiter((key >> 32 for key, _ in keys), np.uint64, count),
            np.fromiter((key & 0xFFFFFFFF for key, _ in keys), np.uint32, count),
            np.fromiter((span[0] for _, span in keys), np.uint32, count),
            np.fromiter((span[1] for _, span in keys), np.uint32, count),
            np.fromiter((span[2] for _, span in keys), np.uint64, count),
        )
        self._hot.clear()
        self._hot_spans = 0
        self._sorted.append(_sorted(spans))
        while len(self._sorted) > 1 and len(self._sorted[-2].highs) <= 2 * len(
            self._sorted[-1].highs
        ):
            newer, older = self._sorted.pop(), self._sorted.pop()
            self._sorted.append(_sorted(_joined(older, newer)))


def _joined(older: _SortedSpans, newer: _SortedSpans) -> _SortedSpans:
    return _SortedSpans(
        np.concatenate((older.highs, newer.highs)),
        np.concatenate((older.lows, newer.lows)),
        np.concatenate((older.firsts, newer.firsts)),
        np.concatenate((older.lasts, newer.lasts)),
        np.concatenate((older.offsets, newer.offsets)),
    )


def _sorted(spans: _SortedSpans) -> _SortedSpans:
    """Sort by key and first subscription, and join neighbours without gaps."""
    order = np.lexsort((spans.firsts, spans.lows, spans.highs))
    highs, lows, offsets = spans.highs[order], spans.lows[order], spans.offsets[order]
    firsts, lasts = spans.firsts[order], spans.lasts[order]
    joins = (
        (highs[1:] == highs[:-1])
        & (lows[1:] == lows[:-1])
        & (offsets[1:] == NO_GAPS)
        & (offsets[:-1] == NO_GAPS)
        & (lasts[:-1].astype(np.int64) + 1 == firsts[1:])
    )
    starts = np.concatenate(([True], ~joins))
    ends = np.concatenate((~joins, [True]))
    return _SortedSpans(highs[starts], lows[starts], firsts[starts], lasts[ends], offsets[starts])
