"""The snapshots of a broker gateway: their columns, and the fields of their records.

`known` is one row in MessagePack; its fields hold the other records.
"""

from engine.broker_gateway.follower_view import ACCOUNT_COLUMNS, SUBSCRIPTION_COLUMNS
from engine.broker_gateway.submissions import SUBMISSION_RECORDS
from engine.columns.snapshot import Records, SnapshotSchema, required
from engine.columns.table import names_with
from engine.journal.cursors import CURSOR_RECORDS

_RECORDS: Records = {
    "known": {**required("views", "revoked"), "submissions": (0, (), 0)},
    "known.views": required("shard", "number", "hash", "epoch", "brokers", "symbols"),
    "known.views.symbols": required("creator_shard", "instrument", "symbol"),
    "known.revoked": required("shard", "next_number"),
    "known.submissions": required("next_number", "rows", "unresolved_count"),
}

_LAYOUT_3 = {
    "known": ("views", "revoked", "submissions"),
    "known.views": ("shard", "number", "hash", "epoch", "brokers", "symbols"),
    "known.views.symbols": ("creator_shard", "instrument", "symbol"),
    "known.revoked": ("shard", "next_number"),
    "known.submissions": ("next_number", "rows", "unresolved_count"),
    "known.submissions.rows": (
        "number",
        "sequence",
        "follower_shard",
        "cause_kind",
        "creator_shard",
        "cause_number",
        "leg",
        "attempt",
        "first",
        "last",
        "is_ended",
    ),
    "cursors": ("source", "shard", "number", "sequence", "position", "row", "hash"),
}
"""The fields that these records had in layout 3. They never change."""

GATEWAY_SCHEMA = SnapshotSchema(
    [
        "known",
        "cursors",
        "read_sequence",
        "gone",
        "taken",
        *names_with("#.account", ACCOUNT_COLUMNS),
        *names_with("#.subscription", SUBSCRIPTION_COLUMNS),
    ],
    {**_RECORDS, **SUBMISSION_RECORDS, **CURSOR_RECORDS},
    _LAYOUT_3,
)
