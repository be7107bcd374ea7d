"""The history in a program's ledger, as it is stated to each gateway that introduces itself.

A gateway compares it with the journals of its cluster. So neither of two halves that do not belong
to the same moment goes on unnoticed.
"""

from collections.abc import Iterator

import numpy as np

from engine.columns.section_types import Section
from engine.messages.blocks import ExecutionsStated, FramesSent, HistoryStated
from gateways.brokers.ledger.records import FramesKept, PublishConfirmed
from gateways.brokers.program.reports import Reports


class LedgerHistory:
    """The highest frame of each follower shard, and what JetStream has confirmed."""

    def __init__(self) -> None:
        self.confirmed_sequence = 0
        self._confirmed: dict[int, int] = {}
        self._frames: dict[int, tuple[int, int, int]] = {}

    def see(self, sent: FramesSent) -> Iterator[Section]:
        """Note the frames of a block taken. Yields: the record of those that are higher."""
        columns = (sent.follower_shards, sent.frames, sent.frame_hashes, sent.frame_sequences)
        new = [
            row
            for row in zip(*(column.tolist() for column in columns), strict=True)
            if row[1] > self._frames.get(row[0], (0, 0, 0))[0]
        ]
        if new:
            kept = FramesKept(*np.array(new, np.int64).T.copy())
            self.replay(kept)
            yield kept

    def confirm(self, shard: int, number: int, sequence: int) -> None:
        """Note that JetStream holds the executions of a shard up to a number, at a sequence."""
        self._confirmed[shard] = number
        self.confirmed_sequence = max(self.confirmed_sequence, sequence)

    def replay(self, record: FramesKept | PublishConfirmed) -> None:
        """Take a record read back from the ledger."""
        if isinstance(record, FramesKept):
            columns = (record.frames, record.frame_hashes, record.frame_sequences)
            rows = zip(*(column.tolist() for column in columns), strict=True)
            self._frames.update(zip(record.follower_shards.tolist(), rows, strict=True))
        else:
            for shard, number in zip(
                record.follower_shards.tolist(), record.numbers.tolist(), strict=True
            ):
                self.confirm(shard, number, record.last_sequence)

    def stated(self, ledger_id: str, reports: Reports) -> Iterator[Section]:
        """Yield the sections that state the history. `reports` knows the executions made."""
        rows = [(shard, *self._frames[shard]) for shard in sorted(self._frames)]
        columns = np.array(rows, np.int64).reshape(-1, 4).T.copy()
        yield HistoryStated(ledger_id, self.confirmed_sequence, *columns)
        for shard, last in sorted(reports.last_numbers.items()):
            yield ExecutionsStated(
                shard, reports.prefix_of(shard), last, self._confirmed.get(shard, 0)
            )
