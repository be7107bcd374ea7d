"""A broker program's process: it opens the ledger, connects to NATS and runs until told to stop.

A program of one's own calls `serve` with a venue. Blocks arrive on `broker.<name>.orders`. Further
subjects of the form `broker.<name>.<request>` are answered by desks.
"""

import asyncio
import logging
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from secrets import token_hex
from typing import Protocol

from actors.errors import OperatingError, TransientError
from gateways.brokers.ledger.ledger import FileLedger, Readable
from gateways.brokers.program.core import ProgramCore
from gateways.brokers.program.settings import Connection, ProgramSettings
from gateways.brokers.program.turns import Answer, TurnOptions, Turns
from gateways.brokers.program.venue import Venue
from gateways.nats.connection import (
    NatsConnection,
    NatsConnectionOptions,
    NatsSubscription,
    connect_nats,
)
from gateways.nats.logins import LoginFile
from gateways.nats.streams import NatsStreams

_log = logging.getLogger(__name__)


class Desk(Protocol):
    """Answers the requests on one further subject."""

    def offer(self, data: bytes, answer: Answer) -> bool:
        """Queue a request. Returns: False when the queue is full; the request then gets no
        answer.
        """
        ...

    async def run(self) -> None:
        """Answer until cancelled."""
        ...


Desks = Callable[[Readable, Turns], Mapping[str, Desk]]
"""Makes a program's desks, by the last token of their subjects."""


def no_desks(ledger: Readable, turns: Turns) -> Mapping[str, Desk]:
    """Return the desks of a program that answers nothing but blocks."""
    return {}


async def serve(
    settings: ProgramSettings,
    venue: Venue,
    connection: Connection,
    *,
    options: TurnOptions,
    desks: Desks = no_desks,
) -> None:
    """Run a broker program until SIGTERM or SIGINT. Raises: LedgerError, OperatingError."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    ledger = FileLedger(Path(connection.ledger_dir), lock_wait_s=connection.lock_wait_s)
    try:
        core = ProgramCore(settings, ledger, venue, new_ledger_id=token_hex(4))
        if ledger.torn_bytes:
            _log.warning(
                "ledger: cut off %d bytes of a frame that was never finished", ledger.torn_bytes
            )
        _log.info("ledger at frame %d: %s", ledger.next_number - 1, core.statistics())
        connected = await _connect(settings.name, connection, stop)
        if connected is not None:
            try:
                turns = Turns(
                    core,
                    ledger,
                    NatsStreams(connected),
                    broker=settings.name,
                    options=options,
                )
                await _serve(settings.name, turns, desks(ledger, turns), connected, stop)
            finally:
                await connected.close()
    finally:
        ledger.close()


async def _connect(name: str, connection: Connection, stop: asyncio.Event) -> NatsConnection | None:
    """Connect, however long it takes. Returns: None when stopped before."""
    options = NatsConnectionOptions(
        url=connection.nats_url,
        user=connection.user,
        password=connection.password,
        name=f"broker-{name}",
        inbox_prefix=connection.inbox_prefix,
        login=LoginFile(connection.credentials_path, f"broker_{name}")
        if connection.credentials_path
        else None,
    )
    while not stop.is_set():
        connecting = asyncio.create_task(connect_nats(options))
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait((connecting, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not connecting.done():
            connecting.cancel()
            return None
        try:
            return connecting.result()
        except TransientError as error:
            _log.warning("%s", error)
    return None


async def _serve(
    name: str,
    turns: Turns,
    desks: Mapping[str, Desk],
    connection: NatsConnection,
    stop: asyncio.Event,
) -> None:
    async with asyncio.TaskGroup() as tasks:
        publishing = tasks.create_task(turns.publisher.run())
        running = tasks.create_task(turns.run())
        answering = [tasks.create_task(desk.run()) for desk in desks.values()]
        subscriptions = [
            await _receive(connection, f"broker.{name}.{request}", desk.offer)
            for request, desk in desks.items()
        ]
        subscriptions.append(await _receive(connection, f"broker.{name}.orders", turns.offer))
        _log.info("broker %s takes orders on broker.%s.orders", name, name)
        await stop.wait()
        for subscription in reversed(subscriptions):
            await subscription.close()
        for task in answering:
            task.cancel()
        turns.stop()
        await running
        publishing.cancel()


async def _receive(
    connection: NatsConnection, subject: str, offer: Callable[[bytes, Answer], bool]
) -> NatsSubscription:
    """Offer what arrives on a subject, with the way to answer it."""

    def receive(subject: str, reply: str, data: bytes, headers: dict[str, str] | None) -> None:
        async def answer(payload: bytes) -> None:
            try:
                await connection.publish(reply, payload)
            except OperatingError as error:
                _log.info("answer lost, it will be asked for again: %s", error)

        if reply and not offer(data, answer):
            _log.warning("queue full, a message of %d bytes gets no answer", len(data))

    return await connection.subscribe(subject, receive)
