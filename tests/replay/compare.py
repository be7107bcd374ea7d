"""Comparing a replay's files with what the auditor expects: every order, disposition, position and
amount, to the last unit.
"""

import csv
from fractions import Fraction
from pathlib import Path

from tests.replay.expected import Expected, average_price

_SIDES = {"buy": 1, "sell": -1}


def read(path: Path, header: str) -> list[dict[str, str]]:
    """Read one result file, which must have exactly this header."""
    with path.open(newline="", encoding="utf-8") as source:
        rows = csv.DictReader(source)
        assert ",".join(rows.fieldnames or ()) == header
        return list(rows)


def compare(out: Path, expected: Expected) -> None:
    """Compare all five files."""
    compare_dispositions(out, expected)
    order_ids = compare_orders(out, expected)
    compare_positions(out, expected)
    compare_subscriptions(out, expected)
    compare_broker(out, expected, order_ids)


def compare_dispositions(out: Path, expected: Expected) -> None:
    """Every leg of every fill has one disposition per subscription (P2), with the auditor's
    reason.
    """
    rows = read(out / "dispositions.csv", "fill_id,leg,account_id,creator_id,disposition,reason")
    found = {
        (row["fill_id"], int(row["leg"]), row["account_id"], row["creator_id"]): (
            row["disposition"],
            row["reason"],
        )
        for row in rows
    }
    assert len(found) == len(rows)
    assert found == expected.dispositions


def compare_orders(out: Path, expected: Expected) -> dict[str, tuple[str, int, int, str, str]]:
    """Every order is there with its size and price, filled whole. Returns: names by order id."""
    header = (
        "order_id,fill_id,leg,attempt,account_id,creator_id,symbol,side,quantity,limit_price,status,"
        "filled_quantity,average_price,time"
    )
    rows = read(out / "orders.csv", header)
    names = {
        row["order_id"]: (
            row["fill_id"],
            int(row["leg"]),
            int(row["attempt"]),
            row["account_id"],
            row["creator_id"],
        )
        for row in rows
    }
    assert len(names) == len(rows)
    assert set(names.values()) == set(expected.orders)
    for row in rows:
        order = expected.orders[names[row["order_id"]]]
        limit = _micros(row["limit_price"]) if row["limit_price"] else 0
        found = (
            row["symbol"],
            _SIDES[row["side"]],
            _e8(row["quantity"]),
            limit,
            _micros(row["average_price"]),
        )
        assert found == order, row
        assert (row["status"], row["filled_quantity"]) == ("filled", row["quantity"]), row
    return names


def compare_positions(out: Path, expected: Expected) -> None:
    """Every position and target, and what the position cost."""
    rows = read(out / "positions.csv", "account_id,creator_id,symbol,quantity,target,average_price")
    found = {
        (row["account_id"], row["creator_id"], row["symbol"]): (
            _e8(row["quantity"]),
            _e8(row["target"]),
            _micros(row["average_price"]) if row["average_price"] else None,
        )
        for row in rows
    }
    assert len(found) == len(rows)
    assert found == {
        name: (
            held.position,
            held.target,
            average_price(held.cost, held.position) if held.position else None,
        )
        for name, held in expected.state.positions.items()
        if held.position or held.target
    }


def compare_subscriptions(out: Path, expected: Expected) -> None:
    """Every subscription's cash, reservations and equity at the final marks (P7)."""
    rows = read(out / "subscriptions.csv", "account_id,creator_id,cash,reserved,equity")
    found = {
        (row["account_id"], row["creator_id"]): tuple(
            _micros(row[name]) for name in ("cash", "reserved", "equity")
        )
        for row in rows
    }
    assert len(found) == len(rows)
    sleeves = expected.state.sleeves
    assert found == {
        pair: (held.cash, held.reserved, held.equity) for pair, held in sleeves.items()
    }


def compare_broker(
    out: Path, expected: Expected, order_ids: dict[str, tuple[str, int, int, str, str]]
) -> None:
    """The broker's own ledger says the same: each order once, whole, at its price, for its account
    (P8).
    """
    rows = read(out / "broker.csv", "exec_id,order_id,account_id,symbol,side,quantity,price")
    assert len({row["exec_id"] for row in rows}) == len(rows)
    assert sorted(row["order_id"] for row in rows) == sorted(order_ids)
    for row in rows:
        name = order_ids[row["order_id"]]
        order = expected.orders[name]
        found = (
            row["account_id"],
            row["symbol"],
            _SIDES[row["side"]],
            _e8(row["quantity"]),
            _micros(row["price"]),
        )
        assert found == (name[3], order.symbol, order.side, order.quantity, order.price), row


def _micros(text: str) -> int:
    return _exact(text, 1_000_000)


def _e8(text: str) -> int:
    return _exact(text, 100_000_000)


def _exact(text: str, units: int) -> int:
    assert set(text) <= set("-0123456789."), f"expected a plain decimal, found {text!r}"
    value = Fraction(text) * units
    assert value.denominator == 1, text
    return int(value)
