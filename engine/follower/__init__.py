"""The follower machine: subscriptions, positions and open orders of one shard.

`sizing` says how much, `decide` says what happens, `apply` changes the state. It knows nothing of
the creator or broker-gateway machines: what it needs of them it reads in their events.
"""
