"""Whole journals as columns: what was filled, decided, ordered, executed, for audits, replays and benchmarks.

`store.opened_store` finds the journals of a data directory, running or stopped; `reader.FrameReader` reads one shard's verified frames;
`followers`, `creators` and `gateways` make tables of them, and `outcomes` says what became of every order.
"""

from cluster.journal_tables.creators import CreatorTables, Fills
from cluster.journal_tables.dispositions import Dispositions
from cluster.journal_tables.executions import Executions
from cluster.journal_tables.followers import FollowerTables
from cluster.journal_tables.gateways import GatewayTables, Withdrawals
from cluster.journal_tables.orders import Cancels, Orders
from cluster.journal_tables.outcomes import OrderIndex, Outcomes, order_outcomes
from cluster.journal_tables.reader import FrameReader, JournalFrame
from cluster.journal_tables.store import JournalStore, opened_store
from cluster.journal_tables.whole import Journals, read_journals

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
    "Withdrawals",
    "opened_store",
    "order_outcomes",
    "read_journals",
]
