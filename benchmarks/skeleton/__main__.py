"""One process of the skeleton: options on stdin. Once all fills have passed, it prints the time
of each.
"""

import asyncio
import os
import sys
import time
from collections import deque
from collections.abc import Iterable

import msgspec
import uvloop

from actors.ports import StoredMessage
from benchmarks.skeleton.messages import (
    CREATOR_BYTES_PER_FILL,
    EXECUTIONS,
    ROW_BYTES,
    SIGNALS,
    Part,
    decode,
    encode,
)
from gateways.nats.connection import NatsConnection, NatsConnectionOptions, connect_nats
from gateways.nats.streams import NatsStreams

OUTSTANDING_MAX = 8


class Options(msgspec.Struct, frozen=True):
    """The kind of process, the address of NATS, and the number of fills to come."""

    role: str
    shard: int
    nats: NatsConnectionOptions
    fills: int
    followers: int
    shards: int
    scratch: str
    reports_wait_s: float
    """The time after a frame for which a follower's executions wait for another frame that is
    made anyway.
    """

    @property
    def row_bytes(self) -> int:
        """Bytes of one fill's rows in one shard."""
        return self.followers // self.shards * ROW_BYTES


class Process:
    """The parts that all processes share: a connection, feeds that wake one event, and the time
    at which each fill passed.
    """

    def __init__(self, options: Options, connection: NatsConnection) -> None:
        self.options = options
        self.connection = connection
        self.streams = NatsStreams(connection)
        self.arrived = asyncio.Event()
        self.passed: dict[int, int] = {}
        self._number = 0

    async def publish(self, subject: str, parts: list[Part], bytes_per_fill: int) -> None:
        """Publish one message and wait for its acknowledgement."""
        self._number += 1
        message_id = f"{self.options.role}/{self.options.shard}/{self._number}"
        await self.streams.publish(subject, encode(parts, bytes_per_fill), message_id=message_id)

    def note(self, fills: Iterable[int]) -> None:
        """Note that fills have passed."""
        now = time.time_ns()
        for fill in fills:
            self.passed[fill] = now

    @property
    def is_done(self) -> bool:
        """True when every fill has passed."""
        return len(self.passed) >= self.options.fills

    async def arrivals(self) -> None:
        """Wait until something arrives."""
        await self.arrived.wait()
        self.arrived.clear()


async def creator(process: Process) -> None:
    """Take fills, and publish one frame of all that came."""
    feed = await process.streams.open_feed(
        "SKELETON_FILLS", "skeleton.fills", after_sequence=0, arrived=process.arrived
    )
    _ready()
    while not process.is_done:
        await process.arrivals()
        while messages := feed.take(256):
            fills = tuple(
                fill for message in messages for part in decode(message.data) for fill in part.fills
            )
            await process.publish(
                "skeleton.creator", [Part(SIGNALS, fills)], CREATOR_BYTES_PER_FILL
            )
            process.note(fills)


async def follower(process: Process) -> None:
    """Take signals and executions, and publish one frame of all that came. Executions that come
    alone wait for signals as long as the engine's do. A fill has passed once its executions'
    frame is acknowledged.
    """
    options, loop = process.options, asyncio.get_running_loop()
    signals = await process.streams.open_feed(
        "SKELETON_CREATOR", "skeleton.creator", after_sequence=0, arrived=process.arrived
    )
    subject = f"skeleton.executions.{options.shard}"
    executions = await process.streams.open_feed(
        "SKELETON_EXECUTIONS", subject, after_sequence=0, arrived=process.arrived
    )
    waiting: list[StoredMessage] = []
    sent_s = 0.0
    _ready()
    while not process.is_done:
        await process.arrivals()
        while True:
            orders = signals.take(64)
            waiting += executions.take(64)
            wait_s = sent_s + options.reports_wait_s - loop.time()
            if waiting and not orders and wait_s > 0:
                loop.call_later(wait_s, process.arrived.set)
                break
            parts = [part for message in (*waiting, *orders) for part in decode(message.data)]
            if not parts:
                break
            waiting.clear()
            sent_s = loop.time()
            await process.publish(f"skeleton.follower.{options.shard}", parts, options.row_bytes)
            process.note(fill for part in parts if part.kind == EXECUTIONS for fill in part.fills)


async def gateway(process: Process) -> None:
    """Take follower frames and hand their signals to the broker, with several blocks
    outstanding.
    """
    feed = await process.streams.open_feed(
        "SKELETON_FOLLOWER", "skeleton.follower.*", after_sequence=0, arrived=process.arrived
    )
    free = asyncio.Semaphore(OUTSTANDING_MAX)
    answered: dict[int, int] = {}
    _ready()

    async def submit(shard: str, part: Part) -> None:
        try:
            block = encode([Part(int(shard), part.fills)], process.options.row_bytes)
            await process.connection.request("skeleton.orders", block, deadline_s=60.0)
        finally:
            free.release()
        for fill in part.fills:
            answered[fill] = answered.get(fill, 0) + 1
        process.note(fill for fill in part.fills if answered[fill] == process.options.shards)
        process.arrived.set()

    async with asyncio.TaskGroup() as tasks:
        while not process.is_done:
            await process.arrivals()
            for message in feed.take(64):
                for part in decode(message.data):
                    if part.kind == SIGNALS:
                        await free.acquire()
                        tasks.create_task(submit(message.subject.rpartition(".")[2], part))


async def broker(process: Process) -> None:
    """Take blocks, sync them to a file, publish executions, answer. A fill has passed once the
    orders of all shards are on disk.
    """
    options = process.options
    waiting: deque[tuple[str, bytes]] = deque()

    def receive(subject: str, reply: str, data: bytes, headers: dict[str, str] | None) -> None:
        waiting.append((reply, data))
        process.arrived.set()

    await process.connection.subscribe("skeleton.orders", receive)
    taken: dict[int, int] = {}
    publishing: set[asyncio.Task[None]] = set()
    file = os.open(options.scratch, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    _ready()
    while not process.is_done:
        await process.arrivals()
        while waiting:
            batch, by_shard = list(waiting), dict[int, list[int]]()
            waiting.clear()
            await asyncio.to_thread(_write, file, b"".join(data for _, data in batch))
            for _, data in batch:
                part = decode(data)[0]
                by_shard.setdefault(part.kind, []).extend(part.fills)
            for shard, fills in by_shard.items():
                for fill in fills:
                    taken[fill] = taken.get(fill, 0) + 1
                process.note(fill for fill in fills if taken[fill] == options.shards)
                parts = [Part(EXECUTIONS, tuple(fills))]
                task = asyncio.create_task(
                    process.publish(f"skeleton.executions.{shard}", parts, options.row_bytes)
                )
                publishing.add(task)
                task.add_done_callback(publishing.discard)
            # As in the paper broker, executions leave first.
            await asyncio.sleep(0)
            for reply, _ in batch:
                await process.connection.publish(reply, b"taken")
    await asyncio.gather(*publishing)
    os.close(file)


def _write(file: int, data: bytes) -> None:
    os.write(file, data)
    os.fdatasync(file)


def _ready() -> None:
    sys.stdout.write("ready\n")
    sys.stdout.flush()


async def main(options: Options) -> dict[str, int]:
    """Run one process until all fills have passed. Returns: the time of each, ns."""
    connection = await connect_nats(options.nats)
    process = Process(options, connection)
    try:
        await {"creator": creator, "follower": follower, "gateway": gateway, "broker": broker}[
            options.role
        ](process)
    finally:
        await connection.close()
    return {str(fill): time_ns for fill, time_ns in process.passed.items()}


if __name__ == "__main__":
    sys.stdout.buffer.write(
        msgspec.json.encode(
            uvloop.run(main(msgspec.json.decode(sys.stdin.buffer.read(), type=Options)))
        )
    )
