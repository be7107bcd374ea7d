"""The bare skeleton of the path: the same publishes in the same order and nothing between them.

    client --fill--> creator --frame--> followers 0, 1 --frames--> gateway --blocks--> broker
                                             ^                                           |
                                             +---------------- executions ---------------+

Every arrow but the blocks is a JetStream publish; the broker syncs each block to a file. There are
five processes and the cluster's own NATS server, with streams apart from the engine's.

Each process puts everything that has come into one message, one message in flight, as the engine
does. A follower's executions wait for its next orders as long as the engine's do. Messages carry
fill numbers, and as many padding bytes as the engine's carry columns.
"""
