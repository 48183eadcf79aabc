"""Rasters and line streams that somebody, or a failing disk, has changed: whole ones, and ways to break them."""

from __future__ import annotations

import resource
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from runtime.errors import FrameError
from runtime.frames import LineFrame, StreamHeader, open_any
from runtime.frames.lines import write_stream

FORMATS: dict[str, dict[str, Any]] = {
    "strips": {"driver": "GTiff"},
    "deflate-tiles": {"driver": "GTiff", "compress": "deflate", "tiled": True, "blockxsize": 16, "blockysize": 16},
    "lzw-predictor": {"driver": "GTiff", "compress": "lzw", "predictor": 2},
    "jpeg-in-tiff": {"driver": "GTiff", "compress": "jpeg", "tiled": True, "blockxsize": 16, "blockysize": 16},
    "uint16": {"driver": "GTiff", "dtype": "uint16", "nodata": 0, "compress": "deflate"},
    "float32": {"driver": "GTiff", "dtype": "float32", "count": 2, "nodata": float("nan")},
    "thirteen": {"driver": "GTiff", "dtype": "uint16", "count": 13, "interleave": "band"},
    "bigtiff-alpha": {"driver": "GTiff", "count": 4, "alpha": "yes", "photometric": "rgb", "BIGTIFF": "YES"},
    "png": {"driver": "PNG"},
    "jpeg": {"driver": "JPEG"},
    "jpeg2000": {"driver": "JP2OpenJPEG"},
    "lines": {},
}


def write_whole(folder: Path, name: str, edge_px: int = 48) -> bytes:
    """A sound image of one of ``FORMATS``."""
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning

    if name == "lines":
        header = StreamHeader("lines", edge_px, ("red", "green", "blue"), "uint8")
        lines = np.random.default_rng(3).integers(1, 255, (edge_px, 3, edge_px), dtype=np.uint8)
        return write_stream(header, list(enumerate(lines)))
    layout = {"dtype": "uint8", "count": 3, "width": edge_px, "height": edge_px, **FORMATS[name]}
    if layout["driver"] == "GTiff":
        layout |= {"crs": "EPSG:32632", "transform": rasterio.Affine(10, 0, 500_000, 0, -10, 5_300_000)}
    pixels = np.random.default_rng(3).integers(1, 255, (layout["count"], edge_px, edge_px)).astype(layout["dtype"])
    path = folder / f"whole-{name}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, "w", **layout) as target:
            target.write(pixels)
    return path.read_bytes()


def mutants(whole: bytes, count: int, rng: np.random.Generator) -> Iterator[bytes]:
    """``count`` broken copies: bytes changed, runs overwritten, cut or repeated, numbers made extreme."""
    for _ in range(count):
        content = bytearray(whole)
        kind = rng.integers(0, 6)
        if kind <= 1:
            limit = min(len(content), 400) if kind == 0 else len(content)
            for at in rng.integers(0, limit, rng.integers(1, 10)):
                content[at] = rng.integers(0, 256)
        elif kind == 2:
            del content[rng.integers(1, len(content)) :]
        elif kind == 3:
            at = int(rng.integers(0, len(content)))
            content[at : at + 64] = rng.bytes(64)
        elif kind == 4:
            at = int(rng.integers(0, min(len(content), 600)))
            extreme = (b"\xff" * 4, b"\0" * 4, b"\xff\xff\xff\x7f", b"\0\0\0\x80")[rng.integers(0, 4)]
            content[at : at + 4] = extreme
        else:
            at, size = int(rng.integers(0, len(content))), int(rng.integers(1, 200))
            content[at:at] = content[at : at + size]
        yield bytes(content)


@dataclass
class Findings:
    """What came of a campaign."""

    read: int = 0
    refused: int = 0
    slowest_s: float = 0.0
    widest_byte: int = 0
    """By how much the process's peak of resident memory grew, GDAL's share included."""
    wrong: list[str] = field(default_factory=list)
    """What must not happen: other exceptions, long refusals."""

    @property
    def all(self) -> int:
        return self.read + self.refused + len(self.wrong)


def try_one(path: Path, findings: Findings) -> None:
    """Open and read a corner of ``path`` as the pipeline would."""
    started_s = time.process_time()
    try:
        with open_any(path, value_range=(0, 255)) as frame:
            height = frame.wait_for(10**9) if isinstance(frame, LineFrame) else frame.height_px
            edge = min(frame.width_px, height, 64)
            if edge:  # a stream may hold no line at all
                pixels = frame.read(0, 0, edge, range(min(len(frame.bands), 3)))
                assert pixels.shape[1:] == (edge, edge)
        findings.read += 1
    except FrameError as error:
        findings.refused += 1
        if "\n" in str(error) or len(str(error)) > 1000:
            findings.wrong.append(f"{path.name}: refusal of more than a line: {error!s:.200}")
    except Exception as error:  # the very thing that a campaign looks for
        findings.wrong.append(f"{path.name}: {error!r:.300}")
    findings.slowest_s = max(findings.slowest_s, time.process_time() - started_s)


def campaign(folder: Path, name: str, count: int, seed: int) -> Findings:
    """Try ``count`` mutants of one format. A wrong one stays in ``folder`` as a seed for a test."""
    findings, whole = Findings(), write_whole(folder, name)
    rng = np.random.default_rng([seed, *name.encode()])
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number, content in enumerate(mutants(whole, count, rng)):
        path = folder / f"{name}-{seed}-{number}"
        path.write_bytes(content)
        wrong = len(findings.wrong)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try_one(path, findings)
        if len(findings.wrong) == wrong:
            path.unlink()
    findings.widest_byte = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib)
    return findings
