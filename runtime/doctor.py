"""What this machine has, what is missing, and what to do about it."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sqlite3
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, cast

from exporters.errors import ExporterError, KeyFileError
from exporters.keys import load_trust
from exporters.onnx_runtime import import_onnxruntime
from policies.errors import PolicyError
from power_sim.errors import PowerSimError

from .errors import SubsolarError
from .home import DEPLOY
from .meters import INA3221_ROOT, find_rails

ENOUGH_DISK_BYTE = 1 << 30
OLDEST_SQLITE = (3, 37)
MADE_UNIX_S = 1_763_942_400.0
"""2025-11-24: a clock that says less was never set."""


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


def examine(mission: Path | None = None) -> list[Finding]:
    """Look at engines, meters, disk, database, clock and keys, and at what a mission asks for. Changes nothing."""
    findings = [
        python(),
        onnx_engine(),
        gpu(),
        tensorrt_engine(),
        meter(),
        battery(),
        temperature(),
        clock(),
        database(),
    ]
    if mission is None:
        return [*findings, disk(Path.cwd()), keys(DEPLOY / "keys")]
    return [*findings, *of_mission(mission)]


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
    onnxruntime = import_onnxruntime()
    offered = ", ".join(name.removesuffix("ExecutionProvider") for name in onnxruntime.get_available_providers())
    return Finding("onnxruntime", True, f"{onnxruntime.__version__} ({offered})")


def gpu(root: Path = Path("/")) -> Finding:
    """Return which GPU the kernel's driver knows: a Jetson's own, or a card's."""
    for name in ("etc/nv_tegra_release", "proc/driver/nvidia/version"):
        file = root / name
        if file.is_file():
            return Finding("gpu", True, file.read_text(errors="replace").strip().splitlines()[0][:80])
    return Finding("gpu", True, "none seen, the CPU works")


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


def battery(root: Path = Path("/sys/class/power_supply")) -> Finding:
    """Return which batteries the kernel knows."""
    names = sorted(
        path.name for path in root.glob("*") if (path / "capacity").exists() or (path / "energy_now").exists()
    )
    if not names:
        return Finding("battery", True, "none in the kernel", "Use [supply] kind = 'eps' or 'file' where there is one.")
    return Finding("battery", True, f"{', '.join(names)}: [supply] kind = 'power_supply', path = '{names[0]}'")


def temperature(root: Path = Path("/sys/class/thermal")) -> Finding:
    """Return where the module's temperature can be read."""
    zones = [
        f"{path.parent.name} ({text})"
        for path in sorted(root.glob("thermal_zone*/type"))
        if (text := path.read_text(errors="replace").strip())
    ]
    return Finding(
        "temperature", True, ", ".join(zones) or "no sensor: it is reckoned from the scenario's thermal node"
    )


def clock(marker: Path = Path("/run/systemd/timesync/synchronized"), now_unix_s: float | None = None) -> Finding:
    """Return whether the clock can be meant: after this version was made, and set by somebody."""
    now = time.time() if now_unix_s is None else now_unix_s
    moment = datetime.fromtimestamp(now, timezone.utc).isoformat(timespec="seconds")
    if now < MADE_UNIX_S:
        return Finding("clock", False, moment, "It lies in the past. Set it (date -u -s), or let GNSS or NTP do so.")
    synchronized = marker.exists()
    return Finding("clock", True, f"{moment}, {'synchronised' if synchronized else 'not known to be synchronised'}")


def of_mission(path: Path) -> list[Finding]:
    """Return what a mission file needs of this machine: the file itself, folders, keys, packages, supply."""
    from .daemon.mission import load_mission
    from .daemon.run import check_mission
    from .daemon.supply import supply_of

    mission = load_mission(path)
    section = mission.flight.mission
    supply = supply_of(mission.flight.supply, mission.at, time.time).read()
    return [
        _checked("mission", lambda: f"{mission.name}, sha256 {check_mission(path)['sha256'][:12]}"),
        _checked("packages", lambda: check_mission(path)["packages"]),
        writable("state folder", mission.state),
        writable("inbox", mission.at(mission.flight.source.inbox)),
        disk(_nearest(mission.state)),
        keys(mission.at(section.keys) if section.keys else DEPLOY / "keys"),
        Finding(
            "supply", not supply.problem, supply.problem or _told(supply), "Check [supply]." if supply.problem else ""
        ),
    ]


def writable(what: str, folder: Path) -> Finding:
    """Return whether a folder can be used, or made."""
    near = _nearest(folder)
    if os.access(near, os.W_OK | os.X_OK):
        return Finding(what, True, f"{folder}{'' if folder.is_dir() else ' can be made'}")
    advice = f"Make it: install -d -o {os.environ.get('USER', 'subsolar')} {folder}"
    return Finding(what, False, f"{folder} cannot be written by this user", advice)


def _nearest(folder: Path) -> Path:
    """Return the folder, or the nearest one above that exists."""
    return next(path for path in (folder, *folder.parents) if path.is_dir())


def _checked(what: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(what, True, look())
    except (SubsolarError, PowerSimError, ExporterError, PolicyError) as error:
        return Finding(what, False, "cannot be flown", str(error))


def _told(supply: object) -> str:
    said = {name: value for name, value in asdict(cast(Any, supply)).items() if value not in (None, "")}
    return ", ".join(f"{name} {value:g}" for name, value in said.items()) or "reckoned: no sensor"


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
