"""The paper broker as brokers of each kind: what it does with ids it has seen, says when asked, and
which answers it loses (P9).
"""

from typing import Any, Literal

import numpy as np
import pytest

from actors.errors import OutcomeUnknownError
from engine.messages.blocks import (
    BlockAnswered,
    OrdersKnown,
    OrdersLookedUp,
    SendingRound,
    decode_block,
)
from engine.values.order_ids import OrderKey
from gateways.brokers.ledger.ledger import MemoryLedger
from gateways.brokers.paper.lost_answers import LostAnswers
from gateways.brokers.paper.memory import MemoryPaperBroker
from gateways.brokers.paper.settings import FillSettings
from tests.gateways.brokers.builders import (
    EVENT_TIME,
    MARK,
    SHARES_10,
    Clock,
    Reported,
    accounts,
    block,
    orders,
)

Class = Literal["refused", "looked_up", "unchecked"]


def broker(
    order_ids: Class, *, ledger: MemoryLedger | None = None, **more: Any
) -> tuple[MemoryPaperBroker, Reported]:
    """Start a broker, on the ledger of an earlier one or its own."""
    reported = Reported()
    settings = FillSettings(order_ids=order_ids, **more)
    return MemoryPaperBroker(settings, Clock(), reported, ledger=ledger), reported


def asked(*subscriptions: int) -> OrdersLookedUp:
    return OrdersLookedUp(0, OrderKey(0, 0, 1, 0, 0), np.array(subscriptions, np.int64))


async def sent(
    to: MemoryPaperBroker, *sections: Any, epoch: int = 1
) -> tuple[BlockAnswered, list[Any]]:
    answer, *rest = decode_block(await to.submit(block(*sections, epoch=epoch)))
    assert isinstance(answer, BlockAnswered)
    return answer, rest


@pytest.mark.parametrize(
    ("order_ids", "times"), [("refused", 1), ("looked_up", 2), ("unchecked", 2)]
)
async def test_an_order_sent_twice_is_placed_twice_unless_ids_are_refused(
    order_ids: Class, times: int
) -> None:
    paper, reported = broker(order_ids)
    for _ in range(2):
        await sent(paper, accounts(), orders([3]))
    assert list(reported.filled().values()) == [times * SHARES_10]


@pytest.mark.parametrize("order_ids", ["refused", "looked_up"])
async def test_a_look_up_names_every_order_ever_taken(order_ids: Class) -> None:
    paper, _ = broker(order_ids)
    await sent(paper, accounts(), orders([1, 2, 3]), orders([9, 40]))
    again, _ = broker(order_ids, ledger=MemoryLedger(bytes(paper.ledger.data)))
    for each in (paper, again):
        answer, known = await sent(
            each, SendingRound(1), asked(0, 2, 3, 9, 10, 40, 41), asked(5), asked()
        )
        assert answer.refusal == ""
        assert all(isinstance(section, OrdersKnown) for section in known)
        assert [section.subscriptions.tolist() for section in known] == [[2, 3, 9, 40], [], []]


async def test_a_looked_up_order_can_no_longer_arrive_even_after_a_restart() -> None:
    paper, reported = broker("looked_up")
    await sent(paper, SendingRound(0), accounts())
    await sent(paper, SendingRound(1), asked(1))
    again, _ = broker("looked_up", ledger=MemoryLedger(bytes(paper.ledger.data)))
    for each in (paper, again):
        answer, _ = await sent(each, SendingRound(0), orders([1]))
        assert answer.refusal.startswith("round: expected 1 or higher, found 0")
    assert reported.filled() == {}
    answer, _ = await sent(paper, SendingRound(0), orders([1]), epoch=2)
    assert (answer.accepted, answer.refusal) == (1, "")


async def test_a_broker_that_checks_nothing_answers_no_look_up() -> None:
    paper, _ = broker("unchecked")
    answer, known = await sent(paper, SendingRound(1), asked(1))
    assert "does not look orders up" in answer.refusal
    assert known == []


@pytest.mark.parametrize(
    ("sections", "refusal"),
    [
        ((asked(3, 3),), "look-up: subscriptions: expected them to ascend"),
        ((asked(-1),), "look-up: subscriptions: expected 0 to"),
        (
            (OrdersLookedUp(0, OrderKey(9, 0, 1, 0, 0), np.array([1], np.int64)),),
            "look-up: cause_kind: expected 0 to 2, found 9",
        ),
        ((accounts(), SendingRound(1)), "block: expected a SendingRound second or not at all"),
    ],
)
async def test_an_impossible_look_up_is_refused_whole(
    sections: tuple[Any, ...], refusal: str
) -> None:
    paper, _ = broker("looked_up")
    answer, known = await sent(paper, *sections)
    assert answer.refusal.startswith(refusal)
    assert known == []


async def test_a_lost_answer_is_lost_after_the_orders_were_taken() -> None:
    paper, reported = broker("looked_up", lost_answers_ratio_micros=500_000, lost_answers_seed=3)
    lost = LostAnswers(FillSettings(lost_answers_ratio_micros=500_000, lost_answers_seed=3))
    expected = [lost.loses_next() for _ in range(40)]
    assert 5 < sum(expected) < 35
    for number, is_lost in enumerate(expected):
        if is_lost:
            with pytest.raises(OutcomeUnknownError, match="lost"):
                await paper.submit(block(accounts(), orders([number])))
        else:
            await paper.submit(block(accounts(), orders([number])))
    assert len(reported.filled()) == 40


@pytest.mark.parametrize("slices", [1, 3])
@pytest.mark.parametrize("order_ids", ["looked_up", "unchecked"])
async def test_an_id_that_came_twice_in_one_turn_is_read_back_as_it_was_executed(
    order_ids: Class, slices: int
) -> None:
    few = np.full(1, SHARES_10 // 5 + 1, np.int64)
    paper, _ = broker(order_ids, partial_fill_slices=slices)
    await sent(paper, accounts(), orders([3]), orders([3], quantities=few))
    again, reported = broker(
        order_ids,
        ledger=MemoryLedger(bytes(paper.ledger.data)),
        partial_fill_slices=slices,
        fill_delay_ms=1,
    )
    assert again.next_due_ns() is None
    again.advance()
    assert sum(reported.filled().values()) == SHARES_10 + int(few[0])


async def test_an_id_taken_twice_that_its_limit_keeps_open_ends_after_a_restart() -> None:
    """Each of the two ends by itself, and is read back by itself."""
    clock = Clock()
    settings = FillSettings(order_ids="unchecked", fill_delay_ms=50)
    paper = MemoryPaperBroker(settings, clock, Reported())
    few = np.full(1, SHARES_10 // 5, np.int64)
    forbidden = {"limit_price": MARK - 1}
    await sent(
        paper, accounts(), orders([3], **forbidden), orders([3], quantities=few, **forbidden)
    )
    again = MemoryPaperBroker(
        settings, clock, Reported(), ledger=MemoryLedger(bytes(paper.ledger.data))
    )
    for each in (paper, again):
        clock.now = EVENT_TIME + 50 * 10**6
        each.advance()
        assert each.next_due_ns() is None
