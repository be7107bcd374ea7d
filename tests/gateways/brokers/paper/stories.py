"""Stories that a paper broker lives through: the same blocks, clock and corrections every time.

Version 0.1.0 wrote the ledgers in `tests/gateways/brokers/golden` from these stories, before the
program and the paper rules were taken apart. They are never made anew. A change to the ledger's
format adds a story beside them.
"""

import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from actors.errors import OutcomeUnknownError
from engine.messages.blocks import OrdersLookedUp, SendingRound
from engine.values.order_ids import OrderKey
from engine.values.order_status import ExecType
from gateways.brokers.ledger.ledger import MemoryLedger
from gateways.brokers.paper.corrections import CorrectionAsked
from gateways.brokers.paper.memory import MemoryPaperBroker
from gateways.brokers.paper.settings import FillSettings
from tests.gateways.brokers.builders import (
    MARK,
    SHARES_10,
    Clock,
    Reported,
    accounts,
    block,
    cancels,
    orders,
)

MS = 1_000_000
GOLDEN = Path(__file__).parents[1] / "golden"
SETTINGS = {
    "at_once": FillSettings(fee_rate_micros=700, slippage_micros=50),
    "slices": FillSettings(fill_delay_ms=10, partial_fill_slices=3, reject_every_n=7),
    "event_clock": FillSettings(clock="event", fill_delay_ms=5, reject_ratio_micros=200_000),
    "looked_up": FillSettings(order_ids="looked_up", lost_answers_ratio_micros=300_000),
    "unchecked": FillSettings(order_ids="unchecked", duplicate_executions=True),
    "looked_up_anew": FillSettings(order_ids="looked_up", lost_answers_ratio_micros=300_000),
    "unchecked_again": FillSettings(order_ids="unchecked", duplicate_executions=True),
}
FAULTY = ("looked_up", "unchecked")
"""The version that wrote these took executions twice off an id that came twice in a turn, when it
read its ledger back. So their stories go on otherwise now.
"""


async def tell(name: str) -> tuple[MemoryLedger, list[bytes], Reported]:
    """Live through a story. Returns: the ledger, the answers to the blocks, and the reports."""
    clock, reported, ledger = Clock(), Reported(), MemoryLedger()
    broker = MemoryPaperBroker(SETTINGS[name], clock, reported, ledger=ledger, ledger_id="golden")
    answers: list[bytes] = []
    for ms, sent in _blocks(random.Random(name)):
        clock.now += ms * MS
        broker.advance()
        try:
            answers.append(await broker.submit(sent))
        except OutcomeUnknownError:
            answers.append(b"")
        if len(answers) in (9, 21, 33):
            _correct(broker, reported)
        if len(answers) == 25:
            ledger = MemoryLedger(bytes(ledger.data))
            broker = MemoryPaperBroker(SETTINGS[name], clock, reported, ledger=ledger)
    return ledger, answers, reported


def _correct(broker: MemoryPaperBroker, reported: Reported) -> None:
    trades = [
        name for name, (_, kind, *_) in reported.executions().items() if kind is ExecType.TRADE
    ]
    asked = (
        CorrectionAsked(ExecType.TRADE_CANCEL, trades[0], is_reopened=True),
        CorrectionAsked(ExecType.TRADE_CORRECT, trades[1], SHARES_10 // 4, MARK + 5, 3),
        CorrectionAsked(ExecType.TRADE_CANCEL, "paper-golden-9-1"),
    )
    for each in asked:
        broker.correct(each)


def _blocks(chance: random.Random) -> Iterator[tuple[int, bytes]]:
    """Milliseconds to wait, and a block. Some are refused, and leave nothing."""
    yield 0, block(accounts(0, count=64))
    yield 0, block(accounts(0, count=64), accounts(3, 5, 60), epoch=2)
    yield 1, block(orders([1]), epoch=1)
    for cause in range(1, 30):
        epoch = 2 if cause <= 20 else 3
        speaking = SendingRound(cause - cause % 6)
        rows = sorted(chance.sample(range(64), chance.randint(1, 20)))
        made = orders(
            rows,
            cause_number=cause,
            side=chance.choice([1, -1]),
            limit_price=0 if cause % 4 else MARK - 1,
            expire_time=0 if cause % 5 else (Clock().now + 40 * MS),
            quantities=np.array([chance.randint(1, 10**10) for _ in rows]),
        )
        again = orders(rows[: len(rows) // 2 + 1], cause_number=max(1, cause - 1))
        other = orders([7, 9], follower_shard=3, cause_number=cause, accounts=np.array([5, 6]))
        yield chance.randint(0, 9), block(speaking, made, again, other, epoch=epoch)
        if cause % 3 == 0:
            yield chance.randint(0, 9), block(speaking, cancels(rows[:4], cause), epoch=epoch)
        if cause % 6 == 0:
            asked = OrdersLookedUp(0, OrderKey(0, 0, cause, 0, 0), np.arange(0, 64, 3))
            yield 2, block(SendingRound(cause), asked, epoch=epoch)
            yield 0, block(SendingRound(cause - 1), orders([63], cause_number=99), epoch=epoch)
            yield 0, block(SendingRound(cause), orders([1], symbol=""), epoch=epoch)
        if cause == 20:
            yield 3, block(SendingRound(18), orders(range(40), cause_number=77), epoch=3)
            yield 3, block(SendingRound(18), orders([2, 2, 3], cause_number=77), epoch=2)
            yield 3, b"LSB1 junk"
