"""A configuration as text: all of it as TOML with secrets masked, or every option with its default
and description.
"""

from collections.abc import Iterator
from typing import Annotated, Any, NamedTuple, get_args, get_origin
from urllib.parse import urlsplit

import msgspec

from cluster.config.options import Config
from engine.values.ids import is_id

MASK = "********"


class Option(NamedTuple):
    """One field as the documentation shows it. `path` is dotted; `<name>` stands for the key of a
    table.
    """

    path: str
    default: object
    description: str


def render(config: Config) -> str:
    """Return a configuration as TOML that reads back to the same one, except that passwords in
    URLs are masked.
    """
    lines: list[str] = []
    for part in msgspec.structs.fields(Config):
        lines += _table(part.name, getattr(config, part.name))
    return "\n".join(lines).strip() + "\n"


def render_options() -> str:
    """Return a text with every option: its path, default and description."""
    rows = [
        (
            option.path,
            _toml(option.default) if option.default is not None else "unset",
            option.description,
        )
        for option in options()
    ]
    return "".join(
        f"{path} = {default}\n    {description}\n" for path, default, description in rows
    )


def options(struct: type[msgspec.Struct] = Config, prefix: str = "") -> Iterator[Option]:
    """List every field with its default and documentation, in file order."""
    for field in msgspec.structs.fields(struct):
        base, description = unwrapped(field.type)
        nested = struct_in(base)
        if nested is None:
            yield Option(prefix + field.name, field.default, description)
        else:
            inner = f"{prefix}{field.name}." + ("<name>." if get_origin(base) is dict else "")
            yield from options(nested, inner)


def unwrapped(annotation: Any) -> tuple[Any, str]:
    """Split an annotation into its base type and its documentation."""
    description = ""
    while get_origin(annotation) is Annotated:
        annotation, *metas = get_args(annotation)
        found = [
            meta.description
            for meta in metas
            if isinstance(meta, msgspec.Meta) and meta.description
        ]
        description = description or (found[-1] if found else "")
    return annotation, description


def struct_in(base: Any) -> type[msgspec.Struct] | None:
    candidate = get_args(base)[1] if get_origin(base) is dict else base
    return (
        candidate if isinstance(candidate, type) and issubclass(candidate, msgspec.Struct) else None
    )


def _table(name: str, value: object) -> list[str]:
    """Render one part; empty parts are left out."""
    if isinstance(value, dict):
        return [
            line for key, entry in value.items() for line in _table(f"{name}.{_key(key)}", entry)
        ]
    assert isinstance(value, msgspec.Struct)
    plain: list[str] = []
    nested: list[str] = []
    for field in msgspec.structs.fields(type(value)):
        item = getattr(value, field.name)
        if isinstance(item, (dict, msgspec.Struct)):
            nested += _table(f"{name}.{field.name}", item)
        elif item is not None:
            plain.append(f"{field.name} = {_toml(item)}")
    return [f"[{name}]", *plain, "", *nested]


def _key(key: str) -> str:
    return key if is_id(key) else _toml(key)


def _toml(value: object) -> str:
    # A JSON string is a TOML basic string, and so are JSON's true, false and integers.
    return msgspec.json.encode(masked(value) if isinstance(value, str) else value).decode()


def masked(text: str) -> str:
    parts = urlsplit(text) if "://" in text and "@" in text else None
    return text.replace(f":{parts.password}@", f":{MASK}@") if parts and parts.password else text
