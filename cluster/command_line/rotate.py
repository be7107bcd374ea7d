"""`lockstep rotate`: a new login for a role, beside the old one, until nobody uses the old one any
more. Nothing stops meanwhile: NATS reads its accounts again.
"""

import asyncio
import os
import signal
from pathlib import Path

import msgspec

from actors.errors import OperatingError
from cluster.config.credentials import (
    Credentials,
    credentials_path,
    read_credentials,
    with_new_login,
    without_old_login,
    write_credentials,
)
from cluster.config.roles import User
from cluster.errors import ClusterError, UsageError
from cluster.processes.run_file import read_run
from cluster.running.data_directory import check_is_directory
from cluster.servers.nats_server import NATS, accounts_path, write_accounts
from gateways.nats.connection import connect_nats

TAKEN_S_MAX = 10.0
TRY_AGAIN_S = 0.05


def run(data: Path, role: str, *, finish: bool) -> int:
    """Give a role a new login, or with `finish` end its old one. Returns: the exit code.

    Raises: UsageError when it cannot be done; ClusterError when NATS does not take the change.
    """
    check_is_directory(data)
    if not accounts_path(data).exists():
        raise UsageError(
            f"--data {data}: expected a cluster with the embedded NATS, found none; "
            "change logins at the NATS server that the configuration names"
        )
    credentials = read_credentials(data)
    change = without_old_login if finish else with_new_login
    changed = write_credentials(data, change(credentials, role))
    write_accounts(data, changed)
    _reload(data, changed, role)
    old = credentials.retiring.get(role) if finish else credentials.users[role]
    assert old is not None
    if finish:
        print(f"{role}: login {old.user} is no longer valid")
        return 0
    print(
        f"{role}: new login {changed.users[role].user} in {credentials_path(data)}; "
        f"{old.user} is valid until `lockstep rotate {role} --finish --data {data}`"
    )
    return 0


def _reload(data: Path, credentials: Credentials, role: str) -> None:
    """Let a running NATS read its accounts again, and wait until it has. Raises: ClusterError."""
    run_record = read_run(data)
    for record in run_record.processes if run_record is not None else ():
        if record.name == NATS and record.is_alive():
            os.kill(record.pid, signal.SIGHUP)
            asyncio.run(_until_taken(credentials.nats_url, credentials.users[role]))


async def _until_taken(url: str, user: User) -> None:
    options = msgspec.structs.replace(user.connection(url, "rotate"), connect_deadline_s=1.0)
    try:
        async with asyncio.timeout(TAKEN_S_MAX):
            while True:
                try:
                    return await (await connect_nats(options)).close()
                except OperatingError:
                    await asyncio.sleep(TRY_AGAIN_S)
    except TimeoutError:
        raise ClusterError(
            f"expected NATS at {url} to take the login {user.user} within {TAKEN_S_MAX:g} s, "
            "found that it refuses it; see logs/nats.log, and run the command again"
        ) from None
