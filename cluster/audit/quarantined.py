"""Quarantined inputs. They are no fault, so the audit only notes them. It looks them up where a
broker's ledger holds executions that were never applied.
"""

import numpy as np
from numpy.typing import NDArray

from actors.ports import EXECUTIONS, Streams
from engine.columns.section_types import SectionError
from engine.history.storage import Ints
from engine.journal.cursors import Source
from engine.journal.events.shard import InputQuarantined
from engine.journal.frame import ShardKey
from engine.messages.blocks import ExecutionsReported, is_block, walk_block

QuarantinedIds = dict[tuple[str, str], set[int]]
"""Numbers of executions by broker and id prefix."""


def quarantine_note(key: ShardKey, quarantined: list[InputQuarantined]) -> str:
    """Return a note about a shard's quarantined inputs, empty when there are none."""
    if not quarantined:
        return ""
    first = quarantined[0]
    note = (
        f"{key}: quarantined {len(quarantined)} inputs that crashed it, first "
        f"{first.subject} at sequence {first.sequence}"
    )
    if any(event.source == Source.EXECUTIONS for event in quarantined):
        note += "; executions are among them: positions may differ from the broker's"
    return note


async def quarantined_executions(
    streams: Streams, quarantined: list[InputQuarantined]
) -> QuarantinedIds:
    """Read quarantined messages with executions again, as far as they can be read. Raises:
    OperatingError.
    """
    found: QuarantinedIds = {}
    for event in quarantined:
        if event.source == Source.EXECUTIONS:
            message = await streams.message(EXECUTIONS, event.sequence)
            data = message.data if message is not None else b""
            broker = event.subject.split(".")[1]
            try:
                for section in walk_block(data) if is_block(data) else ():
                    if isinstance(section, ExecutionsReported):
                        found.setdefault((broker, section.prefix), set()).update(
                            section.numbers.tolist()
                        )
            except SectionError:
                continue
    return found


def are_quarantined(
    ids: QuarantinedIds, broker: str, prefix: str, numbers: Ints
) -> NDArray[np.bool_]:
    """Return which executions stand in a quarantined message."""
    return np.isin(numbers, np.array(sorted(ids.get((broker, prefix), ())), np.int64))
