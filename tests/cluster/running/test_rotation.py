"""Logins are changed while a cluster runs: nothing stops, and the old login ends when it is told
to.
"""

import asyncio
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from actors.errors import PermanentError
from cluster.config.credentials import read_credentials
from cluster.config.roles import AUDITOR, ENGINE, OPERATOR, User, broker_role
from gateways.nats.connection import connect_nats
from tests.cluster.running.asking import connected
from tests.cluster.running.market import Market
from tests.faults.kill.running import COMMAND, ROOT, RunningCluster

pytestmark = pytest.mark.real

ROLES = (ENGINE, OPERATOR, AUDITOR, broker_role("paper"))


@asynccontextmanager
async def market_of(data: Path) -> AsyncIterator[Market]:
    """Connect with the logins that are valid now."""
    operator = await connected(data, OPERATOR)
    paper = await connected(data, broker_role("paper"))
    try:
        yield Market(data, operator, paper=paper)
    finally:
        await operator.close()
        await paper.close()


async def rotate(data: Path, role: str, *more: str) -> str:
    """Run the command. Returns: its output."""
    command = [*COMMAND, "rotate", role, "--data", str(data), *more]
    found = await asyncio.to_thread(
        subprocess.run, command, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stderr
    return str(found.stdout)


async def is_taken(url: str, user: User) -> bool:
    """Return whether NATS takes a login."""
    try:
        await (await connect_nats(user.connection(url, "asked"))).close()
    except PermanentError:
        return False
    return True


async def changed_under_load(data: Path) -> None:
    """Change all logins between fills."""
    before = read_credentials(data)
    old = {role: before.users[role] for role in ROLES}
    async with market_of(data) as market:
        await market.command("commands.creator.nancy", type="open_creator", cash="100000")
        await market.command("commands.account.alice", type="open_account")
        await market.command(
            "commands.account.alice", type="follow", creator_id="nancy", cash="10000"
        )
        await market.fill("nancy", "JPM", "50", "100")
        for role in ROLES:
            assert f"new login {role}.2 in" in await rotate(data, role)
        # Connections of the old logins go on.
        await market.fill("nancy", "KO", "20", "50")
        await market.settled(2)
        for user in (*old.values(), *(read_credentials(data).users[role] for role in ROLES)):
            assert await is_taken(before.nats_url, user)
    for role in ROLES:
        assert f"{role}: login {role} is no longer valid" in await rotate(data, role, "--finish")
    for user in old.values():
        assert not await is_taken(before.nats_url, user)
    async with market_of(data) as market:
        await market.fill("nancy", "PEP", "20", "50")
        await market.settled(3)


def test_logins_are_changed_without_a_stop(tmp_path: Path) -> None:
    (tmp_path / "lockstep.toml").write_text("[cluster]\nfollower_shards = 1\nfollower_hosts = 1\n")
    cluster = RunningCluster(tmp_path / "data", tmp_path / "lockstep.toml")
    try:
        cluster.up()
        pids = {record.pid for record in cluster.run.processes}
        asyncio.run(changed_under_load(cluster.data))
        # A worker of Ray may have another name by now, and be recorded later than the others.
        assert pids <= {record.pid for record in cluster.run.processes}
    finally:
        cluster.down()
