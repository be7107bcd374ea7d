"""Every actor dies at any moment, answers get lost, former owners linger; an audit finds every
promise kept (P1 to P10).
"""

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from actors.host.host import Connected, Host, HostSpec
from actors.ports import Ports
from actors.settings import ShardSettings
from actors.shard.recovery import Phase
from cluster.audit import audit
from gateways.brokers.paper.settings import FillSettings
from gateways.json.format import JsonFormat
from gateways.memory.bus import MemoryBus
from gateways.memory.journal import MemoryJournal
from gateways.memory.snapshots import MemorySnapshots
from gateways.memory.streams import MemoryStreams
from tests.actors.counting import counted
from tests.actors.memory_shards import TIME, Clock, memory_broker, memory_server
from tests.audit.memory_cluster import memory_store

SETTINGS = ShardSettings(
    creator_shards=1,
    follower_shards=2,
    part_rows=3,
    snapshot_frames_every=9,
    snapshot_seconds_every=600.0,
    frame_bytes_max=4_000,
)
PLACES = (("creator", 0), ("follower", 0), ("follower", 1), ("gateway", 0))
SYMBOLS = ("AAA", "BBB")


class Round:
    """One cluster in memory under a seed's misfortunes."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.server, self.clock = memory_server(), Clock()
        self.bus, self.streams = MemoryBus(self.server), MemoryStreams(self.server)
        fills = FillSettings(
            fee_rate_micros=300,
            partial_fill_slices=self.chance.choice((1, 2, 3)),
            fill_delay_ms=self.chance.choice((0, 5)),
            reject_ratio_micros=self.chance.choice((0, 200_000)),
            duplicate_executions=self.chance.random() < 0.3,
        )
        self.broker = memory_broker(self.server, self.clock, fills)
        self.ports = Ports(
            MemoryJournal(self.server),
            self.streams,
            self.bus,
            MemorySnapshots(self.server),
            JsonFormat(),
            self.clock,
        )
        self.runs: dict[tuple[str, int], asyncio.Task[str]] = {}
        self.hosts: dict[tuple[str, int], Host] = {}
        self.lingering: list[asyncio.Task[str]] = []
        self._ids = itertools.count(1)

    def start(self, kind: str, shard: int) -> None:
        """Start an incarnation."""
        host = Host(
            HostSpec(kind, (shard,), f"{kind}-{shard}-{next(self._ids)}", SETTINGS), self._connect()
        )
        self.hosts[kind, shard] = host
        self.runs[kind, shard] = asyncio.create_task(host.run())

    def _connect(self) -> Callable[[], Awaitable[Connected]]:
        async def close() -> None:
            return None

        async def connect() -> Connected:
            return Connected(self.ports, {0: ("paper", self.broker)}, close)

        return connect

    async def misfortune(self) -> None:
        """Kill a host, or let it linger beside its successor; lose what can be lost."""
        chance, faults = self.chance, self.server.faults
        match chance.randrange(6):
            case 0 | 1:
                place = chance.choice(PLACES)
                self.runs[place].cancel()
                await asyncio.gather(self.runs[place], return_exceptions=True)
                self.start(*place)
            case 2:
                place = chance.choice(PLACES)
                self.lingering.append(self.runs[place])
                self.start(*place)
            case 3:
                faults.acks_lost_count += chance.randrange(3)
            case 4:
                faults.appends_lost_count += chance.randrange(3)
            case _:
                faults.bus_drops_count += chance.randrange(3)

    async def pause(self) -> None:
        """Let the others run for a while, time too."""
        for _ in range(self.chance.randrange(40)):
            await asyncio.sleep(0)
        self.clock.time_ns += self.chance.choice((0, 10**6, 10**7, 3 * 10**9))
        self.broker.advance()

    async def command(self, subject: str, **body: Any) -> dict[str, Any]:
        """Send a command until it is answered, under one id."""
        data = msgspec.json.encode({"command_id": f"command-{next(self._ids)}", **body})
        while True:
            try:
                answer = await self.bus.request(subject, data, timeout_s=0.3)
            except Exception:  # noqa: BLE001
                await asyncio.sleep(0.01)
                continue
            return dict(msgspec.json.decode(answer))

    async def story(self, steps: int) -> None:
        """Let creators trade and accounts come and go while things go wrong."""
        chance = self.chance
        for creator in ("anna", "bert"):
            assert (
                await self.command(
                    f"commands.creator.{creator}", type="open_creator", cash="100000"
                )
            )["ok"]
        accounts = [f"account-{number}" for number in range(14)]
        for number, account in enumerate(accounts):
            assert (await self.command(f"commands.account.{account}", type="open_account"))["ok"]
            await self.follow(account, "anna", number)
        waiting: set[asyncio.Task[Any]] = set()
        for _ in range(steps):
            await self.pause()
            if chance.random() < 0.35:
                await self.misfortune()
            match chance.randrange(8):
                case 0:
                    account, creator = chance.choice(accounts), chance.choice(("anna", "bert"))
                    waiting.add(
                        asyncio.create_task(self.follow(account, creator, chance.randrange(9)))
                    )
                case 1:
                    body = {"type": "unfollow", "creator_id": chance.choice(("anna", "bert"))}
                    subject = f"commands.account.{chance.choice(accounts)}"
                    waiting.add(asyncio.create_task(self.command(subject, **body)))
                case _:
                    fills = [self.fill() for _ in range(chance.choice((1, 1, 2, 7)))]
                    await self.publish(f"fills.paper.{chance.choice(('anna', 'bert'))}", fills)
        await asyncio.gather(*waiting)

    async def follow(self, account: str, creator: str, number: int) -> None:
        """Subscribe an account."""
        mode = {"mode": "multiplier", "ratio": "0.05"} if number % 3 == 2 else {}
        limits = {"allow_short": number % 2 == 0}
        await self.command(
            f"commands.account.{account}",
            type="follow",
            creator_id=creator,
            cash=f"{500 + number}.5",
            limits=limits,
            **mode,
        )

    def fill(self) -> dict[str, str]:
        """Make a fill."""
        chance = self.chance
        return {
            "exec_id": f"fill-{next(self._ids)}",
            "symbol": chance.choice(SYMBOLS),
            "side": chance.choice(("buy", "sell")),
            "last_qty": str(chance.choice((10, 50, 120))),
            "last_px": f"{chance.randrange(80, 120)}.25",
            "transact_time": TIME,
        }

    async def publish(self, subject: str, body: Any) -> None:
        """Publish until it is acknowledged, under one id."""
        number, data = next(self._ids), msgspec.json.encode(body)
        while True:
            try:
                await self.streams.publish(subject, data, message_id=f"message-{number}")
            except Exception:  # noqa: BLE001
                continue
            return

    def is_at_rest(self) -> bool:
        """Return whether all shards are live, no exit waits for its time, and the gateway has
        nothing in hand. A standstill alone may be a pause.
        """
        for (kind, shard), host in self.hosts.items():
            actor = host.actors.get(shard)
            if (
                actor is None
                or actor.core.phase is not Phase.LIVE
                or not actor.core.standing.is_settled
            ):
                return False
            if kind == "follower" and any(actor.core.state.state.slots_with_follow_ups()):  # type: ignore[attr-defined]
                return False
            counts = counted(actor)
            if counts.queued_orders or counts.outstanding_messages:
                return False
        return True

    async def drained(self) -> None:
        """End all misfortune and wait until nothing moves any more, nor will."""
        faults = self.server.faults
        faults.acks_lost_count = faults.appends_lost_count = faults.bus_drops_count = 0
        still, before, end_s = 0, -1, asyncio.get_running_loop().time() + 20.0
        while still < 12:
            assert asyncio.get_running_loop().time() < end_s, "expected the backlog to drain"
            for place, run in self.runs.items():
                if run.done():
                    assert "failed" not in run.result(), run.result()
                    self.start(*place)
            await asyncio.sleep(0.01)
            self.clock.time_ns += 2 * 10**9
            self.broker.advance()
            now = sum(len(stream.messages) for stream in self.server.streams.values())
            still = still + 1 if now == before and self.is_at_rest() else 0
            before = now

    async def stop(self) -> None:
        """Stop every host."""
        for run in self.lingering:
            run.cancel()
        for host in self.hosts.values():
            host.stop()
        ended = await asyncio.gather(*self.runs.values())
        await asyncio.gather(*self.lingering, return_exceptions=True)
        assert all("stopped" in why for why in ended), ended


async def play(seed: int, steps: int, directory: Path) -> None:
    one = Round(seed)
    for place in PLACES:
        one.start(*place)
    await one.story(steps)
    await one.drained()
    await one.stop()
    store = memory_store(one.server, bytes(one.broker.ledger.data), directory)
    report = await audit(store, is_drained=True)
    assert report.passed, "\n".join(report.lines())


@pytest.mark.parametrize("seed", range(6))
async def test_promises_hold_through_crashes(seed: int, tmp_path: Path) -> None:
    await play(seed, 60, tmp_path)
