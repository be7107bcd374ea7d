"""What a broker may answer to order blocks, made at random from a seed.

Noise is no answer: the gateway must ask again, and in the end everything is as if it had not come.
A lie looks like an answer. It may cost its own broker's orders, but it ends no gateway.
"""

import struct

from engine.messages.blocks import (
    BlockAnswered,
    ExecutionsStated,
    HistoryStated,
    OrdersKnown,
    decode_block,
    encode_block,
)
from gateways.brokers.paper.memory import MemoryPaperBroker
from tests.faults.fuzz.making import COUNTS, Maker

CODES = (*range(-1, 6), -(1 << 63), (1 << 63) - 1)
REFUSALS = ("", "", "", "epoch 1", "round 1", "no", "x" * 60_000)
NOISE_MISCOUNTS_MAX = 5
"""So many answers with odd counts leave every order with its broker; more are its own fault."""


class JunkAnswers:
    """Implements `actors.ports.Broker` before a paper broker: some answers are junk. Half of the
    blocks that get junk reach the broker all the same.
    """

    def __init__(self, broker: MemoryPaperBroker, seed: int, *, lies: bool) -> None:
        self.is_junk = True
        self.junk_count = 0
        self._broker = broker
        self._lies = lies
        self._maker = Maker(seed)
        self._random = self._maker.random
        self._miscounts = 0

    async def submit(self, block: bytes) -> bytes:
        if not self.is_junk or self._random.random() < 0.4:
            return await self._broker.submit(block)
        self.junk_count += 1
        self._maker.stored = [*self._maker.stored[-20:], block]
        if self._random.random() < 0.5:
            self._maker.stored.append(await self._broker.submit(block))
        return self._lie() if self._lies else await self._noise(block)

    # Noise.

    async def _noise(self, block: bytes) -> bytes:
        make = self._random.choice((self._unreadable, self._uneven, self._miscounted))
        if make is self._unreadable or self._miscounts >= NOISE_MISCOUNTS_MAX:
            return self._unreadable()
        await self._broker.submit(block)
        return make()

    def _unreadable(self) -> bytes:
        """Make bytes that do not begin with an answer."""
        make = self._random.choice((self._maker.message, self._with_unknown))
        while True:
            data = make()
            try:
                if not isinstance(next(iter(decode_block(data)), None), BlockAnswered):
                    return data
            except ValueError:
                return data

    def _with_unknown(self) -> bytes:
        return with_tag(encode_block(BlockAnswered(0, 0, "")), 999, flags=1)

    def _uneven(self) -> bytes:
        """Make a history whose columns are not of one length."""
        one, two = self._maker.column(1), self._maker.column(2)
        history = HistoryStated("test", 0, one, one, one, two)
        return encode_block(BlockAnswered(0, 0, "", 0), history)

    def _miscounted(self) -> bytes:
        self._miscounts += 1
        return encode_block(BlockAnswered(-1, self._random.choice((0, 1, 1 << 62)), "", 0))

    # Lies.

    def _lie(self) -> bytes:
        ways = (self._answer, self._history, self._known, self._unreadable, self._uneven)
        data = self._random.choice(ways)()
        if self._random.random() < 0.2:
            data = with_tag(data, 999, flags=self._random.choice((0, 1, 2, 3)))
        return data

    def _answered(self) -> BlockAnswered:
        accepted, repeated = (self._random.choice((0, 1, 2, 6, 12, -1, 1 << 62)) for _ in range(2))
        refusal, code = self._random.choice(REFUSALS), self._random.choice((0, *CODES))
        return BlockAnswered(accepted, repeated, refusal, code)

    def _answer(self) -> bytes:
        kinds = (HistoryStated, OrdersKnown, ExecutionsStated, BlockAnswered)
        count = self._random.choice((0, 0, 1, 6))
        return encode_block(
            self._answered(),
            *(self._maker.section(self._random.choice(kinds)) for _ in range(count)),
        )

    def _history(self) -> bytes:
        """Make a history that could be, in which numbers are odd."""
        rows = self._random.choice(COUNTS[:4])
        name = self._random.choice(("test", "", "other", "x" * 60_000))
        columns = [self._maker.column(rows) for _ in range(4)]
        stated = [
            ExecutionsStated(self._random.choice((0, 1, -1, 1 << 40)), prefix, last, confirmed)
            for prefix in ("x-", "paper-test-0-", "")
            for last, confirmed in [(self._maker.integer(), self._maker.integer())]
        ]
        return encode_block(
            BlockAnswered(0, 0, "", 0),
            HistoryStated(name, self._maker.integer(), *columns),
            *stated,
        )

    def _known(self) -> bytes:
        count = self._random.choice((0, 1, 2, 300))
        return encode_block(
            BlockAnswered(0, 0, "", 0), *(self._maker.section(OrdersKnown) for _ in range(count))
        )


def with_tag(block: bytes, tag: int, *, flags: int) -> bytes:
    """Return a block, or any bytes, with one more section of a tag that nobody knows."""
    if len(block) < 6 or block[:4] != b"LSB1":
        return block
    (count,) = struct.unpack_from("<H", block, 4)
    end = 6 + 8 * count
    if count == 0xFFFF or end > len(block):
        return block
    entry = struct.pack("<HHI", tag, flags, 3)
    return (
        block[:4] + struct.pack("<H", count + 1) + block[6:end] + entry + block[end:] + b"\xff\0\1"
    )
