"""Two worlds side by side: every step is taken in the engine and in the reference, and everything
that can be seen must agree.

Steps are small tuples of integers, read against what there is (the n-th open order, the n-th
account), so that any list of them is a story and Hypothesis can shorten one that fails.
"""

from dataclasses import replace
from typing import Any, NamedTuple

import msgspec
import numpy as np

from engine.columns.state import state_hash
from engine.follower.order_history import exec_id_of
from engine.messages.blocks import CorrectionsReported, ExecutionsReported
from engine.messages.commands import AccountCommand, Follow, Unfollow
from engine.values.order_status import ExecType
from engine.values.refusals import Refused
from tests.engine.invariants import demand_invariants
from tests.engine.world import EngineWorld, follow_terms
from tests.reference.corrections import Fill, correct, correct_fill, difference
from tests.reference.values import (
    CANCELED,
    COMMAND,
    EXPIRED,
    REJECTED,
    TRADE,
    Decision,
    Order,
    Position,
    SleeveTerms,
)
from tests.reference.values import OrderKey as ReferenceKey
from tests.reference.world import ReferenceWorld

SECOND = 10**9
_WORDS = {
    ExecType.TRADE: TRADE,
    ExecType.CANCELED: CANCELED,
    ExecType.EXPIRED: EXPIRED,
    ExecType.REJECTED: REJECTED,
}


_GOES_ON = "active", "paused"


class Sleeving(NamedTuple):
    """How one account follows one creator. Units: micros."""

    account: int
    creator: int
    cash: int
    mode: str
    ratio: int
    amount: int
    max_order_notional: int
    max_position_weight: int
    allow_short: bool


class Step(NamedTuple):
    """One step: what, and three numbers that choose."""

    kind: str
    a: int
    b: int
    c: int


class Setting(NamedTuple):
    """What is there before the first step: an instrument is (lot, minimum notional), a creator its
    cash.
    """

    instruments: list[tuple[int, int]]
    creators: list[int]
    sleeves: list[Sleeving]
    fee_rate: int
    part_rows: list[int]
    price: int
    quantity: int


def _terms_of(sleeve: Sleeving) -> SleeveTerms:
    """Return how a subscription copies."""
    return SleeveTerms(
        cash=sleeve.cash,
        mode=sleeve.mode,
        ratio=sleeve.ratio,
        amount=sleeve.amount,
        max_order_notional=sleeve.max_order_notional,
        max_position_weight=sleeve.max_position_weight,
        allow_short=sleeve.allow_short,
    )


def _comparable(order: Order | None) -> Any:
    """Name a command's order by its symbol alone: the engine numbers a book's instruments and
    batches of commands, the reference a creator's and single ones.
    """
    if order is None or order.key.cause_kind != COMMAND:
        return order
    return replace(order, key=order.key._replace(cause_number=-1, leg=-1))


def _sorted(orders: list[Order]) -> list[Order]:
    return sorted(orders, key=lambda order: (_comparable(order).key, order.symbol))


def _decided(decisions: list[Decision]) -> list[Decision]:
    return sorted(decisions, key=lambda decision: (decision.leg, decision.account))


class _Traded(NamedTuple):
    """A trade, a trade cancel or correct that a story may refer to: the report, and what the
    reference calls its order.
    """

    report: ExecutionsReported
    exec_id: str
    key: ReferenceKey


class Pair:
    """The engine and the reference in one story."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._parts = self._bulks = 0
        self.engine = EngineWorld(fee_rate=setting.fee_rate, part_rows=self._part_rows)
        self.reference = ReferenceWorld(fee_rate=setting.fee_rate)
        self._reports: list[ExecutionsReported] = []
        self._traded: list[_Traded] = []
        self._corrections: list[CorrectionsReported] = []
        self._fills: dict[tuple[str, str], Fill] = {}
        self._followed: list[tuple[str, str]] = []
        self._prices: dict[str, int] = {}
        for number, (lot, min_notional) in enumerate(setting.instruments):
            self._both("list_instrument", f"S{number}", lot=lot, min_notional=min_notional)
        for number, cash in enumerate(setting.creators):
            self._both("open_creator", f"c{number}", cash=cash)
        for sleeve in setting.sleeves:
            self._follow(sleeve)
        self.compare()

    def _part_rows(self) -> int:
        sizes = self._setting.part_rows
        self._parts += 1
        return sizes[self._parts % len(sizes)]

    def _both(self, name: str, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        return getattr(self.engine, name)(*args, **kwargs), getattr(self.reference, name)(
            *args, **kwargs
        )

    def _status(self, pair: tuple[str, str]) -> str:
        return self.reference.sleeve(*pair).status if pair in self._followed else "ended"

    def _follow(self, sleeve: Sleeving) -> None:
        pair = f"a{sleeve.account}", f"c{sleeve.creator % len(self._setting.creators)}"
        if self._status(pair) == "ended":
            self._both("follow", *pair, _terms_of(sleeve))
            self._followed.append(pair)

    # Steps.

    def take(self, step: Step) -> None:
        """Take a step in both worlds and compare."""
        getattr(self, f"_{step.kind}")(step)
        self.compare()

    def _fill(self, step: Step) -> None:
        creator = f"c{step.a % len(self._setting.creators)}"
        symbol = f"S{step.a // 8 % len(self._setting.instruments)}"
        held = self.reference.portfolio(creator).positions.get(symbol, 0)
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
        if self.engine.would_refuse(creator, symbol, side, quantity, price):
            return
        decided, expected = self._both(
            "fill", creator, symbol, side, quantity, price, age=age, order_quantity=order_quantity
        )
        assert _decided(decided) == _decided(expected)
        self._fills[creator, self.engine.last_fill] = Fill(symbol, side, quantity, price)
        self._check_complete(creator, decided)

    def _check_complete(self, creator: str, decided: list[Decision]) -> None:
        active = [
            pair
            for pair in set(self._followed)
            if pair[1] == creator and self._status(pair) in _GOES_ON
        ]
        legs = {decision.leg for decision in decided}
        assert len(decided) == len(active) * max(len(legs), 1 if active else 0), (
            "P2: one disposition each"
        )

    def _correct_fill(self, step: Step) -> None:
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
        if self.engine.would_refuse(
            creator, fill.symbol, side, max(moved, 1), self._prices[fill.symbol]
        ):
            return
        reference = "never" if step.a % 19 == 0 else reference
        found, decided = self.engine.correct_fill(
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
            self.reference.book,
            self._fills,
            creator,
            reference,
            exec_id=self.engine.last_fill,
            quantity=quantity,
            price=price,
            is_cancel=is_cancel,
        )
        assert found == expected and _decided(decided) == _decided(decisions)
        if not found and moved:
            self._check_complete(creator, decided)

    def _price(self, symbol: str, choice: int) -> int:
        old = self._prices.get(symbol, self._setting.price)
        price = (old, old, old * 11 // 10 + 1, old * 9 // 10, old + 1, old * 2, old // 2)[
            choice % 7
        ]
        price = min(max(price, self._setting.price // 8, 1), 10**13)
        self._prices[symbol] = price
        return price

    def _mark(self, step: Step) -> None:
        symbol = f"S{step.a % len(self._setting.instruments)}"
        self._both("mark", symbol, self._price(symbol, step.b))

    def _pick(self, choice: int) -> tuple[Order, Order] | None:
        mine, theirs = _sorted(self.engine.open_orders()), _sorted(self.reference.open_orders())
        return (mine[choice % len(mine)], theirs[choice % len(theirs)]) if mine else None

    def _trade(self, step: Step) -> None:
        picked = self._pick(step.a)
        if picked is None:
            return
        order = picked[0]
        quantity = (
            order.remaining if step.b % 2 else max(order.remaining * (1 + step.b % 10) // 11, 1)
        )
        price = max(
            order.price + (0, 0, 1, -1, order.price // 200, -order.price // 10)[step.c % 6], 1
        )
        fee = (0, 0, 1, self._setting.price // 100)[step.c // 6 % 4]
        self._report(picked, ExecType.TRADE, quantity, price, fee, is_numbered=step.c % 5 > 0)

    def _end(self, step: Step) -> None:
        picked = self._pick(step.a)
        if picked is not None:
            exec_type = (ExecType.CANCELED, ExecType.EXPIRED, ExecType.REJECTED)[step.b % 3]
            self._report(picked, exec_type, is_numbered=step.c % 5 > 0)

    def _answer_cancels(self, step: Step) -> None:
        """Answer what waits for a cancel, some by a fill that came first."""
        while True:
            cancelling = [order.is_cancelling for order in _sorted(self.engine.open_orders())]
            if True not in cancelling:
                return
            picked = self._pick(cancelling.index(True))
            assert picked is not None
            if step.a % 3:
                self._report(picked, ExecType.CANCELED)
            else:
                self._report(picked, ExecType.TRADE, picked[0].remaining, picked[0].price)

    def _report(
        self,
        picked: tuple[Order, Order],
        exec_type: ExecType,
        quantity: int = 0,
        price: int = 0,
        fee: int = 0,
        *,
        is_numbered: bool = True,
    ) -> None:
        report = self.engine.reported(picked[0], exec_type, quantity, price, fee)
        if not is_numbered:
            report = msgspec.structs.replace(
                report, prefix=f"{report.prefix}{report.numbers[0]}", numbers=np.array([-1])
            )
        assert not self.engine.report(report)
        self._mirror(report, picked[1].key)

    def _mirror(self, report: ExecutionsReported, key: ReferenceKey) -> None:
        """Let the reference have what the engine was reported."""
        quantity, price, fee = int(report.quantities[0]), int(report.prices[0]), int(report.fees[0])
        exec_type, name = (
            ExecType(int(report.exec_types[0])),
            exec_id_of(report.prefix, int(report.numbers[0])),
        )
        self.reference.book.execution(
            key, _WORDS[exec_type], quantity=quantity, price=price, fee=fee, exec_id=name
        )
        self._reports.append(report)
        if exec_type is ExecType.TRADE:
            self._traded.append(_Traded(report, name, key))

    def _trade_many(self, step: Step) -> None:
        """Report on all orders of one cause, leg and attempt in one message, each twice: some now,
        then the rest.
        """
        picked = self._pick(step.a)
        if picked is None:
            return
        key, price = picked[0].key, max(picked[0].price + step.c % 3 - 1, 1)
        reports = []
        for order in self.engine.open_orders():
            if order.key._replace(account="", creator=key.creator) != key._replace(account=""):
                continue
            some = order.remaining * (1 + step.b % 7) // 8
            parts = [
                (ExecType.TRADE, part, price) for part in (some, order.remaining - some) if part
            ]
            if step.b % 5 == 0:
                parts[-1] = ((ExecType.CANCELED, 0, 0), (ExecType.EXPIRED, 0, 0))[step.c % 2]
            for exec_type, quantity, at in parts:
                reports.append((order, self.engine.reported(order, exec_type, quantity, at)))
        reports.sort(key=lambda item: (int(item[1].subscriptions[0]), int(item[1].numbers[0])))
        self.engine.report_all([report for _, report in reports])
        theirs = {
            (_comparable(order).key, order.symbol): order.key
            for order in self.reference.open_orders()
        }
        for order, report in reports:
            self._mirror(report, theirs[_comparable(order).key, order.symbol])

    def _repeat(self, step: Step) -> None:
        """Let an earlier report come again: it counts once, and whatever cannot be told is handed
        back (P8).
        """
        if not self._reports:
            return
        report = self._reports[step.a % len(self._reports)]
        before = state_hash(self.engine.followers.live.columns())
        unmatched = self.engine.report(report)
        assert not unmatched or report.numbers[0] < 0, "a numbered execution is known by its number"
        assert state_hash(self.engine.followers.live.columns()) == before

    def _late(self, step: Step) -> None:
        """Report under a new id on an order that is closed, or more than is left of an open one:
        handed back, not applied (P8).
        """
        before = state_hash(self.engine.followers.live.columns())
        picked = self._pick(step.a)
        if picked is not None and step.b % 2:
            report = self.engine.reported(picked[0], ExecType.TRADE, picked[0].remaining + 1, 1)
        elif self._reports:
            report = self._reports[step.a % len(self._reports)]
            report = msgspec.structs.replace(report, prefix="late-", numbers=np.array([step.a]))
            if any(self.engine.is_order_of(order, report) for order in self.engine.open_orders()):
                return
        else:
            return
        assert self.engine.report(report)
        assert state_hash(self.engine.followers.live.columns()) == before

    def _correct(self, step: Step) -> None:
        """Cancel or correct some trade, cancel or correction of whenever, or one that never was;
        sometimes say it twice.
        """
        if not self._traded:
            return
        # The newest are corrected most: those of open orders, and corrections of corrections.
        back = step.a % (1 + min(len(self._traded), (2, 5, 1000)[step.b % 3]))
        meant = self._traded[max(len(self._traded) - 1 - back, 0)]
        placing = self.reference.book.placings[meant.key]
        if placing.subscription is not self.reference.book.subscription(meant.key):
            return
        is_cancel = step.b % 2 == 0
        report = self._correction(meant, placing.order.quantity, is_cancel=is_cancel, step=step)
        quantity, price, fee = (
            int(column[0]) for column in (report.quantities, report.prices, report.fees)
        )
        name = exec_id_of(report.prefix, int(report.numbers[0]))
        expected = correct(
            self.reference.book,
            meant.key,
            exec_id_of(report.reference_prefix, int(report.reference_numbers[0])),
            exec_id=name,
            quantity=quantity,
            price=price,
            fee=fee,
            leaves=int(report.leaves[0]),
            is_cancel=is_cancel,
        )
        before = state_hash(self.engine.followers.live.columns())
        assert self.engine.correct(report) == ([expected] if expected else [])
        if expected:
            assert state_hash(self.engine.followers.live.columns()) == before
        else:
            self._traded.append(_Traded(meant.report, name, meant.key))
            self._corrections.append(report)

    def _correction(
        self, meant: _Traded, order_quantity: int, *, is_cancel: bool, step: Step
    ) -> CorrectionsReported:
        own, old = self.engine.next_execution(), meant.report
        said = int(old.quantities[0])
        quantity = (said, said + 1, said // 2 + 1, max(said - 1, 1), order_quantity)[step.c % 5]
        price = max(int(old.prices[0]) + (0, 1, -1, self._setting.price // 9)[step.c // 5 % 4], 1)
        numbered = step.c % 3 > 0
        leaves = (0, 0, 1, order_quantity, order_quantity // 2, said)[step.c // 20 % 6]
        column = [0, 0, 0] if is_cancel else [quantity, price, step.c % 7]
        reference = "never" if step.a % 23 == 0 else meant.exec_id
        return CorrectionsReported(
            0,
            "x-" if numbered else f"x-{own}",
            reference,
            old.key,
            self.engine.time,
            np.array([own if numbered else -1]),
            np.array([-1]),
            old.subscriptions,
            np.array([ExecType.TRADE_CANCEL if is_cancel else ExecType.TRADE_CORRECT]),
            np.array(column[:1]),
            np.array(column[1:2]),
            np.array(column[2:]),
            np.array([leaves]),
        )

    def _correct_again(self, step: Step) -> None:
        """Let an earlier cancel or correction come again: it counts once (P8)."""
        if self._corrections:
            before = state_hash(self.engine.followers.live.columns())
            report = self._corrections[step.a % len(self._corrections)]
            assert self.engine.correct(report) == ["repeated"]
            assert state_hash(self.engine.followers.live.columns()) == before

    def _advance(self, step: Step) -> None:
        self._both("advance", (1, SECOND - 1, SECOND, 7 * SECOND, 61 * SECOND)[step.a % 5])

    def _unfollow(self, step: Step) -> None:
        if self._followed:
            pair = self._followed[step.a % len(self._followed)]
            if self._status(pair) in _GOES_ON:
                self._both("unfollow", *pair)

    def _pause(self, step: Step) -> None:
        if self._followed:
            pair = self._followed[step.a % len(self._followed)]
            if self._status(pair) in _GOES_ON:
                self._both("pause", *pair, is_paused=self._status(pair) == "active")

    def _bulk(self, step: Step) -> None:
        """End and begin subscriptions in one batch, some of them more than once: as if each command
        had come alone.
        """
        commands: list[AccountCommand] = []
        expected = []
        self._bulks += 1
        for number, sleeve in enumerate(self._setting.sleeves * 2):
            pair = f"a{sleeve.account}", f"c{sleeve.creator % len(self._setting.creators)}"
            if not (step.b >> number) & 1 or pair not in self._followed:
                continue
            # An id of an earlier batch would be answered as that was.
            status, name = self._status(pair), f"bulk-{self._bulks}-{len(commands)}"
            if status == "ended":
                commands.append(self._follow_command(name, pair, sleeve))
                self.reference.follow(*pair, _terms_of(sleeve))
            else:
                commands.append(Unfollow(name, *pair))
                if status in _GOES_ON:
                    self.reference.unfollow(*pair)
            expected.append(status)
        if commands:
            answers = self.engine.decide_commands(commands)
            refused = [isinstance(answer, Refused) for answer in answers]
            assert refused == [status == "ending" for status in expected]

    @staticmethod
    def _follow_command(name: str, pair: tuple[str, str], sleeve: Sleeving) -> Follow:
        return Follow(name, *pair, **follow_terms(_terms_of(sleeve)))

    def _follow_again(self, step: Step) -> None:
        if self._setting.sleeves:
            self._follow(self._setting.sleeves[step.a % len(self._setting.sleeves)])

    def _follow_new(self, step: Step) -> None:
        if self._setting.sleeves:
            sleeve = self._setting.sleeves[step.a % len(self._setting.sleeves)]
            self._follow(sleeve._replace(account=sleeve.account + 10 + step.b % 3))

    def _snapshot(self, step: Step) -> None:
        for journaled in (self.engine.creators, self.engine.followers):
            journaled.take_snapshot()

    def _crash(self, step: Step) -> None:
        """Let both live shards die and recover (P6)."""
        self.engine.check()
        self.engine.creators.live_from_snapshot()
        self.engine.followers.live_from_snapshot()

    # What must agree.

    def compare(self) -> None:
        """Compare every order, position, sleeve and portfolio (P1, P7)."""
        demand_invariants(self.engine.followers.live.state, has_corrections=bool(self._corrections))
        mine, theirs = _sorted(self.engine.open_orders()), _sorted(self.reference.open_orders())
        assert [_comparable(order) for order in mine] == [_comparable(order) for order in theirs]
        expected = self.reference.book.state()
        for pair in set(self._followed):
            assert self.engine.sleeve(*pair) == expected.sleeves[pair], pair
            for number in range(len(self._setting.instruments)):
                at = (*pair, f"S{number}")
                assert self.engine.position(*at) == expected.positions.get(
                    at, Position(0, 0, 0, 0)
                ), at
        for creator, portfolio in expected.creators.items():
            assert self.engine.portfolio(creator) == portfolio


def tell(setting: Setting, steps: list[Step]) -> Pair:
    """Tell a whole story, then demand P6."""
    pair = Pair(setting)
    for step in steps:
        pair.take(step)
    pair.engine.check()
    return pair
