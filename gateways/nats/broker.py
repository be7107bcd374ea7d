"""A broker that speaks the broker protocol over NATS: blocks out on `broker.<name>.orders`, one
reply each.
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
        """Hand a block over. Raises: OutcomeUnknownError when no answer came, TransientError when
        nobody was there.
        """
        return (
            await self._connection.request(self._subject, block, deadline_s=self._answer_deadline_s)
        ).data
