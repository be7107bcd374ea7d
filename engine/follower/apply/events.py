"""The dispatch of a follower shard's events to their appliers. State changes only here (P6)."""

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
from engine.follower.book import SubscriptionStatus
from engine.follower.sizing.batch import batched
from engine.follower.state import FollowerState
from engine.journal.events.orders import (
    CancelsRequested,
    ExecutionsApplied,
    FollowUpsQueued,
    LaterAttemptsFound,
    OrderResolved,
    OrdersPlaced,
    OrdersUnanswered,
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


def apply_events(state: FollowerState, events: Sequence[Any]) -> None:
    """Apply events in their order. Successive events about different books are applied in one
    pass.
    """
    if len(events) == 1:
        apply_event(state, events[0])
        return
    for event_type, grouped in groupby(events, key=type):
        if event_type is SignalDecided:
            items = (((e.creator_shard, e.creator), len(e.dispositions), e) for e in grouped)
            for batch in batched(items):
                apply_signals(state, batch)
        elif event_type is ExecutionsApplied:
            apply_executions(state, list(grouped))
        else:
            for event in grouped:
                apply_event(state, event)


def apply_event(state: FollowerState, event: Any) -> None:
    """Apply one event."""
    match event:
        case SignalDecided():
            apply_signals(state, (event,))
        case ExecutionsApplied():
            apply_executions(state, (event,))
        case OrdersPlaced():
            apply_placed(state, event)
        case FollowUpsQueued():
            apply_queued(state, event)
        case AccountsOpened():
            apply_accounts(state, event)
        case SubscriptionsOpened():
            apply_subscriptions(state, event)
        case SubscriptionsEnding():
            apply_ending(state, event)
        case SubscriptionsPaused() | SubscriptionsResumed():
            apply_paused(state, event)
        case SubscriptionsEnded():
            for book, rows, _ in state.by_book(event.subscriptions):
                state.changing(book)
                book.set_status(rows, SubscriptionStatus.ENDED)
        case CreatorsLearned():
            for number, creator_id in zip(event.numbers.tolist(), event.ids, strict=True):
                state.creators[event.creator_shard, creator_id] = number
        case InstrumentsLearned():
            apply_instruments(state, event)
        case CancelsRequested():
            apply_cancels(state, event)
        case EntriesSuspended() | EntriesResumed():
            state.suspended.apply(event)
        case InputQuarantined():
            state.quarantine.apply(event)
        case TradesCorrected():
            for book, _, _ in state.by_book(event.subscriptions):
                state.changing(book)
            apply_corrections(state, event)
        case LaterAttemptsFound():
            apply_later_attempts(state, event)
        case OrderResolved() | OrdersUnanswered():
            pass
        case OwnerFenced() | InputAttempted() | InputsRefused():
            pass
        case _:
            raise AssertionError(f"a follower shard cannot apply {type(event).__name__}")
