"""Planting faults: recorded journals, ledgers and snapshots with one thing changed, everything
around it made to fit.

A rewritten journal has whole chains again, so only the check that is meant can notice; snapshots,
which carry frame hashes, go with it.
"""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec.structs import replace

from actors.ports import StoredMessage, journal_stream
from cluster.audit import AuditReport, audit
from cluster.history.store import JournalStore
from engine.columns.section_codec import decode_section, encode_section
from engine.journal.cursors import NO_HASH, Source
from engine.journal.frame import (
    FrameHeader,
    ShardKey,
    ShardKind,
    decode_frame,
    encode_frame,
    frame_hash,
)
from engine.messages.blocks import decode_block, encode_block
from gateways.brokers.ledger.ledger import MemoryLedger, walk_frames
from gateways.brokers.ledger.records import MESSAGE_TAG, FrameDraft, record_type, walk_records
from gateways.memory.server import MemoryServer
from gateways.spill import Spill
from tests.audit.memory_cluster import memory_store

FOLLOWERS = tuple(ShardKey(ShardKind.FOLLOWER, shard) for shard in (0, 1))
CREATOR = ShardKey(ShardKind.CREATOR, 0)
GATEWAY = ShardKey(ShardKind.GATEWAY, 0)

Change = Callable[[FrameHeader, list[Any]], list[Any]]


class Recording:
    """The journals, ledger and snapshots of one cluster. Faults are planted in copies of them."""

    def __init__(self, server: MemoryServer, ledger: bytes) -> None:
        self.server = server
        self.ledger = ledger

    def copy(self) -> "Recording":
        """Copy what may be changed."""
        server = MemoryServer()
        for name, stream in self.server.streams.items():
            server.add_stream(name, *stream.subjects)
            copied = server.stream(name)
            copied.messages = list(stream.messages)
            copied.last_of_subject = dict(stream.last_of_subject)
        server.snapshots = {key: list(held) for key, held in self.server.snapshots.items()}
        return Recording(server, self.ledger)

    def store(self, directory: Path, *, is_running: bool = False) -> JournalStore:
        """Show it to an audit."""
        return memory_store(self.server, self.ledger, directory, is_running=is_running)

    async def audit(self, directory: Path, *, is_drained: bool = True) -> AuditReport:
        """Audit it as a stopped cluster, in memory and with all columns in files. Both reports must
        be alike.
        """
        report = await audit(self.store(directory), is_drained=is_drained)
        storage = Spill(directory, bytes_in_memory=0, chunk_rows=16)
        again = await audit(self.store(directory), is_drained=is_drained, storage=storage)
        assert (again.checks, again.notes) == (report.checks, report.notes)
        return report

    # Journals.

    def frames(self, key: ShardKey) -> list[StoredMessage]:
        """List a shard's stored frames."""
        return [
            message
            for message in self.server.stream(journal_stream(key)).messages
            if message.subject == key.subject
        ]

    def put(self, key: ShardKey, frames: list[StoredMessage]) -> None:
        """Replace a shard's stored frames; those left out leave holes in the stream."""
        stream = self.server.stream(journal_stream(key))
        by_sequence = {frame.sequence: frame for frame in frames}
        stream.messages = [
            by_sequence.get(message.sequence, message._replace(subject="gone"))
            if message.subject == key.subject
            else message
            for message in stream.messages
        ]

    def rewrite(self, key: ShardKey, change: Change) -> None:
        """Change a shard's frames and link them again; without its snapshots."""
        previous, rewritten = NO_HASH, []
        hashes: dict[int, bytes] = {}
        for message in self.frames(key):
            header, events = decode_frame(message.data)
            header = msgspec.structs.replace(header, previous_hash=previous)
            data = encode_frame(header, change(header, events))
            previous = hashes[header.number] = frame_hash(data)
            rewritten.append(message._replace(data=data))
        self.put(key, rewritten)
        self.server.snapshots.pop(key, None)
        if key.kind is ShardKind.CREATOR:
            for follower in FOLLOWERS:
                self._see_again(follower, hashes)

    def _see_again(self, key: ShardKey, hashes: dict[int, bytes]) -> None:
        """Let a follower shard have seen the creator frames as they are now."""
        previous, rewritten = NO_HASH, []
        for message in self.frames(key):
            header, events = decode_frame(message.data)
            cursors = tuple(
                cursor._replace(hash=hashes[cursor.number])
                if cursor.source is Source.CREATOR_JOURNAL
                else cursor
                for cursor in header.cursors
            )
            data = encode_frame(
                msgspec.structs.replace(header, previous_hash=previous, cursors=cursors), events
            )
            previous = frame_hash(data)
            rewritten.append(message._replace(data=data))
        self.put(key, rewritten)
        self.server.snapshots.pop(key, None)

    def find(
        self, kind: type, wanted: Callable[[Any], bool] = lambda event: True
    ) -> tuple[ShardKey, int, Any]:
        """Find the first event of a kind in the follower journals. Returns: shard, frame number,
        event.
        """
        for key in FOLLOWERS:
            for message in self.frames(key):
                header, events = decode_frame(message.data)
                for event in events:
                    if isinstance(event, kind) and wanted(event):
                        return key, header.number, event
        raise AssertionError(f"expected a {kind.__name__} as wanted in the recording, found none")

    def change_event(
        self,
        kind: type,
        changed: Callable[[Any], list[Any]],
        wanted: Callable[[Any], bool] = lambda event: True,
    ) -> tuple[ShardKey, int, Any]:
        """Put other events in the place of the first of a kind. Returns: where it was, and what."""
        key, number, event = self.find(kind, wanted)
        is_done = False

        def change(header: FrameHeader, events: list[Any]) -> list[Any]:
            nonlocal is_done
            out: list[Any] = []
            for each in events:
                if (
                    not is_done
                    and header.number == number
                    and isinstance(each, kind)
                    and wanted(each)
                ):
                    is_done = True
                    out += changed(each)
                else:
                    out.append(each)
            return out

        self.rewrite(key, change)
        return key, number, event

    # Ledgers.

    def change_ledger(
        self,
        kind: type,
        changed: Callable[[Any], list[Any]],
        is_meant: Callable[[Any], bool] = lambda section: True,
    ) -> None:
        """Put other records in the place of the first of a kind that is meant; `kind` may be a
        section of a published message.
        """
        ledger, is_done = MemoryLedger(), False
        for frame in walk_frames(MemoryLedger(self.ledger)):
            draft = FrameDraft(ledger.end, ledger.next_number)
            for record in walk_records(frame.offset, frame.payload):
                is_message = record.tag == MESSAGE_TAG
                sections = (
                    decode_block(record.body)
                    if is_message
                    else [decode_section(record_type(record.tag), record.body)]
                )
                out: list[Any] = []
                for section in sections:
                    hit = not is_done and isinstance(section, kind) and is_meant(section)
                    is_done |= hit
                    out += changed(section) if hit else [section]
                if is_message:
                    draft.add_body(record.tag, encode_block(*out))
                else:
                    for section in out:
                        draft.add_body(type(section).TAG, encode_section(section))
            ledger.append(draft.seal())
        assert is_done, f"expected a {kind.__name__} in the ledger, found none"
        self.ledger = bytes(ledger.data)

    # Snapshots.

    def change_snapshot(self, key: ShardKey, **fields: Any) -> None:
        """Change the newest snapshot of a shard."""
        held = self.server.snapshots[key]
        held[0] = held[0]._replace(**fields)


def with_value(event: Any, column: str, row: int, value: int) -> Any:
    """Change one value of one column."""
    values = copy.copy(getattr(event, column))
    values = np.array(values, np.int64)
    values[row] = value
    return replace(event, **{column: values})


def without_row(event: Any, row: int, *columns: str) -> Any:
    """Leave one row out."""
    return replace(event, **{column: np.delete(getattr(event, column), row) for column in columns})
