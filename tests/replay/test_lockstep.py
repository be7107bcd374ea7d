"""Publishing in lockstep: in order, each message once, a fill only behind the barrier."""

import asyncio
from pathlib import Path

from actors.counters import Counters
from actors.ports import INGRESS, StoredMessage
from actors.shard.progress import CursorProgress, ShardProgress
from cluster.replay.barrier import ProgressBarrier
from cluster.replay.lockstep import FillPublisher, publish_all
from engine.journal.cursors import NO_ROW
from gateways.json import public
from gateways.memory.server import MemoryServer
from gateways.memory.streams import MemoryFeed, MemoryStreams
from gateways.nats.heard import Heard
from tests.replay.files import read

FILLS = (
    "time,fill_id,creator_id,symbol,side,qty,price\n"
    "2026-01-05T15:00:00Z,f1,ann,ACME,buy,1,10\n2026-01-06T21:00:00Z,f2,ben,BETA,buy,1,20\n"
)
PRICES = (
    "date,symbol,close\n2026-01-05,ACME,11\n2026-01-06,ACME,12\n2026-01-06,BETA,19\n"
    "2026-01-07,BETA,21\n"
)
EXPECTED = [
    ("marks.paper", "ACME 10"),
    ("fills.paper.ann", "f1"),
    ("marks.paper", "ACME 11 ACME 12 BETA 19"),
    ("marks.paper", "BETA 20"),
    ("fills.paper.ben", "f2"),
    ("marks.paper", "BETA 21"),
]


class Cluster:
    """Stores published messages and reports at once, by progress, that they are applied."""

    def __init__(self) -> None:
        self.server = MemoryServer()
        self.server.add_stream(INGRESS, "fills.>", "marks.>")
        self.heard = Heard()
        self.barrier = ProgressBarrier(self.heard, creator_shards=1, follower_shards=1, gateways=0)

    async def publish(self, subject: str, data: bytes, *, message_id: str = "") -> int:
        sequence = await MemoryStreams(self.server).publish(subject, data, message_id=message_id)
        self.tell(len(self.stored()))
        return sequence

    async def open_feed(
        self,
        stream: str,
        subject: str,
        *,
        after_sequence: int,
        arrived: asyncio.Event,
        bytes_max: int = 0,
    ) -> MemoryFeed:
        raise AssertionError("a replay publishes only")

    async def last_sequence(self, stream: str) -> int:
        raise AssertionError("a replay publishes only")

    async def last_message(self, stream: str, subject: str) -> StoredMessage | None:
        raise AssertionError("a replay publishes only")

    async def message(self, stream: str, sequence: int) -> StoredMessage | None:
        raise AssertionError("a replay publishes only")

    async def read(
        self, stream: str, *, after_sequence: int, bytes_max: int = 0
    ) -> list[StoredMessage]:
        raise AssertionError("a replay publishes only")

    def tell(self, sequence: int) -> None:
        cursors = {
            "creator": CursorProgress("ingress", 0, sequence, sequence, NO_ROW),
            "follower": CursorProgress("creator_journal", 0, sequence, sequence, NO_ROW),
        }
        for kind, cursor in cursors.items():
            progress = ShardProgress(
                kind, 0, "host", "live", 1, sequence, sequence, 0, True, (cursor,), Counters()
            )
            self.heard.take_progress(progress)

    def stored(self) -> list[tuple[str, str]]:
        return [
            (message.subject, shown(message)) for message in self.server.stream(INGRESS).messages
        ]


async def turns() -> None:
    """Let every task that can go on do so; nothing here waits for time."""
    for _ in range(50):
        await asyncio.sleep(0)


def shown(message: StoredMessage) -> str:
    if message.subject.startswith("fills."):
        (fill,) = public.decode_fills(message.subject, message.data)
        return fill.exec_id
    marks = public.decode_marks(message.subject, message.data)
    return " ".join(f"{mark.symbol} {mark.px // 1_000_000}" for mark in marks)


async def test_prices_go_out_as_one_array_then_the_fills_mark_then_the_fill(tmp_path: Path) -> None:
    cluster = Cluster()
    published = await publish_all(
        FillPublisher(cluster, "paper"), cluster.barrier, read(tmp_path, fills=FILLS, prices=PRICES)
    )
    assert cluster.stored() == EXPECTED
    assert [(fill.row.fill_id, fill.sequence) for fill in published.fills] == [("f1", 2), ("f2", 5)]
    assert (published.marks_count, published.last_sequence) == (4, 6)


async def test_messages_whose_outcome_is_unknown_are_sent_again_and_stored_once(
    tmp_path: Path,
) -> None:
    cluster = Cluster()
    cluster.server.faults.acks_lost_count = 2
    cluster.server.faults.appends_lost_count = 2
    await publish_all(
        FillPublisher(cluster, "paper"), cluster.barrier, read(tmp_path, fills=FILLS, prices=PRICES)
    )
    assert cluster.stored() == EXPECTED


async def test_a_repeated_fill_is_published_and_marked_as_such(tmp_path: Path) -> None:
    cluster = Cluster()
    fills = FILLS + "2026-01-07T15:00:00Z,f1,ann,ACME,buy,1,13\n"
    published = await publish_all(
        FillPublisher(cluster, "paper"), cluster.barrier, read(tmp_path, fills=fills, prices=PRICES)
    )
    assert [fill.is_repeated for fill in published.fills] == [False, False, True]
    assert published.fills[2].sequence == published.fills[0].sequence


async def test_a_fill_waits_until_everything_before_it_is_applied(tmp_path: Path) -> None:
    cluster = Cluster()
    silent = FillPublisher(MemoryStreams(cluster.server), "paper")
    cluster.tell(0)
    replay = asyncio.create_task(publish_all(silent, cluster.barrier, read(tmp_path, fills=FILLS)))
    await turns()
    assert [subject for subject, _ in cluster.stored()] == ["marks.paper"]
    cluster.tell(1)
    await turns()
    assert cluster.stored()[1] == ("fills.paper.ann", "f1")
    replay.cancel()
    await asyncio.gather(replay, return_exceptions=True)
