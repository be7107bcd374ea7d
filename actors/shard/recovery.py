"""Start is always recovery: fence, restore the newest snapshot, replay the journal up to one's own
fence.

    STARTING -> FENCING -> REPLAYING -> LIVE -> LOST | FAILED | CRASHED | STOPPED

The state after it is the state of every frame before the fence, bit for bit (P6). A snapshot that
is damaged, or that a newer version wrote, is passed over: there is an older one, and the journal
holds everything. One that the journal does not bear out, or a broken chain, is fail-stop for the
shard.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from typing import Any, Protocol

import structlog

from actors.counters import Counters
from actors.errors import OperatingError
from actors.journal.foreign_messages import ForeignMessages
from actors.journal.reading import read_after
from actors.journal.writer import JournalWriter
from actors.ports import Journal, Snapshot, Snapshots, StoredMessage
from actors.retry import retry_until_done
from engine.columns.codec import ColumnError
from engine.columns.snapshot import (
    STATE_LAYOUT,
    NewerSnapshotError,
    SnapshotSchema,
    StoredState,
    decode_snapshot,
    newer_layout,
)
from engine.columns.state import State, state_digest
from engine.columns.state_copy import StateCopy
from engine.journal.chain import Chain, ChainBrokenError
from engine.journal.frame import FrameHeader, ShardKey, decode_events, is_frame

_log = structlog.get_logger()

SNAPSHOT_READ_S_MAX = 10.0
TAIL_READ_BYTES = 1 << 20
BATCH_FRAMES = 32
BATCH_BYTES = 1 << 17
"""Limits of the frames that are applied at a stretch, which takes a few milliseconds. More at
once saves little and delays everything else on the loop.
"""


class Phase(Enum):
    """The phase of a shard's owner."""

    STARTING = "starting"
    FENCING = "fencing"
    REPLAYING = "replaying"
    LIVE = "live"
    LOST = "lost"
    FAILED = "failed"
    CRASHED = "crashed"
    STOPPED = "stopped"

    @property
    def is_over(self) -> bool:
        """True if an owner in this phase decides nothing any more."""
        return self is Phase.STOPPED or self.is_broken_off

    @property
    def is_broken_off(self) -> bool:
        """True if an owner ended in this phase without having been asked to, perhaps in
        mid-turn.
        """
        return self in (Phase.LOST, Phase.FAILED, Phase.CRASHED)


class ShardState(Protocol):
    """A state that frames change."""

    @property
    def schema(self) -> SnapshotSchema:
        """The columns and records of its snapshots."""
        ...

    def apply(self, header: FrameHeader, events: list[Any]) -> None:
        """Change the state by one frame."""
        ...

    def apply_frames(self, frames: Sequence[tuple[FrameHeader, list[Any]]]) -> None:
        """Change the state by frames in their order: the same as one by one, and faster."""
        ...

    def columns(self) -> State:
        """Return the state as columns, for the hash."""
        ...

    def copy(self) -> StateCopy:
        """Begin to encode the state as it is now, as a snapshot."""
        ...

    def restore(self, stored: StoredState) -> None:
        """Take a state back from a snapshot."""
        ...


async def recover(
    writer: JournalWriter,
    journal: Journal,
    snapshots: Snapshots,
    state: ShardState,
    *,
    now_ns: int,
    entered: Callable[[Phase], None],
    replayed: Callable[[int, FrameHeader, list[Any]], None] = lambda sequence, header, events: None,
    foreign: ForeignMessages | None = None,
) -> int:
    """Take a shard over and bring its state up to the fence. Returns: the number of the frame whose
    snapshot was restored, 0 for none.

    Raises: ChainBrokenError.
    """
    entered(Phase.FENCING)
    await writer.fence(now_ns)
    entered(Phase.REPLAYING)
    began_s = time.monotonic()
    found = await _sound_snapshot(snapshots, writer.key, state.schema)
    read_s = time.monotonic()
    chain = Chain(writer.key)
    foreign = foreign or ForeignMessages(str(writer.key), Counters())
    tail = _Tail(journal, writer.key, 0 if found is None else found[0].sequence)
    try:
        if found is not None:
            await _restore(*found, journal, state, chain, writer)
        restored = 0 if found is None else found[0].number
        # Its columns are not needed any more, and large.
        del found
        restored_s = time.monotonic()
        await replay(tail, state, chain, foreign, last_sequence=writer.sequence, replayed=replayed)
    finally:
        await tail.close()
    _log.info(
        "recovered",
        shard=str(writer.key),
        snapshot=restored,
        number=chain.number,
        snapshot_read_s=round(read_s - began_s, 3),
        restored_s=round(restored_s - read_s, 3),
        replayed_s=round(time.monotonic() - restored_s, 3),
    )
    if chain.hash != writer.hash:
        raise ChainBrokenError(
            f"journal of {writer.key}: expected it to end with this "
            f"owner's fence, found frame {chain.number}"
        )
    return restored


async def replay(
    tail: "_Tail",
    state: ShardState,
    chain: Chain,
    foreign: ForeignMessages,
    *,
    last_sequence: int,
    replayed: Callable[[int, FrameHeader, list[Any]], None] = lambda sequence, header, events: None,
) -> None:
    """Apply the frames of a tail up to a sequence. Raises: ChainBrokenError."""
    while tail.after_sequence < last_sequence:
        messages = await tail.next(last_sequence)
        if not messages:
            raise ChainBrokenError(
                f"journal of {chain.key}: expected frames up to sequence "
                f"{last_sequence}, found none after {tail.after_sequence}"
            )
        for some in _batches(messages, last_sequence):
            frames = [
                (message.sequence, *decoded)
                for message in some
                if (decoded := _accepted(chain, message, foreign))
            ]
            state.apply_frames([frame[1:] for frame in frames])
            for frame in frames:
                replayed(*frame)
            # Replaying shares its loop with the heartbeat and with shards that are live.
            await asyncio.sleep(0)


def _batches(messages: list[StoredMessage], last_sequence: int) -> Iterator[list[StoredMessage]]:
    """Split frames up to a sequence into batches that are applied at a stretch."""
    some: list[StoredMessage] = []
    size = 0
    for message in messages:
        if message.sequence > last_sequence:
            break
        if some and (len(some) == BATCH_FRAMES or size + len(message.data) > BATCH_BYTES):
            yield some
            some, size = [], 0
        some.append(message)
        size += len(message.data)
    if some:
        yield some


def _accepted(
    chain: Chain, message: StoredMessage, foreign: ForeignMessages
) -> tuple[FrameHeader, list[Any]] | None:
    """Decode a frame; None when it does not count."""
    header = chain.accept(message.data)
    if header is None and not is_frame(message.data):
        foreign.step_over(message)
    return None if header is None else (header, decode_events(header, message.data))


class _Tail:
    """A journal read ahead: the frames that come next are on their way while the last ones are
    applied, or a snapshot restored.
    """

    def __init__(self, journal: Journal, key: ShardKey, after_sequence: int) -> None:
        self.after_sequence = after_sequence
        self._journal = journal
        self._key = key
        self._reading = self._read()

    def _read(self) -> "asyncio.Task[list[StoredMessage]]":
        key, after = self._key, self.after_sequence
        return asyncio.create_task(
            read_after(self._journal, key, after, bytes_max=TAIL_READ_BYTES),
            name=f"tail of {key}",
        )

    async def next(self, last_sequence: int) -> list[StoredMessage]:
        """Take the next frames and have those after them read, up to a sequence."""
        messages = await self._reading
        if messages:
            self.after_sequence = messages[-1].sequence
            if self.after_sequence < last_sequence:
                self._reading = self._read()
        return messages

    async def close(self) -> None:
        """Read no further."""
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)


async def _sound_snapshot(
    snapshots: Snapshots, key: ShardKey, schema: SnapshotSchema
) -> tuple[Snapshot, StoredState] | None:
    """Read the newest snapshot that can be read. Returns: the snapshot without its bytes, which are
    large, and its columns.
    """
    passed_over: set[tuple[int, int]] = set()
    while True:
        found = [
            snapshot
            for snapshot in await _newest_snapshots(snapshots, key, len(passed_over) + 1)
            if (snapshot.epoch, snapshot.number) not in passed_over
        ]
        if not found:
            return None
        newest = found[0]
        try:
            # In a thread, here and below: it takes a second for a large state, and the heart must
            # beat.
            stored = await asyncio.to_thread(_decoded, newest, schema)
            return newest._replace(chunks=()), stored
        except ColumnError as error:
            kind, advice = "snapshot_damaged", f"{error}; check the disk of the database"
        except NewerSnapshotError as error:
            kind, advice = "snapshot_newer", str(error)
        passed_over.add((newest.epoch, newest.number))
        text = (
            f"{key}, snapshot at frame {newest.number} is passed over, the one before it or the "
            f"journal is taken instead: {advice}"
        )
        _log.error(kind, shard=str(key), error=text, alarm=True)


async def _newest_snapshots(snapshots: Snapshots, key: ShardKey, count: int) -> list[Snapshot]:
    """Read the newest snapshots. The journal holds everything, so a database that stays away only
    costs time.
    """
    try:
        async with asyncio.timeout(SNAPSHOT_READ_S_MAX):
            return await retry_until_done(
                f"snapshots of {key}", lambda: snapshots.newest(key, count=count)
            )
    except (TimeoutError, OperatingError) as error:
        _log.warning("replaying_whole_journal", shard=str(key), error=repr(error))
        return []


async def _restore(
    snapshot: Snapshot,
    stored: StoredState,
    journal: Journal,
    state: ShardState,
    chain: Chain,
    writer: JournalWriter,
) -> None:
    if snapshot.sequence > writer.sequence:
        raise ChainBrokenError(
            f"{writer.key}: expected a snapshot of the journal's past, found one at "
            f"sequence {snapshot.sequence} beyond {writer.sequence};"
            " the journal lost its end: restore it"
        )
    messages = await read_after(journal, writer.key, snapshot.sequence - 1, bytes_max=1)
    if not messages or messages[0].sequence != snapshot.sequence:
        raise ChainBrokenError(
            f"{writer.key}: expected the snapshot's frame at sequence "
            f"{snapshot.sequence}, found none; the journal lost it: restore it"
        )
    chain.rejoin(messages[0].data, number=snapshot.number, hash=snapshot.hash)
    await asyncio.to_thread(state.restore, stored)


def _decoded(snapshot: Snapshot, schema: SnapshotSchema) -> StoredState:
    """Decode a snapshot. Raises: NewerSnapshotError; ColumnError for one that does not have the
    digest it was stored with.
    """
    if snapshot.layout > STATE_LAYOUT:
        raise NewerSnapshotError(newer_layout(snapshot.layout))
    digest = state_digest()
    for chunk in snapshot.chunks:
        digest.update(chunk)
    if digest.digest() != snapshot.digest:
        raise ColumnError("snapshot: expected the hash it was stored with, found another")
    return decode_snapshot(b"".join(snapshot.chunks), schema)
