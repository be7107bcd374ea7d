"""positions.csv and subscriptions.csv: the holdings of every subscription at the end, at the final
marks.

Order of rows: as in followers.csv, positions then by symbol. A position is written if it or its
target is not zero. Its average price is the cost of building it, divided by its size, rounded down
to the micro. Equity is cash plus each position at its final mark, rounded down.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cluster.replay.outcome import ReplayOutcome
from cluster.replay.texts import Ints, csv_field, scaled_texts
from engine.follower.book import Book
from engine.follower.sizing.valuation import equity_of
from engine.history.followers import FollowerTables
from engine.values.units import QUANTITY_ONE, format_micros, format_quantity

POSITIONS_HEADER = "account_id,creator_id,symbol,quantity,target,average_price"
SUBSCRIPTIONS_HEADER = "account_id,creator_id,cash,reserved,equity"


class _Rows(NamedTuple):
    """A book's rows: where each subscription stands in followers.csv."""

    tables: FollowerTables
    book: Book
    lines: Ints


def write_positions(path: Path, outcome: ReplayOutcome) -> None:
    """Write positions.csv."""
    names = _names(outcome)
    rows: list[tuple[int, str, int, int, int]] = []
    for found in _books(outcome):
        for slot in found.book.slots:
            symbol = found.tables.symbols[found.book.creator_shard, slot.instrument]
            count = found.book.count
            held, target, cost = slot.position[:count], slot.target[:count], slot.cost[:count]
            chosen = np.flatnonzero((held != 0) | (target != 0))
            columns = (found.lines[chosen], held[chosen], target[chosen], cost[chosen])
            rows += [
                (line, symbol, *rest)
                for line, *rest in zip(*(c.tolist() for c in columns), strict=True)
            ]
    rows.sort()
    with path.open("w", encoding="utf-8", newline="") as target_file:
        target_file.write(POSITIONS_HEADER + "\n")
        for line, symbol, quantity, aimed, cost_micros in rows:
            average = (
                format_micros(abs(cost_micros) * QUANTITY_ONE // abs(quantity)) if quantity else ""
            )
            amounts = f"{format_quantity(quantity)},{format_quantity(aimed)},{average}"
            target_file.write(f"{names[line]},{csv_field(symbol)},{amounts}\n")


def write_subscriptions(path: Path, outcome: ReplayOutcome) -> None:
    """Write subscriptions.csv. Raises: OverflowError when an equity is beyond what money may be."""
    names = _names(outcome)
    lines: list[str] = [""] * len(names)
    for found in _books(outcome):
        count = found.book.count
        marks = _marks(outcome, found.book)
        cash = found.book.subscriptions["cash"]
        equity, beyond = equity_of(cash, [(found.book, slice(0, count))], [marks])
        if beyond is not None:
            raise OverflowError(
                "equity: expected amounts in range at the final marks, found one beyond"
            )
        columns = (found.book.subscriptions["cash"], found.book.subscriptions["reserved"], equity)
        texts = [scaled_texts(column.astype(np.int64), 6) for column in columns]
        for line, cash, reserved, value in zip(found.lines.tolist(), *texts, strict=True):
            lines[line] = f"{names[line]},{cash},{reserved},{value}\n"
    with path.open("w", encoding="utf-8", newline="") as target_file:
        target_file.write(SUBSCRIPTIONS_HEADER + "\n")
        target_file.writelines(lines)


def _names(outcome: ReplayOutcome) -> list[str]:
    return [f"{row.account_id},{row.creator_id}" for row in outcome.inputs.followers]


def _books(outcome: ReplayOutcome) -> Iterator[_Rows]:
    places = {
        (row.account_id, row.creator_id): place
        for place, row in enumerate(outcome.inputs.followers)
    }
    for _, tables in sorted(outcome.journals.followers.items()):
        creators = {
            (shard, number): name for (shard, name), number in tables.state.creators.items()
        }
        for book in tables.state.books:
            creator = creators[book.creator_shard, book.creator]
            accounts = [
                tables.accounts[number] for number in book.subscriptions["account"].tolist()
            ]
            yield _Rows(
                tables, book, np.array([places[account, creator] for account in accounts], np.int64)
            )


def _marks(outcome: ReplayOutcome, book: Book) -> dict[int, int]:
    """Return the final marks that value a creator and its book, by instrument."""
    creators = outcome.journals.creators[book.creator_shard].state
    instruments = [slot.instrument for slot in book.slots]
    prices = creators.marks.of(creators.creators[book.creator]).prices_of(instruments)
    return dict(zip(instruments, prices, strict=True))
