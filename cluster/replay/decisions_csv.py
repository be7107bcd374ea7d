"""orders.csv and dispositions.csv: every decision for every follower, and the outcome of each
order.

Order of rows: by fill in the order of publishing, leg, attempt and follower shard; then as the
shard's journal decided them, which is by subscription. Orders without a fill come last. Times are
the event time of the deciding frame. A market order has no limit price.
"""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from cluster.replay.outcome import ReplayOutcome
from cluster.replay.texts import Ints, csv_field, order_id_texts, scaled_texts
from engine.history.followers import FollowerTables
from engine.history.orders import Orders
from engine.history.outcomes import OrderIndex, Outcomes, order_outcomes
from engine.values.dispositions import Disposition
from engine.values.order_ids import CauseKind, cause_high, order_lows
from engine.values.order_status import OrdStatus
from engine.values.units import format_micros, format_time

ORDERS_HEADER = (
    "order_id,fill_id,leg,attempt,account_id,creator_id,symbol,side,quantity,limit_price,"
    "status,filled_quantity,average_price,time"
)
DISPOSITIONS_HEADER = "fill_id,leg,account_id,creator_id,disposition,reason"
_STATUS = {int(status): status.name.lower() for status in OrdStatus}
_DISPOSITIONS = {
    int(code): f"{code.outcome},{code.reason}\n"
    for code in Disposition
    if code is not Disposition.INACTIVE
}
_Place = tuple[int, ...]


def write_orders(path: Path, outcome: ReplayOutcome) -> None:
    """Write orders.csv."""
    sections: list[tuple[_Place, Callable[[], str]]] = []
    for shard, tables in sorted(outcome.journals.followers.items()):
        sections += _order_sections(outcome, shard, tables)
    _write(path, ORDERS_HEADER, sections)


def write_dispositions(path: Path, outcome: ReplayOutcome) -> None:
    """Write dispositions.csv."""
    sections: list[tuple[_Place, Callable[[], str]]] = []
    for shard, tables in sorted(outcome.journals.followers.items()):
        sections += _disposition_sections(outcome, shard, tables)
    _write(path, DISPOSITIONS_HEADER, sections)


def _write(path: Path, header: str, sections: list[tuple[_Place, Callable[[], str]]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as target:
        target.write(header + "\n")
        for _, text in sorted(sections, key=lambda section: section[0]):
            target.write(text())


def _order_sections(
    outcome: ReplayOutcome, shard: int, tables: FollowerTables
) -> Iterator[tuple[_Place, Callable[[], str]]]:
    """Yield each section's place and the function that writes it."""
    orders = tables.orders.table()
    if not len(orders.subscriptions):
        return
    became = order_outcomes(
        orders,
        OrderIndex(orders),
        tables.executions.table(),
        tables.cancels.table(),
        tables.corrections,
    )
    accounts = tables.subscriptions["account"]
    for section, first, last in _slices(orders.sections):
        high = int(orders.cause_highs[section])
        fill = outcome.fill_of(high)
        place = (
            fill if fill >= 0 else 1 << 62,
            int(orders.legs[section]),
            int(orders.attempts[section]),
            shard,
            section,
        )

        def text(section: int = section, rows: slice = slice(first, last), fill: int = fill) -> str:
            names = [
                tables.accounts[account]
                for account in accounts[orders.subscriptions[rows]].tolist()
            ]
            return _order_lines(outcome, tables, orders, became, section, rows, fill, names)

        yield place, text


def _order_lines(
    outcome: ReplayOutcome,
    tables: FollowerTables,
    orders: Orders,
    became: Outcomes,
    section: int,
    rows: slice,
    fill: int,
    accounts: list[str],
) -> str:
    pair = int(orders.creator_shards[section])
    fill_id = outcome.published.fills[fill].row.fill_id if fill >= 0 else ""
    symbol = csv_field(tables.symbols[pair, int(orders.instruments[section])])
    creator = tables.creators[pair, int(orders.creators[section])]
    limit = int(orders.limit_prices[section])
    side = "buy" if orders.sides[section] > 0 else "sell"
    before = f",{fill_id},{orders.legs[section]},{orders.attempts[section]},"
    between = f",{creator},{symbol},{side},"
    after = f",{format_micros(limit) if limit else ''},"
    end = f",{format_time(int(orders.event_times[section]))}\n"
    lows = order_lows(orders.subscriptions[rows], orders.tails[section])
    ids = order_id_texts(np.full(len(lows), orders.cause_highs[section]), lows)
    quantities, filled = orders.quantities[rows], became.filled[rows]
    quantity_texts = scaled_texts(quantities, 8)
    filled_texts = quantity_texts if np.array_equal(filled, quantities) else scaled_texts(filled, 8)
    prices = _price_texts(became.average_prices[rows])
    statuses = [_STATUS[status] for status in became.status[rows].tolist()]
    columns = zip(ids, accounts, quantity_texts, statuses, filled_texts, prices, strict=True)
    return "".join(
        [
            f"{order_id}{before}{account}{between}{quantity}{after}{status},{done},{price}{end}"
            for order_id, account, quantity, status, done, price in columns
        ]
    )


def _price_texts(prices: Ints) -> list[str]:
    """Return average prices as text, empty where nothing was filled. The orders of a section mostly
    share one price.
    """
    texts = {price: format_micros(price) if price else "" for price in np.unique(prices).tolist()}
    return [texts[price] for price in prices.tolist()]


def _disposition_sections(
    outcome: ReplayOutcome, shard: int, tables: FollowerTables
) -> Iterator[tuple[_Place, Callable[[], str]]]:
    table = tables.dispositions.table()
    accounts = tables.subscriptions["account"]
    for section, first, last in _slices(table.sections):
        pair = int(table.creator_shards[section])
        fill = outcome.fill_of(
            cause_high(shard, CauseKind.SIGNAL, pair, int(table.signals[section]))
        )
        leg = int(table.legs[section])

        def text(
            rows: slice = slice(first, last),
            start: str = f"{outcome.published.fills[fill].row.fill_id},{leg},",
            creator: str = tables.creators[pair, int(table.creators[section])],
        ) -> str:
            numbers = accounts[table.subscriptions[rows]].tolist()
            codes = table.codes[rows].tolist()
            return "".join(
                [
                    f"{start}{tables.accounts[number]},{creator},{_DISPOSITIONS[code]}"
                    for number, code in zip(numbers, codes, strict=True)
                    if code
                ]
            )

        yield (fill, leg, 0, shard, section), text


def _slices(sections: "np.ndarray[Any, np.dtype[np.uint32]]") -> Iterator[tuple[int, int, int]]:
    """Return the rows of each section: number, first row, row after the last."""
    if not len(sections):
        return
    starts = np.concatenate(([0], np.flatnonzero(np.diff(sections)) + 1, [len(sections)])).tolist()
    for first, last in itertools.pairwise(starts):
        yield int(sections[first]), first, last
