"""A shard's standing: its phase, and how much of its state is durable."""

from typing import Protocol

import structlog

from actors.shard.committer import Committer
from actors.shard.hooks import ShardHooks
from actors.shard.recovery import Phase, ShardState
from engine.columns.state import AnyColumn, State
from engine.columns.state_copy import StateCopy
from engine.journal.cursors import Cursor, Source, cursors_column
from engine.journal.frame import ShardKey

_log = structlog.get_logger()


class CursoredState(ShardState, Protocol):
    """A shard's state with its input cursors."""

    cursors: dict[tuple[Source, int], Cursor]


class ShardStanding:
    """The standing of one shard."""

    def __init__(
        self,
        key: ShardKey,
        incarnation: str,
        state: CursoredState,
        committer: Committer,
        hooks: ShardHooks,
    ) -> None:
        self.key = key
        self.incarnation = incarnation
        self.state = state
        self.committer = committer
        self.phase = Phase.STARTING
        self.error = ""
        self.trouble = ""
        """What keeps the shard from its work although it is live; empty when nothing does."""
        self.is_deciding = False
        """True while the shard waits for something in the middle of a decision."""
        self._hooks = hooks

    def enter(self, phase: Phase) -> None:
        """Go to a phase."""
        self.phase = phase
        _log.info(
            "phase",
            shard=str(self.key),
            phase=phase.value,
            epoch=self.committer.writer.epoch,
            incarnation=self.incarnation,
        )

    def end(self, phase: Phase, error: str) -> None:
        """Go to the phase of an owner that broke off, with the reason."""
        self.error = error
        self.enter(phase)

    @property
    def is_settled(self) -> bool:
        """True while the state is exactly that of the last durable frame.

        An owner that broke off may have ended in the middle of a turn, so its state never is.
        """
        return (
            not self.phase.is_broken_off
            and self.committer.is_settled
            and not self.is_deciding
            and not self._hooks.keeps_back()
        )

    def cursors(self) -> tuple[Cursor, ...]:
        """The input cursors as they stand, in order."""
        return tuple(self.state.cursors[key] for key in sorted(self.state.cursors))

    def durable_state(self) -> State:
        """Return the state at the last durable frame. Call it only when the shard is settled.

        Inputs that led to no frame have moved the cursors since. A replay of the journal does not
        know of them, so the durable cursors are returned instead (P6).
        """
        return {**self.state.columns(), "cursors": self._durable_cursors()}

    def durable_copy(self) -> StateCopy:
        """Begin to copy the state at the last durable frame, as `durable_state` has it."""
        copy = self.state.copy()
        copy.columns["cursors"] = self._durable_cursors()
        return copy

    def _durable_cursors(self) -> AnyColumn:
        return cursors_column(
            {(cursor.source, cursor.shard): cursor for cursor in self.committer.durable_cursors}
        )
