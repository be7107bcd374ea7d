"""The one file that knows Ray: hosts as Ray actors, every option explicit.

Ray starts a host and tells when its process is gone; it restarts nothing and retries nothing, for who owns
a shard is the journal's business.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import ray

from actors.host import Connected, Host, HostSpec
from actors.logging import set_up_logging

ACTOR_OPTIONS: dict[str, Any] = {
    "max_restarts": 0,
    "max_task_retries": 0,
    "max_concurrency": 8,
    "num_cpus": 0,
    "enable_task_events": False,
}


class _RemoteHost:
    """A host in a Ray actor. The constructor does nothing that can fail: an exception there would be
    permanent death.
    """

    def __init__(self, spec: HostSpec, connect: Callable[[], Awaitable[Connected]]) -> None:
        self._host = Host(spec, connect)

    async def run(self) -> str:
        """Run the host until it is stopped or has no shard left. Returns: why it ended."""
        set_up_logging(self._host.spec.incarnation)
        return await self._host.run()

    async def stop(self) -> None:
        """Ask the host to end."""
        self._host.stop()


class CreatorActor(_RemoteHost):
    """Hosts creator shards."""


class FollowerActor(_RemoteHost):
    """Hosts follower shards, or one dedicated account's."""


class BrokerGatewayActor(_RemoteHost):
    """Hosts one broker's gateway."""


_CLASSES: dict[str, type[_RemoteHost]] = {
    "creator": CreatorActor,
    "follower": FollowerActor,
    "gateway": BrokerGatewayActor,
}


class HostHandle:
    """A started host, as its supervisor holds it."""

    def __init__(self, actor: Any, spec: HostSpec) -> None:
        self._actor = actor
        self.spec = spec
        self._run = actor.run.remote()

    async def ended(self) -> str:
        """Wait until the host has ended. Returns: why, in words."""
        try:
            return str(await self._run)
        except ray.exceptions.RayError as error:
            return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'process gone'}"

    def ask_to_stop(self) -> None:
        """Ask the host to end; nobody waits for the call itself."""
        self._actor.stop.remote()

    def kill(self) -> None:
        """End the host's process if it still runs; one that is stopped ends when it goes on."""
        ray.kill(self._actor, no_restart=True)


def start_host(spec: HostSpec, connect: Callable[[], Awaitable[Connected]]) -> HostHandle:
    """Start a host in a Ray actor of its own, named by its incarnation."""
    remote_class = ray.remote(_CLASSES[spec.kind])
    actor = remote_class.options(name=spec.incarnation, **ACTOR_OPTIONS).remote(spec, connect)
    return HostHandle(actor, spec)
