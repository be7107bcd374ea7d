"""The router of account commands: it brings each to the shard that owns the account, and the answer
back.

Every follower host listens. The host of a command's shard takes the command. A bulk request goes to
one host of a queue group. That host splits the request by shard, hands its own shards their part
directly, and sends the rest to `shards.follower.<shard>.commands`.

A single command that is not answered in time gets no answer; a command of a bulk request is
answered `busy`. The sender repeats it under the same command id.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import msgspec
import structlog

from actors.errors import (
    BadInputError,
    OperatingError,
    OutcomeUnknownError,
    PermanentError,
    TransientError,
)
from actors.follower.actor import FollowerShardActor
from actors.follower.command_inbox import PendingCommands
from actors.ports import Bus, BusSubscription, MessageFormat, Request
from actors.settings import ShardSettings
from actors.shard.disk_trouble import SUBJECT, DiskTrouble
from engine.messages.answers import Answer, Elsewhere
from engine.messages.commands import AccountCommand, OpenAccount
from engine.values.ids import shard_of, shards_of

_log = structlog.get_logger()

FORWARD_S_MAX = 20.0
DEDICATED_S_MAX = 10.0
"""A dedicated account's shard has less time: the host that asked the home shard waits for both."""
FORWARD_AGAIN_S = 0.1
REQUESTS_MAX = 1_000
REQUESTS_BYTES_MAX = 256 << 20
COMMANDS_MAX = 10_000
_decode_commands = msgspec.msgpack.Decoder(list[AccountCommand])
_decode_answers = msgspec.msgpack.Decoder(list[bytes])


def _subject(shard: int) -> str:
    return f"shards.follower.{shard}.commands"


class CommandRouter:
    """The router of one host."""

    def __init__(
        self,
        bus: Bus,
        message_format: MessageFormat,
        settings: ShardSettings,
        shards: Mapping[int, FollowerShardActor],
    ) -> None:
        self._bus = bus
        self._message_format = message_format
        self._settings = settings
        self._shards = shards
        self._tasks: set[asyncio.Task[None]] = set()
        self._bytes = 0
        self._subscriptions: dict[str, BusSubscription] = {}
        self._disk = DiskTrouble()

    async def open(self) -> None:
        """Listen to what accounts are sent. Repeating it changes nothing."""
        await self._subscribe(SUBJECT, self._disk.hear)
        await self._subscribe("commands.account.*", self._receive_single)
        await self._subscribe("commands.bulk", self._receive_bulk, queue="bulk")

    async def add(self, shard: int) -> None:
        """Listen to what other hosts forward to a shard here. Repeating it changes nothing."""
        await self._subscribe(_subject(shard), self._receive_forwarded)

    async def remove(self, shard: int) -> None:
        """Listen no longer to what is forwarded to a shard."""
        if (subscription := self._subscriptions.pop(_subject(shard), None)) is not None:
            await asyncio.gather(subscription.close(), return_exceptions=True)

    async def _subscribe(
        self, subject: str, receive: Callable[[Request], None], queue: str = ""
    ) -> None:
        if subject not in self._subscriptions:
            self._subscriptions[subject] = await self._bus.subscribe(subject, receive, queue=queue)

    async def close(self) -> None:
        """Stop listening."""
        # A shard may be removed meanwhile.
        for subscription in list(self._subscriptions.values()):
            await asyncio.gather(subscription.close(), return_exceptions=True)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # Receiving.

    def _receive_single(self, request: Request) -> None:
        shard = shard_of(request.subject.rpartition(".")[2], self._settings.follower_shards)
        if shard in self._shards:
            self._start_unless_full(request, self._answer_single(request, shard))

    def _receive_bulk(self, request: Request) -> None:
        self._start_unless_full(request, self._answer_bulk(request))

    def _receive_forwarded(self, request: Request) -> None:
        self._start(request, self._answer_forwarded(request, int(request.subject.split(".")[2])))

    def _start_unless_full(self, request: Request, work: Coroutine[Any, Any, None]) -> None:
        """Start to answer a request. While the disk is full, it is refused whole."""
        if (full := self._disk.refusal(self._message_format)) is not None:
            work.close()
            work = self._reply(request, full)
        self._start(request, work)

    def _start(self, request: Request, work: Coroutine[Any, Any, None]) -> None:
        size = len(request.data)
        if len(self._tasks) >= REQUESTS_MAX or self._bytes + size > REQUESTS_BYTES_MAX:
            work.close()
            work, size = self._reply(request, self._busy()), 0
        self._bytes += size
        task = asyncio.get_running_loop().create_task(self._run_logged(work), name="command")
        self._tasks.add(task)
        task.add_done_callback(lambda task: self._end(task, size))

    def _end(self, task: asyncio.Task[None], size: int) -> None:
        self._tasks.discard(task)
        self._bytes -= size

    async def _reply(self, request: Request, answer: bytes) -> None:
        await request.reply(answer)

    async def _run_logged(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except OperatingError as error:
            _log.warning("command_not_answered", error=str(error))

    def _busy(self) -> bytes:
        return self._message_format.refusal(
            "busy", "expected room for the command, found the inbox full; try again"
        )

    # Answering.

    async def _answer_single(self, request: Request, shard: int) -> None:
        try:
            command = self._message_format.account_command(request.subject, request.data)
        except BadInputError as error:
            await request.reply(self._message_format.refusal(error.reason, str(error)))
            return
        await request.reply((await self._ask_shard(shard, [command]))[0])

    async def _answer_forwarded(self, request: Request, shard: int) -> None:
        commands = _decode_commands.decode(request.data)
        await request.reply(msgspec.msgpack.encode(await self._ask_shard(shard, commands)))

    async def _answer_bulk(self, request: Request) -> None:
        try:
            commands = self._message_format.bulk(request.data)
        except BadInputError as error:
            await request.reply(self._message_format.refusal(error.reason, str(error)))
            return
        answers: list[bytes] = [b""] * len(commands)
        places: list[int] = []
        taken: list[AccountCommand] = []
        for index, command in enumerate(commands):
            if isinstance(command, BadInputError):
                answers[index] = self._message_format.refusal(command.reason, str(command))
            else:
                places.append(index)
                taken.append(command)
        shards = shards_of(
            [command.account_id for command in taken], self._settings.follower_shards
        )
        by_shard: dict[int, tuple[list[int], list[AccountCommand]]] = {}
        for index, command, shard in zip(places, taken, shards, strict=True):
            mine = by_shard.setdefault(shard, ([], []))
            mine[0].append(index)
            mine[1].append(command)
        await asyncio.gather(
            *(self._answer_in_places(shard, *mine, answers) for shard, mine in by_shard.items())
        )
        await self._reply_all(request, self._message_format.answers(answers))

    async def _reply_all(self, request: Request, answers: bytes) -> None:
        try:
            await request.reply(answers)
        except PermanentError:
            text = (
                f"answers: expected to fit into one message, found {len(answers)} "
                "bytes; send the same commands again in smaller arrays"
            )
            await request.reply(
                self._message_format.refusal("size", f"{text}: what was done is answered again")
            )

    async def _answer_in_places(
        self,
        shard: int,
        places: list[int],
        commands: list[AccountCommand],
        answers: list[bytes],
        within_s: float = FORWARD_S_MAX,
    ) -> None:
        """Write the answers to some commands of many into their places. Where a shard is away, they
        are `busy`, and the answers of other shards are not kept back.
        """
        try:
            found = await self._ask_shard(shard, commands, within_s)
        except OperatingError as error:
            _log.warning(
                "commands_not_answered", shard=shard, commands=len(commands), error=str(error)
            )
            text = "expected an answer of the account's shard in time, found none; try again"
            found = [self._message_format.refusal("busy", text)] * len(commands)
        for index, answer in zip(places, found, strict=True):
            answers[index] = answer

    async def _ask_shard(
        self, shard: int, commands: list[AccountCommand], within_s: float = FORWARD_S_MAX
    ) -> list[bytes]:
        """Hand commands to the shard that owns them, on this host or another. Returns: the written
        answers. Raises: OperatingError.
        """
        if len(commands) > COMMANDS_MAX:
            # A frame must stay small whatever one request holds.
            first = await self._ask_shard(shard, commands[:COMMANDS_MAX], within_s)
            return first + await self._ask_shard(shard, commands[COMMANDS_MAX:], within_s)
        actor = self._shards.get(shard)
        if actor is None:
            data = msgspec.msgpack.encode(commands)
            return _decode_answers.decode(await self._forward(_subject(shard), data, within_s))
        decided = await self._decide_here(actor, commands, within_s)
        if decided is None:
            return [self._busy()] * len(commands)
        return await self._write_answers(commands, decided)

    async def _decide_here(
        self, actor: FollowerShardActor, commands: list[AccountCommand], within_s: float
    ) -> list[Answer] | None:
        """Hand commands to a shard of this host. Returns: None when its inbox is full. Raises:
        OperatingError.
        """
        if actor.core.phase.is_over:
            raise TransientError(
                f"{actor.core.key}: expected it to live here, found it {actor.core.phase.value}"
            )
        decided: asyncio.Future[list[Answer]] = asyncio.get_running_loop().create_future()

        async def reply(answers: list[Answer]) -> None:
            if not decided.done():
                decided.set_result(answers)

        if not actor.inbox.put(PendingCommands(commands, reply)):
            return None
        try:
            # A shard that ends never answers the commands that wait in it, and the host's other
            # shards need the room.
            async with asyncio.timeout(within_s):
                return await decided
        except TimeoutError:
            raise OutcomeUnknownError(
                f"{actor.core.key}: expected an answer within {within_s:.0f} s, found none"
            ) from None

    async def _write_answers(
        self, commands: list[AccountCommand], answers: list[Answer]
    ) -> list[bytes]:
        """Write the answers of a shard. Commands for dedicated accounts are asked of the shards
        that these accounts have to themselves.
        """
        written: list[bytes] = []
        away: dict[Elsewhere, list[int]] = {}
        for place, (command, answer) in enumerate(zip(commands, answers, strict=True)):
            if isinstance(answer, Elsewhere):
                away.setdefault(answer, []).append(place)
            written.append(
                b""
                if isinstance(answer, Elsewhere)
                else self._message_format.answer(command, answer)
            )
        await asyncio.gather(
            *(
                self._answer_dedicated(home, places, commands, written)
                for home, places in away.items()
            )
        )
        return written

    async def _forward(self, subject: str, data: bytes, within_s: float) -> bytes:
        """Send commands to another host, and again while nobody listens there: a dedicated
        account's actor may be starting. Raises: OperatingError.
        """
        loop = asyncio.get_running_loop()
        give_up_s = loop.time() + within_s
        while True:
            try:
                return await self._bus.request(
                    subject, data, timeout_s=max(give_up_s - loop.time(), 0)
                )
            except TransientError:
                if loop.time() > give_up_s:
                    raise
            await asyncio.sleep(FORWARD_AGAIN_S)

    async def _answer_dedicated(
        self,
        home: Elsewhere,
        places: list[int],
        commands: list[AccountCommand],
        written: list[bytes],
    ) -> None:
        """Ask the shard that an account has to itself. The account is opened there first."""
        account_id = commands[places[0]].account_id
        opening = OpenAccount(f"dedicated-{account_id}"[:64], account_id, home.broker)
        answers = [b""] * (1 + len(places))
        theirs = [opening, *(commands[place] for place in places)]
        await self._answer_in_places(
            home.shard, list(range(len(answers))), theirs, answers, DEDICATED_S_MAX
        )
        for place, answer in zip(places, answers[1:], strict=True):
            written[place] = answer
