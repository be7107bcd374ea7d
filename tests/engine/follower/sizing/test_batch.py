"""A batch over several books gives the events and states of the same signals and reports decided in
turn, live and replayed (P4, P6, P7).
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.columns.sections import encode_sections
from engine.columns.state import state_hash
from engine.creator.opening import open_creator
from engine.creator.shard import CreatorShard
from engine.follower.apply.events import apply_events
from engine.follower.apply.replay import ReplayBatches
from engine.follower.decide.commands import CommandBatch
from engine.follower.decide.creators import learn
from engine.follower.decide.executions import Unmatched, decide_reports
from engine.follower.decide.signals import decide_parts, parts_of
from engine.follower.decide.whole_groups import decide_batch, next_batch
from engine.follower.deciding import Deciding
from engine.follower.shard import FollowerShard
from engine.follower.sizing.batch import ROWS_MAX, batched
from engine.follower.state import FollowerState
from engine.journal.cursors import NO_HASH, Cursor, Source
from engine.journal.events.creator import FillApplied
from engine.journal.events.orders import (
    CancelsRequested,
    FollowUpsQueued,
    OrdersPlaced,
    SignalDecided,
)
from engine.journal.frame import FrameHeader, ShardKey, ShardKind, decode_frame, encode_frame
from engine.messages.answers import Answer
from engine.messages.blocks import ExecutionsReported
from engine.messages.commands import (
    AccountCommand,
    Follow,
    OpenAccount,
    OpenCreator,
    Pause,
    Unfollow,
)
from engine.messages.inputs import FillInput
from engine.values.copy_mode import Mode
from engine.values.copy_policy import CopyPolicy
from engine.values.dispositions import Disposition
from engine.values.instruments import InstrumentTerms
from engine.values.order_ids import OrderKey
from engine.values.order_status import ExecType
from engine.values.units import MICROS, NS_PER_S, QUANTITY_ONE
from tests.engine.journaled import apply_batch

NOW_NS = 1_700_000_000 * NS_PER_S
CREATORS = 4
SYMBOLS = {
    "ACME": InstrumentTerms(100, MICROS),
    "BETA": InstrumentTerms(1, 0),
    "COIN": InstrumentTerms(QUANTITY_ONE, 0),
}


class _Follower(NamedTuple):
    cash: int
    mode: Mode
    ratio: int
    amount: int
    max_order_notional: int
    max_weight: int
    allow_short: bool
    state: str


class _Fill(NamedTuple):
    creator: int
    symbol: str
    side: int
    quantity: int
    price: int
    age: int
    order_quantity: int


class _Step(NamedTuple):
    """Fills that come batched, and then reports on a share of the order groups, each `whole` or in
    part.
    """

    fills: list[_Fill]
    reported: list[str]


_PLAIN = _Follower(20_000 * MICROS, Mode.PROPORTIONAL, MICROS, 0, 0, 0, False, "")
_followers = st.one_of(
    st.just(_PLAIN),
    st.builds(
        _Follower,
        st.sampled_from([0, 150, 9_000, 70_000, 10**11]).map(lambda value: value * MICROS),
        st.sampled_from(Mode),
        st.sampled_from([MICROS, MICROS // 3, 2 * MICROS, 100 * MICROS]),
        st.sampled_from([50 * MICROS, 777 * MICROS]),
        st.sampled_from([0, 100 * MICROS]),
        st.sampled_from([0, MICROS // 4]),
        st.booleans(),
        st.sampled_from(["", "", "", "paused", "ending"]),
    ),
)
_books = st.one_of(
    st.lists(_followers, min_size=1, max_size=4), st.lists(st.just(_PLAIN), min_size=1, max_size=5)
)
_fills = st.builds(
    _Fill,
    st.integers(0, CREATORS - 1),
    st.sampled_from(list(SYMBOLS)),
    st.sampled_from([1, 1, -1]),
    st.sampled_from(
        [QUANTITY_ONE // 8, 3 * QUANTITY_ONE, 40 * QUANTITY_ONE, 100_000 * QUANTITY_ONE]
    ),
    st.one_of(
        st.sampled_from([7 * MICROS // 3, 10 * MICROS, 99_990_000, 250 * MICROS]),
        st.integers(1, 300 * MICROS),
    ),
    st.sampled_from([0] * 7 + [120 * NS_PER_S]),
    st.sampled_from([0, 0, 200_000 * QUANTITY_ONE]),
)
_steps = st.builds(
    _Step,
    st.lists(_fills, min_size=1, max_size=8),
    st.lists(
        st.sampled_from(["whole", "whole", "whole", "part", "end", "late"]), min_size=1, max_size=8
    ),
)


class _Open(NamedTuple):
    """Orders that no report has ended yet."""

    key: OrderKey
    price: int
    subscriptions: Any
    quantities: Any


class _Shards:
    """One follower shard that decides batched what it may, one that decides one after the other,
    one that replays the first's frames.
    """

    def __init__(
        self,
        books: list[list[_Follower]],
        fee_rate: int,
        denied: frozenset[str],
        cash: tuple[int, ...] = (10_000,) * CREATORS,
        part_rows: int = ROWS_MAX,
    ) -> None:
        self._part_rows = part_rows
        self._terms = CopyPolicy(fee_rate=fee_rate, denied=denied)
        self._creators = CreatorShard(SYMBOLS, InstrumentTerms(1, 0))
        self.joint, self.single, self.replayed = (
            FollowerShard(0),
            FollowerShard(0),
            FollowerShard(0),
        )
        self.frames: list[bytes] = []
        self._fills = self._executions = 0
        self.open: list[_Open] = []
        self.batches: list[int] = []
        for creator in range(CREATORS):
            command = OpenCreator(f"o{creator}", f"c{creator}", cash[creator] * MICROS)
            self._introduce(open_creator(self._creators, command, ("paper",)).event)
        self._introduce(self._creators.decide_list(list(SYMBOLS)))
        decided = CommandBatch(
            Deciding(self.single.state, self._terms, NOW_NS),
            creator_shards=1,
            follower_shards=1,
            brokers=frozenset(["paper"]),
        ).decide(list(_commands(books)))
        self._both(event for event in decided if not isinstance(event, Answer))

    def _introduce(self, event: Any) -> None:
        self._creators.apply_event(event)
        self._both(learn(self.single.state, 0, event))

    def _both(self, decided: Iterable[Any]) -> None:
        events = []
        for event in decided:
            self.single.apply_event(event)
            events.append(event)
        for event in events:
            self.joint.apply_event(event)
        self._replay(events)

    def _replay(self, events: list[Any]) -> None:
        cursor = Cursor(Source.EXECUTIONS, 0, len(self.frames), len(self.frames))
        header = FrameHeader(
            ShardKey(ShardKind.FOLLOWER, 0), 1, len(self.frames) + 1, NOW_NS, NO_HASH, (cursor,)
        )
        self.frames.append(encode_frame(header, events))
        self.replayed.apply(*decode_frame(self.frames[-1]))
        # The readers of their inputs move their own cursors.
        self.joint.cursors = self.single.cursors = self.replayed.cursors

    def fill(self, fills: list[_Fill]) -> list[Any]:
        """Decide fills that came batched. Returns: the events."""
        applied = [event for event in map(self._filled, fills) if event is not None]
        parts = [
            part
            for fill in applied
            for part in parts_of(self.joint.state, 0, fill, self._part_rows)
        ]
        joint: list[Any] = []
        for batch in batched((part.book, part.book.count - part.first_row, part) for part in parts):
            self.batches.append(len(batch))
            decided = decide_parts(self._deciding(self.joint), batch, self._part_rows)
            self.joint.apply_events(decided)
            joint += decided
        single: list[Any] = []
        for fill in applied:
            for part in parts_of(self.single.state, 0, fill, self._part_rows):
                single += self._apply(
                    decide_parts(self._deciding(self.single), [part], self._part_rows)
                )
        self._settle(joint, single)
        return joint

    def _apply(self, decided: Iterable[Any]) -> list[Any]:
        events = []
        for event in decided:
            if not isinstance(event, Unmatched):
                self.single.apply_event(event)
                events.append(event)
        return events

    def _filled(self, fill: _Fill) -> FillApplied | None:
        self._fills += 1
        event = self._creators.decide_fill(
            FillInput(
                "paper",
                f"c{fill.creator}",
                f"x{self._fills}",
                fill.symbol,
                fill.side,
                fill.quantity,
                fill.price,
                NOW_NS - fill.age,
                self._fills,
                order_quantity=fill.order_quantity,
            ),
            NOW_NS,
        )
        if not isinstance(event, FillApplied):
            return None
        self._creators.apply_event(event)
        return event

    def report(self, kinds: list[str]) -> None:
        """Let reports arrive on the oldest order groups, as one message; the rest wait."""
        reports = [
            report
            for each, kind in zip(self.open[: len(kinds)], kinds, strict=False)
            for report in self._reports(each, kind)
        ]
        self.open = self.open[len(kinds) :] + [
            each for each, kind in zip(self.open, kinds, strict=False) if kind == "late"
        ]
        joint, single = [], []
        waiting = list(reports)
        while waiting:
            batch = next_batch(self.joint.state, waiting) or waiting[:1]
            self.batches.append(len(batch))
            waiting = waiting[len(batch) :]
            decided = decide_batch(self.joint.state, "paper", batch, 1)
            if decided is not None:
                self.joint.apply_events(decided)
                joint += decided
                continue
            for report in batch:
                for event in decide_reports(self._deciding(self.joint), "paper", report, 1):
                    if not isinstance(event, Unmatched):
                        self.joint.apply_event(event)
                        joint.append(event)
        for report in reports:
            single += self._apply(decide_reports(self._deciding(self.single), "paper", report, 1))
        self._settle(joint, single)

    def _reports(self, orders: _Open, kind: str) -> Iterable[ExecutionsReported]:
        rows = slice(None)
        if kind == "late":
            return
        if kind == "part":
            rows = slice(0, len(orders.subscriptions) // 2)
        subscriptions, quantities = orders.subscriptions[rows], orders.quantities[rows]
        count = len(subscriptions)
        if not count:
            return
        exec_type = ExecType.CANCELED if kind == "end" else ExecType.TRADE
        if exec_type != ExecType.TRADE:
            quantities = np.zeros(count, np.int64)
        first = self._executions
        self._executions += count
        yield ExecutionsReported(
            0,
            "x-",
            orders.key,
            NOW_NS,
            np.arange(first, first + count),
            subscriptions,
            np.full(count, exec_type, np.int64),
            quantities,
            np.full(count, orders.price, np.int64),
            np.arange(count) % 3,
        )

    def _deciding(self, shard: FollowerShard) -> Deciding:
        return Deciding(shard.state, self._terms, NOW_NS)

    def _settle(self, joint: list[Any], single: list[Any]) -> None:
        """Demand that all three agree, and remember the orders that are open now."""
        assert encode_sections(joint) == encode_sections(single)
        self._replay(joint)
        expected = state_hash(self.single.columns())
        assert state_hash(self.joint.columns()) == expected
        assert state_hash(self.replayed.columns()) == expected
        for event in joint:
            if isinstance(event, SignalDecided):
                self._opened(event, event.units * event.unit)
            elif isinstance(event, OrdersPlaced):
                self._opened(event, event.quantities)

    def _opened(self, event: SignalDecided | OrdersPlaced, quantities: Any) -> None:
        chosen = np.flatnonzero(quantities)
        if len(chosen):
            self.open.append(
                _Open(event.key, event.terms.price, event.subscriptions[chosen], quantities[chosen])
            )


def _commands(books: list[list[_Follower]]) -> Iterable[AccountCommand]:
    for creator, followers in enumerate(books):
        for number, follower in enumerate(followers):
            account, name = f"a{creator}-{number}", f"c{creator}"
            yield OpenAccount(f"o-{account}", account)
            yield Follow(
                f"f-{account}",
                account,
                name,
                follower.cash,
                follower.mode,
                follower.ratio,
                follower.amount,
                follower.max_order_notional,
                follower.max_weight,
                follower.allow_short,
            )
            if follower.state == "paused":
                yield Pause(f"p-{account}", account, name)
            elif follower.state == "ending":
                yield Unfollow(f"u-{account}", account, name)


@settings(max_examples=150)
@given(
    books=st.lists(_books, min_size=CREATORS, max_size=CREATORS),
    fee_rate=st.sampled_from([0, 1_000]),
    denied=st.sampled_from([frozenset[str]()] * 3 + [frozenset(["BETA"])]),
    part_rows=st.sampled_from([2, ROWS_MAX]),
    steps=st.lists(_steps, min_size=1, max_size=5),
    seed=st.integers(0, 2**32),
)
def test_p4_p6_signals_and_reports_decided_together_equal_those_decided_in_turn(
    books: list[list[_Follower]],
    fee_rate: int,
    denied: frozenset[str],
    part_rows: int,
    steps: list[_Step],
    seed: int,
) -> None:
    shards = _Shards(books, fee_rate, denied, (10_000, 10_000, 10**9, 10**6), part_rows)
    for step in steps:
        shards.fill(step.fills)
        shards.report(step.reported)
    together_again = FollowerShard(0)
    apply_batch(together_again, shards.frames, seed)
    assert state_hash(together_again.columns()) == state_hash(shards.single.columns())


def _buy(
    creator: int, *, side: int = 1, price: int = 10 * MICROS, quantity: int = 100 * QUANTITY_ONE
) -> _Fill:
    return _Fill(creator, "ACME", side, quantity, price, 0, 0)


def test_signals_of_different_books_share_a_batch_and_those_of_one_book_do_not() -> None:
    shards = _Shards([[_PLAIN] * 3] * CREATORS, 0, frozenset())
    shards.fill([_buy(0), _buy(1, price=20 * MICROS), _buy(2), _buy(1), _buy(3)])
    assert shards.batches == [3, 2]
    shards.batches.clear()
    shards.report(["whole"] * 5)
    assert shards.batches == [3, 2]
    assert not shards.joint.state.orders.count


def test_p4_frames_of_different_books_share_batches_and_each_book_keeps_its_order() -> None:
    """The frames are those of a shard under light load: one signal each, and then its reports."""
    shards = _Shards([[_PLAIN] * 3] * CREATORS, 0, frozenset())
    for creator in (0, 1, 2, 0):
        shards.fill([_buy(creator)])
        shards.report(["whole"])
    replayed = FollowerShard(0)
    passes: list[int] = []

    def counted(state: FollowerState, events: Sequence[Any]) -> None:
        passes.append(len(events))
        apply_events(state, events)

    batches = ReplayBatches(replayed.state, counted)
    for frame in shards.frames:
        header, events = decode_frame(frame)
        batches.add(events)
        replayed.state.take_cursors(header)
    batches.apply()
    assert passes == [3, 0, 0, 3, 1, 0, 0, 1]
    assert state_hash(replayed.columns()) == state_hash(shards.single.columns())


def test_a_batch_nets_the_open_orders_of_one_of_its_books() -> None:
    shards = _Shards([[_PLAIN] * 3] * CREATORS, 0, frozenset())
    shards.fill([_buy(0), _buy(1)])
    shards.report(["whole", "late"])
    assert shards.joint.state.orders.count == 3
    kinds = [type(event) for event in shards.fill([_buy(0, side=-1), _buy(1, side=-1)])]
    assert kinds == [SignalDecided, SignalDecided, CancelsRequested, FollowUpsQueued]
    assert shards.batches[-1] == 2


def test_each_limit_in_a_batch_uses_its_own_book_and_price() -> None:
    books = [
        [_PLAIN],
        [_PLAIN, _PLAIN._replace(max_order_notional=100 * MICROS)],
        [_PLAIN._replace(max_weight=MICROS // 4), _PLAIN],
        [_PLAIN._replace(ratio=100 * MICROS), _PLAIN._replace(max_order_notional=MICROS // 2)],
    ]
    shards = _Shards(books, 1_000, frozenset())
    events = shards.fill(
        [_buy(number, price=(number + 1) * 3 * MICROS) for number in range(CREATORS)]
    )
    assert shards.batches == [CREATORS]
    bought = [
        (event.units * event.unit * event.terms.price // (QUANTITY_ONE * MICROS)).tolist()
        for event in events
    ]
    assert bought == [[600], [1_200, 99], [1_800, 1_800], [19_880, 0]]
    assert Disposition(int(events[3].dispositions[1])) is Disposition.MAX_ORDER_NOTIONAL
    shards.report(["whole"] * CREATORS)
    bigger = [
        _buy(number, price=(number + 1) * 3 * MICROS, quantity=300 * QUANTITY_ONE)
        for number in (2, 0)
    ]
    capped, free = shards.fill(bigger)
    assert shards.batches[-1] == 2
    assert (capped.units * capped.unit)[0] < (capped.units * capped.unit)[1]
    assert (free.units * free.unit).tolist() == [600 * QUANTITY_ONE]
