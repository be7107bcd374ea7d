"""Section types: the structs that are written as sections, and the types of their fields.

A section is a frozen struct with a `TAG`. A field is an `int`, a `str`, a `Column`, an `Ascending`
column, `Texts`, or a group: a NamedTuple of integers such as `OrderKey`.

Fields are only ever appended, with a default, and tags are never reused.
"""

from functools import cache
from typing import Annotated, Any, ClassVar, TypeVar, get_args, get_origin, get_type_hints

import msgspec
import numpy as np
from numpy.typing import NDArray

Column = NDArray[np.int64]
"""Integers of any order, in one dimension."""
Ascending = Annotated[NDArray[np.int64], "ascending"]
"""Integers that never fall: stored as differences where that is smaller."""
Texts = list[str]
AppendedText = Annotated[str, "appended"]
"""A text at the end of a section that was appended later. It is left out while it is empty."""


class SectionError(ValueError):
    """Bytes are not the sections that they claim to be. The message says what was expected and
    what was found.
    """


class Section(msgspec.Struct, frozen=True, eq=False, gc=False):
    """The base of all sections. It is a struct because a section is made at every hop of a
    signal, and a struct costs a tenth of a dataclass.
    """

    TAG: ClassVar[int]
    IS_REQUIRED: ClassVar[bool] = True
    """False if a reader that does not know the section may skip it."""


S = TypeVar("S", bound=Section)


def names_of(section_type: type[Section]) -> tuple[str, ...]:
    """Return the names of a section's fields, in order of declaration."""
    return section_type.__struct_fields__


def group_of(hint: Any) -> type[Any] | None:
    """Return the NamedTuple of integers that a field's type is, or None for any other type."""
    if not (isinstance(hint, type) and issubclass(hint, tuple)):
        return None
    assert set(get_type_hints(hint).values()) == {int}, f"{hint.__name__}: expected only integers"
    return hint


def is_text(hint: Any) -> bool:
    """Return whether a field's type is a text, appended or not."""
    return hint is str or hint == AppendedText


def is_ascending(hint: Any) -> bool:
    """Return whether a field's type is `Ascending`."""
    return get_origin(hint) is Annotated and "ascending" in get_args(hint)


def flat_fields(section_type: type[Section]) -> list[tuple[str, Any]]:
    """List the name and type of each field as it is written: `key.leg` for an integer of the group
    `key`.
    """
    hints = get_type_hints(section_type, include_extras=True)
    found: list[tuple[str, Any]] = []
    for name in names_of(section_type):
        group = group_of(hints[name])
        if group is None:
            found.append((name, hints[name]))
        else:
            found += [(f"{name}.{each}", int) for each in group._fields]
    return found


@cache
def trailing_defaults(section_type: type[Section]) -> tuple[tuple[str, Any], ...]:
    """Return the integers, groups and appended texts with a default at the end of a section, the
    last one first.
    """
    found = []
    hints = get_type_hints(section_type, include_extras=True)
    pairs = zip(
        reversed(names_of(section_type)), reversed(section_type.__struct_defaults__), strict=False
    )
    for name, default in pairs:
        if not isinstance(default, int | tuple) and hints[name] != AppendedText:
            break
        found.append((name, default))
    return tuple(found)


def left_out_count(section: Section) -> int:
    """Count the last fields of `trailing_defaults` that hold their default."""
    defaults = trailing_defaults(type(section))
    for count, (name, default) in enumerate(defaults):
        if getattr(section, name) != default:
            return count
    return len(defaults)


def tags(*section_types: type[Section]) -> dict[int, type[Section]]:
    """Index section types by tag; a tag stands for one type only."""
    index = {section_type.TAG: section_type for section_type in section_types}
    assert len(index) == len(section_types), "two section types share a tag"
    return index


def column_of(*values: int) -> Column:
    """Make a column of a few values."""
    return np.array(values, np.int64)
