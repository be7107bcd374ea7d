"""The audit names planted faults in orders and dispositions: P1, P2, P3, P4."""

from pathlib import Path
from typing import Any

import numpy as np
from msgspec.structs import replace

from engine.columns.section_codec import decode_section
from engine.journal.events.gateway import OrdersRevoked, OrdersUnresolved
from engine.journal.events.orders import OrdersPlaced, SignalDecided
from engine.journal.frame import FrameHeader, decode_frame
from engine.messages.blocks import GatewayEpoch, OrdersSubmitted, encode_block
from engine.values.dispositions import Disposition
from engine.values.order_ids import CauseKind, OrderKey, format_order_id
from engine.values.order_status import ExecType
from gateways.brokers.ledger.ledger import MemoryLedger, walk_frames
from gateways.brokers.ledger.records import OrdersTaken, walk_records
from gateways.brokers.paper.memory import MemoryPaperBroker
from gateways.brokers.paper.settings import FillSettings
from tests.audit.memory_cluster import ManualClock
from tests.audit.planting import FOLLOWERS, GATEWAY, Recording, with_value


def has_orders(event: SignalDecided) -> bool:
    return bool((event.units > 0).sum() > 1)


def has_skips(event: SignalDecided) -> bool:
    return bool((event.dispositions > Disposition.NETTED).any())


def order_of(shard: int, event: SignalDecided, row: int) -> str:
    return format_order_id(event.key.high(shard), event.key.low(int(event.subscriptions[row])))


async def test_an_untouched_run_passes(recording: Recording, tmp_path: Path) -> None:
    report = await recording.audit(tmp_path)
    assert report.passed, "\n".join(report.lines())
    for check in report.checks:
        assert check.counts, check.promise
    assert report["P2"].counts["ordered"] > 50
    assert report["P2"].counts["skipped"] > 5
    assert report["P6"].counts["snapshots"] >= 5
    assert report["P8"].counts["applied"] == report["P8"].counts["at_brokers"] > 100


async def test_p1_an_order_placed_twice_is_named(recording: Recording, tmp_path: Path) -> None:
    def placed_again(event: SignalDecided) -> list[object]:
        row = int(np.flatnonzero(event.units)[0])
        again = OrdersPlaced(
            event.creator_shard,
            event.creator,
            event.instrument,
            event.key,
            event.terms,
            event.subscriptions[row : row + 1],
            event.units[row : row + 1] * event.unit,
            np.zeros(1, np.int64),
        )
        return [event, again]

    key, number, event = recording.change_event(SignalDecided, placed_again, has_orders)
    report = await recording.audit(tmp_path)
    row = int(np.flatnonzero(event.units)[0])
    assert not report["P1"].passed
    assert order_of(key.shard, event, row) in report["P1"].offender
    assert f"frame {number}" in report["P1"].offender


async def test_p1_an_attempt_without_the_one_before_it_is_named(
    recording: Recording, tmp_path: Path
) -> None:
    def is_command(event: OrdersPlaced) -> bool:
        return bool(event.key.cause_kind == CauseKind.COMMAND and event.quantities.any())

    def later(event: OrdersPlaced) -> list[object]:
        return [replace(event, key=event.key._replace(attempt=5))]

    recording.change_event(OrdersPlaced, later, is_command)
    report = await recording.audit(tmp_path)
    assert "expected the attempt before it" in report["P1"].offender
    assert "account account-4" in report["P1"].offender


async def test_p1_an_order_without_its_cause_is_named(recording: Recording, tmp_path: Path) -> None:
    def is_command(event: OrdersPlaced) -> bool:
        return bool(event.key.cause_kind == CauseKind.COMMAND and event.quantities.any())

    def of_no_cause(event: OrdersPlaced) -> list[object]:
        return [replace(event, key=event.key._replace(cause_number=77))]

    recording.change_event(OrdersPlaced, of_no_cause, is_command)
    report = await recording.audit(tmp_path)
    assert "expected a command that ended its subscription" in report["P1"].offender


async def test_p2_a_missing_disposition_is_named(recording: Recording, tmp_path: Path) -> None:
    def forgotten(event: SignalDecided) -> list[object]:
        row = int(np.flatnonzero(event.dispositions > Disposition.NETTED)[0])
        return [with_value(event, "dispositions", row, Disposition.INACTIVE)]

    key, _, event = recording.change_event(SignalDecided, forgotten, has_skips)
    report = await recording.audit(tmp_path)
    row = int(np.flatnonzero(event.dispositions > Disposition.NETTED)[0])
    assert [check.promise for check in report.checks if not check.passed] == ["P2"]
    offender = report["P2"].offender
    assert f"follower shard {key.shard}" in offender
    assert f"subscription {event.subscriptions[row]}:" in offender
    assert f"signal {event.signal}, leg {event.leg}" in offender
    assert "found no disposition" in offender


async def test_p2_two_dispositions_are_named(recording: Recording, tmp_path: Path) -> None:
    def twice(event: SignalDecided) -> list[object]:
        skipped = np.where(event.dispositions > 0, int(Disposition.BELOW_LOT), 0)
        second = replace(
            event, dispositions=skipped, units=np.zeros_like(event.units), residuals=event.residuals
        )
        return [event, second]

    _, _, event = recording.change_event(SignalDecided, twice, has_skips)
    report = await recording.audit(tmp_path)
    assert f"signal {event.signal}, leg {event.leg}" in report["P2"].offender
    assert "found 2 dispositions" in report["P2"].offender
    assert not report["P4"].passed


async def test_p2_an_account_twice_in_one_part_is_named(
    recording: Recording, tmp_path: Path
) -> None:
    def doubled(event: SignalDecided) -> list[object]:
        return [with_value(event, "subscriptions", 1, int(event.subscriptions[0]))]

    _, _, event = recording.change_event(SignalDecided, doubled, has_orders)
    report = await recording.audit(tmp_path)
    assert f"subscription {event.subscriptions[0]}:" in report["P2"].offender
    assert "found 2 dispositions" in report["P2"].offender


async def test_p2_a_disposition_ordered_without_its_order_is_named(
    recording: Recording, tmp_path: Path
) -> None:
    def ordered(event: SignalDecided) -> list[object]:
        row = int(np.flatnonzero(event.dispositions > Disposition.NETTED)[0])
        return [with_value(event, "dispositions", row, Disposition.ORDERED)]

    recording.change_event(SignalDecided, ordered, has_skips)
    report = await recording.audit(tmp_path)
    assert "is ordered without an order" in report["P2"].offender


async def test_p2_a_signal_that_no_fill_caused_is_named(
    recording: Recording, tmp_path: Path
) -> None:
    recording.change_event(SignalDecided, lambda event: [replace(event, signal=999)], has_skips)
    report = await recording.audit(tmp_path)
    assert "signal 999" in report["P2"].offender
    assert "expected a leg of a fill, found none" in report["P2"].offender


async def test_p3_an_order_in_the_ledger_without_a_frame_is_named(
    recording: Recording, tmp_path: Path
) -> None:
    ledger = MemoryLedger(recording.ledger)
    broker = MemoryPaperBroker(
        FillSettings(), ManualClock(), lambda subject, data, *, message_id: None, ledger=ledger
    )
    one, key = np.zeros(1, np.int64), OrderKey(0, 0, 12345, 0, 0)
    forged = OrdersSubmitted(0, 3, key, "AAA", 1, 10**8, 0, 0, one, one, one + 10**8)
    await broker.submit(encode_block(GatewayEpoch(99, 0), forged))
    recording.ledger = bytes(ledger.data)
    report = await recording.audit(tmp_path)
    assert format_order_id(key.high(0), key.low(0)) in report["P3"].offender
    assert "expected its frame in the journal" in report["P3"].offender


async def test_p3_a_changed_quantity_is_named(recording: Recording, tmp_path: Path) -> None:
    def more(event: SignalDecided) -> list[object]:
        row = int(np.flatnonzero(event.units)[0])
        return [with_value(event, "units", row, int(event.units[row]) + 1)]

    key, _, event = recording.change_event(SignalDecided, more, has_orders)
    report = await recording.audit(tmp_path)
    assert order_of(key.shard, event, int(np.flatnonzero(event.units)[0])) in report["P3"].offender
    assert "expected the quantity of its frame" in report["P3"].offender


async def test_p3_an_order_with_the_wrong_account_is_named(
    recording: Recording, tmp_path: Path
) -> None:
    recording.change_ledger(
        OrdersTaken, lambda taken: [with_value(taken, "accounts", -1, int(taken.accounts[-1]) + 1)]
    )
    report = await recording.audit(tmp_path)
    assert [check.promise for check in report.checks if not check.passed] == ["P3"]
    assert "expected the account of its frame" in report["P3"].offender


async def test_p3_a_wrong_frame_number_side_or_symbol_is_named(
    recorded: Recording, tmp_path: Path
) -> None:
    for field, value, what in (
        ("frame", 2, "frame number"),
        ("side", -1, "side"),
        ("symbol", "ZZZ", "symbol"),
    ):
        recording = recorded.copy()
        change = {field: value}

        def changed(taken: Any, change: dict[str, Any] = change) -> list[Any]:
            return [replace(taken, **change)]

        recording.change_ledger(OrdersTaken, changed)
        report = await recording.audit(tmp_path)
        assert f"expected the {what} of its frame" in report["P3"].offender


async def test_p3_an_order_lost_on_its_way_is_named_once_its_gateway_is_done_with_it(
    recording: Recording, tmp_path: Path
) -> None:
    recording.change_ledger(OrdersTaken, lambda taken: [])
    passed = await recording.audit(tmp_path, is_drained=False)
    assert "found it neither there nor revoked" in passed["P3"].offender
    recording.put(GATEWAY, recording.frames(GATEWAY)[:1])
    lenient = await recording.audit(tmp_path, is_drained=False)
    assert lenient["P3"].passed
    assert lenient["P3"].counts["not_yet_sent"] > 0
    report = await recording.audit(tmp_path)
    assert "found it neither there nor revoked" in report["P3"].offender


async def test_p3_an_order_revoked_although_the_broker_has_it_is_named(
    recording: Recording, tmp_path: Path
) -> None:
    key, _, event = recording.find(SignalDecided, has_orders)
    row = int(np.flatnonzero(event.units)[0])
    revoked = OrdersRevoked(
        key.shard,
        event.key,
        ExecType.EXPIRED,
        0,
        0,
        1,
        event.subscriptions[row : row + 1],
    )
    last = decode_frame(recording.frames(GATEWAY)[-1].data)[0].number

    def revoke(header: FrameHeader, events: list[object]) -> list[object]:
        return [*events, revoked] if header.number == last else events

    recording.rewrite(GATEWAY, revoke)
    report = await recording.audit(tmp_path)
    assert order_of(key.shard, event, row) in report["P3"].offender
    assert "found it in both" in report["P3"].offender
    assert "expected the report applied" in report["P8"].offender


async def test_p4_signals_out_of_order_are_named(recording: Recording, tmp_path: Path) -> None:
    key = FOLLOWERS[0]
    places = [
        (header.number, events.index(event), event)
        for header, events in (decode_frame(message.data) for message in recording.frames(key))
        for event in events
        if isinstance(event, SignalDecided)
        and event.creator == 0
        and event.first_row == 0
        and not event.is_last_part
    ]
    (first, at, one), (second, other_at, other) = places[0], places[1]

    def swapped(header: FrameHeader, events: list[object]) -> list[object]:
        if header.number == first:
            return [*events[:at], other, *events[at + 1 :]]
        if header.number == second:
            return [*events[:other_at], one, *events[other_at + 1 :]]
        return events

    recording.rewrite(key, swapped)
    report = await recording.audit(tmp_path)
    assert f"signal {one.signal}" in report["P4"].offender
    assert "expected it before what was decided already" in report["P4"].offender


async def test_p9_an_unresolved_order_is_no_fault_whether_the_broker_has_it_or_not(
    recording: Recording, recorded: Recording, tmp_path: Path
) -> None:
    order = _order(recording)
    last = decode_frame(recording.frames(GATEWAY)[-1].data)[0].number
    recording.rewrite(
        GATEWAY,
        lambda header, events: [*events, _parked(order)] if header.number == last else events,
    )
    report = await recording.audit(tmp_path)
    assert report.passed, "\n".join(report.lines())
    assert report["P3"].counts["unresolved"] == 1
    without, lost = recorded.copy(), []
    for each in (recording, without):
        each.change_ledger(OrdersTaken, lambda taken: [], lambda taken: taken.follower_shard == 0)
        lost.append((await each.audit(tmp_path))["P3"].counts["not_yet_sent"])
    assert lost[0] == lost[1] - 1


async def test_p9_an_order_both_unresolved_and_revoked_is_named(
    recording: Recording, tmp_path: Path
) -> None:
    order = _order(recording)
    revoked = OrdersRevoked(
        0,
        order.key,
        int(ExecType.EXPIRED),
        0,
        1,
        1,
        order.subscriptions[:1],
    )
    last = decode_frame(recording.frames(GATEWAY)[-1].data)[0].number
    both = [revoked, _parked(order)]
    recording.rewrite(
        GATEWAY, lambda header, events: [*events, *both] if header.number == last else events
    )
    report = await recording.audit(tmp_path)
    assert not report["P3"].passed
    assert report["P3"].faults >= 2


def _order(recording: Recording) -> OrdersTaken:
    """Find the first block of follower shard 0 in the ledger."""
    return next(
        taken
        for frame in walk_frames(MemoryLedger(recording.ledger))
        for record in walk_records(frame.offset, frame.payload)
        if record.tag == OrdersTaken.TAG
        and (taken := decode_section(OrdersTaken, record.body)).follower_shard == 0
    )


def _parked(order: OrdersTaken) -> OrdersUnresolved:
    return OrdersUnresolved(
        0,
        order.key,
        1,
        order.subscriptions[:1],
    )
