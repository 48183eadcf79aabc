"""One-shot inference: rasters in, one GeoJSON FeatureCollection (RFC 7946) per raster out."""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TextIO

from exporters.package import ModelPackage

from .engines import Engine, open_onnx_engine
from .errors import FrameError, StoreError
from .frames import RasterFrame, choose_bands, open_frame
from .georeference import Box, footprints, geometry_of
from .records import Footprint, Product, TileOutcome, TileRef
from .tasks import Classifier
from .tiles import Batch, TileGrid, cut, skip_empty, tile_grid

ProgressCall = Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneResult:
    """What came of one scene. ``error`` says why there is no file, else ``geojson`` is complete."""

    scene: str
    geojson: str | None
    tiles: int
    done: int
    shed: Mapping[str, int]
    """Tiles by reason."""
    failed: Mapping[str, int]
    labels: Mapping[str, int]
    """Tiles by the class that the network gave them."""
    warning: str = ""
    """What makes the answers doubtful."""
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class InferResult:
    """All scenes that were reached; ``interrupted`` if the user stopped before the last."""

    package: str
    package_sha256: str
    engine: str
    scenes: tuple[SceneResult, ...]
    interrupted: bool = False

    @property
    def complete(self) -> bool:
        """Whether every scene that was asked for has its file."""
        return not self.interrupted and all(not scene.error for scene in self.scenes)

    def summary(self) -> dict[str, Any]:
        """The result as plain values for JSON."""
        return {**asdict(self), "complete": self.complete}

    def table(self) -> str:
        """The result for a person: one line per scene."""
        lines = [f"  {scene.scene}: {scene.error or _told(scene)}" for scene in self.scenes]
        end = ["  stopped by the user"] if self.interrupted else []
        return "\n".join([f"{self.package} on {self.engine}", *lines, *end])


def infer_scenes(
    package: ModelPackage,
    scenes: Sequence[Path],
    out: Path,
    *,
    batch: int = 32,
    overlap_px: int = 0,
    progress: ProgressCall | None = None,
    engine: Engine | None = None,
    band_names: Sequence[str] = (),
    value_range: tuple[float, float] | None = None,
) -> InferResult:
    """Run ``package`` over each of ``scenes`` and write ``out/NAME.geojson``, each whole or not at all.

    A scene that cannot be used gets an error in the result, and the others go on; an interrupt ends the run with what
    is finished. Raises ``StoreError`` if ``out`` cannot be written, ``EngineError`` if the package cannot be loaded.
    """
    _make_folder(out)
    runner = engine if engine is not None else open_onnx_engine(package)
    classifier = Classifier(engine=runner, package=package)
    results: list[SceneResult] = []
    interrupted = False
    try:
        for path, target in zip(scenes, _targets(scenes, out), strict=True):
            opening = partial(open_frame, path, band_names=band_names, value_range=value_range)
            results.append(_infer_scene(path, opening, classifier, target, batch, overlap_px, progress))
    except KeyboardInterrupt:
        interrupted = True
    return InferResult(
        package=runner.name,
        package_sha256=package.sha256,
        engine=runner.provider,
        scenes=tuple(results),
        interrupted=interrupted,
    )


def _infer_scene(
    path: Path,
    opening: Callable[[], RasterFrame],
    classifier: Classifier,
    target: Path,
    batch: int,
    overlap_px: int,
    progress: ProgressCall | None,
) -> SceneResult:
    try:
        with opening() as frame:
            grid = tile_grid_for(frame, classifier.package, overlap_px)
            return _Job(frame, classifier, grid, batch, progress).write(target)
    except FrameError as error:
        return _unusable(path, str(error))


def tile_grid_for(frame: RasterFrame, package: ModelPackage, overlap_px: int) -> TileGrid:
    """The windows that ``package`` needs to see all of ``frame``."""
    edge = package.info.input.tile_edge_px
    return tile_grid(frame.width_px, frame.height_px, edge, overlap_px, frame_id=frame.frame_id)


@dataclass(frozen=True, slots=True)
class _Job:
    """One scene on its way through one classifier. Holds one batch at a time."""

    frame: RasterFrame
    classifier: Classifier
    grid: TileGrid
    batch: int
    progress: ProgressCall | None

    def write(self, target: Path) -> SceneResult:
        """Stream features into ``target``; the tallies go in after them."""
        tally: dict[str, Counter[str]] = {"done": Counter(), "shed": Counter(), "failed": Counter()}
        with _whole_file(target) as file:
            file.write('{"type": "FeatureCollection",\n"features": [')
            separator = "\n"
            for products, outcomes in self._answers():
                for product in products:
                    file.write(separator + json.dumps(self._feature(product)))
                    separator = ",\n"
                    tally["done"][product.label] += 1
                for outcome in outcomes:
                    if outcome.outcome != "done":
                        tally[outcome.outcome][outcome.reason] += 1
            file.write("\n],\n" + '"subsolar": ' + json.dumps(self._provenance(tally), indent=1) + "\n}\n")
        return _result(target, len(self.grid), tally, self._doubt())

    def _answers(self) -> Iterator[tuple[list[Product], list[TileOutcome]]]:
        """Products and outcomes batch by batch. Raises ``FrameError`` where the file is damaged."""
        bands = choose_bands(self.frame.bands, self.classifier.package.info.bands, self.frame.frame_id)
        cores: dict[TileRef, Box] = {}  # of the tiles between cutting and answering
        seen = 0
        for part in cut(self.frame, self._refs(cores), bands, batch=self.batch, keep=skip_empty()):
            damaged = [outcome.reason for outcome in part.left_out if outcome.outcome == "failed"]
            if damaged:
                raise FrameError(damaged[0])
            products, outcomes = self._answer(part, [cores[ref] for ref in part.refs])
            for ref in [*part.refs, *(outcome.ref for outcome in part.left_out)]:
                del cores[ref]
                seen += 1
            if self.progress is not None:
                self.progress(seen, len(self.grid), self.frame.frame_id)
            yield products, [*part.left_out, *outcomes]

    def _refs(self, cores: dict[TileRef, Box]) -> Iterator[TileRef]:
        for window in self.grid:
            cores[window.ref] = window.core
            yield window.ref

    def _answer(self, part: Batch, cores: Sequence[Box]) -> tuple[list[Product], list[TileOutcome]]:
        if not part.refs:
            return [], []
        captured = self.frame.captured_unix_s
        return self.classifier.answer(
            part.refs,
            part.pixels,
            slot=0,
            captured_unix_s=math.nan if captured is None else captured,
            footprints=self._places(cores),
        )

    def _places(self, cores: Sequence[Box]) -> Sequence[Footprint | None]:
        if self.frame.georeference is None:
            return [None] * len(cores)
        return footprints(self.frame.georeference, cores)

    def _feature(self, product: Product) -> dict[str, Any]:
        info = self.classifier.package.info
        row, col, edge = product.row_px, product.col_px, product.edge_px
        return {
            "type": "Feature",
            "id": product.product_id,
            "geometry": geometry_of(product.footprint),
            "properties": {
                "class": product.label,
                "class_id": info.classes.index(product.label),
                "score": round(product.score, 6),
                "unsure": product.score < info.thresholds.min_score,
                "product": product.kind,
                "model_id": info.id,
                "model_version": info.version,
                "time": _rfc3339(product.captured_unix_s),
                "tile": [row, col],
                "px_bbox": [col, row, col + edge, row + edge],
            },
        }

    def _doubt(self) -> str:
        gsd_m, (low_m, high_m) = self.frame.gsd_m, self.classifier.package.info.gsd_range_m
        if gsd_m is None:
            return "the scene has no georeference, so places and pixel size are unknown"
        if low_m <= gsd_m <= high_m:
            return ""
        return f"its pixels are {gsd_m:.3g} m wide, the network was made for {low_m:g} to {high_m:g} m"

    def _provenance(self, tally: Mapping[str, Counter[str]]) -> dict[str, Any]:
        """Foreign member of the collection: what made it, and how each tile ended."""
        package = self.classifier.package
        return {
            "software": f"subsolar {_version()}",
            "package": {"id": package.info.id, "version": package.info.version, "sha256": package.sha256},
            "engine": self.classifier.engine.provider,
            "scene": {
                "id": self.frame.frame_id,
                "width_px": self.frame.width_px,
                "height_px": self.frame.height_px,
                "gsd_m": self.frame.gsd_m,
                "georeferenced": self.frame.georeference is not None,
            },
            "cut": {"edge_px": self.grid.edge_px, "overlap_px": self.grid.overlap_px, "batch": self.batch},
            "warning": self._doubt(),
            "geometry": "the part of each tile that it alone answers for",
            "tiles": {
                "all": len(self.grid),
                "done": sum(tally["done"].values()),
                "shed": dict(sorted(tally["shed"].items())),
                "failed": dict(sorted(tally["failed"].items())),
            },
        }


@contextmanager
def _whole_file(target: Path) -> Iterator[TextIO]:
    """A text file that appears as ``target`` when the block ends well, and not at all otherwise."""
    try:
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
    except OSError as error:
        raise _unwritable(target, error) from error
    unfinished = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        unfinished.chmod(0o644)
        unfinished.replace(target)
    except OSError as error:
        raise _unwritable(target, error) from error
    finally:
        unfinished.unlink(missing_ok=True)


def _unwritable(target: Path, error: OSError) -> StoreError:
    return StoreError(f"{target} cannot be written: {error.strerror}. Choose another folder or make room.")


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise StoreError(f"{out} cannot be written: {error.strerror}. Choose another folder with --out.") from error


def _targets(scenes: Sequence[Path], out: Path) -> list[Path]:
    """One file name per scene; scenes of one name get a number."""
    seen: Counter[str] = Counter()
    targets = []
    for path in scenes:
        seen[path.stem] += 1
        number = "" if seen[path.stem] == 1 else f"-{seen[path.stem]}"
        targets.append(out / f"{path.stem}{number}.geojson")
    return targets


def _result(target: Path, tiles: int, tally: Mapping[str, Counter[str]], warning: str) -> SceneResult:
    return SceneResult(
        scene=target.stem,
        geojson=str(target),
        tiles=tiles,
        done=sum(tally["done"].values()),
        shed=dict(tally["shed"]),
        failed=dict(tally["failed"]),
        labels=dict(sorted(tally["done"].items())),
        warning=warning,
    )


def _unusable(path: Path, error: str) -> SceneResult:
    return SceneResult(scene=path.stem, geojson=None, tiles=0, done=0, shed={}, failed={}, labels={}, error=error)


def _told(scene: SceneResult) -> str:
    labels = ", ".join(f"{name} {count}" for name, count in sorted(scene.labels.items(), key=lambda item: -item[1]))
    left = sum(scene.shed.values()), sum(scene.failed.values())
    doubt = f"\n    warning: {scene.warning}" if scene.warning else ""
    ended = f"{scene.done} of {scene.tiles} tiles done, {left[0]} shed, {left[1]} failed"
    return f"{ended} -> {scene.geojson}\n    {labels}{doubt}"


def _rfc3339(unix_s: float) -> str | None:
    if math.isnan(unix_s):
        return None
    return datetime.fromtimestamp(unix_s, timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")


def _version() -> str:
    try:
        return version("subsolar")
    except PackageNotFoundError:
        return "unknown"
