"""Clusters, epochs and rounds: which gateway may still speak, and which of its blocks are too late.

A program keeps the first cluster that stated its id: order ids of another one mean other orders. It
also keeps the highest epoch it saw, and the highest round of that epoch. A gateway of a lower epoch
was replaced (P5). A block of a lower round was given up: the gateway has looked its orders up
since, and was told that they never arrived (P9).
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from engine.columns.section_types import Section
from engine.messages.blocks import GatewayEpoch, RefusalCode, SendingRound
from engine.values.ids import is_id
from engine.values.units import TIME_MAX_NS
from gateways.brokers.ledger.records import ClusterSeen, EpochSeen, RoundSeen

_ROUND_END = 1 << 62


class BlockRefusal(NamedTuple):
    """Why a block is refused, as a text and as a code for programs."""

    text: str
    code: RefusalCode = RefusalCode.CONTENT


class HighestSeen:
    """The highest epoch, its highest round, and the cluster that the ledger belongs to."""

    def __init__(self) -> None:
        self.cluster = ""
        self.epoch = 0
        self.round = 0

    def refusal(self, sections: list[Any]) -> BlockRefusal | None:
        """Return why a block may not be taken, None when it may."""
        if not sections or not isinstance(sections[0], GatewayEpoch):
            return BlockRefusal("block: expected a GatewayEpoch section first, found none")
        header = sections[0]
        refusal = check_cluster(header, self.cluster) or check_epoch(header, self.epoch)
        if refusal is None and header.epoch == self.epoch:
            refusal = check_round(sections, self.round)
        return refusal

    def see(self, header: GatewayEpoch, number: int) -> Iterator[Section]:
        """Note the cluster, epoch and round of a block taken. Yields: the records that say so."""
        if header.cluster and not self.cluster:
            self.cluster = header.cluster
            yield ClusterSeen(header.cluster)
        if header.epoch > self.epoch:
            self.epoch, self.round = header.epoch, 0
            yield EpochSeen(header.epoch)
        if number > self.round:
            self.round = number
            yield RoundSeen(number)

    def replay(self, record: ClusterSeen | EpochSeen | RoundSeen) -> None:
        """Take a record read back from the ledger."""
        if isinstance(record, ClusterSeen):
            self.cluster = record.cluster
        elif isinstance(record, EpochSeen):
            self.epoch, self.round = record.epoch, 0
        else:
            self.round = record.number


def check_cluster(header: GatewayEpoch, own: str) -> BlockRefusal | None:
    """Check that a block comes from the cluster that the ledger belongs to. One that states none is
    taken.
    """
    found = header.cluster
    if found and not is_id(found):
        return BlockRefusal(f"cluster: expected 1 to 64 of [A-Za-z0-9_-], found {found[:70]!r}")
    if found and own and found != own:
        return BlockRefusal(
            f"cluster: expected {own}, whose orders this ledger has, found {found}; start the "
            "cluster on the data directory that this ledger belongs to, or give the broker program "
            "a new ledger",
            RefusalCode.CLUSTER,
        )
    return None


def check_epoch(header: GatewayEpoch, highest_epoch: int) -> BlockRefusal | None:
    """Check that a block's gateway is not superseded (P5)."""
    if header.epoch < highest_epoch:
        return BlockRefusal(
            f"epoch: expected {highest_epoch} or higher, found "
            f"{header.epoch}; a newer gateway took over",
            RefusalCode.EPOCH,
        )
    if not 0 <= header.event_time <= TIME_MAX_NS:
        return BlockRefusal(f"event_time: expected 0 to {TIME_MAX_NS}, found {header.event_time}")
    return None


def check_round(sections: list[Any], highest: int) -> BlockRefusal | None:
    """Check that a block of the highest epoch is not of a round that a look-up ended."""
    number = round_of(sections)
    if number < highest:
        return BlockRefusal(
            f"round: expected {highest} or higher, found {number}; its orders were looked up since",
            RefusalCode.ROUND,
        )
    if number >= _ROUND_END:
        return BlockRefusal(f"block: round: expected less than 2**62, found {number}")
    return None


def round_of(sections: list[Any]) -> int:
    """Return the round that a block was sent under, 0 when it has none."""
    return sections[1].number if len(sections) > 1 and isinstance(sections[1], SendingRound) else 0
