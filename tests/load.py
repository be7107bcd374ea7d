"""Load from outside a cluster, as a broker's program and an operator make it: fills and marks of
several creators, follows, unfollows.

Everything that was acknowledged is remembered, so a test can ask for all of it afterwards. What is
not acknowledged is sent again under the same id until it is: losing a server for a while is part of
the load. Seeded: the same seed makes the same inputs.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec

from actors.errors import OperatingError
from cluster.config.credentials import read_credentials
from cluster.config.roles import OPERATOR, broker_role
from engine.journal.cursors import NO_ROW
from gateways.nats.connection import NatsConnection, connect_nats
from gateways.nats.heard import Heard
from gateways.nats.streams import NatsStreams

T = TypeVar("T")

SYMBOLS = ("AAA", "BBB", "CCC", "DDD")
MODES: tuple[dict[str, Any], ...] = (
    {},
    {"mode": "multiplier", "ratio": "0.5"},
    {"mode": "fixed_amount", "amount": "250"},
    {"limits": {"allow_short": True}},
    {"limits": {"max_order_notional": "2000", "max_position_weight": "0.4"}},
)
HEARD_S_MAX = 1.0
"""Progress older than this says nothing about now."""
BULK_COMMANDS = 500


class LoadSettings(NamedTuple):
    """The amount of load. `pace_s` is the pause between two fills, `commands_pace_s` between two
    commands.
    """

    creators: int = 4
    followers: int = 300
    pace_s: float = 0.02
    commands_pace_s: float = 0.05


DEFAULT = LoadSettings()


class Load:
    """One load on one cluster; used as an async context manager, it runs from `start` to `stop`.
    Ids carry its name: no two alike.
    """

    def __init__(
        self, data: Path, *, name: str, seed: int, settings: LoadSettings = DEFAULT
    ) -> None:
        self._data = data
        self._name = name
        self._settings = settings
        self._random = random.Random(seed)
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = asyncio.Event()
        self._price = dict.fromkeys(SYMBOLS, 100_00)
        self._number = 0
        self._operator: NatsConnection | None = None
        self._broker: NatsConnection | None = None
        self.heard = Heard()
        self.fills: list[str] = []
        """`<creator_id>/<exec_id>` of every acknowledged fill."""
        self.accepted: dict[str, tuple[str, dict[str, Any]]] = {}
        """Accepted account commands by id: account and body."""
        self.refused_count = 0
        self.last_sequence = 0

    async def __aenter__(self) -> "Load":
        await self.connect()
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._disconnect()

    # Connections.

    async def connect(self) -> None:
        """Connect, or connect again after the whole cluster was started anew."""
        await self._disconnect()
        self.heard = Heard()
        self._operator = await self._connected(OPERATOR)
        self._broker = await self._connected(broker_role("paper"))
        await self.heard.listen(self._operator)

    async def _connected(self, role: str) -> NatsConnection:
        credentials = read_credentials(self._data)
        user = credentials.users[role]
        return await connect_nats(
            msgspec.structs.replace(
                user.connection(credentials.nats_url, "load"), request_deadline_s=3.0
            )
        )

    async def _disconnect(self) -> None:
        for connection in (self._operator, self._broker):
            if connection is not None:
                await connection.close()
        self._operator = self._broker = None

    async def _until_done(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Repeat an operation that is safe to repeat, however long the cluster is away."""
        while True:
            try:
                return await attempt()
            except (OperatingError, AssertionError):
                await asyncio.sleep(0.05)

    async def request(self, subject: str, body: Any) -> Any:
        """Send a request until it is answered. Returns: the answer, decoded."""

        async def attempt() -> Any:
            assert self._operator is not None, "connected"
            data = msgspec.json.encode(body)
            answer = (await self._operator.request(subject, data, deadline_s=5.0)).data
            assert b'"reason":"busy"' not in answer, "there is room, and a shard that answers"
            return msgspec.json.decode(answer)

        return await self._until_done(attempt)

    async def _publish(self, subject: str, body: Any, message_id: str) -> None:
        async def attempt() -> int:
            assert self._broker is not None, "connected"
            streams = NatsStreams(self._broker, publish_deadline_s=2.0)
            return await streams.publish(subject, msgspec.json.encode(body), message_id=message_id)

        self.last_sequence = max(self.last_sequence, await self._until_done(attempt))

    # Sending.

    async def open_all(self) -> None:
        """Open creators, accounts and each account's first subscription, unless another load
        has.
        """
        for creator in range(self._settings.creators):
            body = {"command_id": f"creator-{creator}", "type": "open_creator", "cash": "1000000"}
            answer = await self.request(f"commands.creator.creator{creator}", body)
            assert answer["ok"], answer
        commands: list[dict[str, Any]] = []
        for index in range(self._settings.followers):
            account = f"account{index}"
            commands.append(
                {"command_id": f"open-{index}", "type": "open_account", "account_id": account}
            )
            commands.append(
                {**self._follow(index, index % self._settings.creators), "account_id": account}
            )
        await self._bulk(commands)

    async def _bulk(self, commands: list[dict[str, Any]]) -> None:
        for first in range(0, len(commands), BULK_COMMANDS):
            part = commands[first : first + BULK_COMMANDS]
            for command, answer in zip(
                part, await self.request("commands.bulk", part), strict=True
            ):
                if answer["ok"]:
                    self.accepted[command["command_id"]] = (command["account_id"], command)
                else:
                    assert answer["reason"] == "subscription_exists", answer

    def _follow(self, index: int, creator: int) -> dict[str, Any]:
        self._number += 1
        terms = MODES[index % len(MODES)]
        return {
            "command_id": f"{self._name}-follow-{self._number}",
            "type": "follow",
            "creator_id": f"creator{creator}",
            "cash": str(self._random.randint(2_000, 50_000)),
            **terms,
        }

    def start(self) -> None:
        """Send fills and commands from now on."""
        self._stopping.clear()
        self._tasks = [asyncio.create_task(self._fill(), name="fills")]
        if self._settings.commands_pace_s:
            self._tasks.append(asyncio.create_task(self._command(), name="commands"))

    async def stop(self) -> None:
        """Stop sending once everything under way is acknowledged."""
        self._stopping.set()
        await asyncio.gather(*self._tasks)
        self._tasks = []

    async def _pause(self, pause_s: float) -> None:
        try:
            async with asyncio.timeout(pause_s):
                await self._stopping.wait()
        except TimeoutError:
            return

    async def _fill(self) -> None:
        pick = self._random
        while not self._stopping.is_set():
            self._number += 1
            symbol, creator = (
                pick.choice(SYMBOLS),
                f"creator{pick.randrange(self._settings.creators)}",
            )
            # Both sides at random cross open orders of the other side, and cross zero now and then.
            self._price[symbol] = max(100, self._price[symbol] + pick.randint(-20, 20))
            fill = {
                "exec_id": f"{self._name}-{self._number}",
                "creator_id": creator,
                "symbol": symbol,
                "side": pick.choice(("buy", "sell")),
                "last_qty": str(pick.randint(1, 60)),
                "last_px": f"{self._price[symbol] / 100:.2f}",
                "transact_time": _now(),
            }
            await self._publish(
                f"fills.paper.{creator}", fill, f"paper/{creator}/{fill['exec_id']}"
            )
            self.fills.append(f"{creator}/{fill['exec_id']}")
            if pick.random() < 0.1:
                marks = [
                    {"symbol": name, "px": f"{price / 100:.2f}", "time": _now()}
                    for name, price in self._price.items()
                ]
                await self._publish("marks.paper", marks, f"{self._name}-marks-{self._number}")
            await self._pause(self._settings.pace_s)

    async def _command(self) -> None:
        pick = random.Random(self._random.random())
        while not self._stopping.is_set():
            index, creator = (
                pick.randrange(self._settings.followers),
                pick.randrange(self._settings.creators),
            )
            body = self._follow(index, creator)
            if pick.random() < 0.4:
                self._number += 1
                body = {
                    "command_id": f"{self._name}-unfollow-{self._number}",
                    "type": "unfollow",
                    "creator_id": f"creator{creator}",
                }
            if pick.random() < 0.3:
                whole = [{**body, "account_id": f"account{index}"}]
                answer = (await self.request("commands.bulk", whole))[0]
            else:
                answer = await self.request(f"commands.account.account{index}", body)
            if answer["ok"]:
                self.accepted[body["command_id"]] = (f"account{index}", body)
            else:
                self.refused_count += 1
            await self._pause(self._settings.commands_pace_s)

    # What must be afterwards.

    async def drain(self, deadline_s: float = 90.0) -> None:
        """Wait until everything sent is applied, executed and settled in every shard (P10). Raises:
        TimeoutError.
        """
        give_up_s = time.monotonic() + deadline_s
        while missing := self._missing():
            if time.monotonic() > give_up_s:
                raise TimeoutError(
                    f"expected everything drained within {deadline_s:.0f} s, found {missing}"
                )
            await asyncio.sleep(0.05)

    def _missing(self) -> str:
        now_s = time.monotonic()
        for key, progress in self.heard.shards.items():
            if (
                progress.phase != "live"
                or not progress.is_settled
                or now_s - self.heard.heard_s[key] > HEARD_S_MAX
            ):
                standing = f"{progress.phase} in epoch {progress.epoch}"
                return f"{key} {standing}, settled: {progress.is_settled}"
            for count in (
                "open_orders",
                "follow_ups",
                "commands_waiting",
                "queued_orders",
                "outstanding_messages",
            ):
                if waiting := getattr(progress.counts, count):
                    return f"{key} with {waiting} {count}"
        kinds = {kind for kind, _ in self.heard.shards}
        if kinds != {"creator", "follower", "gateway"}:
            return f"progress of {sorted(kinds)} only"
        creators = {
            shard: progress
            for (kind, shard), progress in self.heard.shards.items()
            if kind == "creator"
        }
        for shard, progress in creators.items():
            if not any(cursor.sequence >= self.last_sequence for cursor in progress.cursors):
                return (
                    f"creator shard {shard} at {progress.cursors} of "
                    f"ingress message {self.last_sequence}"
                )
        for (kind, shard), progress in self.heard.shards.items():
            for creator_shard, creator in creators.items():
                if kind == "follower" and not any(
                    (cursor.source, cursor.shard) == ("creator_journal", creator_shard)
                    and cursor.number >= creator.number
                    and cursor.row == NO_ROW
                    for cursor in progress.cursors
                ):
                    return (
                        f"follower shard {shard} behind frame "
                        f"{creator.number} of creator shard {creator_shard}"
                    )
        return ""

    async def ask_again(self) -> list[str]:
        """Send every accepted account command again. Returns: ids of those that are not accepted
        the same again (P3).
        """
        wrong: list[str] = []
        commands = [{**body, "account_id": account} for account, body in self.accepted.values()]
        for first in range(0, len(commands), BULK_COMMANDS):
            part = commands[first : first + BULK_COMMANDS]
            answers = await self.request("commands.bulk", part)
            wrong += [
                body["command_id"]
                for body, answer in zip(part, answers, strict=True)
                if not answer["ok"]
            ]
        return wrong


def _now() -> str:
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{nanoseconds:09d}Z"
