"""The core of a shard actor: its phases, its turns, its commits and its snapshots.

A shard actor is one mailbox and one state: `turn` takes a batch of what has arrived, decides all of
it, and sends one frame. `ShardCore` is the part that does not depend on the kind of shard. Each
kind (`actors.creator.actor`, `actors.follower.actor`, `actors.broker_gateway.actor`) holds one, and
answers its hooks (`actors.shard.hooks`).

    inputs --> turn --> commit --> durable --> outputs, progress
                          |
                          `--> snapshots, while turns go on

What does not belong here: feeds and requests (`actors.shard.inputs`), what is told of the shard
(`actors.shard.telling`), careful mode (`actors.shard.careful`).
"""

import asyncio
import time
from collections.abc import Sequence
from typing import Any, Protocol

import structlog

from actors.counters import Counters
from actors.errors import ShardLostError
from actors.journal.foreign_messages import ForeignMessages
from actors.journal.writer import JournalWriter
from actors.ports import Ports
from actors.settings import ShardSettings
from actors.shard.careful import CarefulMode, LoneInputs, PoisonError
from actors.shard.committer import Committer, Output
from actors.shard.crash_trail import CrashTrail
from actors.shard.event_time import FrameTime
from actors.shard.hooks import ShardHooks
from actors.shard.inputs import ShardInputs
from actors.shard.outputs import FramelessAnswers, OwedOutputs, letters_of
from actors.shard.recovery import Phase, recover
from actors.shard.snapshotter import Snapshotter
from actors.shard.standing import CursoredState, ShardStanding
from actors.shard.telling import PROGRESS_PER_S, Telling
from actors.shard.turn_gate import TurnGate
from engine.columns.section_types import SectionError
from engine.journal.chain import ChainBrokenError
from engine.journal.frame import FrameError, FrameHeader, ShardKey

_log = structlog.get_logger()


class ShardActor(ShardHooks, Protocol):
    """A shard actor of any kind."""

    core: "ShardCore"

    async def start(self) -> None:
        """Recover, then open the inputs."""
        ...

    async def turn(self) -> None:
        """Take one batch, do all of it, send it on its way."""
        ...

    async def close(self) -> None:
        """Close the inputs."""
        ...


class ShardCore:
    """The core of one shard. `gate` is shared by the shards of a process."""

    def __init__(
        self,
        actor: ShardActor,
        key: ShardKey,
        incarnation: str,
        ports: Ports,
        settings: ShardSettings,
        state: CursoredState,
        gate: TurnGate | None = None,
        *,
        progress_per_s: int = PROGRESS_PER_S,
    ) -> None:
        self.key = key
        self.ports = ports
        self.settings = settings
        self.state = state
        self.counts = Counters()
        self.foreign = ForeignMessages(str(key), self.counts)
        self.writer = JournalWriter(ports.journal, key, incarnation, self.foreign)
        self.committer = Committer(self.writer)
        self.inputs = ShardInputs(key, ports)
        self.standing = ShardStanding(key, incarnation, state, self.committer, actor)
        self.event_time = FrameTime(
            ports.clock, self.writer, uses_event_clock=settings.uses_event_clock
        )
        self.answers = FramelessAnswers(self.inputs.arrived, self.counts)
        self.telling = Telling(
            ports.bus,
            self.standing,
            actor,
            self.counts,
            self.answers,
            self.inputs.arrived,
            per_s=progress_per_s,
        )
        self.careful = CarefulMode(settings.poison_crashes)
        self.alone = LoneInputs(self.careful, self, self.inputs.arrived)
        self.gate = gate or TurnGate()
        self.snapshotter = Snapshotter(
            ports.snapshots,
            self.standing.durable_copy,
            frames_every=settings.snapshot_frames_every,
            seconds_every=settings.snapshot_seconds_every,
            counts=self.counts,
        )
        self._actor = actor
        self._owed = OwedOutputs(self.standing, ports.streams, actor)
        self._trail = CrashTrail()
        self._stopping = False

    @property
    def phase(self) -> Phase:
        """The phase of this owner."""
        return self.standing.phase

    @property
    def error(self) -> str:
        """Why this owner broke off; empty when it did not."""
        return self.standing.error

    # Recovery.

    async def recover(self) -> None:
        """Take the shard over and bring the state up to the fence."""
        restored = await recover(
            self.writer,
            self.ports.journal,
            self.ports.snapshots,
            self.state,
            now_ns=self.event_time.fence_ns(),
            entered=self.standing.enter,
            replayed=self._replayed,
            foreign=self.foreign,
        )
        self.snapshotter.begin(restored)
        await self._trail.read_back(self.ports.journal, self.key)
        self.careful.begin(self._trail)
        self.committer.live(self.standing.cursors())
        await self.inputs.subscribe(
            f"shards.{self.key.kind.name.lower()}.{self.key.shard}.inspect", self.telling.inspect
        )

    def _replayed(self, sequence: int, header: FrameHeader, events: list[Any]) -> None:
        self._trail.take(sequence, header, events)
        self._owed.replay(events)

    # Committing.

    async def commit(
        self, events: Sequence[Any], event_time_ns: int, outputs: Sequence[Output]
    ) -> None:
        """Send one frame of decided and applied events, with the cursors as they stand. Raises:
        ShardLostError.
        """
        await self._owed.pay()
        released = [
            *self.answers.take(),
            *outputs,
            *letters_of(self.key, self.ports.streams, events),
            self.telling.tell_now_or_soon,
        ]
        await self.committer.commit(events, self.standing.cursors(), event_time_ns, released)
        if self._actor.overlaps():
            await self.committer.leave()

    async def settle(self) -> None:
        """Wait until nothing is in flight. Raises: ShardLostError."""
        await self.committer.settle()

    async def rest(self) -> None:
        """Do what there is to do between turns: settle a finished append, send answers, tell of
        inputs that led to no frame, take a snapshot.
        """
        in_flight = self.committer.in_flight()
        if in_flight is not None and in_flight.done():
            await self.committer.settle()
        await self._owed.pay()
        if self.answers and self.committer.is_idle:
            answers = self.answers.take()
            await asyncio.gather(*(answer() for answer in answers), return_exceptions=True)
        if self.telling.is_behind:
            await asyncio.gather(self.telling.tell_now_or_soon(), return_exceptions=True)
        if self.snapshotter.is_due(self.committer, time.monotonic()) and (
            not self._actor.keeps_back()
        ):
            self._actor.on_snapshot()
            # Under load there is always a frame in flight, so the snapshot waits for this one.
            await self.committer.settle()
            self.snapshotter.take(self.committer, time.monotonic())

    # Running.

    def stop(self) -> None:
        """Ask the loop to end, once nothing is kept back."""
        self._stopping = True
        self.inputs.arrived.set()

    async def run(self) -> None:
        """Recover, then take turns until stopped, lost or failed."""
        ticking = asyncio.create_task(self.inputs.tick(), name=f"tick {self.key}")
        try:
            await self._start()
            while not self._stopping or self._actor.keeps_back():
                await self.inputs.wait()
                if not self._actor.overlaps():
                    await self.committer.settle()
                await self._turn()
                await self.rest()
                # A turn may have waited for nothing: the other shards of the process are next.
                await asyncio.sleep(0)
            await self._finish()
        except ShardLostError as error:
            self.standing.end(Phase.LOST, str(error))
        except (ChainBrokenError, FrameError, SectionError, PoisonError) as error:
            # The history does not hold together, or the next input cannot be left out. A new start
            # would not mend it.
            _log.exception("shard_failed", shard=str(self.key), alarm=True)
            self.standing.end(Phase.FAILED, f"{type(error).__name__}: {error}")
        except Exception as error:  # noqa: BLE001
            # This shard stops, the host's other shards go on. A successor replays what is durable
            # and tries again (`actors.shard.careful`).
            _log.exception("shard_crashed", shard=str(self.key), alarm=True)
            self.standing.end(Phase.CRASHED, f"{type(error).__name__}: {error}")
        finally:
            ticking.cancel()
            await asyncio.gather(ticking, return_exceptions=True)
            await self._close()

    async def _start(self) -> None:
        self.gate.begin_recovery()
        try:
            await self._actor.start()
        finally:
            self.gate.end_recovery()
        self.standing.enter(Phase.LIVE)
        await self.telling.tell_quietly()

    async def _turn(self) -> None:
        if self.careful.is_on:
            await self.gate.take_turn_alone(self._actor.turn)
        else:
            await self.gate.take_turn(self._actor.turn)

    async def _finish(self) -> None:
        await self.committer.settle()
        # A shard may be stopped before its first turn. A snapshot would hide from the next owner
        # what is still owed.
        await self._owed.pay()
        if self.snapshotter.is_due(self.committer, float("inf")):
            self._actor.on_snapshot()
            self.snapshotter.take(self.committer, float("inf"))
        self.standing.enter(Phase.STOPPED)

    async def _close(self) -> None:
        if self.phase.is_broken_off:
            # The successor may be in this process, and should not wait for the database.
            self.snapshotter.give_up()
        await self.committer.close()
        await asyncio.gather(
            self._actor.close(),
            self.inputs.close(),
            self.telling.close(),
            self.snapshotter.close(),
            return_exceptions=True,
        )
        await self.telling.tell_quietly()
