"""The outcome of a replay, as tables: the journals, the broker's ledger, and the fill of each
signal.

Everything here comes from the journals and the ledger. Of its own memory the replay only adds which
rows it published, and when.
"""

from pathlib import Path
from typing import NamedTuple

from actors.history_reader import FrameReader
from cluster.history.store import JournalStore
from cluster.history.whole import Journals, read_journals
from cluster.replay.inputs import Inputs
from cluster.replay.lockstep import PublishedFill, PublishedFills
from cluster.replay.session import BROKER
from engine.journal.events.shard import InputQuarantined, InputsRefused
from engine.journal.frame import ShardKey, ShardKind
from engine.values.order_ids import CauseKind


class Refusal(NamedTuple):
    """A fill that was not applied, and the reason."""

    fill: PublishedFill
    reason: str


class ReplayOutcome(NamedTuple):
    """Everything that the results are written from.

    `fills` are by creator shard and signal number, as their place in `published`.
    """

    inputs: Inputs
    published: PublishedFills
    journals: Journals
    fills: dict[tuple[int, int], int]
    refusals: list[Refusal]
    ledger: Path

    def fill_of(self, high: int) -> int:
        """Return the fill that caused an order, as its place in `published`; -1 when no fill did.
        `high` is the upper half of the order id.
        """
        if high >> 48 & 3 != CauseKind.SIGNAL:
            return -1
        return self.fills[high >> 36 & 0xFFF, high & (1 << 36) - 1]


async def read_outcome(
    store: JournalStore, inputs: Inputs, published: PublishedFills
) -> ReplayOutcome:
    """Read everything back. Raises: ChainBrokenError, FrameError, OperatingError."""
    journals = await read_journals(store)
    return ReplayOutcome(
        inputs,
        published,
        journals,
        _signals(journals, published),
        await _refusals(store, published),
        store.ledgers[BROKER],
    )


def _signals(journals: Journals, published: PublishedFills) -> dict[tuple[int, int], int]:
    """Find each signal's fill. An execution id counts once for its creator, so the first fill with
    it was applied.
    """
    places: dict[tuple[str, str], int] = {}
    for place, fill in enumerate(published.fills):
        places.setdefault((fill.row.creator_id, fill.row.fill_id), place)
    found: dict[tuple[int, int], int] = {}
    for shard, tables in journals.creators.items():
        fills = tables.fills()
        for signal, creator, exec_id in zip(
            fills.signals.tolist(), fills.creators.tolist(), fills.exec_ids, strict=True
        ):
            found[shard, signal] = places[tables.ids[creator], exec_id]
    return found


async def _refusals(store: JournalStore, published: PublishedFills) -> list[Refusal]:
    by_sequence: dict[int, PublishedFill] = {}
    for fill in published.fills:
        by_sequence.setdefault(fill.sequence, fill)
    found: dict[int, Refusal] = {}
    for shard in store.of_kind(ShardKind.CREATOR):
        async for frame in FrameReader(store.journal, ShardKey(ShardKind.CREATOR, shard)).frames():
            for event in frame.events:
                if isinstance(event, InputsRefused):
                    for sequence, reason in zip(
                        event.sequences.tolist(), event.reasons, strict=True
                    ):
                        if sequence in by_sequence:
                            found[sequence] = Refusal(
                                by_sequence[sequence], reason.partition(": ")[0]
                            )
                elif isinstance(event, InputQuarantined) and event.sequence in by_sequence:
                    found[event.sequence] = Refusal(by_sequence[event.sequence], "poison")
    return [found[sequence] for sequence in sorted(found)]
