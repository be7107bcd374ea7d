"""One value of each section type, and whole frames and blocks made of them: the input of the golden
bytes and of the fuzz tests.
"""

from itertools import count
from typing import Any, get_type_hints

import numpy as np

from engine.columns.section_types import group_of, is_text, names_of, trailing_defaults
from engine.journal.cursors import Cursor, Source
from engine.journal.events import EVENT_TYPES
from engine.journal.frame import FrameHeader, ShardKey, ShardKind, encode_frame
from engine.messages.blocks import BLOCK_TYPES, encode_block

_COLUMNS = [
    np.array([7, 7, 7], np.int64),
    np.array([-1, 0, 250], np.int64),
    np.array([-(2**63), 0, 2**63 - 1], np.int64),
    np.array([10**17, 10**17 + 65_536, 10**17 + 5], np.int64),
]
_ASCENDING = np.array([5, 6, 300_000], np.int64)


def sample(section_type: Any, *, is_whole: bool = False) -> Any:
    """Fill a section's fields in order with different values of their kinds. Appended integers and
    texts are filled only where the section is to be whole.
    """
    hints = get_type_hints(section_type, include_extras=True)
    numbers = count()
    values: list[Any] = []
    names = names_of(section_type)
    defaulted = 0
    if not is_whole:
        defaulted = len(trailing_defaults(section_type))
    for name in names[: len(names) - defaulted]:
        hint = hints[name]
        if (group := group_of(hint)) is not None:
            values.append(group(*(_integer(next(numbers)) for _ in group._fields)))
            continue
        number = next(numbers)
        if hint is int:
            values.append(_integer(number))
        elif is_text(hint):
            values.append(f"text-{number}-ä")
        elif hint == list[str]:
            values.append([f"a{number}", "", "ünder_score"])
        elif "ascending" in getattr(hint, "__metadata__", ()):
            values.append(_ASCENDING + number)
        else:
            values.append(_COLUMNS[number % len(_COLUMNS)])
    return section_type(*values)


def _integer(number: int) -> int:
    return int((number + 1) * (-1) ** number * 10 ** (number % 18))


def header(kind: ShardKind, number: int = 9) -> FrameHeader:
    """Make a frame's header with two cursors, one of them between two parts."""
    cursors = (
        Cursor(Source.INGRESS, 0, 2**40, 2**40),
        Cursor(Source.CREATOR_JOURNAL, 3, 17, 2**33, 35, 65_536, bytes(range(32))),
    )
    return FrameHeader(
        ShardKey(kind, 5), 4, number, 1_700_000_000_000_000_001, bytes(range(32, 64)), cursors, 2
    )


_NAMES = {
    ShardKind.CREATOR: (
        "OwnerFenced",
        "InstrumentsListed",
        "CreatorsOpened",
        "MarksUpdated",
        "FillApplied",
    ),
    ShardKind.FOLLOWER: (
        "SignalDecided",
        "OrdersPlaced",
        "CancelsRequested",
        "FollowUpsQueued",
        "ExecutionsApplied",
    ),
    ShardKind.GATEWAY: ("BlocksAnswered", "OrdersRevoked"),
}
SECTIONS = {**EVENT_TYPES, **BLOCK_TYPES}
"""Every section type by its tag."""
_BY_NAME = {section_type.__name__: section_type for section_type in SECTIONS.values()}

_SENDINGS = ("SubmissionStarted", "SubmissionSettled", "OrdersUnresolved")
FRAMES = {
    f"frame_{kind.name.lower()}": encode_frame(
        header(kind), [sample(_BY_NAME[name]) for name in names]
    )
    for kind, names in _NAMES.items()
} | {
    "frame_sendings": encode_frame(
        header(ShardKind.GATEWAY), [sample(_BY_NAME[name]) for name in _SENDINGS]
    )
}
BLOCKS = {
    "block_orders": encode_block(
        *(sample(_BY_NAME[n]) for n in ("GatewayEpoch", "AccountsRegistered", "OrdersSubmitted"))
    ),
    "block_cancels": encode_block(
        *(sample(_BY_NAME[n]) for n in ("GatewayEpoch", "CancelsSubmitted"))
    ),
    "block_answer": encode_block(sample(_BY_NAME["BlockAnswered"])),
    "block_executions": encode_block(sample(_BY_NAME["ExecutionsReported"])),
    "block_look_up": encode_block(
        *(sample(_BY_NAME[n]) for n in ("GatewayEpoch", "SendingRound", "OrdersLookedUp"))
    ),
    "block_known": encode_block(*(sample(_BY_NAME[n]) for n in ("BlockAnswered", "OrdersKnown"))),
}
