"""The supervisor's word that the disk is full: commands are refused while it lasts.

The supervisor repeats its word several times a second. When it falls silent, the trouble is over.
"""

import asyncio

import msgspec

from actors.ports import MessageFormat, Request
from actors.shard.progress import SUPERVISOR, HostHeartbeat

SUBJECT = f"hosts.{SUPERVISOR}"
HEARD_S_MAX = 2.0
_decode = msgspec.json.Decoder(HostHeartbeat).decode


class DiskTrouble:
    """The supervisor's last word, and when it came."""

    def __init__(self) -> None:
        self._heard_s: float | None = None

    def hear(self, request: Request) -> None:
        """Take a message on `SUBJECT`."""
        if _decode(request.data).error:
            self._heard_s = asyncio.get_running_loop().time()

    def refusal(self, message_format: MessageFormat) -> bytes | None:
        """Return the answer to a command that comes now; None when there is room."""
        if self._heard_s is None:
            return None
        if asyncio.get_running_loop().time() - self._heard_s > HEARD_S_MAX:
            self._heard_s = None
            return None
        return message_format.refusal(
            "busy", "expected room on the cluster's disk, found it full; try again"
        )
