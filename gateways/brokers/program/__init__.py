"""The part that every broker program needs, whatever it does with its orders.

The program takes and checks blocks, and remembers order ids, epochs and rounds. It answers each
block once after its ledger is synced, and publishes executions until JetStream holds them.

A `Venue` (`venue`) executes the orders. `core` decides and does no input or output; `turns` is the
loop around it; `server` speaks NATS. Nothing here knows the paper broker's rules.
"""
