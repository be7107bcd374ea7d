"""The error of a feed whose stream lost what was read from it."""

from engine.journal.chain import ChainBrokenError


def lost_end(stream: str, sequence: int, last_sequence: int) -> ChainBrokenError:
    """Make the error of a stream that lost the message last read."""
    return ChainBrokenError(
        f"expected {stream} to hold the message read at sequence {sequence}, found none or another"
        f" there, and its end at {last_sequence}; the stream lost its end or is an older copy: "
        "restore the newer one"
    )
