"""Which numbered executions were applied: runs of numbers per broker and id prefix (P8).

A broker that numbers its executions without gaps costs one run per prefix, whatever the volume;
numbers that come out of order open a second run until the gap is filled. Executions without a
number are not kept here: their open order, then the journal, tells.
"""

from bisect import bisect_right

import numpy as np
from numpy.typing import NDArray

from engine.columns.reductions import is_rising

FEW_RUNS = 8
"""So many are looked through one by one."""


def _first(run: list[int]) -> int:
    return run[0]


class AppliedExecutions:
    """Sorted, disjoint runs [first, last] per (broker, prefix)."""

    def __init__(self) -> None:
        self._runs: dict[tuple[str, str], list[list[int]]] = {}

    def seen(self, broker: str, prefix: str, numbers: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Say which numbers were applied before. Cost: the runs between the least number and the
        greatest, once; a broker may leave many gaps.
        """
        runs = self._runs.get((broker, prefix), [])
        known = np.zeros(len(numbers), np.bool_)
        if not len(numbers):
            return known
        start = max(bisect_right(runs, int(numbers.min()), key=_first) - 1, 0)
        stop = bisect_right(runs, int(numbers.max()), key=_first)
        if stop - start > FEW_RUNS:
            firsts, lasts = np.array(runs[start:stop], np.int64).T
            at = np.searchsorted(firsts, numbers, side="right") - 1
            known |= (at >= 0) & (numbers <= lasts[at])
            return known
        for first, last in runs[start:stop]:
            known |= (numbers >= first) & (numbers <= last)
        return known

    def is_after_all(self, broker: str, prefix: str, number: int) -> bool:
        """Say whether a number is above every one that was applied: neither it nor any later one
        was seen.
        """
        runs = self._runs.get((broker, prefix))
        return not runs or number > runs[-1][1]

    def add(self, broker: str, prefix: str, numbers: NDArray[np.int64]) -> None:
        """Note that numbers are applied; -1 stands for an id without a number."""
        if not len(numbers):
            return
        first, last = int(numbers[0]), int(numbers[-1])
        if first >= 0 and last - first == len(numbers) - 1 and is_rising(numbers):
            self._add_run(self._runs.setdefault((broker, prefix), []), first, last)
            return
        numbered = np.sort(numbers[numbers >= 0])
        if not len(numbered):
            return
        runs = self._runs.setdefault((broker, prefix), [])
        breaks = np.flatnonzero(np.diff(numbered) > 1)
        firsts = numbered[np.concatenate(([0], breaks + 1))].tolist()
        lasts = numbered[np.concatenate((breaks, [len(numbered) - 1]))].tolist()
        for first, last in zip(firsts, lasts, strict=True):
            self._add_run(runs, first, last)

    @staticmethod
    def _add_run(runs: list[list[int]], first: int, last: int) -> None:
        at = bisect_right(runs, first, key=_first)
        if at and runs[at - 1][1] >= first - 1:
            at -= 1
            runs[at][1] = max(runs[at][1], last)
        else:
            runs.insert(at, [first, last])
        while at + 1 < len(runs) and runs[at + 1][0] <= runs[at][1] + 1:
            runs[at][1] = max(runs[at][1], runs.pop(at + 1)[1])

    def rows(self) -> list[tuple[str, str, list[list[int]]]]:
        """Name everything in a fixed order, for the state."""
        return [(*key, self._runs[key]) for key in sorted(self._runs)]

    @classmethod
    def restored(cls, rows: list[tuple[str, str, list[list[int]]]]) -> "AppliedExecutions":
        """Take everything back."""
        ids = cls()
        ids._runs = {(broker, prefix): [list(run) for run in runs] for broker, prefix, runs in rows}
        return ids
