"""Takes docs/replay.png: the top of a real report in a real browser, at most 300 kB.

    python benchmarks/screenshot.py build/replay/report.html docs/replay.png

Needs Chromium. The moment shown is the slot in contact that has the most to show; --slot picks another.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

from browser import Browser, chromium

WIDTH_PX, MAX_BYTE = 1280, 300_000
BEST_SLOT = """(() => {
  const data = JSON.parse(document.getElementById('stage-data').textContent);
  const at = (name, i) => data.slots[name].length === 1 ? data.slots[name][0] : data.slots[name][i];
  const worth = data.t.map((_, i) => at('sampled_tile', i) && at('pass_s', i) > 0.3 * data.slot_s
    ? 1 + new Set(data.found.label.filter((_, k) => data.found.slot[k] === at('slot', i))).size : 0);
  return at('slot', worth.indexOf(Math.max(...worth)));
})()"""
DRAWN = """[...document.querySelectorAll('#reel canvas')].every(
  c => c.className || c.getContext('2d').getImageData(32, 32, 1, 1).data[3])"""


def shoot(report: Path, out: Path, height: int, slot: int | None, dark: bool, width: int = WIDTH_PX) -> None:
    """Write the picture; ``SystemExit`` where there is no browser or the page complains."""
    program = chromium()
    if program is None:
        raise SystemExit("a headless browser is needed: install chromium")
    with Browser(program) as view:
        view.size(width, height, dark=dark)
        view.open(report)
        view.wait("document.documentElement.classList.contains('live')")
        number = view.js(BEST_SLOT) if slot is None else slot
        view.js(f"location.hash = 'slot={number}'")
        view.wait(f"document.querySelector('#inspector [data-field=slot]').textContent === 'Slot {number}'")
        view.wait(DRAWN)
        view.picture(out)
        if view.complaints:
            raise SystemExit(f"the page complains: {view.complaints}")
    print(f"{out}: slot {number}, {out.stat().st_size / 1000:.0f} kB")


def shrink(path: Path) -> None:
    """Bring the file below its limit with fewer colours; rasterio's GDAL does it, so that nothing new is needed."""
    import numpy as np
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning

    warnings.simplefilter("ignore", NotGeoreferencedWarning)  # a picture needs no place
    for step in (1, 2, 4, 8, 16):
        if path.stat().st_size <= MAX_BYTE:
            return
        with rasterio.open(path) as source:
            pixels = source.read()
        pixels = np.minimum((pixels.astype(np.uint16) + step // 2) // step * step, 255).astype(np.uint8)
        size = {"width": pixels.shape[2], "height": pixels.shape[1], "count": 3}
        with rasterio.open(path, "w", driver="PNG", dtype="uint8", zlevel=9, **size) as target:
            target.write(pixels[:3])
        path.with_name(path.name + ".aux.xml").unlink(missing_ok=True)
    if path.stat().st_size > MAX_BYTE:
        raise SystemExit(f"{path} has {path.stat().st_size} bytes, more than {MAX_BYTE}. Lower --height.")


def main() -> None:
    """Parse and shoot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--height", type=int, default=1180, help="of the window, in pixels")
    parser.add_argument("--width", type=int, default=WIDTH_PX)
    parser.add_argument("--slot", type=int, help="the moment to show")
    parser.add_argument("--dark", action="store_true")
    given = parser.parse_args()
    shoot(given.report, given.out, given.height, given.slot, given.dark, given.width)
    shrink(given.out)


if __name__ == "__main__":
    main()
