"""The follower shard's actor: signals, executions and commands in; orders and answers out."""
