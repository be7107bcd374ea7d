"""Decisions about trade cancels and corrections (FIX ExecType H and G): what a broker takes back is
reversed exactly (P7), once (P8).

The order's history says what the trade had moved (`engine.follower.order_histories`), not the
state. It stands in the event, so a replay needs no history. Rules:

- Cash goes back by the same rounded notional and the same fee. A correction's new trade counts as
  any other.
- Cost: `engine.follower.cost_basis.cost_without`. A trade undone before anything else happened
  leaves the cost as it was.
- An open order stays open, and works again what was taken back, or what the broker says. A closed
  order is reopened only when the broker says so, and not against open orders of the other side: it
  is then cancelled.
- What an entry had filled and no longer works lowers its target, as an unfilled remainder does.
  What it fills or works beyond that raises a target of its side.
- What is then on its way beyond the target is cancelled. What is held beyond it is exited after the
  pause of a further attempt. Both follow up as the attempt after the last one.
- An ended subscription that holds something again is ending again.
- What follows a reopened order is the attempt after the last one too, whichever ends first (P1).
"""

from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.follower.decide.after_corrections import follow_corrections
from engine.follower.decide.check_correction import (
    CheckedCorrection,
    Rejected,
    Repeated,
    check_correction,
)
from engine.follower.deciding import Deciding
from engine.follower.order_histories import OrderHistories
from engine.follower.order_history import Placing
from engine.follower.state import FollowerState
from engine.journal.events.orders import LaterAttemptsFound, TradesCorrected
from engine.messages.blocks import CorrectionsReported
from engine.values.order_ids import OrderKey


def decide_corrections(
    deciding: Deciding,
    broker: str,
    report: CorrectionsReported,
    sequence: int,
    histories: OrderHistories,
) -> Iterator[Any]:
    """Decide corrections of one key, in order. Yields: events to apply at once, `Repeated` and
    `Rejected`.

    Each order's history was asked for. Cost: about 20 us per row: brokers correct few trades.
    """
    for span in _distinct_spans(report.subscriptions.tolist()):
        for found in _decide_distinct(
            deciding, broker, _slice_of(report, span), sequence, histories
        ):
            is_row = isinstance(found, Rejected | Repeated)
            yield found._replace(row=span.start + found.row) if is_row else found


def _decide_distinct(
    deciding: Deciding,
    broker: str,
    report: CorrectionsReported,
    sequence: int,
    histories: OrderHistories,
) -> Iterator[Any]:
    """Decide corrections of one key, at most one per subscription."""
    alike: dict[tuple[int, Placing], list[CheckedCorrection]] = {}
    for row in range(len(report.subscriptions)):
        found = check_correction(deciding.state, broker, report, row, histories)
        if isinstance(found, CheckedCorrection):
            alike.setdefault((found.book.index, found.placed), []).append(found)
        else:
            yield found
    for corrections in alike.values():
        yield _correct_trades(broker, report, sequence, corrections)
        yield from _find_later_attempts(report.key, corrections)
    for corrections in alike.values():
        yield from follow_corrections(deciding, report.key, corrections)


def is_working(state: FollowerState, key: OrderKey, subscription: int) -> bool:
    """Return whether an order is open."""
    if not 0 <= subscription < state.places.count:
        return False
    book = state.books[int(state.places["book"][subscription])]
    return state.orders.open_quantity(key, book, int(state.places["row"][subscription])) > 0


_COLUMNS = (
    "numbers",
    "reference_numbers",
    "subscriptions",
    "exec_types",
    "quantities",
    "prices",
    "fees",
    "leaves",
)


def corrections_in_slices(
    report: CorrectionsReported, rows_max: int
) -> Iterator[CorrectionsReported]:
    """Split a report into slices of at most so many rows, in order."""
    for start in range(0, len(report.subscriptions), rows_max):
        yield _slice_of(report, slice(start, start + rows_max))


def _distinct_spans(subscriptions: list[int]) -> Iterator[slice]:
    """Split rows into spans in which no subscription stands twice, in order."""
    start, seen = 0, set[int]()
    for row, subscription in enumerate(subscriptions):
        if subscription in seen:
            yield slice(start, row)
            start, seen = row, set()
        seen.add(subscription)
    yield slice(start, len(subscriptions))


def _slice_of(report: CorrectionsReported, rows: slice) -> CorrectionsReported:
    if rows.start == 0 and rows.stop >= len(report.subscriptions):
        return report
    return msgspec.structs.replace(
        report, **{name: getattr(report, name)[rows] for name in _COLUMNS}
    )


def _correct_trades(
    broker: str, report: CorrectionsReported, sequence: int, corrections: list[CheckedCorrection]
) -> TradesCorrected:
    """Return the event of corrections of orders that were placed alike."""
    placed, at = corrections[0].placed, [each.row for each in corrections]
    terms = placed.terms
    known = [
        (index, exec_id)
        for index, each in enumerate(corrections)
        if each.is_reopened
        for exec_id in each.history.unnumbered
    ]
    return TradesCorrected(
        report.key,
        placed.creator_shard,
        placed.creator,
        placed.instrument,
        side=terms.side,
        is_exit=terms.is_exit,
        price=terms.price,
        limit_price=terms.limit_price,
        expire_time=terms.expire_time,
        fee_rate=terms.fee_rate,
        order_time=terms.transact_time,
        transact_time=report.transact_time,
        sequence=sequence,
        broker=broker,
        prefix=report.prefix,
        reference_prefix=report.reference_prefix,
        numbers=report.numbers[at],
        reference_numbers=report.reference_numbers[at],
        subscriptions=report.subscriptions[at],
        exec_types=report.exec_types[at],
        order_quantities=_column(each.history.quantity for each in corrections),
        old_quantities=_column(each.old.quantity for each in corrections),
        old_prices=_column(each.old.price for each in corrections),
        old_fees=_column(each.old.fee for each in corrections),
        quantities=_column(each.quantity for each in corrections),
        prices=_column(each.price for each in corrections),
        fees=_column(each.fee for each in corrections),
        filled=_column(each.filled for each in corrections),
        leaves=_column(each.leaves for each in corrections),
        targets=_column(each.target for each in corrections),
        costs=_column(each.cost for each in corrections),
        known_rows=_column(index for index, _ in known),
        known=[exec_id for _, exec_id in known],
    )


def _find_later_attempts(
    key: OrderKey, corrections: list[CheckedCorrection]
) -> Iterator[LaterAttemptsFound]:
    """Yield the event about reopened orders that later attempts were placed after, if any were."""
    late = [
        each for each in corrections if each.is_reopened and each.history.attempt_last > key.attempt
    ]
    if late:
        subscriptions = late[0].book.subscriptions["subscription"]
        yield LaterAttemptsFound(
            key,
            _column(int(subscriptions[each.book_row]) for each in late),
            _column(each.history.attempt_last for each in late),
        )


def _column(values: Iterator[int]) -> NDArray[np.int64]:
    return np.fromiter(values, np.int64)
