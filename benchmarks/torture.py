"""Kills, power cuts, full and failing disks, and a week in minutes: does the mission lose or double anything?

`make bench-torture` prints a table and writes ``build/bench/torture.json``; ``--short`` is what the tests run.

A mission (store, passes, pictures, station, one file; ``torture_mission.py``) is flown once undisturbed. Then it is
flown again and again, struck at the n-th disk call, at a named fault point or at a random instant, started again, and
compared with the undisturbed one (``torture_strikes.py``). A run that was not struck proves nothing, so each campaign
also has to show that every one of its runs was. Needs Linux and a C compiler: the disk faults come from
``faulty_io.c``, preloaded.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from reporting import Figure, figure, publish
from torture_long import STATION_POINTS, random_kills, soak, station_killed
from torture_mission import Mission, fly, outcome
from torture_strikes import (
    BUILD,
    CUT,
    IO_ERROR,
    KILL,
    NO_SPACE,
    Shim,
    Strike,
    Tally,
    at_call,
    at_point,
    failing,
    in_child,
    judge,
    preload,
)

from runtime import faults

OUT = Path("build/bench/torture.json")
PARTS = ("store", "downlink", "pictures", "ground", "cfdp")
"""Whose fault points a mission passes; those of the daemon and of updates have tests of their own."""
CAMPAIGNS = ("points", "kills", "cuts", "disk", "random", "soak")
RESTART_BAR_S = 2.0
SHORT_SAMPLES = 10
FULL_SPAN = 6
"""After the n-th call that finds the disk full, so many more do before there is room again."""


@dataclass
class Bench:
    """A folder to fly in, the undisturbed mission, and the figures so far."""

    folder: Path
    shim: Shim
    short: bool
    figures: dict[str, Figure] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.undisturbed = Mission(self.folder / folder_name("calm", 0), 3 if self.short else 5)
        self.undisturbed.folder.mkdir()
        self.shim.arm(self.undisturbed)
        assert in_child(partial(fly, self.undisturbed)) == 0, "the undisturbed mission fails"
        self.calls, self.writing_calls = self.shim.calls, self.shim.writing_calls
        self.expected = outcome(self.undisturbed)
        self.add("disk_calls_a_mission", self.calls, "calls")
        self.add("disk_calls_that_need_room", self.writing_calls, "calls")

    def add(self, name: str, value: float, unit: str, *, bar: float | None = None, at_most: bool = False) -> None:
        """Note one figure."""
        sides = {"at_most": bar} if at_most else {"at_least": bar}
        self.figures[name] = figure(value, unit, **sides)

    def nth(self, calls: int, chosen: str) -> list[int]:
        """At which of ``calls`` to strike; ``chosen`` is FIRST:LAST or empty."""
        first, _, last = chosen.partition(":")
        step = max(1, calls // SHORT_SAMPLES) if self.short else 1
        return list(range(int(first or 1), min(int(last or calls), calls) + 1, step))

    def campaign(self, name: str, strikes: list[Strike]) -> Tally:
        """Fly with each strike, and note what came of it."""
        started_s, tally = time.monotonic(), Tally()
        for number, strike in enumerate(strikes):
            trial = Mission(self.folder / folder_name(name, number), self.undisturbed.slots)
            judge(self.shim, trial, strike, self.expected, tally)
            progress(name, len(strikes), tally, number + 1)
        self.add(f"{name}_runs", tally.runs, "runs")
        self.add(f"{name}_struck", tally.struck, "runs", bar=tally.runs)
        for what, count in (
            ("products_lost", tally.lost),
            ("products_doubled", tally.doubled),
            ("different_end", tally.different),
            ("corrupt", tally.corrupt),
            ("not_recovered", tally.failed),
        ):
            self.add(f"{name}_{what}", count, "runs", bar=0, at_most=True)
        self.add(f"{name}_longest_restart", tally.longest_restart_s, "s", bar=RESTART_BAR_S, at_most=True)
        self.add(f"{name}_took", time.monotonic() - started_s, "s")
        return tally


def main() -> int:
    """Run all campaigns; 1 where an invariant broke or a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="a minute instead of many")
    parser.add_argument("--calls", default="", help="strike at these disk calls only, as FIRST:LAST")
    parser.add_argument("--only", choices=CAMPAIGNS, help="one campaign")
    options = parser.parse_args()
    shim = preload()
    if shim is None:
        return 2
    with tempfile.TemporaryDirectory(dir=BUILD) as folder:
        bench = Bench(Path(folder).resolve(), shim, options.short)
        for name in CAMPAIGNS if options.only is None else (options.only,):
            run(bench, name, options.calls)
    return publish(OUT, bench.figures, short=options.short)


def run(bench: Bench, name: str, chosen: str) -> None:
    """One campaign by its name."""
    shim, nth = bench.shim, bench.nth(bench.calls, chosen)
    if name == "points":
        points(bench)
    elif name == "kills":
        bench.campaign(name, [at_call(shim, KILL, number) for number in nth])
    elif name == "cuts":
        bench.campaign(name, [at_call(shim, CUT, number, seed=number) for number in nth])
    elif name == "disk":
        room = bench.nth(bench.writing_calls, chosen)
        full = [failing(shim, NO_SPACE, at, span=FULL_SPAN, restarts=at % 2 == 0) for at in room]
        broken = [failing(shim, IO_ERROR, at, span=0, restarts=at % 2 == 1) for at in nth]
        tally = bench.campaign(name, full + broken)
        bench.add("disk_faults", tally.faults, "faults", bar=tally.runs)
    elif name == "random":
        pairs(bench)
    else:
        week(bench)


def points(bench: Bench) -> None:
    """A kill at every named point, those of a station of its own among them."""
    ours = {point for point in faults.POINTS if point.partition(".")[0] in PARTS}
    tally = bench.campaign("points", [at_point(point) for point in sorted(ours - set(STATION_POINTS))])
    stations = [station_killed(bench.folder, point) for point in STATION_POINTS]
    struck = sum(one.kills == 1 and one.good for one in stations)
    bench.add("points_station_killed", struck, "points", bar=len(STATION_POINTS))
    bench.add("points_share", (tally.struck + struck) / len(ours), "frac", bar=1.0)


def pairs(bench: Bench) -> None:
    """Spacecraft and station, killed at random instants."""
    kills = 8 if bench.short else 200
    told = partial(progress, "random", kills, None)
    found = random_kills(bench.folder, kills=kills, slots=30 if bench.short else 300, progress=told)
    bench.add("random_kills", found.kills, "kills", bar=kills)
    bench.add("random_products", found.products, "products")
    bench.add("random_products_lost", found.lost, "products", bar=0, at_most=True)
    bench.add("random_products_doubled", found.doubled, "products", bar=0, at_most=True)
    bench.add("random_delivered_miscounted", found.miscounted, "products", bar=0, at_most=True)
    bench.add("random_promises_broken", found.promises_broken, "", bar=0, at_most=True)
    bench.add("random_not_recorded", found.not_recorded, "products", bar=0, at_most=True)


def week(bench: Bench) -> None:
    """Seven days of slots, or a few hours of them."""
    days = 0.2 if bench.short else 7.0
    found = soak(bench.folder, days=days, progress=partial(progress, "soak", int(days * 1440), None))
    bench.add("soak_days", days, "days")
    bench.add("soak_took", found.took_s, "s", bar=600, at_most=True)
    bench.add("soak_memory_slope", found.memory_mb_a_day, "MB/day", bar=1.0, at_most=True)
    bench.add("soak_descriptors_grown", found.descriptors_grown, "", bar=0, at_most=True)
    bench.add("soak_threads_grown", found.threads_grown, "", bar=0, at_most=True)
    bench.add("soak_file_grown", found.file_grown, "x", bar=1.1 if days > 1 else None, at_most=True)
    bench.add("soak_products_received", found.products_received, "products")
    bench.add("soak_products_shed", found.products_shed, "products")


def folder_name(campaign: str, number: int) -> str:
    """Of one length for all: the missions write their paths down, and have to make the same disk calls."""
    return f"{campaign[:4]}{number:05d}"


def progress(name: str, total: int, tally: Tally | None, done: int) -> None:
    """One line for people who wait."""
    bad = "" if tally is None or not tally.bad else f", {tally.bad} bad"
    print(f"\r{name}: {done} of {total}{bad}   ", end="\n" if done == total else "", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
