"""Tables of one follower shard's journal: accounts, subscriptions, dispositions, orders and
executions; and the shard's state after its last frame.
"""

from typing import Any

import numpy as np

from engine.columns.table import Table
from engine.follower.shard import FollowerShard
from engine.history.corrections import AppliedCorrection, corrections_of
from engine.history.dispositions import DispositionsGatherer
from engine.history.executions import ExecutionsGatherer
from engine.history.frames import JournalFrame
from engine.history.orders import CancelsGatherer, OrdersGatherer
from engine.history.storage import IN_MEMORY, ColumnStorage, Ints
from engine.journal.cursors import Cursor, Source
from engine.journal.events.orders import (
    CancelsRequested,
    ExecutionsApplied,
    FollowUpsQueued,
    OrderResolved,
    OrdersPlaced,
    SignalDecided,
    TradesCorrected,
)
from engine.journal.events.shard import InputQuarantined, InputsRefused, refused_count
from engine.journal.events.subscriptions import (
    AccountsOpened,
    CreatorsLearned,
    InstrumentsLearned,
    SubscriptionsEnded,
    SubscriptionsEnding,
    SubscriptionsOpened,
)

NEVER = 1 << 62
"""`until_frame` of a subscription that has not been told to end."""

SUBSCRIPTION_COLUMNS = {
    "account": np.uint32,
    "creator_shard": np.uint16,
    "creator": np.uint32,
    "cash": np.int64,
    "from_frame": np.int64,
    "until_frame": np.int64,
    "ending_cause": np.int64,
}


class FollowerTables:
    """Tables of one follower shard, filled frame by frame. A reader may take `dispositions` out
    batch by batch; `storage` keeps all other columns.
    """

    def __init__(
        self, shard: int, *, replays: bool = True, storage: ColumnStorage = IN_MEMORY
    ) -> None:
        self.shard = shard
        self.storage = storage
        self.frames_count = 0
        self.last_number = 0
        self.accounts: list[str] = []
        self.account_brokers: list[str] = []
        self.dedicated: dict[int, int] = {}
        self.symbols: dict[tuple[int, int], str] = {}
        self.creators: dict[tuple[int, int], str] = {}
        self.subscriptions = Table(SUBSCRIPTION_COLUMNS)
        self.ended_count = 0
        self.follow_ups_count = 0
        self.refused_executions = 0
        self.poison: list[InputQuarantined] = []
        self.dispositions = DispositionsGatherer(shard)
        self.orders = OrdersGatherer(shard, storage)
        self.cancels = CancelsGatherer(shard, storage)
        self.executions = ExecutionsGatherer(shard, storage)
        self.corrections: list[AppliedCorrection] = []
        self.resolved: list[OrderResolved] = []
        self.cursors: dict[tuple[Source, int], Cursor] = {}
        self.replayed = FollowerShard(shard)
        self.state = self.replayed.state
        self._replays = replays

    def add(self, frame: JournalFrame) -> None:
        """Take the next frame. It changes `state` too if this replays."""
        self.take(frame)
        if self._replays:
            self.replayed.apply(frame.header, frame.events)

    def take(self, frame: JournalFrame) -> None:
        """Take the next frame into the tables only."""
        for event in frame.events:
            self._take(frame, event)
        self.cursors.update(
            {(cursor.source, cursor.shard): cursor for cursor in frame.header.cursors}
        )
        self.frames_count += 1
        self.last_number = frame.header.number

    def _take(self, frame: JournalFrame, event: Any) -> None:
        match event:
            case SignalDecided():
                self.dispositions.add(frame, event)
                self.orders.add_signal(frame, event)
            case ExecutionsApplied():
                self.executions.add(frame, event)
            case OrdersPlaced():
                self.orders.add_placed(frame, event)
            case CancelsRequested():
                self.cancels.add(frame, event)
            case TradesCorrected():
                self.corrections += corrections_of(self.shard, frame, event, self.executions.count)
            case OrderResolved():
                self.resolved.append(event)
            case FollowUpsQueued():
                self.follow_ups_count += len(event.subscriptions)
            case _:
                self._learn(event)

    def _learn(self, event: Any) -> None:
        match event:
            case AccountsOpened():
                self._take_accounts(event)
            case SubscriptionsOpened():
                self._take_subscriptions(event)
            case SubscriptionsEnding():
                self.subscriptions["until_frame"][event.subscriptions] = event.until_frames
                self.subscriptions["ending_cause"][event.subscriptions] = event.cause
            case SubscriptionsEnded():
                self.ended_count += len(event.subscriptions)
            case InstrumentsLearned():
                for number, symbol in zip(event.numbers.tolist(), event.symbols, strict=True):
                    self.symbols[event.creator_shard, number] = symbol
            case CreatorsLearned():
                for number, creator_id in zip(event.numbers.tolist(), event.ids, strict=True):
                    self.creators[event.creator_shard, number] = creator_id
            case InputsRefused():
                self.refused_executions += sum(map(refused_count, event.reasons))
            case InputQuarantined():
                self.poison.append(event)
            case _:
                pass

    def _take_accounts(self, event: AccountsOpened) -> None:
        for index, shard in enumerate(event.dedicated.tolist()):
            if shard >= 0:
                self.dedicated[event.first + index] = shard
        self.accounts += event.ids
        self.account_brokers += [event.brokers[number] for number in event.broker_of.tolist()]

    def _take_subscriptions(self, event: SubscriptionsOpened) -> None:
        self.subscriptions.append(
            {
                "account": event.accounts,
                "creator_shard": event.creator_shards,
                "creator": event.creators,
                "cash": event.cash,
                "from_frame": event.from_frames,
                "until_frame": np.full(len(event.accounts), NEVER),
            }
        )

    def creator_cursor(self, creator_shard: int) -> Cursor | None:
        """Return how far the shard has decided a creator shard's journal."""
        return self.cursors.get((Source.CREATOR_JOURNAL, creator_shard))

    def account_of(self, subscription: int) -> str:
        """Return the account of a subscription."""
        column = self.subscriptions["account"]
        if not 0 <= subscription < len(column):
            return f"of unknown subscription {subscription}"
        return self.accounts[int(column[subscription])]

    def pairs(self) -> Ints:
        """Return each subscription's creator: creator shard and number in one integer."""
        columns = self.subscriptions
        return columns["creator_shard"].astype(np.int64) << 32 | columns["creator"]
