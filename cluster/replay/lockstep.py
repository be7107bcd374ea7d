"""Publishing in lockstep: a fill is published only once everything earlier is applied and journaled
in every shard, and no order is open.

    prices, one array -> the fill's own mark -> barrier -> fill -> barrier -> next

JetStream acknowledges each message before the next is sent. While the outcome is unknown, the
message is sent again under its message id.
"""

import time
from collections.abc import Callable
from typing import NamedTuple

from actors.ports import Streams
from cluster.replay.asking import ask_within
from cluster.replay.barrier import ProgressBarrier
from cluster.replay.inputs import FillRow, Inputs
from cluster.replay.schedule import fill_mark_message, fill_message, mark_messages, steps

PUBLISH_S_MAX = 120.0
"""The time for which a message is sent again. The duplicate window of the ingress stream is as
long.
"""
PAUSE_S_MIN = 0.02


class PublishedFill(NamedTuple):
    """A fill in the ingress stream: its sequence there, and the wall time just before it was first
    sent.
    """

    row: FillRow
    sequence: int
    ts_published_ns: int
    is_repeated: bool


class PublishedFills(NamedTuple):
    """The published fills. `last_sequence` is the last sequence of the ingress stream."""

    fills: list[PublishedFill]
    marks_count: int
    last_sequence: int


class FillPublisher:
    """The replay's own broker program: it publishes the fills and marks of one broker."""

    def __init__(self, streams: Streams, broker: str) -> None:
        self._streams = streams
        self._broker = broker
        self._marks_messages = 0
        self.last_sequence = 0

    async def marks(self, data: bytes) -> None:
        """Publish an array of marks."""
        self._marks_messages += 1
        await self._publish(
            f"marks.{self._broker}", data, f"{self._broker}/marks/{self._marks_messages}"
        )

    async def fill(self, row: FillRow) -> int:
        """Publish a fill. Returns: its sequence in the ingress stream, also if it was there
        before.
        """
        subject = f"fills.{self._broker}.{row.creator_id}"
        return await self._publish(
            subject, fill_message(row), f"{self._broker}/{row.creator_id}/{row.fill_id}"
        )

    async def _publish(self, subject: str, data: bytes, message_id: str) -> int:
        sequence = await ask_within(
            PUBLISH_S_MAX,
            subject,
            lambda: self._streams.publish(subject, data, message_id=message_id),
            expected="JetStream's acknowledgement",
            pause_s_min=PAUSE_S_MIN,
        )
        self.last_sequence = max(self.last_sequence, sequence)
        return sequence


async def publish_all(
    publisher: FillPublisher,
    barrier: ProgressBarrier,
    inputs: Inputs,
    *,
    progress: Callable[[int], None] = lambda count: None,
) -> PublishedFills:
    """Publish every fill and price in lockstep; returns once the last is applied. Raises:
    ReplayError.
    """
    repeated = frozenset(row.line for row in inputs.repeated_fills)
    fills: list[PublishedFill] = []
    marks_count = 0
    for step in steps(inputs.fills, inputs.prices):
        marks_count += len(step.prices)
        for message in mark_messages(step.prices):
            await publisher.marks(message)
        if step.fill is not None:
            await publisher.marks(fill_mark_message(step.fill))
            await barrier.wait_applied(publisher.last_sequence)
            ts_published_ns = time.time_ns()
            sequence = await publisher.fill(step.fill)
            fills.append(
                PublishedFill(step.fill, sequence, ts_published_ns, step.fill.line in repeated)
            )
            progress(len(fills))
        await barrier.wait_applied(publisher.last_sequence)
    return PublishedFills(fills, marks_count, publisher.last_sequence)
