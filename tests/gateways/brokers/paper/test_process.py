"""The process over a real nats-server: kill -9, servers away, wrong surroundings (P1, P8, P10)."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from actors.errors import OperatingError
from engine.messages.blocks import ExecutionsReported, decode_block
from gateways.brokers.ledger.ledger_reader import LedgerReader
from gateways.nats.connection import NatsConnection, NatsConnectionOptions, connect_nats
from gateways.nats.streams import NatsStreams, StreamSettings, ensure_stream
from tests.gateways.brokers.builders import (
    SHARES_10,
    OrderKey,
    accounts,
    answer,
    block,
    executions_of,
    filled,
    orders,
)
from tests.servers import ENGINE_USER, PASSWORD, NatsServer, until

pytestmark = pytest.mark.real
SUBJECT = "broker.acme.orders"
ROOT = Path(__file__).parents[4]


class Process:
    """A paper broker as its supervisor runs it."""

    def __init__(self, directory: Path, url: str, **settings: Any) -> None:
        directory.mkdir(exist_ok=True)
        self.ledger_dir = directory / "broker"
        self.log = directory / "broker.log"
        self.config = directory / "broker.json"
        fields = {
            "name": "acme",
            "ledger_dir": str(self.ledger_dir),
            "nats_url": url,
            "user": "broker_acme",
            "password": PASSWORD,
            "inbox_prefix": "_INBOX_acme",
        }
        self.config.write_text(json.dumps(fields | settings))

    def start(self) -> None:
        command = [sys.executable, "-m", "gateways.brokers.paper", "--config", str(self.config)]
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=output)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(30)

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(30)

    def says(self, text: str) -> bool:
        return self.log.exists() and text in self.log.read_text()


@contextmanager
def running(process: Process) -> Iterator[Process]:
    process.start()
    try:
        yield process
    finally:
        process.kill()


class Gateway:
    """Sends each block until it is answered, and reads the executions stream."""

    def __init__(self, connection: NatsConnection) -> None:
        self.connection = connection
        self.streams = NatsStreams(connection)
        self.sections: list[ExecutionsReported] = []
        self.arrived = asyncio.Event()

    async def submit(self, data: bytes) -> tuple[int, int, str]:
        async with asyncio.timeout(60):
            while True:
                try:
                    reply = await self.connection.request(SUBJECT, data, deadline_s=2)
                except OperatingError:
                    await asyncio.sleep(0.02)
                    continue
                taken = answer(reply.data)
                return taken.accepted, taken.repeated, taken.refusal

    async def read_until(self, count: int) -> None:
        """Read the whole stream until it holds a number of distinct executions."""
        feed = await self.streams.open_feed(
            "EXECUTIONS", "executions.acme.>", after_sequence=0, arrived=self.arrived
        )
        self.sections.clear()
        async with asyncio.timeout(60):
            while len(executions_of(self.sections)) < count:
                await self.arrived.wait()
                self.arrived.clear()
                for message in feed.take(1 << 20):
                    self.sections += decode_block(message.data)
        await feed.close()


@asynccontextmanager
async def gateway(url: str) -> AsyncIterator[Gateway]:
    connection = await connect_nats(
        NatsConnectionOptions(url=url, user=ENGINE_USER, password=PASSWORD)
    )
    stream = StreamSettings(name="EXECUTIONS", subjects=("executions.>",), bytes_max=1 << 30)
    await ensure_stream(connection, stream)
    try:
        yield Gateway(connection)
    finally:
        await connection.close()


def ledger_orders(directory: Path) -> list[OrderKey]:
    return [
        tuple(row)
        for taken in LedgerReader(directory).orders()
        for row in zip(
            *(column.tolist() for column in (*taken[:6], taken.subscriptions)),
            strict=True,
        )
    ]


async def test_p1_killed_again_and_again_every_order_is_executed_exactly_once(
    own_nats_server: NatsServer, tmp_path: Path
) -> None:
    process = Process(tmp_path, own_nats_server.url, fill_delay_ms=3, partial_fill_slices=2)
    async with gateway(own_nats_server.url) as ours:
        with running(process):
            await ours.submit(block(accounts(0), accounts(1)))
            for cause in range(1, 61):
                blocks = [
                    block(orders(range(cause % 3, 40, 2), follower_shard=shard, cause_number=cause))
                    for shard in (0, 1)
                ]
                sending = [asyncio.create_task(ours.submit(each)) for each in blocks]
                if cause % 12 == 0:
                    # Wherever the process is now: between reading, writing, answering and
                    # publishing.
                    await asyncio.wait(sending, return_when=asyncio.FIRST_COMPLETED)
                    process.kill()
                    process.start()
                for sent in await asyncio.gather(*sending):
                    assert sent[2] == ""
            expected = {
                (shard, 0, 0, cause, 0, 0, row)
                for shard in (0, 1)
                for cause in range(1, 61)
                for row in range(cause % 3, 40, 2)
            }
            await ours.read_until(2 * len(expected))
            assert process.stop() == 0
        found = executions_of(ours.sections)
        assert filled(found) == dict.fromkeys(expected, SHARES_10)
        assert len(found) == 2 * len(expected)
        assert sorted(ledger_orders(process.ledger_dir)) == sorted(expected)
        for shard in (0, 1):
            numbers = [
                n for s in ours.sections if s.follower_shard == shard for n in s.numbers.tolist()
            ]
            assert list(dict.fromkeys(numbers)) == list(range(1, len(expected) + 1))


async def test_p10_nats_may_come_late_and_go(own_nats_server: NatsServer, tmp_path: Path) -> None:
    process = Process(tmp_path, own_nats_server.url)
    own_nats_server.kill()
    with running(process):
        await until(lambda: process.says("ledger at frame 0"))
        own_nats_server.start()
        async with gateway(own_nats_server.url) as ours:
            assert await ours.submit(block(accounts(), orders(range(5)))) == (5, 0, "")
            own_nats_server.kill()
            own_nats_server.start()
            accepted, repeated, _ = await ours.submit(block(orders(range(10))))
            assert accepted + repeated == 10
            await ours.read_until(10)
        assert process.stop() == 0


async def test_executions_wait_while_the_stream_is_missing(
    own_nats_server: NatsServer, tmp_path: Path
) -> None:
    with running(Process(tmp_path, own_nats_server.url)) as process:
        async with gateway(own_nats_server.url) as ours:
            await ours.connection.api("STREAM.DELETE.EXECUTIONS", {})
            assert await ours.submit(block(accounts(), orders(range(5)))) == (5, 0, "")
            await until(lambda: process.says("executions acme-"))
            await ensure_stream(
                ours.connection,
                StreamSettings(name="EXECUTIONS", subjects=("executions.>",), bytes_max=1 << 30),
            )
            await ours.read_until(5)


async def test_bad_input_is_refused_and_stops_nothing(
    own_nats_server: NatsServer, tmp_path: Path
) -> None:
    with running(
        Process(tmp_path, own_nats_server.url, duplicate_executions=True, execute_before_reply=True)
    ):
        async with gateway(own_nats_server.url) as ours:
            for junk in (b"", b"{}", bytes(1 << 20), block(orders([1]))):
                assert (await ours.submit(junk))[2] != ""
            assert await ours.submit(block(accounts(), orders([1]))) == (1, 0, "")
            await ours.read_until(1)
            assert len(ours.sections) == 2


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"password": "wrong"}, "refused user 'broker_acme'"),
        ({"ledger_dir": "/proc/none"}, "expected a directory to write in"),
        ({"clock": "sun"}, "Invalid enum value 'sun'"),
    ],
)
async def test_a_wrong_setting_or_surrounding_ends_with_one_line(
    nats_server: NatsServer, tmp_path: Path, changes: dict[str, str], says: str
) -> None:
    process = Process(tmp_path, nats_server.url, **changes)
    process.start()
    assert await asyncio.to_thread(process.process.wait, 30) == 1
    last = process.log.read_text().strip().splitlines()[-1]
    assert last.startswith("paper broker: ")
    assert says in last


async def test_a_second_process_on_one_ledger_gives_up(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    with running(Process(tmp_path, nats_server.url, lock_wait_s=0.1)) as first:
        await until(lambda: first.says("takes orders on"))
        second = Process(
            tmp_path / "second", nats_server.url, ledger_dir=str(first.ledger_dir), lock_wait_s=0.1
        )
        second.start()
        assert await asyncio.to_thread(second.process.wait, 30) == 1
        assert second.says(f"found process {first.process.pid} holding the lock")
