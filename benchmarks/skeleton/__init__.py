"""The bare skeleton of the path: the same publishes in the same order and nothing between them.

    client --fill--> creator --frame--> follower 0, 1 --frames--> gateway --blocks--> broker (fdatasync)
                                           ^                                            |
                                           +----------------- executions ---------------+

Every arrow but the blocks is a JetStream publish. Five processes and the cluster's own NATS server,
streams apart from the engine's. Each takes whatever has come into one message, one in flight, as
the engine does, and a follower's executions wait for its next orders as long as the engine's;
messages carry fill numbers and as many padding bytes as the engine's carry columns.
"""
