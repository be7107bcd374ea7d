"""Which orders left for a broker and were not answered: what a gateway's journal must know of a
broker that takes an order id again.

Before a block leaves, `SubmissionStarted` names it; `SubmissionSettled` follows once it is known
what became of it. Both are remembered until the ORDERS cursor passes their frame, for a new owner
reads it again: what ended is done with, what did not may or may not be at the broker (P9).
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from engine.broker_gateway.outbound import OutboundSection
from engine.columns.sections import Column
from engine.journal.events.gateway import SubmissionSettled, SubmissionStarted
from engine.values.order_ids import OrderKey


class Submission(NamedTuple):
    """Orders of one block that left: those of a decision, from one subscription to another, as far
    as they were not revoked before.
    """

    sequence: int
    follower_shard: int
    key: OrderKey
    first: int
    last: int


class Submissions:
    """The sendings of frames that the cursor has not passed, by number."""

    def __init__(self) -> None:
        self.next_number = 0
        self._kept: dict[int, Submission] = {}
        self._ended: set[int] = set()
        self._of_decision: dict[tuple[int, int, OrderKey], list[int]] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def begin(self, blocks: Iterable[OutboundSection]) -> SubmissionStarted | None:
        """Number the blocks of orders that have no number. Returns: the event that says so, None
        when there is nothing to say.
        """
        new = [block for block in blocks if block.key is not None and block.sending < 0]
        if not new:
            return None
        for number, block in enumerate(new, self.next_number):
            block.sending = number
        rows = [
            (
                block.sequence,
                block.follower_shard,
                *(block.key or ()),
                int(block.orders.subscriptions[0]),
                int(block.orders.subscriptions[-1]),
            )
            for block in new
        ]
        return SubmissionStarted(self.next_number, *np.array(rows, np.int64).T.copy())

    def apply_began(self, event: SubmissionStarted) -> None:
        """Take over what began."""
        columns = (
            event.sequences,
            event.follower_shards,
            event.cause_kinds,
            event.creator_shards,
            event.cause_numbers,
            event.legs,
            event.attempts,
            event.firsts,
            event.lasts,
        )
        for number, row in enumerate(np.stack(columns, axis=1).tolist(), event.first_number):
            self._add(number, Submission(row[0], row[1], OrderKey(*row[2:7]), row[7], row[8]))
        self.next_number = event.first_number + len(event.sequences)

    def apply_ended(self, event: SubmissionSettled) -> None:
        """Take over what ended."""
        self._ended.update(number for number in event.numbers.tolist() if number in self._kept)

    def forget_passed(self, answered_sequence: int) -> None:
        """Forget the sendings of frames whose orders are all out of the gateway's hands."""
        for number in [
            number for number, each in self._kept.items() if each.sequence <= answered_sequence
        ]:
            decision = self._kept.pop(number)[:3]
            self._ended.discard(number)
            self._of_decision.pop(decision, None)

    def split(
        self, block: OutboundSection, made_for: Column
    ) -> tuple[list[OutboundSection], OutboundSection]:
        """Take what had left out of a block read again, which was made for some subscriptions.
        Returns: what may be at the broker, one block a sending; the rest.

        A decision may make several blocks in a frame, with subscriptions between each other's: the
        first one tells which block had left.
        """
        assert block.key is not None
        doubtful = []
        for number in self._of_decision.get((block.sequence, block.follower_shard, block.key), ()):
            sending = self._kept[number]
            subscriptions = block.orders.subscriptions
            if not (made_for == sending.first).any():
                continue
            rows = (subscriptions >= sending.first) & (subscriptions <= sending.last)
            if rows.any() and number not in self._ended:
                part = block.of_rows(rows)
                part.sending = number
                doubtful.append(part)
            block = block.of_rows(~rows)
        return doubtful, block

    def rows(self) -> list[tuple[int, ...]]:
        """Show everything as integers."""
        kept = sorted(self._kept.items())
        return [
            (number, *each[:2], *each.key, *each[3:], int(number in self._ended))
            for number, each in kept
        ]

    def restore(self, next_number: int, rows: Iterable[tuple[int, ...]]) -> None:
        """Take a state back."""
        for number, sequence, shard, *key, first, last, is_ended in rows:
            self._add(number, Submission(sequence, shard, OrderKey(*key), first, last))
            if is_ended:
                self._ended.add(number)
        self.next_number = next_number

    def _add(self, number: int, sending: Submission) -> None:
        self._kept[number] = sending
        self._of_decision.setdefault(sending[:3], []).append(number)
