"""Answers that are themselves pictures: the best few of a slot are kept until their pictures are queued."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from exporters.records import PackageInfo

from .answers import ViewOf
from .downlink.chips import values_name
from .downlink.pictures import Look, PictureLadder
from .errors import LinkError, StoreError
from .frames.bands import GENERATED
from .gdal import gdal_errors, one_line
from .georeference import Georeference
from .georeference.place import corners_of
from .records import FloatArray, Product, TileOutcome, TileRef, UInt8Array

OUTPUTS = ("image", "mask", "map")
"""Kinds of output with a value for each pixel."""
FILLED = "filled"
"""Kind of product with pixels that a network made up."""
KINDS = ("image", "mask", "map", "height", "change", "anomaly", FILLED)
"""Kinds of product that come of them."""
MEASURED, MADE_UP = 255, 128
"""Opacity of a filled picture: made-up pixels are seen through, so that nobody takes them for the others."""
MOST = 8
"""Answers that are kept of a slot: more than get pictures by default."""


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """One answer. ``picture``: (1 to 4, edge, edge); with 2 or 4 bands the last is an opacity, see ``MADE_UP``."""

    picture: UInt8Array
    values: FloatArray | None = None
    """(channels, edge, edge) of a map."""
    unit: str = ""
    names: tuple[str, ...] = ()
    """Of the channels, where they have any."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """What its files say of how it was made."""
    corners_deg: tuple[tuple[float, float], ...] = ()
    """Longitude and latitude, upper left, lower left, lower right, upper right; empty where the frame has no place."""


@dataclass(slots=True)
class Keepsakes:
    """The rasters that stand out most in a slot, at most ``most``; of equals the first."""

    most: int = MOST
    names: tuple[str, ...] = ()
    """Of a map's channels, the last ``generated`` where a network makes pixels up."""
    tags: Mapping[str, str] = field(default_factory=dict)
    _held: list[tuple[float, int, TileRef, Kept]] = field(default_factory=list)
    _count: int = 0

    def offer(
        self,
        info: PackageInfo,
        refs: Sequence[TileRef],
        raw: FloatArray,
        ended: Sequence[TileOutcome],
        view: ViewOf,
    ) -> None:
        """Look at the answers of a batch, (n, channels, edge, edge); those of tiles that failed are passed over."""
        if info.output.kind not in OUTPUTS:
            return
        done = [number for number, outcome in enumerate(ended) if outcome.outcome == "done"]
        for number in done:
            worth = float((raw[number, -1] > 0.5).mean()) if self._fills else _stands_out(info, raw[number])
            if self._fills and worth == 0.0:
                continue  # as it was taken
            self._count += 1
            if len(self._held) >= self.most:
                last = min(self._held, key=lambda one: one[:2])
                if worth <= last[0]:
                    continue
                self._held.remove(last)
            ref = refs[number]
            key = TileRef(ref.frame_id, ref.row_px, ref.col_px, ref.edge_px)
            self._held.append((worth, -self._count, key, self._kept(info, key, raw[number], view)))

    @property
    def _fills(self) -> bool:
        return self.names[-1:] == (GENERATED,)

    def _kept(self, info: PackageInfo, ref: TileRef, raw: NDArray[Any], view: ViewOf) -> Kept:
        picture = filled_picture(raw, self.names) if self._fills else picture_of_answer(info, raw)
        if info.output.kind != "map":
            return Kept(picture)
        values, place = np.array(raw, dtype=np.float32), view(ref.frame_id).georeference
        corners = () if place is None else _corners_deg(place, ref)
        return Kept(picture, values, info.output.unit, self.names, self.tags, corners)

    def take(self) -> dict[TileRef, Kept]:
        """Hand over what was kept and begin anew."""
        held, self._held, self._count = self._held, [], 0
        return {ref: one for _, _, ref, one in held}


def _stands_out(info: PackageInfo, raw: NDArray[Any]) -> float:
    """The highest value of a map, the share of change; alike for other pictures."""
    if info.output.kind == "map":
        return float(raw[0].max())
    if info.output.kind == "mask" and len(raw) == 2:
        return float((raw[1] > raw[0]).mean())
    return 1.0


def _corners_deg(place: Georeference, ref: TileRef) -> tuple[tuple[float, float], ...]:
    side = np.array([[ref.row_px, ref.col_px, ref.row_px + ref.edge_px, ref.col_px + ref.edge_px]], dtype=np.float64)
    corners = corners_of(side)[0]
    lon, lat = place.to_wgs84(corners[:, 0], corners[:, 1])
    return tuple(zip(lon.tolist(), lat.tolist(), strict=True))


def values_tiff(kept: Kept) -> bytes:
    """A GeoTIFF of a map's float32 values, placed by its four corners. Raises ``StoreError`` where GDAL refuses."""
    from rasterio.control import GroundControlPoint
    from rasterio.io import MemoryFile

    assert kept.values is not None  # only maps have them
    channels, rows, cols = kept.values.shape
    at = ((0, 0), (rows, 0), (rows, cols), (0, cols))
    points = [
        GroundControlPoint(row, col, lon, lat) for (row, col), (lon, lat) in zip(at, kept.corners_deg, strict=False)
    ]
    profile: dict[str, Any] = {"driver": "GTiff", "dtype": "float32", "count": channels, "height": rows, "width": cols}
    profile |= {"compress": "deflate", "predictor": 3, **({"gcps": points, "crs": "EPSG:4326"} if points else {})}
    try:
        with warnings.catch_warnings(), MemoryFile() as memory:
            warnings.simplefilter("ignore")  # a frame may have no place
            with memory.open(**profile) as target:
                target.write(kept.values)
                target.units = [kept.unit] * channels
                target.update_tags(**kept.tags)
                if len(kept.names) == channels:
                    target.descriptions = kept.names
            return bytes(memory.read())
    except gdal_errors() as error:
        raise StoreError(f"The values of a map cannot be written: {one_line(error)}. Check its package.") from error


def picture_of_answer(info: PackageInfo, raw: NDArray[Any]) -> UInt8Array:
    """(1 or 3, edge, edge) bytes of one answer (channels, edge, edge).

    Restored pictures as they are, classes of a mask spread over the grey levels, values from the lowest, black, to the
    highest, white.
    """
    if info.output.kind == "image":
        names = list(info.bands[: len(raw)])
        colours = [names.index(name) for name in ("red", "green", "blue") if name in names]
        shown = raw[colours] if len(colours) == 3 else raw[:1]
        return np.asarray(np.rint(np.clip(shown, 0.0, 255.0)), dtype=np.uint8)
    if info.output.kind == "mask":
        levels = raw.argmax(axis=0) * (255 // max(len(raw) - 1, 1))
        return np.asarray(levels[None], dtype=np.uint8)
    low, high = float(raw[0].min()), float(raw[0].max())
    return np.asarray(np.rint((raw[:1] - low) * (255.0 / max(high - low, 1e-9))), dtype=np.uint8)


def filled_picture(raw: NDArray[Any], names: Sequence[str]) -> UInt8Array:
    """(2 or 4, edge, edge) bytes of a filled image, (channels, edge, edge), the last marking what was made up.

    Stretched from the darkest to the brightest of the measured pixels, all bands alike; the last is the opacity.
    """
    colours = [names.index(name) for name in ("red", "green", "blue") if name in names]
    shown = raw[colours] if len(colours) == 3 else raw[:1]
    made_up = raw[-1] > 0.5
    seen = shown[:, ~made_up] if not made_up.all() else shown
    low, high = float(seen.min()), float(seen.max())
    levels = np.rint(np.clip((shown - low) * (255.0 / max(high - low, 1e-9)), 0.0, 255.0))
    opacity = np.where(made_up, MADE_UP, MEASURED)[None]
    return np.asarray(np.concatenate([levels, opacity]), dtype=np.uint8)


class Keeping(Protocol):
    """A network that keeps its best pictures."""

    def kept(self) -> dict[TileRef, Kept]:
        """Hand over the slot's best answers that are pictures."""
        ...


@dataclass(frozen=True, slots=True)
class AnswerPictures:
    """Pictures of a slot's products: of an answer that is a picture, that picture; of others the window they show.

    The values of maps follow as GeoTIFF.
    """

    ladder: PictureLadder
    networks: Mapping[str, Keeping]

    def offer(self, products: Sequence[Product], look: Look) -> None:
        """See ``Pictures``."""
        kept: dict[TileRef, Kept] = {}
        for network in self.networks.values():
            kept |= network.kept()
        shown = [product for product in products if product.kind not in KINDS or _window(product) in kept]

        def picture(ref: TileRef) -> UInt8Array | None:
            return kept[ref].picture if ref in kept else look(ref)

        self.ladder.offer(shown, picture)
        self._values([product for product in shown if product.kind in KINDS], kept)

    def _values(self, products: Sequence[Product], kept: Mapping[TileRef, Kept]) -> None:
        rules = self.ladder.rules
        wanted = [one for one in products if kept[_window(one)].values is not None and not rules.refusal(one)]
        best = sorted(wanted, key=lambda one: (-one.value, one.product_id))[: rules.pictures_per_slot]
        for product in best:
            try:
                content = values_tiff(kept[_window(product)])
                name = values_name(product.product_id)
                self.ladder.outbox.offer_file(name, content, rules.tile_share * product.value)
            except (StoreError, LinkError) as error:  # noqa: PERF203  each file on its own
                self.ladder.fault = str(error)


def _window(product: Product) -> TileRef:
    return TileRef(product.frame_id, product.row_px, product.col_px, product.edge_px)
