"""The alarms that this process has logged, by name, for its heartbeat. The log has their fields."""

from datetime import UTC, datetime

from structlog.typing import EventDict, WrappedLogger

from actors.shard.progress import HostAlarm

NAMES_MAX = 16
OTHERS = "others"
"""The name under which the alarms of further names are counted."""


class AlarmCounts:
    """A count and the last time of each name, at most `NAMES_MAX` and one."""

    def __init__(self) -> None:
        self._alarms: dict[str, HostAlarm] = {}

    def count(self, logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        """Count an event if it is an alarm; a processor of structlog."""
        if event.get("alarm"):
            name = str(event["event"])
            if name not in self._alarms and len(self._alarms) >= NAMES_MAX:
                name = OTHERS
            known = self._alarms.get(name)
            time = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
            self._alarms[name] = HostAlarm(name, 1 if known is None else known.count + 1, time)
        return event

    def told(self) -> tuple[HostAlarm, ...]:
        """Return every name with its count."""
        return tuple(self._alarms.values())


process_alarms = AlarmCounts()
"""Those of this process."""
