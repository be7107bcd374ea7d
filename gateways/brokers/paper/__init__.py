"""The paper broker: a broker in a process of its own, with a ledger of its own.

It shares the wire format with the engine and nothing else, so that its ledger is the second side of
the proof that no order is executed twice and none is lost (P1, P8). `core` decides and does no
input or output; `ledger` keeps; `server` speaks NATS; `memory` is the twin for tests;
`ledger_reader` reads for auditors.
"""
