"""One fixed story whose states fill every column: the journals behind the golden snapshots
(`tests.engine.test_golden_snapshots`).

It leads to three shards: a creator shard, a follower shard with more books than one column holds,
and a gateway. The gateway has read the follower's frames and has orders in hand.
"""

from random import Random
from typing import Any, NamedTuple

import numpy as np

from engine.creator.resuming import resume_creator
from engine.journal.cursors import NO_HASH, Cursor, Source
from engine.journal.events import EVENT_TYPES
from engine.journal.frame import FrameHeader, ShardKey, ShardKind, encode_frame, frame_hash
from engine.messages.commands import OpenAccount, Pause, ResumeCreator
from engine.values.order_ids import OrderKey
from tests.engine.stories.setting import Setting, Sleeving, Step
from tests.engine.stories.telling import tell
from tests.engine.world.engine_world import EngineWorld
from tests.reference.values import SleeveTerms

_KINDS = (
    ["fill"] * 10
    + ["trade"] * 4
    + ["trade_many", "end", "answer_cancels", "advance", "mark", "correct", "correct_fill"] * 2
    + ["unfollow", "follow_again", "follow_new", "pause", "trust"]
)
_STEPS = 140
_MICRO = 10**6
_BOOKS = 66
_QUARANTINED, _CREATOR_SUSPENDED = EVENT_TYPES[3], EVENT_TYPES[18]
_REVOKED, _STARTED, _SETTLED, _UNRESOLVED, _TAKEN = (
    EVENT_TYPES[tag] for tag in (41, 42, 43, 44, 45)
)
_SLEEVES = [
    Sleeving(0, 0, 10**10, "proportional", _MICRO, 1, 0, 0, True),
    Sleeving(1, 0, 10**10 + 7, "proportional", 770_000, 1, 0, 500_001, False),
    Sleeving(2, 0, 10**12, "fixed_amount", _MICRO, 250 * _MICRO, 0, 0, True),
    Sleeving(3, 0, 5 * _MICRO, "multiplier", 333_333, 1, 10**9 + 3, 0, False),
    Sleeving(0, 1, 10**12, "multiplier", _MICRO, 1, 0, 0, True),
    Sleeving(4, 1, 10**10, "multiplier", _MICRO, 1, 0, 0, True),
    Sleeving(1, 2, 10**10, "proportional", _MICRO, 1, 0, 0, True),
    Sleeving(5, 2, 3 * 10**14, "proportional", 2_500_000, 1, 10**9, 2_000_000, True),
]
_SETTING = Setting(
    instruments=[(100, _MICRO), (_MICRO, 0), (7, 1)],
    creators=[10**12, 10**12, 10**12],
    sleeves=_SLEEVES,
    fee_rate=1_000,
    part_rows=[2, 1_000, 3],
    price=50 * _MICRO,
    quantity=3 * 10**8,
    brokers=("paper", "other"),
)


class StoryFrames(NamedTuple):
    """The frames of each shard's journal, in order."""

    creator: list[bytes]
    follower: list[bytes]
    gateway: list[bytes]


def told() -> StoryFrames:
    """Return the frames of the story."""
    rng = Random(75)
    numbers = [[rng.randrange(10_000) for _ in range(3)] for _ in range(_STEPS)]
    steps = [Step(rng.choice(_KINDS), *each) for each in numbers]
    world = tell(_SETTING, steps).engine
    _mark_all(world)
    _open_many(world)
    _leave_things_open(world)
    world.check()
    return StoryFrames(world.creators.frames, world.followers.frames, _gateway_frames(world))


def _mark_all(world: EngineWorld) -> None:
    """Let a trusted source mark an instrument, and then each broker another."""
    world.trust("other")
    world.mark("S0", 51 * _MICRO, source="other")
    world.trust("")
    world.mark("S1", 52 * _MICRO, source="paper")
    world.mark("S2", 53 * _MICRO, source="other")


def _open_many(world: EngineWorld) -> None:
    """Open more books than one column of a state holds, some of them alike in everything."""
    for number in range(_BOOKS):
        world.open_creator(f"x{number}", cash=10**12)
        terms = SleeveTerms(cash=10**10, allow_short=number % 2 == 0)
        world.follow(f"b{number % 9}", f"x{number}", terms)
    for number in range(0, _BOOKS, 11):
        world.fill(f"x{number}", f"S{number % 3}", 1, 10**8, 50 * _MICRO)
    for order in world.open_orders()[::3]:
        world.execute(order, order.remaining // 2 + 1, order.price, fee=5)
    world.fill("x0", "S0", -1, 3 * 10**8, 49 * _MICRO)
    world.fill("x22", "S1", 1, 10**8, 48 * _MICRO)


def _leave_things_open(world: EngineWorld) -> None:
    """Quarantine inputs, suspend a creator, pause, and open an account with an actor of its own."""
    one = world.followers.live, world.followers
    for live, journaled in (one, (world.creators.live, world.creators)):
        events = [
            _QUARANTINED(source, 0, 7, -1, 0, 3, f"subject-{source}", "reason", "excerpt")
            for source in (0, 1)
        ]
        for event in events:
            live.apply_event(event)
        journaled.commit(events, world.clock.time)
    world.creator_side.journal([_CREATOR_SUSPENDED(1, 90_000, 3)])
    resume = ResumeCreator("resume", "c1", is_replay=False)
    world.creator_side.journal([resume_creator(world.creators.live, resume, ()).event])
    world.creator_side.journal(
        [_CREATOR_SUSPENDED(2, 90_001, -1), _CREATOR_SUSPENDED(2, 90_002, 4)]
    )
    world.command([OpenAccount("open-dedicated", "alone", dedicated=True)])
    world.command([Pause("paused", "b1", "x1")])


def _gateway_frames(world: EngineWorld) -> list[bytes]:
    """Make the frames of a gateway whose orders up to some follower frame are answered."""
    answered = len(world.followers.frames) - 12
    three, key = np.array([1, 2, 3], np.int64), OrderKey(0, 0, 7, 0, 0)
    columns = [np.full(3, value, np.int64) for value in (0, *key)]
    events: list[list[Any]] = [
        [_STARTED(0, three + answered, *columns, three, three + 4)],
        [
            _SETTLED(np.array([1], np.int64)),
            _REVOKED(0, key, 4, 0, 5, answered + 2, three),
        ],
        [_UNRESOLVED(0, key, answered + 3, three[1:])],
        [_TAKEN("ledger", three, three * 7, three - 2)],
    ]
    frames: list[bytes] = []
    previous, name = NO_HASH, ShardKey(ShardKind.GATEWAY, 0)
    for number, of_frame in enumerate(events, 1):
        cursors = (Cursor(Source.ORDERS, 0, answered - 3 + number, answered - 3 + number),)
        header = FrameHeader(name, 1, number, world.clock.time, previous, cursors)
        frames.append(encode_frame(header, of_frame))
        previous = frame_hash(frames[-1])
    return frames
