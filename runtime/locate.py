"""Where a camera is, without GNSS: its picture among the descriptors of a gallery that was made before take-off.

A position is only given where the picture fits better than pictures from elsewhere do (``no match`` otherwise), and
where no second place fits about as well (``ambiguous``). Nothing is guessed beyond that.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporters.gallery.gallery import LOCAL, Gallery, lift, read_gallery
from exporters.gallery.sight import Sight, tile_of
from exporters.package import ModelPackage

from .engines import Engine
from .errors import FrameError, MissionError
from .records import FloatArray, UInt8Array
from .tasks.embed import EmbeddingTask
from .tracking import Track, TrackState

FALSE_FIX_FRAC = 0.05
MARGIN = math.log(3.0)
"""A fix needs a best place at least three times as likely as the best one that does not overlap it."""
CANDIDATES = 5
LOCATE = "locate.json"
_BLOCK = 16_384
MOST_PX = 200_000_000


@dataclass(frozen=True, slots=True)
class Candidate:
    """A place of the gallery. ``east_m`` and ``north_m`` in the gallery's frame."""

    east_m: float
    north_m: float
    longitude_deg: float | None
    latitude_deg: float | None
    score: float
    heading_deg: float
    tilt_deg: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Fix:
    """What one picture says. Without a fix the position is None, whatever the candidates are.

    ``east_m`` …: of the camera, in the gallery's frame. ``error_m``: one standard deviation of the distance.
    ``false_fix_frac``: how many pictures from outside would fit as well, from the gallery's own calibration.
    """

    image: str
    status: str
    """``fix``, ``ambiguous`` or ``no match``."""
    reason: str
    longitude_deg: float | None
    latitude_deg: float | None
    east_m: float | None
    north_m: float | None
    error_m: float | None
    score: float
    margin: float
    lift: float
    """How far the best view stands above the gallery; see ``exporters.gallery.gallery.lift``."""
    threshold: float
    """Of the lift."""
    false_fix_frac: float
    candidates: tuple[Candidate, ...]

    def line(self) -> str:
        """For a person."""
        if self.east_m is None or self.north_m is None:
            return f"{self.image}: {self.status}: {self.reason}"
        if self.longitude_deg is None or self.latitude_deg is None:
            place = f"{self.east_m:.1f} m east, {self.north_m:.1f} m north"
        else:
            place = f"{self.longitude_deg:.6f} {self.latitude_deg:.6f}"
        return f"{self.image}: {place} +- {self.error_m:.1f} m (score {self.score:.3f}, margin {self.margin:.3f})"


@dataclass(frozen=True, slots=True, eq=False)
class Places:
    """A gallery laid out for search. ``middle_m`` (p, 2): each place once; ``of_view`` (n,): the place of each view."""

    gallery: Gallery
    middle_m: NDArray[np.float64]
    of_view: Any

    @classmethod
    def of(cls, gallery: Gallery) -> Places:
        """Views whose middles agree to a centimetre are of one place."""
        keys = np.rint(gallery.centre_m * 100.0).astype(np.int64)
        _, first, inverse = np.unique(keys, axis=0, return_index=True, return_inverse=True)
        return cls(gallery, gallery.centre_m[first], inverse.reshape(-1))

    def views(self, vector: FloatArray) -> FloatArray:
        """(n,) cosine of each view with the query."""
        stored = self.gallery.vectors
        blocks = [stored[at : at + _BLOCK].astype(np.float32) @ vector for at in range(0, len(stored), _BLOCK)]
        return np.concatenate(blocks)

    def scores(self, views: FloatArray) -> FloatArray:
        """(p,) the best view of each place."""
        best = np.full(len(self.middle_m), -np.inf, dtype=np.float32)
        np.maximum.at(best, self.of_view, views)
        return best


def open_gallery(path: Path, package: ModelPackage) -> Places:
    """Read a gallery and see that ``package`` made it. Raises ``MissionError`` or ``DatasetError``."""
    check_encoder(package)
    gallery = read_gallery(path)
    if gallery.package_sha256 != package.sha256 or gallery.dim != package.info.answer_shape[0]:
        raise MissionError(
            f"The gallery {path} was made by {gallery.package} ({gallery.package_sha256[:12]}), not by "
            f"{package.info.id} ({package.sha256[:12]}). Vectors of two networks cannot be compared: build it again "
            "with this package."
        )
    return Places.of(gallery)


def temperature_of(package: ModelPackage) -> tuple[float, float | None]:
    """The package's temperature, and the ground that a tile covers, None where it does not say."""
    told: dict[str, Any] = {}
    if any(companion.file == LOCATE for companion in package.info.companions):
        told = json.loads(package.read(LOCATE))
    return float(told.get("temperature") or 0.05), told.get("tile_m")


def read_picture(path: Path) -> tuple[UInt8Array, float | None]:
    """Red, green and blue (3, rows, cols) of an image, and its metres a pixel where it knows them.

    Raises ``FrameError``.
    """
    import warnings

    import rasterio
    from rasterio.errors import NotGeoreferencedWarning

    from .gdal import gdal_errors, one_line

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(path) as file:
                if file.width * file.height > MOST_PX:
                    raise FrameError(f"{path} has {file.width} x {file.height} px, too many for one picture. Cut it.")
                if file.count < 3 or any(kind != "uint8" for kind in file.dtypes[:3]):
                    raise FrameError(f"{path} is no 8-bit colour picture. Convert it to red, green and blue of uint8.")
                projected = file.crs is not None and file.crs.is_projected
                gsd_m = abs(float(file.transform.a)) if projected else None
                return file.read((1, 2, 3)), gsd_m
    except gdal_errors() as error:
        raise FrameError(f"{path} cannot be read as a picture: {one_line(error)}. Check the file.") from error


def check_encoder(package: ModelPackage) -> None:
    """Raise ``MissionError`` for a package that is no encoder of colour tiles."""
    info = package.info
    if info.output.kind != "embedding":
        raise MissionError(
            f"{info.id} is a package of the task {info.task} that answers {info.output.kind}; places are found by the "
            "vectors of an encoder. Give a package of the task locate: export a checkpoint of geo_encoder."
        )
    if len(info.bands) != 3 or info.input.dtype != "uint8":
        raise MissionError(f"{info.id} takes {info.bands}; places are found by red, green and blue.")


def embed_tiles(engine: Engine, package: ModelPackage) -> Callable[[UInt8Array], FloatArray]:
    """The package as a function of tiles; ``MissionError`` where it is no encoder of colour tiles."""
    check_encoder(package)
    task = EmbeddingTask(engine=engine, package=package)

    def embed(tiles: UInt8Array) -> FloatArray:
        raw = engine.infer(np.ascontiguousarray(tiles))
        if raw.shape != (len(tiles), task.dim) or not np.isfinite(raw).all():
            raise MissionError(f"{package.info.id} answers {raw.shape} or values that are no number. Reload it.")
        length = np.linalg.norm(raw, axis=1, keepdims=True)
        return (raw / np.where(length > 0, length, 1.0)).astype(np.float32)

    return embed


def sight_for(
    gsd_m: float | None, *, height_m: float | None, focal_px: float | None, heading_deg: float, tilt_deg: float
) -> Sight:
    """How a picture was taken, from what was told or the file says. Raises ``MissionError`` if too little."""
    if height_m is not None and focal_px is not None:
        return Sight(focal_px=focal_px, height_m=height_m, heading_deg=heading_deg, tilt_deg=tilt_deg)
    if gsd_m is None or tilt_deg != 90.0:
        raise MissionError(
            "The scale of the picture is not known. Give --gsd (metres a pixel, straight down), or --height (metres "
            "above ground) and --focal (pixels); a slanted picture needs these two."
        )
    return Sight.straight_down(gsd_m, heading_deg)


BLANK = "the picture shows one colour and nothing else"


def look_up(
    places: Places, vector: FloatArray, image: str, sight: Sight, *, false_fix_frac: float, blank: bool = False
) -> Fix:
    """What one query vector, (dim,), says; nothing for a picture that is ``blank``."""
    gallery = places.gallery
    views = places.views(vector)
    scores = places.scores(views)
    best = int(scores.argmax())
    apart = np.abs(places.middle_m - places.middle_m[best]).max(1)
    rival = float(scores[apart >= gallery.tile_m].max(initial=-1.0))
    top, margin = float(scores[best]), float(scores[best]) - rival
    threshold, raised = gallery.threshold(false_fix_frac), lift(views, gallery.temperature)
    reached = float((1 + np.sum(gallery.null_lifts >= raised)) / (1 + len(gallery.null_lifts)))
    status, reason = ("no match", BLANK) if blank else verdict(raised, margin, threshold, gallery.temperature)
    middle_m, error_m = spread(places, scores) if status == "fix" else (None, None)
    camera = None if middle_m is None else camera_place(middle_m, sight)
    lonlat = degrees(gallery.crs, [camera])[0] if camera is not None else (None, None)
    return Fix(
        image=image,
        status=status,
        reason=reason,
        longitude_deg=lonlat[0],
        latitude_deg=lonlat[1],
        east_m=None if camera is None else camera[0],
        north_m=None if camera is None else camera[1],
        error_m=error_m,
        score=top,
        margin=margin,
        lift=raised,
        threshold=threshold,
        false_fix_frac=reached,
        candidates=candidates(places, views, sight),
    )


def is_blank(tile: UInt8Array) -> bool:
    """Whether a tile is of one colour: night, a lens cap, no data."""
    return bool((tile == tile[:, :1, :1]).all())


def verdict(raised: float, margin: float, threshold: float, temperature: float) -> tuple[str, str]:
    """Whether a lift and a margin make a fix, and why not."""
    if math.isinf(threshold):
        return "no match", "the gallery cannot tell what fits by chance; build it with --calibrate"
    if raised < threshold:
        return "no match", (
            f"the best place stands out by {raised:.3f}, below {threshold:.3f}, as pictures from elsewhere do too. "
            "The picture shows ground outside the gallery, or too little of it"
        )
    if margin < MARGIN * temperature:
        return "ambiguous", f"a second place fits about as well (margin {margin:.3f}); see the candidates"
    return "fix", ""


def spread(places: Places, scores: FloatArray) -> tuple[tuple[float, float], float]:
    """Mean of the places, weighted by how likely they are, and one standard deviation of the distance to it.

    The mean is over places that overlap the best, the deviation over all: a rival far off shows in it.
    """
    gallery = places.gallery
    likely = np.exp((scores.astype(np.float64) - float(scores.max())) / gallery.temperature)
    near = np.abs(places.middle_m - places.middle_m[int(scores.argmax())]).max(1) < gallery.tile_m
    middle = np.average(places.middle_m[near], axis=0, weights=likely[near])
    apart = ((places.middle_m - middle) ** 2).sum(1)
    grid = 2.0 * gallery.step_m**2 / 12.0  # of a position anywhere between the places
    return (float(middle[0]), float(middle[1])), float(np.sqrt(np.average(apart, weights=likely) + grid))


def candidates(places: Places, views: FloatArray, sight: Sight, count: int = CANDIDATES) -> tuple[Candidate, ...]:
    """The best views of places that do not overlap, best first."""
    gallery = places.gallery
    left = views.astype(np.float64).copy()
    chosen = []
    for _ in range(count):
        best = int(left.argmax())
        if left[best] == -np.inf:
            break
        chosen.append(best)
        left[np.abs(gallery.centre_m - gallery.centre_m[best]).max(1) < gallery.tile_m] = -np.inf
    spots = [camera_place((float(x), float(y)), sight) for x, y in gallery.centre_m[chosen]]
    return tuple(
        Candidate(*spot, *lonlat, float(views[at]), float(gallery.heading_deg[at]), float(gallery.tilt_deg[at]))
        for at, spot, lonlat in zip(chosen, spots, degrees(gallery.crs, spots), strict=True)
    )


def camera_place(middle_m: tuple[float, float], sight: Sight) -> tuple[float, float]:
    """Where the camera is whose axis meets the ground there. Grid north is taken for north."""
    east, north = sight.ahead_m
    return middle_m[0] - east, middle_m[1] - north


def degrees(crs: str, spots: Sequence[Any]) -> list[tuple[float | None, float | None]]:
    """Longitude and latitude of places in the gallery's frame; None where that is a local one."""
    if crs == LOCAL or not spots:
        return [(None, None)] * len(spots)
    from rasterio.warp import transform

    x, y = zip(*spots, strict=True)
    return list(zip(*transform(crs, "EPSG:4326", list(x), list(y)), strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Located:
    """The answer of ``locate``. ``track``: fused, one fix an image, where asked for."""

    gallery: str
    crs: str
    fixes: tuple[Fix, ...]
    track: tuple[Fix, ...] | None = None

    @property
    def found(self) -> bool:
        """Whether any position came out."""
        return any(fix.status == "fix" for fix in (*self.fixes, *(self.track or ())))


def locate(
    package: ModelPackage,
    engine: Engine,
    places: Places,
    images: Iterable[tuple[str, UInt8Array, Sight]],
    *,
    false_fix_frac: float = FALSE_FIX_FRAC,
    track: Track | None = None,
    moved_m: Sequence[tuple[float, float] | None] | None = None,
    name: str = "",
) -> Located:
    """Find each picture, and with ``track`` the flight that they are of, in their order.

    ``moved_m``: what odometry says between the one before and each picture, east and north.
    """
    embed, gallery = embed_tiles(engine, package), places.gallery
    fixes: list[Fix] = []
    fused: list[Fix] = []
    for at, (image, pixels, sight) in enumerate(images):
        tile = tile_of(pixels, sight, tile_m=gallery.tile_m, edge_px=gallery.edge_px)
        vector, blank = embed(tile[None])[0], is_blank(tile)
        fixes.append(look_up(places, vector, image, sight, false_fix_frac=false_fix_frac, blank=blank))
        if track is not None:
            scores = places.scores(places.views(vector)) * (not blank)
            state = track.step(scores, None if moved_m is None else moved_m[at])
            fused.append(fused_fix(fixes[-1], state, sight, gallery.crs))
    return Located(gallery=name, crs=gallery.crs, fixes=tuple(fixes), track=None if track is None else tuple(fused))


def track_of(places: Places, drift_m: float | None) -> Track:
    """A track over a gallery's places; ``drift_m`` is a tile's side by itself, as without odometry."""
    gallery = places.gallery
    return Track(
        places.middle_m,
        step_m=gallery.step_m,
        tile_m=gallery.tile_m,
        temperature=gallery.temperature,
        drift_m=drift_m or gallery.tile_m,
    )


def fused_fix(fix: Fix, state: TrackState, sight: Sight, crs: str) -> Fix:
    """The fix of one picture with the position that the whole track so far gives it."""
    if state.middle_m is None:
        return replace(
            fix,
            status=state.status,
            reason=state.reason,
            longitude_deg=None,
            latitude_deg=None,
            east_m=None,
            north_m=None,
            error_m=None,
        )
    east, north = camera_place(state.middle_m, sight)
    longitude, latitude = degrees(crs, [(east, north)])[0]
    return replace(
        fix,
        status="fix",
        reason="",
        longitude_deg=longitude,
        latitude_deg=latitude,
        east_m=east,
        north_m=north,
        error_m=state.error_m,
    )
