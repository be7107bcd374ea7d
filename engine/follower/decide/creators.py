"""Decisions to learn from a creator shard: its creators, instruments and suspensions."""

from collections.abc import Iterator
from typing import Any

from engine.follower.state import FollowerState
from engine.journal.events.creator import (
    CreatorResumed,
    CreatorsOpened,
    CreatorSuspended,
    InstrumentsListed,
)
from engine.journal.events.subscriptions import CreatorsLearned, InstrumentsLearned

LEARNED = (CreatorsOpened, InstrumentsListed, CreatorSuspended, CreatorResumed)
"""The events of a creator shard's journal that a follower shard learns from, besides signals."""


def learn(state: FollowerState, creator_shard: int, event: Any) -> Iterator[Any]:
    """Learn the creators and instruments that are new to this shard, and which creators are
    suspended or resumed.
    """
    if isinstance(event, CreatorsOpened):
        new = [
            index
            for index, name in enumerate(event.ids)
            if (creator_shard, name) not in state.creators
        ]
        if new:
            yield CreatorsLearned(
                creator_shard, event.numbers[new], [event.ids[index] for index in new]
            )
    elif isinstance(event, InstrumentsListed):
        new = [
            index
            for index, number in enumerate(event.numbers.tolist())
            if (creator_shard, number) not in state.instruments
        ]
        if new:
            symbols = [event.symbols[index] for index in new]
            yield InstrumentsLearned(
                creator_shard,
                event.numbers[new],
                symbols,
                event.lots[new],
                event.min_notionals[new],
            )
    elif isinstance(event, CreatorSuspended | CreatorResumed):
        yield from state.suspended.learn(creator_shard, event)
