"""The bus over core NATS: requests, progress, heartbeats. NATS stores none of them and may lose
any.
"""

import logging
from collections.abc import Callable

from actors.errors import OperatingError, TransientError
from actors.ports import Request
from gateways.nats.connection import NatsConnection, NatsSubscription

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
    ) -> NatsSubscription:
        """Call `receive` for each message. With a queue name, one subscriber of the group gets
        each.

        `receive` runs in the connection's read loop: it must put the request where its owner finds
        it, and return.
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
                    # The sender gets no answer and asks again.
                    _log.info("reply on %s lost: %s", message_subject, error)

            receive(Request(message_subject, data, answer))

        subscription = await self._connection.subscribe(subject, deliver, queue=queue)
        try:
            # Another connection may send to this subscription as soon as our caller goes on, so the
            # server must have it by then.
            await self._connection.confirm()
        except OperatingError:
            await subscription.close()
            raise
        return subscription
