"""Submissions: the orders that left for a broker. The gateway's journal records them if the broker
takes an order id again.

Before a section leaves, `SubmissionStarted` records it. `SubmissionSettled` follows once its
outcome is known. Both are kept until the ORDERS cursor passes their frame, because a new owner
reads that frame again. The orders of a settled submission need nothing more. Those of any other may
or may not be at the broker (P9).
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from engine.broker_gateway.outbound import OutboundSection
from engine.columns.section_types import Column
from engine.columns.snapshot import Records, required
from engine.journal.events.gateway import SubmissionSettled, SubmissionStarted
from engine.values.order_ids import OrderKey

SUBMISSION_RECORDS: Records = {
    "known.submissions.rows": required(
        "number", "sequence", "follower_shard", *OrderKey._fields, "first", "last", "is_ended"
    )
}


class Submission(NamedTuple):
    """The orders of one section that left: those of a decision with subscriptions from `first` to
    `last`, except those revoked before.
    """

    sequence: int
    follower_shard: int
    key: OrderKey
    first: int
    last: int


class Submissions:
    """The submissions of frames that the cursor has not passed, by number."""

    def __init__(self) -> None:
        self.next_number = 0
        self._kept: dict[int, Submission] = {}
        self._settled: set[int] = set()
        self._of_decision: dict[tuple[int, int, OrderKey], list[int]] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def begin(self, sections: Iterable[OutboundSection]) -> SubmissionStarted | None:
        """Number the sections of orders that have no submission yet. Returns: the event that
        records them, or None when there are none.
        """
        new = [
            section for section in sections if section.key is not None and section.submission < 0
        ]
        if not new:
            return None
        for number, section in enumerate(new, self.next_number):
            section.submission = number
        rows = [
            (
                section.sequence,
                section.follower_shard,
                *(section.key or ()),
                int(section.orders.subscriptions[0]),
                int(section.orders.subscriptions[-1]),
            )
            for section in new
        ]
        return SubmissionStarted(self.next_number, *np.array(rows, np.int64).T.copy())

    def apply_started(self, event: SubmissionStarted) -> None:
        """Add submissions that started."""
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

    def apply_settled(self, event: SubmissionSettled) -> None:
        """Mark submissions as settled."""
        self._settled.update(number for number in event.numbers.tolist() if number in self._kept)

    def forget_passed(self, answered_sequence: int) -> None:
        """Forget the submissions of frames whose orders are all out of the gateway's hands."""
        for number in [
            number for number, each in self._kept.items() if each.sequence <= answered_sequence
        ]:
            decision = self._kept.pop(number)[:3]
            self._settled.discard(number)
            self._of_decision.pop(decision, None)

    def split(
        self, section: OutboundSection, made_for: Column
    ) -> tuple[list[OutboundSection], OutboundSection]:
        """Take the orders that had left out of a section that is read again. `made_for` are the
        subscriptions that the section was made for. Returns: the orders that may be at the broker,
        one section per submission; and the rest.

        A decision may make several sections in a frame, and their subscriptions may interleave. A
        submission belongs to the section that has its first subscription.
        """
        assert section.key is not None
        unresolved = []
        for number in self._of_decision.get(
            (section.sequence, section.follower_shard, section.key), ()
        ):
            submission = self._kept[number]
            subscriptions = section.orders.subscriptions
            if not (made_for == submission.first).any():
                continue
            rows = (subscriptions >= submission.first) & (subscriptions <= submission.last)
            if rows.any() and number not in self._settled:
                part = section.of_rows(rows)
                part.submission = number
                unresolved.append(part)
            section = section.of_rows(~rows)
        return unresolved, section

    def rows(self) -> list[tuple[int, ...]]:
        """Return everything as rows of integers."""
        kept = sorted(self._kept.items())
        return [
            (number, *each[:2], *each.key, *each[3:], int(number in self._settled))
            for number, each in kept
        ]

    def restore(self, next_number: int, rows: Iterable[Sequence[int]]) -> None:
        """Take a state back."""
        for number, sequence, shard, *key, first, last, is_settled in rows:
            self._add(number, Submission(sequence, shard, OrderKey(*key), first, last))
            if is_settled:
                self._settled.add(number)
        self.next_number = next_number

    def _add(self, number: int, submission: Submission) -> None:
        self._kept[number] = submission
        self._of_decision.setdefault(submission[:3], []).append(number)
