"""Events of any shard's journal: who owns it, and which inputs it refused or gave up."""

from typing import ClassVar

from engine.columns.sections import Column, Section, Texts


class OwnerFenced(Section, frozen=True):
    """A new owner took the shard: the first frame of an epoch, and nothing else is in it."""

    TAG: ClassVar[int] = 1
    incarnation: str


class InputAttempted(Section, frozen=True):
    """An input is about to be decided with nothing else in hand, for its shard crashed again and
    again: if fences follow and nothing else, this input was what the owner died of.

    `source` is `engine.journal.cursors.Source`, or 0 for a command, which has no place in a stream:
    its `subject` names it. `sequence` is the stream's; `position` and `row` say which part of the
    message.
    """

    TAG: ClassVar[int] = 2
    source: int
    shard: int
    sequence: int
    position: int
    row: int
    subject: str


class InputQuarantined(Section, frozen=True):
    """An input was given up after it had crashed its shard `tries` times alone: it goes to the
    dead-letter stream and the shard goes on behind it. Fields as in `InputAttempted`.
    """

    TAG: ClassVar[int] = 3
    source: int
    shard: int
    sequence: int
    position: int
    row: int
    tries: int
    subject: str
    reason: str
    excerpt: str


class InputsRefused(Section, frozen=True):
    """Inputs were not applied: each goes to the dead-letter stream with its reason."""

    TAG: ClassVar[int] = 15
    sequences: Column
    subjects: Texts
    reasons: Texts
    excerpts: Texts
