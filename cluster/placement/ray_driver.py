"""Ray's driver, `python -m cluster.placement.ray_driver`: the one process of a cluster that calls
Ray. The supervisor sends it requests on its standard input.

A call into Ray cannot be given up. With a broken Ray it waits for a minute, and then Ray ends the
caller. So the supervisor makes no such call. It can end this process at any moment, and all of Ray
with it. When the supervisor dies, this process ends too.
"""

import asyncio
import functools
import logging
import os
import socket
import sys
import warnings
from typing import Any

from cluster.placement.ray_messages import (
    HostEnded,
    HostStarted,
    Join,
    Joined,
    KillHost,
    Leave,
    Report,
    StartHost,
    StopHost,
    decode_request,
    framed,
    take_frames,
)

LOGICAL_CPUS = 16
"""Actors ask for no CPU. Ray's bookkeeping still needs a number, which is not the machine's."""
SYSTEM_CONFIG = {"worker_niceness": 0, "task_events_report_interval_ms": 0, "event_stats": False}
READ_BYTES = 1 << 16


def main() -> None:
    """Move the socket away from standard input, which children inherit, and serve it."""
    channel = socket.socket(fileno=os.dup(0))
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    # Ray ends a process once the raylet named here is gone. Naming this process prevents that: only
    # the supervisor may end it.
    os.environ["RAY_RAYLET_PID"] = str(os.getpid())
    asyncio.run(_serve(channel))


async def _serve(channel: socket.socket) -> None:
    channel.setblocking(False)
    driver = _Driver(channel)
    loop, received = asyncio.get_running_loop(), bytearray()
    while data := await loop.sock_recv(channel, READ_BYTES):
        received += data
        for body in take_frames(received):
            request = decode_request(body)
            if isinstance(request, Leave):
                await driver.leave()
                return
            await driver.take(request)
    # The supervisor is gone, so this ends at once, without a call into Ray.
    os._exit(1)


class _Driver:
    """Carries out requests, one after the other."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._hosts: dict[str, Any] = {}
        self._endings: set[asyncio.Task[None]] = set()

    async def take(self, request: Join | StartHost | StopHost | KillHost) -> None:
        match request:
            case Join():
                try:
                    self._report(Joined(_join(request)))
                except Exception as error:  # noqa: BLE001
                    # The supervisor shows the operator how this log ends.
                    sys.exit(f"{type(error).__name__}: {error}")
            case StartHost():
                try:
                    await self._start(request)
                except Exception as error:  # noqa: BLE001
                    # Whatever Ray says, the supervisor decides what follows.
                    self._report(
                        HostEnded(request.spec.incarnation, f"{type(error).__name__}: {error}")
                    )
            case StopHost(incarnation):
                if incarnation in self._hosts:
                    self._hosts[incarnation].ask_to_stop()
            case KillHost(incarnation):
                if incarnation in self._hosts:
                    await asyncio.to_thread(self._hosts[incarnation].kill)

    async def _start(self, request: StartHost) -> None:
        # Ray reads its environment when it is imported.
        from actors.host.ray_actors import start_host
        from gateways.connections import connect

        connecting = functools.partial(connect, request.connections)
        host = await asyncio.to_thread(start_host, request.spec, connecting)
        incarnation = request.spec.incarnation
        self._hosts[incarnation] = host
        self._report(HostStarted(incarnation))
        ending = asyncio.create_task(self._await_end(incarnation, host))
        self._endings.add(ending)
        ending.add_done_callback(self._endings.discard)

    async def _await_end(self, incarnation: str, host: Any) -> None:
        reason = await host.ended()
        del self._hosts[incarnation]
        self._report(HostEnded(incarnation, reason))

    async def leave(self) -> None:
        """Disconnect from Ray in order."""
        import ray

        await asyncio.to_thread(ray.shutdown)

    def _report(self, report: Report) -> None:
        # The socket's buffer holds these few dozen bytes, and the supervisor reads them at once.
        self._channel.send(framed(report))


def _join(request: Join) -> str:
    with warnings.catch_warnings():
        # On import Ray warns of coming changes to its defaults, on which nothing here depends.
        warnings.simplefilter("ignore")
        import ray

        logging.getLogger("ray").setLevel(logging.ERROR)
        options: dict[str, Any] = (
            {"address": request.address} if request.address is not None else _local(request)
        )
        context: Any = ray.init(
            **options,
            namespace=request.namespace,
            log_to_driver=False,
            configure_logging=False,
            logging_level=logging.ERROR,
        )
    return str(context.address_info["gcs_address"])


def _local(request: Join) -> dict[str, Any]:
    return {
        "_node_ip_address": "127.0.0.1",
        "_temp_dir": request.session_root,
        "_system_config": SYSTEM_CONFIG,
        "num_cpus": LOGICAL_CPUS,
        "num_gpus": 0,
        "object_store_memory": request.object_store_bytes,
        "include_dashboard": False,
    }


if __name__ == "__main__":
    main()
