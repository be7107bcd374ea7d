"""Dispatch: which applier each event of a follower shard goes to. State changes here and in no
other way (P6).
"""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from engine.follower.apply.corrections import apply_corrections, apply_later_attempts
from engine.follower.apply.executions import apply_executions
from engine.follower.apply.orders import apply_cancels, apply_placed, apply_queued
from engine.follower.apply.signals import apply_signals
from engine.follower.apply.subscriptions import (
    apply_accounts,
    apply_ending,
    apply_instruments,
    apply_paused,
    apply_subscriptions,
)
from engine.follower.book import Status
from engine.follower.sizing.batch import batched
from engine.follower.state import FollowerState
from engine.journal.events.orders import (
    CancelsRequested,
    ExecutionsApplied,
    FollowUpsQueued,
    LaterAttemptsFound,
    OrdersPlaced,
    SignalDecided,
    TradesCorrected,
)
from engine.journal.events.shard import InputAttempted, InputQuarantined, InputsRefused, OwnerFenced
from engine.journal.events.subscriptions import (
    AccountsOpened,
    CreatorsLearned,
    EntriesResumed,
    EntriesSuspended,
    InstrumentsLearned,
    SubscriptionsEnded,
    SubscriptionsEnding,
    SubscriptionsOpened,
    SubscriptionsPaused,
    SubscriptionsResumed,
)


def apply_events(shard: FollowerState, events: Sequence[Any]) -> None:
    """Change the state by events in their order; neighbours that are about different books are
    applied in one pass.
    """
    if len(events) == 1:
        apply_event(shard, events[0])
        return
    for event_type, grouped in groupby(events, key=type):
        if event_type is SignalDecided:
            items = (((e.creator_shard, e.creator), len(e.dispositions), e) for e in grouped)
            for batch in batched(items):
                apply_signals(shard, batch)
        elif event_type is ExecutionsApplied:
            apply_executions(shard, list(grouped))
        else:
            for event in grouped:
                apply_event(shard, event)


def apply_event(shard: FollowerState, event: Any) -> None:
    """Change the state by one event."""
    match event:
        case SignalDecided():
            apply_signals(shard, (event,))
        case ExecutionsApplied():
            apply_executions(shard, (event,))
        case OrdersPlaced():
            apply_placed(shard, event)
        case FollowUpsQueued():
            apply_queued(shard, event)
        case AccountsOpened():
            apply_accounts(shard, event)
        case SubscriptionsOpened():
            apply_subscriptions(shard, event)
        case SubscriptionsEnding():
            apply_ending(shard, event)
        case SubscriptionsPaused() | SubscriptionsResumed():
            apply_paused(shard, event)
        case SubscriptionsEnded():
            for book, rows, _ in shard.by_book(event.subscriptions):
                shard.changing(book)
                book.set_status(rows, Status.ENDED)
        case CreatorsLearned():
            for number, creator_id in zip(event.numbers.tolist(), event.ids, strict=True):
                shard.creators[event.creator_shard, creator_id] = number
        case InstrumentsLearned():
            apply_instruments(shard, event)
        case CancelsRequested():
            apply_cancels(shard, event)
        case EntriesSuspended() | EntriesResumed():
            shard.suspended.apply(event)
        case InputQuarantined():
            shard.quarantine.apply(event)
        case TradesCorrected():
            for book, _, _ in shard.by_book(event.subscriptions):
                shard.changing(book)
            apply_corrections(shard, event)
        case LaterAttemptsFound():
            apply_later_attempts(shard, event)
        case OwnerFenced() | InputAttempted() | InputsRefused():
            pass
        case _:
            raise AssertionError(f"a follower shard cannot apply {type(event).__name__}")
