"""A process counts its alarms by name, and a host tells them in its heartbeat."""

import asyncio

import msgspec
from structlog.typing import EventDict

from actors.host.alarms import NAMES_MAX, AlarmCounts, process_alarms
from actors.ports import Request
from actors.shard.progress import HostHeartbeat
from tests.audit.memory_cluster import memory_cluster

WAIT_S_MAX = 10.0


def counted(*events: EventDict) -> list[tuple[str, int]]:
    alarms = AlarmCounts()
    for event in events:
        assert alarms.count(None, "error", event) == event
    return [(alarm.name, alarm.count) for alarm in alarms.told()]


def test_alarms_are_counted_by_name_and_other_events_are_not() -> None:
    alarm: EventDict = {"event": "order_unanswered", "alarm": True, "broker": "paper"}
    assert counted(
        alarm, {"event": "retrying"}, alarm, {"event": "broker_silent", "alarm": True}
    ) == [
        ("order_unanswered", 2),
        ("broker_silent", 1),
    ]


def test_names_are_bounded() -> None:
    events: list[EventDict] = [{"event": f"alarm_{n}", "alarm": True} for n in range(100)]
    found = counted(*events)
    assert len(found) == NAMES_MAX + 1
    assert found[-1] == ("others", 100 - NAMES_MAX)


async def test_a_host_tells_the_alarms_of_its_process() -> None:
    told: asyncio.Future[HostHeartbeat] = asyncio.get_running_loop().create_future()

    def hear(request: Request) -> None:
        if not told.done():
            told.set_result(msgspec.json.decode(request.data, type=HostHeartbeat))

    process_alarms.count(None, "error", {"event": "told_by_a_test", "alarm": True})
    async with memory_cluster() as cluster:
        await cluster.bus.subscribe("hosts.*", hear)
        async with asyncio.timeout(WAIT_S_MAX):
            heartbeat = await told
    assert "told_by_a_test" in {alarm.name for alarm in heartbeat.alarms}
