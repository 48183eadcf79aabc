"""JSON that any reader takes: RFC 8259 knows neither NaN nor Infinity, so a number that does not exist is null."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any


def strict_json(value: object, indent: int | None = None, ensure_ascii: bool = True) -> str:
    """Return ``value`` as JSON text; what JSON has no word for, such as a path, becomes its ``str``.

    >>> strict_json({"accuracy_frac": math.nan, "charge": [0.5, math.inf]})
    '{"accuracy_frac": null, "charge": [0.5, null]}'
    """
    return json.dumps(finite(value), indent=indent, default=str, allow_nan=False, ensure_ascii=ensure_ascii)


def finite(value: Any) -> Any:
    """Return ``value``, within tables and lists too, with None for every number that is none."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(one) for key, one in value.items()}
    return [finite(one) for one in value] if isinstance(value, list | tuple) else value
