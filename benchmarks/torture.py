"""Kills, power cuts, full and failing disks, and a week in minutes: does the mission lose or double anything?

`make bench-torture` prints a table and writes ``build/bench/torture.json``; ``--short`` is what the tests run.

A mission (store, passes, station, one file) is flown once undisturbed. Then it is flown again and again, struck at the
n-th disk call, at a named fault point or at a random instant, started again, and compared with the undisturbed one.
Needs Linux and a C compiler: the disk faults come from ``faulty_io.c``, preloaded.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import platform
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from runtime import faults
from runtime.cfdp import BOARD_ID, GROUND_ID, CfdpEntity, TransactionLog
from runtime.downlink import DownlinkSession, Pacing
from runtime.downlink.links import UdpLink
from runtime.errors import StoreError, SubsolarError
from runtime.ground.archive import Archive
from runtime.ground.direct import DirectLink
from runtime.ground.station import finish, opened, run_ground
from runtime.records import Footprint, Product, SlotRecord, TileOutcome, TileRef
from runtime.store import Limits, ProductStore

OUT = Path("build/bench/torture.json")
BUILD = Path("build/torture")
KILL, CUT, NO_SPACE, IO_ERROR = 1, 2, 3, 4
PARTS = ("store", "downlink", "ground", "cfdp")
"""Whose fault points a mission passes; those of the daemon and of updates have tests of their own."""
CHIP = bytes(range(256)) * 40
PRODUCTS_A_SLOT = 12
RESTART_BAR_S = 2.0
SHORT_SAMPLES = 10


@dataclass(frozen=True, slots=True)
class Mission:
    """A folder to fly in, and how far."""

    folder: Path
    slots: int

    @property
    def store(self) -> Path:
        """The spacecraft's store."""
        return self.folder / "store.sqlite"

    @property
    def promises(self) -> Path:
        """Outside the reach of disk faults: the slots that the store has promised to keep, one a line."""
        return self.folder.with_suffix(".promises")


@dataclass(slots=True)
class Tally:
    """What a campaign found."""

    runs: int = 0
    struck: int = 0
    lost: int = 0
    doubled: int = 0
    different: int = 0
    failed: int = 0
    longest_restart_s: float = 0.0

    @property
    def bad(self) -> int:
        """Runs that broke an invariant."""
        return self.lost + self.doubled + self.different + self.failed


def main() -> int:
    """Run all campaigns; 1 where an invariant broke or a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="a minute instead of many")
    parser.add_argument("--calls", default="", help="strike at these disk calls only, as FIRST:LAST")
    parser.add_argument("--only", choices=["points", "kills", "cuts", "disk", "random", "soak"], help="one campaign")
    options = parser.parse_args()
    library = preload()
    if library is None:
        return 2
    with tempfile.TemporaryDirectory(dir=BUILD) as folder:
        figures = campaigns(Path(folder).resolve(), library, options.calls, short=options.short, only=options.only)
    table = {
        "machine": f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}",
        "commit": commit(),
        "short": options.short,
        "figures": figures,
    }
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")
    for name, one in figures.items():
        bar = "" if one["bar"] is None else f"bar {one['bar']:g}"
        met = {True: "met", False: "MISSED", None: ""}[one["met"]]
        print(f"{name:<34} {one['value']:>12.6g} {one['unit']:<12} {bar:<12} {met}")
    return 0 if all(one["met"] is not False for one in figures.values()) else 1


def commit() -> str:
    """The commit that is tortured."""
    found = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return found.stdout.strip() or "unknown"


def preload() -> ctypes.CDLL | None:
    """The fault library; compiles it and starts this program again below it where that has not happened."""
    library = (BUILD / "faulty_io.so").resolve()
    if os.environ.get("LD_PRELOAD") == str(library):
        return ctypes.CDLL(None)
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or platform.system() != "Linux":
        print("torture needs Linux and a C compiler: install one (cc) and run it again", file=sys.stderr)
        return None
    BUILD.mkdir(parents=True, exist_ok=True)
    source = Path(__file__).with_name("faulty_io.c")
    part = library.with_suffix(f".{os.getpid()}")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", str(part), str(source), "-ldl"], check=True)
    part.replace(library)
    os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, "LD_PRELOAD": str(library)})


def campaigns(
    folder: Path, library: ctypes.CDLL, chosen: str, *, short: bool, only: str | None
) -> dict[str, dict[str, Any]]:
    """All figures by name."""
    figures: dict[str, dict[str, Any]] = {}
    undisturbed = Mission(folder / "undisturbed", 3 if short else 5)
    undisturbed.folder.mkdir()
    calls = counted(library, undisturbed)
    expected = outcome(undisturbed)
    add(figures, "disk_calls_a_mission", calls, "calls")

    def campaign(name: str, strikes: list[Callable[[Mission], None]], *, may_differ: bool = False) -> None:
        if only not in (None, name):
            return
        started_s = time.monotonic()
        tally = Tally()
        for number, strike in enumerate(strikes):
            trial = Mission(folder / f"{name}-{number}", undisturbed.slots)
            judge(trial, strike, expected, tally)
            progress(name, number + 1, len(strikes), tally)
        add(figures, f"{name}_runs", tally.runs, "runs")
        add(figures, f"{name}_struck", tally.struck, "runs")
        add(figures, f"{name}_products_lost", tally.lost, "runs", bar=0, at_most=True)
        add(figures, f"{name}_products_doubled", tally.doubled, "runs", bar=0, at_most=True)
        add(figures, f"{name}_different_end", tally.different, "runs", bar=0, at_most=True)
        add(figures, f"{name}_not_recovered", tally.failed, "runs", bar=0, at_most=True)
        add(figures, f"{name}_longest_restart", tally.longest_restart_s, "s", bar=RESTART_BAR_S, at_most=True)
        add(figures, f"{name}_took", time.monotonic() - started_s, "s")
        if name == "points":  # the station's answer is struck by the random kills alone: it leaves another process
            add(figures, "points_share", (tally.struck + 1) / len(ours), "frac", bar=1.0)

    step = max(1, calls // SHORT_SAMPLES) if short else 1
    first, _, last = chosen.partition(":")
    nth = list(range(int(first or 1), int(last or calls) + 1, step))
    ours = [point for point in faults.POINTS if point.partition(".")[0] in PARTS]
    points = sorted(set(ours) - {"ground.acknowledge.after_send"})
    campaign("points", [at_point(point) for point in points])
    campaign("kills", [at_call(library, KILL, number) for number in nth])
    campaign("cuts", [at_call(library, CUT, number, seed=number) for number in nth])
    full = [at_call(library, NO_SPACE, number, span=6, survives=True) for number in nth]
    broken = [at_call(library, IO_ERROR, number, span=0, survives=True) for number in nth]
    campaign("disk", full + broken)
    if only in (None, "random"):
        figures.update(random_kills(folder, kills=8 if short else 200, slots=30 if short else 300))
    if only in (None, "soak"):
        figures.update(soak(folder, days=0.2 if short else 7.0))
    return figures


def counted(library: ctypes.CDLL, mission: Mission) -> int:
    """Fly undisturbed and count the disk calls."""
    reader, writer = os.pipe()

    def run() -> None:
        library.faulty_arm(os.fsencode(mission.folder), 0, ctypes.c_long(0), ctypes.c_long(0), 0)
        fly(mission)
        library.faulty_seen.restype = ctypes.c_long
        os.write(writer, str(library.faulty_seen()).encode())

    status = in_child(run)
    os.close(writer)
    with os.fdopen(reader) as file:
        text = file.read()
    assert status == 0, "the undisturbed mission fails"
    return int(text)


def at_call(
    library: ctypes.CDLL, action: int, nth: int, *, span: int = 0, seed: int = 0, survives: bool = False
) -> Callable[[Mission], None]:
    """A mission that is struck at its n-th disk call; one that survives goes on as a daemon would."""

    def run(mission: Mission) -> None:
        folder = os.fsencode(mission.folder)
        library.faulty_arm(folder, action, ctypes.c_long(nth), ctypes.c_long(span), ctypes.c_uint(seed))
        fly_on(mission) if survives else fly(mission)

    return run


def at_point(point: str) -> Callable[[Mission], None]:
    """A mission that is killed at a named fault point."""

    def run(mission: Mission) -> None:
        faults.arm(point, "kill")
        fly(mission)

    return run


def judge(mission: Mission, strike: Callable[[Mission], None], expected: dict[str, Any], tally: Tally) -> None:
    """Fly with the strike, check what was promised, fly on, compare the end."""
    mission.folder.mkdir()
    tally.runs += 1
    tally.struck += in_child(lambda: strike(mission)) == -signal.SIGKILL
    tally.lost += not promises_kept(mission)
    started_s = time.monotonic()
    fresh = ready_again(mission)
    tally.longest_restart_s = max(tally.longest_restart_s, time.monotonic() - started_s)
    if not fresh or in_child(lambda: fly(mission)) != 0:
        tally.failed += 1
        return
    got = outcome(mission)
    tally.doubled += len(got["ids"]) != len(set(got["ids"])) or got["files"] != expected["files"]
    tally.different += got != expected
    if got == expected:
        shutil.rmtree(mission.folder)


def promises_kept(mission: Mission) -> bool:
    """Every slot that was promised is in the store, and all that counts as delivered is at the station."""
    promised = set(map(int, mission.promises.read_text().split())) if mission.promises.exists() else set()
    if not mission.store.exists():
        return not promised
    try:
        with ProductStore(mission.store) as store:
            kept = {record.slot for record in store.decisions()}
            delivered = {one.product_id for one in store.products(state="delivered")}
    except StoreError:
        traceback.print_exc()
        return False
    return promised <= kept and delivered <= received(mission)


def received(mission: Mission) -> set[str]:
    """What the station holds."""
    path = mission.folder / "ground" / "ground.sqlite"
    if not path.exists():
        return set()
    with closing(Archive(path)) as archive:
        return {one.product_id for one in archive.products()}


def ready_again(mission: Mission) -> bool:
    """Open everything that a mission needs, as after a restart."""
    try:
        with ExitStack() as stack:
            parts(mission, stack)
    except SubsolarError:
        traceback.print_exc()
        return False
    return True


def parts(mission: Mission, stack: ExitStack) -> tuple[ProductStore, DownlinkSession, CfdpEntity, Callable[[], object]]:
    """The mission's store, session and files, and what ends it; the station lives in the same process."""
    store = stack.enter_context(ProductStore(mission.store))
    log = stack.enter_context(closing(TransactionLog(mission.folder / "cfdp.sqlite")))
    files = stack.enter_context(closing(CfdpEntity(BOARD_ID, mission.folder / "uplinked", log)))
    archive, receiver = stack.enter_context(opened(mission.folder / "ground"))
    pacing = Pacing(packet_byte=256, file_packet_byte=1024, window_packet=4)
    session = DownlinkSession(store, DirectLink(receiver), files=files, pacing=pacing, clock=lambda: 0.0)

    def end() -> object:
        receiver.commit()
        return finish(mission.folder / "ground", archive, receiver)

    if not log.senders(active=False):
        files.send(chip(mission), "chip.bin", GROUND_ID)
    return store, session, files, end


def fly(mission: Mission) -> None:
    """Fly from wherever the store stands to the end."""
    with ExitStack() as stack:
        store, session, files, end = parts(mission, stack)
        last = store.last_decision()
        for slot in range(0 if last is None else last.slot, mission.slots):
            fly_slot(mission, store, session, slot)
        for slot in range(mission.slots, mission.slots + 200):
            if not store.backlog()[0] and not files.open_files:
                break
            session.run_pass(slot, 1500)
        end()


def fly_slot(mission: Mission, store: ProductStore, session: DownlinkSession, slot: int) -> None:
    """One slot: keep, promise, send."""
    record, outcomes, products = slot_of(slot)
    store.commit_slot(record, outcomes, products)
    promise(mission, slot)
    session.run_pass(slot, 900)


def fly_on(mission: Mission) -> None:
    """Fly as a daemon does: an error closes everything and starts again; too many in a row end it."""
    for _ in range(20):
        try:
            fly(mission)
        except (SubsolarError, OSError):
            continue
        return
    raise SystemExit(3)


def promise(mission: Mission, slot: int) -> None:
    """Note, out of reach, that the store has promised a slot."""
    descriptor = os.open(mission.promises, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(descriptor, f"{slot}\n".encode())
    os.close(descriptor)


def outcome(mission: Mission) -> dict[str, Any]:
    """What a mission leaves, for comparison."""
    with ProductStore(mission.store) as store:
        counts = store.counts()
        slots = [record.slot for record in store.decisions()]
    shown = json.loads((mission.folder / "ground" / "products.geojson").read_text(encoding="utf-8"))["features"]
    files = sorted((mission.folder / "ground" / "files").glob("*"))
    return {
        "slots": slots,
        "tiles": [counts.done_tile, counts.shed_tile, counts.failed_tile],
        "delivered": counts.delivered_product,
        "ids": [feature["id"] for feature in shown],
        "files": [path.name for path in files if path.is_file()],
        "whole": all(path.read_bytes() == CHIP for path in files if path.is_file()),
    }


def chip(mission: Mission) -> Path:
    """A file to bring down, outside the reach of disk faults."""
    path = mission.folder.with_suffix(".chip")
    if not path.exists():
        path.write_bytes(CHIP)
    return path


def slot_of(slot: int, count: int = PRODUCTS_A_SLOT) -> tuple[SlotRecord, list[TileOutcome], list[Product]]:
    """A slot that is the same whenever it is flown."""
    blank = {"int": 0, "float": 0.5, "str": "", "bool": False}
    whole = SlotRecord(**{field.name: blank[str(field.type)] for field in fields(SlotRecord)})
    tiles = [TileRef("mosaic-1", number, 0, 64) for number in range(count + 2)]
    outcomes = [TileOutcome(tile, "done") for tile in tiles[:count]]
    outcomes += [TileOutcome(tiles[count], "shed", "budget"), TileOutcome(tiles[count + 1], "failed", "nan")]
    return replace(whole, slot=slot), outcomes, [product(slot, number) for number in range(count)]


def product(slot: int, number: int) -> Product:
    """A label with a place."""
    lon, lat = 10 + number * 1e-3, 50 + slot % 100 * 1e-3
    ring = ((lon, lat), (lon + 0.006, lat), (lon + 0.006, lat + 0.006), (lon, lat + 0.006), (lon, lat))
    return Product(
        product_id=f"{(slot * 1000 + number + 1) * 0x9E3779B97F4A7C15 % 2**64:016x}",
        slot=slot,
        kind="label",
        label=("Forest", "River", "Residential")[number % 3],
        score=0.875,
        value=1.0 + number % 7 / 8,
        footprint=Footprint(ring),
        captured_unix_s=1_750_000_000.0 + slot * 60,
        frame_id="mosaic-1",
        row_px=number * 64,
        col_px=0,
        edge_px=64,
        package_id="mobilenet-v2-eurosat",
        package_sha256="ab" * 32,
    )


def random_kills(folder: Path, *, kills: int, slots: int) -> dict[str, dict[str, Any]]:
    """A spacecraft and a station as processes over UDP; their groups are killed at random instants."""
    mission = Mission(folder / "random", slots)
    mission.folder.mkdir()
    rng = np.random.default_rng(5)
    port_file = folder / "random.port"
    ground = board = 0
    done = struck = 0
    started_s = time.monotonic()
    while struck < kills or not done:
        if not ground:
            port_file.unlink(missing_ok=True)
            ground = start(partial(station, mission, port_file))
        if not board:
            board = start(partial(spacecraft, mission, port_file))
        alone = struck >= kills
        time.sleep(0.05 if alone else float(rng.uniform(0.01, 0.25)))
        if (status := ended(board)) is not None:
            board = 0
            done = status == 0
            if done and struck < kills:  # the mission is over before the kills are: make it longer
                mission, done = replace(mission, slots=mission.slots + slots), False
        elif not alone:
            struck += 1
            whom = rng.integers(3)
            if whom != 1:
                board = kill_group(board)
            if whom != 0:
                ground = kill_group(ground)
        if struck % 10 == 0:
            progress("random", struck, kills, None)
        if time.monotonic() - started_s > 1800:
            break
    os.killpg(ground, signal.SIGTERM)
    os.waitpid(ground, 0)
    wanted = {one.product_id for slot in range(mission.slots) for one in slot_of(slot)[2]}
    with ProductStore(mission.store) as store:
        delivered = store.counts().delivered_product
    got = json.loads((mission.folder / "ground" / "products.geojson").read_text(encoding="utf-8"))["features"]
    ids = [feature["id"] for feature in got]
    figures: dict[str, dict[str, Any]] = {}
    add(figures, "random_kills", struck, "kills", bar=kills)
    add(figures, "random_products", len(wanted), "products")
    add(figures, "random_products_lost", len(wanted - set(ids)), "products", bar=0, at_most=True)
    add(figures, "random_products_doubled", len(ids) - len(set(ids)), "products", bar=0, at_most=True)
    add(figures, "random_delivered_miscounted", abs(delivered - len(wanted)), "products", bar=0, at_most=True)
    add(figures, "random_promises_broken", int(not promises_kept(mission)), "", bar=0, at_most=True)
    return figures


def station(mission: Mission, port_file: Path) -> None:
    """The station's process."""

    def announce(line: str) -> None:
        part = port_file.with_suffix(".part")
        part.write_text(json.loads(line)["listening"])
        part.replace(port_file)

    run_ground(out=mission.folder / "ground", announce=announce)


def spacecraft(mission: Mission, port_file: Path) -> None:
    """The spacecraft's process: each slot anew, until all is down."""
    while not port_file.exists():
        time.sleep(0.005)
    pacing = Pacing(packet_byte=256, window_packet=8, answer_s=0.1, prompts=1)
    with ProductStore(mission.store) as store, closing(UdpLink.connect(port_file.read_text())) as link:
        session = DownlinkSession(store, link, pacing=pacing)
        last = store.last_decision()
        for slot in range(0 if last is None else last.slot, mission.slots):
            fly_slot(mission, store, session, slot)
        for slot in range(mission.slots, mission.slots + 20):
            if not store.backlog()[0]:
                return
            session.run_pass(slot, 100_000)
    raise SystemExit(4)


def soak(folder: Path, *, days: float) -> dict[str, dict[str, Any]]:
    """Days of one-minute slots with passes now and then: memory, descriptors, threads and the file stay flat."""
    mission = Mission(folder / "soak", int(days * 1440))
    mission.folder.mkdir()
    limits = Limits(waiting_product=5_000, delivered_product=5_000, tile=20_000, decision=1_000, transfer=100)
    rows: list[tuple[float, float, int, int, int]] = []
    started_s = time.monotonic()
    with ExitStack() as stack:
        store = stack.enter_context(ProductStore(mission.store, limits=limits))
        _, receiver = stack.enter_context(opened(mission.folder / "ground"))
        session = DownlinkSession(store, DirectLink(receiver), clock=lambda: 0.0)
        for slot in range(mission.slots):
            store.commit_slot(*slot_of(slot))
            session.run_pass(slot, 20_000 if slot % 95 < 8 else 0)
            if slot % 60 == 0:
                rows.append((slot / 1440, resident_mb(), descriptors(), threads(), mission.store.stat().st_size))
                progress("soak", slot, mission.slots, None)
        shed, received_count = store.counts().shed_product, receiver.counts["products"]
    took_s = time.monotonic() - started_s
    warm = rows[len(rows) // 5 :]
    day, memory_mb = np.array([row[0] for row in warm]), np.array([row[1] for row in warm])
    figures: dict[str, dict[str, Any]] = {}
    add(figures, "soak_days", days, "days")
    add(figures, "soak_took", took_s, "s", bar=600, at_most=True)
    slope = float(np.polyfit(day, memory_mb, 1)[0]) if days > 1 else 0.0
    add(figures, "soak_memory_slope", slope, "MB/day", bar=1.0, at_most=True)
    add(figures, "soak_descriptors_grown", max(row[2] for row in warm) - warm[0][2], "", bar=0, at_most=True)
    add(figures, "soak_threads_grown", max(row[3] for row in warm) - warm[0][3], "", bar=0, at_most=True)
    add(
        figures,
        "soak_file_grown",
        max(row[4] for row in warm) / warm[0][4],
        "x",
        bar=1.1 if days > 1 else None,
        at_most=True,
    )
    add(figures, "soak_products_received", received_count, "products")
    add(figures, "soak_products_shed", shed, "products")
    return figures


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


def in_child(run: Callable[[], None]) -> int:
    """Run in a forked process; its exit status, negative for a signal."""
    child = start(run)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def start(run: Callable[[], None]) -> int:
    """Fork a process that runs ``run`` in a group of its own."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        os.setpgid(0, 0)
        run()
        status = 0
    except SystemExit as error:
        status = int(error.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def ended(child: int) -> int | None:
    """The exit status of a child that has ended."""
    found, status = os.waitpid(child, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None


def kill_group(child: int) -> int:
    """Kill a child and everything that it has started."""
    try:
        os.killpg(child, signal.SIGKILL)
    except ProcessLookupError:  # it has not yet made its group
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return 0


def add(
    figures: dict[str, dict[str, Any]],
    name: str,
    value: float,
    unit: str,
    *,
    bar: float | None = None,
    at_most: bool = False,
) -> None:
    """Note one figure."""
    met = None if bar is None else (value <= bar if at_most else value >= bar)
    figures[name] = {"value": round(float(value), 4), "unit": unit, "bar": bar, "met": met}


def progress(name: str, done: int, total: int, tally: Tally | None) -> None:
    """One line for people who wait."""
    bad = "" if tally is None or not tally.bad else f", {tally.bad} bad"
    print(f"\r{name}: {done} of {total}{bad}   ", end="\n" if done == total else "", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
