"""The audit names decisions that were valued at marks that did not count: P11."""

import zlib
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from msgspec.structs import replace

from cluster.audit.report import Check
from cluster.audit.valuations import ValuationsAudit
from engine.history.frames import JournalFrame
from engine.journal.events.creator import (
    BrokerMarksUpdated,
    FillApplied,
    MarkSourceChosen,
    MarksUpdated,
)
from engine.journal.events.orders import SignalDecided
from engine.journal.frame import FrameHeader, decode_frame, frame_hash
from engine.values.units import QUANTITY_ONE
from tests.audit.planting import CREATOR, Recording, with_value
from tests.engine.test_golden_snapshots import GOLDEN

GOLDEN_FRAMES = sorted(path.stem for path in GOLDEN.glob("snapshot_*_creator*_frames.bin"))
TENTH = 10_125_000
"""A tenth of the price at which anna bought the first instrument."""


def is_of_two(event: Any) -> bool:
    """Whether an event is a fill whose creator holds another instrument, too."""
    return isinstance(event, FillApplied) and len(event.mark_instruments) > 1


class Planted:
    """Changes the first fill of a creator that holds two instruments: the other one is valued at a
    tenth of its price.
    """

    def __init__(self, before: list[Any], *, fits_equity: bool = True) -> None:
        self._before = before
        self._fits_equity = fits_equity
        self._held: dict[tuple[int, int], int] = {}
        self.fill: FillApplied | None = None

    def change(self, header: FrameHeader, events: list[Any]) -> list[Any]:
        out: list[Any] = []
        for event in events:
            if self.fill is None and is_of_two(event):
                self.fill = event
                out += [*self._before, self._valued(event)]
            else:
                out.append(event)
            if isinstance(event, FillApplied):
                self._held[event.creator, event.instrument] = event.position_after
        return out

    def _valued(self, fill: FillApplied) -> FillApplied:
        row = next(at for at, each in enumerate(fill.mark_instruments) if each != fill.instrument)
        held = self._held[fill.creator, int(fill.mark_instruments[row])]
        lost = held * (int(fill.mark_prices[row]) - TENTH) // QUANTITY_ONE
        changed: FillApplied = with_value(fill, "mark_prices", row, TENTH)
        return replace(changed, equity=fill.equity - lost) if self._fits_equity else changed


def mark_of(broker: str) -> BrokerMarksUpdated:
    """A mark of the first instrument by a broker."""
    columns = (np.array([value], np.int64) for value in (0, TENTH, 2 * 10**18))
    return BrokerMarksUpdated(broker, *columns)


async def test_p11_a_fill_valued_at_another_brokers_mark_is_named(
    recording: Recording, tmp_path: Path
) -> None:
    planted = Planted([mark_of("other")])
    recording.rewrite(CREATOR, planted.change)
    report = await recording.audit(tmp_path)
    assert planted.fill is not None
    assert f"fill {planted.fill.exec_id}: expected AAA valued at" in report["P11"].offender
    assert "found 10.125" in report["P11"].offender


async def test_p11_marks_of_a_broker_that_is_not_trusted_are_named(
    recording: Recording, tmp_path: Path
) -> None:
    recording.rewrite(CREATOR, Planted([MarkSourceChosen("other"), mark_of("paper")]).change)
    report = await recording.audit(tmp_path)
    assert "expected marks of the source 'other' that was chosen" in report["P11"].offender
    assert "found marks of broker paper" in report["P11"].offender


async def test_p11_marks_for_everybody_without_a_trusted_source_are_named(
    recording: Recording, tmp_path: Path
) -> None:
    own = mark_of("")
    mark = MarksUpdated(own.instruments, own.prices, own.times)
    recording.rewrite(CREATOR, Planted([mark]).change)
    report = await recording.audit(tmp_path)
    assert "expected marks of the source '' that was chosen" in report["P11"].offender
    assert "found marks for every broker" in report["P11"].offender


async def test_p11_an_equity_that_does_not_follow_from_the_marks_is_named(
    recording: Recording, tmp_path: Path
) -> None:
    planted = Planted([mark_of("paper")], fits_equity=False)
    recording.rewrite(CREATOR, planted.change)
    report = await recording.audit(tmp_path)
    assert "expected the creator's equity" in report["P11"].offender


async def test_p11_a_signal_decided_at_other_marks_than_the_fills_is_named(
    recording: Recording, tmp_path: Path
) -> None:
    key, number, event = recording.change_event(
        SignalDecided, lambda event: [with_value(event, "mark_prices", 0, TENTH)]
    )
    report = await recording.audit(tmp_path)
    assert [check.promise for check in report.checks if not check.passed] == ["P11"]
    assert f"follower shard {key.shard}, frame {number}: signal {event.signal}" in (
        report["P11"].offender
    )
    assert "expected it decided at the marks of the fill" in report["P11"].offender


@pytest.mark.parametrize("name", GOLDEN_FRAMES)
def test_p11_every_journal_that_a_version_wrote_is_valued_rightly(name: str) -> None:
    """Also those of before marks were per broker."""
    frames: list[bytes] = msgspec.msgpack.decode(
        zlib.decompress((GOLDEN / f"{name}.bin").read_bytes())
    )
    check = Check("P11")
    audit = ValuationsAudit(0, check)
    for data in frames:
        header, events = decode_frame(data)
        audit.take(JournalFrame(header.number, header, frame_hash(data), events))
    assert check.passed, check.offender
    assert check.counts["fills_valued"] > 20 and check.counts["marks"] > 0
