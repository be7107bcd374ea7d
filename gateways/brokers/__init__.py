"""Broker programs: the programs on the broker's side of the broker protocol.

`ledger` keeps what a program has promised. `program` is the part that every broker program needs.
`paper` is the paper broker: it fills orders by rules of its own. `acceptance` checks any broker
program, in any language, against the protocol.

`ledger` imports neither `program` nor `paper`, `program` does not import `paper`, and `acceptance`
imports none of the three.
"""
