"""GeoTIFF, PNG, JPEG, JPEG 2000 and ENVI files as frames, read by rasterio one window at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FrameError
from ..frame import BoolArray, Patch, read_square
from ..gdal import gdal_errors, grow_cache, one_line
from ..georeference import Box
from ..records import TileArray, UInt8Array
from ..scratch import Scratch
from .bands import canonical_name, name_bands
from .envi import envi_data
from .jpeg2000 import check_jpeg2000
from .placing import place
from .scaling import TILE_DTYPES, Physical, to_uint8
from .strips import PlainStrips, plain_strips

RANGE_TAG = "SUBSOLAR_RANGE"
"""Dataset tag ``LOW,HIGH``: the stored values that become 0 and 255."""
_DRIVERS = {  # by the first bytes of the file. No VRT: a scene must not name other files or addresses
    b"II*\0": "GTiff",
    b"MM\0*": "GTiff",
    b"II+\0": "GTiff",
    b"MM\0+": "GTiff",
    b"\x89PNG": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"\0\0\0\x0cjP  \r\n\x87\n": "JP2OpenJPEG",
    b"\xff\x4f\xff\x51": "JP2OpenJPEG",
}
_BLOCK_LIMIT_BYTE = 64 * 2**20


class RasterFrame:
    """One open file. Not for use by two threads at once: open it twice instead."""

    def __init__(
        self,
        dataset: Any,
        file: Path,
        frame_id: str,
        names: tuple[str, ...],
        scale: tuple[float, float] | None,
        tile_dtype: str = "uint8",
        plain: PlainStrips | None = None,
    ) -> None:
        self._dataset = dataset
        self._plain = plain
        self._scratch = Scratch(most=2)
        self.file = file
        self.value_range = scale
        """Stored values that are 0 and 255; None where stored bytes are, or nothing is known."""
        self.tile_dtype = tile_dtype
        self._palette = _palette(dataset)
        self.frame_id = frame_id
        self.bands = names
        self.width_px: int = dataset.width
        self.height_px: int = dataset.height
        self.dtype: str = dataset.dtypes[0]
        self.georeference, self.gsd_m = place(dataset, frame_id, file)
        self.captured_unix_s = _captured_unix_s(dataset)
        self._mask = _mask_kind(dataset, names)
        self.nodata: float | None = dataset.nodata
        self.gap: float | None = self.nodata
        """What stands for missing pixels in pictures made from this scene: its nodata, else 0 where it has a mask."""
        if self.gap is None and self._mask in ("alpha", "stored"):
            self.gap = 0.0
        self.physical = Physical(tuple(dataset.scales), tuple(dataset.offsets), dataset.nodata)

    def window(self, box: Box, bands: Sequence[int]) -> Patch:
        """Pixels of a window; see ``Frame.window``."""
        return self._read(self._dataset, box, bands, None)

    def small(self, bands: Sequence[int], rows_px: int, cols_px: int) -> Patch:
        """The whole frame in (rows, cols), decimated while reading."""
        return self._read(self._dataset, Box(0, 0, self.height_px, self.width_px), bands, (rows_px, cols_px))

    def warped(self, crs_wkt: str, affine: Sequence[float], width_px: int, height_px: int, method: str) -> Warped:
        """This frame on another grid, resampled window by window by ``method``: ``bilinear``, ``average``."""
        return Warped(self, crs_wkt, affine, width_px, height_px, method)

    def _read(self, dataset: Any, box: Box, bands: Sequence[int], shape: tuple[int, int] | None) -> Patch:
        """Pixels of a window of ``dataset``, this file's own or a warped view of it, decimated to ``shape``."""
        try:
            if self._palette is not None:
                return self._expanded(self._stored(dataset, box, (0,), shape)[0], bands)
            return self._decode(dataset, box, bands, shape)
        except gdal_errors() as error:
            raise FrameError(_broken(self.frame_id, box, error)) from error

    def read(self, row_px: int, col_px: int, edge_px: int, bands: Sequence[int]) -> TileArray:
        """A square tile; see ``Frame.read``."""
        return read_square(self, row_px, col_px, edge_px, bands).pixels

    def close(self) -> None:
        """Release the file."""
        self._dataset.close()
        if self._plain is not None:
            self._plain.close()

    def __enter__(self) -> RasterFrame:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _expanded(self, indexed: NDArray[Any], bands: Sequence[int]) -> Patch:
        assert self._palette is not None
        return Patch(_expand(indexed, self._palette, bands).astype(self.tile_dtype, copy=False))

    def _decode(self, dataset: Any, box: Box, bands: Sequence[int], shape: tuple[int, int] | None) -> Patch:
        """Read bands, and what says which of their pixels are valid."""
        masked = dataset is not self._dataset  # a warped view says by an alpha band of its own what it knows
        if masked or self._mask == "alpha":
            alpha = dataset.count - 1 if masked else self.bands.index("alpha")
            raw = self._stored(dataset, box, [*bands, alpha], shape)
            return self._patch(raw[:-1], bands, raw[-1] > 0)
        raw = self._stored(dataset, box, bands, shape)
        valid: BoolArray | None = None
        if self._mask == "nodata":
            valid = _differs(raw, self.nodata)
        elif self._mask == "stored":
            valid = dataset.dataset_mask(**_asked(box, shape)) > 0
        return self._patch(raw, bands, valid)

    def _stored(self, dataset: Any, box: Box, bands: Sequence[int], shape: tuple[int, int] | None) -> NDArray[Any]:
        """(bands, rows, cols) stored values, in memory that is used again once nobody holds them."""
        if dataset is self._dataset and shape is None and self._plain is not None:
            return self._plain.read(box, bands)
        rows_px, cols_px = shape or (box.rows_px, box.cols_px)
        out = self._scratch.take((len(bands), rows_px, cols_px), self.dtype)
        found: NDArray[Any] = dataset.read([band + 1 for band in bands], out=out, **_asked(box, None))
        return found

    def _patch(self, raw: NDArray[Any], bands: Sequence[int], valid: BoolArray | None) -> Patch:
        if self.tile_dtype == "uint8":
            return Patch(to_uint8(raw, self.value_range), valid)
        values = self.physical.of(raw, bands)
        if valid is not None:
            values[:, ~valid] = np.nan
        present: BoolArray = np.any(~np.isnan(values), axis=0)
        return Patch(values, None if present.all() else present)


class Warped:
    """A frame's pixels on another grid. Holds GDAL's warp memory (64 MiB at most) and no scene."""

    def __init__(
        self, frame: RasterFrame, crs_wkt: str, affine: Sequence[float], width_px: int, height_px: int, method: str
    ) -> None:
        from rasterio.crs import CRS
        from rasterio.enums import Resampling
        from rasterio.transform import Affine
        from rasterio.vrt import WarpedVRT

        self._frame = frame
        source, has_alpha = frame._dataset, frame._mask == "alpha"
        try:
            self._view = WarpedVRT(
                source,
                crs=CRS.from_user_input(crs_wkt),
                transform=Affine(*affine),
                width=width_px,
                height=height_px,
                resampling=Resampling[method],
                add_alpha=not has_alpha,
                warp_mem_limit=64,
            )
        except gdal_errors() as error:
            raise FrameError(f"{frame.frame_id} cannot be laid on another grid: {one_line(error)}.") from error

    def window(self, box: Box, bands: Sequence[int]) -> Patch:
        """Pixels of a window of the other grid; beyond the frame they are not valid."""
        return self._frame._read(self._view, box, bands, None)

    def close(self) -> None:
        """Release the view; the frame stays open."""
        self._view.close()


def open_frame(
    path: Path | str,
    *,
    frame_id: str | None = None,
    band_names: Sequence[str] = (),
    value_range: tuple[float, float] | None = None,
    tile_dtype: str = "uint8",
) -> RasterFrame:
    """Open an image file. ``band_names`` and ``value_range`` (stored values for 0 and 255) overrule what it says.

    ``tile_dtype``: ``uint8``, or ``float32`` for physical values (stored ones by the file's scale and offset), NaN
    where a band holds no data. Raises ``FrameError`` for what is no image, cannot be decoded, or, where uint8 is asked
    for, is not uint8 and says no value range.
    """
    if tile_dtype not in TILE_DTYPES:
        raise FrameError(f"Tiles of {tile_dtype} cannot be read. Packages may take {' or '.join(TILE_DTYPES)}.")
    file = Path(path)
    name = frame_id or file.stem
    dataset = _open(file)
    try:
        with _refusing(file):
            _check_size(dataset, file)
            grow_cache(dataset.width * dataset.count * np.dtype(dataset.dtypes[0]).itemsize)
            names = _names(dataset, band_names, file)
            scale = _scale(dataset, value_range, file, needed=tile_dtype == "uint8")
            return RasterFrame(dataset, file, name, names, scale, tile_dtype, plain_strips(file, dataset))
    except BaseException:
        dataset.close()
        raise


def _open(file: Path) -> Any:
    import warnings

    import rasterio
    from rasterio.errors import NotGeoreferencedWarning

    data = envi_data(file)
    driver = "ENVI" if data is not None else _driver(file)
    if driver == "JP2OpenJPEG":
        check_jpeg2000(file)
    with _refusing(file), warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        return rasterio.open(str((data or file).resolve()), driver=driver)


def _driver(file: Path) -> str:
    if not file.is_file():
        raise FrameError(f"There is no image {file}. Check the path.")
    with _refusing(file), file.open("rb") as opened:
        start = opened.read(12)
    for magic, driver in _DRIVERS.items():
        if start.startswith(magic):
            return driver
    if not start:
        raise FrameError(f"{file} is empty. Fetch it again.")
    raise FrameError(
        f"{file} is no GeoTIFF, PNG, JPEG, JPEG 2000 or ENVI image (it starts with {start[:4]!r}). "
        "Convert it to GeoTIFF."
    )


@contextmanager
def _refusing(file: Path) -> Iterator[None]:
    """Turn what rasterio says of a bad file into one line."""
    try:
        yield
    except gdal_errors() as error:
        text = one_line(error).replace(str(file.resolve()), file.name)
        raise FrameError(f"{file} cannot be opened as an image: {text}. Fetch or convert it again.") from error


def _check_size(dataset: Any, file: Path) -> None:
    """Refuse a file whose smallest readable piece would not fit in memory."""
    if dataset.count == 0:
        raise FrameError(f"{file} holds no bands. Give one of its subdatasets, converted to GeoTIFF.")
    rows, cols = dataset.block_shapes[0]
    together = dataset.count if str(dataset.profile.get("interleave")) == "pixel" else 1
    block_byte = rows * cols * together * np.dtype(dataset.dtypes[0]).itemsize
    if block_byte > _BLOCK_LIMIT_BYTE:
        raise FrameError(
            f"{file} is stored in blocks of {cols} x {rows} px ({block_byte / 2**20:.0f} MiB each), more than the "
            f"{_BLOCK_LIMIT_BYTE // 2**20} MiB allowed. Rewrite it tiled, such as 256 x 256."
        )


def _names(dataset: Any, given: Sequence[str], file: Path) -> tuple[str, ...]:
    if _palette(dataset) is not None:
        found: tuple[str, ...] = ("red", "green", "blue")
    else:
        interpretations = [colour.name for colour in dataset.colorinterp]
        found = name_bands(dataset.descriptions, interpretations, dataset.dtypes[0])
    if not given:
        return found
    if len(given) != len(found):
        raise FrameError(f"{file} has {len(found)} bands, but {len(given)} names were given. Name every band.")
    return tuple(canonical_name(name) for name in given)


def _scale(dataset: Any, given: tuple[float, float] | None, file: Path, *, needed: bool) -> tuple[float, float] | None:
    """The value range to map to 0..255, None where stored bytes are taken as they are."""
    dtypes = set(dataset.dtypes)
    if len(dtypes) > 1 or "complex" in dataset.dtypes[0]:
        raise FrameError(f"{file} mixes or has unsuitable value types {sorted(dtypes)}. Convert it to one real type.")
    text = dataset.tags().get(RANGE_TAG)
    if given is None and text is not None:
        given = _parse_range(text, file)
    if given is not None and not (math.isfinite(given[0]) and math.isfinite(given[1]) and given[0] < given[1]):
        raise FrameError(f"The value range {given} of {file} is empty. Give LOW,HIGH with LOW below HIGH.")
    if needed and given is None and dtypes != {"uint8"}:
        raise FrameError(
            f"{file} stores {dataset.dtypes[0]} and has no {RANGE_TAG} tag, so its scale to 0..255 is unknown. "
            f"Set the tag {RANGE_TAG}=LOW,HIGH or give --range LOW HIGH."
        )
    return given


def _parse_range(text: str, file: Path) -> tuple[float, float]:
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError as error:
        raise FrameError(f"The tag {RANGE_TAG}={text!r} of {file} is not LOW,HIGH. Correct it.") from error
    return low, high


def _palette(dataset: Any) -> NDArray[np.uint8] | None:
    """(256, 4) colours of an indexed image, None for others."""
    if dataset.count != 1 or dataset.colorinterp[0].name != "palette" or dataset.dtypes[0] != "uint8":
        return None
    table = np.zeros((256, 4), dtype=np.uint8)
    for index, colour in dataset.colormap(1).items():
        table[index] = colour
    return table


def _asked(box: Box, shape: tuple[int, int] | None) -> dict[str, Any]:
    """A window as rasterio takes it."""
    from rasterio.windows import Window

    window = Window(box.col_px, box.row_px, box.cols_px, box.rows_px)  # pyright: ignore[reportCallIssue]
    return {"window": window} if shape is None else {"window": window, "out_shape": shape}


def _expand(indexed: NDArray[Any], palette: NDArray[np.uint8], bands: Sequence[int]) -> UInt8Array:
    return np.stack([palette[:, band][indexed] for band in bands])


def _mask_kind(dataset: Any, names: Sequence[str]) -> str:
    """What tells valid pixels from others: ``alpha``, ``nodata``, ``stored`` (a mask band) or ``none``."""
    flags = {flag.name for band in dataset.mask_flag_enums for flag in band}
    if "alpha" in flags:
        return "alpha" if "alpha" in names else "none"
    if "nodata" in flags:
        return "nodata"
    return "stored" if "per_dataset" in flags else "none"


def _differs(raw: NDArray[Any], nodata: float | None) -> BoolArray:
    """Pixels of which at least one band is not nodata."""
    is_nan = nodata is None or math.isnan(nodata)
    differs = ~np.isnan(raw) if is_nan else np.not_equal(raw, raw.dtype.type(nodata))
    valid: BoolArray = np.any(differs, axis=0)
    return valid


def _captured_unix_s(dataset: Any) -> float | None:
    tags = dataset.tags()
    text = tags.get("TIFFTAG_DATETIME") or tags.get("EXIF_DateTimeOriginal") or tags.get("EXIF_DateTime")
    if text is None:
        return None
    try:
        return datetime.strptime(text.strip(), "%Y:%m:%d %H:%M:%S").replace(tzinfo=timezone.utc).timestamp()
    except ValueError:
        return None


def _broken(frame_id: str, box: Box, error: BaseException) -> str:
    return (
        f"{frame_id} cannot be read at row {box.row_px}, column {box.col_px}: {one_line(error).rstrip('.')}. "
        "The file is damaged or cut short: fetch it again."
    )
