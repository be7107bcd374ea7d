"""Whole journals as columns: what was filled, decided, ordered, executed, for audits, replays and
benchmarks.

`store.opened_store` finds the journals of a data directory, running or stopped;
`reader.FrameReader` reads one shard's verified frames; `followers`, `creators` and `gateways` make
tables of them, and `outcomes` says what became of every order.
"""

from cluster.history.creators import CreatorTables, Fills
from cluster.history.dispositions import Dispositions
from cluster.history.executions import Executions
from cluster.history.followers import FollowerTables
from cluster.history.gateways import GatewayTables, Revocations
from cluster.history.orders import Cancels, Orders
from cluster.history.outcomes import OrderIndex, Outcomes, order_outcomes
from cluster.history.reader import FrameReader, JournalFrame
from cluster.history.store import JournalStore, opened_store
from cluster.history.whole import Journals, read_journals

__all__ = [
    "Cancels",
    "CreatorTables",
    "Dispositions",
    "Executions",
    "Fills",
    "FollowerTables",
    "FrameReader",
    "GatewayTables",
    "JournalFrame",
    "JournalStore",
    "Journals",
    "OrderIndex",
    "Orders",
    "Outcomes",
    "Revocations",
    "opened_store",
    "order_outcomes",
    "read_journals",
]
