"""Snapshots in memory."""

from collections.abc import AsyncIterator, Callable

from actors.ports import Snapshot
from engine.journal.frame import ShardKey
from gateways.memory.server import MemoryServer


class MemorySnapshots:
    """The `Snapshots` port."""

    def __init__(self, server: MemoryServer) -> None:
        self._server = server

    async def save(
        self, place: Snapshot, chunks: AsyncIterator[bytes], digest: Callable[[], bytes]
    ) -> bool:
        """Store a snapshot unless there is one as new or newer; keep the newest two."""
        self._server.faults.check_connected()
        whole = tuple([chunk async for chunk in chunks])
        held = self._server.snapshots.setdefault(place.key, [])
        if held and (held[0].epoch, held[0].number) >= (place.epoch, place.number):
            return False
        snapshot = place._replace(chunks=whole, digest=digest())
        self._server.snapshots[place.key] = [snapshot, *held][:2]
        return True

    async def newest(self, key: ShardKey, *, count: int = 2) -> list[Snapshot]:
        """Return the shard's snapshots, newest first, at most `count`."""
        self._server.faults.check_connected()
        return self._server.snapshots.get(key, [])[:count]
