"""The paper broker cancels and corrects its own trades: filed before it is answered, reported like
executions, the same after a restart.
"""

from typing import Any

import msgspec
import pytest

from engine.messages.blocks import CorrectionsReported, ExecutionsReported
from engine.values.order_status import ExecType
from engine.values.refusals import Refused
from gateways.brokers.ledger.ledger import walk_frames
from gateways.brokers.ledger.records import CorrectionTaken, OrdersReopened, walk_records
from gateways.brokers.paper.corrections import CorrectionAsked, decode_correction
from gateways.json.fields import MessageError
from tests.gateways.brokers.builders import MARK, SHARES_10, accounts, cancels, orders
from tests.gateways.brokers.paper.paper_broker import PaperBroker

CANCEL, CORRECT = ExecType.TRADE_CANCEL, ExecType.TRADE_CORRECT


async def traded(count: int = 3, **settings: Any) -> tuple[PaperBroker, list[str]]:
    """Some orders that are filled. Returns: the broker, and what it called the trades."""
    broker = PaperBroker(**settings)
    await broker.submit(accounts(), orders(range(count)))
    broker.pass_ms(settings.get("fill_delay_ms", 0))
    return broker, list(broker.reported.executions())


def sections(broker: PaperBroker, kind: type) -> list[Any]:
    return [section for section in broker.reported.sections() if isinstance(section, kind)]


async def test_p8_a_trade_is_cancelled_once_and_numbered_with_the_others() -> None:
    broker, names = await traded()
    answered = broker.twin.correct(CorrectionAsked(CANCEL, names[1]))
    assert answered == f"{names[0][:-1]}4"
    (reported,) = sections(broker, CorrectionsReported)
    assert f"{reported.reference_prefix}{reported.reference_numbers[0]}" == names[1]
    assert (reported.subscriptions.tolist(), reported.leaves.tolist()) == ([1], [0])
    for reference, reason in (
        (names[1], "already_canceled"),
        (str(answered), "not_a_trade"),
        ("paper-memory-0-99", "unknown_execution"),
        ("", "unknown_execution"),
    ):
        refused = broker.twin.correct(CorrectionAsked(CANCEL, reference))
        assert isinstance(refused, Refused) and refused.reason == reason
    tags = [
        record.tag
        for frame in walk_frames(broker.ledger)
        for record in walk_records(frame.offset, frame.payload)
    ]
    assert tags.count(CorrectionTaken.TAG) == 1 and OrdersReopened.TAG not in tags


async def test_a_chain_of_corrections_refers_to_the_latest_id() -> None:
    broker, names = await traded()
    first = broker.twin.correct(CorrectionAsked(CORRECT, names[0], SHARES_10 // 2, MARK - 1, 7))
    assert isinstance(first, str)
    old = broker.twin.correct(CorrectionAsked(CANCEL, names[0]))
    assert isinstance(old, Refused) and old.reason == "already_corrected"
    more = broker.twin.correct(CorrectionAsked(CORRECT, first, SHARES_10 + 1, MARK))
    assert isinstance(more, Refused) and more.reason == "overfill"
    broker.restart()
    assert isinstance(broker.twin.correct(CorrectionAsked(CANCEL, first)), str)
    assert [section.numbers.tolist() for section in sections(broker, CorrectionsReported)] == [
        [4],
        [5],
    ]


@pytest.mark.parametrize("is_restarted", [False, True])
async def test_a_reopened_order_is_executed_again(is_restarted: bool) -> None:
    broker, names = await traded(fill_delay_ms=10)
    assert isinstance(broker.twin.correct(CorrectionAsked(CANCEL, names[2], is_reopened=True)), str)
    (reported,) = sections(broker, CorrectionsReported)
    assert reported.leaves.tolist() == [SHARES_10]
    if is_restarted:
        broker.restart()
    broker.pass_ms(10)
    again = sections(broker, ExecutionsReported)[-1]
    assert again.numbers.tolist() == [5] and again.subscriptions.tolist() == [2]
    assert again.quantities.tolist() == [SHARES_10]
    before = bytes(broker.ledger.data)
    broker.restart()
    broker.pass_ms(1000)
    assert len(before) <= len(broker.ledger.data) and len(sections(broker, ExecutionsReported)) == 2


@pytest.mark.parametrize("is_restarted", [False, True])
async def test_a_partly_open_order_works_the_quantity_taken_back_and_ends_once(
    is_restarted: bool,
) -> None:
    broker = PaperBroker(fill_delay_ms=10, partial_fill_slices=2)
    await broker.submit(accounts(), orders([5]))
    broker.pass_ms(10)
    (name,) = broker.reported.executions()
    broker.twin.correct(CorrectionAsked(CANCEL, name, is_reopened=True))
    assert sections(broker, CorrectionsReported)[0].leaves.tolist() == [SHARES_10]
    if is_restarted:
        # What is due is filled at once, all that is open of it.
        broker.restart()
        last = sections(broker, ExecutionsReported)[-1]
        assert last.quantities.tolist() == [SHARES_10]
    await broker.submit(cancels([5]))
    ended = [
        each
        for each in sections(broker, ExecutionsReported)
        if each.exec_types[0] == ExecType.CANCELED
    ]
    assert len(ended) == (0 if is_restarted else 1)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"exec_type": "trade"}, "exec_type"),
        ({"exec_ref_id": "a.b"}, "id"),
        ({"exec_type": "trade_correct"}, "number"),
        ({"exec_type": "trade_correct", "last_qty": "1000000000", "last_px": "10000000"}, "number"),
        ({"what": 1}, "malformed"),
    ],
)
def test_a_wrong_correction_request_is_refused(changes: dict[str, Any], reason: str) -> None:
    plain = {"exec_type": "trade_cancel", "exec_ref_id": "paper-1-0-1"}
    assert decode_correction(msgspec.json.encode(plain)) == CorrectionAsked(CANCEL, "paper-1-0-1")
    with pytest.raises(MessageError) as caught:
        decode_correction(msgspec.json.encode(plain | changes))
    assert caught.value.reason == reason
