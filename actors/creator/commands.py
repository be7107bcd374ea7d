"""The commands of a creator shard: they open creators, and resume suspended ones.

The inbox is bounded in commands and in bytes. A command beyond it is answered `busy`.
"""

from collections import deque
from collections.abc import Sequence
from typing import Any

from actors.creator.ingress import BATCH_MESSAGES, IngressTaker
from actors.errors import BadInputError
from actors.ports import INGRESS, Request, StoredMessage
from actors.shard.careful import read_message
from actors.shard.committer import Output
from actors.shard.core import ShardCore
from actors.shard.disk_trouble import SUBJECT, DiskTrouble
from actors.shard.event_time import TurnTime
from actors.shard.frame_budget import FrameBudget
from actors.shard.input_names import command_input, command_name
from actors.shard.message_reading import MessageReading
from engine.creator.commands import decide_command
from engine.creator.shard import CreatorShard
from engine.journal.quarantine import WHOLE
from engine.messages.answers import POISON_TEXT
from engine.messages.commands import CreatorCommand
from engine.messages.inputs import FillInput
from engine.values.ids import shard_of

INBOX_BYTES_MAX = 64 << 20
FILL_BYTES = 512
"""The bytes that a fill decided again, or refused, writes besides its creator's marks."""
MARK_BYTES = 8
"""The bytes that it writes for each of those marks."""


class CreatorCommandTaker:
    """The commands of one creator shard. A resumed fill is decided by `ingress`; `time` is the
    turn's.
    """

    def __init__(
        self, core: ShardCore, state: CreatorShard, ingress: IngressTaker, time: TurnTime
    ) -> None:
        self._core = core
        self._state = state
        self._ingress = ingress
        self._time = time
        self._inbox: deque[Request] = deque()
        self._inbox_bytes = 0
        self._disk = DiskTrouble()

    async def open(self) -> None:
        """Receive commands."""
        await self._core.inputs.subscribe(SUBJECT, self._disk.hear)
        await self._core.inputs.subscribe("commands.creator.*", self._receive)

    @property
    def count(self) -> int:
        """The number of commands that wait."""
        return len(self._inbox)

    # The inbox.

    def _receive(self, request: Request) -> None:
        settings = self._core.settings
        creator_id = request.subject.rpartition(".")[2]
        if shard_of(creator_id, settings.creator_shards) != self._core.key.shard:
            return
        if (full := self._disk.refusal(self._core.ports.message_format)) is not None:
            self._core.answers.add(request, full)
            return
        size = self._inbox_bytes + len(request.data)
        if len(self._inbox) >= settings.inbox_commands_max or size > INBOX_BYTES_MAX:
            busy = self._core.ports.message_format.refusal(
                "busy", "expected room for the command, found the inbox full; try again"
            )
            self._core.answers.add(request, busy)
            return
        self._inbox.append(request)
        self._inbox_bytes = size
        self._core.inputs.arrived.set()

    def _next(self) -> Request:
        request = self._inbox.popleft()
        self._inbox_bytes -= len(request.data)
        return request

    # Taking.

    async def take(self, events: list[Any], budget: FrameBudget) -> list[Output]:
        """Decide commands until a frame's worth is gathered. Returns: their answers."""
        outputs: list[Output] = []
        while self._inbox and len(outputs) < BATCH_MESSAGES and not budget.is_full:
            outputs.append(await self._decide(self._next(), events))
        return outputs

    async def take_alone(self) -> None:
        """Quarantine a poison command, then decide the next command alone."""
        poison = self._core.careful.poison
        if poison is not None and not poison.source:
            # It may never be sent again, but it must not crash the shard if it is.
            await self._decide_alone(None, poison.subject)
        if self._inbox:
            request = self._next()
            await self._decide_alone(request, command_name(request.subject, request.data))

    async def _decide_alone(self, request: Request | None, name: str) -> None:
        async def decide(events: list[Any], outputs: list[Output]) -> None:
            if request is not None:
                outputs.append(await self._decide(request, events))

        def quarantine(events: list[Any]) -> None:
            quarantined = self._core.careful.quarantined("a command that can be decided", name)
            self._ingress.apply(quarantined, events)

        await self._core.alone.decide(command_input(name), decide, quarantine, self._time.now_ns)

    # Deciding.

    async def _decide(self, request: Request, events: list[Any]) -> Output:
        message_format, quarantine = self._core.ports.message_format, self._state.quarantine
        try:
            if quarantine.commands and quarantine.holds(
                command_name(request.subject, request.data)
            ):
                raise BadInputError("poison", POISON_TEXT)
            command = message_format.creator_command(request.subject, request.data)
            answer = await self._decide_command(command, events)
        except BadInputError as error:
            answer = message_format.refusal(error.reason, str(error))
        return lambda: request.reply(answer)

    async def _decide_command(self, command: CreatorCommand, events: list[Any]) -> bytes:
        """Decide one command. Returns: the answer. Raises: BadInputError when quarantined fills
        cannot be read again.

        The command and the fills that it replays are one frame, or none if the fills crash the
        shard again.
        """
        outcome = decide_command(self._state, command, self._core.settings.brokers)
        replayed = await self._read_again(command.creator_id, outcome.replayed)
        if outcome.event is not None:
            self._ingress.apply(outcome.event, events)
        for message, fills in replayed:
            for fill in fills:
                self._ingress.take_fill(message, fill, events)
        return self._core.ports.message_format.answer(command, outcome.answer)

    async def _read_again(
        self, creator_id: str, quarantined: Sequence[tuple[int, int]]
    ) -> list[tuple[StoredMessage, list[FillInput]]]:
        """Read quarantined fills from the stream. Raises: BadInputError when one is not there, or
        when they are more than a frame holds.
        """
        if not quarantined:
            return []
        # Others run meanwhile, and the state may stand between two frames.
        self._core.standing.is_deciding = True
        try:
            found = [await self._fills_at(*place) for place in quarantined]
        finally:
            self._core.standing.is_deciding = False
        symbols = [fill.symbol for _, fills in found for fill in fills]
        marks = self._state.traded_count(creator_id, symbols)
        fills_max = self._core.settings.frame_bytes_max // (FILL_BYTES + MARK_BYTES * marks)
        if len(symbols) > fills_max:
            raise BadInputError(
                "size",
                f"quarantined fills: expected at most {fills_max} with {marks} marks each, found"
                f" {len(symbols)}; void them and publish them again in parts",
            )
        return found

    async def _fills_at(
        self, sequence: int, position: int
    ) -> tuple[StoredMessage, list[FillInput]]:
        """Read a quarantined message, or one of its fills."""
        message = await read_message(self._core.ports.streams, INGRESS, sequence)
        if message is None:
            raise BadInputError(
                "missing",
                f"quarantined fill: expected message {sequence} in {INGRESS}, found none; try"
                " again, or void it",
            )
        walk = self._core.ports.message_format.fills(message.subject, message.data, sequence)
        fills = await MessageReading(message, walk).read_whole()
        return message, fills if position == WHOLE else fills[position : position + 1]
