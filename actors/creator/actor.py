"""A creator shard's actor: fills and marks in, signals out.

It reads the ingress stream in its total order, takes the inputs of its own creators, and journals
them. Followers read the signals from its journal. Commands open and resume creators, and are
answered once durable (P3). After crashes it takes one input at a time (`actors.shard.careful`). A
fill that is quarantined suspends its creator.
"""

import asyncio
from typing import Any

from actors.counters import Counters
from actors.creator.commands import CreatorCommandTaker
from actors.creator.ingress import IngressTaker
from actors.ports import Ports
from actors.settings import ShardSettings
from actors.shard.committer import Output
from actors.shard.core import ShardCore
from actors.shard.event_time import TurnTime
from actors.shard.frame_budget import FrameBudget
from actors.shard.turn_gate import TurnGate
from engine.creator.shard import CreatorShard
from engine.journal.frame import ShardKey, ShardKind


class CreatorShardActor:
    """One creator shard."""

    def __init__(
        self,
        shard: int,
        incarnation: str,
        ports: Ports,
        settings: ShardSettings,
        gate: TurnGate | None = None,
    ) -> None:
        self.state = CreatorShard(settings.instruments, settings.default_instrument)
        self.core = ShardCore(
            self, ShardKey(ShardKind.CREATOR, shard), incarnation, ports, settings, self.state, gate
        )
        self._time = TurnTime(self.core.event_time)
        self.ingress = IngressTaker(self.core, self.state, self._time)
        self.commands = CreatorCommandTaker(self.core, self.state, self.ingress, self._time)

    async def start(self) -> None:
        """Recover, then read the ingress stream and the commands."""
        await self.core.recover()
        await self.ingress.open()
        await self.commands.open()

    async def close(self) -> None:
        """Stop reading."""
        await self.ingress.close()

    async def turn(self) -> None:
        """Take commands, then messages, until a frame's worth is gathered; send one frame."""
        if self.core.careful.is_on:
            await self._turn_carefully()
            return
        events: list[Any] = []
        budget = FrameBudget(events, self.core.settings.frame_bytes_max)
        self._time.begin()
        outputs: list[Output] = await self.commands.take(events, budget)
        has_more = self.ingress.take(events, budget)
        if has_more or self.commands.count:
            self.core.inputs.arrived.set()
        if events or outputs:
            await self.core.commit(events, self._time.ns, outputs)
            # Many small messages share a frame while one is on its way. The loop must not run ahead
            # of the other shards.
            await asyncio.sleep(0)

    async def _turn_carefully(self) -> None:
        """Take one command, and one message or one of its fills, each alone."""
        self._time.begin()
        await self.commands.take_alone()
        await self.ingress.take_alone()

    # Hooks.

    def overlaps(self) -> bool:
        """No turn is taken while a frame is on its way."""
        return False

    def keeps_back(self) -> bool:
        """Nothing is: each turn sends what it decides."""
        return False

    def count_into(self, counters: Counters) -> None:
        """Set the counters that are read from the state."""
        counters.creators = len(self.state.creators)
        counters.signals = self.state.next_signal - 1
        counters.suspended_creators = self.state.suspensions.count
        counters.inputs_quarantined = self.state.quarantine.count

    def dedicated_shards(self) -> tuple[int, ...]:
        """None: creators have no shard to themselves."""
        return ()

    def on_replayed(self, event: Any) -> list[Output]:
        """Owe nothing: followers read the journal itself."""
        return []

    def on_snapshot(self) -> None:
        """Do nothing: the state stands between two turns."""
