"""The snapshots of a follower shard: their columns, and the fields of their records.

`known` is a map in MessagePack; its fields hold the records `known.*`. A book's words are records
too (`engine.follower.books_state`).
"""

import numpy as np

from engine.columns.id_index import id_columns
from engine.columns.snapshot import Records, SnapshotSchema, required
from engine.columns.table import names_with
from engine.follower.books_state import BOOK_RECORDS
from engine.follower.follow_ups_state import FOLLOW_UP_RECORDS
from engine.follower.open_orders import ORDER_RECORDS
from engine.follower.suspended_entries import SUSPENDED_RECORDS
from engine.journal.cursors import CURSOR_RECORDS

ACCOUNT_COLUMNS = {
    "broker": np.uint8,
    "dedicated": np.int32,
    "command": np.int64,
    "last_subscription": np.uint32,
}
PLACE_COLUMNS = {"book": np.uint32, "row": np.uint32, "previous": np.uint32}

_KNOWN_RECORDS: Records = {
    "known": required("creators", "instruments", "brokers", "execution_ids"),
    "known.creators": required("creator_shard", "creator_id", "number"),
    "known.instruments": required("creator_shard", "number", "symbol", "lot", "min_notional"),
    "known.execution_ids": required("broker", "prefix", "runs"),
}

_KEY = ("cause_kind", "creator_shard", "cause_number", "leg", "attempt")
_LAYOUT_3 = {
    "known": ("creators", "instruments", "brokers", "execution_ids"),
    "known.creators": ("creator_shard", "creator_id", "number"),
    "known.instruments": ("creator_shard", "number", "symbol", "lot", "min_notional"),
    "known.execution_ids": ("broker", "prefix", "runs"),
    "cursors": ("source", "shard", "number", "sequence", "position", "row", "hash"),
    "book": ("creator_shard", "creator", "slots_count", "count", "varied"),
    "book.slot": ("instrument", "lot", "min_notional", "mark"),
    "book.values": ("target", "position", "open", "cost"),
    "book.wide": ("cash", "reserved", "from_frame", "command"),
    "book.narrow": ("subscription", "account", "ratio"),
    "book.status": ("status",),
    "book.shared_narrow": ("mode", "allow_short"),
    "book.shared_wide": (
        "amount",
        "max_order_notional",
        "max_weight",
        "short_proceeds",
        "until_frame",
        "end_command",
        "pause_command",
        "resume_command",
    ),
    "follow_up.head": ("book", "slot", *_KEY, "price", "transact_time", "due", "rows_count"),
    "order.head": (
        *("book", "slot", *_KEY, "side", "is_exit", "price", "limit_price"),
        *("expire_time", "fee_rate", "transact_time", "rows_count"),
    ),
    "order.columns": ("row", "quantity", "filled", "is_open", "is_cancelling"),
    "order.attempts": ("group", "row", "attempt"),
    "order.unnumbered": ("key", "executions"),
    "suspended_entries": ("creator_shard", "creator", "signal"),
}
"""The fields that these records had in layout 3: never changed."""

FOLLOWER_SCHEMA = SnapshotSchema(
    [
        "known",
        "cursors",
        "next_cause",
        *id_columns("account_id"),
        *names_with("account", ACCOUNT_COLUMNS),
        *names_with("place", PLACE_COLUMNS),
        "book.#",
        *names_with("follow_up", ("head", "rows")),
        *names_with("order", ("head", "columns", "attempts", "unnumbered")),
        "suspended_entries",
        "parked",
    ],
    {
        **_KNOWN_RECORDS,
        **CURSOR_RECORDS,
        **BOOK_RECORDS,
        **FOLLOW_UP_RECORDS,
        **ORDER_RECORDS,
        **SUSPENDED_RECORDS,
    },
    _LAYOUT_3,
)
