"""What this machine has, what is missing, and what to do about it."""

from __future__ import annotations

import importlib.util
import shutil
import sqlite3
import sys
from dataclasses import dataclass
from pathlib import Path

from exporters.errors import KeyFileError
from exporters.keys import load_trust

from .home import DEPLOY
from .meters import INA3221_ROOT, find_rails

ENOUGH_DISK_BYTE = 1 << 30
OLDEST_SQLITE = (3, 37)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. ``good`` is false where something needed is missing; ``advice`` says what to do."""

    what: str
    good: bool
    found: str
    advice: str = ""

    def line(self) -> str:
        """Return the finding for a person."""
        return (
            f"{'ok ' if self.good else '!! '} {self.what:<16} {self.found}{f'. {self.advice}' if self.advice else ''}"
        )


def examine() -> list[Finding]:
    """Look at engines, meters, disk, database and keys. Changes nothing."""
    return [python(), onnx_engine(), tensorrt_engine(), meter(), disk(Path.cwd()), database(), keys(DEPLOY / "keys")]


def python() -> Finding:
    """Return the interpreter's version."""
    return Finding(
        "python",
        sys.version_info >= (3, 10),
        sys.version.split()[0],
        "" if sys.version_info >= (3, 10) else "Use 3.10 or newer.",
    )


def onnx_engine() -> Finding:
    """Return which execution providers ONNX Runtime offers."""
    if importlib.util.find_spec("onnxruntime") is None:
        return Finding("onnxruntime", False, "not installed", "Install it with: pip install 'subsolar[cpu]'")
    import onnxruntime

    offered = ", ".join(name.removesuffix("ExecutionProvider") for name in onnxruntime.get_available_providers())
    return Finding("onnxruntime", True, f"{onnxruntime.__version__} ({offered})")


def tensorrt_engine() -> Finding:
    """Return whether the vendor's TensorRT bindings can be seen; they are not needed on a laptop."""
    if importlib.util.find_spec("tensorrt") is None:
        advice = "On a Jetson, make the environment with --system-site-packages so that JetPack's own is seen."
        return Finding("tensorrt", True, "not installed, not needed for replays", advice)
    return Finding("tensorrt", True, "bindings present")


def meter() -> Finding:
    """Return what can measure joules here."""
    rails = find_rails(INA3221_ROOT)
    if not rails:
        return Finding("energy meter", True, "none: joules will be estimates, and say so")
    return Finding("energy meter", True, f"INA3221 rails {', '.join(rail.name for rail in rails)}")


def disk(folder: Path) -> Finding:
    """Return the space that is left where results go."""
    free = shutil.disk_usage(folder).free
    return Finding(
        "disk", free > ENOUGH_DISK_BYTE, f"{free / 1e9:.1f} GB free", "" if free > ENOUGH_DISK_BYTE else "Free 1 GB."
    )


def database() -> Finding:
    """Return the version of SQLite in this Python."""
    good = sqlite3.sqlite_version_info >= OLDEST_SQLITE
    return Finding("sqlite", good, sqlite3.sqlite_version, "" if good else "Use a Python with SQLite 3.37 or newer.")


def keys(folder: Path) -> Finding:
    """Return the keys that packages are checked against."""
    try:
        trust = load_trust(folder)
    except KeyFileError as error:
        return Finding("trusted keys", False, "none", str(error))
    return Finding(
        "trusted keys",
        bool(trust),
        ", ".join(sorted(trust)) or "none",
        "" if trust else f"Put .pub.pem files into {folder}.",
    )
