"""P2 and P4: each subscription answered each of its creator's signals once and in order. P11: at
the marks of the creator's fill.

A book's rows are a creator's subscriptions in order of creation. So a part is a range of rows, and
disjoint ranges cannot answer twice. The expected answers follow from the fills and from the time in
which each subscription counts: it is active if the signal's frame lies in [from, until).
"""

import numpy as np
from numpy.typing import NDArray

from cluster.audit.fill_index import FillIndex
from cluster.audit.report import Checks
from engine.history.dispositions import Dispositions
from engine.history.followers import FollowerTables
from engine.history.storage import Ints, U64s
from engine.journal.cursors import NO_ROW
from engine.values.dispositions import Disposition
from engine.values.order_ids import CauseKind, cause_high


class SignalsAudit:
    """One follower shard's dispositions, batch by batch."""

    def __init__(self, tables: FollowerTables, fills: dict[int, FillIndex], checks: Checks) -> None:
        self._tables = tables
        self._fills = fills
        self._dispositions, self._order = checks["P2"], checks["P4"]
        self._decisions = checks["P11"]
        self._counts = np.zeros(0, np.int64)
        self._ranks = np.zeros(0, np.int64)
        self._last: dict[int, tuple[int, int, int]] = {}
        self._netted: list[tuple[U64s, U64s]] = []
        self._outcomes = np.zeros(256, np.int64)

    def take(self, batch: Dispositions) -> None:
        """Check a batch of whole parts. Faults are counted; nothing is raised."""
        if not len(batch.counts):
            return
        self._grow()
        frames = self._check_signals(batch)
        subscriptions = batch.subscriptions
        known = subscriptions < len(self._ranks)
        if not known.all():
            self._fault(batch, ~known, "names a subscription that was never opened")
            subscriptions = np.where(known, subscriptions, 0)
            if not len(self._ranks):
                return
        self._check_rows(batch, subscriptions, frames)
        self._check_order(batch)
        self._keep_netted(batch)

    def _grow(self) -> None:
        table = self._tables.subscriptions
        if len(self._ranks) == table.count:
            return
        self._ranks = ranks_in(self._tables.pairs())
        self._counts = np.concatenate(
            (self._counts, np.zeros(table.count - len(self._counts), np.int64))
        )

    def _check_signals(self, batch: Dispositions) -> Ints:
        """Check that every part answers a leg of a fill. Returns: the creator shard's frame of each
        part's fill, -1 for none.
        """
        frames = np.full(len(batch.counts), -1, np.int64)
        for creator_shard in np.unique(batch.creator_shards).tolist():
            here = np.flatnonzero(batch.creator_shards == creator_shard)
            index = self._fills.get(creator_shard)
            if index is None or not index.fills.rows_count:
                continue
            rows = index.rows_of(batch.signals[here])
            fills = index.fills
            same = (rows >= 0) & (fills.creators[rows] == batch.creators[here])
            same &= (fills.instruments[rows] == batch.instruments[here]) & (
                batch.legs[here] < fills.legs_counts[rows]
            )
            frames[here[same]] = fills.frames[rows[same]]
            differs = same & (fills.mark_digests[rows] != batch.mark_digests[here])
            if differs.any():
                self._decisions.fail(
                    f"{self._part(batch, int(here[differs][0]))}: expected it decided at the marks "
                    "of the fill, found others",
                    int(differs.sum()),
                )
        bad = np.flatnonzero(frames < 0)
        if len(bad):
            first = int(bad[0])
            self._dispositions.fail(
                f"{self._part(batch, first)}: expected a leg of a fill, found none", len(bad)
            )
        return frames

    def _check_rows(
        self, batch: Dispositions, subscriptions: NDArray[np.uint32], frames: Ints
    ) -> None:
        table, sections = self._tables.subscriptions, batch.sections
        starts = np.cumsum(batch.counts) - batch.counts
        rows = np.arange(len(sections)) + (batch.first_rows - starts)[sections]
        wrong = self._ranks[subscriptions] != rows
        if wrong.any():
            self._fault(batch, wrong, "has two dispositions, or one out of the book's order")
        pairs = (batch.creator_shards << 32 | batch.creators)[sections]
        wrong = self._tables.pairs()[subscriptions] != pairs
        if wrong.any():
            self._fault(batch, wrong, "does not copy this creator")
        active = batch.codes != Disposition.INACTIVE
        at = frames[sections]
        outside = active & (
            (at < table["from_frame"][subscriptions]) | (at >= table["until_frame"][subscriptions])
        )
        if outside.any():
            self._fault(batch, outside, "was not active at it")
        differs = batch.is_ordered != (batch.codes == Disposition.ORDERED)
        if differs.any():
            self._fault(
                batch, differs, "is ordered without an order, or has an order without being ordered"
            )
        np.add(self._outcomes, np.bincount(batch.codes, minlength=256), out=self._outcomes)
        self._counts += np.bincount(subscriptions[active], minlength=len(self._counts))

    def _check_order(self, batch: Dispositions) -> None:
        """Check that the parts of each book follow each other: by signal and leg, and by rows
        inside one leg.
        """
        books = batch.creator_shards << 32 | batch.creators
        positions = batch.signals << 1 | batch.legs
        ends = batch.first_rows + batch.counts
        order = np.argsort(books, kind="stable")
        first_of_book = np.ones(len(order), np.bool_)
        first_of_book[1:] = books[order][1:] != books[order][:-1]
        before = np.roll(order, 1)
        was_position, was_end, was_last = (
            positions[before],
            ends[before],
            batch.is_last_parts[before],
        )
        for at in np.flatnonzero(first_of_book).tolist():
            known = self._last.get(int(books[order[at]]), (-1, 0, 1))
            was_position[at], was_end[at], was_last[at] = known
        now, first_rows = positions[order], batch.first_rows[order]
        follows = (now > was_position) | (
            (now == was_position) & (first_rows >= was_end) & (was_last == 0)
        )
        bad = order[~follows]
        self._order.count("parts", len(order))
        if len(bad):
            first = int(bad.min())
            self._order.fail(
                f"{self._part(batch, first)}: expected it before what was decided already", len(bad)
            )
        last_of_book = np.roll(first_of_book, -1)
        for at in order[last_of_book].tolist():
            self._last[int(books[at])] = (
                int(positions[at]),
                int(ends[at]),
                int(batch.is_last_parts[at]),
            )

    def _keep_netted(self, batch: Dispositions) -> None:
        rows = np.flatnonzero(batch.codes == Disposition.NETTED)
        if len(rows):
            at = batch.sections[rows]
            base = np.uint64(cause_high(self._tables.shard, CauseKind.SIGNAL, 0, 0))
            highs = base | (batch.creator_shards << 36 | batch.signals)[at].astype(np.uint64)
            lows = batch.subscriptions[rows].astype(np.int64) << 32 | batch.legs[at] << 20
            self._netted.append((highs, lows.view(np.uint64)))

    def netted(self) -> tuple[U64s, U64s]:
        """Return the order ids that attempt 0 of netted signals would have had."""
        if not self._netted:
            return np.zeros(0, np.uint64), np.zeros(0, np.uint64)
        highs, lows = zip(*self._netted, strict=True)
        return np.concatenate(highs), np.concatenate(lows)

    def finish(self) -> int | None:
        """Compare the answers with the expected ones. Returns: the first subscription for which
        they differ.
        """
        self._grow()
        expected, pending = self._expected()
        outcomes = self._outcomes
        check = self._dispositions
        check.count("dispositions", int(outcomes[1:].sum()))
        check.count("ordered", int(outcomes[Disposition.ORDERED]))
        check.count("netted", int(outcomes[Disposition.NETTED]))
        check.count("skipped", int(outcomes[Disposition.NETTED + 1 :].sum()))
        check.count("pending", pending)
        self._order.count("books", len(self._last))
        wrong = np.flatnonzero(self._counts != expected)
        if not len(wrong):
            return None
        first = int(wrong[0])
        check.fail(
            f"follower shard {self._tables.shard}, account "
            f"{self._tables.account_of(first)}, subscription {first}: expected"
            f" {int(expected[first])} dispositions, found {int(self._counts[first])}",
            len(wrong),
        )
        return first

    def _expected(self) -> tuple[Ints, int]:
        """Count each subscription's signals up to the shard's cursor. Returns: the counts, and the
        number of answers still to come.
        """
        tables = self._tables
        pairs, expected, pending = tables.pairs(), np.zeros(tables.subscriptions.count, np.int64), 0
        order = np.argsort(pairs, kind="stable")
        bounds = np.flatnonzero(np.diff(pairs[order], prepend=-1, append=-1))
        for start, stop in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
            chosen = order[start:stop]
            pair = int(pairs[chosen[0]])
            if pair >> 32 in self._fills:
                expected[chosen], later = self._expected_of(pair, chosen)
                pending += later
        return expected, pending

    def _expected_of(self, pair: int, chosen: Ints) -> tuple[Ints, int]:
        table = self._tables.subscriptions
        frames, positions = self._fills[pair >> 32].legs_of(pair & 0xFFFFFFFF)
        first = np.searchsorted(frames, table["from_frame"][chosen])
        last = np.maximum(np.searchsorted(frames, table["until_frame"][chosen]), first)
        decided, position, row = self._reached(pair >> 32, frames, positions)
        counted = np.clip(last, None, decided) - np.minimum(first, decided)
        if position is not None:
            in_part = (first <= decided) & (decided < last) & (self._ranks[chosen] < row)
            counted += in_part
        return counted, int((last - first - counted).sum())

    def _reached(
        self, creator_shard: int, frames: Ints, positions: Ints
    ) -> tuple[int, int | None, int]:
        """Return the number of a creator's legs that are wholly decided; and for a leg that is
        decided in part, its position and first undecided row.
        """
        cursor = self._tables.creator_cursor(creator_shard)
        if cursor is None:
            return 0, None, 0
        if cursor.row == NO_ROW:
            return int(np.searchsorted(frames, cursor.number, side="right")), None, 0
        decided = int(np.searchsorted(positions, cursor.position))
        is_part = decided < len(positions) and positions[decided] == cursor.position
        return decided, cursor.position if is_part else None, cursor.row

    def _part(self, batch: Dispositions, section: int) -> str:
        signal, leg = int(batch.signals[section]), int(batch.legs[section])
        place = f"follower shard {self._tables.shard}, frame {int(batch.frames[section])}"
        of_creator = f"of creator shard {int(batch.creator_shards[section])}"
        return (
            f"{place}: signal {signal} {of_creator}, leg {leg}, rows "
            f"from {int(batch.first_rows[section])}"
        )

    def _fault(self, batch: Dispositions, where: NDArray[np.bool_], what: str) -> None:
        row = int(np.flatnonzero(where)[0])
        subscription = int(batch.subscriptions[row])
        part = self._part(batch, int(batch.sections[row]))
        account = self._tables.account_of(subscription)
        self._dispositions.fail(
            f"{part}: account {account}, subscription {subscription} {what}", int(where.sum())
        )


def ranks_in(pairs: Ints) -> Ints:
    """Return each subscription's row in its creator's book."""
    order = np.argsort(pairs, kind="stable")
    ordered = pairs[order]
    is_first = np.ones(len(pairs), np.bool_)
    is_first[1:] = ordered[1:] != ordered[:-1]
    starts = np.maximum.accumulate(np.where(is_first, np.arange(len(pairs)), 0))
    ranks = np.empty(len(pairs), np.int64)
    ranks[order] = np.arange(len(pairs)) - starts
    return ranks
