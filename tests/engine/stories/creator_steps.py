"""Steps of a story on the creators' side: fills, their corrections, and marks."""

from tests.engine.stories.pair import GOES_ON, SECOND, Pair, by_leg
from tests.engine.stories.setting import Step
from tests.reference.corrections import Fill, correct_fill, difference
from tests.reference.values import Decision


class CreatorSteps:
    """The creators' fills and prices so far, and the steps that add to them."""

    def __init__(self, pair: Pair) -> None:
        self._pair = pair
        self._engine = pair.engine
        self._reference = pair.reference
        self._setting = pair.setting
        self._fills: dict[tuple[str, str], Fill] = {}
        self._prices: dict[str, int] = {}

    def fill(self, step: Step) -> None:
        """Fill a creator's order: up, down in part, to flat, or across zero."""
        creator = f"c{step.a % len(self._setting.creators)}"
        symbol = f"S{step.a // 8 % len(self._setting.instruments)}"
        held = self._reference.portfolio(creator).positions.get(symbol, 0)
        # Up, down in part, to flat, or across zero; some by a hundredth, some by all.
        size = max(self._setting.quantity * (1 + step.b % 97) // (1 + step.b // 97 % 7), 1)
        part = {
            0: size,
            1: size,
            2: abs(held) * (1 + step.b % 9) // 10,
            3: abs(held),
            4: abs(held) + size,
        }
        way = step.a // 64 % 5
        quantity = part[way] or size
        side = (1 if held >= 0 else -1) * (1 if way < 2 else -1)
        if held == 0:
            side = 1 if step.b % 3 else -1
        age = (0, 0, 0, 60 * SECOND, 60 * SECOND + 1, 5 * SECOND)[step.c % 6]
        order_quantity = (0, 0, quantity, quantity * 3 + 7)[step.c // 6 % 4]
        price = self._price(symbol, step.c // 24)
        if self._engine.creator_side.would_refuse(creator, symbol, side, quantity, price):
            return
        decided, expected = self._pair.both(
            "fill", creator, symbol, side, quantity, price, age=age, order_quantity=order_quantity
        )
        assert by_leg(decided) == by_leg(expected)
        self._fills[creator, self._engine.creator_side.last_fill] = Fill(
            symbol, side, quantity, price
        )
        self._check_complete(creator, decided)

    def correct_fill(self, step: Step) -> None:
        """Cancel or correct some fill of a creator, a cancel, a correction, or one that never
        was.
        """
        if not self._fills:
            return
        names = list(self._fills)
        creator, reference = names[
            len(names) - 1 - step.a % min(len(names), (2, 5, 1000)[step.b % 3])
        ]
        fill, is_cancel = self._fills[creator, reference], step.b % 2 == 0
        quantity = (fill.quantity, fill.quantity * 2 + 1, fill.quantity // 3 + 1, 1)[step.c % 4]
        price = self._price(fill.symbol, step.c // 4)
        if is_cancel:
            quantity, price = 0, 0
        side, moved = difference(fill, quantity)
        if self._engine.creator_side.would_refuse(
            creator, fill.symbol, side, max(moved, 1), self._prices[fill.symbol]
        ):
            return
        reference = "never" if step.a % 19 == 0 else reference
        found, decided = self._engine.correct_fill(
            creator,
            fill.symbol,
            fill.side,
            reference,
            quantity=quantity,
            price=price,
            is_cancel=is_cancel,
        )
        if found == "out_of_range":
            return
        expected, decisions = correct_fill(
            self._reference.book,
            self._fills,
            creator,
            reference,
            exec_id=self._engine.creator_side.last_fill,
            quantity=quantity,
            price=price,
            is_cancel=is_cancel,
        )
        assert found == expected and by_leg(decided) == by_leg(decisions)
        if not found and moved:
            self._check_complete(creator, decided)

    def mark(self, step: Step) -> None:
        """Let a broker mark an instrument, at times with an old price."""
        symbol = f"S{step.a % len(self._setting.instruments)}"
        brokers = self._setting.brokers
        age = 0 if len(brokers) == 1 else (0, 0, 0, SECOND, 9 * SECOND)[step.c // 2 % 5]
        price, source = self._price(symbol, step.b), brokers[step.c % len(brokers)]
        self._pair.both("mark", symbol, price, source=source, age=age)

    def trust(self, step: Step) -> None:
        """Choose whose marks count: one broker's for all, or each broker's for its own."""
        sources = ("", *self._setting.brokers)
        self._pair.both("trust", sources[step.a % len(sources)])

    def _price(self, symbol: str, choice: int) -> int:
        old = self._prices.get(symbol, self._setting.price)
        price = (old, old, old * 11 // 10 + 1, old * 9 // 10, old + 1, old * 2, old // 2)[
            choice % 7
        ]
        price = min(max(price, self._setting.price // 8, 1), 10**13)
        self._prices[symbol] = price
        return price

    def _check_complete(self, creator: str, decided: list[Decision]) -> None:
        active = [
            pair
            for pair in set(self._pair.followed)
            if pair[1] == creator and self._pair.status(pair) in GOES_ON
        ]
        legs = {decision.leg for decision in decided}
        assert len(decided) == len(active) * max(len(legs), 1 if active else 0), (
            "P2: one disposition each"
        )
