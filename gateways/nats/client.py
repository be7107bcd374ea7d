"""nats-py's client with its hot inner parts replaced. This module goes when the project takes
Python 3.13, and with it nats-core, the newer client of nats-py's owner.

Until then nats-py is pinned, and the contracts of the ports test each inner part that we rely on.
nats-py makes the connection, logs in, pings, connects again and subscribes again. These parts are
ours (`gateways/nats/protocol.py`):

- `_transport`: reads the socket into a buffer and parses it in place;
- `_read_loop`: hands messages of a subscription straight to a function (`deliveries`), without
  nats-py's parser, queues and tasks;
- `_send_command`, `_flush_pending`: hand a message to the loop at once; nothing waits in
  `_pending`, so nothing is sent late;
- `_process_err`: connects again after a server error that is no permission violation; nats-py would
  close for good;
- `_connect_command`: sends no credentials to a `tls://` server that does not ask for TLS, and
  reads a login that may have changed;
- `_process_info`: under `tls://`, learns no other servers from bytes that came before TLS;
- `_attempt_reconnect`: cuts the lost connection, so that unsent bytes are dropped.
"""

import asyncio
import ssl
from typing import Any

import msgspec
import nats.errors
from nats.aio.client import PING_PROTO, Client
from nats.protocol.parser import PERMISSIONS_ERR

from gateways.nats.logins import LoginFile, read_login
from gateways.nats.protocol import Deliver, NatsTransport, TlsError, write_message

CANCEL_AGAIN_S = 0.1
_decode_info = msgspec.json.Decoder(dict[str, Any]).decode


class DirectClient(Client):
    """A NATS client that delivers messages synchronously."""

    def __init__(self) -> None:
        super().__init__()
        self.deliveries: dict[int, Deliver] = {}
        self.login: LoginFile | None = None
        self._wire = NatsTransport(self.deliveries)
        self._transport = self._wire

    def send(self, subject: str, data: bytes, reply: str, headers: dict[str, str] | None) -> None:
        """Hand a message to the event loop, which writes it at once if the socket takes it.
        Raises: nats.errors.Error.
        """
        if len(data) > self._max_payload:
            raise nats.errors.MaxPayloadError
        try:
            pieces = write_message(subject, reply, data, headers)
        except ValueError as error:
            raise nats.errors.BadSubjectError from error
        if len(pieces) == 1:
            self._wire.write(pieces[0])
        else:
            self._wire.writelines(pieces)

    async def subscribe_direct(self, subject: str, deliver: Deliver, *, queue: str = "") -> Any:
        """Subscribe. The event loop calls `deliver` in its read callback. Returns: nats-py's
        subscription.
        """
        subscription = await self.subscribe(
            subject, queue, pending_msgs_limit=0, pending_bytes_limit=0
        )
        # The event loop has not written the SUB yet, so no message can come before this line.
        self.deliveries[subscription._id] = deliver
        return subscription

    async def unsubscribe_direct(self, subscription: Any) -> None:
        """Stop delivering at once, then tell the server."""
        self.deliveries.pop(subscription._id, None)
        try:
            await subscription.unsubscribe()
        except nats.errors.Error:
            # The server has dropped the subscriptions of a lost or closed connection.
            self._remove_sub(subscription._id)

    def send_ping(self, answered: asyncio.Future[bool]) -> None:
        """Send a PING behind all earlier messages."""
        self._pongs.append(answered)
        self._wire.write(PING_PROTO)

    def _take_pong(self) -> None:
        if self._pongs:
            answered = self._pongs.pop(0)
            if not answered.done():
                answered.set_result(True)
            self._pongs_received += 1
            self._pings_outstanding = 0

    async def _read_loop(self) -> None:
        protocol = self._wire.protocol
        assert protocol is not None
        protocol.start(self._take_pong)
        while True:
            notice = await protocol.next_notice()
            if self.is_closed or self.is_reconnecting:
                return
            kind, _, text = notice.partition(b" ")
            if kind == b"-ERR":
                await self._process_err(text.strip().decode("utf-8", "replace").lower())
            elif kind == b"INFO":
                await self._process_news(text)
            else:
                lost = nats.errors.UnexpectedEOF()
                await self._error_cb(lost)
                await self._process_op_err(lost)
                return

    async def _process_news(self, text: bytes) -> None:
        try:
            await self._process_info(_decode_info(text))
        except (msgspec.DecodeError, TypeError, ValueError) as error:
            # Without this, nobody would read from this connection any more, nor make another.
            await self._process_op_err(
                nats.errors.Error(f"nats: expected INFO of a server: {error}")
            )

    async def _send_command(self, cmd: bytes, priority: bool = False) -> None:
        # Without a connection the command is dropped. nats-py subscribes again after a reconnect;
        # nothing else may be sent late.
        if self.is_connected:
            self._wire.write(cmd)

    async def _flush_pending(self, force_flush: bool = False) -> None:
        """Do nothing: no message waits."""

    async def _attempt_reconnect(self) -> None:
        self._wire.abort()
        await super()._attempt_reconnect()

    def _connect_command(self) -> bytes:
        assert self._current_server is not None
        uri = self._current_server.uri
        if uri.scheme == "tls" and not self._wire.is_secure:
            raise TlsError(
                f"expected {uri.hostname}:{uri.port} to ask for TLS, found that it does not"
            )
        if self.login is not None and (login := read_login(self.login)) is not None:
            self.options["user"], self.options["password"] = login
        return bytes(super()._connect_command())

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        assert self._current_server is not None
        if initial_connection and self._current_server.uri.scheme == "tls":
            # A man in the middle could name a server of his own, and the client would log in there
            # after the next loss.
            info = {**info, "connect_urls": []}
        await super()._process_info(info, initial_connection)

    async def _process_err(self, err_msg: str) -> None:
        if PERMISSIONS_ERR in err_msg:
            await super()._process_err(err_msg)
        else:
            await self._process_op_err(nats.errors.Error(f"nats: {err_msg}"))


async def connect_within(client: Client, options: dict[str, Any], deadline_s: float) -> None:
    """Connect, and retry until the deadline.

    Raises: TimeoutError; without a retry AuthorizationError when the server refuses the
    credentials, and TlsError.
    """
    refused: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def note(error: Exception) -> None:
        if refused.done():
            return
        if isinstance(error, ssl.SSLCertVerificationError):
            refused.set_exception(TlsError(str(error)))
        elif isinstance(error, TlsError):
            refused.set_exception(error)
        elif "authorization" in str(error).lower():
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
            # Cancelled repeatedly: nats-py may take a cancellation for a timeout of its own.
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
