"""The NATS of `lockstep check-broker`: one that the command starts for itself, or that of a running
cluster whose ledger at the broker was said to be a test ledger.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec

from cluster.config.credentials import (
    credentials_path,
    ensure_credentials,
    read_credentials,
    write_credentials,
)
from cluster.config.options import Config
from cluster.config.roles import ENGINE
from cluster.errors import UsageError
from cluster.processes.run_file import RunFile, read_run
from cluster.running.data_directory import Identity, opened, read_identity
from cluster.servers.nats_server import start_nats
from cluster.servers.servers import Servers

OWN = (
    "ledger: the suite places test orders there, for a cluster that does not exist. Use a ledger "
    "that nothing else uses: no cluster can use it afterwards",
)
A_CLUSTER_S = (
    "ledger: the suite places test orders there, under an epoch above the gateway's. From now on "
    "the ledger refuses this cluster's gateway; give the program a new ledger afterwards",
    "cluster: test executions come into its stream EXECUTIONS, and those of all brokers are held "
    "back for moments",
)


class CheckNats(NamedTuple):
    """A NATS server that runs. `environment` marks the processes of a run of its own. `effects` are
    lines that say what the check changes.
    """

    servers: Servers
    cluster_id: str
    """The running cluster's, empty when there is none."""
    effects: tuple[str, ...]
    environment: dict[str, str]


def refuse(data: Path, config: Config, broker: str, *, is_test_ledger: bool) -> None:
    """Refuse a check that would send test orders where real ones are. Raises: UsageError."""
    identity = _cluster_in(data)
    if identity is None:
        if config.nats.url is not None:
            raise UsageError(
                "nats.url: expected none, found one; the check starts a NATS of its own, so that "
                "no cluster's orders are touched. Leave it out of the configuration of the check"
            )
        if is_test_ledger:
            raise UsageError(
                f"--test-ledger: expected the data directory of a running cluster, found {data}; "
                "leave the option out, or name that directory with --data"
            )
        return
    run = read_run(data)
    if run is None or not run.supervisor.is_alive():
        raise UsageError(
            f"--data {data}: expected a directory for checks alone, found a cluster's that does "
            "not run; name another"
        )
    if broker not in identity.brokers:
        raise UsageError(
            f"--data {data}: expected a cluster with the broker {broker}, found one with "
            f"{', '.join(identity.brokers)}; name another directory"
        )
    if not is_test_ledger:
        raise UsageError(
            f"--data {data}: expected a directory for checks alone, found a running cluster whose "
            f"gateway for {broker} is active. The check would place test orders in the ledger that "
            "has its real ones, and the ledger would then refuse the gateway. Name another "
            "directory; or say --test-ledger, if nothing in this cluster and this ledger is real"
        )


def _cluster_in(data: Path) -> Identity | None:
    """Return the cluster whose data a directory holds, None for a directory of checks."""
    identity = read_identity(data) if data.exists() else None
    return identity if identity is not None and identity.streams else None


@asynccontextmanager
async def check_nats(data: Path, config: Config) -> AsyncIterator[CheckNats]:
    """Give the NATS of a running cluster in a directory, or start one there for as long as the
    check takes. Raises: UsageError, ServerError.
    """
    identity = _cluster_in(data)
    path = str(credentials_path(data).resolve())
    if identity is not None:
        credentials = read_credentials(data)
        servers = Servers(
            credentials.nats_url, credentials.users[ENGINE], "", credentials, path, ()
        )
        yield CheckNats(servers, identity.cluster_id, A_CLUSTER_S, {})
        return
    with opened(data, config) as run_file:
        servers = await _started(data, config, path, run_file)
        try:
            yield CheckNats(servers, "", OWN, run_file.environment)
        finally:
            await servers.stop()


async def _started(data: Path, config: Config, path: str, run_file: RunFile) -> Servers:
    credentials = ensure_credentials(data, config.brokers)
    nats = await start_nats(data, config, credentials, run_file)
    url = run_file.run.addresses["nats"]
    credentials = msgspec.structs.replace(credentials, nats_url=url)
    await asyncio.to_thread(write_credentials, data, credentials)
    return Servers(url, credentials.users[ENGINE], "", credentials, path, (nats,))
