"""A broker over NATS. The gateway sends each block on `broker.<name>.orders`, and the broker's
program sends one reply.
"""

from gateways.nats.connection import NatsConnection


class NatsBroker:
    """The `Broker` port."""

    def __init__(
        self, connection: NatsConnection, name: str, *, answer_deadline_s: float = 5.0
    ) -> None:
        self._connection = connection
        self._subject = f"broker.{name}.orders"
        self._answer_deadline_s = answer_deadline_s

    async def submit(self, block: bytes) -> bytes:
        """Send a block. Returns: the reply. Raises: OutcomeUnknownError when no reply came;
        TransientError when nobody listens.
        """
        return (
            await self._connection.request(self._subject, block, deadline_s=self._answer_deadline_s)
        ).data
