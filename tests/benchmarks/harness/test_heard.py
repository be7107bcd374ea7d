"""The times that a benchmark reads from the progress of shards and hosts."""

import asyncio

import msgspec

from actors.counters import Counters
from actors.shard.progress import HostHeartbeat, ShardProgress
from benchmarks.harness.heard import Acknowledgements, TimedProgress, current_hosts, wait_hosts
from gateways.nats.heard import Heard


def test_a_frame_is_durable_from_the_first_progress_that_covers_it() -> None:
    def progress(number: int) -> ShardProgress:
        return ShardProgress("follower", 1, "x", "live", 1, number, number, 0, True, (), Counters())

    known = Acknowledgements(
        [
            TimedProgress(10, progress(3)),
            TimedProgress(20, progress(3)),
            TimedProgress(30, progress(7)),
        ]
    )
    assert [known.time_ns("follower", 1, number) for number in (1, 3, 4, 7, 8)] == [
        10,
        10,
        30,
        30,
        None,
    ]
    assert known.time_ns("follower", 0, 1) is None


async def test_a_hosts_new_incarnation_takes_its_predecessors_place() -> None:
    heard = Heard()
    for name, shard in (("f-0-a", "0"), ("f-1-b", "1"), ("f-0-c", "0")):
        beat = HostHeartbeat(name, "follower", 7, {shard: "live"})
        heard.hear_host("", "", msgspec.json.encode(beat), None)
    assert set(current_hosts(heard)) == {"f-1-b", "f-0-c"}
    async with asyncio.timeout(1):
        await wait_hosts(heard, 2)
