"""A small craft on a test's own clock: real networks in signed packages, real images, a real daemon."""

from __future__ import annotations

import importlib.util
import os
import queue
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from exporters.keys import load_private, new_key
from exporters.package import Golden, write_package
from runtime.daemon.daemon import Daemon
from runtime.daemon.run import daemon_of
from runtime.engines import Vendor

_spec = importlib.util.spec_from_file_location("runtime_conftest", Path(__file__).parents[1] / "conftest.py")
assert _spec is not None
assert _spec.loader is not None
colours: Any = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(colours)

T = TypeVar("T")
EDGE_PX = 16
START_UNIX_S = 1_772_323_200.0  # 2026-03-01, the epoch of the orbit below

MISSION = """
name = "test-craft"

[orbit]
kind = "sgp4"
start_utc = "2026-03-01T00:00:00Z"
slot_s = 180.0
altitude_km = 500.0
sun_synchronous = true
ltdn_h = 10.5

[power]
panel_mount = "tracking"
panel_m2 = 0.05
battery_wh = 28.0
reserve_frac = 0.7
initial_charge_min_frac = 0.95
bus_w = 6.0
idle_compute_w = 2.0

[thermal]
enabled = true

[workload]
queue_max_tile = 1000

[workload.covers.land]
tile_per_s = 0.1
value = 2.0

[workload.covers.sea]
tile_per_s = 0.1
value = 0.5
queue = false

[[pool.models]]
name = "thrifty"
package_id = "thrifty"
accuracy_min_frac = 0.8
accuracy_max_frac = 0.8
energy_min_j = 0.001
energy_max_j = 0.001
time_min_s = 0.0001
time_max_s = 0.0001

[[pool.models]]
name = "accurate"
package_id = "accurate"
accuracy_min_frac = 0.9
accuracy_max_frac = 0.9
energy_min_j = 0.004
energy_max_j = 0.004
time_min_s = 0.0004
time_max_s = 0.0004

[policy]
name = "greedy"

[link]
rate_bps = 100000.0

[link.stations.pole]
latitude_deg = 78.0
longitude_deg = 15.0

[mission]
state = "state"
packages = "packages"
keys = "keys"

[source]
cover = "land"

[supply]
kind = "file"
path = "eps.txt"
max_age_s = 86400.0

[radio]
kind = "folder"
answer_s = 0.02
"""


@dataclass
class TestClock:
    """Time that passes only where somebody waits."""

    __test__ = False
    now_s: float = 1000.0
    utc_s: float = START_UNIX_S

    def monotonic_s(self) -> float:
        return self.now_s

    def unix_s(self) -> float:
        return self.utc_s

    def wait(self, wakes: queue.SimpleQueue[T], seconds: float) -> T | None:
        try:
            return wakes.get_nowait()
        except queue.Empty:
            self.pass_s(max(seconds, 0.0))
            return None

    def pass_s(self, seconds: float) -> None:
        self.now_s += seconds
        self.utc_s += seconds


def write_colour_package(
    folder: Path, name: str, key: Ed25519PrivateKey | None, *, version: int = 1, **changes: Any
) -> Path:
    """A signed package of the colour network; ``golden``, ``onnx``, ``accuracy``, ``energy_j``, ``tile_s`` vary it."""
    tiles = np.random.default_rng(5).integers(0, 256, (3, 3, EDGE_PX, EDGE_PX), dtype=np.uint8)
    profile = colours.colour_profile()
    entry = replace(
        profile.measurements[0],
        energy_j_per_tile=changes.get("energy_j", 1e-3),
        tile_s=changes.get("tile_s", 1e-4),
    )
    accuracy = replace(profile.accuracy, value=changes.get("accuracy", 0.9))
    write_package(
        folder,
        onnx=changes.get("onnx", colours.colour_graph(EDGE_PX)),
        info=replace(changes.get("info", colours.colour_info(EDGE_PX)), id=name, version=version),
        profile=replace(profile, accuracy=accuracy, measurements=(entry,)),
        golden=changes.get("golden", Golden(tiles, colours.colour_answers(tiles), 1e-5)),
        key=key,
        replace=True,
    )
    return folder


@dataclass
class Craft:
    """A mission folder, and the daemon that flies it."""

    folder: Path
    key: Ed25519PrivateKey
    clock: TestClock
    stack: ExitStack
    daemon: Daemon = field(init=False)
    edge_px: ClassVar[int] = EDGE_PX
    colours: ClassVar[Any] = colours
    package: ClassVar[Callable[..., Path]] = staticmethod(write_colour_package)

    @property
    def mission(self) -> Path:
        return self.folder / "mission.toml"

    def battery(self, charge_frac: float | None = None, text: str | None = None) -> None:
        (self.folder / "eps.txt").write_text(f"charge_frac={charge_frac} temperature_c=20" if text is None else text)
        os.utime(self.folder / "eps.txt", (self.clock.utc_s, self.clock.utc_s))

    def image(
        self,
        name: str = "scene.tif",
        rows: int = 64,
        cols: int = 64,
        seed: int = 0,
        fill: tuple[int, ...] = (),
        place: tuple[float, float] | None = None,
        squares: tuple[tuple[int, int, int, int], ...] = (),
    ) -> Path:
        import rasterio

        pixels = np.random.default_rng(seed).integers(0, 256, (3, rows, cols), dtype=np.uint8)
        if fill:
            pixels[:] = np.array(fill, dtype=np.uint8)[:, None, None]
        if squares:
            pixels[:] = 9
        for number, (left, top, right, bottom) in enumerate(squares):
            pixels[0, top:bottom, left:right], pixels[1, top:bottom, left:right] = 255, number + 1
        inbox = self.folder / "inbox"
        inbox.mkdir(exist_ok=True)
        profile: dict[str, Any] = {"driver": "GTiff", "dtype": "uint8", "count": 3, "height": rows, "width": cols}
        if place is not None:
            profile |= {"crs": "EPSG:4326", "transform": rasterio.Affine(1e-4, 0.0, place[0], 0.0, -1e-4, place[1])}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with rasterio.open(inbox / f".{name}", "w", **profile) as target:
                target.write(pixels)
                if fill:  # alike to the eye, not to the hash
                    target.update_tags(name=name)
        return (inbox / f".{name}").rename(inbox / name)

    def start(self, environment: dict[str, str] | None = None, vendor: Vendor | None = None) -> Daemon:
        flight = daemon_of(self.mission, self.clock, environment or {}, vendor=vendor)
        self.daemon = self.stack.enter_context(flight)
        return self.daemon

    def stop(self) -> None:
        self.stack.close()

    def fly(self, slots: int = 1) -> None:
        for _ in range(slots):
            self.daemon.fly_slot()
            self.clock.pass_s(180.0)

    def slot(self) -> Any:
        return self.daemon.status["slot"]

    def events(self) -> str:
        return " | ".join(event["text"] for event in self.daemon.status["events"])


@pytest.fixture
def make_craft(tmp_path: Path) -> Iterator[Callable[..., Craft]]:
    stack = ExitStack()

    def make(more: str = "", change: tuple[str, str] | None = None, start: bool = True) -> Craft:
        text = MISSION + more
        if change is not None:
            assert change[0] in text
            text = text.replace(*change)
        (tmp_path / "mission.toml").write_text(text)
        private, public = new_key(tmp_path / "ground", "launch")
        (tmp_path / "keys").mkdir()
        public.rename(tmp_path / "keys" / public.name)
        key = load_private(private)
        write_colour_package(tmp_path / "packages" / "thrifty", "thrifty", key, accuracy=0.8)
        write_colour_package(
            tmp_path / "packages" / "accurate", "accurate", key, accuracy=0.9, energy_j=4e-3, tile_s=4e-4
        )
        craft = Craft(tmp_path, key, TestClock(), stack)
        craft.battery(0.95)
        if start:
            craft.start()
        return craft

    yield make
    stack.close()


@pytest.fixture
def craft(make_craft: Callable[..., Craft]) -> Craft:
    return make_craft()
