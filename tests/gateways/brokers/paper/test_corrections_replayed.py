"""P6 at the broker: whatever is corrected, reopened, cancelled and executed, a restart finds open
what was open.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from hypothesis import example, given, settings
from hypothesis import strategies as st

from engine.messages.blocks import decode_block
from engine.values.order_status import ExecType
from engine.values.refusals import Refused
from gateways.brokers.ledger.ledger import MemoryLedger
from gateways.brokers.paper.core import PaperBrokerCore
from gateways.brokers.paper.corrections import CorrectionAsked, find_traded
from gateways.brokers.paper.server import Turns
from gateways.brokers.paper.settings import FillSettings
from gateways.memory.server import MemoryServer
from gateways.memory.streams import MemoryStreams
from tests.gateways.brokers.paper.builders import (
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
"""What is cancelled, which execution is corrected or cancelled and whether that reopens its order,
and how long the turn waits.
"""


def core_on(ledger: MemoryLedger) -> PaperBrokerCore:
    return PaperBrokerCore(
        FillSettings(fill_delay_ms=10, partial_fill_slices=4), ledger, new_ledger_id="memory"
    )


def is_open(core: PaperBrokerCore) -> list[int]:
    return [core._open.remaining_of(KEY, order) for order in ORDERS]


def append(core: PaperBrokerCore, ledger: MemoryLedger) -> None:
    cut = core.cut()
    if cut.frame:
        ledger.append(cut.frame)
        core.committed()


@given(st.lists(turns, min_size=1, max_size=12))
@example([([], None, 10), ([0], None, 0), ([], (1, True, True), 4), ([], None, 10)])
@settings(max_examples=200, deadline=None)
def test_a_restart_finds_open_what_was_open(
    story: list[tuple[list[int], tuple[int, bool, bool] | None, int]],
) -> None:
    ledger, now = MemoryLedger(), EVENT_TIME
    core = core_on(ledger)
    core.take(block(accounts(), orders(ORDERS)), now)
    append(core, ledger)
    for cancelled, corrected, ms in story:
        now += ms * MS
        if corrected is not None:
            number, is_cancel, is_reopened = corrected
            name = f"paper-memory-0-{number}"
            values = (0, 0, 0) if is_cancel else (SHARES_10 // 8, MARK, 0)
            asked = CorrectionAsked(CANCEL if is_cancel else CORRECT, name, *values, is_reopened)
            core.correct(asked, find_traded(ledger, name), now)
        core.take(block(cancels(cancelled)), now)
        core.advance(now)
        append(core, ledger)
        again = core_on(MemoryLedger(bytes(ledger.data)))
        assert is_open(again) == is_open(core)
        assert min(is_open(core)) >= 0


async def test_a_trade_taken_back_as_its_order_is_cancelled_leaves_open_what_a_restart_finds() -> (
    None
):
    ledger, server = MemoryLedger(), MemoryServer()
    server.add_stream("EXECUTIONS", "executions.>")
    core = core_on(ledger)
    core.take(block(accounts(), orders(ORDERS)), EVENT_TIME)
    core.advance(EVENT_TIME + 10 * MS)
    append(core, ledger)
    loop = Turns(core, ledger, MemoryStreams(server), FillSettings())
    answers: list[bytes] = []

    async def answer(data: bytes) -> None:
        answers.append(data)

    loop.offer(block(cancels([0])), answer)
    asked = CorrectionAsked(CANCEL, "paper-memory-0-1", is_reopened=True)
    correcting = asyncio.create_task(loop.correct(asked, find_traded(ledger, asked.exec_ref_id)))
    await asyncio.sleep(0)
    with ThreadPoolExecutor(1) as disk:
        await loop.turn(disk)
    assert not isinstance(await correcting, Refused) and len(decode_block(answers[0])) == 1
    assert is_open(core_on(MemoryLedger(bytes(ledger.data)))) == is_open(core)
