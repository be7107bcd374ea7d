"""Sorting columns that need not fit memory, and finding values in ascending columns."""

import numpy as np

from engine.history.storage import (
    IN_MEMORY,
    AnyColumn,
    ColumnStorage,
    Ints,
    U64s,
    filled_column,
    rows_where,
    slices,
)

_SAMPLES = 1 << 16


def sorted_order(keys: U64s | Ints, storage: ColumnStorage = IN_MEMORY) -> Ints:
    """Return the rows in ascending order of their keys, equal ones as they come. Cost: one pass
    where they already ascend.
    """
    if _ascend(keys, storage):
        return filled_column(
            storage, len(keys), np.int64, lambda here: np.arange(here.start, here.stop)
        )
    if not storage.is_large(keys.nbytes):
        return np.argsort(keys, kind="stable")
    return _distributed(keys, storage)


def _ascend(keys: U64s | Ints, storage: ColumnStorage) -> bool:
    before, after = keys[:-1], keys[1:]
    return all(bool((after[here] >= before[here]).all()) for here in slices(storage, len(after)))


def _distributed(keys: U64s | Ints, storage: ColumnStorage) -> Ints:
    """Sort by ranges of keys: first put each row into its range, as rows come, then sort every
    range by itself.
    """
    count = len(keys)
    step = max(1, count // _SAMPLES)
    samples = np.sort(np.concatenate([keys[here][::step] for here in slices(storage, count)]))
    ranges = -(-count // storage.chunk_rows)
    bounds = np.unique(samples[np.arange(1, ranges) * len(samples) // ranges])
    sizes = np.zeros(len(bounds) + 1, np.int64)
    for here in slices(storage, count):
        sizes += np.bincount(
            np.searchsorted(bounds, keys[here], side="right"), minlength=len(sizes)
        )
    (rows,) = storage.columns(count, np.int64)
    ends = np.cumsum(sizes)
    free = ends - sizes
    for here in slices(storage, count):
        ranges_of = np.searchsorted(bounds, keys[here], side="right")
        order = np.argsort(ranges_of, kind="stable")
        counts = np.bincount(ranges_of, minlength=len(sizes))
        # Each range's rows of this chunk follow those of the chunks before.
        shifts = free - (np.cumsum(counts) - counts)
        rows[np.arange(len(order)) + shifts[ranges_of[order]]] = order + here.start
        free += counts
    for start, stop in zip((ends - sizes).tolist(), ends.tolist(), strict=True):
        chosen = rows[start:stop]
        # A range larger than a chunk is mostly one key many times, such as the one broker of all
        # executions.
        if stop - start <= storage.chunk_rows or not _are_equal(keys, chosen, storage):
            rows[start:stop] = chosen[np.argsort(keys[chosen], kind="stable")]
        storage.release()
    return rows


def _are_equal(keys: U64s | Ints, rows: Ints, storage: ColumnStorage) -> bool:
    first = keys[rows[0]]
    return all(bool((keys[rows[here]] == first).all()) for here in slices(storage, len(rows)))


def taken(column: AnyColumn, rows: Ints, storage: ColumnStorage = IN_MEMORY) -> AnyColumn:
    """Return a column's rows in an order."""
    return filled_column(storage, len(rows), column.dtype, lambda here: column[rows[here]])


def repeated(keys: U64s | Ints, rows: Ints, storage: ColumnStorage = IN_MEMORY) -> Ints:
    """Return the rows of ascending keys that equal the key before."""
    before, after = keys[:-1], keys[1:]
    found: Ints = rows[
        rows_where(storage, len(after), lambda here: after[here] == before[here]) + 1
    ]
    return found


def positions(have: U64s | Ints, wanted: U64s | Ints) -> Ints:
    """Find values in an ascending column that is not empty. Returns: the row of each value that is
    there, and any row for the others.

    Cost: one comparison per value if the wanted values stand in one stretch of the column, else a
    binary search for each.
    """
    if len(wanted):
        first = int(np.searchsorted(have, wanted[0]))
        if np.array_equal(have[first : first + len(wanted)], wanted):
            return np.arange(first, first + len(wanted))
    at = np.searchsorted(have, wanted)
    at[at == len(have)] = 0
    return at
