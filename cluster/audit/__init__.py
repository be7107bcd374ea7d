"""The audit: every promise checked from both sides. Journals and snapshots are one side, the
brokers' own ledgers the other.

It shares the journal's format and replay with the engine, and nothing else. Amounts, dispositions
and identities are worked out here again, over columns. `auditing.audit` is the whole audit;
`command.run` is its command.
"""

from cluster.audit.auditing import audit, audit_data
from cluster.audit.report import AuditReport, Check

__all__ = ["AuditReport", "Check", "audit", "audit_data"]
