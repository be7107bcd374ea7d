"""Baseline (d): what the machine can do: bytes into JetStream, each message on disk before its
acknowledgement, and nothing else.

    harness --same sizes, same number in flight--> NATS (the cluster's own server) --ack--> harness

Each chain publishes its messages one after the other, as a shard does with its frames.
"""

import asyncio
import os
import time
from statistics import median

from benchmarks.baselines.servers import delete_stream, make_stream
from gateways.nats.connection import NatsConnection
from gateways.nats.streams import NatsStreams

STREAM = "BENCH_RAW"


async def measure(
    connection: NatsConnection, chains: list[list[int]], *, repeats: int = 9
) -> dict[str, float]:
    """Publish messages of the given sizes, bytes: each chain one message at a time, chains side
    by side. Returns: the median time over the repeats, and the bandwidth.
    """
    total = sum(map(sum, chains))
    noise = os.urandom(max((size for chain in chains for size in chain), default=1))
    await delete_stream(connection, STREAM)
    await make_stream(
        connection, STREAM, ("bench.raw.*",), bytes_max=max(64 << 20, 2 * (repeats + 1) * total)
    )
    streams = NatsStreams(connection)

    async def publish_chain(number: int, repeat: int) -> None:
        for index, size in enumerate(chains[number]):
            await streams.publish(
                f"bench.raw.{number}", noise[:size], message_id=f"{repeat}/{number}/{index}"
            )

    times = []
    try:
        for repeat in range(repeats + 1):
            began = time.perf_counter()
            await asyncio.gather(*(publish_chain(number, repeat) for number in range(len(chains))))
            times.append(time.perf_counter() - began)
    finally:
        await delete_stream(connection, STREAM)
    # The first repeat warms the stream up.
    seconds = median(times[1:])
    return {
        "milliseconds": seconds * 1e3,
        "bytes": float(total),
        "bytes_per_s": total / seconds,
        "in_flight": float(len(chains)),
    }
