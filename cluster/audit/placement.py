"""P3: every order that a broker took is an order of a frame, row for row. Every order of a frame is
at its broker, revoked, unresolved or still on its way.
"""

import numpy as np
from numpy.typing import NDArray

from cluster.audit.followers_at_brokers import BrokerView
from cluster.audit.intents import order_name
from cluster.audit.report import Check
from engine.history.gateways import Revocations, Unresolved
from engine.history.gather import Names
from engine.history.storage import ColumnStorage, Ints, U64s, rows_where
from engine.values.order_ids import format_order_id
from gateways.brokers.ledger.ledger_reader import LedgerExecutions, LedgerOrders, LedgerReader

BATCH_ROWS = 1 << 17
"""The number of rows of a ledger that are compared at once: about twenty columns of this length
stay in the processor's cache.
"""


def ledger_ids(batch: LedgerOrders | LedgerExecutions, rows: Ints) -> tuple[U64s, U64s]:
    """Return both halves of the order ids of some rows of a ledger's batch."""
    highs = batch.follower_shards[rows] << 50 | batch.cause_kinds[rows] << 48
    highs |= batch.creator_shards[rows] << 36 | batch.cause_numbers[rows]
    lows = batch.subscriptions[rows] << 32 | batch.legs[rows] << 20 | batch.attempts[rows]
    return highs.view(np.uint64), lows.view(np.uint64)


def distinct(shards: Ints) -> list[int]:
    """Return the shards in a column, in order."""
    return np.flatnonzero(np.bincount(shards)).tolist() if len(shards) else []


class PlacementAudit:
    """All orders of one broker's ledger."""

    def __init__(
        self,
        broker: str,
        views: dict[int, BrokerView],
        names: Names,
        check: Check,
        storage: ColumnStorage,
        *,
        is_running: bool,
    ) -> None:
        self._broker = broker
        self._storage = storage
        self._views = views
        self._names = names
        self._check = check
        self._is_running = is_running

    def run(self, ledger: LedgerReader) -> None:
        """Compare every account and order that the ledger holds. Raises: LedgerError."""
        for accounts in ledger.accounts():
            self._compare_accounts(accounts.follower_shard, accounts.first, accounts.ids)
        for batch in ledger.orders(BATCH_ROWS):
            for shard in distinct(batch.follower_shards):
                self._compare(batch, shard, np.flatnonzero(batch.follower_shards == shard))
            self._storage.release()

    def _compare_accounts(self, shard: int, first: int, ids: list[str]) -> None:
        view = self._views.get(shard)
        known = view.tables.accounts[first : first + len(ids)] if view is not None else []
        if known == ids or (self._is_running and known == ids[: len(known)]):
            return
        wrong = next(
            index for index, name in enumerate(ids) if index >= len(known) or known[index] != name
        )
        found = known[wrong] if wrong < len(known) else "none"
        number = f"number {first + wrong} of follower shard {shard}"
        self._check.fail(
            f"account {ids[wrong]} at broker {self._broker}: expected it as {number}, found {found}"
        )

    def _compare(self, batch: LedgerOrders, shard: int, rows: Ints) -> None:
        self._check.count("at_brokers", len(rows))
        view = self._views.get(shard)
        if view is None:
            self._fail(batch, rows, "expected its follower shard to have a journal, found none")
            return
        highs, lows = ledger_ids(batch, rows)
        found = view.index.find(highs, lows)
        missing = found < 0
        if missing.any():
            newer = missing & (batch.frames[rows] > view.last_number) & self._is_running
            self._check.count("newer", int(newer.sum()))
            self._fail(
                batch,
                rows[missing & ~newer],
                "expected its frame in the journal, found none that holds it",
            )
            rows, found = rows[~missing], found[~missing]
        np.add.at(view.taken, found, 1)
        self._fail(
            batch, rows[view.taken[found] > 1], "expected it once in the ledger, found it again"
        )
        for what, differs in self._differences(batch, view, rows, found):
            if differs.any():
                self._fail(batch, rows[differs], f"expected the {what} of its frame, found another")

    def _differences(
        self, batch: LedgerOrders, view: BrokerView, rows: Ints, found: Ints
    ) -> list[tuple[str, NDArray[np.bool_]]]:
        orders = view.orders
        sections = orders.sections[found]
        subscriptions = orders.subscriptions[found].astype(np.int64)
        symbols = np.array([self._names.number(symbol) for symbol in batch.symbols], np.int64)
        return [
            (
                "account",
                batch.accounts[rows] != view.tables.subscriptions["account"][subscriptions],
            ),
            ("broker", view.brokers_of(subscriptions) != view.brokers.get(self._broker, -1)),
            ("symbol", symbols[batch.symbol_of[rows]] != view.section_symbols[sections]),
            ("side", batch.sides[rows] != orders.sides[sections]),
            ("quantity", batch.quantities[rows] != orders.quantities[found]),
            ("limit price", batch.limit_prices[rows] != orders.limit_prices[sections]),
            ("price", batch.prices[rows] != orders.prices[sections]),
            ("expiry", batch.expire_times[rows] != orders.expire_times[sections]),
            ("frame number", batch.frames[rows] != orders.frames[sections]),
        ]

    def _fail(self, batch: LedgerOrders, rows: Ints, what: str) -> None:
        if len(rows):
            highs, lows = ledger_ids(batch, rows[:1])
            name = format_order_id(int(highs[0]), int(lows[0]))
            shard, frame = int(batch.follower_shards[rows[0]]), int(batch.frames[rows[0]])
            view = self._views.get(shard)
            account = (
                view.tables.account_of(int(batch.subscriptions[rows[0]]))
                if view
                else f"number {int(batch.accounts[rows[0]])}"
            )
            text = (
                f"order {name} at broker {self._broker}, account {account}, told of "
                f"frame {frame} of follower shard {shard}: {what}"
            )
            self._check.fail(text, len(rows))


def mark_revoked(
    broker: str, revocations: Revocations, views: dict[int, BrokerView], check: Check
) -> None:
    """Mark the orders that their gateway revoked. None of them may be at the broker."""
    shards = revocations.follower_shards[revocations.sections]
    for shard in np.unique(shards).tolist():
        rows = np.flatnonzero(shards == shard)
        view = views.get(shard)
        found = (
            view.index.find(revocations.highs[rows], revocations.lows[rows])
            if view
            else np.full(len(rows), -1)
        )
        check.count("revoked", len(rows))
        lost = rows[found < 0]
        if len(lost):
            name = format_order_id(int(revocations.highs[lost[0]]), int(revocations.lows[lost[0]]))
            check.fail(
                f"order {name}, revoked at broker {broker}: expected "
                "its frame in the journal, found none",
                len(lost),
            )
        if view is not None:
            found = found[found >= 0]
            view.is_revoked[found] = True
            both = found[view.taken[found] > 0]
            if len(both):
                what = f"expected it revoked or at broker {broker}, found it in both"
                check.fail(f"{order_name(view.orders, int(both[0]))}: {what}", len(both))


def mark_unresolved(
    broker: str, unresolved: Unresolved, views: dict[int, BrokerView], check: Check
) -> None:
    """Mark unresolved orders, which may be at their broker or nowhere (P9). None of them may have
    been revoked too.
    """
    if not len(unresolved.highs):
        return
    check.count("unresolved", len(unresolved.highs))
    for shard in distinct(unresolved.follower_shards):
        rows = np.flatnonzero(unresolved.follower_shards == shard)
        view = views.get(shard)
        found = (
            view.index.find(unresolved.highs[rows], unresolved.lows[rows])
            if view
            else np.full(len(rows), -1)
        )
        lost = rows[found < 0]
        if len(lost):
            name = format_order_id(int(unresolved.highs[lost[0]]), int(unresolved.lows[lost[0]]))
            what = f"order {name}, unresolved at the gateway of broker {broker}"
            check.fail(f"{what}: expected its frame in the journal, found none", len(lost))
        if view is not None:
            found = found[found >= 0]
            view.is_unresolved[found] = True
            both = found[view.is_revoked[found]]
            if len(both):
                what = f"expected it unresolved or revoked at broker {broker}, found both"
                check.fail(f"{order_name(view.orders, int(both[0]))}: {what}", len(both))


def count_unsent(
    broker: str, view: BrokerView, answered: int, check: Check, *, is_drained: bool
) -> None:
    """Count the orders that are neither at their broker nor revoked, unresolved or resolved.

    A drained cluster may have none. Nor may frames up to the stream sequence `answered`, for which
    the gateway has nothing left to send.
    """
    orders = view.orders

    def are_unsent(here: slice) -> NDArray[np.bool_]:
        unsent: NDArray[np.bool_] = view.are_at(broker, here) & (view.taken[here] == 0)
        is_told = view.is_revoked[here] | view.is_unresolved[here] | view.is_resolved[here]
        return unsent & ~is_told

    unsent = rows_where(view.tables.storage, orders.rows_count, are_unsent)
    check.count("not_yet_sent", len(unsent))
    lost = unsent if is_drained else unsent[orders.sequences[orders.sections[unsent]] <= answered]
    if len(lost):
        what = f"expected it at broker {broker}, found it neither there nor revoked"
        check.fail(f"{order_name(orders, int(lost[0]))}: {what}", len(lost))
