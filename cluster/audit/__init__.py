"""The audit: every promise checked from both sides, journals and snapshots on one, the brokers' own
ledgers on the other.

It shares the journal's format and replay with the engine and nothing else: amounts, dispositions
and identities are worked out here again, over columns. `auditing.audit` is the whole of it,
`command.run` the command line's.
"""

from cluster.audit.auditing import audit, audit_data
from cluster.audit.report import AuditReport, Check

__all__ = ["AuditReport", "Check", "audit", "audit_data"]
