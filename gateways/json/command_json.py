"""The form of one kind of command in JSON, and the checks that several kinds share.

Unlike in fills, an unknown field is refused: a misspelt limit must not pass for no limit. So every
struct of fields has `forbid_unknown_fields`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from engine.values import units
from gateways.json.fields import MessageError

BROKER_DEFAULT = "paper"


class CommandJson(NamedTuple):
    """One kind of command in JSON."""

    fields: type[msgspec.Struct]
    """The fields of the object; a field with a default is optional. Its tag is the `type`."""
    read: Callable[[Any, str, str], Any]
    """Makes the command of its fields, its id, and the id of its creator or account; both ids are
    checked before. Raises: MessageError.
    """
    answer: tuple[str, ...]
    """The names of the answer's fields, in the order in which the answer's type has them."""


def not_negative(value: int, what: str) -> int:
    """Check an amount. Raises: MessageError."""
    if value < 0:
        raise MessageError(
            "number", f"{what}: expected zero or more, found {units.format_micros(value)}"
        )
    return value
