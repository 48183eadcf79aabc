"""The references of a flight: tiles of older scenes that packages of the task ``change`` compare new ones with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import FrameError, MissionError
from ..frame import Patch
from ..frames import RasterFrame, Stack, choose_bands, open_frame
from ..georeference import MapGeoreference
from ..records import Tile
from ..reference_store import GroundTile, ReferenceStore, georeference_of, stacked
from ..tasks.change import REFERENCE, Registration, register
from ..tiles import cut, skip_empty, tile_grid

ENDINGS = (".tif", ".tiff")
NO_DATE_S = 0.0
"""A reference that does not say its date is older than any new tile."""
LEAST_FRAC = 0.5
"""Of a tile that references must cover; what they do not is taken for unchanged."""


@dataclass(frozen=True, slots=True)
class References:
    """Lays the references of a place under new tiles. Dates keep their order: only older ones count."""

    store: ReferenceStore
    rules: Registration = field(default_factory=Registration)

    def under(
        self, tile: Tile, have: Sequence[str], bands: Sequence[str], frame: RasterFrame | Stack, now_s: float
    ) -> Tile:
        """``tile``, whose bands are ``have``, as a change package's ``bands``, its reference registered.

        ``now_s`` is the date of a frame that does not say its own. Raises ``FrameError`` for a tile that cannot be
        compared: without a place, without an older reference, or too far off it.
        """
        place = frame.georeference
        if not isinstance(place, MapGeoreference):
            raise FrameError(f"{frame.frame_id} does not lie on a map, so nothing can be laid under it. Warp it first.")
        captured_s = now_s if frame.captured_unix_s is None else frame.captured_unix_s
        new = GroundTile(tile.pixels, tuple(have), georeference_of(place, tile.ref.row_px, tile.ref.col_px), captured_s)
        laid = self.store.lay_under(new)
        if laid is None or laid.valid is None or float(laid.valid.mean()) < LEAST_FRAC:
            raise FrameError("no older reference of this place is on board")
        old = laid.pixels.copy()
        old[:, ~laid.valid] = new.pixels[:, ~laid.valid]
        return Tile(tile.ref, register(stacked(new, Patch(old, laid.valid), tuple(bands)), bands, self.rules).pixels)


def plain_bands(bands: Sequence[str]) -> tuple[str, ...]:
    """The bands that a new tile must bring for a network that wants ``bands``.

    >>> plain_bands(("reference_red", "red"))
    ('red',)
    """
    return tuple(dict.fromkeys(name.removeprefix(REFERENCE) for name in bands))


def stock(
    folder: Path, state: Path, bands: Sequence[str], edge_px: int, most_byte: int, told: Callable[[str], None]
) -> References:
    """Read the rasters of ``folder`` into the store in ``state``, tile by tile of ``edge_px``.

    A raster that cannot be used is told and passed over. Raises ``MissionError`` where none can.
    """
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in ENDINGS)
    except OSError as error:
        raise MissionError(
            f"references.folder {folder} cannot be read: {error.strerror}. Make it, or correct the key."
        ) from error
    store: ReferenceStore | None = None
    for path in paths:
        try:
            with open_frame(path, frame_id=path.stem) as frame:
                store = store or ReferenceStore(state, most_byte, cell_m=_cell_m(frame, edge_px))
                _add(store, frame, bands, edge_px)
        except FrameError as error:  # noqa: PERF203  each raster on its own
            told(f"the reference {path.name} is not used: {error}")
    if store is None or not len(store):
        raise MissionError(f"{folder} has no raster that new tiles can be compared with. Put GeoTIFFs on a map there.")
    return References(store)


def _add(store: ReferenceStore, frame: RasterFrame, bands: Sequence[str], edge_px: int) -> None:
    place = frame.georeference
    assert isinstance(place, MapGeoreference)  # _cell_m has asked
    captured_s = NO_DATE_S if frame.captured_unix_s is None else frame.captured_unix_s
    positions = choose_bands(frame.bands, bands, frame.frame_id)
    refs = (window.ref for window in tile_grid(frame.width_px, frame.height_px, edge_px, frame_id=frame.frame_id))
    for batch in cut(frame, refs, positions, batch=16, keep=skip_empty()):
        for ref, pixels in zip(batch.refs, batch.pixels, strict=True):
            store.put(GroundTile(pixels, tuple(bands), georeference_of(place, ref.row_px, ref.col_px), captured_s))


def _cell_m(frame: RasterFrame, edge_px: int) -> int:
    """As wide as a tile on the ground, so that each has a cell of its own. Raises ``FrameError`` without a map."""
    if not isinstance(frame.georeference, MapGeoreference) or frame.gsd_m is None:
        raise FrameError(f"{frame.frame_id} does not lie on a map. Warp it with gdalwarp.")
    georeference_of(frame.georeference, 0, 0)
    return max(1, int(edge_px * frame.gsd_m))
