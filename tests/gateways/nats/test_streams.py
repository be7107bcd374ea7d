"""Streams on a real nats-server: settings, limits, credentials, back pressure."""

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest

from actors.errors import OutcomeUnknownError, PermanentError, StreamFullError, TransientError
from actors.ports import EXECUTIONS, INGRESS
from engine.journal.frame import ShardKey, ShardKind
from gateways.nats.bus import NatsBus
from gateways.nats.connection import NatsConnection, connect_nats
from gateways.nats.feed import FeedOptions
from gateways.nats.journal import NatsJournal
from gateways.nats.streams import NatsStreams, StreamSettings, ensure_stream, hold_stream
from tests.gateways.conftest import Adapters, nats_options
from tests.gateways.contracts import take_count
from tests.servers import PASSWORD, NatsServer, free_port, until

pytestmark = pytest.mark.real


@pytest.fixture
async def acme(
    nats_server: NatsServer, connection: NatsConnection
) -> AsyncIterator[NatsConnection]:
    connected = await connect_nats(nats_options(nats_server, "broker_acme"))
    yield connected
    await connected.close()


async def test_stream_of_other_settings_is_refused_by_name(connection: NatsConnection) -> None:
    settings = StreamSettings(name="LIMITED", subjects=("limited.>",), bytes_max=1 << 20)
    await ensure_stream(connection, settings)
    await ensure_stream(connection, settings)
    with pytest.raises(PermanentError, match="expected max_bytes 524288, found 1048576"):
        await ensure_stream(connection, msgspec.structs.replace(settings, bytes_max=1 << 19))
    with pytest.raises(PermanentError, match="expected subjects"):
        await ensure_stream(connection, msgspec.structs.replace(settings, subjects=("other.>",)))


async def test_a_full_stream_grows_with_its_setting(connection: NatsConnection) -> None:
    settings = StreamSettings(name="GROWN", subjects=("grown.>",), bytes_max=10_000)
    await ensure_stream(connection, settings)
    streams = NatsStreams(connection)
    assert await streams.publish("grown.x", b"a" * 5_000) == 1
    with pytest.raises(StreamFullError):
        await streams.publish("grown.x", b"b" * 9_000)
    await ensure_stream(connection, msgspec.structs.replace(settings, bytes_max=100_000))
    assert await streams.publish("grown.x", b"b" * 9_000) == 2
    kept = await streams.message("GROWN", 1)
    assert kept is not None
    assert kept.data == b"a" * 5_000


async def test_a_held_stream_refuses_at_once_and_loses_nothing(connection: NatsConnection) -> None:
    settings = StreamSettings(name="HELD", subjects=("held.>",), bytes_max=1 << 20)
    await ensure_stream(connection, settings)
    streams = NatsStreams(connection)
    assert await streams.publish("held.x", b"before") == 1
    for _ in range(2):
        await hold_stream(connection, "HELD", is_held=True)
    await ensure_stream(connection, settings)
    with pytest.raises(StreamFullError, match="error 10054"):
        await streams.publish("held.x", b"refused")
    for _ in range(2):
        await hold_stream(connection, "HELD", is_held=False)
    assert await streams.publish("held.x", b"after") == 2
    kept = [await streams.message("HELD", sequence) for sequence in (1, 2)]
    assert [message and message.data for message in kept] == [b"before", b"after"]


async def test_a_stream_takes_over_another_time_for_message_ids(connection: NatsConnection) -> None:
    settings = StreamSettings(name="WINDOW", subjects=("window.>",), bytes_max=1 << 20)
    await ensure_stream(connection, settings)
    streams = NatsStreams(connection)
    assert [await streams.publish("window.x", b"1", message_id="same") for _ in range(2)] == [1, 1]
    await ensure_stream(connection, msgspec.structs.replace(settings, duplicate_window_ms=100))
    info = msgspec.json.decode(await connection.api_or_raise("STREAM.INFO.WINDOW", {}))
    assert info["config"]["duplicate_window"] == 100_000_000


async def test_messages_without_an_id_are_stored_each_time(connection: NatsConnection) -> None:
    settings = StreamSettings(name="TWICE", subjects=("twice.>",), bytes_max=1 << 20)
    await ensure_stream(connection, settings)
    streams = NatsStreams(connection)
    assert [await streams.publish("twice.x", b"1") for _ in range(2)] == [1, 2]


async def test_stream_of_another_cluster_is_refused(connection: NatsConnection) -> None:
    settings = StreamSettings(name="OURS", subjects=("ours.>",), bytes_max=1 << 20, cluster_id="a")
    await ensure_stream(connection, settings)
    await ensure_stream(connection, settings, is_known=True)
    await ensure_stream(connection, msgspec.structs.replace(settings, cluster_id=""))
    with pytest.raises(PermanentError, match="expected cluster b to have made it, found cluster a"):
        await ensure_stream(connection, msgspec.structs.replace(settings, cluster_id="b"))


async def test_stream_without_a_cluster_is_taken(connection: NatsConnection) -> None:
    settings = StreamSettings(name="OLD", subjects=("old.>",), bytes_max=1 << 20)
    await ensure_stream(connection, settings)
    await ensure_stream(connection, msgspec.structs.replace(settings, cluster_id="b"))


async def test_stream_that_was_made_before_is_not_made_anew(connection: NatsConnection) -> None:
    settings = StreamSettings(name="GONE", subjects=("gone.>",), bytes_max=1 << 20)
    with pytest.raises(PermanentError, match="GONE: expected the one that this cluster made"):
        await ensure_stream(connection, settings, is_known=True)


async def test_stream_made_by_many_at_once_is_made_once(connection: NatsConnection) -> None:
    settings = StreamSettings(name="RACED", subjects=("raced.>",), bytes_max=1 << 20)
    await asyncio.gather(*(ensure_stream(connection, settings) for _ in range(8)))


async def test_full_stream_refuses_and_loses_nothing(connection: NatsConnection) -> None:
    await ensure_stream(
        connection, StreamSettings(name="SMALL", subjects=("small.>",), bytes_max=10_000)
    )
    streams = NatsStreams(connection)
    await streams.publish("small.x", b"a" * 5_000, message_id="1")
    with pytest.raises(StreamFullError):
        await streams.publish("small.x", b"b" * 9_000, message_id="2")
    arrived = asyncio.Event()
    feed = await streams.open_feed("SMALL", "small.x", after_sequence=0, arrived=arrived)
    assert [message.data[:1] for message in await take_count(feed, arrived, 1)] == [b"a"]
    await feed.close()


async def test_feed_of_a_missing_stream_is_permanent(connection: NatsConnection) -> None:
    with pytest.raises(PermanentError, match="stream not found"):
        await NatsStreams(connection).open_feed(
            "MISSING", "x", after_sequence=0, arrived=asyncio.Event()
        )


async def test_a_server_that_takes_only_smaller_messages_is_refused_at_the_start(
    connection: NatsConnection,
) -> None:
    connection.check_payload(8 << 20)
    with pytest.raises(
        PermanentError, match="messages of 8388609 bytes, found max_payload 8388608; raise it there"
    ):
        connection.check_payload((8 << 20) + 1)


async def test_wrong_credentials_are_refused_at_once(nats_server: NatsServer) -> None:
    with pytest.raises(PermanentError, match="refused user 'engine'"):
        await connect_nats(msgspec.structs.replace(nats_options(nats_server), password="wrong"))


async def test_no_server_is_transient_at_the_deadline(nats_server: NatsServer) -> None:
    options = msgspec.structs.replace(
        nats_options(nats_server), url=f"nats://127.0.0.1:{free_port()}", connect_deadline_s=0.2
    )
    with pytest.raises(TransientError, match="is it running"):
        await connect_nats(options)


async def test_broker_publishes_its_own_fills(
    acme: NatsConnection, nats_adapters: Adapters
) -> None:
    streams = NatsStreams(acme)
    sequence = await streams.publish(
        "fills.acme.nancy", b"{}", message_id=f"acme/{nats_adapters.number}"
    )
    assert sequence > 0


@pytest.mark.parametrize(
    "subject", ["fills.zenith.nancy", "commands.bulk", "journal.creator.0", "executions.zenith.0"]
)
async def test_broker_may_not_publish_for_others(acme: NatsConnection, subject: str) -> None:
    with pytest.raises(PermanentError, match="may not publish"):
        await NatsStreams(acme).publish(subject, b"{}", message_id="forged")


@pytest.mark.parametrize("odd", [b"\xff\xfe", b"a\x0bb", b"a\x0cb", b"a\0b"])
async def test_a_subject_of_odd_bytes_is_delivered_and_the_feed_goes_on(
    nats_server: NatsServer, nats_adapters: Adapters, odd: bytes
) -> None:
    last = await nats_adapters.streams.last_sequence(INGRESS)
    arrived = asyncio.Event()
    feed = await nats_adapters.streams.open_feed(INGRESS, ">", after_sequence=last, arrived=arrived)
    _, writer = await asyncio.open_connection("127.0.0.1", nats_server.port)
    login = msgspec.json.encode({"user": "broker_acme", "pass": PASSWORD, "verbose": False})
    writer.write(
        b"CONNECT %b\r\nPUB fills.acme.%b 1\r\nx\r\nPUB fills.acme.nancy 1\r\ny\r\n" % (login, odd)
    )
    async with asyncio.timeout(10):
        messages = await take_count(feed, arrived, 2)
    assert [message.data for message in messages] == [b"x", b"y"]
    assert messages[0].subject == f"fills.acme.{odd.decode('utf-8', 'replace')}"
    writer.close()
    await writer.wait_closed()
    await feed.close()


@pytest.mark.parametrize("bytes_max", [4 << 20, 64 << 20])
async def test_slow_reader_holds_back_the_server_and_misses_nothing(
    nats_adapters: Adapters, bytes_max: int
) -> None:
    """The buffer stays bounded while 100 messages of a mebibyte wait. Every one of them comes, in
    order.
    """
    subject = f"executions.slow{nats_adapters.number}.0"
    for number in range(100):
        await nats_adapters.streams.publish(
            subject, bytes([number]) * (1 << 20), message_id=f"{subject}/{number}"
        )
    arrived = asyncio.Event()
    streams = nats_adapters.streams
    assert isinstance(streams, NatsStreams)
    feed = await streams.open_feed(
        EXECUTIONS, subject, after_sequence=0, arrived=arrived, bytes_max=bytes_max
    )
    numbers: list[int] = []
    highest = 0
    async with asyncio.timeout(60):
        while len(numbers) < 100:
            await arrived.wait()
            arrived.clear()
            while taken := feed.take(1):
                highest = max(highest, feed.statistics().bytes)
                numbers += [message.data[0] for message in taken]
                await asyncio.sleep(0)
    await feed.close()
    assert numbers == list(range(100))
    assert highest <= min(bytes_max, 41 << 20)


async def test_eight_mebibyte_messages_pass_a_small_buffer(nats_adapters: Adapters) -> None:
    subject = f"executions.large{nats_adapters.number}.0"
    for number in range(4):
        await nats_adapters.streams.publish(
            subject, bytes([number]) * ((8 << 20) - 4096), message_id=f"{subject}/{number}"
        )
    arrived = asyncio.Event()
    feed = await nats_adapters.streams.open_feed(
        EXECUTIONS, subject, after_sequence=0, arrived=arrived, bytes_max=1 << 20
    )
    taken = await take_count(feed, arrived, 4)
    await feed.close()
    assert [message.data[0] for message in taken] == [0, 1, 2, 3]


async def test_message_with_forged_control_headers_is_delivered(
    connection: NatsConnection, nats_adapters: Adapters
) -> None:
    subject = f"fills.acme.forger{nats_adapters.number}"
    await connection.request(subject, b"", headers={"Status": "100", "Nats-Last-Consumer": "999"})
    await nats_adapters.streams.publish(subject, b"next", message_id=f"{subject}/2")
    arrived = asyncio.Event()
    feed = await nats_adapters.streams.open_feed(
        INGRESS, subject, after_sequence=0, arrived=arrived
    )
    assert [message.data for message in await take_count(feed, arrived, 2)] == [b"", b"next"]
    await feed.close()


async def test_a_feed_whose_consumer_is_deleted_makes_a_new_one(
    connection: NatsConnection, nats_adapters: Adapters
) -> None:
    streams = NatsStreams(connection, feed=FeedOptions(heartbeat_s=0.1))
    subject = f"executions.gone{nats_adapters.number}.0"
    arrived = asyncio.Event()
    feed = await streams.open_feed(EXECUTIONS, subject, after_sequence=0, arrived=arrived)
    await streams.publish(subject, b"1", message_id=f"{subject}/1")
    await take_count(feed, arrived, 1)
    await connection.api_or_raise(f"CONSUMER.DELETE.{EXECUTIONS}.{feed._consumer}", {})
    await streams.publish(subject, b"2", message_id=f"{subject}/2")
    assert [message.data for message in await take_count(feed, arrived, 1)] == [b"2"]
    assert feed.statistics().repairs == {"silence": 1}
    await feed.close()


async def test_closed_feeds_leave_no_consumer_and_no_task(
    connection: NatsConnection, nats_adapters: Adapters
) -> None:
    stream = f"CLOSED{nats_adapters.number}"
    await ensure_stream(
        connection,
        StreamSettings(
            name=stream, subjects=(f"closed{nats_adapters.number}.>",), bytes_max=1 << 20
        ),
    )
    tasks = asyncio.all_tasks()
    feed = await NatsStreams(connection).open_feed(
        stream, f"closed{nats_adapters.number}.x", after_sequence=0, arrived=asyncio.Event()
    )
    for _ in range(3):
        feed.reset(0)
    await feed.close()
    assert asyncio.all_tasks() == tasks
    async with asyncio.timeout(10):
        while msgspec.json.decode(await connection.api_or_raise(f"CONSUMER.NAMES.{stream}", {}))[
            "consumers"
        ]:
            pass


async def test_subscription_is_heard_by_other_connections_at_once(
    acme: NatsConnection, nats_adapters: Adapters
) -> None:
    """A request right after `subscribe` returns finds its receiver, every time."""
    answers: set[asyncio.Future[None]] = set()
    bus = NatsBus(acme)
    for number in range(50):
        subject = f"broker.acme.n{nats_adapters.number}x{number}"
        subscription = await bus.subscribe(
            subject, lambda request: answers.add(asyncio.ensure_future(request.reply(b"y")))
        )
        assert await nats_adapters.bus.request(subject, b"", timeout_s=5) == b"y"
        await subscription.close()


async def test_lost_connection_fails_requests_now_and_sends_nothing_late(
    own_nats_server: NatsServer,
) -> None:
    """A request under way is an unknown outcome. One without a connection is refused, and never
    sent after the reconnect.
    """
    connection = await connect_nats(nats_options(own_nats_server))
    received: list[str] = []
    await connection.subscribe(
        "late.*", lambda subject, reply, data, headers: received.append(subject)
    )
    await connection.subscribe("silent", lambda subject, reply, data, headers: None)
    waiting = asyncio.ensure_future(connection.request("silent", b"", deadline_s=60))
    await asyncio.sleep(0)
    own_nats_server.kill()
    with pytest.raises(OutcomeUnknownError, match="connection was lost"):
        async with asyncio.timeout(10):
            await waiting
    with pytest.raises(TransientError, match="found none"):
        await connection.publish("late.one", b"")
    with pytest.raises(TransientError):
        await NatsJournal(connection).append(
            ShardKey(ShardKind.CREATOR, 0), b"", message_id="x", expected_sequence=0
        )
    own_nats_server.start()
    await until(lambda: connection.is_connected)
    await connection.publish("late.two", b"")
    await until(lambda: bool(received))
    assert received == ["late.two"]
    await connection.close()
