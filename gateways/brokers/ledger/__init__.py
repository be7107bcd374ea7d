"""A broker program's ledger: one append-only file. The program syncs it before it says anything.

`records` are the kinds of record and the frames around them, `ledger` is the file, `ledger_reader`
reads it for an audit. `seen` and `accounts` are what a program remembers of it: order ids and
account numbers.
"""
