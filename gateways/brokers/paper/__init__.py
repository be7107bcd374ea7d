"""The paper broker: a broker in a process of its own, with a ledger of its own.

Here lives only what is the paper broker's: `venue` fills orders by rules, `corrections` are made on
request. Everything else is the broker program's (`gateways.brokers.program`). The paper broker
shares the message format with the engine and nothing else. So its ledger is the second side of the
proof that no order is executed twice and none is lost (P1, P8). `memory` is the twin for tests.
"""
