"""The acceptance suite: checks any broker program, in any language, against the broker protocol.

The suite plays the gateway. It sends blocks on `broker.<broker>.orders`, reads what the program
publishes on `executions.<broker>.<shard>`, kills the program with SIGKILL and starts it again. It
knows nothing of the program but the protocol, so it shares no code with the paper broker.

    python -m gateways.brokers.acceptance --nats URL --user U --password P --broker NAME \\
        [--start COMMAND] [--order-ids refused|looked_up|unchecked] [--symbol S --price P]

Give the suite a nats-server with JetStream, and the program a ledger, that nothing else uses: the
suite speaks with an epoch higher than any real gateway's, and holds back the stream EXECUTIONS. It
makes that stream when it is missing. Without `--start` the program must already run, and the rules
about restarts are not run.

Every rule prints one line: `passed`, `FAILED` with what was expected and found, or `not run` with
the reason. The exit code is 0 when no rule failed, 1 when one did, 2 when the suite could not
begin.

Two promises cannot be seen from outside. SIGKILL loses nothing that the operating system holds, so
the suite finds a program that answers before it writes, but none that writes and does not sync. And
an order need not be filled: the suite gives each order an expiry time and asks only that it ends.

`rules` are the rules and how they are run, `suite` lists them all; the modules it lists hold one
family of rules each. `bench` is the suite's side of the conversation, `history` what was sent,
`reported` what was published. `program` is the port to the program under test, `nats_program` the
adapter for a process that speaks NATS.
"""
