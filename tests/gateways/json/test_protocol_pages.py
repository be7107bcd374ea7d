"""The pages of `gateways/protocol` are true: the decoders read their messages, the block codec
reads their bytes.
"""

import json
import re
from pathlib import Path

import msgspec
import pytest

from actors.broker_gateway.reports import UNKNOWN_PLACEMENT
from engine.columns.section_types import flat_fields
from engine.messages.blocks import (
    BLOCK_TYPES,
    AccountsRegistered,
    BlockAnswered,
    GatewayEpoch,
    OrdersSubmitted,
    decode_block,
)
from gateways.brokers.paper.corrections import decode_correction
from gateways.json import public
from gateways.json.order_answers import AnswerJson, read_answer
from gateways.json.orders import MessageJson, OrderJson, encode_message, messages_of

FOLDER = Path(public.__file__).parents[1] / "protocol"
PAGES = {path.name: path.read_text() for path in sorted(FOLDER.glob("*.md"))}
TEXT = "\n".join(PAGES.values())
MESSAGES = re.findall(r"```json (\S+)\n(.*?)```", TEXT, re.DOTALL)
BLOCKS = re.findall(r"```hex\n(.*?)```", TEXT, re.DOTALL)


def block_of(lines: str) -> bytes:
    """Read the bytes at the left of each line."""
    return bytes.fromhex("".join(line.split("   ")[0] for line in lines.splitlines()))


@pytest.mark.parametrize(("subject", "text"), MESSAGES)
def test_documented_message_is_read(subject: str, text: str) -> None:
    data = text.encode()
    match subject.split(".")[0]:
        case "fills":
            assert public.decode_fills(subject, data)
        case "marks":
            assert public.decode_marks(subject, data)
        case "executions":
            assert public.decode_executions(subject, data)
        case "commands" if subject == "commands.bulk":
            assert not [
                found
                for found in public.decode_bulk(data)
                if isinstance(found, public.MessageError)
            ]
        case "commands":
            assert public.decode_command(subject, data)
        case "broker" if subject.endswith(".orders"):
            written = msgspec.json.decode(data, type=MessageJson)
            assert json.loads(encode_message(written)) == json.loads(data)
        case "broker":
            assert decode_correction(data)
        case "answer" if subject == "answer.orders":
            assert read_answer(data, MessageJson()).repeated == 0
        case "answer":
            assert not public.decode_answer(data).ok
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


def test_the_same_block_is_documented_in_json() -> None:
    documented = [text for subject, text in MESSAGES if subject == "broker.acme.orders"]
    (message,) = messages_of(block_of(BLOCKS[0]))
    assert json.loads(encode_message(message)) == json.loads(documented[0])


def test_every_field_of_orders_and_answers_in_json_is_documented() -> None:
    rows = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.*?) \|", TEXT, re.MULTILINE))))
    fields = {
        name for struct in (MessageJson, OrderJson, AnswerJson) for name in struct.__struct_fields__
    }
    assert not fields - rows


def test_documented_answer_block_is_read() -> None:
    (answer,) = decode_block(block_of(BLOCKS[1]))
    assert isinstance(answer, BlockAnswered)
    assert (answer.accepted, answer.repeated, answer.refusal) == (2, 0, "")


def test_every_reason_is_documented() -> None:
    root = FOLDER.parents[1]
    paths = [
        path for top in ("engine", "actors", "gateways") for path in root.glob(f"{top}/**/*.py")
    ]
    found = {
        reason
        for path in paths
        for reason in re.findall(
            r'(?:MessageError|BadInputError|Refused)\(\s*"([a-z_]+)"', path.read_text()
        )
    }
    assert len(found) > 20
    reasons = found | {"unmatched_execution", UNKNOWN_PLACEMENT}
    assert not {reason for reason in reasons if f"`{reason}`" not in TEXT}


def test_every_section_of_a_block_is_documented_with_its_fields_in_order() -> None:
    rows = dict(re.findall(r"^\| (\d{3}) \| ([A-Z]\w+.*)$", TEXT, re.MULTILINE))
    assert {int(tag) for tag in rows} == set(BLOCK_TYPES)
    for tag, section in BLOCK_TYPES.items():
        row = rows[str(tag)]
        assert row.startswith(section.__name__)
        words = re.findall(r"\w+", rows["107"] if "as 107" in row else row)
        at = 0
        for field in (name.rpartition(".")[2] for name, _ in flat_fields(section)):
            assert field in words[at:], f"{section.__name__}: {field} is missing or out of order"
            at += words[at:].index(field) + 1


def test_no_table_row_stands_apart_from_its_table() -> None:
    for name, page in PAGES.items():
        lines = page.split("\n")
        starts = [
            number
            for number, line in enumerate(lines)
            if line.startswith("|") and not lines[number - 1].startswith("|")
        ]
        for number in starts:
            assert re.match(r"\|[ :|-]+\|$", lines[number + 1]), f"{name}: {lines[number]}"
