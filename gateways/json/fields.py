"""The fields of JSON messages: splitting, decoding and checking them, each failure a `MessageError`
with a short text.

Numbers are read from their text (JSON numbers or strings), never through a float. No input makes
this slow, deep or long: one object is at most 16 KiB, and an error text at most 300 characters.
"""

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeVar

import msgspec
from msgspec import Raw

from actors.errors import BadInputError
from engine.values import units
from engine.values.ids import is_id
from engine.values.order_ids import OrderId, parse_order_id, unpack_order_id

ELEMENT_BYTES_MAX = 16 << 10
"""Largest single JSON object taken."""
ELEMENTS_COUNT_MAX = 100_000
"""Most objects in one message."""
ERROR_CHARACTERS_MAX = 300
SYMBOL_CHARACTERS_MAX = 32
TEXT_CHARACTERS_MAX = 200
ABSENT = Raw(b"null")
"""The value of a number that was not sent."""

_NUMBER = re.compile(rb'"?([+-]?[0-9]{1,40}(?:\.[0-9]{1,40})?(?:[eE][+-]?[0-9]{1,3})?)"?\Z')
_PLAIN = re.compile(rb'"?([0-9]{1,9})(?:\.([0-9]{1,6}))?"?\Z')
_POWERS: tuple[int, ...] = tuple(10**exponent for exponent in range(9))
_decode_many = msgspec.json.Decoder(list[Raw]).decode
T = TypeVar("T")


class Unit(NamedTuple):
    """A unit in which numbers become integers: its decimals, its least and greatest value, and the
    exact reader that also words the errors.
    """

    digits: int
    least: int
    greatest: int
    read: Callable[[str, str], int]


MONEY = Unit(6, 0, units.MONEY_MAX, units.money_micros)
PRICE = Unit(6, 1, units.PRICE_MAX, units.price_micros)
RATIO = Unit(6, 1, units.RATIO_MAX, units.ratio_micros)
WEIGHT = Unit(6, 0, units.RATIO_MAX, units.weight_micros)
QUANTITY = Unit(8, 1, units.QUANTITY_MAX, units.quantity_e8)
POSITION = Unit(8, 0, units.QUANTITY_MAX, units.signed_quantity_e8)


class MessageError(BadInputError):
    """A message breaks the protocol: `reason` is a code, and the text says what was expected and
    what was found.
    """

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(reason, text[:ERROR_CHARACTERS_MAX])


def elements(data: bytes) -> list[Raw]:
    """Split a message into its objects: the array's, or the one that it is. Raises:
    MessageError.
    """
    if data.lstrip(b" \t\r\n")[:1] != b"[":
        return [Raw(data)]
    found = decoded(_decode_many, data, "array")
    if not 0 < len(found) <= ELEMENTS_COUNT_MAX:
        raise MessageError(
            "size", f"array: expected 1 to {ELEMENTS_COUNT_MAX} elements, found {len(found)}"
        )
    return found


def walk_each(data: bytes, read: Callable[[Raw], T]) -> Iterator[T]:
    """Read a message's objects, one after the other; of several, an error names the place of the
    first that is wrong, from 0. Raises: MessageError.
    """
    found = elements(data)
    for place, element in enumerate(found):
        try:
            taken = read(element)
        except MessageError as error:
            if len(found) == 1:
                raise
            raise MessageError(error.reason, f"element {place}: {error}") from None
        yield taken


def element_of(decoder: msgspec.json.Decoder[T], element: Raw) -> T:
    """Decode one object. Raises: MessageError."""
    data = bytes(element)
    if len(data) > ELEMENT_BYTES_MAX:
        raise MessageError(
            "size", f"object: expected at most {ELEMENT_BYTES_MAX} bytes, found {len(data)}"
        )
    return decoded(decoder.decode, data, "object")


def decoded(decode: Callable[[bytes], T], data: bytes, what: str) -> T:
    """Run a decoder, and word its errors briefly. Raises: MessageError."""
    try:
        return decode(data)
    except msgspec.ValidationError as error:
        raise MessageError("malformed", f"{what}: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MessageError(
            "malformed", f"{what}: expected JSON, found {len(data)} bytes: {error}"
        ) from None
    except RecursionError:
        raise MessageError(
            "malformed", f"{what}: expected flat JSON, found it nested too deeply"
        ) from None


def subject_ids(subject: str, first: str, tokens_count: int) -> list[str]:
    """Read the ids of a subject. Raises: MessageError."""
    head, *rest = subject.split(".")
    if head != first or len(rest) != tokens_count - 1 or not all(map(is_id, rest)):
        raise MessageError(
            "subject",
            f"subject: expected {first} and {tokens_count - 1} ids of 1 to 64 "
            f"of [A-Za-z0-9_-], found {shown(subject)}",
        )
    return rest


def agree(found: str | None, expected: str, what: str) -> None:
    """Check what a payload repeats of its subject. Raises: MessageError."""
    if found is not None and found != expected:
        raise MessageError(
            "subject", f"{what}: expected {expected} as in the subject, found {shown(found)}"
        )


def checked_id(text: str, what: str) -> str:
    """Check an id. Raises: MessageError."""
    if not is_id(text):
        raise MessageError("id", f"{what}: expected 1 to 64 of [A-Za-z0-9_-], found {shown(text)}")
    return text


def checked_symbol(text: str) -> str:
    """Check a symbol. Raises: MessageError."""
    if not 0 < len(text) <= SYMBOL_CHARACTERS_MAX or not text.isprintable():
        raise MessageError(
            "symbol",
            f"symbol: expected 1 to {SYMBOL_CHARACTERS_MAX} "
            f"printable characters, found {shown(text)}",
        )
    return text


def short_text(text: str, what: str, characters_max: int) -> str:
    """Check a free text. Raises: MessageError."""
    if len(text) > characters_max or not text.isprintable():
        raise MessageError(
            "text",
            f"{what}: expected at most {characters_max} printable characters, found {shown(text)}",
        )
    return text


def order_id_of(text: str) -> OrderId:
    """Read a follower's order id. Raises: MessageError."""
    try:
        return unpack_order_id(*parse_order_id(text))
    except ValueError as error:
        raise MessageError("order_id", str(error)) from None


def time(text: str, what: str) -> int:
    """Read a time. Units: ns since the epoch. Raises: MessageError."""
    try:
        return units.time_ns(text if len(text) <= 64 else text[:64], what)
    except ValueError as error:
        raise MessageError("time", str(error)) from None


def number(raw: Raw, unit: Unit, what: str) -> int:
    """Read a JSON number, or a string that holds one. Raises: MessageError."""
    data = bytes(raw)
    plain = _PLAIN.match(data)
    if plain is not None:
        whole, fraction = plain.groups(b"")
        value: int = int(whole + fraction) * _POWERS[unit.digits - len(fraction)]
        if unit.least <= value <= unit.greatest:
            return value
    found = _NUMBER.match(data)
    if found is None:
        raise MessageError(
            "number",
            f"{what}: expected a decimal number, found {shown(str(data[:60], 'utf-8', 'replace'))}",
        )
    try:
        return unit.read(found[1].decode(), what)
    except ValueError as error:
        raise MessageError("number", str(error)) from None


def number_or(raw: Raw, unit: Unit, what: str, absent: int) -> int:
    """Read a number that may be missing or null. Raises: MessageError."""
    return absent if raw is ABSENT or bytes(raw) == b"null" else number(raw, unit, what)


def shown(text: str) -> str:
    """Quote a text for an error, cut short."""
    return repr(text if len(text) <= 60 else text[:57] + "...")
