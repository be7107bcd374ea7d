"""P6 at the broker: after any corrections, reopenings, cancels and executions, a restart finds the
same open orders.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from hypothesis import example, given, settings
from hypothesis import strategies as st

from engine.messages.blocks import decode_block
from engine.values.order_status import ExecType
from engine.values.refusals import Refused
from gateways.brokers.ledger.ledger import MemoryLedger
from gateways.brokers.paper.corrections import CorrectionAsked, find_traded
from gateways.brokers.paper.server import corrections_within
from gateways.brokers.paper.settings import FillSettings
from gateways.brokers.paper.venue import PaperVenue
from gateways.brokers.program.core import ProgramCore
from gateways.brokers.program.turns import TurnOptions, Turns
from gateways.memory.server import MemoryServer
from gateways.memory.streams import MemoryStreams
from tests.gateways.brokers.builders import (
    EVENT_TIME,
    MARK,
    SHARES_10,
    accounts,
    block,
    cancels,
    orders,
)

MS = 1_000_000
ORDERS = range(3)
CANCEL, CORRECT = ExecType.TRADE_CANCEL, ExecType.TRADE_CORRECT
KEY = 1 << 32

turns = st.tuples(
    st.sets(st.sampled_from(ORDERS)).map(sorted),
    st.none() | st.tuples(st.integers(1, 12), st.booleans(), st.booleans()),
    st.sampled_from([0, 4, 10]),
)
"""The orders to cancel, the execution to correct or cancel (with reopening or not), and the wait
before the turn in ms.
"""


class BrokerParts(NamedTuple):
    """The program, and the venue whose open orders are compared."""

    core: ProgramCore
    venue: PaperVenue
    ledger: MemoryLedger


def broker_on(data: bytes = b"") -> BrokerParts:
    ledger = MemoryLedger(data)
    settings = FillSettings(fill_delay_ms=10, partial_fill_slices=4)
    venue = PaperVenue(settings)
    return BrokerParts(ProgramCore(settings, ledger, venue, new_ledger_id="memory"), venue, ledger)


def is_open(broker: BrokerParts) -> list[int]:
    return [broker.venue.remaining_of(KEY, order) for order in ORDERS]


def append(broker: BrokerParts) -> None:
    ended = broker.core.end_turn()
    if ended.frame:
        broker.ledger.append(ended.frame)
        broker.core.committed()


def correct(broker: BrokerParts, asked: CorrectionAsked, now: int) -> None:
    order = find_traded(broker.ledger, asked.exec_ref_id)
    broker.core.within(lambda turn, at: broker.venue.correct(asked, order, at, turn), now)


@given(st.lists(turns, min_size=1, max_size=12))
@example([([], None, 10), ([0], None, 0), ([], (1, True, True), 4), ([], None, 10)])
@settings(max_examples=200, deadline=None)
def test_p6_a_restart_finds_the_same_open_orders(
    story: list[tuple[list[int], tuple[int, bool, bool] | None, int]],
) -> None:
    now, broker = EVENT_TIME, broker_on()
    core, _, ledger = broker
    core.take(block(accounts(), orders(ORDERS)), now)
    append(broker)
    for cancelled, corrected, ms in story:
        now += ms * MS
        if corrected is not None:
            number, is_cancel, is_reopened = corrected
            name = f"paper-memory-0-{number}"
            values = (0, 0, 0) if is_cancel else (SHARES_10 // 8, MARK, 0)
            asked = CorrectionAsked(CANCEL if is_cancel else CORRECT, name, *values, is_reopened)
            correct(broker, asked, now)
        core.take(block(cancels(cancelled)), now)
        core.advance(now)
        append(broker)
        assert is_open(broker_on(bytes(ledger.data))) == is_open(broker)
        assert min(is_open(broker)) >= 0


async def test_p6_a_trade_cancelled_while_its_order_is_cancelled_leaves_the_same_open_orders() -> (
    None
):
    server, broker = MemoryServer(), broker_on()
    core, venue, ledger = broker
    server.add_stream("EXECUTIONS", "executions.>")
    core.take(block(accounts(), orders(ORDERS)), EVENT_TIME)
    core.advance(EVENT_TIME + 10 * MS)
    append(broker)
    loop = Turns(core, ledger, MemoryStreams(server), broker="paper", options=TurnOptions())
    answers: list[bytes] = []

    async def answer(data: bytes) -> None:
        answers.append(data)

    loop.offer(block(cancels([0])), answer)
    asked = CorrectionAsked(CANCEL, "paper-memory-0-1", is_reopened=True)
    within = corrections_within(loop, venue)
    correcting = asyncio.ensure_future(within(asked, find_traded(ledger, asked.exec_ref_id)))
    await asyncio.sleep(0)
    with ThreadPoolExecutor(1) as disk:
        await loop.turn(disk)
    assert not isinstance(await correcting, Refused) and len(decode_block(answers[0])) == 1
    assert is_open(broker_on(bytes(ledger.data))) == is_open(broker)
