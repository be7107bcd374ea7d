"""The follower machine: subscriptions, positions and open orders of one shard.

`sizing` says how much, `decide` says what happens, `apply` changes the state.

Nothing here knows the creator machine or the broker-gateway machine. What the follower machine
needs of them it reads from their events.
"""
