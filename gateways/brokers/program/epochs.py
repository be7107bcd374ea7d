"""Epochs and rounds: which gateway may still speak, and which of its blocks came too late.

A program keeps the highest epoch it saw, and the highest round of that epoch. A gateway of a lower
epoch was replaced (P5). A block of a lower round was given up: the gateway has looked its orders up
since, and was told that they never arrived (P9).
"""

from collections.abc import Iterator
from typing import Any

from engine.columns.section_types import Section
from engine.messages.blocks import GatewayEpoch, SendingRound
from engine.values.units import TIME_MAX_NS
from gateways.brokers.ledger.records import EpochSeen, RoundSeen

_ROUND_END = 1 << 62


class HighestSeen:
    """The highest epoch, and its highest round."""

    def __init__(self) -> None:
        self.epoch = 0
        self.round = 0

    def refusal(self, sections: list[Any]) -> str:
        """Return why a block may not be taken, empty when it may."""
        refusal = check_epoch(sections, self.epoch)
        if not refusal and sections[0].epoch == self.epoch:
            refusal = check_round(sections, self.round)
        return refusal

    def see(self, epoch: int, number: int) -> Iterator[Section]:
        """Note the epoch and round of a block taken. Yields: the records that say so."""
        if epoch > self.epoch:
            self.epoch, self.round = epoch, 0
            yield EpochSeen(epoch)
        if number > self.round:
            self.round = number
            yield RoundSeen(number)

    def replay(self, record: EpochSeen | RoundSeen) -> None:
        """Take a record read back from the ledger."""
        if isinstance(record, EpochSeen):
            self.epoch, self.round = record.epoch, 0
        else:
            self.round = record.number


def check_epoch(sections: list[Any], highest_epoch: int) -> str:
    """Check that a block begins with the epoch of a gateway that is not superseded (P5)."""
    if not sections or not isinstance(sections[0], GatewayEpoch):
        return "block: expected a GatewayEpoch section first, found none"
    header = sections[0]
    if header.epoch < highest_epoch:
        return (
            f"epoch: expected {highest_epoch} or higher, found "
            f"{header.epoch}; a newer gateway took over"
        )
    if not 0 <= header.event_time <= TIME_MAX_NS:
        return f"event_time: expected 0 to {TIME_MAX_NS}, found {header.event_time}"
    return ""


def check_round(sections: list[Any], highest: int) -> str:
    """Check that a block of the highest epoch is not of a round that a look-up ended."""
    number = round_of(sections)
    if number < highest:
        return (
            f"round: expected {highest} or higher, found {number}; its orders were looked up since"
        )
    return "" if number < _ROUND_END else f"block: round: expected less than 2**62, found {number}"


def round_of(sections: list[Any]) -> int:
    """Return the round that a block was sent under, 0 when it has none."""
    return sections[1].number if len(sections) > 1 and isinstance(sections[1], SendingRound) else 0
