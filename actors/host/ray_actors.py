"""The one file that knows Ray: hosts as Ray actors, every option explicit.

Ray starts a host and reports when its process is gone. It restarts nothing and retries nothing,
because the journal decides who owns a shard.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import ray

from actors.host.garbage_collection import collecting_rarely
from actors.host.host import Connected, Host, HostSpec
from actors.host.logging import set_up_logging
from actors.host.shard_kinds import SHARD_KINDS
from actors.shard.recovery import Phase

ACTOR_OPTIONS: dict[str, Any] = {
    "max_restarts": 0,
    "max_task_retries": 0,
    "max_concurrency": 8,
    "num_cpus": 0,
    "enable_task_events": False,
}
SPARE_AFTER_S = 10.0
"""A spare host is started this long after a host, not while that one recovers and needs the cores.
"""


class _RemoteHost:
    """A host in a Ray actor. Its constructor does nothing that can fail: an actor whose constructor
    raises is dead for good.
    """

    def __init__(self) -> None:
        self._host: Host | None = None

    async def warm(self, connect: Callable[[], Awaitable[Connected]]) -> int:
        """Import everything that `run` needs, by taking its argument. Returns: the process id."""
        return os.getpid()

    async def run(self, spec: HostSpec, connect: Callable[[], Awaitable[Connected]]) -> str:
        """Run the host until it is stopped or has no shard left. Returns: why it ended."""
        set_up_logging(spec.incarnation)
        self._host = Host(spec, connect)
        async with collecting_rarely():
            return await self._host.run()

    async def assign(self, shards: tuple[int, ...]) -> None:
        """Start more shards in the host, whose heartbeat must have been heard."""
        assert self._host is not None
        await self._host.assign(shards)

    async def release(self, shards: tuple[int, ...]) -> dict[int, Phase]:
        """End shards of the host. Returns: the phase each ended in."""
        assert self._host is not None
        return await self._host.release(shards)

    async def stop(self) -> None:
        """Ask the host to end."""
        if self._host is not None:
            self._host.stop()


_CLASSES: dict[str, type[_RemoteHost]] = {
    spec.name: type(spec.process_name, (_RemoteHost,), {}) for spec in SHARD_KINDS.values()
}
"""One class per kind, because Ray names a process after its actor's class."""


class RayHostHandle:
    """A started host, as Ray's driver holds it."""

    def __init__(
        self, actor: Any, spec: HostSpec, connect: Callable[[], Awaitable[Connected]]
    ) -> None:
        self._actor = actor
        self._connect = connect
        self.spec = spec
        self._run = actor.run.remote(spec, connect)

    async def ended(self) -> str:
        """Wait until the host has ended. Returns: why, in words."""
        sparing = asyncio.create_task(_keep_spare(self.spec.kind, self._connect), name="spare host")
        try:
            return str(await self._run)
        except ray.exceptions.RayError as error:
            return (
                f"{type(error).__name__}: "
                f"{str(error).splitlines()[0] if str(error) else 'process gone'}"
            )
        finally:
            sparing.cancel()

    async def assign(self, shards: tuple[int, ...]) -> None:
        """Start more shards in the host, whose heartbeat must have been heard."""
        await self._actor.assign.remote(shards)

    async def release(self, shards: tuple[int, ...]) -> dict[int, Phase]:
        """End shards of the host. Returns: the phase each ended in."""
        ended: dict[int, Phase] = await self._actor.release.remote(shards)
        return ended

    def ask_to_stop(self) -> None:
        """Ask the host to end; nobody waits for the call itself."""
        self._actor.stop.remote()

    def kill(self) -> None:
        """End the host's process if it still runs; one that is stopped ends when it goes on."""
        ray.kill(self._actor, no_restart=True)


def start_host(spec: HostSpec, connect: Callable[[], Awaitable[Connected]]) -> RayHostHandle:
    """Start a host in a Ray actor of its own: the spare one of its kind, or a new one named by its
    incarnation.
    """
    actor: Any = _take_spare(spec.kind)
    if actor is None:
        actor = (
            ray.remote(_CLASSES[spec.kind]).options(name=spec.incarnation, **ACTOR_OPTIONS).remote()
        )
    return RayHostHandle(actor, spec, connect)


# Spares: one actor of each kind that has imported everything and waits. The start of a process and
# its imports are most of what the death of a host costs: 1 s of CPU, which takes several seconds
# under load (`recovery`). If a spare dies unused, that is noticed when the spare is wanted.


class _Spare(NamedTuple):
    """A waiting actor; `session` names the Ray that it lives in."""

    actor: Any
    warmed: Any
    session: str


_spares: dict[str, _Spare] = {}
_being_made: set[str] = set()
_changed = asyncio.Event()


def _session() -> str:
    return str(ray.get_runtime_context().get_node_id())


def _take_spare(kind: str) -> Any | None:
    spare = _spares.pop(kind, None)
    if spare is None or spare.session != _session():
        return None
    try:
        ready, _ = ray.wait([spare.warmed], timeout=0)
        if ready:
            ray.get(ready)
    except ray.exceptions.RayError:
        return None
    return spare.actor


async def _keep_spare(kind: str, connect: Callable[[], Awaitable[Connected]]) -> None:
    """Start a spare of a kind once a host of it has run for a while, if there is none."""
    await asyncio.sleep(SPARE_AFTER_S)
    if kind in _spares or kind in _being_made:
        return
    _being_made.add(kind)
    try:
        _spares[kind] = await asyncio.to_thread(_new_spare, kind, connect)
    except ray.exceptions.RayError:
        # The next host's start comes without.
        return
    finally:
        _being_made.discard(kind)
        _changed.set()


async def waiting_spare(kind: str) -> int:
    """Wait until there is a spare of a kind. Returns: its process id, once it has imported
    everything.
    """
    while kind not in _spares:
        _changed.clear()
        await _changed.wait()
    return int(await _spares[kind].warmed)


def _new_spare(kind: str, connect: Callable[[], Awaitable[Connected]]) -> _Spare:
    actor: Any = ray.remote(_CLASSES[kind]).options(**ACTOR_OPTIONS).remote()
    return _Spare(actor, actor.warm.remote(connect), _session())
