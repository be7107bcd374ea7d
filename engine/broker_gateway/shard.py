"""A broker gateway's state: what it has learned from the follower journals, and which orders are
still in its hands.

Follower frames name subscriptions by number. The gateway learns from the same frames to which
account each subscription belongs, and at which broker the account trades. From that it makes blocks
for its broker (`engine.messages.blocks`).

The broker has answered every order of the frames up to the ORDERS cursor. The gateway's own journal
needs to remember nothing else, unless the broker takes an order id again. Then the journal also
says which orders left (`engine.broker_gateway.submissions`).
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np

from engine.broker_gateway.follower_view import FollowerView
from engine.broker_gateway.outbound import OutboundSection
from engine.broker_gateway.snapshot_schema import GATEWAY_SCHEMA
from engine.broker_gateway.submissions import Submissions
from engine.columns.sections import encode_sections, walk_sections
from engine.columns.snapshot import StoredState
from engine.columns.state import State
from engine.columns.state_copy import StateCopy, whole_copy
from engine.journal.chain import Chain
from engine.journal.cursors import NO_HASH, Cursor, Source, cursors_column, restored_cursors
from engine.journal.events import EVENT_TYPES
from engine.journal.events.gateway import (
    BlocksAnswered,
    FramesTaken,
    OrdersRevoked,
    OrdersUnresolved,
    SubmissionSettled,
    SubmissionStarted,
)
from engine.journal.events.shard import InputAttempted, OwnerFenced
from engine.journal.frame import FrameHeader

MARK_FRAMES = 1024
MARKS_MAX = 64
"""Beyond it every other mark is forgotten. An owner that reads on from an earlier mark only reads
more.
"""


class ReadMark(NamedTuple):
    """A place up to which the follower journals were read: a stream sequence, and each shard's
    last frame by number, hash and epoch.
    """

    sequence: int
    chains: dict[int, tuple[int, bytes, int]]


class TakenFrame(NamedTuple):
    """A follower frame by its number and mark (`engine.journal.frame.frame_mark`)."""

    number: int
    mark: int


def frames_taken(ledger: str, taken: Mapping[int, TakenFrame]) -> FramesTaken:
    """Return the event that a ledger has the orders of the follower shards up to these frames."""
    rows = [(shard, *taken[shard]) for shard in sorted(taken)]
    return FramesTaken(ledger, *np.array(rows, np.int64).reshape(-1, 3).T.copy())


class GatewayShard:
    """The state of one broker's gateway.

    A snapshot may be asked for while orders are in hand. They are in no state: the next owner reads
    their frames again. So the state is that of a mark before the first of them, but it keeps what
    the gateway has learned since then.
    """

    schema = GATEWAY_SCHEMA

    def __init__(self) -> None:
        self.cursors: dict[tuple[Source, int], Cursor] = {}
        self.views: dict[int, FollowerView] = {}
        self.read_sequence = 0
        self._marks = [ReadMark(0, {})]
        self.revoked: dict[int, int] = {}
        self.submissions = Submissions()
        self.unresolved_count = 0
        """The number of orders of which nobody can say whether the broker has them."""
        self._gone: dict[int, list[OrdersRevoked | OrdersUnresolved]] = {}
        self.ledger = ""
        """The name of the broker's ledger, empty as long as the broker has not stated one."""
        self.taken: dict[int, TakenFrame] = {}
        """Of each follower shard, the highest frame whose orders that ledger has."""

    @property
    def answered_sequence(self) -> int:
        """The stream sequence up to which every order of the follower journals is out of the
        gateway's hands.
        """
        cursor = self.cursors.get((Source.ORDERS, 0))
        return cursor.sequence if cursor else 0

    def view(self, shard: int) -> FollowerView:
        """The view of a follower shard, made on first use."""
        view = self.views.get(shard)
        if view is None:
            view = self.views[shard] = FollowerView(shard)
        return view

    def mark(self) -> None:
        """Remember from time to time how far the journals are read: a snapshot can only go back to
        a mark.
        """
        if self.read_sequence - self._marks[-1].sequence >= MARK_FRAMES:
            if len(self._marks) >= MARKS_MAX:
                del self._marks[1::2]
            self._marks.append(self._mark_here())

    def pass_marks(self, answered: int) -> None:
        """Forget the marks before the last one up to which every order is answered."""
        if answered >= self.read_sequence:
            self._marks = [self._mark_here()]
        while len(self._marks) > 1 and self._marks[1].sequence <= answered:
            del self._marks[0]

    def _mark_here(self) -> ReadMark:
        chains = {
            v.shard: (v.chain.number, v.chain.hash, v.chain.epoch) for v in self.views.values()
        }
        return ReadMark(self.read_sequence, chains)

    def apply(self, header: FrameHeader, events: list[Any]) -> None:
        """Change the state by a frame of the gateway's own journal."""
        for event in events:
            self.apply_event(event)
        self.cursors.update({(cursor.source, cursor.shard): cursor for cursor in header.cursors})
        self.forget_passed()

    def apply_frames(self, frames: Sequence[tuple[FrameHeader, list[Any]]]) -> None:
        """Change the state by frames in their order."""
        for header, events in frames:
            self.apply(header, events)

    def forget_passed(self) -> None:
        """Forget the revoked orders, unresolved orders and submissions of frames that the ORDERS
        cursor has passed: nobody reads these frames for sending again.
        """
        self.submissions.forget_passed(self.answered_sequence)
        for sequence in [sequence for sequence in self._gone if sequence <= self.answered_sequence]:
            del self._gone[sequence]

    def without_revoked(self, section: OutboundSection) -> OutboundSection:
        """Leave out the orders that were revoked or found unresolved before. Their frame is read
        again after a restart, and they must not be sent.
        """
        for event in self._gone.get(section.sequence, ()):
            if section.key == event.key and section.follower_shard == event.follower_shard:
                section = section.of_rows(
                    ~np.isin(section.orders.subscriptions, event.subscriptions)
                )
        return section

    def apply_event(self, event: Any) -> None:
        """Change the state by one event."""
        match event:
            case OrdersRevoked():
                self.revoked[event.follower_shard] = event.first_number + len(event.subscriptions)
                self._gone.setdefault(event.sequence, []).append(event)
            case OrdersUnresolved():
                self.unresolved_count += len(event.subscriptions)
                self._gone.setdefault(event.sequence, []).append(event)
            case FramesTaken():
                self._apply_taken(event)
            case SubmissionStarted():
                self.submissions.apply_started(event)
            case SubmissionSettled():
                self.submissions.apply_settled(event)
            case OwnerFenced() | InputAttempted() | BlocksAnswered():
                pass
            case _:
                raise AssertionError(f"a gateway shard cannot apply {type(event).__name__}")

    def _apply_taken(self, event: FramesTaken) -> None:
        if event.ledger != self.ledger:
            self.ledger = event.ledger
            self.taken.clear()
        columns = (event.follower_shards, event.frames, event.frame_hashes)
        for shard, number, mark in zip(*(each.tolist() for each in columns), strict=True):
            self.taken[shard] = TakenFrame(number, mark)

    def columns(self) -> State:
        """Return everything as columns, as of the first mark kept. An owner that reads on from that
        mark meets every frame that has orders in hand or revoked orders.
        """
        mark = self._marks[0]
        known = [
            (
                v.shard,
                *mark.chains.get(v.shard, (0, NO_HASH, 0)),
                v.brokers,
                [(*key, text) for key, text in sorted(v.symbols.items())],
            )
            for v in (self.views[shard] for shard in sorted(self.views))
        ]
        submissions = (self.submissions.next_number, self.submissions.rows(), self.unresolved_count)
        texts = msgspec.msgpack.encode((known, sorted(self.revoked.items()), submissions))
        state: State = {
            "known": np.frombuffer(texts, np.uint8),
            "cursors": cursors_column(self.cursors),
            "read_sequence": np.array([mark.sequence], np.int64),
            "gone": np.frombuffer(encode_sections(self._gone_events()), np.uint8),
        }
        if self.ledger:
            state["taken"] = np.frombuffer(
                encode_sections([frames_taken(self.ledger, self.taken)]), np.uint8
            )
        for shard, view in self.views.items():
            state |= view.accounts.state(f"{shard}.account") | view.subscriptions.state(
                f"{shard}.subscription"
            )
        return state

    def _gone_events(self) -> list[OrdersRevoked | OrdersUnresolved]:
        return [event for sequence in sorted(self._gone) for event in self._gone[sequence]]

    def copy(self) -> StateCopy:
        """Copy the state as it is now, to be encoded for a snapshot."""
        return whole_copy(self.schema, self.columns())

    def restore(self, stored: StoredState) -> None:
        """Take a state back from a snapshot."""
        gone = stored.columns.get("gone")
        for event in (
            walk_sections(memoryview(gone.tobytes()), EVENT_TYPES) if gone is not None else ()
        ):
            self._gone.setdefault(event.sequence, []).append(event)
        taken = stored.columns.get("taken")
        if taken is not None:
            (event,) = walk_sections(memoryview(taken.tobytes()), EVENT_TYPES)
            self._apply_taken(event)
        known = msgspec.msgpack.decode(stored.column("known").tobytes())
        ((views, revoked, submissions),) = stored.rows("known", [known])
        self.revoked = {row[0]: row[1] for row in stored.rows("known.revoked", revoked)}
        ((next_number, rows, self.unresolved_count),) = stored.rows(
            "known.submissions", [submissions]
        )
        self.submissions.restore(next_number, stored.rows("known.submissions.rows", rows))
        self.cursors = restored_cursors(stored)
        self.read_sequence = int(stored.column("read_sequence")[0])
        for shard, number, digest, epoch, brokers, symbols in stored.rows("known.views", views):
            view = self.view(shard)
            view.chain = Chain(view.chain.key, number=number, hash=digest, epoch=epoch)
            view.brokers = list(brokers)
            view.symbols = {
                (creator_shard, instrument): text
                for creator_shard, instrument, text in stored.rows("known.views.symbols", symbols)
            }
            view.accounts.restore(f"{shard}.account", stored.columns)
            view.subscriptions.restore(f"{shard}.subscription", stored.columns)
        self._marks = [self._mark_here()]
