"""The real engine as a `World`: one creator shard and one follower shard, joined by nothing but
frames and blocks.

What the follower shard learns of fills it reads from the creator shard's encoded frames; reports
reach it as encoded blocks; every part of a signal is a frame of its own, as in a running cluster.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from engine.creator.opening import open_creator
from engine.creator.shard import CreatorShard
from engine.follower.book import Book, Slot
from engine.follower.book import Status as SubscriptionStatus
from engine.follower.decide.check_correction import Rejected, Repeated
from engine.follower.decide.commands import CommandBatch
from engine.follower.decide.corrections import decide_corrections, in_distinct_slices
from engine.follower.decide.creators import learn
from engine.follower.decide.executions import Unmatched, decide_reports
from engine.follower.decide.follow_ups import decide_due
from engine.follower.decide.signals import decide_parts, parts_of, position_of
from engine.follower.deciding import Deciding
from engine.follower.order_group import OrderGroup
from engine.follower.order_histories import OrderHistories
from engine.follower.shard import FollowerShard
from engine.follower.sizing.valuation import equity_of
from engine.journal.cursors import NO_ROW, Cursor, Source
from engine.journal.events.creator import FillApplied
from engine.journal.events.orders import SignalDecided
from engine.journal.frame import ShardKey, ShardKind, decode_header
from engine.messages.blocks import (
    CorrectionsReported,
    ExecutionsReported,
    decode_block,
    encode_block,
)
from engine.messages.commands import (
    AccountCommand,
    Follow,
    OpenAccount,
    OpenCreator,
    Pause,
    Resume,
    Unfollow,
)
from engine.messages.inputs import FillInput, MarkInput
from engine.values.copy_mode import Mode
from engine.values.copy_policy import CopyPolicy
from engine.values.dispositions import Disposition
from engine.values.instruments import InstrumentTerms
from engine.values.order_ids import CauseKind, OrderKey
from engine.values.order_status import ExecType
from engine.values.refusals import Refused
from tests.engine.journaled import Journaled
from tests.reference.values import (
    CANCELED,
    EXPIRED,
    REJECTED,
    Decision,
    Order,
    Portfolio,
    Position,
    Sleeve,
    SleeveTerms,
)
from tests.reference.values import OrderKey as ReferenceKey

BROKER = "paper"
_EXEC_TYPES = {CANCELED: ExecType.CANCELED, EXPIRED: ExecType.EXPIRED, REJECTED: ExecType.REJECTED}
_CAUSES = {CauseKind.SIGNAL: "signal", CauseKind.COMMAND: "command"}


def _one(value: int) -> NDArray[np.int64]:
    return np.array([value], np.int64)


def follow_terms(terms: SleeveTerms) -> dict[str, Any]:
    """Return the fields of a `Follow` that say how a subscription copies."""
    return {**asdict(terms), "mode": Mode[terms.mode.upper()]}


class EngineWorld:
    """The engine. `part_rows` is asked before each part of a signal, so that parts of any size may
    follow one another.
    """

    def __init__(
        self,
        *,
        time: int = 1_700_000_000 * 10**9,
        fee_rate: int = 0,
        part_rows: Callable[[], int] = lambda: 1000,
    ) -> None:
        self.time = time
        self._terms = CopyPolicy(fee_rate=fee_rate)
        self._part_rows = part_rows
        self._instrument_terms: dict[str, InstrumentTerms] = {}
        self._numbers: dict[str, int] = {}
        self.creators = Journaled(ShardKey(ShardKind.CREATOR, 0), self._creator_shard)
        self.followers = Journaled(ShardKey(ShardKind.FOLLOWER, 0), lambda: FollowerShard(0))
        self._inputs = 0
        self._executions = 0
        self._commands = 0

    def _creator_shard(self) -> CreatorShard:
        return CreatorShard(self._instrument_terms, InstrumentTerms(1, 0))

    def check(self) -> None:
        """Demand P6 of both shards."""
        self.creators.check()
        self.followers.check()

    # The creator's side.

    def list_instrument(self, symbol: str, *, lot: int, min_notional: int) -> None:
        self._instrument_terms[symbol] = InstrumentTerms(lot, min_notional)
        self._numbers[symbol] = len(self._numbers)
        self._create([self.creators.live.decide_list([symbol])])

    def open_creator(self, creator: str, *, cash: int) -> None:
        command = OpenCreator(f"open-{creator}", creator, cash, BROKER)
        self._create([open_creator(self.creators.live, command, (BROKER,)).event])

    def mark(self, symbol: str, price: int) -> None:
        self._create(
            [self.creators.live.decide_marks([MarkInput(symbol, price, self.time)], self.time)]
        )

    def fill(
        self,
        creator: str,
        symbol: str,
        side: int,
        quantity: int,
        price: int,
        *,
        age: int = 0,
        order_quantity: int = 0,
    ) -> list[Decision]:
        self._inputs += 1
        fill = FillInput(
            BROKER,
            creator,
            f"fill-{self._inputs}",
            symbol,
            side,
            quantity,
            price,
            self.time - age,
            self._inputs,
            order_quantity=order_quantity,
        )
        event = self.creators.live.decide_fill(fill, self.time)
        decisions = self._create([event])
        assert self.creators.live.decide_fill(fill, self.time) is None, "a fill counts once"
        return decisions

    @property
    def last_fill(self) -> str:
        """Name the last fill."""
        return f"fill-{self._inputs}"

    def correct_fill(
        self,
        creator: str,
        symbol: str,
        side: int,
        exec_ref_id: str,
        *,
        quantity: int,
        price: int,
        is_cancel: bool,
    ) -> tuple[str, list[Decision]]:
        """Cancel or correct a fill. Returns: why not, or nothing, and what the followers
        decided.
        """
        self._inputs += 1
        exec_type = ExecType.TRADE_CANCEL if is_cancel else ExecType.TRADE_CORRECT
        fill = FillInput(
            BROKER,
            creator,
            self.last_fill,
            symbol,
            side,
            quantity,
            price,
            self.time,
            self._inputs,
            exec_type=exec_type,
            exec_ref_id=exec_ref_id,
        )
        event = self.creators.live.decide_fill(fill, self.time)
        if isinstance(event, Refused):
            return event.reason, []
        decisions = self._create([event])
        assert self.creators.live.decide_fill(fill, self.time) is None, "a correction counts once"
        return "", decisions

    def would_refuse(self, creator: str, symbol: str, side: int, quantity: int, price: int) -> bool:
        """Say whether the creator shard would refuse a fill for its size."""
        fill = FillInput(BROKER, creator, "trial", symbol, side, quantity, price, self.time, 0)
        return isinstance(self.creators.live.decide_fill(fill, self.time), Refused)

    def _create(self, events: list[Any]) -> list[Decision]:
        """Journal events of the creator shard and let the follower shard read the frame."""
        for event in events:
            assert event is not None
            assert not isinstance(event, Refused), event
            self.creators.live.apply_event(event)
        _, read = self.creators.commit(events, self.time)
        decisions = []
        for event in read:
            self._follow_up_on(list(learn(self.followers.live.state, 0, event)))
            if isinstance(event, FillApplied):
                decisions += self._decide_fill(event)
        self.followers.commit([], self.time, [self._cursor()])
        return decisions

    def _cursor(self, position: int = 0, row: int = NO_ROW) -> Cursor:
        number = len(self.creators.frames)
        return Cursor(Source.CREATOR_JOURNAL, 0, number, number, position, row)

    def _decide_fill(self, fill: FillApplied) -> list[Decision]:
        """Decide every part, each in a frame whose cursor is all that the next part starts from."""
        decisions: list[Decision] = []
        position, row = 0, 0
        while True:
            shard, part_rows = self.followers.live.state, self._part_rows()
            part = next(parts_of(shard, 0, fill, part_rows, position=position, row=row), None)
            if part is None:
                return decisions
            events = self._apply(iter(decide_parts(self._deciding, [part], part_rows)))
            position = position_of(fill.signal, part.leg.leg)
            row = min(part.first_row + part_rows, part.book.count)
            self.followers.commit(events, self.time, [self._cursor(position, row)])
            for event in events:
                if isinstance(event, SignalDecided):
                    decisions += self._decisions(event)

    # The followers' side.

    def follow(self, account: str, creator: str, terms: SleeveTerms) -> None:
        commands: list[AccountCommand] = []
        if self.followers.live.state.account_ids.find(account) is None:
            commands.append(OpenAccount(f"open-{account}", account, BROKER))
        self._commands += 1
        commands.append(
            Follow(
                f"follow-{self._commands}",
                account,
                creator,
                **follow_terms(terms),
            )
        )
        self.command(commands)

    def unfollow(self, account: str, creator: str) -> None:
        self._commands += 1
        self.command([Unfollow(f"unfollow-{self._commands}", account, creator)])

    def pause(self, account: str, creator: str, *, is_paused: bool = True) -> None:
        self._commands += 1
        kind = Pause if is_paused else Resume
        self.command([kind(f"pause-{self._commands}", account, creator)])

    def deny(self, symbol: str) -> None:
        """Change the settings: increases of an instrument are denied from here on."""
        self._terms = self._terms._replace(denied=self._terms.denied | {symbol})

    def live_again(self) -> None:
        """Let the follower shard die and recover."""
        self.followers.live_from_snapshot()

    def command(self, commands: list[AccountCommand]) -> list[Any]:
        """Decide commands that none refuses in one frame. Returns: the answers."""
        answers = self.decide_commands(commands)
        assert not [answer for answer in answers if isinstance(answer, Refused)], answers
        return answers

    def decide_commands(self, commands: list[AccountCommand]) -> list[Any]:
        """Decide commands in one frame, and again as repeats, which must change nothing. Returns:
        the answers.
        """
        answers = self._command(commands)
        frames = len(self.followers.frames)
        assert self._command(commands) == answers
        assert len(self.followers.frames) == frames, "a repeated command changes nothing"
        return answers

    def _command(self, commands: list[AccountCommand]) -> list[Any]:
        batch = CommandBatch(
            Deciding(self.followers.live.state, self._terms, self.time),
            creator_shards=1,
            follower_shards=1,
            brokers=frozenset({BROKER}),
        )
        answers: list[Any] = []
        self._follow_up_on(self._apply(batch.decide(commands), answers), is_applied=True)
        return answers

    def advance(self, duration: int) -> None:
        self.time += duration
        self._follow_up_on(self._apply(decide_due(self._deciding)), is_applied=True)

    def execute(self, order: Order, quantity: int, price: int, *, fee: int = 0) -> None:
        assert not self.report(self.reported(order, ExecType.TRADE, quantity, price, fee))

    def end(self, order: Order, exec_type: str) -> None:
        assert not self.report(self.reported(order, _EXEC_TYPES[exec_type]))

    def reported(
        self, order: Order, exec_type: ExecType, quantity: int = 0, price: int = 0, fee: int = 0
    ) -> ExecutionsReported:
        """Make a report with the next execution id."""
        self.next_execution()
        book, _slot, group, at = self._find(order)
        subscription = int(book.subscriptions["subscription"][group.rows[at]])
        return ExecutionsReported(
            0,
            "x-",
            group.key,
            self.time,
            _one(self._executions),
            _one(subscription),
            _one(exec_type),
            _one(quantity),
            _one(price),
            _one(fee),
        )

    def next_execution(self) -> int:
        """Number an execution."""
        self._executions += 1
        return self._executions

    def report(self, report: ExecutionsReported) -> list[Unmatched]:
        """Let a message of reports arrive. Returns: what no order could take."""
        self._inputs += 1
        (read,) = decode_block(encode_block(report))
        unmatched: list[Any] = []
        decided = decide_reports(self._deciding, BROKER, read, self._inputs)
        self._follow_up_on(self._apply(decided, unmatched), is_applied=True)
        return unmatched

    def correct(self, report: CorrectionsReported) -> list[str]:
        """Let trade cancels or corrections arrive. Returns: why some were not applied, `repeated`
        for those that were before.
        """
        self._inputs += 1
        (read,) = decode_block(encode_block(report))
        said: list[str] = []
        for part in in_distinct_slices(read, 1000):
            decided = decide_corrections(
                self._deciding, BROKER, part, self._inputs, self._histories(part)
            )
            answers: list[Any] = []
            self._follow_up_on(self._apply(decided, answers), is_applied=True)
            for answer in answers:
                assert isinstance(answer, Rejected | Repeated)
                said.append(answer.refused.reason if isinstance(answer, Rejected) else "repeated")
        return said

    def _histories(self, report: CorrectionsReported) -> OrderHistories:
        """Find what the journal says of the orders, newest frame first."""
        histories = OrderHistories()
        for subscription in report.subscriptions.tolist():
            histories.want(report.key, subscription)
        for frame in reversed(self.followers.frames):
            if histories.is_complete:
                break
            histories.read_back(memoryview(frame)[decode_header(frame)[1] :])
        histories.finish()
        return histories

    def report_all(self, reports: list[ExecutionsReported]) -> None:
        """Let reports on orders of one cause, leg and attempt arrive as one message."""
        names = ("numbers", "subscriptions", "exec_types", "quantities", "prices", "fees")
        columns: dict[str, Any] = {
            name: np.concatenate([getattr(report, name) for report in reports]) for name in names
        }
        assert not self.report(replace(reports[0], **columns))

    def is_order_of(self, order: Order, report: ExecutionsReported) -> bool:
        """Say whether a report is on an open order."""
        book, _, group, at = self._find(order)
        return report.key == group.key and int(report.subscriptions[0]) == int(
            book.subscriptions["subscription"][group.rows[at]]
        )

    @property
    def _deciding(self) -> Deciding:
        return Deciding(self.followers.live.state, self._terms, self.time)

    def _apply(self, decided: Iterator[Any], answers: list[Any] | None = None) -> list[Any]:
        """Apply each event before asking for the next; what is no event goes to `answers`."""
        events = []
        for event in decided:
            if not hasattr(event, "TAG"):
                assert answers is not None
                answers.append(event)
                continue
            self.followers.live.apply_event(event)
            events.append(event)
        return events

    def _follow_up_on(self, events: list[Any], *, is_applied: bool = False) -> None:
        if not is_applied:
            for event in events:
                self.followers.live.apply_event(event)
        if events:
            self.followers.commit(events, self.time)

    # What can be seen.

    def _symbol(self, slot: Slot) -> str:
        return self.creators.live.symbol(slot.instrument)

    def _creator_id(self, number: int) -> str:
        return self.creators.live.creators[number].creator_id

    def _pair(self, book: Book, row: int) -> tuple[str, str]:
        account = int(book.subscriptions["account"][row])
        return self.followers.live.state.account_ids.text(account), self._creator_id(book.creator)

    def _reference_key(self, key: OrderKey, book: Book, row: int) -> ReferenceKey:
        cause = _CAUSES[CauseKind(key.cause_kind)]
        return ReferenceKey(cause, key.cause_number, *self._pair(book, row), key.leg, key.attempt)

    def _decisions(self, event: SignalDecided) -> Iterator[Decision]:
        book = self.followers.live.state.book_of[event.creator_shard, event.creator]
        symbol = self.creators.live.symbol(event.instrument)
        for index, number in enumerate(event.dispositions.tolist()):
            disposition = Disposition(number)
            if disposition is Disposition.INACTIVE:
                continue
            row, quantity, order = (
                event.first_row + index,
                int(event.units[index]) * event.unit,
                None,
            )
            assert (disposition is Disposition.ORDERED) == (quantity > 0)
            if quantity:
                name = self._reference_key(event.key, book, row)
                order = Order(
                    name,
                    symbol,
                    event.terms.side,
                    quantity,
                    event.terms.price,
                    event.terms.limit_price,
                    bool(event.terms.is_exit),
                    quantity,
                )
            pair = self._pair(book, row)
            yield Decision(*pair, symbol, event.leg, disposition.outcome, disposition.reason, order)

    def _open(self) -> Iterator[tuple[Book, Slot, OrderGroup, int]]:
        shard = self.followers.live.state
        for book in shard.books:
            for slot in book.slots:
                for group in (*shard.orders.of_slot(slot, 1), *shard.orders.of_slot(slot, -1)):
                    for at in np.flatnonzero(group.is_open).tolist():
                        yield book, slot, group, at

    def _find(self, order: Order) -> tuple[Book, Slot, OrderGroup, int]:
        for book, slot, group, at in self._open():
            if self._reference_key(group.key, book, int(group.rows[at])) == order.key:
                return book, slot, group, at
        raise AssertionError(f"expected an open order, found {order.key}")

    def open_orders(self) -> list[Order]:
        orders = []
        for book, slot, group, at in self._open():
            row, quantity = int(group.rows[at]), int(group.quantity[at])
            orders.append(
                Order(
                    self._reference_key(group.key, book, row),
                    self._symbol(slot),
                    group.terms.side,
                    quantity,
                    group.terms.price,
                    group.terms.limit_price,
                    bool(group.terms.is_exit),
                    quantity - int(group.filled[at]),
                    bool(group.is_cancelling[at]),
                )
            )
        return sorted(orders, key=lambda order: order.key)

    def _row(self, account: str, creator: str) -> tuple[Book, int]:
        """Find the newest subscription of an account to a creator."""
        shard = self.followers.live.state
        number, creator_number = shard.account_ids.find(account), shard.creators[0, creator]
        book = shard.book_of[0, creator_number]
        rows = np.flatnonzero(book.subscriptions["account"] == number)
        return book, int(rows[-1])

    def position(self, account: str, creator: str, symbol: str) -> Position:
        book, row = self._row(account, creator)
        slot = book.slot_of.get(self._numbers[symbol])
        if slot is None:
            return Position(0, 0, 0, 0)
        return Position(*(int(value) for value in slot.values[:, row]))

    def sleeve(self, account: str, creator: str) -> Sleeve:
        book, row = self._row(account, creator)
        rows = np.array([row])
        equity, beyond = equity_of(
            book.subscriptions["cash"][rows], [(book, rows)], [dict(enumerate(self._marks()))]
        )
        assert beyond is None
        status = SubscriptionStatus(int(book.subscriptions["status"][row])).name.lower()
        cash, reserved = (int(book.subscriptions[name][row]) for name in ("cash", "reserved"))
        return Sleeve(status, cash, reserved, int(equity[0]))

    def _marks(self) -> list[int]:
        marks: list[int] = self.creators.live.columns()["instrument.mark"].tolist()
        return marks

    def portfolio(self, creator: str) -> Portfolio:
        shard, marks = self.creators.live, self._marks()
        found = next(each for each in shard.creators if each.creator_id == creator)
        value = sum(held * marks[number] // 10**8 for number, held in found.positions.items())
        positions = {shard.symbol(number): held for number, held in found.positions.items()}
        return Portfolio(found.cash, positions, found.cash + value)
