"""Ascending orders of columns that need not fit memory, and looking values up in ascending
columns.
"""

import numpy as np

from cluster.history.gather import Ints, U64s
from cluster.history.spill import IN_MEMORY, AnyColumn, Spill

_SAMPLES = 1 << 16


def sorted_order(keys: U64s | Ints, spill: Spill = IN_MEMORY) -> Ints:
    """Say in which order keys ascend, equal ones as they come. Cost: one pass where they already
    do.
    """
    if _ascend(keys, spill):
        return spill.filled(len(keys), np.int64, lambda here: np.arange(here.start, here.stop))
    if not spill.is_large(keys.nbytes):
        return np.argsort(keys, kind="stable")
    return _distributed(keys, spill)


def _ascend(keys: U64s | Ints, spill: Spill) -> bool:
    before, after = keys[:-1], keys[1:]
    return all(bool((after[here] >= before[here]).all()) for here in spill.slices(len(after)))


def _distributed(keys: U64s | Ints, spill: Spill) -> Ints:
    """Sort by ranges of keys: rows are put to their range first, as they come, then every range is
    sorted by itself.
    """
    count = len(keys)
    step = max(1, count // _SAMPLES)
    samples = np.sort(np.concatenate([keys[here][::step] for here in spill.slices(count)]))
    ranges = -(-count // spill.chunk_rows)
    bounds = np.unique(samples[np.arange(1, ranges) * len(samples) // ranges])
    sizes = np.zeros(len(bounds) + 1, np.int64)
    for here in spill.slices(count):
        sizes += np.bincount(
            np.searchsorted(bounds, keys[here], side="right"), minlength=len(sizes)
        )
    (rows,) = spill.columns(count, np.int64)
    ends = np.cumsum(sizes)
    free = ends - sizes
    for here in spill.slices(count):
        ranges_of = np.searchsorted(bounds, keys[here], side="right")
        order = np.argsort(ranges_of, kind="stable")
        counts = np.bincount(ranges_of, minlength=len(sizes))
        # Each range's rows of this piece follow those of the pieces before.
        shifts = free - (np.cumsum(counts) - counts)
        rows[np.arange(len(order)) + shifts[ranges_of[order]]] = order + here.start
        free += counts
    for start, stop in zip((ends - sizes).tolist(), ends.tolist(), strict=True):
        chosen = rows[start:stop]
        # A range beyond a piece is mostly one key many times, such as the one broker of all
        # executions.
        if stop - start <= spill.chunk_rows or not _are_equal(keys, chosen, spill):
            rows[start:stop] = chosen[np.argsort(keys[chosen], kind="stable")]
        spill.release()
    return rows


def _are_equal(keys: U64s | Ints, rows: Ints, spill: Spill) -> bool:
    first = keys[rows[0]]
    return all(bool((keys[rows[here]] == first).all()) for here in spill.slices(len(rows)))


def taken(column: AnyColumn, rows: Ints, spill: Spill = IN_MEMORY) -> AnyColumn:
    """Take a column's rows in an order."""
    return spill.filled(len(rows), column.dtype, lambda here: column[rows[here]])


def repeated(keys: U64s | Ints, rows: Ints, spill: Spill = IN_MEMORY) -> Ints:
    """Name the rows of ascending keys that equal the key before."""
    before, after = keys[:-1], keys[1:]
    found: Ints = rows[spill.where(len(after), lambda here: after[here] == before[here]) + 1]
    return found


def positions(have: U64s | Ints, wanted: U64s | Ints) -> Ints:
    """Find values in an ascending column that is not empty. Returns: where each stands if it is
    there, else anywhere inside.

    Cost: one comparison a value where the same run of values is asked for, else a binary search
    each.
    """
    if len(wanted):
        first = int(np.searchsorted(have, wanted[0]))
        if np.array_equal(have[first : first + len(wanted)], wanted):
            return np.arange(first, first + len(wanted))
    at = np.searchsorted(have, wanted)
    at[at == len(have)] = 0
    return at
