"""The creators' side of an `EngineWorld`: one creator shard, its fills, marks and corrections.

Every event is journaled. The followers' side is given what a reader of the frame sees, and nothing
else.
"""

from typing import Any

from engine.creator.marks import check_source
from engine.creator.opening import open_creator
from engine.creator.shard import CreatorShard
from engine.journal.events.orders import SignalDecided
from engine.journal.frame import ShardKey, ShardKind
from engine.messages.commands import OpenCreator
from engine.messages.inputs import FillInput, MarkInput
from engine.values.instruments import InstrumentTerms
from engine.values.order_status import ExecType
from engine.values.refusals import Refused
from tests.engine.journaled import Journaled
from tests.engine.world.clock import WorldClock
from tests.engine.world.follower_side import BROKER, FollowerSide

BROKERS = (BROKER, "other")
"""The brokers that creators may be at."""


class CreatorSide:
    """One creator shard whose frames the followers' side reads."""

    def __init__(self, clock: WorldClock, followers: FollowerSide) -> None:
        self._clock = clock
        self._followers = followers
        self._instrument_terms: dict[str, InstrumentTerms] = {}
        self._brokers: dict[str, str] = {}
        self.numbers: dict[str, int] = {}
        """The shard's number of each instrument."""
        self.journaled = Journaled(ShardKey(ShardKind.CREATOR, 0), self._make)
        self.trust("")

    def _make(self) -> CreatorShard:
        return CreatorShard(self._instrument_terms, InstrumentTerms(1, 0))

    def list_instrument(self, symbol: str, *, lot: int, min_notional: int) -> None:
        """Introduce an instrument."""
        self._instrument_terms[symbol] = InstrumentTerms(lot, min_notional)
        self.numbers[symbol] = len(self.numbers)
        self.journal([self.journaled.live.decide_list([symbol])])

    def open_creator(self, creator: str, *, cash: int, broker: str = BROKER) -> None:
        """Begin a creator."""
        command = OpenCreator(f"open-{creator}", creator, cash, broker)
        self._brokers[creator] = broker
        self.journal([open_creator(self.journaled.live, command, (broker,)).event])

    def trust(self, source: str) -> None:
        """Choose whose marks count; empty: each broker's for its own creators."""
        chosen = self.journaled.live.marks.decide_source(source)
        self.journal([] if chosen is None else [chosen])

    def mark(self, symbol: str, price: int, *, source: str = BROKER, age: int = 0) -> None:
        """Mark an instrument, now or `age` ago. A source that is not trusted says nothing."""
        shard, time = self.journaled.live, self._clock.time
        if check_source(source, shard.marks.source or "", BROKERS) is None:
            decided = shard.decide_marks(source, [MarkInput(symbol, price, time - age)], time)
            self.journal([] if decided is None else [decided])

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
    ) -> list[SignalDecided]:
        """Fill a creator's order, dated `age` ago. Returns: what the followers decided."""
        number = self._clock.next_input()
        fill = FillInput(
            self._brokers[creator],
            creator,
            self.last_fill,
            symbol,
            side,
            quantity,
            price,
            self._clock.time - age,
            number,
            order_quantity=order_quantity,
        )
        signals = self.journal([self._decide(fill)])
        assert self._decide(fill) is None, "a fill counts once"
        return signals

    @property
    def last_fill(self) -> str:
        """The execution id of the newest fill."""
        return f"fill-{self._clock.inputs_count}"

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
    ) -> tuple[str, list[SignalDecided]]:
        """Cancel or correct a fill. Returns: the reason of a refusal, or an empty text, and what
        the followers decided.
        """
        number = self._clock.next_input()
        fill = FillInput(
            self._brokers[creator],
            creator,
            self.last_fill,
            symbol,
            side,
            quantity,
            price,
            self._clock.time,
            number,
            exec_type=ExecType.TRADE_CANCEL if is_cancel else ExecType.TRADE_CORRECT,
            exec_ref_id=exec_ref_id,
        )
        event = self._decide(fill)
        if isinstance(event, Refused):
            return event.reason, []
        signals = self.journal([event])
        assert self._decide(fill) is None, "a correction counts once"
        return "", signals

    def would_refuse(self, creator: str, symbol: str, side: int, quantity: int, price: int) -> bool:
        """Return whether the creator shard would refuse a fill for its size."""
        time = self._clock.time
        fill = FillInput(
            self._brokers[creator], creator, "trial", symbol, side, quantity, price, time, 0
        )
        return isinstance(self._decide(fill), Refused)

    def _decide(self, fill: FillInput) -> Any:
        return self.journaled.live.decide_fill(fill, self._clock.time)

    def journal(self, events: list[Any]) -> list[SignalDecided]:
        """Apply events, journal them in one frame, and let the followers' side read the frame.
        Returns: what the followers decided.
        """
        for event in events:
            assert event is not None
            assert not isinstance(event, Refused), event
            self.journaled.live.apply_event(event)
        _, read = self.journaled.commit(events, self._clock.time)
        return self._followers.read(read, len(self.journaled.frames))
