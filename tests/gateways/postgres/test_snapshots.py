"""Snapshots on a real Postgres: the contract, and a server that is killed and comes back."""

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import numpy as np
import pytest
import zstandard

from actors.errors import PermanentError, TransientError
from actors.ports import Snapshot, Snapshots
from engine.columns.snapshot import LAYOUT_MIN, STATE_LAYOUT, decode_snapshot
from engine.columns.state import decode_state, state_hash
from engine.columns.state_copy import encode_copy
from engine.follower.shard import FollowerShard
from engine.journal.frame import ShardKey
from gateways.postgres.snapshots import PostgresConnectionOptions, open_postgres_snapshots
from tests.gateways.contracts import SnapshotsContract, save_whole
from tests.servers import PostgresServer

pytestmark = pytest.mark.real


class TestPostgresSnapshots(SnapshotsContract):
    @pytest.fixture
    def snapshots(self, postgres_snapshots: Snapshots) -> Snapshots:
        return postgres_snapshots


async def found_again(snapshots: Snapshots, key: ShardKey) -> list[Snapshot]:
    """Read from a server that was started again: it listens before it answers."""
    async with asyncio.timeout(30):
        while True:
            try:
                return await snapshots.newest(key)
            except TransientError:
                continue


async def test_killed_server_is_transient_and_its_return_is_noticed(
    postgres_server: PostgresServer, postgres_snapshots: Snapshots, shard_key: ShardKey
) -> None:
    snapshot = Snapshot(shard_key, 1, 1, 1, b"h" * 32, b"s" * 32, (b"state",))
    assert await save_whole(postgres_snapshots, snapshot)
    postgres_server.kill()
    with pytest.raises(TransientError):
        await postgres_snapshots.newest(shard_key)
    postgres_server.start()
    assert await found_again(postgres_snapshots, shard_key) == [snapshot]
    assert await save_whole(postgres_snapshots, snapshot._replace(number=2))


async def test_a_snapshot_of_an_older_layout_is_found_and_replaced_in_time(
    postgres_server: PostgresServer, postgres_snapshots: Snapshots, shard_key: ShardKey
) -> None:
    """P6: an older version's snapshot is read. Two snapshots are kept, of any layouts."""
    older = Snapshot(shard_key, 1, 1, 1, b"h" * 32, b"s" * 32, (b"state",))
    assert await save_whole(postgres_snapshots, older)
    await set_layout(postgres_server, shard_key, "layout - 1")
    older = older._replace(layout=STATE_LAYOUT - 1)
    assert await postgres_snapshots.newest(shard_key) == [older]
    newer = [older._replace(epoch=2, number=number, layout=STATE_LAYOUT) for number in (2, 3)]
    assert await save_whole(postgres_snapshots, newer[0])
    assert await postgres_snapshots.newest(shard_key) == [newer[0], older]
    assert await save_whole(postgres_snapshots, newer[1])
    assert await postgres_snapshots.newest(shard_key) == newer[::-1]
    assert await postgres_snapshots.newest(shard_key, count=1) == newer[1:]


@pytest.mark.parametrize(("layout", "told"), [("layout + 1", STATE_LAYOUT + 1), ("770", 514)])
async def test_a_snapshot_of_a_newer_layout_is_found_without_its_pieces(
    postgres_server: PostgresServer,
    postgres_snapshots: Snapshots,
    shard_key: ShardKey,
    layout: str,
    told: int,
) -> None:
    """The reader passes over a snapshot with a newer state or newer pieces, and says so."""
    snapshots = [
        Snapshot(shard_key, 1, number, 1, b"h" * 32, b"s" * 32, (b"state",)) for number in (1, 2)
    ]
    for snapshot in snapshots:
        assert await save_whole(postgres_snapshots, snapshot)
    await set_layout(postgres_server, shard_key, layout, number=2)
    newer, known = await postgres_snapshots.newest(shard_key)
    assert newer == snapshots[1]._replace(chunks=(), layout=told)
    assert known == snapshots[0]


async def test_a_snapshot_older_than_any_that_is_read_is_not_found(
    postgres_server: PostgresServer, postgres_snapshots: Snapshots, shard_key: ShardKey
) -> None:
    snapshot = Snapshot(shard_key, 1, 1, 1, b"h" * 32, b"s" * 32, (b"state",))
    assert await save_whole(postgres_snapshots, snapshot)
    await set_layout(postgres_server, shard_key, f"layout - {STATE_LAYOUT - LAYOUT_MIN + 1}")
    assert await postgres_snapshots.newest(shard_key) == []


async def set_layout(
    server: PostgresServer, key: ShardKey, layout: str, *, number: int = 1
) -> None:
    """Let a snapshot have been stored under another layout."""
    connection = await asyncpg.connect(server.dsn)
    await connection.execute(
        f"UPDATE lockstep_snapshot SET layout = {layout} WHERE shard = $1 AND number = $2",
        key.shard,
        number,
    )
    await connection.close()


TABLES_OF_LAYOUT_3 = """
DROP TABLE IF EXISTS lockstep_snapshot, lockstep_snapshot_chunk;
CREATE TABLE lockstep_snapshot (
    kind smallint NOT NULL, shard integer NOT NULL, epoch bigint NOT NULL, number bigint NOT NULL,
    sequence bigint NOT NULL, hash bytea NOT NULL, state_hash bytea NOT NULL,
    saved_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (kind, shard, epoch, number)
);
CREATE TABLE lockstep_snapshot_chunk (
    kind smallint NOT NULL, shard integer NOT NULL, epoch bigint NOT NULL, number bigint NOT NULL,
    part integer NOT NULL, data bytea NOT NULL,
    PRIMARY KEY (kind, shard, epoch, number, part),
    FOREIGN KEY (kind, shard, epoch, number) REFERENCES lockstep_snapshot ON DELETE CASCADE
);
ALTER TABLE lockstep_snapshot ADD COLUMN layout smallint NOT NULL DEFAULT 1;
ALTER TABLE lockstep_snapshot_chunk ALTER COLUMN data SET STORAGE EXTERNAL;
"""
"""As the version of layout 3 made them."""
GOLDEN = Path(__file__).parents[2] / "engine" / "golden"


async def test_p6_tables_that_the_version_of_layout_3_left_are_read_and_written(
    postgres_server: PostgresServer, shard_key: ShardKey
) -> None:
    """An upgrade: a golden snapshot in the old tables is found, restored, and followed by one of
    today.
    """
    golden = (GOLDEN / "snapshot_layout3_follower.bin").read_bytes()
    digest = state_hash(decode_state(golden))
    connection = await asyncpg.connect(postgres_server.dsn)
    await connection.execute(TABLES_OF_LAYOUT_3)
    at = (int(shard_key.kind), shard_key.shard, 1, 7)
    await connection.execute(
        "INSERT INTO lockstep_snapshot"
        " (kind, shard, epoch, number, sequence, hash, state_hash, layout)"
        " VALUES ($1, $2, $3, $4, 9, $5, $6, 259)",
        *at,
        b"h" * 32,
        digest,
    )
    pieces = [golden[start : start + 9000] for start in range(0, len(golden), 9000)]
    for part, piece in enumerate(pieces):
        data = zstandard.ZstdCompressor(1).compress(piece)
        await connection.execute(
            "INSERT INTO lockstep_snapshot_chunk VALUES ($1, $2, $3, $4, $5, $6)", *at, part, data
        )
    await connection.close()
    snapshots = await open_postgres_snapshots(PostgresConnectionOptions(dsn=postgres_server.dsn))
    (found,) = await snapshots.newest(shard_key)
    assert found == Snapshot(shard_key, 1, 7, 9, b"h" * 32, digest, tuple(pieces), 3)
    shard = FollowerShard(0)
    shard.restore(decode_snapshot(b"".join(found.chunks), shard.schema))
    assert state_hash(shard.columns()) == digest
    today = Snapshot(shard_key, 2, 8, 10, b"h" * 32, b"s" * 32, (encode_copy(shard.copy()),))
    assert await save_whole(snapshots, today)
    assert await snapshots.newest(shard_key) == [today, found]
    await snapshots.close()


async def test_a_state_is_stored_compressed(
    postgres_server: PostgresServer, postgres_snapshots: Snapshots, shard_key: ShardKey
) -> None:
    """A state of columns takes a fraction of its size."""
    column = np.arange(1 << 20, dtype=np.int64).tobytes()
    snapshot = Snapshot(shard_key, 1, 1, 1, b"h" * 32, b"s" * 32, (column,))
    assert await save_whole(postgres_snapshots, snapshot)
    connection = await asyncpg.connect(postgres_server.dsn)
    stored = await connection.fetchval(
        "SELECT sum(octet_length(data)) FROM lockstep_snapshot_chunk WHERE shard = $1",
        shard_key.shard,
    )
    assert stored < len(column) // 2
    (found,) = await postgres_snapshots.newest(shard_key)
    assert b"".join(found.chunks) == column
    await connection.close()


HUGE = bytes.fromhex("28b52ffde0") + (1 << 60).to_bytes(8, "little") + b"rest"
"""The head of a piece that says it is an exbibyte."""


@pytest.mark.parametrize("damaged", [b"", b"rubbish", HUGE, b"\x28\xb5\x2f\xfd\x00"])
async def test_a_damaged_piece_is_handed_on(
    postgres_server: PostgresServer,
    postgres_snapshots: Snapshots,
    shard_key: ShardKey,
    damaged: bytes,
) -> None:
    """P6: the restoring shard finds the damage by the hash of the state."""
    snapshot = Snapshot(shard_key, 1, 1, 1, b"h" * 32, b"s" * 32, (b"state",))
    assert await save_whole(postgres_snapshots, snapshot)
    connection = await asyncpg.connect(postgres_server.dsn)
    await connection.execute(
        "UPDATE lockstep_snapshot_chunk SET data = $1 WHERE shard = $2", damaged, shard_key.shard
    )
    assert await postgres_snapshots.newest(shard_key) == [snapshot._replace(chunks=(damaged,))]
    await connection.close()


class SlowSave:
    """A save of frame 5 under epoch 1 that stands still between two pieces. The first piece is
    larger than the send buffer.
    """

    def __init__(self, snapshots: Snapshots, key: ShardKey) -> None:
        self.reached, self.going_on = asyncio.Event(), asyncio.Event()
        place = Snapshot(key, 1, 5, 5, b"h" * 32, b"", ())
        self.saving = asyncio.create_task(snapshots.save(place, self._chunks(), lambda: b"s" * 32))

    async def _chunks(self) -> AsyncIterator[bytes]:
        yield bytes(1 << 20)
        self.reached.set()
        await self.going_on.wait()
        yield b"more"


async def test_p10_a_recovery_does_not_wait_for_a_neighbours_save(
    postgres_server: PostgresServer, postgres_snapshots: Snapshots, shard_key: ShardKey
) -> None:
    """A host that has just connected reads while another one saves: prepared tables are not
    prepared again.
    """
    slow = SlowSave(postgres_snapshots, shard_key)
    async with asyncio.timeout(30):
        await slow.reached.wait()
        connected = await open_postgres_snapshots(
            PostgresConnectionOptions(dsn=postgres_server.dsn)
        )
        assert await connected.newest(ShardKey(shard_key.kind, shard_key.shard + 100_000)) == []
        await connected.close()
        slow.going_on.set()
        assert await slow.saving


async def test_a_saver_that_stands_still_holds_up_nobody(
    postgres_snapshots: Snapshots, shard_key: ShardKey
) -> None:
    """P5: its successor saves meanwhile, and then it is refused."""
    slow = SlowSave(postgres_snapshots, shard_key)
    await slow.reached.wait()
    newer = Snapshot(shard_key, 2, 4, 4, b"h" * 32, b"s" * 32, (b"state",))
    assert await save_whole(postgres_snapshots, newer)
    slow.going_on.set()
    assert not await slow.saving
    assert await postgres_snapshots.newest(shard_key) == [newer]


async def test_openers_at_once_make_the_tables_once(postgres_server: PostgresServer) -> None:
    options = PostgresConnectionOptions(dsn=postgres_server.dsn)
    opened = await asyncio.gather(*(open_postgres_snapshots(options) for _ in range(4)))
    for snapshots in opened:
        await snapshots.close()


async def test_wrong_password_is_permanent(postgres_server: PostgresServer) -> None:
    dsn = postgres_server.dsn.replace("for-tests-only", "wrong")
    with pytest.raises(PermanentError, match="password"):
        await open_postgres_snapshots(PostgresConnectionOptions(dsn=dsn))


async def test_stopped_server_is_given_up_at_the_deadline(
    postgres_server: PostgresServer, shard_key: ShardKey
) -> None:
    """A server that hangs holds nobody beyond the deadline."""
    snapshots = await open_postgres_snapshots(
        PostgresConnectionOptions(dsn=postgres_server.dsn, save_deadline_s=0.5)
    )
    assert await snapshots.newest(shard_key) == []
    postgres_server.send_signal_to_all(signal.SIGSTOP)
    try:
        async with asyncio.timeout(5):
            with pytest.raises(TransientError):
                await snapshots.newest(shard_key)
    finally:
        postgres_server.send_signal_to_all(signal.SIGCONT)
    assert await snapshots.newest(shard_key) == []
    await snapshots.close()


async def test_p10_a_recovery_does_not_wait_for_saves_from_its_own_host(
    postgres_snapshots: Snapshots, shard_key: ShardKey
) -> None:
    """A shard that restarts beside others finds a free connection, however many of them are being
    saved.
    """
    slow = [
        SlowSave(postgres_snapshots, ShardKey(shard_key.kind, shard_key.shard + 100_000 + more))
        for more in range(PostgresConnectionOptions(dsn="").saves_max)
    ]
    async with asyncio.timeout(30):
        for each in slow:
            await each.reached.wait()
        assert await postgres_snapshots.newest(shard_key) == []
        for each in slow:
            each.going_on.set()
            assert await each.saving


async def test_a_failed_save_reports_how_its_connection_was_lost(
    postgres_server: PostgresServer, postgres_snapshots: Snapshots, shard_key: ShardKey
) -> None:
    slow = SlowSave(postgres_snapshots, shard_key)
    await slow.reached.wait()
    postgres_server.kill()
    slow.going_on.set()
    with pytest.raises(TransientError) as lost:
        await slow.saving
    assert "back to the pool" not in str(lost.value)
    postgres_server.start()
    assert await found_again(postgres_snapshots, shard_key) == []


async def test_p10_a_save_given_up_does_not_wait_for_a_stopped_server(
    postgres_server: PostgresServer, postgres_snapshots: Snapshots, shard_key: ShardKey
) -> None:
    """Nothing needs a rollback: the server does that when the connection ends."""
    slow = SlowSave(postgres_snapshots, shard_key)
    await slow.reached.wait()
    postgres_server.send_signal_to_all(signal.SIGSTOP)
    try:
        slow.saving.cancel()
        await asyncio.wait({slow.saving}, timeout=20)
        assert slow.saving.cancelled()
    finally:
        postgres_server.send_signal_to_all(signal.SIGCONT)
    assert await postgres_snapshots.newest(shard_key) == []


async def test_p10_a_database_made_anew_is_prepared_again(
    postgres_server: PostgresServer, postgres_snapshots: Snapshots, shard_key: ShardKey
) -> None:
    """An operator may replace a broken database. The hosts go on and save into the new one."""
    snapshot = Snapshot(shard_key, 1, 1, 1, b"h" * 32, b"s" * 32, (b"state",))
    assert await save_whole(postgres_snapshots, snapshot)
    connection = await asyncpg.connect(postgres_server.dsn)
    await connection.execute("DROP TABLE lockstep_snapshot, lockstep_snapshot_chunk")
    await connection.close()
    with pytest.raises(PermanentError, match="UndefinedTable"):
        await save_whole(postgres_snapshots, snapshot)
    assert await save_whole(postgres_snapshots, snapshot)
    assert await postgres_snapshots.newest(shard_key) == [snapshot]
