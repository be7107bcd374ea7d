"""Messages between the supervisor and Ray's driver, over one socket: MessagePack, each message
after its length.

    supervisor -> driver     Join, then StartHost, StopHost, KillHost; Leave at the end
    driver -> supervisor     Joined; HostStarted, then HostEnded, for each StartHost
"""

from collections.abc import Iterator

import msgspec

from actors.host.host import HostSpec
from gateways.connections import ConnectionOptions

LENGTH_BYTES = 4


class Join(msgspec.Struct, frozen=True, tag="join"):
    """Join the Ray at an address, or start one on loopback if there is none."""

    namespace: str
    address: str | None
    session_root: str
    object_store_bytes: int


class StartHost(msgspec.Struct, frozen=True, tag="start"):
    """Start a host, which connects to the outside with these options."""

    spec: HostSpec
    connections: ConnectionOptions


class StopHost(msgspec.Struct, frozen=True, tag="stop"):
    """Ask a host to end."""

    incarnation: str


class KillHost(msgspec.Struct, frozen=True, tag="kill"):
    """End a host's process."""

    incarnation: str


class Leave(msgspec.Struct, frozen=True, tag="leave"):
    """Disconnect from Ray and end."""


class Joined(msgspec.Struct, frozen=True, tag="joined"):
    """Ray runs, at this address."""

    address: str


class HostStarted(msgspec.Struct, frozen=True, tag="started"):
    """Ray has taken a host."""

    incarnation: str


class HostEnded(msgspec.Struct, frozen=True, tag="ended"):
    """A host is over, or was never started, for this reason."""

    incarnation: str
    reason: str


Request = Join | StartHost | StopHost | KillHost | Leave
Report = Joined | HostStarted | HostEnded

decode_request = msgspec.msgpack.Decoder(Request).decode
decode_report = msgspec.msgpack.Decoder(Report).decode


def framed(message: Request | Report) -> bytes:
    """Write a message with its length before it."""
    body = msgspec.msgpack.encode(message)
    return len(body).to_bytes(LENGTH_BYTES, "big") + body


def take_frames(buffer: bytearray) -> Iterator[bytes]:
    """Take every whole message out of what was received."""
    while len(buffer) >= LENGTH_BYTES:
        end = LENGTH_BYTES + int.from_bytes(buffer[:LENGTH_BYTES], "big")
        if len(buffer) < end:
            return
        body = bytes(buffer[LENGTH_BYTES:end])
        del buffer[:end]
        yield body
