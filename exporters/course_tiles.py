"""The tiles of a network's own course: what an export calibrates with and is proven on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .checkpoint import Checkpoint, is_checkpoint, load_checkpoint, read_torch
from .datasets import Chips
from .errors import ExportError
from .fit import course_of
from .int8_gate import Judge
from .records import PackageInfo
from .registry import is_own, network_named, networks
from .source import deploy_of
from .tiles import Tiles
from .training.course import ShowsTiles

COURSE = "course"
"""Where a checkpoint's notes hold the settings of its course; see ``fit.fit_network``."""


def zoo_checkpoint(source: str) -> Checkpoint | None:
    """The checkpoint in ``source`` if it is one whose network has a deploy function, else None."""
    path = Path(source)
    if path.suffix == ".onnx" or not path.is_file() or not is_checkpoint(read_torch(path)):
        return None
    checkpoint = load_checkpoint(path)
    return None if deploy_of(checkpoint) is None else checkpoint


def course_for(checkpoint: Checkpoint, data: Path, **settings: Any) -> ShowsTiles:
    """The course that the checkpoint was trained by, on ``data``; ``settings`` go over those it was trained with.

    ExportError where the course shows no tiles.
    """
    return _course(checkpoint.network, checkpoint.size, checkpoint.notes, data, settings)


def judge_of(course: ShowsTiles) -> Judge | None:
    """The course's own figures of a package's answers; None where it has no way to judge them."""
    judge: Judge | None = getattr(course, "figures", None)
    return judge


def package_tiles(info: PackageInfo, data: Path, split: str) -> Chips | Tiles | None:
    """The tiles that a package of the zoo was proven on; None where its network is not one with a deploy function."""
    if is_own(info.network) or info.network not in networks() or network_named(info.network).deploy is None:
        return None
    return _course(info.network, info.training.get("size", "published"), info.training, data, {}).tiles(split)


def _course(name: str, size: str, notes: Mapping[str, Any], data: Path, settings: Mapping[str, Any]) -> ShowsTiles:
    kept = notes.get(COURSE, {})
    seed = notes.get("training", {}).get("seed", 7)
    course: Any = course_of(name, data, size=size, **{"seed": seed, **kept, **settings})
    if not hasattr(course, "tiles"):
        raise ExportError(f"The course of {name} shows no tiles. Call export_checkpoint with tiles of your own.")
    shows: ShowsTiles = course
    return shows
