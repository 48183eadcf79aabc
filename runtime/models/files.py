"""Small state files that are whole at any instant: written beside, made durable, then given the name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..durable import whole
from ..errors import StoreError
from ..faults import fault


def write_state(path: Path, table: Mapping[str, Any]) -> None:
    """Replace ``path`` by ``table`` as JSON, durably; raises ``StoreError`` and leaves the old one where it cannot."""
    try:
        with whole(path, lambda: fault("models.state.before_rename")) as file:
            file.write(json.dumps(table, indent=1, sort_keys=True).encode())
        fault("models.state.after_rename")
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror}. What was in force stays in force.") from error


def read_state(path: Path) -> dict[str, Any]:
    """Return what was written last, nothing where nothing was; ``StoreError`` for a file that is damaged."""
    try:
        table = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise StoreError(f"{path} cannot be read: {error}. Restore it, or move it away to start anew.") from error
    if not isinstance(table, dict):
        raise StoreError(f"{path} holds no table. Restore it, or move it away to start anew.")
    return table
