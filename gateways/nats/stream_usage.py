"""Disk use of JetStream streams, as the server tells it."""

import msgspec

from actors.errors import OperatingError
from gateways.nats.connection import NatsConnection


class StreamUsage(msgspec.Struct, frozen=True, kw_only=True):
    """The size of one stream. A `bytes_max` of None is no limit."""

    name: str
    messages: int
    bytes: int
    bytes_max: int | None

    @property
    def share(self) -> float | None:
        """The part of the limit that is used, 0 to 1; None without a limit."""
        return self.bytes / self.bytes_max if self.bytes_max else None


class _Config(msgspec.Struct):
    name: str
    max_bytes: int = -1


class _State(msgspec.Struct):
    messages: int
    bytes: int


class _Info(msgspec.Struct):
    config: _Config
    state: _State


class _Page(msgspec.Struct):
    total: int = 0
    streams: list[_Info] | None = None


_decode_page = msgspec.json.Decoder(_Page).decode


async def read_stream_usages(connection: NatsConnection) -> list[StreamUsage]:
    """Ask the server for all streams, in order of their names. None where the server does not
    tell: an operator's own may allow less than the embedded one.
    """
    try:
        found = await _read_all(connection)
    except OperatingError:
        return []
    usages = [
        StreamUsage(
            name=info.config.name,
            messages=info.state.messages,
            bytes=info.state.bytes,
            bytes_max=info.config.max_bytes if info.config.max_bytes > 0 else None,
        )
        for info in found
    ]
    return sorted(usages, key=lambda usage: usage.name)


async def _read_all(connection: NatsConnection) -> list[_Info]:
    found: list[_Info] = []
    while True:
        answer = await connection.api_or_raise("STREAM.LIST", {"offset": len(found)})
        page = _decode_page(answer)
        found += page.streams or []
        if not page.streams or len(found) >= page.total:
            break
    return found
