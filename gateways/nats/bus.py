"""The bus over core NATS: requests, heads, heartbeats; nothing here is stored and anything may be
lost.
"""

import logging
from collections.abc import Callable

from actors.errors import OperatingError, TransientError
from actors.ports import Request
from gateways.nats.connection import BusSubscription, NatsConnection

_log = logging.getLogger(__name__)


class NatsBus:
    """The `Bus` port."""

    def __init__(self, connection: NatsConnection) -> None:
        self._connection = connection

    async def publish(self, subject: str, data: bytes) -> None:
        """Send without an answer."""
        await self._connection.publish(subject, data)

    async def request(self, subject: str, data: bytes, *, timeout_s: float) -> bytes:
        """Send and wait for one answer. Raises: OutcomeUnknownError when none came in time;
        TransientError when nobody listens.
        """
        return (await self._connection.request(subject, data, deadline_s=timeout_s)).data

    async def subscribe(
        self, subject: str, receive: Callable[[Request], None], *, queue: str = ""
    ) -> BusSubscription:
        """Call `receive` for each message; with a queue name, one subscriber of the group gets
        each.

        `receive` runs in the connection's read loop: it puts the request where its owner will find
        it, and returns.
        """

        def deliver(
            message_subject: str, reply: str, data: bytes, headers: dict[str, str] | None
        ) -> None:
            async def answer(payload: bytes) -> None:
                if not reply:
                    return
                try:
                    await self._connection.publish(reply, payload)
                except TransientError as error:
                    # The sender hears nothing and asks again.
                    _log.info("reply on %s lost: %s", message_subject, error)

            receive(Request(message_subject, data, answer))

        subscription = await self._connection.subscribe(subject, deliver, queue=queue)
        try:
            # Whoever is told of this subscription next may send at once, over another connection.
            await self._connection.confirm()
        except OperatingError:
            await subscription.close()
            raise
        return subscription
