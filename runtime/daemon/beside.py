"""What comes with a frame: further scenes of the same place, and how its camera looked.

Beside ``NAME.tif`` lie ``NAME.ROLE.tif`` for each role that the mission names, and ``NAME.sight.json``. They are in the
inbox before the frame is, move with it, and go when it goes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import FrameError
from ..frames import RasterFrame, Stack, open_frame

ENDINGS = (".tif", ".tiff", ".jp2")
SIGHT = "sight"
"""The role of the file that says how the camera looked."""
SIGHT_KEYS = ("gsd_m", "height_m", "focal_px", "heading_deg", "tilt_deg", "east_m", "north_m")
SIGHT_MOST_BYTE = 4096


@dataclass(frozen=True, slots=True)
class Company:
    """The files that go with frames. ``roles``: bands of each further scene, by its role."""

    roles: Mapping[str, Sequence[str]]

    def is_frame(self, name: str) -> bool:
        """Whether a file is a frame of its own."""
        return Path(Path(name).stem).suffix.removeprefix(".") not in (*self.roles, SIGHT)

    def of(self, path: Path) -> Iterator[tuple[str, Path]]:
        """Role and file of everything that lies beside a frame."""
        for role in self.roles:
            for ending in ENDINGS:
                beside = path.with_name(f"{path.stem}.{role}{ending}")
                if beside.is_file():
                    yield role, beside
                    break
        sight = path.with_name(f"{path.stem}.{SIGHT}.json")
        if sight.is_file():
            yield SIGHT, sight

    def missing(self, have: Mapping[str, Any], name: str) -> str:
        """Why a frame cannot be used with what came with it, empty where it can."""
        absent = [role for role in self.roles if role not in have]
        if not absent:
            return ""
        files = ", ".join(f"{Path(name).stem}.{role}.tif" for role in absent)
        return f"{files} did not come with it. Put them into the inbox before the frame"

    def open(self, path: Path, *, frame_id: str, tile_dtype: str, **given: Any) -> RasterFrame | Stack:
        """The frame with its further scenes laid over it. Raises ``FrameError`` for scenes of different places."""
        with ExitStack() as opened:
            first = opened.enter_context(open_frame(path, frame_id=frame_id, tile_dtype=tile_dtype, **given))
            if not self.roles:
                opened.pop_all()
                return first
            files = dict(self.of(path))
            others = {
                role: opened.enter_context(open_frame(files[role], band_names=tuple(names), tile_dtype=tile_dtype))
                for role, names in self.roles.items()
                if role in files
            }
            if why := self.missing(others, path.name):
                raise FrameError(f"{frame_id}: {why}.")
            stack = Stack(first, others)
            opened.pop_all()
            return stack


def read_sight(path: Path, frame_id: str) -> dict[str, float]:
    """What ``NAME.sight.json`` says of how a picture was taken; nothing where there is none.

    ``east_m`` and ``north_m``: where odometry has the camera, in a frame of its own. Raises ``FrameError``.
    """
    file = path.with_name(f"{path.stem}.{SIGHT}.json")
    if not file.is_file():
        return {}
    try:
        with file.open("rb") as opened:
            table = json.loads(opened.read(SIGHT_MOST_BYTE))
        values = {str(key): float(value) for key, value in table.items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise FrameError(f"{SIGHT}.json of {frame_id} is none: {error}. Write {', '.join(SIGHT_KEYS)}.") from error
    if wrong := sorted(set(values) - set(SIGHT_KEYS)):
        raise FrameError(f"{SIGHT}.json of {frame_id} has unknown keys {wrong}. Use {', '.join(SIGHT_KEYS)}.")
    if not all(map(math.isfinite, values.values())) or ("east_m" in values) != ("north_m" in values):
        raise FrameError(
            f"{SIGHT}.json of {frame_id} has values that are no number, or one of east_m and north_m alone. Correct it."
        )
    return values
