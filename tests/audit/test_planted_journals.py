"""The audit names planted faults in chains, snapshots, money and executions: P5, P6, P7, P8."""

import asyncio
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from actors.errors import PermanentError
from actors.history_reader import FrameReader
from actors.ports import Request, Snapshot, journal_stream
from cluster.audit import audit
from cluster.audit.conservation import ConservationAudit, check_creators
from cluster.audit.report import Checks
from engine.columns.snapshot import STATE_LAYOUT, decode_snapshot
from engine.columns.state import decode_state, encode_state, state_hash
from engine.columns.state_copy import PREFIX, copy_digest, encode_copy
from engine.follower.shard import FollowerShard
from engine.follower.slot import SLOT_FIELDS
from engine.follower.subscription_columns import HEADER_WORDS
from engine.history.creators import CreatorTables
from engine.history.followers import FollowerTables
from engine.history.outcomes import OrderIndex, order_outcomes
from engine.journal.events.creator import FillApplied
from engine.journal.events.orders import ExecutionsApplied
from engine.journal.events.shard import OwnerFenced
from engine.journal.frame import (
    FrameHeader,
    ShardKey,
    ShardKind,
    decode_frame,
    encode_frame,
    frame_hash,
)
from engine.messages.blocks import ExecutionsReported
from engine.values.order_status import ExecType
from gateways.memory.bus import MemoryBus
from gateways.memory.journal import MemoryJournal
from gateways.memory.snapshots import MemorySnapshots
from tests.audit.planting import CREATOR, FOLLOWERS, Recording, with_value, without_row

ROWS = ("numbers", "subscriptions", "exec_types", "quantities", "prices", "fees")


def is_trade(event: ExecutionsApplied) -> bool:
    return bool((event.exec_types == ExecType.TRADE).all() and len(event.numbers) > 1)


async def test_p5_a_changed_byte_breaks_the_chain(recording: Recording, tmp_path: Path) -> None:
    frames = recording.frames(FOLLOWERS[1])
    data = bytearray(frames[4].data)
    data[-1] ^= 1
    recording.put(FOLLOWERS[1], [*frames[:4], frames[4]._replace(data=bytes(data)), *frames[5:]])
    report = await recording.audit(tmp_path)
    assert "journal of follower/1: expected frame 6" in report["P5"].offender


async def test_p5_a_missing_frame_breaks_the_chain(recording: Recording, tmp_path: Path) -> None:
    frames = recording.frames(CREATOR)
    recording.put(CREATOR, [*frames[:3], *frames[4:]])
    report = await recording.audit(tmp_path)
    assert "journal of creator/0: expected frame 4" in report["P5"].offender
    assert "found frame 5" in report["P5"].offender


async def test_p5_a_superseded_owners_frame_is_dropped_and_counted(
    recording: Recording, tmp_path: Path
) -> None:
    key = FOLLOWERS[0]
    stream = recording.server.stream("JOURNAL_FOLLOWER")
    tail, _ = decode_frame(recording.frames(key)[-1].data)
    last = frame_hash(recording.frames(key)[-1].data)
    fence = FrameHeader(key, tail.epoch + 1, tail.number + 1, tail.event_time_ns, last, ())
    stale = FrameHeader(key, tail.epoch, tail.number + 1, tail.event_time_ns, last, ())
    stream.store(key.subject, encode_frame(fence, [OwnerFenced("successor")]), "fence")
    stream.store(key.subject, encode_frame(stale, [OwnerFenced("zombie")]), "stale")
    report = await recording.audit(tmp_path)
    assert report.passed, "\n".join(report.lines())
    assert report["P5"].counts["dropped"] == 1


async def test_p5_messages_that_are_no_frames_are_stepped_over_and_named(
    recording: Recording, tmp_path: Path
) -> None:
    for key in (CREATOR, *FOLLOWERS, ShardKey(ShardKind.FOLLOWER, 77)):
        stream = recording.server.stream(journal_stream(key))
        stream.store(key.subject, b'{"stream":"INGRESS","seq":9}', f"foreign {key}")
    report = await recording.audit(tmp_path)
    assert report.passed, "\n".join(report.lines())
    assert report["P5"].counts["foreign"] == 4
    assert any("journal of follower/77: stepped over 1 messages" in note for note in report.notes)


async def test_p5_a_creator_history_rewritten_under_its_followers_is_named(
    recording: Recording, tmp_path: Path
) -> None:
    def later(header: FrameHeader, events: list[object]) -> list[object]:
        return [
            replace(event, order_id="other") if isinstance(event, FillApplied) else event
            for event in events
        ]

    frames = {key: recording.frames(key) for key in FOLLOWERS}
    recording.rewrite(CREATOR, later)
    for key in FOLLOWERS:
        recording.put(key, frames[key])
    report = await recording.audit(tmp_path)
    assert "of creator shard 0 as it was read, found another" in report["P5"].offender


async def test_p6_a_wrong_snapshot_hash_is_named(recording: Recording, tmp_path: Path) -> None:
    number = recording.server.snapshots[FOLLOWERS[0]][0].number
    recording.change_snapshot(FOLLOWERS[0], digest=bytes(32))
    report = await recording.audit(tmp_path)
    assert [check.promise for check in report.checks if not check.passed] == ["P6"]
    assert (
        f"follower/0, snapshot at frame {number}: expected the hash it was stored with"
        in report["P6"].offender
    )


async def test_p6_a_snapshot_with_other_cash_is_named(recorded: Recording, tmp_path: Path) -> None:
    for key, column in ((FOLLOWERS[0], "book.0000000000"), (CREATOR, "creator.cash")):
        recording = recorded.copy()
        columns = dict(decode_state(b"".join(recording.server.snapshots[key][0].chunks)))
        changed = columns[column].copy()
        # A book's cash stands after its header and those of its slots.
        is_book = column.startswith(PREFIX)
        changed[3 + HEADER_WORDS + len(SLOT_FIELDS) * changed[2] if is_book else 0] += 1
        columns[column] = changed
        recording.change_snapshot(key, digest=state_hash(columns), chunks=(encode_state(columns),))
        report = await recording.audit(tmp_path)
        assert f"{key}, snapshot at frame" in report["P6"].offender
        assert "expected the replayed state, found another" in report["P6"].offender


async def test_p6_a_snapshot_with_another_creators_position_is_named(
    recording: Recording, tmp_path: Path
) -> None:
    """It is in no hash, but in the snapshot."""
    key = FOLLOWERS[0]
    columns = dict(decode_state(b"".join(recording.server.snapshots[key][0].chunks)))
    changed = columns["book.0000000000"].copy()
    changed[3 + HEADER_WORDS + SLOT_FIELDS.index("creator_position")] += 1
    columns["book.0000000000"] = changed
    recording.change_snapshot(key, digest=state_hash(columns), chunks=(encode_state(columns),))
    report = await recording.audit(tmp_path)
    assert "expected the replayed state, found another" in report["P6"].offender


async def test_p6_a_snapshot_may_lack_positions_that_an_older_version_did_not_keep(
    recorded: Recording, tmp_path: Path
) -> None:
    """It ran in between, restored from a snapshot of its own, and left one of layout 3."""
    key = FOLLOWERS[0]
    for change in (0, 1):
        recording = recorded.copy()
        newer, older = FollowerShard(0), FollowerShard(0)
        chunks = recording.server.snapshots[key][0].chunks
        newer.restore(decode_snapshot(b"".join(chunks), newer.schema))
        older.restore(decode_snapshot(encode_state(newer.columns()), older.schema))
        assert newer.state.books[0].creator_positions and not older.state.books[0].creator_positions
        older.state.books[0].slots[0].mark += change
        recording.change_snapshot(
            key, digest=copy_digest(older.copy()), chunks=(encode_copy(older.copy()),)
        )
        report = await recording.audit(tmp_path)
        assert report["P6"].passed == (not change), report["P6"].offender


async def test_p6_a_snapshot_of_an_older_layout_is_compared_by_what_is_hashed(
    recorded: Recording, tmp_path: Path
) -> None:
    key = FOLLOWERS[0]
    for change in (0, 1):
        recording = recorded.copy()
        older = FollowerShard(0)
        chunks = recording.server.snapshots[key][0].chunks
        older.restore(decode_snapshot(b"".join(chunks), older.schema))
        columns = older.columns()
        columns["next_cause"] = columns["next_cause"] + change
        recording.change_snapshot(
            key, digest=state_hash(columns), chunks=(encode_state(columns),), layout=3
        )
        report = await recording.audit(tmp_path)
        assert report.passed == (not change)
        assert "expected the replayed state" in report["P6"].offender or not change


async def test_p6_a_snapshot_of_a_newer_layout_is_named(
    recording: Recording, tmp_path: Path
) -> None:
    recording.change_snapshot(FOLLOWERS[0], layout=STATE_LAYOUT + 1, chunks=())
    report = await recording.audit(tmp_path)
    assert "cannot be read" in report["P6"].offender
    assert "upgrade first" in report["P6"].offender


async def test_p6_a_snapshot_ahead_of_the_journal_is_named(
    recording: Recording, tmp_path: Path
) -> None:
    recording.put(FOLLOWERS[0], recording.frames(FOLLOWERS[0])[:-3])
    report = await recording.audit(tmp_path)
    assert "expected the journal to reach frame" in report["P6"].offender


async def test_p6_a_live_state_that_differs_is_named(recording: Recording, tmp_path: Path) -> None:
    bus = MemoryBus(recording.server)
    hashes = {CREATOR: "00", FOLLOWERS[0]: "00", FOLLOWERS[1]: "00"}

    async def listen(key: ShardKey) -> None:
        header, _ = decode_frame(recording.frames(key)[-1].data)
        answer = {
            "epoch": header.epoch,
            "number": header.number,
            "state_hash": hashes[key],
            "settled": True,
        }
        data = msgspec.json.encode(answer)
        tasks = []

        def receive(request: Request) -> None:
            tasks.append(asyncio.ensure_future(request.reply(data)))

        await bus.subscribe(f"shards.{key.kind.name.lower()}.{key.shard}.inspect", receive)

    for key in hashes:
        await listen(key)
    report = await audit(recording.store(tmp_path, is_running=True))
    assert report["P6"].faults == 3
    assert "creator/0, frame" in report["P6"].offender
    assert "expected the live state to be the replayed one" in report["P6"].offender


async def follower_tables(recording: Recording, key: ShardKey) -> FollowerTables:
    tables = FollowerTables(key.shard)
    async for frame in FrameReader(MemoryJournal(recording.server), key).frames():
        tables.add(frame)
    return tables


async def test_p7_every_error_in_money_or_position_is_named(recording: Recording) -> None:
    tables = await follower_tables(recording, FOLLOWERS[0])
    orders = tables.orders.table()
    outcomes = order_outcomes(orders, OrderIndex(orders), tables.executions.table())
    book = tables.state.books[0]
    for column, what in (
        (book.subscriptions["cash"], "cash"),
        (book.subscriptions["reserved"], "reserved"),
        (book.slots[0].position, "position in AAA"),
        (book.slots[0].open, "open orders in AAA"),
    ):
        clean, faulty = Checks()["P7"], Checks()["P7"]
        ConservationAudit(tables, orders, outcomes, clean).run(tables.state)
        assert clean.passed, clean.offender
        column[2] += 1
        ConservationAudit(tables, orders, outcomes, faulty).run(tables.state)
        column[2] -= 1
        subscription = int(book.subscriptions["subscription"][2])
        assert (
            f"account {tables.account_of(subscription)}, "
            f"subscription {subscription}: expected {what} " in faulty.offender
        )


async def test_p7_a_creators_cash_or_position_that_is_wrong_is_named(recording: Recording) -> None:
    tables = CreatorTables(0)
    async for frame in FrameReader(MemoryJournal(recording.server), CREATOR).frames():
        tables.add(frame)
    clean, cash, position = Checks(), Checks(), Checks()
    check_creators(tables, clean["P7"], clean["P4"])
    assert clean["P7"].passed
    assert clean["P4"].passed
    tables.state.creators[1].cash += 1
    check_creators(tables, cash["P7"], cash["P4"])
    assert "creator bert: expected cash" in cash["P7"].offender
    tables.state.creators[1].cash -= 1
    tables.state.creators[0].positions[0] += 1
    check_creators(tables, position["P7"], position["P4"])
    assert "creator anna: expected position in AAA" in position["P7"].offender


async def test_p7_a_creators_position_that_jumps_is_named(
    recording: Recording, tmp_path: Path
) -> None:
    def jumped(header: FrameHeader, events: list[object]) -> list[object]:
        return [
            replace(
                event,
                position_before=event.position_before + 5,
                position_after=event.position_after + 5,
            )
            if isinstance(event, FillApplied) and event.signal == 3
            else event
            for event in events
        ]

    recording.rewrite(CREATOR, jumped)
    report = await recording.audit(tmp_path)
    assert "creator anna, fill fill-" in report["P7"].offender
    assert "expected its position to go on" in report["P7"].offender


async def test_p8_an_execution_applied_twice_is_named(recording: Recording, tmp_path: Path) -> None:
    _, number, event = recording.change_event(
        ExecutionsApplied, lambda event: [event, event], is_trade
    )
    report = await recording.audit(tmp_path)
    assert f"execution {event.prefix}{event.numbers[0]} of broker paper" in report["P8"].offender
    assert f"frame {number}" in report["P8"].offender
    assert (
        "expected it applied once, found it again" in report["P8"].offender
        or "at most its quantity" in report["P8"].offender
    )


async def test_p8_a_missing_execution_is_named(recording: Recording, tmp_path: Path) -> None:
    _, _, event = recording.change_event(
        ExecutionsApplied, lambda event: [without_row(event, 0, *ROWS)], is_trade
    )
    for is_drained in (False, True):
        report = await recording.audit(tmp_path, is_drained=is_drained)
        assert (
            f"execution {event.prefix}{event.numbers[0]} of broker paper" in report["P8"].offender
        )
        assert "found it nowhere in the journal" in report["P8"].offender


async def test_p8_an_execution_that_the_ledger_does_not_know_is_named(
    recording: Recording, tmp_path: Path
) -> None:
    recording.change_event(
        ExecutionsApplied, lambda event: [event, replace(event, prefix="forged-")], is_trade
    )
    report = await recording.audit(tmp_path)
    assert not report["P8"].passed
    recorded = recording.copy()
    recorded.change_ledger(ExecutionsReported, lambda section: [without_row(section, 0, *ROWS)])
    report = await recorded.audit(tmp_path)
    assert not report["P8"].passed


async def test_p8_an_execution_gone_from_the_ledger_is_named(
    recording: Recording, tmp_path: Path
) -> None:
    gone: list[ExecutionsReported] = []

    def cut(section: ExecutionsReported) -> list[object]:
        gone.append(section)
        return [without_row(section, 0, *ROWS)]

    recording.change_ledger(ExecutionsReported, cut)
    report = await recording.audit(tmp_path)
    assert [check.promise for check in report.checks if not check.passed] == ["P8"]
    assert (
        f"execution {gone[0].prefix}{gone[0].numbers[0]} of broker paper" in report["P8"].offender
    )
    assert "expected it in the broker's ledger, found none" in report["P8"].offender


async def test_p8_another_price_than_the_brokers_is_named(
    recording: Recording, tmp_path: Path
) -> None:
    def cheaper(event: ExecutionsApplied) -> list[object]:
        return [with_value(event, "prices", 1, int(event.prices[1]) - 1)]

    _, _, event = recording.change_event(ExecutionsApplied, cheaper, is_trade)
    report = await recording.audit(tmp_path)
    assert [check.promise for check in report.checks if not check.passed] == ["P8"]
    assert f"execution {event.prefix}{event.numbers[1]} " in report["P8"].offender
    assert "expected the price of the ledger" in report["P8"].offender


async def test_p8_an_overfill_is_named(recording: Recording, tmp_path: Path) -> None:
    def too_much(event: ExecutionsApplied) -> list[object]:
        return [with_value(event, "quantities", 0, int(event.quantities[0]) * 50)]

    _, number, _ = recording.change_event(ExecutionsApplied, too_much, is_trade)
    report = await recording.audit(tmp_path)
    assert "expected at most its quantity filled, found more" in report["P8"].offender
    assert f"frame {number}: cannot be replayed" in report["P6"].offender


async def test_orders_under_way_are_counted_as_pending(recorded: Recording, tmp_path: Path) -> None:
    recording = recorded.copy()
    frames = recording.frames(FOLLOWERS[0])
    number = next(
        index
        for index, message in enumerate(frames)
        if any(isinstance(event, ExecutionsApplied) for event in decode_frame(message.data)[1])
    )
    recording.put(FOLLOWERS[0], frames[:number])
    recording.server.snapshots.clear()
    report = await audit(recording.store(tmp_path, is_running=True))
    assert report.passed, "\n".join(report.lines())
    assert report["P2"].counts["pending"] > 0
    assert report["P8"].counts["pending"] > 0
    assert report["P3"].counts["newer"] > 0
    stopped = await recording.audit(tmp_path, is_drained=False)
    assert not stopped["P3"].passed, (
        "a broker that knows more than the journal is a journal that lost its end"
    )


@pytest.mark.parametrize("damaged", [1, 2])
async def test_p6_a_snapshot_that_the_database_cannot_give_back_is_named(
    recording: Recording, tmp_path: Path, damaged: int
) -> None:
    """Pages of the database are damaged. The rest is audited all the same."""

    class Damaged(MemorySnapshots):
        async def newest(self, key: ShardKey, *, count: int = 2) -> list[Snapshot]:
            if key == CREATOR and count >= damaged:
                raise PermanentError("snapshots: DataCorruptedError: invalid page")
            return await super().newest(key, count=count)

    store = recording.store(tmp_path)._replace(snapshots=Damaged(recording.server))
    report = await audit(store)
    which = "the newest snapshot" if damaged == 1 else "the snapshot before the newest"
    assert f"creator/0: expected {which} to be readable" in report["P6"].offender
    assert report["P6"].faults == 1
    assert [check.promise for check in report.checks if not check.passed] == ["P6"]
