"""The test vectors of `gateways/protocol/vectors`, made from the engine's own encoder.

    python -m tests.gateways.protocol.vectors      writes the files again

Vectors are only ever added: a foreign program is tested with them.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from engine.columns.section_codec import encode_section
from engine.columns.section_types import Section, column_of, flat_fields
from engine.columns.sections import PACKED, REQUIRED
from engine.messages.blocks import (
    BLOCK_TYPES,
    AccountsRegistered,
    BlockAnswered,
    CancelsSubmitted,
    CorrectionsReported,
    ExecutionsReported,
    ExecutionsStated,
    FramesSent,
    GatewayEpoch,
    HistoryStated,
    OrdersKnown,
    OrdersLookedUp,
    OrdersSubmitted,
    RefusalCode,
    SendingRound,
    encode_block,
)
from engine.values.order_ids import OrderKey
from tests.gateways.protocol.conversations import conversations, shown

DIRECTORY = Path(__file__).parents[3] / "gateways" / "protocol" / "vectors"
NOON = 1_767_614_400_000_000_000
LOW, HIGH = -(1 << 63), (1 << 63) - 1
SIGNAL = OrderKey(0, 0, 12, 1, 0)
EDGE = OrderKey(2, (1 << 12) - 1, (1 << 36) - 1, (1 << 12) - 1, (1 << 20) - 1)
PACKED_COUNT = 6
NONE = column_of()
NONE_OF_5 = np.zeros(5, np.int64)


class Vector(NamedTuple):
    """One block: its bytes, and what it holds."""

    name: str
    data: bytes
    sections: list[Section]


class WrongBlock(NamedTuple):
    """A block that its reader must refuse. `reader` is `broker` or `lockstep`. `refusal` is the
    code of the broker's answer, or the reason of Lockstep's dead letter.
    """

    name: str
    data: bytes
    reader: str
    refusal: str


def samples() -> Iterator[tuple[str, Section]]:
    """Yield a name and a section: of every type a usual one, and those at the fields' edges."""
    yield "usual", GatewayEpoch(3, NOON, "9f2c")
    yield "no cluster stated", GatewayEpoch(1, 0)
    yield "largest numbers, no ASCII", GatewayEpoch(HIGH, HIGH, "Zürich ✓")
    yield "usual", AccountsRegistered(1, 40, ["ann", "bob", "a-longer-name"])
    yield "one account", AccountsRegistered(0, 0, ["x"])
    yield "none", AccountsRegistered(16_383, (1 << 32) - 1, [])
    for name, quantities in (
        ("all quantities equal", column_of(250_000_000, 250_000_000, 250_000_000)),
        ("quantities of one byte above the least", column_of(300, 301, 555)),
        ("quantities of two bytes above the least", column_of(1, 65_536, 5)),
        ("quantities of four bytes above the least", column_of(1, 4_294_967_296, 7)),
        ("quantities of eight bytes above the least", column_of(LOW, HIGH, 0)),
    ):
        rows = np.array([0, 1, 9], np.int64)
        yield (
            name,
            OrdersSubmitted(
                0, 17, SIGNAL, "JPM", 1, 57_260_000, 57_546_300, NOON, rows, rows, quantities
            ),
        )
    rising = np.arange(0, 600, 3)
    yield (
        "subscriptions as differences",
        OrdersSubmitted(2, 18, SIGNAL, "ACME", -1, 1, 0, 0, rising, rising, rising + 1),
    )
    yield (
        "largest coordinates",
        OrdersSubmitted(
            16_383,
            HIGH,
            EDGE,
            "X",
            -1,
            HIGH,
            HIGH,
            HIGH,
            column_of((1 << 32) - 1),
            column_of((1 << 32) - 1),
            column_of(HIGH),
        ),
    )
    yield (
        "usual",
        CancelsSubmitted(
            1,
            column_of(0, 1),
            column_of(0, 3),
            column_of(12, 7),
            column_of(4, 5),
            column_of(1, 0),
            column_of(0, 2),
        ),
    )
    yield "usual", BlockAnswered(2, 0, "", RefusalCode.NONE)
    yield "no code stated", BlockAnswered(2, 1, "")
    for code in (RefusalCode.CONTENT, RefusalCode.EPOCH, RefusalCode.ROUND, RefusalCode.CLUSTER):
        yield f"refused, {code.name.lower()}", BlockAnswered(0, 0, "why", code)
    yield (
        "one fill and one end",
        ExecutionsReported(
            0,
            "acme-0-",
            SIGNAL,
            NOON,
            column_of(1, 2),
            column_of(0, 1),
            column_of(70, 67),
            column_of(250_000_000, 0),
            column_of(57_250_000, 0),
            column_of(7_156, 0),
            "expired",
        ),
    )
    yield (
        "one trade with a rebate",
        ExecutionsReported(
            3,
            "exec-77-",
            SIGNAL,
            NOON,
            column_of(0),
            column_of(5),
            column_of(70),
            column_of(1),
            column_of(1),
            column_of(-1),
        ),
    )
    yield (
        "every exec_type",
        ExecutionsReported(
            0,
            "p",
            EDGE,
            0,
            np.arange(5),
            np.arange(5),
            column_of(48, 52, 56, 67, 70),
            column_of(0, 0, 0, 0, 9),
            column_of(0, 0, 0, 0, 1),
            NONE_OF_5,
        ),
    )
    yield "usual", SendingRound(4)
    yield "usual", OrdersLookedUp(0, SIGNAL, column_of(0, 1, 9))
    yield "usual", OrdersKnown(0, SIGNAL, column_of(1))
    yield "none known", OrdersKnown(0, SIGNAL, NONE)
    yield (
        "a correction, and a cancel of an id without a number",
        CorrectionsReported(
            0,
            "acme-0-",
            "acme-0-",
            SIGNAL,
            NOON,
            column_of(8, 9),
            column_of(1, -1),
            column_of(0, 1),
            column_of(71, 72),
            column_of(200_000_000, 0),
            column_of(57_250_000, 0),
            column_of(5_725, 0),
            column_of(0, 100),
        ),
    )
    yield (
        "usual",
        FramesSent(column_of(0, 3), column_of(17, 4), column_of(LOW, HIGH), column_of(40, 41)),
    )
    yield (
        "usual",
        HistoryStated("l-7d", 77, column_of(0), column_of(17), column_of(-5), column_of(40)),
    )
    yield "an empty ledger", HistoryStated("l-7d", 0, NONE, NONE, NONE, NONE)
    yield "usual", ExecutionsStated(0, "acme-0-", 9, 8)


def vectors_of(section_type: type[Section]) -> Iterator[Vector]:
    """Yield the vectors of one type: each section by itself, with a field of a newer version behind
    it, and many of them packed.
    """
    found = [(name, each) for name, each in samples() if type(each) is section_type]
    for name, each in found:
        yield Vector(name, encode_block(each), [each])
    usual = found[0][1]
    newer = encode_section(usual) + bytes.fromhex("0700000000000000")
    yield Vector("with a field of a newer version", block_of(usual, newer), [usual])
    if (short := without_text(usual)) is not None:
        yield Vector("without its last field, which is empty", *short)
    many = [found[number % len(found)][1] for number in range(PACKED_COUNT)]
    yield Vector("packed", encode_block(*many), many)


def without_text(section: Section) -> tuple[bytes, list[Section]] | None:
    """Return a report whose body ends before its text; None for other sections."""
    if not isinstance(section, ExecutionsReported | CorrectionsReported):
        return None
    empty = msgspec.structs.replace(section, text="")
    return block_of(empty, encode_section(empty)[:-2]), [empty]


def block_of(section: Section, body: bytes, *, flags: int | None = None) -> bytes:
    """Return a block of one section with the given body."""
    flags = (REQUIRED if section.IS_REQUIRED else 0) if flags is None else flags
    return raw_block((section.TAG, flags, body))


def raw_block(*bodies: tuple[int, int, bytes]) -> bytes:
    """Return a block of bodies with tags and flags."""
    directory = b"".join(
        tag.to_bytes(2, "little") + flags.to_bytes(2, "little") + len(body).to_bytes(4, "little")
        for tag, flags, body in bodies
    )
    bytes_of = b"".join(body for _, _, body in bodies)
    return b"LSB1" + len(bodies).to_bytes(2, "little") + directory + bytes_of


def whole_blocks() -> Iterator[Vector]:
    """Yield blocks as a gateway and a broker exchange them."""
    by_type: dict[type[Section], Section] = {}
    for _, each in samples():
        by_type.setdefault(type(each), each)

    def block(name: str, *types: type[Section]) -> Vector:
        sections = [by_type[each] for each in types]
        return Vector(name, encode_block(*sections), sections)

    yield block("introduction", GatewayEpoch)
    yield block("answer to an introduction", BlockAnswered, HistoryStated, ExecutionsStated)
    yield block("orders", GatewayEpoch, FramesSent, AccountsRegistered, OrdersSubmitted)
    yield block("cancels under a round", GatewayEpoch, SendingRound, CancelsSubmitted)
    yield block("look-up", GatewayEpoch, SendingRound, OrdersLookedUp)
    yield block("answer to a look-up", BlockAnswered, OrdersKnown)
    yield block("executions", ExecutionsReported, CorrectionsReported)
    first = by_type[GatewayEpoch]
    body = encode_section(first)
    data = raw_block((GatewayEpoch.TAG, REQUIRED, body), (9_999, 0, b"skip me"))
    yield Vector("an unknown section that is not required, behind the epoch", data, [first])


def wrong_blocks() -> Iterator[WrongBlock]:
    """Yield blocks that must be refused."""
    epoch = encode_section(GatewayEpoch(3, NOON))
    orders = next(each for _, each in samples() if isinstance(each, OrdersSubmitted))
    report = next(each for _, each in samples() if isinstance(each, ExecutionsReported))
    right = encode_block(GatewayEpoch(3, NOON), orders)
    content = RefusalCode.CONTENT.name
    yield WrongBlock("no block", b"LSB2" + right[4:], "broker", content)
    yield WrongBlock("cut short", right[:-1], "broker", content)
    yield WrongBlock("a byte too many", right + b"\0", "broker", content)
    yield WrongBlock("only the letters", b"LSB1", "broker", content)
    unknown = raw_block((GatewayEpoch.TAG, REQUIRED, epoch), (9_999, REQUIRED, b""))
    yield WrongBlock("an unknown section that is required", unknown, "broker", content)
    short = raw_block((GatewayEpoch.TAG, REQUIRED, epoch[:8]))
    yield WrongBlock("a field without a default is missing", short, "broker", content)
    yield WrongBlock("no GatewayEpoch", encode_block(orders), "broker", content)
    uneven = msgspec.structs.replace(orders, quantities=column_of(1, 2))
    yield WrongBlock(
        "columns of different lengths",
        encode_block(GatewayEpoch(3, NOON), uneven),
        "broker",
        content,
    )
    packed = raw_block((GatewayEpoch.TAG, REQUIRED | PACKED, b"\x01\0\0\0"))
    yield WrongBlock("a packed body without its fields", packed, "broker", content)

    def wrong(name: str, reason: str, **changed: Any) -> WrongBlock:
        data = encode_block(msgspec.structs.replace(report, **changed))
        return WrongBlock(name, data, "lockstep", reason)

    yield wrong("an unknown exec_type", "exec_type", exec_types=column_of(70, 49))
    yield wrong("a column of another length", "malformed", fees=column_of(1))
    yield wrong("another shard than the subject's", "malformed", follower_shard=1)
    yield wrong("a negative number", "malformed", numbers=column_of(-2, 1))
    yield wrong("a prefix alone as the id", "malformed", numbers=column_of(-1, 1))
    yield wrong("a subscription beyond 32 bits", "malformed", subscriptions=column_of(0, 1 << 32))
    yield wrong("an order that cannot be", "order_id", key=SIGNAL._replace(attempt=1 << 20))
    yield wrong("a time before 1970", "time", transact_time=-1)
    yield WrongBlock("a section that is no report", right, "lockstep", "malformed")
    yield WrongBlock("cut short", encode_block(report)[:-1], "lockstep", "malformed")


def readable(section: Section) -> dict[str, Any]:
    """Return a section as JSON has it: each field by its name, a column as a list."""
    found: dict[str, Any] = {"section": type(section).__name__, "tag": section.TAG}
    for name, _ in flat_fields(type(section)):
        group, _, part = name.partition(".")
        value = getattr(section, group)
        plain = getattr(value, part) if part else value
        found[part or name] = plain.tolist() if isinstance(plain, np.ndarray) else plain
    return found


def files() -> dict[str, bytes]:
    """Return the files by name."""
    made: dict[str, list[Any]] = {
        f"{tag}-{section_type.__name__}.json": [_shown(each) for each in vectors_of(section_type)]
        for tag, section_type in sorted(BLOCK_TYPES.items())
    }
    made["blocks.json"] = [_shown(each) for each in whole_blocks()]
    made["refused.json"] = [
        {"name": name, "hex": data.hex(), "reader": reader, "refusal": refusal}
        for name, data, reader, refusal in wrong_blocks()
    ]
    made["conversations.json"] = [shown(each) for each in conversations()]
    return {
        name: msgspec.json.format(msgspec.json.encode(content), indent=1) + b"\n"
        for name, content in made.items()
    }


def _shown(vector: Vector) -> dict[str, Any]:
    return {
        "name": vector.name,
        "hex": vector.data.hex(),
        "sections": [readable(each) for each in vector.sections],
    }


if __name__ == "__main__":
    for file_name, file_data in files().items():
        (DIRECTORY / file_name).write_bytes(file_data)
