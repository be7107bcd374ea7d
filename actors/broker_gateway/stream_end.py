"""Watching that a stream does not end before what was read of it.

A feed that reads on from its cursor does not see that the stream lost its end: nothing comes, until
new messages are stored under the sequences of those that were lost.
"""

import asyncio

from actors.errors import OperatingError
from actors.ports import Streams
from engine.journal.chain import ChainBrokenError

CHECK_NS_EVERY = 5_000_000_000


class StreamEnd:
    """The end of one stream, asked for now and then. `arrived` is set with each answer."""

    def __init__(self, streams: Streams, stream: str, arrived: asyncio.Event) -> None:
        self._streams = streams
        self._stream = stream
        self._arrived = arrived
        self._asked_ns = 0
        self._read = 0
        self._asking: asyncio.Task[int] | None = None

    def check(self, read_sequence: int, now_ns: int) -> None:
        """Take the last answer, and ask again if it is time. Raises: ChainBrokenError when the
        stream ends before what had been read when it was asked for.
        """
        if self._asking is not None:
            if not self._asking.done():
                return
            self._take(self._asking)
            self._asking = None
        if now_ns - self._asked_ns >= CHECK_NS_EVERY:
            self._asked_ns, self._read = now_ns, read_sequence
            self._asking = asyncio.create_task(
                self._streams.last_sequence(self._stream), name=f"end of {self._stream}"
            )
            self._asking.add_done_callback(lambda _: self._arrived.set())

    def _take(self, asked: "asyncio.Task[int]") -> None:
        try:
            last = asked.result()
        except OperatingError:
            return
        if last < self._read:
            raise ChainBrokenError(
                f"{self._stream}: expected it to reach sequence {self._read}, which was read, "
                f"found its end at {last}; the stream lost its end: restore it"
            )

    async def close(self) -> None:
        """Ask no more."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)
