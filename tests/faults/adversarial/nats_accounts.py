"""A nats-server with the embedded server's own configuration, and a witness in every account."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from cluster.config.credentials import ensure_credentials, nats_accounts
from cluster.config.options import Config
from cluster.config.roles import ENGINE, User
from cluster.running.wiring import stream_settings
from cluster.servers.nats_server import nats_configuration
from gateways.nats.connection import NatsConnection, connect_nats
from gateways.nats.streams import NatsStreams, ensure_stream
from tests.servers import NatsServer

BROKERS = ("acme", "zenith")
PASSWORD = "for-tests-only"
ANSWER = b"answer to "
SETTLED = b"settled"


class Arrival(NamedTuple):
    """One message that an account's witness saw."""

    account: str
    subject: str
    reply: str
    data: bytes


class AccountsServer(NatsServer):
    """The real configuration; each account also has a witness, who may do everything in it."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.credentials = ensure_credentials(directory, BROKERS)
        self.accounts: list[str] = []

    def configuration(self) -> str:
        """Return the real configuration, with the witnesses."""
        text = nats_configuration(self.directory, self.port, Config())
        head, _, _ = text.partition("include ")
        accounts = json.loads(nats_accounts(self.credentials).partition(": ")[2])
        self.accounts = list(accounts)
        for name, account in accounts.items():
            account["users"].append({"user": f"witness_{name}", "password": PASSWORD})
        return f"{head}accounts: {json.dumps(accounts)}\n"


class Watched:
    """The connections of a test: one for each role, and one witness for each account."""

    def __init__(
        self, roles: dict[str, NatsConnection], witnesses: dict[str, NatsConnection]
    ) -> None:
        self.roles = roles
        self.witnesses = witnesses
        self.engine = roles[ENGINE]
        self.arrivals: list[Arrival] = []
        self._answers: set[asyncio.Task[None]] = set()

    async def watch(self) -> None:
        """Let every witness see everything in its account from now on."""
        for account, connection in self.witnesses.items():
            await connection.subscribe(">", self._seer(account))
        await self.settle()
        self.arrivals.clear()

    def _seer(self, account: str) -> Any:
        def see(subject: str, reply: str, data: bytes, headers: dict[str, str] | None) -> None:
            self.arrivals.append(Arrival(account, subject, reply, data))

        return see

    async def answer(self, role: str, subject: str) -> None:
        """Let a role answer every request on a subject."""
        connection = self.roles[role]

        def take(subject: str, reply: str, data: bytes, headers: dict[str, str] | None) -> None:
            if reply:
                task = asyncio.create_task(connection.publish(reply, ANSWER + data))
                self._answers.add(task)
                task.add_done_callback(self._answers.discard)

        await connection.subscribe(subject, take)
        await connection.confirm()

    async def settle(self) -> None:
        """Wait until the server has handled, stored, acknowledged and delivered all messages."""
        for connection in self.roles.values():
            await connection.confirm()
        for subject in ("fills.settled.z", "executions.settled.0"):
            # A stream acknowledges in the order in which it stores.
            await NatsStreams(self.engine).publish(subject, SETTLED, message_id="")
        await self.engine.api("STREAM.NAMES", {})
        for _ in range(2):
            for connection in (*self.roles.values(), *self.witnesses.values()):
                await connection.confirm()

    async def streams(self) -> dict[str, Any]:
        """Return what attacks must not change of each stream: its configuration, consumers and
        first message, and of journals and dead letters the number of messages.
        """
        found = json.loads(await self.engine.api_or_raise("STREAM.LIST", {}))["streams"]
        return {
            stream["config"]["name"]: (
                stream["config"],
                stream["state"]["consumer_count"],
                stream["state"]["first_seq"],
                stream["config"]["name"] in ("INGRESS", "EXECUTIONS")
                or stream["state"]["messages"],
            )
            for stream in found
        }


@asynccontextmanager
async def watched(server: AccountsServer) -> AsyncIterator[Watched]:
    """Connect as everyone, and make the streams. Refusals are expected, so they are not logged."""
    log = logging.getLogger("gateways.nats.connection")
    async with AsyncExitStack() as stack:
        stack.callback(log.setLevel, log.level)
        log.setLevel(logging.ERROR)

        async def connect(user: User) -> NatsConnection:
            connection = await connect_nats(user.connection(server.url, user.user))
            stack.push_async_callback(connection.close)
            return connection

        roles = {role: await connect(user) for role, user in server.credentials.users.items()}
        witnesses = {
            account: await connect(
                User(user=f"witness_{account}", password=PASSWORD, inbox_prefix="_INBOX_witness")
            )
            for account in server.accounts
        }
        for settings in stream_settings(Config()):
            await ensure_stream(roles[ENGINE], msgspec.structs.replace(settings, bytes_max=1 << 24))
        seen = Watched(roles, witnesses)
        await seen.engine.request("journal.follower.0", b"frame")
        await seen.settle()
        yield seen
