"""The streams that shards take inputs from: the message that a cursor names stands where it stood
(P4). If not, the stream is an older copy, and what was acknowledged since is lost.
"""

from collections.abc import Mapping

from actors.ports import EXECUTIONS, INGRESS, Streams
from cluster.audit.report import Check
from engine.journal.cursors import NO_HASH, Cursor, Source, hashed_sequence, is_digest_of
from engine.journal.frame import ShardKey

_STREAMS = {Source.INGRESS: INGRESS, Source.EXECUTIONS: EXECUTIONS}


async def check_inputs(
    streams: Streams,
    key: ShardKey,
    cursors: Mapping[tuple[Source, int], Cursor],
    check: Check,
) -> None:
    """Check the newest cursor of each stream. Cursors of earlier versions carry no digest: they are
    counted as unnamed. Raises: OperatingError.
    """
    for source, stream in _STREAMS.items():
        cursor = cursors.get((source, 0))
        if cursor is None:
            continue
        if cursor.hash == NO_HASH:
            check.count("inputs_unnamed", 1)
            continue
        check.count("inputs_named", 1)
        sequence = hashed_sequence(cursor)
        found = await streams.message(stream, sequence)
        if found is None:
            check.fail(
                f"{key}: expected {stream} to hold the message at sequence {sequence}, which was "
                "taken, found none; the stream lost its end"
            )
        elif not is_digest_of(cursor.hash, found.subject, found.data):
            check.fail(
                f"{key}: expected {stream} to hold at sequence {sequence} the message that was "
                f"taken, found another, on {found.subject}; the stream is an older copy"
            )
