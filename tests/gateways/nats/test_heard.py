"""The listener to a cluster keeps the newest word of each shard and host."""

import asyncio

import msgspec

from actors.counters import Counters
from actors.shard.progress import HostHeartbeat, ShardProgress
from gateways.nats.heard import Heard


def progress(number: int, *, epoch: int = 1) -> ShardProgress:
    return ShardProgress(
        "follower", 3, f"f-{epoch}", "live", epoch, number, number, 0, True, (), Counters()
    )


def hear(heard: Heard, *told: ShardProgress | HostHeartbeat) -> None:
    for each in told:
        hears = heard.hear_shard if isinstance(each, ShardProgress) else heard.hear_host
        hears("", "", msgspec.json.encode(each), None)


def test_the_newest_progress_of_a_shard_takes_the_place_of_the_one_before() -> None:
    heard = Heard()
    hear(heard, progress(4), progress(5))
    assert heard.shards == {("follower", 3): progress(5)}


def test_progress_of_a_superseded_owner_is_ignored() -> None:
    heard = Heard()
    hear(heard, progress(5, epoch=2))
    heard_s = heard.heard_s["follower", 3]
    hear(heard, progress(9, epoch=1))
    assert heard.shards == {("follower", 3): progress(5, epoch=2)}
    assert heard.heard_s["follower", 3] == heard_s


def test_a_superseded_host_stands_beside_its_successor() -> None:
    heard = Heard()
    hear(heard, *(HostHeartbeat(name, "follower", 7, {"3": "live"}) for name in ("a", "b", "a")))
    assert list(heard.hosts) == ["a", "b"] and set(heard.heard_s) == {"a", "b"}


def test_each_message_of_a_shard_is_recorded_as_it_came() -> None:
    recorded: list[bytes] = []
    heard = Heard(recorded.append)
    told = (progress(5, epoch=2), progress(9, epoch=1))
    hear(heard, *told, HostHeartbeat("a", "follower", 7, {}))
    assert recorded == [msgspec.json.encode(each) for each in told]


async def test_progress_of_a_shard_or_a_host_wakes_everyone_who_waits() -> None:
    heard = Heard()
    for news in (progress(1), HostHeartbeat("a", "follower", 7, {})):
        waiting = [asyncio.create_task(heard.wait_news()) for _ in range(2)]
        await asyncio.sleep(0)
        assert not any(task.done() for task in waiting)
        hear(heard, news)
        async with asyncio.timeout(1):
            await asyncio.gather(*waiting)
