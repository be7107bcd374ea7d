"""Events of any shard's journal: its owners, and the inputs that it refused or quarantined."""

import re
from typing import ClassVar

from engine.columns.section_types import Column, Section, Texts


class OwnerFenced(Section, frozen=True):
    """A new owner took the shard. This is the first frame of an epoch, and nothing else is in
    it.
    """

    TAG: ClassVar[int] = 1
    incarnation: str


class InputAttempted(Section, frozen=True):
    """An input is about to be decided with nothing else in hand, because its shard has crashed
    repeatedly. If nothing but fences follows, this input ended the owner.

    `source` is `engine.journal.cursors.Source`. It is 0 for a command, which is in no stream; its
    `subject` names it. `sequence` is that of the message in its stream, and `position` and `row`
    are the part of the message.
    """

    TAG: ClassVar[int] = 2
    source: int
    shard: int
    sequence: int
    position: int
    row: int
    subject: str


class InputQuarantined(Section, frozen=True):
    """An input was quarantined after it had crashed its shard `tries` times when tried alone. It
    goes to the dead-letter stream, and the shard goes on behind it. Fields as in `InputAttempted`.
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
    """Inputs were refused. Each goes to the dead-letter stream with its reason."""

    TAG: ClassVar[int] = 15
    sequences: Column
    subjects: Texts
    reasons: Texts
    excerpts: Texts


_REFUSED = re.compile(r"\w+: (?:(\d+) executions|execution) ")


def refused_count(reason: str) -> int:
    """Return how many executions one reason of `InputsRefused` is about: one, or as many as its
    text says. A message that could not be read counts none.
    """
    found = _REFUSED.match(reason)
    return int(found[1] or 1) if found else 0
