"""What every journaled shard actor has in common: its ports, its phases, its commit loop, its
progress and its snapshots.

A shard actor is one mailbox and one state: `turn` takes a batch of what has arrived, decides all of
it, and sends one frame. `ShardCore` is the part that does not depend on the kind of shard; the
kinds
(`actors.creator.actor`, `actors.follower.actor`, `actors.broker_gateway.actor`) hold one each.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

import msgspec
import structlog

from actors.errors import ShardLostError
from actors.ports import Feed, Ports, Request, Subscription
from actors.settings import ShardSettings
from actors.shard.careful import CarefulMode
from actors.shard.committer import Committer, Output
from actors.shard.crash_trail import CrashTrail
from actors.shard.dead_letters import dead_letters
from actors.shard.event_time import EventTime
from actors.shard.inputs import Input, PoisonError
from actors.shard.journal_writer import JournalWriter
from actors.shard.progress import Allowance, ShardProgress, cursor_progress, publish_progress
from actors.shard.recovery import Phase, ShardState, recover
from actors.shard.retry import retry_until_done
from actors.shard.snapshotter import Snapshotter
from actors.shard.turn_gate import TurnGate
from engine.columns.sections import SectionError
from engine.columns.state import AnyColumn, State, state_hash
from engine.columns.state_copy import StateCopy
from engine.journal.chain import ChainBrokenError
from engine.journal.cursors import Cursor, Source, cursors_column
from engine.journal.events.shard import InputAttempted, InputQuarantined, InputsRefused, OwnerFenced
from engine.journal.frame import FrameError, FrameHeader, ShardKey, ShardKind

_log = structlog.get_logger()

TICK_S = 0.1
HEADS_PER_S = {ShardKind.CREATOR: 10, ShardKind.FOLLOWER: 50, ShardKind.GATEWAY: 10}
"""So often progress follow frames under load: one a frame would cost as much as the frame, here and
at whoever hears it (`latency`). A follower's tells when positions are durable; others only show
whoever reads those journals that he is behind.
"""
HEADS_AT_ONCE = 8
"""So many follow frames at once after a pause."""
ANSWERS_MAX = 1_000
"""So many answers wait for a turn; who gets none asks again."""


class CursoredState(ShardState, Protocol):
    """A shard's state with its input cursors."""

    cursors: dict[tuple[Source, int], Cursor]


class ShardActor(Protocol):
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
    """The commit loop of one shard."""

    def __init__(
        self,
        key: ShardKey,
        incarnation: str,
        ports: Ports,
        settings: ShardSettings,
        state: CursoredState,
    ) -> None:
        self.key = key
        self.incarnation = incarnation
        self.ports = ports
        self.settings = settings
        self.state = state
        self.phase = Phase.STARTING
        self.error = ""
        self.arrived = asyncio.Event()
        self.counts: dict[str, int] = {}
        self.counted: Callable[[], dict[str, int]] = lambda: {}
        self.overlaps: Callable[[], bool] = lambda: False
        """Whether to take a turn while a frame is on its way. Not for small ones: what comes
        meanwhile then shares the next frame, where a frame made early would wait, and everything
        behind it would wait for two (`latency`).
        """
        self.dedicated: Callable[[], tuple[int, ...]] = lambda: ()
        self.keeps_back: Callable[[], bool] = lambda: False
        """Whether the state holds what is in no frame yet."""
        self.may_snapshot: Callable[[], bool] = lambda: True
        self.resumed: Callable[[Any], list[Output]] = lambda event: []
        self.writer = JournalWriter(ports.journal, key, incarnation)
        self.committer = Committer(self.writer)
        self._snapshotter = Snapshotter(
            ports.snapshots,
            self._durable_cut,
            frames_every=settings.snapshot_frames_every,
            seconds_every=settings.snapshot_seconds_every,
        )
        self.careful = CarefulMode(settings.poison_crashes)
        self.neighbours = TurnGate()
        self.is_deciding = False
        self._event_time = EventTime()
        self._trail = CrashTrail()
        self._told_cursors: dict[tuple[Source, int], Cursor] = {}
        self._tellings = Allowance(HEADS_PER_S[key.kind], HEADS_AT_ONCE)
        self._telling: asyncio.Task[None] | None = None
        self._undelivered: list[Output] = []
        self._owed: list[Output] = []
        self._subscriptions: list[Subscription] = []
        self._stopping = False

    # Recovery.

    def enter(self, phase: Phase) -> None:
        """Go to a phase."""
        self.phase = phase
        _log.info(
            "phase",
            shard=str(self.key),
            phase=phase.value,
            epoch=self.writer.epoch,
            incarnation=self.incarnation,
        )

    async def recover(self) -> None:
        """Take the shard over and bring the state up to the fence."""
        restored = await recover(
            self.writer,
            self.ports.journal,
            self.ports.snapshots,
            self.state,
            now_ns=0 if self.settings.uses_event_clock else self.ports.clock.now_ns(),
            entered=self.enter,
            replayed=self._replayed,
        )
        self._snapshotter.begin(restored)
        await self._trail.read_back(self.ports.journal, self.key)
        self.careful.begin(self._trail)
        self.committer.live(self._cursors())
        await self.subscribe(
            f"shards.{self.key.kind.name.lower()}.{self.key.shard}.inspect", self._inspect
        )

    def _replayed(self, sequence: int, header: FrameHeader, events: list[Any]) -> None:
        self._trail.take(sequence, header, events)
        if all(isinstance(event, OwnerFenced) for event in events) and events:
            return
        # The former owner may have died between its last frame and what that released, which is
        # said again under the same message ids. Of earlier frames it was: a frame is sent only
        # after the outputs of the one before.
        self._owed = []
        for event in events:
            if isinstance(event, InputsRefused | InputQuarantined):
                self._owed += dead_letters(self.key, self.ports.streams, event)
            self._owed += self.resumed(event)

    # Inputs.

    async def subscribe(
        self, subject: str, receive: Callable[[Request], None], *, queue: str = ""
    ) -> None:
        """Receive requests until the shard is closed."""
        bus = self.ports.bus
        self._subscriptions.append(
            await retry_until_done(
                f"subscription to {subject}", lambda: bus.subscribe(subject, receive, queue=queue)
            )
        )

    async def open_feed(
        self, stream: str, subject: str, *, after_sequence: int, seen_sequence: int
    ) -> Feed:
        """Read a stream from where the state stands. Raises: ChainBrokenError when the stream ends
        before what was taken from it.
        """
        streams = self.ports.streams
        last = await retry_until_done(f"end of {stream}", lambda: streams.last_sequence(stream))
        if last < seen_sequence:
            raise ChainBrokenError(
                f"{self.key}: expected {stream} to reach sequence {seen_sequence}, "
                f"which was taken from it, found its end at {last};"
                " the stream lost its end"
            )
        return await retry_until_done(
            f"feed of {subject} in {stream}",
            lambda: streams.open_feed(
                stream, subject, after_sequence=after_sequence, arrived=self.arrived
            ),
        )

    def event_time_ns(self, inputs_ns: int = 0) -> int:
        """Tell the time that the next frame is stamped with: it never goes back."""
        last = self.writer.event_time_ns
        if self.settings.uses_event_clock:
            return max(last, inputs_ns)
        return self._event_time.at(self.ports.clock.now_ns(), last)

    async def arrivals(self) -> None:
        """Wait until something has arrived, or a tick has passed."""
        await self.arrived.wait()
        self.arrived.clear()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self.arrived.set()

    # Committing.

    async def commit(
        self, events: Sequence[Any], event_time_ns: int, outputs: Sequence[Output]
    ) -> None:
        """Send one frame of decided and applied events, with the cursors as they stand."""
        await self._pay()
        released = [*self._undelivered, *outputs]
        self._undelivered = []
        for event in events:
            if isinstance(event, InputsRefused | InputQuarantined):
                released += dead_letters(self.key, self.ports.streams, event)

        await self.committer.commit(
            events, self._cursors(), event_time_ns, [*released, self._tell_now_or_soon]
        )
        if self.overlaps():
            await self.committer.leave()

    async def decide_alone(
        self,
        tried: Input,
        decide: Callable[[list[Any], list[Output]], Awaitable[None]],
        quarantine: Callable[[list[Any]], None],
        now: Callable[[], int],
    ) -> None:
        """Decide one input with nothing else in hand: journal that it is tried, decide it, journal
        what came of it. The poison is quarantined instead. Both put events, already applied, into
        the list that they are given.
        """
        events: list[Any] = []
        outputs: list[Output] = []

        async def decided() -> None:
            await decide(events, outputs)
            # An empty frame too says that the input is behind.
            await self.commit(events, now(), outputs)

        if tried != self.careful.poison:
            await self.try_alone(tried, decided, now)
            return
        quarantine(events)
        await self.commit(events, now(), outputs)
        await self.committer.settle()
        self.arrived.set()

    async def try_alone(
        self, tried: Input, act: Callable[[], Awaitable[None]], now: Callable[[], int]
    ) -> None:
        """Journal that an input is tried, and do what commits what comes of it."""
        await self.commit([InputAttempted(*tried)], now(), ())
        await self.committer.settle()
        await act()
        await self.committer.settle()
        self.careful.went_well()
        self.arrived.set()

    async def _pay(self) -> None:
        """Say what the former owner may not have said, before there is a later frame than the one
        it belongs to.
        """
        owed, self._owed = self._owed, []
        if owed:
            self.is_deciding = True
            await asyncio.gather(*(output() for output in owed), return_exceptions=True)
            self.is_deciding = False

    def _cursors(self) -> tuple[Cursor, ...]:
        return tuple(self.state.cursors[key] for key in sorted(self.state.cursors))

    def durable_state(self) -> State:
        """Name the state at the last durable frame, which it must be asked for only when settled:
        inputs that led to no frame have moved the cursors since, and a replay of the journal does
        not know of them (P6).
        """
        return {**self.state.columns(), "cursors": self._durable_cursors()}

    def _durable_cut(self) -> StateCopy:
        copy = self.state.copy()
        copy.columns["cursors"] = self._durable_cursors()
        return copy

    def _durable_cursors(self) -> AnyColumn:
        return cursors_column(
            {(cursor.source, cursor.shard): cursor for cursor in self.committer.durable_cursors}
        )

    async def rest(self) -> None:
        """Do what there is to do between frames: settle a finished append, tell of silent progress,
        take a snapshot.
        """
        in_flight = self.committer.in_flight()
        if in_flight is not None and in_flight.done():
            await self.committer.settle()
        await self._pay()
        if self._undelivered and self.committer.is_idle:
            outputs, self._undelivered = self._undelivered, []
            await asyncio.gather(*(output() for output in outputs), return_exceptions=True)
        if self.is_settled and self.state.cursors != self._told_cursors:
            # Inputs that led to no frame: whoever waits for them to be taken need not wait for the
            # next heartbeat.
            await asyncio.gather(self._tell_now_or_soon(), return_exceptions=True)
        if self.wants_snapshot() and not self.keeps_back() and self.may_snapshot():
            # Under load there is always a frame in flight: who waited for none would never come to
            # it.
            await self.committer.settle()
            self._snapshotter.take(self.committer, time.monotonic())

    def wants_snapshot(self) -> bool:
        """Say whether a snapshot is due."""
        return self._snapshotter.is_due(self.committer, time.monotonic())

    # Telling.

    @property
    def is_settled(self) -> bool:
        """Whether the state is exactly that of the last durable frame. Of one that broke off,
        perhaps in mid-turn, nobody knows.
        """
        return (
            not self.phase.is_broken_off
            and self.committer.is_settled
            and not self.is_deciding
            and not self.keeps_back()
        )

    def progress(self) -> ShardProgress:
        """Show how the shard stands."""
        settled = self.is_settled
        cursors = self._cursors() if settled else self.committer.durable_cursors
        return ShardProgress(
            kind=self.key.kind.name.lower(),
            shard=self.key.shard,
            incarnation=self.incarnation,
            phase=self.phase.value,
            epoch=self.writer.epoch,
            number=self.committer.durable_number,
            sequence=self.committer.durable_sequence,
            event_time_ns=self.writer.event_time_ns,
            is_settled=settled,
            cursors=cursor_progress(list(cursors)),
            counts={**self.counts, **self.counted(), **self._waits()}
            if self.phase is Phase.LIVE
            else {},
            dedicated=self.dedicated() if self.phase is Phase.LIVE else (),
        )

    def _waits(self) -> dict[str, int]:
        committer = self.committer
        return {
            "append_us": committer.append_ns // 1000,
            "append_wait_us": committer.waited_ns // 1000,
        }

    async def tell(self) -> None:
        """Publish the progress."""
        if self.is_settled:
            self._told_cursors = dict(self.state.cursors)
        await publish_progress(self.ports.bus, self.key, self.progress())

    async def _tell_now_or_soon(self) -> None:
        """Publish the progress, or leave it to the one that follows within moments: many frames
        share one.
        """
        if self._undelivered:
            self.arrived.set()
        if self._telling is not None and not self._telling.done():
            return
        wait_s = self._tellings.take(time.monotonic())
        if wait_s <= 0:
            await self.tell()
        else:
            self._telling = asyncio.create_task(self._tell_after(wait_s), name=f"head {self.key}")

    async def _tell_after(self, wait_s: float) -> None:
        await asyncio.sleep(wait_s)
        await self.tell_quietly()

    def count(self, name: str, by: int = 1) -> None:
        """Count something that an operator may want to know."""
        self.counts[name] = self.counts.get(name, 0) + by

    def _inspect(self, request: Request) -> None:
        """Answer with the hash of the state, which is asked for while nothing moves."""
        settled = self.is_settled and self.phase is Phase.LIVE
        digest = state_hash(self.durable_state()).hex() if settled else ""
        answer = {
            "epoch": self.writer.epoch,
            "number": self.committer.durable_number,
            "state_hash": digest,
            "settled": settled,
        }
        self.answer_soon(request, msgspec.json.encode(answer))

    def answer_soon(self, request: Request, answer: bytes) -> None:
        """Answer a request that needs no frame, or, where too many wait, not at all."""
        if len(self._undelivered) < ANSWERS_MAX:
            self._undelivered.append(lambda: request.reply(answer))
            self.arrived.set()
        else:
            self.count("answers_dropped")

    # Running.

    def stop(self) -> None:
        """Ask the loop to end, once nothing is kept back."""
        self._stopping = True
        self.arrived.set()

    async def run(self, actor: ShardActor) -> None:
        """Recover, then take turns until stopped, lost or failed."""
        ticking = asyncio.create_task(self._tick(), name=f"tick {self.key}")
        try:
            await self._start(actor)
            self.enter(Phase.LIVE)
            await self.tell_quietly()
            while not self._stopping or self.keeps_back():
                await self.arrivals()
                if not self.overlaps():
                    await self.committer.settle()
                await self._turn(actor)
                await self.rest()
            await self.committer.settle()
            # It may have been stopped before its first turn; a snapshot would hide from the next
            # owner what is still owed.
            await self._pay()
            if self._snapshotter.is_due(self.committer, float("inf")) and self.may_snapshot():
                self._snapshotter.take(self.committer, float("inf"))
            self.enter(Phase.STOPPED)
        except ShardLostError as error:
            self.error = str(error)
            self.enter(Phase.LOST)
        except (ChainBrokenError, FrameError, SectionError, PoisonError) as error:
            # Fail-stop: history does not hold together, or what comes next cannot be left out, and
            # starting again would not mend it.
            self.error = f"{type(error).__name__}: {error}"
            _log.exception("shard_failed", shard=str(self.key), alarm=True)
            self.enter(Phase.FAILED)
        except Exception as error:  # noqa: BLE001
            # Fail-stop for this shard, not for its neighbours; a successor replays what is durable
            # and tries again (`actors.shard.careful`).
            self.error = f"{type(error).__name__}: {error}"
            _log.exception("shard_crashed", shard=str(self.key), alarm=True)
            self.enter(Phase.CRASHED)
        finally:
            ticking.cancel()
            await self._closed(actor, ticking)

    async def _start(self, actor: ShardActor) -> None:
        self.neighbours.begin_recovery()
        try:
            await actor.start()
        finally:
            self.neighbours.end_recovery()

    async def _turn(self, actor: ShardActor) -> None:
        neighbours = self.neighbours
        if not self.careful.is_on:
            await neighbours.enter()
            try:
                await actor.turn()
            finally:
                neighbours.leave()
            return
        await neighbours.enter_alone()
        try:
            await actor.turn()
        finally:
            neighbours.leave_alone()
        # The next turn must not begin before those who wait have had theirs.
        await asyncio.sleep(0)

    async def let_neighbours_in(self) -> None:
        """Let the others have their turns in the midst of a careful shard's long one."""
        self.neighbours.leave_alone()
        await asyncio.sleep(0)
        await self.neighbours.enter_alone()

    async def tell_quietly(self) -> None:
        """Publish the progress if there is a way."""
        await asyncio.gather(self.tell(), return_exceptions=True)

    async def _closed(self, actor: ShardActor, ticking: "asyncio.Task[None]") -> None:
        if self.phase.is_broken_off:
            # Its successor, perhaps in this process, shall not wait for the database.
            self._snapshotter.give_up()
        await self.committer.close()
        closing: list[Awaitable[None]] = [
            subscription.close() for subscription in self._subscriptions
        ]
        closing.append(ticking)
        if self._telling is not None:
            closing.append(self._telling)
        await asyncio.gather(
            actor.close(), *closing, self._snapshotter.close(), return_exceptions=True
        )
        await self.tell_quietly()
