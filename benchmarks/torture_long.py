"""The parts of ``torture.py`` that take their time: two processes and their deaths, and a week of slots."""

from __future__ import annotations

import json
import os
import resource
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from torture_mission import Mission, promises_kept, slot_of
from torture_strikes import ended, kill_group, start

from runtime import faults
from runtime.downlink import DownlinkSession, Pacing
from runtime.downlink.links import UdpLink
from runtime.ground.direct import DirectLink
from runtime.ground.station import opened, run_ground, run_recording
from runtime.store import Limits, ProductStore

STATION_POINTS = ("ground.record.after_write", "ground.acknowledge.after_send")
"""Passed only by a station that is a process of its own."""
GIVE_UP_S = 1800.0
PACKETS = "packets.bin"
Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Duet:
    """What a spacecraft and a station over UDP have come to. All but ``products`` and ``kills`` must be 0."""

    kills: int
    products: int
    lost: int
    doubled: int
    miscounted: int
    promises_broken: int
    not_recorded: int
    """Products that the station's recording does not give back."""

    @property
    def good(self) -> bool:
        """Everything is where it has to be, once."""
        return not (self.lost or self.doubled or self.miscounted or self.promises_broken or self.not_recorded)


def random_kills(folder: Path, *, kills: int, slots: int, progress: Progress) -> Duet:
    """The groups of both processes are killed at random instants, each as often as it comes."""
    mission = Mission(folder / "random", slots)
    mission.folder.mkdir()
    rng = np.random.default_rng(5)
    port_file = folder / "random.port"
    ground = board = done = struck = 0
    started_s = time.monotonic()
    while (struck < kills or not done) and time.monotonic() - started_s < GIVE_UP_S:
        if not ground:
            port_file.unlink(missing_ok=True)
            ground = start(partial(station, mission, port_file))
        if not board:
            board = start(partial(spacecraft, mission, port_file))
        alone = struck >= kills
        time.sleep(0.05 if alone else float(rng.uniform(0.01, 0.25)))
        if (status := ended(board)) is not None:
            board, done = 0, int(status == 0)
            if done and not alone:  # the mission is over before the kills are: make it longer
                mission, done = replace(mission, slots=mission.slots + slots), 0
        elif not alone:
            struck += 1
            whom = rng.integers(3)
            board = kill_group(board) if whom != 1 else board
            ground = kill_group(ground) if whom != 0 else ground
            progress(struck)
    kill_group(ground, signal.SIGTERM)
    return concluded(mission, struck)


def station_killed(folder: Path, point: str, *, slots: int = 3) -> Duet:
    """The station dies at a named point of its own, and another one takes over."""
    mission = Mission(folder / point, slots)
    mission.folder.mkdir()
    port_file = folder / f"{point}.port"
    ground, board = start(partial(station, mission, port_file, point)), start(partial(spacecraft, mission, port_file))
    struck, started_s = 0, time.monotonic()
    while time.monotonic() - started_s < GIVE_UP_S:
        time.sleep(0.01)
        if (status := ended(ground)) is not None:
            struck += status == -signal.SIGKILL
            ground = start(partial(station, mission, port_file))
        if (status := ended(board)) is not None:
            if status == 0:
                break
            board = start(partial(spacecraft, mission, port_file))
    kill_group(ground, signal.SIGTERM)
    return concluded(mission, struck)


def concluded(mission: Mission, kills: int) -> Duet:
    """What is on board, at the station and in its recording."""
    wanted = {one.product_id for slot in range(mission.slots) for one in slot_of(slot)[2]}
    with ProductStore(mission.store) as store:
        delivered = store.counts().delivered_product
    ids = shown(mission.ground)
    run_recording(mission.folder / PACKETS, mission.folder / "replayed")
    return Duet(
        kills=kills,
        products=len(wanted),
        lost=len(wanted - set(ids)),
        doubled=len(ids) - len(set(ids)),
        miscounted=abs(delivered - len(wanted)),
        promises_broken=int(not promises_kept(mission)),
        not_recorded=len(wanted.symmetric_difference(shown(mission.folder / "replayed"))),
    )


def shown(ground: Path) -> list[str]:
    """The products on a station's map."""
    features = json.loads((ground / "products.geojson").read_text(encoding="utf-8"))["features"]
    return [feature["id"] for feature in features]


def station(mission: Mission, port_file: Path, point: str | None = None) -> None:
    """The station's process; it listens again where the one before it did, if its address is still there."""

    def announce(line: str) -> None:
        part = port_file.with_suffix(".part")
        part.write_text(json.loads(line)["listening"])
        part.replace(port_file)

    if point is not None:
        faults.arm(point, "kill")
    listen = port_file.read_text() if port_file.exists() else "127.0.0.1:0"
    run_ground(listen=listen, out=mission.ground, announce=announce, record=mission.folder / PACKETS)


def spacecraft(mission: Mission, port_file: Path) -> None:
    """The spacecraft's process: each slot anew, until all is down."""
    while not port_file.exists():
        time.sleep(0.005)
    pacing = Pacing(packet_byte=256, window_packet=8, answer_s=0.1, prompts=1)
    with ProductStore(mission.store) as store, closing(UdpLink.connect(port_file.read_text())) as link:
        session = DownlinkSession(store, link, pacing=pacing)
        last = store.last_decision()
        for slot in range(0 if last is None else last.slot, mission.slots):
            store.commit_slot(*slot_of(slot))
            session.run_pass(slot, 900)
        for slot in range(mission.slots, mission.slots + 20):
            if not store.backlog()[0]:
                return
            session.run_pass(slot, 100_000)
    raise SystemExit(4)


@dataclass(frozen=True, slots=True)
class Soak:
    """What days of slots have left. Grown: since a fifth of the time was over."""

    took_s: float
    memory_mb_a_day: float
    descriptors_grown: int
    threads_grown: int
    file_grown: float
    products_received: int
    products_shed: int


def soak(folder: Path, *, days: float, progress: Progress) -> Soak:
    """Days of one-minute slots with passes now and then: memory, descriptors, threads and the file stay flat."""
    mission = Mission(folder / "soak", int(days * 1440))
    mission.folder.mkdir()
    limits = Limits(waiting_product=5_000, delivered_product=5_000, tile=20_000, decision=1_000, transfer=100)
    rows: list[tuple[float, float, int, int, int]] = []
    started_s = time.monotonic()
    with ExitStack() as stack:
        store = stack.enter_context(ProductStore(mission.store, limits=limits))
        _, receiver = stack.enter_context(opened(mission.ground))
        session = DownlinkSession(store, DirectLink(receiver), clock=lambda: 0.0)
        for slot in range(mission.slots):
            store.commit_slot(*slot_of(slot))
            session.run_pass(slot, 20_000 if slot % 95 < 8 else 0)
            if slot % 60 == 0:
                rows.append((slot / 1440, resident_mb(), descriptors(), threads(), mission.store.stat().st_size))
                progress(slot)
        shed, came = store.counts().shed_product, receiver.counts["products"]
    warm = rows[len(rows) // 5 :]
    slope = float(np.polyfit([row[0] for row in warm], [row[1] for row in warm], 1)[0]) if days > 1 else 0.0
    return Soak(
        took_s=time.monotonic() - started_s,
        memory_mb_a_day=slope,
        descriptors_grown=max(row[2] for row in warm) - warm[0][2],
        threads_grown=max(row[3] for row in warm) - warm[0][3],
        file_grown=max(row[4] for row in warm) / warm[0][4],
        products_received=came,
        products_shed=shed,
    )


def resident_mb() -> float:
    """Memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def descriptors() -> int:
    """Open files of this process."""
    return len(os.listdir("/proc/self/fd"))


def threads() -> int:
    """Threads of this process."""
    return len(os.listdir("/proc/self/task"))
