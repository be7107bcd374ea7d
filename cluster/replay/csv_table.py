"""Reading one CSV file strictly: a known header, exact numbers, and errors that name file, line,
field, expected and found.

A file is read and checked as a whole: up to `ERRORS_SHOWN_MAX` errors are reported at once. A byte
order mark, CRLF and blank lines are allowed. An unknown column is refused, because a misspelt limit
must not pass for no limit.
"""

import csv
import functools
import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from cluster.errors import UsageError
from engine.values.ids import is_id
from engine.values.units import UnitError, time_ns
from gateways.json.fields import MessageError, checked_symbol

ERRORS_SHOWN_MAX = 10

_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,3})?\Z")
_TRUE = frozenset({"true", "yes", "1"})
_FALSE = frozenset({"false", "no", "0"})


class InputError(UsageError):
    """The input files cannot be replayed; one line per error. Nothing was started."""


class FieldError(ValueError):
    """A field is not what it must be: `field: expected ..., found ...`."""


class Row:
    """One line of a table. Every reader strips blanks around the text and raises FieldError."""

    __slots__ = ("_values", "line")

    def __init__(self, line: int, values: dict[str, str]) -> None:
        self.line = line
        self._values = values

    def text(self, field: str) -> str:
        """Read a text; empty when the column or the value is missing."""
        return self._values.get(field, "").strip()

    def required(self, field: str) -> str:
        """Read a text that must be there."""
        text = self.text(field)
        if not text:
            raise FieldError(f"{field}: expected a value, found none")
        return text

    def identity(self, field: str) -> str:
        """Read an id."""
        text = self.required(field)
        if not is_id(text):
            raise FieldError(f"{field}: expected 1 to 64 of [A-Za-z0-9_-], found {shown(text)}")
        return text

    def symbol(self, field: str) -> str:
        """Read a symbol."""
        try:
            return checked_symbol(self.required(field))
        except MessageError as error:
            raise FieldError(str(error)) from None

    def number(self, field: str, read: Callable[[str, str], int]) -> int:
        """Read a number that must be there, exactly."""
        return self._number(self.required(field), field, read)

    def number_or(self, field: str, read: Callable[[str, str], int], absent: int) -> int:
        """Read a number that may be missing, exactly."""
        text = self.text(field)
        return self._number(text, field, read) if text else absent

    def time(self, field: str, suffix: str = "") -> int:
        """Read a time; `suffix` completes the file's text. Units: ns since the epoch."""
        text = self.required(field)
        try:
            return _time_ns(text + suffix, field)
        except UnitError as error:
            raise FieldError(str(error)) from None

    @staticmethod
    def _number(text: str, field: str, read: Callable[[str, str], int]) -> int:
        if not _NUMBER.match(text):
            raise FieldError(f"{field}: expected a decimal number, found {shown(text)}")
        try:
            return read(text, field)
        except UnitError as error:
            raise FieldError(str(error)) from None

    def choice(self, field: str, choices: tuple[str, ...], absent: str = "") -> str:
        """Read one of a few words."""
        text = self.text(field) or absent
        if text not in choices:
            found = shown(text) if text else "none"
            raise FieldError(f"{field}: expected one of {', '.join(choices)}, found {found}")
        return text

    def flag(self, field: str) -> bool | None:
        """Read true or false; None when the value is missing."""
        text = self.text(field).lower()
        if text and text not in _TRUE | _FALSE:
            raise FieldError(f"{field}: expected true or false, found {shown(text)}")
        return text in _TRUE if text else None


class CsvTable:
    """One input file and the errors found in it."""

    def __init__(
        self, path: Path, *, required: tuple[str, ...], optional: tuple[str, ...] = ()
    ) -> None:
        self.path = path
        self._required = required
        self._known = (*required, *optional)
        self._errors: list[str] = []

    def rows(self) -> Iterator[Row]:
        """Yield the rows. An error of the whole file ends it. Raises: InputError."""
        reader = csv.reader(io.StringIO(self._text(), newline=""), strict=True)
        header: list[str] | None = None
        try:
            for values in reader:
                if not any(value.strip() for value in values):
                    continue
                if header is None:
                    header = self._header([value.strip() for value in values], reader.line_num)
                elif len(values) != len(header):
                    found = f"found {len(values)}"
                    self.refuse(
                        reader.line_num,
                        f"row: expected {len(header)} fields as in the header, {found}",
                    )
                else:
                    yield Row(reader.line_num, dict(zip(header, values, strict=True)))
        except csv.Error as error:
            self.refuse(reader.line_num, f"row: expected comma-separated values, found: {error}")
        if header is None:
            self.refuse(1, f"header: expected {','.join(self._required)}, found an empty file")

    def refuse(self, line: int, text: str) -> None:
        """Note an error. Raises: InputError when there are too many."""
        self._errors.append(f"{self.path}:{line}: {text}")
        if len(self._errors) >= ERRORS_SHOWN_MAX:
            self._errors.append(f"{self.path}: these are the first {ERRORS_SHOWN_MAX} errors")
            self.check()

    def check(self) -> None:
        """Refuse the file if an error was noted. Raises: InputError."""
        if self._errors:
            raise InputError("\n".join(self._errors))

    def _text(self) -> str:
        try:
            data = self.path.read_bytes()
        except OSError as error:
            raise InputError(
                f"{self.path}: expected a readable file, found: {error.strerror}"
            ) from None
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            raise InputError(
                f"{self.path}:{line}: text: expected UTF-8, found byte "
                f"0x{data[error.start]:02x}; save the file as UTF-8"
            ) from None

    def _header(self, names: list[str], line: int) -> list[str]:
        missing = [name for name in self._required if name not in names]
        unknown = [name for name in names if name not in self._known]
        repeated = sorted({name for name in names if names.count(name) > 1})
        for what, found in (("not known", unknown), ("given twice", repeated)):
            for name in found:
                self.refuse(
                    line,
                    f"header: expected columns of {','.join(self._known)}, "
                    f"found {shown(name)}, which is {what}",
                )
        for name in missing:
            self.refuse(line, f"header: expected column {name}, found {','.join(names)[:200]}")
        self.check()
        return names


# Dates repeat for every symbol.
_time_ns = functools.lru_cache(maxsize=1024)(time_ns)


def shown(text: str) -> str:
    """Return a text quoted for an error message, shortened."""
    return repr(text if len(text) <= 60 else text[:57] + "...")
