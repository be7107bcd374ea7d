"""Executions on their way to a stream that fails, one message of a shard at a time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from actors.errors import OutcomeUnknownError, PermanentError, TransientError
from gateways.brokers.ledger.ledger import MemoryLedger
from gateways.brokers.program import publisher as module
from gateways.brokers.program.publisher import ReportPublisher
from gateways.brokers.program.reports import Message
from tests.servers import until


class Stream:
    """Stores what it is given unless told to fail; an unknown outcome may have stored it."""

    def __init__(self, failures: list[Exception] | None = None, *, is_open: bool = True) -> None:
        self.failures = failures or []
        self.stored: list[tuple[str, bytes]] = []
        self.open = asyncio.Event()
        if is_open:
            self.open.set()
        self.in_flight: list[str] = []

    async def publish(self, subject: str, data: bytes) -> int:
        assert subject not in self.in_flight
        self.in_flight.append(subject)
        await self.open.wait()
        await asyncio.sleep(0)
        self.in_flight.remove(subject)
        error = self.failures.pop() if self.failures else None
        if error is None or isinstance(error, OutcomeUnknownError):
            self.stored.append((subject, data))
        if error is not None:
            raise error
        return len(self.stored)


def message(shard: int, number: int, data: bytes | None = b"x") -> Message:
    return Message(shard, number, number, offset=number, length=1, data=data)


@asynccontextmanager
async def publishing(
    stream: Stream, confirmed: list[Message], *, doubled: bool = False
) -> AsyncIterator[ReportPublisher]:
    publisher = ReportPublisher(
        stream,
        MemoryLedger(b"0123456789"),
        broker="paper",
        is_doubled=doubled,
        name_message=lambda each: f"{each.follower_shard}-{each.first}",
        confirm=lambda each, sequence: confirmed.append(each),
    )
    task = asyncio.create_task(publisher.run())
    yield publisher
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_shards_messages_stay_in_order_through_failures() -> None:
    stream = Stream([TransientError("x"), OutcomeUnknownError("x"), TransientError("x")])
    confirmed: list[Message] = []
    wanted = [message(shard, number, b"%d" % number) for number in range(1, 6) for shard in (0, 1)]
    async with publishing(stream, confirmed) as publisher:
        publisher.add(wanted)
        await asyncio.wait_for(publisher.wait_published(), 10)
    for shard in (0, 1):
        stored = [data for subject, data in stream.stored if subject == f"executions.paper.{shard}"]
        assert stored == sorted(stored)
        assert set(stored) == {b"1", b"2", b"3", b"4", b"5"}
        assert [each.first for each in confirmed if each.follower_shard == shard] == [1, 2, 3, 4, 5]


async def test_beyond_the_limit_bytes_come_from_the_ledger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BYTES_HELD_MAX", 1)
    stream = Stream()
    async with publishing(stream, []) as publisher:
        publisher.add([message(0, 1), message(0, 2), message(0, 3, None)])
        await asyncio.wait_for(publisher.wait_published(), 10)
    assert [data for _, data in stream.stored] == [b"x", b"2", b"3"]


async def test_too_many_waiting_messages_hold_blocks_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MESSAGES_MAX", 2)
    stream = Stream(is_open=False)
    async with publishing(stream, []) as publisher:
        publisher.add([message(0, 1), message(0, 2)])
        waiting = asyncio.create_task(publisher.wait_space())
        await until(lambda: bool(stream.in_flight))
        assert not waiting.done()
        stream.open.set()
        await asyncio.wait_for(waiting, 10)


async def test_doubled_messages_are_published_twice() -> None:
    stream = Stream()
    async with publishing(stream, [], doubled=True) as publisher:
        publisher.add([message(3, 9)])
        await asyncio.wait_for(publisher.wait_published(), 10)
    assert stream.stored == [("executions.paper.3", b"x")] * 2


async def test_a_forbidden_publication_ends_the_process() -> None:
    publisher = ReportPublisher(
        Stream([PermanentError("may not publish")]),
        MemoryLedger(),
        broker="paper",
        is_doubled=False,
        name_message=lambda each: str(each.first),
        confirm=lambda each, sequence: None,
    )
    publisher.add([message(0, 1)])
    with pytest.raises(ExceptionGroup) as raised:
        await asyncio.wait_for(publisher.run(), 10)
    assert raised.group_contains(PermanentError, match="may not publish")
