"""Foreign messages: what stands in a journal and is no frame, so no owner wrote it.

Readers step over them as over the frames of superseded owners, and tell the operator. Whoever can
publish there should not be able to.
"""

import structlog

from actors.counters import Counters
from actors.ports import StoredMessage

_log = structlog.get_logger()


class ForeignMessages:
    """The foreign messages that one shard has met, in its own journal and in those it reads."""

    def __init__(self, reader: str, counts: Counters) -> None:
        self._reader = reader
        self._counts = counts

    def step_over(self, message: StoredMessage) -> None:
        """Count a message. The alarm is raised for the first, and whenever their number doubles: a
        flood of them must not become a flood of alarms.
        """
        self._counts.messages_foreign += 1
        count = self._counts.messages_foreign
        if count & (count - 1) == 0:
            _log.error(
                "message_foreign",
                shard=self._reader,
                subject=message.subject,
                sequence=message.sequence,
                count=count,
                error=f"expected a frame of the journal's owner, found {len(message.data)} bytes "
                "that are none; they are stepped over: find out who may publish there",
                alarm=True,
            )
