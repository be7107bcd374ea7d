"""PROTOCOL.md tells the truth: its messages are read by the decoders, its bytes by the block
codec.
"""

import json
import re
from pathlib import Path

import pytest

from engine.messages.blocks import (
    AccountsRegistered,
    BlockAnswered,
    GatewayEpoch,
    OrdersSubmitted,
    decode_block,
)
from gateways.brokers.paper.corrections import decode_correction
from gateways.json import public as wire

PAGE = (Path(wire.__file__).parents[1] / "PROTOCOL.md").read_text()
MESSAGES = re.findall(r"```json (\S+)\n(.*?)```", PAGE, re.DOTALL)
BLOCKS = re.findall(r"```hex\n(.*?)```", PAGE, re.DOTALL)


def block_of(lines: str) -> bytes:
    """Read the bytes at the left of each line."""
    return bytes.fromhex("".join(line.split("   ")[0] for line in lines.splitlines()))


@pytest.mark.parametrize(("subject", "text"), MESSAGES)
def test_documented_message_is_read(subject: str, text: str) -> None:
    data = text.encode()
    match subject.split(".")[0]:
        case "fills":
            assert wire.decode_fills(subject, data)
        case "marks":
            assert wire.decode_marks(subject, data)
        case "executions":
            assert wire.decode_executions(subject, data)
        case "commands" if subject == "commands.bulk":
            assert not [
                found for found in wire.decode_bulk(data) if isinstance(found, wire.MessageError)
            ]
        case "commands":
            assert wire.decode_command(subject, data)
        case "broker":
            assert decode_correction(data)
        case "answer":
            assert not wire.decode_answer(data).ok
        case _:
            assert set(json.loads(data)) == {"subject", "sequence", "reason", "error", "excerpt"}


def test_documented_order_block_is_read() -> None:
    epoch, accounts, orders = decode_block(block_of(BLOCKS[0]))
    assert isinstance(epoch, GatewayEpoch)
    assert isinstance(accounts, AccountsRegistered)
    assert isinstance(orders, OrdersSubmitted)
    assert (epoch.epoch, accounts.ids, orders.symbol) == (3, ["ann", "bob"], "JPM")
    assert (orders.side, orders.price, orders.limit_price) == (1, 57_260_000, 57_546_300)
    assert orders.quantities.tolist() == [250_000_000, 1_000_000_000]


def test_documented_answer_block_is_read() -> None:
    (answer,) = decode_block(block_of(BLOCKS[1]))
    assert isinstance(answer, BlockAnswered)
    assert (answer.accepted, answer.repeated, answer.refusal) == (2, 0, "")


def test_every_reason_of_the_decoders_is_documented() -> None:
    sources = [path.read_text() for path in Path(wire.__file__).parent.glob("*.py")]
    reasons = {
        reason
        for source in sources
        for reason in re.findall(r'MessageError\(\s*"([a-z_]+)"', source)
    }
    assert reasons
    assert not {reason for reason in reasons if f"`{reason}`" not in PAGE}
