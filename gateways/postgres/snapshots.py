"""Snapshots in Postgres: a header row and its state in compressed pieces of at most 2 MiB, written
and replaced in one guarded transaction.

Two tables, made on first use. A state is sent no faster than `bytes_per_s_max`: nobody waits for
it, and other users of the disk and the cores do not notice. Pieces are compressed by Zstandard,
because the sender, Postgres, its log and the disk spend more on a byte than the compression does.

Each header row says under which layout its snapshot was stored. Snapshots of every layout that this
version reads are found. Those of a newer one are found without their pieces, so that the reader can
tell the operator to upgrade.

A save copies the pieces in as they come and takes the shard's advisory lock. It stores nothing if a
snapshot of a higher epoch is there, or one of the same epoch and an equal or higher number.
Otherwise it drops all but the newest two and commits. So saving again after a lost connection is
safe, and every failure is `TransientError`. A damaged piece is handed on as it is: its reader knows
the digest.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from typing import Any, TypeVar

import asyncpg
import msgspec
import zstandard

from actors.errors import OperatingError, PermanentError, TransientError
from actors.ports import Snapshot
from engine.columns.snapshot import LAYOUT_MIN, STATE_LAYOUT
from engine.journal.frame import ShardKey

T = TypeVar("T")
CHUNK_BYTES_MAX = 2 << 20
COMPRESSION_LEVEL = 1
_PIECES = 1 << 8
"""The upper byte of a row's layout: the way its pieces are stored. The lower byte is the layout of
their content.
"""
_OLDEST, LAYOUT = _PIECES | LAYOUT_MIN, _PIECES | STATE_LAYOUT
COPY_DEADLINE_S = 3600.0
"""The library's deadline, which is for all pieces. Our own deadline is for each piece."""
_LOCK_SCHEMA = 0x4C53

_SCHEMA = """
CREATE TABLE IF NOT EXISTS lockstep_snapshot (
    kind smallint NOT NULL, shard integer NOT NULL, epoch bigint NOT NULL, number bigint NOT NULL,
    sequence bigint NOT NULL, hash bytea NOT NULL, state_hash bytea NOT NULL,
    saved_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (kind, shard, epoch, number)
);
CREATE TABLE IF NOT EXISTS lockstep_snapshot_chunk (
    kind smallint NOT NULL, shard integer NOT NULL, epoch bigint NOT NULL, number bigint NOT NULL,
    part integer NOT NULL, data bytea NOT NULL,
    PRIMARY KEY (kind, shard, epoch, number, part),
    FOREIGN KEY (kind, shard, epoch, number) REFERENCES lockstep_snapshot ON DELETE CASCADE
);
ALTER TABLE lockstep_snapshot ADD COLUMN IF NOT EXISTS layout smallint NOT NULL DEFAULT 1;
ALTER TABLE lockstep_snapshot_chunk ALTER COLUMN data SET STORAGE EXTERNAL;
"""
_IS_PREPARED = """
SELECT count(*) = 2 FROM pg_attribute
WHERE (attrelid = to_regclass('lockstep_snapshot') AND attname = 'layout')
    OR (attrelid = to_regclass('lockstep_snapshot_chunk') AND attname = 'data' AND attstorage = 'e')
"""
"""The effect of the last two of these statements. All are done in one transaction."""
_LOCK = "SELECT pg_advisory_xact_lock($1, $2)"
_AHEAD = """
SELECT EXISTS (SELECT FROM lockstep_snapshot
    WHERE kind = $1 AND shard = $2 AND (epoch, number) > ($3::bigint, $4::bigint))
"""
_EQUAL_OR_AHEAD = _AHEAD.replace(">", ">=")
_INSERT = """
INSERT INTO lockstep_snapshot (kind, shard, epoch, number, sequence, hash, state_hash, layout)
VALUES ($1, $2, $3, $4, $5, $6, '', $7)
"""
_COMPLETE = """
UPDATE lockstep_snapshot SET state_hash = $5
WHERE kind = $1 AND shard = $2 AND epoch = $3 AND number = $4
"""
_TRIM = """
DELETE FROM lockstep_snapshot WHERE kind = $1 AND shard = $2 AND (epoch, number) NOT IN (
    SELECT epoch, number FROM lockstep_snapshot WHERE kind = $1 AND shard = $2
    ORDER BY epoch DESC, number DESC LIMIT 2)
"""
_NEWEST = """
SELECT epoch, number, sequence, hash, state_hash, layout FROM lockstep_snapshot
WHERE kind = $1 AND shard = $2 AND layout >= $3 ORDER BY epoch DESC, number DESC LIMIT $4
"""
_CHUNKS = """
SELECT data FROM lockstep_snapshot_chunk
WHERE kind = $1 AND shard = $2 AND epoch = $3 AND number = $4 ORDER BY part
"""
_COLUMNS = ("kind", "shard", "epoch", "number", "part", "data")

_LIBRARY_ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
_PERMANENT: tuple[type[Exception], ...] = (
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InsufficientPrivilegeError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.SyntaxOrAccessError,
    asyncpg.DataError,
    asyncpg.DataCorruptedError,
    asyncpg.IndexCorruptedError,
)


class PostgresConnectionOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The way to Postgres."""

    dsn: str
    """`postgresql://user:password@host:port/database`."""
    saves_max: int = 2
    """States that are sent at once. Recoveries do not wait for them: they have a connection
    more.
    """
    connect_deadline_s: float = 5.0
    save_deadline_s: float = 60.0
    """Time that a read, or a save between two pieces, may take."""
    bytes_per_s_max: int = 64 << 20
    """Bytes per second at which a state is sent."""


class PostgresSnapshots:
    """The `Snapshots` port; made by `open_postgres_snapshots`. Its pool connects when needed, and
    anew after a loss.
    """

    def __init__(self, pool: Any, options: PostgresConnectionOptions) -> None:
        self._pool = pool
        self._options = options
        self._is_prepared = False
        self._saves = asyncio.Semaphore(options.saves_max)

    async def save(
        self, place: Snapshot, chunks: AsyncIterator[bytes], digest: Callable[[], bytes]
    ) -> bool:
        """Store a snapshot whole, then drop all but the newest two of its shard.

        Returns: False, storing nothing, when one of a higher epoch, or of the same epoch and an
        equal or higher number, is there.
        """
        pace = self._options.bytes_per_s_max
        return await self._run(
            lambda connection, progress: _save(
                connection, place, _paced(chunks, pace, progress), digest
            ),
            f"save of {place.key}",
            self._saves,
        )

    async def newest(self, key: ShardKey, *, count: int = 2) -> list[Snapshot]:
        """Read the shard's snapshots, newest first, at most `count`: of every layout that this
        version reads, and those of newer layouts without their chunks.
        """
        return await self._run(
            lambda connection, _: _newest(connection, key, count),
            f"snapshots of {key}",
            nullcontext(),
        )

    async def close(self) -> None:
        """Close every connection."""
        self._pool.terminate()

    async def _run(
        self,
        work: Callable[[Any, Callable[[], None]], Awaitable[T]],
        what: str,
        turn: AbstractAsyncContextManager[Any],
    ) -> T:
        """Do work on a connection. It is given up when it neither ends nor calls its second
        argument for as long as the deadline.
        """
        try:
            async with asyncio.timeout(self._options.save_deadline_s) as timeout, turn:

                def progress() -> None:
                    timeout.reschedule(
                        asyncio.get_running_loop().time() + self._options.save_deadline_s
                    )

                connection = await self._pool.acquire()
                try:
                    if not self._is_prepared:
                        await _prepare(connection)
                        self._is_prepared = True
                    return await work(connection, progress)
                except BaseException:
                    # The database may have been made anew.
                    self._is_prepared = False
                    # A connection in doubt is not worth a reset that may wait for a stopped server.
                    # One that is lost is the pool's again.
                    with suppress(asyncpg.InterfaceError):
                        connection.terminate()
                    raise
                finally:
                    await self._pool.release(connection)
        except (OSError, TimeoutError, *_LIBRARY_ERRORS) as error:
            raise _mapped(error, what) from error


async def postgres_snapshots(options: PostgresConnectionOptions) -> PostgresSnapshots:
    """Make the pool only: Postgres may be away, and is connected when needed."""
    pool = asyncpg.create_pool(
        options.dsn,
        min_size=0,
        max_size=options.saves_max + 1,
        timeout=options.connect_deadline_s,
        command_timeout=options.save_deadline_s,
    )
    await pool
    return PostgresSnapshots(pool, options)


async def open_postgres_snapshots(options: PostgresConnectionOptions) -> PostgresSnapshots:
    """Make the pool and the tables. Raises: TransientError when Postgres is away; PermanentError
    when it refuses us.
    """
    snapshots = await postgres_snapshots(options)
    try:
        await snapshots._run(_nothing, "prepare", nullcontext())
    except OperatingError:
        await snapshots.close()
        raise
    return snapshots


async def _nothing(connection: Any, progress: Callable[[], None]) -> None:
    return None


async def _prepare(connection: Any) -> None:
    # Altering a table waits for everyone who writes to it, and a recovery would wait until another
    # shard's save has ended (`recovery`).
    if await connection.fetchval(_IS_PREPARED):
        return
    async with connection.transaction():
        # CREATE TABLE IF NOT EXISTS is not safe against another process doing the same.
        await connection.execute(_LOCK, _LOCK_SCHEMA, 0)
        await connection.execute(_SCHEMA)


async def _save(
    connection: Any, place: Snapshot, pieces: AsyncIterator[bytes], digest: Callable[[], bytes]
) -> bool:
    # No `async with`, here and below: what fails loses its connection, and to roll back might wait
    # for a stopped server.
    transaction = connection.transaction()
    await transaction.start()
    is_saved = await _put(connection, place, pieces, digest)
    await (transaction.commit() if is_saved else transaction.rollback())
    return is_saved


async def _put(
    connection: Any, place: Snapshot, pieces: AsyncIterator[bytes], digest: Callable[[], bytes]
) -> bool:
    kind, shard = int(place.key.kind), place.key.shard
    at = (kind, shard, place.epoch, place.number)
    if await connection.fetchval(_EQUAL_OR_AHEAD, *at):
        return False
    await connection.execute(_INSERT, *at, place.sequence, place.hash, LAYOUT)
    await connection.copy_records_to_table(
        "lockstep_snapshot_chunk",
        records=_numbered(at, pieces),
        columns=_COLUMNS,
        timeout=COPY_DEADLINE_S,
    )
    # Only now: a saver that was stopped while it copied holds up nobody.
    await connection.execute(_LOCK, _LOCK_SCHEMA + kind, shard)
    if await connection.fetchval(_AHEAD, *at):
        return False
    await connection.execute(_COMPLETE, *at, digest())
    await connection.execute(_TRIM, kind, shard)
    return True


async def _numbered(
    at: tuple[int, ...], pieces: AsyncIterator[bytes]
) -> AsyncIterator[tuple[Any, ...]]:
    part = 0
    async for data in pieces:
        yield (*at, part, data)
        part += 1


async def _paced(
    chunks: AsyncIterator[bytes], bytes_per_s: int, progress: Callable[[], None]
) -> AsyncIterator[bytes]:
    """Split chunks that are too large, compress them, and send no more per second than is
    wanted.
    """
    compressor = zstandard.ZstdCompressor(COMPRESSION_LEVEL)
    async for chunk in chunks:
        for start in range(0, len(chunk), CHUNK_BYTES_MAX):
            piece = await asyncio.to_thread(
                compressor.compress, chunk[start : start + CHUNK_BYTES_MAX]
            )
            progress()
            yield piece
            await asyncio.sleep(len(piece) / bytes_per_s)


def _unpacked(pieces: list[bytes]) -> tuple[bytes, ...]:
    decompressor = zstandard.ZstdDecompressor()
    return tuple(_chunk(piece, decompressor) for piece in pieces)


def _chunk(piece: bytes, decompressor: zstandard.ZstdDecompressor) -> bytes:
    try:
        if zstandard.frame_content_size(piece) <= CHUNK_BYTES_MAX:
            return decompressor.decompress(piece, max_output_size=CHUNK_BYTES_MAX)
    except zstandard.ZstdError:
        pass
    return piece


async def _newest(connection: Any, key: ShardKey, count: int) -> list[Snapshot]:
    kind, shard = int(key.kind), key.shard
    snapshots = []
    transaction = connection.transaction(isolation="repeatable_read", readonly=True)
    await transaction.start()
    rows = await connection.fetch(_NEWEST, kind, shard, _OLDEST, count)
    for epoch, number, sequence, frame_hash, digest, layout in rows:
        chunks: tuple[bytes, ...] = ()
        if layout <= LAYOUT:
            pieces = await connection.fetch(_CHUNKS, kind, shard, epoch, number)
            chunks = await asyncio.to_thread(_unpacked, [piece[0] for piece in pieces])
        snapshots.append(
            Snapshot(key, epoch, number, sequence, frame_hash, digest, chunks, layout - _PIECES)
        )
    await transaction.commit()
    return snapshots


def _mapped(error: Exception, what: str) -> OperatingError:
    text = f"{what}: {type(error).__name__}: {error}"[:300]
    # A wrong argument is an InterfaceError and a ValueError or TypeError; one that is only the
    # former is a connection closed under us.
    is_wrong = isinstance(error, _PERMANENT) or (
        isinstance(error, asyncpg.InterfaceError) and isinstance(error, ValueError | TypeError)
    )
    return PermanentError(text) if is_wrong else TransientError(text)
