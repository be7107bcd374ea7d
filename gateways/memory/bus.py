"""The bus in memory: requests and messages within one process."""

import asyncio
from collections.abc import Callable

from actors.errors import OutcomeUnknownError, TransientError
from actors.ports import Request
from gateways.memory.server import MemoryServer, MemorySubscription
from gateways.nats.subjects import matches


class MemoryBus:
    """The `Bus` port. Members of a queue group take turns."""

    def __init__(self, server: MemoryServer) -> None:
        self._server = server

    async def publish(self, subject: str, data: bytes) -> None:
        """Send without an answer."""
        self._server.faults.check_connected()

        async def nowhere(answer: bytes) -> None:
            return None

        self._deliver(Request(subject, data, nowhere))

    async def request(self, subject: str, data: bytes, *, timeout_s: float) -> bytes:
        """Send a request and wait for one answer. Raises: OutcomeUnknownError when none came in
        time; TransientError when nobody listens.
        """
        self._server.faults.check_connected()
        answered: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        async def reply(answer: bytes) -> None:
            if not answered.done() and not self._server.faults.takes("bus_drops_count"):
                answered.set_result(answer)

        if not self._deliver(Request(subject, data, reply)):
            raise TransientError(f"request to {subject}: nobody listens")
        try:
            async with asyncio.timeout(timeout_s):
                return await answered
        except TimeoutError:
            raise OutcomeUnknownError(
                f"request to {subject}: no answer within {timeout_s} s"
            ) from None

    async def subscribe(
        self, subject: str, receive: Callable[[Request], None], *, queue: str = ""
    ) -> MemorySubscription:
        """Call `receive` for each message. With a queue name, one subscriber of the group gets
        each.
        """
        self._server.faults.check_connected()
        return MemorySubscription(self._server, subject, receive, queue)

    def _deliver(self, request: Request) -> bool:
        """Hand a message to every plain subscriber and to one of each group. Returns: whether
        there is one.
        """
        groups: dict[str, list[MemorySubscription]] = {}
        for index, subscription in enumerate(self._server.subscriptions):
            if matches(subscription.subject, request.subject):
                groups.setdefault(subscription.queue or f"\n{index}", []).append(subscription)
        if groups and self._server.faults.takes("bus_drops_count"):
            return True
        for queue, members in groups.items():
            turn = self._server.queue_turns.get(queue, 0)
            self._server.queue_turns[queue] = turn + 1
            members[turn % len(members)].receive(request)
        return bool(groups)
