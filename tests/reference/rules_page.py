"""The examples of RULES.md, read from its tables and played in any world.

An example is a table whose first column, "what happens", is a step; the other columns say what must
be true after it. An empty cell says nothing, and "why" is for the reader alone.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Protocol

from tests.reference.book import SECOND
from tests.reference.stage import Stage, qty, usd
from tests.reference.values import BUY, CANCELED, EXPIRED, REJECTED, Order
from tests.reference.world import World

PAGE = Path(__file__).parents[2] / "RULES.md"
STEP = "what happens"
_ENDS = {"expires": EXPIRED, "is rejected": REJECTED, "is canceled": CANCELED}


class Example(NamedTuple):
    """One table: its heading, its columns, and its rows by column."""

    heading: str
    rows: list[dict[str, str]]


class BrokerTrade(NamedTuple):
    """A trade as the broker knows it; `name` is its execution id."""

    order: Order
    name: str


class RulesWorld(World, Protocol):
    """A world in which trades and fills can be taken back and corrected, too. A quantity of 0 takes
    all of it back.
    """

    def trade(self, order: Order, quantity: int, price: int) -> BrokerTrade:
        """Let the broker fill some of an order."""

    def correct_trade(self, trade: BrokerTrade, quantity: int, price: int) -> None:
        """Let the broker correct a trade, or cancel it."""

    def correct_last_fill(self, quantity: int, price: int) -> list[str]:
        """Correct ann's last fill, or cancel it. Returns: what became of the difference."""


def examples(text: str) -> list[Example]:
    """Read every example of a page."""
    found: list[Example] = []
    heading, names = "", list[str]()
    for line in text.splitlines():
        if line.startswith("#"):
            heading = line.lstrip("# ")
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not line.startswith("|"):
            names = []
        elif cells[0] == STEP:
            names = cells
            found.append(Example(heading, []))
        elif names and not set(line) <= set("|-: "):
            found[-1].rows.append(dict(zip(names, cells, strict=True)))
    return found


def headings(text: str) -> list[str]:
    """List the rules of a page: its third-level headings."""
    return re.findall(r"^### (.+)$", text, re.MULTILINE)


def play(example: Example, world: RulesWorld) -> None:
    """Play an example and check every cell."""
    player = _Player(world)
    for number, row in enumerate(example.rows, 1):
        found = player.step(row[STEP])
        for name, expected in row.items():
            if not expected or name in (STEP, "why"):
                continue
            shown = ", ".join(found) if name == "becomes" else player.shown(name)
            wanted = expected if name in ("becomes", "open orders", "status") else _plain(expected)
            assert shown == wanted, f"{example.heading}, row {number}, {name}: found {shown}"


def _plain(number: str) -> str:
    return number.replace(",", "").replace("−", "-")


class _Player:
    """One example under way."""

    def __init__(self, world: RulesWorld) -> None:
        self._world = world
        self._stage: Stage | None = None
        self._trade: BrokerTrade | None = None
        self._steps: list[tuple[str, Callable[..., list[str]]]] = [
            (r"lots are (\S+)", self._lots),
            (r"bob follows with ([\d.,]*\d)((?:, [^,]+(?:,\d+)?)*)", self._follows),
            (r"bob (pauses|resumes|unfollows)", self._commands),
            (
                r"ann (buys|sells) (\S+)( BETA)? at ([\d.,]*\d)(?:, (\d+) s late)?"
                r"(?:, of an order of (\S+))?",
                self._fills,
            ),
            (r"(ACME|BETA) is marked at (\S+)( by another broker)?", self._marks),
            (r"the operator trusts another broker's marks", self._trusts),
            (r"the broker fills all", self._fills_all),
            (r"the broker fills (\S+)", self._fills_some),
            (r"the (order|exit|entry) (expires|is rejected|is canceled)", self._ends),
            (r"an operator says that the (order|exit|entry) is canceled", self._resolves),
            (
                r"an operator says that the (order|exit|entry) is filled (\S+) at (\S+)",
                self._resolves,
            ),
            (r"the broker takes the trade back", self._takes_back),
            (r"the broker corrects the trade to (\S+) at (\S+)", self._corrects),
            (r"ann's fill is taken back", self._fill_taken_back),
            (r"ann's fill is corrected to (\S+) at (\S+)", self._fill_corrected),
            (r"(\S+) s pass(?:es)?", self._passes),
        ]

    @property
    def stage(self) -> Stage:
        """The stage, made with the usual lot where the example names none."""
        if self._stage is None:
            self._stage = Stage(self._world)
        return self._stage

    def step(self, text: str) -> list[str]:
        """Take one step. Returns: what became of it for bob, leg by leg."""
        for pattern, take in self._steps:
            match = re.fullmatch(pattern, text)
            if match:
                return take(*match.groups())
        raise AssertionError(f"RULES.md: expected a known step, found {text!r}")

    def shown(self, name: str) -> str:
        """Return one column as the page writes it."""
        what, _, symbol = name.partition(" of ")
        holding = self.stage.holding(symbol=symbol or "ACME")
        sleeve = self._world.sleeve("bob", "ann")
        match what:
            case "open orders":
                return "; ".join(map(_order_text, self._world.open_orders())) or "none"
            case "target":
                return _decimal(holding.target, 10**8)
            case "held":
                return _decimal(holding.position, 10**8)
            case "cash":
                return _decimal(sleeve.cash, 10**6)
            case "reserved":
                return _decimal(sleeve.reserved, 10**6)
            case "status":
                return sleeve.status
        raise AssertionError(f"RULES.md: expected a known column, found {name!r}")

    def _lots(self, lot: str) -> list[str]:
        self._stage = Stage(self._world, lot=lot)
        return []

    def _follows(self, cash: str, options: str) -> list[str]:
        terms: dict[str, str | bool] = {}
        for option in filter(None, options.split(", ")):
            name, _, value = option.partition(" ")
            terms[name] = _plain(value) if value else True
        self.stage.follow("bob", cash=_plain(cash), **terms)  # type: ignore[arg-type]
        return []

    def _commands(self, what: str) -> list[str]:
        if what == "unfollows":
            self._world.unfollow("bob", "ann")
        else:
            self._world.pause("bob", "ann", is_paused=what == "pauses")
        return []

    def _fills(
        self, side: str, quantity: str, symbol: str | None, price: str, age: str, of: str
    ) -> list[str]:
        fill = self.stage.buys if side == "buys" else self.stage.sells
        return fill(
            _plain(quantity),
            _plain(price),
            "BETA" if symbol else "ACME",
            age=int(age or 0) * SECOND,
            of=of or "0",
        )

    def _marks(self, symbol: str, price: str, by_another: str | None) -> list[str]:
        self._world.mark(symbol, usd(_plain(price)), source="other" if by_another else "paper")
        return []

    def _trusts(self) -> list[str]:
        self._world.trust("other")
        return []

    def _fills_all(self) -> list[str]:
        for order in self._world.open_orders():
            self._trade = self._world.trade(order, order.remaining, order.price)
        return []

    def _fills_some(self, quantity: str) -> list[str]:
        order = self.stage.order()
        self._trade = self._world.trade(order, qty(quantity), order.price)
        return []

    def _ends(self, which: str, how: str) -> list[str]:
        self._world.end(self._order(which), _ENDS[how])
        return []

    def _order(self, which: str) -> Order:
        orders = self._world.open_orders()
        if which != "order":
            orders = [order for order in orders if order.is_exit == (which == "exit")]
        (order,) = orders
        return order

    def _resolves(self, which: str, quantity: str = "0", price: str = "0") -> list[str]:
        self._world.resolve(self._order(which), qty(quantity), usd(price))
        return []

    def _takes_back(self) -> list[str]:
        assert self._trade is not None
        self._world.correct_trade(self._trade, 0, 0)
        return []

    def _corrects(self, quantity: str, price: str) -> list[str]:
        assert self._trade is not None
        self._world.correct_trade(self._trade, qty(quantity), usd(price))
        return []

    def _fill_taken_back(self) -> list[str]:
        return self._world.correct_last_fill(0, 0)

    def _fill_corrected(self, quantity: str, price: str) -> list[str]:
        return self._world.correct_last_fill(qty(quantity), usd(price))

    def _passes(self, seconds: str) -> list[str]:
        self._world.advance(int(seconds) * SECOND)
        return []


def _order_text(order: Order) -> str:
    side = "buy" if order.side == BUY else "sell"
    price = f"limit {_decimal(order.limit_price, 10**6)}" if order.limit_price else "at market"
    cancelling = ", being canceled" if order.is_cancelling else ""
    return f"{side} {_decimal(order.remaining, 10**8)} {price}{cancelling}"


def _decimal(value: int, one: int) -> str:
    sign, (whole, rest) = "-" if value < 0 else "", divmod(abs(value), one)
    return f"{sign}{whole}.{rest:0{len(str(one)) - 1}d}".rstrip("0").rstrip(".")
