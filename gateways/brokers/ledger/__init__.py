"""A broker program's ledger: one append-only file, synced before anything is said about it."""
