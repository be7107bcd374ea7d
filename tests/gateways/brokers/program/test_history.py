"""What a program says of who may speak and of its past: codes, its cluster, its history; the same
after a restart.
"""

from typing import Any

import numpy as np
import pytest

from engine.columns.section_types import column_of
from engine.messages.blocks import (
    BlockAnswered,
    ExecutionsStated,
    FramesSent,
    GatewayEpoch,
    HistoryStated,
    OrdersLookedUp,
    RefusalCode,
    SendingRound,
    decode_block,
    encode_block,
)
from engine.values.order_ids import OrderKey
from gateways.brokers.ledger.ledger import MemoryLedger
from gateways.brokers.paper.settings import FillSettings
from gateways.brokers.program.core import ProgramCore
from tests.gateways.brokers.builders import EVENT_TIME, accounts, block, orders, paper_core


class Program:
    """A program whose every block is a turn."""

    def __init__(self, **settings: Any) -> None:
        self.ledger = MemoryLedger()
        self._settings = FillSettings(**settings)
        self.core = self._made()

    def _made(self) -> ProgramCore:
        return paper_core(self.ledger, self._settings, ledger_id="one")

    def restart(self) -> None:
        self.ledger = MemoryLedger(bytes(self.ledger.data))
        self.core = self._made()

    def ask(self, data: bytes, sequence: int = 0) -> list[Any]:
        answer = self.core.take(data, EVENT_TIME)
        result = self.core.end_turn()
        if result.frame:
            self.ledger.append(result.frame)
            self.core.committed()
        for place, message in enumerate(result.messages):
            self.core.confirm(message, sequence and sequence + place)
        return decode_block(answer)

    def code(self, *sections: Any) -> int:
        (answered,) = self.ask(encode_block(*sections))
        assert bool(answered.refusal) == (answered.code != RefusalCode.NONE)
        assert (answered.accepted, answered.repeated) == (0, 0) or not answered.refusal
        return int(answered.code)


def header(cluster: str = "", epoch: int = 1) -> GatewayEpoch:
    return GatewayEpoch(epoch, EVENT_TIME, cluster)


def sent(*rows: tuple[int, int, int, int]) -> FramesSent:
    return FramesSent(*np.array(rows, np.int64).reshape(-1, 4).T.copy())


@pytest.mark.parametrize("restarts", [False, True])
def test_a_program_keeps_to_the_first_cluster_that_names_itself(restarts: bool) -> None:
    program = Program()
    assert program.code(header(), accounts()) == RefusalCode.NONE
    assert program.code(header("not an id!"), accounts()) == RefusalCode.CONTENT
    assert program.code(header("a"), orders([1], side=0)) == RefusalCode.CONTENT
    assert program.code(header("b"), orders([1])) == RefusalCode.NONE
    if restarts:
        program.restart()
    assert program.code(header("a"), orders([2])) == RefusalCode.CLUSTER
    assert program.code(header("a", epoch=9)) == RefusalCode.CLUSTER
    assert program.code(header("b"), orders([2])) == RefusalCode.NONE
    assert program.code(header(), orders([3])) == RefusalCode.NONE


def test_every_refusal_has_the_code_of_its_kind() -> None:
    program = Program(order_ids="looked_up")
    asked = OrdersLookedUp(0, OrderKey(0, 0, 1, 0, 0), column_of(1))
    assert program.ask(encode_block(header(epoch=2), SendingRound(3), asked))[0].code == 0
    assert program.code(header(epoch=1), accounts()) == RefusalCode.EPOCH
    assert program.code(header(epoch=2), SendingRound(2), accounts()) == RefusalCode.ROUND
    assert program.code(header(epoch=2), SendingRound(3), orders([1])) == RefusalCode.CONTENT
    assert program.code() == RefusalCode.CONTENT
    (junk,) = program.ask(b"LSB1 junk")
    assert junk.code == RefusalCode.CONTENT


@pytest.mark.parametrize("restarts", [False, True])
def test_an_introduction_is_answered_with_the_history(restarts: bool) -> None:
    program = Program()
    program.ask(block(accounts(), accounts(3), orders([1, 2]), sent((0, 7, -5, 40))), 11)
    program.ask(block(orders([3], follower_shard=3), sent((3, 2, 9, 50))), 17)
    # A lower frame does not replace a higher one.
    program.ask(block(orders([4]), sent((0, 6, 1, 39))), 18)
    program.ask(block())
    if restarts:
        program.restart()
    answered, stated, *executions = program.ask(block())
    assert isinstance(answered, BlockAnswered) and answered.code == RefusalCode.NONE
    assert isinstance(stated, HistoryStated)
    assert (stated.ledger, stated.confirmed_sequence) == ("one", 18)
    assert stated.follower_shards.tolist() == [0, 3]
    assert stated.frames.tolist() == [7, 2]
    assert stated.frame_hashes.tolist() == [-5, 9]
    assert stated.frame_sequences.tolist() == [40, 50]
    assert [
        (each.follower_shard, each.prefix, each.last_number, each.confirmed_number)
        for each in executions
        if isinstance(each, ExecutionsStated)
    ] == [(0, "paper-one-0-", 3, 3), (3, "paper-one-3-", 1, 1)]


def test_only_an_introduction_is_answered_with_the_history() -> None:
    program = Program()
    assert len(program.ask(block(accounts()))) == 1
    assert len(program.ask(block(SendingRound(0)))) == 2


@pytest.mark.parametrize(
    "wrong",
    [
        FramesSent(column_of(0, 1), column_of(1), column_of(1, 1), column_of(1, 1)),
        FramesSent(column_of(1, 1), column_of(1, 1), column_of(1, 1), column_of(1, 1)),
        FramesSent(column_of(-1), column_of(1), column_of(1), column_of(1)),
        FramesSent(column_of(1 << 14), column_of(1), column_of(1), column_of(1)),
    ],
)
def test_frames_that_cannot_be_are_refused_with_their_block(wrong: FramesSent) -> None:
    program = Program()
    assert program.code(header(), accounts(), orders([1]), wrong) == RefusalCode.CONTENT
