"""Reading one shard for the audit: to the end of its journal, and on to a frame at which its live
owner can be compared.
"""

import asyncio
from collections.abc import Awaitable, Callable

from actors.history_reader import FrameReader
from actors.ports import Bus
from cluster.audit.fill_index import FillIndex
from cluster.audit.replaying import Replay, inspect, newest_snapshots
from cluster.audit.report import Checks
from cluster.audit.signals import SignalsAudit
from cluster.audit.valuations import ValuationsAudit
from cluster.history.store import JournalStore
from engine.creator.shard import CreatorShard
from engine.follower.shard import FollowerShard
from engine.follower.state import FollowerState
from engine.history.creators import CreatorTables
from engine.history.followers import FollowerTables
from engine.history.frames import JournalFrame
from engine.history.gateways import GatewayTables
from engine.history.storage import ColumnStorage
from engine.journal.chain import ChainBrokenError
from engine.journal.cursors import HASH_BYTES, Cursor, Source
from engine.journal.frame import FrameError, ShardKey, ShardKind
from engine.values.instruments import InstrumentTerms

SETTLE_TRIES_MAX = 100
SETTLE_PAUSE_S = 0.05
BATCH_ROWS = 1 << 20
BATCH_CURSORS = 1 << 14


class ShardReading:
    """One shard's journal on its way through the checks. `replay` is None for shards whose state
    does not follow from their own journal.
    """

    def __init__(
        self,
        store: JournalStore,
        key: ShardKey,
        take: Callable[[JournalFrame], None],
        replay: Replay | None,
        checks: Checks,
    ) -> None:
        self.key = key
        self.number = 0
        self.epoch = 0
        self.frames = 0
        self.replay = replay
        self.is_broken = False
        self.hashes = bytearray()
        self._reader = FrameReader(store.journal, key)
        self._take = take
        self._checks = checks

    async def read_on(self, paged: Callable[[], Awaitable[None]] | None = None) -> None:
        """Read to the journal's end, and await `paged` after each page. A broken chain ends the
        reading and is a fault.
        """
        try:
            while page := await self._reader.page():
                for frame in page:
                    self._accept(frame)
                if paged is not None:
                    await paged()
        except (ChainBrokenError, FrameError) as error:
            if not self.is_broken:
                self._checks["P5"].fail(str(error))
            self.is_broken = True

    def _accept(self, frame: JournalFrame) -> None:
        if self.replay is not None:
            self.replay.take(frame)
        self._take(frame)
        self.number, self.epoch = frame.header.number, frame.header.epoch
        self.frames += 1
        self.hashes += frame.hash

    def _foreign_note(self) -> str:
        reader = self._reader
        return (
            f"journal of {self.key}: stepped over {reader.foreign} messages that are no frames, "
            f"first at sequence {reader.foreign_first}; find out who may publish there"
        )

    def hash_of(self, number: int) -> bytes:
        """Return the hash of a frame that was read, empty for others."""
        return (
            bytes(self.hashes[(number - 1) * HASH_BYTES : number * HASH_BYTES])
            if number > 0
            else b""
        )

    async def meet_live(self, bus: Bus, paged: Callable[[], Awaitable[None]] | None = None) -> str:
        """Read on until the live shard stands at the frame read last, and compare the states.
        Returns: empty, or the reason why they could not be compared.
        """
        for _ in range(SETTLE_TRIES_MAX):
            await self.read_on(paged)
            live = None if self.is_broken else await inspect(bus, self.key)
            if live is None:
                return f"{self.key} did not answer: its live state was not compared"
            if live.settled and (live.epoch, live.number) == (self.epoch, self.number):
                self._compare(live.state_hash)
                return ""
            await asyncio.sleep(SETTLE_PAUSE_S)
        return (
            f"{self.key} never stood still at a frame that was "
            "read: its live state was not compared"
        )

    def _compare(self, live_hash: str) -> None:
        assert self.replay is not None
        self._checks["P6"].count("live_states")
        if self.replay.digest().hex() != live_hash and not self.replay.is_broken:
            self._checks["P6"].fail(
                f"{self.key}, frame {self.number}: expected the live state "
                "to be the replayed one, found another"
            )

    def finish(self) -> None:
        """Count the frames, and compare the final states of the replays."""
        check = self._checks["P5"]
        check.count("shards")
        check.count("frames", self.frames)
        check.count("dropped", self._reader.dropped)
        check.count("foreign", self._reader.foreign)
        if self._reader.foreign:
            self._checks.notes.append(self._foreign_note())
        if self.replay is not None:
            self.replay.finish(is_whole=not self.is_broken)


class CreatorSide:
    """One creator shard. It is read before the followers, and again whenever one is ahead of it."""

    def __init__(self, shard: int, reading: ShardReading, tables: CreatorTables) -> None:
        self.shard = shard
        self.reading = reading
        self.tables = tables
        self.index = FillIndex(tables)

    async def read_on(self) -> None:
        """Read to the journal's end."""
        await self.reading.read_on()
        self._index()

    async def meet_live(self, bus: Bus) -> str:
        """Read up to the live shard's frame, and compare. Returns: a note, or empty."""
        note = await self.reading.meet_live(bus)
        self._index()
        return note

    def _index(self) -> None:
        if self.tables.fills_count != self.index.fills.rows_count:
            self.index = FillIndex(self.tables)


async def creator_side(store: JournalStore, shard: int, checks: Checks) -> CreatorSide:
    """Return a creator shard's side, with nothing read yet."""
    key, tables = ShardKey(ShardKind.CREATOR, shard), CreatorTables(shard)
    snapshots = await newest_snapshots(store.snapshots, key, checks)
    replay = Replay(key, lambda: CreatorShard({}, InstrumentTerms(1, 0)), snapshots, checks)
    valuations = ValuationsAudit(shard, checks["P11"])

    def take(frame: JournalFrame) -> None:
        tables.add(frame, replays=False)
        valuations.take(frame)

    reading = ShardReading(store, key, take, replay, checks)
    return CreatorSide(shard, reading, tables)


class FollowerSide:
    """One follower shard. Its dispositions are checked batch by batch while it is read."""

    def __init__(
        self,
        store: JournalStore,
        replay: Replay,
        creators: dict[int, CreatorSide],
        checks: Checks,
        storage: ColumnStorage,
    ) -> None:
        self.shard = replay.key.shard
        self.reading = ShardReading(store, replay.key, self.take, replay, checks)
        self.tables = FollowerTables(self.shard, replays=False, storage=storage)
        self.fills: dict[int, FillIndex] = {}
        self.signals = SignalsAudit(self.tables, self.fills, checks)
        self._creators = creators
        self._chains = checks["P5"]
        self._seen: dict[Cursor, int] = {}

    def take(self, frame: JournalFrame) -> None:
        """Take a frame, and note the creator frames that its cursors name."""
        self.tables.take(frame)
        for cursor in frame.header.cursors:
            if cursor.source is Source.CREATOR_JOURNAL:
                self._seen.setdefault(cursor, frame.header.number)

    async def read(self, bus: Bus | None) -> str:
        """Read to the journal's end, and up to the live shard's frame if there is one. Returns: a
        note, or empty.
        """
        note = ""
        if bus is None:
            await self.reading.read_on(self._paged)
        else:
            note = await self.reading.meet_live(bus, self._paged)
        await self._flush()
        return note

    async def _paged(self) -> None:
        if self.tables.dispositions.count >= BATCH_ROWS or len(self._seen) >= BATCH_CURSORS:
            await self._flush()

    async def _flush(self) -> None:
        for creator in self._creators.values():
            cursor = self.tables.cursors.get((Source.CREATOR_JOURNAL, creator.shard))
            if cursor is not None and cursor.number > creator.reading.number:
                await creator.read_on()
            self.fills[creator.shard] = creator.index
        self._check_seen()
        self.signals.take(self.tables.dispositions.take())

    def _check_seen(self) -> None:
        """Check that the creator frames that were decided are those in the creators' journals."""
        for cursor, number in self._seen.items():
            creator = self._creators.get(cursor.shard)
            if creator is None or creator.reading.hash_of(cursor.number) != cursor.hash:
                self._chains.fail(
                    f"{self.reading.key}, frame {number}: expected frame "
                    f"{cursor.number} of creator shard {cursor.shard}"
                    " as it was read, found another in the journal, or none"
                )
        self._seen.clear()

    @property
    def state(self) -> FollowerState | None:
        """The replayed state, None when the journal could not be replayed."""
        replay = self.reading.replay
        assert replay is not None
        if replay.is_broken:
            return None
        assert isinstance(replay.state, FollowerShard)
        return replay.state.state


async def follower_side(
    store: JournalStore,
    shard: int,
    creators: dict[int, CreatorSide],
    checks: Checks,
    storage: ColumnStorage,
) -> FollowerSide:
    """Return a follower shard's side, with nothing read yet."""
    key = ShardKey(ShardKind.FOLLOWER, shard)
    snapshots = await newest_snapshots(store.snapshots, key, checks)
    replay = Replay(key, lambda: FollowerShard(shard), snapshots, checks)
    return FollowerSide(store, replay, creators, checks, storage)


async def read_gateway(store: JournalStore, shard: int, checks: Checks) -> GatewayTables:
    """Read a gateway's journal to its end. Its state follows from other journals too, so it is not
    replayed here.
    """
    tables = GatewayTables(shard)
    reading = ShardReading(store, ShardKey(ShardKind.GATEWAY, shard), tables.add, None, checks)
    await reading.read_on()
    reading.finish()
    return tables
