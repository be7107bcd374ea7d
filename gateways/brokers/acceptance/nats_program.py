"""The adapter for a program that speaks NATS, in a process that the suite starts and kills."""

import asyncio
import contextlib
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Mapping
from itertools import count
from pathlib import Path

from actors.errors import OperatingError, PermanentError
from actors.ports import EXECUTIONS
from gateways.brokers.acceptance.program import PublishedMessage, Sent
from gateways.nats.connection import (
    JetStreamError,
    NatsConnection,
    NatsConnectionOptions,
    connect_nats,
)
from gateways.nats.feed import NatsFeed
from gateways.nats.streams import NatsStreams, StreamSettings, ensure_stream, hold_stream

_PAYLOAD_BYTES_MAX = 8 << 20
_READ_S_MAX = 10.0
_END_S_MAX = 10.0
_FEED_MESSAGES = 1 << 20
_STREAM = StreamSettings(name=EXECUTIONS, subjects=("executions.>",), bytes_max=1 << 30)


class ProgramProcess:
    """The program's process, in a group of its own so that a kill reaches all of it."""

    def __init__(
        self, command: str, log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        """`environment` is added to this process's own."""
        self._command = shlex.split(command)
        self._log = log
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it. Raises: OSError when the command does not exist."""
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                self._command,
                stdout=output,
                stderr=output,
                env=self._environment,
                start_new_session=True,
            )

    def kill(self) -> None:
        """End it by SIGKILL, and wait until it is gone."""
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(_END_S_MAX)


class NatsProgram:
    """Implements `BrokerProgram`; made by `open_program`."""

    def __init__(
        self,
        connection: NatsConnection,
        feed: NatsFeed,
        broker: str,
        process: ProgramProcess | None,
    ) -> None:
        self.broker = broker
        self.can_restart = process is not None
        self._connection = connection
        self._streams = NatsStreams(connection)
        self._feed = feed
        self._process = process
        self._sent: dict[str, Sent] = {}
        self._numbers = count(1)
        self._inbox = connection.new_inbox()
        self._stored: list[PublishedMessage] = []
        self._read_to = 0

    async def listen(self, after_sequence: int) -> None:
        """Begin to receive answers. The stream is read from after a sequence."""
        self._read_to = after_sequence
        await self._connection.subscribe(f"{self._inbox}.*", self._receive)

    def _receive(
        self, subject: str, reply: str, data: bytes, headers: dict[str, str] | None
    ) -> None:
        sent = self._sent[subject]
        if headers is not None and not data and headers.get("Status") == "503":
            sent.fail()
        else:
            sent.answer(data)

    async def send(self, block: bytes) -> Sent:
        """Hand a block over. Raises: OperatingError without a connection."""
        reply = f"{self._inbox}.{next(self._numbers)}"
        sent = self._sent[reply] = Sent()
        await self._connection.publish(f"broker.{self.broker}.orders", block, reply=reply)
        return sent

    async def stored(self) -> list[PublishedMessage]:
        """Return everything published since the suite began, up to the stream's end now. Raises:
        OperatingError.
        """
        last = await self._streams.last_sequence(EXECUTIONS)
        until = time.monotonic() + _READ_S_MAX
        while True:
            for message in self._feed.take(_FEED_MESSAGES):
                self._read_to = message.sequence
                if message.subject.startswith(f"executions.{self.broker}."):
                    self._stored.append(PublishedMessage(message.subject, message.data))
            if self._read_to >= last:
                return self._stored
            if time.monotonic() > until:
                raise PermanentError(
                    f"stream {EXECUTIONS}: expected to read up to {last} within "
                    f"{_READ_S_MAX} s, found {self._read_to}"
                )
            await asyncio.sleep(0.01)

    async def kill(self) -> None:
        """End the program by SIGKILL."""
        if self._process is not None:
            self._process.kill()

    async def start(self) -> None:
        """Start the program."""
        if self._process is not None:
            self._process.start()

    async def hold(self) -> None:
        """Let the stream refuse messages, as a full one does. Raises: OperatingError."""
        await hold_stream(self._connection, EXECUTIONS, is_held=True)

    async def release(self) -> None:
        """Let the stream take messages again. Raises: OperatingError."""
        await hold_stream(self._connection, EXECUTIONS, is_held=False)

    async def close(self) -> None:
        """End the program, if the suite started it, and disconnect."""
        if self._process is not None:
            self._process.kill()
        await self._feed.close()
        await self._connection.close()


async def open_program(
    options: NatsConnectionOptions, broker: str, process: ProgramProcess | None = None
) -> NatsProgram:
    """Connect, make the stream if it is missing, and start the program. Raises: OperatingError,
    OSError.
    """
    connection = await connect_nats(options)
    try:
        connection.check_payload(_PAYLOAD_BYTES_MAX)
        await _ready_stream(connection)
        streams = NatsStreams(connection)
        last = await streams.last_sequence(EXECUTIONS)
        feed = await streams.open_feed(
            EXECUTIONS, "executions.>", after_sequence=last, arrived=asyncio.Event()
        )
        program = NatsProgram(connection, feed, broker, process)
        await program.listen(last)
        await program.start()
    except (OperatingError, OSError):
        await connection.close()
        raise
    return program


async def _ready_stream(connection: NatsConnection) -> None:
    """Make the stream if it is missing. A cluster's is taken as it is, and one that a killed suite
    held takes messages again. Raises: OperatingError.
    """
    answer = await connection.api(f"STREAM.INFO.{EXECUTIONS}", {})
    if isinstance(answer, JetStreamError):
        await ensure_stream(connection, _STREAM)
    await hold_stream(connection, EXECUTIONS, is_held=False)
