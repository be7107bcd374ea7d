"""Creators whose entries a follower shard does not copy; their exits are copied."""

from collections.abc import Iterator
from typing import Any

from engine.columns.snapshot import Records, StoredState, integers_column, required
from engine.columns.state import State
from engine.journal.events.creator import CreatorResumed, CreatorSuspended
from engine.journal.events.subscriptions import EntriesResumed, EntriesSuspended

SUSPENDED_RECORDS: Records = {"suspended_entries": required("creator_shard", "creator", "signal")}


class SuspendedEntries:
    """The creators whose entries a follower shard does not copy: by creator shard and number, the
    quarantined signal, or 0.
    """

    def __init__(self) -> None:
        self._signals: dict[tuple[int, int], int] = {}

    def __len__(self) -> int:
        return len(self._signals)

    def skips(self, creator_shard: int, creator: int, signal: int, *, is_increase: bool) -> bool:
        """Return whether a leg of a signal moves nothing: an entry, or any leg of the quarantined
        signal.
        """
        quarantined = self._signals.get((creator_shard, creator))
        return quarantined is not None and (is_increase or quarantined == signal)

    def learn(self, creator_shard: int, event: Any) -> Iterator[EntriesSuspended | EntriesResumed]:
        """Follow the suspensions of a creator shard. A signal that was quarantined here since then
        stays quarantined when it is read again.
        """
        if isinstance(event, CreatorSuspended):
            if (creator_shard, event.creator) not in self._signals:
                yield EntriesSuspended(creator_shard, event.creator, 0)
        elif isinstance(event, CreatorResumed):
            quarantined = self._signals.get((creator_shard, event.creator))
            if quarantined is not None and quarantined < event.signal:
                yield EntriesResumed(creator_shard, event.creator)

    def apply(self, event: EntriesSuspended | EntriesResumed) -> None:
        """Change the state by one event."""
        key = event.creator_shard, event.creator
        if isinstance(event, EntriesSuspended):
            self._signals[key] = event.signal
        else:
            self._signals.pop(key, None)

    def state(self) -> State:
        """Return everything as columns, none while there is nothing."""
        if not self._signals:
            return {}
        rows = [(*key, signal) for key, signal in sorted(self._signals.items())]
        return {"suspended_entries": integers_column(rows)}

    def restore(self, stored: StoredState) -> None:
        """Take everything back from a snapshot."""
        rows = stored.integers("suspended_entries")
        self._signals = {(shard, creator): signal for shard, creator, signal in rows}
