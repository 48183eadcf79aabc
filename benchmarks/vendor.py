"""Fetches the libraries inside the report page from the npm registry again, and proves that they are what is kept.

    python benchmarks/vendor.py            # compare with runtime/report/vendor
    python benchmarks/vendor.py --write    # replace it

It needs npm. Each archive's own hash is pinned, so that a changed registry is noticed; nothing of it is run.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / "runtime" / "report" / "vendor"


@dataclass(frozen=True, slots=True)
class Source:
    """One archive of the registry and the files of it that are kept, by the names that they get."""

    name: str
    version: str
    sha256: str
    kept: dict[str, str]

    def fetch(self) -> dict[str, bytes]:
        """Return the kept files by name."""
        with tempfile.TemporaryDirectory() as folder:
            command = ["npm", "pack", "--silent", "--pack-destination", folder, f"{self.name}@{self.version}"]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            archive = next(Path(folder).glob("*.tgz")).read_bytes()
        found = hashlib.sha256(archive).hexdigest()
        if found != self.sha256:
            raise SystemExit(f"{self.name} has sha256 {found}, not {self.sha256}. Do not use it before you know why.")
        kept: dict[str, bytes] = {}
        with tarfile.open(fileobj=io.BytesIO(archive)) as files:
            for path, name in self.kept.items():
                file = files.extractfile(f"package/{path}")
                assert file is not None
                kept[name] = file.read()
        return kept


SOURCES = (
    Source("uplot", "1.6.32", "4b8a8191e425658e3ea8c8c1314b0fc679c861ee3a1af2b20c7b16ba50b5133d", {
        "dist/uPlot.iife.min.js": "uPlot.iife.min.js", "dist/uPlot.min.css": "uPlot.min.css",
        "LICENSE": "LICENSE-uPlot.txt",
    }),
    Source("d3-array", "3.2.5", "90139c20a9a7678badb0ddeb9aafd504c935dc24f5a53c3e61ccf866e4479572", {
        "dist/d3-array.min.js": "d3-array.min.js", "LICENSE": "LICENSE-d3-array.txt",
    }),
    Source("d3-geo", "3.1.2", "e0ffa43f5a2134cf03d2797e985025250d8d3608b1d90336938c9dd4d4b97dc7", {
        "dist/d3-geo.min.js": "d3-geo.min.js", "LICENSE": "LICENSE-d3-geo.txt",
    }),
    Source("world-atlas", "2.0.2", "032e7765f2ce00edaeafec23ff22bc3b77e42987c257da944cc585b452c05b97", {
        "land-110m.json": "land-110m.topojson", "LICENSE": "LICENSE-world-atlas.txt",
    }),
)  # fmt: skip


def polygons(topology: bytes) -> bytes:
    """Return the land of a TopoJSON as a GeoJSON MultiPolygon to a hundredth of a degree (TopoJSON 1.0, section 2)."""
    table = json.loads(topology)
    (kx, ky), (x0, y0) = table["transform"]["scale"], table["transform"]["translate"]
    lines = []
    for arc in table["arcs"]:
        x = y = 0
        line = []
        for dx, dy in arc:
            x, y = x + dx, y + dy
            line.append([round(x0 + kx * x, 2), round(y0 + ky * y, 2)])
        lines.append(line)

    def ring(arcs: list[int]) -> list[list[float]]:
        points: list[list[float]] = []
        for arc in arcs:
            line = lines[arc] if arc >= 0 else lines[~arc][::-1]
            points += line[1 if points else 0 :]
        return points

    shapes = [
        [ring(arcs) for arcs in polygon]
        for shape in table["objects"]["land"]["geometries"]
        for polygon in (shape["arcs"] if shape["type"] == "MultiPolygon" else [shape["arcs"]])
    ]
    return json.dumps({"type": "MultiPolygon", "coordinates": shapes}, separators=(",", ":")).encode() + b"\n"


def everything() -> dict[str, bytes]:
    """Return every file of the folder that comes from the registry."""
    found = {name: text for source in SOURCES for name, text in source.fetch().items()}
    found["land-110m.json"] = polygons(found.pop("land-110m.topojson"))
    return found


def main() -> None:
    """Compare, or replace."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="replace the files that are kept")
    write, wrong = parser.parse_args().write, 0
    for name, text in sorted(everything().items()):
        kept = FOLDER / name
        if write:
            kept.write_bytes(text)
        same = kept.is_file() and kept.read_bytes() == text
        wrong += not same
        print(f"{'same' if same else 'DIFFERS'}  {hashlib.sha256(text).hexdigest()}  {len(text):>7}  {name}")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
