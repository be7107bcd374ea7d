"""nats-py's client with five changes, all that we rely on of its inside; nats-py is pinned and the port contracts cover each.

- Messages of a subscription go straight to a function in the read loop (`deliveries`), without a queue and a task in between: a feed's
  latency and CPU are those of the parser.
- Headers of stored messages that a consumer delivers are not read: nobody asks for them, and a frame has two.
- What is published in one turn of the loop goes to the socket at its end, in one write; nats-py wakes a task for it.
- A server error other than a permission violation leads to a reconnect, where nats-py would close for good.
- The socket is read a mebibyte at a time, where nats-py takes 32 KiB and needs 250 turns of the loop for one large frame.
"""

import asyncio
from collections.abc import Callable
from typing import Any
from urllib.parse import ParseResult

import nats.errors
from nats.aio.client import PING_PROTO, Client
from nats.aio.transport import TcpTransport
from nats.protocol.parser import PERMISSIONS_ERR

Deliver = Callable[[str, str, bytes, dict[str, str] | None], None]
"""Takes subject, reply subject, data and headers of one message; must not block, must not raise."""

_READ_BYTES = 1 << 20
_DELIVERED = b"$JS.ACK."
"""Begins the reply subject of each stored message that a consumer delivers."""
CANCEL_AGAIN_S = 0.1


class _WideTransport(TcpTransport):
    """TCP with large reads. True from the start, so that the client does not put its own in place."""

    async def connect(self, uri: ParseResult, buffer_size: int, connect_timeout: int) -> None:
        await super().connect(uri, _READ_BYTES, connect_timeout)

    async def read(self, buffer_size: int) -> bytes:
        return bytes(await super().read(_READ_BYTES))

    def __bool__(self) -> bool:
        return True


class DirectClient(Client):
    """A NATS client whose subscriptions deliver synchronously."""

    def __init__(self) -> None:
        super().__init__()
        self.deliveries: dict[int, Deliver] = {}
        self._is_write_due = False
        self._transport = _WideTransport()  # type: ignore[no-untyped-call]

    async def subscribe_direct(self, subject: str, deliver: Deliver, *, queue: str = "") -> Any:
        """Subscribe; `deliver` is called in the read loop. Returns: nats-py's subscription."""
        subscription = await self.subscribe(subject, queue, pending_msgs_limit=0, pending_bytes_limit=0)
        # The SUB is still in our own buffer here, so no message can come before this line.
        self.deliveries[subscription._id] = deliver
        return subscription

    async def unsubscribe_direct(self, subscription: Any) -> None:
        """Stop delivering at once, then tell the server."""
        self.deliveries.pop(subscription._id, None)
        try:
            await subscription.unsubscribe()
        except nats.errors.Error:
            # A lost or closed connection has no subscriptions on the server.
            self._remove_sub(subscription._id)

    async def send_ping(self, answered: asyncio.Future[bool]) -> None:
        """Send a PING behind everything handed over before; nats-py's own overtakes what is not on the wire yet.

        `answered` must never be cancelled or set by others: nats-py's read loop would end.
        """
        self._pongs.append(answered)
        await self._send_command(PING_PROTO)
        await self._flush_pending()

    def drop_unsent(self) -> None:
        """Forget what is not on the wire yet: after a reconnect it would be sent late. Subscriptions are replayed by nats-py."""
        self._pending.clear()
        self._pending_data_size = 0

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        deliver = self.deliveries.get(sid)
        if deliver is None:
            await super()._process_msg(sid, subject, reply, data, headers)
        elif headers is None or reply.startswith(_DELIVERED):
            deliver(subject.decode(), reply.decode(), data, None)
        else:
            deliver(subject.decode(), reply.decode(), data, await self._process_headers(headers))

    async def _flush_pending(self, force_flush: bool = False) -> None:
        if not self._is_write_due:
            self._is_write_due = True
            asyncio.get_running_loop().call_soon(self._write_pending)

    def _write_pending(self) -> None:
        self._is_write_due = False
        if self._pending and self.is_connected and self._transport is not None:
            self._transport.writelines(self._pending)
            self._pending = []
            self._pending_data_size = 0

    async def _process_err(self, err_msg: str) -> None:
        if PERMISSIONS_ERR in err_msg:
            await super()._process_err(err_msg)
        else:
            await self._process_op_err(nats.errors.Error(f"nats: {err_msg}"))


async def connect_within(client: Client, options: dict[str, Any], deadline_s: float) -> None:
    """Connect, retrying until the deadline. Raises: TimeoutError; AuthorizationError at once when the server refuses the credentials."""
    refused: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def note(error: Exception) -> None:
        if "authorization" in str(error).lower() and not refused.done():
            refused.set_exception(nats.errors.AuthorizationError())

    connecting = asyncio.ensure_future(client.connect(**{**options, "error_cb": note}))
    try:
        done, _ = await asyncio.wait(
            (connecting, refused), timeout=deadline_s, return_when=asyncio.FIRST_COMPLETED
        )
        if not done:
            raise TimeoutError
        for finished in done:
            finished.result()
    except BaseException:
        while not connecting.done():
            # Again, for nats-py may take a cancellation for a timeout of its own.
            connecting.cancel()
            await asyncio.wait((connecting,), timeout=CANCEL_AGAIN_S)
        if not connecting.cancelled():
            connecting.exception()
        await client.close()
        raise
    finally:
        if refused.done():
            refused.exception()
        else:
            refused.cancel()
    client._error_cb = options["error_cb"]
