"""A shard that lives twice: deciding live, and replayed from the bytes of its frames.

Live events are applied one by one as deciders yield them; `commit` makes them a frame, and the
replica sees nothing but that frame's bytes. `check` demands that both states, and every snapshot
with its tail, hash alike and make the same snapshot (P6). A tail is applied some frames at a time,
as a recovery does. A snapshot is encoded a piece a frame, while the shard goes on.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from random import Random
from typing import Any, Generic, Protocol, TypeVar

from engine.columns.snapshot import SnapshotSchema, StoredState, decode_snapshot
from engine.columns.state import State, encode_state, state_digest, state_hash
from engine.columns.state_copy import StateCopy, copy_digest, encode_copy
from engine.journal.cursors import NO_HASH, Cursor
from engine.journal.frame import FrameHeader, ShardKey, decode_frame, encode_frame, frame_hash


class Shard(Protocol):
    """The methods of both kinds of shards that a journal needs."""

    @property
    def schema(self) -> SnapshotSchema: ...

    def apply(self, header: FrameHeader, events: list[Any]) -> None: ...

    def apply_frames(self, frames: Sequence[tuple[FrameHeader, list[Any]]]) -> None: ...

    def columns(self) -> State: ...

    def copy(self) -> StateCopy: ...

    def restore(self, stored: StoredState) -> None: ...


S = TypeVar("S", bound=Shard)


def apply_batch(shard: Shard, frames: Sequence[bytes], seed: int) -> None:
    """Apply frames in batches of random sizes."""
    rng, at = Random(seed), 0
    while at < len(frames):
        size = rng.choice((1, 2, 5, 30))
        shard.apply_frames([decode_frame(frame) for frame in frames[at : at + size]])
        at += size


class Journaled(Generic[S]):
    """One shard, its replica, its frames and one snapshot of it."""

    def __init__(self, key: ShardKey, make: Callable[[], S]) -> None:
        self._key = key
        self._make = make
        self.live: S = make()
        self._replica: S = make()
        self.frames: list[bytes] = []
        self._taken_at = 0
        self._digest = b""
        self._parts: list[Any] = []
        self._pieces: Iterator[Any] = iter(())
        self.take_snapshot()
        self._previous_hash = NO_HASH

    def commit(
        self, events: list[Any], event_time_ns: int, cursors: Iterable[Cursor] = ()
    ) -> tuple[FrameHeader, list[Any]]:
        """Make a frame of events that the live shard has applied. Returns: what a reader of the
        frame sees.
        """
        header = FrameHeader(
            self._key, 1, len(self.frames) + 1, event_time_ns, self._previous_hash, tuple(cursors)
        )
        data = encode_frame(header, events)
        read_head, read_events = decode_frame(data)
        assert read_head == header
        assert encode_frame(read_head, read_events) == data
        self.live.apply(read_head, [])
        self._replica.apply(read_head, read_events)
        self._encode_some(len(self.frames) % 5)
        self.frames.append(data)
        self._previous_hash = frame_hash(data)
        return read_head, read_events

    def take_snapshot(self) -> None:
        """Begin to keep the state of now as a snapshot's bytes."""
        self._snapshot()
        self._taken_at, self._digest, self._parts = (
            len(self.frames),
            copy_digest(self.live.copy()),
            [],
        )
        self._pieces = self.live.copy().pieces()

    def _encode_some(self, pieces: int) -> None:
        self._parts += islice(self._pieces, pieces)

    def _snapshot(self) -> bytes:
        """Encode the rest of the snapshot. It is the state at the snapshot's frame, even after
        later frames.
        """
        self._parts += self._pieces
        data = b"".join(bytes(piece) for piece in self._parts)
        digest = state_digest()
        digest.update(data)
        assert not data or digest.digest() == self._digest
        return data

    def live_from_snapshot(self) -> None:
        """Let the live shard die and recover from the snapshot and the frames after it."""
        self.live = self._recovered()

    def _recovered(self) -> S:
        recovered = self._make()
        recovered.restore(decode_snapshot(self._snapshot(), recovered.schema))
        apply_batch(recovered, self.frames[self._taken_at :], len(self.frames))
        return recovered

    def check(self) -> None:
        """Demand that four states agree bit for bit in their hash (P6): live, full replay, snapshot
        with tail, and a snapshot of now.

        All but the one restored from layout 3 must also make the same snapshot.
        """
        recovered = self._recovered()
        snapshot = encode_copy(self.live.copy())
        restored, from_layout_3 = self._make(), self._make()
        restored.restore(decode_snapshot(snapshot, restored.schema))
        columns = encode_state(self.live.columns())
        from_layout_3.restore(decode_snapshot(columns, restored.schema))
        expected = state_hash(self.live.columns())
        for state in (self._replica, recovered, restored, from_layout_3):
            assert state_hash(state.columns()) == expected
        for state in (self._replica, recovered, restored):
            assert encode_copy(state.copy()) == snapshot
