"""The paper broker takes, refuses and executes blocks; driven through its in-memory twin."""

from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.columns.section_types import Section
from engine.columns.sections import encode_sections
from engine.messages.blocks import ExecutionsReported, decode_block
from engine.values.order_status import ExecType
from gateways.brokers.ledger.ledger import MemoryLedger
from gateways.brokers.ledger.records import LedgerError
from gateways.brokers.paper.memory import MemoryPaperBroker
from gateways.brokers.paper.settings import FillSettings
from gateways.brokers.program import turn
from gateways.brokers.program.reports import MESSAGE_BYTES_MAX
from tests.gateways.brokers.builders import (
    ACCOUNTS,
    EVENT_TIME,
    MARK,
    SHARES_10,
    Clock,
    Reported,
    accounts,
    answer,
    block,
    cancels,
    changed,
    header,
    orders,
)
from tests.gateways.brokers.paper.paper_broker import MS, PaperBroker


class Unknown(Section, frozen=True):
    """A section of a newer version."""

    TAG: ClassVar[int] = 999
    value: int


async def test_orders_fill_whole_at_their_mark() -> None:
    broker = PaperBroker(fee_rate_micros=1000)
    assert await broker.submit(accounts(), orders(range(3))) == (3, 0, "")
    found = broker.reported.executions()
    assert list(found) == [f"paper-memory-0-{number}" for number in (1, 2, 3)]
    assert list(found.values()) == [
        ((0, 0, 0, 1, 0, 0, row), ExecType.TRADE, SHARES_10, MARK, 1_900_000) for row in range(3)
    ]


async def test_p1_repeated_ids_are_counted_and_never_executed_again() -> None:
    broker = PaperBroker()
    await broker.submit(accounts(), orders([1, 3, 5]))
    assert await broker.submit(orders([1, 3, 5])) == (0, 3, "")
    assert await broker.submit(orders([1, 2, 3, 4])) == (2, 2, "")
    assert await broker.submit(orders([1], attempt=1)) == (1, 0, "")
    assert await broker.submit(orders([7, 7, 8]), orders([8, 9])) == (3, 2, "")
    broker.restart()
    assert await broker.submit(orders(range(10))) == (2, 8, "")
    assert all(quantity == SHARES_10 for quantity in broker.reported.filled().values())
    assert len(broker.reported.filled()) == 11


async def test_p5_a_superseded_gateway_is_refused_also_after_a_restart() -> None:
    broker = PaperBroker()
    await broker.submit(accounts(), orders([1]), epoch=5)
    for _ in range(2):
        accepted, _, refusal = await broker.submit(orders([2]), epoch=4)
        assert accepted == 0
        assert "expected 5 or higher, found 4" in refusal
        broker.restart()
    assert await broker.submit(orders([2]), epoch=5) == (1, 0, "")


async def test_numbers_go_on_without_gaps_over_blocks_and_restarts() -> None:
    broker = PaperBroker()
    for cause in range(1, 6):
        await broker.submit(
            accounts(),
            orders(range(3), cause_number=cause),
            accounts(1),
            orders([4], follower_shard=1, cause_number=cause),
        )
        broker.restart()
    found = broker.reported.executions()
    assert {f"paper-memory-0-{number}" for number in range(1, 16)} | {
        f"paper-memory-1-{number}" for number in range(1, 6)
    } == set(found)
    assert all(
        subject == f"executions.paper.{name.split('-')[2]}"
        for name, (subject, _) in broker.reported.messages.items()
    )


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"quantities": np.array([0, 1])}, "quantities: expected 1 to"),
        ({"quantities": np.array([5, -1])}, "quantities: expected 1 to"),
        ({"quantities": np.array([1])}, "expected 2 accounts and quantities"),
        ({"accounts": np.array([1, ACCOUNTS])}, f"found {ACCOUNTS}; register it first"),
        ({"accounts": np.array([-1, 2])}, "found -1; register it first"),
        ({"follower_shard": 9}, "registered numbers of shard 9"),
        ({"side": 0}, "side: expected 1 or -1"),
        ({"price": 0}, "price: expected 1 to"),
        ({"limit_price": -1}, "limit_price: expected 0 to"),
        ({"cause_kind": 3}, "cause_kind: expected 0 to 2"),
        ({"cause_number": 1 << 36}, "cause_number: expected 0 to"),
        ({"leg": 4096}, "leg: expected 0 to"),
        ({"attempt": -1}, "attempt: expected 0 to"),
        ({"follower_shard": 1 << 14}, "follower_shard: expected 0 to"),
        ({"symbol": ""}, "symbol: expected 1 to"),
        ({"subscriptions": np.array([2, 1])}, "expected them to ascend"),
        ({"subscriptions": np.array([0, 1 << 32])}, "subscriptions: expected 0 to"),
        (
            {"price": 10**13, "limit_price": 0, "quantities": np.array([1, 10**17])},
            "notional: expected at most",
        ),
    ],
)
async def test_impossible_orders_are_refused_with_the_whole_block(
    changes: dict[str, Any], says: str
) -> None:
    broker = PaperBroker()
    accepted, _, refusal = await broker.submit(
        accounts(), orders([50]), changed(orders([1, 2]), **changes)
    )
    assert accepted == 0
    assert says in refusal
    assert broker.reported.messages == {}
    assert await broker.submit(accounts(), orders([1, 2, 50])) == (3, 0, "")


@pytest.mark.parametrize(
    "junk",
    [
        b"",
        b"LSB1",
        b"LSB1\xff\xff",
        b"{}",
        bytes(1 << 20),
        b"LSB1\x01\x00\x66\x00\x01\x00\x00\x00\x00\x00",
    ],
)
async def test_junk_is_answered_with_a_refusal(junk: bytes) -> None:
    assert answer(await PaperBroker().twin.submit(junk)).refusal


async def test_an_unknown_section_is_skipped_unless_it_is_required() -> None:
    broker = PaperBroker()
    for flags, refusal in ((1, "sections: required tag 999 is unknown"), (0, "")):
        unknown = encode_sections([header(), accounts(), orders([1]), Unknown(7)], flags=flags)
        reply = answer(await broker.twin.submit(b"LSB1" + unknown))
        assert reply.refusal.startswith(refusal) and bool(reply.refusal) == bool(refusal)
        assert reply.accepted == (0 if refusal else 1)


@settings(deadline=None)
@given(st.data())
async def test_a_damaged_block_is_taken_or_refused_but_stops_nothing(data: st.DataObject) -> None:
    broker = PaperBroker()
    await broker.submit(accounts())
    good = bytearray(block(orders(range(5)), cancels([1, 2])))
    place = data.draw(st.integers(0, len(good) - 1))
    good[place] ^= data.draw(st.integers(1, 7))
    answer(await broker.twin.submit(bytes(good)))
    accepted, repeated, refusal = await broker.submit(orders(range(5)), epoch=(1 << 63) - 1)
    assert (accepted + repeated, refusal) == (5, "")


async def test_an_account_number_is_never_given_twice() -> None:
    broker = PaperBroker()
    assert await broker.submit(accounts(count=3)) == (0, 0, "")
    assert await broker.submit(accounts(count=5)) == (0, 0, "")
    other = accounts(first=1, count=1)
    other.ids[0] = "somebody-else"
    _, _, refusal = await broker.submit(other)
    assert "number 1 of shard 0 stands for another account" in refusal
    _, _, refusal = await broker.submit(accounts(1, count=2), type(other)(1, 1, ["x"]))
    assert "given to two accounts in one block" in refusal


async def test_delayed_orders_stay_open_and_a_cancel_wins() -> None:
    broker = PaperBroker(fill_delay_ms=100)
    await broker.submit(accounts(), orders(range(4)))
    assert broker.types() == []
    await broker.submit(cancels([1, 2, 9]))
    assert broker.types() == [ExecType.CANCELED] * 2
    broker.restart()
    broker.pass_ms(99)
    assert len(broker.types()) == 2
    broker.pass_ms(1)
    assert broker.types()[2:] == [ExecType.TRADE] * 2
    await broker.submit(cancels([0, 1, 2, 3]))
    assert len(broker.types()) == 4
    assert broker.twin.next_due_ns() is None


async def test_slices_add_up_and_a_cancel_ends_the_rest() -> None:
    broker = PaperBroker(fill_delay_ms=10, partial_fill_slices=3)
    quantities = np.array([10, 2, 1])
    await broker.submit(accounts(), orders(range(3), quantities=quantities))
    broker.pass_ms(10)
    assert broker.reported.filled() == {(0, 0, 0, 1, 0, 0, 0): 3}
    broker.restart()
    assert broker.reported.filled() == {(0, 0, 0, 1, 0, 0, 0): 6, (0, 0, 0, 1, 0, 0, 1): 1}
    await broker.submit(cancels([1]))
    broker.pass_ms(10)
    assert list(broker.reported.filled().values()) == [10, 1, 1]
    assert broker.types().count(ExecType.CANCELED) == 1


async def test_slices_without_delay_come_at_once() -> None:
    broker = PaperBroker(partial_fill_slices=3)
    await broker.submit(accounts(), orders([1], quantities=np.array([10])))
    assert [quantity for _, _, quantity, _, _ in broker.reported.executions().values()] == [3, 3, 4]


@pytest.mark.parametrize("clock", ["wall", "event"])
async def test_an_expired_order_is_reported_expired(clock: str) -> None:
    broker = PaperBroker(clock=clock)
    if clock == "event":
        broker.clock.now = 5 * EVENT_TIME
    await broker.submit(
        accounts(), orders([1], expire_time=EVENT_TIME), orders([2], expire_time=EVENT_TIME + 1)
    )
    assert broker.types() == [ExecType.EXPIRED, ExecType.TRADE]
    assert all(section.transact_time == EVENT_TIME for section in broker.reported.sections())


async def test_a_delayed_order_expires_when_its_time_comes() -> None:
    broker = PaperBroker(fill_delay_ms=100)
    await broker.submit(accounts(), orders([1], expire_time=EVENT_TIME + 40 * MS))
    broker.pass_ms(40)
    assert broker.types() == [ExecType.EXPIRED]


async def test_a_limit_away_from_the_mark_does_not_fill() -> None:
    broker = PaperBroker()
    await broker.submit(
        accounts(), orders([1], limit_price=MARK - 1), orders([2], side=-1, limit_price=MARK + 1)
    )
    assert broker.types() == [ExecType.EXPIRED] * 2


async def test_every_nth_order_ever_taken_is_rejected() -> None:
    broker = PaperBroker(reject_every_n=4)
    await broker.submit(accounts(), orders(range(6)))
    broker.restart()
    await broker.submit(orders(range(6, 8)))
    rejected = [
        order[-1]
        for order, kind, *_ in broker.reported.executions().values()
        if kind is ExecType.REJECTED
    ]
    assert rejected == [3, 7]
    assert len(broker.reported.filled()) == 6


async def test_duplicates_are_the_same_bytes_under_another_message_id() -> None:
    broker = PaperBroker(duplicate_executions=True)
    await broker.submit(accounts(), orders([1]))
    first, again = broker.reported.messages
    assert again == f"{first}-again"
    assert broker.reported.messages[first] == broker.reported.messages[again]


async def test_messages_stay_under_the_cap_however_large_the_block() -> None:
    broker = PaperBroker(fee_rate_micros=500)
    count = 200_000
    quantities = np.random.default_rng(1).integers(1, 10**14, count)
    wanted = orders(range(count), quantities=quantities, price=1_000_000, limit_price=0)
    assert await broker.submit(accounts(), wanted) == (count, 0, "")
    sizes = [len(data) for _, data in broker.reported.messages.values()]
    assert max(sizes) <= MESSAGE_BYTES_MAX
    assert len(sizes) > 1
    numbers = np.concatenate([section.numbers for section in broker.reported.sections()])
    assert (numbers == np.arange(1, count + 1)).all()


async def test_a_block_too_large_for_one_turn_is_refused() -> None:
    broker = PaperBroker()
    _, _, refusal = await broker.submit(accounts(), orders(range((1 << 20) + 1)))
    assert "expected at most 1048576 orders, found 1048577" in refusal


async def test_open_orders_due_at_once_are_spread_over_turns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(turn, "EXECUTIONS_PER_TURN", 4)
    broker = PaperBroker(fill_delay_ms=10)
    await broker.submit(
        accounts(), *(orders(range(3), cause_number=cause) for cause in range(1, 6))
    )
    counts = []
    for _ in range(4):
        broker.pass_ms(10)
        counts.append(len(broker.types()))
    assert counts == [6, 12, 15, 15]


async def test_unconfirmed_executions_are_reported_again_with_the_same_bytes() -> None:
    broker = PaperBroker()
    await broker.submit(accounts(), orders([1]))
    broker.twin.advance()
    await broker.submit(orders([2]))
    before = broker.reported.calls
    broker.restart()
    assert broker.reported.calls == before + 1
    broker.twin.advance()
    broker.restart()
    assert broker.reported.calls == before + 1


async def test_blocks_of_one_group_share_a_message() -> None:
    broker = PaperBroker()
    await broker.submit(accounts(), *(orders([1], cause_number=cause) for cause in range(1, 9)))
    (data,) = (data for _, data in broker.reported.messages.values())
    assert [type(section) for section in decode_block(data)] == [ExecutionsReported] * 8


async def test_another_brokers_ledger_is_refused() -> None:
    broker = PaperBroker()
    await broker.submit(accounts())
    with pytest.raises(LedgerError, match="expected broker 'acme', found 'paper'"):
        MemoryPaperBroker(
            FillSettings(name="acme"),
            Clock(),
            Reported(),
            ledger=MemoryLedger(bytes(broker.ledger.data)),
        )
