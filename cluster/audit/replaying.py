"""P5 and P6: chains that hold, and states that come out the same however they are reached.

A shard's whole journal is replayed. Where a snapshot was taken, the replayed state must make the
same snapshot, and a state restored from it must reach the same end. On a running cluster the live
state is asked for its hash at the very frame that was read.
"""

from collections.abc import Callable

import msgspec
import numpy as np

from actors.errors import OperatingError, PermanentError
from actors.ports import Bus, Snapshot, Snapshots
from actors.shard.recovery import ShardState
from cluster.audit.report import Checks
from engine.columns.codec import ColumnError
from engine.columns.snapshot import (
    STATE_LAYOUT,
    NewerSnapshotError,
    StoredState,
    decode_snapshot,
    newer_layout,
)
from engine.columns.state import State, state_digest, state_hash
from engine.columns.state_copy import PREFIX, copy_digest, encode_copy
from engine.history.frames import JournalFrame
from engine.journal.frame import ShardKey
from engine.values.units import POSITION_UNKNOWN

INSPECT_S_MAX = 2.0

REPLAY_ERRORS = (AssertionError, LookupError, ValueError, TypeError, OverflowError)
"""The errors that a frame may raise when it is applied, if no shard would have written it."""


class Inspected(msgspec.Struct, frozen=True):
    """A live shard's answer about its state."""

    epoch: int
    number: int
    state_hash: str
    settled: bool


class Replay:
    """One shard's states: replayed from the beginning, and restored from its older snapshot."""

    def __init__(
        self,
        key: ShardKey,
        make: Callable[[], ShardState],
        snapshots: list[Snapshot],
        checks: Checks,
    ) -> None:
        self.key = key
        self.state = make()
        self.is_broken = False
        self._make = make
        self._check = checks["P6"]
        self._waiting = sorted(snapshots, key=lambda snapshot: snapshot.number)
        self._restored: ShardState | None = None
        self._restored_from = 0

    def take(self, frame: JournalFrame) -> None:
        """Apply a frame to every state, and meet the snapshot taken there."""
        if self.is_broken:
            return
        try:
            self.state.apply(frame.header, frame.events)
            if self._restored is not None:
                self._restored.apply(frame.header, frame.events)
        except REPLAY_ERRORS as error:
            self.is_broken = True
            self._check.fail(
                f"{self.key}, frame {frame.header.number}: cannot be "
                f"replayed: {type(error).__name__}: {error}"
            )
            return
        while self._waiting and self._waiting[0].number <= frame.header.number:
            self._meet(self._waiting.pop(0), frame)

    def _meet(self, snapshot: Snapshot, frame: JournalFrame) -> None:
        self._check.count("snapshots")
        where = f"{self.key}, snapshot at frame {snapshot.number}"
        if (snapshot.epoch, snapshot.number, snapshot.hash) != (
            frame.header.epoch,
            frame.header.number,
            frame.hash,
        ):
            self._check.fail(
                f"{where}: expected the frame it was taken at in the journal, found another"
            )
            return
        try:
            stored = _decoded(snapshot, self.state)
        except (ColumnError, ValueError) as error:
            self._check.fail(f"{where}: cannot be read: {error}")
            return
        if _digest_of(snapshot) != snapshot.digest:
            self._check.fail(
                f"{where}: expected the hash it was stored with, found its bytes changed"
            )
            return
        restored = self._make()
        restored.restore(stored)
        if not self._is_replayed(snapshot, stored, restored):
            self._check.fail(f"{where}: expected the replayed state, found another")
        if self._restored is None:
            self._restored, self._restored_from = restored, snapshot.number

    def _is_replayed(self, snapshot: Snapshot, stored: StoredState, restored: ShardState) -> bool:
        """Return whether a snapshot is of the replayed state: of all that is in it, or, where an
        older version wrote it, of all that is hashed.
        """
        if not self.state.schema.is_of(stored):
            return state_hash(restored.columns()) == self.digest()
        if copy_digest(self.state.copy()) == snapshot.digest:
            return True
        replayed = decode_snapshot(encode_copy(self.state.copy()), self.state.schema)
        return _lacks_only_positions(stored.columns, replayed.columns)

    def digest(self) -> bytes:
        """Hash the replayed state, empty when it could not be replayed."""
        return b"" if self.is_broken else state_hash(self.state.columns())

    def finish(self, *, is_whole: bool) -> None:
        """Compare the ends; a journal that was not read whole need not reach its snapshots."""
        if self.is_broken:
            return
        for snapshot in self._waiting if is_whole else ():
            self._check.fail(
                f"{self.key}: expected the journal to reach frame "
                f"{snapshot.number} of a snapshot, found it end before"
            )
        if self._restored is not None and state_hash(self._restored.columns()) != self.digest():
            self._check.fail(
                f"{self.key}: expected the snapshot at frame {self._restored_from} and "
                "the frames after it to lead to the replayed state,"
                " found another"
            )
        self._check.count("states")


def _decoded(snapshot: Snapshot, state: ShardState) -> StoredState:
    """Decode a snapshot. Raises: ColumnError, NewerSnapshotError."""
    if snapshot.layout > STATE_LAYOUT:
        raise NewerSnapshotError(newer_layout(snapshot.layout))
    return decode_snapshot(b"".join(snapshot.chunks), state.schema)


def _lacks_only_positions(stored: State, replayed: State) -> bool:
    """Return whether a snapshot differs only where it does not know a creator's position.

    A version of layout 3 keeps no positions. When one ran in between, later snapshots lack those
    of instruments that were not traded since, though the journal tells them.
    """
    return stored.keys() == replayed.keys() and all(
        np.array_equal(column, replayed[name])
        or (
            name.startswith(PREFIX)
            and len(column) == len(replayed[name])
            and bool(((column == replayed[name]) | (column == POSITION_UNKNOWN)).all())
        )
        for name, column in stored.items()
    )


def _digest_of(snapshot: Snapshot) -> bytes:
    digest = state_digest()
    for chunk in snapshot.chunks:
        digest.update(chunk)
    return digest.digest()


async def newest_snapshots(
    snapshots: Snapshots | None, key: ShardKey, checks: Checks
) -> list[Snapshot]:
    """Read a shard's snapshots, none where there is no place for them. One that the database cannot
    give back is a fault.
    """
    if snapshots is None:
        return []
    try:
        return await snapshots.newest(key)
    except PermanentError as error:
        unread = error
    try:
        found = await snapshots.newest(key, count=1)
        which = "the snapshot before the newest"
    except PermanentError as error:
        found, which, unread = [], "the newest snapshot", error
    checks["P6"].fail(
        f"{key}: expected {which} to be readable, found {unread}; check the disk of the database"
    )
    return found


async def inspect(bus: Bus, key: ShardKey) -> Inspected | None:
    """Ask a live shard for the hash of its state; None when it does not answer."""
    subject = f"shards.{key.kind.name.lower()}.{key.shard}.inspect"
    try:
        answer = await bus.request(subject, b"", timeout_s=INSPECT_S_MAX)
    except OperatingError:
        return None
    return msgspec.json.decode(answer, type=Inspected)
