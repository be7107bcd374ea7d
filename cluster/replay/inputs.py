"""The five input files of a replay as typed rows, checked as a whole before anything is started.

Units: as in `engine.values.units`. References between files are checked too: the creator of a
follower or of a fill must be known. A fill id that a creator uses twice is accepted: the engine
applies such a fill once, and the summary counts it.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeVar

from cluster.replay.csv_table import CsvTable, FieldError, InputError, Row, shown
from engine.values.units import (
    MICROS,
    money_micros,
    price_micros,
    quantity_e8,
    ratio_micros,
    weight_micros,
)

CLOSE_TIME = "T21:00:00Z"
"""A row of prices.csv is a mark at this time of its date."""
MODES = ("proportional", "fixed_amount", "multiplier")
T = TypeVar("T")


class CreatorRow(NamedTuple):
    """A creator and its cash."""

    line: int
    creator_id: str
    cash: int


class FollowerRow(NamedTuple):
    """One subscription; 0 is no limit. `dedicated` is None when the row does not say."""

    line: int
    account_id: str
    creator_id: str
    cash: int
    mode: str = "proportional"
    ratio: int = MICROS
    amount: int = 0
    max_order_notional: int = 0
    max_position_weight: int = 0
    allow_short: bool = False
    dedicated: bool | None = None


class FillRow(NamedTuple):
    """A creator's fill. `side` is +1 buy, -1 sell."""

    line: int
    time: int
    fill_id: str
    creator_id: str
    symbol: str
    side: int
    quantity: int
    price: int


class PriceRow(NamedTuple):
    """A symbol's closing price, as a mark."""

    line: int
    time: int
    symbol: str
    price: int


class InstrumentRow(NamedTuple):
    """Lot and minimum notional of a symbol, as checked decimal text; None is the default."""

    line: int
    symbol: str
    lot: str | None
    min_notional: str | None


class Inputs(NamedTuple):
    """Everything to replay, each table in the order of its file."""

    creators: list[CreatorRow]
    followers: list[FollowerRow]
    fills: list[FillRow]
    prices: list[PriceRow]
    instruments: list[InstrumentRow]

    @property
    def dedicated_accounts(self) -> frozenset[str]:
        """The accounts that ask for an actor of their own."""
        return frozenset(row.account_id for row in self.followers if row.dedicated)

    @property
    def repeated_fills(self) -> list[FillRow]:
        """The fills whose id their creator has used in an earlier row."""
        seen: set[tuple[str, str]] = set()
        repeated = []
        for row in self.fills:
            if (row.creator_id, row.fill_id) in seen:
                repeated.append(row)
            seen.add((row.creator_id, row.fill_id))
        return repeated


def read_inputs(
    *,
    creators: Path,
    followers: Path,
    fills: Path,
    prices: Path | None = None,
    instruments: Path | None = None,
) -> Inputs:
    """Read and check all files. Raises: InputError with every error, up to a limit per file."""
    errors: list[str] = []

    def tried(read: Callable[[], list[T]]) -> list[T]:
        try:
            return read()
        except InputError as error:
            errors.append(str(error))
            return []

    creator_rows = tried(lambda: _creators(creators))
    # Where creators.csv itself is wrong, the other files are not blamed for naming what it could
    # not introduce.
    known = None if errors else frozenset(row.creator_id for row in creator_rows)
    inputs = Inputs(
        creators=creator_rows,
        followers=tried(lambda: _followers(followers, known, creators)),
        fills=tried(lambda: _fills(fills, known, creators)),
        prices=tried(lambda: _prices(prices)) if prices else [],
        instruments=tried(lambda: _instruments(instruments)) if instruments else [],
    )
    if errors:
        raise InputError("\n".join(errors))
    return inputs


def _read(
    table: CsvTable,
    parse: Callable[[Row], T],
    key: Callable[[T], tuple[object, ...]] | None,
    what: str,
) -> list[T]:
    """Parse every row. A key that comes again is refused with the line of the first."""
    found: list[T] = []
    lines: dict[tuple[object, ...], int] = {}
    for row, parsed in _parsed(table, parse):
        found.append(parsed)
        if key is not None:
            first = lines.setdefault(key(parsed), row.line)
            if first != row.line:
                names = " ".join(str(part) for part in key(parsed))
                table.refuse(
                    row.line,
                    f"{what}: expected each once, found "
                    f"{shown(names)} again, first in line {first}",
                )
    table.check()
    return found


def _parsed(table: CsvTable, parse: Callable[[Row], T]) -> Iterator[tuple[Row, T]]:
    for row in table.rows():
        try:
            yield row, parse(row)
        except FieldError as error:
            table.refuse(row.line, str(error))


def _creators(path: Path) -> list[CreatorRow]:
    table = CsvTable(path, required=("creator_id", "cash"))

    def parse(row: Row) -> CreatorRow:
        return CreatorRow(row.line, row.identity("creator_id"), _cash(row))

    return _read(table, parse, lambda row: (row.creator_id,), "creator_id")


def _followers(
    path: Path, creators: frozenset[str] | None, creators_path: Path
) -> list[FollowerRow]:
    optional = (
        "mode",
        "ratio",
        "amount",
        "max_order_notional",
        "max_position_weight",
        "allow_short",
        "dedicated",
    )
    table = CsvTable(path, required=("account_id", "creator_id", "cash"), optional=optional)
    dedicated: dict[str, tuple[bool, int]] = {}

    def parse(row: Row) -> FollowerRow:
        found = _follower(row)
        _check_creator(found.creator_id, creators, creators_path)
        if found.dedicated is not None:
            said, line = dedicated.setdefault(found.account_id, (found.dedicated, row.line))
            if said is not found.dedicated:
                text = str(said).lower()
                raise FieldError(
                    f"dedicated: expected {text} for account "
                    f"{found.account_id} as in line {line}, found the other"
                )
        return found

    rows = _read(
        table, parse, lambda row: (row.account_id, row.creator_id), "account_id, creator_id"
    )
    return [row._replace(dedicated=dedicated.get(row.account_id, (False, 0))[0]) for row in rows]


def _follower(row: Row) -> FollowerRow:
    mode = row.choice("mode", MODES, absent=MODES[0])
    amount = _limit(row, "amount", money_micros)
    if mode == "fixed_amount" and not amount:
        raise FieldError("amount: expected a number above zero with mode fixed_amount, found none")
    return FollowerRow(
        line=row.line,
        account_id=row.identity("account_id"),
        creator_id=row.identity("creator_id"),
        cash=_cash(row),
        mode=mode,
        ratio=row.number_or("ratio", ratio_micros, MICROS),
        amount=amount,
        max_order_notional=_limit(row, "max_order_notional", money_micros),
        max_position_weight=_limit(row, "max_position_weight", weight_micros),
        allow_short=bool(row.flag("allow_short")),
        dedicated=row.flag("dedicated"),
    )


def _fills(path: Path, creators: frozenset[str] | None, creators_path: Path) -> list[FillRow]:
    table = CsvTable(
        path, required=("time", "fill_id", "creator_id", "symbol", "side", "qty", "price")
    )

    def parse(row: Row) -> FillRow:
        creator_id = row.identity("creator_id")
        _check_creator(creator_id, creators, creators_path)
        return FillRow(
            line=row.line,
            time=row.time("time"),
            fill_id=row.identity("fill_id"),
            creator_id=creator_id,
            symbol=row.symbol("symbol"),
            side=1 if row.choice("side", ("buy", "sell")) == "buy" else -1,
            quantity=row.number("qty", quantity_e8),
            price=row.number("price", price_micros),
        )

    return _read(table, parse, None, "")


def _prices(path: Path) -> list[PriceRow]:
    table = CsvTable(path, required=("date", "symbol", "close"), optional=("open", "high", "low"))

    def parse(row: Row) -> PriceRow:
        for field in ("open", "high", "low"):
            row.number_or(field, price_micros, 0)
        return PriceRow(
            row.line, _close_time(row), row.symbol("symbol"), row.number("close", price_micros)
        )

    return _read(table, parse, lambda row: (row.time, row.symbol), "date, symbol")


def _instruments(path: Path) -> list[InstrumentRow]:
    table = CsvTable(path, required=("symbol",), optional=("lot", "min_notional"))

    def parse(row: Row) -> InstrumentRow:
        row.number_or("lot", quantity_e8, 1)
        _limit(row, "min_notional", money_micros)
        return InstrumentRow(
            row.line,
            row.symbol("symbol"),
            row.text("lot") or None,
            row.text("min_notional") or None,
        )

    return _read(table, parse, lambda row: (row.symbol,), "symbol")


def _check_creator(creator_id: str, creators: frozenset[str] | None, path: Path) -> None:
    if creators is not None and creator_id not in creators:
        raise FieldError(
            f"creator_id: expected a creator of {path.name}, found {shown(creator_id)}"
        )


def _cash(row: Row) -> int:
    cash = row.number("cash", money_micros)
    if cash <= 0:
        raise FieldError(f"cash: expected a number above zero, found {shown(row.text('cash'))}")
    return cash


def _limit(row: Row, field: str, read: Callable[[str, str], int]) -> int:
    value = row.number_or(field, read, 0)
    if value < 0:
        raise FieldError(f"{field}: expected zero (none) or more, found {shown(row.text(field))}")
    return value


def _close_time(row: Row) -> int:
    text = row.required("date")
    if len(text) != 10:
        raise FieldError(f"date: expected a date like 2026-01-31, found {shown(text)}")
    return row.time("date", CLOSE_TIME)
