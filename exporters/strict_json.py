"""Frozen records to JSON and back: every key known, every type checked, no NaN."""

from __future__ import annotations

import json
import types
from dataclasses import MISSING, asdict, fields, is_dataclass
from typing import Any, NoReturn, TypeVar, Union, get_args, get_origin, get_type_hints

from .errors import PackageError

_T = TypeVar("_T")


def to_json(record: Any) -> bytes:
    """A record as JSON: sorted keys, one byte sequence for one value."""
    try:
        text = json.dumps(asdict(record), indent=1, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise PackageError(
            f"{type(record).__name__} cannot be written as JSON: {error}. Use finite numbers."
        ) from error
    return (text + "\n").encode()


def from_json(cls: type[_T], content: bytes, where: str) -> _T:
    """The record that ``content`` describes; PackageError names the key that does not fit."""
    try:
        value = json.loads(content.decode("utf-8"), parse_constant=lambda word: _refuse_constant(word, where))
    except (ValueError, RecursionError) as error:
        raise PackageError(f"{where} is not JSON: {error}. Take the package from its source again.") from error
    record: _T = _decode(cls, value, where)
    return record


def _refuse_constant(word: str, where: str) -> NoReturn:
    raise PackageError(f"{where} contains {word}, which is no JSON number. Measure that value again.")


def _decode(wanted: Any, value: Any, where: str) -> Any:
    origin, parameters = get_origin(wanted), get_args(wanted)
    if wanted is Any:
        return value
    if is_dataclass(wanted):
        return _decode_record(wanted, value, where)
    if origin in (Union, types.UnionType):
        return None if value is None else _decode(next(p for p in parameters if p is not type(None)), value, where)
    if origin is tuple:
        return _decode_tuple(parameters, value, where)
    if origin is dict:
        return {
            key: _decode(parameters[1], item, f"{where}.{key}") for key, item in _expect(dict, value, where).items()
        }
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return _expect(wanted, value, where)


def _decode_record(cls: Any, value: Any, where: str) -> Any:
    table = _expect(dict, value, where)
    known = {field.name: field for field in fields(cls)}
    needed = {name for name, field in known.items() if field.default is MISSING and field.default_factory is MISSING}
    if unknown := sorted(table.keys() - known.keys()):
        raise PackageError(f"{where} has unknown keys {unknown}. A newer program may have written it: update this one.")
    if missing := sorted(needed - table.keys()):
        raise PackageError(f"{where} lacks {missing}. Take the package from its source again.")
    hints = get_type_hints(cls)
    return cls(**{name: _decode(hints[name], item, f"{where}.{name}") for name, item in table.items()})


def _decode_tuple(parameters: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    items = _expect(list, value, where)
    if len(parameters) == 2 and parameters[1] is Ellipsis:
        return tuple(_decode(parameters[0], item, f"{where}[{i}]") for i, item in enumerate(items))
    if len(items) != len(parameters):
        raise PackageError(f"{where} has {len(items)} items, {len(parameters)} are needed. Correct it.")
    return tuple(
        _decode(kind, item, f"{where}[{i}]") for i, (kind, item) in enumerate(zip(parameters, items, strict=True))
    )


def _expect(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise PackageError(
            f"{where} is {value!r:.60}, a {kind.__name__} is needed. Correct it, or take the package anew."
        )
    return value
