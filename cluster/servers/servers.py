"""NATS and Postgres, started here or reached by URL. Either way `Servers` has their addresses
and logins.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from cluster.config.credentials import (
    Credentials,
    credentials_path,
    ensure_credentials,
    write_credentials,
)
from cluster.config.file import Secrets
from cluster.config.options import Config
from cluster.config.roles import ENGINE, User
from cluster.processes.cancellation import to_the_end
from cluster.processes.kept_program import ChildProgram
from cluster.processes.run_file import RunFile
from cluster.servers.nats_server import start_nats
from cluster.servers.postgres_server import (
    embedded_postgres_url,
    external_postgres_url,
    start_postgres,
)


class Servers(NamedTuple):
    """The servers of a run. `programs` are those started here. `engine` is the cluster's own NATS
    login.
    """

    nats_url: str
    engine: User
    postgres_url: str
    credentials: Credentials
    credentials_path: str
    programs: tuple[ChildProgram, ...]

    async def stop(self) -> None:
        """Stop the programs that were started here."""
        await asyncio.gather(*(program.stop() for program in self.programs))


async def start_servers(data: Path, config: Config, secrets: Secrets, run_file: RunFile) -> Servers:
    """Start the servers for which the configuration has no URL, and store addresses and logins in
    DIR/credentials.json.

    Raises: ServerError. When it fails or is cancelled, no server that it started runs.
    """
    credentials = ensure_credentials(data, config.brokers)
    starts: list[Coroutine[Any, Any, ChildProgram]] = []
    if config.nats.url is None:
        starts.append(start_nats(data, config, credentials, run_file))
    if config.postgres.url is None:
        starts.append(start_postgres(data, config, credentials, run_file))
    programs = await _all_started(starts)
    nats_url = config.nats.url or run_file.run.addresses["nats"]
    postgres_url = (
        external_postgres_url(config.postgres.url, secrets.postgres_password)
        if config.postgres.url is not None
        else embedded_postgres_url(run_file.run.addresses["postgres"], credentials)
    )
    engine = credentials.users[ENGINE]
    if config.nats.url is not None:
        engine = msgspec.structs.replace(
            engine, user=secrets.nats_user, password=secrets.nats_password
        )
        credentials = msgspec.structs.replace(
            credentials, users={**credentials.users, ENGINE: engine}
        )
    credentials = msgspec.structs.replace(credentials, nats_url=nats_url, postgres_url=postgres_url)
    write_credentials(data, credentials)
    path = str(credentials_path(data).resolve())
    return Servers(nats_url, engine, postgres_url, credentials, path, programs)


async def _all_started(
    starts: Sequence[Coroutine[Any, Any, ChildProgram]],
) -> tuple[ChildProgram, ...]:
    """Start programs side by side. If one fails, or this is cancelled, stop those that run by
    then.
    """
    tasks = [asyncio.create_task(start) for start in starts]
    try:
        return tuple(await asyncio.gather(*tasks))
    except BaseException:
        await to_the_end(_undone(tasks))
        raise


async def _undone(tasks: Sequence[asyncio.Task[ChildProgram]]) -> None:
    for task in tasks:
        task.cancel()
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.gather(
        *(program.stop() for program in ended if isinstance(program, ChildProgram))
    )
