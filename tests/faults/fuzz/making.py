"""Messages made at random from a seed."""

import json
import random
from typing import Any, get_type_hints

import numpy as np

from engine.columns.section_types import Section, group_of, is_text
from engine.messages.blocks import (
    BLOCK_TYPES,
    CorrectionsReported,
    ExecutionsReported,
    encode_block,
)
from engine.values.order_ids import OrderKey
from engine.values.order_status import ExecType
from tests.actors.memory_shards import START_NS

INT64 = 1 << 63
NEAR = (0, 1, 2, -1, 77, 10**4, 10**8, 10**9)
EDGES = (INT64 - 1, -INT64, 1 << 62, 1 << 32, (1 << 32) - 1, 10**17, 10**13, 67, 70, 52, 49)
TEXTS = ("", "x-", "JPM", "y" * 129, "p\0", "é" * 40, "epoch", "a b", "x" * 60_000)
JSON_VALUES: tuple[Any, ...] = (
    *(None, True, 0, -1, 1.5, "", "1", "-1", "NaN", "1e400", "0.0000000001", "9" * 40, [], {}),
    *("trade", "canceled", "2026-01-05T20:00:00Z", "buy", "JPM", "003G0000000060000048010000"),
)
FIELDS = (
    *("exec_id", "order_id", "exec_type", "last_qty", "last_px", "fee", "transact_time", "text"),
    *("exec_ref_id", "leaves_qty", "symbol", "side", "px", "time", "stranger"),
)
OPEN_ORDER, OPEN_SUBSCRIPTION = OrderKey(0, 0, 2, 0, 0), 1
TIME_NS = START_NS + 1
COUNTS = (0, 1, 2, 3, 9, 40, 300)


class Maker:
    """Makes messages; the same seed makes the same ones. `stored` are bytes of other places."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.stored: list[bytes] = []

    def message(self) -> bytes:
        """Make one message."""
        kinds = [self.block, self.block, self.torn, self.flipped, self.json, self.misplaced]
        made = self.random.choice([*kinds, *[self.likely] * 6])()
        self.stored[-20:] = [*self.stored[-19:], made]
        return made

    def block(self) -> bytes:
        """Make a block: many sections of one type in a row are packed."""
        sections: list[Section] = []
        for _ in range(self.random.choice((1, 1, 2, 3))):
            kinds: list[type[Section]] = [*BLOCK_TYPES.values(), *[ExecutionsReported] * 8]
            kind = self.random.choice(kinds)
            sections += [self.section(kind) for _ in range(self.random.choice((1, 1, 1, 5, 12)))]
        return encode_block(*sections)

    def likely(self) -> bytes:
        """Make a block about an open order, in which at most one thing is odd."""
        rows = self.random.choice(COUNTS[1:])
        numbers = np.arange(rows, dtype=np.int64) + self.random.randrange(400)
        fields: dict[str, Any] = {
            "follower_shard": 0,
            "prefix": "junk-",
            "key": OPEN_ORDER,
            "transact_time": TIME_NS,
            "numbers": numbers,
            "subscriptions": np.full(rows, OPEN_SUBSCRIPTION, np.int64),
            "exec_types": np.full(rows, int(ExecType.TRADE), np.int64),
            "quantities": np.full(rows, self.random.choice((1, 10**6, 10**9)), np.int64),
            "prices": np.full(rows, 10**6, np.int64),
            "fees": np.zeros(rows, np.int64),
        }
        kind: type[Section] = ExecutionsReported
        if self.random.random() < 0.3:
            kind = CorrectionsReported
            fields["exec_types"] = np.full(rows, int(ExecType.TRADE_CANCEL), np.int64)
            fields |= {"reference_prefix": "junk-", "reference_numbers": numbers - 7}
            fields |= dict.fromkeys(("quantities", "prices", "leaves"), np.zeros(rows, np.int64))
        if self.random.random() < 0.5:
            hints = get_type_hints(kind, include_extras=True)
            name = self.random.choice(sorted(fields))
            fields[name] = self._value(hints[name], rows)
        return encode_block(kind(**fields))

    def section(self, kind: type[Section]) -> Section:
        """Make a section. Its columns mostly have one length."""
        length = self.random.choice(COUNTS)
        hints = get_type_hints(kind, include_extras=True)
        return kind(**{name: self._value(hints[name], length) for name in kind.__struct_fields__})

    def _value(self, hint: Any, length: int) -> Any:
        if hint is int:
            return self.integer()
        if is_text(hint):
            return self.random.choice(TEXTS)
        if (group := group_of(hint)) is not None:
            if group is OrderKey and self.random.random() < 0.7:
                return OrderKey(0, self.random.choice((0, 0, 1)), self.random.choice((1, 2)), 0, 0)
            return group(*(self.integer() for _ in group._fields))
        if hint == list[str]:
            return [self.random.choice(TEXTS[:4]) for _ in range(length)]
        return self.column(length if self.random.random() < 0.95 else length + 1)

    def integer(self) -> int:
        """Make an integer, now and then one at an edge."""
        return self.random.choice(NEAR if self.random.random() < 0.8 else EDGES)

    def column(self, length: int) -> Any:
        """Make a column of a length."""
        way = self.random.random()
        if way < 0.4:
            return np.full(length, self.integer(), np.int64)
        if way < 0.7:
            return np.arange(length, dtype=np.int64) + self.random.choice((0, 1, 5))
        if way < 0.85:
            return np.full(length, int(ExecType.TRADE), np.int64)
        return np.array([self.integer() for _ in range(length)], np.int64)

    def torn(self) -> bytes:
        """Make the beginning of a message, or one with bytes behind it."""
        data = self.block()
        if self.random.random() < 0.3:
            return data + self.random.randbytes(7)
        return data[: self.random.randrange(len(data) + 1)]

    def flipped(self) -> bytes:
        """Make a block with a few other bytes."""
        data = bytearray(self.block())
        for _ in range(self.random.choice((1, 2, 8))):
            data[self.random.randrange(len(data))] = self.random.randrange(256)
        return bytes(data)

    def json(self) -> bytes:
        """Make JSON, mostly of objects with fields of the protocol."""
        found: Any = [
            {name: self.random.choice(JSON_VALUES) for name in FIELDS if self.random.random() < 0.8}
            for _ in range(self.random.choice((0, 1, 1, 3, 40)))
        ]
        if self.random.random() < 0.1:
            found = self.random.choice(JSON_VALUES)
        data = json.dumps(found).encode()
        return data if self.random.random() < 0.9 else data[: len(data) // 2] + b"\xff"

    def misplaced(self) -> bytes:
        """Return bytes that belong elsewhere."""
        return self.random.choice([*self.stored, b"", self.random.randbytes(60)])
