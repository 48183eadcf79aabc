"""The mission replay against its bars: `make bench-report` prints a table and writes build/bench/report.json.

Flies three orbits with real tiles and thirty days without, and opens both pages in a headless Chromium where there is
one. Times are wall-clock on whatever else the machine does; the CPU seconds stand beside them.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from browser import Browser, chromium
from reporting import Figure, figure, publish

from runtime.flight import ReplayOptions
from runtime.replay import fly
from runtime.report import ReplayReport, render_report
from runtime.watch.scenery import Scene, Seen, report_of
from runtime.watch.sources import flown_in

OUT = Path("build/bench")
DAYS = 30.0


def main() -> int:
    """Measure, print, write; 1 where a bar is missed."""
    policy = sys.argv[1] if len(sys.argv) > 1 else "dqn"
    figures: dict[str, Figure] = {}
    short = ReplayOptions(policy=policy, seed=7, out=OUT / "report-three-orbits")
    fly(short, quiet)
    note(figures, "page_of_three_orbits", (short.out / "report.html").stat().st_size / 1e6, "MB", 10.0)
    long = replace(short, orbits=457, infer=False, out=OUT / "report-thirty-days")
    wall_s, cpu_s = timed(lambda: fly(long, quiet))
    days = sum(1 for _ in (long.out / "slots.csv").open()) * 180.0 / 86_400.0
    note(figures, "orbit_days_per_minute", 60 * days / wall_s, "days/min", DAYS, at_least=True)
    note(figures, "orbit_days_per_cpu_minute", 60 * days / cpu_s, "days/min")
    note(figures, "page_of_thirty_days", (long.out / "report.html").stat().st_size / 1e6, "MB")
    report = thirty_days(long.out)
    wall_s, cpu_s = timed(lambda: render_report(report))
    note(figures, "render_thirty_days", wall_s, "s", 10.0)
    note(figures, "render_thirty_days_cpu", cpu_s, "s")
    in_the_browser(figures, short.out / "report.html", long.out / "report.html")
    return publish(OUT / "report.json", figures)


def quiet(done: int, total: int, text: str) -> None:
    """Say nothing."""


def note(
    figures: dict[str, Figure], name: str, value: float, unit: str, bar: float | None = None,
    *, at_least: bool = False,
) -> None:  # fmt: skip
    """Keep one figure."""
    sides = {"at_least": bar} if at_least else {"at_most": bar}
    figures[name] = figure(value, unit, **sides)


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Return wall and CPU seconds."""
    start_s, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
    work()
    after = resource.getrusage(resource.RUSAGE_SELF)
    return time.perf_counter() - start_s, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def thirty_days(folder: Path) -> ReplayReport:
    """Return the records of the long flight again, from what it left."""
    import csv

    from runtime.watch.sources import slot_from

    with (folder / "slots.csv").open(newline="", encoding="utf-8") as stream:
        rows = [{name: parsed(value) for name, value in row.items()} for row in csv.DictReader(stream)]
    return report_of(
        Scene(title="thirty days", scenario=flown_in(folder, None).scenario), Seen(slots=[slot_from(r) for r in rows])
    )


def parsed(text: str) -> object:
    """Return a field of slots.csv as what it was."""
    if text in ("True", "False"):
        return text == "True"
    try:
        return json.loads(text) if text[:1] in "-0123456789" and text else None if text == "nan" else text
    except ValueError:
        return text


def in_the_browser(figures: dict[str, Figure], *pages: Path) -> None:
    """Measure the first picture and a step of the slider."""
    program = chromium()
    if program is None:
        print("no Chromium: the first picture was not measured", file=sys.stderr)
        return
    for page, name in zip(pages, ("three_orbits", "thirty_days"), strict=True):
        with Browser(program) as view:
            view.size(1280, 900)
            view.open(page, 60.0)
            paints = "performance.getEntriesByName('first-contentful-paint')"
            view.wait(f"{paints}.length > 0")
            note(figures, f"first_picture_{name}", view.js(f"{paints}[0].startTime") / 1e3, "s", 2.0)
            ready = "(performance.timing.loadEventEnd - performance.timing.navigationStart) / 1000"
            note(figures, f"ready_{name}", view.js(ready), "s")
            steps = (
                "(() => { const t = performance.now(); for (let i = 0; i < 30; i += 1) {"
                "slider.value = i; slider.dispatchEvent(new Event('input')); }"
                "return (performance.now() - t) / 30; })()"
            )
            note(figures, f"slider_step_{name}", view.js(steps), "ms")
            note(figures, f"complaints_{name}", float(len(view.complaints)), "", 0.0)
            asked = [url for url in view.requests if not url.startswith(("file:", "data:", "about:"))]
            note(figures, f"requests_{name}", float(len(asked)), "", 0.0)


if __name__ == "__main__":
    sys.exit(main())
