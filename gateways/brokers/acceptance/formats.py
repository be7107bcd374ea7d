"""The formats in which the suite speaks with a program. The rules are written with blocks."""

from typing import Protocol

from engine.columns.section_types import SectionError
from gateways.json.broker import answer_of
from gateways.json.order_answers import read_answer
from gateways.json.orders import MessageJson, encode_message, messages_of

ALL_FORMATS = ("binary", "json")


class Format(Protocol):
    """Writes blocks as a program reads them, and reads its answers as blocks."""

    def message(self, block: bytes) -> bytes:
        """Write a block. Bytes that are no block are sent as they are."""
        ...

    def answer(self, block: bytes, data: bytes) -> bytes:
        """Read the answer to a block. Raises: SectionError."""
        ...


class _Binary:
    def message(self, block: bytes) -> bytes:
        return block

    def answer(self, block: bytes, data: bytes) -> bytes:
        return data


class _Json:
    def message(self, block: bytes) -> bytes:
        written = _written(block)
        return block if written is None else encode_message(written)

    def answer(self, block: bytes, data: bytes) -> bytes:
        message = _written(block) or MessageJson()
        return answer_of(block, [message], [read_answer(data, message)])


def _written(block: bytes) -> MessageJson | None:
    """Return the one message of a block, None for bytes that are no block."""
    try:
        (message,) = messages_of(block)
    except SectionError:
        return None
    return message


def format_of(name: str) -> Format:
    """Return the format of a name in `ALL_FORMATS`."""
    return _Json() if name == "json" else _Binary()
