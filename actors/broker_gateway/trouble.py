"""What keeps a gateway from sending although its shard is live.

`lockstep status` shows it in place of the phase. It is an alarm once for each text, and again when
it comes back.
"""

import structlog

from actors.shard.standing import ShardStanding

_log = structlog.get_logger()


class BrokerTrouble:
    """The trouble that one gateway has with the broker called `name`; none at first."""

    def __init__(self, standing: ShardStanding, name: str) -> None:
        self._standing = standing
        self._name = name

    def __bool__(self) -> bool:
        return bool(self._standing.trouble)

    def tell(self, kind: str, text: str) -> None:
        """Show a trouble until it is over. `kind` names the alarm."""
        told = f"broker {self._name}: {text}"
        if self._standing.trouble != told:
            _log.error(kind, broker=self._name, error=text, alarm=True)
        self._standing.trouble = told

    def end(self) -> None:
        """Show none: the broker takes what it is sent."""
        if self._standing.trouble:
            _log.info("broker_accepts", broker=self._name)
        self._standing.trouble = ""
