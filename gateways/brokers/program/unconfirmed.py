"""Messages of the ledger that JetStream may not hold, found while the ledger is read."""

from gateways.brokers.ledger.records import PublishConfirmed
from gateways.brokers.program.reports import Message


class UnconfirmedMessages:
    """Messages by follower shard, in the order of their numbers."""

    def __init__(self) -> None:
        self._by_shard: dict[int, list[Message]] = {}

    def add(self, message: Message) -> None:
        """Keep a message read from the ledger."""
        self._by_shard.setdefault(message.follower_shard, []).append(message)

    def confirm(self, confirmed: PublishConfirmed) -> None:
        """Drop the messages that JetStream is known to hold."""
        for shard, number in zip(
            confirmed.follower_shards.tolist(), confirmed.numbers.tolist(), strict=True
        ):
            waiting = self._by_shard.get(shard, ())
            self._by_shard[shard] = [message for message in waiting if message.last > number]

    def take(self) -> list[Message]:
        """Return every message kept, shard by shard, and forget them."""
        messages = [
            message for shard in sorted(self._by_shard) for message in self._by_shard[shard]
        ]
        self._by_shard.clear()
        return messages
