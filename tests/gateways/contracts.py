"""The duties of every adapter of a port: one abstract suite per port, run on the twin and on the
real adapter.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import pytest

from actors.errors import OutcomeUnknownError, TransientError
from actors.ports import EXECUTIONS, Feed, Request, Snapshot, Snapshots, StoredMessage
from engine.journal.frame import ShardKey
from tests.gateways.conftest import Adapters

Receive = Callable[[Request], None]


async def take_count(
    feed: Feed, arrived: asyncio.Event, messages_count: int
) -> list[StoredMessage]:
    """Take exactly so many messages. Raises: TimeoutError."""
    taken: list[StoredMessage] = []
    async with asyncio.timeout(20):
        while len(taken) < messages_count:
            await arrived.wait()
            arrived.clear()
            taken += feed.take(messages_count - len(taken))
    return taken


class JournalContract:
    @pytest.fixture
    def adapters(self) -> Adapters:
        raise NotImplementedError

    async def fill(self, adapters: Adapters, count: int, size: int = 10) -> list[int]:
        last, sequences = 0, []
        for number in range(1, count + 1):
            last = await adapters.journal.append(
                adapters.key,
                bytes([number]) * size,
                message_id=f"{adapters.key}/1/{number}",
                expected_sequence=last,
            )
            sequences.append(last)
        return sequences

    async def test_empty_subject_has_no_tail_and_no_frames(self, adapters: Adapters) -> None:
        assert await adapters.journal.tail(adapters.key) is None
        assert await adapters.journal.read(adapters.key, after_sequence=0) == []

    async def test_frames_are_read_back_in_order_after_a_sequence(self, adapters: Adapters) -> None:
        sequences = await self.fill(adapters, 5)
        frames = await adapters.journal.read(adapters.key, after_sequence=sequences[1])
        assert [frame.sequence for frame in frames] == sequences[2:]
        assert [frame.data[0] for frame in frames] == [3, 4, 5]
        assert {frame.subject for frame in frames} == {adapters.key.subject}
        assert await adapters.journal.read(adapters.key, after_sequence=sequences[-1]) == []

    async def test_tail_is_the_last_frame(self, adapters: Adapters) -> None:
        sequences = await self.fill(adapters, 3)
        assert await adapters.journal.tail(adapters.key) == StoredMessage(
            sequences[-1], adapters.key.subject, bytes([3]) * 10
        )

    async def test_read_takes_as_many_frames_as_fit_but_at_least_one(
        self, adapters: Adapters
    ) -> None:
        sequences = await self.fill(adapters, 4, size=100_000)
        one = await adapters.journal.read(adapters.key, after_sequence=0, bytes_max=10)
        assert [frame.sequence for frame in one] == sequences[:1]
        some = await adapters.journal.read(adapters.key, after_sequence=0, bytes_max=350_000)
        assert [frame.sequence for frame in some] == sequences[: len(some)]
        assert 2 <= len(some) <= 3

    async def test_other_shards_frames_are_not_read(self, adapters: Adapters) -> None:
        sequences = await self.fill(adapters, 2)
        other = ShardKey(adapters.key.kind, adapters.key.shard + 100_000)
        await adapters.journal.append(other, b"x", message_id=f"{other}/1/1", expected_sequence=0)
        last = await adapters.journal.append(
            adapters.key, b"y", message_id=f"{adapters.key}/1/3", expected_sequence=sequences[-1]
        )
        frames = await adapters.journal.read(adapters.key, after_sequence=0)
        assert [frame.sequence for frame in frames] == [*sequences, last]

    async def test_refused_expectation_is_an_unknown_outcome_and_stores_nothing(
        self, adapters: Adapters
    ) -> None:
        """P5: a zombie's append after its successor's fence changes nothing."""
        sequences = await self.fill(adapters, 2)
        fence = await adapters.journal.append(
            adapters.key,
            b"fence",
            message_id=f"{adapters.key}/2/3",
            expected_sequence=sequences[-1],
        )
        with pytest.raises(OutcomeUnknownError):
            await adapters.journal.append(
                adapters.key,
                b"zombie",
                message_id=f"{adapters.key}/1/3",
                expected_sequence=sequences[-1],
            )
        tail = await adapters.journal.tail(adapters.key)
        assert tail is not None
        assert (tail.sequence, tail.data) == (fence, b"fence")

    async def test_first_append_expects_an_empty_subject(self, adapters: Adapters) -> None:
        await self.fill(adapters, 1)
        with pytest.raises(OutcomeUnknownError):
            await adapters.journal.append(
                adapters.key, b"x", message_id=f"{adapters.key}/9/1", expected_sequence=0
            )

    async def test_repeated_append_is_not_stored_twice(self, adapters: Adapters) -> None:
        """An append whose answer was lost is found at the tail. Sent again, it changes nothing."""
        sequences = await self.fill(adapters, 1)
        message = {"message_id": f"{adapters.key}/1/2", "expected_sequence": sequences[0]}
        stored = await adapters.journal.append(adapters.key, b"frame", **message)  # type: ignore[arg-type]
        # One server tests the expectation before the message id, a cluster after it.
        with contextlib.suppress(OutcomeUnknownError):
            assert await adapters.journal.append(adapters.key, b"frame", **message) == stored  # type: ignore[arg-type]
        assert [
            frame.sequence for frame in await adapters.journal.read(adapters.key, after_sequence=0)
        ] == [
            *sequences,
            stored,
        ]


class StreamsContract:
    @pytest.fixture
    def adapters(self) -> Adapters:
        raise NotImplementedError

    def subject(self, adapters: Adapters) -> str:
        return f"executions.b{adapters.number}.0"

    async def publish(self, adapters: Adapters, first: int, count: int) -> list[int]:
        return [
            await adapters.streams.publish(
                self.subject(adapters), b"%d" % number, message_id=f"{adapters.number}/{number}"
            )
            for number in range(first, first + count)
        ]

    async def test_a_feed_reads_stored_and_new_messages_in_order(self, adapters: Adapters) -> None:
        arrived = asyncio.Event()
        await self.publish(adapters, 0, 3)
        feed = await adapters.streams.open_feed(
            EXECUTIONS, self.subject(adapters), after_sequence=0, arrived=arrived
        )
        first = await take_count(feed, arrived, 3)
        later = await self.publish(adapters, 3, 2)
        second = await take_count(feed, arrived, 2)
        await feed.close()
        assert [message.data for message in first + second] == [b"0", b"1", b"2", b"3", b"4"]
        assert [message.sequence for message in second] == later
        assert {message.subject for message in first} == {self.subject(adapters)}

    async def test_the_last_message_of_a_subject_is_read(self, adapters: Adapters) -> None:
        assert await adapters.streams.last_message(EXECUTIONS, self.subject(adapters)) is None
        sequences = await self.publish(adapters, 0, 3)
        await adapters.streams.publish(
            f"executions.c{adapters.number}.0", b"other", message_id=f"{adapters.number}/other"
        )
        last = await adapters.streams.last_message(EXECUTIONS, self.subject(adapters))
        assert last == (sequences[-1], self.subject(adapters), b"2")

    async def test_the_end_of_a_stream_is_reported(self, adapters: Adapters) -> None:
        (sequence,) = await self.publish(adapters, 0, 1)
        assert await adapters.streams.last_sequence(EXECUTIONS) == sequence

    async def test_one_message_of_a_stream_is_read_by_its_sequence(
        self, adapters: Adapters
    ) -> None:
        sequences = await self.publish(adapters, 0, 2)
        found = await adapters.streams.message(EXECUTIONS, sequences[0])
        assert found == (sequences[0], self.subject(adapters), b"0")
        assert await adapters.streams.message(EXECUTIONS, sequences[1] + 1000) is None

    async def test_messages_are_read_in_batches_that_fit(self, adapters: Adapters) -> None:
        sequences = await self.publish(adapters, 0, 5)
        read = adapters.streams.read
        first = sequences[0] - 1
        found = await read(EXECUTIONS, after_sequence=first)
        assert [message.sequence for message in found] == sequences
        assert [message.data for message in found] == [b"0", b"1", b"2", b"3", b"4"]
        few = await read(EXECUTIONS, after_sequence=first, bytes_max=1)
        assert [message.sequence for message in few] == sequences[:1]
        assert await read(EXECUTIONS, after_sequence=sequences[-1]) == []

    async def test_feed_starts_after_a_sequence(self, adapters: Adapters) -> None:
        arrived = asyncio.Event()
        sequences = await self.publish(adapters, 0, 4)
        feed = await adapters.streams.open_feed(
            EXECUTIONS, self.subject(adapters), after_sequence=sequences[1], arrived=arrived
        )
        taken = await take_count(feed, arrived, 2)
        await feed.close()
        assert [message.sequence for message in taken] == sequences[2:]

    async def test_feed_filters_by_subject_with_wildcards(self, adapters: Adapters) -> None:
        arrived = asyncio.Event()
        await self.publish(adapters, 0, 1)
        await adapters.streams.publish(
            f"executions.c{adapters.number}.0", b"other", message_id=f"other/{adapters.number}"
        )
        await adapters.streams.publish(
            f"executions.b{adapters.number}.7", b"7", message_id=f"seven/{adapters.number}"
        )
        feed = await adapters.streams.open_feed(
            EXECUTIONS, f"executions.b{adapters.number}.*", after_sequence=0, arrived=arrived
        )
        taken = await take_count(feed, arrived, 2)
        await feed.close()
        assert [message.data for message in taken] == [b"0", b"7"]

    async def test_take_gives_at_most_what_is_asked(self, adapters: Adapters) -> None:
        arrived = asyncio.Event()
        await self.publish(adapters, 0, 3)
        feed = await adapters.streams.open_feed(
            EXECUTIONS, self.subject(adapters), after_sequence=0, arrived=arrived
        )
        assert len(await take_count(feed, arrived, 1)) == 1
        arrived.set()
        assert [message.data for message in await take_count(feed, arrived, 2)] == [b"1", b"2"]
        assert feed.take(10) == []
        await feed.close()

    async def test_a_reset_feed_reads_again(self, adapters: Adapters) -> None:
        arrived = asyncio.Event()
        sequences = await self.publish(adapters, 0, 3)
        feed = await adapters.streams.open_feed(
            EXECUTIONS, self.subject(adapters), after_sequence=0, arrived=arrived
        )
        await take_count(feed, arrived, 3)
        feed.reset(sequences[0])
        again = await take_count(feed, arrived, 2)
        await feed.close()
        assert [message.sequence for message in again] == sequences[1:]

    async def test_same_message_id_is_stored_once(self, adapters: Adapters) -> None:
        first = await self.publish(adapters, 0, 1)
        assert await self.publish(adapters, 0, 1) == first

    async def test_publish_where_no_stream_listens_is_transient(self, adapters: Adapters) -> None:
        with pytest.raises(TransientError):
            await adapters.streams.publish("nowhere.at.all", b"", message_id="x")


class BusContract:
    @pytest.fixture
    def adapters(self) -> Adapters:
        raise NotImplementedError

    async def test_request_is_answered(self, adapters: Adapters) -> None:
        tasks = []

        def receive(request: Request) -> None:
            tasks.append(asyncio.ensure_future(request.reply(request.data + b"!")))

        subscription = await adapters.bus.subscribe(f"commands.account.a{adapters.number}", receive)
        assert (
            await adapters.bus.request(
                f"commands.account.a{adapters.number}", b"hello", timeout_s=5
            )
            == b"hello!"
        )
        await subscription.close()
        with pytest.raises(TransientError):
            await adapters.bus.request(
                f"commands.account.a{adapters.number}", b"hello", timeout_s=5
            )

    async def test_request_without_an_answer_is_an_unknown_outcome(
        self, adapters: Adapters
    ) -> None:
        subscription = await adapters.bus.subscribe(
            f"silent.{adapters.number}", lambda request: None
        )
        with pytest.raises(OutcomeUnknownError):
            await adapters.bus.request(f"silent.{adapters.number}", b"", timeout_s=0.05)
        await subscription.close()

    async def test_request_to_nobody_is_transient(self, adapters: Adapters) -> None:
        with pytest.raises(TransientError):
            await adapters.bus.request(f"nobody.{adapters.number}", b"", timeout_s=5)

    async def test_publish_reaches_every_subscriber_and_one_of_each_queue(
        self, adapters: Adapters
    ) -> None:
        received: list[tuple[str, bytes]] = []
        done = asyncio.Event()

        def into(name: str) -> Receive:
            def receive(request: Request) -> None:
                received.append((name, request.data))
                if request.subject.endswith("end"):
                    done.set()

            return receive

        subscriptions = [
            await adapters.bus.subscribe(f"heads.{adapters.number}.*", into("plain")),
            await adapters.bus.subscribe(f"heads.{adapters.number}.x", into("queued"), queue="q"),
            await adapters.bus.subscribe(f"heads.{adapters.number}.x", into("queued"), queue="q"),
        ]
        for number in range(10):
            await adapters.bus.publish(f"heads.{adapters.number}.x", b"%d" % number)
        await adapters.bus.publish(f"heads.{adapters.number}.end", b"end")
        async with asyncio.timeout(5):
            await done.wait()
        for subscription in subscriptions:
            await subscription.close()
        assert [data for name, data in received if name == "plain"] == [
            b"%d" % n for n in range(10)
        ] + [b"end"]
        assert sorted(data for name, data in received if name == "queued") == [
            b"%d" % n for n in range(10)
        ]

    async def test_reply_to_a_message_that_wants_none_does_nothing(
        self, adapters: Adapters
    ) -> None:
        requests: list[Request] = []
        arrived = asyncio.Event()

        def receive(request: Request) -> None:
            requests.append(request)
            arrived.set()

        subscription = await adapters.bus.subscribe(f"hosts.{adapters.number}", receive)
        await adapters.bus.publish(f"hosts.{adapters.number}", b"beat")
        async with asyncio.timeout(5):
            await arrived.wait()
        await requests[0].reply(b"thanks")
        await subscription.close()


async def save_whole(snapshots: Snapshots, snapshot: Snapshot) -> bool:
    """Save a snapshot whose chunks are all there."""

    async def chunks() -> AsyncIterator[bytes]:
        for chunk in snapshot.chunks:
            yield chunk

    place = snapshot._replace(chunks=(), digest=b"")
    return await snapshots.save(place, chunks(), lambda: snapshot.digest)


class SnapshotsContract:
    @pytest.fixture
    def snapshots(self) -> Snapshots:
        raise NotImplementedError

    def snapshot(
        self, key: ShardKey, epoch: int, number: int, chunks: tuple[bytes, ...] = (b"state",)
    ) -> Snapshot:
        return Snapshot(key, epoch, number, number * 10, b"h" * 32, b"s" * 32, chunks)

    async def test_newest_comes_first_and_two_are_kept(
        self, snapshots: Snapshots, shard_key: ShardKey
    ) -> None:
        for number in (1, 2, 3):
            assert await save_whole(snapshots, self.snapshot(shard_key, 1, number))
        assert [found.number for found in await snapshots.newest(shard_key)] == [3, 2]

    async def test_without_a_saved_snapshot_none_is_found(
        self, snapshots: Snapshots, shard_key: ShardKey
    ) -> None:
        assert await snapshots.newest(shard_key) == []

    async def test_state_is_read_back_whole(
        self, snapshots: Snapshots, shard_key: ShardKey
    ) -> None:
        chunks = (bytes(range(256)) * 40_000, b"", b"end")
        await save_whole(snapshots, self.snapshot(shard_key, 3, 7, chunks))
        (found,) = await snapshots.newest(shard_key)
        assert b"".join(found.chunks) == b"".join(chunks)
        assert found._replace(chunks=()) == self.snapshot(shard_key, 3, 7, ())

    @pytest.mark.parametrize(("epoch", "number"), [(2, 5), (2, 4), (1, 9)])
    async def test_older_or_equal_does_not_overwrite(
        self, snapshots: Snapshots, shard_key: ShardKey, epoch: int, number: int
    ) -> None:
        """P5: a superseded owner's snapshot is refused."""
        await save_whole(snapshots, self.snapshot(shard_key, 2, 5, (b"new",)))
        assert not await save_whole(snapshots, self.snapshot(shard_key, epoch, number, (b"old",)))
        assert [found.chunks for found in await snapshots.newest(shard_key)] == [(b"new",)]

    async def test_higher_epoch_with_lower_number_is_newer(
        self, snapshots: Snapshots, shard_key: ShardKey
    ) -> None:
        await save_whole(snapshots, self.snapshot(shard_key, 1, 9))
        assert await save_whole(snapshots, self.snapshot(shard_key, 2, 8))
        assert [found.epoch for found in await snapshots.newest(shard_key)] == [2, 1]

    async def test_each_shard_has_its_own_snapshots(
        self, snapshots: Snapshots, shard_key: ShardKey
    ) -> None:
        await save_whole(snapshots, self.snapshot(shard_key, 1, 1))
        assert await snapshots.newest(ShardKey(shard_key.kind, shard_key.shard + 100_000)) == []

    async def test_savers_at_once_leave_the_newest(
        self, snapshots: Snapshots, shard_key: ShardKey
    ) -> None:
        saved = await asyncio.gather(
            *(save_whole(snapshots, self.snapshot(shard_key, 1, number)) for number in range(1, 9))
        )
        assert any(saved)
        assert (await snapshots.newest(shard_key))[0].number == 8
