"""`python -m benchmarks.measures.engine_cost`: the cost of the engine's own code for one signal of
a book, stage by stage, without servers.

    fill -> creator shard -> decide, apply -> frame -> (gateway reads it)
         -> reports -> decide, apply -> frame

Many creators trade in turn, buying and selling. Several fills share a frame, as a shard takes what
came while the last frame was written.

Each figure is per signal: the tenth percentile over the frames of buys and over those of sells,
averaged. So it is the cost when nothing else has the core. The command prints the hash of the
shard's state at the end, which is the same on every machine.
"""

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from engine.columns.state import state_hash
from engine.creator.marks import PER_BROKER
from engine.creator.opening import open_creator
from engine.creator.shard import CreatorShard
from engine.follower.decide.commands import CommandBatch
from engine.follower.decide.creators import learn
from engine.follower.decide.executions import decide_reports
from engine.follower.decide.signals import decide_parts, parts_of
from engine.follower.decide.whole_groups import decide_batch, next_batch
from engine.follower.deciding import Deciding
from engine.follower.shard import FollowerShard
from engine.follower.sizing.batch import batched
from engine.journal.cursors import NO_HASH
from engine.journal.events.creator import FillApplied
from engine.journal.events.orders import SignalDecided
from engine.journal.frame import (
    FrameHeader,
    ShardKey,
    ShardKind,
    decode_frame,
    encode_frame,
    frame_hash,
)
from engine.messages.answers import Answer
from engine.messages.blocks import ExecutionsReported
from engine.messages.commands import AccountCommand, Follow, OpenAccount, OpenCreator
from engine.messages.inputs import FillInput
from engine.values.copy_policy import CopyPolicy
from engine.values.instruments import InstrumentTerms
from engine.values.order_status import ExecType
from engine.values.units import MICROS, QUANTITY_ONE

NOW_NS = 1_700_000_000 * 10**9
STAGES = ("fill", "decided", "framed", "read", "reported", "report framed")
POLICY = CopyPolicy()
PART_ROWS = 1 << 15


class EngineCost:
    """One creator shard and one follower shard, fed by hand."""

    def __init__(self, creators: int, followers: int) -> None:
        self._creators = CreatorShard({}, InstrumentTerms(100, MICROS))
        self._creators.apply_event(self._creators.marks.decide_source(PER_BROKER))
        self.shard = FollowerShard(0)
        self._deciding = Deciding(self.shard.state, POLICY, NOW_NS)
        self._hash, self._number, self._executions = NO_HASH, 0, 0
        self._spent: dict[str, float] = {}
        self.orders = 0
        for creator in range(creators):
            command = OpenCreator(f"open-{creator}", f"c{creator}", 10**9 * MICROS)
            self._introduce(open_creator(self._creators, command, ("paper",)).event)
        self._introduce(self._creators.decide_list(["ACME"]))
        batch = CommandBatch(
            Deciding(self.shard.state, POLICY, NOW_NS),
            creator_shards=1,
            follower_shards=1,
            brokers=frozenset(["paper"]),
        )
        decided = batch.decide(list(_commands(creators, followers)))
        self._apply(event for event in decided if not isinstance(event, Answer))

    def _introduce(self, event: Any) -> None:
        self._creators.apply_event(event)
        self._apply(learn(self.shard.state, 0, event))

    def _apply(self, events: Iterable[Any]) -> list[Any]:
        applied = []
        for event in events:
            self.shard.apply_event(event)
            applied.append(event)
        return applied

    def frame(self, creators: range, turn: int) -> dict[str, float]:
        """Take one fill of each of some creators all the way, in one frame. Returns: seconds by
        stage.
        """
        self._spent = {}
        with self._timed("fill"):
            fills = [self._filled(_fill(creator, turn)) for creator in creators]
        with self._timed("decided"):
            parts = [
                part for fill in fills for part in parts_of(self.shard.state, 0, fill, PART_ROWS)
            ]
            events = []
            for batch in batched((part.book, part.book.count, part) for part in parts):
                decided = decide_parts(self._deciding, batch, PART_ROWS)
                self.shard.apply_events(decided)
                events += decided
        with self._timed("framed"):
            data = self._frame(events)
        with self._timed("read"):
            _, read = decode_frame(data)
        reports = [self._report(event) for event in read if isinstance(event, SignalDecided)]
        with self._timed("reported"):
            events = self._reported(reports)
        with self._timed("report framed"):
            self._frame(events)
        return self._spent

    def _filled(self, fill: FillInput) -> FillApplied:
        event = self._creators.decide_fill(fill, NOW_NS)
        assert isinstance(event, FillApplied)
        self._creators.apply_event(event)
        return event

    def _reported(self, reports: list[ExecutionsReported]) -> list[Any]:
        events: list[Any] = []
        while reports:
            batch = next_batch(self.shard.state, reports) if len(reports) > 1 else reports
            batch = batch or reports[:1]
            reports = reports[len(batch) :]
            if len(batch) > 1:
                decided = decide_batch(self.shard.state, "paper", batch, 1)
                assert decided is not None
                self.shard.apply_events(decided)
                events += decided
            else:
                events += self._apply(decide_reports(self._deciding, "paper", batch[0], 1))
        return events

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self._spent[stage] = time.perf_counter() - began

    def _frame(self, events: list[Any]) -> bytes:
        self._number += 1
        header = FrameHeader(
            ShardKey(ShardKind.FOLLOWER, 0), 1, self._number, NOW_NS, self._hash, ()
        )
        data = encode_frame(header, events)
        self._hash = frame_hash(data)
        return data

    def _report(self, decided: SignalDecided) -> ExecutionsReported:
        quantities = decided.units * decided.unit
        rows = np.flatnonzero(quantities)
        count = len(rows)
        first = self._executions
        self._executions += count
        self.orders += count
        return ExecutionsReported(
            0,
            "paper-0-",
            decided.key,
            NOW_NS,
            np.arange(first, first + count),
            decided.subscriptions[rows],
            np.full(count, ExecType.TRADE, np.int64),
            quantities[rows],
            np.full(count, decided.terms.price, np.int64),
            np.zeros(count, np.int64),
        )


def _commands(creators: int, followers: int) -> Iterator[AccountCommand]:
    for follower in range(followers):
        for creator in range(creators):
            account = f"a{creator}-{follower}"
            yield OpenAccount(f"o-{account}", account)
            cash = (5_000 + 37 * follower % 45_000) * MICROS
            yield Follow(
                f"f-{account}",
                account,
                f"c{creator}",
                cash,
                ratio=MICROS if follower % 5 else MICROS // 2,
            )


def _fill(creator: int, turn: int) -> FillInput:
    side, quantity = (1, 100_000) if turn % 2 == 0 else (-1, 50_000)
    return FillInput(
        "paper",
        f"c{creator}",
        f"x-{turn}-{creator}",
        "ACME",
        side,
        quantity * QUANTITY_ONE,
        100 * MICROS,
        NOW_NS,
        turn + 1,
    )


def measure(
    creators: int, followers: int, turns: int, *, batched: int = 1
) -> tuple[dict[str, float], int, str]:
    """Take fills of all creators in turn, several per frame. Returns: microseconds per signal by
    stage, the orders, and the state's hash.
    """
    cost = EngineCost(creators, followers)
    frames = [range(first, min(first + batched, creators)) for first in range(0, creators, batched)]
    spent = [[cost.frame(frame, turn) for frame in frames] for turn in range(turns)]
    figures = {}
    for stage in STAGES:
        sides = [[each[stage] for turn in spent[side::2] for each in turn] for side in (0, 1)]
        figures[stage] = (
            sum(float(np.percentile(values, 10)) for values in sides) / 2 * 1e6 / batched
        )
    return figures, cost.orders, state_hash(cost.shard.columns()).hex()[:16]


SHAPES = (
    (200, 50, 20, 1),
    (200, 50, 20, 5),
    (200, 50, 20, 20),
    (200, 500, 10, 1),
    (200, 500, 10, 20),
    (10, 50_000, 4, 1),
)


def main(shapes: tuple[tuple[int, int, int, int], ...] = SHAPES) -> None:
    """Print the cost of each shape: creators, accounts per creator in the shard, fills per
    creator, signals per frame.
    """
    for creators, followers, turns, count in shapes:
        figures, orders, digest = measure(creators, followers, turns, batched=count)
        stages = ", ".join(f"{stage} {micros:,.0f}" for stage, micros in figures.items())
        sys.stdout.write(
            f"{creators} creators x {followers:,} accounts, {count} to a "
            f"frame: {sum(figures.values()):,.0f} us per signal"
            f" ({stages}); {orders:,} orders, state {digest}\n"
        )


if __name__ == "__main__":
    main()
