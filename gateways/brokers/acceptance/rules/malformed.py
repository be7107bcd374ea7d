"""Rules about bytes that are no block: refused, and the program goes on."""

import struct

from engine.columns.sections import REQUIRED
from gateways.brokers.acceptance.bench import Bench, expect_refused
from gateways.brokers.acceptance.broken import Broken
from gateways.brokers.acceptance.rules.rule import Rule
from gateways.brokers.acceptance.rules.whole_blocks import header_of, plain_block

_LARGE_BYTES = 4 << 20
_ROWS_MAX = 0xFFFFFFFF


async def _refuse_all(bench: Bench, blocks: dict[str, bytes]) -> None:
    for name, block in blocks.items():
        try:
            expect_refused(await bench.ask_raw(block))
            await bench.place(bench.orders([1]))
        except Broken as broken:
            raise Broken(broken.expected, f"{broken.found} (for {name})") from None


async def _junk(bench: Bench) -> None:
    await _refuse_all(
        bench,
        {
            "an empty message": b"",
            "JSON": b"{}",
            "the magic alone": b"LSB1",
            "another magic": b"LSB9" + bench.block(bench.orders([1]))[4:],
            "a directory of 65,535 sections": b"LSB1\xff\xff",
            "zeros": bytes(64),
        },
    )


async def _cut_short(bench: Bench) -> None:
    whole = bench.block(bench.orders(range(20)))
    places = sorted({4 + (len(whole) - 5) * step // 12 for step in range(12)})
    await _refuse_all(bench, {f"{place} of {len(whole)} bytes": whole[:place] for place in places})


async def _longer(bench: Bench) -> None:
    whole = bench.block(bench.orders(range(20)))
    await _refuse_all(bench, {"bytes behind the last body": whole + b"\0"})


async def _large(bench: Bench) -> None:
    whole = bench.block(bench.orders([1]))
    await _refuse_all(
        bench,
        {
            f"{_LARGE_BYTES} zeros": bytes(_LARGE_BYTES),
            f"a block with {_LARGE_BYTES} bytes behind it": whole + bytes(_LARGE_BYTES),
        },
    )


async def _claims(bench: Bench) -> None:
    """A column of one repeated value costs its writer 14 bytes, whatever count it claims."""
    orders = bench.orders([])
    body = plain_block(*header_of(bench), (orders, REQUIRED, b""))
    claim = struct.pack("<BBIq", 0, 0, _ROWS_MAX, 1)
    empty = struct.pack("<BBIq", 0, 0, 0, 0)
    place = body.rfind(empty * 3)
    if place < 0:
        raise AssertionError("an empty orders section ends with three empty columns")
    await _refuse_all(bench, {"columns that claim 2**32 - 1 rows": body[:place] + claim * 3})


RULES = (
    Rule("malformed", "bytes that are no block are refused, and the program goes on", _junk),
    Rule("malformed", "a block cut short anywhere is refused whole", _cut_short),
    Rule("malformed", "a block with bytes behind its last body is refused whole", _longer),
    Rule("malformed", "messages of 4 MiB that are no block are refused", _large),
    Rule("malformed", "columns that claim more rows than can be are refused", _claims),
)
