"""Reads a TOML table into a frozen dataclass, or says which key is wrong and what would be right.

The dataclass is schema, defaults and documentation. ``key`` adds the allowed range to a field; the runtime's mission
file
uses the same reader.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import sys
import types
import typing
from collections.abc import Mapping
from datetime import date, time
from pathlib import Path
from typing import Any, TypeVar, cast

from .errors import ScenarioError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

T = TypeVar("T")


@dataclasses.dataclass(frozen=True, slots=True)
class Range:
    """What a number or word may be. ``low`` and ``high`` are inclusive, ``above`` is not."""

    low: float | None = None
    high: float | None = None
    above: float | None = None
    choices: tuple[str, ...] = ()

    def words(self) -> str:
        """Return the range as a person would say it."""
        if self.choices:
            return "one of " + ", ".join(self.choices)
        parts = [
            f"above {self.above:g}" if self.above is not None else "",
            f"at least {self.low:g}" if self.low is not None else "",
            f"at most {self.high:g}" if self.high is not None else "",
        ]
        return " and ".join(part for part in parts if part) or "a finite number"

    def admits(self, value: float) -> bool:
        """Tell whether a finite number lies inside."""
        return (
            math.isfinite(value)
            and (self.low is None or value >= self.low)
            and (self.high is None or value <= self.high)
            and (self.above is None or value > self.above)
        )


def key(
    default: Any = dataclasses.MISSING,
    *,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    choices: tuple[str, ...] = (),
    quiet: bool = False,
) -> Any:
    """Return a dataclass field whose values are checked on reading. ``quiet``: left out of ``to_plain`` while it has
    its default, so that a key added later changes no hash."""
    metadata = {"range": Range(low, high, above, choices), "quiet": quiet}
    if isinstance(default, (dict, list)):
        return dataclasses.field(default_factory=lambda: type(default)(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def read_toml(path: Path) -> dict[str, Any]:
    """Parse a TOML file; ``ScenarioError`` names the file and, for broken TOML, the place."""
    try:
        with path.open("rb") as stream:
            return tomllib.load(stream)
    except OSError as error:
        raise ScenarioError(f"{path} cannot be read: {error.strerror}. Check the path.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ScenarioError(f"{path} is not valid TOML: {error}. Correct that line.") from error


def read_table(cls: type[T], table: object, *, source: str, section: str = "") -> T:
    """Return ``cls`` filled from ``table``; every unknown key, wrong type or value out of range is a
    ``ScenarioError``."""
    if not isinstance(table, Mapping):
        raise ScenarioError(f"{source}: [{section}] = {table!r} is not a table. Write [{section}] with keys below it.")
    hints = typing.get_type_hints(cls)
    known = {field.name: field for field in dataclasses.fields(cast(Any, cls))}
    _refuse_unknown(table.keys() - known.keys(), sorted(known), source, section)
    values: dict[str, Any] = {}
    for name, field in known.items():
        where = f"{section}.{name}" if section else name
        if name in table:
            values[name] = _read_value(hints[name], table[name], field.metadata.get("range", Range()), source, where)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            place = f"to [{section}]" if section else "at the top of the file, or as a table"
            raise ScenarioError(f"{source}: {where} is missing. Add it {place}.")
    return cls(**values)


def to_plain(value: Any) -> Any:
    """Return a dataclass tree as tables, lists and scalars; ``None`` is left out, as in TOML."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        pairs = ((field, getattr(value, field.name)) for field in dataclasses.fields(value))
        return {field.name: to_plain(item) for field, item in pairs if item is not None and not _is_quiet(field, item)}
    if isinstance(value, Mapping):
        return {name: to_plain(item) for name, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [to_plain(item) for item in value]
    return value


def _is_quiet(field: dataclasses.Field[Any], item: Any) -> bool:
    return bool(field.metadata.get("quiet")) and item in (field.default, {}, ())


def override(table: Mapping[str, Any], overrides: Mapping[str, str]) -> dict[str, Any]:
    """Return ``table`` with dotted keys replaced, each text read as a TOML value, else as a plain string.

    >>> override({"power": {"bus_w": 4.0}}, {"power.bus_w": "5"})
    {'power': {'bus_w': 5}}
    """
    changed: dict[str, Any] = dict(table)
    for dotted, text in overrides.items():
        *parents, last = dotted.split(".")
        node = changed
        for parent in parents:
            child = node.get(parent, {})
            if not isinstance(child, Mapping):
                raise ScenarioError(f"override {dotted}={text}: {parent} is not a section. Use SECTION.KEY=VALUE.")
            node[parent] = node = dict(child)
        node[last] = _parse_scalar(text)
    return changed


def _parse_scalar(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _refuse_unknown(unknown: typing.AbstractSet[Any], known: list[str], source: str, section: str) -> None:
    for name in sorted(map(str, unknown)):
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f"Did you mean {close[0]}?" if close else f"Use one of: {', '.join(known)}."
        raise ScenarioError(f"{source}: {f'{section}.' if section else ''}{name} is not a known key. {hint}")


def _read_value(hint: Any, value: Any, allowed: Range, source: str, where: str) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return _read_value(next(arg for arg in args if arg is not type(None)), value, allowed, source, where)
    if dataclasses.is_dataclass(hint):
        return read_table(cast(type, hint), value, source=source, section=where)
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise ScenarioError(f"{source}: {where} = {value!r} is not a list. Write [...].")
        return tuple(_read_value(args[0], item, allowed, source, f"{where}[{i}]") for i, item in enumerate(value))
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            raise ScenarioError(f"{source}: {where} = {value!r} is not a table. Write NAME = VALUE pairs.")
        return {str(k): _read_value(args[1], item, allowed, source, f"{where}.{k}") for k, item in value.items()}
    return _read_scalar(hint, value, allowed, source, where)


def _read_scalar(hint: type, value: Any, allowed: Range, source: str, where: str) -> Any:
    if hint is bool and isinstance(value, bool):
        return value
    if hint is str and isinstance(value, (date, time)):
        return value.isoformat()
    if hint is str and isinstance(value, str):
        if allowed.choices and value not in allowed.choices:
            raise ScenarioError(f"{source}: {where} = {value!r} is not known. Use {allowed.words()}.")
        return value
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if (hint is float and is_number) or (hint is int and isinstance(value, int) and is_number):
        if not allowed.admits(float(value)):
            raise ScenarioError(f"{source}: {where} = {value!r} is out of range. It must be {allowed.words()}.")
        return float(value) if hint is float else value
    kind = {bool: "true or false", str: "a text in quotes", int: "a whole number", float: "a number"}[hint]
    raise ScenarioError(f"{source}: {where} = {value!r} has the wrong type. Write {kind}.")
