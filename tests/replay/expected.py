"""The results that a replay must lead to, by the slow auditor. The input files are read here apart
from the replay's own reader.

Amounts are read with `Fraction`; rounding is the auditor's. A fill that repeats an execution id
leaves only its mark.
"""

import csv
from datetime import datetime
from fractions import Fraction
from math import floor
from pathlib import Path
from typing import NamedTuple

from tests.reference.reference import Reference
from tests.reference.values import TRADE, Decision, Order, SleeveTerms, State

_SIDES = {"buy": 1, "sell": -1}
_LOT_DEFAULT, _MIN_NOTIONAL_DEFAULT = "0.000001", "1"


class InputFiles(NamedTuple):
    """The files of a replay."""

    creators: Path
    followers: Path
    fills: Path
    prices: Path | None = None
    instruments: Path | None = None


class PlacedOrder(NamedTuple):
    """An order as the auditor placed it; every one was filled whole, at `price`."""

    symbol: str
    side: int
    quantity: int
    limit_price: int
    price: int


OrderName = tuple[str, int, int, str, str]
"""Fill id, leg, attempt, account, creator."""


class Expected(NamedTuple):
    """Dispositions by (fill id, leg, account, creator); orders by name; the state at the end."""

    dispositions: dict[tuple[str, int, str, str], tuple[str, str]]
    orders: dict[OrderName, PlacedOrder]
    state: State


def expect(files: InputFiles) -> Expected:
    """Work a replay out."""
    book = Reference()
    fill_rows = _rows(files.fills)
    price_rows = _rows(files.prices) if files.prices else []
    terms = {row["symbol"]: row for row in _rows(files.instruments)} if files.instruments else {}
    for symbol in dict.fromkeys([row["symbol"] for row in (*price_rows, *fill_rows)]):
        row = terms.get(symbol, {})
        lot, least = (
            row.get("lot") or _LOT_DEFAULT,
            row.get("min_notional") or _MIN_NOTIONAL_DEFAULT,
        )
        book.list_instrument(symbol, lot=_e8(lot), min_notional=_micros(least))
    for row in _rows(files.creators):
        book.open_creator(row["creator_id"], cash=_micros(row["cash"]))
    for row in _rows(files.followers):
        _follow(book, row)
    replayed = _Replay(book)
    prices = [(_time(f"{row['date']}T21:00:00Z"), 0, row) for row in price_rows]
    fills = [(_time(row["time"]), 1, row) for row in fill_rows]
    # Sorting keeps the order of equal ones, and 0 is a price.
    for time, is_fill, row in sorted([*prices, *fills], key=lambda item: item[:2]):
        if is_fill:
            replayed.fill(time, row)
        else:
            book.mark(row["symbol"], _micros(row["close"]), time=time)
    return Expected(replayed.dispositions, replayed.orders, book.state())


class _Replay:
    """The fills of a replay, taken one by one."""

    def __init__(self, book: Reference) -> None:
        self.dispositions: dict[tuple[str, int, str, str], tuple[str, str]] = {}
        self.orders: dict[OrderName, PlacedOrder] = {}
        self._book = book
        self._seen: set[tuple[str, str]] = set()
        self._fill_ids: dict[int, str] = {}

    def fill(self, time: int, row: dict[str, str]) -> None:
        creator, fill_id, price = row["creator_id"], row["fill_id"], _micros(row["price"])
        self._book.advance(time)
        self._book.mark(row["symbol"], price, time=time)
        if (creator, fill_id) in self._seen:
            return
        self._seen.add((creator, fill_id))
        self._fill_ids[len(self._fill_ids) + 1] = fill_id
        decisions = self._book.fill(
            creator, row["symbol"], _SIDES[row["side"]], _e8(row["qty"]), price
        )
        for decision in decisions:
            self._note(fill_id, decision)
        while open_orders := self._book.open_orders():
            for order in open_orders:
                self._execute(order)

    def _note(self, fill_id: str, decision: Decision) -> None:
        name = (fill_id, decision.leg, decision.account, decision.creator)
        assert name not in self.dispositions
        self.dispositions[name] = decision.outcome, decision.reason

    def _execute(self, order: Order) -> None:
        key = order.key
        name = (self._fill_ids[key.cause_number], key.leg, key.attempt, key.account, key.creator)
        assert name not in self.orders
        self.orders[name] = PlacedOrder(
            order.symbol, order.side, order.quantity, order.limit_price, order.price
        )
        self._book.execution(key, TRADE, quantity=order.quantity, price=order.price)


def _follow(book: Reference, row: dict[str, str]) -> None:
    def micros(field: str, absent: str = "0") -> int:
        return _micros(row.get(field) or absent)

    terms = SleeveTerms(
        cash=_micros(row["cash"]),
        mode=row.get("mode") or "proportional",
        ratio=micros("ratio", "1"),
        amount=micros("amount"),
        max_order_notional=micros("max_order_notional"),
        max_position_weight=micros("max_position_weight"),
        allow_short=row.get("allow_short") == "true",
    )
    book.follow(row["account_id"], row["creator_id"], terms)


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as source:
        return list(csv.DictReader(source))


def _micros(text: str) -> int:
    return _exact(text, 1_000_000)


def _e8(text: str) -> int:
    return _exact(text, 100_000_000)


def _exact(text: str, units: int) -> int:
    value = Fraction(text) * units
    assert value.denominator == 1, text
    return int(value)


def _time(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp()) * 1_000_000_000


def average_price(cost: int, quantity: int) -> int:
    """Return the cost of building a position over its size. Rounds: down. Units: micros."""
    return floor(Fraction(abs(cost) * 100_000_000, abs(quantity)))
