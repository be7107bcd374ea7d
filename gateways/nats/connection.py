"""One connection to NATS: requests with a deadline, publishes that never go out late, synchronous
subscriptions. It connects again for ever.

While the connection is lost, every call fails at once with `TransientError`. Requests already sent
fail with `OutcomeUnknownError`, and unsent messages are dropped. Subscriptions are made again
without help; `on_reconnected` calls those that must do more (feeds).
"""

import asyncio
import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any, NamedTuple

import msgspec
import nats.errors

from actors.errors import OperatingError, OutcomeUnknownError, PermanentError, TransientError
from gateways.nats.client import DirectClient, connect_within
from gateways.nats.errors import api_error, mapped
from gateways.nats.logins import LoginFile
from gateways.nats.protocol import Deliver, TlsError

_log = logging.getLogger(__name__)
_QUOTED = re.compile(r'"([^"]+)"')
_STATUS = "Status"
_NO_RESPONDERS = "503"


class NatsConnectionOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The options of a connection to NATS."""

    url: str
    """`nats://host:port`, or several separated by commas."""
    user: str
    password: str
    name: str = "lockstep"
    """The connection's name in the server's monitoring."""
    inbox_prefix: str = "_INBOX"
    """The first tokens of every reply subject. The user must be allowed to subscribe to
    `<inbox_prefix>.>`.
    """
    login: LoginFile | None = None
    """The file whose login replaces `user` and `password` at each connect, if it has one."""
    connect_deadline_s: float = 10.0
    """The time for which the first connect keeps trying."""
    request_deadline_s: float = 5.0
    """The time for which a request waits for its answer, unless the call says otherwise."""
    reconnect_wait_s: float = 0.05
    """Pause between two attempts to reconnect."""
    ping_interval_s: float = 2.0
    """Pause between two pings. After two unanswered pings the connection is given up."""


class Reply(NamedTuple):
    """The payload and headers of one reply."""

    data: bytes
    headers: dict[str, str] | None


class _ApiError(msgspec.Struct):
    code: int = 0
    err_code: int = 0
    description: str = ""


class _ApiAnswer(msgspec.Struct):
    error: _ApiError | None = None


class JetStreamError(NamedTuple):
    """An error in an answer of the JetStream API."""

    code: int
    error_code: int
    description: str


_decode_api = msgspec.json.Decoder(_ApiAnswer).decode


class NatsSubscription:
    """A core NATS subscription. Closing it stops delivery at once."""

    def __init__(self, client: DirectClient, subscription: Any) -> None:
        self._client = client
        self._subscription = subscription

    async def close(self) -> None:
        """Stop receiving."""
        await self._client.unsubscribe_direct(self._subscription)


class _Waiting(NamedTuple):
    """A request that waits for replies. `take` is given each reply and returns whether it was
    the last. Without `take` the first reply is the only one.
    """

    subject: str
    done: asyncio.Future[Reply | None]
    take: Callable[[bytes, dict[str, str] | None], bool] | None


class NatsConnection:
    """A connection, made by `connect_nats`: one per process and event loop."""

    def __init__(self, options: NatsConnectionOptions) -> None:
        self.options = options
        self._client = DirectClient()
        self._waiting: dict[str, _Waiting] = {}
        self._tokens = count(1)
        self._reply_prefix = ""
        self._reconnected: set[Callable[[], None]] = set()
        self._noted: set[str] = set()
        """Texts logged since the connection was lost."""

    @property
    def is_connected(self) -> bool:
        """True while calls can succeed."""
        return bool(self._client.is_connected)

    async def open(self) -> None:
        """Connect. Raises: TransientError when no server answers in time; PermanentError when
        the server refuses us or cannot prove to be the expected one.
        """
        options = self.options
        self._client.login = options.login
        settings = {
            "servers": options.url.split(","),
            "user": options.user,
            "password": options.password,
            "name": options.name,
            "inbox_prefix": options.inbox_prefix,
            "max_reconnect_attempts": -1,
            "reconnect_time_wait": options.reconnect_wait_s,
            "ping_interval": options.ping_interval_s,
            "max_outstanding_pings": 2,
            "pending_size": 0,
            "connect_timeout": 2,
            "error_cb": self._note_error,
            "disconnected_cb": self._lose,
            "reconnected_cb": self._regain,
        }
        try:
            await connect_within(self._client, settings, options.connect_deadline_s)
            self._reply_prefix = self._client.new_inbox() + "."
            await self._client.subscribe_direct(self._reply_prefix + "*", self._settle)
        except TimeoutError:
            raise TransientError(
                f"connect: expected a NATS server at {options.url} within "
                f"{options.connect_deadline_s} s, found none; is it running?"
            ) from None
        except nats.errors.AuthorizationError:
            raise PermanentError(
                f"connect: {options.url} refused user {options.user!r}; check the credentials file"
            ) from None
        except TlsError as error:
            raise PermanentError(
                f"connect: {options.url}: {error}; authorities of "
                "your own are named by SSL_CERT_FILE"
            ) from None

    async def close(self) -> None:
        """Disconnect. Requests that wait fail."""
        await self._client.close()
        self._fail_waiting("closed")

    def on_reconnected(self, call: Callable[[], None]) -> Callable[[], None]:
        """Call a function after every reconnect. Returns: the call that ends this."""
        self._reconnected.add(call)
        return lambda: self._reconnected.discard(call)

    def check_payload(self, bytes_max: int) -> None:
        """Check that the server takes messages of so many bytes. Raises: PermanentError."""
        found = self._client.max_payload
        if found < bytes_max:
            raise PermanentError(
                f"{self.options.url}: expected a server that takes messages of "
                f"{bytes_max} bytes, found max_payload {found}; "
                "raise it there, or lower nats.payload_bytes_max and engine.frame_bytes_max"
            )

    def new_inbox(self) -> str:
        """Return a new reply subject of this connection."""
        return str(self._client.new_inbox())

    async def publish(
        self, subject: str, data: bytes, *, reply: str = "", headers: dict[str, str] | None = None
    ) -> None:
        """Hand a message to the socket. Raises: TransientError at once when there is no
        connection.
        """
        self._send(subject, data, reply, headers)

    def _send(self, subject: str, data: bytes, reply: str, headers: dict[str, str] | None) -> None:
        if not self._client.is_connected:
            raise TransientError(
                f"publish to {subject}: expected a connection to {self.options.url}, found none"
            )
        try:
            self._client.send(subject, data, reply, headers)
        except nats.errors.Error as error:
            raise mapped(error, f"publish to {subject}") from error

    async def subscribe(
        self, subject: str, deliver: Deliver, *, queue: str = ""
    ) -> NatsSubscription:
        """Call `deliver` for each message, in the read loop. It must not block or raise."""
        try:
            return NatsSubscription(
                self._client, await self._client.subscribe_direct(subject, deliver, queue=queue)
            )
        except nats.errors.Error as error:
            raise mapped(error, f"subscribe to {subject}") from error

    async def confirm(self) -> None:
        """Wait until the server has taken all earlier messages. Raises: OutcomeUnknownError;
        TransientError.
        """
        if not self._client.is_connected:
            raise TransientError(
                f"confirm: expected a connection to {self.options.url}, found none"
            )
        answered: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        with self._wait("PING", _take_none, self.options.request_deadline_s) as (_, done):
            answered.add_done_callback(lambda _: _finish(done))
            self._client.send_ping(answered)
            await done

    async def request(
        self,
        subject: str,
        data: bytes,
        *,
        headers: dict[str, str] | None = None,
        deadline_s: float | None = None,
    ) -> Reply:
        """Send a request and wait for one answer.

        Raises: OutcomeUnknownError after the deadline or a lost connection; TransientError when
        nobody listens or nothing was sent; PermanentError when the server forbids the subject.
        """
        deadline_s = self.options.request_deadline_s if deadline_s is None else deadline_s
        token, done, timer = self._begin(subject, None, deadline_s)
        try:
            self._send(subject, data, self._reply_prefix + token, headers)
            answer = await done
        finally:
            self._end(token, done, timer)
        assert answer is not None
        return answer

    async def request_many(
        self,
        subject: str,
        data: bytes,
        take: Callable[[bytes, dict[str, str] | None], bool],
        *,
        headers: dict[str, str] | None = None,
        deadline_s: float | None = None,
    ) -> None:
        """Send a request and hand each answer to `take` until it returns True. Raises: as
        `request`.
        """
        deadline_s = self.options.request_deadline_s if deadline_s is None else deadline_s
        with self._wait(subject, take, deadline_s) as (reply, done):
            self._send(subject, data, reply, headers)
            await done

    @contextmanager
    def _wait(
        self, subject: str, take: Callable[[bytes, dict[str, str] | None], bool], deadline_s: float
    ) -> Iterator[tuple[str, asyncio.Future[Reply | None]]]:
        """Wait for answers within a block. Yields: the reply subject, and a future that the
        last answer, a lost connection or the deadline completes.
        """
        token, done, timer = self._begin(subject, take, deadline_s)
        try:
            yield self._reply_prefix + token, done
        finally:
            self._end(token, done, timer)

    def _begin(
        self,
        subject: str,
        take: Callable[[bytes, dict[str, str] | None], bool] | None,
        deadline_s: float,
    ) -> tuple[str, asyncio.Future[Reply | None], asyncio.TimerHandle]:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Reply | None] = loop.create_future()
        token = str(next(self._tokens))
        self._waiting[token] = _Waiting(subject, done, take)
        return token, done, loop.call_later(deadline_s, _expire, done, subject, deadline_s)

    def _end(
        self, token: str, done: asyncio.Future[Reply | None], timer: asyncio.TimerHandle
    ) -> None:
        timer.cancel()
        del self._waiting[token]
        if done.done() and not done.cancelled():
            done.exception()

    async def api(
        self, subject: str, body: Any, *, deadline_s: float | None = None
    ) -> bytes | JetStreamError:
        """Call the JetStream API with a JSON body. Returns: the answer's bytes, or the error in it.
        Raises: as `request`.
        """
        answer = await self.request(
            f"$JS.API.{subject}", msgspec.json.encode(body), deadline_s=deadline_s
        )
        error = _decode_api(answer.data).error
        if error is not None:
            return JetStreamError(error.code, error.err_code, error.description)
        return answer.data

    async def api_or_raise(
        self, subject: str, body: Any, *, deadline_s: float | None = None
    ) -> bytes:
        """Call the JetStream API. Returns: the answer's bytes. Raises: as `request`, and the
        error of ours for an error answer.
        """
        answer = await self.api(subject, body, deadline_s=deadline_s)
        if isinstance(answer, JetStreamError):
            raise api_error(*answer, f"$JS.API.{subject}")
        return answer

    def _settle(
        self, subject: str, reply: str, data: bytes, headers: dict[str, str] | None
    ) -> None:
        waiting = self._waiting.get(subject[len(self._reply_prefix) :])
        if waiting is None or waiting.done.done():
            return
        if headers is not None and not data and headers.get(_STATUS) == _NO_RESPONDERS:
            waiting.done.set_exception(
                TransientError(f"request to {waiting.subject}: nobody listens")
            )
            return
        if waiting.take is None:
            waiting.done.set_result(Reply(data, headers))
            return
        try:
            if waiting.take(data, headers):
                waiting.done.set_result(None)
        except (OperatingError, msgspec.MsgspecError) as error:
            waiting.done.set_exception(error)

    async def _lose(self) -> None:
        self._fail_waiting("the connection was lost")

    def _fail_waiting(self, why: str) -> None:
        for waiting in self._waiting.values():
            if not waiting.done.done():
                waiting.done.set_exception(
                    OutcomeUnknownError(f"request to {waiting.subject}: {why}")
                )

    async def _regain(self) -> None:
        self._noted.clear()
        _log.info("reconnected to %s", self.options.url)
        for call in tuple(self._reconnected):
            call()

    async def _note_error(self, error: Exception) -> None:
        """Log an error of the server. A permission violation names its subject: requests sent
        there get no answer and fail.
        """
        text = str(error)
        if "permissions violation for publish" not in text.lower():
            # Every attempt to connect repeats the same text.
            level = logging.DEBUG if text in self._noted else logging.WARNING
            _log.log(level, "NATS: %s", text or type(error).__name__)
            self._noted.add(text)
            return
        _log.warning("NATS: %s", text)
        named = _QUOTED.search(text)
        for waiting in self._waiting.values():
            if (
                named is not None
                and waiting.subject.lower() == named[1]
                and not waiting.done.done()
            ):
                waiting.done.set_exception(
                    PermanentError(
                        f"request to {waiting.subject}: user "
                        f"{self.options.user!r} may not publish there"
                    )
                )


def _take_none(data: bytes, headers: dict[str, str] | None) -> bool:
    return False


def _finish(done: asyncio.Future[Reply | None]) -> None:
    if not done.done():
        done.set_result(None)


def _expire(done: asyncio.Future[Reply | None], subject: str, deadline_s: float) -> None:
    if not done.done():
        done.set_exception(
            OutcomeUnknownError(f"request to {subject}: no answer within {deadline_s} s")
        )


async def connect_nats(options: NatsConnectionOptions) -> NatsConnection:
    """Connect to NATS. Raises: as `NatsConnection.open`."""
    connection = NatsConnection(options)
    try:
        await connection.open()
    except BaseException:
        await connection.close()
        raise
    return connection
