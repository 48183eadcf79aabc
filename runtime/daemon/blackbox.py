"""What was being worked on when the process died: written before a batch runs, wiped after the slot (R10).

One death proves nothing, a power cut looks the same. Two in a row with the same network and frame do: the network is
left out for a while, and the frame is not touched again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

PROVEN = 2


@dataclass(frozen=True, slots=True)
class Death:
    """The last words of a process that died in a slot. ``count``: deaths in a row."""

    model: str
    frames: tuple[str, ...]
    count: int


@dataclass
class BlackBox:
    """One small file. Never raises: a disk that refuses must not keep the craft from flying."""

    path: Path
    _count: int = field(default=0, init=False)
    _written: tuple[str, tuple[str, ...]] | None = field(default=None, init=False)

    def last(self) -> Death | None:
        """Return what a process before this one left, and count its death; ``None`` where it ended well."""
        try:
            left = json.loads(self.path.read_bytes())
            death = Death(str(left["model"]), tuple(map(str, left["frames"])), int(left["count"]) + 1)
        except (OSError, ValueError, KeyError, TypeError):
            return None
        self._count = death.count
        return death

    def working(self, model: str, frames: Sequence[str]) -> None:
        """Note what runs next."""
        now = (model, tuple(dict.fromkeys(frames)))
        if now == self._written:
            return
        partial = self.path.with_name(f".{self.path.name}.part")
        with suppress(OSError):
            partial.write_text(json.dumps({"model": model, "frames": now[1], "count": self._count}))
            os.replace(partial, self.path)
            self._written = now

    def well(self) -> None:
        """Note that the slot ended well."""
        if self._written is not None or self._count:
            with suppress(OSError):
                self.path.unlink(missing_ok=True)
            self._written, self._count = None, 0

    def left(self) -> None:
        """Note that the process ends on purpose, in the middle of whatever it was at."""
        with suppress(OSError):
            self.path.unlink(missing_ok=True)
