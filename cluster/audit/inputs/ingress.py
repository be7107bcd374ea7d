"""All of INGRESS against the creators' journals, both ways (P4).

    a message, read  -->  its fills applied, repeated, refused or quarantined; its marks taken
    a fill, applied  -->  stands in the message that the journal names, with the same values

INGRESS may begin late: an operator purged what came before. A hole in its midst is a fault.
It keeps a few numbers for each applied fill, and reads the stream batch by batch. Cost: about 20 us
for each message.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from actors.errors import BadInputError
from actors.ports import INGRESS, StoredMessage, Streams
from cluster.audit.report import Check
from engine.columns.state import hash_64
from engine.history.creators import CreatorTables, Fills
from engine.history.storage import Ints
from engine.journal.cursors import Source, hashed_sequence
from engine.messages.inputs import FillInput
from engine.values.ids import shard_of
from engine.values.order_status import ExecType
from gateways.json.format import JsonFormat

PATIENCE = 3
"""So many empty reads in a row end the reading: a copy of the stream may lag behind."""


class IngressAudit:
    """The audit of INGRESS against all creator shards, whose journals are read."""

    def __init__(self, creators: Sequence[CreatorTables], check: Check) -> None:
        self._shards = {
            tables.shard: _Shard(tables) for tables in sorted(creators, key=lambda each: each.shard)
        }
        # The number of shards is a power of two.
        self._count = 1 << max(self._shards, default=0).bit_length()
        self._check = check
        self._format = JsonFormat()
        self._last = 0

    async def run(self, streams: Streams) -> None:
        """Read the stream up to where the shards have read it. Raises: OperatingError."""
        check = self._check
        end = max((shard.under_way for shard in self._shards.values()), default=0)
        empty = 0
        while self._last < end and empty < PATIENCE:
            batch = await streams.read(INGRESS, after_sequence=self._last)
            empty = 0 if batch else empty + 1
            for message in batch:
                if message.sequence > end:
                    self._last = end
                    break
                self._take(message)
        check.count("inputs", sum(shard.messages for shard in self._shards.values()))
        for shard in self._shards.values():
            check.count("inputs_purged", shard.count_purged())
            self._name_unseen(shard)

    def _take(self, message: StoredMessage) -> None:
        is_first, missing = not self._last, message.sequence - self._last - 1
        self._last = message.sequence
        if is_first:
            for shard in self._shards.values():
                shard.first = message.sequence
        elif missing:
            self._check.fail(
                f"{INGRESS}: expected message {message.sequence - missing}, "
                f"found none before {message.sequence}; the stream has lost it",
                missing,
            )
        if not message.subject.startswith("fills."):
            self._take_marks(message)
            return
        creator_id = message.subject.rpartition(".")[2]
        of_creator = self._shards.get(shard_of(creator_id, self._count))
        if of_creator is not None:
            self._take_fills(message, of_creator, creator_id)

    def _take_fills(self, message: StoredMessage, shard: "_Shard", creator_id: str) -> None:
        shard.messages += 1
        sequence = message.sequence
        fills: list[FillInput] = []
        is_read = True
        try:
            fills = list(self._format.fills(message.subject, message.data, sequence))
        except BadInputError:
            is_read = False
        faults = list(shard.differences(sequence, creator_id, fills))
        for text in faults:
            self._check.fail(f"creator/{shard.number}: {text}")
        if sequence > shard.decided or shard.is_quarantined(sequence):
            return
        left = shard.unexplained(fills) if is_read else 1
        if left > shard.refused_at[sequence] and not faults:
            self._check.fail(
                f"creator/{shard.number}: expected message {sequence} of {INGRESS}, on "
                f"{message.subject}, applied or refused, found {left} of its fills neither",
                left - shard.refused_at[sequence],
            )

    def _take_marks(self, message: StoredMessage) -> None:
        """Marks that cannot be read are refused by one shard, the first."""
        first = self._shards.get(0)
        if first is None:
            return
        first.messages += 1
        sequence = message.sequence
        if sequence > first.decided or first.is_quarantined(sequence):
            return
        try:
            for _ in self._format.marks(message.subject, message.data):
                pass
        except BadInputError as error:
            if not first.refused_at[sequence]:
                self._check.fail(
                    f"creator/0: expected message {sequence} of {INGRESS} refused, which cannot "
                    f"be read ({error}), found nothing of it in the journal"
                )

    def _name_unseen(self, shard: "_Shard") -> None:
        unseen = shard.unseen()
        if len(unseen):
            self._check.fail(
                f"creator/{shard.number}: expected {shard.name_of(int(unseen[0]))} in message "
                f"{shard.fills.input_sequences[unseen[0]]} of {INGRESS}, found none there",
                len(unseen),
            )


class _Shard:
    """What one creator shard made of INGRESS. Rows are those of its table of fills."""

    def __init__(self, tables: CreatorTables) -> None:
        self.number = tables.shard
        self.fills: Fills = tables.fills()
        self.refused_at: Counter[int] = tables.refused_at
        self.messages = 0
        self.first = 0
        """The stream's first sequence."""
        cursor = tables.cursors.get((Source.INGRESS, 0))
        self.decided = cursor.sequence if cursor is not None else 0
        """The sequence up to which every message is decided."""
        self.under_way = hashed_sequence(cursor) if cursor is not None else 0
        self._ids = tables.ids
        self._symbols = tables.symbols
        self._quarantined = {
            event.sequence for event in tables.poison if event.source == Source.INGRESS
        }
        self._order = np.argsort(self.fills.input_sequences, kind="stable")
        self._sequences = self.fills.input_sequences[self._order]
        self._is_seen = np.zeros(self.fills.rows_count, np.bool_)
        self._known: tuple[Ints, Ints] | None = None

    def is_quarantined(self, sequence: int) -> bool:
        """Return whether a message, or one of its fills, was given up."""
        return sequence in self._quarantined

    def count_purged(self) -> int:
        """Return how many applied fills came before the stream's first message."""
        return int(np.searchsorted(self._sequences, self.first))

    def unseen(self) -> Ints:
        """Return the applied fills that stand in no message, of those that could."""
        rows: Ints = np.flatnonzero(
            ~self._is_seen & (self.fills.input_sequences >= max(self.first, 1))
        )
        return rows

    def differences(
        self, sequence: int, creator_id: str, fills: Sequence[FillInput]
    ) -> Iterable[str]:
        """Yield what differs between a message's fills and those applied of it."""
        start, end = np.searchsorted(self._sequences, [sequence, sequence + 1])
        rows = {self.fills.exec_ids[row]: row for row in self._order[start:end].tolist()}
        for fill in fills if rows else ():
            row = rows.get(fill.exec_id)
            if row is None or self._is_seen[row]:
                continue
            self._is_seen[row] = True
            for name, expected, found in self._values(row, creator_id, fill):
                if expected != found:
                    yield (
                        f"expected {name} {expected} of {self.name_of(row)} in message "
                        f"{sequence} of {INGRESS}, found {found}"
                    )
                    break

    def _values(
        self, row: int, creator_id: str, fill: FillInput
    ) -> Iterable[tuple[str, object, object]]:
        """Yield the name of each value, as the journal has it and as the message has it."""
        fills = self.fills
        yield "broker", fills.brokers[row], fill.broker
        yield "creator", self._ids[int(fills.creators[row])], creator_id
        yield "symbol", self._symbols[int(fills.instruments[row])], fill.symbol
        yield "transact_time", int(fills.transact_times[row]), fill.transact_time
        yield "order_id", fills.order_ids[row], fill.order_id
        yield "order_qty", int(fills.order_quantities[row]), fill.order_quantity
        correction = fills.corrections.get(row)
        if correction is None:
            yield "exec_type", ExecType.TRADE, fill.exec_type
            yield "side", int(fills.sides[row]), fill.side
            yield "last_qty", int(fills.quantities[row]), fill.quantity
            yield "last_px", int(fills.prices[row]), fill.price
            return
        yield "exec_type", correction.exec_type, int(fill.exec_type)
        yield "exec_ref_id", correction.reference, fill.exec_ref_id
        if fill.exec_type == ExecType.TRADE_CORRECT:
            yield "last_qty", correction.new_quantity, fill.quantity
            yield "last_px", correction.new_price, fill.price

    def name_of(self, row: int) -> str:
        """Return the words for an applied fill."""
        what = "correction" if row in self.fills.corrections else "fill"
        return f"{what} {self.fills.brokers[row]}/{self.fills.exec_ids[row]}"

    def unexplained(self, fills: Sequence[FillInput]) -> int:
        """Count fills of a decided message that no applied fill explains: neither itself nor an
        earlier one of its id.
        """
        left = 0
        for fill in fills:
            key = _key(fill.broker, fill.creator_id, fill.exec_id)
            keys, sequences = self._by_key()
            at = int(np.searchsorted(keys, key))
            is_known = at < len(keys) and int(keys[at]) == key
            left += not (is_known and int(sequences[at]) <= fill.sequence)
        return left

    def _by_key(self) -> tuple[Ints, Ints]:
        """Return the hashed ids of all applied fills, sorted, and the first sequence of each."""
        if self._known is None:
            fills = self.fills
            names = zip(fills.brokers, fills.creators.tolist(), fills.exec_ids, strict=True)
            keys = np.array(
                [_key(broker, self._ids[creator], exec_id) for broker, creator, exec_id in names],
                np.int64,
            )
            order = np.lexsort((fills.input_sequences, keys))
            self._known = keys[order], fills.input_sequences[order]
        return self._known


def _key(broker: str, creator_id: str, exec_id: str) -> int:
    return hash_64(f"{broker}/{creator_id}/{exec_id}")
