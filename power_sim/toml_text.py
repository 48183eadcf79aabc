"""Writes a table as TOML: what ``to_plain`` makes of a dataclass tree, and no more."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from .errors import PowerSimError


def toml_text(table: Mapping[str, Any]) -> str:
    """Return a table of tables, lists, texts, numbers and truth values as TOML that reads back equal.

    A list holds tables only, or none. ``PowerSimError`` for a value that TOML has no word for.

    >>> print(toml_text({"name": "a", "orbit": {"slot_s": 180.0}, "pool": {"models": [{"name": "b"}]}}), end="")
    name = "a"
    <BLANKLINE>
    [orbit]
    slot_s = 180.0
    <BLANKLINE>
    [[pool.models]]
    name = "b"
    """
    return "\n".join(_lines(table, "")).lstrip("\n") + "\n"


def _lines(table: Mapping[str, Any], prefix: str) -> Iterator[str]:
    """Yield plain keys before tables, as TOML wants it."""
    yield from (f"{_key(name)} = {_value(item)}" for name, item in table.items() if not _is_nested(item))
    for name, item in table.items():
        if not _is_nested(item):
            continue
        path = f"{prefix}{_key(name)}"
        if not isinstance(item, Mapping):
            for entry in item:
                yield from ("", f"[[{path}]]", *_lines(entry, f"{path}."))
            continue
        if not item or not all(map(_is_nested, item.values())):
            yield from ("", f"[{path}]")
        yield from _lines(item, f"{path}.")


def _is_nested(item: Any) -> bool:
    return isinstance(item, Mapping) or (isinstance(item, list) and bool(item) and isinstance(item[0], Mapping))


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _value(name)


def _value(item: Any) -> str:
    if isinstance(item, bool):
        return str(item).lower()
    if isinstance(item, (int, float)):
        return repr(item)
    if isinstance(item, str):
        return json.dumps(item, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(item, list):
        return f"[{', '.join(map(_value, item))}]"
    raise PowerSimError(f"{item!r} cannot be written as TOML. Give texts, numbers, truth values, lists and tables.")
