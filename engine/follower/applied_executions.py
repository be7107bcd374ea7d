"""The numbers of applied executions, as ranges per broker and id prefix (P8).

A broker that numbers its executions without gaps costs one range per prefix, whatever the volume.
Numbers that come out of order open a second range until the gap is filled. Executions without a
number are not kept here: the open orders know them, and the journal knows them after that.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.columns.reductions import is_rising

FEW_RANGES = 8
"""So many ranges are looked through one by one."""


def _first(each: list[int]) -> int:
    return each[0]


class AppliedExecutions:
    """Sorted, disjoint ranges [first, last] per (broker, prefix)."""

    def __init__(self) -> None:
        self._ranges: dict[tuple[str, str], list[list[int]]] = {}

    def seen(self, broker: str, prefix: str, numbers: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which numbers were applied before. Cost: one pass over the ranges between the
        smallest number and the largest. A broker may leave many gaps.
        """
        ranges = self._ranges.get((broker, prefix), [])
        known = np.zeros(len(numbers), np.bool_)
        if not len(numbers):
            return known
        start = max(bisect_right(ranges, int(numbers.min()), key=_first) - 1, 0)
        stop = bisect_right(ranges, int(numbers.max()), key=_first)
        if stop - start > FEW_RANGES:
            firsts, lasts = np.array(ranges[start:stop], np.int64).T
            at = np.searchsorted(firsts, numbers, side="right") - 1
            known |= (at >= 0) & (numbers <= lasts[at])
            return known
        for first, last in ranges[start:stop]:
            known |= (numbers >= first) & (numbers <= last)
        return known

    def is_after_all(self, broker: str, prefix: str, number: int) -> bool:
        """Return whether a number is above all that were applied: it is new, and so is any later
        one.
        """
        ranges = self._ranges.get((broker, prefix))
        return not ranges or number > ranges[-1][1]

    def add(self, broker: str, prefix: str, numbers: NDArray[np.int64]) -> None:
        """Add numbers that are applied; -1 stands for an id without a number."""
        if not len(numbers):
            return
        first, last = int(numbers[0]), int(numbers[-1])
        if first >= 0 and last - first == len(numbers) - 1 and is_rising(numbers):
            self._add_range(self._ranges.setdefault((broker, prefix), []), first, last)
            return
        numbered = np.sort(numbers[numbers >= 0])
        if not len(numbered):
            return
        ranges = self._ranges.setdefault((broker, prefix), [])
        breaks = np.flatnonzero(np.diff(numbered) > 1)
        firsts = numbered[np.concatenate(([0], breaks + 1))].tolist()
        lasts = numbered[np.concatenate((breaks, [len(numbered) - 1]))].tolist()
        at = bisect_right(ranges, firsts[0], key=_first)
        is_apart = at == len(ranges) or ranges[at][0] > lasts[-1] + 1
        if is_apart and (not at or ranges[at - 1][1] < firsts[0] - 1):
            # In one piece: to insert thousands one by one before others costs their number squared.
            ranges[at:at] = map(list, zip(firsts, lasts, strict=True))
            return
        for first, last in zip(firsts, lasts, strict=True):
            self._add_range(ranges, first, last)

    @staticmethod
    def _add_range(ranges: list[list[int]], first: int, last: int) -> None:
        at = bisect_right(ranges, first, key=_first)
        if at and ranges[at - 1][1] >= first - 1:
            at -= 1
            ranges[at][1] = max(ranges[at][1], last)
        else:
            ranges.insert(at, [first, last])
        while at + 1 < len(ranges) and ranges[at + 1][0] <= ranges[at][1] + 1:
            ranges[at][1] = max(ranges[at][1], ranges.pop(at + 1)[1])

    def rows(self) -> list[tuple[str, str, list[list[int]]]]:
        """Return everything in a fixed order, for the state."""
        return [(*key, self._ranges[key]) for key in sorted(self._ranges)]

    @classmethod
    def restored(cls, rows: Iterable[Sequence[Any]]) -> "AppliedExecutions":
        """Take everything back from a snapshot."""
        ids = cls()
        ids._ranges = {
            (broker, prefix): [list(each) for each in ranges] for broker, prefix, ranges in rows
        }
        return ids
