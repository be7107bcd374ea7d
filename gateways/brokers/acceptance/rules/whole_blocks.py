"""Rules about blocks: taken whole or refused whole, and read as the format says."""

import struct
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from msgspec.structs import replace

from engine.columns.section_codec import encode_section
from engine.columns.section_types import Section
from engine.columns.sections import REQUIRED
from engine.messages.blocks import GatewayEpoch, OrdersSubmitted, SendingRound
from gateways.brokers.acceptance.bench import ACCOUNTS, Bench, expect_accepted, expect_refused
from gateways.brokers.acceptance.broken import expect
from gateways.brokers.acceptance.history import ids_of
from gateways.brokers.acceptance.rules.rule import Rule

_NO_SECTION = 0xFFFE
_ENTRY = struct.Struct("<HHI")


class Unknown(Section, frozen=True):
    """A section that no version knows."""

    TAG: ClassVar[int] = _NO_SECTION
    value: int


def plain_block(*sections: tuple[Section, int, bytes]) -> bytes:
    """Encode sections one by one, each with its flags and bytes behind its body, and pack none."""
    bodies = [encode_section(section) + rest for section, _, rest in sections]
    entries = [
        _ENTRY.pack(section.TAG, flags, len(body))
        for (section, flags, _), body in zip(sections, bodies, strict=True)
    ]
    return b"".join((b"LSB1", struct.pack("<H", len(bodies)), *entries, *bodies))


def header_of(bench: Bench) -> list[tuple[Section, int, bytes]]:
    """Return the sections that begin a block, for `plain_block`."""
    header: list[tuple[Section, int, bytes]] = [(GatewayEpoch(bench.epoch, 1), REQUIRED, b"")]
    if bench.options.order_ids == "looked_up":
        header.append((SendingRound(bench.round), REQUIRED, b""))
    return header


async def refuse_with(bench: Bench, spoil: Callable[[OrdersSubmitted], Any]) -> None:
    """Send a good section and one that is not; check that nothing of both was taken.

    The good section is sent again by itself: its ids must be new to the program.
    """
    for is_first in (True, False):
        good, bad = bench.orders(range(4)), spoil(bench.orders([1, 2]))
        both = (good, bad) if is_first else (bad, good)
        expect_refused(await bench.ask_raw(bench.block(*both), [good]))
        reports = await bench.reports()
        found = [order for order in ids_of(good) if order in reports]
        expect(not found, "no execution of orders whose block was refused", found)
        await bench.place(good)
        await bench.wait_ended(good)


def _refuses(text: str, **changes: Any) -> Rule:
    async def check(bench: Bench) -> None:
        await refuse_with(bench, lambda orders: replace(orders, **changes))

    return Rule("blocks", f"a block is refused whole for {text}", check)


async def _required_unknown(bench: Bench) -> None:
    await refuse_with(bench, lambda orders: Unknown(7))


async def _optional_unknown(bench: Bench) -> None:
    orders = bench.orders(range(3))
    block = plain_block(*header_of(bench), (Unknown(7), 0, b""), (orders, REQUIRED, b""))
    expect_accepted(await bench.ask_raw(block, [orders]), 3)
    await bench.wait_ended(orders)


async def _longer_body(bench: Bench) -> None:
    orders = bench.orders(range(3))
    block = plain_block(*header_of(bench), (orders, REQUIRED, b"of a newer version"))
    expect_accepted(await bench.ask_raw(block, [orders]), 3)
    await bench.wait_ended(orders)


async def _packed_or_not(bench: Bench) -> None:
    for is_packed in (True, False):
        sections = [bench.orders(range(count)) for count in range(1, 9)]
        block = (
            bench.block(*sections)
            if is_packed
            else plain_block(*header_of(bench), *((each, REQUIRED, b"") for each in sections))
        )
        expect_accepted(await bench.ask_raw(block, sections), 36)
        await bench.wait_ended(*sections)


async def _empty_section(bench: Bench) -> None:
    orders = bench.orders(range(3))
    expect_accepted(await bench.ask(bench.orders([]), orders), 3)
    await bench.wait_ended(orders)


RULES = (
    _refuses("an account number that is not registered", accounts=np.array([1, ACCOUNTS + 9])),
    _refuses("a negative account number", accounts=np.array([-1, 1])),
    _refuses("a quantity of zero", quantities=np.array([100_000_000, 0])),
    _refuses("a negative quantity", quantities=np.array([-100_000_000, 100_000_000])),
    _refuses("a side other than 1 and -1", side=0),
    _refuses("a price of zero", price=0),
    _refuses("a negative limit price", limit_price=-1),
    Rule("blocks", "a section without rows is no error", _empty_section),
)
BINARY_RULES = (
    _refuses("columns of unequal length", quantities=np.array([100_000_000])),
    Rule(
        "blocks",
        "a block is refused whole for a required section that is unknown",
        _required_unknown,
    ),
    Rule("blocks", "an unknown section that is not required is skipped", _optional_unknown),
    Rule("blocks", "what a body holds beyond the known fields is ignored", _longer_body),
    Rule("blocks", "sections may be packed or not", _packed_or_not),
)
