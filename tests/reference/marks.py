"""The auditor's marks: whose price values whom."""

from typing import NamedTuple

_ALL = ""
"""The source under which marks for everybody are kept."""


class Mark(NamedTuple):
    """A price with its time and the order in which it came. Units: ns, micros."""

    time: int
    arrival: int
    price: int


class Marks:
    """The newest mark of every source and of every creator's fills, by symbol."""

    def __init__(self) -> None:
        self._market: dict[tuple[str, str], Mark] = {}
        self._fills: dict[tuple[str, str], Mark] = {}
        self._arrivals = 0
        self.trusted = ""
        """The only source that is trusted; empty: each broker for its own creators."""

    def of(self, creator: str, broker: str) -> dict[str, int]:
        """List the marks that value a creator, by symbol."""
        symbols = {symbol for _, symbol in (*self._market, *self._fills)}
        found = {symbol: self._find(creator, broker, symbol) for symbol in symbols}
        return {symbol: mark.price for symbol, mark in found.items() if mark is not None}

    def _find(self, creator: str, broker: str, symbol: str) -> Mark | None:
        market, fill = self._market_at(broker, symbol), self._fills.get((creator, symbol))
        if fill is not None and all(fill[:2] > mark[:2] for mark in market):
            return fill
        # Of two marks of one time the first one counts.
        return max(market, key=lambda mark: mark.time) if market else None

    def _market_at(self, broker: str, symbol: str) -> list[Mark]:
        names = (_ALL, broker) if self.trusted else (broker, _ALL)
        return [self._market[name, symbol] for name in names if (name, symbol) in self._market]

    def take(self, source: str, symbol: str, price: int, time: int) -> None:
        """Take a source's mark. An older one than the known one says nothing, nor does one of a
        source that is not trusted.
        """
        mark, name = self._next(price, time), source
        known = self._market_at(source, symbol)
        if self.trusted:
            name = _ALL
            known = [self._market[name, symbol]] if (name, symbol) in self._market else []
        if self.trusted in ("", source) and all(mark > each for each in known):
            self._market[name, symbol] = mark

    def take_fill(self, creator: str, symbol: str, price: int, time: int) -> None:
        """Take the price of a creator's fill. An older one than the last one's says nothing."""
        mark = self._next(price, time)
        self._fills[creator, symbol] = max(mark, self._fills.get((creator, symbol), mark))

    def _next(self, price: int, time: int) -> Mark:
        self._arrivals += 1
        return Mark(time, self._arrivals, price)
