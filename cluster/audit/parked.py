"""What shards have parked: said as notes, for it is no fault, and looked up where a broker's ledger holds what was never applied."""

import numpy as np
from numpy.typing import NDArray

from cluster.journal_tables.gather import Ints
from cluster.journal_tables.store import StoredExecutions
from engine.blocks import ExecutionsReported, is_block, walk_block
from engine.events.shard import InputParked
from engine.frame import ShardKey, Source
from engine.sections import SectionError

ParkedIds = dict[tuple[str, str], set[int]]
"""Numbers of executions by broker and id prefix."""


def parked_note(key: ShardKey, parked: list[InputParked]) -> str:
    """Say what a shard has parked; nothing when it has not."""
    if not parked:
        return ""
    first = parked[0]
    note = f"{key}: parked {len(parked)} inputs that crashed it, first {first.subject} at sequence {first.sequence}"
    if any(event.source == Source.EXECUTIONS for event in parked):
        note += "; executions are among them: positions may differ from the broker's"
    return note


async def parked_executions(stored: StoredExecutions, parked: list[InputParked]) -> ParkedIds:
    """Read the parked messages of executions again, as far as they can be read. Raises: OperatingError."""
    found: ParkedIds = {}
    for event in parked:
        if event.source == Source.EXECUTIONS:
            data = await stored.message(event.sequence)
            broker = event.subject.split(".")[1]
            try:
                for section in walk_block(data) if is_block(data) else ():
                    if isinstance(section, ExecutionsReported):
                        found.setdefault((broker, section.prefix), set()).update(section.numbers.tolist())
            except SectionError:
                continue
    return found


def are_parked(ids: ParkedIds, broker: str, prefix: str, numbers: Ints) -> NDArray[np.bool_]:
    """Say which executions stand in a parked message."""
    return np.isin(numbers, np.array(sorted(ids.get((broker, prefix), ())), np.int64))
